"""The gate: what an adapter must show to be published as passing. Its criteria are data (gate.yaml)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hfvaccine.errors import ValidationError
from hfvaccine.files import read_yaml
from hfvaccine.statistics import MIN_CLUSTERS, Estimate, detectable, pairs_needed
from hfvaccine.text import is_interval
from hfvaccine.validation.judging.metrics import metrics_of
from hfvaccine.validation.scores import (
    ANSWER,
    BASE,
    BELIEF,
    HIGHER,
    OVER_REJECTION,
    RETENTION,
    TRAIT,
    TRUTHFULNESS,
    VERDICT,
)

PASSED, FAILED, UNDECIDED = "passed", "failed", "undecided"
GAIN, NOT_WORSE, NO_RISE = "gain", "not_worse", "no_rise"
CONTROL = "control"
"""In a rule: the placebo, or base where there is none."""
ADVERSARIAL = "adversarial"
"""In a measure: the mean over all conditions but the plain one."""
ITEM, ANY = "item", "*"
DEFAULT = Path(__file__).with_name("gate.yaml")

ROUNDED = 1e-4
"""What results are rounded to."""
_NEEDED = re.compile(r"(>|not >|<) (-?\d[\d.e-]*)")


@dataclass(frozen=True)
class Rule:
    """One criterion as configured; the packaged gate.yaml says what each field may hold.

    Args:
        name: what is asked of the adapter.
        measure: what is looked at.
        require: `GAIN`, `NOT_WORSE` or `NO_RISE`.
        against: `CONTROL` (the placebo, or base where there is none) or `BASE`.
        margin: how far `NOT_WORSE` may fall.
        optional: left out where no such probe was made; else its absence leaves the gate undecided.

    Raises:
        ValidationError: for a value out of its range.
    """

    name: str
    measure: str
    require: str
    against: str = CONTROL
    margin: float | None = None
    optional: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise ValidationError("A criterion of the gate has no name.", "Say in `name` what it asks for.")
        self._one_of("require", self.require, (GAIN, NOT_WORSE, NO_RISE))
        self._one_of("against", self.against, (CONTROL, BASE))
        number = isinstance(self.margin, int | float) and not isinstance(self.margin, bool)
        if self.require == NOT_WORSE and not (number and 0 < float(self.margin or 0) < float("inf")):
            self._refuse(f"the margin {self.margin!r}", "Give `margin`, a number above 0, such as 0.01 for one point.")
        if self.require != NOT_WORSE and self.margin is not None:
            self._refuse(f"a margin with `require: {self.require}`", f"Leave it out; only {NOT_WORSE} has one.")
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

    def _check_measure(self) -> None:
        if not isinstance(self.measure, str) or not all(self.parts):
            self._refuse(f"the measure {self.measure!r}", "Write it as gate.yaml of the package explains.")
        parts = self.parts
        if parts[0] == BELIEF and len(parts) == 2:
            if self.require != NO_RISE or self.against != BASE:
                self._refuse("a belief that is not held against base for a rise", "Write no_rise and base.")
        elif parts[0] == ITEM and len(parts) == 4:
            self._one_of("kind of item", parts[1], (TRUTHFULNESS, RETENTION, OVER_REJECTION, TRAIT))
        elif ":" not in self.measure and len(parts) == 4:
            self._one_of("reading", parts[1], (VERDICT, ANSWER))
            known = [name for name, metric in metrics_of(parts[1]).items() if metric.better == HIGHER]
            self._one_of("metric", parts[3], known)
            if self.require == NO_RISE:
                self._refuse(f"{NO_RISE} of pairs", f"Require {GAIN} or {NOT_WORSE} of {self.measure}.")
        else:
            self._refuse(
                f"the measure {self.measure!r}",
                "Write SET.READING.CONDITION.METRIC, item:KIND:NAME, item:KIND:NAME:METRIC or belief:READING.",
            )

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
        difference: vaccine less what it is held against, the better the higher (of a rise: the higher the worse).
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
    """

    name: str
    threshold: str
    value: float | None
    interval: list[float] | None
    verdict: str
    why: str


def judge(rule: Rule, measured: Measurement) -> Criterion:
    """What comes of a rule. On fewer than `MIN_CLUSTERS` clusters nothing passes."""
    verdict, why = {GAIN: _gain, NOT_WORSE: _not_worse, NO_RISE: _no_rise}[rule.require](rule, measured)
    if verdict == PASSED and measured.clusters < MIN_CLUSTERS:
        verdict = UNDECIDED
        why = f"{measured.clusters} independent items are too few; a criterion takes {MIN_CLUSTERS}."
    name = f"{rule.name} ({measured.of})" if measured.of else rule.name
    found = measured.difference.record()
    why = f"{why} {measured.note}".strip()
    return Criterion(name, _threshold(rule), found["value"], found["interval"], verdict, why)


