"""The card of an adapter, or of the model it was merged into: whether it passed, what was measured and given."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

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
    percent,
    plain,
    with_interval,
)
from hfvaccine.validation.scores import (
    ALWAYS_FALSE,
    ANSWER,
    BASE,
    BELIEF,
    CONTROLS,
    CUE,
    LOWER,
    PLACEBO,
    PLAIN,
    TRAIT,
    VACCINE,
    VERDICT,
)
from hfvaccine.validation.showing.names import (
    ARMS,
    FEW,
    PROBES,
    capital,
    condition_label,
    item_label,
    metric_label,
    probe_label,
    words,
)

BANNERS = {
    "passed": "**PASSED.** {what} met every criterion of its gate",
    "undecided": "**UNDECIDED.** {what} may or may not have met its gate: the measurements are too few to say. "
    "Do not take it for an immunized model",
    "failed": "**FAILED.** {what} did not meet its gate. It is published as a record; do not deploy it",
}
NOT_VALIDATED = "**NOT VALIDATED.** {what} was trained but never tested. Nothing is known about what it does."

HEADLINE = ("auroc", "true_acceptance", "rejection")
SIGNAL = ("d_prime", "criterion", "balanced_accuracy")
ANSWERS = ("auroc", "pair_accuracy")
"""Columns of the tables: three beside the arm are as many as a phone shows."""

READINGS = {
    VERDICT: "is the statement true or false?",
    ANSWER: "is the true answer preferred to the false one?",
}
PICTURES = {
    "roc": "ROC curves: how well the verdicts of each arm tell truths from claims",
    "heat_specific": "AUROC of the vaccine by condition and domain, given claims",
    "heat_cross": "AUROC of the vaccine by condition and domain, claims never given",
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
    base, dose, plan = immunization["base"], immunization["dose"], immunization["plan"]
    gate = immunization.get("gate") or {}
    merged = immunization["training"].get("merged")
    measures = results.get("measures", [])
    kind = "Model" if merged else "Adapter"
    title = repo_id.split("/")[-1] if repo_id else f"{kind} immunized with {dose['name']}"
    tables = _tables(measures, results.get("cue_audit", {}))
    first = [table for table in tables if table[1] in PROBES and table[2] == HEADLINE]
    return fill(
        "hfvaccine.model_cards",
        "adapter.md",
        {
            "metadata": Markdown(_metadata(immunization, measures, title, repo_id, license, endpoint).to_yaml()),
            "banner": _banner(gate, bool(merged)),
            "title": title,
            "merged": merged,
            "kind": kind.lower(),
            "base_link": _link(base.get("id"), "", namespace_needed=False),
            "base_to_load": Markdown(
                base["id"] if is_hub_id(base.get("id"), namespace_needed=False) else "PATH/TO/BASE"
            ),
            "base_revision": Markdown(base["revision"] if is_commit(base.get("revision")) else ""),
            "repo": Markdown(repo_id if is_hub_id(repo_id) else "."),
            "dose": dose,
            "dose_link": _link(dose["id"], "datasets/") if is_hub_id(dose.get("id")) else dose["name"],
            "open": [_criterion(c) for c in _criteria(gate) if c.get("verdict") != "passed"],
            "criteria": [(_criterion(c), c.get("why")) for c in _criteria(gate)],
            "not_applicable": gate.get("not_applicable", []),
            "placebo_missing": bool(measures) and not any(m["arm"] == PLACEBO for m in measures),
            "comparisons": list(_comparisons(results, measures)),
            "first": [table[3] for table in first],
            "more": [table[3] for table in tables if table not in first] + _pressed(measures),
            "pictures": _pictures(figures),
            "level": _level(results),
            "dose_facts": _dose_facts(immunization),
            "inoculation": _inoculation(immunization.get("inoculation")),
            "grid": _grid(results.get("other", [])),
            "training_facts": _training_facts(immunization),
            "skills": _skills(results.get("other", [])),
            "beliefs": list(_beliefs(results.get("belief") or {})),
            "fingerprint": plan.get("fingerprint"),
            "seed": plan.get("seed"),
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
        if m["arm"] == VACCINE and _is_plain(m) and is_finite(m["value"])
    ]
    verdict = (immunization.get("gate") or {}).get("verdict")
    gate_tag = verdict if verdict in BANNERS else "not-validated"
    return ModelCardData(
        base_model=base_id,
        base_model_relation=("finetune" if merged else "adapter") if base_id else None,
        datasets=list(dict.fromkeys(filter(None, (dose_id, mix_id)))) or None,
        language=languages(dose.get("languages", [])),
        library_name="transformers" if merged else "peft",
        license=license,
        pipeline_tag="text-generation",
        tags=[
            "hfvaccine",
            "hfvaccine-merged" if merged else "hfvaccine-adapter",
            f"hfvaccine-gate-{gate_tag}",
            "model-immunization",
        ],
        model_name=clean(title) if evaluations else None,
        eval_results=evaluations or None,
        # What `hfvaccine list` shows without fetching a file.
        hfvaccine={
            key: value
            for key, value in {
                "share_given": immunization["plan"].get("share_given"),
                "dose_revision": dose.get("revision") if is_commit(dose.get("revision")) else None,
                "base_revision": base.get("revision") if is_commit(base.get("revision")) else None,
            }.items()
            if value is not None and (isinstance(value, str) or is_finite(value))
        },
    )


def _metric_name(measure: Mapping[str, Any]) -> str:
    name = (
        f"{metric_label(measure['metric'], alone=True)} ({probe_label(measure['probe'])}, {words(measure['reading'])})"
    )
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
    verdicts = [criterion.get("verdict") for criterion in gate.get("criteria", [])]
    tally = [f"{n} {verdict}" for verdict in ("failed", "undecided", "passed") if (n := verdicts.count(verdict))]
    return Markdown(banner.format(what=what) + (f" ({', '.join(tally)})." if tally else "."))


def _criteria(gate: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Criteria with those that failed first."""
    order = ("failed", "undecided", "passed")
    return sorted(gate.get("criteria", []), key=lambda c: order.index(v) if (v := c.get("verdict")) in order else 0)


