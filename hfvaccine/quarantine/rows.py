"""Rows of outside files, each with the place it stands at, so that an error can name it."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfvaccine.errors import ValidationError

FORMATS = (".jsonl", ".json", ".csv", ".txt", ".parquet")


@dataclass(frozen=True)
class Row:
    """One row of a file.

    Args:
        where: its place as a person would look for it, such as "line 3".
        values: its fields; a line of plain text is the field "text".
    """

    where: str
    values: Mapping[str, Any]


def file_format(path: Path) -> str | None:
    """One of `FORMATS`, with or without .gz after it; None for any other name."""
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    return suffix if suffix in FORMATS else None


def read_rows(path: Path) -> list[Row]:
    """All rows of a .jsonl, .json, .csv, .txt (each also with .gz) or .parquet file.

    Raises:
        ValidationError: for a file that is missing, of another format, or malformed, naming the line.
    """
    kind = file_format(path)
    if kind is None:
        raise ValidationError(f"{path} is no file of rows.", f"Give one of: {', '.join(FORMATS)}, or one with .gz.")
    if not path.is_file():
        raise ValidationError(f"There is no file {path}.", "Check the path.")
    read = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".txt": _text}
    try:
        rows = _parquet(path) if kind == ".parquet" else list(read[kind](_decoded(path)))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise ValidationError(f"{path} cannot be read: {error}.", "Fetch or write the file again.") from error
    if not rows:
        raise ValidationError(f"{path} holds no rows.", "Give a file that is not empty.")
    return rows


def _decoded(path: Path) -> str:
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")


def _jsonl(text: str) -> Iterator[Row]:
    # Split on "\n" only: strings may hold U+2028, at which splitlines() would break a row.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"line {number}"
            try:
                values = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{where} is not JSON ({error})") from error
            yield _object(where, values)


def _json(text: str) -> Iterator[Row]:
    content = json.loads(text)
    if not isinstance(content, list):
        raise ValueError("it is not one list of objects")
    for number, values in enumerate(content, start=1):
        yield _object(f"item {number}", values)


def _object(where: str, values: Any) -> Row:
    if not isinstance(values, dict):
        raise ValueError(f"{where} is {values!r:.40}, not an object with named fields")
    return Row(where, values)


def _csv(text: str) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    for values in reader:
        yield Row(f"line {reader.line_num}", values)


def _text(text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        yield Row(f"line {number}", {"text": line})


def _parquet(path: Path) -> list[Row]:
    import pyarrow.parquet as pq

    return [Row(f"row {number}", row) for number, row in enumerate(pq.read_table(path).to_pylist(), start=1)]
