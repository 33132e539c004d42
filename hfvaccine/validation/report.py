"""Results in words and tables, for a terminal and for the page. Presentation only: nothing is computed here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hfvaccine.errors import ValidationError
from hfvaccine.validation.names import (
    ALWAYS_FALSE,
    ARMS,
    FEW,
    KINDS,
    METRICS,
    PROBES,
    capital,
    condition_label,
    item_label,
    one_line,
    probe_label,
    words,
)
from hfvaccine.validation.scores import (
    ANSWER,
    BASE,
    BELIEF,
    CROSS,
    CUE,
    HIGHER,
    LOWER,
    PLACEBO,
    PLAIN,
    SCHEMA_VERSION,
    SPECIFIC,
    VACCINE,
    VERDICT,
)

PARTS = (
    "arms",
    "seeds",
    "missing",
    "measures",
    "domains",
    "contrasts",
    "other",
    "other_contrasts",
    "belief",
    "cue_audit",
    "gate",
    "settings",
)
MAIN = ("auroc", "rejection", "true_acceptance", "balanced_accuracy", "d_prime", "criterion")
"""Columns of the main tables: rejection never stands without acceptance beside it."""
JUDGES = {"HumanLabels": "people", "EntailmentJudge": "an entailment model"}
"""Who judges free text, by the name in the results."""
NOTHING = "–"
NAMED = 10
"""How many claims are named one by one in the terminal."""


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


def verdict_lines(results: Mapping[str, Any]) -> list[str]:
    """What the results say, in sentences: gains and losses, belief, cues, and what decided the gate.

    Args:
        results: the content of results.json.

    Raises:
        ValidationError: for results of another schema.
    """
    require_schema(results)
    return [
        *discrimination_lines(results),
        *condition_lines(results),
        *item_lines(results),
        *judge_lines(results),
        *belief_lines(results),
        *cue_lines(results),
        *left_out_lines(results),
        *gate_lines(results),
    ]


def require_schema(results: Mapping[str, Any]) -> None:
    """Refuse results that were written by another version, or not whole.

    Raises:
        ValidationError: naming both schema versions, or what is lacking.
    """
    found = results.get("schema_version")
    if found != SCHEMA_VERSION:
        raise ValidationError(
            f"These results have schema version {found!r}; this hfvaccine shows version {SCHEMA_VERSION}.",
            "Measure again with `hfvaccine validate`.",
        )
    if lacking := [part for part in PARTS if part not in results]:
        raise ValidationError(
            f"These results lack {', '.join(lacking)}.", "Give the whole results.json of a run that was validated."
        )


def headline(results: Mapping[str, Any]) -> str:
    """The gate's verdict in one line, and how many criteria made it."""
    gate = results["gate"]
    if gate is None:
        return "Gate: NONE, as there is no vaccine to judge."
    return f"Gate: {gate['verdict'].upper()} ({counts(results)})"


def counts(results: Mapping[str, Any]) -> str:
    """How many criteria came out how."""
    if results["gate"] is None:
        return ""
    verdicts = [criterion["verdict"] for criterion in results["gate"]["criteria"]]
    many = [f"{n} {verdict}" for verdict in ("failed", "undecided", "passed") if (n := verdicts.count(verdict))]
    return f"{', '.join(many) or 'none'} of {len(verdicts)} criteria"


def without(results: Mapping[str, Any]) -> list[str]:
    """Which arms a reader will miss, and how to have them."""
    ways = {PLACEBO: "no placebo was trained, so gains may come from any training. Add --placebo."}
    return [
        f"The control is missing: {ways[arm]}"
        for arm in results["missing"]
        if arm in ways and VACCINE in results["arms"]
    ]


def settings_line(results: Mapping[str, Any]) -> str:
    """What the intervals are, and of how many seeds the arms are means."""
    settings = results["settings"]
    seeds = {arm: n for arm, n in results["seeds"].items() if n > 1}
    means = f"; means over {', '.join(f'{n} seeds of {words(arm)}' for arm, n in seeds.items())}" if seeds else ""
    return f"In brackets: {100 * settings['level']:.0f} % intervals, {words(settings['resampled'])} resampled{means}."


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
            plain.append(_compared(f"{about}: {METRICS.get(row['metric'], words(row['metric']))}", row))
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


