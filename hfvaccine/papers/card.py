"""The card of an adapter, or of the model it was merged into: whether it passed, what was measured and given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from hfvaccine.papers.binding import recorded_doses
from hfvaccine.papers.shown import common, criterion, link, rows_link
from hfvaccine.text import (
    NOT_KNOWN,
    Markdown,
    clean,
    fill,
    is_commit,
    is_finite,
    is_hub_id,
    is_interval,
    languages,
    number,
    plain,
)
from hfvaccine.validation.scores import (
    ANSWER,
    BASE,
    BELIEF,
    CONTROLS,
    CROSS,
    PARENT,
    PLACEBO,
    PLAIN,
    RECALLED,
    TRAIT,
    VACCINE,
    VERDICT,
    VERDICTS,
)
from hfvaccine.validation.showing.lookup import beyond, change, probe_names
from hfvaccine.validation.showing.names import LAST, PROBES, READINGS, metric_label, probe_label, reading_label
from hfvaccine.validation.showing.sentences import counts, ordered, rise_lines
from hfvaccine.validation.showing.sheets import (
    MAIN_ARMS,
    Sheet,
    calibrated_sheet,
    condition_sheet,
    item_sheet,
    reading_sheet,
)

BANNERS = {
    "passed": "**PASSED.** {what} met every criterion of its gate",
    "undecided": "**UNDECIDED.** {what} may or may not have met its gate: the measurements are too few to say. "
    "Do not take it for an immunized model",
    "failed": "**FAILED.** {what} did not meet its gate. It is published as a record; do not deploy it",
}
NOT_VALIDATED = "**NOT VALIDATED.** {what} was trained but never tested. Nothing is known about what it does."

NOTHING: dict[str, Any] = {"measures": (), "contrasts": (), "other": (), "cue_audit": {}, "belief": {}, "settings": {}}
"""Results before validation."""
MAP = "AUROC of the vaccine by condition and domain, "
PICTURES = {
    "roc_recalled": "ROC curves: how well the verdicts of each arm, after its own recall, tell truths from claims",
    "roc": "ROC curves: how well the verdicts of each arm tell truths from claims",
    **{f"heat_{probe}": MAP + said for probe, said in PROBES.items()},
    "belief": "Belief in each claim before and after, given claims beside claims never given",
    "retention": "What the vaccine gained or lost in other skills, with intervals",
}
"""What a picture shows, by its name; the others are maps of a probe."""


def render(
    immunization: Mapping[str, Any],
    results: Mapping[str, Any],
    repo_id: str | None,
    license: str | None = None,
    endpoint: str = "https://huggingface.co",
    figures: Sequence[str] = (),
) -> str:
    """Write the card of an adapter, or of the model that the record says it was merged into.

    Args:
        immunization: the run's record, as in `immunization.json`.
        results: what was measured, as in `results.json`; an empty mapping before validation.
        repo_id: the model repo it is published as; None for a run folder.
        license: Hub license id; none is stated without it.
        endpoint: the Hub on which `repo_id` is, for the link from the metadata to the results.
        figures: the pictures beside it, such as `figures/roc.svg`.

    Returns:
        The README: YAML metadata with `model-index`, and the text, the gate's verdict before anything
        else. It depends on nothing but the arguments.
    """
    dose, mix, training = immunization["dose"], immunization["mix"], immunization["training"]
    gate = immunization.get("gate") or {}
    results = {**NOTHING, **results}
    measures, other = results["measures"], results["other"]
    merged = training.get("merged")
    kind = "Model" if merged else "Adapter"
    title = repo_id.split("/")[-1] if repo_id else f"{kind} immunized with {dose['name']}"
    criteria = ordered(gate.get("criteria", []))
    first, more = _readings(results)
    return fill(
        "hfvaccine.model_cards",
        "adapter.md",
        {
            **common(immunization, repo_id),
            "metadata": Markdown(_metadata(immunization, measures, title, repo_id, license, endpoint).to_yaml()),
            "banner": _banner(gate, bool(merged)),
            "title": title,
            "dose": dose,
            "dose_link": _dose_link(immunization),
            "several": dose.get("doses") or (immunization.get("booster") or {}).get("doses"),
            "open": [criterion(c) for c in criteria if c.get("verdict") != "passed"],
            "criteria": [(criterion(c), c.get("why")) for c in criteria],
            "not_applicable": gate.get("not_applicable", []),
            "placebo_missing": bool(measures) and not any(m["arm"] in (PLACEBO, PARENT) for m in measures),
            "booster": immunization.get("booster"),
            "boosted_by": Markdown(_boosted_by(immunization)),
            "cross_missing": CROSS in results.get("missing", ()),
            "comparisons": list(_comparisons(results)),
            "first": first,
            "more": more,
            "pictures": _pictures(figures),
            "level": _level(results),
            "mix": mix,
            "mix_link": rows_link(mix),
            "grid": _items([row for row in other if row["kind"] == TRAIT]),
            "trained": partial(_trained, training, immunization["plan"]),
            "skills": _items([row for row in other if row["kind"] not in (BELIEF, TRAIT)]),
            "rises": rise_lines(results["belief"]),
            "named": len(results["belief"].get("named", ())),
        },
    )


def _metadata(
    immunization: Mapping[str, Any],
    measures: Sequence[Mapping[str, Any]],
    title: str,
    repo_id: str | None,
    license: str | None,
    endpoint: str,
) -> ModelCardData:
    base, dose, mix = immunization["base"], immunization["dose"], immunization["mix"]
    merged = bool(immunization["training"].get("merged"))
    base_id = base.get("id") if is_hub_id(base.get("id"), namespace_needed=False) else None
    dose_id = dose.get("id") if is_hub_id(dose.get("id")) else None
    doses = recorded_doses(immunization)
    dose_ids = [one["id"] for one in doses if is_hub_id(one.get("id"))]
    # A folder can be called like a repo; what came from a Hub has a revision.
    mix_id = mix.get("id") if is_hub_id(mix.get("id")) and mix.get("revision") else None
    results_file = f"{endpoint}/{repo_id}/resolve/main/results.json" if repo_id else "results.json"
    evaluations = [
        EvalResult(
            task_type="text-generation",
            task_name="Telling false claims from their true twins",
            dataset_type=dose_id or "hfvaccine-dose",
            dataset_name=clean(dose["name"]),
            dataset_revision=dose["revision"] if is_commit(dose.get("revision")) else None,
            metric_type=clean(m["metric"]),
            metric_name=clean(_metric_name(m)),
            metric_value=m["value"],
            metric_args={
                "probe": clean(m["probe"]),
                "reading": clean(m["reading"]),
                # A list of its own each time: one list twice would become a YAML alias.
                "interval": list(m["interval"]) if is_interval(m.get("interval")) else None,
                "pairs": m.get("pairs"),
                "clusters": m.get("clusters"),
            },
            source_name="hfvaccine",
            source_url=results_file,
        )
        for m in measures
        if m["arm"] == VACCINE and m["condition"] == PLAIN and is_finite(m["value"])
    ]
    verdict = (immunization.get("gate") or {}).get("verdict")
    gate_tag = verdict if verdict in BANNERS else "not-validated"
    return ModelCardData(
        base_model=base_id,
        base_model_relation=("finetune" if merged else "adapter") if base_id else None,
        datasets=list(dict.fromkeys(filter(None, (dose_id, *dose_ids, mix_id)))) or None,
        language=languages(dose.get("languages", [])),
        library_name="transformers" if merged else "peft",
        license=license,
        pipeline_tag="text-generation",
        tags=[
            "hfvaccine",
            "hfvaccine-merged" if merged else "hfvaccine-adapter",
            f"hfvaccine-gate-{gate_tag}",
            "model-immunization",
            *(["hfvaccine-booster"] if immunization.get("booster") else []),
        ],
        model_name=clean(title) if evaluations else None,
        eval_results=evaluations or None,
        # What `hfvaccine list` shows without fetching a file.
        hfvaccine={
            key: value
            for key, value in {
                "share_given": immunization["plan"].get("share_given"),
                "dose_revision": dose.get("revision") if is_commit(dose.get("revision")) else None,
                "more_doses": len(doses) - 1 or None,
                "base_revision": base.get("revision") if is_commit(base.get("revision")) else None,
            }.items()
            if value is not None and (isinstance(value, str) or is_finite(value))
        },
    )


def _dose_link(immunization: Mapping[str, Any]) -> Markdown:
    """The dose, or each of several that have a share of their own."""
    its = immunization["dose"].get("doses") or [immunization["dose"]]
    links = [link(one["id"], "datasets/") if is_hub_id(one.get("id")) else Markdown(plain(one["name"])) for one in its]
    return Markdown(" and ".join(links))


def _metric_name(measure: Mapping[str, Any]) -> str:
    about = f"{probe_label(measure['probe'])}, {reading_label(measure['reading'])}"
    name = f"{metric_label(measure['metric'], alone=True)} ({about})"
    if is_interval(measure.get("interval")):
        low, high = measure["interval"]
        name += f" [{low}, {high}]"
    return name


def _banner(gate: Mapping[str, Any], merged: bool) -> Markdown:
    """The gate's verdict, and how many criteria made it."""
    what = "The adapter that was merged into this model" if merged else "This adapter"
    banner = BANNERS.get(str(gate.get("verdict")))
    if banner is None:
        return Markdown(NOT_VALIDATED.format(what=what))
    return Markdown(banner.format(what=what) + (f" ({counts(gate)})." if gate.get("criteria") else "."))


