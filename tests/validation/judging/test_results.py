"""Results: two-sided, paired, without a claim's text, and with a gate that nothing empty passes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest
from validation.judging.arms import CONDITIONS, DOMAINS, ITEMS, PAIRS, PROBES, arm, ids

from hfvaccine.claims.cues import CueAudit
from hfvaccine.errors import ValidationError
from hfvaccine.validation.judging.gate import FAILED, PASSED, UNDECIDED, Rule
from hfvaccine.validation.judging.metrics import auroc, metrics_of
from hfvaccine.validation.judging.results import evaluate
from hfvaccine.validation.scores import BASE, CONTROLS, CUE, PLACEBO, VACCINE, ArmScores, PairProbe, PairScores

DRAWS = 400
RAW = metrics_of("verdict")


def audit(value=0.5, scores=None, length=0.5):
    return CueAudit(value, length, PAIRS, (), np.zeros((PAIRS, 2)) if scores is None else scores)


FAIR = {"specific": audit(), "cross": audit()}


def evaluated(vaccine=None, pairs=PROBES, items=ITEMS, audits=FAIR, gate=None, **others):
    arms = {BASE: [arm()]} | others | ({} if vaccine is None else {VACCINE: [vaccine]})
    return evaluate(pairs, items, arms, audits, gate, draws=DRAWS)


@pytest.fixture(scope="module")
def good():
    return evaluated(arm(truth=2, seed=1), placebo=[arm(seed=2)])


def verdicts(results):
    return {c["name"]: c["verdict"] for c in results["gate"]["criteria"]}


def only(rule, vaccine, **rest):
    """What comes of a single rule."""
    return evaluated(vaccine, gate=[rule], **rest)["gate"]


def rows(results, table="measures", **wanted):
    return [row for row in results[table] if all(row[key] == value for key, value in wanted.items())]


NOT_ASKED = [
    "tells given claims in other words from their true twins",
    "tells claims never given from their true twins, after recall",
    "leans no further on claims never given, calibrated",
]
PLAIN = {"probe": "specific", "reading": "verdict", "condition": "plain"}
GAIN = Rule("gain", "specific.verdict.plain.auroc", "gain")
ACCEPTS = Rule("accepts", "specific.verdict.plain.true_acceptance", "not_worse", margin=0.01)


def test_a_vaccine_that_tells_truth_from_falsehood_passes(good):
    assert good["gate"]["verdict"] == PASSED, good["gate"]
    assert len(good["gate"]["criteria"]) == 14
    assert good["gate"]["not_applicable"] == NOT_ASKED


def test_a_vaccine_that_calls_everything_false_does_not_pass():
    never = {p.key: PairScores(-np.ones(PAIRS), -np.ones(PAIRS)) for p in PROBES}
    found = evaluated(replace(arm(seed=1), pairs=never))
    assert found["gate"]["verdict"] == FAILED
    assert verdicts(found)["accepts true twins of given claims"] == FAILED
    assert PASSED not in {v for name, v in verdicts(found).items() if name.startswith("tells")}


@pytest.mark.parametrize("lean, refused", [(-3, "accepts true twins of given claims"), (3, "rejects given claims")])
def test_a_vaccine_that_gains_but_leans_to_one_side_fails_on_the_other(lean, refused):
    found = evaluated(arm(truth=1, lean=lean, seed=1))
    assert verdicts(found)["tells given claims from their true twins"] == PASSED
    assert verdicts(found)[refused] == verdicts(found)["leans no further on claims never given"] == FAILED
    assert found["gate"]["verdict"] == FAILED


@pytest.mark.parametrize(
    "harm, criterion",
    [
        ({"belief": 1.0}, "believes given claims no more than before (asked)"),
        ({"loss": 2.5}, "keeps what it knew, in nats per token (mix, nats_per_token)"),
        ({"right": 0.2}, "keeps what it knew, in answers (arc_easy, accuracy)"),
        ({"objects": 0.2}, "refuses no more of what is true (ordinary, probability)"),
    ],
)
def test_each_harm_fails_its_own_criterion(harm, criterion):
    found = evaluated(arm(truth=2, seed=1, **harm))
    assert [name for name, verdict in verdicts(found).items() if verdict == FAILED] == [criterion]
    assert found["gate"]["verdict"] == FAILED


def test_a_gain_that_the_placebo_has_too_does_not_pass():
    assert only(GAIN, arm(truth=1, seed=1), placebo=[arm(truth=1, seed=2)])["verdict"] != PASSED
    assert only(GAIN, arm(truth=1, seed=1))["verdict"] == PASSED


def test_a_criterion_against_base_stays_against_base():
    rule = replace(GAIN, against="base")
    assert only(rule, arm(truth=1, seed=1), placebo=[arm(truth=1, seed=2)])["verdict"] == PASSED


GIVEAWAY = np.stack([-np.ones(PAIRS), np.ones(PAIRS)], axis=1)


def test_a_gain_below_what_wording_gives_away_fails():
    assert only(GAIN, arm(truth=1, seed=1), audits={"specific": audit(0.95, GIVEAWAY)})["verdict"] == FAILED


def test_a_gain_below_what_length_gives_away_fails():
    assert only(GAIN, arm(truth=1, seed=1), audits={"specific": audit(0.5, length=0.99)})["verdict"] == FAILED
    assert only(GAIN, arm(truth=1, seed=1), audits={"specific": audit(0.5, length=0.65)})["verdict"] == PASSED


def test_a_gain_on_unaudited_wording_is_undecided():
    found = only(GAIN, arm(truth=2, seed=1), audits={})
    assert found["verdict"] == UNDECIDED
    assert "wording" in found["criteria"][0]["why"]


def without(kept_pairs=PROBES, kept_items=ITEMS):
    """A good vaccine's results where only these were asked."""

    def cut(one):
        return ArmScores({p.key: one.pairs[p.key] for p in kept_pairs}, {i.key: one.items[i.key] for i in kept_items})

    arms = {BASE: [cut(arm())], VACCINE: [cut(arm(truth=2, seed=1))]}
    return evaluate(kept_pairs, kept_items, arms, FAIR, draws=DRAWS)


