"""Pairs: two rows that follow each other, in one forward pass, in a plan that keeps its share all the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfvaccine.regimen.lengths import Lengths
from hfvaccine.regimen.pairs import in_passes, partners, shuffled
from hfvaccine.regimen.plan import CONTROL, DOSE, MIX, make_plan


def lengths(tokens):
    return Lengths(np.array(tokens, np.int64), np.array(tokens, np.int64))


def halves(pairs, singles):
    """(rows,) partners of so many pairs and rows by themselves, as they stand in a mix."""
    return partners([n // 2 if n < 2 * pairs else None for n in range(2 * pairs + singles)])


def test_names_that_stand_twice_make_pairs():
    assert partners(["a", None, "b", "a", "c", "c", "c"]).tolist() == [3, -1, -1, 0, -1, -1, -1]


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 99))
def test_a_shuffled_pair_stays_one_after_the_other(pairs, singles, seed):
    partner = halves(pairs, singles)
    order = shuffled(partner, np.random.default_rng(seed)).tolist()
    assert sorted(order) == list(range(2 * pairs + singles))
    for row in range(0, 2 * pairs, 2):
        assert order.index(row + 1) == order.index(row) + 1


def test_without_pairs_the_order_is_that_of_a_plain_shuffle():
    order = shuffled(np.full(7, -1), np.random.default_rng(3))
    assert order.tolist() == np.random.default_rng(3).permutation(7).tolist()


@given(st.lists(st.booleans(), max_size=60), st.integers(2, 9))
def test_no_pair_lies_over_the_end_of_a_pass_while_a_row_by_itself_can_come_forward(drawn, rows):
    follows = []
    for pair in drawn:
        follows += [False, True] if pair else [False]
    moved = in_passes(np.array(follows, dtype=bool), rows)
    assert sorted(moved.tolist()) == list(range(len(follows)))
    place = {row: at for at, row in enumerate(moved.tolist())}
    by_itself = [place[n] for n in range(len(follows)) if not follows[n] and follows[n + 1 : n + 2] != [True]]
    for second in np.flatnonzero(follows):
        assert place[second] == place[second - 1] + 1
        if place[second] % rows == 0:
            assert not [at for at in by_itself if at > place[second]]


def test_rows_keep_their_order_but_for_the_one_that_comes_forward():
    # A row by itself, a pair over the end of the first pass, two more by themselves.
    assert in_passes(np.array([False, False, True, False, False]), 2).tolist() == [0, 3, 1, 2, 4]


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(4, 9), st.integers(1, 3), st.integers(0, 99), st.booleans(), st.integers(2, 40))
def test_a_plan_keeps_pairs_whole_and_its_share(pairs, singles, passes, seed, packed, steps):
    partner = halves(pairs, singles)
    random = np.random.default_rng(seed)
    rows = 4
    plan = make_plan(
        lengths(random.integers(20, 60, len(partner))),
        lengths(random.integers(10, 30, 5)),
        lengths(random.integers(10, 30, 4)),
        np.array([0, 1, 2, 3, -1]),
        share=0.1,
        rows_per_step=rows * passes,
        seed=seed,
        steps=steps,
        mix_partner=partner,
        pass_rows=rows,
        pack_length=200 if packed else None,
    )
    kind, index = plan.kind.tolist(), plan.index.tolist()
    of_pass = np.arange(len(plan)) // rows if plan.pack is None else plan.pack
    parted = 0
    for at in range(len(plan) - 1):
        if kind[at] == DOSE and index[at] < 4 and plan.pack is None:
            # The control follows, but where the run ends between the two.
            parted += (kind[at + 1], index[at + 1]) != (CONTROL, index[at]) or of_pass[at] != of_pass[at + 1]
        if kind[at] == MIX and partner[index[at]] > index[at] and plan.pack is None:
            parted += (kind[at + 1], index[at + 1]) != (MIX, partner[index[at]]) or of_pass[at] != of_pass[at + 1]
    assert parted <= 2  # at the very end: the last row's other one is not given, and no row by itself is left
    if plan.pack is not None:
        for number in range(int(plan.pack[-1]) + 1):
            here = [(k, i) for k, i, p in zip(kind, index, plan.pack.tolist(), strict=True) if p == number]
            doses, controls = ([i for k, i in here if k == what] for what in (DOSE, CONTROL))
            assert sorted(i for i in doses if i < 4) == sorted(controls) or number == plan.pack[-1]
    given_so_far = np.cumsum(np.where(plan.kind == DOSE, plan.tokens, 0))[plan.starts[1:] - 1]
    assert np.abs(given_so_far - plan.owed).max() <= 1.5 * 30 + 0.1 * 2 * 60


def test_rows_that_fill_a_pack_each_are_planned_under_every_schedule():
    four = np.arange(4)
    for schedule in ("constant", "ramp", "pulsed"):
        plan = make_plan(
            lengths([300] * 50), lengths([50] * 4), lengths([50] * 4), four, share=0.1, schedule=schedule,
            rows_per_step=6, steps=10, mix_partner=np.full(50, -1), pass_rows=3, pack_length=300,
        )  # fmt: skip
        assert plan.steps == 10 and (np.bincount(plan.pack, plan.tokens) <= 300).all()
        assert set(plan.pack.tolist()) == set(range(60))


def test_a_pair_longer_than_a_pack_is_refused():
    from hfvaccine.errors import PlanError

    mix = lengths([30, 30, 10])
    with pytest.raises(PlanError):
        make_plan(
            mix, lengths([]), lengths([]), np.zeros(0, np.int64),
            share=0, rows_per_step=2, steps=2, mix_partner=partners(["a", "a", None]), pass_rows=2, pack_length=40,
        )  # fmt: skip