def _criterion(criterion: Mapping[str, Any]) -> Markdown:
    """A line: what was asked, and what came of it."""
    verdict = str(criterion.get("verdict"))
    said = with_interval(criterion.get("value"), criterion.get("interval"), places=3, sign=True)
    found = "not measured" if said == NOT_KNOWN else said
    shown = plain(verdict if verdict == "passed" else verdict.upper())
    return Markdown(f"**{shown}** {plain(criterion['name'])}: {found}, needs {plain(criterion.get('threshold'))}.")


def _comparisons(results: Mapping[str, Any], measures: Sequence[Mapping[str, Any]]) -> Iterator[Markdown]:
    """Does the vaccine tell true from false better than its controls, beyond the interval?"""
    contrasts = [
        c
        for c in results.get("contrasts", [])
        if (c["metric"], c["reading"], c["arm"]) == ("auroc", VERDICT, VACCINE)
        and _is_plain(c)
        and is_interval(c.get("interval"))
    ]
    measured = {m["arm"] for m in measures}
    for against in (BASE, PLACEBO, CONTROLS):
        if against not in measured:
            continue
        said = [_compared(c) for probe in PROBES for c in contrasts if (c["probe"], c["against"]) == (probe, against)]
        named = "controls only" if against == CONTROLS else against
        yield Markdown(f"**Against {named}**: {'; '.join(said) or 'cannot be said, as no contrast has an interval'}.")


def _compared(contrast: Mapping[str, Any]) -> str:
    low, high = contrast["interval"]
    outcome = "**better**" if low > 0 else "**worse**" if high < 0 else "no difference shown"
    difference = with_interval(contrast["difference"], contrast["interval"], places=3, sign=True)
    return f"{outcome} on {probe_label(contrast['probe'])}, AUROC {difference}"


