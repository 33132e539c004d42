"""Intervals and tests that respect clusters: paired between arms, honest where there is little to go on.

What is bounded by 0 and 1 (rates, AUROC, balanced accuracy) gets Wilson's score interval with as many observations
as the clusters are worth, and d' and the criterion get theirs from the rates they are made of. A difference of two
arms gets both intervals, squared and added (Newcombe 1998): the bootstrap only says how values vary, and how they vary
together. All else, such as means of losses, gets the expanded percentile interval of the bootstrap.

tests/validation/test_simulations.py shows what these cover. A percentile interval of 20 clusters covers 85 to 93 %
where it claims 95 %, expanded 88 to 95 %, and at 0 or 1, where every draw is the same, it has no width at all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

Weighted = Callable[[Floats], Floats]
"""A metric as a function of bootstrap weights: (draws, items) -> (draws,)."""

LEVEL = 0.95
POWER = 0.8
DRAWS = 4000
MIN_PAIRS = 4
"""Fewer pairs are refused."""
MIN_CLUSTERS = 10
"""With fewer clusters an interval stands for little: its row is marked, and no gate passes on it."""
CHUNK = 300_000
"""Weights that are held in memory at once, a few times over."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Estimate:
    """A value with its interval at `LEVEL`."""

    value: float
    low: float
    high: float

    @property
    def interval(self) -> tuple[float, float]:
        return self.low, self.high

    def record(self) -> dict[str, Any]:
        """As files of results hold it."""
        return {"value": rounded(self.value), "interval": [rounded(self.low), rounded(self.high)]}


def rounded(value: float) -> float:
    """A value to the 4 places that results have."""
    return round(float(value), 4) + 0.0  # no negative zero


@dataclass(frozen=True)
class Sample:
    """A metric's value and what it is when clusters are drawn again.

    Args:
        value: on the items as they are.
        draws: (draws,) of the bootstrap; draws of one seed and the same clusters are paired.
        clusters: how many there are.
    """

    value: float
    draws: Floats
    clusters: int

    def __sub__(self, other: Sample) -> Sample:
        """The difference: paired where the draws are, and of sets that are not, the smaller says how far it varies."""
        return Sample(self.value - other.value, self.draws - other.draws, min(self.clusters, other.clusters))

    @property
    def variance(self) -> float:
        """Of the value; the bootstrap's own is too small by (clusters - 1) / clusters."""
        return float(self.draws.var()) * self.clusters / max(self.clusters - 1, 1)


def mean_of(values: Floats) -> Weighted:
    """The mean of values, one for each item."""
    return lambda w: w @ values / w.sum(1)


def cluster_weights(clusters: Sequence[str], seed: int = 0, draws: int = DRAWS) -> Floats:
    """How often each item is drawn when whole clusters are drawn with replacement.

    Args:
        clusters: the cluster of each item.
        seed: of the draws; the same seed pairs the draws of two arms.
        draws: bootstrap draws.

    Returns:
        (draws, items) counts.
    """
    return np.concatenate(list(_weights(clusters, seed, draws)))


def resample(
    metrics: Mapping[Key, Weighted], clusters: Sequence[str], seed: int = 0, draws: int = DRAWS
) -> dict[Key, Sample]:
    """Several metrics on the same draws, in bounded memory.

    Args:
        metrics: each as a function of weights.
        clusters: the cluster of each item.
        seed: of the draws.
        draws: bootstrap draws.
    """
    once = np.ones((1, len(clusters)))
    drawn: dict[Key, list[Floats]] = {key: [] for key in metrics}
    for weights in _weights(clusters, seed, draws):
        for key, metric in metrics.items():
            drawn[key].append(metric(weights))
    number = len(set(clusters))
    return {key: Sample(float(metrics[key](once)[0]), np.concatenate(drawn[key]), number) for key in metrics}


def bootstrap(metric: Weighted, weights: Floats, clusters: int | None = None) -> Estimate:
    """A metric with its expanded percentile interval.

    Args:
        metric: as a function of weights; a difference of two arms' metrics gives a paired interval.
        weights: (draws, items), from `cluster_weights`.
        clusters: how many were drawn from; every item its own unless given.
    """
    value = float(metric(np.ones((1, weights.shape[1])))[0])
    return expanded(Sample(value, metric(weights), clusters or weights.shape[1]))


def expanded(sample: Sample) -> Estimate:
    """The expanded percentile interval (Hesterberg 2015, arXiv 1411.5279).

    Quantiles are taken further out, as far as Student's t with n - 1 degrees of freedom and the divisor n - 1
    reach beyond the normal distribution and the divisor n, where n is the number of clusters.
    """
    from scipy.special import ndtr, stdtrit

    n = sample.clusters
    reach = sqrt(n / (n - 1)) * float(stdtrit(n - 1, (1 + LEVEL) / 2)) if n > 1 else np.inf
    low, high = np.quantile(sample.draws, [ndtr(-reach), ndtr(reach)])
    return Estimate(sample.value, min(float(low), sample.value), max(float(high), sample.value))


