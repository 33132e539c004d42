"""The journal: who did what to a dose and why, each entry bound to the one before by its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hfvaccine.errors import DoseError

GENESIS = "0" * 64
"""What the first entry names as the hash before it."""


@dataclass(frozen=True)
class Entry:
    """One act.

    Args:
        act: what was done: intake, review, seal, publish, access, recall.
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

    def line(self) -> str:
        """The entry as it stands in the file, without line end."""
        return json.dumps(vars(self), sort_keys=True, ensure_ascii=False)

    def hash(self) -> str:
        """SHA-256 of `line`, which the next entry carries."""
        return hashlib.sha256(self.line().encode()).hexdigest()


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


def loads(text: str) -> list[Entry]:
    """Entries from JSON lines, with the chain proved.

    Raises:
        DoseError: naming the first entry that is malformed or does not follow from the one before.
    """
    entries: list[Entry] = []
    for number, line in enumerate(filter(None, text.split("\n")), start=1):
        try:
            entry = Entry(**json.loads(line))
        except (TypeError, json.JSONDecodeError) as error:
            raise DoseError(f"Journal entry {number} is malformed: {error}.", "Fetch the dose again.") from error
        if entry.before != (entries[-1].hash() if entries else GENESIS):
            raise DoseError(
                f"Journal entry {number} ({entry.act}) does not follow from the entry before it.",
                "The journal was edited after it was written: fetch the dose again from its publisher.",
            )
        entries.append(entry)
    return entries
