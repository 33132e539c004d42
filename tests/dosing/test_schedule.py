"""Schedules: known by name, and of mean 1, so that the share asked for is that of the whole run."""

import numpy as np
import pytest

from hfvaccine.dosing.schedule import SCHEDULES, named
from hfvaccine.errors import UsageError


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_mean_over_the_run_is_1(name):
    factors = [SCHEDULES[name](p) for p in (np.arange(1000) + 0.5) / 1000]
    assert np.mean(factors) == pytest.approx(1)


@pytest.mark.parametrize(
    "name, start, end", [("constant", 1, 1), ("ramp", 0, 2), ("taper", 2, 0), ("front_loaded", 2, 0)]
)
def test_a_schedule_runs_from_its_start_to_its_end(name, start, end):
    assert (SCHEDULES[name](0.0), SCHEDULES[name](1.0)) == (start, end)


def test_a_function_is_recorded_under_its_name():
    def late(progress):
        return float(progress > 0.9) * 10

    assert named(late) == ("late", late)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="no schedule 'rampp'") as refused:
        named("rampp")
    assert "constant, ramp, taper, front_loaded" in refused.value.next_step
