"""What each rule of the gate looks at in what was measured, and what comes of it. Pure, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

import numpy as np

from hfvaccine.claims.cues import CueAudit
from hfvaccine.statistics import Estimate, Sample, expanded, proportion
from hfvaccine.validation.judging.gate import (
    ADVERSARIAL,
    ANY,
    CONTROL,
    FLOOR,
    GAIN,
    ITEM,
    NO_RISE,
    UNBIASED,
    Criterion,
    Measurement,
    Rule,
    decide,
    judge,
    unmeasured,
)
from hfvaccine.validation.judging.measures import Measures, between
from hfvaccine.validation.judging.metrics import AT_CONTROL, METRICS, SIGNAL
from hfvaccine.validation.scores import (
    BASE,
    BELIEF,
    CALIBRATION,
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
        against = control if rule.against == CONTROL else rule.against
        parts = rule.parts
        outcomes: list[Criterion | None]
        if parts[0] == BELIEF and ":" in rule.measure:
            found = [rise for name, rise in belief.items() if fnmatchcase(name, parts[1])]
            outcomes = [judge(rule, replace(rise, of="" if parts[1] == rise.of else rise.of)) for rise in found]
        elif parts[0] == ITEM and ":" in rule.measure:
            outcomes = [_of_items(rule, one, against) for one in asked.values() if _is(one.probe, parts)]
        else:
            outcomes = [
                _of_pairs(rule, metric, group, against, audits.get(group[0].probe.name))
                for metric, group in _asked(rule, measured, against)
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
        return f"Ask about {rule.measure.rsplit('.', 1)[0].replace('.', ', ')} ({rule.measure})."
    if first == ITEM:
        return f"Ask for {second.replace('_', ' ')} ({rule.measure})."
    return "Score base and the vaccine for belief in given claims and in claims never given."


def _asked(rule: Rule, measured: Mapping[PairKey, Measures[PairProbe]], against: str) -> list[tuple[str, Group]]:
    """What a rule on pairs looks at in each set, by the first of its readings and metrics that the arms have."""
    found: list[tuple[str, Group]] = []
    for name in dict.fromkeys(probe for probe, _, _ in measured if fnmatchcase(probe, rule.parts[0])):
        if name == CALIBRATION != rule.parts[0]:
            continue
        ways = [(m, _groups(rule, name, reading, measured)) for reading, m in product(rule.readings, rule.metrics)]
        ways = [(metric, groups) for metric, groups in ways if any(_known(metric, group) for group in groups)]
        whole = (way for way in ways if all(_scored(rule, way[0], group, against) for group in way[1]))
        if ways:
            metric, groups = next(whole, ways[0])
            found += [(metric, group) for group in groups]
    return found


def _known(metric: str, group: Group) -> bool:
    """Whether any arm has a metric of what a rule looks at; without calibration none has the calibrated ones."""
    return any((arm, _needed(metric)) in one.estimates for one in group for arm in one.scores)


def _scored(rule: Rule, metric: str, group: Group, against: str) -> bool:
    """Whether the arms that a rule compares have a metric of all that it looks at."""
    arms = (VACCINE,) if rule.require == FLOOR else (VACCINE, against)
    return all((arm, _needed(metric)) in one.estimates for arm in arms for one in group)


def _needed(metric: str) -> str:
    return "true_acceptance" if metric == AT_CONTROL else metric


def _groups(rule: Rule, name: str, reading: str, measured: Mapping[PairKey, Measures[PairProbe]]) -> list[Group]:
    """Probes of a set that a rule on pairs looks at; those of one group are averaged."""
    condition = rule.parts[2]
    found = [one for one in measured.values() if (one.probe.name, one.probe.reading) == (name, reading)]
    if condition != ADVERSARIAL:
        return [[one] for one in found if fnmatchcase(one.probe.condition, condition)]
    groups: dict[tuple[str, ...], list[Measures[PairProbe]]] = {}
    for one in found:
        if one.probe.condition != PLAIN:  # only what was asked about the same claims can be averaged draw by draw
            groups.setdefault(one.probe.clusters, []).append(one)
    return list(groups.values())


def _of_pairs(rule: Rule, metric: str, group: Group, against: str, audit: CueAudit | None) -> Criterion | None:
    first = group[0]
    if not _scored(rule, metric, group, against):
        return None
    if rule.require == GAIN and audit is None:
        return unmeasured(rule, f"Audit the wording of the {first.probe.name} pairs: it may give the truth away.")
    if rule.require == FLOOR:
        difference = _mean_estimate(group, VACCINE, metric)[1]
    elif rule.require == UNBIASED:
        left, right = (_size(_mean_estimate(group, arm, metric)) for arm in (VACCINE, against))
        difference = between(left, right, METRICS[metric].kind)
    elif metric == AT_CONTROL:
        difference = first.at_control(VACCINE, against)
    else:
        difference = _mean_difference(group, VACCINE, against, metric)
    excess = None
    if metric == "auroc" and audit is not None and not audit.passed:
        if audit.length > audit.bag_of_words:  # of that judge only the AUROC is known
            own = _mean_estimate(group, VACCINE, metric)[1]
            excess = Estimate(own.value - audit.length, own.low - audit.length, own.high - audit.length)
        else:
            excess = _mean_difference(group, VACCINE, CUE, metric)
    notes = []
    if rule.parts[2] == ADVERSARIAL:
        notes.append(f"A mean over {', '.join(one.probe.condition for one in group)}.")
    elif metric in ("true_acceptance", AT_CONTROL) and rule.require != FLOOR:
        notes.append(_no_skill(first, against))
    if (first.probe.reading, metric) != (rule.readings[0], rule.metrics[0]):
        notes.append(f"Of the {first.probe.reading.replace('_', ' ')}, {metric.replace('_', ' ')}.")
    where = [first.probe.name if ANY in rule.parts[0] else "", first.probe.condition if ANY in rule.parts[2] else ""]
    note = " ".join(filter(None, notes))
    return judge(rule, Measurement(", ".join(filter(None, where)), difference, first.clusters, excess, note))


def _no_skill(one: Measures[PairProbe], against: str) -> str:
    """That what a control accepts says nothing, where it tells truths from claims no better than chance."""
    skill, accepted = one.estimates[against, "auroc"], 100 * one.estimates[against, "true_acceptance"].value
    if not skill.low <= 0.5 <= skill.high:
        return ""
    return (
        f"The {against} accepts {accepted:.0f} % of them but tells no truth from falsehood here (AUROC "
        f"{skill.value:.2f} [{skill.low:.2f}, {skill.high:.2f}]): its acceptance is no skill."
    )


def _size(of: tuple[Sample, Estimate]) -> tuple[Sample, Estimate]:
    """How far a bias lies from none, on either side."""
    sample, own = of
    size = Sample(abs(sample.value), np.abs(sample.draws), sample.clusters)
    ends = sorted((abs(own.low), abs(own.high)))
    return size, Estimate(size.value, 0.0 if own.low <= 0 <= own.high else ends[0], ends[1])


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
