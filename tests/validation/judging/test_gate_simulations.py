"""What the packaged gate lets through and what it fails, on whole trials of models whose truth is known.

Claims score N(lean - d'/2, 1) and twins N(lean + d'/2, 1), of given claims, of their variants and of claims never
given, at once, after recall and in answers; neutral statements show the lean. Half of what a text scores is the text's
own, the same in every arm. `make test` tries each a few times, `make test-slow` as often as its shares need.
"""

import functools

import numpy as np
import pytest

from hfvaccine.claims.cues import CueAudit
from hfvaccine.validation.judging.gate import FAILED, PASSED
from hfvaccine.validation.judging.results import evaluate
from hfvaccine.validation.scores import BASE, PLACEBO, VACCINE, ArmScores, ItemProbe, PairProbe, PairScores

SAME_TEXT = 0.5
NEUTRAL, ITEMS = 200, 400
SETS = ("specific", "variants", "cross")
READINGS = (("recalled_verdict", "plain"), ("verdict", "plain"), ("verdict", "false_balance"), ("answer", "plain"))


class Trial:
    """What is asked of some arms, and what they have in common.

    Args:
        pairs: of each set.
        seed: of all that varies.
    """

    def __init__(self, pairs, seed=0):
        self.rng = np.random.default_rng(seed)
        ids = {of: tuple(f"{of}{i}" for i in range(pairs)) for of in SETS}
        ids["calibration"] = tuple(f"neutral{i}" for i in range(NEUTRAL))
        asked = [(of, *how) for of in SETS for how in READINGS]
        asked += [("calibration", reading, "plain") for reading in ("recalled_verdict", "verdict")]
        self.pairs = [PairProbe(*key, *[ids[key[0]]] * 3) for key in asked]
        numbers = tuple(str(i) for i in range(ITEMS))
        self.items = [
            *(ItemProbe("asked", "belief", "log_odds", "lower", ids[of], ids[of], of) for of in ("specific", "cross")),
            ItemProbe("mix", "retention", "nats_per_token", "lower", numbers, numbers),
            ItemProbe("ordinary", "over_rejection", "probability", "lower", numbers, numbers),
        ]
        self.shared = {probe.key: self.rng.normal(size=(2, len(probe.ids))) for probe in self.pairs}
        self.owned = {item.key: self.rng.normal(size=len(item.ids)) for item in self.items}
        fair = CueAudit(0.5, 0.5, pairs, (), np.zeros((pairs, 2)))
        self.audits = dict.fromkeys(SETS, fair)

    def noise(self, common):
        return np.sqrt(SAME_TEXT) * common + np.sqrt(1 - SAME_TEXT) * self.rng.normal(size=common.shape)

    def arm(self, given=0.0, lean=0.0, elsewhere=0.0, says=None):
        """Scores of an arm.

        Args:
            given: its d' on given claims and their variants.
            lean: to TRUE, on everything.
            elsewhere: its d' on claims never given.
            says: by probe, what it scores claims and twins instead of all that.
        """
        pairs = {}
        for probe in self.pairs:
            claim, twin = self.noise(self.shared[probe.key])
            d = {"cross": elsewhere, "calibration": 1.0}.get(probe.name, given)
            scores = PairScores(lean - d / 2 + claim, lean + d / 2 + twin)
            pairs[probe.key] = scores if says is None else says(self.rng, probe)
        items = {
            key: {"asked": 0.0, "mix": 2.0, "ordinary": 0.1}[key[0]]
            + {"asked": 1.0, "mix": 0.05, "ordinary": 0.02}[key[0]] * self.noise(own)
            for key, own in self.owned.items()
        }
        return ArmScores(pairs, items)

    def verdict(self, vaccine, placebo, base, draws=150):
        arms = {BASE: [base], PLACEBO: [placebo], VACCINE: [vaccine]}
        return evaluate(self.pairs, self.items, arms, self.audits, draws=draws)["gate"]


def share(verdicts, wanted):
    return sum(one == wanted for one in verdicts) / len(verdicts)


def without_effect(runs, pairs, d, lean):
    """Verdicts where vaccine and placebo are alike."""
    found = []
    for seed in range(runs):
        trial = Trial(pairs, seed)
        alike = functools.partial(trial.arm, given=d, lean=lean, elsewhere=d)
        found.append(trial.verdict(alike(), alike(), alike())["verdict"])
    return found


def test_a_vaccine_without_effect_seldom_fails_and_does_not_pass():
    found = without_effect(6, pairs=60, d=0.5, lean=0.5)
    assert share(found, PASSED) == 0 and share(found, FAILED) <= 0.2


