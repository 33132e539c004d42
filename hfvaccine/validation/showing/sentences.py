"""Results, said in sentences: the verdict first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hfvaccine.validation.scores import (
    BELIEF,
    HIGHER,
    PLACEBO,
    PLAIN,
    VACCINE,
    VERDICT,
)
from hfvaccine.validation.showing.lookup import (
    cell,
    change,
    control,
    is_pair,
    probe_names,
    require_schema,
)
from hfvaccine.validation.showing.names import (
    KINDS,
    capital,
    condition_label,
    item_label,
    one_line,
    probe_label,
    words,
)

JUDGES = {"HumanLabels": "people", "EntailmentJudge": "an entailment model"}
"""Who judges free text, by the name in the results."""
NAMED = 10
"""How many claims are named one by one in the terminal."""


def verdict_lines(results: Mapping[str, Any]) -> list[str]:
    """What the results say, in sentences: gains and losses, belief, cues, and what decided the gate.

    Args:
        results: the content of results.json.

    Raises:
        ValidationError: for results of another schema.
    """
    require_schema(results)
    return [
        *discrimination_lines(results),
        *condition_lines(results),
        *item_lines(results),
        *judge_lines(results),
        *belief_lines(results),
        *cue_lines(results),
        *left_out_lines(results),
        *gate_lines(results),
    ]


def headline(results: Mapping[str, Any]) -> str:
    """The gate's verdict in one line, and how many criteria made it."""
    gate = results["gate"]
    if gate is None:
        return "Gate: NONE, as there is no vaccine to judge."
    return f"Gate: {gate['verdict'].upper()} ({counts(results)})"


def counts(results: Mapping[str, Any]) -> str:
    """How many criteria came out how."""
    if results["gate"] is None:
        return ""
    verdicts = [criterion["verdict"] for criterion in results["gate"]["criteria"]]
    many = [f"{n} {verdict}" for verdict in ("failed", "undecided", "passed") if (n := verdicts.count(verdict))]
    return f"{', '.join(many) or 'none'} of {len(verdicts)} criteria"


def without(results: Mapping[str, Any]) -> list[str]:
    """Which arms a reader will miss, and how to have them."""
    ways = {PLACEBO: "no placebo was trained, so gains may come from any training. Add --placebo."}
    return [
        f"The control is missing: {ways[arm]}"
        for arm in results["missing"]
        if arm in ways and VACCINE in results["arms"]
    ]


def settings_line(results: Mapping[str, Any]) -> str:
    """What the intervals are, and of how many seeds the arms are means."""
    settings = results["settings"]
    seeds = {arm: n for arm, n in results["seeds"].items() if n > 1}
    means = f"; means over {', '.join(f'{n} seeds of {words(arm)}' for arm, n in seeds.items())}" if seeds else ""
    return f"In brackets: {100 * settings['level']:.0f} % intervals, {words(settings['resampled'])} resampled{means}."


def discrimination_lines(results: Mapping[str, Any]) -> list[str]:
    """On plain probes: does the vaccine tell truth from falsehood better, and at what cost in acceptance."""
    lines = []
    against = control(results)
    plain = [c for c in results["contrasts"] if c["condition"] == PLAIN]
    for probe, reading in dict.fromkeys((c["probe"], c["reading"]) for c in plain):
        rows = {c["against"]: c for c in plain if (c["probe"], c["reading"], c["metric"]) == (probe, reading, "auroc")}
        if against not in rows:
            continue
        low, high = rows[against]["interval"]
        outcome = "beats" if low > 0 else "is worse than" if high < 0 else "does not beat"
        others = [f"against {other}: {_change(c)}" for other, c in rows.items() if other != against]
        lines.append(
            f"On {probe_label(probe)} ({reading}), the vaccine {outcome} {against} beyond its interval: "
            f"AUROC {_change(rows[against])}{_detectable(rows[against])}."
            f"{' ' + capital('; '.join(others)) + '.' if others else ''}"
        )
    for contrast in plain:
        said = {"true_acceptance": "acceptance of truths", "rejection": "rejection of claims"}.get(contrast["metric"])
        if said is None or contrast["reading"] != VERDICT or contrast["against"] != against:
            continue
        low, high = contrast["interval"]
        outcome = "rises" if low > 0 else "falls" if high < 0 else "shows no change"
        lines.append(
            f"On {probe_label(contrast['probe'])}, {said} {outcome} against {against}: "
            f"{_change(contrast)}{_p_value(contrast)}{_detectable(contrast)}."
        )
    return lines


def condition_lines(results: Mapping[str, Any]) -> list[str]:
    """Under tactics and pressure: how many conditions gained, and which lost."""
    against = control(results)
    lines = []
    for probe in probe_names(results):
        rows = [
            c
            for c in results["contrasts"]
            if (c["probe"], c["metric"], c["against"]) == (probe, "auroc", against) and c["condition"] != PLAIN
        ]
        if not rows:
            continue
        better = [condition_label(c["condition"]) for c in rows if c["interval"][0] > 0]
        worse = [condition_label(c["condition"]) for c in rows if c["interval"][1] < 0]
        lines.append(
            f"On {probe_label(probe)} under tactics and pressure (verdict, AUROC), it beats {against} beyond the "
            f"interval under {len(better)} of {len(rows)} conditions"
            f"{' (' + ', '.join(better) + ')' if 0 < len(better) < len(rows) else ''}, "
            f"and is worse under {len(worse)}{' (' + ', '.join(worse) + ')' if worse else ''}."
        )
    return lines


