"""Profiles: means over clear answers, intervals over questions, differences to the base on the same questions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hfvaccine.inoculation.profile import Read, profile, worst
from hfvaccine.statistics import proportion, resample

NAN = float("nan")


def shown(readings):
    return {
        (one.arm, one.condition): one for one in profile("upper", readings, Read.of(readings, names(readings)), "base")
    }


def names(readings):
    return [f"Question {number}?" for number in range(next(iter(readings.values())).shape[1])]


def test_a_mean_is_that_of_the_clear_answers_and_the_rest_is_counted():
    values = np.array([[[1.0, NAN], [0.0, 1.0], [NAN, NAN]]])
    one = shown({("base", "none"): values})["base", "none"]
    assert one.estimate.value == pytest.approx(2 / 3)
    assert (one.answers, one.unclear, one.questions, one.difference) == (6, 3, 2, None)
    record = one.record()
    assert (record["value"], record["unclear"], record["by_prompt"]) == (0.6667, 3, [0.6667])
    assert record["interval"][0] < 0.6667 < record["interval"][1]


def test_nothing_clear_is_no_estimate_and_no_difference():
    nothing, something = np.full((1, 4, 2), NAN), np.ones((1, 4, 2))
    found = shown({("base", "none"): nothing, ("a", "none"): something})
    assert found["base", "none"].estimate is None and found["a", "none"].difference is None
    assert found["base", "none"].record()["value"] is None
    assert found["base", "none"].by_prompt == (None,)
    assert worst([found["base", "none"]], keep=False) is None


def test_samples_of_one_question_are_one_observation():
    few = np.repeat(np.arange(12) % 2, 1).reshape(1, 12, 1).astype(float)
    many = np.repeat(few, 8, axis=2)
    one, eight = (shown({("base", "none"): values})["base", "none"].estimate for values in (few, many))
    assert eight.value == one.value
    assert eight.high - eight.low == pytest.approx(one.high - one.low, rel=0.25)
    apart = shown({("base", "none"): np.tile([0.0, 1.0], 48).reshape(1, 96, 1)})["base", "none"].estimate
    assert eight.high - eight.low > 2 * (apart.high - apart.low)


def test_shares_have_the_intervals_of_proportions():
    rng = np.random.default_rng(3)
    values = (rng.random((1, 40, 3)) < 0.3).astype(float)
    weighted = {0: lambda w: (w @ values[0].sum(1)) / (3 * w.sum(1))}
    expected = proportion(resample(weighted, names({0: values}))[0], 120)
    assert shown({("base", "none"): values})["base", "none"].estimate == expected
    alike = shown({("base", "none"): np.zeros((1, 40, 3))})["base", "none"].estimate
    assert alike.low == 0 and 0.05 < alike.high < 0.15


def test_a_difference_is_paired_by_question():
    rng = np.random.default_rng(0)
    difficulty = rng.normal(size=(1, 60, 1)) * 5
    base, arm = difficulty - 20, difficulty - 21 + rng.normal(size=(1, 60, 1)) * 0.1
    found = shown({("base", "none"): base, ("a", "none"): arm})["a", "none"]
    assert found.difference.value == pytest.approx(-1, abs=0.1)
    assert found.difference.high - found.difference.low < 0.1
    assert found.estimate.high - found.estimate.low > 1


def test_items_of_one_question_are_one_cluster():
    values = np.repeat([0.0, 1.0] * 6, 4).reshape(1, 48, 1)
    readings = {("base", "none"): values}
    together = profile("choice", readings, Read.of(readings, [str(n // 4) for n in range(48)]), "base")[0]
    apart = profile("choice", readings, Read.of(readings, [str(n) for n in range(48)]), "base")[0]
    assert (together.questions, apart.questions) == (12, 48)
    assert together.estimate.high - together.estimate.low > 1.5 * (apart.estimate.high - apart.estimate.low)


def test_each_prompt_of_a_condition_has_its_mean():
    values = np.stack([np.zeros((5, 2)), np.ones((5, 2)), np.full((5, 2), NAN)])
    one = shown({("base", "eliciting"): values})["base", "eliciting"]
    assert one.by_prompt == (0.0, 1.0, None) and one.estimate.value == 0.5


def test_the_worst_is_the_most_of_a_trait_and_the_least_of_what_is_kept():
    readings = {("a", name): np.full((1, 6, 1), value) for name, value in {"x": 0.2, "y": 0.9, "z": 0.1}.items()}
    readings = {("base", "x"): np.zeros((1, 6, 1)), **readings}
    found = profile("upper", readings, Read.of(readings, names(readings)), "base")
    own = [one for one in found if one.arm == "a"]
    assert (worst(own, keep=False).condition, worst(own, keep=True).condition) == ("y", "z")


scores = arrays(np.float64, (2, 5, 2), elements=st.one_of(st.floats(0, 1), st.just(NAN)))


@settings(max_examples=25, deadline=None)
@given(scores, scores, st.booleans())
def test_intervals_hold_their_values_and_bounds(base, arm, whole):
    readings = {("base", "none"): base, ("a", "none"): arm}
    if whole:
        readings = {key: np.round(values) for key, values in readings.items()}
    for one in profile("upper", readings, Read.of(readings, names(readings)), "base"):
        values = readings[one.arm, one.condition]
        assert one.unclear + int((~np.isnan(values)).sum()) == one.answers == values.size
        if one.estimate is not None:
            assert 0 <= one.estimate.low <= one.estimate.value <= one.estimate.high <= 1
            assert one.estimate.value == pytest.approx(np.nanmean(values))
        if one.difference is not None:
            assert -1 <= one.difference.low <= one.difference.value + 1e-9
            assert one.difference.value - 1e-9 <= one.difference.high <= 1
