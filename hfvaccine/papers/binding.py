"""What binds an adapter's papers: its record holds the SHA-256 of every file beside it, and one of itself. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hfvaccine.errors import LineageError
from hfvaccine.files import combined, digest_of

SCHEMA_VERSION = 2
OWN = "record_sha256"
"""The key of the record's digest over all its other keys."""


def code_digest() -> str:
    """SHA-256 over the installed hfvaccine: its modules, templates and data, by name and content."""
    from hfvaccine import dataset_cards, model_cards

    packages = {"": Path(__file__).parents[1]}
    packages |= {
        f"{part.__name__.split('.')[-1]}/": Path(str(part.__file__)).parent for part in (dataset_cards, model_cards)
    }
    files = {
        prefix + path.relative_to(folder).as_posix(): digest_of(path)
        for prefix, folder in packages.items()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    return combined(files)


def bind(record: Mapping[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    """A record with the digests of the files beside it, and its own.

    Args:
        record: the content of immunization.json, bound before or not.
        digests: SHA-256 of each file, by name; the record itself is none of them.
    """
    content = {key: value for key, value in record.items() if key not in ("files", OWN)}
    content["files"] = dict(sorted(digests.items()))
    return {**content, OWN: _own(content)}


def check_record(record: Mapping[str, Any]) -> None:
    """Prove that a record is as it was written.

    Raises:
        LineageError: for a record of another schema version, or one that was changed.
    """
    version = record.get("schema_version")
    if version != SCHEMA_VERSION:
        raise LineageError(
            f"The record has schema version {version!r}, this hfvaccine reads {SCHEMA_VERSION}.",
            "Make the adapter again: its papers bind too little."
            if version in range(SCHEMA_VERSION)
            else "Upgrade hfvaccine.",
        )
    if record.get(OWN) != _own(record):
        raise LineageError(
            "The record is not what was written: its own digest does not fit.",
            "Take it from where it was not edited: its publisher, or an earlier commit.",
        )


def _own(record: Mapping[str, Any]) -> str:
    content = {key: value for key, value in record.items() if key != OWN}
    return digest_of(json.dumps(content, sort_keys=True).encode())
