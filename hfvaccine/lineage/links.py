"""The links that every adapter's chain has, whatever it was trained on: files, weights, base, code, ledger. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hfvaccine.claims.dose import Dose
from hfvaccine.errors import HfvaccineError, LineageError
from hfvaccine.files import (
    ADAPTER,
    ADAPTER_CONFIG,
    CARD,
    CONFIG,
    FIGURES,
    LEDGER,
    MERGED,
    NOTICE,
    RECALLS,
    RESULTS,
    SCORES,
    SIGNATURE,
    TRAITS,
    combined,
    digest_of,
    load_yaml,
)
from hfvaccine.papers.binding import check_record
from hfvaccine.papers.kind import IMMUNIZED, Kind
from hfvaccine.regimen.ledger import Ledger, read_ledger
from hfvaccine.regimen.plan import CONTROL, DOSE, KINDS, MIX
from hfvaccine.text import few, is_commit
from hfvaccine.validation.judging.gate import bears_out, verdict_of

OK, MISSING, BROKEN = STATES = ("ok", "missing", "broken")

LOADED = (
    *("adapter_*", "*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.gguf", "*.pkl"),
    *("*.py", "*.index.json", "config.json", "additional_chat_templates/*"),
)
"""What libraries load from a model's folder, wherever it came from."""


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
        mix: the digest of the mix, or the data of an inoculation.
        code: digest of the hfvaccine that is installed.
        version: of the hfvaccine that is installed.
        today: ISO date.
        kind: of its papers.
        trait: the digest of the rows that an adapter learned which was frozen beside it.
        parent: of a booster, the record of the adapter that it boosts, and what that is held against; else None.
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
    kind: Kind = IMMUNIZED
    trait: str | Lack = Lack(MISSING, "there are none")
    parent: tuple[Mapping[str, Any], Evidence] | Lack | None = None


def summary(states: Mapping[str, int]) -> str:
    """How a chain stands, in a sentence."""
    if states[BROKEN]:
        return f"broken: {states[BROKEN]} of {sum(states.values())} links do not hold"
    if states[MISSING]:
        return f"nothing is broken, and {states[MISSING]} of {sum(states.values())} links could not be checked"
    return f"all {sum(states.values())} links hold"


State = tuple[str, str, str]
"""State, what, why."""


