"""What a monitor's state comes to at a moment: ok, alarm, no data or stale; and of an alarm, what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np

from hfvaccine.statistics import LEVEL, MIN_CLUSTERS, Estimate, rounded
from hfvaccine.surveillance.charts import (
    ASSERTED,
    CHARTS,
    FELL,
    JUDGE,
    ROSE,
    SOON,
    Baseline,
    Chart,
    Trace,
    bounded_mean,
    found_within,
    learnt,
    trace,
)
from hfvaccine.surveillance.state import SKEW, Round, State, clock, now

OK, ALARM, NO_DATA, STALE = "ok", "alarm", "no_data", "stale"
EXIT = {OK: 0, ALARM: 1, NO_DATA: 2, STALE: 2}
"""Exit codes of `hfvaccine monitor status`: 1 is an alarm and nothing else."""
LEARNING, WAITING, WATCHING = "learning", "waiting", "watching"
"""What a chart without an alarm does: learn its baseline, wait for `MIN_CLUSTERS` clusters, watch."""
PATIENCE = 1.5
"""A source is stale when its last round lies further back than so many periods."""
NAMED = 10
"""Claims that an alarm names."""


@dataclass(frozen=True)
class Named:
    """A claim that an alarm is about.

    Args:
        claim: its id.
        cluster: its cluster.
        before: mean score before the change; the baseline's where it was not asked.
        after: mean score since.
        asked: how often since.
    """

    claim: str
    cluster: str
    before: float
    after: float
    asked: int


@dataclass(frozen=True)
class Alarm:
    """What moved, since when, by how much, on which claims, and what to do next.

    Args:
        id: names the alarm.
        chart: that raised it.
        side: `FELL` or `ROSE`.
        worse: whether that is for the worse.
        raised: id and time of the round that raised it.
        since: id and time of the round at which the change most likely began.
        before: the baseline.
        after: the mean since then, with an interval that holds although its beginning was searched for.
        by: the difference, its interval made of both.
        claims: those that moved most, the most first.
        blame: "model", or "judge" where the judge's own chart alarms too.
        why: all of it in a sentence.
        next: what to run next.
    """

    id: str
    chart: str
    side: str
    worse: bool
    raised: Mapping[str, str]
    since: Mapping[str, str]
    before: Estimate
    after: Estimate
    by: Estimate
    claims: tuple[Named, ...]
    blame: str
    why: str
    next: tuple[str, ...]


@dataclass(frozen=True)
class Charted:
    """A chart as it stands.

    Args:
        name: of the chart.
        chart: what it is about.
        state: `ALARM`, `LEARNING`, `WAITING` or `WATCHING`.
        baseline: what it is held against; None while it is learnt.
        rounds: that count for it since its baseline, or since it began anew.
        units: clusters in them.
        last: mean of the last round, with its interval alone; None before one.
        trace: its evidence.
        alarm: None without one.
        finds: the mean that it is expected to alarm at within `SOON` rounds, on the side that is worse; None where it
            would not, or has no baseline.
    """

    name: str
    chart: Chart
    state: str
    baseline: Baseline | None
    rounds: tuple[Round, ...]
    units: int
    last: Estimate | None
    trace: Trace | None
    alarm: Alarm | None
    finds: float | None = None

    @property
    def nearness(self) -> float:
        """How much of the way to an alarm its evidence has gone: 0 for none, 1 from the alarm on."""
        if self.alarm is not None:
            return 1.0
        if self.trace is None or not len(self.trace.evidence):
            return 0.0
        return min(1.0, max(0.0, float(self.trace.evidence[-1].max()) / self.trace.limit))


@dataclass(frozen=True)
class Status:
    """What a state comes to.

    Args:
        state: `OK`, `ALARM`, `NO_DATA` or `STALE`; of several the first of alarm, stale and no data.
        why: in a sentence.
        at: the moment it is told for.
        charts: every chart.
        sources: by source, its last round's id and time, and why it has no data, if so.
        notes: what else a reader should know.
        watched: adapter, base, dose and readings.
        budget: alpha, horizon, and the run length that it comes to.
        settled: alarms that were dealt with.
    """

    state: str
    why: str
    at: str
    charts: tuple[Charted, ...]
    sources: Mapping[str, Mapping[str, str]]
    notes: tuple[str, ...]
    watched: Mapping[str, Any]
    budget: Mapping[str, float]
    settled: int

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        return tuple(one.alarm for one in self.charts if one.alarm is not None)

    @property
    def exit_code(self) -> int:
        return EXIT[self.state]

    def record(self) -> dict[str, Any]:
        """As JSON has it: ids, numbers, times and sentences of ours; no text of a claim or of anybody's."""
        return {
            "state": self.state,
            "why": self.why,
            "at": self.at,
            "watched": dict(self.watched),
            "alarms": [_alarm(alarm) for alarm in self.alarms],
            "charts": [
                {
                    "name": one.name,
                    "says": one.chart.says,
                    "state": one.state,
                    "baseline": None if one.baseline is None else asdict(one.baseline),
                    "rounds": len(one.rounds),
                    "units": one.units,
                    "last": None if one.last is None else one.last.record(),
                    "nearness": rounded(one.nearness),
                    "finds": None if one.finds is None else rounded(one.finds),
                }
                for one in self.charts
            ],
            "sources": {source: dict(its) for source, its in self.sources.items()},
            "budget": dict(self.budget),
            "settled": self.settled,
            "notes": list(self.notes),
        }


