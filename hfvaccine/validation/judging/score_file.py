"""Every single score on disk, with its item's id: what was asked and scored can be judged again. No torch.

No text of a claim stands in the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hfvaccine.errors import ValidationError
from hfvaccine.files import SCORES, whole_file
from hfvaccine.statistics import Floats
from hfvaccine.validation.judging.checks import check
from hfvaccine.validation.scores import SCHEMA_VERSION, ArmScores, ItemKey, ItemProbe, PairKey, PairProbe, PairScores

if TYPE_CHECKING:
    import pyarrow as pa

_SIDES = ("claim", "twin")
_Column = tuple[tuple[str, ...], tuple[str, ...], Floats]
"""Ids, clusters and scores of one arm, seed and side."""


def write_scores(
    pairs: Sequence[PairProbe],
    items: Sequence[ItemProbe],
    arms: Mapping[str, Sequence[ArmScores]],
    path: Path,
) -> None:
    """Write every score with its item's id, whole or not at all; the same scores make the same bytes.

    Args:
        pairs: pairs that were asked about.
        items: items that were asked about.
        arms: scores by arm, one for each seed.
        path: the parquet file to write.

    Raises:
        ValidationError: as `evaluate`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    check(pairs, items, arms)
    tables = []
    for arm, runs in arms.items():
        for seed, run in enumerate(runs):
            for probe in pairs:
                if probe.key in run.pairs:
                    for side in _SIDES:
                        scores = getattr(run.pairs[probe.key], side)
                        tables.append(_rows((arm, seed, *probe.key), probe, side, scores))
            for item in items:
                if item.key in run.items:
                    head = (arm, seed, item.name, item.kind, item.of)
                    tables.append(_rows(head, item, "", run.items[item.key]))
    description = {
        "schema_version": SCHEMA_VERSION,
        "arms": {arm: len(runs) for arm, runs in arms.items()},
        "pairs": [
            {"key": list(probe.key), "matched": probe.matched, "domains": list(probe.domains)} for probe in pairs
        ],
        "items": [{"key": [i.name, i.kind, i.of], "metric": i.metric, "better": i.better} for i in items],
    }
    table = pa.concat_tables([_schema().empty_table(), *tables])
    table = table.replace_schema_metadata({"hfvaccine": json.dumps(description, ensure_ascii=False)})
    with whole_file(path) as staged:
        pq.write_table(table, staged, compression="zstd")


def read_scores(path: Path) -> tuple[list[PairProbe], list[ItemProbe], dict[str, list[ArmScores]]]:
    """What `write_scores` wrote, less probes that no arm has scores of.

    Args:
        path: the parquet file.

    Raises:
        ValidationError: for a file that is missing, is none of ours or of another version.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    try:
        table = pq.read_table(path)
        description = json.loads((table.schema.metadata or {})[b"hfvaccine"])
        version = description["schema_version"]
        foreign = not table.schema.equals(_schema(), check_metadata=False)
    except FileNotFoundError as error:
        raise ValidationError(f"There are no scores at {path}.", "Give a run folder that was validated.") from error
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise ValidationError(f"{path} holds no scores of hfvaccine.", f"Give the {SCORES} of a run.") from error
    if version != SCHEMA_VERSION or foreign:
        raise ValidationError(
            f"{path} holds scores in version {version} of their schema, not {SCHEMA_VERSION}.",
            "Validate the adapter again with this version of hfvaccine.",
        )
    groups = _grouped(table)
    pairs: list[PairProbe] = []
    items: list[ItemProbe] = []
    runs: dict[str, list[tuple[dict[PairKey, PairScores], dict[ItemKey, Floats]]]]
    runs = {arm: [({}, {}) for _ in range(n)] for arm, n in description["arms"].items()}
    for entry in description["pairs"]:
        name, reading, condition = entry["key"]
        if found := groups.get((name, reading, condition, True)):
            ids, clusters, _ = next(iter(found.values()))
            domains, matched = tuple(entry["domains"]), bool(entry["matched"])
            probe = PairProbe(name, reading, condition, ids, clusters, domains, matched)
            pairs.append(probe)
            for arm, seed in dict.fromkeys((arm, seed) for arm, seed, _ in found):
                sides = [_of(found, (arm, seed, side), probe, path) for side in _SIDES]
                runs[arm][seed][0][probe.key] = PairScores(*sides)
    for entry in description["items"]:
        name, kind, of = entry["key"]
        if found := groups.get((name, kind, of, False)):
            ids, clusters, _ = next(iter(found.values()))
            item = ItemProbe(name, kind, entry["metric"], entry["better"], ids, clusters, of)
            items.append(item)
            for arm, seed, _ in found:
                runs[arm][seed][1][item.key] = _of(found, (arm, seed, ""), item, path)
    arms = {arm: [ArmScores(*run) for run in of_arm] for arm, of_arm in runs.items()}
    check(pairs, items, arms)
    return pairs, items, arms


def _schema() -> pa.Schema:
    import pyarrow as pa

    texts = [(name, pa.string()) for name in ("probe", "reading", "condition", "item_id", "cluster", "side")]
    return pa.schema([("arm", pa.string()), ("seed", pa.int32()), *texts, ("score", pa.float64())])


def _rows(head: tuple[str, int, str, str, str], probe: PairProbe | ItemProbe, side: str, scores: Floats) -> pa.Table:
    """Rows of the scores file; items have their kind for a reading, and what they are of for a condition."""
    import pyarrow as pa

    n, schema = len(probe.ids), _schema()
    columns = [*([value] * n for value in head), probe.ids, probe.clusters, [side] * n, scores]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _grouped(table: pa.Table) -> dict[tuple[str, str, str, bool], dict[tuple[str, int, str], _Column]]:
    """By probe, reading, condition and whether it is of pairs; then by arm, seed and side."""
    groups: dict[tuple[str, str, str, bool], dict[tuple[str, int, str], _Column]] = {}
    keys = ["probe", "reading", "condition", "arm", "seed", "side"]
    for (probe, reading, condition, arm, seed, side), rows in table.to_pandas().groupby(keys, sort=False):
        found = groups.setdefault((probe, reading, condition, side != ""), {})
        scores = rows["score"].to_numpy(np.float64)
        found[arm, int(seed), side] = tuple(rows["item_id"]), tuple(rows["cluster"]), scores
    return groups


def _of(
    found: Mapping[tuple[str, int, str], _Column], key: tuple[str, int, str], probe: PairProbe | ItemProbe, path: Path
) -> Floats:
    if key not in found or found[key][0] != probe.ids:
        raise ValidationError(
            f"{path} has other items of {probe.name} for {key[0]} than for the first arm.", "Validate the run again."
        )
    return found[key][2]