def link(name: str, look: Callable[[], State], problems: Iterable[str] = (), below: tuple[Link, ...] = ()) -> Link:
    """A link, whatever the papers hold: they may come from a stranger."""
    try:
        state, what, why = look()
    except HfvaccineError as error:
        state, what, why = BROKEN, "", error.message
    except (AttributeError, ArithmeticError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
        state, what, why = BROKEN, "", f"what is recorded of it is malformed ({type(error).__name__}: {error})"
    found = [*problems, *([why] if state == BROKEN else [])]
    return Link(name, BROKEN, what, "; ".join(found), below) if found else Link(name, state, what, why, below)


def record_state(record: Mapping[str, Any], evidence: Evidence) -> State:
    """Whether the record is what was written."""
    check_record(record, evidence.kind)
    text = (evidence.folder / evidence.kind.record).read_text(encoding="utf-8")
    forms = {json.dumps(record, indent=2, ensure_ascii=plain) + "\n" for plain in (True, False)}
    if text not in forms and json.loads(text) == record:  # white space, a key given twice: no part of any digest
        return BROKEN, "", f"{evidence.kind.record} is not written as it was"
    bound = record["files"]
    apart = {evidence.kind.record, RECALLS, NOTICE, SIGNATURE, ".gitattributes", "LICENSE", "NOTICE"}
    unbound = [name for name in evidence.names if name not in bound and name not in apart]
    tops = sorted({name.split("/")[0] + ("/" if "/" in name else "") for name in unbound})
    note = f"not bound by it: {few(tops)}" if tops else ""
    return OK, f"binds {len(bound)} files, finished {record['finished_at']}", note


def file_problems(record: Mapping[str, Any], evidence: Evidence) -> dict[str, list[str]]:
    """What is wrong with the files beside the record, by the link that each belongs to."""
    problems: dict[str, list[str]] = {name: [] for name in ("record", "plan", "ledger", "adapter", "results", "card")}
    bound = record.get("files")
    if not isinstance(bound, Mapping):
        problems["record"].append("it binds no files")
        bound = {}
    merged, own, published = is_merged(record), evidence.kind.record, evidence.kind.published
    for name, digest in bound.items():
        if name == own or not _matches(name, published):
            problems["record"].append(f"it binds {name}, which is no file of an adapter")
        elif name not in evidence.names or not (evidence.folder / name).is_file():
            problems[_owner(name)].append(f"{name} is gone")
        elif digest_of(evidence.folder / name) != digest:
            problems[_owner(name)].append(f"{name} was changed")
    weights = [name for name in bound if name.endswith(".safetensors")] if merged else [ADAPTER, ADAPTER_CONFIG]
    results = [RESULTS] if evidence.kind is IMMUNIZED else []  # an inoculated adapter need not have been measured
    for name in (CARD, CONFIG, *results, LEDGER, *(weights or ["model.safetensors"])):
        if name not in bound:
            problems[_owner(name)].append(f"the record does not bind {name}")
    for name in evidence.names:
        foreign = not merged and _matches(name, MERGED)
        if foreign or (name not in bound and name != own and _matches(name, (*published, *LOADED))):
            problems[_owner(name)].append(f"{name} was added, and may be loaded or read in place of what is bound")
    return problems


def _owner(name: str) -> str:
    known = {RESULTS: "results", SCORES: "results", TRAITS: "results", LEDGER: "ledger", CARD: "card", CONFIG: "plan"}
    return "results" if name.startswith(f"{FIGURES}/") else known.get(name, "adapter")


def _matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name matches a pattern part by part: what leaves the folder matches none."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return False
    return any(len(path.parts) == pattern.count("/") + 1 and path.match(pattern) for pattern in patterns)


def is_merged(record: Mapping[str, Any]) -> bool:
    """Whether an adapter was merged into its base."""
    training = record.get("training")
    return isinstance(training, Mapping) and bool(training.get("merged"))


def base_state(record: Mapping[str, Any], evidence: Evidence) -> State:
    """Whether the base has the weights that are recorded."""
    recorded, base = record["base"], evidence.base
    weights = dict(recorded["weights"])
    what = f"{named_at(recorded)}, {len(weights)} weight file{'s' * (len(weights) != 1)}"
    if not weights or combined(weights) != recorded["weights_sha256"]:
        return BROKEN, what, "the digest of its weights is not that of its weight files"
    if isinstance(base, Lack):
        return base.state, what, base.why
    if sorted(base.values()) == sorted(weights.values()):  # the same weights, whatever the file is called now
        return OK, what, ""
    wrong = sorted(name for name, digest in weights.items() if base.get(name) != digest)
    return BROKEN, what, f"{few(wrong)}: not the weights that were trained on"


def code_state(record: Mapping[str, Any], evidence: Evidence) -> State:
    """Whether this is the hfvaccine that made it."""
    recorded = record["code"]
    what = f"hfvaccine {recorded['version']}, {recorded['sha256'][:12]}"
    if recorded["version"] != record["hfvaccine"]:
        return BROKEN, what, f"the record says that hfvaccine {record['hfvaccine']} made it"
    if recorded["sha256"] == evidence.code:
        return OK, what, ""
    return MISSING, what, f"this is hfvaccine {evidence.version}, {evidence.code[:12]}"


def ledger_of(evidence: Evidence) -> tuple[Ledger | None, str]:
    """The ledger, or why there is none."""
    try:
        return read_ledger(evidence.folder / LEDGER), ""
    except HfvaccineError as error:
        return None, error.message


def adapter_state(record: Mapping[str, Any], evidence: Evidence) -> State:
    """Whether the adapter says of itself what is recorded."""
    training = record["training"]
    what = f"{training['method']} of rank {training['lora_r']}, merged" if is_merged(record) else ""
    if what:
        return OK, what, ""
    what = f"{training['method']} of rank {training['lora_r']}" + f", {training['dtype']}" * bool(training["dtype"])
    config = json.loads((evidence.folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    if config.get("base_model_name_or_path") != record["base"]["id"]:
        return BROKEN, what, f"{ADAPTER_CONFIG} names another base, {config.get('base_model_name_or_path')}"
    if config.get("revision") not in (None, record["base"]["revision"]):
        return BROKEN, what, f"{ADAPTER_CONFIG} names another revision of the base, {config['revision']}"
    if config.get("r") != training["lora_r"]:
        return BROKEN, what, f"{ADAPTER_CONFIG} has rank {config.get('r')}"
    return OK, what, ""


def rows_state(recorded: Mapping[str, Any], now: str | Lack) -> State:
    """Whether the rows of a mix, or the data of an inoculation, are those that are recorded.

    Args:
        recorded: what the record says of them.
        now: their digest.
    """
    what = f"{named_at(recorded)}, {recorded['rows']} rows"
    if isinstance(now, Lack):
        return now.state, what, now.why
    if now != recorded["sha256"]:
        return BROKEN, what, f"its rows are {now[:12]}, and {recorded['sha256'][:12]} were given"
    return OK, what, ""


TRAINED = ("learning_rate", "lora_r", "batch_size", "gradient_accumulation_steps")
"""Options of a run that its record has under "training"."""


def options_state(config: Mapping[str, Any], recorded: Mapping[str, Any], what: str) -> State:
    """Whether the options of a run are those that are recorded.

    Args:
        config: the options.
        recorded: what they should be, as far as it is recorded.
        what: the plan, in words.
    """
    wrong = next((name for name, value in recorded.items() if config.get(name) != value), None)
    if wrong is None:
        return OK, what, ""
    return BROKEN, what, f"{CONFIG} has {wrong} {config.get(wrong)!r}, the record {recorded[wrong]!r}"


def not_borne_out(gate: Mapping[str, Any]) -> str:
    """What of a gate its own criteria and numbers do not bear out; empty where nothing is."""
    made = verdict_of(criterion["verdict"] for criterion in gate["criteria"])
    if gate["verdict"] != made:
        return f"by its {len(gate['criteria'])} criteria the gate is {made.upper()}"
    for criterion in gate["criteria"]:
        if not bears_out(criterion):
            said = f"{criterion['name']} is said to have {criterion['verdict']}"
            return f"{said} at {criterion['interval']}, and needs {criterion['threshold']}"
    return ""


def yaml_of(text: str) -> Any:
    """The content of a YAML text; a `ValueError` for what is none."""
    import yaml

    try:
        return load_yaml(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def named_at(recorded: Mapping[str, Any]) -> str:
    """A thing by its name and revision, which must be a commit: a branch may be anything tomorrow."""
    revision = recorded["revision"]
    if revision is None:
        return str(recorded["id"])
    if not is_commit(revision):
        raise LineageError(f"its revision {revision!r} is no commit")
    return f"{recorded['id']} at {revision[:12]}"


def whole(source: str, links: tuple[Link, ...]) -> Link:
    """An adapter with its links below it; it is broken where any of them is, and else missing where any is."""
    states = Link(source, OK, "", "", links).count()
    state = next((state for state in (BROKEN, MISSING) if states[state]), OK)
    return Link(source, state, summary(states), "", links)


def not_as_planned(record: Mapping[str, Any], ledger: Ledger) -> str:
    """What in a ledger is not as the record's plan says; empty where nothing is.

    Args:
        record: with the "plan" and the "inoculation" of the run.
        ledger: of the run.
    """
    plan, given = record["plan"], ledger.plan
    if ledger.fingerprint != plan["fingerprint"]:
        return f"it is of another plan, {ledger.fingerprint[:12]}"
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
        return f"its {wrong[0]} are {counted[wrong[0]]}, the record says {plan[wrong[0]]}"
    if ledger.settings["inoculation"] != record["inoculation"]:
        return "its inoculation is not what the record says"
    if ledger.proved() != plan["fingerprint"]:
        return "its rows are not those of the plan: their fingerprint is another"
    return ""
