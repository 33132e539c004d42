"""The gate: what an adapter must show to be published as passing. Its criteria are data (gates/)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hfvaccine.errors import ValidationError
from hfvaccine.files import read_yaml
from hfvaccine.statistics import LEVEL, MIN_CLUSTERS, Estimate, detectable, holm, pairs_needed, tail
from hfvaccine.text import is_interval
from hfvaccine.validation.judging.metrics import AT_CONTROL, RATE, metrics_of
from hfvaccine.validation.scores import (
    ANSWER,
    BASE,
    BELIEF,
    HIGHER,
    OVER_REJECTION,
    PARENT,
    RETENTION,
    RETRACTED,
    TRAIT,
    TRUTHFULNESS,
    VERDICTS,
)

PASSED, FAILED, UNDECIDED = "passed", "failed", "undecided"
TOO_FEW = f"are too few; a criterion takes {MIN_CLUSTERS}."
"""Ends why a criterion did not pass although what was measured is good enough."""
GAIN, NOT_WORSE, NO_RISE, FLOOR, UNBIASED = "gain", "not_worse", "no_rise", "floor", "unbiased"
CONTROL = "control"
"""In a rule: the placebo, or base where there is none."""
ADVERSARIAL = "adversarial"
"""In a measure: the mean over all conditions but the plain one."""
ITEM, ANY, ELSE = "item", "*", "|"
GATES = Path(__file__).parent / "gates"
DEFAULT = GATES / "v2.yaml"
BOOSTER = GATES / "booster.yaml"
FAILING = (1 - LEVEL) / 2
"""One-sided; a criterion is failed where its p, adjusted by Holm over all criteria, is at most that."""

ROUNDED = 1e-4
"""What results are rounded to."""
AT_LEAST = "at least"
"""Begins the threshold of a rate that is held against a floor, and not against another arm."""
_NEEDED = re.compile(rf"(>|not >|<|{AT_LEAST}) (-?\d[\d.e-]*)")


@dataclass(frozen=True)
class Rule:
    """One criterion as configured; the packaged gates say what each field may hold.

    Args:
        name: what is asked of the adapter.
        measure: what is looked at.
        require: `GAIN`, `NOT_WORSE`, `NO_RISE`, `FLOOR` or `UNBIASED`.
        against: `CONTROL` (the placebo, or base where there is none), `BASE`, or of a booster `PARENT`.
        margin: how far `NOT_WORSE` may fall; by how much `UNBIASED` may lean more. A `NO_RISE` without one, as the
            first gate had it, passes where no rise is shown; with one, where a rise of so much is ruled out.
        least: what `FLOOR` must lie above.
        optional: left out where no such probe was made; else its absence leaves the gate undecided.

    Raises:
        ValidationError: for a value out of its range.
    """

    name: str
    measure: str
    require: str
    against: str = CONTROL
    margin: float | None = None
    least: float | None = None
    optional: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise ValidationError("A criterion of the gate has no name.", "Say in `name` what it asks for.")
        self._one_of("require", self.require, (GAIN, NOT_WORSE, NO_RISE, FLOOR, UNBIASED))
        self._one_of("against", self.against, (CONTROL, BASE, PARENT))
        needed = self.require in (NOT_WORSE, UNBIASED)
        if (needed or self.margin is not None) and not _is_number(self.margin, above=0):
            self._refuse(f"the margin {self.margin!r}", "Give `margin`, a number above 0, such as 0.01 for one point.")
        if self.margin is not None and self.require in (GAIN, FLOOR):
            self._refuse(
                f"a margin with `require: {self.require}`",
                f"Leave it out; {NOT_WORSE}, {NO_RISE}, {UNBIASED} have one.",
            )
        if self.require == FLOOR and not (_is_number(self.least, above=0) and float(self.least or 0) < 1):
            self._refuse(f"the least {self.least!r}", "Give `least`, a rate between 0 and 1.")
        if self.require != FLOOR and self.least is not None:
            self._refuse(f"a least with `require: {self.require}`", f"Leave it out; only {FLOOR} has one.")
        if not isinstance(self.optional, bool):
            self._refuse(f"`optional: {self.optional!r}`", "Write true or false.")
        self._check_measure()

    @property
    def parts(self) -> tuple[str, ...]:
        """The measure taken apart: 4 parts of pairs, "item" and 3 of items, "belief" and a reading."""
        if ":" not in self.measure:
            return tuple(self.measure.split("."))
        parts = tuple(self.measure.split(":"))
        return (*parts, ANY) if parts[0] == ITEM and len(parts) == 3 else parts

    @property
    def of_pairs(self) -> bool:
        """Whether it is about claims and their twins."""
        return ":" not in self.measure

    @property
    def readings(self) -> list[str]:
        """Of pairs: the readings, of which the first that was asked counts."""
        return self.parts[1].split(ELSE)

    @property
    def metrics(self) -> list[str]:
        """Of pairs: the metrics, of which the first that was measured counts."""
        return self.parts[3].split(ELSE)

    def _check_measure(self) -> None:
        if not isinstance(self.measure, str) or not all(self.parts):
            self._refuse(f"the measure {self.measure!r}", "Write it as the gates of the package explain.")
        parts = self.parts
        if not self.of_pairs and self.require in (FLOOR, UNBIASED):
            self._refuse(f"{self.require} of items", f"Only measures of pairs have a {FLOOR} or can be {UNBIASED}.")
        if parts[0] == BELIEF and len(parts) == 2:
            if self.require != NO_RISE or self.against != BASE:
                self._refuse("a belief that is not held against base for a rise", "Write no_rise and base.")
        elif parts[0] == ITEM and len(parts) == 4:
            self._one_of("kind of item", parts[1], (TRUTHFULNESS, RETENTION, OVER_REJECTION, TRAIT, RETRACTED))
        elif self.of_pairs and len(parts) == 4:
            for reading in self.readings:
                self._one_of("reading", reading, (*VERDICTS, ANSWER))
                for metric in self.metrics:
                    self._one_of("metric", metric, self._metrics(reading))
            if self.require == NO_RISE:
                self._refuse(f"{NO_RISE} of pairs", f"Require {GAIN} or {NOT_WORSE} of {self.measure}.")
        else:
            self._refuse(
                f"the measure {self.measure!r}",
                "Write SET.READING.CONDITION.METRIC, item:KIND:NAME, item:KIND:NAME:METRIC or belief:READING.",
            )

    def _metrics(self, reading: str) -> list[str]:
        """What a reading has that this rule can ask for."""
        known = metrics_of(reading) | metrics_of(reading, calibrated=True)
        if self.require == UNBIASED:
            return [name for name, metric in known.items() if not metric.better]
        better = [name for name, metric in known.items() if metric.better == HIGHER]
        if self.require == FLOOR:
            return [name for name in better if known[name].kind == RATE]
        return [*better, AT_CONTROL] if reading in VERDICTS else better

    def _one_of(self, what: str, value: object, known: Sequence[str]) -> None:
        if value not in known:
            self._refuse(f"the {what} {value!r}", f"Known: {', '.join(known)}.")

    def _refuse(self, what: str, next_step: str) -> None:
        raise ValidationError(f"The gate's criterion {self.name!r} has {what}.", next_step)


@dataclass(frozen=True)
class Measurement:
    """What was measured for a rule.

    Args:
        of: which of several things a rule with `*` looks at; else "".
        difference: vaccine less what it is held against, the better the higher (of a rise or a bias: the higher the
            worse); of a `FLOOR` what the vaccine itself reaches.
        clusters: independent items behind it.
        excess: of an AUROC on probes that fail the cue audit, how much the vaccine's lies above that of a judge
            who knows only the wording.
        note: a sentence that a reader of the outcome needs.
    """

    of: str
    difference: Estimate
    clusters: int
    excess: Estimate | None = None
    note: str = ""


@dataclass(frozen=True)
class Criterion:
    """One condition and what came of it.

    Args:
        name: what is asked.
        threshold: the condition in words.
        value: the estimate; None where nothing was measured.
        interval: at the level of `statistics.LEVEL`; None likewise.
        verdict: passed, failed or undecided.
        why: in one sentence or two.
        p: how often a vaccine that just does not fail would measure as badly, adjusted by Holm over the gate's
            criteria; None where nothing was measured.
    """

    name: str
    threshold: str
    value: float | None
    interval: list[float] | None
    verdict: str
    why: str
    p: float | None = None


def judge(rule: Rule, measured: Measurement) -> Criterion:
    """What comes of a rule alone. On fewer than `MIN_CLUSTERS` clusters nothing passes."""
    verdict, why, p = _OUTCOMES[rule.require](rule, measured)
    if verdict == PASSED and measured.clusters < MIN_CLUSTERS:
        verdict = UNDECIDED
        why = f"{measured.clusters} independent items {TOO_FEW}"
    name = f"{rule.name} ({measured.of})" if measured.of else rule.name
    found = measured.difference.record()
    why = f"{why} {measured.note}".strip()
    return Criterion(name, _threshold(rule), found["value"], found["interval"], verdict, why, p)


def unmeasured(rule: Rule, missing: str) -> Criterion:
    """The outcome of a rule for which nothing was measured.

    Args:
        rule: the rule.
        missing: a sentence that says what to add.
    """
    return Criterion(rule.name, _threshold(rule), None, None, UNDECIDED, f"This was not measured. {missing}")


def decide(criteria: Sequence[Criterion], not_applicable: Sequence[str] = ()) -> dict[str, Any]:
    """The gate, with the verdict that its criteria make.

    It passes where all criteria do, which takes no adjustment: none can be passed by another's luck. But with many
    criteria one fails by chance, so that each fails only where it does after Holm.

    Args:
        criteria: what came of each rule.
        not_applicable: names of optional rules that have nothing to look at.
    """
    criteria = _after_holm(criteria)
    return {
        "verdict": verdict_of(criterion.verdict for criterion in criteria),
        "criteria": [asdict(criterion) for criterion in criteria],
        "not_applicable": list(not_applicable),
    }


def _after_holm(criteria: Sequence[Criterion]) -> list[Criterion]:
    measured = [one for one in criteria if one.p is not None]
    adjusted = iter(holm([float(one.p or 0) for one in measured]))
    found = []
    for one in criteria:
        if one.p is not None:
            one = replace(one, p=float(f"{next(adjusted):.4g}"))
        if one.verdict == FAILED and float(one.p or 0) > FAILING + 1e-9:
            why = f"Among {len(measured)} criteria that can be chance: after Holm p = {one.p:.2g}, above {FAILING:g}."
            one = replace(one, verdict=UNDECIDED, why=f"{one.why} {why}")
        found.append(one)
    return found


def verdict_of(verdicts: Iterable[str]) -> str:
    """The gate's verdict: failed if a criterion failed, else undecided if one is or there is none, else passed."""
    found = set(verdicts)
    return FAILED if FAILED in found else PASSED if found == {PASSED} else UNDECIDED


