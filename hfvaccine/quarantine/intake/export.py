"""Rows out of quarantine, to be read or edited elsewhere and brought in again."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from hfvaccine.errors import UsageError
from hfvaccine.files import guard_formula, unguard_formula, whole_file
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
    table = quarantine.table().select(COLUMNS)
    if not isinstance(target, Path):
        _jsonl(table, target)
        return int(table.num_rows)
    if target.suffix not in FORMATS:
        raise UsageError(f"Rows cannot be written as {target.name!r}.", f"Use a name with {', '.join(FORMATS)}.")
    if not target.parent.is_dir():
        raise UsageError(f"There is no folder {target.parent}.", "Make it first, or name another.")
    with whole_file(target) as staged:
        if target.suffix == ".parquet":
            pq.write_table(table, staged, compression="zstd")
        else:
            write, encoding = (_csv, "utf-8-sig") if target.suffix == ".csv" else (_jsonl, "utf-8")
            with staged.open("w", encoding=encoding, newline="") as file:
                write(table, file)
    return int(table.num_rows)


def unguarded(values: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table without the apostrophes that stand before what is no formula."""
    return {name: unguard_formula(value) if isinstance(value, str) else value for name, value in values.items()}


def _jsonl(table: pa.Table, file: IO[str]) -> None:
    for row in each(table):
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _csv(table: pa.Table, file: IO[str]) -> None:
    """Rows of a table; whoever opens the file puts a mark before them, or a spreadsheet takes them for no UTF-8."""
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for row in each(table):
        writer.writerow(
            json.dumps(value, ensure_ascii=False) if isinstance(value, list) else guard_formula(value or "")
            for value in row.values()
        )