def _comparisons(results: Mapping[str, Any]) -> Iterator[Markdown]:
    """Does the vaccine tell true from false better than its controls, beyond the interval?"""
    contrasts = [
        c
        for c in results["contrasts"]
        if (c["metric"], c["condition"], c["arm"]) == ("auroc", PLAIN, VACCINE)
        and c["reading"] in VERDICTS
        and is_interval(c.get("interval"))
    ]
    arms = {m["arm"] for m in results["measures"]}
    for against in (PARENT, BASE, PLACEBO, CONTROLS):
        if against not in arms:
            continue
        its = [c for c in contrasts if c["against"] == against]
        said = [
            _compared(c)
            for reading in READINGS
            for probe in PROBES
            for c in its
            if (c["probe"], c["reading"]) == (probe, reading) and probe not in LAST
        ]
        named = {CONTROLS: "controls only", PARENT: "its parent"}.get(against, against)
        yield Markdown(f"**Against {named}**: {'; '.join(said) or 'cannot be said, as no contrast has an interval'}.")


def _compared(contrast: Mapping[str, Any]) -> str:
    outcome = beyond(contrast["interval"], "**better**", "**worse**", "no difference shown")
    after = " after recall" * (contrast["reading"] == RECALLED)
    return f"{outcome} on {probe_label(contrast['probe'])}{after}, AUROC {change(contrast)}"


