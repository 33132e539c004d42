"""Sealing: the one act that makes a dose of claims, and everything that can forbid it."""

from __future__ import annotations

import io
import json
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hfvaccine.claims import journal
from hfvaccine.claims.claim import COLUMNS, Claim, arrow_schema, is_blank
from hfvaccine.claims.cues import AUDITED, CUE_LIMIT, FEWEST, audit_many
from hfvaccine.claims.dose import (
    FIGURE,
    GIVEN,
    HELD_OUT,
    JOURNAL,
    MANIFEST,
    POLICY,
    SCHEMA_VERSION,
    Dose,
    dump,
    read_journal,
)
from hfvaccine.claims.guard import Guard
from hfvaccine.errors import ClaimError, DoseError
from hfvaccine.files import CARD, digest_of, whole_folder
from hfvaccine.quarantine import store
from hfvaccine.quarantine.acts import findings, is_screened
from hfvaccine.quarantine.policy import Policy, person
from hfvaccine.quarantine.review import REJECTED, Decision, approvals, decisions, standing, states
from hfvaccine.quarantine.store import Quarantine, each
from hfvaccine.version import VERSION

CANARY_NAMESPACE = uuid.UUID("5f3f2a0e-6f0c-5d1b-9a57-0b1ad05e0001")

OBJECTIONS = {
    "incomplete": (
        "lack what a claim must have",
        "Mend the rows and take them in again; `hfvaccine quarantine lint` names each.",
    ),
    "lint": (
        "have lint errors",
        "Run `hfvaccine quarantine lint` and mend them, or name the rule under `lint_off`: the card then says so.",
    ),
    "echo": (
        "say another claim of the set in their correction or twin",
        "Mend the text so that it says what is true by itself; where it is true, the other claim is none: drop that.",
    ),
    "license": ("come under a licence that the policy does not allow", "Leave them out or add to `licenses_allowed`."),
    "harm": ("would do more harm than the policy allows", "Leave them out, or raise `highest_harm`."),
    "sources": (
        "lack sources",
        "Add them with `checked_on`, or lower `sources_needed`, or list 'source_check' under `waives`.",
    ),
    "approvals": ("lack approvals", "Review them, or lower `reviewers_needed` and say so under `waives`."),
}
"""Why a claim is not ready to be sealed: kind -> what is wrong with such claims, and what to do."""

_Objections = dict[str, list[tuple[str, str]]]
"""Kind of objection -> claims as a person knows them, each with what is wrong with it; no claim stands twice."""


def seal(
    claims: Sequence[Claim],
    policy: Policy | Mapping[str, Any],
    into: Path,
    history: Sequence[journal.Entry] = (),
    left_out: Mapping[str, int] | None = None,
    lint_off: Mapping[str, int] | None = None,
) -> Dose:
    """Write the dose folder: the same claims, policy and history give the same bytes.

    Everything is written beside `into` and moved there at the end, so that an
    interrupted or refused seal leaves nothing behind. No clock is read: the dose is
    dated by the last act of its history, or as the policy says.

    Args:
        claims: all claims, each with its split, in any order.
        policy: the rules, as a `Policy` or as the mapping that makes one.
        into: the folder to make; must not exist.
        history: every act before; where the last is this very seal, it is not written again. An approval without a
            review act in it is refused; where there is no history, manifest and card say that approvals are claimed.
        left_out: how many other claims there are, by what is against them.
        lint_off: in how many of the claims each rule that the policy turns off finds something, where that is known.

    Returns:
        The dose as `Dose.load` reads it back.

    Raises:
        DoseError: where `into` exists, two claims are the same, or the policy refuses a claim.
    """
    _check_free(into)
    policy = policy if isinstance(policy, Policy) else Policy.of(policy)
    if history:
        policy = replace(policy, sealed_on=history[-1].at[:10])
    claims = sorted(claims, key=lambda c: c.claim_id)
    _check_claims(claims, policy, history)
    files = _files(Dose.from_claims(claims), policy, list(history), dict(left_out or {}), lint_off)
    with whole_folder(into) as staging:
        for name, content in files.items():
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).write_bytes(content)
        staging.chmod(0o755)
    return Dose.load(into)


