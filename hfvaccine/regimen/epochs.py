"""Epochs: where in a plan each pass over the mix ends. Pure, no torch.

To a trainer a plan is one long epoch; what it does once an epoch must still come once for each pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hfvaccine.regimen.plan import MIX, Floats, Plan


@dataclass(frozen=True)
class Epochs:
    """The passes over the mix that a plan makes.

    Args:
        done: (steps,) passes that are done at the end of each step, with the part of the one begun.
        total: epochs of the run, the last one perhaps in part.
        ends: the steps, counted from 1, with which all epochs but the last end; that ends with the run.
    """

    done: Floats
    total: int
    ends: frozenset[int]


def epochs_of(plan: Plan, mix_rows: int, asked: float | None) -> Epochs:
    """The epochs of a plan.

    Args:
        plan: the plan.
        mix_rows: rows of the mix.
        asked: epochs that were asked for; None for a run whose length is told otherwise. The rows that fill
            up its last step begin no other epoch.
    """
    done = np.cumsum(plan.kind == MIX)[plan.starts[1:] - 1] / mix_rows
    if asked is not None:
        done = np.minimum(done, asked)
    total = math.ceil(done[-1] if asked is None else asked)
    whole = np.minimum(np.floor(done), total - 1)
    return Epochs(done, total, frozenset((np.flatnonzero(np.diff(whole, prepend=0)) + 1).tolist()))
