"""Plans: the share kept to within a row at every step, and the same rows for the same inputs."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfvaccine.errors import PlanError, UsageError
from hfvaccine.regimen.lengths import Lengths
from hfvaccine.regimen.plan import CONTROL, DOSE, MIX, make_plan

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


def steep(progress):
    """A schedule of the user's own, of mean 0.8."""
    return 4.0 if progress > 0.8 else 0.0


SHAPES = {"constant": 1, "ramp": 2, "taper": 2, "front_loaded": 2, "pulsed": 4, "pulsed:3": 4, steep: 4}
"""Schedules and their peaks."""


def mean_of(schedule):
    return 0.8 if schedule is steep else 1.0


@st.composite
def runs(
    draw, shapes=tuple(SHAPES), controls=True, packed=None, least=1, lengths_of_run=("steps", "tokens", "epochs")
):
    """Arguments of any run that can be planned."""

    def some(longest, rows=1):
        pairs = st.tuples(st.integers(least, longest), st.integers(least, longest)).map(sorted)
        drawn = draw(st.lists(pairs, min_size=rows, max_size=12))
        return lengths([b for _, b in drawn], [a for a, _ in drawn])

    mix, dose, control = some(300), some(100), some(100, rows=0)
    control_of = np.full(len(dose), -1)
    control_of[: len(control)] = np.arange(min(len(control), len(dose)))
    run = {
        "mix": mix,
        "dose": dose,
        "control": control,
        "control_of": control_of,
        "rows_per_step": draw(st.integers(1, 9)),
        "schedule": draw(st.sampled_from(shapes)),
        "unit": draw(st.sampled_from(["tokens", "supervised"])),
        "seed": draw(st.integers(0, 1000)),
    }
    weights, own = dose.of(run["unit"]), [(j, c) for j, c in enumerate(control_of) if c >= 0]
    heaviest = max([control.of(run["unit"])[c] / weights[j] for j, c in own], default=0)
    # As much as there is room for, where each dose row and its control owe no more than the dose row at the peak.
    run["share"] = min(0.5, draw(st.floats(0.02, 0.95)) / SHAPES[run["schedule"]] / (1 + heaviest))
    if draw(st.booleans()) if packed is None else packed:
        longest = max(mix.tokens.max(), dose.tokens.max(), *control.tokens, 1)
        run["pack_length"] = int(longest * draw(st.sampled_from([1, 1.5, 4])))
    values = {"steps": st.integers(1, 15), "tokens": st.integers(1, 5000), "epochs": st.floats(0.1, 3)}
    by = draw(st.sampled_from(lengths_of_run))
    run[by] = draw(values[by])
    return run


def weights_of(plan):
    return plan.tokens if plan.unit == "tokens" else plan.supervised


def tokens_by_step(plan):
    """Tokens given up to the end of each step."""
    return np.cumsum(plan.tokens)[plan.starts[1:] - 1]


def given_by_step(plan, of=None):
    """Weight of the rows of a kind, or of all, up to the end of each step."""
    weights = weights_of(plan)
    return np.cumsum(weights if of is None else weights * (plan.kind == of))[plan.starts[1:] - 1]


@settings(max_examples=120, deadline=None)
@given(runs())
def test_at_every_step_the_dose_is_within_a_row_of_what_it_is_owed(run):
    """Ahead by half the longest dose row at most; behind by that and what the longest mix row owes at the peak."""
    plan = make_plan(**run)
    ahead = given_by_step(plan, DOSE) - plan.owed
    half = run["dose"].of(plan.unit).max() / 2
    overhang = plan.share * SHAPES[run["schedule"]] * run["mix"].of(plan.unit).max()
    assert ahead.max() <= half + 1e-6
    assert ahead.min() >= -half - overhang - 1e-6


