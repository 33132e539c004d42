"""Review: who approved or rejected which claim, each decision bound to the exact row that was read."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from hfvaccine.claims.claim import COLUMNS, TEXTS, Claim
from hfvaccine.claims.journal import Entry
from hfvaccine.errors import ClaimError, DoseError, UsageError
from hfvaccine.files import digest_of, guard_formula, whole_file
from hfvaccine.quarantine.policy import LONGEST_NOTE, Policy, person, submitters
from hfvaccine.quarantine.store import POLICY, Quarantine, each
from hfvaccine.sources.rows import read_rows

APPROVE, REJECT = DECISIONS = ("approve", "reject")
AWAITING, BEGUN, APPROVED, REJECTED = STATES = ("awaiting", "approved by some", "approved", "rejected")
"""How far the review of a row can be; `BEGUN` has approvals, but fewer than the policy asks for."""
SHEET_FORMATS = (".csv", ".tsv", ".jsonl")

SHEET_COLUMNS = (
    *("claim_id", "digest", "decision", "note", *TEXTS, "variants"),
    *("domain", "harm", "license", "submitted_by", "sources", "lint"),
)


@dataclass(frozen=True)
class Decision:
    """What a reviewer decided about one claim.

    Args:
        decision: "approve" or "reject".
        digest: of the row that was read; the decision holds for no other.
        at: ISO time of the act.
        note: why, in the reviewer's words.
    """

    decision: str
    digest: str
    at: str
    note: str = ""


def decisions(history: Iterable[Entry]) -> dict[str, dict[str, Decision]]:
    """The standing decisions: claim id -> reviewer -> that reviewer's latest decision."""
    standing: dict[str, dict[str, Decision]] = {}
    spelled: dict[str, str] = {}
    for entry in history:
        if entry.act == "review":
            reviewer = spelled.setdefault(person(entry.by), entry.by)
            for claim_id, digest, decision, note in entry.what["decisions"]:
                standing.setdefault(claim_id, {})[reviewer] = Decision(decision, digest, entry.at, note)
    return standing


def row_digest(row: Mapping[str, Any]) -> str:
    """What a decision about a row in quarantine is bound to: the claim's digest, or the draft's if it is no claim."""
    try:
        return _claim(row).digest()
    except ClaimError:
        draft = {name: row.get(name) for name in COLUMNS if name != "reviewers"}
        if not draft["variants"]:
            del draft["variants"]  # as in `Claim.digest`
        return digest_of(json.dumps(draft, sort_keys=True, ensure_ascii=False).encode())


def approvals(claim: Claim, policy: Policy) -> set[str]:
    """Those whose approval of a claim counts: of this very row, by somebody who may review and did not bring it in."""
    if not claim.reviewers:
        return set()
    digest = claim.digest()
    approving = {
        person(review["reviewer"])
        for review in claim.reviewers
        if review.get("decision") == APPROVE
        and review.get("digest") == digest
        and policy.may_review(review["reviewer"])
    }
    return approving - submitters(claim.submitted_by)


def standing(row: Mapping[str, Any], made: Mapping[str, Decision], policy: Policy) -> dict[str, Decision]:
    """Of the decisions made about a row, those that hold: of the row as it is, by somebody who may review it."""
    if not made:
        return {}
    digest, hands = row_digest(row), submitters(row.get("submitted_by"))
    return {
        reviewer: decision
        for reviewer, decision in made.items()
        if decision.digest == digest and policy.may_review(reviewer) and person(reviewer) not in hands
    }


def states(table: pa.Table, history: Iterable[Entry], policy: Policy) -> tuple[dict[str, str], int]:
    """How far the review is. Only rows that somebody decided on are looked at, so that a large table costs little.

    Returns:
        The state of each claim that somebody decided on, by claim id, where all others are `AWAITING`; and how many
        rows, of any state, somebody decided on before they were edited.
    """
    made = decisions(history)
    found: dict[str, str] = {}
    stale = 0
    for row in rows_of(table, made):
        claim_id = row["claim_id"]
        holding = standing(row, made[claim_id], policy)
        stale += len(holding) < len(made[claim_id])
        said = Counter(decision.decision for decision in holding.values())
        if said[REJECT]:
            found[claim_id] = REJECTED
        elif said[APPROVE] >= max(1, policy.reviewers_needed):
            found[claim_id] = APPROVED
        else:
            found[claim_id] = BEGUN if said[APPROVE] else AWAITING
    return found, stale