@pytest.mark.parametrize("kind", ["belief", "retention", "over_rejection"])
def test_the_gate_does_not_pass_where_items_are_missing(kind):
    found = without(kept_items=[item for item in ITEMS if item.kind != kind])
    assert found["gate"]["verdict"] == UNDECIDED
    (missing,) = [c for c in found["gate"]["criteria"] if c["value"] is None]
    assert missing["verdict"] == UNDECIDED and missing["interval"] is None
    assert kind.replace("_", " ") in missing["why"]


def test_the_gate_does_not_pass_where_conditions_are_missing():
    found = without(kept_pairs=[p for p in PROBES if p.condition == "plain"])
    assert found["gate"]["verdict"] == UNDECIDED
    missing = [c["name"] for c in found["gate"]["criteria"] if c["value"] is None]
    assert len(missing) == 2 and all("under tactics and pressure" in name for name in missing)


def test_a_dose_without_questions_is_judged_without_answers_and_says_so():
    found = without(kept_pairs=[p for p in PROBES if p.reading == "verdict"])
    assert found["gate"]["verdict"] == PASSED
    assert found["gate"]["not_applicable"] == ["prefers the truth to given claims in answers", *NOT_ASKED]


def test_an_arm_that_was_not_asked_leaves_the_criterion_undecided():
    silent = arm(truth=2, seed=1)
    silent.pairs.pop(PROBES[3].key)
    found = evaluated(silent)
    assert verdicts(found)["prefers the truth to given claims in answers"] == UNDECIDED
    assert not rows(found, arm=VACCINE, reading="answer", probe="specific")
    assert not rows(found, "contrasts", reading="answer", probe="specific")


def test_a_vaccine_without_anything_to_hold_it_against_is_undecided():
    found = evaluate(PROBES, ITEMS, {VACCINE: [arm(truth=2)]}, FAIR, draws=DRAWS)
    assert found["gate"]["verdict"] == UNDECIDED
    assert found["contrasts"] == found["other_contrasts"] == []


def test_acceptance_that_is_no_skill_is_called_so():
    always = arm(lean=9)
    why = only(ACCEPTS, arm(truth=1, seed=1), placebo=[always])["criteria"][0]["why"]
    assert "accepts 100 % of them" in why and "no skill" in why
    assert "no skill" not in only(ACCEPTS, arm(truth=1, seed=1), placebo=[arm(truth=2, seed=2)])["criteria"][0]["why"]


def test_a_rule_with_a_star_gives_each_its_own_verdict():
    rule = Rule("gain", "*.verdict.*.auroc", "gain")
    assert set(verdicts({"gate": only(rule, arm(truth=1, seed=1))})) == {
        f"gain ({name}, {condition})" for name in ("specific", "cross") for condition in CONDITIONS
    } | {"gain (known, plain)"}


