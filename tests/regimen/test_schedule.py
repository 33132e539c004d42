"""Schedules: known by name, and of mean 1, so that the share asked for is that of the whole run."""

import numpy as np
import pytest

from hfvaccine.errors import UsageError
from hfvaccine.regimen.schedule import SCHEDULES, Curve, Pulsed, named, over


@pytest.mark.parametrize("steps", [1, 7, 40, 1003])
@pytest.mark.parametrize("name", [*SCHEDULES, "pulsed:3"])
def test_the_mean_over_the_run_is_1(name, steps):
    assert Curve(over(named(name)[1], steps)).mean == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    "name, start, end", [("constant", 1, 1), ("ramp", 0, 2), ("taper", 2, 0), ("front_loaded", 2, 0)]
)
def test_a_schedule_runs_from_its_start_to_its_end(name, start, end):
    assert (SCHEDULES[name](0.0), SCHEDULES[name](1.0)) == (start, end)


def test_a_pulse_comes_every_so_many_steps_for_a_quarter_of_the_time():
    factors = [Pulsed(20).over(100)(step / 100) for step in range(100)]
    assert factors == ([4.0] * 5 + [0.0] * 15) * 5


def test_pulses_keep_whole_periods_where_the_steps_do_not_divide():
    assert Pulsed(20).over(25).periods == 1
    assert Pulsed(20).over(3).periods == 1
    assert Pulsed(3).over(100).periods == 33


def test_a_pulse_is_known_by_its_steps():
    assert named("pulsed") == ("pulsed", Pulsed(20))
    assert named("pulsed:7") == ("pulsed:7", Pulsed(7))
    assert named(Pulsed(7)) == ("pulsed:7", Pulsed(7))
    assert named(Pulsed(7, 0.5))[0] != "pulsed:7"


@pytest.mark.parametrize("name", ["rampp", "pulsed:", "pulsed:x", "pulsed:-1", "pulsed:1.5", "ramp:3", "pulsed:²"])
def test_an_unknown_name_is_refused_with_the_known_ones(name):
    with pytest.raises(UsageError, match="no schedule") as refused:
        named(name)
    assert name in refused.value.message
    assert "constant, ramp, taper, front_loaded, pulsed, pulsed:N" in refused.value.next_step


def test_a_pulse_every_0_steps_is_refused():
    with pytest.raises(UsageError, match="every 0 steps"):
        named("pulsed:0")


@pytest.mark.parametrize("duty", [0, -1, 1.5])
def test_a_pulse_for_an_impossible_time_is_refused(duty):
    with pytest.raises(UsageError, match="of the time"):
        Pulsed(5, duty)


def test_a_function_is_recorded_under_its_name():
    def late(progress):
        return float(progress > 0.9) * 10

    assert named(late) == ("late", late)


@pytest.mark.parametrize("factor", [-0.1, float("nan"), float("inf")])
def test_a_function_that_is_no_factor_somewhere_is_refused(factor):
    with pytest.raises(UsageError, match=r"At progress 0\.5.* gives the factor"):
        Curve(lambda progress: factor if progress > 0.5 else 1.0)


@pytest.mark.parametrize(
    "name, integral", [("ramp", lambda p: p**2), ("front_loaded", lambda p: np.minimum(2 * p, 1))]
)
def test_a_curve_adds_the_schedule_up(name, integral):
    curve = Curve(SCHEDULES[name])
    np.testing.assert_allclose(curve.integral, integral(curve.progress), atol=1e-9)
    assert (curve.peak, curve.even) == (2, False)
    assert Curve(SCHEDULES["constant"]).even
