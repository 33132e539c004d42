"""The ledger: what a run was really given, row by row. Claim ids, never texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hfvaccine.dosing.forms import Row
from hfvaccine.dosing.plan import CONTROL, DOSE, KINDS, Plan


def write_ledger(
    plan: Plan,
    dose: Sequence[Row],
    control: Sequence[Row],
    steps_done: int,
    path: Path,
    settings: Mapping[str, object],
) -> str:
    """Write the rows that the first `steps_done` steps gave.

    Args:
        plan: the plan that was replayed.
        dose: the dose rows that the plan's indices refer to.
        control: the control rows, likewise.
        steps_done: optimizer steps that were taken.
        path: the parquet file to write.
        settings: what was asked for, with its fingerprint; kept as "plan" in the file's metadata.

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
    for name in ("claim_id", "form", "control"):
        values = np.full(n, None, dtype=object)
        for code, rows in ((DOSE, dose), (CONTROL, control)):
            of_kind = kind == code
            if of_kind.any():
                values[of_kind] = np.array([getattr(row, name) for row in rows], dtype=object)[index[of_kind]]
        columns[name] = pa.array(values, pa.string())
    columns["tokens"] = pa.array(plan.tokens[:n])
    columns["supervised"] = pa.array(plan.supervised[:n])
    if plan.pack is not None:
        columns["pack"] = pa.array(plan.pack[:n])
    table = pa.table(columns).replace_schema_metadata({"plan": json.dumps(dict(settings))})
    pq.write_table(table, path, compression="zstd")
    return hashlib.sha256(path.read_bytes()).hexdigest()
