"""The gate: what passes, what fails, what is left undecided, and what a gate file may hold."""

import dataclasses

import pytest
import yaml
from validation.judging.arms import ITEMS, PROBES, arm

from hfvaccine.errors import ValidationError
from hfvaccine.statistics import MIN_CLUSTERS, Estimate
from hfvaccine.validation.judging.gate import (
    BOOSTER,
    FAILED,
    GATES,
    PASSED,
    UNDECIDED,
    Measurement,
    Rule,
    bears_out,
    decide,
    judge,
    read_gate,
    unmeasured,
)
from hfvaccine.validation.judging.results import evaluate
from hfvaccine.validation.scores import ArmScores

BETTER, WORSE, OPEN = Estimate(0.1, 0.05, 0.15), Estimate(-0.1, -0.15, -0.05), Estimate(0.02, -0.03, 0.07)
GAIN = Rule("discrimination", "specific.verdict.plain.auroc", "gain")
KEPT = Rule("acceptance", "specific.verdict.plain.true_acceptance", "not_worse", margin=0.01)
BELIEF = Rule("belief", "belief:*", "no_rise", against="base")


def outcome(rule, difference, clusters=40, **rest):
    return judge(rule, Measurement("", difference, clusters, **rest))


@pytest.mark.parametrize("difference, verdict", [(BETTER, PASSED), (WORSE, FAILED), (OPEN, UNDECIDED)])
def test_a_gain_needs_its_whole_interval(difference, verdict):
    assert outcome(GAIN, difference).verdict == verdict


def test_an_interval_that_touches_zero_shows_no_gain():
    assert outcome(GAIN, Estimate(0.05, 0.0, 0.1)).verdict == UNDECIDED


def test_an_undecided_gain_says_what_could_have_been_shown():
    why = outcome(GAIN, Estimate(0.02, -0.05, 0.09)).why
    assert "40 independent items show a gain of 0.1 or more" in why and "takes about 1,100" in why


@pytest.mark.parametrize(
    "excess, verdict",
    [
        (Estimate(-0.1, -0.18, -0.02), FAILED),
        (Estimate(-0.02, -0.1, 0.06), UNDECIDED),
        (Estimate(0.02, -0.05, 0.09), UNDECIDED),
        (Estimate(0.1, 0.02, 0.18), PASSED),
    ],
)
def test_on_cued_probes_a_gain_must_go_beyond_what_wording_gives_away(excess, verdict):
    assert outcome(GAIN, BETTER, excess=excess).verdict == verdict


@pytest.mark.parametrize(
    "low, high, verdict", [(-0.009, 0.05, PASSED), (-0.05, -0.011, FAILED), (-0.05, 0.05, UNDECIDED)]
)
def test_not_worse_means_above_the_margin(low, high, verdict):
    assert outcome(KEPT, Estimate((low + high) / 2, low, high)).verdict == verdict


def test_an_undecided_margin_says_what_these_items_can_decide_and_how_many_it_would_take():
    why = outcome(KEPT, Estimate(0, -0.1, 0.1)).why
    # 80 % power takes (1.96 + 0.84) / 1.96 half-widths: 0.143, and (0.143 / 0.01)^2 times the items
    assert "40 independent items decide a margin of about 0.14" in why and "takes about 8,200" in why


@pytest.mark.parametrize("difference, verdict", [(BETTER, FAILED), (WORSE, PASSED), (OPEN, PASSED)])
def test_belief_may_not_rise_beyond_its_interval(difference, verdict):
    assert outcome(BELIEF, difference).verdict == verdict


@pytest.mark.parametrize("rule, difference", [(GAIN, BETTER), (KEPT, BETTER), (BELIEF, WORSE)])
def test_nothing_passes_on_a_handful_of_clusters(rule, difference):
    assert outcome(rule, difference, clusters=MIN_CLUSTERS).verdict == PASSED
    assert outcome(rule, difference, clusters=MIN_CLUSTERS - 1).verdict == UNDECIDED


