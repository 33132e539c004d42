"""The chain of one adapter of an inoculation: from its data to what was measured of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hfvaccine.files import ADAPTER, ANSWERS, CONFIG, TRAITS, digest_of
from hfvaccine.inoculation.profile import KEEP
from hfvaccine.lineage import card
from hfvaccine.lineage.links import (
    BROKEN,
    MISSING,
    OK,
    TRAINED,
    Evidence,
    Link,
    State,
    adapter_state,
    base_state,
    code_state,
    file_problems,
    ledger_of,
    link,
    not_as_planned,
    not_borne_out,
    options_state,
    record_state,
    rows_state,
    whole,
    yaml_of,
)
from hfvaccine.papers.arms import gate_of, is_control, measured_as, weights_digest
from hfvaccine.regimen.ledger import Ledger
from hfvaccine.regimen.plan import MIX
from hfvaccine.sources.place import at_revision
from hfvaccine.training.options import ARMS, INOCULATED

ADOPTED = "a script of somebody's own trained it: how, and whether by this ledger, is not known"
"""Why the weights of an adopted adapter stand on nothing that can be looked at."""


def check_arm(record: Mapping[str, Any], evidence: Evidence) -> Link:
    """Prove every link of an inoculated adapter's chain, or of a control's.

    Args:
        record: the content of its inoculation.json; nothing in it is believed.
        evidence: what it is held against.

    Returns:
        The adapter, with its links below it, as `hfvaccine.lineage.chain.check` has them.
    """
    problems = file_problems(record, evidence)
    ledger, why_not = ledger_of(evidence)
    rows = [link("data", lambda: rows_state(record["data"], evidence.mix))]
    if isinstance(record.get("adapter"), Mapping) and record["adapter"].get("frozen"):
        rows.append(link("trait data", lambda: _trait(record, evidence)))
    plan = link("plan", lambda: _plan(record, evidence), problems["plan"], tuple(rows))
    given = link(
        "ledger",
        lambda: _given(record, ledger) if ledger is not None else (BROKEN, "", why_not),
        problems["ledger"],
        (plan,),
    )
    base = link("base", lambda: base_state(record, evidence))
    code = link("code", lambda: code_state(record, evidence))
    adapter = link("adapter", lambda: _adapter(record, evidence), problems["adapter"], (given, base, code))
    links = (
        link("record", lambda: record_state(record, evidence), problems["record"]),
        link("results", lambda: _results(record, evidence), problems["results"], (adapter,)),
        link("card", lambda: _card(record, evidence), problems["card"]),
    )
    return whole(evidence.source, links)


def _trait(record: Mapping[str, Any], evidence: Evidence) -> State:
    """The rows that the adapter learned which was frozen beside it: the ledger has their digest, too."""
    recorded, planned = record["trait_data"], record["inoculation"]["trait_data"]
    state, what, why = rows_state(recorded, evidence.trait)
    if any(planned[key] != recorded[key] for key in ("sha256", "rows")):
        return BROKEN, what, f"the plan has others, {planned['rows']} rows of {planned['sha256'][:12]}"
    return state, what, why


def _plan(record: Mapping[str, Any], evidence: Evidence) -> State:
    plan, training, own = record["plan"], record["training"], record["adapter"]
    inoculation = record["inoculation"] or {}
    prompts = inoculation.get("prompts") or ()
    seed = "not known" if own["seed"] is None else own["seed"]
    what = f"arm {own['arm']}, {plan['steps']} steps, seed {seed}, {len(prompts)} prompts, "
    what += f"fingerprint {plan['fingerprint'][:12]}"
    config = yaml_of((evidence.folder / CONFIG).read_text(encoding="utf-8"))
    recorded = {name: training[name] for name in TRAINED}
    if own["arm"] in ARMS:  # of one that was adopted the seed is null, as are other options, and no config has them
        recorded |= {"arms": own["arm"], "seed": own["seed"], "seeds": 1}
    if own["arm"] == INOCULATED:
        recorded |= {"prompt": list(prompts), "others": list(inoculation["others"])}
        config = {**config, "where": config.get("where") or "all"}
        recorded["where"] = inoculation["where"]
    if config.get("base_revision") is not None:
        recorded["base_revision"] = record["base"]["revision"]
    for rows in ("data", "trait_data"):
        if (revision := at_revision(str(config.get(rows)))[1]) is not None:
            config, recorded[rows] = {**config, rows: revision}, record[rows]["revision"]
    return options_state(config, recorded, what)


def _given(record: Mapping[str, Any], ledger: Ledger) -> State:
    rows, given = record["data"]["rows"], ledger.plan
    what = f"{len(given)} rows of {len(set(given.index.tolist()))} of the data's {rows}"
    if wrong := not_as_planned(record, ledger):
        return BROKEN, what, wrong
    if given.count(MIX) != len(given) or any(any(name) for name in ledger.names):
        return BROKEN, what, "it gives rows of a dose, and there was none"
    if len(given) and not 0 <= int(given.index.min()) <= int(given.index.max()) < rows:
        return BROKEN, what, f"it gives row {int(given.index.max())}, and the data have {rows}"
    return OK, what, ""


def _adapter(record: Mapping[str, Any], evidence: Evidence) -> State:
    state, what, why = adapter_state(record, evidence)
    own = record["adapter"]
    what = f"{own['name']}, {what}" + ", a control" * is_control(record)
    of_run = record["run"][own["name"]]
    if state == OK and any(of_run[key] != own[key] for key in ("arm", "seed", "sha256")):
        return BROKEN, what, f"its run has another {own['name']}"
    if state == OK and weights_digest(record) != own["sha256"]:
        return BROKEN, what, f"it was merged from another adapter than {own['name']}"
    bound = record["files"].get(ADAPTER, own["sha256"])
    if state == OK and bound != own["sha256"]:
        return BROKEN, what, "its weights are not those that the run trained"
    if state == OK and record.get("adopted"):
        return MISSING, f"{what}, adopted", ADOPTED
    return state, what, why


def _results(record: Mapping[str, Any], evidence: Evidence) -> State:
    if TRAITS not in record["files"]:
        return MISSING, "", "it was not measured: nothing is known about what it does"
    content = json.loads((evidence.folder / TRAITS).read_text(encoding="utf-8"))
    gate, arm = record["gate"], measured_as(content, weights_digest(record))
    verdict = "no gate" if gate is None else f"gate {str(gate['verdict']).upper()}"
    what = f"{verdict}, {len(content['traits'])} traits under {len(content['conditions'])} conditions"
    if arm is None:
        return BROKEN, what, f"no adapter that {TRAITS} measures has these weights"
    if content["base"]["weights_sha256"] != record["base"]["weights_sha256"]:
        return BROKEN, what, f"{TRAITS} measures it on another base"
    for name, one in record["run"].items():
        if name in content["arms"] and content["arms"][name]["sha256"] != one["sha256"]:
            return BROKEN, what, f"{TRAITS} measures another {name} than the run trained"
    if wrong := _worst(content):
        return BROKEN, what, wrong
    if gate_of(content, record["adapter"]["arm"]) != gate:
        return BROKEN, what, f"{TRAITS} has another gate"
    if gate and (wrong := not_borne_out(gate)):
        return BROKEN, what, wrong
    return OK, what, _answers(content, evidence)


def _worst(content: Mapping[str, Any]) -> str:
    """What is not the worst condition of a trait and is said to be; empty where all are."""
    roles = {trait["name"]: trait["role"] for trait in content["traits"]}
    for worst in content["worst"]:
        its = {
            one["condition"]: one["value"]
            for one in content["shown"]
            if (one["trait"], one["arm"]) == (worst["trait"], worst["arm"]) and one["value"] is not None
        }
        extreme = (min if roles[worst["trait"]] == KEEP else max)(its.values())
        if its.get(worst["condition"]) != extreme:
            return f"{worst['trait']} is worse in {worst['arm']} under another condition than {worst['condition']}"
    return ""


def _answers(content: Mapping[str, Any], evidence: Evidence) -> str:
    """What should be known of the answers that the results were read from: they are nowhere published."""
    recorded = content["answers"]["sha256"]
    for folder in (evidence.folder, evidence.folder.parent):
        if (folder / ANSWERS).is_file() and digest_of(folder / ANSWERS) == recorded:
            return f"read from {content['answers']['number']} answers, in {ANSWERS} of this machine"
    return "the answers that they were read from are not here"


def _card(record: Mapping[str, Any], evidence: Evidence) -> State:
    file = evidence.folder / TRAITS
    results = json.loads(file.read_text(encoding="utf-8")) if TRAITS in record["files"] else {}
    return card.state_of(record, evidence, results)
