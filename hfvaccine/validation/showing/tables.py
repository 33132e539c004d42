"""Results in words and tables, for a terminal and for the page. Presentation only: nothing is computed here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hfvaccine.validation.scores import (
    ALWAYS_FALSE,
    ANSWER,
    BASE,
    BELIEF,
    CROSS,
    CUE,
    HIGHER,
    LOWER,
    PLACEBO,
    PLAIN,
    SPECIFIC,
    VACCINE,
    VERDICT,
)
from hfvaccine.validation.showing.lookup import (
    NOTHING,
    cell,
    change,
    index,
    is_at,
    probe_names,
    require_schema,
)
from hfvaccine.validation.showing.names import (
    ARMS,
    FEW,
    KINDS,
    capital,
    condition_label,
    item_label,
    metric_label,
    probe_label,
    words,
)
from hfvaccine.validation.showing.sentences import (
    headline,
    settings_line,
    without,
)

MAIN = ("auroc", "rejection", "true_acceptance", "balanced_accuracy", "d_prime", "criterion")
"""Columns of the main tables: rejection never stands without acceptance beside it."""


@dataclass(frozen=True)
class Sheet:
    """A table before it is drawn.

    Args:
        title: what it shows, of how many.
        columns: their heads; the first is that of the row names.
        rows: texts, each as long as `columns`.
        note: what a reader has to know of it; may be empty.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


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
    return Tables(sheets(results), [headline(results), *without(results), settings_line(results)])


def sheets(results: Mapping[str, Any]) -> list[Sheet]:
    """All tables that have something in them, the most important first."""
    at = index(results)
    verdicts = [_verdicts(results, at, probe) for probe in probe_names(results)]
    conditions = [_conditions(results, at, probe) for probe in probe_names(results)]
    found = [*verdicts, _answers(results, at), *conditions, _items(results), _corrected(results)]
    return [sheet for sheet in found if sheet is not None]


def comparison(rows: Sequence[Mapping[str, Any]], names: tuple[str, str]) -> list[Sheet]:
    """Tables of what two runs differ in: plain probes, then tactics and pressure, then other items.

    Args:
        rows: as `compare.compare` gives them.
        names: of the two runs.
    """
    columns = ("", *(words(name, 24) for name in names), "difference", "could show", "items", "")
    plain, pressed, other = [], [], []
    for row in rows:
        about = f"{probe_label(row['probe'])}, {words(row['reading'])}" if row["reading"] else item_label(row)
        if row["reading"] and row["condition"] == PLAIN:
            plain.append(_compared(f"{about}: {metric_label(row['metric'])}", row))
        elif row["reading"] and row["metric"] == "auroc":
            pressed.append(_compared(f"{probe_label(row['probe'])}, {condition_label(row['condition'])}", row))
        elif not row["reading"]:
            other.append(_compared(about, row))
    note = FEW if any(row["few"] for row in rows) else ""
    titles = ("Claims and their true twins", "Under tactics and pressure, AUROC of the verdict", "Other items")
    return [
        Sheet(title, columns, tuple(found), note)
        for title, found in zip(titles, (plain, pressed, other), strict=True)
        if found
    ]