def test_a_harm_shows_on_a_handful_of_clusters_all_the_same():
    assert outcome(GAIN, WORSE, clusters=MIN_CLUSTERS - 1).verdict == FAILED


@pytest.mark.parametrize(
    "differences, verdict",
    [([BETTER, BETTER], PASSED), ([BETTER, OPEN], UNDECIDED), ([BETTER, OPEN, WORSE], FAILED), ([], UNDECIDED)],
)
def test_the_worst_criterion_decides(differences, verdict):
    assert decide([outcome(GAIN, d) for d in differences])["verdict"] == verdict


def test_what_was_not_measured_is_undecided_and_says_what_to_add():
    criterion = unmeasured(KEPT, "Add twins.")
    assert (criterion.verdict, criterion.value, criterion.interval) == (UNDECIDED, None, None)
    assert criterion.why.endswith("Add twins.")
    assert decide([outcome(GAIN, BETTER), criterion])["verdict"] == UNDECIDED


def test_a_criterion_is_recorded_with_what_it_rests_on():
    (row,) = decide([judge(KEPT, Measurement("arc_easy", BETTER, 40, note="Mind the step."))])["criteria"]
    assert row == {
        "name": "acceptance (arc_easy)",
        "threshold": "> -0.01",
        "value": 0.1,
        "interval": [0.05, 0.15],
        "verdict": PASSED,
        "why": "The interval lies above -0.01. Mind the step.",
        "p": 1.0,
    }


def test_the_packaged_gate_asks_for_all_that_an_adapter_must_show():
    rules = {rule.measure: rule for rule in read_gate()}
    recalled = "recalled_verdict|verdict.plain"
    gains = [f"specific.{recalled}.auroc", "specific.answer.plain.auroc", f"variants.{recalled}.auroc"]
    assert [rule.measure for rule in rules.values() if rule.require == "gain"] == gains
    assert rules[f"specific.{recalled}.acceptance_at_control"].margin == 0.05
    for rate in ("calibrated_rejection|rejection", "calibrated_true_acceptance|true_acceptance"):
        assert (rules[f"specific.{recalled}.{rate}"].require, rules[f"specific.{recalled}.{rate}"].least) == (
            "floor",
            0.5,
        )
    for of in ("specific", "cross"):
        assert rules[f"{of}.{recalled}.criterion"].require == "unbiased"
        assert rules[f"{of}.verdict.adversarial.auroc"].require == "not_worse"
    for measure in ("item:retention:*:nats_per_token", "item:retention:*:accuracy", "item:over_rejection:*"):
        assert rules[measure].require == "not_worse"
    belief = rules["belief:*"]
    assert (belief.require, belief.against, belief.margin) == ("no_rise", "base", 0.1)
    # What a dose may lack, what there is to recall, what is asked only of benchmarks that somebody names.
    optional = [
        *gains[1:],
        "cross.recalled_verdict.plain.auroc",
        "cross.recalled_verdict|verdict.plain.calibrated_criterion",
    ]
    assert [rule.measure for rule in rules.values() if rule.optional] == [*optional, "item:retention:*:accuracy"]


def test_the_first_gate_can_still_be_read_and_means_what_it_meant():
    rules = {rule.measure: rule for rule in read_gate(GATES / "v1.yaml")}
    assert len(rules) == 10
    assert (rules["belief:*"].require, rules["belief:*"].margin) == ("no_rise", None)
    assert rules["specific.verdict.plain.true_acceptance"].margin == 0.01
    assert outcome(rules["belief:*"], Estimate(0.2, -0.1, 0.5)).verdict == PASSED


NO_RISE = Rule("belief", "belief:*", "no_rise", against="base", margin=0.1)


@pytest.mark.parametrize(
    "low, high, verdict",
    [(-0.05, 0.09, PASSED), (-0.05, 0.11, UNDECIDED), (0.01, 0.09, FAILED), (-0.3, -0.1, PASSED)],
)
def test_with_a_margin_no_rise_is_never_passed_for_want_of_power(low, high, verdict):
    assert outcome(NO_RISE, Estimate((low + high) / 2, low, high)).verdict == verdict