def status(state: State, at: str | None = None) -> Status:
    """What a state comes to.

    Args:
        state: of the monitor.
        at: the moment to tell it for, by default now.
    """
    at = at or now()
    declared = state.declaration
    charts = [_charted(state, name) for name in declared.charts]
    judged = next((one.alarm for one in charts if one.name == JUDGE and one.alarm), None)
    charts = [_judged(one, judged is not None, JUDGE in declared.charts) for one in charts]
    last = {one.source: one for one in sorted(state.rounds, key=lambda one: clock(one.at))}
    sources = {
        source: {"round": one.id, "at": one.at, **({"no_data": one.no_data} if one.no_data else {})}
        for source, one in last.items()
    }
    late = [one for one in last.values() if clock(at) - clock(one.at) > timedelta(seconds=PATIENCE * declared.period)]
    ahead = [one for one in last.values() if clock(one.at) - clock(at) > SKEW]
    charted = {one.chart.source for one in charts}  # logs may be counted where nothing charts them
    enough = [one for one in charts if one.state in (WATCHING, ALARM)]
    said = f"{len(enough)} of {len(charts)} charts {'has' if len(enough) == 1 else 'have'} data enough"
    alarms = [one.alarm for one in charts if one.alarm]
    if alarms:
        word, why = ALARM, " ".join(alarm.why for alarm in alarms)
    elif late or ahead:
        word = STALE
        due = f"and one is due each {_spoken(declared.period)}"
        missed = [f"the last round of {one.source} is of {one.at}, {due}" for one in late]
        missed += [f"the last round of {one.source} is of {one.at}, which is yet to come" for one in ahead]
        why = f"T{'; '.join(missed)[1:]}."
    elif failed := [one for one in last.values() if one.no_data and one.source in charted]:
        word, why = NO_DATA, f"The last round of {_list(failed)}."
    elif not enough:
        word, why = NO_DATA, f"{said}: each takes {MIN_CLUSTERS} clusters of claims, over all rounds."
    else:
        word, why = OK, f"{said}."
    return Status(
        word,
        why,
        at,
        tuple(charts),
        sources,
        tuple(_notes(state, charts)),
        {
            "adapter": declared.adapter,
            "base": declared.base,
            "dose": declared.dose,
            "readings": state.readings,
        },
        {**asdict(declared.budget), "run_length": declared.budget.run_length},
        len(state.settled),
    )


