"""The two kinds of adapters, by the record that each has beside it. Pure."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from hfvaccine.files import (
    ADAPTER_NEEDS,
    ARM_NEEDS,
    ARM_PUBLISHED,
    CONFIG,
    INOCULATION,
    LEDGER,
    PUBLISHED,
    RECORD,
    RESULTS,
    TRAITS,
)


@dataclass(frozen=True)
class Kind:
    """What an adapter's papers are.

    Args:
        record: the file that binds the others.
        schema: its schema version.
        results: the file with what was measured.
        needs: files without which an adapter is not published.
        merged_needs: the same of a merged model, besides its weights.
        published: patterns of the only files that are ever published.
    """

    record: str
    schema: int
    results: str
    needs: tuple[str, ...]
    merged_needs: tuple[str, ...]
    published: tuple[str, ...]


IMMUNIZED = Kind(RECORD, 3, RESULTS, ADAPTER_NEEDS, (RECORD, RESULTS, LEDGER, CONFIG, "config.json"), PUBLISHED)
INOCULATED = Kind(INOCULATION, 1, TRAITS, ARM_NEEDS, (INOCULATION, LEDGER, CONFIG, "config.json"), ARM_PUBLISHED)
KINDS = (IMMUNIZED, INOCULATED)


def kind_of(names: Container[str]) -> Kind:
    """The kind of an adapter; one without a record is taken for an immunized one, whose record is then missed.

    Args:
        names: of the files beside it.
    """
    return INOCULATED if INOCULATION in names and RECORD not in names else IMMUNIZED


def kind_in(folder: Path) -> Kind:
    """The kind of the adapter in a folder."""
    return kind_of({path.name for path in folder.iterdir()} if folder.is_dir() else ())
