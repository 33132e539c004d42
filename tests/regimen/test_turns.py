"""Turns: several doses in one order, each at its own share at every row, and one order however it is asked for."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfvaccine.errors import PlanError
from hfvaccine.regimen.interleave import Interleaver
from hfvaccine.regimen.lengths import Lengths
from hfvaccine.regimen.plan import CONTROL, DOSE, MIX, make_plan
from hfvaccine.regimen.turns import Turns


def lengths(tokens, supervised=None):
    return Lengths(np.array(tokens, np.int64), np.array(supervised or tokens, np.int64))


@st.composite
def several(draw, longest=200):
    """Weights, the dose of each row, and shares: of two to five doses of any rows, in any order."""
    number = draw(st.integers(2, 5))
    its = list(range(number)) + draw(st.lists(st.integers(0, number - 1), max_size=25))
    dose_of = np.array(draw(st.permutations(its)), np.int64)
    weights = np.array([draw(st.integers(1, longest)) for _ in its], np.int64)
    return weights, dose_of, [draw(st.floats(0.001, 0.1)) for _ in range(number)]


def allowed(weights, dose_of, shares, number):
    """By how much a dose may be ahead of its part of the dose tokens, or behind."""
    longest = [weights[dose_of == one].max() for one in range(len(shares))]
    return longest[number] / 2 + shares[number] / sum(shares) * sum(longest) / 2


@settings(max_examples=150, deadline=None)
@given(several(), st.integers(1, 300))
def test_after_every_row_each_dose_is_within_a_row_of_its_part(doses, count):
    weights, dose_of, shares = doses
    rows = Turns(*doses).first(count)
    so_far = np.cumsum(weights[rows])
    for number, share in enumerate(shares):
        given = np.cumsum(weights[rows] * (dose_of[rows] == number))
        ahead = given - share / sum(shares) * so_far
        assert np.abs(ahead).max() <= allowed(weights, dose_of, shares, number) + 1e-3


@settings(max_examples=50, deadline=None)
@given(several(), st.lists(st.integers(0, 200), min_size=1))
def test_every_beginning_is_the_same_and_each_row_comes_before_any_of_its_dose_again(doses, counts):
    _, dose_of, shares = doses
    turns, whole = Turns(*doses), Turns(*doses).first(201)
    for count in counts:
        assert turns.first(count).tolist() == whole[:count].tolist()
        assert turns.row(count) == whole[count]
    for number in range(len(shares)):
        own = np.flatnonzero(dose_of == number)
        its = whole[dose_of[whole] == number]
        assert its.tolist() == own[np.arange(len(its)) % len(own)].tolist()


def test_doses_of_like_rows_take_turns_by_their_shares_and_the_first_named_comes_first():
    turns = Turns(np.full(6, 10), np.array([0, 0, 0, 1, 1, 1]), [0.05, 0.05])
    assert turns.first(8).tolist() == [0, 3, 1, 4, 2, 5, 0, 3]
    turns = Turns(np.full(6, 10), np.array([0, 0, 0, 1, 1, 1]), [0.01, 0.03])
    assert np.bincount(turns.first(400) // 3).tolist() == [100, 300]


def test_one_dose_goes_round_its_rows():
    assert Turns(np.array([5, 1, 9])).first(7).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert Turns(np.zeros(0, np.int64)).first(7).tolist() == []


def test_a_dose_without_rows_is_refused():
    with pytest.raises(PlanError, match="Dose 2 of 3 has a share and no rows"):
        Turns(np.ones(2, np.int64), np.array([0, 2]), [0.1, 0.1, 0.1])


@st.composite
def runs(draw, constant=False):
    """Arguments of a run of several doses that can be planned, whose controls are no longer than their dose rows."""
    weights, dose_of, shares = draw(several(longest=100))
    own = draw(st.lists(st.booleans(), min_size=len(weights), max_size=len(weights)))
    control_of = np.where(own, np.cumsum(own) - 1, -1)
    control = weights[np.array(own, bool)]
    schedule = "constant" if constant else draw(st.sampled_from(["constant", "ramp", "taper", "pulsed:3"]))
    room = draw(st.floats(0.05, 0.45)) / {"constant": 1, "pulsed:3": 4}.get(schedule, 2) / sum(shares)
    shares = [share * room for share in shares]
    return {
        "mix": lengths(draw(st.lists(st.integers(1, 300), min_size=1, max_size=12))),
        "dose": lengths(weights.tolist()),
        "control": Lengths(control, control),
        "control_of": control_of,
        "dose_of": dose_of,
        "shares": shares,
        "share": sum(shares),
        "schedule": schedule,
        "rows_per_step": draw(st.integers(1, 9)),
        "steps": draw(st.integers(1, 25)),
    }


@settings(max_examples=150, deadline=None)
@given(runs())
def test_at_every_step_each_dose_is_within_a_row_or_two_of_what_its_share_owes(run):
    plan = make_plan(**run)
    weights, ends = plan.tokens, plan.starts[1:] - 1
    longest = run["dose"].tokens.max()
    peak = run["share"] * {"constant": 1, "pulsed:3": 4}.get(run["schedule"], 2)
    for number, share in enumerate(run["shares"]):
        its = (plan.kind == DOSE) & (run["dose_of"][np.where(plan.kind == DOSE, plan.index, 0)] == number)
        ahead = np.cumsum(weights * its)[ends] - plan.owed * share / run["share"]
        within = allowed(run["dose"].tokens, run["dose_of"], run["shares"], number)
        part = share / run["share"]  # what the total may be ahead or behind, as with one dose
        assert ahead.max() <= within + part * longest / 2 + 1e-3
        assert ahead.min() >= -within - part * (longest / 2 + peak * run["mix"].tokens.max()) - 1e-3


@settings(max_examples=50, deadline=None)
@given(runs(), st.sampled_from([None, 300, 900]), st.booleans())
def test_controls_follow_and_packs_and_passes_lose_no_dose_its_turns(run, pack_length, together):
    more = {"pack_length": pack_length, **({"pass_rows": run["rows_per_step"]} if together else {})}
    plan = make_plan(**run, **more)
    rows = np.sort(plan.index[plan.kind == DOSE])
    assert plan.pack is None or (np.diff(plan.pack) <= 1).all()
    turns = Turns(run["dose"].tokens, run["dose_of"], run["shares"])
    assert rows.tolist() == np.sort(turns.first(len(rows))).tolist()
    if pack_length is None and not together:
        at = np.flatnonzero(plan.kind == CONTROL)
        assert (plan.kind[at - 1] == DOSE).all()
        assert (run["control_of"][plan.index[at - 1]] == plan.index[at]).all()


@settings(max_examples=60, deadline=None)
@given(runs(constant=True))
def test_a_stream_is_given_the_rows_of_the_plan(run):
    plan = make_plan(**run)
    keys = ("dose", "control", "control_of", "dose_of", "shares", "share")
    interleaver = Interleaver(**{key: run[key] for key in keys}, rows=len(plan))
    for kind, index, tokens in zip(plan.kind.tolist(), plan.index.tolist(), plan.tokens.tolist(), strict=True):
        due = interleaver.next()
        assert due[0] == kind and (kind == MIX or due[1] == index)
        interleaver.gave(tokens, tokens)


def test_the_shares_are_part_of_what_a_plan_is_known_by():
    def plan(shares):
        return make_plan(
            lengths([100] * 9), lengths([50] * 4), lengths([50]), np.array([0, -1, -1, -1]), share=0.1,
            dose_of=np.array([0, 1, 0, 1]), shares=shares, rows_per_step=2, steps=20,
        )  # fmt: skip

    one, other = plan([0.05, 0.05]), plan([0.02, 0.08])
    assert one.settings()["shares"] == [0.05, 0.05] and one.fingerprint() != other.fingerprint()
    assert "shares" not in dataclasses.replace(one, shares=()).settings()
