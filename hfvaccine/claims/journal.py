"""The journal: who did what to a dose and why, each entry bound to the one before by its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import regex

from hfvaccine.errors import DoseError, UsageError

GENESIS = "0" * 64
"""What the first entry names as the hash before it."""

MEND = "Take the journal from where it was not edited: a backup, or the dose's publisher."


def now() -> str:
    """The time of an act: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Entry:
    """One act.

    Args:
        act: what was done: intake, fix, screen, split, review, seal, publish, access, recall.
        by: who did it.
        at: ISO date or time of the act.
        what: plain details of the act.
        before: hash of the entry before, `GENESIS` for the first.
    """

    act: str
    by: str
    at: str
    what: dict[str, Any]
    before: str = GENESIS

    def hash(self) -> str:
        """SHA-256 of the entry, which the next entry carries."""
        return hashlib.sha256(_dump(vars(self)).encode()).hexdigest()

    def line(self) -> str:
        """The entry as it stands in the file, with its own hash and without line end."""
        return _dump({**vars(self), "hash": self.hash()})


def follow(entries: Sequence[Entry], act: str, by: str, at: str, what: dict[str, Any], before: str = GENESIS) -> Entry:
    """The entry of an act that comes after these.

    Args:
        entries: what was done so far.
        act, by, at, what: see `Entry`.
        before: what the first entry names as the hash before it, where the journal goes on with another one.

    Raises:
        UsageError: for a name nobody could be found under.
    """
    if not regex.fullmatch(r"\w[\w.@+ -]{0,94}\w|\w", by):
        raise UsageError(
            f"{by!r} is no name for the journal.", "Use a Hub user name or another name without commas or line breaks."
        )
    return Entry(act, by, at, what, entries[-1].hash() if entries else before)


def chain(entries: Iterable[Entry]) -> list[Entry]:
    """The same acts, each bound to the one before."""
    chained: list[Entry] = []
    for entry in entries:
        before = chained[-1].hash() if chained else GENESIS
        chained.append(Entry(entry.act, entry.by, entry.at, entry.what, before))
    return chained


def dumps(entries: Iterable[Entry]) -> str:
    """Chained entries as JSON lines."""
    return "".join(entry.line() + "\n" for entry in entries)


def loads(content: bytes, before: str | None = GENESIS) -> list[Entry]:
    """Entries from JSON lines, with the chain proved.

    Args:
        content: the file.
        before: what its first entry has to name as the hash before it; None for whatever it names.

    Raises:
        DoseError: naming the first entry that is malformed, was changed, or does not follow from the one before.
    """
    entries: list[Entry] = []
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise DoseError(f"Journal entry {number} is malformed: {error}.", MEND) from error
    if lines.pop():
        raise DoseError(f"Journal entry {len(lines) + 1} is cut off.", MEND)
    for number, line in enumerate(lines, start=1):
        try:
            fields = json.loads(line)
            own = fields.pop("hash")
            entry = Entry(**fields)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise DoseError(f"Journal entry {number} is malformed: {error}.", MEND) from error
        if own != entry.hash():
            raise DoseError(f"Journal entry {number} ({entry.act}) was changed after it was written.", MEND)
        if entry.before != (entries[-1].hash() if entries else entry.before if before is None else before):
            raise DoseError(
                f"Journal entry {number} ({entry.act}) does not follow from the one before it: "
                "an entry between them was rewritten, added or taken out.",
                MEND,
            )
        if line != entry.line():
            raise DoseError(f"Journal entry {number} ({entry.act}) is not written as it was.", MEND)
        entries.append(entry)
    return entries


def _dump(fields: dict[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True, ensure_ascii=False)
