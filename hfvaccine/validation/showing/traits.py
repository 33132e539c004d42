"""How far traits show, and what the gate says of it: as tables, and in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hfvaccine.inoculation.grid import NONE
from hfvaccine.inoculation.kinds import judge_of, label_of
from hfvaccine.inoculation.profile import KEEP
from hfvaccine.statistics import MIN_CLUSTERS
from hfvaccine.text import clean
from hfvaccine.validation.judging.gate import PASSED
from hfvaccine.validation.scores import BASE
from hfvaccine.validation.showing.sentences import columns, counts, criterion_line, first, wrapped
from hfvaccine.validation.showing.sentences import ordered as by_verdict
from hfvaccine.validation.showing.sheets import Sheet

NAMES = (16, 20)
"""Columns of a trait's and of a condition's name; longer ones go on in the next line."""
WORST = "*"
FEW = 3
"""Of worst conditions, and of criteria that did not pass: so many fit on a screen."""
NO_GATE = "Gate: none. It takes a --trait, and adapters of the arms plain and inoculated, one of each a seed."


def tables(content: Mapping[str, Any]) -> Any:
    """One row for each trait and condition, the worst of each trait first, and a column for each arm.

    Args:
        content: of traits.json.

    Returns:
        What `rich` prints: as many tables as the arms need.
    """
    from rich.console import Group

    arms = list(content["arms"])
    cells = {(one["trait"], one["condition"], one["arm"]): cell(one) for one in content["shown"]}
    widest = max(len(text) for text in (*cells.values(), *(arm[: max(NAMES)] for arm in arms))) + len(WORST)
    several = max(1, (columns() - sum(NAMES) - 3) // (widest + 2))
    parts = [arms[at : at + several] for at in range(0, len(arms), several)]
    return Group(*(_table(content, part, cells, widest) for part in parts))


def _table(
    content: Mapping[str, Any], arms: Sequence[str], cells: Mapping[tuple[str, str, str], str], widest: int
) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    settings = content["settings"]
    drawn = "greedy answers" if settings["temperature"] == 0 else f"{settings['samples']} samples of each answer"
    made = Table(
        title=f"How far each trait shows; {drawn}, {100 * settings['level']:.0f} % intervals",
        title_justify="left",
        title_style="bold",
        caption=f"{WORST} most of a trait, or least of what is kept, in this arm",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    for heading, width in zip(("trait", "condition"), NAMES, strict=True):
        made.add_column(heading, max_width=width, overflow="fold")
    for arm in arms:
        made.add_column(Text(arm), justify="right", max_width=widest, overflow="fold")
    worst = {(one["trait"], one["arm"], one["condition"]) for one in content["worst"]}
    for trait in content["traits"]:
        name = label_of(trait["name"]) + (f" ({KEEP})" if trait["role"] == KEEP else "")
        for number, condition in enumerate(ordered(content, trait)):
            row = [
                cells[trait["name"], condition, arm] + (WORST if (trait["name"], arm, condition) in worst else " ")
                for arm in arms
            ]
            shown = [Text("" if number else name), Text(condition), *map(Text, row)]  # names are no markup
            made.add_row(
                *shown, style=None if number else "bold", end_section=number + 1 == len(content["conditions"])
            )
    return made


def ordered(content: Mapping[str, Any], trait: Mapping[str, Any]) -> list[str]:
    """The conditions, the worst for a trait first, the rest as in the grid.

    Which is worst the arms say that the gate judges; where there is no gate, all but the base.
    """
    conditions = [condition["name"] for condition in content["conditions"]]
    judged = (content.get("gate") or {}).get("verdicts", ())
    arms = [arm for arm, its in content["arms"].items() if judged and its["arm"] in judged]
    arms = arms or [arm for arm in content["arms"] if arm != BASE] or [BASE]
    values = {
        (one["condition"], one["arm"]): one["value"] for one in content["shown"] if one["trait"] == trait["name"]
    }
    means = {}
    for condition in conditions:
        known = [values[condition, arm] for arm in arms if values[condition, arm] is not None]
        if known:
            means[condition] = sum(known) / len(known)
    if not means:
        return conditions
    first = (min if trait["role"] == KEEP else max)(means, key=lambda condition: means[condition])
    return [first, *(condition for condition in conditions if condition != first)]


def sentences(content: Mapping[str, Any]) -> list[str]:
    """Where each trait is worst in each arm, who judged it, and how many answers were unclear."""
    found = {(one["trait"], one["condition"], one["arm"]): one for one in content["shown"]}
    roles = {trait["name"]: trait["role"] for trait in content["traits"]}
    lines = []
    for worst in content["worst"]:
        trait, arm, condition = worst["trait"], worst["arm"], worst["condition"]
        if arm == BASE and len(content["arms"]) > 1:
            continue
        extreme = "least" if roles[trait] == KEEP else "most"
        against = "" if worst["difference"] is None else f", {cell(worst['difference'], sign='+')} against the base"
        line = (
            f"{label_of(trait)}, {arm}: {extreme} under {condition!r}, {cell(found[trait, condition, arm])}{against}"
        )
        if condition != NONE:
            line += f"; without a prompt {cell(found[trait, NONE, arm])}"
        lines.append(line + ".")
    lines += filter(None, map(judge_of, content["traits"]))
    for trait in roles:
        counts = [one for one in content["shown"] if one["trait"] == trait]
        unclear = sum(one["unclear"] for one in counts)
        if unclear:
            lines.append(
                f"{label_of(trait)}: {unclear:,} of {sum(one['answers'] for one in counts):,} answers are unclear."
            )
    if few := [label_of(trait["name"]) for trait in content["traits"] if trait["questions"] < MIN_CLUSTERS]:
        lines.append(f"With fewer than {MIN_CLUSTERS} questions an interval stands for little: {', '.join(few)}.")
    return lines


def headline(content: Mapping[str, Any]) -> str:
    """The gate's verdict in one line, and how many criteria made it."""
    gate = content["gate"]
    return NO_GATE if gate is None else f"Gate: {gate['verdict'].upper()} ({counts(gate)})"


