"""The chain from claim to results: each link proved from an adapter's own papers and what could be fetched. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from hfvaccine.claims import journal
from hfvaccine.claims.dose import Dose, read_journal
from hfvaccine.dosing.choice import choose
from hfvaccine.dosing.forms import TRAINING_FORMS, conversations
from hfvaccine.errors import HfvaccineError, LineageError
from hfvaccine.files import (
    ADAPTER,
    ADAPTER_CONFIG,
    CARD,
    CONFIG,
    FIGURES,
    LEDGER,
    MERGED,
    PUBLISHED,
    RECALLS,
    RECORD,
    RESULTS,
    SCORES,
    combined,
    digest_of,
    load_yaml,
)
from hfvaccine.lineage import card
from hfvaccine.papers.binding import check_record
from hfvaccine.quarantine.policy import Policy
from hfvaccine.quarantine.review import approvals
from hfvaccine.quarantine.seal import objection
from hfvaccine.regimen.ledger import Ledger, Name, read_ledger
from hfvaccine.regimen.plan import CONTROL, DOSE, KINDS, MIX
from hfvaccine.sources.place import PINNED
from hfvaccine.text import is_commit
from hfvaccine.validation.judging.gate import bears_out, verdict_of

OK, MISSING, BROKEN = STATES = ("ok", "missing", "broken")

LOADED = (
    *("adapter_*", "*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.gguf", "*.pkl"),
    *("*.py", "*.index.json", "config.json", "additional_chat_templates/*"),
)
"""What libraries load from a model's folder, wherever it came from."""

NAMED_MOST = 5
"""How many of many names are given."""


@dataclass(frozen=True)
class Link:
    """One link of the chain.

    Args:
        name: what it is, such as "dose".
        state: one of `STATES`. Missing is what could not be looked at; broken is what is not what was recorded.
        what: what is there, in words.
        why: why it is missing or broken; of a link that is ok, what one should know about it all the same.
        below: what it was made from.
    """

    name: str
    state: str
    what: str
    why: str = ""
    below: tuple[Link, ...] = ()

    def all(self) -> Iterator[Link]:
        """This link and all below it."""
        yield self
        for link in self.below:
            yield from link.all()

    def count(self) -> Counter[str]:
        """How many links there are below it, by state."""
        return Counter(link.state for link in self.all() if link is not self)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        plain: dict[str, Any] = {"name": self.name, "state": self.state, "what": self.what, "why": self.why}
        return plain | {"below": [link.as_dict() for link in self.below]}


@dataclass(frozen=True)
class Lack:
    """Something that could not be had.

    Args:
        state: `MISSING`, or `BROKEN` where that itself shows that the record is wrong.
        why: in words, with what to do.
    """

    state: str
    why: str


@dataclass(frozen=True)
class Evidence:
    """What a record is held against.

    Args:
        source: the adapter as it is known.
        folder: holds its files, as far as they may be published.
        names: every file that is beside the record, fetched or not.
        recalls: the recall notices, None where there are none.
        dose: that the record names.
        base: SHA-256 of the recorded weight files of the base, by name.
        mix: the digest of the mix.
        code: digest of the hfvaccine that is installed.
        version: of the hfvaccine that is installed.
        today: ISO date.
    """

    source: str
    folder: Path
    names: tuple[str, ...]
    recalls: bytes | None
    dose: Dose | Lack
    base: Mapping[str, str] | Lack
    mix: str | Lack
    code: str
    version: str
    today: str


def check(record: Mapping[str, Any], evidence: Evidence) -> Link:
    """Prove every link of an adapter's chain.

    Args:
        record: the content of its immunization.json; nothing in it is believed.
        evidence: what it is held against.

    Returns:
        The adapter, with its links below it; it is broken where any of them is, and else missing where any is.
        What a link stands on is below it: results on the adapter, that on the ledger, and so down to the claims.
    """
    problems = _file_problems(record, evidence)
    ledger, why_not = _ledger(evidence)
    dose = _link("dose", lambda: _dose(record, evidence), below=_people(record, evidence))
    mix = _link("mix", lambda: _mix(record, evidence))
    plan = _link("plan", lambda: _plan(record, evidence), problems["plan"], (dose, mix))
    given = _link(
        "ledger",
        lambda: _given(record, evidence, ledger) if ledger is not None else (BROKEN, "", why_not),
        problems["ledger"],
        (plan,),
    )
    base = _link("base", lambda: _base(record, evidence))
    code = _link("code", lambda: _code(record, evidence))
    adapter = _link("adapter", lambda: _adapter(record, evidence), problems["adapter"], (given, base, code))
    links = (
        _link("record", lambda: _record(record, evidence), problems["record"]),
        _link("results", lambda: _results(record, evidence), problems["results"], (adapter,)),
        _link("card", lambda: _card(record, evidence), problems["card"]),
        *_recalls(record, evidence),
    )
    whole = Link(evidence.source, OK, "", "", links)
    states = whole.count()
    state = next((state for state in (BROKEN, MISSING) if states[state]), OK)
    return Link(evidence.source, state, summary(states), "", links)


