"""The interleaver: the rows of a plan, decided one by one, and after an interruption just the same."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfvaccine.errors import PlanError, UsageError
from hfvaccine.regimen.interleave import Interleaver
from hfvaccine.regimen.lengths import Lengths
from hfvaccine.regimen.plan import CONTROL, DOSE, MIX, make_plan
from hfvaccine.regimen.schedule import Curve, named, over


def lengths(tokens, supervised=None):
    return Lengths(np.array(tokens, np.int64), np.array(supervised or tokens, np.int64))


DOSED = (lengths([60] * 6, [20] * 6), lengths([55] * 4, [20] * 4), np.array([0, 1, -1, 2, 3, -1]))
NONE = lengths(np.zeros(0, np.int64).tolist())


@st.composite
def runs(draw):
    """Mix, dose, control, control_of and the arguments that plan and interleaver share, for any run there can be."""

    def some(longest, least=1):
        pairs = st.tuples(st.integers(1, longest), st.integers(1, longest)).map(sorted)
        rows = draw(st.lists(pairs, min_size=least, max_size=8))
        return lengths([b for _, b in rows], [a for a, _ in rows])

    mix, dose, control = some(300), some(100), some(100, least=0)
    control_of = np.full(len(dose), -1)
    control_of[: len(control)] = np.arange(min(len(control), len(dose)))
    unit, schedule = draw(st.sampled_from(["tokens", "supervised"])), draw(st.sampled_from(["constant", "ramp"]))
    with_control = [c for c in range(len(dose)) if control_of[c] >= 0]
    heaviest = max([control.of(unit)[c] / dose.of(unit)[c] for c in with_control], default=0)
    share = draw(st.floats(0.05, 0.9)) / (1 + heaviest) / 2
    return mix, dose, control, control_of, {"share": share, "unit": unit, "schedule": schedule}


def give(interleaver, mix, dose, control, order, rows):
    """The next rows of an interleaver that is fed from a mix in the given order, as (kind, index, weight)."""
    given = []
    for _ in range(rows):
        kind, index = interleaver.next()
        assert interleaver.next() == (kind, index)
        row = order[index % len(order)] if kind == MIX else index
        of_kind = (mix, dose, control)[kind]
        interleaver.gave(int(of_kind.tokens[row]), int(of_kind.supervised[row]))
        given.append((kind, index, int(of_kind.of(interleaver._unit)[row])))
    return given


@settings(max_examples=80, deadline=None)
@given(runs(), st.integers(1, 6), st.integers(1, 40), st.integers(0, 99))
def test_under_the_constant_schedule_the_rows_are_those_of_the_plan(run, rows_per_step, steps, seed):
    mix, dose, control, control_of, arguments = run
    arguments["schedule"] = "constant"
    plan = make_plan(mix, dose, control, control_of, rows_per_step=rows_per_step, steps=steps, seed=seed, **arguments)
    interleaver = Interleaver(dose, control, control_of, rows=len(plan), **arguments)
    order = plan.index[plan.kind == MIX].tolist()
    given = give(interleaver, mix, dose, control, order, len(plan))
    rows = [(kind, order[index] if kind == MIX else index) for kind, index, _ in given]
    assert rows == list(zip(plan.kind.tolist(), plan.index.tolist(), strict=True))
    assert interleaver.owed == pytest.approx(plan.owed[-1])


@settings(max_examples=60, deadline=None)
@given(runs(), st.integers(0, 100))
def test_an_interruption_changes_nothing(run, at):
    mix, dose, control, control_of, arguments = run
    whole = Interleaver(dose, control, control_of, rows=100, **arguments)
    rows = give(whole, mix, dose, control, range(len(mix)), 100)
    before, after = (Interleaver(dose, control, control_of, rows=100, **arguments) for _ in range(2))
    first = give(before, mix, dose, control, range(len(mix)), at)
    after.load(json.loads(json.dumps(before.state())))
    assert first + give(after, mix, dose, control, range(len(mix)), 100 - at) == rows
    assert after.state() == whole.state()


@settings(max_examples=60, deadline=None)
@given(runs(), st.sampled_from(["constant", "ramp", "taper", "front_loaded", "pulsed:5"]))
def test_after_every_row_the_dose_is_within_a_row_of_what_it_is_owed(run, schedule):
    mix, dose, control, control_of, arguments = run
    arguments.update(schedule=schedule, share=arguments["share"] / 2)  # room for the pulses' peak
    interleaver = Interleaver(dose, control, control_of, rows=100, rows_per_step=2, **arguments)
    peak = arguments["share"] * Curve(over(named(schedule)[1], 50)).peak
    half = dose.of(arguments["unit"]).max() / 2
    gap = 0.0
    for _ in range(100):
        before = interleaver.owed
        [(kind, _, weight)] = give(interleaver, mix, dose, control, range(len(mix)), 1)
        gap += interleaver.owed - before - (weight if kind == DOSE else 0)
        if not interleaver._control_due:
            assert -half - 1e-6 <= gap <= half + peak * mix.of(arguments["unit"]).max() + 1e-6


def test_a_control_follows_its_dose_row():
    mix = lengths([100])
    interleaver = Interleaver(*DOSED, share=0.1, rows=200)
    rows = [(kind, index) for kind, index, _ in give(interleaver, mix, *DOSED[:2], [0], 200)]
    for at, (kind, index) in enumerate(rows[:-1]):
        if kind == DOSE and DOSED[2][index] >= 0:
            assert rows[at + 1] == (CONTROL, DOSED[2][index])
    assert [index for kind, index in rows if kind == DOSE][:8] == [0, 1, 2, 3, 4, 5, 0, 1]


def test_a_placebo_is_plain_mix():
    interleaver = Interleaver(NONE, NONE, np.zeros(0, np.int64), share=0, rows=5)
    assert give(interleaver, lengths([9]), NONE, NONE, [0], 5) == [(MIX, i, 9) for i in range(5)]


def test_a_state_of_something_else_is_refused():
    with pytest.raises(PlanError, match="The state has"):
        Interleaver(*DOSED, share=0.1, rows=5).load({"rows": 3})


@pytest.mark.parametrize(
    "change, why",
    [
        ({"share": 0.6}, "outside"),
        ({"unit": "bytes"}, "unit 'bytes'"),
        ({"schedule": "rampp"}, "no schedule"),
        ({"schedule": "pulsed"}, "counts steps"),
        ({"rows": 0}, "run of 0 rows"),
        ({"schedule": "front_loaded", "share": 0.4}, "At its peak"),
    ],
    ids=str,
)
def test_a_value_out_of_its_range_is_refused(change, why):
    with pytest.raises(UsageError, match=why):
        Interleaver(*DOSED, **{"share": 0.1, "rows": 10, **change})
