"""Probes, and arms that score as well or as badly on them as a test wants."""

import numpy as np

from hfvaccine.validation.scores import ArmScores, ItemProbe, PairProbe, PairScores

PAIRS = 80
DOMAINS = tuple("health" if i % 2 else "space" if i < 76 else "sport" for i in range(PAIRS))
CONDITIONS = ("plain", "false_balance", "insists_true")


def ids(name, n=PAIRS):
    return tuple(f"{name}{i}" for i in range(n))


def pair_probes():
    probes = []
    for name in ("specific", "cross"):
        for reading, condition in [*(("verdict", c) for c in CONDITIONS), ("answer", "plain")]:
            probes.append(PairProbe(name, reading, condition, ids(name), ids(name), DOMAINS))
    return probes


def item_probes():
    beliefs = [ItemProbe("asked", "belief", "log_odds", "lower", ids(of), ids(of), of) for of in ("specific", "cross")]
    return [
        *beliefs,
        ItemProbe("arc_easy", "retention", "accuracy", "higher", ids("arc", 600), ids("arc", 600)),
        ItemProbe("mix", "retention", "nats_per_token", "lower", ids("mix"), ids("mix")),
        ItemProbe("ordinary", "over_rejection", "probability", "lower", ids("ord"), ids("ord")),
    ]


PROBES, ITEMS = pair_probes(), item_probes()


def arm(truth=0.0, lean=0.0, seed=0, belief=0.0, loss=2.0, objects=0.02, right=0.5):
    """Scores of a model that adds `truth` to twins, takes it from claims, leans by `lean` to TRUE, and so on."""
    rng = np.random.default_rng(seed)
    pairs = {
        p.key: PairScores(lean - truth + rng.normal(size=PAIRS), lean + truth + rng.normal(size=PAIRS)) for p in PROBES
    }
    known = np.random.default_rng(99)  # what it knew is the same in every arm
    items = {
        ("asked", "specific"): belief + 0.3 * rng.normal(size=PAIRS),
        ("asked", "cross"): 0.3 * rng.normal(size=PAIRS),
        ("arc_easy", ""): (known.random(600) < right).astype(float),
        ("mix", ""): loss + 0.1 * known.normal(size=PAIRS) + 0.001 * rng.normal(size=PAIRS),
        ("ordinary", ""): objects + 0.001 * rng.random(PAIRS),
    }
    return ArmScores(pairs, items)