def wilson(successes: float, n: float) -> Estimate:
    """Wilson score interval of a proportion (Wilson 1927); ties may count as half a success."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, n, alpha=1 - LEVEL, method="wilson")
    p = successes / n
    return Estimate(p, min(max(0.0, float(low)), p), max(min(1.0, float(high)), p))


def proportion(sample: Sample, decisions: int | None = None) -> Estimate:
    """Interval of a metric that lies between 0 and 1: Wilson's, with as many observations as the clusters are worth.

    The effective number is p (1 - p) / variance, as for surveys (Korn and Graubard 1998), with Student's t for the
    variance being estimated. Where every cluster is one decision the binomial variance needs no estimate. Where no
    draw differs from another (all right, all wrong, all ties) every cluster counts once: that none of n differed
    does not show that the next will not.

    Args:
        sample: of the metric.
        decisions: of a rate, how many yes-or-no decisions it counts, which is the most that it can be worth.
    """
    from scipy.special import ndtri, stdtrit

    p, k = sample.value, sample.clusters
    if decisions == k or sample.variance < 1e-12 or not 0 < p < 1:
        n = float(k)
    else:
        shrink = float(ndtri((1 + LEVEL) / 2) / stdtrit(k - 1, (1 + LEVEL) / 2))
        n = min(p * (1 - p) / sample.variance, decisions or np.inf) * shrink**2
    return wilson(p * n, n)


def probit(sample: Sample, estimate: Estimate, n: int) -> tuple[Sample, Estimate]:
    """A rate and its interval as normal quantiles, of which d' and the criterion are made.

    Value and draws take the log-linear correction (p n + 0.5) / (n + 1) of Hautus (1995). The limits do not, or
    the interval would shrink towards 0; they only stop where the correction puts a rate of 0 or 1.

    Args:
        sample: of the rate.
        estimate: its interval, from `proportion`.
        n: decisions behind the rate.
    """
    from scipy.special import ndtri

    least = 0.5 / (n + 1)

    def corrected(rate: Floats) -> Floats:
        z: Floats = ndtri((rate * n + 0.5) / (n + 1))
        return z

    value = float(corrected(np.array(sample.value)))
    low, high = ndtri(np.clip(estimate.interval, least, 1 - least))
    z = Sample(value, corrected(sample.draws), sample.clusters)
    return z, Estimate(value, min(float(low), value), max(float(high), value))


def negative(of: tuple[Sample, Estimate]) -> tuple[Sample, Estimate]:
    """The same with its sign turned."""
    sample, estimate = of
    turned = Sample(-sample.value, -sample.draws, sample.clusters)
    return turned, Estimate(-estimate.value, -estimate.high, -estimate.low)


def paired(left: tuple[Sample, Estimate], right: tuple[Sample, Estimate], bound: float = np.inf) -> Estimate:
    """Interval of a difference between two values, each with its own interval, on the same clusters.

    Distances to the limits are squared and added, less what varies together (Newcombe 1998, method 10; Zou and
    Donner 2008): unlike a bootstrap of the difference it keeps its width where both arms do everything right.

    Args:
        left: a sample and its interval.
        right: what is taken from it, with paired draws.
        bound: no difference can be larger; 1 for rates.
    """
    (one, a), (two, b) = left, right
    spread = float(one.draws.std() * two.draws.std())
    together = 0.0 if spread < 1e-12 else float(np.cov(one.draws, two.draws, bias=True)[0, 1]) / spread

    def reach(x: float, y: float) -> float:
        return sqrt(max(0.0, x * x + y * y - 2 * together * x * y))

    value = one.value - two.value
    return Estimate(
        value,
        max(-bound, value - reach(a.value - a.low, b.high - b.value)),
        min(bound, value + reach(a.high - a.value, b.value - b.low)),
    )


def detectable(estimate: Estimate) -> float:
    """The smallest difference that this many clusters would show with `POWER`: (z_0.975 + z_0.8) standard errors.

    The standard error is read off the interval, so that it holds where a bootstrap has none.
    """
    return (estimate.high - estimate.low) / 2 * _beyond()


def pairs_needed(low: float, high: float, margin: float, n: int) -> int:
    """How many clusters would show, with `POWER`, that a difference that is none stays within a margin.

    Args:
        low: end of the interval of n clusters, whose width shrinks as 1 / sqrt(n).
        high: its other end.
        margin: to stay within.
        n: clusters behind the interval.
    """
    return max(n, int(np.ceil(n * ((high - low) / 2 * _beyond() / margin) ** 2)))


def mcnemar(left: Floats, right: Floats, clusters: Sequence[str]) -> float:
    """Exact two-sided p of McNemar's test: do as many clusters change for the better as for the worse?

    A cluster counts once, by the direction in which most of its members changed, so that paraphrases do not
    pass for evidence; without paraphrases it is McNemar's test of pairs.

    Args:
        left: (items,) outcomes of one arm, such as 0 and 1.
        right: (items,) outcomes of the other on the same items.
        clusters: the cluster of each item.
    """
    from scipy.stats import binomtest

    names, member = np.unique(np.asarray(clusters), return_inverse=True)
    change = np.bincount(member, weights=left - right, minlength=len(names)).round(9)
    up, down = int((change > 0).sum()), int((change < 0).sum())
    return 1.0 if up + down == 0 else float(binomtest(up, up + down).pvalue)


def tail(estimate: Estimate, bound: float, clusters: int, below: bool = True) -> float:
    """One-sided p of a value that lies beyond a bound: how often it would lie so far out by chance.

    Read off the interval, whose half-width on the side of the bound is a quantile of Student's t, so that it is
    `(1 - LEVEL) / 2` where the interval ends at the bound.

    Args:
        estimate: the value with its interval.
        bound: which the value may lie beyond.
        clusters: behind the interval.
        below: whether beyond means below it; else above.
    """
    from scipy.special import stdtr, stdtrit

    distance = bound - estimate.value if below else estimate.value - bound
    reach = estimate.high - estimate.value if below else estimate.value - estimate.low
    if distance <= 0 or clusters < 2:
        return 1.0
    free = clusters - 1
    return 0.0 if reach < 1e-12 else float(stdtr(free, -float(stdtrit(free, (1 + LEVEL) / 2)) * distance / reach))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values, in the order given.

    statsmodels has them too, but collects garbage at every call, which makes simulations five times slower.
    """
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(np.asarray(p)[order] * (len(p) - np.arange(len(p)))))
    return [float(one) for one in adjusted]


