"""Schedules: how the share of the dose runs over the training, as functions of progress.

Each built-in schedule has mean 1 over the run, so that the share asked for is
the share of the whole run whatever its shape. A function of your own gives the
share times its mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hfvaccine.errors import UsageError

Schedule = Callable[[float], float]
"""Progress in [0, 1] -> factor on the share."""

Floats = npt.NDArray[np.float64]

CELLS = 2**14
"""Progress is tabulated in so many cells."""


def constant(progress: float) -> float:
    """The same share throughout."""
    return 1.0


def ramp(progress: float) -> float:
    """From nothing to twice the share."""
    return 2.0 * progress


def taper(progress: float) -> float:
    """From twice the share to nothing."""
    return 2.0 * (1.0 - progress)


def front_loaded(progress: float) -> float:
    """Twice the share in the first half, none in the second."""
    return 2.0 if progress < 0.5 else 0.0


@dataclass(frozen=True)
class Pulses:
    """A run of whole periods, each with the dose in its first part only.

    Args:
        periods: how many the run has.
        duty: part of each period in which the dose is given.
    """

    periods: int
    duty: float

    def __call__(self, progress: float) -> float:
        return 1.0 / self.duty if progress * self.periods % 1.0 < self.duty else 0.0

    @property
    def edges(self) -> Floats:
        """(2 x periods,) the progress at which the factor jumps."""
        starts = np.arange(self.periods)
        return np.sort(np.concatenate([starts, starts + self.duty])) / self.periods


@dataclass(frozen=True)
class Pulsed:
    """The dose at intervals: a pulse every so many steps. It becomes a schedule when the run's steps are known.

    Args:
        every: steps from one pulse to the next.
        duty: part of that time in which the dose is given, at 1 / duty times the share.

    Raises:
        UsageError: for a value out of its range.
    """

    every: int = 20
    duty: float = 0.25

    def __post_init__(self) -> None:
        if self.every < 1 or not 0 < self.duty <= 1:
            raise UsageError(
                f"A pulse every {self.every} steps for {self.duty} of the time is impossible.",
                'Give "pulsed:N" with N steps, at least 1, and a duty in (0, 1].',
            )

    def over(self, steps: int) -> Pulses:
        """The schedule of a run of `steps` steps: whole periods, as near to `every` steps as that allows."""
        return Pulses(max(1, round(steps / self.every)), self.duty)


SCHEDULES: dict[str, Schedule | Pulsed] = {
    "constant": constant,
    "ramp": ramp,
    "taper": taper,
    "front_loaded": front_loaded,
    "pulsed": Pulsed(),
}


def named(schedule: str | Schedule | Pulsed) -> tuple[str, Schedule | Pulsed]:
    """A schedule and the name it is recorded under.

    Args:
        schedule: built-in name, "pulsed:N" for a pulse every N steps, or a function of progress.

    Raises:
        UsageError: for a name that is not a built-in schedule.
    """
    if isinstance(schedule, Pulsed):
        return f"pulsed:{schedule.every}" + (f" for {schedule.duty:g}" if schedule.duty != 0.25 else ""), schedule
    if callable(schedule):
        return getattr(schedule, "__name__", repr(schedule)), schedule
    if schedule in SCHEDULES:
        return schedule, SCHEDULES[schedule]
    kind, _, steps = schedule.partition(":")
    if kind == "pulsed" and steps.isascii() and steps.isdigit():
        return schedule, Pulsed(int(steps))
    raise UsageError(f"There is no schedule {schedule!r}.", f"Use one of: {', '.join(SCHEDULES)}, pulsed:N.")


def over(schedule: Schedule | Pulsed, steps: int) -> Schedule:
    """The schedule of a run of `steps` steps, as a function of progress."""
    return schedule.over(steps) if isinstance(schedule, Pulsed) else schedule


class Curve:
    """A schedule added up over the run, as a table.

    Args:
        schedule: function of progress.

    Attributes:
        progress: (cells + 1,) from 0 to 1.
        integral: (cells + 1,) of the factor from 0 to each progress.
        mean: of the factor over the run.
        peak: the greatest factor.
        even: whether the factor never changes.

    Raises:
        UsageError: for a factor that is negative or not finite.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.progress = np.linspace(0.0, 1.0, CELLS + 1)
        if isinstance(schedule, Pulses):  # a jump within a cell would blur the mean
            self.progress = np.union1d(self.progress, schedule.edges)
        middle = (self.progress[1:] + self.progress[:-1]) / 2
        at = [0.0, *middle.tolist(), 1.0]
        factors = np.array([schedule(p) for p in at], dtype=np.float64)
        wrong = np.flatnonzero(~(np.isfinite(factors) & (factors >= 0)))
        if len(wrong):
            raise UsageError(
                f"At progress {at[wrong[0]]:g} the schedule gives the factor {factors[wrong[0]]}.",
                "Let it return a number that is 0 or more for every progress in [0, 1].",
            )
        self.integral = np.concatenate([[0.0], np.cumsum(factors[1:-1] * np.diff(self.progress))])
        self.peak = float(factors.max())
        self.even = bool(factors.min() == self.peak)
        self.mean = self.peak if self.even else float(self.integral[-1])
