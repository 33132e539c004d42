"""The metrics of each probe for each arm, with intervals, and the differences between arms. Pure, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hfvaccine import statistics
from hfvaccine.statistics import (
    MIN_CLUSTERS,
    Estimate,
    detectable,
    expanded,
    negative,
    paired,
    probit,
    proportion,
    resample,
)
from hfvaccine.validation.judging.metrics import (
    ANSWER_METRICS,
    RATES,
    SIGNAL,
    TEXT_RATES,
    VERDICT_METRICS,
    constant_judges,
    decisions,
    mean_of,
    over_seeds,
)
from hfvaccine.validation.scores import (
    ANSWER,
    BASE,
    CONTROLS,
    CUE,
    PLACEBO,
    PLAIN,
    VACCINE,
    VERDICT,
    ItemProbe,
    PairProbe,
    PairScores,
    Runs,
)

CONTRASTED = {
    VERDICT: (
        "auroc",
        "pair_accuracy",
        "true_acceptance",
        "rejection",
        "balanced_accuracy",
        "d_prime",
        "criterion",
    ),
    ANSWER: ("auroc", "pair_accuracy"),
}
"""Metrics of pairs by which arms are compared, by reading."""
SEED = 0
"""Of the bootstrap; one seed pairs the draws of all arms."""


def contrasted(probe: PairProbe) -> list[str]:
    """The metrics by which arms are compared on a probe of pairs."""
    # Which of two unrelated statements scores higher says little.
    return [name for name in CONTRASTED[probe.reading] if not (name == "pair_accuracy" and probe.matched)]


class PairMeasures:
    """The metrics of one probe of pairs, for each arm that has scores of it.

    Args:
        probe: the probe.
        arms: scores by arm.
        wording: what a judge that knows only the wording scores; None where none was asked.
        draws: of the bootstrap.
    """

    def __init__(self, probe: PairProbe, arms: Mapping[str, Runs], wording: PairScores | None, draws: int) -> None:
        self.probe = probe
        self.clusters = len(set(probe.clusters))
        self.metrics = VERDICT_METRICS if probe.reading == VERDICT else ANSWER_METRICS
        self.scores = by_arm(arms, probe.key, lambda run: run.pairs)
        weighted = {
            (arm, name): over_seeds([metric(scores) for scores in runs])
            for arm, runs in self.scores.items()
            for name, metric in self.metrics.items()
        }
        if wording is not None:
            weighted |= {(CUE, name): metric(wording) for name, metric in ANSWER_METRICS.items()}
        self.samples = resample(weighted, probe.clusters, SEED, draws)
        self.estimates = {(arm, name): self._estimate(arm, name) for arm, name in self.samples}

    def _estimate(self, arm: str, metric: str) -> Estimate:
        sample, n = self.samples[arm, metric], len(self.probe.ids)
        if metric in RATES:
            return proportion(sample, n)
        if metric in TEXT_RATES:
            return proportion(sample)
        if metric in SIGNAL:
            rates = (self.samples[arm, rate] for rate in ("true_acceptance", "rejection"))
            hit, rejected = (probit(rate, proportion(rate, n), n) for rate in rates)
            if metric == "d_prime":
                made = paired(hit, negative(rejected))
            else:
                double = paired(rejected, hit)
                made = Estimate(double.value / 2, double.low / 2, double.high / 2)
            # the mean of several seeds' d' is not quite the d' of their mean rates
            shift = sample.value - made.value
            return Estimate(sample.value, made.low + shift, made.high + shift)
        if metric == "calibration_error":  # a mean of distances grows with resampling: its draws lie too high
            sample = replace(sample, draws=np.clip(sample.draws - sample.draws.mean() + sample.value, 0, 1))
        return expanded(sample)

    def difference(self, arm: str, against: str, metric: str) -> Estimate:
        left, right = ((self.samples[one, metric], self.estimates[one, metric]) for one in (arm, against))
        return paired(left, right, np.inf if metric in SIGNAL else 1)

    def measures(self) -> list[dict[str, Any]]:
        rows = [
            self._row(arm, name, estimate)
            for (arm, name), estimate in self.estimates.items()
            if arm != CUE or self.probe.condition == PLAIN
        ]
        if self.probe.reading == VERDICT:
            once = np.ones((1, len(self.probe.ids)))
            for arm, scores in constant_judges(len(self.probe.ids)).items():
                for name, metric in self.metrics.items():
                    value = float(metric(scores)(once)[0])
                    rows.append(self._row(arm, name, Estimate(value, value, value)))
        return rows

    def _row(self, arm: str, metric: str, estimate: Estimate) -> dict[str, Any]:
        return heading(self.probe) | {
            "metric": metric,
            "arm": arm,
            "value": rounded(estimate.value),
            "interval": limits(estimate),
            "pairs": len(self.probe.ids),
            "clusters": self.clusters,
            "matched": self.probe.matched,
            "few": self.clusters < MIN_CLUSTERS,
        }

    def contrasts(self) -> list[dict[str, Any]]:
        rows = []
        for against in (BASE, PLACEBO, CONTROLS):
            if VACCINE not in self.scores or against not in self.scores:
                continue
            for metric in contrasted(self.probe):
                difference = self.difference(VACCINE, against, metric)
                rows.append(
                    heading(self.probe)
                    | {
                        "metric": metric,
                        "arm": VACCINE,
                        "against": against,
                        "difference": rounded(difference.value),
                        "interval": limits(difference),
                        "detectable": rounded(detectable(difference)),
                        "p": self._p(metric, VACCINE, against),
                        "p_holm": None,
                        "few": self.clusters < MIN_CLUSTERS,
                    }
                )
        return rows

    def _p(self, metric: str, arm: str, against: str) -> float | None:
        left, right = self.scores[arm], self.scores[against]
        if metric not in RATES or len(left) > 1 or len(right) > 1:
            return None
        return statistics.mcnemar(decisions(metric, left[0]), decisions(metric, right[0]), self.probe.clusters)


class ItemMeasures:
    """The mean of one probe of items, for each arm that has scores of it.

    Args:
        probe: the probe.
        arms: scores by arm.
        draws: of the bootstrap.
    """

    def __init__(self, probe: ItemProbe, arms: Mapping[str, Runs], draws: int) -> None:
        self.probe = probe
        self.clusters = len(set(probe.clusters))
        self.scores = by_arm(arms, probe.key, lambda run: run.items)
        self.counted = all(np.isin(scores, (0, 0.5, 1)).all() for runs in self.scores.values() for scores in runs)
        means = {arm: mean_of(np.mean(runs, axis=0)) for arm, runs in self.scores.items()}
        self.samples = resample(means, probe.clusters, SEED, draws)
        self.estimates = {
            arm: proportion(sample, len(probe.ids)) if self.counted else expanded(sample)
            for arm, sample in self.samples.items()
        }

    def difference(self, arm: str, against: str) -> Estimate:
        if self.counted:
            return paired(
                (self.samples[arm], self.estimates[arm]), (self.samples[against], self.estimates[against]), 1
            )
        return expanded(self.samples[arm] - self.samples[against])

    def measures(self) -> list[dict[str, Any]]:
        return [
            self._head()
            | {
                "arm": arm,
                "value": rounded(estimate.value),
                "interval": limits(estimate),
                "items": len(self.probe.ids),
                "few": self.clusters < MIN_CLUSTERS,
            }
            for arm, estimate in self.estimates.items()
        ]

    def contrasts(self) -> list[dict[str, Any]]:
        rows = []
        for against in (BASE, PLACEBO, CONTROLS):
            if VACCINE in self.scores and against in self.scores:
                difference = self.difference(VACCINE, against)
                rows.append(
                    self._head()
                    | {
                        "arm": VACCINE,
                        "against": against,
                        "difference": rounded(difference.value),
                        "interval": limits(difference),
                        "detectable": rounded(detectable(difference)),
                        "few": self.clusters < MIN_CLUSTERS,
                    }
                )
        return rows

    def _head(self) -> dict[str, Any]:
        probe = self.probe
        return {
            "name": probe.name,
            "kind": probe.kind,
            "metric": probe.metric,
            "better": probe.better,
            "of": probe.of,
        }


def by_arm(arms: Mapping[str, Runs], key: Any, of: Any) -> dict[str, list[Any]]:
    """By arm, its seeds' scores of a probe; arms without any are left out."""
    scores = {arm: [of(run)[key] for run in runs if key in of(run)] for arm, runs in arms.items()}
    return {arm: of_arm for arm, of_arm in scores.items() if of_arm}


def heading(probe: PairProbe) -> dict[str, Any]:
    """What the rows of a probe of pairs begin with."""
    return {"probe": probe.name, "reading": probe.reading, "condition": probe.condition}


def rounded(value: float) -> float:
    """A value to the 4 places that results have."""
    return round(float(value), 4) + 0.0  # no negative zero


def limits(estimate: Estimate) -> list[float]:
    """An interval to the 4 places that results have."""
    return [rounded(estimate.low), rounded(estimate.high)]