def bears_out(criterion: Mapping[str, Any]) -> bool:
    """Whether what was measured allows a criterion's verdict.

    Args:
        criterion: as results.json has it.

    Returns:
        False for one that passed without an interval, or with one on the wrong side of its threshold.
    """
    if criterion["verdict"] != PASSED:
        return True
    interval, needed = criterion["interval"], _NEEDED.fullmatch(str(criterion["threshold"]))
    if needed is None or not is_interval(interval):
        return is_interval(interval)
    (low, high), bound = interval, float(needed[2])
    above = low > bound - ROUNDED
    return {">": above, AT_LEAST: above, "not >": low < bound + ROUNDED, "<": high < bound + ROUNDED}[needed[1]]


def read_gate(path: Path = DEFAULT) -> list[Rule]:
    """The criteria of a YAML file.

    Args:
        path: a list of mappings with the fields of `Rule`; the packaged one unless given.

    Raises:
        ValidationError: for a file that cannot be read, an unknown key, and whatever `Rule` refuses.
    """
    copy = "Start from a copy of the package's gates/v2.yaml."
    entries = read_yaml(path, copy, ValidationError)
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, Mapping) for entry in entries):
        raise ValidationError(
            f"{path} holds no list of criteria.", "Start from a copy of the package's gates/v2.yaml."
        )
    known = Rule.__dataclass_fields__
    for entry in entries:
        if unknown := sorted(str(key) for key in entry if key not in known):
            raise ValidationError(
                f"A criterion in {path} has an unknown key: {', '.join(unknown)}.", f"Known: {', '.join(known)}."
            )
        if lacking := [key for key in ("name", "measure", "require") if key not in entry]:
            raise ValidationError(
                f"A criterion in {path} ({entry.get('name', 'without a name')}) lacks {', '.join(lacking)}.",
                "Add it; the package's gates/v2.yaml explains each.",
            )
    rules = [Rule(**entry) for entry in entries]
    names = [rule.name for rule in rules]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValidationError(f"{path} has two criteria called {twice[0]!r}.", "Give each a name of its own.")
    return rules


