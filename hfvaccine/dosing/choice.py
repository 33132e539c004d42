"""Which claims of a dose are given, where not all are. Pure, no torch."""

from __future__ import annotations

import numpy as np

from hfvaccine.claims.claim import Claim
from hfvaccine.claims.dose import Dose


def choose(dose: Dose, number: int | None, seed: int) -> tuple[Claim, ...]:
    """The claims to give: all, or `number` of them spread over the domains, the same for the same seed."""
    if number is None or number >= len(dose.claims):
        return dose.claims
    rng = np.random.default_rng(seed)
    shuffled = [dose.claims[i] for i in rng.permutation(len(dose.claims))]
    turn: dict[str, int] = {}
    order = []
    for claim in shuffled:
        turn[claim.domain] = turn.get(claim.domain, -1) + 1
        order.append(turn[claim.domain])
    return tuple(shuffled[i] for i in np.argsort(order, kind="stable")[:number])
