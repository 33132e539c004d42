"""Closing a recall: its adapters have boosters without the claim, and these were measured; nothing else will do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hfvaccine.errors import DoseError, UsageError
from hfvaccine.quarantine.recalls import AFFECTED, FIXED, Recalls
from hfvaccine.surveillance.affected import MERGED_KIND, Reached, boosters_of, find
from hfvaccine.surveillance.recall import Issued, dose_at, issue, read_dose


def close(
    place: str, claim_id: str, where: Sequence[str], *, by: str | None = None, token: str | None = None
) -> Issued:
    """Say that a recalled claim is fixed: every adapter that was given it has a measured booster without it.

    It takes as many people as the recall did. The dose's own row stays as wrong as it was: whoever gives that row is
    refused as before.

    Args:
        place: the dose's folder or Hub id.
        claim_id: the claim.
        where: namespaces, repos and folders, with all adapters that were given it and their boosters.
        by: who says it; on a Hub the account.
        token: Hub token, by default the one huggingface_hub finds.

    Raises:
        UsageError: for a claim that is not recalled as affected.
        DoseError: naming all that is missing.
        HubError: see `recall.issue`.
    """
    recalls = Recalls.of(read_dose(dose_at(place), token))
    standing = recalls.standing.get(claim_id)
    if standing is None or standing.status not in (AFFECTED, FIXED):
        status = "is not recalled" if standing is None else f"is {standing.status}"
        raise UsageError(
            f"The claim {claim_id} {status}, so there is nothing to close.",
            "A recall is closed after `hfvaccine recall issue` said, with as many people as it takes: affected.",
        )
    boosters = measured(find(where, dose=place, claims=[claim_id], token=token), claim_id)
    said = recalls.awaiting.get(claim_id)
    if said is not None and said.status == FIXED and _same(said.boosters, boosters):
        return issue(place, claim_id, FIXED, by=by, token=token)
    names = ", ".join(str(one["id"]) for one in boosters)
    why = f"Boosters without it were measured: {names}."
    return issue(place, claim_id, FIXED, by=by, why=why[:500], boosters=boosters, token=token)


def measured(found: Sequence[Reached], claim_id: str) -> tuple[dict[str, Any], ...]:
    """The measured boosters of all that were given a claim; a merged model has those of the adapter that is in it.

    Raises:
        DoseError: naming all that is missing.
    """
    lacking = [f"{one.place} cannot be looked at: {one.problem}" for one in found if one.problem]
    given = [one for one in found if one.of(AFFECTED)]
    boosters: dict[str, dict[str, Any]] = {}
    for one in given:
        of_it = boosters_of(one, claim_id, found)
        if one.kind == MERGED_KIND:
            of_it = [other for other in found if other.parent_sha256 == one.parent_sha256 and other.of(FIXED)]
        done = [other for other in of_it if other.of(FIXED)]
        for other in done:
            about = {"id": other.place if other.on_hub else _name(other.place), "adapter_sha256": other.sha256}
            boosters[str(other.sha256)] = about | {"parent": other.parent_sha256}
        if not done:
            kind = f"the {one.kind} " * (one.kind != "adapter")
            why = [f"{other.place}: {other.of_claim(claim_id).why}" for other in of_it]
            lacking.append(f"{kind}{one.place} has no measured booster" + f" ({'; '.join(why)})" * bool(why))
    if not given and not lacking:
        raise DoseError(
            f"No adapter there was given {claim_id}.",
            "Name where its adapters and their boosters are; `hfvaccine recall find` shows them.",
        )
    if lacking:
        raise DoseError(
            f"The recall of {claim_id} cannot be closed: {'; '.join(lacking)}.",
            "Boost what is affected with `hfvaccine boost ADAPTER --retract CLAIM`, and name both.",
        )
    return tuple(boosters[sha256] for sha256 in sorted(boosters))


def _name(folder: str) -> str:
    """A folder by its last name: the folders of a machine are nobody's business."""
    return folder.rstrip("/").rpartition("/")[2]


def _same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return [dict(each) for each in one] == [dict(each) for each in other]
