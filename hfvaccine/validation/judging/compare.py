"""Two validated runs, vaccine against vaccine, on the items that both were asked about. Pure, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hfvaccine.errors import ValidationError
from hfvaccine.statistics import DRAWS, MIN_CLUSTERS, MIN_PAIRS, Estimate, detectable
from hfvaccine.validation.judging.measures import ItemMeasures, PairMeasures, contrasted, heading, limits, rounded
from hfvaccine.validation.judging.score_file import read_scores
from hfvaccine.validation.scores import HIGHER, VACCINE, ArmScores, ItemProbe, PairProbe, PairScores, Runs

_SIDES = ("left", "right")


def compare(left: Path, right: Path, names: tuple[str, str] = ("left", "right")) -> list[dict[str, Any]]:
    """Paired differences between the vaccines of two runs, on the items that both were asked about.

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
        ValidationError: as `read_scores`, and where a run has no scores of a vaccine.
    """
    sides = [read_scores(path) for path in (left, right)]
    for path, (_, _, arms) in zip((left, right), sides, strict=True):
        if not arms.get(VACCINE):
            raise ValidationError(f"{path} has no scores of a vaccine.", "Compare runs that trained one.")
    rows: list[dict[str, Any]] = []
    (left_pairs, left_items, left_arms), (right_pairs, right_items, right_arms) = sides
    vaccines = {"left": left_arms[VACCINE], "right": right_arms[VACCINE]}
    here: list[PairProbe | ItemProbe] = [*left_pairs, *left_items]
    there: dict[Any, Any] = {probe.key: probe for probe in right_pairs}
    there |= {item.key: item for item in right_items}
    for probe in here:
        other = there.get(probe.key)
        if other is None or (isinstance(probe, ItemProbe) and probe.metric != other.metric):
            continue
        at, only = _common(probe.ids, other.ids)
        both = _cut(probe, [i for i, _ in at])
        if isinstance(both, PairProbe):
            both = replace(both, matched=both.matched or other.matched)
        runs = {
            name: [_take(run, probe.key, [one[side] for one in at]) for run in vaccine]
            for side, (name, vaccine) in enumerate(vaccines.items())
        }
        rows += _compared(both, runs, names, only)
    return rows


def _cut(probe: PairProbe | ItemProbe, at: Sequence[int]) -> PairProbe | ItemProbe:
    """A probe of some of its items."""
    ids, clusters = (tuple(column[i] for i in at) for column in (probe.ids, probe.clusters))
    if isinstance(probe, ItemProbe):
        return replace(probe, ids=ids, clusters=clusters)
    return replace(probe, ids=ids, clusters=clusters, domains=tuple(probe.domains[i] for i in at))


def _head(probe: PairProbe | ItemProbe) -> dict[str, Any]:
    """What the rows of a probe begin with."""
    if isinstance(probe, PairProbe):
        return heading(probe) | {"kind": "pairs", "of": ""}
    return {"probe": probe.name, "reading": "", "condition": "", "kind": probe.kind, "of": probe.of}


def _compared(
    probe: PairProbe | ItemProbe,
    runs: Mapping[str, Runs],
    names: tuple[str, str],
    only: list[int],
) -> list[dict[str, Any]]:
    """Rows of `compare` for one probe, cut to the items that both runs have."""
    metrics = [probe.metric] if isinstance(probe, ItemProbe) else contrasted(probe)
    enough = len(probe.ids) >= MIN_PAIRS
    clusters = len(set(probe.clusters))
    better = probe.better if isinstance(probe, ItemProbe) else HIGHER
    rows = []
    of_pairs = PairMeasures(probe, runs, None, DRAWS) if enough and isinstance(probe, PairProbe) else None
    of_items = ItemMeasures(probe, runs, DRAWS) if enough and isinstance(probe, ItemProbe) else None
    for metric in metrics:
        values: list[float] | None = None
        difference: Estimate | None = None
        if of_pairs is not None:
            difference = of_pairs.difference(*_SIDES, metric)
            values = [rounded(of_pairs.samples[side, metric].value) for side in _SIDES]
        elif of_items is not None:
            difference = of_items.difference(*_SIDES)
            values = [rounded(of_items.samples[side].value) for side in _SIDES]
        rows.append(
            {
                **_head(probe),
                "metric": metric,
                "better": "" if metric == "criterion" else better,
                "arm": names[0],
                "against": names[1],
                "values": values,
                "difference": None if difference is None else rounded(difference.value),
                "interval": None if difference is None else limits(difference),
                "detectable": None if difference is None else rounded(detectable(difference)),
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


def _take(run: ArmScores, key: Any, at: Sequence[int]) -> ArmScores:
    if key in run.pairs:
        scores = run.pairs[key]
        return ArmScores(pairs={key: PairScores(scores.claim[list(at)], scores.twin[list(at)])})
    return ArmScores(items={key: run.items[key][list(at)]}) if key in run.items else ArmScores()