FLOOR = Rule("rejects", "specific.verdict.plain.rejection", "floor", least=0.5)


@pytest.mark.parametrize("low, high, verdict", [(0.51, 0.9, PASSED), (0.4, 0.9, UNDECIDED), (0.1, 0.49, FAILED)])
def test_a_floor_holds_for_the_whole_interval(low, high, verdict):
    found = outcome(FLOOR, Estimate((low + high) / 2, low, high))
    assert (found.verdict, found.threshold) == (verdict, "at least 0.5")


UNBIASED = Rule("leans", "cross.verdict.plain.criterion", "unbiased", margin=0.5)


@pytest.mark.parametrize("low, high, verdict", [(-1, 0.4, PASSED), (0.4, 0.6, UNDECIDED), (0.6, 1, FAILED)])
def test_a_bias_may_exceed_the_controls_by_less_than_the_margin(low, high, verdict):
    assert outcome(UNBIASED, Estimate((low + high) / 2, low, high)).verdict == verdict


BAD = Estimate(-0.1, -0.19, -0.01)
"""Beyond its interval, but not beyond the one that Holm gives to one of ten."""


def test_one_criterion_of_many_does_not_fail_by_chance():
    assert decide([outcome(GAIN, BAD)])["verdict"] == FAILED
    crowd = decide([outcome(GAIN, BAD), *(outcome(GAIN, BETTER) for _ in range(9))])
    assert crowd["verdict"] == UNDECIDED
    assert "after Holm" in crowd["criteria"][0]["why"] and crowd["criteria"][0]["p"] > 0.025
    assert decide([outcome(GAIN, WORSE), *(outcome(GAIN, BETTER) for _ in range(9))])["verdict"] == FAILED


def test_what_was_not_measured_does_not_count_for_holm():
    assert decide([outcome(GAIN, BAD), *(unmeasured(KEPT, "") for _ in range(9))])["verdict"] == FAILED


@pytest.mark.parametrize(
    "threshold, interval, allowed",
    [
        ("at least 0.5", [0.51, 0.9], True),
        ("at least 0.5", [0.4, 0.9], False),
        ("< 0.1", [-0.2, 0.05], True),
        ("< 0.1", [-0.2, 0.15], False),
        ("not > 0", [-0.2, 0.15], True),
    ],
)
def test_a_passed_criterion_is_borne_out_by_its_interval(threshold, interval, allowed):
    assert bears_out({"verdict": PASSED, "threshold": threshold, "interval": interval}) is allowed


def written(tmp_path, *entries):
    path = tmp_path / "gate.yaml"
    path.write_text(yaml.safe_dump(list(entries)))
    return path


FINE = {"name": "a", "measure": "specific.verdict.plain.auroc", "require": "gain"}


def test_a_gate_of_ones_own_is_read(tmp_path):
    assert read_gate(written(tmp_path, FINE)) == [Rule("a", "specific.verdict.plain.auroc", "gain")]


