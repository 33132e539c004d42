"""Charts that do not cry wolf: sequential change detectors whose false alarms are bounded whenever one looks.

A score lies in [0, 1] and one cluster of claims is one unit of a round. The null hypothesis of a chart is that the
mean of its scores lies within the interval of its baseline, whatever it is there; so it is bet only against the ends.
Against the lower end l, on a fall to l' = expit(logit l - s), a round multiplies the stake by

    f = product over its clusters of (1 + b (x - l)),   b = (l' - l) / (l (1 - l)),

which is the likelihood ratio of the two means for scores of 0 and 1, and an e-value for all scores in [0, 1]: where
E[x | past] >= l, E[f | past] <= 1. This holds for clusters that are independent given the past (betting on bounded
means: Waudby-Smith and Ramdas 2024, arXiv 2010.09686). It also holds where a round draws its clusters at random
without replacement, since such draws are negatively associated and every factor is monotone in its score the same way
(Joag-Dev and Proschan 1983, theorem 2.11 and property P2); and, by the inequality of the means, where it asks all of
them. So a round has to draw its clusters anew, by a seed that does not depend on earlier scores. The upper end is bet
against likewise. Several s are bet on at once, with equal stakes.

A change may begin at any round, so a stake of 1 is laid anew before each, and all are added up: the Shiryaev-Roberts
e-detector of Shin, Ramdas and Rinaldo (2024, arXiv 2203.03532, section 2),

    M_t = f_t (M_{t-1} + 1),   M_0 = 0,   averaged over s.

Under the null M_t - t is a supermartingale. Hence, for an alarm at M_t >= c:
- its average run length to a false alarm is at least c rounds (as there: c <= E[M_N] <= E[N]);
- M_t + T - t is a nonnegative supermartingale up to round T that begins at T, so the chance of a false alarm within T
  rounds is at most T / c (Ville), however often one looks and whenever one stops;
- where the chart begins again after each alarm, at most T / c false alarms are expected in T rounds.

`Budget` splits one declared alpha over the charts, their two sides, and the intervals of their baselines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np

from hfvaccine.errors import SurveillanceError
from hfvaccine.statistics import LEVEL, Estimate, Floats
from hfvaccine.validation.scores import HIGHER, LOWER, PLAIN, SPECIFIC, VACCINE

PROBE, RECALLED_PROBE, LOGS, ANCHORS = "probe", "recalled_probe", "logs", "anchors"
"""Sources of rounds: seeded questions, the same after the model's own recall, production logs, and texts of known
verdict that the judge of logs is given."""
REJECTION, ACCEPTANCE, DISCRIMINATION, ASSERTED, JUDGE = (
    "rejection",
    "acceptance",
    "discrimination",
    "asserted",
    "judge",
)
RECALLED = "recalled_"
"""Begins the names of the charts of verdicts after recall."""
FELL, ROSE = "fell", "rose"
SIDES = (FELL, ROSE)
SHIFTS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Of the log-odds of the mean, which are bet on: from 0.90 they lead to 0.88, 0.85, 0.77, 0.55 and 0.14."""
NEAREST = 1e-3
"""A fall from above 1 - this is bet on as one from there, and a rise likewise: no log-odds shift leads far enough."""
NOTHING = 1e-9
"""No mean lies beyond an end that is so near to 0 or 1."""
SOON = 10
"""Rounds within which it is said what a chart would find."""
BASELINES = 0.8
"""Part of alpha that goes to the baselines' intervals. A chart's own part costs it only its logarithm in delay."""


@dataclass(frozen=True)
class Chart:
    """What one chart is about.

    Args:
        source: where its rounds come from.
        better: `HIGHER` or `LOWER`.
        metric: of results.json, which is its baseline; "" where there is none.
        says: what its score is, for people.
    """

    source: str
    better: str
    metric: str
    says: str

    def worse(self, side: str) -> bool:
        """Whether a move to this side is for the worse."""
        return (side == FELL) == (self.better == HIGHER)


