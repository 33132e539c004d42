"""The metrics of each probe for each arm, with intervals, and the differences between arms. Pure, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Generic, TypeVar

import numpy as np

from hfvaccine import statistics
from hfvaccine.statistics import (
    MIN_CLUSTERS,
    Estimate,
    Sample,
    detectable,
    expanded,
    mean_of,
    negative,
    paired,
    probit,
    proportion,
    resample,
    rounded,
)
from hfvaccine.validation.judging.calibration import bias
from hfvaccine.validation.judging.metrics import (
    AREA,
    AT_CONTROL,
    CALIBRATED,
    DISTANCE,
    MEAN,
    RATE,
    SIGNAL,
    acceptance_at,
    constant_judges,
    decisions,
    false_acceptance,
    metrics_of,
    over_seeds,
    shifted,
)
from hfvaccine.validation.scores import (
    ANSWER,
    BASE,
    CALIBRATION,
    CONTROLS,
    CUE,
    PARENT,
    PLACEBO,
    PLAIN,
    VACCINE,
    VERDICTS,
    ItemProbe,
    PairProbe,
    PairScores,
    Runs,
)

CONTRASTED = (
    *("auroc", "pair_accuracy", "true_acceptance", "rejection", "balanced_accuracy", "d_prime", "criterion"),
    *metrics_of(VERDICTS[0], calibrated=True),
)
"""Metrics of pairs by which arms are compared, in the order of the results."""
SEED = 0
"""Of the bootstrap; one seed pairs the draws of all arms."""

Probe = TypeVar("Probe", bound=PairProbe | ItemProbe)


def contrasted(probe: PairProbe | ItemProbe) -> list[str]:
    """The metrics by which arms are compared on a probe, those of calibrated scores where there are any."""
    if isinstance(probe, ItemProbe):
        return [probe.metric]
    # Which of two unrelated statements scores higher says little.
    left_out = "pair_accuracy" if probe.matched else ""
    known = metrics_of(probe.reading) | metrics_of(probe.reading, calibrated=True)
    return [name for name in CONTRASTED if name in known and name != left_out]


class Measures(Generic[Probe]):
    """The metrics of one probe, for each arm that has scores of it: several of pairs, the mean of items.

    Args:
        probe: the probe.
        arms: scores by arm.
        draws: of the bootstrap.
        wording: what a judge that knows only the wording of the pairs scores; None where none was asked.
    """

    def __init__(self, probe: Probe, arms: Mapping[str, Runs], draws: int, wording: PairScores | None = None) -> None:
        self.probe = probe
        self.draws = draws
        self.clusters = len(set(probe.clusters))
        self.scores = by_arm(arms, probe)
        self.calibrated: dict[str, list[PairScores]] = {}
        if isinstance(probe, PairProbe):
            self.calibrated = _calibrated(arms, probe)
            metrics = metrics_of(probe.reading) | metrics_of(probe.reading, calibrated=True)
            self.kinds = {name: metric.kind for name, metric in metrics.items()}
            weighted = {
                (arm, name): over_seeds([metric.of(scores) for scores in runs])
                for calibrated, by in ((False, self.scores), (True, self.calibrated))
                for arm, runs in by.items()
                for name, metric in metrics_of(probe.reading, calibrated).items()
            }
            if wording is not None:
                weighted |= {(CUE, name): metric.of(wording) for name, metric in metrics_of(ANSWER).items()}
        else:
            counted = all(np.isin(scores, (0, 0.5, 1)).all() for runs in self.scores.values() for scores in runs)
            self.kinds = {probe.metric: RATE if counted else MEAN}
            weighted = {(arm, probe.metric): mean_of(np.mean(runs, axis=0)) for arm, runs in self.scores.items()}
        self.samples = resample(weighted, probe.clusters, SEED, draws)
        self.estimates = {(arm, name): self._estimate(arm, name) for arm, name in self.samples}

    def _estimate(self, arm: str, metric: str) -> Estimate:
        sample, n, kind = self.samples[arm, metric], len(self.probe.ids), self.kinds[metric]
        if kind == RATE:
            return proportion(sample, n)
        if kind == AREA:
            return proportion(sample)
        if kind == SIGNAL:
            begin = CALIBRATED * metric.startswith(CALIBRATED)
            rates = (self.samples[arm, begin + rate] for rate in ("true_acceptance", "rejection"))
            hit, rejected = (probit(rate, proportion(rate, n), n) for rate in rates)
            if metric == "d_prime":
                made = paired(hit, negative(rejected))
            else:
                double = paired(rejected, hit)
                made = Estimate(double.value / 2, double.low / 2, double.high / 2)
            # the mean of several seeds' d' is not quite the d' of their mean rates
            shift = sample.value - made.value
            return Estimate(sample.value, made.low + shift, made.high + shift)
        if kind == DISTANCE:  # a mean of distances grows with resampling: its draws lie too high
            sample = replace(sample, draws=np.clip(sample.draws - sample.draws.mean() + sample.value, 0, 1))
        return expanded(sample)

    def difference(self, arm: str, against: str, metric: str) -> Estimate:
        """How much more of a metric one arm has than another, on the same items."""
        left, right = ((self.samples[one, metric], self.estimates[one, metric]) for one in (arm, against))
        return between(left, right, self.kinds[metric])

    def at_control(self, arm: str, against: str) -> Estimate:
        """How many more twins one arm accepts than another, at a threshold at which it accepts as many claims."""
        runs, others = (self.scores[one] for one in (arm, against))
        accepted = over_seeds([false_acceptance(scores) for scores in others])
        point = over_seeds([acceptance_at(scores, accepted) for scores in runs])
        sample = resample({AT_CONTROL: point}, self.probe.clusters, SEED, self.draws)[AT_CONTROL]
        own = (self.samples[against, "true_acceptance"], self.estimates[against, "true_acceptance"])
        return between((sample, proportion(sample)), own, AREA)

    def measures(self) -> list[dict[str, Any]]:
        """A row for each arm and metric, and for judges that say the same to everything."""
        probe = self.probe
        estimates = {
            (arm, name): estimate
            for (arm, name), estimate in self.estimates.items()
            if arm != CUE or (isinstance(probe, PairProbe) and probe.condition == PLAIN)
        }
        if isinstance(probe, PairProbe) and probe.reading in VERDICTS:
            once = np.ones((1, len(probe.ids)))
            for arm, scores in constant_judges(len(probe.ids)).items():
                for name, metric in metrics_of(probe.reading).items():
                    value = float(metric.of(scores)(once)[0])
                    estimates[arm, name] = Estimate(value, value, value)
        size: dict[str, Any] = {"items": len(probe.ids)}
        if isinstance(probe, PairProbe):
            size = {"pairs": len(probe.ids), "clusters": self.clusters, "matched": probe.matched}
        return [
            heading(probe)
            | {"metric": metric, "arm": arm, **estimate.record(), **size, "few": self.clusters < MIN_CLUSTERS}
            for (arm, metric), estimate in estimates.items()
        ]

    def contrasts(self) -> list[dict[str, Any]]:
        """A row for each metric by which the vaccine is held against another arm."""
        rows: list[dict[str, Any]] = []
        if self.probe.name == CALIBRATION:  # an instrument, not a result
            return rows
        for against in (BASE, PLACEBO, CONTROLS, PARENT):
            if VACCINE not in self.scores or against not in self.scores:
                continue
            metrics = [m for m in contrasted(self.probe) if {(VACCINE, m), (against, m)} <= set(self.samples)]
            found = {metric: self.difference(VACCINE, against, metric) for metric in metrics}
            if isinstance(self.probe, PairProbe) and self.probe.reading in VERDICTS and self.probe.condition == PLAIN:
                found[AT_CONTROL] = self.at_control(VACCINE, against)
            for metric, difference in found.items():
                test = {"p": self._p(metric, against), "p_holm": None} if isinstance(self.probe, PairProbe) else {}
                rows.append(
                    heading(self.probe)
                    | {"metric": metric, "arm": VACCINE, "against": against}
                    | {**shown(difference), **test}
                    | {"few": self.clusters < MIN_CLUSTERS}
                )
        return rows

    def _p(self, metric: str, against: str) -> float | None:
        scores = self.calibrated if metric.startswith(CALIBRATED) else self.scores
        if self.kinds.get(metric) != RATE:
            return None
        left, right = scores[VACCINE], scores[against]
        if len(left) > 1 or len(right) > 1:
            return None
        return statistics.mcnemar(decisions(metric, left[0]), decisions(metric, right[0]), self.probe.clusters)


def between(left: tuple[Sample, Estimate], right: tuple[Sample, Estimate], kind: str) -> Estimate:
    """The difference of two arms' values of one kind of metric, with the interval that this kind has."""
    if kind in (RATE, AREA):
        return paired(left, right, 1)
    return paired(left, right) if kind == SIGNAL else expanded(left[0] - right[0])


