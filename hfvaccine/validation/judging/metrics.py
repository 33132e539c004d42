"""Two-sided metrics on scores of claims and of their twins. Pure, no torch.

A score is higher the truer the model takes a text to be. Every metric is a
function of bootstrap weights, so that its interval comes from the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hfvaccine.statistics import Floats, Weighted, mean_of
from hfvaccine.validation.scores import ALWAYS_FALSE, ALWAYS_TRUE, HIGHER, LOWER, VERDICTS, PairScores

BINS = 10
"""Bins of the calibration error; each holds an equal part of the texts, so that none is judged by a handful."""
TEXTS_PER_BIN = 10


def auroc(scores: PairScores) -> Weighted:
    """Probability that a random twin scores above a random claim, ties half (Mann-Whitney U)."""
    order = np.argsort(scores.claim, kind="stable")
    ranked = scores.claim[order]
    below = np.searchsorted(ranked, scores.twin, "left")
    within = np.searchsorted(ranked, scores.twin, "right")

    def weighted(w: Floats) -> Floats:
        claims = np.zeros((len(w), len(order) + 1))
        np.cumsum(w[:, order], axis=1, out=claims[:, 1:])
        beaten = (claims[:, below] + claims[:, within]) / 2
        area: Floats = (w * beaten).sum(1) / w.sum(1) ** 2
        return area

    return weighted


def pair_accuracy(scores: PairScores) -> Weighted:
    """How often the twin scores above its own claim, ties half."""
    return mean_of(decisions("pair_accuracy", scores))


def rejection(scores: PairScores) -> Weighted:
    """How often a claim is rejected (score below 0, at 0 half)."""
    return mean_of(decisions("rejection", scores))


def true_acceptance(scores: PairScores) -> Weighted:
    """How often a twin is accepted (score above 0, at 0 half)."""
    return mean_of(decisions("true_acceptance", scores))


def balanced_accuracy(scores: PairScores) -> Weighted:
    """Mean of rejection and true acceptance: 0.5 for a model that says the same to everything."""
    return mean_of((decisions("rejection", scores) + decisions("true_acceptance", scores)) / 2)


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


def brier(scores: PairScores) -> Weighted:
    """Mean squared error of P(true) = sigmoid(score), over claims and twins alike: 0.25 for saying 50 % to all."""
    return mean_of((p_true(scores.claim) ** 2 + (1 - p_true(scores.twin)) ** 2) / 2)


def calibration_error(scores: PairScores) -> Weighted:
    """Expected calibration error of P(true): mean distance between what is said and what is so, in equal-mass bins.

    `BINS` bins, fewer where a bin would hold less than `TEXTS_PER_BIN` texts; equal probabilities are never parted.
    A mean of distances is never negative, so it lies above 0 by chance even for a model that is calibrated.
    """
    said = np.concatenate([p_true(scores.claim), p_true(scores.twin)])
    n = len(scores.claim)
    excess = said - np.repeat([0.0, 1.0], n)
    bins = max(1, min(BINS, len(said) // TEXTS_PER_BIN))
    edges = np.quantile(said, np.arange(1, bins) / bins)
    member = np.searchsorted(edges, said, "right")
    # (pairs, bins): what a pair's two texts add to each bin
    parts = np.zeros((n, bins))
    np.add.at(parts, (np.tile(np.arange(n), 2), member), excess)

    def weighted(w: Floats) -> Floats:
        error: Floats = np.abs(w @ parts).sum(1) / (2 * w.sum(1))
        return error

    return weighted


RATE, AREA, SIGNAL, MEAN, DISTANCE = "rate", "area", "signal", "mean", "distance"
"""Kinds of metric, each with an interval of its own: counts of items; what lies between 0 and 1 and looks at both
texts of a pair; what signal detection theory makes of true acceptance and rejection; means; means of distances."""


@dataclass(frozen=True)
class Metric:
    """A metric of pairs, and all that differs from one to another.

    Args:
        of: the metric as a function of scores.
        kind: what interval it has.
        label: what a table calls it.
        alone: what it is called where no table stands round the name; as in a table unless given.
        better: `HIGHER` or `LOWER`; "" where neither is.
        of_answers: it can be told of answers, which have no threshold, as well as of verdicts.
        calibrated: it is of scores from which the model's bias was taken (`calibration`).
    """

    of: Callable[[PairScores], Weighted]
    kind: str
    label: str
    alone: str = ""
    better: str = HIGHER
    of_answers: bool = False
    calibrated: bool = False

    @property
    def name(self) -> str:
        return CALIBRATED * self.calibrated + self.of.__name__


CALIBRATED = "calibrated_"
"""Begins the names of metrics of scores less the model's bias."""
AT_CONTROL = "acceptance_at_control"
"""Of two arms only: how many more truths the one accepts than the other, at the other's false acceptance."""
METRICS = {
    metric.name: metric
    for metric in (
        Metric(auroc, AREA, "AUROC", of_answers=True),
        Metric(pair_accuracy, RATE, "prefers truth", of_answers=True),
        Metric(rejection, RATE, "rejects claims"),
        Metric(true_acceptance, RATE, "accepts truths"),
        Metric(balanced_accuracy, AREA, "balanced", "balanced accuracy"),
        Metric(d_prime, SIGNAL, "d′"),
        Metric(criterion, SIGNAL, "c", "criterion c", better=""),
        Metric(brier, MEAN, "Brier score", better=LOWER),
        Metric(calibration_error, DISTANCE, "calibration error", better=LOWER),
        Metric(rejection, RATE, "rejects claims", "rejects claims, calibrated", calibrated=True),
        Metric(true_acceptance, RATE, "accepts truths", "accepts truths, calibrated", calibrated=True),
        Metric(criterion, SIGNAL, "c", "criterion c, calibrated", better="", calibrated=True),
    )
}
"""By name, in the order of the results."""


