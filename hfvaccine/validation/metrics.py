"""Two-sided metrics on scores of claims and of their twins. Pure, no torch.

A score is higher the truer the model takes a text to be. Every metric is a
function of bootstrap weights, so that its interval comes from the same code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hfvaccine.validation.statistics import Floats, Weighted


@dataclass(frozen=True)
class PairScores:
    """Scores of pairs.

    Args:
        claim: (pairs,) score of each claim, above 0 where it is accepted.
        twin: (pairs,) score of its true twin.
    """

    claim: Floats
    twin: Floats


def auroc(scores: PairScores) -> Weighted:
    """Probability that a random twin scores above a random claim, ties half (Mann-Whitney U)."""
    difference = scores.twin[None, :] - scores.claim[:, None]
    wins = (difference > 0) + 0.5 * (difference == 0)
    return lambda w: np.einsum("bi,ij,bj->b", w, wins, w, optimize=True) / w.sum(1) ** 2


def pair_accuracy(scores: PairScores) -> Weighted:
    """How often the twin scores above its own claim, ties half."""
    return _mean((scores.twin > scores.claim) + 0.5 * (scores.twin == scores.claim))


def rejection(scores: PairScores) -> Weighted:
    """How often a claim is rejected (score below 0, at 0 half)."""
    return _mean((scores.claim < 0) + 0.5 * (scores.claim == 0))


def true_acceptance(scores: PairScores) -> Weighted:
    """How often a twin is accepted (score above 0, at 0 half)."""
    return _mean((scores.twin > 0) + 0.5 * (scores.twin == 0))


def balanced_accuracy(scores: PairScores) -> Weighted:
    """Mean of rejection and true acceptance: 0.5 for a model that says the same to everything."""
    left, right = rejection(scores), true_acceptance(scores)
    return lambda w: (left(w) + right(w)) / 2


def d_prime(scores: PairScores) -> Weighted:
    """Sensitivity z(H) - z(F), H = acceptance of twins, F = acceptance of claims.

    Rates take the log-linear correction (n + 0.5) / (N + 1) of Hautus (1995).
    """
    hit, false_alarm = _z_rates(scores)
    return lambda w: hit(w) - false_alarm(w)


def criterion(scores: PairScores) -> Weighted:
    """Bias c = -(z(H) + z(F)) / 2: positive for a model that leans to FALSE."""
    hit, false_alarm = _z_rates(scores)
    return lambda w: -(hit(w) + false_alarm(w)) / 2


VERDICT_METRICS = {
    f.__name__: f for f in (auroc, pair_accuracy, rejection, true_acceptance, balanced_accuracy, d_prime, criterion)
}
RATES = ("rejection", "true_acceptance", "pair_accuracy")
"""Metrics that are counts of claims: their intervals are Wilson's."""


def constant_judges(pairs: int) -> Mapping[str, PairScores]:
    """What a model that calls everything false, or true, would score: the rows that one-sided metrics cannot beat."""
    ones = np.ones(pairs)
    return {"always-FALSE": PairScores(-ones, -ones), "always-TRUE": PairScores(ones, ones)}


def _mean(values: Floats) -> Weighted:
    return lambda w: w @ values / w.sum(1)


def _z_rates(scores: PairScores) -> tuple[Weighted, Weighted]:
    from scipy.stats import norm

    def z(rate: Weighted) -> Weighted:
        return lambda w: norm.ppf((rate(w) * w.sum(1) + 0.5) / (w.sum(1) + 1))

    reject = rejection(scores)
    return z(true_acceptance(scores)), z(lambda w: 1 - reject(w))
