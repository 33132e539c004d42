"""The status as one HTML page with its charts: nothing is fetched, and no text of a claim stands on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hfvaccine.surveillance.charts import FELL, ROSE, SIDES
from hfvaccine.surveillance.status import ALARM, NO_DATA, OK, STALE, Charted, Named, Status, spoken
from hfvaccine.text import NOT_KNOWN, clean, templates, with_interval
from hfvaccine.validation.scores import PLACEBO, VACCINE
from hfvaccine.validation.showing.figures import COLOURS, INK, Figure, empty_panels, finished, styled
from hfvaccine.validation.showing.sheets import Sheet
from hfvaccine.version import VERSION

TONES = {OK: "passed", ALARM: "failed", NO_DATA: "undecided", STALE: "undecided"}
"""How the page's style calls them."""
WORDS = {OK: "OK", ALARM: "ALARM", NO_DATA: "NO DATA", STALE: "STALE"}
SHOWN = {FELL: (COLOURS[PLACEBO], (0, (5, 2))), ROSE: (COLOURS[VACCINE], "solid")}
"""Colour and line of the evidence for either side."""


def render(status: Status) -> str:
    """The page.

    Args:
        status: of a monitor.

    Returns:
        HTML. It depends on nothing but the status, and all that comes from data is escaped.
    """
    from markupsafe import Markup

    pictures = [picture for one in status.charts if (picture := draw(one)) is not None]
    return (
        templates("hfvaccine.surveillance", beside="hfvaccine.validation.showing")
        .get_template("page.html")
        .render(
            title="A monitored adapter",
            headline=f"{WORDS[status.state]}: {clean(status.watched['adapter'])}",
            tone=TONES[status.state],
            word=WORDS[status.state],
            why=status.why,
            at=status.at,
            alarms=status.alarms,
            moved=[alarm_sheet(alarm.claims) for alarm in status.alarms],
            notes=status.notes,
            sheet=sheet(status),
            figures=[(figure.name, Markup(figure.svg)) for figure in pictures],
            watched=[(name, clean(status.watched[name])) for name in ("adapter", "base", "dose")],
            readings=", ".join(f"{source}: {reading}" for source, reading in status.watched["readings"].items()),
            sources=[
                (source, f"{its['round']}, {its['at']}{', no data: ' + its['no_data'] if 'no_data' in its else ''}")
                for source, its in status.sources.items()
            ],
            budget=status.budget,
            created_by=f"hfvaccine {VERSION}",
        )
    )


def sheet(status: Status) -> Sheet:
    """All charts, one a row."""
    rows = tuple(
        (
            one.name,
            one.state,
            NOT_KNOWN
            if one.baseline is None
            else with_interval(one.baseline.value, (one.baseline.low, one.baseline.high)),
            NOT_KNOWN if one.last is None else with_interval(one.last.value, one.last.interval),
            f"{len(one.rounds):,}",
            f"{100 * one.nearness:.0f} %",
        )
        for one in status.charts
    )
    columns = ("chart", "state", "baseline", "last round", "rounds", "way to an alarm")
    return Sheet(f"{clean(status.watched['adapter'])}, {status.at}", columns, rows)


def alarm_sheet(claims: Sequence[Named]) -> Sheet:
    """The claims that an alarm is about."""
    rows = tuple((one.claim, one.cluster, f"{one.before:.2f}", f"{one.after:.2f}", f"{one.asked:,}") for one in claims)
    return Sheet("Claims that moved most", ("claim", "cluster", "before", "since", "asked since"), rows)


@styled()
def draw(one: Charted) -> Figure | None:
    """A chart: the mean of each round in the band of its baseline, and under it how near the evidence is to an alarm.

    Args:
        one: of a status.

    Returns:
        None before a first round was held against a baseline.
    """
    if one.trace is None or not one.rounds or one.baseline is None:
        return None
    drawing, (above, below) = empty_panels(2, 1, 3.4, ratios=(1.6, 1), sharex=True)
    rounds = np.arange(1, len(one.rounds) + 1)
    above.axhspan(one.baseline.low, one.baseline.high, color=INK, alpha=0.12, linewidth=0)
    above.axhline(one.baseline.value, color=INK, linewidth=0.7)
    above.plot(rounds, one.trace.means, color=COLOURS[VACCINE], linewidth=1.2, marker="o", markersize=2.5)
    above.set_ylim(-0.03, 1.03)
    above.set_ylabel("mean score")
    for side, evidence in zip(SIDES, one.trace.evidence.T, strict=True):
        colour, line = SHOWN[side]
        below.plot(rounds, np.clip(evidence / one.trace.limit, 0, 1.1), color=colour, linestyle=line, label=side)
    below.axhline(1, color=INK, linewidth=0.7)
    below.set_ylim(-0.03, 1.15)
    below.set_yticks([0, 1], ["0", "alarm"])
    below.set_xlabel("round")
    below.legend(ncols=2, loc="upper left", borderpad=0)
    last, usual = one.trace.means[-1], one.baseline.value
    said = f"The last of {len(rounds):,} rounds has a mean of {last:.2f}; baseline {usual:.2f}."
    if one.alarm is not None and one.trace.since is not None:
        for axes in (above, below):
            axes.axvline(one.trace.since + 1, color=COLOURS[PLACEBO], linewidth=0.8)
        said += f" {one.alarm.why}"
    note = "Band: the baseline's interval. Below: evidence, 1 being an alarm. Upright line: where a change began."
    return finished(drawing, f"chart_{one.name}", f"{spoken(one.name)}: {one.chart.says}", note, said)