def metrics_of(reading: str, calibrated: bool = False) -> dict[str, Metric]:
    """The metrics that a reading has.

    Args:
        reading: such as `VERDICT`.
        calibrated: those of scores less the model's bias, instead of the raw ones.
    """
    return {
        name: metric
        for name, metric in METRICS.items()
        if metric.calibrated == calibrated and (reading in VERDICTS or metric.of_answers)
    }


def decisions(rate: str, scores: PairScores) -> Floats:
    """(pairs,) what a `RATE` counts: 1 where the model is right, 0.5 where it does not decide, else 0."""
    difference = {
        "rejection": -scores.claim,
        "true_acceptance": scores.twin,
        "pair_accuracy": scores.twin - scores.claim,
    }[rate.removeprefix(CALIBRATED)]
    right: Floats = (np.sign(difference) + 1) / 2
    return right


def shifted(scores: PairScores, bias: float) -> PairScores:
    """Scores less a bias."""
    return PairScores(scores.claim - bias, scores.twin - bias)


def false_acceptance(scores: PairScores) -> Weighted:
    """How often a claim is accepted (score above 0, at 0 half)."""
    return mean_of(1 - decisions("rejection", scores))


def acceptance_at(scores: PairScores, accepted: Weighted) -> Weighted:
    """How often a twin is accepted at the threshold at which so many claims are: a point on the ROC.

    Between thresholds, and so among ties, the ROC is interpolated; where many thresholds accept as many claims,
    the one that accepts most twins counts.

    Args:
        scores: of the pairs.
        accepted: share of the claims, in each draw.
    """
    places = np.unique(np.concatenate([scores.claim, scores.twin]), return_inverse=True)[1].reshape(2, -1)
    order = np.argsort(-places, axis=1, kind="stable")
    # (2, thresholds): how many claims, and twins, lie at or above each, from the highest down
    thresholds = np.arange(-places.max(), 1)
    ends = [np.searchsorted(-side[at], thresholds, "right") for side, at in zip(places, order, strict=True)]

    def weighted(w: Floats) -> Floats:
        claims, twins = (
            np.concatenate([np.zeros((len(w), 1)), np.cumsum(w[:, at], axis=1)], axis=1)[:, [0, *end]]
            for at, end in zip(order, ends, strict=True)
        )
        draw, wanted = np.arange(len(w)), accepted(w) * w.sum(1)
        last = (claims <= wanted[:, None] + 1e-9).sum(1) - 1
        after = np.minimum(last + 1, claims.shape[1] - 1)
        step = claims[draw, after] - claims[draw, last]
        part = np.where(step > 0, (wanted - claims[draw, last]) / np.where(step > 0, step, 1), 0)
        point: Floats = twins[draw, last] + part * (twins[draw, after] - twins[draw, last])
        return np.asarray(point / w.sum(1))

    return weighted


def p_true(log_odds: Floats) -> Floats:
    """Probabilities from log-odds."""
    from scipy.special import expit

    p: Floats = expit(log_odds)
    return p


def over_seeds(metrics: Sequence[Weighted]) -> Weighted:
    """A metric's mean over the seeds of an arm. Its interval covers other claims, not other seeds."""
    return lambda w: np.mean([metric(w) for metric in metrics], axis=0)


def constant_judges(pairs: int) -> Mapping[str, PairScores]:
    """What a model that calls everything false, or true, would score: the rows that one-sided metrics cannot beat."""
    ones = np.ones(pairs)
    return {ALWAYS_FALSE: PairScores(-ones, -ones), ALWAYS_TRUE: PairScores(ones, ones)}


def _z_rates(scores: PairScores) -> tuple[Weighted, Weighted]:
    from scipy.special import ndtri

    def z(rate: Weighted) -> Weighted:
        return lambda w: ndtri((rate(w) * w.sum(1) + 0.5) / (w.sum(1) + 1))

    return z(true_acceptance(scores)), z(false_acceptance(scores))