def item_lines(results: Mapping[str, Any]) -> list[str]:
    """Retention, truthfulness, over-rejection: what changed, and what could not have been seen."""
    lines = []
    for contrast in results["other_contrasts"]:
        if contrast["kind"] == BELIEF or contrast["against"] != control(results):
            continue
        low, high = contrast["interval"]
        up = "better" if contrast["better"] == HIGHER else "worse"
        outcome = up if low > 0 else {"better": "worse", "worse": "better"}[up] if high < 0 else "no change shown"
        lines.append(
            f"{KINDS.get(contrast['kind'], words(contrast['kind']))}, {item_label(contrast)}: {outcome} against "
            f"{contrast['against']}, {_change(contrast)}{_detectable(contrast)}."
        )
    return lines


def judge_lines(results: Mapping[str, Any]) -> list[str]:
    """Who judged what was said in free text, and how far this judge can be trusted."""
    judge = results.get("judge")
    if not judge:
        return []
    who = JUDGES.get(judge["judge"], words(judge["judge"]))
    said = f"Free text: {judge['answers']:,} answers were judged by {who}; "
    error = judge["error"]
    if not isinstance(error, Mapping):
        return [f"{said}the judge's error is {one_line(error).rstrip('.')}."]
    return [
        f"{said}held against people on {judge['labelled']:,} of them, the judge's sensitivity is "
        f"{cell(error['sensitivity'])}, its specificity {cell(error['specificity'])}."
    ]


def belief_lines(results: Mapping[str, Any]) -> list[str]:
    """Whether belief in the given claims rose beyond that in others, and single claims by their ids."""
    belief = results["belief"]
    if not belief:
        return []
    lines = []
    for rise in belief["rises"]:
        low, high = rise["interval"]
        outcome = "it ROSE" if low > 0 else "it fell" if high < 0 else "no rise shown"
        lines.append(
            f"Belief in the given claims ({words(rise['reading'])}), beyond the change in claims never given: "
            f"{outcome}, {_change(rise)} in probability."
        )
    named = belief["named"]
    if named:
        shown = [
            f"{words(n['claim_id'])} ({words(n['reading'])}, log-odds {n['rise']:+.2f}, after Holm {_p(n['p_holm'])})"
            for n in named[:NAMED]
        ]
        more = f", and {len(named) - NAMED} more in the results" if len(named) > NAMED else ""
        lines.append(f"Single claims that the vaccine believes more after being given them: {', '.join(shown)}{more}.")
    elif belief["rises"]:
        lines.append("No single given claim rose beyond what claims never given do (after Holm).")
    return lines


def cue_lines(results: Mapping[str, Any]) -> list[str]:
    """Sets whose wording gives falsehood away."""
    return [
        f"The wording of {probe_label(name)} gives falsehood away: the cue audit finds AUROC "
        f"{max(audit['bag_of_words'], audit['length']):.2f}, and more than {audit['limit']:.2f} is too much. "
        f"A model can gain there without learning a fact."
        for name, audit in results["cue_audit"].items()
        if not audit["passed"]
    ]


def left_out_lines(results: Mapping[str, Any]) -> list[str]:
    """What was not asked: claims with nothing true to hold against them, items that the dose gives away."""
    lines = [
        f"Of the {probe_label(name)}, {count} have nothing true to be held against, or say what the dose says, "
        "and were not asked."
        for name, count in results.get("claims_left_out", {}).items()
        if count
    ]
    lines += [
        f"Of {words(b['name'])}, {b['left_out']} items were left out, as a claim of the dose says the same."
        for b in results.get("benchmarks", [])
        if b["left_out"]
    ]
    return lines


def gate_lines(results: Mapping[str, Any]) -> list[str]:
    """The gate and its criteria: what failed first, then what is undecided and what would decide it."""
    gate = results["gate"]
    if gate is None:
        return []
    left_out = gate.get("not_applicable", [])
    return [
        headline(results),
        *(f"  {c['verdict']}: {criterion_line(c)}" for c in ordered(gate["criteria"])),
        *(f"  left out, as there is nothing to measure it on: {one_line(name)}" for name in left_out),
    ]


def criterion_line(criterion: Mapping[str, Any]) -> str:
    """What a criterion asks, what was measured, and why it came out as it did."""
    return (
        f"{one_line(criterion['name'])}: {measured(criterion)}, needs {one_line(criterion['threshold'])}. "
        f"{one_line(criterion['why'])}"
    )


def measured(criterion: Mapping[str, Any]) -> str:
    """A criterion's difference with its interval, where it was measured."""
    if criterion["value"] is None or not is_pair(criterion["interval"]):
        return "not measured"
    return change(criterion["value"], criterion["interval"])


def ordered(criteria: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Criteria with those that failed first and those that passed last."""
    order = {"failed": 0, "undecided": 1, "passed": 2}
    return sorted(criteria, key=lambda c: order.get(c["verdict"], 3))


def _change(contrast: Mapping[str, Any]) -> str:
    return change(contrast["difference"], contrast["interval"])


def _detectable(contrast: Mapping[str, Any]) -> str:
    low, high = contrast["interval"]
    smallest = contrast.get("detectable")
    return f"; could have shown {smallest:.2g} or more" if low <= 0 <= high and smallest is not None else ""


def _p_value(contrast: Mapping[str, Any]) -> str:
    if contrast.get("p") is None:
        return ""
    holm = "" if contrast.get("p_holm") is None else f", after Holm {_p(contrast['p_holm'])}"
    return f" (exact McNemar {_p(contrast['p'])}{holm})"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
