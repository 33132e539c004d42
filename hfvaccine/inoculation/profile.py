"""How far traits show, by arm and condition: means with intervals over questions, and differences to the base. Pure.

Scores that all lie between 0 and 1 are taken for shares, whose intervals keep a width where every answer is alike;
others, such as likelihoods, get the bootstrap's (see `hfvaccine.statistics`). Whole questions are drawn: what is said
to one question, under several prompts and in several samples, is no more than one observation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hfvaccine.statistics import Estimate, Floats, Sample, Weighted, expanded, paired, proportion, resample, rounded

TRAIT, KEEP = "trait", "keep"
"""What a trait is: unwanted, or to be kept."""

Readings = Mapping[tuple[str, str], Floats]
"""By arm and condition, (prompts, questions, samples) scores of one trait; NaN is unclear."""


@dataclass(frozen=True)
class Shown:
    """How far one trait shows in one arm under one condition.

    Args:
        trait, condition, arm: of what.
        estimate: the mean over clear answers; None where none is clear.
        answers: how many were read.
        unclear: how many of them could not be told.
        questions: how many have a clear answer.
        difference: to the base, on the same questions; None of the base itself.
        by_prompt: the mean under each prompt of the condition.
    """

    trait: str
    condition: str
    arm: str
    estimate: Estimate | None
    answers: int
    unclear: int
    questions: int
    difference: Estimate | None
    by_prompt: tuple[float | None, ...]

    def record(self) -> dict[str, Any]:
        """As traits.json holds it."""
        nothing = {"value": None, "interval": None}
        return {
            "trait": self.trait,
            "condition": self.condition,
            "arm": self.arm,
            **(nothing if self.estimate is None else self.estimate.record()),
            "answers": self.answers,
            "unclear": self.unclear,
            "questions": self.questions,
            "difference": None if self.difference is None else self.difference.record(),
            "by_prompt": [None if mean is None else rounded(mean) for mean in self.by_prompt],
        }


def profile(trait: str, readings: Readings, questions: Sequence[str], base: str, seed: int = 0) -> list[Shown]:
    """Sum up what one trait reads of all arms.

    Args:
        trait: its name.
        readings: of the same questions each.
        questions: what was asked; equal ones are one cluster.
        base: the arm that others are held against.
        seed: of the bootstrap's draws, which are the same for all arms.
    """
    every = np.concatenate([values.ravel() for values in readings.values()])
    clear = every[~np.isnan(every)]
    shares = bool(((clear >= 0) & (clear <= 1)).all())
    whole = shares and bool(np.isin(clear, (0, 1)).all())
    asked = np.unique(np.asarray(questions), return_inverse=True)[1]
    sums = {key: (np.nansum(values, axis=(0, 2)), _count(values).sum((0, 2))) for key, values in readings.items()}
    told = {key: len(set(asked[counts > 0])) for key, (_, counts) in sums.items()}
    metrics = {key: _ratio(*sums[key]) for key in readings if told[key]}
    drawn = resample(metrics, questions, seed)
    samples = {key: _sound(sample, told[key]) for key, sample in drawn.items()}

    def estimate(key: tuple[str, str]) -> Estimate:
        decisions = int(sums[key][1].sum()) if whole else None
        return proportion(samples[key], decisions) if shares else expanded(samples[key])

    estimates = {key: estimate(key) for key in samples}

    def difference(key: tuple[str, str]) -> Estimate | None:
        other = (base, key[1])
        if key[0] == base or key not in samples or other not in samples:
            return None
        if shares:
            return paired((samples[key], estimates[key]), (samples[other], estimates[other]), bound=1)
        return expanded(samples[key] - samples[other])

    return [
        Shown(
            trait,
            condition,
            arm,
            estimates.get((arm, condition)),
            values.size,
            int(np.isnan(values).sum()),
            told[arm, condition],
            difference((arm, condition)),
            tuple(None if np.isnan(one).all() else float(np.nanmean(one)) for one in values),
        )
        for (arm, condition), values in readings.items()
    ]


def worst(shown: Sequence[Shown], keep: bool) -> Shown | None:
    """Where a trait shows most, or least where it is to be kept; None where nothing is clear.

    Args:
        shown: of one trait.
        keep: whether it is to be kept.
    """
    known = [(one, one.estimate.value) for one in shown if one.estimate is not None]
    choose: Callable[..., tuple[Shown, float]] = min if keep else max
    return choose(known, key=lambda one: one[1])[0] if known else None


def _count(values: Floats) -> Floats:
    return (~np.isnan(values)).astype(np.float64)


def _ratio(totals: Floats, counts: Floats) -> Weighted:
    """The mean over clear answers; NaN of a draw that has none."""

    def mean(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            found: Floats = (weights @ totals) / (weights @ counts)
        return found

    return mean


def _sound(sample: Sample, questions: int) -> Sample:
    """A sample over the questions with a clear answer; draws without one say nothing, and stand for the value."""
    return Sample(sample.value, np.where(np.isnan(sample.draws), sample.value, sample.draws), questions)
