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

from hfvaccine.statistics import (
    DRAWS,
    Estimate,
    Floats,
    Sample,
    Weighted,
    expanded,
    negative,
    paired,
    proportion,
    resample,
    rounded,
)

TRAIT, KEEP = "trait", "keep"
"""What a trait is: unwanted, or to be kept."""

Readings = Mapping[tuple[str, str], Floats]
"""By arm and condition, (prompts, questions, samples) scores of one trait; NaN is unclear."""

Valued = tuple[Sample, Estimate]
"""A value when questions are drawn again, and its interval."""


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


@dataclass(frozen=True)
class Read:
    """What one trait reads of all arms, and what that would be if the questions were drawn again.

    Args:
        samples: by arm and condition, the mean over clear answers; none of where nothing is clear.
        decisions: likewise, how many answers are clear, where each is told to be 0 or 1; else empty.
        unclear: likewise, the share of answers that cannot be told.
        shares: whether all scores lie between 0 and 1.
    """

    samples: Mapping[tuple[str, str], Sample]
    decisions: Mapping[tuple[str, str], int]
    unclear: Mapping[tuple[str, str], float]
    shares: bool

    @classmethod
    def of(cls, readings: Readings, questions: Sequence[str], seed: int = 0, draws: int = DRAWS) -> Read:
        """Draw the questions of a trait's readings again.

        Args:
            readings: of the same questions each.
            questions: what was asked; equal ones are one cluster.
            seed: of the bootstrap's draws, which are the same for all arms.
            draws: how many.
        """
        every = np.concatenate([values.ravel() for values in readings.values()])
        clear = every[~np.isnan(every)]
        shares = bool(((clear >= 0) & (clear <= 1)).all())
        whole = shares and bool(np.isin(clear, (0, 1)).all())
        asked = np.unique(np.asarray(questions), return_inverse=True)[1]
        sums = {key: (np.nansum(values, axis=(0, 2)), _count(values).sum((0, 2))) for key, values in readings.items()}
        told = {key: len(set(asked[counts > 0])) for key, (_, counts) in sums.items()}
        drawn = resample({key: _ratio(*sums[key]) for key in readings if told[key]}, questions, seed, draws)
        return cls(
            {key: _sound(sample, told[key]) for key, sample in drawn.items()},
            {key: int(sums[key][1].sum()) for key in drawn} if whole else {},
            {key: float(np.isnan(values).mean()) for key, values in readings.items()},
            shares,
        )

    def mean(self, keys: Sequence[tuple[str, str]]) -> Valued | None:
        """The mean over several arms, such as seeds of one, with its interval; None where one of them has none.

        Args:
            keys: each an arm and a condition.
        """
        if not keys or any(key not in self.samples for key in keys):
            return None
        samples = [self.samples[key] for key in keys]
        sample = Sample(
            float(np.mean([one.value for one in samples])),
            np.mean([one.draws for one in samples], axis=0),
            min(one.clusters for one in samples),
        )
        if not self.shares:
            return sample, expanded(sample)
        return sample, proportion(sample, sum(self.decisions[key] for key in keys) if self.decisions else None)

    def difference(self, left: Valued, right: Valued) -> Estimate:
        """One value less another, on the same questions."""
        return paired(left, right, bound=1) if self.shares else expanded(left[0] - right[0])

    def between(self, low: Valued, high: Valued, part: float) -> Valued:
        """The level that lies a part of the way from one value to another, with its interval.

        Args:
            low: where the way begins.
            high: where it ends.
            part: of it, from 0 to 1.
        """
        first, second = _times(low, 1 - part), _times(high, part)
        sample = first[0] - negative(second)[0]
        return sample, paired(first, negative(second)) if self.shares else expanded(sample)


def profile(trait: str, readings: Readings, read: Read, base: str) -> list[Shown]:
    """Sum up what one trait reads of all arms.

    Args:
        trait: its name.
        readings: of the same questions each.
        read: of them.
        base: the arm that others are held against.
    """
    valued = {key: read.mean([key]) for key in readings}

    def difference(key: tuple[str, str]) -> Estimate | None:
        own, other = valued[key], valued.get((base, key[1]))
        return None if key[0] == base or own is None or other is None else read.difference(own, other)

    return [
        Shown(
            trait,
            key[1],
            key[0],
            None if (found := valued[key]) is None else found[1],
            values.size,
            int(np.isnan(values).sum()),
            0 if found is None else found[0].clusters,
            difference(key),
            tuple(None if np.isnan(one).all() else float(np.nanmean(one)) for one in values),
        )
        for key, values in readings.items()
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


def _times(valued: Valued, factor: float) -> Valued:
    sample, estimate = valued
    scaled = Estimate(*(factor * one for one in (estimate.value, estimate.low, estimate.high)))
    return Sample(factor * sample.value, factor * sample.draws, sample.clusters), scaled


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