def outlying(values: Floats, others: Floats, clusters: Sequence[str]) -> Floats:
    """One-sided p that each value comes from the normal distribution that the others come from.

    The prediction test: (value - mean) / (s sqrt(1 + 1/k)) is Student's t with k - 1 degrees of freedom, where k
    is the number of clusters of the others. Heavier tails than the normal's make it name too many.

    Args:
        values: (values,) each tested alone.
        others: (others,) what is usual.
        clusters: the cluster of each other.

    Returns:
        (values,) p-values; 1 where the others do not differ from each other and so say nothing.
    """
    from scipy.special import stdtr

    k = len(set(clusters))
    spread = float(others.std(ddof=1)) if k > 1 else 0.0
    if spread < 1e-12:
        return np.ones(len(values))
    p: Floats = stdtr(k - 1, (others.mean() - values) / (spread * sqrt(1 + 1 / k)))
    return p


def _weights(clusters: Sequence[str], seed: int, draws: int) -> Iterator[Floats]:
    """The rows of `cluster_weights`, some at a time; the draws do not depend on how many."""
    names, member = np.unique(np.asarray(clusters), return_inverse=True)
    k = len(names)
    rng = np.random.default_rng(seed)
    for start in range(0, draws, max(1, CHUNK // len(clusters))):
        rows = min(max(1, CHUNK // len(clusters)), draws - start)
        drawn = rng.integers(0, k, size=(rows, k)) + k * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * k).reshape(rows, k)
        yield counts[:, member].astype(np.float64)


def items_needed(spread: float, distance: float) -> int:
    """How many clusters show with `POWER` that a value lies on its side of a bound.

    Args:
        spread: standard deviation of what one cluster adds.
        distance: of the value from the bound.
    """
    return int(np.ceil((spread * _quantiles() / distance) ** 2))


def smallest_shown(spread: float, clusters: int) -> float:
    """The smallest distance from a bound that clusters show with `POWER`; the inverse of `items_needed`."""
    return spread * _quantiles() / sqrt(clusters)


def _quantiles() -> float:
    """z_0.975 + z_0.8: how many standard errors a difference must measure to be shown with `POWER`."""
    from scipy.special import ndtri

    return float(ndtri((1 + LEVEL) / 2)) + float(ndtri(POWER))


def _beyond() -> float:
    """How many half-widths of an interval a difference must measure to be shown with `POWER`."""
    from scipy.special import ndtri

    return _quantiles() / float(ndtri((1 + LEVEL) / 2))
