"""Matched plans: a control arm is given as many tokens as the vaccine, to within a row."""

from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hfvaccine.regimen.lengths import Lengths
from hfvaccine.regimen.matching import match
from hfvaccine.regimen.plan import CONTROL, DOSE, MIX, make_plan
from tests.regimen.test_plan import NONE, lengths, runs


def off(plan, tokens):
    return abs(int(plan.tokens.sum()) - tokens)


def mixed(random, rows, shortest=20, longest=120):
    return lengths(random.integers(shortest, longest, rows, endpoint=True).tolist())


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    tokens=st.integers(2_000, 60_000),
    rows_per_step=st.sampled_from([1, 8, 32]),
    pack_length=st.sampled_from([None, 300]),
    controls=st.booleans(),
)
def test_a_run_is_matched_to_within_a_row(seed, tokens, rows_per_step, pack_length, controls):
    random = np.random.default_rng(seed)
    mix, dose = mixed(random, 200), mixed(random, 50) if controls else NONE
    share = 0.1 if controls else 0.0
    rows = {"share": share, "rows_per_step": rows_per_step, "seed": seed, "pack_length": pack_length}
    plan = match(partial(make_plan, mix, dose, NONE, np.full(len(dose), -1), **rows), mix, tokens)
    assume(plan.steps > 2)
    assert off(plan, tokens) <= mix.tokens.max()


@settings(max_examples=80, deadline=None)
@given(runs(lengths_of_run=("tokens",)))
def test_a_matched_plan_is_a_plan_and_no_further_off(run):
    tokens = run.pop("tokens")
    by_kind = run["mix"], run["dose"], run["control"]
    plain, plan = make_plan(**run, tokens=tokens), match(partial(make_plan, **run), run["mix"], tokens)
    assert off(plan, tokens) <= off(plain, tokens)
    assert plan.steps in (plain.steps, plain.steps - 1)
    rows = list(zip(plan.kind.tolist(), plan.index.tolist(), strict=True))
    assert plan.tokens.tolist() == [by_kind[k].tokens[i] for k, i in rows]
    assert plan.supervised.tolist() == [by_kind[k].supervised[i] for k, i in rows]
    assert plan.fingerprint() == match(partial(make_plan, **run), run["mix"], tokens).fingerprint()
    for kind in (DOSE, CONTROL):
        given_rows, planned = (its.index[its.kind == kind].tolist() for its in (plan, plain))
        assert given_rows == planned[: len(given_rows)] or run["schedule"] != "constant"
    if plan.pack is not None:
        packs = np.bincount(plan.pack, weights=plan.tokens)
        assert len(packs) == plan.steps * run["rows_per_step"] and 0 < packs.min() <= packs.max() <= run["pack_length"]


def test_rows_that_the_last_pass_has_not_reached_come_first_and_each_once():
    mix = Lengths(np.arange(40, 80), np.arange(20, 60))
    plan_of = partial(make_plan, mix, NONE, NONE, np.zeros(0, np.int64), share=0, rows_per_step=8, seed=3)
    plain = plan_of(steps=3)
    tokens = int(plain.tokens.sum()) - 171
    plan = match(plan_of, mix, tokens)
    assert off(plan, tokens) < 40 and plan.steps == 3
    assert len(set(plan.index.tolist())) == len(plan) == 24


def test_after_whole_passes_any_row_may_come_once_more():
    mix = lengths([50] * 12 + [20, 80] * 2)
    plan_of = partial(make_plan, mix, NONE, NONE, np.zeros(0, np.int64), share=0, rows_per_step=8)
    tokens = int(plan_of(steps=2).tokens.sum()) - 100
    assert off(match(plan_of, mix, tokens), tokens) < 20


@pytest.mark.parametrize("left", [10, 170])
def test_rows_of_one_length_leave_half_a_step_at_most(left):
    mix = lengths([50] * 40)
    plan_of = partial(make_plan, mix, NONE, NONE, np.zeros(0, np.int64), share=0, rows_per_step=4)
    plan = match(plan_of, mix, 1000 + left)
    assert off(plan, 1000 + left) == min(left, 200 - left)
    assert plan.count(MIX) == len(plan)


@pytest.mark.parametrize("pack_length", [None, 300])
def test_pairs_of_the_mix_stay_as_they_were(pack_length):
    random = np.random.default_rng(5)
    mix = mixed(random, 120)
    partner = np.full(120, -1)
    partner[:80] = np.arange(80) ^ 1
    plan_of = partial(
        make_plan, mix, NONE, NONE, np.zeros(0, np.int64), share=0, rows_per_step=4,
        mix_partner=partner, pass_rows=4, pack_length=pack_length,
    )  # fmt: skip
    tokens = int(plan_of(steps=12).tokens.sum()) - 111
    plan = match(plan_of, mix, tokens, partner)
    assert off(plan, tokens) <= mix.tokens.max()
    first = np.flatnonzero((plan.index < 80) & (plan.index % 2 == 0))
    assert (plan.index[first + 1] == plan.index[first] + 1).all()
    assert (plan.index < 80).sum() == 2 * len(first)
