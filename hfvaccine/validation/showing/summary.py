"""What a validation comes to, on one screen: the verdict, what decided it, and a few numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hfvaccine.text import NOT_KNOWN
from hfvaccine.validation.judging.gate import PASSED, TOO_FEW
from hfvaccine.validation.scores import ANSWER, BASE, PLAIN, RECALLED, VACCINE, VERDICT
from hfvaccine.validation.showing.lookup import cell, control, index, probe_names, require_schema
from hfvaccine.validation.showing.names import LAST, READINGS, probe_label
from hfvaccine.validation.showing.sentences import criterion_line, headline, ordered, outcome, without, wrapped
from hfvaccine.validation.showing.sheets import Sheet
from hfvaccine.validation.showing.tables import Tables

Measured = Mapping[tuple[str, str, str, str, str], Mapping[str, Any]]
"""As `lookup.index` has it."""
OPEN = 4
"""Criteria that did not pass, of which so many are named."""


def summary(results: Mapping[str, Any]) -> Tables:
    """The results on one screen of 100 columns (a `rich` renderable).

    Args:
        results: the content of results.json.

    Raises:
        ValidationError: for results of another schema.
    """
    require_schema(results)
    return Tables([sheet(results)], [headline(results), *open_lines(results), *wrapped(without(results))])


def open_lines(results: Mapping[str, Any]) -> list[str]:
    """The criteria that did not pass, those that failed first, as many as fit."""
    criteria = [one for one in ordered((results["gate"] or {}).get("criteria", ())) if one["verdict"] != PASSED]
    told = ((one["verdict"], criterion_line if TOO_FEW in one["why"] else outcome, one) for one in criteria[:OPEN])
    lines = [f"{verdict}: {line(one)}" for verdict, line, one in told]
    if more := len(criteria) - OPEN:
        lines += [f"And {more} more that did not pass."] * (more > 0)
    return wrapped(lines)


def sheet(results: Mapping[str, Any]) -> Sheet:
    """How well each set is told apart, and what that cost, in base, control and vaccine."""
    at = index(results)
    reading = RECALLED if any(key[1] == RECALLED for key in at) else VERDICT
    arms = [arm for arm in dict.fromkeys((BASE, control(results), VACCINE)) if arm in results["arms"]]
    rows = [(name, *texts) for name, texts in _rows(results, at, reading, arms) if set(texts) != {NOT_KNOWN}]
    title = f"Claims told from their true twins (AUROC, 0.5 is chance), {READINGS[reading]}"
    return Sheet(title, ("", *arms), tuple(rows))


def _rows(
    results: Mapping[str, Any], at: Measured, reading: str, arms: Sequence[str]
) -> Iterator[tuple[str, list[str]]]:
    names = [name for name in probe_names(results) if name not in LAST]
    for name in names:
        found = [at.get((name, reading, PLAIN, "auroc", arm)) for arm in arms]
        many = next((f" ({one['pairs']} pairs)" for one in found if one), "")
        yield f"{probe_label(name)}{many}", [cell(one) for one in found]
    first = names[0] if names else ""
    rates = [[at.get((first, reading, PLAIN, one, arm)) for one in ("rejection", "true_acceptance")] for arm in arms]
    both = [" / ".join(f"{one['value']:.2f}" for one in pair if one) or NOT_KNOWN for pair in rates]
    yield f"{probe_label(first)}: rejects false / accepts true", both
    answers = [cell(at.get((first, ANSWER, PLAIN, "auroc", arm))) for arm in arms]
    yield f"{probe_label(first)}: prefers the true answer", answers
    kept = {row["arm"]: row for row in results["other"] if row["kind"] == "retention" and row["name"] == "mix"}
    yield "held-back rows of the mix, nats a token", [cell(kept.get(arm)) for arm in arms]