def _readings(results: Mapping[str, Any]) -> tuple[list[Markdown], list[Markdown]]:
    """What stands above all else, verdicts on the dose's own claims; and what is folded away below."""
    names = probe_names(results)
    read = {
        way: [(name, s.narrow()) for name in names if (s := reading_sheet(results, name, way))] for way in READINGS
    }
    # A verdict at once stands below where there is one after recall, which is what the gate looks at.
    head = RECALLED if read[RECALLED] else VERDICT
    own = [name for name in PROBES if name not in LAST]
    first = [narrow[0] for name, narrow in read[head] if name in own]
    more = [sheet for name, narrow in read[head] for sheet in (narrow[1:] if name in own else narrow)]
    more += [s for way in VERDICTS[::-1] for name in names if (s := calibrated_sheet(results, name, way))]
    more += [sheet for way in (VERDICT, ANSWER) if way != head for _, narrow in read[way] for sheet in narrow]
    more += [sheet for name in names if (sheet := condition_sheet(results, name))]
    return [_drawn(sheet) for sheet in first], [_drawn(sheet) for sheet in more]


def _boosted_by(immunization: Mapping[str, Any]) -> str:
    """The command that makes a booster again; "" for what is none."""
    booster, plan = immunization.get("booster"), immunization["plan"]
    if not booster:
        return ""
    asked = [_place(booster["parent"], "PATH/TO/PARENT")]
    if booster["claims_new"]:
        asked += ["--dose", _place(booster["doses"][0], "PATH/TO/DOSE")]
    for claim in booster["retracted"]:
        asked += ["--retract", claim if re.fullmatch(r"[\w.-]+", str(claim)) else "CLAIM"]
    if booster["continued"]:
        asked += ["--continue", "--replay", booster["replay"]]
    asked += ["--share", plan["share_asked"], "--max-steps", plan["steps"], "--seed", plan["seed"]]
    asked += ["--learning-rate", immunization["training"].get("learning_rate")]
    return " ".join(str(one) if isinstance(one, str) or is_finite(one) else NOT_KNOWN for one in asked)