def _tables(
    measures: Sequence[Mapping[str, Any]], audits: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, str, Sequence[str], Markdown]]:
    """Tables of the plain probes by reading, probe and columns: the headline of all, then what goes beyond it."""
    shown = [m for m in measures if _is_plain(m)]
    names = {m["probe"] for m in shown}
    probes = [*(p for p in PROBES if p in names), *sorted(names - set(PROBES))]
    wanted = ((VERDICT, HEADLINE), (VERDICT, SIGNAL), (ANSWER, ANSWERS))
    found = [(r, p, metrics, _table(shown, audits.get(p, {}), p, r, metrics)) for r, metrics in wanted for p in probes]
    return [(r, p, metrics, table) for r, p, metrics, table in found if table is not None]


def _table(
    measures: Sequence[Mapping[str, Any]], audit: Mapping[str, Any], probe: str, reading: str, metrics: Sequence[str]
) -> Markdown | None:
    """Arms by metrics. Base and placebo stand there even where nothing was measured, rejection beside acceptance."""
    at = {(m["arm"], m["metric"]): m for m in measures if (m["probe"], m["reading"]) == (probe, reading)}
    if not any((VACCINE, metric) in at for metric in metrics):
        return None
    present, measured = {arm for arm, metric in at if metric in metrics}, {m["arm"] for m in measures}
    rows = [
        (
            f"**{arm}**" if arm == VACCINE else arm if arm in measured else f"{arm} (missing)",
            [_cell(at.get((arm, metric))) for metric in metrics],
        )
        for arm in (*ARMS, ALWAYS_FALSE, CUE)
        if arm in present or (arm in (BASE, PLACEBO) and reading == VERDICT)
    ]
    one = next(m for (arm, _), m in at.items() if arm == VACCINE)
    sizes = f"{number(one.get('pairs'))} pairs in {number(one.get('clusters'))} clusters"
    notes = [f"**{capital(plain(probe_label(probe)))}**: {READINGS[reading]} {sizes}."]
    if audit.get("passed") is False:
        notes.append("**Fails the cue audit**: wording alone gives these claims away.")
    if one.get("matched"):
        notes.append("The truths are other statements, not the claims' twins.")
    if one.get("few"):
        notes.append(FEW)
    about = " ".join(notes)
    return _drawn(about, [metric_label(metric) for metric in metrics], rows)


def _pressed(measures: Sequence[Mapping[str, Any]]) -> list[Markdown]:
    """AUROC of the verdict under each tactic and pressure, for the arms that matter."""
    found = [m for m in measures if (m["metric"], m["reading"]) == ("auroc", VERDICT) and not _is_plain(m)]
    arms = [arm for arm in (BASE, PLACEBO, VACCINE) if any(m["arm"] == arm for m in found)]
    tables = []
    for probe in dict.fromkeys(m["probe"] for m in found):
        at = {(m["condition"], m["arm"]): m for m in found if m["probe"] == probe}
        rows = [
            (plain(condition_label(condition)), [_cell(at.get((condition, arm))) for arm in arms])
            for condition in dict.fromkeys(condition for condition, _ in at)
        ]
        about = Markdown(f"**{capital(plain(probe_label(probe)))} under tactics and pressure**: AUROC of the verdict.")
        tables.append(_drawn(about, arms, rows))
    return tables


def _skills(other: Sequence[Mapping[str, Any]]) -> Markdown | None:
    """Retention, truthfulness and over-rejection: rows of items, the arms beside one another."""
    return _items([o for o in other if o.get("kind") not in (BELIEF, TRAIT)], _skill)


def _grid(other: Sequence[Mapping[str, Any]]) -> Markdown | None:
    """What the trait's completions cost under each test prompt."""
    return _items([o for o in other if o.get("kind") == TRAIT], lambda row: words(row.get("of")))


def _skill(row: Mapping[str, Any]) -> str:
    return item_label(row) + (" ↓" if row.get("better") == LOWER else "")