def seal_quarantine(quarantine: Quarantine, into: Path, by: str, ready_only: bool = False) -> Dose:
    """Make a dose of what is in a quarantine, and write that into its journal.

    Claims that a reviewer rejected, as they now are, are left out. Sealing again what was
    sealed last gives the same bytes and writes nothing into the journal.

    Args:
        quarantine: where the claims are, with their policy and everything that was done to them.
        into: the folder to make; must not exist.
        by: who seals.
        ready_only: leave out, and count, what is not ready, where otherwise all is refused.

    Returns:
        The dose as `Dose.load` reads it back.

    Raises:
        DoseError: naming what is not done yet, or how many claims are not ready and the first of each kind.
        UsageError: for a name that cannot stand in the journal.
    """
    _check_free(into)
    with quarantine.changing():
        quarantine.verify()
        policy = replace(Policy.read(quarantine.folder / store.POLICY), sealed_by=by)
        history = quarantine.history()
        journal.follow(history, "seal", by, "", {})  # a name that cannot stand in the journal is refused first
        table = quarantine.table()
        missing = _missing(policy, table, history)
        made = decisions(history)
        rejected = [claim_id for claim_id, state in states(table, history, policy)[0].items() if state == REJECTED]
        table = table.filter(pc.invert(pc.is_in(table["claim_id"], pa.array(rejected, pa.string()))))
        lint_errors, lint_off = _lint(quarantine, table, policy)
        ready, against = _judge(table, made, policy, lint_errors)
        _refuse({} if ready_only else against, " Or leave them out with --ready-only.", missing)
        counts = {"rejected": len(rejected), **{kind: len(claims) for kind, claims in against.items()}}
        left_out = {kind: count for kind, count in counts.items() if count}
        sealed = {claim.claim_id for claim in ready}
        found_off = {rule: len(ids & sealed) for rule, ids in lint_off.items()}
        dose = seal(ready, policy, into, history, left_out, found_off)
        entries = read_journal(into)
        if len(entries) > len(history):
            quarantine.commit("seal", by, entries[-1].what, at=entries[-1].at)
        return dose


def _files(
    dose: Dose,
    policy: Policy,
    history: list[journal.Entry],
    left_out: dict[str, int],
    lint_off: Mapping[str, int] | None,
) -> dict[str, bytes]:
    """Every file of the dose folder."""
    import yaml

    from hfvaccine.quarantine import card as dose_card

    claims = sorted((*dose.claims, *dose.heldout), key=lambda c: c.claim_id)
    rows_sha256 = digest_of("".join(c.digest() for c in claims).encode())
    reviews = json.dumps([c.reviewers for c in claims], sort_keys=True)
    canary = f"hfvaccine:canary:{uuid.uuid5(CANARY_NAMESPACE, rows_sha256 + reviews)}"
    published = policy.published()
    policy_text = yaml.safe_dump(published, sort_keys=True, allow_unicode=True)
    files = {
        GIVEN: _parquet(dose.claims, canary),
        HELD_OUT: _parquet(dose.heldout, canary),
        POLICY: f"# {canary} - this data must never appear in a general training corpus\n{policy_text}".encode(),
    }
    what: dict[str, Any] = {
        "name": policy.name,
        "claims": len(dose.claims),
        "heldout": len(dose.heldout),
        "left_out": left_out,
        "rows_sha256": rows_sha256,
        "files": {name: digest_of(content) for name, content in sorted(files.items())},
        "canary": canary,
    }
    entries = _entries(history, claims, policy, what)
    files[JOURNAL] = journal.dumps(entries).encode()
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "name": policy.name,
        "canary": canary,
        "counts": dose.counts(),
        "cue_audit": _audit(claims),
        "left_out": left_out,
        "lint_off": lint_off,
        "waives": list(policy.waives),
        **({} if history else _claimed(claims)),
        "screened": _screened(history),
        "sources": [
            {**source, "taken_in_on": entry.at[:10]}
            for entry in history
            if entry.act == "intake"
            for source in entry.what.get("sources", ())
        ],
        "policy_sha256": what["files"][POLICY],
        "journal_head": entries[-1].hash(),
        "tools": {"hfvaccine": VERSION, "pyarrow": version("pyarrow"), "scikit-learn": version("scikit-learn")},
    }
    files[FIGURE] = dose_card.figure(manifest).encode()
    files[CARD] = dose_card.render(manifest, published).encode()
    digests = {name: digest_of(content) for name, content in sorted(files.items())}
    files[MANIFEST] = dump({**manifest, "files": digests}).encode()
    return files


def _entries(
    history: list[journal.Entry], claims: Sequence[Claim], policy: Policy, what: dict[str, Any]
) -> list[journal.Entry]:
    """The history and the seal after it, unless it ends in that very seal; without one, an intake and the seal."""
    if not history:
        brought_in_by = ", ".join(sorted({c.submitted_by for c in claims} - {""}))
        intake = journal.Entry("intake", brought_in_by, policy.sealed_on, {"claims": len(claims)})
        return journal.chain([intake, journal.Entry("seal", policy.sealed_by, policy.sealed_on, what)])
    by, at = policy.sealed_by, history[-1].at
    if history[-1] == journal.follow(history[:-1], "seal", by, at, what):
        return history
    return [*history, journal.follow(history, "seal", by, at, what)]