def _place(named: Mapping[str, Any], unknown: str) -> str:
    """A Hub repo at its commit, or what stands for a place that nobody else has."""
    known = is_hub_id(named.get("id"), namespace_needed=False) and is_commit(named.get("revision"))
    return (
        f"{named['id']}@{named['revision']}"
        if known
        else str(named["id"])
        if named.get("id") == "starter"
        else unknown
    )


def _items(rows: Sequence[Mapping[str, Any]]) -> Markdown | None:
    sheet = item_sheet(rows, MAIN_ARMS)
    return None if sheet is None else _drawn(sheet)


def _drawn(sheet: Sheet) -> Markdown:
    """A sheet as a table below its title; nothing in it is markup."""
    rows = [[plain(cell) for cell in row] for row in sheet.rows]
    rows = [[f"**{row[0]}**", *row[1:]] if row[0] == VACCINE else row for row in rows]
    lines = [["", *map(plain, sheet.columns[1:])], ["---", *("---:" for _ in sheet.columns[1:])], *rows]
    note = f" {plain(sheet.note)}" if sheet.note else ""
    return Markdown("\n".join([f"**{plain(sheet.title)}**{note}", "", *(f"| {' | '.join(line)} |" for line in lines)]))


def _pictures(figures: Sequence[str]) -> list[tuple[Markdown, str]]:
    """Where each picture lies and what it shows, the known ones first."""
    names = {m[1]: path for path in figures if (m := re.fullmatch(r"figures/([a-z0-9_]{1,80})\.(?:svg|png)", path))}
    shown = [*(name for name in PICTURES if name in names), *sorted(set(names) - set(PICTURES))]
    maps = {name: MAP + probe_label(name.removeprefix("heat_")) for name in names}
    return [(Markdown(names[name]), PICTURES.get(name, maps[name])) for name in shown]


def _trained(training: Mapping[str, Any], plan: Mapping[str, Any], arm: str) -> str:
    """That a control arm was trained, on how much; nothing where the record does not say it."""
    arms = training.get("control_arms")
    if not isinstance(arms, Mapping) or not is_finite(arms.get(arm)):
        return ""
    return f"trained on {number(arms[arm])} tokens, the vaccine on {number(plan.get('tokens'))}, not published"


def _level(results: Mapping[str, Any]) -> str:
    level = results["settings"].get("level")
    return f"{100 * level:.0f} % intervals" if is_finite(level) else "intervals"
