"""A recall as an act on a dose, in its folder or its repo: said by one person, signed by another, published."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi

from hfvaccine.claims import journal
from hfvaccine.claims.dose import Dose
from hfvaccine.claims.journal import Entry
from hfvaccine.errors import UsageError
from hfvaccine.files import RECALLS, VEX, whole_file
from hfvaccine.hub.account import account
from hfvaccine.hub.errors import as_hub_error, page_of
from hfvaccine.hub.leaks import refuse_leaks
from hfvaccine.hub.pull import pull_dose
from hfvaccine.quarantine.policy import person
from hfvaccine.quarantine.recalls import Recall, Recalls, say
from hfvaccine.sources.place import STARTER, Source
from hfvaccine.surveillance.openvex import document


@dataclass(frozen=True)
class Issued:
    """What stands after somebody said something of a claim.

    Args:
        place: the dose's folder or repo.
        recall: what was said; who said and signed it stands in it.
        holds: whether as many people said it as the policy asks for.
        needed: how many that are.
        changed: whether anything was written; not where it stood so already.
        revision: the commit that holds it, of a repo.
    """

    place: str
    recall: Recall
    holds: bool
    needed: int
    changed: bool
    revision: str | None = None


def issue(
    place: str,
    claim_id: str,
    status: str,
    *,
    by: str | None = None,
    why: str | None = None,
    source: str | None = None,
    action: str | None = None,
    justification: str | None = None,
    boosters: tuple[Mapping[str, Any], ...] = (),
    token: str | None = None,
) -> Issued:
    """Say what is to hold of a claim of a dose, or sign what another person said.

    It holds once as many people said so as review each claim by the dose's policy. What is written are the acts, as a
    journal that goes on with that of the sealed dose, and what holds of them as OpenVEX: in a folder both files, in a
    repo one commit.

    Args:
        place: the dose's folder or Hub id.
        claim_id: the claim, given or held out.
        status: one of `recalls.STATUSES`.
        by: who says it; on a Hub the account, and nobody else.
        why, source, action, justification, boosters: see `recalls.Recall`; without any, what another person said of
            that status is signed.
        token: Hub token, by default the one huggingface_hub finds.

    Raises:
        UsageError, DoseError: see `recalls.say`; nothing is written then.
        HubError: where the dose cannot be had, or this account may not write to it.
    """
    told = {"why": why, "source": source, "action": action, "justification": justification, "boosters": boosters}
    where = dose_at(place)
    if where.on_hub:
        return _in_repo(where.name, claim_id, status, by, told, token)
    if by is None:
        raise UsageError("Nobody is named who says so.", "Give --by NAME, as the dose's journal names you.")
    return _in_folder(Path(where.name), claim_id, status, by, told)


def dose_at(place: str) -> Source:
    """Where a dose is of which something is said.

    Raises:
        UsageError: for one that cannot be written to.
    """
    if place == STARTER:
        raise UsageError(
            "The starter dose comes with hfvaccine, and nobody here can write to it.",
            "Name the folder or the repo of a dose of your own; what is wrong with this one, tell its authors.",
        )
    where = Source.of("dose", place)
    if where.revision is not None:
        raise UsageError(
            f"{place} names a revision.", "What is recalled holds for all of them: leave the revision out."
        )
    return where


def read_dose(where: Source, token: str | None = None) -> Dose:
    """The dose with all that was said of it."""
    return pull_dose(where.name, allow_recalled=True, token=token) if where.on_hub else Dose.load(where.name)


def _in_folder(folder: Path, claim_id: str, status: str, by: str, told: Mapping[str, Any]) -> Issued:
    Dose.load(folder)  # what is none is refused before it is held
    with _held(folder):
        dose = Dose.load(folder)
        now, changed = _said(dose, claim_id, status, by, told)
        for name, content in published(now).items():
            if not (folder / name).is_file() or (folder / name).read_bytes() != content:
                with whole_file(folder / name) as staged:
                    staged.write_bytes(content)
    return _issued(str(folder), now, claim_id, changed)


def _in_repo(
    repo_id: str, claim_id: str, status: str, by: str | None, told: Mapping[str, Any], token: str | None
) -> Issued:
    api = HfApi(token=token)
    me = account(api)
    if by is not None and person(by) != person(me):
        raise UsageError(
            f"This account is {me}, not {by}.", "On a Hub everybody speaks as who they are: leave out --by."
        )
    dose = pull_dose(repo_id, allow_recalled=True, token=token)
    now, changed = _said(dose, claim_id, status, me, told)
    revision = dose.revision
    if changed:
        files = published(now)
        refuse_leaks(files)
        with as_hub_error(api, repo_id, "dataset"):
            commit = api.create_commit(
                repo_id,
                [CommitOperationAdd(name, content) for name, content in sorted(files.items())],
                repo_type="dataset",
                commit_message=f"Recall: {claim_id} is {status}",
                parent_commit=dose.revision,
            )
        revision = str(commit.oid)
    return replace(_issued(page_of(api, repo_id, "dataset"), now, claim_id, changed), revision=revision)


def published(dose: Dose) -> dict[str, bytes]:
    """The files in which the recalls of a dose stand; OpenVEX once anything holds."""
    files = {RECALLS: journal.dumps(dose.recalls).encode()} if dose.recalls else {}
    holding = Recalls.of(dose).holding
    if holding:
        files[VEX] = (json.dumps(document(dose, holding), indent=2, ensure_ascii=False) + "\n").encode()
    return files


def _said(dose: Dose, claim_id: str, status: str, by: str, told: Mapping[str, Any]) -> tuple[Dose, bool]:
    """The dose with what was said, and whether that is anything new."""
    at = journal.now()
    entry: Entry | None = say(dose, by, at, claim_id, status, **told)
    return (dose, False) if entry is None else (replace(dose, recalls=(*dose.recalls, entry)), True)


def _issued(place: str, dose: Dose, claim_id: str, changed: bool) -> Issued:
    recalls = Recalls.of(dose)
    waiting = recalls.awaiting.get(claim_id)
    recall = waiting or recalls.standing[claim_id]
    return Issued(place, recall, waiting is None, recalls.needed, changed)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a dose's folder for one act; others wait. No file is made for it: none but the dose's may be there."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
