"""What a validation comes to, on one screen: the verdict, what decided it, and a few numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hfvaccine.text import NOT_KNOWN
from hfvaccine.validation.judging.gate import PASSED, TOO_FEW
from hfvaccine.validation.scores import ANSWER, BASE, CROSS, PLAIN, RECALLED, VACCINE, VERDICT
from hfvaccine.validation.showing.lookup import cell, control, index, probe_names, require_schema
from hfvaccine.validation.showing.names import LAST, READINGS, probe_label
from hfvaccine.validation.showing.sentences import criterion_line, first, headline, ordered, outcome, without, wrapped
from hfvaccine.validation.showing.sheets import Sheet

Measured = Mapping[tuple[str, str, str, str, str], Mapping[str, Any]]
"""As `lookup.index` has it."""
OPEN = 2
"""Criteria that did not pass, of which so many are named."""
SIDES = ("rejection", "true_acceptance")


def summary(results: Mapping[str, Any]) -> list[str]:
    """The results in a few lines of at most `WIDTH` columns: the verdict, what decided it, and three numbers in words.

    Args:
        results: the content of results.json.

    Raises:
        ValidationError: for results of another schema.
    """
    require_schema(results)
    return [headline(results), *open_lines(results), *wrapped(without(results)), *in_words(results)]


def open_lines(results: Mapping[str, Any]) -> list[str]:
    """The criteria that did not pass, those that failed first, as many as fit."""
    criteria = [one for one in ordered((results["gate"] or {}).get("criteria", ())) if one["verdict"] != PASSED]
    told = ((one["verdict"], criterion_line if TOO_FEW in one["why"] else outcome, one) for one in criteria)
    lines = [f"{verdict}: {line(one)}" for verdict, line, one in told]
    return wrapped(first(lines, OPEN, "more that did not pass: see --full."))


def in_words(results: Mapping[str, Any]) -> list[str]:
    """How often truths are held truer than falsehoods, given or not, and what is rejected and accepted, arm by arm."""
    at, (reading, arms) = index(results), _shown(results)
    names = [name for name in probe_names(results) if name not in LAST]
    told = {}
    for name in dict.fromkeys((*names[:1], *(name for name in names if name == CROSS))):
        found = {arm: one for arm in arms if (one := at.get((name, reading, PLAIN, "auroc", arm)))}
        if found:
            what = f"{probe_label(name)} ({next(iter(found.values()))['pairs']} pairs)"
            told[what] = [f"{arm} {_share(one)}" for arm, one in found.items()]
    if not told:
        return []
    rates = {arm: [at.get((names[0], reading, PLAIN, one, arm)) for one in SIDES] for arm in arms}
    both = [f"{arm} {' and '.join(_percent(one) for one in pair if one)}" for arm, pair in rates.items() if all(pair)]
    if both:
        what = f"{probe_label(names[0])} rejected and their true twins accepted"
        told[what] = [*both, "FALSE said to all 100 % and 0 %"]
    title = f"How often a truth is held truer than a falsehood, {READINGS[reading]} (50 % is chance):"
    return [*wrapped([title], ""), *wrapped(f"{what}: {', '.join(its)}" for what, its in told.items())]


def sheet(results: Mapping[str, Any]) -> Sheet:
    """How well each set is told apart, and what that cost, in base, control and vaccine."""
    at, (reading, arms) = index(results), _shown(results)
    rows = [(name, *texts) for name, texts in _rows(results, at, reading, arms) if set(texts) != {NOT_KNOWN}]
    title = f"Claims told from their true twins (AUROC, 0.5 is chance), {READINGS[reading]}"
    return Sheet(title, ("", *arms), tuple(rows))


def _shown(results: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The reading that counts, and the arms that are shown."""
    reading = RECALLED if any(m["reading"] == RECALLED for m in results["measures"]) else VERDICT
    arms = dict.fromkeys((BASE, control(results), VACCINE))
    return reading, [arm for arm in arms if arm in results["arms"]]


def _share(measure: Mapping[str, Any]) -> str:
    low, high = (round(100 * one) for one in measure["interval"])
    return f"{_percent(measure)} [{low}, {high}]"


def _percent(measure: Mapping[str, Any]) -> str:
    return f"{100 * measure['value']:.0f} %"


def _rows(
    results: Mapping[str, Any], at: Measured, reading: str, arms: Sequence[str]
) -> Iterator[tuple[str, list[str]]]:
    names = [name for name in probe_names(results) if name not in LAST]
    for name in names:
        found = [at.get((name, reading, PLAIN, "auroc", arm)) for arm in arms]
        many = next((f" ({one['pairs']} pairs)" for one in found if one), "")
        yield f"{probe_label(name)}{many}", [cell(one) for one in found]
    first = names[0] if names else ""
    rates = [[at.get((first, reading, PLAIN, one, arm)) for one in SIDES] for arm in arms]
    both = [" / ".join(f"{one['value']:.2f}" for one in pair if one) or NOT_KNOWN for pair in rates]
    yield f"{probe_label(first)}: rejects false / accepts true", both
    answers = [cell(at.get((first, ANSWER, PLAIN, "auroc", arm))) for arm in arms]
    yield f"{probe_label(first)}: prefers the true answer", answers
    kept = {row["arm"]: row for row in results["other"] if row["kind"] == "retention" and row["name"] == "mix"}
    yield "held-back rows of the mix, nats a token", [cell(kept.get(arm)) for arm in arms]