CHARTS: Mapping[str, Chart] = {
    REJECTION: Chart(PROBE, HIGHER, "rejection", "claims that are rejected"),
    ACCEPTANCE: Chart(PROBE, HIGHER, "true_acceptance", "true twins that are accepted"),
    DISCRIMINATION: Chart(PROBE, HIGHER, "pair_accuracy", "claims that score below their own true twin"),
    RECALLED + REJECTION: Chart(RECALLED_PROBE, HIGHER, "rejection", "claims that are rejected after recall"),
    RECALLED + ACCEPTANCE: Chart(RECALLED_PROBE, HIGHER, "true_acceptance", "twins that are accepted after recall"),
    RECALLED + DISCRIMINATION: Chart(
        RECALLED_PROBE, HIGHER, "pair_accuracy", "claims that score below their own true twin after recall"
    ),
    ASSERTED: Chart(LOGS, LOWER, "", "clear answers in the logs that assert the claim"),
    JUDGE: Chart(ANCHORS, HIGHER, "", "anchors that the judge of the logs judges rightly"),
}
"""Every chart. Rejection and acceptance have their own: where a model leans more to FALSE, discrimination stays.
`JUDGE` tells a judge's drift from a model's: the judge is given the same labelled texts, whatever the model does."""


@dataclass(frozen=True)
class Baseline:
    """What the mean of a chart's scores was when all was well, and how well that is known.

    Args:
        value: the mean.
        low: lower end of its interval.
        high: upper end.
        units: clusters behind it, each counted once for each time it was asked.
        reading: how it was asked; rounds of another reading are refused.
    """

    value: float
    low: float
    high: float
    units: int
    reading: str

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.value <= self.high <= 1:
            raise SurveillanceError(
                f"A baseline of {self.value} within [{self.low}, {self.high}] is no mean of scores from 0 to 1.",
                "Take the value and the interval from results.json.",
            )


Held = list[Baseline | None]


@dataclass(frozen=True)
class Budget:
    """What false alarms may cost, over all charts together.

    Where nothing drifts, the chance that any chart alarms within its first `horizon` rounds is at most `alpha`: of
    it, `BASELINES` is spent on the chance that an interval of a baseline misses, the rest on the charts. Where the
    intervals hold, the average run to the first false alarm is at least `run_length` rounds, for ever.

    Args:
        alpha: the chance.
        horizon: rounds.
    """

    alpha: float = 0.05
    horizon: int = 365

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1 or self.horizon < 1:
            raise SurveillanceError(
                f"A chance of {self.alpha} within {self.horizon} rounds is no budget for false alarms.",
                "Give a chance between 0 and 1, and at least one round.",
            )

    @property
    def run_length(self) -> float:
        return self.horizon / (self.alpha * (1 - BASELINES))

    def threshold(self, charts: int) -> float:
        """The evidence at which one side of one of so many charts alarms."""
        return 2 * charts * self.run_length

    def miss(self, charts: int) -> float:
        """The chance that the first interval of one of so many baselines may miss; later ones share as much again."""
        return self.alpha * BASELINES / charts / 2


def bounded_mean(value: float, units: int, miss: float) -> Estimate:
    """Interval of the mean of independent scores in [0, 1], by Chernoff's bound (Hoeffding 1963, theorem 1).

    All m with units KL(value || m) <= log(2 / miss), KL being that of two Bernoulli distributions. It is exact for
    any number of units, whatever their distribution, and for draws without replacement (ibid., section 6).

    Args:
        value: their mean.
        units: how many there are.
        miss: the chance that it may miss.
    """
    from scipy.optimize import brentq

    bound = log(2 / miss) / units

    def beyond(m: float) -> float:
        right = value * log(value / m) if value > 0 else 0.0
        wrong = (1 - value) * log((1 - value) / (1 - m)) if value < 1 else 0.0
        return right + wrong - bound

    least, most = 1e-12, 1 - 1e-12
    inner = min(max(value, least), most)
    low = brentq(beyond, least, inner) if inner > least and beyond(least) > 0 > beyond(inner) else 0.0
    high = brentq(beyond, inner, most) if inner < most and beyond(most) > 0 > beyond(inner) else 1.0
    return Estimate(value, min(float(low), value), max(float(high), value))


