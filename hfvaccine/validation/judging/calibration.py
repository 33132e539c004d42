"""What is derived from scores before they are judged: each model's bias, and the claims that the base knows. Pure.

Neither costs a question, so no file of scores holds them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from hfvaccine.claims.cues import CueAudit
from hfvaccine.statistics import MIN_PAIRS
from hfvaccine.validation.scores import (
    ANSWER,
    BASE,
    CALIBRATION,
    CROSS,
    KNOWN,
    PLAIN,
    VERDICTS,
    ArmScores,
    PairProbe,
    PairScores,
    Runs,
)


def bias_of(scores: PairScores) -> float:
    """How far a model leans to TRUE on statements that it should not lean on.

    The median over pairs of the middle between a claim and its twin. A mean would follow a few pairs that a model
    answers with much vigor; and the threshold that best balances acceptance and rejection, which is the median of
    all scores, hangs on the two middle ones, which lie far apart in a model that tells truths from claims well.

    Args:
        scores: of the calibration pairs.
    """
    return float(np.median((scores.claim + scores.twin) / 2))


def bias(run: ArmScores, reading: str) -> float | None:
    """The bias of one arm and seed in a reading; None where it was not asked about calibration pairs."""
    scores = run.pairs.get((CALIBRATION, reading, PLAIN))
    return None if scores is None else bias_of(scores)


def known_claims(pairs: Sequence[PairProbe], arms: Mapping[str, Runs]) -> frozenset[str]:
    """Ids of the claims never given whose truth the base, in its first seed, prefers in answers."""
    asked = next((probe for probe in pairs if probe.key == (CROSS, ANSWER, PLAIN)), None)
    runs = arms.get(BASE, ())
    if asked is None or not runs or asked.key not in runs[0].pairs:
        return frozenset()
    scores = runs[0].pairs[asked.key]
    return frozenset(claim for claim, right in zip(asked.ids, scores.twin > scores.claim, strict=True) if right)


Scored = tuple[list[PairProbe], dict[str, list[ArmScores]], dict[str, CueAudit]]
"""Probes of pairs, scores by arm, and audits by probe name."""


def with_known(pairs: Sequence[PairProbe], arms: Mapping[str, Runs], audits: Mapping[str, CueAudit]) -> Scored:
    """The same, with verdicts on claims that the base knows as a set of their own (`KNOWN`).

    Answers are left out of it, as they chose it. So are sets of fewer than `MIN_PAIRS`.

    Args:
        pairs: probes that were asked.
        arms: scores by arm.
        audits: of the wording, by probe name.
    """
    return with_part(pairs, arms, audits, KNOWN, CROSS, known_claims(pairs, arms), VERDICTS)


def with_part(
    pairs: Sequence[PairProbe],
    arms: Mapping[str, Runs],
    audits: Mapping[str, CueAudit],
    name: str,
    of: str,
    ids: Collection[str],
    readings: Collection[str],
) -> Scored:
    """The same, with what was asked plainly about some claims of a set as a set of their own.

    Args:
        pairs: probes that were asked.
        arms: scores by arm.
        audits: of the wording, by probe name.
        name: of the new set; where there is one of that name already, nothing is added.
        of: the set that it is a part of.
        ids: of the claims that are in it; fewer than `MIN_PAIRS` make none.
        readings: in which it is looked at.
    """
    added: list[PairProbe] = []
    scored = {arm: [dict(run.pairs) for run in runs] for arm, runs in arms.items()}
    for probe in [probe for probe in pairs if probe.name == of and probe.reading in readings]:
        at = [place for place, claim in enumerate(probe.ids) if claim in ids]
        if probe.condition != PLAIN or len(at) < MIN_PAIRS or any(one.name == name for one in pairs):
            continue
        its, clusters, domains = (tuple(part[i] for i in at) for part in (probe.ids, probe.clusters, probe.domains))
        added.append(replace(probe, name=name, ids=its, clusters=clusters, domains=domains))
        for run in [run for runs in scored.values() for run in runs if probe.key in run]:
            run[added[-1].key] = PairScores(run[probe.key].claim[at], run[probe.key].twin[at])
    if not added:
        return list(pairs), {arm: list(runs) for arm, runs in arms.items()}, dict(audits)
    known = dict(audits)
    if of in audits:
        # An audit is of the longest list of its set's pairs.
        whole = max((probe.ids for probe in pairs if probe.name == of), key=len)
        at = [whole.index(claim) for claim in max((probe.ids for probe in added), key=len)]
        if len(audits[of].truth_scores) == len(whole):
            known[name] = replace(audits[of], pairs=len(at), truth_scores=audits[of].truth_scores[at])
    filled = {
        arm: [ArmScores(scores, run.items) for scores, run in zip(scored[arm], runs, strict=True)]
        for arm, runs in arms.items()
    }
    return [*pairs, *added], filled, known