def _charted(state: State, name: str) -> Charted:
    """A chart followed from where its baseline is known, or from where it began anew."""
    declared, chart = state.declaration, CHARTS[name]
    places = [place for place, one in enumerate(state.rounds) if one.scores.get(name)]
    all_scores = [state.rounds[place].units(name) for place in places]
    miss, threshold = declared.budget.miss(len(declared.charts)), declared.budget.threshold(len(declared.charts))
    reading = state.readings.get(chart.source, "")

    def follow(sound: int, begin: int, end: int) -> tuple[list[tuple[int, Baseline]], Trace, Baseline | None]:
        """Rounds from `begin` to `end`, each with what it is held against, of which the first `sound` teach."""
        held = learnt(all_scores[:sound], declared.charts[name], declared.learn, miss, reading)
        held += [held[-1]] * (len(places) - sound)
        pairs = [(at, its) for at in range(begin, end) if (its := held[at]) is not None]
        return pairs, trace([all_scores[at] for at, _ in pairs], [its for _, its in pairs], threshold), held[end]

    anew = [sum(place < one.after for place in places) for one in state.settled if name in one.charts]
    sound = len(places)
    if anew:  # what came after a first alarm may bear its cause: nothing is learnt from it
        pairs, found, _ = follow(anew[0], 0, anew[0])
        sound = anew[0] if found.alarm is None else pairs[found.alarm][0]
    pairs, found, against = follow(sound, anew[-1] if anew else 0, len(places))
    rounds = tuple(state.rounds[places[at]] for at, _ in pairs)
    units = sum(len(all_scores[at]) for at, _ in pairs)
    last = None
    if all_scores:
        last = bounded_mean(float(all_scores[-1].mean()), len(all_scores[-1]), 1 - LEVEL)
    if against is None:
        return Charted(name, chart, LEARNING, None, rounds, units, last, None, None)
    alarm = None
    if found.alarm is not None:
        against = pairs[found.alarm][1]
        alarm = _raised(state, name, against, rounds, found)
    word = ALARM if alarm else WATCHING if units >= MIN_CLUSTERS else WAITING
    finds = None
    if all_scores:
        worse = FELL if chart.worse(FELL) else ROSE
        finds = found_within(against, worse, float(np.mean([len(scores) for scores in all_scores])), threshold)
    return Charted(name, chart, word, against, rounds, units, last, found, alarm, finds)


def _raised(state: State, name: str, baseline: Baseline, rounds: Sequence[Round], found: Trace) -> Alarm:
    assert found.alarm is not None and found.since is not None and found.now is not None
    chart, after = CHARTS[name], found.now
    raised, since = rounds[found.alarm], rounds[found.since]
    before = Estimate(baseline.value, baseline.low, baseline.high)
    by = Estimate(after.value - before.value, after.low - before.high, after.high - before.low)
    worse = chart.worse(found.side)
    why = (
        f"{spoken(name)} {found.side} from {before.value:.2f} [{before.low:.2f}, {before.high:.2f}] to "
        f"{after.value:.2f} [{after.low:.2f}, {after.high:.2f}], most likely since {since.at}"
        f"{'' if worse else ', which is for the better, and still no longer what was validated'}."
    )
    adapter, base = _nameable(state.declaration.adapter, "ADAPTER"), _nameable(state.declaration.base, "BASE")
    identity = f"{name}-{found.side}-{raised.id}"
    model = state.declaration.settings.get("model")
    asked = f"--base {base}" if model is None else f"--endpoint URL --model {_nameable(str(model), 'MODEL')}"
    steps = (
        f"hfvaccine validate {asked} --adapter {adapter}",
        *((f"hfvaccine boost {adapter} --dose NEW --because {identity}",) if worse else ()),
        f"hfvaccine monitor settle {state.folder} --by YOU --outcome OUTCOME",
    )
    return Alarm(
        identity,
        name,
        found.side,
        worse,
        {"round": raised.id, "at": raised.at},
        {"round": since.id, "at": since.at},
        before,
        after,
        by,
        _moved(name, found, rounds, baseline.value),
        JUDGE if name == JUDGE else "model",
        why,
        steps,
    )