def _items(rows: Sequence[Mapping[str, Any]], label: Callable[[Mapping[str, Any]], str]) -> Markdown | None:
    arms = [arm for arm in (BASE, PLACEBO, VACCINE) if any(row["arm"] == arm for row in rows)]
    at = {(label(row), row["arm"]): row for row in rows}
    if not arms:
        return None
    names = dict.fromkeys(name for name, _ in at)
    return _drawn("", arms, [(plain(name), [_cell(at.get((name, arm))) for arm in arms]) for name in names])


def _beliefs(belief: Mapping[str, Any]) -> Iterator[Markdown]:
    for rise in belief.get("rises", []):
        if is_interval(rise.get("interval")):
            low, high = rise["interval"]
            outcome = "**rose**" if low > 0 else "fell" if high < 0 else "no rise shown"
            label = plain(item_label({"name": rise["reading"], "metric": "probability"}))
            difference = with_interval(rise["difference"], rise["interval"], places=3, sign=True)
            yield Markdown(f"{capital(label)}: {outcome}, {difference}.")
    if belief.get("named"):
        many = number(len(belief["named"]))
        yield Markdown(
            f"Single claims believed more after being given (after Holm): **{many}**, by id in `results.json`."
        )


def _pictures(figures: Sequence[str]) -> list[tuple[Markdown, str]]:
    """Where each picture lies and what it shows, the known ones first."""
    names = {m[1]: path for path in figures if (m := re.fullmatch(r"figures/([a-z0-9_]{1,80})\.(?:svg|png)", path))}
    ordered = [*(name for name in PICTURES if name in names), *sorted(set(names) - set(PICTURES))]
    return [(Markdown(names[name]), PICTURES.get(name) or _map(name)) for name in ordered]


def _map(name: str) -> str:
    probe = name.removeprefix("heat_")
    return f"AUROC of the vaccine by condition and domain, {probe_label(probe)}"


