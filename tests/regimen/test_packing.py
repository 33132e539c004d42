"""Packs: whole rows, never too many in one, none empty, and each step in its turn."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfvaccine.errors import PlanError
from hfvaccine.regimen.packing import pack


@st.composite
def packings(draw):
    capacity, packs = draw(st.integers(1, 60)), draw(st.integers(1, 6))
    rows = draw(st.lists(st.integers(1, capacity), min_size=packs, max_size=80))
    steps = draw(st.none() | st.integers(1, len(rows) // packs))
    return np.array(rows, np.int64), capacity, packs, steps


@settings(max_examples=200, deadline=None)
@given(packings())
def test_no_pack_is_over_its_capacity_or_empty_and_every_step_is_whole(packing):
    rows, capacity, packs, steps = packing
    starts, number = pack(rows, capacity, packs, steps)
    assert starts[0] == 0 and starts[-1] == len(number) <= len(rows)
    assert steps is None or len(starts) == steps + 1
    tokens = np.bincount(number, weights=rows[: len(number)])
    assert len(tokens) == packs * (len(starts) - 1)
    assert tokens.max() <= capacity and tokens.min() > 0
    for step, (start, end) in enumerate(pairwise(starts)):
        assert set((number[start:end] // packs).tolist()) == {step}


def test_a_step_takes_the_rows_that_its_packs_hold_and_leaves_the_first_that_they_do_not():
    starts, number = pack(np.array([3, 5, 6, 2, 4, 4, 8]), 8, 2)
    assert starts.tolist() == [0, 4, 7]
    packs = [number[:4].tolist(), number[4:].tolist()]
    assert packs[0][0] == packs[0][1] != packs[0][2] == packs[0][3]
    assert packs[1][0] == packs[1][1] != packs[1][2]


def test_rows_that_would_fit_by_their_sum_but_not_whole_wait():
    starts, _ = pack(np.array([5, 5, 5, 1]), 8, 2)
    assert starts.tolist() == [0, 2, 4]


def test_as_many_steps_as_asked_for_are_made_though_rows_be_few():
    starts, _ = pack(np.ones(10, np.int64), 100, 2, steps=4)
    assert starts.tolist() == [0, 4, 6, 8, 10]


@pytest.mark.parametrize("packs, fill", [(1, 0.8), (4, 0.92), (16, 0.97)])
def test_rows_of_common_lengths_fill_their_packs(packs, fill):
    rows = np.random.default_rng(0).lognormal(np.log(200), 0.6, 5000).clip(8, 1024).astype(np.int64)
    starts, number = pack(rows, 1024, packs)
    assert rows[: len(number)].sum() / (1024 * packs * (len(starts) - 1)) > fill


def test_a_row_longer_than_a_pack_is_refused():
    with pytest.raises(PlanError, match="Row 1 has 9 tokens, a pack 8"):
        pack(np.array([3, 9, 2]), 8, 1)


@pytest.mark.parametrize("steps", [None, 1])
def test_too_few_rows_are_refused(steps):
    with pytest.raises(PlanError, match="3 rows cannot fill 4 packs"):
        pack(np.array([3, 1, 2]), 8, 4, steps)
