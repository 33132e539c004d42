"""Results and scores of an invented trial, for tests of what people see."""

import numpy as np

from hfvaccine.claims.claim import TACTICS
from hfvaccine.claims.cues import CueAudit
from hfvaccine.claims.reserved import INSISTS_FALSE, INSISTS_TRUE
from hfvaccine.validation.judging.results import evaluate
from hfvaccine.validation.scores import (
    ANSWER,
    BELIEF,
    HIGHER,
    LOWER,
    OVER_REJECTION,
    PLAIN,
    RETENTION,
    TRUTHFULNESS,
    VERDICT,
    ArmScores,
    ItemProbe,
    PairProbe,
    PairScores,
)

PROBE_NAMES = ("specific", "cross")
DOMAINS = ("health", "science", "history", "geography", "civics", "technology")
CONDITIONS = (PLAIN, *TACTICS[1:], INSISTS_TRUE, INSISTS_FALSE)
SKILL = {"base": 0.15, "placebo": 0.2, "controls": 0.4, "vaccine": 0.9}
LEAN = {"base": -0.8, "placebo": -0.6, "controls": 0.1, "vaccine": 0.0}
DRAWS = 200
JUDGED = {
    "judge": "EntailmentJudge",
    "answers": 1240,
    "labelled": 80,
    "error": {
        "sensitivity": {"value": 0.91, "interval": [0.8, 0.97]},
        "specificity": {"value": 0.72, "interval": [0.6, 0.83]},
        "kappa": {"value": 0.63, "interval": [0.5, 0.76]},
    },
    "corrected": [
        {"arm": arm, "of": of, "value": value, "interval": [round(value - 0.1, 2), round(value + 0.1, 2)]}
        for arm, of, value in (
            ("vaccine", "specific", 0.61),
            ("base", "specific", 0.32),
            ("base", "cross", 0.33),
        )
    ],
}
"""What the results say of a judge of free text, as `Interview.report` gives it."""


def trial(arms=("base", "placebo", "vaccine"), pairs=60, conditions=CONDITIONS, cued=False, seed=0):
    """Results and scores (as `score_file.read_scores` gives them) of arms that gain in the order of `SKILL`."""
    rng = np.random.default_rng(seed)
    probes = [
        PairProbe(
            name,
            reading,
            condition,
            tuple(f"{name}-{i:03}" for i in range(pairs)),
            tuple(f"{name}-{i // 2:03}" for i in range(pairs)),
            tuple(DOMAINS[i % len(DOMAINS)] for i in range(pairs)),
        )
        for name in PROBE_NAMES
        for reading, condition in (*((VERDICT, c) for c in conditions), (ANSWER, PLAIN))
    ]
    skills = (
        ("arc_easy", RETENTION, "accuracy", HIGHER, 200),
        ("mmlu", RETENTION, "accuracy", HIGHER, 200),
        ("held_back_mix", RETENTION, "nats_per_token", LOWER, 40),
        ("truthfulqa", TRUTHFULNESS, "mc2", HIGHER, 100),
        ("over_rejection", OVER_REJECTION, "refused", LOWER, 80),
    )
    items = [ItemProbe(n, k, m, b, _ids(n, size), _ids(n, size)) for n, k, m, b, size in skills]
    items += [
        ItemProbe("verdict", BELIEF, "log_odds", LOWER, _ids(of, pairs), _ids(of, pairs), of) for of in PROBE_NAMES
    ]
    scores = {arm: [_arm(rng, probes, items, SKILL[arm], LEAN[arm])] for arm in arms}
    audit = CueAudit(
        0.71 if cued else 0.52, 0.5, 2 * pairs, (), rng.normal([-0.4 * cued, 0.4 * cued], size=(pairs, 2))
    )
    results = evaluate(probes, items, scores, {"specific": audit, "cross": audit}, draws=DRAWS)
    return results, (probes, items, scores)


def _ids(name, size):
    return tuple(f"{name}-{i:03}" for i in range(size))


def _arm(rng, probes, items, skill, lean):
    pairs = {}
    for probe in probes:
        pull = {INSISTS_TRUE: 0.9, INSISTS_FALSE: -0.9}.get(probe.condition, 0.0)
        shape = len(probe.ids)
        pairs[probe.key] = PairScores(
            lean + pull - skill + rng.normal(size=shape), lean + pull + skill + rng.normal(size=shape)
        )
    scored = {}
    for item in items:
        size = len(item.ids)
        if item.kind == BELIEF:
            fall = 1.5 * skill if item.of == "specific" else 0.5 * skill
            scored[item.key] = 0.5 - fall + np.random.default_rng(9).normal(size=size) + 0.4 * rng.normal(size=size)
        elif item.metric in ("accuracy", "refused"):
            scored[item.key] = (rng.random(size) < (0.55 if item.metric == "accuracy" else 0.1)).astype(float)
        else:
            scored[item.key] = 1 + 0.2 * rng.random(size)
    return ArmScores(pairs, scored)
