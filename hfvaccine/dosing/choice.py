"""Which claims of a dose are given, where not all are. Pure, no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from hfvaccine.claims.claim import Claim


def choose(claims: Sequence[Claim], number: int | None, seed: int) -> tuple[Claim, ...]:
    """The claims to give: all, or `number` of them spread over the domains, the same for the same seed."""
    if number is None or number >= len(claims):
        return tuple(claims)
    return ordered(claims, seed)[:number]


def ordered(claims: Sequence[Claim], seed: int) -> tuple[Claim, ...]:
    """Claims in an order of which any beginning is spread over the domains, the same for the same seed."""
    rng = np.random.default_rng(seed)
    shuffled = [claims[i] for i in rng.permutation(len(claims))]
    order = turns([claim.domain for claim in shuffled])
    return tuple(shuffled[i] for i in np.argsort(order, kind="stable"))


def turns(domains: Sequence[str]) -> list[int]:
    """How many of its domain come before each: who takes the first turns first is spread over the domains."""
    so_far: Counter[str] = Counter()
    order = []
    for domain in domains:
        order.append(so_far[domain])
        so_far[domain] += 1
    return order
