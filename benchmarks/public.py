"""Public data sets as the benchmarks read them, in the files that their publishers give."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

SHORTEST = 4
"""Words of an explanation that can stand as a correction."""


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, packed with gzip or not."""
    raw = path.read_bytes()
    text = gzip.decompress(raw) if path.suffix == ".gz" else raw
    return [json.loads(line) for line in text.decode("utf-8").split("\n") if line]


def creak(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """CREAK's false claims with a correction that can stand alone and does not repeat the claim."""
    from hfvaccine.claims.guard import Guard

    for row in rows:
        claim, why = row["sentence"].strip(), row["explanation"].strip()
        if row["label"] == "false" and len(why.split()) >= SHORTEST and Guard([claim]).find(why) is None:
            yield claim, why