@settings(max_examples=50, deadline=None)
@given(runs(shapes=("constant", "ramp", "taper", "front_loaded"), least=40))
def test_what_is_owed_is_what_the_schedule_adds_up_to(run):
    plan = make_plan(**run)
    so_far = given_by_step(plan)
    integral = {
        "constant": lambda p: p,
        "ramp": lambda p: p**2,
        "taper": lambda p: 2 * p - p**2,
        "front_loaded": lambda p: np.minimum(2 * p, 1),
    }[plan.schedule]
    due = plan.share * so_far[-1] * integral(so_far / so_far[-1])
    a_row = max(lengths.of(plan.unit).max() for lengths in (run["mix"], run["dose"]))
    # The total that progress refers to is planned, and right to about a row.
    np.testing.assert_allclose(plan.owed, due, rtol=0, atol=plan.share * 4 * a_row)


@settings(max_examples=80, deadline=None)
@given(runs(least=40))
def test_over_the_run_the_share_is_met_to_within_a_row(run):
    plan = make_plan(**run)
    asked = plan.share * mean_of(run["schedule"]) * weights_of(plan).sum()
    a_row = run["dose"].of(plan.unit).max() + plan.share * SHAPES[run["schedule"]] * run["mix"].of(plan.unit).max()
    assert abs(given_by_step(plan, DOSE)[-1] - asked) <= a_row


def test_controls_heavier_than_the_dose_put_it_half_a_row_further_behind_at_most():
    run = {
        "mix": lengths([100] * 40),
        "dose": lengths([50, 50, 50, 50]),
        "control": lengths([160]),
        "control_of": np.array([0, -1, -1, -1]),
    }
    plan = make_plan(**run, share=0.34, rows_per_step=1, steps=500)
    ahead = given_by_step(plan, DOSE) - plan.owed
    assert ahead.max() <= 25 and -25 - 25 - 34 <= ahead.min() < -25


@settings(max_examples=50, deadline=None)
@given(runs())
def test_every_step_is_whole(run):
    plan = make_plan(**run)
    assert plan.starts[0] == 0 and plan.starts[-1] == len(plan)
    assert plan.steps == len(plan.starts) - 1 == len(plan.owed) == len(tokens_by_step(plan)) > 0
    if plan.pack is None:
        assert set(np.diff(plan.starts).tolist()) == {run["rows_per_step"]}
        return
    tokens = np.bincount(plan.pack, weights=plan.tokens)
    assert len(tokens) == plan.steps * run["rows_per_step"]
    assert tokens.max() <= run["pack_length"] and tokens.min() > 0
    assert (np.diff(plan.pack) >= 0).all()
    assert set(plan.pack[plan.starts[1:] - 1] % run["rows_per_step"]) == {run["rows_per_step"] - 1}


@settings(max_examples=50, deadline=None)
@given(runs())
def test_no_row_comes_more_than_once_more_often_than_another_of_its_kind(run):
    plan = make_plan(**run)
    for end in plan.starts[1:].tolist():
        for kind, rows in ((MIX, run["mix"]), (DOSE, run["dose"])):
            times = np.bincount(plan.index[:end][plan.kind[:end] == kind], minlength=len(rows))
            assert times.max() - times.min() <= 1


@settings(max_examples=50, deadline=None)
@given(runs(packed=False))
def test_dose_rows_come_in_order_and_each_epoch_of_the_mix_has_every_row_once(run):
    plan = make_plan(**run)
    rows = plan.index[plan.kind == DOSE]
    assert rows.tolist() == [i % len(run["dose"]) for i in range(len(rows))]
    mix, n = plan.index[plan.kind == MIX].tolist(), len(run["mix"])
    for start in range(0, len(mix), n):
        epoch = mix[start : start + n]
        assert len(set(epoch)) == len(epoch)


@settings(max_examples=50, deadline=None)
@given(runs(packed=False))
def test_a_control_row_comes_directly_after_its_dose_row(run):
    plan = make_plan(**run)
    due = -1
    for kind, index in zip(plan.kind.tolist(), plan.index.tolist(), strict=True):
        assert (index if kind == CONTROL else -1) == due
        due = run["control_of"][index] if kind == DOSE else -1