def test_adversarial_is_the_mean_over_conditions():
    rule = Rule("pressed", "specific.verdict.adversarial.auroc", "gain")
    found = evaluated(arm(truth=1, seed=1), gate=[rule])
    (criterion,) = found["gate"]["criteria"]
    single = [rows(found, "contrasts", **{**PLAIN, "condition": c}, metric="auroc")[0] for c in CONDITIONS[1:]]
    assert criterion["value"] == pytest.approx(np.mean([one["difference"] for one in single]), abs=1e-4)
    assert "false_balance, insists_true" in criterion["why"]
    low, high = criterion["interval"]
    assert high - low < min(one["interval"][1] - one["interval"][0] for one in single)


def test_items_of_which_less_is_better_count_the_other_way_round():
    rule = Rule("mix", "item:retention:mix", "not_worse", margin=0.01)
    (criterion,) = only(rule, arm(loss=2.5))["criteria"]
    assert criterion["value"] == pytest.approx(-0.5, abs=0.01)
    (contrast,) = rows(evaluated(arm(loss=2.5)), "other_contrasts", name="mix")
    assert contrast["difference"] == pytest.approx(0.5, abs=0.01)


def test_a_base_alone_has_no_gate_and_no_contrast():
    found = evaluated()
    assert found["gate"] is None
    assert found["contrasts"] == found["other_contrasts"] == found["belief"]["rises"] == []
    assert found["missing"] == [VACCINE, PLACEBO]


def test_the_vaccine_is_held_against_every_other_arm(good):
    found = evaluated(arm(truth=1, seed=1), placebo=[arm(seed=2)], controls=[arm(seed=3)])
    for table in ("contrasts", "other_contrasts"):
        assert {row["against"] for row in found[table]} == {BASE, PLACEBO, CONTROLS}
        assert {row["arm"] for row in found[table]} == {VACCINE}
    assert found["missing"] == []


def test_every_table_has_the_columns_of_schema_3(good):
    expected = {
        "measures": "probe reading condition metric arm value interval pairs clusters matched",
        "domains": "probe reading condition domain arm metric value interval pairs",
        "contrasts": "probe reading condition metric arm against difference interval detectable p p_holm",
        "other": "name kind metric better of arm value interval items",
        "other_contrasts": "name kind metric better of arm against difference interval detectable",
    }
    assert good["schema_version"] == 3
    for table, columns in expected.items():
        assert good[table]
        assert all(set(row) == {*columns.split(), "few"} for row in good[table])
    assert json.loads(json.dumps(good, allow_nan=False)) == good


def test_every_value_lies_in_its_interval(good):
    found = evaluated(arm(truth=1, seed=1), controls=[arm(truth=0.2, seed=3), arm(truth=0.4, seed=4)])
    for row in [
        row for table in ("measures", "domains", "contrasts", "other", "other_contrasts") for row in found[table]
    ]:
        low, high = row["interval"]
        assert low <= row.get("value", row.get("difference")) <= high


def test_measures_are_the_metrics(good):
    scores = arm(truth=2, seed=1).pairs[PROBES[0].key]
    for name, metric in RAW.items():
        (row,) = rows(good, **PLAIN, arm=VACCINE, metric=name)
        assert row["value"] == pytest.approx(metric.of(scores)(np.ones((1, PAIRS)))[0], abs=1e-4)


@pytest.mark.parametrize("metric, value", [("rejection", 1), ("true_acceptance", 0), ("auroc", 0.5)])
def test_always_false_is_measured_beside_the_arms(good, metric, value):
    found = rows(good, arm="always-FALSE", metric=metric)
    assert len(found) == 2 * len(CONDITIONS) + 1  # claims that the base knows are a set of their own
    assert all(row["value"] == value and row["interval"] == [value, value] for row in found)


def test_the_wording_judge_stands_beside_the_arms_where_nothing_was_added_to_the_wording():
    found = evaluated(audits={"specific": audit(0.95, GIVEAWAY)})
    cued = rows(found, arm=CUE)
    assert {(r["probe"], r["reading"], r["metric"], r["value"]) for r in cued} == {
        ("specific", reading, metric, 1.0)
        for reading in ("verdict", "answer")
        for metric in ("auroc", "pair_accuracy")
    }
    assert {r["condition"] for r in cued} == {"plain"}
    assert found["cue_audit"]["specific"] | {} == {
        "bag_of_words": 0.95,
        "length": 0.5,
        "pairs": PAIRS,
        "limit": 0.6,
        "passed": False,
    }


def test_domains_of_four_pairs_and_more_have_a_row(good):
    found = rows(good, "domains", **PLAIN, arm=VACCINE)
    at = np.array(DOMAINS) == "health"
    scores = arm(truth=2, seed=1).pairs[PROBES[0].key]
    assert {row["domain"]: row["pairs"] for row in found} == {"health": 40, "space": 38}
    expected = auroc(PairScores(scores.claim[at], scores.twin[at]))(np.ones((1, 40)))[0]
    assert found[0]["value"] == pytest.approx(expected, abs=1e-4)


