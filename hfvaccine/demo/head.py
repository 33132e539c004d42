"""What stands on top of a demo: the gate's verdict, and a few numbers of the evaluation. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hfvaccine.inoculation.grid import NONE
from hfvaccine.inoculation.kinds import label_of
from hfvaccine.inoculation.profile import KEEP
from hfvaccine.papers.arms import compared_with, is_control
from hfvaccine.papers.kind import IMMUNIZED, Kind
from hfvaccine.text import clean
from hfvaccine.validation.showing import measurement, page, sentences, summary, traits
from hfvaccine.validation.showing.sheets import Sheet

NOT_MEASURED = "It was trained and never asked anything. Nothing is known about what it does."
CONTROL = "A control: it was trained to show the trait, so that others can be held against it. Not for use."


@dataclass(frozen=True)
class Head:
    """What stands on top.

    Args:
        verdict: of the gate: "passed", "failed" or "undecided"; None where there is none.
        word: the same, as it is said first.
        meaning: what follows from it.
        counts: of the criteria; may be empty.
        sheet: a few numbers of the evaluation; None where nothing was measured.
        warnings: what a reader will miss.
    """

    verdict: str | None
    word: str
    meaning: str
    counts: str = ""
    sheet: Sheet | None = None
    warnings: tuple[str, ...] = ()


def head(kind: Kind, record: Mapping[str, Any], results: Mapping[str, Any]) -> Head:
    """What the papers of an adapter come to.

    Args:
        kind: of its papers.
        record: of the adapter.
        results: the content of results.json or traits.json; of an inoculated adapter empty where it was not measured.

    Raises:
        ValidationError: for results of another schema.
    """
    if kind is IMMUNIZED:
        gate = results["gate"]
        meaning = page.VERDICTS[gate["verdict"] if gate else None]
        return _judged(gate, meaning, summary.sheet(results), tuple(sentences.without(results)))
    shown = compared_with(record, results)
    sheet = _trait_sheet(results, shown) if shown else None
    if is_control(record):
        return Head(None, "Control", CONTROL, sheet=sheet)
    if sheet is None:
        return Head(None, "Not measured", NOT_MEASURED)
    gate = record.get("gate")
    return _judged(gate, measurement.VERDICTS[gate["verdict"] if gate else None], sheet)


def _judged(gate: Mapping[str, Any] | None, meaning: str, sheet: Sheet, warnings: tuple[str, ...] = ()) -> Head:
    if gate is None:
        return Head(None, "Gate: none", meaning, sheet=sheet, warnings=warnings)
    verdict = str(gate["verdict"])
    return Head(verdict, f"Gate: {verdict.upper()}", meaning, sentences.counts(gate), sheet, warnings)


def _trait_sheet(content: Mapping[str, Any], arms: Mapping[str, str]) -> Sheet:
    """How far each trait shows without a prompt, and where it is worst in the adapter."""
    found = {(one["trait"], one["condition"], one["arm"]): traits.cell(one) for one in content["shown"]}
    own = next(iter(arms.values()))
    worst = {one["trait"]: one["condition"] for one in content["worst"] if one["arm"] == own}
    rows = []
    for trait in content["traits"]:
        name = clean(label_of(trait["name"])) + (", to be kept" if trait["role"] == KEEP else "")
        for condition in dict.fromkeys((NONE, worst.get(trait["name"], NONE))):
            under = "without a prompt" if condition == NONE else f"worst, under {clean(condition)}"
            cells = (found.get((trait["name"], condition, arm), "-") for arm in arms.values())
            rows.append((f"{name}: {under}", *cells))
    return Sheet("How far each trait shows", ("", *map(clean, arms)), tuple(rows))
