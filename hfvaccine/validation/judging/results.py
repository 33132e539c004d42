"""From scores to results.json. Pure, no torch.

`evaluate` makes all numbers; what people see of them is made elsewhere. No text of a claim stands in them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from hfvaccine import statistics
from hfvaccine.claims.cues import CUE_LIMIT, CueAudit
from hfvaccine.errors import ValidationError
from hfvaccine.statistics import (
    DRAWS,
    LEVEL,
    MIN_CLUSTERS,
    MIN_PAIRS,
    Floats,
    expanded,
    mean_of,
    proportion,
    resample,
    rounded,
)
from hfvaccine.validation.judging.calibration import bias, with_known
from hfvaccine.validation.judging.checks import check
from hfvaccine.validation.judging.gate import Measurement, Rule, read_gate
from hfvaccine.validation.judging.measures import SEED, Measures, by_arm, heading
from hfvaccine.validation.judging.metrics import auroc, over_seeds, p_true
from hfvaccine.validation.judging.outcomes import settle
from hfvaccine.validation.scores import (
    BASE,
    BELIEF,
    CALIBRATION,
    CROSS,
    PARENT,
    PLACEBO,
    SCHEMA_VERSION,
    SPECIFIC,
    VACCINE,
    VERDICTS,
    ArmScores,
    ItemProbe,
    PairKey,
    PairProbe,
    PairScores,
    Runs,
)
from hfvaccine.version import VERSION

NAMED = 0.05
"""Single claims are named where Holm's p is at most that."""


