"""The ledger: what a run was really given, row by row. Claim ids, never texts.

It holds all that the run's fingerprint is taken over, so that anybody who has the ledger can prove it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hfvaccine.errors import PlanError
from hfvaccine.files import digest_of
from hfvaccine.regimen.given import Row
from hfvaccine.regimen.lengths import Ints
from hfvaccine.regimen.plan import CONTROL, DOSE, KINDS, Plan

TAKE_IT = "Take the ledger from the run's folder, or from its publisher."

NAMED = ("claim_id", "form", "control")
Name = tuple[str | None, str | None, str | None]
"""Claim id, form and control of a row; None where it has none."""
ORIGIN = "origin"
"""Of a run that is given several doses as one, the column with the digest of the dose that each claim is of."""


@dataclass(frozen=True)
class Ledger:
    """A ledger as it was read.

    Args:
        plan: what was given, in order.
        settings: what was asked for.
        fingerprint: of the run, as the ledger names it.
        names: (rows,) claim id, form and control of each row.
        checksums: (rows,) of each row's tokens and labels.
        origins: (rows,) digest of the dose that each row's claim is of, None of the mix; of a run of one dose, None.
    """

    plan: Plan
    settings: Mapping[str, Any]
    fingerprint: str
    names: tuple[Name, ...]
    checksums: Ints
    origins: tuple[str | None, ...] | None = None

    def proved(self) -> str:
        """The fingerprint of what the ledger holds, whatever it names itself."""
        return fingerprint(self.plan, self.settings, self.checksums)

    def claims(self) -> frozenset[str]:
        """Ids of the claims that dose rows are of: what was given."""
        return frozenset(str(name[0]) for name, kind in zip(self.names, self.plan.kind, strict=True) if kind == DOSE)


def fingerprint(plan: Plan, settings: Mapping[str, Any], checksums: Ints) -> str:
    """SHA-256 over a plan, what was asked for, and the content of every row.

    Args:
        plan: what is given, in order.
        settings: what was asked for.
        checksums: (rows,) of each row, see `measure.scramble`.
    """
    digest = hashlib.sha256(plan.fingerprint().encode())
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    digest.update(np.ascontiguousarray(checksums, dtype="<i8").tobytes())
    return digest.hexdigest()


def shares_of(plan: Plan, origins: Sequence[str | None]) -> dict[str, float]:
    """What a plan gives of several doses, by their digests: parts of all tokens of the run, in its unit.

    Args:
        plan: what is given, in order.
        origins: (rows,) the digest of the dose that each row's claim is of.
    """
    given: Counter[str] = Counter()
    weights = plan.weights
    for place in np.flatnonzero(plan.kind == DOSE).tolist():
        if (origin := origins[place]) is not None:
            given[origin] += int(weights[place])
    whole = int(weights.sum())
    return {origin: round(weight / whole, 5) for origin, weight in given.items()}


def write_ledger(
    plan: Plan,
    dose: Sequence[Row],
    control: Sequence[Row],
    steps_done: int,
    path: Path,
    settings: Mapping[str, object],
    checksums: Ints | None = None,
) -> str:
    """Write the rows that the first `steps_done` steps gave.

    Args:
        plan: the plan that was replayed.
        dose: the dose rows that the plan's indices refer to.
        control: the control rows, likewise.
        steps_done: optimizer steps that were taken.
        path: the parquet file to write.
        settings: what was asked for, with its fingerprint; kept as "plan" in the file's metadata.
        checksums: (rows,) of each row; of a stream they are not known.

    Returns:
        SHA-256 of the file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = int(plan.starts[steps_done])
    kind, index = plan.kind[:n], plan.index[:n]
    columns: dict[str, pa.Array] = {
        "position": pa.array(np.arange(n)),
        "step": pa.array(np.searchsorted(plan.starts, np.arange(n), side="right")),
        "kind": pa.array(np.array(KINDS)[kind]),
        "row": pa.array(index),
    }
    several = any(row.origin for row in dose)
    for name in (*NAMED, *([ORIGIN] if several else [])):
        values = np.full(n, None, dtype=object)
        for code, rows in ((DOSE, dose), (CONTROL, control)):
            of_kind = kind == code
            if of_kind.any():
                values[of_kind] = np.array([getattr(row, name) for row in rows], dtype=object)[index[of_kind]]
        columns[name] = pa.array(values, pa.string())
    columns["tokens"] = pa.array(plan.tokens[:n], pa.int64())
    columns["supervised"] = pa.array(plan.supervised[:n], pa.int64())
    if plan.pack is not None:
        columns["pack"] = pa.array(plan.pack[:n])
    if checksums is not None:
        columns["checksum"] = pa.array(checksums[:n])
    table = pa.table(columns).replace_schema_metadata({"plan": json.dumps(dict(settings))})
    pq.write_table(table, path, compression="zstd")
    return digest_of(path)


def read_ledger(path: Path) -> Ledger:
    """The ledger of a run that was planned.

    Args:
        path: the parquet file.

    Raises:
        PlanError: for a file that is no ledger, or one whose rows contradict themselves.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        settings = json.loads((table.schema.metadata or {})[b"plan"])
        named = str(settings.pop("fingerprint"))
        numbers = {name: _numbers(table, name) for name in ("position", "step", "row", "tokens", "supervised")}
        kinds = np.array([KINDS.index(kind) for kind in table["kind"].to_pylist()], dtype=np.int8)
        plan = Plan(
            kind=kinds,
            index=numbers["row"],
            tokens=numbers["tokens"],
            supervised=numbers["supervised"],
            rows_per_step=int(settings["rows_per_step"]),
            share=settings["share"],
            schedule=settings["schedule"],
            unit=settings["unit"],
            seed=settings["seed"],
            pack=_numbers(table, "pack").astype(np.int32) if "pack" in table.column_names else None,
            pack_length=settings["pack_length"],
            shares=tuple(settings.get("shares", ())),
        )
        names = tuple(zip(*(table[name].to_pylist() for name in NAMED), strict=True))
        if "checksum" not in table.column_names:
            raise ValueError("its rows have no checksums, as that of streamed data")
        checksums = _numbers(table, "checksum")
        origins = tuple(table[ORIGIN].to_pylist()) if ORIGIN in table.column_names else None
        more = set(table.column_names) - {*numbers, *NAMED, ORIGIN, "kind", "pack", "checksum"}
        if more:
            raise ValueError(f"it has a column {min(more)!r}")
        rows = np.arange(len(plan))
        steps = np.searchsorted(plan.starts, rows, side="right")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, pa.ArrowException) as error:
        reason = str(error).strip().split("\n")[0]
        raise PlanError(f"{path.name} is no ledger of a planned run: {reason}.", TAKE_IT) from error
    for name, expected in (("position", rows), ("step", steps)):
        wrong = np.flatnonzero(numbers[name] != expected)
        if len(wrong):
            raise PlanError(
                f"Row {wrong[0]} of {path.name} has {name} {numbers[name][wrong[0]]}, and is at {expected[wrong[0]]}.",
                TAKE_IT,
            )
    return Ledger(plan, settings, named, names, checksums, origins)


def _numbers(table: Any, name: str) -> Ints:
    column = table[name]
    if column.null_count or not str(column.type).startswith("int"):
        raise ValueError(f"{name} is no whole number in a row")
    return np.asarray(column.to_numpy(), dtype=np.int64)