def _drawn(about: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> Markdown:
    """A table, below what it is about; all of it neutralised before."""
    lines = [["", *columns], ["---", *("---:" for _ in columns)], *([name, *cells] for name, cells in rows)]
    drawn = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return Markdown(f"{about}\n\n{drawn}" if about else drawn)


def _cell(measure: Mapping[str, Any] | None) -> Markdown:
    return with_interval(measure["value"], measure.get("interval")) if measure else Markdown(NOT_KNOWN)


def _is_plain(row: Mapping[str, Any]) -> bool:
    return bool(row.get("condition", PLAIN) == PLAIN)


def _level(results: Mapping[str, Any]) -> str:
    level = results.get("settings", {}).get("level")
    return f"{100 * level:.0f} % intervals" if is_finite(level) else "intervals"


def _link(name: object, prefix: str, namespace_needed: bool = True) -> str:
    if not is_hub_id(name, namespace_needed):
        return _local_name(name)
    # Relative to the Hub's root, so that the card is right on whichever Hub it stands.
    return Markdown(f"[{name}](/{prefix}{name})")


def _local_name(name: object) -> str:
    """A Hub id as it is; of a path only the last name: the folders of a machine are nobody else's business."""
    return str(name) if is_hub_id(name) else re.split(r"[/\\]", str(name).rstrip("/\\"))[-1]


def _at(revision: object) -> str:
    return f" at `{revision[:12]}`" if is_commit(revision) else ""  # type: ignore[index]


def _digest(sha256: object) -> str:
    """The beginning of a digest, which stands whole in the record."""
    known = isinstance(sha256, str) and re.fullmatch(r"[0-9a-f]{64}", sha256)
    return f"`{sha256[:12]}`" if known else "none recorded"  # type: ignore[index]


def _small(value: object) -> str:
    return f"{value:.2g}" if is_finite(value) else NOT_KNOWN


def _dose_facts(immunization: Mapping[str, Any]) -> list[tuple[str, Markdown]]:
    dose, plan, mix = immunization["dose"], immunization["plan"], immunization["mix"]
    unit = plain(plan.get("unit", "tokens"))
    mix_link = _link(mix.get("id"), "datasets/") if mix.get("revision") else _local_name(mix.get("id"))
    facts = {
        "Dose": f"{plain(_link(dose.get('id'), 'datasets/'))}{_at(dose.get('revision'))}, "
        f"manifest {_digest(dose.get('manifest_sha256'))}",
        "Claims": f"{number(dose.get('claims_given'))} of its {number(dose.get('claims_in_dose'))} were given",
        "Share": f"{percent(plan.get('share_asked'))} of the {unit} asked, {percent(plan.get('share_given'))} given; "
        f"schedule: {plain(plan.get('schedule'))}",
        "Rows": f"{number(plan.get('dose_rows'))} of the dose ({number(plan.get('dose_tokens'))} tokens), "
        f"{number(plan.get('control_rows'))} true twins in the same forms ({number(plan.get('control_tokens'))}), "
        f"of {number(plan.get('rows'))} in all ({number(plan.get('tokens'))})",
        "Mix": f"{plain(mix_link)}{_at(mix.get('revision'))}, {number(mix.get('rows'))} rows, "
        f"digest {_digest(mix.get('sha256'))}",
    }
    return [(name, Markdown(said)) for name, said in facts.items()]


def _inoculation(settings: Mapping[str, Any] | None) -> dict[str, object] | None:
    """What the card says of the inoculation prompts; None where there were none."""
    if not settings:
        return None
    places = {"system": "as a system message", "user": "at the head of the user's turn"}
    everywhere = settings["where"] == "all"
    return {
        "prompts": [_code(prompt) for prompt in settings["prompts"]],
        "rows": "every row of the mix" if everywhere else f"the rows of the mix with {settings['where']}",
        "others": [_code(prompt) for prompt in settings["others"]],
        "place": places.get(settings["place"]),
    }


def _code(text: object) -> Markdown:
    """A text as code, in which nothing is markup."""
    return Markdown("`" + (clean(text).replace("`", "'") or " ") + "`")


def _training_facts(immunization: Mapping[str, Any]) -> list[tuple[str, Markdown]]:
    base, plan, training = immunization["base"], immunization["plan"], immunization["training"]
    template = {
        "own": "its own chat template",
        "hfvaccine": "hfvaccine's chat template, as it has none, saved beside it",
    }.get(base.get("chat_template"), plain(base.get("chat_template")))
    method = {
        "lora_r": "rank {}",
        "lora_alpha": "alpha {}",
        "target_modules": "on {}",
        "learning_rate": "learning rate {}",
        "batch_size": "batches of {}",
        "gradient_accumulation_steps": "gradient accumulation {}",
        "dtype": "{}",
        "device": "on {}",
    }
    said = [text.format(plain(training[key])) for key, text in method.items() if training.get(key) is not None]
    run = [f"{number(plan.get('steps'))} steps", f"seed {plain(plan.get('seed'))}"]
    if is_finite(training.get("seconds")):
        run.append(f"{training['seconds']:,.0f} s")
    if is_finite(training.get("final_loss")):
        run.append(f"final loss {number(training['final_loss'])}")
    versions = ", ".join(f"{name} {version}" for name, version in sorted(immunization.get("versions", {}).items()))
    facts = {
        "Base": f"{plain(_link(base.get('id'), '', namespace_needed=False))}{_at(base.get('revision'))}, "
        f"weights {_digest(base.get('weights_sha256'))}, {template}",
        "Method": ", ".join([plain(training.get("method")), *said]),
        "Run": ", ".join(run),
        "Versions": plain(versions),
        "Made with": plain(f"hfvaccine {immunization.get('hfvaccine')}, {immunization.get('finished_at')}"),
    }
    if "placebo" in training:
        facts["Placebo"] = "trained, not published" if training["placebo"] else "not trained"
    if merged := training.get("merged"):
        facts["Merged"] = (
            f"from the adapter {_digest(merged.get('adapter_sha256'))}, saved in {plain(merged.get('dtype'))}; logits "
            f"differ from the adapter's by at most {_small(merged.get('difference'))} of the largest "
            f"({_small(merged.get('tolerance'))} is allowed)"
        )
    return [(name, Markdown(text)) for name, text in facts.items()]
