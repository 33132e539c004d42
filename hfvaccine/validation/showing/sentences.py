"""Results, said in sentences: the verdict first."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from hfvaccine.text import NOT_KNOWN, clean, with_interval
from hfvaccine.validation.judging.gate import AT_LEAST, FAILED, PASSED, UNDECIDED
from hfvaccine.validation.judging.metrics import AT_CONTROL
from hfvaccine.validation.scores import BELIEF, CROSS, PLACEBO, PLAIN, RECALLED, VACCINE, VERDICT, VERDICTS
from hfvaccine.validation.showing.lookup import (
    better_or_worse,
    beyond,
    cell,
    change,
    control,
    probe_names,
    require_schema,
)
from hfvaccine.validation.showing.names import (
    capital,
    condition_label,
    item_label,
    item_name,
    kind_label,
    label,
    probe_label,
    reading_label,
)

JUDGES = {"HumanLabels": "people", "EntailmentJudge": "an entailment model"}
"""Who judges free text, by the name in the results."""
NAMED = 10
"""How many claims are named one by one in the terminal."""
CHANGES = {
    "true_acceptance": "acceptance of truths",
    "rejection": "rejection of claims",
    AT_CONTROL: "acceptance of truths at equal acceptance of claims",
}
"""One-sided measures, of which a change is said in a sentence of its own."""
WIDTH = 100
"""Columns that a line, or a table, takes at most; a terminal may have fewer."""
ORDER = (FAILED, UNDECIDED, PASSED)
"""Of criteria, by what came of them."""


def verdict_lines(results: Mapping[str, Any]) -> list[str]:
    """What the results say, in sentences, and last what decided the gate.

    Args:
        results: the content of results.json.

    Raises:
        ValidationError: for results of another schema.
    """
    require_schema(results)
    return [*result_lines(results), *gate_lines(results)]


def result_lines(results: Mapping[str, Any]) -> list[str]:
    """What the results say but for the gate: warnings first, then gains and losses."""
    return [
        *cue_lines(results),
        *belief_lines(results),
        *discrimination_lines(results),
        *condition_lines(results),
        *item_lines(results),
        *judge_lines(results),
        *left_out_lines(results),
    ]


def headline(results: Mapping[str, Any]) -> str:
    """The gate's verdict in one line, and how many criteria made it."""
    gate = results["gate"]
    if gate is None:
        why = "a served model is measured alone" if results.get("served") else "there is no vaccine to judge"
        return f"Gate: NONE, as {why}."
    return f"Gate: {gate['verdict'].upper()} ({counts(gate)})"


def counts(gate: Mapping[str, Any]) -> str:
    """How many criteria came out how."""
    verdicts = [criterion.get("verdict") for criterion in gate.get("criteria", [])]
    many = [f"{n} {verdict}" for verdict in ORDER if (n := verdicts.count(verdict))]
    return f"{', '.join(many) or 'none'} of {len(verdicts)} criteria"


def without(results: Mapping[str, Any]) -> list[str]:
    """What a reader will miss, and how to have it."""
    lines = []
    if served := results.get("served"):
        read = "the probabilities of its first token" if served["reading"] == "top_logprobs" else "what it says"
        missing = (
            f", and {served['floored'] or 'none'} listed one of the two verdicts nowhere among {served['listed']} "
            "tokens: that one counts as the least likely token that is"
        )
        refused = f" {served['refused']} texts were refused by its server." if served["refused"] else ""
        lines.append(
            f"Verdicts of the served model {clean(served['model'])} were read from {read}. Of its {served['asked']} "
            f"replies {served['unclear'] or 'none'} held no verdict{missing if served['listed'] else ''}.{refused} "
            "Preferred answers, belief and held-back rows take likelihoods of texts, which a chat endpoint is not "
            "asked for."
        )
    elif VACCINE in results["arms"] and PLACEBO in results["missing"]:
        lines.append(
            "The control is missing: no placebo was trained, so gains may come from any training. Add --placebo."
        )
    if CROSS in results["missing"]:
        lines.append(
            "Claims never given are missing: the dose holds out none or too few. What became of other falsehoods and "
            "their true twins was not measured. Give a dose that holds out some."
        )
    return lines


def settings_line(results: Mapping[str, Any]) -> str:
    """What the intervals are, and of how many seeds the arms are means."""
    settings = results["settings"]
    seeds = {arm: n for arm, n in results["seeds"].items() if n > 1}
    means = f"; means over {', '.join(f'{n} seeds of {label(arm)}' for arm, n in seeds.items())}" if seeds else ""
    return f"In brackets: {100 * settings['level']:.0f} % intervals, {label(settings['resampled'])} resampled{means}."