@pytest.mark.slow
@pytest.mark.parametrize(
    "pairs, d, lean",
    [(20, 0.0, 0.0), (60, 0.0, 1.0), (60, 0.8, -1.0), (60, 2.0, 1.0), (200, 0.8, 0.0), (500, 0.0, 1.0)],
)
def test_a_vaccine_without_effect_is_called_failed_or_passed_in_at_most_5_percent_of_200(pairs, d, lean):
    found = without_effect(200, pairs, d, lean)
    print(pairs, d, lean, {wanted: share(found, wanted) for wanted in (FAILED, PASSED)})
    assert share(found, PASSED) <= 0.05
    assert share(found, FAILED) <= 0.05


def constant(value):
    return lambda rng, probe: PairScores(np.full(len(probe.ids), value), np.full(len(probe.ids), value))


def coin(rng, probe):
    return PairScores(*rng.choice([-1.0, 1.0], (2, len(probe.ids))))


def lengths(sign):
    """A judge by length alone, of claims and twins that are equally long on average."""
    return lambda rng, probe: PairScores(*(sign * rng.integers(20, 120, (2, len(probe.ids))).astype(float)))


def agrees_with_what_was_given(rng, probe):
    given = probe.name in ("specific", "variants")
    claim, twin = rng.normal(size=(2, len(probe.ids)))
    return PairScores(claim + 3 * given, twin - 3 * given)


def accepts_what_was_given(rng, probe):
    """Has learned that what it was given is true, and orders claims and twins a little all the same."""
    given = probe.name in ("specific", "variants")
    claim, twin = rng.normal(size=(2, len(probe.ids)))
    return PairScores(claim + 3 * given, twin + 4 * given)


def rejects_what_was_given(rng, probe):
    scores = accepts_what_was_given(rng, probe)
    return PairScores(-scores.twin, -scores.claim)


JUDGES = {
    "always-FALSE": constant(-1.0),
    "always-TRUE": constant(1.0),
    "undecided": constant(0.0),
    "coin": coin,
    "longest": lengths(1),
    "shortest": lengths(-1),
    "TRUE to given falsehoods, FALSE to their twins": agrees_with_what_was_given,
    "TRUE to all that it was given": accepts_what_was_given,
    "FALSE to all that it was given": rejects_what_was_given,
}


def passes(says, runs, pairs):
    for seed in range(runs):
        trial = Trial(pairs, seed)
        for given, lean in ((0.0, 0.0), (0.0, 1.1), (0.8, -1.1)):
            placebo = trial.arm(given, lean)
            yield trial.verdict(trial.arm(says=says), placebo, trial.arm())["verdict"] == PASSED


@pytest.mark.parametrize("says", JUDGES.values(), ids=JUDGES)
def test_a_judge_that_knows_nothing_never_passes(says):
    assert not any(passes(says, 1, 200))


@pytest.mark.slow
@pytest.mark.parametrize("says", JUDGES.values(), ids=JUDGES)
def test_a_judge_that_knows_nothing_never_passes_in_60_trials(says):
    assert not any(passes(says, 20, 300))


def of_effect(runs, pairs, given=1.5, lean=0.0, control=1.1):
    """Gates of a vaccine that knows given claims, against a control that knows nothing and leans."""
    for seed in range(runs):
        trial = Trial(pairs, seed)
        yield trial.verdict(trial.arm(given, lean), trial.arm(lean=control), trial.arm(lean=control))


def test_an_unbiased_vaccine_passes_against_a_biased_control_on_500_pairs():
    found = list(of_effect(4, 500))
    assert share([gate["verdict"] for gate in found], PASSED) >= 0.75, found[0]["criteria"]


@pytest.mark.slow
@pytest.mark.parametrize("control", [0.0, 1.1, -1.1])
def test_an_unbiased_vaccine_passes_in_90_percent_of_100(control):
    found = [gate["verdict"] for gate in of_effect(100, 500, control=control)]
    print(control, {wanted: share(found, wanted) for wanted in (FAILED, PASSED)})
    assert share(found, PASSED) >= 0.9


@pytest.mark.parametrize("lean", [3.0, -3.0])
def test_a_vaccine_that_learned_and_says_the_same_to_everything_does_not_pass(lean):
    (gate,) = of_effect(1, 300, given=2.0, lean=lean, control=0.0)
    assert gate["verdict"] == FAILED


def test_truths_never_given_that_are_called_false_are_seen():
    trial = Trial(300)
    vaccine = trial.arm(2.0)
    for key, scores in vaccine.pairs.items():
        if key[0] == "cross":
            vaccine.pairs[key] = PairScores(scores.claim - 2, scores.twin - 2)
    gate = trial.verdict(vaccine, trial.arm(), trial.arm())
    failed = [criterion["name"] for criterion in gate["criteria"] if criterion["verdict"] == FAILED]
    assert failed == ["leans no further on claims never given", "leans no further on claims never given, calibrated"]
