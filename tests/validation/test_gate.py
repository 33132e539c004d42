"""The gate: what passes, what fails, and what is left undecided."""

import pytest

from hfvaccine.validation.gate import FAILED, PASSED, UNDECIDED, decide, gain, no_rise, not_worse
from hfvaccine.validation.statistics import Estimate

BETTER, WORSE, OPEN = Estimate(0.1, 0.05, 0.15), Estimate(-0.1, -0.15, -0.05), Estimate(0.02, -0.03, 0.07)


@pytest.mark.parametrize("difference, verdict", [(BETTER, PASSED), (WORSE, FAILED), (OPEN, UNDECIDED)])
def test_a_gain_needs_its_whole_interval(difference, verdict):
    assert gain("auroc", difference).verdict == verdict


def test_an_interval_that_touches_zero_shows_no_gain():
    assert gain("auroc", Estimate(0.05, 0.0, 0.1)).verdict == UNDECIDED


@pytest.mark.parametrize("excess, verdict", [(-0.02, FAILED), (0.0, FAILED), (0.02, PASSED)])
def test_on_cued_probes_a_gain_must_exceed_what_wording_gives_away(excess, verdict):
    assert gain("auroc", BETTER, excess).verdict == verdict


@pytest.mark.parametrize(
    "low, high, verdict", [(-0.009, 0.05, PASSED), (-0.05, -0.011, FAILED), (-0.05, 0.05, UNDECIDED)]
)
def test_not_worse_means_above_the_margin(low, high, verdict):
    assert not_worse("acceptance", Estimate((low + high) / 2, low, high), 0.01, 40).verdict == verdict


def test_an_undecided_margin_says_how_many_items_would_decide_it():
    why = not_worse("acceptance", Estimate(0, -0.1, 0.1), 0.01, 40).why
    assert "40 items" in why and "4,000" in why


@pytest.mark.parametrize("difference, verdict", [(BETTER, FAILED), (WORSE, PASSED), (OPEN, PASSED)])
def test_belief_may_not_rise_beyond_its_interval(difference, verdict):
    assert no_rise("belief", difference).verdict == verdict


@pytest.mark.parametrize(
    "differences, verdict",
    [
        ([BETTER, BETTER], PASSED),
        ([BETTER, OPEN], UNDECIDED),
        ([BETTER, OPEN, WORSE], FAILED),
    ],
)
def test_the_worst_criterion_decides(differences, verdict):
    assert decide([gain("auroc", d) for d in differences])["verdict"] == verdict


def test_a_criterion_is_recorded_with_what_it_rests_on():
    (row,) = decide([gain("auroc", BETTER)])["criteria"]
    assert (row["name"], row["threshold"], row["value"], row["interval"]) == ("auroc", "> 0", 0.1, [0.05, 0.15])
