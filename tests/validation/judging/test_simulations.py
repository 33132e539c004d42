"""What the intervals cover and what the gate lets through, on models whose truth is known.

The equal-variance normal model: claims score N(-d/2 - c, 1), twins N(d/2 - c, 1), so that d' = d, the criterion is c,
AUROC = Phi(d / sqrt 2) and the rates are normal tails. Texts of a cluster, the two texts of a pair, and the same text
in two arms are correlated. The fast version of each simulation finds gross errors; `make test-slow` runs 1,000.

Measured so, in 1,000 runs, of intervals that claim 95 %: where no rate is near 0 or 1, all cover 93 to 97 % from 20
clusters on. A sharp model (d' = 2.5, AUROC 0.96) is covered by 92 % for AUROC with 20 clusters of paraphrases, and
by up to 99.8 % for counts, which are whole numbers. With 8 clusters d' and differences of rates cover 88 to 92 %:
rows of fewer than 10 are marked, and no gate passes on them. Of 300 vaccines that differ from their placebo by
nothing but noise a single gain alone passed 3 %. What the whole gate does is in test_gate_simulations.py.
"""

import numpy as np
import pytest
from scipy.stats import norm

from hfvaccine.claims.cues import CueAudit
from hfvaccine.statistics import Estimate, Sample, expanded, resample
from hfvaccine.validation.judging.gate import FAILED, PASSED, Rule
from hfvaccine.validation.judging.results import evaluate
from hfvaccine.validation.scores import BASE, PLACEBO, VACCINE, ArmScores, ItemProbe, PairProbe, PairScores

LEANING, SHARP = {"d": (1.5, 1.0), "c": 0.5}, {"d": (2.5, 2.0), "c": 0.0}
SAME_CLUSTER, SAME_PAIR, SAME_TEXT = 0.6, 0.3, 0.5
"""Correlations: of paraphrases, of claim and twin, of one text in two arms."""


