"""From scores to results.json, the gate and the terminal table. Pure, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hfvaccine.quarantine.screen import CUE_LIMIT, CueAudit
from hfvaccine.validation import gate
from hfvaccine.validation.metrics import (
    RATES,
    VERDICT_METRICS,
    PairScores,
    auroc,
    constant_judges,
    pair_accuracy,
    true_acceptance,
)
from hfvaccine.validation.probes import ProbeScores, ProbeSet
from hfvaccine.validation.statistics import (
    DRAWS,
    LEVEL,
    Estimate,
    Floats,
    Weighted,
    bootstrap,
    cluster_weights,
    wilson,
)
from hfvaccine.version import VERSION

SCHEMA_VERSION = 1
BASE, PLACEBO, VACCINE, CUE = "base", "placebo", "vaccine", "cue audit"
READINGS = ("verdict", "answer")
ANSWER_METRICS = {"auroc": auroc, "pair_accuracy": pair_accuracy}
CONTRASTED = {
    "verdict": ("auroc", "pair_accuracy", "true_acceptance", "rejection"),
    "answer": ("auroc", "pair_accuracy"),
}
SEED = 0


def evaluate(
    probes: Sequence[ProbeSet],
    arms: Mapping[str, Mapping[str, ProbeScores]],
    audits: Mapping[str, CueAudit],
    retention: Mapping[str, Floats],
) -> dict[str, Any]:
    """All measures, contrasts and the gate.

    Args:
        probes: what was asked.
        arms: scores by arm ("base", "vaccine", perhaps "placebo") and probe name.
        audits: the cue audit of each probe's pairs.
        retention: by arm, nats per token of held-back mix rows; may be empty.

    Returns:
        The content of results.json; it holds no text of a claim.
    """
    retention = {arm: values for arm, values in retention.items() if len(values)}  # a small mix holds nothing back
    measures: list[dict[str, Any]] = []
    contrasts: list[dict[str, Any]] = []
    for probe in probes:
        weights = cluster_weights(probe.clusters, SEED)
        counts = {"pairs": len(probe.claims), "clusters": len(set(probe.clusters))}
        for reading in READINGS:
            metrics = VERDICT_METRICS if reading == "verdict" else ANSWER_METRICS
            judged = {arm: _reading(scores[probe.name], reading) for arm, scores in arms.items()}
            if reading == "verdict":
                judged |= constant_judges(len(probe.claims))
            judged[CUE] = _wording_judge(audits[probe.name])
            for arm, scores in judged.items():
                for name, metric in metrics.items():
                    if arm == CUE and name not in ANSWER_METRICS:
                        continue  # that judge's scores have no natural zero
                    estimate = _estimate(name, metric(scores), weights, arm in arms or arm == CUE)
                    measures.append(_row(probe.name, reading, name, arm, estimate) | counts)
            for against in (BASE, PLACEBO):
                if against not in arms or VACCINE not in arms:
                    continue
                for name in CONTRASTED[reading]:
                    difference = _difference(metrics[name](judged[VACCINE]), metrics[name](judged[against]), weights)
                    contrasts.append(
                        {
                            "probe": probe.name,
                            "reading": reading,
                            "metric": name,
                            "arm": VACCINE,
                            "against": against,
                            "difference": round(difference.value, 4),
                            "interval": _rounded(difference.interval),
                        }
                    )
    other = [
        {
            "name": "retention_loss",
            "arm": arm,
            "value": round(float(values.mean()), 4),
            "interval": _rounded(bootstrap(_mean_of(values), cluster_weights(_numbered(values), SEED)).interval),
            "items": len(values),
        }
        for arm, values in retention.items()
    ]
    results: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "created_by": f"hfvaccine {VERSION}",
        "arms": list(arms),
        "missing": [arm for arm in (VACCINE, PLACEBO) if arm not in arms],
        "measures": measures,
        "contrasts": contrasts,
        "other": other,
        "cue_audit": {
            name: {
                "bag_of_words": a.bag_of_words,
                "length": a.length,
                "pairs": a.pairs,
                "limit": CUE_LIMIT,
                "passed": a.passed,
            }
            for name, a in audits.items()
        },
        "gate": None,
        "settings": {"level": LEVEL, "bootstrap_draws": DRAWS, "seed": SEED, "resampled": "clusters"},
    }
    if VACCINE in arms:
        results["gate"] = _gate(probes, arms, audits, retention)
    return results


def _gate(
    probes: Sequence[ProbeSet],
    arms: Mapping[str, Mapping[str, ProbeScores]],
    audits: Mapping[str, CueAudit],
    retention: Mapping[str, Floats],
) -> Mapping[str, Any]:
    """Discrimination up on given claims in both readings, no belief implanted, twins still accepted, skills kept."""
    against = PLACEBO if PLACEBO in arms else BASE
    criteria: list[gate.Criterion] = []
    cross_clusters = next(p.clusters for p in probes if p.name == "cross")
    rise = {p.name: [_belief_rise(arms, p.name, reading) for reading in READINGS] for p in probes}
    for probe in probes:
        weights = cluster_weights(probe.clusters, SEED)
        vaccine, other = (arms[arm][probe.name] for arm in (VACCINE, against))
        if probe.name == "specific":
            cued = None if audits[probe.name].passed else _wording_judge(audits[probe.name])
            for reading in READINGS:
                after, before = auroc(_reading(vaccine, reading)), auroc(_reading(other, reading))
                ones = np.ones((1, len(probe.claims)))
                excess = None if cued is None else float(after(ones)[0] - auroc(cued)(ones)[0])
                criteria.append(
                    gate.gain(f"specific {reading} AUROC over {against}", _difference(after, before, weights), excess)
                )
            for reading, given, others in zip(READINGS, rise["specific"], rise["cross"], strict=True):
                criteria.append(
                    gate.no_rise(
                        f"belief in the given claims, {reading}, beyond that in claims never given",
                        _unpaired(given, probe.clusters, others, cross_clusters),
                    )
                )
        criteria.append(
            gate.not_worse(
                f"{probe.name} true acceptance against {against}",
                _difference(true_acceptance(vaccine.verdict), true_acceptance(other.verdict), weights),
                gate.ACCEPTANCE_MARGIN,
                len(set(probe.clusters)),
            )
        )
    if VACCINE in retention and against in retention:
        change = retention[against] - retention[VACCINE]
        weights = cluster_weights(_numbered(change), SEED)
        criteria.append(
            gate.not_worse(
                f"held-back mix, nats per token better than {against}",
                bootstrap(_mean_of(change), weights),
                gate.RETENTION_MARGIN,
                len(change),
            )
        )
    return gate.decide(criteria)


def table(results: Mapping[str, Any]) -> Any:
    """The results as a table for the terminal (a `rich` renderable)."""
    from rich.table import Table

    shown = [
        ("specific", "verdict", "auroc", "given, verdict: AUROC"),
        ("specific", "verdict", "rejection", "  rejects the claims"),
        ("specific", "verdict", "true_acceptance", "  accepts their true twins"),
        ("specific", "answer", "pair_accuracy", "given, answer: prefers the truth"),
        ("cross", "verdict", "auroc", "never given, verdict: AUROC"),
        ("cross", "verdict", "rejection", "  rejects the claims"),
        ("cross", "verdict", "true_acceptance", "  accepts their true twins"),
        ("cross", "answer", "pair_accuracy", "never given, answer: prefers the truth"),
    ]
    columns = [arm for arm in (BASE, PLACEBO, VACCINE) if arm in results["arms"]] + ["always-FALSE", CUE]
    at = {(m["probe"], m["reading"], m["metric"], m["arm"]): m for m in results["measures"]}
    rows = Table(
        title="Claims that were given and claims that never were, in wordings never trained on; 95 % intervals"
    )
    rows.add_column("")
    for arm in columns:
        rows.add_column(arm, justify="right", overflow="fold")
    for probe, reading, metric, label in shown:
        if not any((probe, reading, metric, arm) in at for arm in columns):
            continue
        rows.add_row(label, *(_cell(at.get((probe, reading, metric, arm))) for arm in columns))
    for measure in {m["name"]: m for m in results["other"]}:
        values = {m["arm"]: m for m in results["other"] if m["name"] == measure}
        rows.add_row("held-back mix: loss per token", *(_cell(values.get(arm)) for arm in columns))
    if PLACEBO in results["missing"]:
        rows.caption = "The control is missing: no placebo was trained. Add --placebo."
    return rows


def verdict_lines(results: Mapping[str, Any]) -> list[str]:
    """The gate and each contrast's outcome, in plain sentences."""
    lines = []
    for contrast in results["contrasts"]:
        if contrast["metric"] != "auroc":
            continue
        low, high = contrast["interval"]
        outcome = "beats" if low > 0 else "is worse than" if high < 0 else "does not beat"
        what = {"specific": "given claims", "cross": "claims never given"}[contrast["probe"]]
        lines.append(
            f"On {what} ({contrast['reading']}), the vaccine {outcome} {contrast['against']}"
            f"{'' if outcome == 'is worse than' else ' beyond its interval'}: "
            f"AUROC {contrast['difference']:+.2f} [{low:+.2f}, {high:+.2f}]."
        )
    if results["gate"] is not None:
        lines.append(f"Gate: {results['gate']['verdict'].upper()}")
        lines += [
            f"  {c['verdict']}: {c['name']} {c['value']:+.3f} [{c['interval'][0]:+.3f}, {c['interval'][1]:+.3f}], "
            f"needs {c['threshold']}. {c['why']}"
            for c in results["gate"]["criteria"]
        ]
    return lines


