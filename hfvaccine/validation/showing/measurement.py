"""A measurement of traits as one HTML page that needs nothing else, as the page of a validation does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hfvaccine.inoculation.kinds import label_of
from hfvaccine.text import clean, templates
from hfvaccine.validation.showing.figures import Figure
from hfvaccine.validation.showing.names import label
from hfvaccine.validation.showing.page import criteria_of, source_of
from hfvaccine.validation.showing.sheets import Sheet
from hfvaccine.validation.showing.traits import (
    NO_GATE,
    WORST,
    condition_sheet,
    headline,
    sentences,
    sheets,
    worst_lines,
)

VERDICTS = {
    "passed": "Every criterion was met.",
    "failed": "At least one criterion was not met. Do not take the trait for gone.",
    "undecided": "What was measured is too little to say. Do not take the trait for gone.",
    None: NO_GATE.partition(". ")[2],
}


def render(content: Mapping[str, Any], figures: Sequence[Figure]) -> str:
    """The page: the verdict and the worst condition first, then pictures, tables, conditions and settings.

    Args:
        content: of traits.json.
        figures: pictures as `figures.traits` makes them; taken as they are.

    Returns:
        HTML. It depends on nothing but the arguments, and all that comes from data is escaped.
    """
    from markupsafe import Markup

    gate = content["gate"]
    word, _, counted = headline(content).partition(". " if gate is None else " (")
    return (
        templates("hfvaccine.validation.showing")
        .get_template("traits.html")
        .render(
            title="How far traits show, and under which prompts",
            verdict=gate["verdict"] if gate else None,
            headline=word,
            word=word,
            counts=counted.rstrip(")") if gate else "",
            meaning=VERDICTS[gate["verdict"] if gate else None],
            criteria=criteria_of(gate["criteria"]) if gate else None,
            left_out=[],
            missing=worst_lines(content),
            figures=[(figure.name, Markup(figure.svg)) for figure in figures],
            intervals=f"In brackets: {100 * content['settings']['level']:.0f} % intervals, questions resampled. "
            f"{WORST}: most of a trait in this arm, or least of what is to be kept.",
            sheets=sheets(content),
            lines=sentences(content),
            conditions=condition_sheet(content),
            compared=_compared(content),
            settings=[(label(name), label(value)) for name, value in content["settings"].items()],
            contrasts=Sheet("", (), ()),
            rules=Sheet("", (), ()),
            created_by=content["created_by"],
        )
    )


def _compared(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a reader needs to know of the models and questions; never a path of the machine they lie on."""
    base, questions = content["base"], content["questions"]
    arms = {"arm": "of the arm", "seed": "with seed"}
    facts = [("Base", source_of(base["id"], base["revision"]))]
    for name, its in content["arms"].items():
        if its["adapter"] is not None:
            said = ", ".join(f"{word} {its[part]}" for part, word in arms.items() if its[part] is not None)
            facts.append((clean(name), f"{said or 'an adapter'}; weights {its['fingerprint'][:12]}"))
    if questions is not None:
        facts.append(("Questions", f"{questions['number']:,}, SHA-256 {questions['sha256'][:12]}"))
    return [*facts, ("Traits", ", ".join(clean(label_of(trait["name"])) for trait in content["traits"]))]
