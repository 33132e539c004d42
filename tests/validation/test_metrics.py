"""Metrics: two-sided, so that a model which says the same to everything gains nothing."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from hfvaccine.validation.metrics import VERDICT_METRICS, PairScores, auroc, constant_judges


@pytest.fixture(params=["continuous", "with ties"])
def scores(request):
    rng = np.random.default_rng(0)
    claim, twin = rng.normal(-0.3, 1, 40), rng.normal(0.3, 1, 40)
    return PairScores(claim, twin) if request.param == "continuous" else PairScores(claim.round(), twin.round())


def value(name, scores):
    return float(VERDICT_METRICS[name](scores)(np.ones((1, len(scores.claim))))[0])


def test_auroc_equals_sklearns(scores):
    truth = np.repeat([0, 1], 40)
    assert value("auroc", scores) == pytest.approx(roc_auc_score(truth, np.concatenate([scores.claim, scores.twin])))


@pytest.mark.parametrize("judge", ["always-FALSE", "always-TRUE"])
@pytest.mark.parametrize(
    "metric, chance", [("auroc", 0.5), ("pair_accuracy", 0.5), ("balanced_accuracy", 0.5), ("d_prime", 0)]
)
def test_saying_the_same_to_everything_is_chance(judge, metric, chance):
    assert value(metric, constant_judges(25)[judge]) == pytest.approx(chance)


@pytest.mark.parametrize("judge, rejects, accepts", [("always-FALSE", 1, 0), ("always-TRUE", 0, 1)])
def test_one_sided_rates_reward_it(judge, rejects, accepts):
    scores = constant_judges(25)[judge]
    assert (value("rejection", scores), value("true_acceptance", scores)) == (rejects, accepts)


def test_the_criterion_tells_which_way_a_judge_leans():
    judges = constant_judges(25)
    assert value("criterion", judges["always-FALSE"]) > 1
    assert value("criterion", judges["always-TRUE"]) == pytest.approx(-value("criterion", judges["always-FALSE"]))


def test_d_prime_is_the_log_linear_one_of_hautus():
    scores = PairScores(claim=np.array([-1.0, -1, -1, 1]), twin=np.array([1.0, 1, 1, 1]))
    assert value("d_prime", scores) == pytest.approx(norm.ppf(4.5 / 5) - norm.ppf(1.5 / 5))


def test_ties_count_half():
    scores = PairScores(claim=np.array([0.0, -1]), twin=np.array([0.0, 1]))
    assert value("pair_accuracy", scores) == 0.75
    assert value("rejection", scores) == 0.75
    assert value("true_acceptance", scores) == 0.75


def test_perfect_judges_get_everything():
    scores = PairScores(claim=-np.ones(10), twin=np.ones(10))
    names = ("auroc", "pair_accuracy", "rejection", "true_acceptance", "balanced_accuracy")
    assert [value(name, scores) for name in names] == [1] * 5


@pytest.mark.parametrize("name", VERDICT_METRICS)
def test_a_weight_equals_a_repeated_row(scores, name):
    weights = np.random.default_rng(1).integers(0, 4, 40)
    repeated = PairScores(np.repeat(scores.claim, weights), np.repeat(scores.twin, weights))
    weighted = float(VERDICT_METRICS[name](scores)(weights[None, :].astype(float))[0])
    assert weighted == pytest.approx(value(name, repeated))


def test_many_draws_are_scored_at_once(scores):
    weights = np.random.default_rng(1).integers(0, 4, (7, 40)).astype(float)
    metric = auroc(scores)
    assert metric(weights) == pytest.approx([metric(row[None, :])[0] for row in weights])