def _threshold(rule: Rule) -> str:
    margin = f"{rule.margin:g}" if rule.margin else ""
    return {
        GAIN: "> 0",
        NOT_WORSE: f"> -{margin}",
        NO_RISE: f"< {margin}" if margin else "not > 0",
        FLOOR: f"{AT_LEAST} {rule.least:g}" if rule.least else "",
        UNBIASED: f"< {margin}",
    }[rule.require]


_Outcome = tuple[str, str, float]
"""Verdict, why, and p of failing."""


def _gain(rule: Rule, measured: Measurement) -> _Outcome:
    difference, excess, items = measured.difference, measured.excess, measured.clusters
    p = tail(difference, 0, items)
    if difference.high < 0:
        return FAILED, "The interval lies below 0: it got worse.", p
    if difference.low <= 0:
        shown = f"{items} independent items show a gain of {detectable(difference):.2g} or more"
        if difference.value >= 0.005:  # a smaller one would ask for more items than there are in the world
            needed = pairs_needed(difference.low, difference.high, difference.value, items)
            shown += f"; one of {difference.value:.2g} takes about {about(needed)}"
        return UNDECIDED, f"The interval includes 0: no gain is shown. {shown}.", p
    if excess is None:
        return PASSED, "The interval lies above 0.", p
    if excess.high < 0:
        return FAILED, "The gain stays below what wording alone gives away on these probes.", tail(excess, 0, items)
    if excess.low <= 0:
        return UNDECIDED, "The gain is not shown to go beyond what wording alone gives away on these probes.", p
    return PASSED, "The interval lies above 0, and the AUROC above what wording alone gives away.", p


