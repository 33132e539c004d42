"""The state of a monitor: a folder with one journal of rounds, hash-chained, in which no text ever stands.

The first entry declares what is watched and how; each later one is a round of probes, logs or anchors, or the word
of a person that an alarm is dealt with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from hfvaccine.claims import journal, journal_file
from hfvaccine.errors import DoseError, SurveillanceError, UsageError
from hfvaccine.statistics import Floats
from hfvaccine.surveillance.charts import CHARTS, Baseline, Budget

JOURNAL = "journal.jsonl"
BEGIN, ROUND, SETTLE = "begin", "round", "settle"
SKEW = timedelta(minutes=5)
"""By so much a clock may go back, as where two rounds were under way at once; more is refused."""
PLACES = 6
"""Of a score."""
OUTCOMES = ("boosted", "rolled_back", "endpoint_mended", "judge_mended", "false_alarm")
"""What may have come of an alarm."""
LONGEST = 366 * 86400
"""Seconds between two rounds, at most."""
ID = re.compile(r"[\w.:/@+-]{1,200}", re.ASCII)
"""What ids and codes are made of: no blanks, so that no text gets in."""


@dataclass(frozen=True)
class Declaration:
    """What is watched and how; declared once, before the first round.

    Args:
        adapter: what is deployed: a Hub id or the digest of its weights, as papers name it.
        base: the model that it was trained on, likewise.
        dose: the dose whose claims are asked, likewise.
        charts: by name, the baseline of each, see `charts.baseline_of_results`; None where its first `learn` rounds
            are to be the baseline. The budget is split over all of them, so none is added later.
        budget: of false alarms.
        period: seconds between rounds of one source; a source that is silent for longer is stale.
        learn: rounds from which a baseline is learnt, or narrowed for the first time, see `charts.learnt`.
        readings: by source, how it asks; a source that is missing is bound to the reading of its first round.
        settings: what else its probes are bound to: the digest of the papers whose claims they ask and, of a served
            model, its name and how many `top_logprobs` its server gives.
    """

    adapter: str
    base: str
    dose: str
    charts: Mapping[str, Baseline | None]
    budget: Budget = field(default_factory=Budget)
    period: float = 86400
    learn: int = 10
    readings: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str | int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = [name for name in self.charts if name not in CHARTS]
        if unknown or not self.charts:
            raise SurveillanceError(
                f"There is no chart {unknown[0]!r}." if unknown else "No chart is declared.",
                f"Choose from {', '.join(CHARTS)}.",
            )
        for name in ("adapter", "base", "dose"):
            _identifier(getattr(self, name), f"as the {name} that is watched")
        for name, value in self.settings.items():
            _identifier(str(value), f"as the {name} of probes")
        if not 0 < self.period <= LONGEST or self.learn < 1:
            raise SurveillanceError(
                f"A round each {self.period} seconds, {self.learn} of them to learn from, cannot be kept.",
                "Give a positive number of each, and a year between rounds at most.",
            )
        for name, baseline in self.charts.items():
            told = self.readings.get(CHARTS[name].source)
            if baseline is not None and told is not None and baseline.reading != told:
                raise SurveillanceError(
                    f"The baseline of {name} was read by {baseline.reading!r}, and rounds will be by {told!r}.",
                    "Readings do not compare: take a baseline of the same reading, or let the first rounds be it.",
                )

    def record(self) -> dict[str, Any]:
        """As the journal holds it."""
        return asdict(self)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Declaration:
        """What `record` was made of."""
        told = record["charts"]  # whose names the journal sorts
        charts = {name: None if told[name] is None else Baseline(**told[name]) for name in CHARTS if name in told}
        return cls(**{**record, "charts": charts, "budget": Budget(**record["budget"])})


@dataclass(frozen=True)
class Round:
    """One round of one source: scores of claims, and no text.

    Args:
        id: names the round; of rounds with one id only the first counts. Name it after its place in the schedule
            (`round_id`), and a job that cron starts twice counts once.
        at: when it was finished, see `now`.
        source: `PROBE`, `LOGS` or `ANCHORS`.
        reading: how it was asked; one source has one.
        claims: the cluster of each claim that was asked, by claim id. They have to be drawn anew each round, by a
            seed that does not depend on earlier scores.
        scores: by chart, then by claim id, from 0 to 1.
        adapter: what was asked, as the declaration names it; so are base and dose.
        base: what that was trained on.
        dose: whose claims were asked.
        counts: how many of what, in all: clusters, conversations, retries, and those of `Served`.
        tallies: by claim id, how many of what: asserted, rejected, unclear.
        seconds: that the round took.
        no_data: a code that says why the round could not be completed, such as "http_503"; then it has no scores.
    """

    id: str
    at: str
    source: str
    reading: str
    claims: Mapping[str, str] = field(default_factory=dict)
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    adapter: str = ""
    base: str = ""
    dose: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    tallies: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    seconds: float = 0.0
    no_data: str = ""

    def __post_init__(self) -> None:
        told = {name for tally in self.tallies.values() for name in tally}
        for value in (self.id, self.reading, *self.claims, *self.claims.values(), *self.counts, *self.tallies, *told):
            _identifier(value, f"in the round {self.id[:40]!r}")
        if self.no_data:
            _identifier(self.no_data, "as the reason for no data")
        clock(self.at)
        if bool(self.no_data) == any(self.scores.values()):
            raise SurveillanceError(
                f"The round {self.id} has {'both scores and' if self.no_data else 'neither scores nor'} a reason "
                "for no data.",
                "A round either was completed, or says why it was not.",
            )
        for name, scores in self.scores.items():
            if name not in CHARTS or CHARTS[name].source != self.source:
                raise SurveillanceError(
                    f"The round {self.id} of {self.source} has scores for {name!r}, which it cannot tell.",
                    f"It may fill {', '.join(n for n, c in CHARTS.items() if c.source == self.source) or 'no chart'}.",
                )
            for claim, score in scores.items():
                if claim not in self.claims or not 0 <= score <= 1:  # which NaN is not
                    raise SurveillanceError(
                        f"The round {self.id} scores claim {claim[:40]} with {score!r} for {name}.",
                        "Scores lie between 0 and 1, and every claim has its cluster.",
                    )

    def units(self, chart: str) -> Floats:
        """(clusters,) the mean score of each cluster that this round asked about, for one chart."""
        return np.array([np.mean(scores) for _, scores in sorted(self.by_cluster(chart).items())])

    def by_cluster(self, chart: str) -> dict[str, list[float]]:
        """The scores of each cluster for one chart."""
        found: dict[str, list[float]] = {}
        for claim, score in self.scores.get(chart, {}).items():
            found.setdefault(self.claims[claim], []).append(score)
        return found


@dataclass(frozen=True)
class Settled:
    """A person's word that an alarm is dealt with; its charts begin anew after it.

    Args:
        at: when.
        by: who.
        charts: that begin anew.
        outcome: of `OUTCOMES`.
        after: how many rounds the journal held.
    """

    at: str
    by: str
    charts: tuple[str, ...]
    outcome: str
    after: int


class State:
    """The state of one monitor.

    Args:
        folder: that holds the journal.
        declaration: what is watched.
        rounds: so far, in the order in which they came.
        settled: alarms that were dealt with.

    Example:
        state = State.begin(folder, Declaration(adapter, base, dose, {"rejection": None, "acceptance": None}))
        state.append(Round(round_id("probe", at, state.declaration.period), at, "probe", "verdict", claims, scores))
    """

    def __init__(
        self, folder: Path, declaration: Declaration, rounds: tuple[Round, ...], settled: tuple[Settled, ...]
    ) -> None:
        self.folder = folder
        self.declaration = declaration
        self.rounds = rounds
        self.settled = settled

    @classmethod
    def begin(cls, folder: Path | str, declaration: Declaration, at: str | None = None) -> State:
        """The state in a folder, which is declared now where it is new.

        Raises:
            SurveillanceError: where the folder is that of another monitor.
        """
        folder = Path(folder)
        with _writing(folder, new=True) as (entries, write):
            if not entries:
                write(BEGIN, "monitor", at or now(), declaration.record())
            state = cls._of(folder, entries)
        told, asked = state.declaration.record(), declaration.record()
        told["readings"] = {
            source: state.readings.get(source, reading) for source, reading in asked["readings"].items()
        }
        differ = next((name for name, value in asked.items() if value != told[name]), None)
        if differ:
            raise SurveillanceError(
                f"{folder} was begun with {differ} {_short(told[differ])}, not {_short(asked[differ])}.",
                "What was declared holds for all its rounds: begin another state in another folder.",
            )
        return state

    @classmethod
    def open(cls, folder: Path | str) -> State:
        """The state in a folder, its chain proved.

        Raises:
            SurveillanceError: where there is none, or the journal was tampered with.
        """
        if (found := cls.find(folder)) is None:
            raise SurveillanceError(
                f"{folder} holds no state of a monitor.", "Begin one with `hfvaccine monitor probe ... --into STATE`."
            )
        return found

    @classmethod
    def find(cls, folder: Path | str) -> State | None:
        """The state in a folder, its chain proved; None where none was begun, or whoever began it was killed first.

        Raises:
            SurveillanceError: where the journal was tampered with, or cannot be read.
        """
        folder = Path(folder)
        path = folder / JOURNAL
        try:
            with _trusted(path):
                entries = journal_file.read(path)
        except OSError as error:
            raise SurveillanceError(
                f"{path} cannot be read: {error.strerror}.", "Mend its permissions, or name another folder."
            ) from error
        return cls._of(folder, entries) if entries else None

    @property
    def readings(self) -> dict[str, str]:
        """By source, how it asks: as declared, or as its first round did."""
        found = dict(self.declaration.readings)
        for name, baseline in self.declaration.charts.items():
            if baseline is not None:
                found.setdefault(CHARTS[name].source, baseline.reading)
        for one in self.rounds:
            if not one.no_data:
                found.setdefault(one.source, one.reading)
        return found

    def append(self, one: Round) -> bool:
        """Add a round; it is on the disk when this returns.

        Args:
            one: the round.

        Returns:
            Whether it was new; of rounds with one id only the first counts, but one that was completed counts
            after one that was not.

        Raises:
            SurveillanceError: for a round of another reading, base, dose or adapter, without a chart that was
                declared, or with a time before that of the round before it; nothing is written then.
        """
        with _writing(self.folder) as (entries, write):
            self._refresh(entries)
            if any(old.id == one.id and (not old.no_data or one.no_data) for old in self.rounds):
                return False
            self.check(one)
            record = {name: value for name, value in vars(one).items() if value and name not in ("at", "source")}
            if one.scores:
                record["scores"] = {
                    chart: {claim: round(float(score), PLACES) for claim, score in scores.items()}
                    for chart, scores in one.scores.items()
                }
            if any(clock(old.at) > clock(one.at) for old in self.rounds if old.source == one.source):
                record["clock"] = "back"
            write(ROUND, one.source, one.at, record)
            self._refresh(entries)
        return True

    def settle(self, charts: tuple[str, ...], by: str, outcome: str, at: str | None = None) -> None:
        """Write down that alarms were dealt with: these charts begin anew with the next round.

        Args:
            charts: their names.
            by: the person who says so.
            outcome: what came of it, of `OUTCOMES`.
            at: when, by default now.
        """
        if outcome not in OUTCOMES or not set(charts) <= set(self.declaration.charts):
            raise UsageError(f"{outcome!r} of {', '.join(charts)} cannot be written down.", f"Say {_or(OUTCOMES)}.")
        with _writing(self.folder) as (entries, write):
            write(SETTLE, by, at or now(), {"charts": list(charts), "outcome": outcome})
            self._refresh(entries)

    def check(self, one: Round) -> None:
        """Refuse a round that does not belong here, before it is asked or when it is added.

        Raises:
            SurveillanceError: see `append`.
        """
        declared, readings = self.declaration, self.readings
        for name in ("adapter", "base", "dose"):
            told, own = getattr(declared, name), getattr(one, name)
            if own and own != told:
                raise SurveillanceError(
                    f"The round is of the {name} {own}, and this state watches {told}.",
                    "Begin another state for it, in another folder.",
                )
        if readings.get(one.source, one.reading) != one.reading:
            raise SurveillanceError(
                f"The round was read by {one.reading!r}, and the charts of {one.source} by {readings[one.source]!r}.",
                "Readings do not compare: ask as before, or begin another state in another folder.",
            )
        if not one.no_data and not set(one.scores) & set(declared.charts):
            raise SurveillanceError(
                f"The round has scores for {', '.join(one.scores)} only, which this state does not chart.",
                f"It charts {', '.join(declared.charts)}.",
            )
        before = [clock(old.at) for old in self.rounds if old.source == one.source]
        if before and clock(one.at) < max(before) - SKEW:
            raise SurveillanceError(
                f"The round is of {one.at}, before the last one of {one.source} at {max(before):%Y-%m-%dT%H:%M:%SZ}.",
                "Set the clock right, and run it again.",
            )

    def _refresh(self, entries: list[journal.Entry]) -> None:
        fresh = self._of(self.folder, entries)
        self.declaration, self.rounds, self.settled = fresh.declaration, fresh.rounds, fresh.settled

    @classmethod
    def _of(cls, folder: Path, entries: list[journal.Entry]) -> State:
        rounds: list[Round] = []
        settled: list[Settled] = []
        try:
            declaration = Declaration.of(entries[0].what)
            for entry in entries[1:]:
                if entry.act == SETTLE:
                    charts, outcome = tuple(entry.what["charts"]), entry.what["outcome"]
                    settled.append(Settled(entry.at, entry.by, charts, outcome, len(rounds)))
                else:
                    what = {name: value for name, value in entry.what.items() if name != "clock"}
                    rounds.append(Round(at=entry.at, source=entry.by, **what))
        except (TypeError, KeyError, ValueError) as error:
            raise SurveillanceError(
                f"{folder / JOURNAL} is no journal of a monitor: {error}.", "Name the folder of a monitor."
            ) from error
        return cls(folder, declaration, tuple(rounds), tuple(settled))


def now() -> str:
    """The time as rounds bear it: ISO, in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(at: str) -> datetime:
    """The moment that a time names.

    Raises:
        SurveillanceError: for what is no time with its zone.
    """
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        moment = datetime.min
    if moment.tzinfo is None:
        raise SurveillanceError(f"{at[:40]!r} is no time.", "Write it like 2026-11-29T05:30:00Z.")
    return moment.astimezone(UTC)