def _check_free(into: Path) -> None:
    if into.exists():
        raise DoseError(f"{into} exists already.", "A sealed dose is never overwritten: choose another folder.")


_Missing = list[tuple[str, str]]
"""What a quarantine lacks, and what to do about it."""


def _missing(policy: Policy, table: pa.Table, history: Sequence[journal.Entry]) -> _Missing:
    """Everything that has to be done before any claim can be sealed."""
    found: _Missing = []
    if is_blank(policy.contact):
        step = "Fill in `contact` in policy.yaml: somebody must be told when a claim turns out wrong."
        found.append(("The policy names no contact.", step))
    try:
        _check_expiry(policy, journal.now()[:10])
    except DoseError as error:
        found.append((error.message, error.next_step))
    return found + _steps(table, history)


def _check_expiry(policy: Policy, today: str) -> None:
    if policy.expires_on is not None and policy.expires_on <= today:
        raise DoseError(
            f"The policy's expires_on is {policy.expires_on}, which is past on {today}.",
            "Check the facts again and set a later day.",
        )


def _steps(table: pa.Table, history: Sequence[journal.Entry]) -> _Missing:
    """What is to be done about rows that were not screened as they are, or not split."""
    found: _Missing = []
    if not is_screened(history):
        lack = (
            "The claims were not screened since they last changed: paraphrases may stand on both sides of the split."
        )
        found.append((lack, "Run `hfvaccine quarantine screen`, then `hfvaccine quarantine split`."))
    if unsplit := table["split"].null_count:
        lack = f"{unsplit} claim(s) are on neither side of the split."
        found.append((lack, "Run `hfvaccine quarantine split`, and review after it."))
    return found


def _lint(quarantine: Quarantine, table: pa.Table, policy: Policy) -> tuple[dict[str, str], dict[str, set[str]]]:
    """The first lint error of each claim, and the claims that each rule turned off would have found."""
    errors: dict[str, str] = {}
    off: dict[str, set[str]] = {rule: set() for rule in policy.lint_off}
    for finding in findings(quarantine, table, off=()):
        if finding.rule in off:
            off[finding.rule].add(finding.claim_id)
        elif finding.severity == "error":
            errors.setdefault(finding.claim_id, f"{finding.rule}: {finding.message}")
    return errors, off


def _judge(
    table: pa.Table,
    made: Mapping[str, Mapping[str, Decision]],
    policy: Policy,
    lint_errors: Mapping[str, str],
) -> tuple[list[Claim], _Objections]:
    """The claims that are ready, with their reviewers, and what there is against the others."""
    ready: list[Claim] = []
    against: _Objections = {kind: [] for kind in OBJECTIONS}
    for row in each(table):
        shown = repr(row["claim"][:60])
        if row["claim_id"] in lint_errors:
            against["lint"].append((shown, lint_errors[row["claim_id"]]))
            continue
        try:
            claim = _reviewed(row, made.get(row["claim_id"], {}), policy)
        except ClaimError as error:
            against["incomplete"].append((shown, error.message))
            continue
        if found := objection(claim, policy):
            against[found[0]].append((shown, found[1]))
        else:
            ready.append(claim)
    echoes = _echoes(ready)
    against["echo"] = [(repr(claim.claim[:60]), echoes[claim.claim_id]) for claim in ready if claim.claim_id in echoes]
    return [claim for claim in ready if claim.claim_id not in echoes], against


def _echoes(claims: Sequence[Claim]) -> dict[str, str]:
    """What is against claims whose correction or twin says another claim: loss would fall on that falsehood."""
    falsehoods = Guard(claim.claim for claim in claims)
    found: dict[str, str] = {}
    for claim in claims:
        for name in ("correction", "twin"):
            said = falsehoods.find(getattr(claim, name) or "", but=claim.claim)
            if said is not None:
                found.setdefault(claim.claim_id, f"its {name} says the claim {said[:60]!r}")
    return found


def _reviewed(row: Mapping[str, Any], made: Mapping[str, Decision], policy: Policy) -> Claim:
    """The claim of a row with the approvals of it that hold."""
    reviewers = [
        {"reviewer": name, "decision": decision.decision, "digest": decision.digest, "decided_on": decision.at[:10]}
        for name, decision in sorted(standing(row, made, policy).items())
    ]
    return Claim.from_row({**{name: row[name] for name in COLUMNS}, "reviewers": reviewers})


