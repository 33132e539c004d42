"""Sheets as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hfvaccine.validation.showing.lookup import require_schema
from hfvaccine.validation.showing.sentences import headline, settings_line, without
from hfvaccine.validation.showing.sheets import Sheet, sheets
from hfvaccine.validation.showing.summary import sheet as main_sheet


class Tables:
    """What `rich` prints: tables under one another, with what has to be known first above them.

    Args:
        sheets: the tables, the most important first.
        lines: what stands above them, the first one in bold.
    """

    def __init__(self, sheets: Sequence[Sheet], lines: Sequence[str] = ()) -> None:
        self.sheets = sheets
        self.lines = lines

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from rich.text import Text

        for number, line in enumerate(self.lines):
            yield Text(line, style="" if number else "bold")
        for sheet in self.sheets:
            yield Text()
            yield Text(sheet.title, style="bold")
            yield _drawn(sheet, options.max_width)
            if sheet.note:
                yield Text(sheet.note, style="italic")
        yield Text()


def table(results: Mapping[str, Any]) -> Tables:
    """The results as tables for the terminal (a `rich` renderable), the gate's verdict above them.

    Args:
        results: the content of results.json.

    Raises:
        ValidationError: for results of another schema.
    """
    require_schema(results)
    return Tables(
        [main_sheet(results), *sheets(results)], [headline(results), *without(results), settings_line(results)]
    )


def _drawn(sheet: Sheet, width: int) -> Any:
    """A sheet as a `rich` table; where one line a row does not fit, each interval moves below its value."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows: list[Sequence[str]] = list(sheet.rows)
    heads: Sequence[str] = sheet.columns
    lengths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    gap = 2 if sum(lengths) + 2 * (len(lengths) - 1) <= width else 1
    if sum(lengths) + len(lengths) - 1 > width:
        heads = [head.replace(" ", "\n") for head in heads]
        rows = [(row[0], *map(_folded, row[1:])) for row in rows]
    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0))
    drawn.add_column(Text(heads[0]), overflow="fold")
    for head in heads[1:]:
        drawn.add_column(Text(head, justify="right"), justify="right", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(text) for text in row))
    return drawn


def _folded(text: str) -> str:
    return text.replace(" [", "\n").replace(", ", ".." if "-" in text else "–").rstrip("]")
