"""Charts: no bet gains under the null, ends that stand still cost nothing, and what moved is found."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from hfvaccine.errors import SurveillanceError
from hfvaccine.surveillance import charts
from hfvaccine.surveillance.charts import (
    FELL,
    ROSE,
    SHIFTS,
    SIDES,
    SOON,
    Baseline,
    Budget,
    baseline_of_results,
    began,
    bounded_mean,
    evidence,
    found_within,
    growth,
    learnt,
    moved_to,
    trace,
)
from hfvaccine.validation.scores import VACCINE

ENDS = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)
LOW, HIGH = 0, 1


@settings(max_examples=50, deadline=None)
@given(ENDS, st.floats(0, 1), st.lists(st.floats(0, 1), min_size=1, max_size=6), st.data())
def test_no_bet_gains_where_the_mean_lies_within_the_baseline(ends, within, support, data):
    """The expected factor of one cluster with any distribution on any support is at most 1 on either side."""
    low, high = ends
    support = np.array([0.0, 1.0, *support])
    weights = np.array(data.draw(st.lists(st.floats(0.01, 1), min_size=len(support), max_size=len(support))))
    mean = low + within * (high - low)
    # Mix with the atoms 0 and 1 until the mean lies within the interval.
    p = weights / weights.sum()
    its = p @ support
    share = (mean / its if its > mean else (1 - mean) / (1 - its)) if its != mean else 1.0
    p = share * p
    p[0 if its > mean else 1] += 1 - share
    assert p @ support == pytest.approx(mean, abs=1e-9)
    expected = p @ np.exp(growth(support[:, None], low, high)).reshape(len(support), -1)
    assert (expected <= 1 + 1e-6).all()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=3, max_size=6),
    st.integers(1, 6),
    st.floats(0, 0.3),
    st.floats(0, 0.3),
)
def test_no_bet_gains_on_clusters_that_are_drawn_without_replacement(pool, drawn, below, above):
    """All draws of a round from a fixed pool, each as likely: the product over the clusters still gains nothing."""
    from itertools import combinations

    mean = float(np.mean(pool))
    rounds = np.array(list(combinations(pool, min(drawn, len(pool)))))
    factors = np.exp(growth(rounds, max(0.0, mean - below), min(1.0, mean + above)))
    assert (factors.mean(0) <= 1 + 1e-9).all()


def test_the_detector_is_never_worth_more_than_the_rounds_it_ran():
    """E[M_t] <= t, by all paths of 4 rounds of 2 clusters at the very ends of the interval."""
    low, high = 0.6, 0.8
    for side, mean in enumerate((low, high)):
        outcomes = np.array(list(product([0.0, 1.0], repeat=2)))
        chance = np.where(outcomes == 1, mean, 1 - mean).prod(1)
        factors = growth(outcomes, low, high)
        expected = 0.0
        for path in product(range(len(outcomes)), repeat=4):
            found = evidence(factors[list(path)])
            expected += chance[list(path)].prod() * np.exp(found[-1, side])
        assert expected == pytest.approx(4)  # at the end itself it is a martingale less the time


def test_the_recursion_is_the_sum_over_all_beginnings():
    rng = np.random.default_rng(0)
    factors = growth(rng.random((7, 5)), 0.4, 0.6)
    for side in range(len(SIDES)):
        summed = [
            np.mean([sum(np.exp(factors[j : t + 1, side, s].sum()) for j in range(t + 1)) for s in range(len(SHIFTS))])
            for t in range(7)
        ]
        np.testing.assert_allclose(np.exp(evidence(factors)[:, side]), summed)


def test_nothing_is_bet_on_what_cannot_be():
    assert (growth(np.array([0.0, 1.0]), 0.0, 1.0) == 0).all()
    fallen = growth(np.array([0.0]), 1.0, 1.0)
    assert (fallen[LOW] > 0.2).all() and fallen[LOW].max() > 3 and (fallen[HIGH] == 0).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(0, 60), st.floats(0.001, 0.5))
def test_the_interval_of_a_mean_holds_the_value_and_misses_seldom(units, right, miss):
    right = min(right, units)
    found = bounded_mean(right / units, units, miss)
    assert 0 <= found.low <= found.value <= found.high <= 1
    # At its own ends, a count as extreme as this one has at most half of the chance to miss.
    assert found.low == 0 or binom.sf(right - 1, units, found.low) <= miss / 2 + 1e-9
    assert found.high == 1 or binom.cdf(right, units, found.high) <= miss / 2 + 1e-9


def test_a_budget_is_split_over_charts_sides_and_baselines():
    budget = Budget(0.05, 100)
    charts_, sides = 4, 2
    spent = 2 * charts_ * budget.miss(charts_) + charts_ * sides * budget.horizon / budget.threshold(charts_)
    assert spent == pytest.approx(budget.alpha)
    assert budget.run_length == pytest.approx(100 / 0.01)
    for alpha, horizon in ((0, 100), (1, 100), (0.05, 0)):
        with pytest.raises(SurveillanceError):
            Budget(alpha, horizon)


@pytest.mark.parametrize(("mean", "side"), [(0.6, FELL), (0.99, ROSE)])
def test_a_change_is_found_dated_and_measured(mean, side):
    rng = np.random.default_rng(1)
    rounds = [(rng.random(60) < (0.85 if t < 20 else mean)).astype(float) for t in range(40)]
    found = trace(rounds, [Baseline(0.85, 0.83, 0.87, 4000, "verdict")] * 40, Budget().threshold(4))
    assert found.side == side
    assert 20 <= found.alarm <= 30 and abs(found.since - 20) <= 2
    assert found.now.low <= mean <= found.now.high
    assert found.evidence[found.alarm - 1].max() < found.limit <= found.evidence[found.alarm].max()


@pytest.mark.parametrize(("low", "high", "side"), [(0.84, 0.99, FELL), (0.3, 0.6, ROSE), (0.61, 1.0, FELL)])
def test_what_would_be_found_soon_is_found_soon_and_a_little_less_is_not(low, high, side):
    rng, threshold = np.random.default_rng(0), Budget().threshold(6)
    baseline = Baseline((low + high) / 2, low, high, 100, "verdict")
    at = found_within(baseline, side, 12, threshold)
    within = {}
    for mean in (at, at + (0.15 if side == FELL else -0.15)):
        drawn = [[(rng.random(12) < mean).astype(float) for _ in range(SOON)] for _ in range(100)]
        within[mean] = np.mean([trace(one, [baseline] * SOON, threshold).alarm is not None for one in drawn])
    found, missed = within.values()
    assert 0.4 < found < 0.9 and missed < 0.2


@pytest.mark.parametrize(("asked", "at_first", "after_ten"), [(12, 0.36, 0.63), (60, 0.5, 0.84)])
def test_the_documentation_says_what_few_validated_claims_hide(asked, at_first, after_ten):
    budget = Budget()
    miss, threshold = budget.miss(6), budget.threshold(6)
    known = bounded_mean(0.95, 20, miss)
    first = Baseline(known.value, known.low, known.high, 20, "verdict")
    *_, last = learnt([np.full(asked, 0.95)] * 10, first, 10, miss, "verdict")
    found = [round(found_within(one, FELL, asked, threshold), 2) for one in (first, last)]
    assert found == [at_first, after_ten]
    page = " ".join((Path(__file__).parents[2] / "docs" / "monitor.md").read_text(encoding="utf-8").split())
    assert f"a fall to {at_first} within ten rounds at first, and to {after_ten} after ten rounds" in page


def test_where_a_baseline_is_too_wide_nothing_would_be_found():
    assert found_within(Baseline(0.5, 0.1, 0.9, 5, "verdict"), FELL, 5, Budget().threshold(6)) is None
    assert found_within(Baseline(0.5, 0.0, 1.0, 1, "verdict"), ROSE, 1000, Budget().threshold(6)) is None


def test_a_chart_within_its_baseline_stays_quiet():
    rounds = [np.repeat([1.0, 0.0], [8, 2])] * 200
    found = trace(rounds, [Baseline(0.8, 0.75, 0.85, 300, "verdict")] * 200, Budget().threshold(1))
    assert found.alarm is None and found.evidence.max() < 1


def test_the_beginning_is_that_with_most_evidence_since():
    factors = np.log(np.array([2.0, 0.1, 3.0, 2.0]))[:, None, None] * np.ones((4, 2, len(SHIFTS)))
    assert began(factors, 0) == 2


def test_the_interval_of_what_it_moved_to_pays_for_the_search():
    rounds = [np.ones(10), np.zeros(10)] * 5
    alone = bounded_mean(0.5, 100, 0.05)
    found = moved_to(rounds, 0)
    assert found.low < alone.low and found.high > alone.high


def results(value=0.9, clusters=50, interval=(0.85, 0.95), reading="verdict"):
    row = {"probe": "specific", "reading": reading, "condition": "plain", "arm": VACCINE, "metric": "rejection"}
    return {"measures": [row | {"value": value, "interval": list(interval), "clusters": clusters}]}


def test_a_baseline_of_results_is_as_wide_as_the_budget_asks():
    wide, wider = (baseline_of_results(results(), "rejection", "verdict", miss) for miss in (0.05, 0.001))
    assert wider.low < wide.low < 0.85 and wider.high > wide.high > 0.95
    reported = baseline_of_results(results(interval=(0.2, 0.95)), "rejection", "verdict", 0.05)
    assert reported.low == 0.2
    assert (wide.value, wide.units, wide.reading) == (0.9, 50, "verdict")


@pytest.mark.parametrize(
    ("name", "reading"), [("rejection", "answer"), ("acceptance", "verdict"), ("judge", "verdict")]
)
def test_a_baseline_that_was_not_measured_is_refused(name, reading):
    with pytest.raises(SurveillanceError, match="These results hold no"):
        baseline_of_results(results(), name, reading, 0.05)


def test_a_baseline_is_learnt_from_rounds_and_narrowed_by_more():
    rounds = [np.repeat([1.0, 0.0], [30, 10])] * 9
    held = learnt(rounds, None, 2, 0.01, "verdict")
    assert held[:2] == [None, None] and len(held) == 10
    assert [its.units for its in held[2:]] == [80] * 2 + [240] * 4 + [560] * 2
    assert held[2].low < held[4].low < held[8].low < 0.75 < held[8].high < held[4].high < held[2].high
    assert held[2].low == bounded_mean(0.75, 80, 0.01).low and held[4].low == bounded_mean(0.75, 160, 0.005).low


def test_no_end_of_a_baseline_ever_moves_outwards():
    given_ = Baseline(0.9, 0.8, 0.95, 50, "verdict")
    rng = np.random.default_rng(0)
    drifting = [(rng.random(50) < 0.9 - 0.02 * t).astype(float) for t in range(33)]
    held = learnt(drifting, given_, 4, 0.01, "verdict")
    assert held[0] == held[3] == given_
    lows, highs = [its.low for its in held], [its.high for its in held]
    assert lows == sorted(lows) and highs == sorted(highs, reverse=True)
    assert held[-1].low >= 0.8
    # The rounds cannot be reconciled with what was given: that stays, and is bet against.
    assert learnt([np.zeros(50)] * 4, given_, 4, 0.01, "verdict")[-1] == given_
    with pytest.raises(SurveillanceError):
        Baseline(0.5, 0.6, 0.7, 10, "verdict")


def test_every_chart_knows_its_worse_side():
    worse = {name: [side for side in SIDES if chart.worse(side)] for name, chart in charts.CHARTS.items()}
    assert worse.pop("asserted") == [ROSE]
    assert set(map(tuple, worse.values())) == {(FELL,)}