def _claimed(claims: Sequence[Claim]) -> dict[str, int]:
    """How many reviews the claims name, where no journal has an act for any."""
    named = sum(len(claim.reviewers) for claim in claims)
    return {"reviews_claimed": named} if named else {}


def _without_act(claim: Claim, made: Mapping[str, Mapping[str, Decision]]) -> str | None:
    """The first person who is said to have reviewed a claim, as it is, and of whom no review act says so."""
    acts = {(person(name), d.decision, d.digest) for name, d in made.get(claim.claim_id, {}).items()}
    reviews = ((str(r.get("reviewer")), r.get("decision"), r.get("digest")) for r in claim.reviewers)
    return next((name for name, decision, digest in reviews if (person(name), decision, digest) not in acts), None)


def _check_claims(claims: Sequence[Claim], policy: Policy, history: Sequence[journal.Entry]) -> None:
    doubled = [cid for cid, n in Counter(c.claim_id for c in claims).items() if n > 1]
    if doubled:
        text = next(c.claim for c in claims if c.claim_id == doubled[0])
        raise DoseError(f"{len(doubled)} claim(s) stand twice, first {text!r}.", "Keep one row of each.")
    _check_expiry(policy, policy.sealed_on)
    against: _Objections = {kind: [] for kind in OBJECTIONS}
    made = decisions(history) if any(claim.reviewers for claim in claims) else {}
    echoes = _echoes(claims)
    for claim in claims:
        if found := objection(claim, policy):
            against[found[0]].append((repr(claim.claim[:60]), found[1]))
        elif claim.claim_id in echoes:
            against["echo"].append((repr(claim.claim[:60]), echoes[claim.claim_id]))
        elif history and (name := _without_act(claim, made)):
            said = f"no review act in the journal says what it says of {name}"
            against["approvals"].append((repr(claim.claim[:60]), said))
    _refuse(against)


def objection(claim: Claim, policy: Policy) -> tuple[str, str] | None:
    """The first thing that the policy holds against a claim, as (kind, words)."""
    found = policy.objections(claim)
    valid = len(approvals(claim, policy))
    if valid < policy.reviewers_needed:
        found["approvals"] = f"it has {valid} valid approval(s) of the {policy.reviewers_needed} asked for"
    return next(iter(found.items()), None)


def _refuse(against: _Objections, or_else: str = "", missing: _Missing | None = None) -> None:
    """Refuse where anything is missing or there is anything against any claim, with the count and the first claim of
    each kind, all at once."""
    said = [
        f"{len(claims)} {OBJECTIONS[kind][0]} (first {claims[0][0]}: {claims[0][1]})"
        for kind, claims in against.items()
        if claims
    ]
    lacks, steps = [lack for lack, _ in missing or ()], [step for _, step in missing or ()]
    if said:
        steps += [OBJECTIONS[kind][1] for kind, claims in against.items() if claims]
        lacks.append(f"{sum(map(len, against.values()))} claim(s) cannot be sealed: {'; '.join(said)}.")
    if lacks:
        raise DoseError(" ".join(lacks), " ".join(steps) + or_else * bool(said))


def _screened(history: Sequence[journal.Entry]) -> dict[str, Any] | None:
    """The evaluation sets that the last screening looked at, and those that it could not; None without screening."""
    for entry in reversed(history):
        if entry.act == "screen":
            sets = entry.what.get("evaluation_sets", {})
            return {name: {"status": one["status"], "texts": one.get("texts")} for name, one in sets.items()}
    return None


def _audit(claims: Sequence[Claim]) -> dict[str, Any] | None:
    """The cue audit as the screening makes it, of the claims that are sealed."""
    pairs = [(c.claim, c.twin) for c in claims if c.twin][:AUDITED]  # in the order of their hashes: a fair sample
    if len(pairs) < FEWEST:
        return None
    ids = [c.claim_id for c in claims if c.twin][:AUDITED]
    varied = [(c.claim_id, (v.claim, v.twin)) for c in claims if c.twin for v in c.variants][: AUDITED - len(pairs)]
    audit = audit_many([*pairs, *(pair for _, pair in varied)], [*ids, *(of for of, _ in varied)])
    # The giveaways stay out: fragments of quarantined text do not belong in a public manifest.
    return {"bag_of_words": audit.bag_of_words, "length": audit.length, "pairs": audit.pairs, "limit": CUE_LIMIT}


def _parquet(claims: Sequence[Claim], canary: str) -> bytes:
    schema = arrow_schema().with_metadata({"canary": canary})
    table = pa.Table.from_pylist([c.to_row() for c in claims], schema=schema).select(list(COLUMNS))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
