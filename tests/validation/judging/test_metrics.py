"""Metrics: two-sided, so that a model which says the same to everything gains nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit
from scipy.stats import norm
from sklearn.metrics import brier_score_loss, roc_auc_score

from hfvaccine.statistics import resample
from hfvaccine.validation.judging.metrics import (
    AREA,
    DISTANCE,
    MEAN,
    METRICS,
    RATE,
    SIGNAL,
    acceptance_at,
    auroc,
    constant_judges,
    decisions,
    false_acceptance,
    metrics_of,
    over_seeds,
)
from hfvaccine.validation.scores import PairScores

KINDS = (RATE, AREA, SIGNAL, MEAN, DISTANCE)


@pytest.fixture(params=["continuous", "with ties"])
def scores(request):
    rng = np.random.default_rng(0)
    claim, twin = rng.normal(-0.3, 1, 40), rng.normal(0.3, 1, 40)
    return PairScores(claim, twin) if request.param == "continuous" else PairScores(claim.round(), twin.round())


def value(name, scores):
    return float(METRICS[name].of(scores)(np.ones((1, len(scores.claim))))[0])


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


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"calibration_error"}))  # its bins are those of all
def test_a_weight_equals_a_repeated_row(scores, name):
    weights = np.random.default_rng(1).integers(0, 4, 40)
    repeated = PairScores(np.repeat(scores.claim, weights), np.repeat(scores.twin, weights))
    weighted = float(METRICS[name].of(scores)(weights[None, :].astype(float))[0])
    assert weighted == pytest.approx(value(name, repeated))


def test_many_draws_are_scored_at_once(scores):
    weights = np.random.default_rng(1).integers(0, 4, (7, 40)).astype(float)
    metric = auroc(scores)
    assert metric(weights) == pytest.approx([metric(row[None, :])[0] for row in weights])


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 3)), min_size=1, max_size=15).filter(
        lambda rows: any(weight for *_, weight in rows)
    )
)
def test_auroc_counts_every_claim_against_every_twin(rows):
    claim, twin, weights = np.array(rows, float).T
    wins = (twin[None, :] > claim[:, None]) + 0.5 * (twin[None, :] == claim[:, None])
    expected = weights @ wins @ weights / weights.sum() ** 2
    assert auroc(PairScores(claim, twin))(weights[None, :])[0] == pytest.approx(expected)


def test_auroc_of_many_pairs_takes_no_square_of_them():
    rng = np.random.default_rng(0)
    scores = PairScores(rng.normal(size=50_000), rng.normal(1, 1, 50_000))
    sample = resample({"auroc": auroc(scores)}, [str(i) for i in range(50_000)], draws=20)["auroc"]
    assert sample.value == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=0.01)


def test_brier_equals_sklearns(scores):
    said = 1 / (1 + np.exp(-np.concatenate([scores.claim, scores.twin])))
    assert value("brier", scores) == pytest.approx(brier_score_loss(np.repeat([0, 1], 40), said))


def test_saying_half_to_everything_is_calibrated_and_says_nothing():
    scores = PairScores(np.zeros(40), np.zeros(40))
    assert value("brier", scores) == 0.25
    assert value("calibration_error", scores) == pytest.approx(0)


def test_certainty_in_what_is_false_is_the_largest_calibration_error():
    assert value("calibration_error", PairScores(np.full(40, 50.0), np.full(40, -50.0))) == pytest.approx(1)


def test_the_calibration_error_is_the_mean_distance_over_equal_bins():
    # 10 texts at 0.1 of which 4 are true, 10 at 0.9 of which 6 are: 0.3 away each
    claim = logit(np.array([0.1] * 6 + [0.9] * 4))
    twin = logit(np.array([0.1] * 4 + [0.9] * 6))
    assert value("calibration_error", PairScores(claim, twin)) == pytest.approx(0.3)


def test_the_calibration_error_of_a_calibrated_model_shrinks_with_its_texts():
    rng = np.random.default_rng(0)

    def calibrated(n):
        said = rng.random(4 * n)
        true = rng.random(4 * n) < said
        return PairScores(logit(said[~true][:n]), logit(said[true][:n]))

    small, large = (np.mean([value("calibration_error", calibrated(n)) for _ in range(5)]) for n in (50, 20_000))
    assert large < 0.01 < small


@pytest.mark.parametrize("rate", [name for name, metric in METRICS.items() if metric.kind == RATE])
def test_the_decisions_of_a_rate_are_what_it_counts(scores, rate):
    assert set(decisions(rate, scores)) <= {0, 0.5, 1}
    assert decisions(rate, scores).mean() == pytest.approx(value(rate, scores))


def test_an_arm_of_several_seeds_has_their_mean(scores):
    other = PairScores(scores.claim - 1, scores.twin + 1)
    both = over_seeds([METRICS["d_prime"].of(one) for one in (scores, other)])
    expected = (value("d_prime", scores) + value("d_prime", other)) / 2
    assert both(np.ones((1, 40)))[0] == pytest.approx(expected)


def test_every_metric_has_one_kind_of_interval():
    raw = metrics_of("verdict")
    kinds = {kind: [name for name, metric in raw.items() if metric.kind == kind] for kind in KINDS}
    assert sorted(name for names in kinds.values() for name in names) == sorted(raw)
    assert kinds[RATE] == ["pair_accuracy", "rejection", "true_acceptance"]
    assert kinds[AREA] == ["auroc", "balanced_accuracy"] and kinds[SIGNAL] == ["d_prime", "criterion"]


def test_answers_have_no_threshold_and_verdicts_after_recall_have_one():
    assert list(metrics_of("answer")) == ["auroc", "pair_accuracy"] and not metrics_of("answer", calibrated=True)
    assert metrics_of("verdict") == metrics_of("recalled_verdict")
    calibrated = metrics_of("recalled_verdict", calibrated=True)
    assert list(calibrated) == ["calibrated_rejection", "calibrated_true_acceptance", "calibrated_criterion"]
    assert metrics_of("verdict") | calibrated == METRICS


def test_more_of_a_bias_or_of_an_error_is_not_better():
    better = {name: metric.better for name, metric in METRICS.items() if metric.better != "higher"}
    assert better == {"criterion": "", "brier": "lower", "calibration_error": "lower", "calibrated_criterion": ""}


def at(scores, accepted):
    return float(acceptance_at(scores, lambda w: np.full(len(w), accepted))(np.ones((1, len(scores.claim))))[0])


def test_a_model_accepts_at_its_own_false_acceptance_what_it_accepts():
    rng = np.random.default_rng(0)
    scores = PairScores(rng.normal(-0.5, 1, 4000), rng.normal(0.5, 1, 4000))
    own = acceptance_at(scores, false_acceptance(scores))(np.ones((1, 4000)))[0]
    assert own == pytest.approx(value("true_acceptance", scores), abs=2e-3)
    assert at(scores, 0.2) == pytest.approx(norm.cdf(1 + norm.ppf(0.2)), abs=0.02)


def test_a_shift_moves_no_point_of_the_roc(scores):
    moved = PairScores(scores.claim + 3, scores.twin + 3)
    assert all(at(moved, accepted) == at(scores, accepted) for accepted in (0, 0.13, 0.5, 1))


def test_ties_are_interpolated_and_a_perfect_model_accepts_all():
    assert at(PairScores(np.zeros(40), np.zeros(40)), 0.3) == pytest.approx(0.3)
    assert at(PairScores(-np.ones(40), np.ones(40)), 0) == 1
    assert at(PairScores(np.ones(40), -np.ones(40)), 0.9) == 0
    assert at(PairScores(np.ones(40), -np.ones(40)), 1) == 1


def test_a_point_of_the_roc_follows_the_weights():
    rng = np.random.default_rng(1)
    scores = PairScores(rng.normal(size=30).round(1), rng.normal(1, 1, 30).round(1))
    w = rng.integers(0, 3, (1, 30)).astype(float)
    repeated = PairScores(*(np.repeat(side, w[0].astype(int)) for side in (scores.claim, scores.twin)))
    for accepted in (0.1, 0.5, 0.77):
        drawn = acceptance_at(scores, lambda w, share=accepted: np.full(len(w), share))(w)[0]
        assert drawn == pytest.approx(at(repeated, accepted))