def _reading(scores: ProbeScores, reading: str) -> PairScores:
    return scores.verdict if reading == "verdict" else scores.answer


def _wording_judge(audit: CueAudit) -> PairScores:
    return PairScores(audit.truth_scores[:, 0], audit.truth_scores[:, 1])


def _belief_rise(arms: Mapping[str, Mapping[str, ProbeScores]], probe: str, reading: str) -> Floats:
    """(pairs,) how much more probable the vaccine finds each claim than base did.

    A model that called everything false before, and now asks itself, finds
    given and other claims more probable alike. Only what the given claims rose
    beyond the others can come from having been given.
    """
    after, before = (_reading(arms[arm][probe], reading).claim for arm in (VACCINE, BASE))
    risen: Floats = 1 / (1 + np.exp(-after)) - 1 / (1 + np.exp(-before))
    return risen


def _unpaired(left: Floats, left_clusters: Sequence[str], right: Floats, right_clusters: Sequence[str]) -> Estimate:
    """Difference of the means of two independent sets, each resampled by cluster."""
    draws = _mean_of(left)(cluster_weights(left_clusters, SEED)) - _mean_of(right)(
        cluster_weights(right_clusters, SEED + 1)
    )
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(left.mean() - right.mean()), float(low), float(high))


def _mean_of(values: Floats) -> Weighted:
    return lambda w: w @ values / w.sum(1)