def baseline_of_results(
    results: Mapping[str, Any], name: str, reading: str, miss: float, probe: str = SPECIFIC
) -> Baseline:
    """The baseline of a chart of probes, from what the vaccine measured when it was validated.

    One cluster counts as one unit. The interval is never narrower than the one that was reported.

    Args:
        results: the content of results.json.
        name: of the chart.
        reading: how it was asked, and how rounds will ask.
        miss: the chance that the interval may miss, see `Budget.miss`.
        probe: which pairs.

    Raises:
        SurveillanceError: where that was not measured, or not on this reading.
    """
    metric = CHARTS[name].metric
    rows = [
        row
        for row in results.get("measures", [])
        if (row["arm"], row["probe"], row["condition"], row["metric"]) == (VACCINE, probe, PLAIN, metric)
    ]
    found = [row for row in rows if row["reading"] == reading]
    if not metric or not found:
        readings = ", ".join(sorted({row["reading"] for row in rows})) or "none"
        raise SurveillanceError(
            f"These results hold no {metric or name!r} of the vaccine on {probe!r} pairs by the reading {reading!r} "
            f"(there is: {readings}).",
            "Probe by a reading that was validated, or learn the baseline from the first rounds.",
        )
    row = found[0]
    exact = bounded_mean(row["value"], row["clusters"], miss)
    low, high = row["interval"]
    return Baseline(row["value"], min(low, exact.low), max(high, exact.high), row["clusters"], reading)


def learnt(rounds: Sequence[Floats], baseline: Baseline | None, learn: int, miss: float, reading: str) -> Held:
    """What each round is held against: the baseline that was given, narrowed by what the rounds before it show.

    Where nothing drifts all rounds have one mean, so it lies within the interval of the first `learn` of them too,
    and of the first 2 `learn`, 4 `learn` and so on. Each halves the chance to miss that is left, and what is held
    against is what they have in common. A drift cannot carry a baseline away: no end ever moves outwards.

    Args:
        rounds: (clusters,) scores of each that may be learnt from.
        baseline: what was given; None where the first `learn` rounds are to be the baseline.
        learn: rounds.
        miss: the chance that the first interval may miss, see `Budget.miss`.
        reading: how they were asked.

    Returns:
        For each round what was known before it, and last what is known now; None while nothing is.
    """
    held: list[Baseline | None] = [baseline]
    known, window = baseline, learn
    share = miss if baseline is None else miss / 2
    total, units = 0.0, 0
    for at, scores in enumerate(rounds, start=1):
        total, units = total + float(scores.sum()), units + len(scores)
        if at == window:
            found = bounded_mean(total / units, units, share)
            known = _narrowed(known, Baseline(found.value, found.low, found.high, units, reading))
            window, share = 2 * window, share / 2
        held.append(known)
    return held


def _narrowed(known: Baseline | None, found: Baseline) -> Baseline:
    """What two intervals have in common; where they have nothing, the first, which the rounds then speak against."""
    if known is None:
        return found
    low, high = max(known.low, found.low), min(known.high, found.high)
    if low > high:
        return known
    return Baseline(min(max(found.value, low), high), low, high, known.units + found.units, found.reading)


def growth(scores: Floats, low: Floats | float, high: Floats | float) -> Floats:
    """How a round multiplies the stakes against either end of a baseline.

    Args:
        scores: (..., clusters) in [0, 1].
        low: (...) lower end.
        high: (...) upper end.

    Returns:
        (..., sides, shifts) logarithms of the factors; 0 against an end beyond which no mean lies.
    """
    from scipy.special import expit, logit

    factors = np.zeros((*scores.shape[:-1], len(SIDES), len(SHIFTS)))
    # Each end may only be taken further out than it is: a null that is easier to keep.
    for side, (end, sign) in enumerate(((np.minimum(low, 1 - NEAREST), -1), (np.maximum(high, NEAREST), 1))):
        bet_on = (end > NOTHING) & (end < 1 - NOTHING)
        end = np.where(bet_on, end, 0.5)
        for place, shift in enumerate(SHIFTS):
            stake = np.where(bet_on, (expit(logit(end) + sign * shift) - end) / (end * (1 - end)), 0)
            factors[..., side, place] = np.log1p(stake[..., None] * (scores - end[..., None])).sum(-1)
    return factors


