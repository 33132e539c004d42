"""Two validated runs, vaccine against vaccine or base against base, on what both were asked about. Pure, no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hfvaccine.errors import ValidationError
from hfvaccine.statistics import DRAWS, MIN_CLUSTERS, MIN_PAIRS, rounded
from hfvaccine.validation.judging.measures import Measures, contrasted, heading, shown
from hfvaccine.validation.judging.metrics import CALIBRATED, METRICS
from hfvaccine.validation.judging.score_file import read_scores
from hfvaccine.validation.scores import BASE, CALIBRATION, VACCINE, ArmScores, ItemProbe, PairProbe, PairScores, Runs

_SIDES = ("left", "right")


def compared_arm(*runs: Collection[str]) -> str:
    """What runs are compared in, by the names of the arms of each: the vaccine, or the base where none has one."""
    return VACCINE if any(VACCINE in arms for arms in runs) else BASE


def compare(left: Path, right: Path, names: tuple[str, str] = ("left", "right")) -> list[dict[str, Any]]:
    """Paired differences between two runs in the arm of `compared_arm`, on the items that both were asked about.

    Args:
        left: the scores.parquet of one run.
        right: of another.
        names: what to call them.

    Returns:
        A row for each metric of each probe that both runs have, left less right: "probe", "reading", "condition",
        "metric", "kind" ("pairs" or the kind of item), "of", "better", "arm", "against" (the names), "values" of
        both, "difference", "interval", "detectable", "items" (that both have), "clusters", "few", and "only" (how
        many items each has that the other lacks). With fewer than `MIN_PAIRS` items in common the numbers are None.

    Raises:
        ValidationError: as `read_scores`, and where a run has no scores of that arm.
    """
    sides: list[tuple[list[PairProbe | ItemProbe], Runs]] = []
    read = [read_scores(path) for path in (left, right)]
    which = compared_arm(*(arms for _, _, arms in read))
    for path, (pairs, items, arms) in zip((left, right), read, strict=True):
        if not arms.get(which):
            raise ValidationError(
                f"{path} has no scores of a {which}.",
                "Compare runs that both have a vaccine, or neither: --adapter says whose model a served one is.",
            )
        sides.append(([*pairs, *items], arms[which]))
    rows: list[dict[str, Any]] = []
    there: dict[Any, Any] = {probe.key: probe for probe in sides[1][0]}
    for probe in sides[0][0]:
        other = there.get(probe.key)
        if other is None or (isinstance(probe, ItemProbe) and probe.metric != other.metric):
            continue
        if not all(probe.key in {*run.pairs, *run.items} for _, its in sides for run in its):
            continue  # only another arm was asked
        at, only = _common(probe.ids, other.ids)
        both = _cut(probe, [i for i, _ in at])
        if isinstance(both, PairProbe):
            both = replace(both, matched=both.matched or other.matched)
        runs = {
            name: [_take(run, probe, [one[side] for one in at]) for run in sides[side][1]]
            for side, name in enumerate(_SIDES)
        }
        rows += _compared(both, runs, names, only)
    return rows


def _cut(probe: PairProbe | ItemProbe, at: Sequence[int]) -> PairProbe | ItemProbe:
    """A probe of some of its items."""
    ids, clusters = (tuple(column[i] for i in at) for column in (probe.ids, probe.clusters))
    if isinstance(probe, ItemProbe):
        return replace(probe, ids=ids, clusters=clusters)
    return replace(probe, ids=ids, clusters=clusters, domains=tuple(probe.domains[i] for i in at))


def _compared(
    probe: PairProbe | ItemProbe, runs: Mapping[str, Runs], names: tuple[str, str], only: list[int]
) -> list[dict[str, Any]]:
    """Rows of `compare` for one probe, cut to the items that both runs have."""
    head = {"probe": probe.name, "reading": "", "condition": "", "kind": "pairs", "of": ""}
    head |= heading(probe) if isinstance(probe, PairProbe) else {"kind": probe.kind, "of": probe.of}
    clusters = len(set(probe.clusters))
    measured = Measures(probe, runs, DRAWS) if len(probe.ids) >= MIN_PAIRS else None
    rows = []
    for metric in contrasted(probe):
        if metric.startswith(CALIBRATED) and (measured is None or {*_SIDES} - set(measured.calibrated)):
            continue
        numbers: dict[str, Any] = dict.fromkeys(("values", "difference", "interval", "detectable"))
        if measured is not None:
            numbers = {"values": [rounded(measured.samples[side, metric].value) for side in _SIDES]}
            numbers |= shown(measured.difference(*_SIDES, metric))
        rows.append(
            head
            | {
                "metric": metric,
                "better": probe.better if isinstance(probe, ItemProbe) else METRICS[metric].better,
                "arm": names[0],
                "against": names[1],
                **numbers,
                "items": len(probe.ids),
                "clusters": clusters,
                "few": clusters < MIN_CLUSTERS,
                "only": only,
            }
        )
    return rows


def _common(left: Sequence[str], right: Sequence[str]) -> tuple[list[tuple[int, int]], list[int]]:
    """Where both hold the same id, and how many each holds that the other lacks."""
    there = {name: number for number, name in enumerate(right)}
    at = [(number, there[name]) for number, name in enumerate(left) if name in there]
    return at, [len(left) - len(at), len(right) - len(at)]


def _take(run: ArmScores, probe: PairProbe | ItemProbe, at: Sequence[int]) -> ArmScores:
    """Scores of some of a probe's items, and of all calibration pairs: a bias is a run's own."""
    if isinstance(probe, ItemProbe):
        return ArmScores(items={probe.key: run.items[probe.key][list(at)]}) if probe.key in run.items else ArmScores()
    if probe.key not in run.pairs:
        return ArmScores()
    scores = run.pairs[probe.key]
    taken = {key: one for key, one in run.pairs.items() if key[0] == CALIBRATION}
    return ArmScores(pairs={**taken, probe.key: PairScores(scores.claim[list(at)], scores.twin[list(at)])})
