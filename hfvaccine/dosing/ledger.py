"""The ledger: what a run was really given, row by row. Claim ids, never texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from hfvaccine.dosing.forms import Row
from hfvaccine.dosing.plan import CONTROL, DOSE, KINDS, Plan


def write_ledger(plan: Plan, dose: Sequence[Row], control: Sequence[Row], steps_done: int, path: Path) -> str:
    """Write the rows that `steps_done` steps gave.

    Args:
        plan: the plan that was replayed.
        dose: the dose rows that the plan's indices refer to.
        control: the control rows, likewise.
        steps_done: optimizer steps that were taken.
        path: the parquet file to write.

    Returns:
        SHA-256 of the file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = steps_done * plan.rows_per_step
    sources = {DOSE: dose, CONTROL: control}
    rows = [
        sources[k][i] if k in sources else None
        for k, i in zip(plan.kind[:n].tolist(), plan.index[:n].tolist(), strict=True)
    ]
    table = pa.table(
        {
            "position": pa.array(range(n), pa.int64()),
            "step": pa.array([position // plan.rows_per_step + 1 for position in range(n)], pa.int64()),
            "kind": pa.array([KINDS[k] for k in plan.kind[:n]], pa.string()),
            "row": pa.array(plan.index[:n], pa.int64()),
            "claim_id": pa.array([row and row.claim_id for row in rows], pa.string()),
            "form": pa.array([row and row.form for row in rows], pa.string()),
            "tokens": pa.array(plan.tokens[:n], pa.int64()),
            "supervised": pa.array(plan.supervised[:n], pa.int64()),
        }
    ).replace_schema_metadata({"plan": json.dumps({"fingerprint": plan.fingerprint(), **plan.settings()})})
    pq.write_table(table, path, compression="zstd")
    return hashlib.sha256(path.read_bytes()).hexdigest()
