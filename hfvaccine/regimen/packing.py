"""Packing: whole rows put together into packs of limited length, step by step in their order. Pure."""

from __future__ import annotations

from bisect import bisect_left, insort

import numpy as np

from hfvaccine.errors import PlanError
from hfvaccine.regimen.lengths import Counts, Ints


def pack(lengths: Counts, capacity: int, packs_per_step: int, steps: int | None = None) -> tuple[Ints, Ints]:
    """Cut rows in their order into steps of packs.

    Each step takes the longest stretch of the rows that follow which
    best-fit-decreasing puts into its packs. A row is never split, and a pack
    never empty.

    Args:
        lengths: (rows,) tokens of each row, in the order in which rows are due.
        capacity: tokens that a pack holds at most.
        packs_per_step: packs of each step.
        steps: how many steps to make, each with rows in all of its packs even where the last ones
            have to be left half empty for it; as many as the rows fill if not given.

    Returns:
        (steps + 1,) the row at which each step begins, the last one being the first row that no step
        took; and the running number of the pack of each row that was taken.

    Raises:
        PlanError: for a row that is longer than a pack, or too few rows for the steps.
    """
    if len(lengths) and int(lengths.max()) > capacity:
        raise PlanError(
            f"Row {int(lengths.argmax())} has {int(lengths.max())} tokens, a pack {capacity}.",
            "A row is never split: pack to a greater length, or drop the row.",
        )
    if len(lengths) < packs_per_step * (1 if steps is None else steps):
        raise PlanError(
            f"{len(lengths)} rows cannot fill {packs_per_step} packs in each of {steps or 1} steps.",
            "Train for fewer steps, or with fewer packs in a step.",
        )
    tokens = lengths.tolist()
    so_far = np.cumsum(lengths)
    starts, packs = [0], [np.zeros(0, np.int64)]
    while steps is None or len(starts) <= steps:
        start = starts[-1]
        last = len(tokens)
        if steps is not None:  # a row for each pack still to come
            last -= (steps - len(starts)) * packs_per_step
        if last - start < packs_per_step:
            break
        room = capacity * packs_per_step + (int(so_far[start - 1]) if start else 0)
        end = min(last, int(np.searchsorted(so_far, room, side="right")))
        fitted = None
        while fitted is None:  # ends at the latest with one row a pack
            fitted = _best_fit(tokens[start:end], capacity, packs_per_step)
            end -= fitted is None
        packs.append(np.array(fitted, dtype=np.int64) + (len(starts) - 1) * packs_per_step)
        starts.append(end)
    return np.array(starts, dtype=np.int64), np.concatenate(packs)


def _best_fit(lengths: list[int], capacity: int, packs: int) -> list[int] | None:
    """The pack of each row, or None if they do not fit; rows are at least as many as packs.

    The longest rows go first, each into the fullest pack that still holds it.
    """
    longest_first = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    for seeds in (0, packs):  # where packs stay empty, once more with one of the longest rows in each
        number = [0] * len(lengths)
        for at in range(seeds):
            number[longest_first[at]] = at
        free = sorted((capacity - lengths[longest_first[at]] if at < seeds else capacity, at) for at in range(packs))
        for row in longest_first[seeds:]:
            found = bisect_left(free, (lengths[row], -1))
            if found == packs:
                return None
            left, at = free.pop(found)
            number[row] = at
            insort(free, (left - lengths[row], at))
        if free[-1][0] < capacity:
            return number
    raise AssertionError("a seeded pack is not empty")