def index(results: Mapping[str, Any]) -> dict[tuple[str, str, str, str, str], Mapping[str, Any]]:
    """Measures by probe, reading, condition, metric and arm."""
    return {(m["probe"], m["reading"], m["condition"], m["metric"], m["arm"]): m for m in results["measures"]}


def probe_names(results: Mapping[str, Any]) -> list[str]:
    """Given claims, claims never given, then outside sets in the order of the results."""
    names = list(dict.fromkeys(m["probe"] for m in results["measures"]))
    return [name for name in PROBES if name in names] + [name for name in names if name not in PROBES]


def control(results: Mapping[str, Any]) -> str:
    """What the vaccine is held against: the placebo where there is one, else the base."""
    return PLACEBO if PLACEBO in results["arms"] else BASE


def cell(measure: Mapping[str, Any] | None) -> str:
    """A value and its interval, or a dash where nothing was measured."""
    if measure is None or measure["value"] is None:
        return NOTHING
    value, interval = measure["value"], measure["interval"]
    if not _is_pair(interval) or interval[0] == interval[1]:
        return f"{value:.2f}"
    return f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def change(value: float, interval: Sequence[float], places: int = 3) -> str:
    """A difference with its sign and interval."""
    return f"{value:+.{places}f} [{interval[0]:+.{places}f}, {interval[1]:+.{places}f}]"