def _compared(about: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    items = f"{row['items']:,}"
    if row["difference"] is None:
        return about, NOTHING, NOTHING, NOTHING, NOTHING, items, "too few in common"
    low, high = row["interval"]
    up, down = {HIGHER: ("better", "worse"), LOWER: ("worse", "better")}.get(row["better"], ("higher", "lower"))
    values = [f"{value:.2f}" for value in row["values"]]
    outcome = up if low > 0 else down if high < 0 else ""
    return about, *values, change(row["difference"], row["interval"]), f"{row['detectable']:.3f}", items, outcome


def _verdicts(results: Mapping[str, Any], at: Mapping[Any, Mapping[str, Any]], probe: str) -> Sheet | None:
    rows = []
    for arm in (*(arm for arm in ARMS if arm in results["arms"]), ALWAYS_FALSE, CUE):
        cells = [at.get((probe, VERDICT, PLAIN, metric, arm)) for metric in MAIN]
        if any(cells):
            rows.append((arm, *map(cell, cells)))
    found = next((m for m in results["measures"] if is_at(m, probe, VERDICT)), None)
    if found is None:
        return None
    audit = results["cue_audit"].get(probe)
    notes = []
    if audit is not None and not audit["passed"]:
        notes.append("FAILS THE CUE AUDIT: wording alone gives these claims away.")
    if found["matched"]:
        notes.append("The truths are other statements, not the claims' twins.")
    if found.get("few"):
        notes.append(FEW)
    title = f"{capital(probe_label(probe))}, verdict on the statement ({_sizes(found)})"
    return Sheet(title, ("", *(metric_label(metric) for metric in MAIN)), tuple(rows), " ".join(notes))


def _answers(results: Mapping[str, Any], at: Mapping[Any, Mapping[str, Any]]) -> Sheet | None:
    probes = [p for p in probe_names(results) if any(is_at(m, p, ANSWER) for m in results["measures"])]
    if not probes:
        return None
    short = {SPECIFIC: "given", CROSS: "never given"}
    metrics = ("auroc", "pair_accuracy")
    rows = []
    for arm in (*(arm for arm in ARMS if arm in results["arms"]), CUE):
        cells = [at.get((probe, ANSWER, PLAIN, metric, arm)) for probe in probes for metric in metrics]
        if any(cells):
            rows.append((arm, *map(cell, cells)))
    columns = tuple(
        f"{short.get(probe, words(probe))}: {metric_label(metric)}" for probe in probes for metric in metrics
    )
    sizes = ", ".join(
        f"{short.get(p, words(p))} {next(m['pairs'] for m in results['measures'] if is_at(m, p, ANSWER))}"
        for p in probes
    )
    few = any(m.get("few") for m in results["measures"] if m["reading"] == ANSWER)
    title = f"Answer preferred to the question ({sizes} pairs)"
    return Sheet(title, ("", *columns), tuple(rows), FEW if few else "")


def _conditions(results: Mapping[str, Any], at: Mapping[Any, Mapping[str, Any]], probe: str) -> Sheet | None:
    arms = [arm for arm in (BASE, PLACEBO, VACCINE) if arm in results["arms"]]
    conditions = list(
        dict.fromkeys(m["condition"] for m in results["measures"] if m["probe"] == probe and m["reading"] == VERDICT)
    )
    if not any(condition != PLAIN for condition in conditions):
        return None
    rows = tuple(
        (condition_label(c), *(cell(at.get((probe, VERDICT, c, "auroc", arm))) for arm in arms)) for c in conditions
    )
    return Sheet(f"{capital(probe_label(probe))} under tactics and pressure, AUROC of the verdict", ("", *arms), rows)


def _items(results: Mapping[str, Any]) -> Sheet | None:
    shown = [row for row in results["other"] if row["kind"] != BELIEF]
    arms = [arm for arm in ARMS if arm in results["arms"] and any(row["arm"] == arm for row in shown)]
    if not shown:
        return None
    values = {(row["kind"], row["name"], row["of"], row["metric"], row["arm"]): row for row in shown}
    rows = []
    for kind, name, of, metric in dict.fromkeys((r["kind"], r["name"], r["of"], r["metric"]) for r in shown):
        found = {arm: values.get((kind, name, of, metric, arm)) for arm in arms}
        one = next(row for row in found.values() if row is not None)
        better = " ↓" if one["better"] == LOWER else ""
        rows.append((f"{item_label(one)}{better} ({one['items']:,})", *map(cell, found.values())))
    kinds = dict.fromkeys(row["kind"] for row in shown)
    title = ", ".join(KINDS.get(kind, words(kind)) if i == 0 else words(kind) for i, kind in enumerate(kinds))
    title += " (items in brackets" + ("; ↓: lower is better)" if any(r["better"] == LOWER for r in shown) else ")")
    return Sheet(title, ("", *arms), tuple(rows), FEW if any(row.get("few") for row in shown) else "")


def _corrected(results: Mapping[str, Any]) -> Sheet | None:
    """What the judged shares come to without the judge's error, where that is known."""
    judge = results.get("judge") or {}
    found = {(row["of"], row["arm"]): row for row in judge.get("corrected", [])}
    if not found:
        return None
    arms = [arm for arm in ARMS if any(arm == its for _, its in found)]
    rows = tuple(
        (capital(probe_label(of)), *(cell(found.get((of, arm))) for arm in arms))
        for of in dict.fromkeys(of for of, _ in found)
    )
    return Sheet("Free text, share of answers that are correct, less the judge's error", ("", *arms), rows)


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


def _sizes(measure: Mapping[str, Any]) -> str:
    clusters = "" if measure["clusters"] == measure["pairs"] else f" in {measure['clusters']:,} clusters"
    return f"{measure['pairs']:,} pairs{clusters}"
