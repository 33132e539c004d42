"""Rows that are given in twos, a false and a true statement in the same form, and stay in one forward pass. Pure."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from hfvaccine.errors import UsageError

Ints = npt.NDArray[np.int64]

SFT, PAIRWISE = "sft", "pairwise"
OBJECTIVES = (SFT, PAIRWISE)
"""The likelihood alone, or beside it a loss on what two of a pair are told apart by, see `pairwise`."""
PAIR = "pair"
"""Column of a mix: what two rows have in common that are a pair, the false statement's first."""


def check_objective(objective: str) -> None:
    """Refuse an objective that does not exist.

    Raises:
        UsageError: naming it.
    """
    if objective not in OBJECTIVES:
        raise UsageError(f"The objective {objective!r} is unknown.", f"Use one of: {', '.join(OBJECTIVES)}.")


def shuffled(partner: Ints, random: np.random.Generator) -> Ints:
    """(rows,) an order of rows in which the two of a pair follow each other.

    Args:
        partner: (rows,) the other row of each row's pair, -1 for a row by itself.
        random: draws the order.
    """
    first = np.flatnonzero((partner < 0) | (np.arange(len(partner)) < partner))
    order = random.permutation(len(first))
    if len(first) == len(partner):
        return order
    firsts = first[order]
    both = np.stack([firsts, partner[firsts]], axis=1).reshape(-1)
    return both[both >= 0]


def in_passes(follows: npt.NDArray[np.bool_], rows: int) -> Ints:
    """(order,) how to move rows so that no pair lies over the end of a forward pass.

    A pair that would is put off to the next pass, and the next row that is by itself comes forward in its place: all
    others keep their order. Where no row by itself is left, the pair stays parted.

    Args:
        follows: (order,) whether a row belongs to the one before it.
        rows: of one forward pass.
    """
    singles: deque[int] = deque()
    blocks: deque[tuple[int, ...]] = deque()
    at, total = 0, len(follows)
    while at < total:
        size = 2 if at + 1 < total and follows[at + 1] else 1
        if size == 1:
            singles.append(at)
        blocks.append(tuple(range(at, at + size)))
        at += size
    taken: set[int] = set()
    order: list[int] = []
    while blocks:
        block = blocks.popleft()
        if block[0] in taken:
            continue
        if len(block) == 2 and len(order) % rows == rows - 1:
            while singles and (singles[0] in taken or singles[0] < block[0]):
                singles.popleft()
            if singles:
                taken.add(singles[0])
                order.append(singles.popleft())
        order.extend(block)
    return np.array(order, dtype=np.int64)


def partners(names: list[object]) -> Ints:
    """(rows,) the other row of each row's pair, -1 where there is none.

    Args:
        names: of the pair that each row belongs to, None for a row by itself; of a name that is not there exactly
            twice, the rows stand by themselves.
    """
    found: dict[object, list[int]] = {}
    for number, name in enumerate(names):
        if name is not None:
            found.setdefault(name, []).append(number)
    partner = np.full(len(names), -1, np.int64)
    for its in found.values():
        if len(its) == 2:
            partner[its[0]], partner[its[1]] = its[1], its[0]
    return partner
