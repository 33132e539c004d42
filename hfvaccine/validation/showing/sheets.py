"""Results as sheets of texts, from which terminal, page and card are printed. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hfvaccine.text import NOT_KNOWN, number
from hfvaccine.validation.judging.metrics import metrics_of
from hfvaccine.validation.scores import (
    ALWAYS_FALSE,
    ANSWER,
    BASE,
    BELIEF,
    CUE,
    LOWER,
    PARENT,
    PLACEBO,
    PLAIN,
    RECALLED,
    VACCINE,
    VERDICT,
    VERDICTS,
)
from hfvaccine.validation.showing.lookup import better_or_worse, cell, change, probe_names
from hfvaccine.validation.showing.names import (
    ARMS,
    FEW,
    LAST,
    READINGS,
    capital,
    condition_label,
    item_label,
    kind_label,
    label,
    metric_label,
    probe_label,
    reading_label,
)

COLUMNS = {
    **dict.fromkeys(VERDICTS, ("auroc", "rejection", "true_acceptance", "balanced_accuracy", "d_prime", "criterion")),
    ANSWER: tuple(metrics_of(ANSWER)),
}
"""Metrics that are shown of each reading: rejection never stands without acceptance beside it."""
LESS_BIAS = tuple(metrics_of(RECALLED, calibrated=True))
MAIN_ARMS = (BASE, PLACEBO, PARENT, VACCINE)


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

    def narrow(self, most: int = 3) -> list[Sheet]:
        """The same in sheets of so few columns beside the row names; three are as many as a phone shows."""
        return [
            replace(
                self,
                columns=(self.columns[0], *self.columns[at : at + most]),
                rows=tuple((row[0], *row[at : at + most]) for row in self.rows),
            )
            for at in range(1, len(self.columns), most)
        ]


def sheets(results: Mapping[str, Any]) -> list[Sheet]:
    """All sheets that have something in them, the most important first."""
    names = probe_names(results)
    first, last = [name for name in names if name not in LAST], [name for name in names if name in LAST]
    found = [reading_sheet(results, name, reading) for reading in READINGS for name in first]
    found += [calibrated_sheet(results, name, reading) for reading in VERDICTS[::-1] for name in first]
    found += [condition_sheet(results, name) for name in names]
    found += [reading_sheet(results, name, reading) for reading in READINGS for name in last]
    found += [item_sheet([row for row in results["other"] if row["kind"] != BELIEF]), _corrected(results)]
    return [sheet for sheet in found if sheet is not None]


def reading_sheet(results: Mapping[str, Any], probe: str, reading: str) -> Sheet | None:
    """Arms by metrics on a plain probe; what the vaccine is held against has its row even where it is missing."""
    measured = results["measures"]
    measures = [m for m in measured if (m["probe"], m["reading"], m["condition"]) == (probe, reading, PLAIN)]
    at = {(m["arm"], m["metric"]): m for m in measures}
    arms = {m["arm"] for m in measured}
    judged = reading in VERDICTS and VACCINE in arms and not results.get("served")
    beside = (BASE, PARENT if PARENT in arms else PLACEBO) if judged else ()
    rows = []
    for arm in (*ARMS, ALWAYS_FALSE, CUE):
        cells = [at.get((arm, metric)) for metric in COLUMNS[reading]]
        if any(cells) or arm in beside:
            rows.append((arm if arm in arms else f"{arm} (missing)", *map(cell, cells)))
    if not any(metric in COLUMNS[reading] for _, metric in at):
        return None
    first = measures[0]
    title = f"{capital(probe_label(probe))}, {READINGS[reading]} ({_size(first)})"
    notes = {
        "FAILS THE CUE AUDIT: wording alone gives these claims away.": _fails_audit(results, probe),
        "The truths are other statements, not the claims' twins.": first.get("matched"),
        FEW: first.get("few"),
    }
    columns = ("", *map(metric_label, COLUMNS[reading]))
    return Sheet(title, columns, tuple(rows), " ".join(note for note, holds in notes.items() if holds))


def calibrated_sheet(results: Mapping[str, Any], probe: str, reading: str) -> Sheet | None:
    """Rejection beside acceptance without the lean that an arm has on neutral statements too."""
    at = {
        (m["arm"], m["metric"]): m
        for m in results["measures"]
        if (m["probe"], m["reading"], m["condition"]) == (probe, reading, PLAIN) and m["metric"] in LESS_BIAS
    }
    if not at:
        return None
    arms = [arm for arm in ARMS if any(arm == its for its, _ in at)]
    rows = tuple((arm, *(cell(at.get((arm, metric))) for metric in LESS_BIAS)) for arm in arms)
    size = _size(next(iter(at.values())))
    title = f"{capital(probe_label(probe))}, {READINGS[reading]}, less the bias ({size})"
    taken = [row for row in results["calibration"] if row["reading"] == reading]
    leans = {arm: [row["bias"] for row in taken if row["arm"] == arm] for arm in arms}
    said = ", ".join(f"{arm} {sum(its) / len(its):+.2f}" for arm, its in leans.items() if its)
    note = f"Taken off, in log-odds of TRUE: what each says of neutral statements ({said})." if said else ""
    return Sheet(title, ("", *map(metric_label, LESS_BIAS)), rows, note)


def _size(measure: Mapping[str, Any]) -> str:
    clusters = "" if measure["clusters"] == measure["pairs"] else f" in {number(measure['clusters'])} clusters"
    return f"{number(measure['pairs'])} pairs{clusters}"


def _fails_audit(results: Mapping[str, Any], probe: str) -> bool:
    audit = results["cue_audit"].get(probe)
    return audit is not None and audit["passed"] is False


def condition_sheet(results: Mapping[str, Any], probe: str) -> Sheet | None:
    """AUROC of the verdict plainly and under each tactic and pressure, for the arms that matter."""
    measures = [m for m in results["measures"] if (m["probe"], m["reading"]) == (probe, VERDICT)]
    at = {(m["condition"], m["arm"]): m for m in measures if m["metric"] == "auroc"}
    conditions = dict.fromkeys(condition for condition, _ in at)
    if not any(condition != PLAIN for condition in conditions):
        return None
    title = f"{capital(probe_label(probe))} under tactics and pressure, AUROC of the verdict"
    return _grid(title, at, {condition: condition_label(condition) for condition in conditions}, MAIN_ARMS)


def item_sheet(rows: Sequence[Mapping[str, Any]], arms: Sequence[str] = ARMS) -> Sheet | None:
    """Means of items by arm: retention, truthfulness, over-rejection, a trait.

    Args:
        rows: of "other" in the results.
        arms: that have a column, where they were asked.
    """
    keys = ("kind", "name", "of", "metric")
    at = {(tuple(row[key] for key in keys), row["arm"]): row for row in rows if row["arm"] in arms}
    labels = {
        item: f"{item_label(row)}{' ↓' if row['better'] == LOWER else ''} ({number(row['items'])})"
        for (item, _), row in at.items()
    }
    if not labels:
        return None
    title = capital(", ".join(dict.fromkeys(kind_label(row["kind"]) for row in at.values())))
    title += " (items in brackets" + ("; ↓: lower is better)" if any("↓" in name for name in labels.values()) else ")")
    return _grid(title, at, labels, arms, FEW if any(row.get("few") for row in at.values()) else "")


def _corrected(results: Mapping[str, Any]) -> Sheet | None:
    """What the judged shares come to without the judge's error, where that is known."""
    judge = results.get("judge") or {}
    at = {(row["of"], row["arm"]): row for row in judge.get("corrected", [])}
    title = "Free text, share of answers that are correct, less the judge's error"
    return _grid(title, at, {of: capital(probe_label(of)) for of, _ in at}, ARMS) if at else None