def round_id(source: str, at: str, period: float) -> str:
    """The id of a round by its place in the schedule: the same for all that begin within one period.

    Args:
        source: of the round.
        at: when it began.
        period: seconds.
    """
    place = int(clock(at).timestamp() // period * period)
    return f"{source}-{datetime.fromtimestamp(place, UTC):%Y%m%dT%H%M%SZ}"


@contextmanager
def _writing(folder: Path, new: bool = False) -> Iterator[tuple[list[journal.Entry], journal_file.Write]]:
    """Hold the journal, proved, while something is added to it; others wait.

    Args:
        folder: of the state.
        new: make it where there is none.
    """
    path = folder / JOURNAL
    with ExitStack() as stack:
        try:
            with _trusted(path):
                entries, added = stack.enter_context(journal_file.writing(path, new))
        except OSError as error:
            raise SurveillanceError(
                f"{path} cannot be written: {error.strerror}.", "Mend its permissions, or name another folder."
            ) from error

        def write(act: str, by: str, at: str, what: dict[str, Any]) -> None:
            try:
                added(act, by, at, what)
            except OSError as error:
                raise SurveillanceError(
                    f"{path} is cut off: {error.strerror}.", "Free some space, and run it again."
                ) from error

        yield entries, write


@contextmanager
def _trusted(path: Path) -> Iterator[None]:
    try:
        yield
    except DoseError as error:
        raise SurveillanceError(
            f"{path} cannot be trusted. {error.message}", "Take it from a backup, or begin another state."
        ) from error


def _identifier(value: str, where: str) -> None:
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise SurveillanceError(
            f"{str(value)[:40]!r} cannot stand {where}.",
            "Only ids and codes without blanks are kept, never a text.",
        )


def _short(value: object) -> str:
    return text if len(text := str(value)) <= 120 else text[:119] + "…"


def _or(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