@settings(max_examples=40, deadline=None)
@given(runs(packed=True))
def test_in_packs_a_control_row_comes_in_the_step_of_its_dose_row_or_the_next(run):
    plan = make_plan(**run)
    step = np.searchsorted(plan.starts, np.arange(len(plan)), side="right")
    with_control = plan.kind == DOSE
    with_control[with_control] = run["control_of"][plan.index[with_control]] >= 0
    doses, controls = np.sort(step[with_control]), np.sort(step[plan.kind == CONTROL])
    assert len(controls) in (len(doses), len(doses) - 1)
    assert set((controls - doses[: len(controls)]).tolist()) <= {0, 1}


@settings(max_examples=40, deadline=None)
@given(runs())
def test_the_lengths_of_a_plan_are_those_of_its_rows(run):
    plan = make_plan(**run)
    by_kind = (run["mix"], run["dose"], run["control"])
    rows = list(zip(plan.kind.tolist(), plan.index.tolist(), strict=True))
    assert plan.tokens.tolist() == [by_kind[k].tokens[i] for k, i in rows]
    assert plan.supervised.tolist() == [by_kind[k].supervised[i] for k, i in rows]


@settings(max_examples=50, deadline=None)
@given(runs(lengths_of_run=("epochs",)))
def test_a_run_in_epochs_takes_each_row_of_the_mix_so_often_and_fills_the_last_step(run):
    plan = make_plan(**run)
    rows = math.ceil(run["epochs"] * len(run["mix"]))
    assert plan.count(MIX) >= rows
    if plan.pack is None:  # two rows more where the last step comes and goes with the total of the run
        assert plan.count(MIX) < rows + run["rows_per_step"] + 2


@settings(max_examples=50, deadline=None)
@given(runs(lengths_of_run=("tokens",), shapes=("constant",)))
def test_a_run_in_tokens_ends_in_the_step_that_reaches_them(run):
    by_step = tokens_by_step(make_plan(**run))
    assert run["tokens"] <= by_step[-1]
    assert len(by_step) == 1 or by_step[-2] < run["tokens"]


@settings(max_examples=40, deadline=None)
@given(runs(lengths_of_run=("steps",)))
def test_a_run_in_steps_has_just_those(run):
    assert make_plan(**run).steps == run["steps"]


@pytest.mark.parametrize("schedule", ["constant", "ramp", "taper", "front_loaded", "pulsed"])
@pytest.mark.parametrize("share", [0.02, 0.1])
@pytest.mark.parametrize("length", [{"tokens": 40_000}, {"epochs": 8}, {"steps": 100}], ids=str)
@pytest.mark.parametrize("pack_length", [None, 300])
def test_the_share_of_a_run_is_the_share_asked_for_under_every_schedule(schedule, share, length, pack_length):
    plan = simple(**{"share": share, "schedule": schedule, "steps": None, "pack_length": pack_length, **length})
    given = plan.tokens[plan.kind == DOSE].sum() / plan.tokens.sum()
    assert plan.share_given == given == pytest.approx(share, abs=60 / plan.tokens.sum())


@pytest.mark.parametrize("schedule", ["ramp", "taper", "front_loaded", "pulsed"])
def test_mix_rows_much_longer_than_the_dose_do_not_bend_the_share(schedule):
    """Here a mix row owes many dose rows at once, and the total of the run is the harder to foresee."""
    mix, dose = lengths([1000] * 40), lengths([10] * 6)
    plan = simple(
        mix=mix, dose=dose, control=NONE, control_of=np.full(6, -1), steps=2000, share=0.2, schedule=schedule
    )
    a_row = 10 + 0.2 * SHAPES[schedule] * 1000
    assert plan.share_given == pytest.approx(0.2, abs=a_row / plan.tokens.sum())