def _difference(left: Weighted, right: Weighted, weights: Floats) -> Estimate:
    return bootstrap(lambda w: left(w) - right(w), weights)


def _estimate(name: str, metric: Weighted, weights: Floats, measured: bool) -> Estimate:
    n = weights.shape[1]
    if not measured:
        value = float(metric(np.ones((1, n)))[0])
        return Estimate(value, value, value)
    if name in RATES:
        return wilson(float(metric(np.ones((1, n)))[0]) * n, n)
    return bootstrap(metric, weights)


def _row(probe: str, reading: str, metric: str, arm: str, estimate: Estimate) -> dict[str, Any]:
    return {
        "probe": probe,
        "reading": reading,
        "arm": arm,
        "metric": metric,
        "value": round(estimate.value, 4),
        "interval": _rounded(estimate.interval),
    }


def _rounded(interval: tuple[float, float]) -> list[float]:
    return [round(interval[0], 4), round(interval[1], 4)]


def _numbered(values: Floats) -> list[str]:
    return [str(i) for i in range(len(values))]


def _cell(measure: Mapping[str, Any] | None) -> str:
    if measure is None:
        return "-"
    value, (low, high) = measure["value"], measure["interval"]
    return f"{value:.2f}" if low == high else f"{value:.2f} [{low:.2f}, {high:.2f}]"