def worst_lines(content: Mapping[str, Any]) -> list[str]:
    """How far each trait shows in the judged arms at worst, under which condition, and whether that names it."""
    lines = []
    for one in (content["gate"] or {}).get("worst", ()):
        which = "which names it" if one["names"] else "the worst that does not name it"
        under = "without a prompt" if one["condition"] == NONE else f"under {clean(one['condition'])!r}"
        line = f"{label_of(one['trait'])}, {one['arm']}: {cell(one)} {under}, {which}"
        if len(one["by_seed"]) > 1:
            each = [f"seed {its['seed']}: {its['value']:.2f}" for its in one["by_seed"]]
            line += f" ({', '.join(each)})"
        lines.append(f"{line}; plain without a prompt: {cell(one['plain'])}." if one["plain"] else f"{line}.")
    return lines


def short_lines(content: Mapping[str, Any]) -> list[str]:
    """What a measurement comes to, on one screen: the verdict, the worst conditions, what did not pass.

    Where there is no gate, where each trait is worst in each arm.
    """
    if content["gate"] is None:
        found, without = sentences(content), []
    else:
        found = worst_lines(content)
        criteria = [one for one in by_verdict(content["gate"]["criteria"]) if one["verdict"] != PASSED]
        without = [f"{one['verdict']}: {criterion_line(one)}" for one in criteria]
    lines = [
        *first(found, FEW, "more: see --full."),
        *first(without, FEW, "more that did not pass: see --full."),
    ]
    return [*wrapped([headline(content)], ""), *wrapped(lines)]


def gate_lines(content: Mapping[str, Any]) -> list[str]:
    """The verdict, the worst conditions, and every criterion: what failed first, and why; within `WIDTH` columns."""
    criteria = by_verdict((content["gate"] or {}).get("criteria", ()))
    lines = [*worst_lines(content), *(f"{one['verdict']}: {criterion_line(one)}" for one in criteria)]
    return [*wrapped([headline(content)], ""), *wrapped(lines)]


def sheets(content: Mapping[str, Any]) -> list[Sheet]:
    """How far each trait shows, a sheet for each: conditions, the worst first, by arms."""
    found = {(one["trait"], one["condition"], one["arm"]): cell(one) for one in content["shown"]}
    worst = {(one["trait"], one["condition"], one["arm"]) for one in content["worst"]}
    made = []
    for trait in content["traits"]:
        rows = [
            (
                clean(condition),
                *(
                    found[key] + (f" {WORST}" if key in worst else "")
                    for arm in content["arms"]
                    for key in [(trait["name"], condition, arm)]
                ),
            )
            for condition in ordered(content, trait)
        ]
        kept = ", to be kept" if trait["role"] == KEEP else ""
        title = f"{clean(label_of(trait['name']))}{kept} ({trait['questions']:,} questions)"
        made.append(Sheet(title, ("condition", *map(clean, content["arms"])), tuple(rows)))
    return made


def condition_sheet(content: Mapping[str, Any]) -> Sheet:
    """What each condition puts before or after a question."""
    naming = (content["gate"] or {}).get("naming", ())
    rows = [
        (
            clean(one["name"]),
            "yes" if one["name"] in naming else "no",
            " | ".join(clean(prompt) for prompt in one["prompts"] if prompt is not None),
            " … ".join(clean(one[part]) for part in ("prepend", "append") if one[part]),
        )
        for one in content["conditions"]
    ]
    columns = ("condition", "names it", "prompts", "added to the question")
    return Sheet("Conditions and prompts", columns, tuple(rows))


def cell(one: Mapping[str, Any], sign: str = "") -> str:
    """A value with its interval; "-" where nothing is clear."""
    if one["value"] is None:
        return "-"
    value, low, high = (round(number, 2) + 0.0 for number in (one["value"], *one["interval"]))  # no -0.0
    return f"{value:{sign}.2f} [{low:.2f}, {high:.2f}]"