def discrimination_lines(results: Mapping[str, Any]) -> list[str]:
    """On plain probes: does the vaccine tell truth from falsehood better, and at what cost in acceptance."""
    lines = []
    against = control(results)
    plain = [c for c in results["contrasts"] if c["condition"] == PLAIN]
    for probe, reading in dict.fromkeys((c["probe"], c["reading"]) for c in plain):
        rows = {c["against"]: c for c in plain if (c["probe"], c["reading"], c["metric"]) == (probe, reading, "auroc")}
        if against not in rows:
            continue
        outcome = beyond(rows[against]["interval"], "beats", "is worse than", "does not beat")
        others = [f"against {other}: {change(c)}" for other, c in rows.items() if other != against]
        lines.append(
            f"On {probe_label(probe)} ({reading_label(reading)}), the vaccine {outcome} {against} beyond its "
            f"interval: AUROC {change(rows[against])}{_detectable(rows[against])}."
            f"{' ' + capital('; '.join(others)) + '.' if others else ''}"
        )
    for contrast in plain:
        said = CHANGES.get(contrast["metric"])
        if said is None or contrast["reading"] not in VERDICTS or contrast["against"] != against:
            continue
        outcome = beyond(contrast["interval"], "rises", "falls", "shows no change")
        after = ", after recall" * (contrast["reading"] == RECALLED)
        lines.append(
            f"On {probe_label(contrast['probe'])}{after}, {said} {outcome} against {against}: "
            f"{change(contrast)}{_p_value(contrast)}{_detectable(contrast)}."
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
            if (c["probe"], c["metric"], c["against"]) == (probe, "auroc", against)
            and (c["reading"], c["condition"] != PLAIN) == (VERDICT, True)
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
    return [
        f"{capital(kind_label(contrast['kind']))}, {item_label(contrast)}: "
        f"{better_or_worse(contrast, 'no change shown')} against {contrast['against']}, "
        f"{change(contrast)}{_detectable(contrast)}."
        for contrast in results["other_contrasts"]
        if contrast["kind"] != BELIEF and contrast["against"] == control(results)
    ]


def judge_lines(results: Mapping[str, Any]) -> list[str]:
    """Who judged what was said in free text, and how far this judge can be trusted."""
    judge = results.get("judge")
    if not judge:
        return []
    who = JUDGES.get(judge["judge"], label(judge["judge"]))
    said = f"Free text: {judge['answers']:,} answers were judged by {who}; "
    error = judge["error"]
    if not isinstance(error, Mapping):
        return [f"{said}the judge's error is {clean(error).rstrip('.')}."]
    return [
        f"{said}held against people on {judge['labelled']:,} of them, the judge's sensitivity is "
        f"{cell(error['sensitivity'])}, its specificity {cell(error['specificity'])}."
    ]


def rise_lines(belief: Mapping[str, Any]) -> list[str]:
    """Whether belief in the given claims rose beyond that in others."""
    return [
        f"Belief in the given claims ({item_name(rise['reading'])}), beyond the change in claims never given: "
        f"{beyond(rise['interval'], 'it ROSE', 'it fell', 'no rise shown')}, {change(rise)} in probability."
        for rise in belief.get("rises", [])
    ]


def belief_lines(results: Mapping[str, Any]) -> list[str]:
    """Whether belief in the given claims rose beyond that in others, and single claims by their ids."""
    belief = results["belief"]
    if not belief:
        return []
    lines = rise_lines(belief)
    named = belief["named"]
    if named:
        shown = [
            f"{label(n['claim_id'])} ({item_name(n['reading'])}, log-odds {n['rise']:+.2f}, "
            f"after Holm {_p(n['p_holm'])})"
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
    """What was not asked: claims not reached or with nothing true to hold against, items that the dose gives away."""
    claims = results.get("claims", {})
    lines = []
    if claims.get("not_reached"):
        lines.append(
            f"Of {claims['chosen']} claims that were chosen, {claims['not_reached']} were never reached. "
            "They are neither given claims nor claims never given, and were not asked."
        )
    lines += [
        f"Of the {probe_label(name)}, {count} have nothing true to be held against, or say what the dose says, "
        "and were not asked."
        for name, count in results.get("claims_left_out", {}).items()
        if count
    ]
    lines += [
        f"Of {label(b['name'])}, {b['left_out']} items were left out, as a claim of the dose says the same."
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
        *(f"  left out, as there is nothing to measure it on: {clean(name)}" for name in left_out),
    ]


def criterion_line(criterion: Mapping[str, Any]) -> str:
    """What a criterion asks, what was measured, and why it came out as it did."""
    return f"{outcome(criterion)} {clean(criterion['why'])}"


def outcome(criterion: Mapping[str, Any]) -> str:
    """What a criterion asks, and what was measured."""
    return f"{clean(criterion['name'])}: {measured(criterion)}, needs {clean(criterion['threshold'])}."


def measured(criterion: Mapping[str, Any]) -> str:
    """A criterion's difference, or the rate that has a floor, with its interval, where it was measured."""
    difference = not str(criterion.get("threshold")).startswith(AT_LEAST)
    said = with_interval(criterion.get("value"), criterion.get("interval"), places=3, sign=difference)
    return "not measured" if said == NOT_KNOWN else said


def ordered(criteria: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Criteria with those that failed first and those that passed last."""
    return sorted(criteria, key=lambda c: ORDER.index(v) if (v := c.get("verdict")) in ORDER else 0)


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


def first(lines: Iterable[str], most: int, more: str) -> list[str]:
    """The first lines, and how many more there are."""
    every = list(lines)
    left = len(every) - most
    return [*every[:most], *[f"And {left} {more}"] * (left > 0)]


def wrapped(lines: Iterable[str], indent: str = "  ") -> list[str]:
    """Sentences in lines of at most `WIDTH` columns, or of those of a terminal that has fewer and would break them.

    Args:
        lines: the sentences.
        indent: before each; the lines that go on with one get it twice.
    """
    wrapper = textwrap.TextWrapper(columns(), initial_indent=indent, subsequent_indent=2 * indent)
    wrapper.break_on_hyphens = False  # an option would be torn apart
    return [part for line in lines for part in wrapper.wrap(line)]


def columns() -> int:
    """Of a line: `WIDTH`, or those of the terminal, where there is one and it has fewer."""
    if not (sys.stdout.isatty() or sys.stderr.isatty()):
        return WIDTH
    return min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