def found_within(baseline: Baseline, side: str, clusters: float, threshold: float) -> float | None:
    """The mean, nearest to the baseline, that a chart is expected to alarm at within `SOON` rounds.

    Args:
        baseline: what the rounds are held against.
        side: `FELL` or `ROSE`.
        clusters: of a round.
        threshold: from `Budget.threshold`.

    Returns:
        Of scores of 0 and 1; None where no mean would be found so soon, be it 0 or 1.
    """
    wrong, right = growth(np.array([[0.0], [1.0]]), baseline.low, baseline.high)[:, SIDES.index(side)]
    needed = log(threshold * len(SHIFTS)) / (SOON * clusters)
    # Of each cluster the evidence grows by wrong + m (right - wrong) on average.
    bets = right != wrong
    means = (needed - wrong[bets]) / (right - wrong)[bets]
    found = [float(mean) for mean in means if 0 <= mean <= 1]
    return (max if side == FELL else min)(found, default=None)


def evidence(factors: Floats) -> Floats:
    """The e-detector of either side after each round.

    Args:
        factors: (rounds, ..., sides, shifts) as `growth` gives them.

    Returns:
        (rounds, ..., sides) logarithms of M_t.
    """
    total = np.full(factors.shape[1:], -np.inf)
    found = np.empty(factors.shape[:-1])
    for at, factor in enumerate(factors):
        total = factor + np.logaddexp(0, total)
        found[at] = np.logaddexp.reduce(total, axis=-1) - np.log(len(SHIFTS))
    return found


def began(factors: Floats, side: int) -> int:
    """The round at which a change most likely began: that with the most evidence from it to the last round.

    Args:
        factors: (rounds, sides, shifts), the last round being that of the alarm.
        side: which moved.
    """
    since = factors[::-1, side].cumsum(0)[::-1]
    return int(np.argmax(np.logaddexp.reduce(since, axis=-1)))


def moved_to(rounds: Sequence[Floats], start: int) -> Estimate:
    """The mean of the scores from a round on, with an interval that holds whichever round that is.

    Its chance to miss, 1 - `LEVEL`, is shared out over all windows that could have been looked at: one that begins
    at round j and ends at t gets 1 / (t t (t + 1)) of it, which adds up to 1.

    Args:
        rounds: (clusters,) scores of each.
        start: the first that counts.
    """
    scores = np.concatenate(list(rounds[start:]))
    t = len(rounds)
    return bounded_mean(float(scores.mean()), len(scores), (1 - LEVEL) / (t * t * (t + 1)))


@dataclass(frozen=True)
class Trace:
    """A chart over its rounds.

    Args:
        evidence: (rounds, sides) logarithms of the e-detectors.
        means: (rounds,) of the scores.
        limit: logarithm of the evidence at which it alarms.
        alarm: the round that first reached it; None where none did.
        side: of the alarm; "" without one.
        since: the round at which the change most likely began; None without an alarm.
        now: the mean since then, with its interval; None without an alarm.
    """

    evidence: Floats
    means: Floats
    limit: float
    alarm: int | None = None
    side: str = ""
    since: int | None = None
    now: Estimate | None = None


def trace(rounds: Sequence[Floats], held: Sequence[Baseline], threshold: float) -> Trace:
    """Follow a chart through its rounds.

    Args:
        rounds: (clusters,) scores of each, in the order in which they came.
        held: what each is held against, known before it.
        threshold: from `Budget.threshold`.
    """
    limit = float(np.log(threshold))
    if not rounds:
        return Trace(np.empty((0, len(SIDES))), np.empty(0), limit)
    factors = np.stack([growth(scores, its.low, its.high) for scores, its in zip(rounds, held, strict=True)])
    found = evidence(factors)
    means = np.array([scores.mean() for scores in rounds])
    reached = found >= limit
    if not reached.any():
        return Trace(found, means, limit)
    alarm = int(reached.any(1).argmax())
    side = int(found[alarm].argmax())
    since = began(factors[: alarm + 1], side)
    return Trace(found, means, limit, alarm, SIDES[side], since, moved_to(rounds[: alarm + 1], since))
