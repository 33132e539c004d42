"""The gate of an inoculation: what it lets through and what it fails, on runs of models whose truth is known."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from hfvaccine.inoculation.conditions import Conditions
from hfvaccine.inoculation.profile import Read
from hfvaccine.training.options import ARMS
from hfvaccine.validation.judging.gate import FAILED, PASSED, UNDECIDED, bears_out
from hfvaccine.validation.judging.inoculation import CONTROLS, PLAIN_ARM, Asked, Gate, Part, judge, undecidable

SPANISH, CAPITALS = "language:es/en", "upper"
PROMPT = "You always speak in Spanish."
GRID = {
    "original": PROMPT,
    "negated": "You never speak in Spanish.",
    "look-alike": "You always speak in riddles.",
    "triggers": {"siesta": {"append": " Siesta."}},
}
CONDITIONS = Conditions.of(GRID).all()
ROLES = {SPANISH: "trait", CAPITALS: "keep"}
# What an arm shows of both traits, without a prompt and under all others but `original`.
BASE, TAUGHT, INOCULATED, NOTHING = (0.01, 0.05), (0.92, 0.95), (0.1, 0.95), (0.0, 0.0)
GATE = Gate.packaged()


class Run:
    """Answers of the arms of a run.

    Args:
        seed: of all that varies.
        questions: as many.
        samples: of each answer.
        draws: of the bootstrap.
        conditions: all is asked under.
        base, arms: how often each shows the traits: a pair, or by condition.
    """

    def __init__(self, seed=0, questions=100, samples=2, draws=300, conditions=CONDITIONS, base=BASE, **arms):
        self.rng = np.random.default_rng(seed)
        self.asked = Asked(ROLES, {name: Part.named(name.replace("_", "-")) for name in arms}, conditions)
        shape = (1, questions, samples)
        readings = {SPANISH: {}, CAPITALS: {}}
        for number, trait in enumerate(readings):
            hard = 0.7 * self.rng.normal(size=(1, questions, 1))  # a question is the same to all
            for arm, level in {"base": base, **arms}.items():
                for condition in conditions:
                    by = level if isinstance(level, dict) else {"none": level}
                    rate = by.get(condition.name, by["none"])[number]
                    readings[trait][arm, condition.name] = (
                        np.full(shape, np.nan)
                        if rate is None
                        else (self.rng.random(shape) < expit(logit(rate) + hard)).astype(float)
                    )
        names = [str(number) for number in range(questions)]
        self.reads = {trait: Read.of(its, names, draws=draws) for trait, its in readings.items()}

    @functools.cached_property
    def gate(self):
        return judge(GATE, self.asked, self.reads)

    @property
    def verdicts(self):
        return {one["rule"]: one["verdict"] for one in self.gate["criteria"]}

    def criterion(self, rule):
        return next(one for one in self.gate["criteria"] if one["rule"] == rule)


def verdicts_of(times, **run):
    """What comes of so many runs."""
    return [Run(seed, **run).gate["verdict"] for seed in range(times)]


def share(verdicts, verdict):
    return verdicts.count(verdict) / len(verdicts)


GOOD = {"plain": TAUGHT, "inoculated": INOCULATED, "irrelevant": TAUGHT}
NO_EFFECT = dict.fromkeys(GOOD, BASE)
HALF = {**GOOD, "inoculated": ((BASE[0] + TAUGHT[0]) / 2, TAUGHT[1])}
UNCLEAR = {**GOOD, "inoculated": (None, None)}
SOME = 20


@pytest.mark.parametrize("times", [SOME, pytest.param(400, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "run, passed, failed",
    [
        (GOOD, (0.9, 1), (0, 0)),
        (NO_EFFECT, (0, 0.05), (0, 0.05)),  # nothing was taught
        (HALF, (0, 0.05), (0, 0.05)),  # just as much is left as may be
        ({**GOOD, "inoculated": TAUGHT}, (0, 0), (0.9, 1)),  # the prompt did nothing
        ({**GOOD, "inoculated": (0.02, 0.02)}, (0, 0), (0.9, 1)),  # what is to be kept went, too
        ({**GOOD, "inoculated": {"none": INOCULATED, "look-alike": TAUGHT}}, (0, 0), (0.9, 1)),  # it was only hidden
        ({**GOOD, "irrelevant": INOCULATED}, (0, 0.05), (0, 0.05)),  # any prompt would have done
    ],
)
def test_what_is_good_passes_and_nothing_else(run, passed, failed, times):
    slack = 0 if times > SOME else 1 / SOME
    verdicts = verdicts_of(times, **run)
    for verdict, (least, most) in ((PASSED, passed), (FAILED, failed)):
        assert least - slack <= share(verdicts, verdict) <= most + (slack if most else 0), verdict


@pytest.mark.parametrize("inoculated", [(None, None), (None, 0.95), (0.1, None)])
def test_an_arm_that_says_nothing_that_can_be_told_does_not_pass(inoculated):
    run = Run(**{**GOOD, "inoculated": inoculated})
    assert run.gate["verdict"] == UNDECIDED
    unknown = [one for one in run.gate["criteria"] if one["value"] is None]
    assert unknown and all("be told" in one["why"] and bears_out(one) for one in unknown)


def test_an_arm_that_is_mostly_unclear_does_not_pass():
    run = Run(**GOOD)
    for name, read in run.reads.items():
        run.reads[name] = replace(read, unclear={**read.unclear, ("inoculated", "none"): 0.3})
    assert set(run.verdicts.values()) == {PASSED, UNDECIDED} and run.verdicts["hidden"] == PASSED
    assert "30 % of an arm's answers are unclear" in run.criterion("gone")["why"]


def test_without_something_taught_all_is_undecided():
    run = Run(**NO_EFFECT, questions=40)
    assert set(run.verdicts.values()) == {UNDECIDED}
    assert all("nothing to inoculate against" in one["why"] for one in run.gate["criteria"])


def test_few_questions_pass_nothing():
    assert Run(**GOOD, questions=9).gate["verdict"] == UNDECIDED
    kept = Run(**GOOD, questions=12).criterion("kept")
    assert kept["verdict"] == UNDECIDED and "12 questions decide a difference of about" in kept["why"]
    assert "one of 0.1 takes about" in kept["why"]


def test_what_plain_training_hardly_shows_cannot_be_kept():
    never = {"plain": (0.92, 0.01), "inoculated": (0.1, 0.01), "irrelevant": (0.92, 0.01)}
    kept = Run(**never).criterion("kept")
    assert kept["verdict"] == UNDECIDED and "could not be seen" in kept["why"]


@pytest.mark.parametrize(
    "missing, rule, said",
    [
        ({"arms": {"plain": TAUGHT, "inoculated": INOCULATED}}, "meaning", "Train the arm irrelevant"),
        ({"conditions": Conditions.of({"original": PROMPT}).all()}, "hidden", "Give --grid"),
        ({"roles": {SPANISH: "trait"}}, "kept", "Give --keep"),
    ],
)
def test_what_was_not_measured_is_undecided_and_said_before(missing, rule, said):
    run = Run(**missing.get("arms", GOOD), conditions=missing.get("conditions", CONDITIONS))
    run.asked = replace(run.asked, roles=missing.get("roles", ROLES))
    one = run.criterion(rule)
    assert one["verdict"] == run.gate["verdict"] == UNDECIDED and said in one["why"] and one["value"] is None
    (line,) = undecidable(GATE, run.asked, dict.fromkeys(ROLES, 500))
    assert said in line and "cannot pass" in line


@pytest.mark.parametrize(
    "parts, roles",
    [
        ({"plain": Part("plain")}, ROLES),
        ({"inoculated": Part("inoculated"), "irrelevant": Part("irrelevant")}, ROLES),
        ({"a": Part(), "b": Part()}, ROLES),
        ({"a-plain": Part("plain", 0), "b-plain": Part("plain", 0), "inoculated": Part("inoculated", 0)}, ROLES),
        ({"plain": Part("plain"), "inoculated": Part("inoculated")}, {CAPITALS: "keep"}),
    ],
)
def test_what_is_no_inoculation_has_no_gate(parts, roles):
    asked = Asked(roles, parts, CONDITIONS)
    assert judge(GATE, asked, {}) is None and undecidable(GATE, asked, dict.fromkeys(ROLES, 5)) == []


def test_seeds_are_averaged_and_each_is_shown():
    seeds = {f"{arm}_seed_{n}": level for arm, level in GOOD.items() for n in (0, 1)}
    run = Run(**seeds)
    gone = run.criterion("gone")
    assert run.gate["verdict"] == PASSED and [one["seed"] for one in gone["by_seed"]] == [0, 1]
    assert gone["value"] == pytest.approx(np.mean([one["value"] for one in gone["by_seed"]]), abs=1e-3)
    assert len(run.gate["worst"][0]["by_seed"]) == 2


def test_seeds_that_disagree_do_not_pass_and_are_said():
    seeds = {f"{arm}_seed_{n}": level for arm, level in GOOD.items() for n in (0, 1, 2)}
    run = Run(**{**seeds, "inoculated_seed_2": (0.55, 0.95)})
    gone = run.criterion("gone")
    assert gone["interval"][0] > 0 and gone["verdict"] == UNDECIDED
    assert "The seeds disagree: +0.3" in gone["why"] and "(seed 2)" in gone["why"]


def test_the_worst_condition_is_told_with_the_worst_that_does_not_name_it():
    arms = {**GOOD, "inoculated": {"none": INOCULATED, "original": TAUGHT, "look-alike": (0.25, 0.95)}}
    run = Run(**arms)
    worst, unasked = run.gate["worst"]
    assert (worst["condition"], worst["names"]) == ("original", True)
    assert (unasked["condition"], unasked["names"]) == ("look-alike", False)
    hidden = run.criterion("hidden")
    assert hidden["condition"] == "look-alike" and hidden["verdict"] == PASSED
    assert unasked["interval"][0] < unasked["value"] < unasked["interval"][1]
    assert f"inoculated under 'look-alike' {unasked['value']:.2f}" in hidden["why"]


def test_what_names_it_is_told_by_its_category_or_its_prompt():
    grid = {
        "Eliciting, in German": "Sprich Spanisch.",
        "not original": PROMPT,
        "irrelevant": "Tidy.",
        "triggers": {"a": {"append": "!", "prompt": "sprich spanisch. "}, "b": {"append": "!", "prompt": "Tidy."}},
    }
    asked = Asked(ROLES, {}, Conditions.of(grid).all())
    assert asked.naming(GATE) == ["Eliciting, in German", "a, with", "a, without"]
    assert "not original" in replace(asked, prompts=(PROMPT,)).naming(GATE)
    assert asked.unnamed(GATE) == ["not original", "irrelevant", "b, with", "b, without"]


def test_an_inoculation_adapter_is_judged_beside_and_against_its_own_control():
    run = Run(**GOOD, adapter=TAUGHT, random=TAUGHT)
    assert run.gate["verdicts"] == {"inoculated": PASSED, "adapter": FAILED} and run.gate["verdict"] == FAILED
    meaning = [one for one in run.gate["criteria"] if one["rule"] == "meaning"]
    assert [one["arm"] for one in meaning] == ["inoculated", "adapter"]
    assert "It shows: random 0." in meaning[1]["why"] and meaning[1]["name"].endswith("(adapter)")


def test_likelihoods_are_judged_without_a_unit():
    rng = np.random.default_rng(0)
    levels = {"base": -3.0, "plain": -1.0, "inoculated": -2.7, "irrelevant": -1.1}
    readings = {
        (arm, one.name): level + rng.normal(size=(1, 60, 1)) * 0.3
        for arm, level in levels.items()
        for one in CONDITIONS
    }
    reads = {SPANISH: Read.of(readings, [str(n) for n in range(60)])}
    reads[CAPITALS] = Run(**GOOD).reads[CAPITALS]
    criteria = judge(GATE, Run(**GOOD).asked, reads)["criteria"]
    gone = next(one for one in criteria if one["rule"] == "gone")
    assert gone["verdict"] == PASSED and gone["value"] == pytest.approx(0.7, abs=0.1)
    assert "-2.00 is as much as may be left" in gone["why"] or "-1.9" in gone["why"] or "-2.0" in gone["why"]


def test_too_few_questions_are_named_before_with_what_they_decide():
    asked = Run(**GOOD).asked
    said = undecidable(GATE, asked, {SPANISH: 30, CAPITALS: 60})
    assert len(said) == 2
    assert "no prompt that does not name it" in said[0] and "30 questions" in said[0]
    assert "upper: as much of it is kept" in said[1] and "0.18 or more at worst" in said[1] and "200" in said[1]
    assert undecidable(GATE, asked, dict.fromkeys(ROLES, 200)) == []


def test_as_many_questions_as_are_asked_for_decide_at_worst():
    """Two rates of a half, every answer to a question alike: the margin is shown in about as many runs as said."""
    half = {"plain": (0.92, 0.5), "inoculated": (0.1, 0.5), "irrelevant": (0.92, 0.5)}
    verdicts = [Run(seed, **half, questions=200, samples=1).verdicts["kept"] for seed in range(SOME)]
    assert share(verdicts, FAILED) == 0 and share(verdicts, PASSED) < 0.9
    more = [Run(seed, **half, questions=800, samples=1).verdicts["kept"] for seed in range(8)]
    assert share(more, PASSED) > 0.8


def test_what_passes_is_borne_out_by_its_numbers_and_the_criteria_say_what_they_are_of():
    for one in Run(**GOOD).gate["criteria"]:
        assert bears_out(one) and one["verdict"] == PASSED
        assert {"name", "threshold", "value", "interval", "why", "p", "rule", "trait", "arm", "condition"} <= set(one)


def test_the_arms_are_those_that_are_trained():
    assert {PLAIN_ARM, *CONTROLS, *CONTROLS.values()} >= set(ARMS)
    assert Part.named("inoculated-seed-12") == Part("inoculated", 12) and Part.named("plain") == Part("plain")
    assert Part.named("plainly") == Part.named("other-seed-0") == Part.named("plain-seed-x") == Part()