class Model:
    """Draws the scores of two arms."""

    def __init__(self, clusters, paraphrases, d, c, seed=0):
        self.k, self.m, self.d, self.c = clusters, paraphrases, d, c
        self.rng = np.random.default_rng(seed)
        n = clusters * paraphrases
        self.ids = tuple(str(i) for i in range(n))
        self.clusters = tuple(str(i // paraphrases) for i in range(n))

    def noise(self):
        alike = np.repeat(self.rng.normal(size=self.k), self.m)
        own = self.rng.normal(size=self.k * self.m)
        return np.sqrt(SAME_CLUSTER) * alike + np.sqrt(1 - SAME_CLUSTER) * own

    def mixed(self, shared, share):
        return np.sqrt(share) * shared + np.sqrt(1 - share) * self.noise()

    def arms(self):
        texts, topic = (self.noise(), self.noise()), self.noise()
        for d in self.d:
            about = self.mixed(topic, SAME_TEXT)
            claim, twin = (
                np.sqrt(SAME_PAIR) * about + np.sqrt(1 - SAME_PAIR) * self.mixed(text, SAME_TEXT) for text in texts
            )
            yield PairScores(claim - d / 2 - self.c, twin + d / 2 - self.c)

    def truth(self, arm):
        d, c = self.d[arm], self.c
        accepts, rejects = norm.cdf(d / 2 - c), norm.cdf(d / 2 + c)
        return {
            "auroc": norm.cdf(d / np.sqrt(2)),
            "pair_accuracy": norm.cdf(d / np.sqrt(2 * (1 - SAME_PAIR))),
            "rejection": rejects,
            "true_acceptance": accepts,
            "balanced_accuracy": (accepts + rejects) / 2,
            "d_prime": d,
            "criterion": c,
        }

    def at_control(self):
        """How many more twins the first accepts at the false acceptance of the second."""
        own, other = self.d
        return norm.cdf(own - other / 2 - self.c) - norm.cdf(other / 2 - self.c)


def probe_of(model, name="specific", reading="verdict", condition="plain"):
    return PairProbe(name, reading, condition, model.ids, model.clusters, model.ids)


def coverage(clusters, paraphrases, model, runs, draws=400):
    """How often the intervals of results.json hold the truth, by metric, of an arm and of a difference."""
    model = Model(clusters, paraphrases, **model)
    probe = probe_of(model)
    left, right = model.truth(0), model.truth(1)
    held = {}
    for _ in range(runs):
        arms = {arm: [ArmScores({probe.key: s})] for arm, s in zip((VACCINE, BASE), model.arms(), strict=True)}
        results = evaluate([probe], [], arms, {}, [], draws)
        for row in results["measures"]:
            if row["arm"] == VACCINE and row["metric"] in left:
                low, high = row["interval"]
                held.setdefault(row["metric"], []).append(low - 1e-4 <= left[row["metric"]] <= high + 1e-4)
        for row in results["contrasts"]:
            low, high = row["interval"]
            true = (
                model.at_control()
                if row["metric"] == "acceptance_at_control"
                else left[row["metric"]] - right[row["metric"]]
            )
            held.setdefault(f"difference of {row['metric']}", []).append(low - 1e-4 <= true <= high + 1e-4)
    assert len(held) == 15
    return {metric: np.mean(one) for metric, one in held.items()}


@pytest.mark.parametrize("clusters, paraphrases", [(20, 1), (20, 3)])
def test_intervals_cover_what_they_claim(clusters, paraphrases):
    held = coverage(clusters, paraphrases, LEANING, runs=120, draws=200)
    assert min(held.values()) > 0.89, held


@pytest.mark.slow
@pytest.mark.parametrize("clusters, paraphrases", [(20, 1), (60, 1), (200, 1), (20, 3), (60, 3)])
def test_intervals_cover_93_to_97_percent_of_1000(clusters, paraphrases):
    held = coverage(clusters, paraphrases, LEANING, runs=1000)
    print(clusters, paraphrases, {metric: round(100 * float(one), 1) for metric, one in held.items()})
    assert min(held.values()) >= 0.93 and max(held.values()) <= 0.97, held


@pytest.mark.slow
@pytest.mark.parametrize("clusters, paraphrases", [(20, 1), (20, 3), (200, 1)])
def test_near_0_and_1_intervals_cover_too_much_rather_than_too_little(clusters, paraphrases):
    held = coverage(clusters, paraphrases, SHARP, runs=1000)
    print(clusters, paraphrases, {metric: round(100 * float(one), 1) for metric, one in held.items()})
    assert min(held.values()) >= (0.93 if paraphrases == 1 else 0.91), held


def plain_percentile(sample):
    low, high = np.quantile(sample.draws, [0.025, 0.975])
    return Estimate(sample.value, float(low), float(high))


def means_held(interval, clusters, runs, draws=400):
    """Coverage of the mean of skewed values, such as losses."""
    rng, held = np.random.default_rng(0), []
    names = [str(i) for i in range(clusters)]
    for run in range(runs):
        values = rng.gamma(4, 1, clusters) - rng.gamma(4, 0.5, clusters)
        estimate = interval(resample({"": lambda w, v=values: w @ v / w.sum(1)}, names, run, draws)[""])
        held.append(estimate.low <= 2 <= estimate.high)
    return float(np.mean(held))


def test_expanding_mends_what_a_percentile_interval_of_few_clusters_lacks():
    assert means_held(plain_percentile, 8, 500) < 0.91
    assert means_held(expanded, 8, 500) > 0.92


@pytest.mark.slow
@pytest.mark.parametrize("clusters", [20, 60, 200])
def test_intervals_of_means_cover_93_to_97_percent(clusters):
    assert 0.93 <= means_held(expanded, clusters, 1000) <= 0.97


class Trial:
    """Whole trials: probes of given claims and claims never given, belief, retention, over-rejection."""

    def __init__(self, pairs=60, items=600, seed=0):
        self.rng = np.random.default_rng(seed)
        self.n, self.items_n = pairs, items
        ids = {of: tuple(f"{of}{i}" for i in range(pairs)) for of in ("specific", "cross")}
        asked = (("verdict", "plain"), ("verdict", "false_balance"), ("verdict", "insists_true"), ("answer", "plain"))
        self.pairs = [PairProbe(of, *one, ids[of], ids[of], ids[of]) for of in ids for one in asked]
        numbers = tuple(str(i) for i in range(items))
        self.items = [
            *(ItemProbe("yes_no", "belief", "log_odds", "lower", ids[of], ids[of], of) for of in ids),
            ItemProbe("arc_easy", "retention", "accuracy", "higher", numbers, numbers),
            ItemProbe("mix", "retention", "nats_per_token", "lower", numbers, numbers),
            ItemProbe("ordinary", "over_rejection", "probability", "lower", numbers, numbers),
        ]
        known = self.rng.random(items) < 0.6
        self.known, self.cost = known.astype(float), self.rng.gamma(4, 0.5, items)

    def arm(self, d=0.8, c=0.3, answer=None, score=None):
        rng, n = self.rng, self.n
        pairs = {}
        for probe in self.pairs:
            size = d if probe.reading == "verdict" or answer is None else answer
            lean = c if probe.reading == "verdict" else 0
            pairs[probe.key] = (
                PairScores(rng.normal(-size / 2 - lean, 1, n), rng.normal(size / 2 - lean, 1, n))
                if score is None
                else PairScores(score(rng, n), score(rng, n))
            )
        changed = rng.random(self.items_n) < 0.002
        items = {
            ("yes_no", "specific"): rng.normal(-1, 1, n),
            ("yes_no", "cross"): rng.normal(-1, 1, n),
            ("arc_easy", ""): np.where(changed, 1 - self.known, self.known),
            ("mix", ""): self.cost + 0.02 * rng.normal(size=self.items_n),
            ("ordinary", ""): 0.02 + 0.01 * rng.random(self.items_n),
        }
        return ArmScores(pairs, items)

    def gate(self, vaccine, placebo, base=None, gate=None, audits=None, draws=400):
        arms = {BASE: [base or self.arm()], PLACEBO: [placebo], VACCINE: [vaccine]}
        fair = CueAudit(0.5, 0.5, self.n, (), np.zeros((self.n, 2)))
        return evaluate(self.pairs, self.items, arms, audits or {"specific": fair, "cross": fair}, gate, draws)["gate"]


GAIN = Rule("gain", "specific.verdict.plain.auroc", "gain")
ACCEPTS = Rule("accepts", "specific.verdict.plain.true_acceptance", "not_worse", margin=0.05)
BELIEF = Rule("belief", "belief:*", "no_rise", against="base")


def no_effect(runs, pairs=60):
    """Verdicts of trials in which vaccine and placebo are alike: the gate's, and each single rule's."""
    rules = {"gain": [GAIN], "belief": [BELIEF]}
    seen = {name: [] for name in ("gate", *rules)}
    for seed in range(runs):
        trial = Trial(pairs, items=100, seed=seed)
        vaccine, placebo, base = trial.arm(), trial.arm(), trial.arm()
        seen["gate"].append(trial.gate(vaccine, placebo, base, draws=200)["verdict"])
        for name, rule in rules.items():
            seen[name].append(trial.gate(vaccine, placebo, base, rule, draws=200)["verdict"])
    return seen


def share(verdicts, wanted):
    return sum(one == wanted for one in verdicts) / len(verdicts)


def test_the_gate_lets_no_vaccine_without_effect_through():
    seen = no_effect(12)
    assert share(seen["gate"], PASSED) == 0
    assert share(seen["gain"], PASSED) <= 0.1


@pytest.mark.slow
def test_false_positives_of_the_gate_stay_below_5_percent_of_300():
    seen = no_effect(300)
    print({name: (share(one, PASSED), share(one, FAILED)) for name, one in seen.items()})
    assert share(seen["gate"], PASSED) == 0
    assert share(seen["gain"], PASSED) <= 0.05
    assert share(seen["belief"], FAILED) <= 0.05


def accepts_less(runs, pairs, by):
    """How often a vaccine passes that accepts twins less often than the placebo, by as much as the margin."""
    passed = 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        probe = PairProbe("specific", "verdict", "plain", *[tuple(str(i) for i in range(pairs))] * 3)
        before = rng.random(pairs)
        claims = rng.normal(-1, 1, pairs)
        again = np.where(rng.random(pairs) < 0.5, before, rng.random(pairs))
        arms = {
            arm: [ArmScores({probe.key: PairScores(claims, np.where(luck < rate, 1.0, -1.0))})]
            for arm, luck, rate in ((BASE, before, 0.8), (VACCINE, again, 0.8 - by))
        }
        passed += evaluate([probe], [], arms, {}, [ACCEPTS], 200)["gate"]["verdict"] == PASSED
    return passed / runs


def test_a_vaccine_that_is_worse_by_the_margin_seldom_passes_as_not_worse():
    assert accepts_less(60, 400, by=0.05) <= 0.1
    assert accepts_less(60, 400, by=-0.05) >= 0.9


@pytest.mark.slow
def test_a_vaccine_that_is_worse_by_the_margin_passes_in_less_than_4_percent_of_1000():
    passed = accepts_less(1000, 400, by=0.05)
    print(passed)
    assert passed <= 0.04  # 2.5 % and what 1,000 runs can tell


@pytest.mark.parametrize(
    "score",
    [
        lambda rng, n: np.full(n, -1.0),
        lambda rng, n: np.full(n, 1.0),
        lambda rng, n: rng.choice([-1.0, 1.0], n),
        lambda rng, n: np.zeros(n),
    ],
    ids=["always-FALSE", "always-TRUE", "coin", "undecided"],
)
@pytest.mark.parametrize("against", [0.0, 0.8])
def test_models_that_know_nothing_never_pass(score, against):
    for seed in range(3):
        trial = Trial(200, seed=seed)
        outcome = trial.gate(trial.arm(score=score), trial.arm(d=against), draws=200)
        assert outcome["verdict"] != PASSED
        assert not any(c["verdict"] == PASSED for c in outcome["criteria"][:2])


def cue_only(runs, pairs=200):
    """How often a model passes that sees the wording alone, and as well as the audit's judge does."""
    passed = audited = 0
    for seed in range(runs):
        trial = Trial(pairs, seed=seed)
        rng = np.random.default_rng(1000 + seed)
        cue = rng.normal([-0.8, 0.8], 1, (pairs, 2))
        judge = CueAudit(0.8, 0.5, pairs, (), cue + 0.5 * rng.normal(size=cue.shape))
        vaccine, placebo = trial.arm(), trial.arm(d=0)
        for reading in ("verdict", "answer"):
            seen = cue + 0.5 * rng.normal(size=cue.shape)
            vaccine.pairs["specific", reading, "plain"] = PairScores(seen[:, 0], seen[:, 1])
        outcome = trial.gate(vaccine, placebo, gate=[GAIN], audits={"specific": judge}, draws=200)
        passed += outcome["verdict"] == PASSED
        fair = CueAudit(0.5, 0.5, pairs, (), judge.truth_scores)
        audited += trial.gate(vaccine, placebo, gate=[GAIN], audits={"specific": fair}, draws=200)["verdict"] == PASSED
    return passed / runs, audited / runs


def test_a_model_that_sees_only_the_wording_passes_only_where_nobody_audits():
    passed, unaudited = cue_only(12)
    assert passed <= 0.05
    assert unaudited == 1


@pytest.mark.slow
def test_a_model_that_sees_only_the_wording_passes_in_less_than_5_percent():
    assert cue_only(300)[0] <= 0.05


def test_real_discrimination_passes_with_enough_pairs():
    verdicts = []
    for seed in range(4):
        trial = Trial(400, items=1000, seed=seed)
        vaccine = trial.arm(d=2.0)
        # claims never given are none the worse
        outcome = trial.gate(vaccine, trial.arm())
        verdicts.append(outcome["verdict"])
    assert verdicts.count(PASSED) >= 3, outcome


def test_an_implanted_belief_fails_where_the_rise_is_as_large_as_it_can_show():
    failed = 0
    for seed in range(10):
        trial = Trial(100, items=50, seed=seed)
        vaccine, base = trial.arm(), trial.arm()
        vaccine.items["yes_no", "specific"] += 0.8
        failed += trial.gate(vaccine, trial.arm(), base, [BELIEF], draws=200)["verdict"] == FAILED
    assert failed >= 8


def test_a_sample_of_one_value_stays_where_it_is():
    estimate = expanded(Sample(0.3, np.full(50, 0.3), 12))
    assert estimate == Estimate(0.3, 0.3, 0.3)
