"""Intervals: against known values, and against theory where it is exact."""

import numpy as np
import pytest
from scipy.stats import binomtest

from hfvaccine.validation.statistics import bootstrap, cluster_weights, pairs_needed, wilson


def mean_of(values):
    return lambda w: w @ values / w.sum(1)


def test_wilson_gives_the_published_interval_of_8_in_10():
    assert wilson(8, 10).interval == pytest.approx((0.4902, 0.9433), abs=1e-4)


@pytest.mark.parametrize("successes, n", [(0, 10), (1, 7), (50, 100), (10, 10), (999, 1000)])
def test_wilson_equals_scipys(successes, n):
    peer = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    estimate = wilson(successes, n)
    assert estimate.value == successes / n
    assert estimate.interval == pytest.approx((peer.low, peer.high), abs=1e-9)


def test_the_bootstrap_of_a_mean_comes_close_to_the_normal_interval():
    values = np.random.default_rng(0).normal(3, 2, 400)
    estimate = bootstrap(mean_of(values), cluster_weights([str(i) for i in range(400)]))
    half = 1.96 * values.std() / 20
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.interval == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_paraphrases_count_as_one():
    values = np.random.default_rng(0).normal(0, 1, 50)
    alone = bootstrap(mean_of(values), cluster_weights([str(i) for i in range(50)]))
    fourfold = bootstrap(mean_of(np.repeat(values, 4)), cluster_weights(np.repeat(np.arange(50).astype(str), 4)))
    assert fourfold.high - fourfold.low == pytest.approx(alone.high - alone.low, rel=0.1)


def test_members_of_a_cluster_are_drawn_together():
    weights = cluster_weights(["a", "b", "a", "c"], draws=200)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(1) == 3).all()


def test_one_seed_pairs_the_draws_of_two_arms():
    clusters = [str(i) for i in range(20)]
    assert (cluster_weights(clusters, seed=1) == cluster_weights(clusters, seed=1)).all()
    assert (cluster_weights(clusters, seed=1) != cluster_weights(clusters, seed=2)).any()


def test_a_paired_difference_of_equal_arms_is_exactly_nothing():
    values = np.random.default_rng(0).normal(0, 1, 30)
    weights = cluster_weights([str(i) for i in range(30)])
    arm = mean_of(values)
    assert bootstrap(lambda w: arm(w) - arm(w), weights).interval == (0, 0)


def test_a_tenth_of_the_margin_needs_a_hundred_times_the_pairs():
    assert pairs_needed(-0.1, 0.1, 0.01, 100) == 10_000


def test_no_fewer_pairs_are_asked_for_than_there_are():
    assert pairs_needed(-0.001, 0.001, 0.01, 100) == 100