def _grid(
    title: str,
    at: Mapping[tuple[Any, str], Mapping[str, Any]],
    labels: Mapping[Any, str],
    arms: Sequence[str],
    note: str = "",
) -> Sheet:
    """Measures by row and arm, as a sheet with a column for each arm that has some."""
    arms = [arm for arm in arms if any(arm == its for _, its in at)]
    rows = tuple((name, *(cell(at.get((row, arm))) for arm in arms)) for row, name in labels.items())
    return Sheet(title, ("", *arms), rows, note)


def comparison(rows: Sequence[Mapping[str, Any]], names: tuple[str, str]) -> list[Sheet]:
    """Sheets of what two runs differ in: plain probes, then tactics and pressure, then other items.

    Args:
        rows: as `compare.compare` gives them.
        names: of the two runs.
    """
    columns = ("", *(label(name, 24) for name in names), "difference", "could show", "items", "")
    plain, pressed, other = [], [], []
    for row in rows:
        about = f"{probe_label(row['probe'])}, {reading_label(row['reading'])}" if row["reading"] else item_label(row)
        if row["reading"] and row["condition"] == PLAIN:
            plain.append(_compared(f"{about}: {metric_label(row['metric'], alone=True)}", row))
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
    if row["difference"] is None:
        return about, *(NOT_KNOWN,) * 4, number(row["items"]), "too few in common"
    values = [f"{value:.2f}" for value in row["values"]]
    shows = f"{row['detectable']:.3f}"
    return about, *values, change(row), shows, number(row["items"]), better_or_worse(row, "")