def shown(difference: Estimate) -> dict[str, Any]:
    """A difference as rows of the results have it."""
    record = difference.record()
    return {
        "difference": record["value"],
        "interval": record["interval"],
        "detectable": rounded(detectable(difference)),
    }


def by_arm(arms: Mapping[str, Runs], probe: PairProbe | ItemProbe) -> dict[str, list[Any]]:
    """By arm, its seeds' scores of a probe; arms without any are left out."""
    key: Any = probe.key
    of = "pairs" if isinstance(probe, PairProbe) else "items"
    scores = {arm: [getattr(run, of)[key] for run in runs if key in getattr(run, of)] for arm, runs in arms.items()}
    return {arm: of_arm for arm, of_arm in scores.items() if of_arm}


def _calibrated(arms: Mapping[str, Runs], probe: PairProbe) -> dict[str, list[PairScores]]:
    """By arm, its seeds' scores less their bias; arms that lack a calibration of some seed are left out."""
    found: dict[str, list[PairScores]] = {}
    for arm, runs in arms.items() if probe.reading in VERDICTS and probe.name != CALIBRATION else ():
        asked = [(run.pairs[probe.key], bias(run, probe.reading)) for run in runs if probe.key in run.pairs]
        its = [shifted(scores, of_run) for scores, of_run in asked if of_run is not None]
        if its and len(its) == len(asked):
            found[arm] = its
    return found


def heading(probe: PairProbe | ItemProbe) -> dict[str, Any]:
    """What a row of a probe begins with."""
    if isinstance(probe, PairProbe):
        return {"probe": probe.name, "reading": probe.reading, "condition": probe.condition}
    return {"name": probe.name, "kind": probe.kind, "metric": probe.metric, "better": probe.better, "of": probe.of}