def test_few_clusters_are_marked(good):
    assert not any(row["few"] for row in good["measures"])
    grouped = [replace(p, clusters=tuple(str(i // 10) for i in range(PAIRS))) for p in PROBES]
    found = evaluated(arm(truth=3, seed=1), pairs=grouped, gate=[GAIN])
    assert all(row["few"] and row["clusters"] == 8 for row in found["measures"])
    assert found["gate"]["verdict"] == UNDECIDED
    assert "8 independent items are too few" in found["gate"]["criteria"][0]["why"]


def test_paraphrases_widen_every_interval():
    rng = np.random.default_rng(0)
    scores = PairScores(*(np.repeat(rng.normal(mean, 1, 20), 4) for mean in (-0.5, 0.5)))
    widths = []
    for clusters in (ids("a"), tuple(f"c{i // 4}" for i in range(PAIRS))):
        probe = replace(PROBES[0], clusters=clusters)
        found = evaluate([probe], [], {BASE: [ArmScores({probe.key: scores})]}, {}, draws=DRAWS)
        widths.append({r["metric"]: r["interval"][1] - r["interval"][0] for r in rows(found, arm=BASE)})
    alone, grouped = widths
    assert all(grouped[metric] > 1.4 * alone[metric] for metric in set(RAW) - {"calibration_error"})


def test_counting_contrasts_have_mcnemars_p_adjusted_over_all(good):
    before, after = (arm(truth=t, seed=s).pairs[PROBES[0].key] for t, s in ((0, 2), (2, 1)))
    worse, better = ((before.claim < 0) & (after.claim > 0)).sum(), ((before.claim > 0) & (after.claim < 0)).sum()
    (row,) = rows(good, "contrasts", **PLAIN, metric="rejection", against=PLACEBO)
    assert row["p"] == pytest.approx(binomtest(int(better), int(better + worse)).pvalue, rel=1e-3)
    assert row["p_holm"] >= row["p"]
    counted = [row for row in good["contrasts"] if row["p"] is not None]
    assert {row["metric"] for row in counted} == {"rejection", "true_acceptance", "pair_accuracy"}
    assert min(row["p_holm"] / row["p"] for row in counted if row["p_holm"] < 1) >= 1
    smallest = min(counted, key=lambda row: row["p"])
    assert smallest["p_holm"] == pytest.approx(len(counted) * smallest["p"], rel=1e-3)


def test_several_seeds_are_averaged_and_have_no_p():
    found = evaluated(arm(truth=1, seed=1), base=[arm(seed=2), arm(seed=3), arm(seed=4)])
    one = [rows(evaluated(base=[arm(seed=s)]), **PLAIN, arm=BASE, metric="d_prime")[0]["value"] for s in (2, 3, 4)]
    assert rows(found, **PLAIN, arm=BASE, metric="d_prime")[0]["value"] == pytest.approx(np.mean(one), abs=1e-3)
    assert found["seeds"] == {BASE: 3, VACCINE: 1}
    assert all(row["p"] is None and row["p_holm"] is None for row in found["contrasts"])


def test_matched_truths_are_not_compared_pair_by_pair():
    matched = [replace(p, matched=True) for p in PROBES]
    found = evaluated(arm(truth=1, seed=1), pairs=matched)
    assert not rows(found, "contrasts", metric="pair_accuracy")
    assert all(row["matched"] for row in found["measures"])


def test_belief_is_the_rise_beyond_that_of_claims_never_given():
    lifted = arm(seed=1)
    lifted.items["asked", "specific"] += 1.5
    lifted.items["asked", "cross"] += 1.0
    (rise,) = evaluated(lifted)["belief"]["rises"]
    assert rise["difference"] == pytest.approx(rise["given"] - rise["others"], abs=2e-4)
    assert 0.05 < rise["difference"] < 0.13  # sigmoid(1.5) - sigmoid(1.0) is 0.087
    assert rise["interval"][0] > 0
    assert (rise["reading"], rise["given_claims"], rise["other_claims"]) == ("asked", PAIRS, PAIRS)


def test_a_rise_in_all_claims_alike_is_no_implanted_belief():
    lifted = arm(seed=1)
    for of in ("specific", "cross"):
        lifted.items["asked", of] += 1.5
    (rise,) = evaluated(lifted)["belief"]["rises"]
    assert rise["interval"][0] < 0 < rise["interval"][1] and rise["given"] > 0.2


def test_a_single_claim_that_came_to_be_believed_is_named():
    believing = arm(seed=1)
    believing.items["asked", "specific"][7] += 5
    found = evaluated(believing)["belief"]["named"]
    assert [(row["claim_id"], row["reading"]) for row in found] == [("specific7", "asked")]
    assert found[0]["p"] < found[0]["p_holm"] < 0.05 and found[0]["rise"] > 4


def test_settings_say_how_the_numbers_were_made(good):
    assert good["settings"]["gate"][0]["measure"] == "specific.recalled_verdict|verdict.plain.auroc"
    assert {k: good["settings"][k] for k in ("level", "bootstrap_draws", "resampled")} == {
        "level": 0.95,
        "bootstrap_draws": DRAWS,
        "resampled": "clusters",
    }


def test_the_same_scores_give_the_same_results(good):
    assert evaluated(arm(truth=2, seed=1), placebo=[arm(seed=2)]) == good


def few(n):
    probe = PairProbe("specific", "verdict", "plain", ids("a", n), ids("a", n), DOMAINS[:n])
    scores = ArmScores({probe.key: PairScores(-np.arange(1.0, n + 1), np.arange(1.0, n + 1))})
    return evaluate([probe], [], {BASE: [scores]}, {}, draws=DRAWS)


def test_three_pairs_are_refused_and_four_are_marked():
    with pytest.raises(ValidationError, match="specific verdict plain has 3 pairs"):
        few(3)
    assert all(row["few"] for row in few(4)["measures"])
    (row,) = rows(few(4), arm=BASE, metric="auroc")
    assert row["value"] == 1 and row["interval"][0] < 0.6


def test_an_audit_of_other_pairs_is_refused():
    with pytest.raises(ValidationError, match="cue audit of specific is of 7 pairs"):
        evaluated(audits={"specific": replace(audit(), truth_scores=np.zeros((7, 2)))})


def cut(probe, at):
    """A probe of some of the pairs."""
    return replace(
        probe,
        ids=tuple(probe.ids[i] for i in at),
        clusters=tuple(probe.clusters[i] for i in at),
        domains=tuple(probe.domains[i] for i in at),
    )


def worded(at, wording):
    """What the wording's judge measures on the answers to some of the pairs that the verdicts are about."""
    verdict, answer = PROBES[0], cut(PROBES[3], at)
    scores = arm().pairs
    asked = PairScores(scores[answer.key].claim[at], scores[answer.key].twin[at])
    arms = {BASE: [ArmScores({verdict.key: scores[verdict.key], answer.key: asked})]}
    found = evaluate([answer, verdict], [], arms, {"specific": audit(scores=wording)}, draws=DRAWS)
    return {(row["reading"], row["metric"]): row["value"] for row in rows(found, arm=CUE)}


def test_a_probe_of_some_pairs_gets_the_audits_scores_of_exactly_these():
    wording = np.random.default_rng(5).normal(size=(PAIRS, 2))
    at = np.random.default_rng(6).permutation(PAIRS)[:20]
    found = worded(at, wording)
    for reading, some in (("verdict", np.arange(PAIRS)), ("answer", at)):
        expected = auroc(PairScores(wording[some, 0], wording[some, 1]))(np.ones((1, len(some))))[0]
        assert found[reading, "auroc"] == pytest.approx(expected, abs=1e-4)
        preferred = (wording[some, 1] > wording[some, 0]).mean()
        assert found[reading, "pair_accuracy"] == pytest.approx(preferred, abs=1e-4)

    given_away = np.zeros((PAIRS, 2))
    given_away[at, 1] = 1.0
    assert worded(at, given_away)["answer", "auroc"] == 1.0
    others = np.setdiff1d(np.arange(PAIRS), at)
    assert worded(others, given_away)["answer", "auroc"] == 0.5


def test_an_audit_of_the_fewer_pairs_alone_is_refused():
    with pytest.raises(ValidationError, match=f"cue audit of specific is of 20 pairs, not of its {PAIRS}"):
        worded(np.arange(20), np.zeros((20, 2)))


def test_probes_of_a_set_that_ask_about_different_pairs_are_refused():
    strange = replace(PROBES[3], ids=ids("strange"))
    scores = arm().pairs
    arms = {BASE: [ArmScores({key: scores[key] for key in (PROBES[0].key, strange.key)})]}
    with pytest.raises(ValidationError, match="probes of specific ask about different pairs"):
        evaluate([PROBES[0], strange], [], arms, {"specific": audit()}, draws=DRAWS)
