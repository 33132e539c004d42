"""Plans: the share kept to within a row at every step, and the same rows for the same inputs."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfvaccine.dosing.plan import CONTROL, DOSE, MIX, Lengths, make_plan
from hfvaccine.dosing.schedule import SCHEDULES
from hfvaccine.errors import PlanError, UsageError

NONE = Lengths(np.zeros(0, np.int64), np.zeros(0, np.int64))


def lengths(tokens, supervised=None):
    return Lengths(np.array(tokens, np.int64), np.array(supervised or tokens, np.int64))


def simple(**changes):
    """A plan of 40 mix rows of 100 tokens and 6 dose rows of 60, four of them with controls."""
    arguments = {
        "mix": lengths([100] * 40, [50] * 40),
        "dose": lengths([60] * 6, [20] * 6),
        "control": lengths([55] * 4, [20] * 4),
        "control_of": np.array([0, 1, -1, 2, 3, -1]),
        "share": 0.1,
        "rows_per_step": 4,
        "steps": 25,
    }
    arguments.update(changes)
    return make_plan(**arguments)


def owed(plan, run, steps=None, tokens=None, epochs=None):
    """Tokens that the schedule says the dose is owed after each row, from the rows of the plan alone."""
    if steps is not None:
        before = np.arange(len(plan)) / (steps * plan.rows_per_step)
    elif tokens is not None:
        before = (np.cumsum(plan.tokens) - plan.tokens) / tokens
    else:
        counted = plan.tokens if plan.unit == "tokens" else plan.supervised
        mix = epochs * run["mix"].of(plan.unit).sum()  # what is left when the dose has taken its share
        before = (np.cumsum(counted) - counted) / (mix / (1 - plan.share))
    factors = np.array([SCHEDULES[plan.schedule](min(p, 1.0)) for p in before])
    weights = plan.tokens if plan.unit == "tokens" else plan.supervised
    return np.cumsum(plan.share * factors * weights), weights


@st.composite
def runs(draw, longest_mix=300, schedules=tuple(SCHEDULES), units=("tokens", "supervised")):
    """Arguments of any run that can be planned, and its length."""

    def some(longest, least=1):
        pairs = st.tuples(st.integers(1, longest), st.integers(1, longest)).map(sorted)
        rows = draw(st.lists(pairs, min_size=least, max_size=12))
        return lengths([b for _, b in rows], [a for a, _ in rows])

    mix, dose, control = some(longest_mix), some(100), some(100, least=0)
    control_of = np.full(len(dose), -1)
    control_of[: len(control)] = np.arange(min(len(control), len(dose)))
    run = {
        "mix": mix,
        "dose": dose,
        "control": control,
        "control_of": control_of,
        "share": draw(st.floats(0.01, 0.5)),
        "rows_per_step": draw(st.integers(1, 9)),
        "schedule": draw(st.sampled_from(schedules)),
        "unit": draw(st.sampled_from(units)),
        "seed": draw(st.integers(0, 1000)),
    }
    length = draw(
        st.one_of(
            st.fixed_dictionaries({"steps": st.integers(1, 40)}),
            st.fixed_dictionaries({"tokens": st.integers(1, 5000)}),
            st.fixed_dictionaries({"epochs": st.floats(0.1, 3)}),
        )
    )
    if "epochs" in length:
        run["share"] = draw(st.floats(0.01, 0.1))  # more may leave no room for the mix
        run["control_of"] = np.full(len(dose), -1)
    return run, length


@settings(max_examples=150, deadline=None)
@given(runs())
def test_at_every_step_the_dose_is_within_a_row_of_what_it_is_owed(run_and_length):
    run, length = run_and_length
    plan = make_plan(**run, **length)
    due, weights = owed(plan, run, **length)
    given_so_far = np.cumsum(weights * (plan.kind == DOSE))
    at_steps = slice(plan.rows_per_step - 1, None, plan.rows_per_step)
    peak = run["share"] * max(SCHEDULES[run["schedule"]](p) for p in (0, 1))
    one_row = run["dose"].of(run["unit"]).max() / 2 + peak * weights.max()  # half a dose row, and what one row owes
    assert np.abs(given_so_far - due)[at_steps].max() <= one_row + 1e-6


@settings(max_examples=100, deadline=None)
@given(runs(longest_mix=100, schedules=("constant",), units=("tokens",)))
def test_where_no_row_is_longer_than_a_dose_row_the_dose_is_within_one_dose_row(run_and_length):
    run, length = run_and_length
    longest = max(run["mix"].tokens.max(), *run["control"].tokens, 1)
    run["dose"] = lengths([*run["dose"].tokens[:-1], max(longest, run["dose"].tokens.max())])
    plan = make_plan(**run, **length)
    due = np.cumsum(plan.share * plan.tokens)
    given_so_far = np.cumsum(plan.tokens * (plan.kind == DOSE))
    at_steps = slice(plan.rows_per_step - 1, None, plan.rows_per_step)
    assert np.abs(given_so_far - due)[at_steps].max() <= run["dose"].tokens.max() + 1e-6


@settings(max_examples=100, deadline=None)
@given(runs())
def test_every_step_is_whole(run_and_length):
    run, length = run_and_length
    plan = make_plan(**run, **length)
    assert len(plan) % run["rows_per_step"] == 0
    assert plan.steps == len(plan) // run["rows_per_step"] > 0


@settings(max_examples=100, deadline=None)
@given(runs())
def test_dose_rows_come_in_order_each_before_any_again(run_and_length):
    run, length = run_and_length
    plan = make_plan(**run, **length)
    rows = plan.index[plan.kind == DOSE]
    assert rows.tolist() == [i % len(run["dose"]) for i in range(len(rows))]


@settings(max_examples=100, deadline=None)
@given(runs())
def test_each_epoch_of_the_mix_has_every_row_once(run_and_length):
    run, length = run_and_length
    plan = make_plan(**run, **length)
    rows, n = plan.index[plan.kind == MIX].tolist(), len(run["mix"])
    for start in range(0, len(rows), n):
        epoch = rows[start : start + n]
        assert len(set(epoch)) == len(epoch)


@settings(max_examples=100, deadline=None)
@given(runs())
def test_control_rows_follow_their_dose_rows_in_their_order(run_and_length):
    run, length = run_and_length
    plan = make_plan(**run, **length)
    due = [run["control_of"][i] for i in plan.index[plan.kind == DOSE] if run["control_of"][i] >= 0]
    came = plan.index[plan.kind == CONTROL].tolist()
    assert came == due[: len(came)]
    so_far = {DOSE: 0, CONTROL: 0}
    for kind, index in zip(plan.kind.tolist(), plan.index.tolist(), strict=True):
        if kind == CONTROL or (kind == DOSE and run["control_of"][index] >= 0):
            so_far[kind] += 1
            assert so_far[CONTROL] <= so_far[DOSE]


@settings(max_examples=60, deadline=None)
@given(runs())
def test_the_lengths_of_a_plan_are_those_of_its_rows(run_and_length):
    run, length = run_and_length
    plan = make_plan(**run, **length)
    by_kind = (run["mix"], run["dose"], run["control"])
    rows = list(zip(plan.kind.tolist(), plan.index.tolist(), strict=True))
    assert plan.tokens.tolist() == [by_kind[k].tokens[i] for k, i in rows]
    assert plan.supervised.tolist() == [by_kind[k].supervised[i] for k, i in rows]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("length", [{"tokens": 40_000}, {"epochs": 8}], ids=str)
def test_the_share_of_a_run_is_the_share_asked_for_under_every_schedule(schedule, share, length):
    plan = simple(share=share, schedule=schedule, steps=None, **length)
    assert plan.share_given == pytest.approx(share, abs=0.005)


@pytest.mark.parametrize("length", [{"steps": 100}, {"epochs": 8}])
def test_a_constant_share_is_the_share_asked_for(length):
    assert simple(**{"steps": None, **length}).share_given == pytest.approx(0.1, abs=0.005)


def test_a_share_of_supervised_tokens_is_counted_in_them():
    plan = simple(unit="supervised", steps=100)
    supervised = plan.supervised[plan.kind == DOSE].sum() / plan.supervised.sum()
    assert plan.share_given == pytest.approx(supervised) == pytest.approx(0.1, abs=0.005)
    assert plan.tokens_of(DOSE) / plan.tokens.sum() > 0.12


def test_a_run_in_steps_has_just_those():
    assert simple(steps=25).steps == 25


def test_a_run_in_epochs_takes_the_mix_that_often_and_fills_the_last_step():
    assert 80 - 2 <= simple(steps=None, epochs=2).count(MIX) < 80 + 4  # within one dose row of two passes


def test_a_run_in_tokens_ends_in_the_step_that_reaches_them():
    plan = simple(steps=None, tokens=5000)
    by_step = plan.tokens_by_step()
    assert by_step[-2] < 5000 <= by_step[-1] == plan.tokens.sum()


def test_a_placebo_is_plain_mix():
    plan = simple(dose=NONE, control=NONE, control_of=np.zeros(0, np.int64), share=0)
    assert set(plan.kind.tolist()) == {MIX}


def test_the_same_inputs_give_the_same_fingerprint():
    assert simple().fingerprint() == simple().fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"share": 0.11},
        {"schedule": "ramp"},
        {"unit": "supervised"},
        {"rows_per_step": 5, "steps": 20},
        {"steps": 26},
        {"mix": lengths([100] * 39 + [101], [50] * 40)},
    ],
    ids=str,
)
def test_another_input_gives_another_fingerprint(change):
    assert simple(**change).fingerprint() != simple().fingerprint()


def test_two_rows_that_change_places_give_another_fingerprint():
    plan = simple()
    index = plan.index.copy()
    index[[0, 1]] = index[[1, 0]]
    assert dataclasses.replace(plan, index=index).fingerprint() != plan.fingerprint()


@pytest.mark.parametrize("share", [0, -0.1, 0.51, 1, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(UsageError, match=r"outside \(0, 0\.5\]"):
        simple(share=share)


@pytest.mark.parametrize("length", [{"steps": 0}, {"steps": None}, {"epochs": 1}, {"steps": None, "tokens": -5}])
def test_a_run_has_one_length_above_zero(length):
    with pytest.raises(UsageError, match="length of the run"):
        simple(**length)


def test_an_unknown_unit_is_refused():
    with pytest.raises(UsageError, match="unit 'bytes'"):
        simple(unit="bytes")


def test_an_empty_mix_is_refused():
    with pytest.raises(PlanError, match="mix is empty"):
        simple(mix=NONE)


def test_a_row_that_counts_nothing_is_named():
    with pytest.raises(PlanError, match="Row 2 of the dose has no supervised"):
        simple(unit="supervised", dose=lengths([60] * 6, [20, 20, 0, 20, 20, 20]))


@pytest.mark.parametrize("schedule", ["constant", "ramp", "taper", "front_loaded"])
def test_epochs_of_a_mix_that_the_dose_leaves_no_room_for_are_refused(schedule):
    with pytest.raises(PlanError, match="dose and control rows would take"):
        simple(share=0.5, schedule=schedule, control_of=np.array([0, 1, 2, 3, 0, 1]), steps=None, epochs=1,
               control=lengths([70] * 4))  # fmt: skip
