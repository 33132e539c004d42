"""Intervals and tests: against known values, against theory where it is exact, and against peers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm, t
from statsmodels.stats.contingency_tables import mcnemar as peer_mcnemar
from statsmodels.stats.multitest import multipletests

from hfvaccine import statistics
from hfvaccine.statistics import (
    Estimate,
    Sample,
    bootstrap,
    cluster_weights,
    detectable,
    expanded,
    holm,
    mcnemar,
    mean_of,
    negative,
    outlying,
    paired,
    pairs_needed,
    probit,
    proportion,
    resample,
    wilson,
)


def numbered(n):
    return [str(i) for i in range(n)]


def rate(values, clusters=None, seed=0):
    values = np.asarray(values, float)
    return resample({"": mean_of(values)}, numbered(len(values)) if clusters is None else clusters, seed)[""]


def test_wilson_gives_the_published_interval_of_8_in_10():
    assert wilson(8, 10).interval == pytest.approx((0.4902, 0.9433), abs=1e-4)


@pytest.mark.parametrize("successes, n", [(0, 10), (1, 7), (50, 100), (10, 10), (999, 1000)])
def test_wilson_equals_scipys(successes, n):
    peer = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    estimate = wilson(successes, n)
    assert estimate.value == successes / n
    assert estimate.interval == pytest.approx((peer.low, peer.high), abs=1e-9)


@given(st.integers(0, 40), st.integers(1, 20))
def test_wilson_holds_its_value_and_stays_between_0_and_1(halves, n):
    estimate = wilson(min(halves / 2, n), n)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_the_bootstrap_of_a_mean_comes_close_to_students_interval():
    values = np.random.default_rng(0).normal(3, 2, 30)
    estimate = bootstrap(mean_of(values), cluster_weights(numbered(30)))
    half = t.ppf(0.975, 29) * values.std(ddof=1) / np.sqrt(30)
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.interval == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_fewer_clusters_expand_the_interval():
    sample = Sample(0.0, np.random.default_rng(0).normal(size=100_000), 6)
    # Hesterberg 2015: normal quantiles of the draws at sqrt(n / (n - 1)) t
    assert expanded(sample).high == pytest.approx(np.sqrt(6 / 5) * t.ppf(0.975, 5), rel=0.05)


def test_paraphrases_count_as_one():
    values = np.random.default_rng(0).normal(0, 1, 50)
    clusters = np.repeat(numbered(50), 4)
    alone = bootstrap(mean_of(values), cluster_weights(numbered(50)))
    fourfold = bootstrap(mean_of(np.repeat(values, 4)), cluster_weights(clusters), clusters=50)
    assert fourfold.interval == pytest.approx(alone.interval)


def test_members_of_a_cluster_are_drawn_together():
    weights = cluster_weights(["a", "b", "a", "c"], draws=200)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(1) == 3).all()


def test_clusters_are_drawn_as_often_as_one_another():
    drawn = cluster_weights(numbered(5), draws=20_000)
    assert drawn.mean(0) == pytest.approx(np.ones(5), abs=0.03)
    assert drawn.var(0) == pytest.approx(np.full(5, 4 / 5), abs=0.05)  # binomial(5, 1/5)


def test_one_seed_pairs_the_draws_of_two_arms():
    assert (cluster_weights(numbered(20), seed=1) == cluster_weights(numbered(20), seed=1)).all()
    assert (cluster_weights(numbered(20), seed=1) != cluster_weights(numbered(20), seed=2)).any()


def test_how_many_weights_are_held_at_once_changes_nothing(monkeypatch):
    whole = cluster_weights(numbered(7), draws=50)
    monkeypatch.setattr(statistics, "CHUNK", 21)
    assert (cluster_weights(numbered(7), draws=50) == whole).all()


def test_resampled_metrics_are_the_metrics_of_the_weights():
    values, clusters = np.arange(12.0), [str(i // 2) for i in range(12)]
    sample = resample({"mean": mean_of(values)}, clusters, seed=3, draws=80)["mean"]
    assert sample.value == values.mean()
    assert sample.clusters == 6
    assert sample.draws == pytest.approx(mean_of(values)(cluster_weights(clusters, 3, 80)))


def test_a_paired_difference_of_equal_arms_is_exactly_nothing():
    values = np.random.default_rng(0).normal(0, 1, 30)
    weights = cluster_weights(numbered(30))
    arm = mean_of(values)
    assert bootstrap(lambda w: arm(w) - arm(w), weights).interval == (0, 0)


def test_the_interval_of_unclustered_decisions_is_wilsons():
    sample = rate([1] * 15 + [0] * 5)
    assert proportion(sample, 20) == wilson(15, 20)


def test_decisions_that_a_cluster_makes_alike_count_once():
    clusters = np.repeat(numbered(20), 3)
    alike = proportion(rate(np.repeat([1] * 15 + [0] * 5, 3), clusters), 60)
    once, thrice = wilson(15, 20), wilson(45, 60)
    assert alike.high - alike.low > 0.95 * (once.high - once.low)
    assert alike.high - alike.low > 1.5 * (thrice.high - thrice.low)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_metric_that_never_varies_is_not_certain(value):
    estimate = proportion(Sample(value, np.full(100, value), 20))
    assert estimate.high - estimate.low == pytest.approx(wilson(20 * value, 20).high - wilson(20 * value, 20).low)


def test_arms_that_are_both_always_right_may_still_differ():
    both = rate(np.ones(20))
    estimate = paired((both, proportion(both, 20)), (both, proportion(both, 20)), 1)
    assert estimate.low < -0.1 and estimate.high > 0.1


def test_a_paired_difference_of_rates_equals_newcombes_example():
    # Newcombe 1998, table II: of 50 pairs 36, 12, 2 and 0; method 10
    left = np.array([1] * 48 + [0] * 2)
    right = np.array([1] * 36 + [0] * 12 + [1] * 2)
    a, b = rate(left), rate(right)
    phi = np.corrcoef(left, right)[0, 1]
    estimate = paired((a, proportion(a, 50)), (b, proportion(b, 50)), 1)
    (l1, u1), (l2, u2) = wilson(48, 50).interval, wilson(38, 50).interval
    low = 0.2 - np.sqrt((0.96 - l1) ** 2 + (u2 - 0.76) ** 2 - 2 * phi * (0.96 - l1) * (u2 - 0.76))
    high = 0.2 + np.sqrt((u1 - 0.96) ** 2 + (0.76 - l2) ** 2 - 2 * phi * (u1 - 0.96) * (0.76 - l2))
    assert estimate.value == pytest.approx(0.2)
    assert estimate.interval == pytest.approx((low, high), abs=2e-3)
    assert (low, high) == pytest.approx((0.0569, 0.3404), abs=5e-5)  # as printed there


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=4, max_size=30))
def test_a_paired_difference_turns_with_its_arms(outcomes):
    left, right = (rate([one[side] for one in outcomes]) for side in (0, 1))
    a, b = (left, proportion(left, len(outcomes))), (right, proportion(right, len(outcomes)))
    forth, back = paired(a, b, 1), paired(b, a, 1)
    assert -1 <= forth.low <= forth.value <= forth.high <= 1
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low))


def test_what_varies_together_shows_a_smaller_difference():
    rng = np.random.default_rng(0)
    base = rng.random(80) < 0.5
    near, far = base.copy(), rng.random(80) < 0.5
    near[:4] = ~near[:4]
    widths = []
    for other in (near, far):
        a, b = rate(other), rate(base)
        estimate = paired((a, proportion(a, 80)), (b, proportion(b, 80)), 1)
        widths.append(estimate.high - estimate.low)
    assert widths[0] < 0.5 * widths[1]


def test_probits_are_the_log_linear_ones_of_hautus():
    sample = rate([1] * 18 + [0] * 2)
    z, estimate = probit(sample, proportion(sample, 20), 20)
    assert z.value == estimate.value == pytest.approx(norm.ppf(18.5 / 21))
    assert estimate.interval == pytest.approx(norm.ppf(wilson(18, 20).interval))


def test_probits_of_0_and_1_are_finite_and_keep_an_interval():
    for outcome in (0, 1):
        sample = rate(np.full(20, outcome))
        z, estimate = probit(sample, proportion(sample, 20), 20)
        assert np.isfinite(estimate.interval).all() and np.isfinite(z.draws).all()
        assert estimate.high - estimate.low > 0.5


def test_turning_the_sign_turns_the_interval():
    sample, estimate = negative((Sample(0.3, np.array([0.1, 0.4]), 9), Estimate(0.3, 0.1, 0.4)))
    assert (sample.value, list(sample.draws), sample.clusters) == (-0.3, [-0.1, -0.4], 9)
    assert estimate == Estimate(-0.3, -0.4, -0.1)


def test_an_unpaired_difference_adds_both_variances():
    rng = np.random.default_rng(0)
    left, right = rng.normal(1, 1, 100), rng.normal(0, 2, 100)
    estimate = expanded(rate(left, seed=0) - rate(right, seed=1))
    half = 1.984 * np.sqrt(left.var(ddof=1) / 100 + right.var(ddof=1) / 100)
    assert estimate.high - estimate.low == pytest.approx(2 * half, rel=0.06)


def test_the_detectable_difference_is_that_of_the_normal_theory():
    error = 0.05
    estimate = Estimate(0, -norm.ppf(0.975) * error, norm.ppf(0.975) * error)
    assert detectable(estimate) == pytest.approx((1.959964 + 0.841621) * error)


def test_a_detectable_difference_is_shown_four_times_in_five():
    rng = np.random.default_rng(0)
    effect, shown = detectable(Estimate(0, -1.96, 1.96)), 0
    for value in rng.normal(effect, 1, 4000):
        shown += value - 1.96 > 0
    assert shown / 4000 == pytest.approx(0.8, abs=0.02)


def test_a_tenth_of_the_margin_needs_a_hundred_times_the_pairs():
    margin = detectable(Estimate(0, -0.1, 0.1))
    assert pairs_needed(-0.1, 0.1, margin, 100) == pytest.approx(100, abs=1)
    assert pairs_needed(-0.1, 0.1, margin / 10, 100) == pytest.approx(10_000, abs=1)


def test_no_fewer_pairs_are_asked_for_than_there_are():
    assert pairs_needed(-0.001, 0.001, 0.01, 100) == 100


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40))
def test_mcnemar_equals_statsmodels(outcomes):
    left, right = np.array(outcomes, float).T
    table = np.zeros((2, 2))
    np.add.at(table, (left.astype(int), right.astype(int)), 1)
    assert mcnemar(left, right, numbered(len(left))) == pytest.approx(peer_mcnemar(table, exact=True).pvalue)


def test_paraphrases_are_no_further_evidence_for_mcnemar():
    left, right = np.ones(6), np.zeros(6)
    alone = mcnemar(left, right, numbered(6))
    assert mcnemar(np.repeat(left, 5), np.repeat(right, 5), np.repeat(numbered(6), 5)) == alone == 2 / 2**6


def test_a_cluster_that_changes_both_ways_alike_says_nothing():
    assert mcnemar(np.array([1.0, 0, 1]), np.array([0.0, 1, 0]), ["a", "a", "b"]) == 1


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_adjusts_upwards_and_keeps_the_order(p):
    adjusted = holm(p)
    assert all(before - 1e-12 <= after <= 1 for before, after in zip(p, adjusted, strict=True))
    assert [adjusted[i] for i in np.argsort(p, kind="stable")] == sorted(adjusted)


@pytest.mark.parametrize("p", [[0.01, 0.04, 0.03, 0.005], [0.2, 0.2, 0.001], [1.0, 0.0], [0.04]])
def test_holm_equals_statsmodels(p):
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_a_value_among_its_like_is_as_probable_as_the_prediction_interval_says():
    others = np.random.default_rng(0).normal(2, 3, 40)
    edge = others.mean() + t.ppf(0.975, 39) * others.std(ddof=1) * np.sqrt(1 + 1 / 40)
    assert outlying(np.array([edge, others.mean()]), others, numbered(40)) == pytest.approx([0.025, 0.5])


def test_others_that_do_not_vary_name_nobody():
    assert list(outlying(np.array([5.0, -5.0]), np.zeros(9), numbered(9))) == [1, 1]


def test_others_that_are_paraphrases_of_one_another_make_a_test_cautious():
    others = np.repeat(np.random.default_rng(0).normal(size=5), 8)
    alone = outlying(np.array([3.0]), others, numbered(40))
    assert outlying(np.array([3.0]), others, np.repeat(numbered(5), 8)) > 3 * alone
