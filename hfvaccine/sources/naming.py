"""What the name of a source says: a file of which format, or which dataset of the Hub."""

from __future__ import annotations

import re
from pathlib import Path

import regex

FORMATS = (".jsonl", ".json", ".csv", ".tsv", ".txt", ".parquet", ".jsonld", ".html")


def file_format(path: Path) -> str | None:
    """One of `FORMATS`, with or without .gz after it; None for any other name."""
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    return suffix if suffix in FORMATS else None


def is_hub(source: str) -> bool:
    """Whether a source names a dataset of the Hub, as ID[:CONFIG[:SPLIT]], rather than a file."""
    path = Path(source)
    named = re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w.-]+){0,2}", source)
    return named is not None and not path.exists() and file_format(path) is None


def named_source(source: str) -> tuple[str, str]:
    """Name and place of a source given as PLACE or NAME=PLACE; a file bears its own name unless it is given one."""
    named = regex.fullmatch(r"([\w.-]+)=(.+)", source, regex.DOTALL)
    if named:
        return named[1], named[2]
    return source.split("/")[1].replace(":", "_") if is_hub(source) else Path(source).name.split(".")[0], source
