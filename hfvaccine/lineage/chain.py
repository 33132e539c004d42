"""The chain from claim to results: each link proved from an adapter's own papers and what could be fetched. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from hfvaccine.claims import journal
from hfvaccine.claims.claim import Claim
from hfvaccine.claims.dose import Dose
from hfvaccine.claims.joined import Joined
from hfvaccine.dosing.choice import choose
from hfvaccine.dosing.forms import TRAINING_FORMS, conversations
from hfvaccine.errors import LineageError
from hfvaccine.files import CONFIG, RESULTS
from hfvaccine.lineage import card
from hfvaccine.lineage.ancestry import contradiction, given_ever
from hfvaccine.lineage.links import (
    BROKEN,
    MISSING,
    OK,
    TRAINED,
    Evidence,
    Lack,
    Link,
    State,
    adapter_state,
    base_state,
    code_state,
    file_problems,
    ledger_of,
    link,
    named_at,
    not_as_planned,
    not_borne_out,
    options_state,
    record_state,
    rows_state,
    whole,
    yaml_of,
)
from hfvaccine.papers.binding import asked_of, recorded_doses
from hfvaccine.quarantine.policy import Policy
from hfvaccine.quarantine.recalls import NOT_AFFECTED, Recalls, noticed
from hfvaccine.quarantine.review import approvals
from hfvaccine.quarantine.seal import objection
from hfvaccine.regimen.given import in_rounds
from hfvaccine.regimen.ledger import Ledger, Name, shares_of
from hfvaccine.regimen.plan import CONTROL, DOSE, MIX
from hfvaccine.sources.place import PINNED

RECALLED = "RECALLED "
"""Begins the name of the link of a recalled claim."""


def check(record: Mapping[str, Any], evidence: Evidence) -> Link:
    """Prove every link of an adapter's chain.

    Args:
        record: the content of its immunization.json; nothing in it is believed.
        evidence: what it is held against.

    Returns:
        The adapter, with its links below it; it is broken where any of them is, and else missing where any is.
        What a link stands on is below it: results on the adapter, that on the ledger, and so down to the claims.
    """
    problems = file_problems(record, evidence)
    ledger, why_not = ledger_of(evidence)
    dose = link("dose", lambda: _dose(record, evidence), below=_people(record, evidence))
    mix = link("mix", lambda: rows_state(record["mix"], evidence.mix))
    plan = link("plan", lambda: _plan(record, evidence), problems["plan"], (dose, mix))
    given = link(
        "ledger",
        lambda: _given(record, evidence, ledger) if ledger is not None else (BROKEN, "", why_not),
        problems["ledger"],
        (plan,),
    )
    base = link("base", lambda: base_state(record, evidence))
    code = link("code", lambda: code_state(record, evidence))
    adapter = link(
        "adapter",
        lambda: adapter_state(record, evidence),
        problems["adapter"],
        (given, base, code, *_ancestry(record, evidence)),
    )
    links = (
        link("record", lambda: record_state(record, evidence), problems["record"]),
        link("results", lambda: _results(record, evidence), problems["results"], (adapter,)),
        link("card", lambda: _card(record, evidence), problems["card"]),
        *_recalls(record, evidence),
    )
    return whole(evidence.source, links)


def _people(record: Mapping[str, Any], evidence: Evidence) -> tuple[Link, ...]:
    """The reviewers, and below them the claims that they reviewed."""
    dose = evidence.dose
    if isinstance(dose, Lack):
        lacking = MISSING, "", "the dose could not be read"
        return (link("reviewers", lambda: lacking, below=(link("claims", lambda: lacking),)),)
    claims = link("claims", lambda: _claims(record, dose))
    return (link("reviewers", lambda: _reviewers(record, dose), below=(claims,)),)


def _claims(record: Mapping[str, Any], dose: Dose) -> State:
    recorded = record["dose"]
    chosen = [*recorded["claim_ids"], *recorded["not_reached"]]
    what = f"{len(chosen)} of the dose's {len(dose.claims)}, chosen to be given"
    held_out = {claim.claim_id for claim in dose.heldout}.intersection(chosen)
    if held_out:
        return BROKEN, what, f"{len(held_out)} of them are held out by the dose, first {min(held_out)}"
    unknown = sorted(set(chosen) - {claim.claim_id for claim in dose.claims})
    if unknown:
        return BROKEN, what, f"{len(unknown)} of them are not in the dose, first {unknown[0]}"
    if isinstance(dose, Joined) and dose.shares:
        for one, claims in zip(recorded["doses"], dose.by_part, strict=True):
            own = {claim.claim_id for claim in claims}
            its = len(own.intersection(chosen)), len(own.intersection(recorded["claim_ids"]))
            if its != (one["claims_chosen"], one["claims_given"]):
                return BROKEN, what, f"of {one['name']} {its[0]} were chosen and {its[1]} given, the record says else"
    counted = recorded["claims_chosen"], recorded["claims_in_dose"]
    languages = sorted({claim.language for claim in dose.claims if claim.claim_id in set(chosen)})
    if recorded["languages"] != languages:
        return BROKEN, what, f"their languages are {', '.join(languages)}, the record has {recorded['languages']}"
    if len(set(chosen)) != len(chosen) or counted != (len(chosen), len(dose.claims)):
        return BROKEN, what, f"the record counts {counted[0]} of {counted[1]}"
    return OK, what, ""


def _reviewers(record: Mapping[str, Any], dose: Dose) -> State:
    chosen = set(record["dose"]["claim_ids"])
    given = [claim for claim in dose.claims if claim.claim_id in chosen]
    if not isinstance(dose, Joined):
        return _reviewed(given, Policy.of(dose.policy))
    states = [
        _reviewed([claim for claim in claims if claim.claim_id in chosen], Policy.of(part.policy))
        for claims, part in zip(dose.by_part, dose.parts, strict=True)
    ]
    return _all_of(states)


def _reviewed(given: Sequence[Claim], policy: Policy) -> State:
    """Who approved claims that were given, by the policy of their dose."""
    approving = [approvals(claim, policy) for claim in given]
    people = set().union(*approving)
    who = f"{len(people)} people approved {sum(map(bool, approving))} of" if people else "nobody approved any of"
    what = f"{who} {len(given)} claims; the policy asks for {policy.reviewers_needed} approvals of each"
    against = [(claim.claim_id, found) for claim in given if (found := objection(claim, policy))]
    if against:
        claim_id, found = against[0]
        return BROKEN, what, f"{len(against)} claims do not meet the policy, first {claim_id}: {found[1]}"
    waived = f", and waives {' and '.join(policy.waives).replace('_', ' ')}" if policy.waives else ""
    return OK, what + waived, ""


def _all_of(states: Sequence[State]) -> State:
    """One state of several: the first that is broken, or all that is said."""
    broken = next((state for state in states if state[0] == BROKEN), None)
    what, why = (" | ".join(filter(None, (state[place] for state in states))) for place in (1, 2))
    return broken or (OK, what, why)


def _dose(record: Mapping[str, Any], evidence: Evidence) -> State:
    recorded, dose = record["dose"], evidence.dose
    if isinstance(dose, Lack):
        return dose.state, " | ".join(map(named_at, recorded_doses(record))), dose.why
    if not isinstance(dose, Joined):
        return _sealed(recorded, dose, evidence)
    doses = zip(recorded_doses(record), dose.parts, strict=True)
    state = _all_of([_sealed(one, part, evidence) for one, part in doses])
    if state[0] == OK and dose.digest() != recorded["manifest_sha256"]:
        return BROKEN, state[1], "the digest of all of them together is another"
    return state


def _sealed(recorded: Mapping[str, Any], dose: Dose, evidence: Evidence) -> State:
    """One dose by what a record says of it."""
    what = named_at(recorded)
    digest = dose.digest()
    if digest != recorded["manifest_sha256"]:
        return BROKEN, what, f"its manifest is {digest[:12]}, and {recorded['manifest_sha256'][:12]} was given"
    what += f", manifest {digest[:12]}, {len(dose.claims)} claims to give and {len(dose.heldout)} held out"
    if recorded["name"] != dose.name:
        return BROKEN, what, f"it is called {dose.name!r}, the record says {recorded['name']!r}"
    notes = []
    expires_on = dose.policy.get("expires_on")
    if expires_on and str(expires_on) <= evidence.today:
        notes.append(f"it EXPIRED on {expires_on}")
    if recalled := [one for one in Recalls.of(dose).standing.values() if one.status != NOT_AFFECTED]:
        notes.append(f"{len(recalled)} of its claims are RECALLED")
    return OK, what, "; ".join(notes)


def _plan(record: Mapping[str, Any], evidence: Evidence) -> State:
    plan, training = record["plan"], record["training"]
    what = f"share {plan['share_asked']:.2%} of the {plan['unit']}, {plan['schedule']}, {plan['steps']} steps, "
    what += f"seed {plan['seed']}, fingerprint {plan['fingerprint'][:12]}"
    config = yaml_of((evidence.folder / CONFIG).read_text(encoding="utf-8"))
    recorded: dict[str, Any] = {name: plan[name] for name in ("schedule", "unit", "seed")} | {
        "share": plan["share_asked"]
    }
    recorded |= {name: training[name] for name in TRAINED}
    for name in PINNED:
        if config.get(f"{name}_revision") is not None:
            recorded[f"{name}_revision"] = record[name]["revision"]
    if several := record["dose"].get("doses"):
        recorded["dose"] = asked_of(several)
        what += f" of {len(several)} doses"
    return options_state(config, recorded, what)


def _given(record: Mapping[str, Any], evidence: Evidence, ledger: Ledger) -> State:
    plan, dose, given = record["plan"], record["dose"], ledger.plan
    what = f"{len(given)} rows, {plan['dose_rows']} of them of {dose['claims_given']} claims, "
    what += f"{plan['share_given']:.2%} of the {plan['unit']}"
    if wrong := not_as_planned(record, ledger):
        return BROKEN, what, wrong
    ids = ledger.claims()
    if len(ids) != dose["claims_given"]:
        return BROKEN, what, f"it gives {len(ids)} claims, the record says {dose['claims_given']}"
    beyond = ids.symmetric_difference(dose["claim_ids"])
    if beyond:
        return BROKEN, what, f"{len(beyond)} claims are in it or in the record alone, first {min(map(str, beyond))}"
    shown = {name[0] for name in ledger.names if name[0] is not None} - ids - set(dose["not_reached"])
    if shown:
        return BROKEN, what, f"{len(shown)} of its claims were never chosen, first {min(map(str, shown))}"
    several = [(one["share_asked"], one["manifest_sha256"], one["share_given"]) for one in dose.get("doses", ())]
    if list(given.shares) != [asked for asked, _, _ in several]:
        return BROKEN, what, "the shares of its doses are not those of the record"
    of_each = shares_of(given, ledger.origins) if several and ledger.origins else {}
    if other := [digest for _, digest, its in several if of_each.get(digest, 0.0) != its]:
        return BROKEN, what, f"what it gives of the dose {other[0][:12]} is not what the record says"
    return _named_rows(record, evidence, ledger, what)


def _named_rows(record: Mapping[str, Any], evidence: Evidence, ledger: Ledger, what: str) -> State:
    """Whether each row names the claim, form and control that it is of: the fingerprint is over numbers alone."""
    given = ledger.plan
    made = _rows_of_dose(record, evidence, int(given.index[given.kind == DOSE].max(initial=-1)) + 1)
    seen: dict[tuple[int, int], Name] = {}
    for number, (kind, index, name) in enumerate(
        zip(given.kind.tolist(), given.index.tolist(), ledger.names, strict=True)
    ):
        if kind == MIX:
            expected: Name | None = (None, None, None)
        elif made is None:
            expected = seen.setdefault((kind, index), name)
        else:
            expected = made[kind][index] if index < len(made[kind]) else None
        if name != expected:
            return BROKEN, what, f"row {number} names claim {name[0]} in the form {name[1]}, which it is not"
    if isinstance(evidence.dose, Joined):
        origins = evidence.dose.origins
        of = tuple(None if name[0] is None else origins.get(name[0]) for name in ledger.names)
        if ledger.origins != of:
            return BROKEN, what, "the doses that its rows are said to be of are not theirs"
    return OK, what, "" if made is not None else "which claim each row is of was not held against the dose"


def _rows_of_dose(record: Mapping[str, Any], evidence: Evidence, most: int) -> dict[int, list[Name]] | None:
    """What the dose and control rows are of, in their order; None where this hfvaccine cannot make them again."""
    dose = evidence.dose
    config = yaml_of((evidence.folder / CONFIG).read_text(encoding="utf-8"))
    if isinstance(dose, Lack) or config.get("forms") or record["code"]["sha256"] != evidence.code:
        return None
    several = record["dose"].get("doses") or [record["dose"]]
    numbers, seed = [one["claims_chosen"] for one in several], record["plan"]["seed"]
    streams = [choose(claims, number, seed) for claims, number in zip(dose.streams, numbers, strict=True)]
    claims = [claim for its in streams for claim in its]
    chosen = [*record["dose"]["claim_ids"], *record["dose"]["not_reached"]]
    if sorted(claim.claim_id for claim in claims) != sorted(chosen):
        raise LineageError("The claims that were chosen are not those that its seed chooses.")
    rounds = in_rounds([conversations(its, TRAINING_FORMS) for its in streams])
    pairs = list(islice((given for its in rounds for _, given in its), most))
    doses: list[Name] = [(pair.dose.claim_id, pair.dose.form, pair.dose.control) for pair in pairs]
    controls = [pair.control for pair in pairs if pair.control is not None]
    return {DOSE: doses, CONTROL: [(row.claim_id, row.form, row.control) for row in controls]}


def _ancestry(record: Mapping[str, Any], evidence: Evidence) -> tuple[Link, ...]:
    """Of a booster, the adapter that it boosts, with its whole chain below it, and so back to the base."""
    if not record.get("booster"):
        return ()
    below = check(*evidence.parent).below if isinstance(evidence.parent, tuple) else ()
    below = _of_claims(below, given_ever(record) - set(record["booster"]["retracted"]))
    return (link("parent", lambda: _parent(record, evidence), below=below),)


def _of_claims(links: Iterable[Link], claim_ids: Collection[str]) -> tuple[Link, ...]:
    """The links without the recalls of other claims: what a parent alone was given is loud in its own chain."""
    kept = (one for one in links if not one.name.startswith(RECALLED) or one.name.removeprefix(RECALLED) in claim_ids)
    return tuple(replace(one, below=_of_claims(one.below, claim_ids)) for one in kept)


def _parent(record: Mapping[str, Any], evidence: Evidence) -> State:
    booster, parent = record["booster"], evidence.parent
    way = "trained on from it" if booster["continued"] else "made anew from the base"
    what = f"{named_at(booster['parent'])}, {way}"
    if not isinstance(parent, tuple):
        return (parent.state, what, parent.why) if parent else (MISSING, what, "it was not looked at")
    if wrong := contradiction(record, parent[0]):
        return BROKEN, what, wrong
    return OK, what, f"{len(booster['retracted'])} of its claims are RETRACTED" if booster["retracted"] else ""


def _results(record: Mapping[str, Any], evidence: Evidence) -> State:
    content = json.loads((evidence.folder / RESULTS).read_text(encoding="utf-8"))
    gate = record["gate"]
    what = f"gate {str(gate['verdict']).upper()}, {len(content['measures'])} numbers with intervals"
    if content["gate"] != gate:
        return BROKEN, what, f"{RESULTS} has another gate, {str(content['gate']['verdict']).upper()}"
    if wrong := not_borne_out(gate):
        return BROKEN, what, wrong
    return OK, what, ""


def _card(record: Mapping[str, Any], evidence: Evidence) -> State:
    return card.state_of(record, evidence, json.loads((evidence.folder / RESULTS).read_text(encoding="utf-8")))


def _recalls(record: Mapping[str, Any], evidence: Evidence) -> tuple[Link, ...]:
    """What its dose recalls, and the notices beside the adapter, where there are any.

    Those of claims that this adapter was given are loud, unless they were taken back.
    """
    recalled = evidence.dose.recalls if isinstance(evidence.dose, Dose) else ()
    asked = not isinstance(evidence.dose, Dose) or evidence.dose.recalls_asked
    if evidence.recalls is None and not recalled and asked:
        return ()
    notices = evidence.recalls
    below: list[Link] = []

    def look() -> State:
        given = given_ever(record) - set((record.get("booster") or {}).get("retracted", ()))
        said = noticed(journal.loads(notices)) if notices is not None else {}
        if isinstance(evidence.dose, Dose):  # which knows more than a notice that was made of it
            said |= {one.claim_id: (one.status, one.told()) for one in Recalls.of(evidence.dose).holding}
        for claim_id, (status, why) in said.items():
            if claim_id in given and status != NOT_AFFECTED:
                below.append(Link(f"{RECALLED}{claim_id}", OK, "this adapter was given it", why))
        what = f"{len(said)} notices, {len(below)} of them of claims that this adapter was given"
        return (OK, what, "") if asked else (MISSING, what, "the Hub of its dose could not be asked for newer ones")

    found = link("recalls", look)
    return (Link(found.name, found.state, found.what, found.why, tuple(below)),)
