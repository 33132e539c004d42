"""Intervals that respect clusters: bootstrap over clusters, paired between arms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Weighted = Callable[[Floats], Floats]
"""A metric as a function of bootstrap weights: (draws, items) -> (draws,)."""

LEVEL = 0.95
DRAWS = 4000


@dataclass(frozen=True)
class Estimate:
    """A value with its interval at `LEVEL`."""

    value: float
    low: float
    high: float

    @property
    def interval(self) -> tuple[float, float]:
        return self.low, self.high


def cluster_weights(clusters: Sequence[str], seed: int = 0, draws: int = DRAWS) -> Floats:
    """How often each item is drawn when whole clusters are drawn with replacement.

    Args:
        clusters: the cluster of each item.
        seed: of the draws; the same seed pairs the draws of two arms.
        draws: bootstrap draws.

    Returns:
        (draws, items) counts.
    """
    names, member = np.unique(np.asarray(clusters), return_inverse=True)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    return counts[:, member].astype(np.float64)


def bootstrap(metric: Weighted, weights: Floats, level: float = LEVEL) -> Estimate:
    """A metric with its percentile bootstrap interval.

    Args:
        metric: as a function of weights; a difference of two arms' metrics gives a paired interval.
        weights: (draws, items), from `cluster_weights`.
        level: coverage asked for.
    """
    value = float(metric(np.ones((1, weights.shape[1])))[0])
    low, high = np.quantile(metric(weights), [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high))


def wilson(successes: float, n: int, level: float = LEVEL) -> Estimate:
    """Wilson score interval of a proportion (Wilson 1927), for counts too small to resample."""
    from scipy.stats import norm

    z = float(norm.ppf((1 + level) / 2))
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Estimate(p, max(0.0, centre - half), min(1.0, centre + half))


def pairs_needed(low: float, high: float, margin: float, n: int) -> int:
    """How many clusters would shrink this interval's half-width to `margin` (half-width ~ 1/sqrt(n))."""
    half = (high - low) / 2
    return max(n, int(np.ceil(n * (half / margin) ** 2)))