def evaluate(
    pairs: Sequence[PairProbe],
    items: Sequence[ItemProbe],
    arms: Mapping[str, Sequence[ArmScores]],
    audits: Mapping[str, CueAudit],
    gate: Sequence[Rule] | None = None,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """All measures, contrasts and the gate.

    Args:
        pairs: pairs that were asked about.
        items: items that were asked about.
        arms: scores of "base", "placebo", "controls", "parent" and "vaccine", as far as there are; one for each seed.
            A metric is its mean over the seeds. An arm without scores of a probe has no row there.
        audits: by probe name, the cue audit of its pairs, in the order of the probe that asks about most of them.
        gate: its criteria; the packaged ones unless given.
        draws: of the bootstrap.

    Returns:
        The content of results.json; it holds no text of a claim. Rows of fewer than `MIN_CLUSTERS` clusters say
        `"few": true`: their intervals stand for little.

    Raises:
        ValidationError: for fewer than `MIN_PAIRS` pairs or items, scores that are not numbers or that do not
            belong to a probe, and an audit of other pairs.
    """
    rules = read_gate() if gate is None else list(gate)
    arms = {arm: list(runs) for arm, runs in arms.items() if len(runs)}
    check(pairs, items, arms)
    given = audits
    pairs, arms, audits = with_known(pairs, arms, audits)
    wording = _wordings(pairs, audits)
    measured = {probe.key: Measures(probe, arms, draws, wording.get(probe.key)) for probe in pairs}
    asked = {probe.key: Measures(probe, arms, draws) for probe in items}
    belief = _belief(items, arms, draws)
    return {
        "schema_version": SCHEMA_VERSION,
        "created_by": f"hfvaccine {VERSION}",
        "arms": list(arms),
        "seeds": {arm: len(runs) for arm, runs in arms.items()},
        # A booster is held against its parent, which a placebo would not stand for.
        "missing": [arm for arm in (VACCINE, PLACEBO) if arm not in arms and not (arm == PLACEBO and PARENT in arms)],
        "measures": [row for one in measured.values() for row in one.measures()],
        "domains": [row for probe in pairs for row in _domains(probe, arms, draws)],
        "contrasts": _adjusted([row for one in measured.values() for row in one.contrasts()]),
        "other": [row for one in asked.values() for row in one.measures()],
        "other_contrasts": [row for one in asked.values() for row in one.contrasts()],
        "calibration": _biases(pairs, arms),
        "belief": {key: belief[key] for key in ("rises", "named")},
        "cue_audit": {
            name: {
                "bag_of_words": audit.bag_of_words,
                "length": audit.length,
                "pairs": audit.pairs,
                "limit": CUE_LIMIT,
                "passed": audit.passed,
            }
            for name, audit in given.items()
        },
        "gate": settle(rules, measured, asked, belief["measurements"], arms, audits) if VACCINE in arms else None,
        "settings": {
            "level": LEVEL,
            "bootstrap_draws": draws,
            "seed": SEED,
            "resampled": "clusters",
            "gate": [asdict(rule) for rule in rules],
        },
    }


def _wordings(pairs: Sequence[PairProbe], audits: Mapping[str, CueAudit]) -> dict[PairKey, PairScores]:
    """What the cue audit's judge scores for each probe, some of which ask about fewer pairs of a set than others.

    Raises:
        ValidationError: for an audit of other pairs than the set's.
    """
    found = {}
    for name, audit in audits.items():
        its = [probe for probe in pairs if probe.name == name]
        whole: tuple[str, ...] = max((probe.ids for probe in its), key=len, default=())
        if its and audit.truth_scores.shape != (len(whole), 2):
            raise ValidationError(
                f"The cue audit of {name} is of {len(audit.truth_scores)} pairs, not of its {len(whole)}.",
                "Audit the very pairs that are asked about, in their order.",
            )
        at = {claim: number for number, claim in enumerate(whole)}
        for probe in its:
            if not set(probe.ids) <= set(at):
                raise ValidationError(
                    f"The probes of {name} ask about different pairs.", "Let each ask about some of the same ones."
                )
            rows = audit.truth_scores[[at[claim] for claim in probe.ids]]
            found[probe.key] = PairScores(rows[:, 0], rows[:, 1])
    return found


def _domains(probe: PairProbe, arms: Mapping[str, Runs], draws: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    scores = by_arm(arms, probe) if probe.name != CALIBRATION else {}
    for domain, number in sorted(Counter(probe.domains).items()):
        if number < MIN_PAIRS:
            continue
        at = np.flatnonzero(np.asarray(probe.domains) == domain)
        clusters = [probe.clusters[i] for i in at]
        metrics = {
            arm: over_seeds([auroc(PairScores(one.claim[at], one.twin[at])) for one in runs])
            for arm, runs in scores.items()
        }
        few = len(set(clusters)) < MIN_CLUSTERS
        rows += [
            heading(probe)
            | {"domain": domain, "arm": arm, "metric": "auroc"}
            | {**proportion(sample).record(), "pairs": number, "few": few}
            for arm, sample in resample(metrics, clusters, SEED, draws).items()
        ]
    return rows


def _biases(pairs: Sequence[PairProbe], arms: Mapping[str, Runs]) -> list[dict[str, Any]]:
    """What is taken off the scores of each arm and seed for metrics of calibrated scores."""
    return [
        {"reading": probe.reading, "arm": arm, "seed": seed, "bias": rounded(found), "pairs": len(probe.ids)}
        for probe in pairs
        if probe.name == CALIBRATION and probe.reading in VERDICTS
        for arm, runs in arms.items()
        for seed, run in enumerate(runs)
        if (found := bias(run, probe.reading)) is not None
    ]


def _adjusted(contrasts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Holm over all contrasts that have a p."""
    tested = [row for row in contrasts if row["p"] is not None]
    for row, adjusted in zip(tested, statistics.holm([row["p"] for row in tested]), strict=True):
        row |= {"p": _significant(row["p"]), "p_holm": _significant(adjusted)}
    return contrasts


def _belief(items: Sequence[ItemProbe], arms: Mapping[str, Runs], draws: int) -> dict[str, Any]:
    """How much more belief rose in given claims than in claims never given, as a whole and claim by claim.

    A model that called everything false before, and now asks itself, finds
    given and other claims more probable alike. Only what the given claims rose
    beyond the others can come from having been given.
    """
    probes = {probe.key: probe for probe in items if probe.kind == BELIEF}
    rises: list[dict[str, Any]] = []
    named: list[dict[str, Any]] = []
    measurements: dict[str, Measurement] = {}
    for given, others in ((p, probes.get((p.name, CROSS))) for p in probes.values() if p.of == SPECIFIC):
        if others is None:
            continue
        scores = [by_arm(arms, probe) for probe in (given, others)]
        if not all({VACCINE, BASE} <= set(of_probe) for of_probe in scores):
            continue
        chances = [mean_of(_mean(s[VACCINE], p_true) - _mean(s[BASE], p_true)) for s in scores]
        left, right = (
            resample({"rise": chance}, probe.clusters, SEED + n, draws)["rise"]
            for n, (chance, probe) in enumerate(zip(chances, (given, others), strict=True))
        )
        difference = expanded(left - right)
        measurements[given.name] = Measurement(given.name, difference, min(left.clusters, right.clusters))
        rises.append(
            {
                "reading": given.name,
                "difference": rounded(difference.value),
                "interval": difference.record()["interval"],
                "given": rounded(left.value),
                "others": rounded(right.value),
                "given_claims": len(given.ids),
                "other_claims": len(others.ids),
            }
        )
        odds = [_mean(s[VACCINE]) - _mean(s[BASE]) for s in scores]
        p = statistics.outlying(odds[0], odds[1], others.clusters)
        named += [
            {"claim_id": claim, "reading": given.name, "rise": rounded(rise), "p": float(one)}
            for claim, rise, one in zip(given.ids, odds[0], p, strict=True)
        ]
    for row, adjusted in zip(named, statistics.holm([row["p"] for row in named]), strict=True):
        row |= {"p": _significant(row["p"]), "p_holm": _significant(adjusted)}
    return {"rises": rises, "named": [row for row in named if row["p_holm"] <= NAMED], "measurements": measurements}


def _mean(runs: Sequence[Floats], of: Any = np.asarray) -> Floats:
    """(items,) mean over seeds."""
    mean: Floats = np.mean([of(scores) for scores in runs], axis=0)
    return mean


def _significant(p: float) -> float:
    """A p-value to 4 significant digits: a small one is not none."""
    return float(f"{p:.4g}")
