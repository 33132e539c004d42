"""A bias that is no knowledge is taken off, and claims that the base knows are a set of their own."""

from dataclasses import replace

import numpy as np
import pytest
from validation.judging.arms import PAIRS, PROBES, arm, ids

from hfvaccine.claims.cues import CueAudit
from hfvaccine.validation.judging.calibration import bias_of, known_claims, with_known
from hfvaccine.validation.judging.compare import compare
from hfvaccine.validation.judging.results import evaluate
from hfvaccine.validation.judging.score_file import write_scores
from hfvaccine.validation.scores import BASE, CUE, PLACEBO, VACCINE, ArmScores, PairProbe, PairScores

DRAWS = 200
NEUTRAL = 30
CALIBRATION = [
    PairProbe("calibration", reading, "plain", *[ids("neutral", NEUTRAL)] * 3)
    for reading in ("verdict", "recalled_verdict")
]
GIVEN, CROSS, ANSWERS = (
    PairProbe(name, reading, "plain", *[ids(name)] * 3)
    for name, reading in (("specific", "recalled_verdict"), ("cross", "recalled_verdict"), ("cross", "answer"))
)
ASKED = [GIVEN, CROSS, ANSWERS, *CALIBRATION]


def model(truth=1.0, lean=0.0, seed=0, neutral=None):
    """An arm whose lean shows in neutral statements too, unless another is given for these."""
    rng = np.random.default_rng(seed)
    pairs = {}
    for probe in ASKED:
        n, moved = len(probe.ids), lean
        if probe in CALIBRATION:
            moved = lean if neutral is None else neutral
        pairs[probe.key] = PairScores(moved - truth / 2 + rng.normal(size=n), moved + truth / 2 + rng.normal(size=n))
    return ArmScores(pairs)


def judged(asked=ASKED, audits=None, **arms):
    return evaluate(asked, [], {arm: [runs] for arm, runs in arms.items()}, audits or {}, [], DRAWS)


def value(results, arm, metric, probe="specific", table="measures"):
    (row,) = (r for r in results[table] if (r["probe"], r["arm"], r["metric"]) == (probe, arm, metric))
    return row


def test_a_shift_moves_the_bias_and_no_calibrated_metric():
    still, moved = (judged(base=model(lean=lean)) for lean in (0, -2.5))
    for metric in ("calibrated_rejection", "calibrated_true_acceptance", "calibrated_criterion"):
        assert value(still, BASE, metric) == value(moved, BASE, metric)
    assert value(moved, BASE, "true_acceptance")["value"] < 0.1
    (before, _), (after, _) = still["calibration"], moved["calibration"]
    assert after["bias"] - before["bias"] == pytest.approx(-2.5, abs=2e-4)
    assert (after["arm"], after["seed"], after["pairs"], after["reading"]) == (BASE, 0, NEUTRAL, "verdict")


def test_a_lean_that_neutral_statements_do_not_show_stays():
    found = judged(base=model(lean=-2.5, neutral=0.0))
    assert value(found, BASE, "calibrated_true_acceptance")["value"] < 0.1
    assert value(found, BASE, "calibrated_criterion")["value"] > 1.5


def test_a_few_vigorous_answers_do_not_move_the_bias():
    rng = np.random.default_rng(0)
    calm = PairScores(rng.normal(-1, 0.2, 40), rng.normal(1, 0.2, 40))
    claim = calm.claim.copy()
    claim[:3] += 50
    assert abs(bias_of(calm)) < 0.1 and abs(bias_of(PairScores(claim, calm.twin)) - bias_of(calm)) < 0.1


def test_without_calibration_there_are_no_calibrated_metrics():
    raw = [probe for probe in ASKED if probe not in CALIBRATION]
    found = judged(raw, base=ArmScores({probe.key: model().pairs[probe.key] for probe in raw}))
    assert not [row for row in found["measures"] if row["metric"].startswith("calibrated")]
    assert found["calibration"] == []


def test_an_arm_without_calibration_is_not_compared_in_calibrated_metrics():
    silent = model(seed=1)
    for probe in CALIBRATION:
        silent.pairs.pop(probe.key)
    found = judged(base=model(), placebo=silent, vaccine=model(2, seed=2))
    against = {row["against"] for row in found["contrasts"] if row["metric"] == "calibrated_rejection"}
    assert against == {BASE}


