"""Rows out of quarantine, to be read or edited elsewhere and brought in again."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TextIO

import pyarrow.parquet as pq

from hfvaccine.errors import UsageError
from hfvaccine.files import guard_formula, unguard_formula
from hfvaccine.quarantine.store import SCHEMA, Quarantine, each

FORMATS = (".jsonl", ".csv", ".parquet")

COLUMNS = tuple(name for name in SCHEMA.names if name != "reviewers")
"""What is exported: all that a row has in quarantine, where reviewers stand in the journal."""


def export(quarantine: Quarantine, target: Path | TextIO) -> int:
    """Write all rows, in a form that intake gives the same rows from.

    Args:
        quarantine: where the rows are.
        target: a file, of one of `FORMATS` by its suffix, which is written whole or not at all; or an open text
            file, which gets JSON lines. In .csv, lists are JSON, and a text that a spreadsheet would run as a formula
            stands after an apostrophe.

    Returns:
        How many rows were written.

    Raises:
        UsageError: for another suffix, or a folder that is not there.
    """
    if not isinstance(target, Path):
        return _jsonl(quarantine, target)
    if target.suffix not in FORMATS:
        raise UsageError(f"Rows cannot be written as {target.name!r}.", f"Use a name with {', '.join(FORMATS)}.")
    if not target.parent.is_dir():
        raise UsageError(f"There is no folder {target.parent}.", "Make it first, or name another.")
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}-", delete=False) as staged:
        partial = Path(staged.name)
    try:
        if target.suffix == ".parquet":
            count = _parquet(quarantine, partial)
        else:
            csv_file = target.suffix == ".csv"
            # A spreadsheet takes a table for UTF-8 only with the mark.
            with partial.open("w", encoding="utf-8-sig" if csv_file else "utf-8", newline="") as file:
                count = _csv(quarantine, file) if csv_file else _jsonl(quarantine, file)
        partial.chmod(0o644)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return count


def unguarded(values: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table without the apostrophes that stand before what is no formula."""
    return {name: unguard_formula(value) if isinstance(value, str) else value for name, value in values.items()}


def _rows(quarantine: Quarantine) -> Iterator[dict[str, Any]]:
    return each(quarantine.table().select(COLUMNS))


def _jsonl(quarantine: Quarantine, file: IO[str]) -> int:
    count = 0
    for row in _rows(quarantine):
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
        count += 1
    return count


def _csv(quarantine: Quarantine, file: IO[str]) -> int:
    writer, count = csv.writer(file), 0
    writer.writerow(COLUMNS)
    for row in _rows(quarantine):
        writer.writerow(
            json.dumps(value, ensure_ascii=False) if isinstance(value, list) else guard_formula(value or "")
            for value in row.values()
        )
        count += 1
    return count


def _parquet(quarantine: Quarantine, path: Path) -> int:
    table = quarantine.table().select(COLUMNS)
    pq.write_table(table, path, compression="zstd")
    return int(table.num_rows)