def discrimination_lines(results: Mapping[str, Any]) -> list[str]:
    """On plain probes: does the vaccine tell truth from falsehood better, and at what cost in acceptance."""
    lines = []
    against = control(results)
    plain = [c for c in results["contrasts"] if c["condition"] == PLAIN]
    for probe, reading in dict.fromkeys((c["probe"], c["reading"]) for c in plain):
        rows = {c["against"]: c for c in plain if (c["probe"], c["reading"], c["metric"]) == (probe, reading, "auroc")}
        if against not in rows:
            continue
        low, high = rows[against]["interval"]
        outcome = "beats" if low > 0 else "is worse than" if high < 0 else "does not beat"
        others = [f"against {other}: {_change(c)}" for other, c in rows.items() if other != against]
        lines.append(
            f"On {probe_label(probe)} ({reading}), the vaccine {outcome} {against} beyond its interval: "
            f"AUROC {_change(rows[against])}{_detectable(rows[against])}."
            f"{' ' + capital('; '.join(others)) + '.' if others else ''}"
        )
    for contrast in plain:
        said = {"true_acceptance": "acceptance of truths", "rejection": "rejection of claims"}.get(contrast["metric"])
        if said is None or contrast["reading"] != VERDICT or contrast["against"] != against:
            continue
        low, high = contrast["interval"]
        outcome = "rises" if low > 0 else "falls" if high < 0 else "shows no change"
        lines.append(
            f"On {probe_label(contrast['probe'])}, {said} {outcome} against {against}: "
            f"{_change(contrast)}{_p_value(contrast)}{_detectable(contrast)}."
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
            if (c["probe"], c["metric"], c["against"]) == (probe, "auroc", against) and c["condition"] != PLAIN
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
    lines = []
    for contrast in results["other_contrasts"]:
        if contrast["kind"] == BELIEF or contrast["against"] != control(results):
            continue
        low, high = contrast["interval"]
        up = "better" if contrast["better"] == HIGHER else "worse"
        outcome = up if low > 0 else {"better": "worse", "worse": "better"}[up] if high < 0 else "no change shown"
        lines.append(
            f"{KINDS.get(contrast['kind'], words(contrast['kind']))}, {item_label(contrast)}: {outcome} against "
            f"{contrast['against']}, {_change(contrast)}{_detectable(contrast)}."
        )
    return lines


def judge_lines(results: Mapping[str, Any]) -> list[str]:
    """Who judged what was said in free text, and how far this judge can be trusted."""
    judge = results.get("judge")
    if not judge:
        return []
    who = JUDGES.get(judge["judge"], words(judge["judge"]))
    said = f"Free text: {judge['answers']:,} answers were judged by {who}; "
    error = judge["error"]
    if not isinstance(error, Mapping):
        return [f"{said}the judge's error is {one_line(error).rstrip('.')}."]
    return [
        f"{said}held against people on {judge['labelled']:,} of them, the judge's sensitivity is "
        f"{cell(error['sensitivity'])}, its specificity {cell(error['specificity'])}."
    ]


def belief_lines(results: Mapping[str, Any]) -> list[str]:
    """Whether belief in the given claims rose beyond that in others, and single claims by their ids."""
    belief = results["belief"]
    if not belief:
        return []
    lines = []
    for rise in belief["rises"]:
        low, high = rise["interval"]
        outcome = "it ROSE" if low > 0 else "it fell" if high < 0 else "no rise shown"
        lines.append(
            f"Belief in the given claims ({words(rise['reading'])}), beyond the change in claims never given: "
            f"{outcome}, {_change(rise)} in probability."
        )
    named = belief["named"]
    if named:
        shown = [
            f"{words(n['claim_id'])} ({words(n['reading'])}, log-odds {n['rise']:+.2f}, after Holm {_p(n['p_holm'])})"
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
    """What was not asked: claims with nothing true to hold against them, items that the dose gives away."""
    lines = [
        f"Of the {probe_label(name)}, {count} have nothing true to be held against, or say what the dose says, "
        "and were not asked."
        for name, count in results.get("claims_left_out", {}).items()
        if count
    ]
    lines += [
        f"Of {words(b['name'])}, {b['left_out']} items were left out, as a claim of the dose says the same."
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
        *(f"  left out, as there is nothing to measure it on: {one_line(name)}" for name in left_out),
    ]


def criterion_line(criterion: Mapping[str, Any]) -> str:
    """What a criterion asks, what was measured, and why it came out as it did."""
    return (
        f"{one_line(criterion['name'])}: {measured(criterion)}, needs {one_line(criterion['threshold'])}. "
        f"{one_line(criterion['why'])}"
    )


def measured(criterion: Mapping[str, Any]) -> str:
    """A criterion's difference with its interval, where it was measured."""
    if criterion["value"] is None or not _is_pair(criterion["interval"]):
        return "not measured"
    return change(criterion["value"], criterion["interval"])


def ordered(criteria: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Criteria with those that failed first and those that passed last."""
    order = {"failed": 0, "undecided": 1, "passed": 2}
    return sorted(criteria, key=lambda c: order.get(c["verdict"], 3))


def _verdicts(results: Mapping[str, Any], at: Mapping[Any, Mapping[str, Any]], probe: str) -> Sheet | None:
    rows = []
    for arm in (*(arm for arm in ARMS if arm in results["arms"]), ALWAYS_FALSE, CUE):
        cells = [at.get((probe, VERDICT, PLAIN, metric, arm)) for metric in MAIN]
        if any(cells):
            rows.append((arm, *map(cell, cells)))
    found = next((m for m in results["measures"] if _is_at(m, probe, VERDICT)), None)
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
    return Sheet(title, ("", *(METRICS[metric] for metric in MAIN)), tuple(rows), " ".join(notes))


def _answers(results: Mapping[str, Any], at: Mapping[Any, Mapping[str, Any]]) -> Sheet | None:
    probes = [p for p in probe_names(results) if any(_is_at(m, p, ANSWER) for m in results["measures"])]
    if not probes:
        return None
    short = {SPECIFIC: "given", CROSS: "never given"}
    metrics = ("auroc", "pair_accuracy")
    rows = []
    for arm in (*(arm for arm in ARMS if arm in results["arms"]), CUE):
        cells = [at.get((probe, ANSWER, PLAIN, metric, arm)) for probe in probes for metric in metrics]
        if any(cells):
            rows.append((arm, *map(cell, cells)))
    columns = tuple(f"{short.get(probe, words(probe))}: {METRICS[metric]}" for probe in probes for metric in metrics)
    sizes = ", ".join(
        f"{short.get(p, words(p))} {next(m['pairs'] for m in results['measures'] if _is_at(m, p, ANSWER))}"
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


def _change(contrast: Mapping[str, Any]) -> str:
    return change(contrast["difference"], contrast["interval"])


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


def _sizes(measure: Mapping[str, Any]) -> str:
    clusters = "" if measure["clusters"] == measure["pairs"] else f" in {measure['clusters']:,} clusters"
    return f"{measure['pairs']:,} pairs{clusters}"


def _is_at(measure: Mapping[str, Any], probe: str, reading: str) -> bool:
    return (measure["probe"], measure["reading"], measure["condition"]) == (probe, reading, PLAIN)


def _is_pair(interval: object) -> bool:
    return isinstance(interval, list | tuple) and len(interval) == 2 and None not in interval
