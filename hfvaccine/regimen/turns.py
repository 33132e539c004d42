"""Whose turn it is: the order of the dose rows of one dose, or of several of which each has its own share. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hfvaccine.errors import PlanError

Ints = npt.NDArray[np.int64]


class Turns:
    """The order in which dose rows are given, as far as it is asked for; any beginning of it is always the same.

    The rows of one dose are given in order, each before any again. Of several doses, each goes round its own rows, and
    a row is due where half of it is owed, as in a plan: the next one is that which its dose's part of all dose tokens
    reaches the middle of first, of the first named dose where two are reached at once. So after every row each dose is
    within half a row of its own, and its part of half a row of each, of its part of the tokens so far.

    Args:
        weights: (rows,) what each dose row counts.
        dose_of: (rows,) the number of the dose that each row is of; None of one dose.
        shares: of each dose, in any measure.

    Raises:
        PlanError: for a dose that has a share and no rows.
    """

    def __init__(self, weights: Ints, dose_of: Ints | None = None, shares: Sequence[float] = ()) -> None:
        self._one = dose_of is None
        of = np.zeros(len(weights), np.int64) if dose_of is None else dose_of
        self._parts = parts(shares or [1.0])
        self._rows = [np.flatnonzero(of == number) for number in range(len(self._parts))]
        self._weights, self._order = weights, list[int]()
        self._given, self._turns = [0] * len(self._parts), [0] * len(self._parts)
        empty = [number for number, rows in enumerate(self._rows, start=1) if not len(rows)]
        if empty and not self._one:
            raise PlanError(f"Dose {empty[0]} of {len(self._rows)} has a share and no rows.", "Leave that dose out.")

    def first(self, count: int) -> Ints:
        """(count,) the first dose rows that are given; none where there are none."""
        if self._one:
            return np.arange(count if len(self._weights) else 0, dtype=np.int64) % max(1, len(self._weights))
        self._reach(count)
        return np.array(self._order[:count], dtype=np.int64)

    def row(self, place: int) -> int:
        """The dose row that is given after `place` others."""
        if self._one:
            return place % len(self._weights)
        self._reach(place + 1)
        return self._order[place]

    def adds(self, values: npt.NDArray[np.float64]) -> float:
        """What a token of the dose brings along on the average, each dose by its part.

        Args:
            values: (rows,) what each dose row brings along.
        """
        its = zip(self._parts, self._rows, strict=True)
        return float(sum(part * values[rows].sum() / self._weights[rows].sum() for part, rows in its))

    def _reach(self, count: int) -> None:
        """Have the order of so many rows."""
        while len(self._order) < count:
            self._order.append(self._next())

    def _next(self) -> int:
        its = [int(rows[turn % len(rows)]) for rows, turn in zip(self._rows, self._turns, strict=True)]
        halves = [given + int(self._weights[row]) / 2 for given, row in zip(self._given, its, strict=True)]
        due = [half / part for half, part in zip(halves, self._parts, strict=True)]
        number = due.index(min(due))
        self._given[number] += int(self._weights[its[number]])
        self._turns[number] += 1
        return its[number]


def parts(shares: Sequence[float]) -> list[float]:
    """Of several doses, the part that each is of all of them together."""
    return [share / math.fsum(shares) for share in shares]
