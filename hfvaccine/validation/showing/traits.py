"""How far traits show, as tables for a terminal and in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hfvaccine.inoculation.grid import NONE
from hfvaccine.inoculation.profile import KEEP
from hfvaccine.statistics import MIN_CLUSTERS
from hfvaccine.validation.scores import BASE

WIDTH = 100
"""Columns that a table takes at most."""
NAMES = (16, 20)
"""Columns of a trait's and of a condition's name; longer ones go on in the next line."""
WORST = "*"


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
    several = max(1, (WIDTH - sum(NAMES) - 3) // (widest + 2))
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
        name = trait["name"] + (f" ({KEEP})" if trait["role"] == KEEP else "")
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
    """The conditions, the one that is worst for a trait over all arms but the base first, the rest as in the grid."""
    conditions = [condition["name"] for condition in content["conditions"]]
    arms = [arm for arm in content["arms"] if arm != BASE] or [BASE]
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
    """Where each trait is worst in each arm, and how many answers were unclear."""
    found = {(one["trait"], one["condition"], one["arm"]): one for one in content["shown"]}
    roles = {trait["name"]: trait["role"] for trait in content["traits"]}
    lines = []
    for worst in content["worst"]:
        trait, arm, condition = worst["trait"], worst["arm"], worst["condition"]
        if arm == BASE and len(content["arms"]) > 1:
            continue
        extreme = "least" if roles[trait] == KEEP else "most"
        against = "" if worst["difference"] is None else f", {cell(worst['difference'], sign='+')} against the base"
        line = f"{trait}, {arm}: {extreme} under {condition!r}, {cell(found[trait, condition, arm])}{against}"
        if condition != NONE:
            line += f"; without a prompt {cell(found[trait, NONE, arm])}"
        lines.append(line + ".")
    for trait in roles:
        counts = [one for one in content["shown"] if one["trait"] == trait]
        unclear = sum(one["unclear"] for one in counts)
        if unclear:
            lines.append(f"{trait}: {unclear:,} of {sum(one['answers'] for one in counts):,} answers are unclear.")
    if few := [trait["name"] for trait in content["traits"] if trait["questions"] < MIN_CLUSTERS]:
        lines.append(f"With fewer than {MIN_CLUSTERS} questions an interval stands for little: {', '.join(few)}.")
    return lines


def cell(one: Mapping[str, Any], sign: str = "") -> str:
    """A value with its interval; "-" where nothing is clear."""
    if one["value"] is None:
        return "-"
    value, low, high = (round(number, 2) + 0.0 for number in (one["value"], *one["interval"]))  # no -0.0
    return f"{value:{sign}.2f} [{low:.2f}, {high:.2f}]"
