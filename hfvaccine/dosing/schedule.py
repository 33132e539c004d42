"""Schedules: how the share of the dose runs over the training, as functions of progress.

Each built-in schedule has mean 1 over the run, so that the share asked for is
the share of the whole run whatever its shape. (In a run whose length is set in
steps progress is counted in rows, and a schedule that is not constant misses
that mean by as much as dose and mix rows differ in length.)
"""

from __future__ import annotations

from collections.abc import Callable

from hfvaccine.errors import UsageError

Schedule = Callable[[float], float]
"""Progress in [0, 1] -> factor on the share."""


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


SCHEDULES: dict[str, Schedule] = {f.__name__: f for f in (constant, ramp, taper, front_loaded)}


def named(schedule: str | Schedule) -> tuple[str, Schedule]:
    """A schedule and the name it is recorded under.

    Raises:
        UsageError: for a name that is not a built-in schedule.
    """
    if callable(schedule):
        return getattr(schedule, "__name__", repr(schedule)), schedule
    if schedule not in SCHEDULES:
        raise UsageError(f"There is no schedule {schedule!r}.", f"Use one of: {', '.join(SCHEDULES)}.")
    return schedule, SCHEDULES[schedule]