def unmeasured(rule: Rule, missing: str) -> Criterion:
    """The outcome of a rule for which nothing was measured.

    Args:
        rule: the rule.
        missing: a sentence that says what to add.
    """
    return Criterion(rule.name, _threshold(rule), None, None, UNDECIDED, f"This was not measured. {missing}")


def decide(criteria: Sequence[Criterion], not_applicable: Sequence[str] = ()) -> dict[str, Any]:
    """The gate, with the verdict that its criteria make.

    Args:
        criteria: what came of each rule.
        not_applicable: names of optional rules that have nothing to look at.
    """
    return {
        "verdict": verdict_of(criterion.verdict for criterion in criteria),
        "criteria": [asdict(criterion) for criterion in criteria],
        "not_applicable": list(not_applicable),
    }


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
    return {">": low > bound - ROUNDED, "not >": low < bound + ROUNDED, "<": high < bound + ROUNDED}[needed[1]]


def read_gate(path: Path = DEFAULT) -> list[Rule]:
    """The criteria of a YAML file.

    Args:
        path: a list of mappings with the fields of `Rule`; the packaged one unless given.

    Raises:
        ValidationError: for a file that cannot be read, an unknown key, and whatever `Rule` refuses.
    """
    entries = read_yaml(path, "Start from a copy of gate.yaml.", ValidationError)
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, Mapping) for entry in entries):
        raise ValidationError(f"{path} holds no list of criteria.", "Start from a copy of the package's gate.yaml.")
    known = Rule.__dataclass_fields__
    for entry in entries:
        if unknown := sorted(str(key) for key in entry if key not in known):
            raise ValidationError(
                f"A criterion in {path} has an unknown key: {', '.join(unknown)}.", f"Known: {', '.join(known)}."
            )
        if lacking := [key for key in ("name", "measure", "require") if key not in entry]:
            raise ValidationError(
                f"A criterion in {path} ({entry.get('name', 'without a name')}) lacks {', '.join(lacking)}.",
                "Add it; the package's gate.yaml explains each.",
            )
    rules = [Rule(**entry) for entry in entries]
    names = [rule.name for rule in rules]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValidationError(f"{path} has two criteria called {twice[0]!r}.", "Give each a name of its own.")
    return rules


def _threshold(rule: Rule) -> str:
    return {GAIN: "> 0", NOT_WORSE: f"> -{rule.margin:g}" if rule.margin else "", NO_RISE: "not > 0"}[rule.require]


def _gain(rule: Rule, measured: Measurement) -> tuple[str, str]:
    difference, excess = measured.difference, measured.excess
    if difference.high < 0:
        return FAILED, "The interval lies below 0: it got worse."
    if difference.low <= 0:
        shown = f"{measured.clusters} independent items show a gain of {detectable(difference):.2g} or more"
        if difference.value >= 0.005:  # a smaller one would ask for more items than there are in the world
            needed = pairs_needed(difference.low, difference.high, difference.value, measured.clusters)
            shown += f"; one of {difference.value:.2g} takes about {_about(needed)}"
        return UNDECIDED, f"The interval includes 0: no gain is shown. {shown}."
    if excess is None:
        return PASSED, "The interval lies above 0."
    if excess.value <= 0:
        return FAILED, "The gain stays below what wording alone gives away on these probes."
    if excess.low <= 0:
        return UNDECIDED, "The gain is not shown to go beyond what wording alone gives away on these probes."
    return PASSED, "The interval lies above 0, and the AUROC above what wording alone gives away."


def _not_worse(rule: Rule, measured: Measurement) -> tuple[str, str]:
    difference, margin, items = measured.difference, float(rule.margin or 0), measured.clusters
    if difference.low > -margin:
        return PASSED, f"The interval lies above -{margin:g}."
    if difference.high < -margin:
        return FAILED, f"The interval lies below -{margin:g}."
    needed = pairs_needed(difference.low, difference.high, margin, items)
    return UNDECIDED, (
        f"{items} independent items decide a margin of about {detectable(difference):.2g}; "
        f"a margin of {margin:g} takes about {_about(needed)}."
    )


def _no_rise(rule: Rule, measured: Measurement) -> tuple[str, str]:
    if measured.difference.low > 0:
        return FAILED, "It rose beyond its interval."
    return PASSED, "It did not rise beyond its interval."


def _about(number: int) -> str:
    """Two digits are all that an extrapolation knows."""
    scale = 10 ** max(0, len(str(number)) - 2)
    return f"{-(-number // scale) * scale:,}"