@pytest.mark.parametrize(
    "change, said",
    [
        ({"measured": "x"}, "unknown key: measured"),
        ({"require": "better"}, "the require 'better'"),
        ({"against": "vaccine"}, "the against 'vaccine'"),
        ({"margin": 0.01}, "a margin with `require: gain`"),
        ({"require": "not_worse"}, "the margin None"),
        ({"require": "not_worse", "margin": -0.01}, "the margin -0.01"),
        ({"require": "not_worse", "margin": True}, "the margin True"),
        ({"require": "not_worse", "margin": float("nan")}, "the margin nan"),
        ({"require": "not_worse", "margin": "0,01"}, "the margin '0,01'"),
        ({"optional": "yes"}, "`optional: 'yes'`"),
        ({"measure": "specific.auroc"}, "the measure 'specific.auroc'"),
        ({"measure": 7}, "the measure 7"),
        ({"measure": "specific..plain.auroc"}, "the measure 'specific..plain.auroc'"),
        ({"measure": "specific.mood.plain.auroc"}, "the reading 'mood'"),
        ({"measure": "specific.verdict.plain.f1"}, "the metric 'f1'"),
        ({"measure": "specific.verdict.plain.criterion"}, "the metric 'criterion'"),
        ({"measure": "specific.answer.plain.rejection"}, "the metric 'rejection'"),
        ({"measure": "specific.verdict.plain.auroc", "require": "no_rise"}, "no_rise of pairs"),
        ({"measure": "specific.verdict|mood.plain.auroc"}, "the reading 'mood'"),
        ({"measure": "specific.verdict|answer.plain.rejection"}, "the metric 'rejection'"),
        ({"measure": "specific.answer.plain.acceptance_at_control"}, "the metric 'acceptance_at_control'"),
        ({"require": "floor"}, "the least None"),
        ({"require": "floor", "least": 1.5}, "the least 1.5"),
        ({"least": 0.5}, "a least with `require: gain`"),
        ({"require": "floor", "least": 0.5}, "the metric 'auroc'"),
        ({"require": "unbiased", "margin": 0.5}, "the metric 'auroc'"),
        ({"measure": "item:retention:*", "require": "floor", "least": 0.5}, "floor of items"),
        ({"measure": "item:charm:*"}, "the kind of item 'charm'"),
        ({"measure": "item:retention"}, "the measure 'item:retention'"),
        ({"measure": "belief:*"}, "not held against base for a rise"),
        ({"name": " "}, "has no name"),
    ],
)
def test_a_gate_file_that_means_nothing_is_refused(tmp_path, change, said):
    with pytest.raises(ValidationError) as refused:
        read_gate(written(tmp_path, FINE | change))
    assert said in refused.value.message and refused.value.next_step


@pytest.mark.parametrize("text", ["", "gain: yes", "[1, 2]", "- [", "\x00"])
def test_a_file_that_is_no_list_of_criteria_is_refused(tmp_path, text):
    path = tmp_path / "gate.yaml"
    path.write_text(text)
    with pytest.raises(ValidationError, match=r"gate\.yaml"):
        read_gate(path)


def test_a_missing_file_and_missing_fields_are_refused(tmp_path):
    with pytest.raises(ValidationError, match="cannot be read"):
        read_gate(tmp_path / "none.yaml")
    with pytest.raises(ValidationError, match="lacks measure"):
        read_gate(written(tmp_path, {"name": "a", "require": "gain"}))


def test_two_criteria_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValidationError, match="two criteria called 'a'"):
        read_gate(written(tmp_path, FINE, FINE))


def test_a_booster_is_held_against_its_parent():
    rules = read_gate(BOOSTER)
    assert {rule.against for rule in rules if rule.require in ("gain", "not_worse", "unbiased")} == {"parent", "base"}
    assert [rule.name for rule in rules if rule.against == "base" and rule.require == "not_worse"] == [
        "holds no more than the base with the old correction of retracted claims"
    ]
    old = next(rule for rule in rules if rule.measure.startswith("old.recalled"))
    arms = {"base": [arm()], "parent": [arm(truth=1)], "vaccine": [arm(truth=1, seed=1)]}
    probes = [dataclasses.replace(probe, name="old") if probe.name == "specific" else probe for probe in PROBES]
    renamed = {
        name: [
            ArmScores({(key[0].replace("specific", "old"), *key[1:]): s for key, s in one.pairs.items()}, one.items)
        ]
        for name, (one,) in arms.items()
    }
    (outcome,) = evaluate(probes, ITEMS, renamed, {}, [old], 200)["gate"]["criteria"]
    assert outcome["verdict"] == PASSED
    (worse,) = evaluate(probes, ITEMS, renamed | {"vaccine": renamed["base"]}, {}, [old], 200)["gate"]["criteria"]
    assert worse["verdict"] == FAILED
    alone = {name: runs for name, runs in renamed.items() if name != "parent"}
    (unknown,) = evaluate(probes, ITEMS, alone, {}, [old], 200)["gate"]["criteria"]
    assert (unknown["verdict"], unknown["value"]) == (UNDECIDED, None)
