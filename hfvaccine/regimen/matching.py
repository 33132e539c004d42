"""Matching: a plan of a number of tokens to within a row, so that a control arm is given what the vaccine was. Pure.

A plan has whole steps, and so can be off by most of one. What the steps leave is made up at the end of the run, with
rows of the mix that are shorter or longer than those that stand there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hfvaccine.regimen.lengths import Ints, Lengths
from hfvaccine.regimen.plan import MIX, Plan


def match(plan_of: Callable[..., Plan], mix: Lengths, tokens: int, partner: Ints | None = None) -> Plan:
    """A plan of so many tokens, as near as the mix allows.

    Of the two numbers of whole steps around it the nearer one is taken. Then rows of the mix are exchanged, from the
    last one on, for rows that the last pass over the mix has not reached, and where these are not enough for any.
    Packs, which need not be full, lose rows instead. A mix whose rows are all of one length has none to exchange:
    then the plan is off by up to half a step.

    Args:
        plan_of: plans a run of so many `tokens` or `steps`, see `make_plan`.
        mix: lengths of the rows of the mix.
        tokens: of the whole run.
        partner: (mix rows,) the other row of each mix row's pair, -1 for none; rows of a pair stay where they are.
    """
    alone = np.ones(len(mix), dtype=bool) if partner is None else partner < 0
    plan = plan_of(tokens=tokens)
    if plan.pack is not None:
        return _without(plan, _over(plan, tokens), alone)
    if plan.steps > 1:
        plan = min(plan, plan_of(steps=plan.steps - 1), key=lambda its: abs(_over(its, tokens)))
    index, of_mix, over = plan.index.copy(), plan.kind == MIX, _over(plan, tokens)
    times = np.bincount(index[of_mix], minlength=len(mix))
    places = _places(plan, alone)
    for pool in (np.flatnonzero(alone & (times < times.max())), np.flatnonzero(alone)):
        if abs(over) >= mix.tokens.min():
            over = _exchange(index, places, pool, mix.tokens, over)
    given, supervised = plan.tokens.copy(), plan.supervised.copy()
    given[of_mix], supervised[of_mix] = mix.tokens[index[of_mix]], mix.supervised[index[of_mix]]
    return replace(plan, index=index, tokens=given, supervised=supervised)


def _places(plan: Plan, alone: npt.NDArray[np.bool_]) -> Ints:
    """Where rows of the mix stand by themselves, the last first."""
    places = np.flatnonzero(plan.kind == MIX)[::-1]
    return places[alone[plan.index[places]]]


def _over(plan: Plan, tokens: int) -> int:
    return int(plan.tokens.sum()) - tokens


def _exchange(index: Ints, places: Ints, pool: Ints, lengths: Ints, over: int) -> int:
    """Exchange rows until no token is left over; how many are.

    Args:
        index: (rows,) of the run, which is changed.
        places: of the run, at which rows may be exchanged, in the order in which they are.
        pool: rows of the mix to take instead, each once.
        lengths: (mix rows,) their tokens.
        over: tokens to lose; below 0, to gain.
    """
    free = sorted((int(lengths[row]), int(row)) for row in pool)
    for place in places:
        if over == 0 or not free:
            break
        length = int(lengths[index[place]])
        at = bisect_left(free, (length - over, -1))
        best = min(range(max(at - 1, 0), min(at + 1, len(free))), key=lambda n: abs(over - length + free[n][0]))
        left = over - length + free[best][0]
        if abs(left) < abs(over):
            over, index[place] = left, free.pop(best)[1]
    return over


def _without(plan: Plan, over: int, alone: npt.NDArray[np.bool_]) -> Plan:
    """A packed plan without the last rows of the mix that together have at most so many tokens; no pack is emptied."""
    assert plan.pack is not None
    keep = np.ones(len(plan), dtype=bool)
    in_pack = np.bincount(plan.pack)
    for place in _places(plan, alone):
        if over <= 0:
            break
        if plan.tokens[place] <= over and in_pack[plan.pack[place]] > 1:
            keep[place] = False
            in_pack[plan.pack[place]] -= 1
            over -= int(plan.tokens[place])
    columns = {name: getattr(plan, name)[keep] for name in ("kind", "index", "tokens", "supervised", "pack")}
    return replace(plan, **columns)