def summary(states: Mapping[str, int]) -> str:
    """How a chain stands, in a sentence."""
    if states[BROKEN]:
        return f"broken: {states[BROKEN]} of {sum(states.values())} links do not hold"
    if states[MISSING]:
        return f"nothing is broken, and {states[MISSING]} of {sum(states.values())} links could not be checked"
    return f"all {sum(states.values())} links hold"


_State = tuple[str, str, str]
"""State, what, why."""


def _link(name: str, look: Callable[[], _State], problems: Iterable[str] = (), below: tuple[Link, ...] = ()) -> Link:
    """A link, whatever the papers hold: they may come from a stranger."""
    try:
        state, what, why = look()
    except HfvaccineError as error:
        state, what, why = BROKEN, "", error.message
    except (AttributeError, ArithmeticError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
        state, what, why = BROKEN, "", f"what is recorded of it is malformed ({type(error).__name__}: {error})"
    found = [*problems, *([why] if state == BROKEN else [])]
    return Link(name, BROKEN, what, "; ".join(found), below) if found else Link(name, state, what, why, below)


def _record(record: Mapping[str, Any], evidence: Evidence) -> _State:
    check_record(record)
    text = (evidence.folder / RECORD).read_text(encoding="utf-8")
    forms = {json.dumps(record, indent=2, ensure_ascii=plain) + "\n" for plain in (True, False)}
    if text not in forms and json.loads(text) == record:  # white space, a key given twice: no part of any digest
        return BROKEN, "", f"{RECORD} is not written as it was"
    bound = record["files"]
    apart = {RECORD, RECALLS, ".gitattributes", "LICENSE", "NOTICE"}
    unbound = [name for name in evidence.names if name not in bound and name not in apart]
    tops = sorted({name.split("/")[0] + ("/" if "/" in name else "") for name in unbound})
    note = f"not bound by it: {_few(tops)}" if tops else ""
    return OK, f"binds {len(bound)} files, finished {record['finished_at']}", note


def _file_problems(record: Mapping[str, Any], evidence: Evidence) -> dict[str, list[str]]:
    """What is wrong with the files beside the record, by the link that each belongs to."""
    problems: dict[str, list[str]] = {name: [] for name in ("record", "plan", "ledger", "adapter", "results", "card")}
    bound = record.get("files")
    if not isinstance(bound, Mapping):
        problems["record"].append("it binds no files")
        bound = {}
    merged = _is_merged(record)
    for name, digest in bound.items():
        if name == RECORD or not _matches(name, PUBLISHED):
            problems["record"].append(f"it binds {name}, which is no file of an adapter")
        elif name not in evidence.names or not (evidence.folder / name).is_file():
            problems[_owner(name)].append(f"{name} is gone")
        elif digest_of(evidence.folder / name) != digest:
            problems[_owner(name)].append(f"{name} was changed")
    weights = [name for name in bound if name.endswith(".safetensors")] if merged else [ADAPTER, ADAPTER_CONFIG]
    for name in (CARD, CONFIG, RESULTS, LEDGER, *(weights or ["model.safetensors"])):
        if name not in bound:
            problems[_owner(name)].append(f"the record does not bind {name}")
    for name in evidence.names:
        foreign = not merged and _matches(name, MERGED)
        if foreign or (name not in bound and name != RECORD and _matches(name, (*PUBLISHED, *LOADED))):
            problems[_owner(name)].append(f"{name} was added, and may be loaded or read in place of what is bound")
    return problems


def _owner(name: str) -> str:
    known = {RESULTS: "results", SCORES: "results", LEDGER: "ledger", CARD: "card", CONFIG: "plan"}
    return "results" if name.startswith(f"{FIGURES}/") else known.get(name, "adapter")


def _matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name matches a pattern part by part: what leaves the folder matches none."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return False
    return any(len(path.parts) == pattern.count("/") + 1 and path.match(pattern) for pattern in patterns)


def _is_merged(record: Mapping[str, Any]) -> bool:
    training = record.get("training")
    return isinstance(training, Mapping) and bool(training.get("merged"))


def _people(record: Mapping[str, Any], evidence: Evidence) -> tuple[Link, ...]:
    """The reviewers, and below them the claims that they reviewed."""
    dose = evidence.dose
    if isinstance(dose, Lack):
        lacking = MISSING, "", "the dose could not be read"
        return (_link("reviewers", lambda: lacking, below=(_link("claims", lambda: lacking),)),)
    claims = _link("claims", lambda: _claims(record, dose))
    return (_link("reviewers", lambda: _reviewers(record, dose), below=(claims,)),)


def _claims(record: Mapping[str, Any], dose: Dose) -> _State:
    recorded = record["dose"]
    chosen = [*recorded["claim_ids"], *recorded["not_reached"]]
    what = f"{len(chosen)} of the dose's {len(dose.claims)}, chosen to be given"
    held_out = {claim.claim_id for claim in dose.heldout}.intersection(chosen)
    if held_out:
        return BROKEN, what, f"{len(held_out)} of them are held out by the dose, first {min(held_out)}"
    unknown = sorted(set(chosen) - {claim.claim_id for claim in dose.claims})
    if unknown:
        return BROKEN, what, f"{len(unknown)} of them are not in the dose, first {unknown[0]}"
    counted = recorded["claims_chosen"], recorded["claims_in_dose"]
    languages = sorted({claim.language for claim in dose.claims if claim.claim_id in set(chosen)})
    if recorded["languages"] != languages:
        return BROKEN, what, f"their languages are {', '.join(languages)}, the record has {recorded['languages']}"
    if len(set(chosen)) != len(chosen) or counted != (len(chosen), len(dose.claims)):
        return BROKEN, what, f"the record counts {counted[0]} of {counted[1]}"
    return OK, what, ""


def _reviewers(record: Mapping[str, Any], dose: Dose) -> _State:
    policy = Policy.of(dose.policy)
    chosen = set(record["dose"]["claim_ids"])
    given = [claim for claim in dose.claims if claim.claim_id in chosen]
    approving = [approvals(claim, policy) for claim in given]
    people = set().union(*approving)
    who = f"{len(people)} people approved {sum(map(bool, approving))} of" if people else "nobody approved any of"
    what = f"{who} {len(given)} claims; the policy asks for {policy.reviewers_needed} approvals of each"
    against = [(claim.claim_id, found) for claim in given if (found := objection(claim, policy))]
    if against:
        claim_id, found = against[0]
        return BROKEN, what, f"{len(against)} claims do not meet the policy, first {claim_id}: {found[1]}"
    waived = f"it waives {' and '.join(policy.waives).replace('_', ' ')}" if policy.waives else ""
    return OK, what, waived


def _dose(record: Mapping[str, Any], evidence: Evidence) -> _State:
    recorded, dose = record["dose"], evidence.dose
    what = _at(recorded)
    if isinstance(dose, Lack):
        return dose.state, what, dose.why
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
    if dose.path is not None and any(entry.act == "recall" for entry in read_journal(dose.path)):
        notes.append("its journal RECALLS claims")
    return OK, what, "; ".join(notes)


def _mix(record: Mapping[str, Any], evidence: Evidence) -> _State:
    recorded, mix = record["mix"], evidence.mix
    what = f"{_at(recorded)}, {recorded['rows']} rows"
    if isinstance(mix, Lack):
        return mix.state, what, mix.why
    if mix != recorded["sha256"]:
        return BROKEN, what, f"its rows are {mix[:12]}, and {recorded['sha256'][:12]} were given"
    return OK, what, ""


def _base(record: Mapping[str, Any], evidence: Evidence) -> _State:
    recorded, base = record["base"], evidence.base
    weights = dict(recorded["weights"])
    what = f"{_at(recorded)}, {len(weights)} weight file{'s' * (len(weights) != 1)}"
    if not weights or combined(weights) != recorded["weights_sha256"]:
        return BROKEN, what, "the digest of its weights is not that of its weight files"
    if isinstance(base, Lack):
        return base.state, what, base.why
    if sorted(base.values()) == sorted(weights.values()):  # the same weights, whatever the file is called now
        return OK, what, ""
    wrong = sorted(name for name, digest in weights.items() if base.get(name) != digest)
    return BROKEN, what, f"{_few(wrong)}: not the weights that were trained on"


def _code(record: Mapping[str, Any], evidence: Evidence) -> _State:
    recorded = record["code"]
    what = f"hfvaccine {recorded['version']}, {recorded['sha256'][:12]}"
    if recorded["version"] != record["hfvaccine"]:
        return BROKEN, what, f"the record says that hfvaccine {record['hfvaccine']} made it"
    if recorded["sha256"] == evidence.code:
        return OK, what, ""
    return MISSING, what, f"this is hfvaccine {evidence.version}, {evidence.code[:12]}"


def _plan(record: Mapping[str, Any], evidence: Evidence) -> _State:
    plan, training = record["plan"], record["training"]
    what = f"share {plan['share_asked']:.2%} of the {plan['unit']}, {plan['schedule']}, {plan['steps']} steps, "
    what += f"seed {plan['seed']}, fingerprint {plan['fingerprint'][:12]}"
    config = _yaml((evidence.folder / CONFIG).read_text(encoding="utf-8"))
    recorded = {name: plan[name] for name in ("schedule", "unit", "seed")} | {"share": plan["share_asked"]}
    for name in ("learning_rate", "lora_r", "batch_size", "gradient_accumulation_steps"):
        recorded[name] = training[name]
    for name in PINNED:
        if config.get(f"{name}_revision") is not None:
            recorded[f"{name}_revision"] = record[name]["revision"]
    wrong = [name for name, value in recorded.items() if config.get(name) != value]
    if wrong:
        first = wrong[0]
        return BROKEN, what, f"{CONFIG} has {first} {config.get(first)!r}, the record {recorded[first]!r}"
    return OK, what, ""


def _ledger(evidence: Evidence) -> tuple[Ledger | None, str]:
    try:
        return read_ledger(evidence.folder / LEDGER), ""
    except HfvaccineError as error:
        return None, error.message


def _given(record: Mapping[str, Any], evidence: Evidence, ledger: Ledger) -> _State:
    plan, dose, given = record["plan"], record["dose"], ledger.plan
    what = f"{len(given)} rows, {plan['dose_rows']} of them of {dose['claims_given']} claims, "
    what += f"{plan['share_given']:.2%} of the {plan['unit']}"
    if ledger.fingerprint != plan["fingerprint"]:
        return BROKEN, what, f"it is of another plan, {ledger.fingerprint[:12]}"
    counted = {
        "steps": given.steps,
        "rows": len(given),
        "rows_per_step": given.rows_per_step,
        "tokens": int(given.tokens.sum()),
        "share_given": round(given.share_given, 5),
        "share_asked": given.share,
        "schedule": given.schedule,
        "unit": given.unit,
        "seed": given.seed,
    }
    for code in (DOSE, CONTROL, MIX):
        counted |= {f"{KINDS[code]}_rows": given.count(code), f"{KINDS[code]}_tokens": given.tokens_of(code)}
    wrong = [name for name, value in counted.items() if plan[name] != value]
    if wrong:
        return BROKEN, what, f"its {wrong[0]} are {counted[wrong[0]]}, the record says {plan[wrong[0]]}"
    if ledger.settings["inoculation"] != record["inoculation"]:
        return BROKEN, what, "its inoculation is not what the record says"
    if ledger.proved() != plan["fingerprint"]:
        return BROKEN, what, "its rows are not those of the plan: their fingerprint is another"
    ids = {name[0] for name, kind in zip(ledger.names, given.kind, strict=True) if kind == DOSE}
    if len(ids) != dose["claims_given"]:
        return BROKEN, what, f"it gives {len(ids)} claims, the record says {dose['claims_given']}"
    beyond = ids.symmetric_difference(dose["claim_ids"])
    if beyond:
        return BROKEN, what, f"{len(beyond)} claims are in it or in the record alone, first {min(map(str, beyond))}"
    shown = {name[0] for name in ledger.names if name[0] is not None} - ids - set(dose["not_reached"])
    if shown:
        return BROKEN, what, f"{len(shown)} of its claims were never chosen, first {min(map(str, shown))}"
    return _named_rows(record, evidence, ledger, what)


def _named_rows(record: Mapping[str, Any], evidence: Evidence, ledger: Ledger, what: str) -> _State:
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
    return OK, what, "" if made is not None else "which claim each row is of was not held against the dose"


def _rows_of_dose(record: Mapping[str, Any], evidence: Evidence, most: int) -> dict[int, list[Name]] | None:
    """What the dose and control rows are of, in their order; None where this hfvaccine cannot make them again."""
    dose = evidence.dose
    config = _yaml((evidence.folder / CONFIG).read_text(encoding="utf-8"))
    if isinstance(dose, Lack) or config.get("forms") or record["code"]["sha256"] != evidence.code:
        return None
    claims = choose(dose, record["dose"]["claims_chosen"], record["plan"]["seed"])
    chosen = [*record["dose"]["claim_ids"], *record["dose"]["not_reached"]]
    if sorted(claim.claim_id for claim in claims) != sorted(chosen):
        raise LineageError("The claims that were chosen are not those that its seed chooses.")
    pairs = list(islice(conversations(claims, TRAINING_FORMS), most))
    doses: list[Name] = [(pair.dose.claim_id, pair.dose.form, pair.dose.control) for pair in pairs]
    controls = [pair.control for pair in pairs if pair.control is not None]
    return {DOSE: doses, CONTROL: [(row.claim_id, row.form, row.control) for row in controls]}


def _adapter(record: Mapping[str, Any], evidence: Evidence) -> _State:
    training = record["training"]
    what = f"{training['method']} of rank {training['lora_r']}, merged" if _is_merged(record) else ""
    if what:
        return OK, what, ""
    what = f"{training['method']} of rank {training['lora_r']}, {training['dtype']}"
    config = json.loads((evidence.folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    if config.get("base_model_name_or_path") != record["base"]["id"]:
        return BROKEN, what, f"{ADAPTER_CONFIG} names another base, {config.get('base_model_name_or_path')}"
    if config.get("revision") not in (None, record["base"]["revision"]):
        return BROKEN, what, f"{ADAPTER_CONFIG} names another revision of the base, {config['revision']}"
    if config.get("r") != training["lora_r"]:
        return BROKEN, what, f"{ADAPTER_CONFIG} has rank {config.get('r')}"
    return OK, what, ""


def _results(record: Mapping[str, Any], evidence: Evidence) -> _State:
    content = json.loads((evidence.folder / RESULTS).read_text(encoding="utf-8"))
    gate = record["gate"]
    what = f"gate {str(gate['verdict']).upper()}, {len(content['measures'])} numbers with intervals"
    if content["gate"] != gate:
        return BROKEN, what, f"{RESULTS} has another gate, {str(content['gate']['verdict']).upper()}"
    verdict = verdict_of(criterion["verdict"] for criterion in gate["criteria"])
    if gate["verdict"] != verdict:
        return BROKEN, what, f"by its {len(gate['criteria'])} criteria the gate is {verdict.upper()}"
    for criterion in gate["criteria"]:
        if not bears_out(criterion):
            said = f"{criterion['name']} is said to have {criterion['verdict']}"
            return BROKEN, what, f"{said} at {criterion['interval']}, and needs {criterion['threshold']}"
    return OK, what, ""


def _card(record: Mapping[str, Any], evidence: Evidence) -> _State:
    text = (evidence.folder / CARD).read_text(encoding="utf-8")
    results = json.loads((evidence.folder / RESULTS).read_text(encoding="utf-8"))
    found = card.held_against(text, record, results)
    if found.wrong:
        return BROKEN, found.what, found.wrong
    if found.reworded and record["code"]["sha256"] == evidence.code:
        return BROKEN, found.what, found.reworded
    if found.reworded:
        return MISSING, found.what, "another hfvaccine made it: its tables were not held against the results"
    return OK, found.what, ""


def _yaml(text: str) -> Any:
    import yaml

    try:
        return load_yaml(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def _recalls(record: Mapping[str, Any], evidence: Evidence) -> tuple[Link, ...]:
    """The recall notices, where there are any; those of claims that this adapter was given are loud."""
    if evidence.recalls is None:
        return ()
    text = evidence.recalls
    below: list[Link] = []

    def look() -> _State:
        given = set(record["dose"]["claim_ids"])
        entries = journal.loads(text)
        notices = [entry for entry in entries if entry.act == "recall"]
        for notice in notices:
            if notice.what["claim_id"] in given:
                said = f"{notice.what.get('reason') or 'no reason given'} ({notice.by}, {notice.at})"
                below.append(Link(f"RECALLED {notice.what['claim_id']}", OK, "this adapter was given it", said))
        return OK, f"{len(notices)} notices, {len(below)} of them of claims that this adapter was given", ""

    link = _link("recalls", look)
    return (Link(link.name, link.state, link.what, link.why, tuple(below)),)


def _at(recorded: Mapping[str, Any]) -> str:
    """A thing by its name and revision, which must be a commit: a branch may be anything tomorrow."""
    revision = recorded["revision"]
    if revision is None:
        return str(recorded["id"])
    if not is_commit(revision):
        raise LineageError(f"its revision {revision!r} is no commit")
    return f"{recorded['id']} at {revision[:12]}"


def _few(names: list[str]) -> str:
    more = len(names) - NAMED_MOST
    return ", ".join(names[:NAMED_MOST]) + (f" and {more} more" if more > 0 else "")