def test_calibrated_contrasts_stand_beside_the_raw_ones():
    found = judged(base=model(), vaccine=model(2, lean=-1, seed=2))
    names = [r["metric"] for r in found["contrasts"] if (r["probe"], r["reading"]) == ("specific", "recalled_verdict")]
    assert names[-4:] == [
        "calibrated_rejection",
        "calibrated_true_acceptance",
        "calibrated_criterion",
        "acceptance_at_control",
    ]
    assert all(row["probe"] != "calibration" for row in found["contrasts"] + found["domains"])


def test_claims_are_known_where_the_base_prefers_their_truth_in_answers():
    base = model()
    scores = base.pairs[ANSWERS.key]
    expected = {claim for claim, right in zip(ANSWERS.ids, scores.twin > scores.claim, strict=True) if right}
    arms = {BASE: [base, model(seed=7)], VACCINE: [model(seed=3)]}
    assert known_claims(ASKED, arms) == expected
    pairs, filled, _ = with_known(ASKED, arms, {})
    (known,) = (probe for probe in pairs if probe.name == "known")
    assert set(known.ids) == expected and known.reading == "recalled_verdict"
    whole, some = filled[VACCINE][0].pairs[CROSS.key], filled[VACCINE][0].pairs[known.key]
    at = [CROSS.ids.index(claim) for claim in known.ids]
    assert np.array_equal(some.claim, whole.claim[at]) and np.array_equal(some.twin, whole.twin[at])
    assert known.key not in arms[VACCINE][0].pairs


def test_known_claims_are_measured_and_few_are_not():
    found = judged(base=model(), vaccine=model(seed=2))
    assert value(found, VACCINE, "auroc", probe="known")["pairs"] > 40
    unknowing = model()
    scores = unknowing.pairs[ANSWERS.key]
    low = np.minimum(scores.claim, scores.twin) - 1
    low[:3] = np.maximum(scores.claim, scores.twin)[:3] + 1
    unknowing.pairs[ANSWERS.key] = replace(scores, twin=low)
    found = judged(base=unknowing, vaccine=model(seed=2))
    assert not [row for row in found["measures"] if row["probe"] == "known"]


def test_the_wording_of_known_claims_is_that_of_the_set_they_are_from():
    wording = np.stack([-np.ones(PAIRS), np.ones(PAIRS)], axis=1)
    audits = {"cross": CueAudit(0.5, 0.5, PAIRS, (), wording)}
    found = judged(audits=audits, base=model())
    assert value(found, CUE, "auroc", probe="known")["value"] == 1
    assert list(found["cue_audit"]) == ["cross"]


def test_two_runs_are_compared_in_calibrated_metrics_each_less_its_own_bias(tmp_path):
    for name, lean in (("a", 0), ("b", 3)):
        write_scores(ASKED, [], {VACCINE: [model(lean=lean)]}, tmp_path / name)
    rows = {(r["probe"], r["metric"]): r for r in compare(tmp_path / "a", tmp_path / "b")}
    assert rows["specific", "calibrated_rejection"]["difference"] == 0
    assert rows["specific", "rejection"]["difference"] > 0.5
    write_scores(PROBES, [], {VACCINE: [ArmScores(arm().pairs)]}, tmp_path / "c")
    assert not [r for r in compare(tmp_path / "c", tmp_path / "c") if r["metric"].startswith("calibrated")]


def test_truths_at_the_controls_false_acceptance_are_held_against_each_control():
    biased = model(truth=0, lean=1.2, seed=3)
    found = judged(base=model(truth=0), placebo=biased, vaccine=model(truth=3, seed=2))
    rows = {
        r["against"]: r
        for r in found["contrasts"]
        if r["metric"] == "acceptance_at_control" and r["probe"] == "specific"
    }
    assert set(rows) == {BASE, PLACEBO}
    assert all(row["interval"][0] > 0 and row["p"] is None for row in rows.values())
    raw = next(
        r
        for r in found["contrasts"]
        if (r["metric"], r["against"], r["probe"]) == ("true_acceptance", PLACEBO, "specific")
    )
    assert rows[PLACEBO]["difference"] > raw["difference"]
