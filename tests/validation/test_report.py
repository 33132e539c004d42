"""The report: no text of a claim, every control named, and a gate that blanket rejection cannot pass."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from hfvaccine.quarantine.screen import CueAudit
from hfvaccine.validation.gate import FAILED, PASSED
from hfvaccine.validation.metrics import PairScores
from hfvaccine.validation.probes import ProbeScores, ProbeSet
from hfvaccine.validation.report import evaluate, table, verdict_lines

PAIRS = 120


@pytest.fixture(scope="module")
def probes(make_claims):
    claims = make_claims(2 * PAIRS)
    return [ProbeSet.of("specific", claims[:PAIRS]), ProbeSet.of("cross", claims[PAIRS:])]


def arm(truth=0.0, lean=0.0, noise=1.0, seed=0):
    """Scores of a model that adds `truth` to twins, takes it from claims, and leans by `lean`."""
    rng = np.random.default_rng(seed)

    def scores():
        preference = truth + noise * rng.normal(size=PAIRS)
        verdict = PairScores(
            lean - truth + noise * rng.normal(size=PAIRS), lean + truth + noise * rng.normal(size=PAIRS)
        )
        return ProbeScores(verdict, PairScores(-preference, preference))

    return {"specific": scores(), "cross": scores()}


ALWAYS_FALSE = {
    name: ProbeScores(PairScores(-np.ones(PAIRS), -np.ones(PAIRS)), PairScores(np.zeros(PAIRS), np.zeros(PAIRS)))
    for name in ("specific", "cross")
}
SAME_LOSS = {"base": np.linspace(1, 2, 40), "vaccine": np.linspace(1, 2, 40)}


def audit(auroc=0.5, scores=None):
    return CueAudit(auroc, 0.5, PAIRS, (), np.zeros((PAIRS, 2)) if scores is None else scores)


def evaluated(probes, vaccine=None, retention=SAME_LOSS, cues=None, **others):
    arms = {"base": arm(), **({} if vaccine is None else {"vaccine": vaccine}), **others}
    cues = audit() if cues is None else cues
    return evaluate(probes, arms, {"specific": cues, "cross": cues}, retention)


def criteria(results, verdict):
    return [c["name"] for c in results["gate"]["criteria"] if c["verdict"] == verdict]


def printed(results):
    out = io.StringIO()
    Console(file=out, width=250).print(table(results))
    return out.getvalue()


def test_a_vaccine_that_tells_truth_from_falsehood_passes(probes):
    results = evaluated(probes, arm(truth=3))
    assert results["gate"]["verdict"] == PASSED, results["gate"]


def test_a_vaccine_that_calls_everything_false_does_not_pass(probes):
    results = evaluated(probes, ALWAYS_FALSE)
    assert results["gate"]["verdict"] == FAILED
    assert "specific true acceptance against base" in criteria(results, FAILED)
    assert "specific verdict AUROC over base" not in criteria(results, PASSED)


def test_a_vaccine_that_gains_but_leans_to_false_fails_on_true_acceptance(probes):
    results = evaluated(probes, arm(truth=1, lean=-3))
    assert "specific verdict AUROC over base" in criteria(results, PASSED)
    assert "specific true acceptance against base" in criteria(results, FAILED)
    assert results["gate"]["verdict"] == FAILED


def test_a_vaccine_that_implants_the_claims_fails(probes):
    believing = {"specific": arm(truth=-2)["specific"], "cross": arm()["cross"]}
    failed = criteria(evaluated(probes, believing), FAILED)
    assert "belief in the given claims, verdict, beyond that in claims never given" in failed
    assert "belief in the given claims, answer, beyond that in claims never given" in failed


def test_a_vaccine_that_forgets_the_mix_fails(probes):
    forgetful = {"base": SAME_LOSS["base"], "vaccine": SAME_LOSS["base"] + 0.5}
    failed = criteria(evaluated(probes, arm(truth=3), retention=forgetful), FAILED)
    assert failed == ["held-back mix, nats per token better than base"]


def test_a_gain_below_what_wording_gives_away_fails(probes):
    giveaway = np.stack([-np.ones(PAIRS), np.ones(PAIRS)], axis=1)
    results = evaluated(probes, arm(truth=1), cues=audit(0.95, giveaway))
    assert "specific verdict AUROC over base" in criteria(results, FAILED)


def test_a_gain_that_the_placebo_has_too_does_not_pass(probes):
    results = evaluated(
        probes, arm(truth=1), placebo=arm(truth=1), retention={**SAME_LOSS, "placebo": SAME_LOSS["base"]}
    )
    assert "specific verdict AUROC over placebo" not in criteria(results, PASSED)
    assert not any("base" in c["name"] for c in results["gate"]["criteria"])


def test_a_missing_placebo_is_said(probes):
    results = evaluated(probes, arm(truth=3))
    assert results["missing"] == ["placebo"]
    assert "control is missing" in printed(results)


def test_a_placebo_that_was_trained_is_not_missing(probes):
    results = evaluated(probes, arm(truth=3), placebo=arm(seed=1))
    assert results["missing"] == []
    assert "control is missing" not in printed(results)


def test_always_false_and_the_cue_audit_stand_in_every_table(probes):
    shown = printed(evaluated(probes, arm(truth=3)))
    assert "always-FALSE" in shown and "cue audit" in shown


@pytest.mark.parametrize("metric, value", [("rejection", 1), ("true_acceptance", 0), ("auroc", 0.5)])
def test_always_false_is_measured_beside_the_arms(probes, metric, value):
    rows = evaluated(probes, arm(truth=3))["measures"]
    assert [r["value"] for r in rows if (r["arm"], r["metric"]) == ("always-FALSE", metric)] == [value, value]


def test_a_base_alone_has_no_gate_and_no_contrast(probes):
    results = evaluated(probes)
    assert results["gate"] is None
    assert results["contrasts"] == []
    assert results["missing"] == ["vaccine", "placebo"]


def test_the_results_hold_no_text_of_a_claim(probes):
    text = json.dumps(evaluated(probes, arm(truth=3)))
    for probe in probes:
        for claim in probe.claims:
            assert not any(part in text for part in (claim.claim, claim.twin, claim.question, claim.correction))


def test_every_value_lies_in_its_interval(probes):
    for row in evaluated(probes, arm(truth=1))["measures"]:
        low, high = row["interval"]
        assert low <= row["value"] <= high


@pytest.mark.parametrize(
    "truth, outcome", [(3, "the vaccine beats base beyond"), (0, "the vaccine does not beat base beyond")]
)
def test_the_outcome_is_said_in_words(probes, truth, outcome):
    lines = verdict_lines(evaluated(probes, arm(truth=truth, seed=0)))
    assert any(line.startswith("On given claims (verdict)") and outcome in line for line in lines)


def test_a_loss_is_said_in_words(probes):
    lines = verdict_lines(evaluated(probes, arm(truth=-2)))
    assert any("the vaccine is worse than base:" in line for line in lines)


def test_a_mix_too_small_to_hold_rows_back_is_no_obstacle(probes):
    results = evaluated(probes, arm(truth=3), retention={"base": np.zeros(0), "vaccine": np.zeros(0)})
    assert results["other"] == []
    assert results["gate"]["verdict"] == PASSED
