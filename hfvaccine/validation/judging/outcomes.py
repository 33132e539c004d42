"""What each rule of the gate looks at in what was measured, and what comes of it. Pure, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from hfvaccine.claims.cues import CueAudit
from hfvaccine.statistics import Estimate, Sample, expanded, proportion
from hfvaccine.validation.judging.gate import (
    ADVERSARIAL,
    ANY,
    CONTROL,
    GAIN,
    ITEM,
    NO_RISE,
    Criterion,
    Measurement,
    Rule,
    decide,
    judge,
    unmeasured,
)
from hfvaccine.validation.judging.measures import Measures, between
from hfvaccine.validation.judging.metrics import METRICS, SIGNAL
from hfvaccine.validation.scores import (
    BASE,
    BELIEF,
    CUE,
    LOWER,
    PLACEBO,
    PLAIN,
    VACCINE,
    ItemKey,
    ItemProbe,
    PairKey,
    PairProbe,
    Runs,
)

Group = Sequence[Measures[PairProbe]]
"""Probes of pairs that a rule looks at together."""


def settle(
    rules: Sequence[Rule],
    measured: Mapping[PairKey, Measures[PairProbe]],
    asked: Mapping[ItemKey, Measures[ItemProbe]],
    belief: Mapping[str, Measurement],
    arms: Mapping[str, Runs],
    audits: Mapping[str, CueAudit],
) -> dict[str, Any]:
    """The gate: every rule held against what was measured.

    Args:
        rules: the criteria.
        measured: probes of pairs.
        asked: probes of items.
        belief: rises of belief in given claims beyond that in others, by reading.
        arms: scores by arm.
        audits: of the wording of the pairs, by probe name.
    """
    criteria: list[Criterion] = []
    not_applicable: list[str] = []
    control = PLACEBO if PLACEBO in arms else BASE
    for rule in rules:
        against = control if rule.against == CONTROL else BASE
        parts = rule.parts
        outcomes: list[Criterion | None]
        if parts[0] == BELIEF and ":" in rule.measure:
            found = [rise for name, rise in belief.items() if fnmatchcase(name, parts[1])]
            outcomes = [judge(rule, replace(rise, of="" if parts[1] == rise.of else rise.of)) for rise in found]
        elif parts[0] == ITEM and ":" in rule.measure:
            outcomes = [_of_items(rule, one, against) for one in asked.values() if _is(one.probe, parts)]
        else:
            outcomes = [
                _of_pairs(rule, group, against, audits.get(group[0].probe.name)) for group in _groups(rule, measured)
            ]
        if not outcomes and rule.optional:
            not_applicable.append(rule.name)
        elif not outcomes:
            criteria.append(unmeasured(rule, _missing(rule)))
        criteria += [
            unmeasured(rule, f"Score {VACCINE} and {against} on {rule.measure}.") if outcome is None else outcome
            for outcome in outcomes
        ]
    return decide(criteria, not_applicable)


def _missing(rule: Rule) -> str:
    """What to add, so that a rule has something to look at."""
    first, second = rule.parts[:2]
    if ":" not in rule.measure:
        return f"Ask about {rule.measure.rsplit('.', 1)[0].replace('.', ', ')} (gate.yaml: {rule.measure})."
    if first == ITEM:
        return f"Ask for {second.replace('_', ' ')} (gate.yaml: {rule.measure})."
    return "Score base and the vaccine for belief in given claims and in claims never given."


def _groups(rule: Rule, measured: Mapping[PairKey, Measures[PairProbe]]) -> list[Group]:
    """What a rule on pairs looks at; probes of one group are averaged."""
    name, reading, condition, _ = rule.parts
    found = [one for one in measured.values() if one.probe.reading == reading and fnmatchcase(one.probe.name, name)]
    if condition != ADVERSARIAL:
        return [[one] for one in found if fnmatchcase(one.probe.condition, condition)]
    groups: dict[tuple[str, tuple[str, ...]], list[Measures[PairProbe]]] = {}
    for one in found:
        if one.probe.condition != PLAIN:  # only what was asked about the same claims can be averaged draw by draw
            groups.setdefault((one.probe.name, one.probe.clusters), []).append(one)
    return list(groups.values())


def _of_pairs(rule: Rule, group: Group, against: str, audit: CueAudit | None) -> Criterion | None:
    first, metric = group[0], rule.parts[3]
    if not all(arm in one.scores for arm in (VACCINE, against) for one in group):
        return None
    if rule.require == GAIN and audit is None:
        return unmeasured(rule, f"Audit the wording of the {first.probe.name} pairs: it may give the truth away.")
    difference = _mean_difference(group, VACCINE, against, metric)
    excess = None
    if metric == "auroc" and audit is not None and not audit.passed:
        if audit.length > audit.bag_of_words:  # of that judge only the AUROC is known
            own = _mean_estimate(group, VACCINE, metric)[1]
            excess = Estimate(own.value - audit.length, own.low - audit.length, own.high - audit.length)
        else:
            excess = _mean_difference(group, VACCINE, CUE, metric)
    note = ""
    if metric == "true_acceptance":
        skill = first.estimates[against, "balanced_accuracy"]
        if skill.low <= 0.5 <= skill.high:
            accepted = 100 * first.estimates[against, metric].value
            note = (
                f"The {against} accepts {accepted:.0f} % of them but tells no truth from falsehood here (balanced "
                f"accuracy {skill.value:.2f} [{skill.low:.2f}, {skill.high:.2f}]): its acceptance is no skill."
            )
    if rule.parts[2] == ADVERSARIAL:
        note = f"A mean over {', '.join(one.probe.condition for one in group)}."
    where = [first.probe.name if ANY in rule.parts[0] else "", first.probe.condition if ANY in rule.parts[2] else ""]
    return judge(rule, Measurement(", ".join(filter(None, where)), difference, first.clusters, excess, note))


def _mean_estimate(group: Group, arm: str, metric: str) -> tuple[Sample, Estimate]:
    """The mean of a metric over conditions that were put to the same pairs."""
    samples = [one.samples[arm, metric] for one in group]
    if len(group) == 1:
        return samples[0], group[0].estimates[arm, metric]
    value, draws = float(np.mean([s.value for s in samples])), np.mean([s.draws for s in samples], axis=0)
    sample = Sample(value, draws, group[0].clusters)
    return sample, expanded(sample) if METRICS[metric].kind == SIGNAL else proportion(sample)


def _mean_difference(group: Group, arm: str, against: str, metric: str) -> Estimate:
    left, right = (_mean_estimate(group, one, metric) for one in (arm, against))
    return between(left, right, METRICS[metric].kind)


def _is(probe: ItemProbe, parts: Sequence[str]) -> bool:
    _, kind, name, metric = parts
    return probe.kind == kind and fnmatchcase(probe.name, name) and fnmatchcase(probe.metric, metric)


def _of_items(rule: Rule, one: Measures[ItemProbe], against: str) -> Criterion | None:
    if VACCINE not in one.scores or against not in one.scores:
        return None
    difference = one.difference(VACCINE, against, one.probe.metric)
    if rule.require != NO_RISE and one.probe.better == LOWER:
        difference = Estimate(-difference.value, -difference.high, -difference.low)
    named = f"{one.probe.name} {one.probe.of}, {one.probe.metric}".replace(" ,", ",")
    return judge(rule, Measurement(named, difference, one.clusters))