def _moved(name: str, found: Trace, rounds: Sequence[Round], usual: float) -> tuple[Named, ...]:
    """The claims that the change shows on: those with most of the difference since it began."""
    assert found.alarm is not None and found.since is not None
    sign = -1 if found.side == FELL else 1
    before: dict[str, list[float]] = {}
    after: dict[str, list[float]] = {}
    clusters: dict[str, str] = {}
    for place, one in enumerate(rounds[: found.alarm + 1]):
        clusters |= one.claims
        for claim, score in one.scores[name].items():
            (before if place < found.since else after).setdefault(claim, []).append(score)
    named = [
        Named(claim, clusters[claim], rounded(float(np.mean(before.get(claim, [usual])))), rounded(mean), len(scores))
        for claim, scores in after.items()
        if sign * ((mean := float(np.mean(scores))) - float(np.mean(before.get(claim, [usual])))) > 0
    ]
    return tuple(sorted(named, key=lambda one: (-abs(one.after - one.before) * one.asked, one.claim))[:NAMED])


def _judged(one: Charted, judge_moved: bool, anchored: bool) -> Charted:
    """An alarm of what a judge said, with the judge's own chart beside it."""
    alarm = one.alarm
    if alarm is None or one.name not in (ASSERTED, JUDGE):
        return one
    if one.name == JUDGE:
        why = f"{alarm.why} The judge is given the same texts each round: it is the judge that moved, not the model."
        steps = ("hfvaccine monitor logs ... with the judge as it was", alarm.next[-1])
        return replace(one, alarm=replace(alarm, why=why, next=steps))
    if judge_moved:
        why = f"{alarm.why} The judge moved too: mend it before you blame the model."
        return replace(one, alarm=replace(alarm, why=why, next=alarm.next[-1:], blame=JUDGE))
    if not anchored:
        why = f"{alarm.why} Without anchors a judge's drift cannot be told from the model's."
        return replace(one, alarm=replace(alarm, why=why))
    return one


def spoken(chart: str) -> str:
    """The name of a chart at the beginning of a sentence."""
    return chart.replace("_", " ").capitalize()


def _notes(state: State, charts: Sequence[Charted]) -> list[str]:
    horizon = state.declaration.budget.horizon
    notes = [
        f"{spoken(one.name)} has run for {len(one.rounds):,} rounds; the budget was declared for {horizon:,}."
        for one in charts
        if len(one.rounds) > horizon
    ]
    asked = {one.source for one in state.rounds}
    silent = sorted({one.chart.source for one in charts} - asked)
    if silent:
        notes.append(f"There is no round of {' or '.join(silent)} yet.")
    seen = [one for one in charts if one.state in (WATCHING, WAITING)]
    if found := [one for one in seen if one.finds is not None]:
        means = (f"{one.name} at {one.finds:.2f} or {'below' if one.chart.worse(FELL) else 'above'}" for one in found)
        notes.append(f"Within {SOON} rounds like these would be found: {', '.join(means)}.")
    if blind := [one.name for one in seen if one.finds is None]:
        notes.append(
            f"No change for the worse would be found within {SOON} rounds like these: {', '.join(blind)}. "
            f"Baselines narrow after {state.declaration.learn} rounds; larger rounds find more."
        )
    return notes


def _alarm(alarm: Alarm) -> dict[str, Any]:
    told = {name: getattr(alarm, name).record() for name in ("before", "after", "by")}
    return asdict(alarm) | told | {"claims": [asdict(one) for one in alarm.claims], "next": list(alarm.next)}


def _nameable(source: str, otherwise: str) -> str:
    """What a command may be given: a digest names nothing that could be loaded."""
    return otherwise if re.fullmatch(r"[0-9a-f]{40,}", source) else source


def _list(failed: Sequence[Round]) -> str:
    return "; ".join(f"{one.source} could not be completed ({one.no_data})" for one in failed)


def _spoken(seconds: float) -> str:
    for unit, name in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= unit:
            number = f"{seconds / unit:g}"
            return name if number == "1" else f"{number} {name}s"
    return f"{seconds:g} seconds"