def _not_worse(rule: Rule, measured: Measurement) -> _Outcome:
    difference, margin, items = measured.difference, float(rule.margin or 0), measured.clusters
    p = tail(difference, -margin, items)
    if difference.low > -margin:
        return PASSED, f"The interval lies above -{margin:g}.", p
    if difference.high < -margin:
        return FAILED, f"The interval lies below -{margin:g}.", p
    return UNDECIDED, _too_wide(measured, margin), p


def _no_rise(rule: Rule, measured: Measurement) -> _Outcome:
    rise, margin = measured.difference, rule.margin
    p = tail(rise, 0, measured.clusters, below=False)
    if rise.low > 0:
        return FAILED, "It rose beyond its interval.", p
    if margin is None:
        return PASSED, "It did not rise beyond its interval.", p
    if rise.high < margin:
        return PASSED, f"The interval lies below {margin:g}: it did not rise by as much.", p
    return UNDECIDED, f"No rise is shown, and none ruled out. {_too_wide(measured, margin)}", p


def _floor(rule: Rule, measured: Measurement) -> _Outcome:
    own, least, items = measured.difference, float(rule.least or 0), measured.clusters
    p = tail(own, least, items)
    if own.low > least:
        return PASSED, f"The interval lies above {least:g}.", p
    if own.high < least:
        return FAILED, f"The interval lies below {least:g}.", p
    return UNDECIDED, f"The interval includes {least:g}, on {items} independent items.", p


def _unbiased(rule: Rule, measured: Measurement) -> _Outcome:
    more, margin, items = measured.difference, float(rule.margin or 0), measured.clusters
    p = tail(more, margin, items, below=False)
    if more.high < margin:
        return PASSED, f"The interval lies below {margin:g}.", p
    if more.low > margin:
        return FAILED, f"The interval lies above {margin:g}: it leans more.", p
    return UNDECIDED, _too_wide(measured, margin), p


_OUTCOMES = {GAIN: _gain, NOT_WORSE: _not_worse, NO_RISE: _no_rise, FLOOR: _floor, UNBIASED: _unbiased}


def _too_wide(measured: Measurement, margin: float) -> str:
    difference, items = measured.difference, measured.clusters
    return (
        f"{items} independent items decide a margin of about {detectable(difference):.2g}; "
        f"a margin of {margin:g} takes about {about(pairs_needed(difference.low, difference.high, margin, items))}."
    )


def about(number: int) -> str:
    """Two digits are all that an extrapolation knows."""
    scale = 10 ** max(0, len(str(number)) - 2)
    return f"{-(-number // scale) * scale:,}"


def _is_number(value: object, above: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and above < float(value) < float("inf")