def test_each_epoch_of_the_mix_is_shuffled_anew():
    plan = simple(steps=None, epochs=2)
    mix = plan.index[plan.kind == MIX].tolist()
    assert sorted(mix[:40]) == sorted(mix[40:80]) == list(range(40))
    assert mix[:40] != mix[40:80] and mix[:40] != list(range(40))


def test_packs_of_rows_are_well_filled():
    rng = np.random.default_rng(0)
    mix = lengths(rng.lognormal(np.log(200), 0.6, 2000).clip(8, 1024).astype(np.int64).tolist())
    for schedule in ("constant", "taper"):
        plan = simple(mix=mix, steps=None, epochs=1, rows_per_step=8, pack_length=1024, schedule=schedule)
        assert plan.tokens.sum() / (1024 * 8 * plan.steps) > 0.9


def test_a_share_of_supervised_tokens_is_counted_in_them():
    plan = simple(unit="supervised", steps=100)
    supervised = plan.supervised[plan.kind == DOSE].sum() / plan.supervised.sum()
    assert plan.share_given == pytest.approx(supervised) == pytest.approx(0.1, abs=0.005)
    assert plan.tokens_of(DOSE) / plan.tokens.sum() > 0.12


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
        {"steps": None, "epochs": 2},
        {"pack_length": 300},
        {"mix": lengths([100] * 39 + [101], [50] * 40)},
    ],
    ids=str,
)
def test_another_input_gives_another_fingerprint(change):
    assert simple(**change).fingerprint() != simple().fingerprint()


def test_another_pack_length_gives_another_fingerprint_though_the_rows_be_the_same():
    plan = simple(pack_length=300)
    assert dataclasses.replace(plan, pack_length=301).fingerprint() != plan.fingerprint()
    assert dataclasses.replace(plan, pack=plan.pack[::-1]).fingerprint() != plan.fingerprint()


def test_two_rows_that_change_places_give_another_fingerprint():
    plan = simple()
    index = plan.index.copy()
    index[[0, 1]] = index[[1, 0]]
    assert dataclasses.replace(plan, index=index).fingerprint() != plan.fingerprint()


@pytest.mark.parametrize("share", [0, -0.1, 0.51, 1, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(UsageError, match=r"outside \(0, 0\.5\]"):
        simple(share=share)


@pytest.mark.parametrize(
    "length",
    [{"steps": 0}, {"steps": None}, {"epochs": 1}, {"steps": None, "tokens": -5}, {"steps": None, "epochs": math.inf}],
    ids=str,
)
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


@pytest.mark.parametrize("change", [{"schedule": "front_loaded", "share": 0.4}, {"schedule": "pulsed", "share": 0.2}])
def test_a_peak_that_asks_for_more_than_fits_is_refused(change):
    with pytest.raises(UsageError, match="At its peak the schedule asks for a share of 80%") as refused:
        simple(**change)
    assert "Lower the share, or spread the schedule" in refused.value.next_step


def test_a_control_that_the_dose_cannot_catch_up_with_is_refused():
    with pytest.raises(UsageError, match="cannot keep up"):
        simple(share=0.4, control=lengths([200]), control_of=np.array([0, -1, -1, -1, -1, -1]))


def test_a_function_that_is_no_factor_is_refused():
    with pytest.raises(UsageError, match="gives the factor -1"):
        simple(schedule=lambda progress: -1.0)


def test_a_function_that_gives_nothing_gives_plain_mix():
    assert set(simple(schedule=lambda progress: 0.0).kind.tolist()) == {MIX}


@pytest.mark.parametrize("change", [{"rows_per_step": 0}, {"pack_length": 0}])
def test_steps_of_nothing_are_refused(change):
    with pytest.raises(UsageError, match="are impossible"):
        simple(**change)


def test_a_row_longer_than_a_pack_is_named():
    with pytest.raises(PlanError, match="Row 3 of the mix has 301 tokens, a pack 300"):
        simple(mix=lengths([100, 100, 100, 301]), pack_length=300)