def rows_of(table: pa.Table, claim_ids: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The rows of these claims, one dict at a time, in the order of the table."""
    wanted = pa.array(sorted(claim_ids), pa.string())
    return each(table.filter(pc.is_in(table["claim_id"], value_set=wanted)))


def decide(quarantine: Quarantine, by: str, made: Iterable[Sequence[str]]) -> Counter[str]:
    """Write decisions into the journal, all of them or, where one is refused, none.

    What already stands as it is given is passed over, so that a sheet can be handed in twice.

    Args:
        quarantine: where the claims are.
        by: the reviewer.
        made: (claim id, digest of the row that was read, "approve" or "reject", note) each; the note is
            published with the dose.

    Returns:
        How many decisions were written, by decision.

    Raises:
        UsageError: for a reviewer, a claim or a decision that is not known.
        DoseError: where the reviewer had a hand in the claim, the row was edited since it was read, or a row
            that lacks something or is not split yet is approved.
    """
    with quarantine.changing():
        policy = Policy.read(quarantine.folder / POLICY)
        _check_reviewer(by, policy)
        wanted = _one_each(made)
        history = quarantine.history()
        before = decisions(history)
        rows = {row["claim_id"]: row for row in rows_of(quarantine.table(), wanted)}
        new = []
        for claim_id, (digest, decision, note) in sorted(wanted.items()):
            _check(claim_id, rows.get(claim_id), by, digest, decision)
            mine = {person(name): had for name, had in before.get(claim_id, {}).items()}.get(person(by))
            if mine is None or (mine.digest, mine.decision, mine.note) != (digest, decision, note):
                new.append([claim_id, digest, decision, note])
        if new:
            quarantine.commit("review", by, {"decisions": new})
        return Counter(decision for _, _, decision, _ in new)


def read_decisions(path: Path | str) -> list[tuple[str, str, str, str]]:
    """Decisions from a sheet; rows without a decision are passed over.

    Args:
        path: a .csv, .tsv or .jsonl file with the columns claim_id, digest, decision and, if need be, note;
            others are not looked at.

    Raises:
        UsageError: naming the line that is no decision.
        ValidationError: where the file cannot be read.
    """
    path = Path(path)
    _check_format(path)
    found: dict[str, tuple[str, str, str, str]] = {}
    for row in read_rows(path):
        where = f"{path.name}, {row.where}"
        missing = [name for name in ("claim_id", "digest", "decision") if name not in row.values]
        if missing:
            raise UsageError(
                f"{where} has no {' and no '.join(missing)}.",
                "Decisions are given as claim_id, digest, decision and, if need be, note.",
            )
        claim_id, digest, decision, note = (
            str(row.values.get(name) or "").strip() for name in ("claim_id", "digest", "decision", "note")
        )
        if not decision:
            continue
        if decision.lower() not in DECISIONS:
            raise UsageError(
                f"{where} decides {decision!r}.", "Write approve or reject, or leave it empty to decide later."
            )
        if not claim_id or not digest:
            raise UsageError(
                f"{where} decides about no claim.", "Keep the columns claim_id and digest as they were written."
            )
        if claim_id in found:
            raise UsageError(f"{where} decides about {claim_id} a second time.", "Keep one line for each claim.")
        found[claim_id] = (claim_id, digest, decision.lower(), note)
    return list(found.values())


def to_review(quarantine: Quarantine, by: str) -> Iterator[dict[str, Any]]:
    """The rows that still need this reviewer, each with its `digest`.

    Not among them: rows that are no claim yet or on no side of the split, that the reviewer had a hand in or has
    decided on, that are rejected, or that have all the approvals they need.

    Raises:
        UsageError: for a reviewer whom the policy does not let review.
    """
    policy = Policy.read(quarantine.folder / POLICY)
    _check_reviewer(by, policy)
    made = decisions(quarantine.history())
    for row in each(quarantine.table()):
        if row["split"] is None or person(by) in submitters(row["submitted_by"]):
            continue
        try:
            digest = _claim(row).digest()
        except ClaimError:
            continue
        holding = standing(row, made.get(row["claim_id"], {}), policy)
        settled = (
            len(holding) >= max(1, policy.reviewers_needed)
            or person(by) in map(person, holding)
            or any(decision.decision == REJECT for decision in holding.values())
        )
        if not settled:
            yield {**row, "digest": digest}


def write_sheet(rows: Iterable[Mapping[str, Any]], path: Path | str, lint: Mapping[str, str] | None = None) -> int:
    """Write the sheet that a reviewer fills in and `read_decisions` reads.

    Args:
        rows: as `to_review` gives them.
        path: the .csv, .tsv or .jsonl file to write; must not exist.
        lint: what lint found, by claim id.

    Returns:
        How many claims are on it.

    Raises:
        UsageError: for a file that exists or has another ending.
    """
    path = Path(path)
    _check_format(path)
    if path.exists():
        raise UsageError(f"{path} exists already.", "It may hold decisions: choose another name.")
    count = 0
    with whole_file(path) as staged, staged.open("w", encoding="utf-8", newline="") as file:
        write = _writer(file, path.suffix)
        for count, row in enumerate(rows, start=1):  # noqa: B007
            sources = "; ".join(_shown(source) for source in row.get("sources") or ())
            variants = "; ".join(f"FALSE {one['claim']} TRUE {one['twin']}" for one in row.get("variants") or ())
            given = {**row, "decision": "", "note": "", "sources": sources, "lint": (lint or {}).get(row["claim_id"])}
            given["variants"] = variants
            write({name: given.get(name) or "" for name in SHEET_COLUMNS})
    return count


def _writer(file: IO[str], suffix: str) -> Any:
    if suffix == ".jsonl":
        return lambda row: file.write(json.dumps(row, ensure_ascii=False) + "\n")
    sheet = csv.DictWriter(file, SHEET_COLUMNS, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\n")
    sheet.writeheader()
    return lambda row: sheet.writerow({name: guard_formula(text) for name, text in row.items()})


def _shown(source: Mapping[str, str | None]) -> str:
    parts = (source["publisher"], source["title"], source["url"])
    opened = f"opened {source['checked_on']}" if source["checked_on"] else "not opened"
    return f"{', '.join(part for part in parts if part)} ({opened})"


def _claim(row: Mapping[str, Any]) -> Claim:
    return Claim.from_row({name: row.get(name) for name in COLUMNS if name != "reviewers"})


def _one_each(made: Iterable[Sequence[str]]) -> dict[str, tuple[str, str, str]]:
    wanted: dict[str, tuple[str, str, str]] = {}
    for claim_id, digest, decision, note in made:
        if decision not in DECISIONS:
            raise UsageError(f"{decision!r} is no decision about {claim_id}.", "Use approve or reject.")
        if len(note) > LONGEST_NOTE:
            raise UsageError(
                f"The note about {claim_id} has {len(note)} characters.", f"Say it in at most {LONGEST_NOTE}."
            )
        if wanted.setdefault(claim_id, (digest, decision, note)) != (digest, decision, note):
            raise UsageError(f"{claim_id} is decided twice, differently.", "Keep one decision for each claim.")
    return wanted


def _check_reviewer(by: str, policy: Policy) -> None:
    if not policy.may_review(by):
        raise UsageError(
            f"{by} is not among the reviewers that the policy names.",
            f"Those are: {', '.join(policy.reviewers)}. Review as one of them, or add the name to policy.yaml.",
        )


def _check(claim_id: str, row: Mapping[str, Any] | None, by: str, digest: str, decision: str) -> None:
    if row is None:
        raise UsageError(
            f"There is no claim {claim_id} in the quarantine.",
            "Check the id; a spreadsheet program may have read it as a number: import that column as text.",
        )
    shown = f"The claim {claim_id} ({row['claim'][:60]!r})"
    if person(by) in submitters(row["submitted_by"]):
        raise DoseError(
            f"{shown} was brought in by {row['submitted_by']}.", f"Somebody other than {by} must decide about it."
        )
    if row_digest(row) != digest:
        raise DoseError(f"{shown} was edited since you read it.", "Read it as it is now and decide again.")
    if decision == APPROVE and row["split"] is None:
        raise DoseError(
            f"{shown} is on no side of the split yet, and an approval holds for the whole row.",
            "Run `hfvaccine quarantine screen` and `hfvaccine quarantine split` before the review.",
        )
    if decision == APPROVE:
        try:
            _claim(row)
        except ClaimError as error:
            raise DoseError(f"{shown} cannot be approved: {error.message}", error.next_step) from error


def _check_format(path: Path) -> None:
    if path.suffix not in SHEET_FORMATS:
        raise UsageError(f"{path.name} is no sheet of decisions.", f"Use a file of {', '.join(SHEET_FORMATS)}.")
