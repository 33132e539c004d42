"""The owner's own journal of a dose on the Hub: what was published, and who was let in.

It is hash-chained like that of a quarantine, and never published, since it names people.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hfvaccine.claims import journal
from hfvaccine.errors import DoseError, UsageError

Write = Callable[[str, str, dict[str, Any]], None]
"""Writes an act, who did it, and its details; raises OSError where it cannot."""


def journal_of(repo_id: str) -> Path:
    """Where the journal of a dose is kept unless told otherwise: in the user's own folder for hfvaccine.

    Args:
        repo_id: the dataset repo.
    """
    import click

    return Path(click.get_app_dir("hfvaccine")) / "access" / f"{repo_id.lower().replace('/', '--')}.jsonl"


def read(path: Path) -> list[journal.Entry]:
    """Every entry, the chain proved; none where there is no file yet.

    Raises:
        DoseError: naming the first entry that was tampered with.
    """
    return _proved(path, path.read_bytes()) if path.is_file() else []


@contextmanager
def writing(path: Path) -> Iterator[Write]:
    """Hold the journal, proved and open for writing, before anything is done that must stand in it.

    Args:
        path: the file; made, readable for its owner only, where it is not there yet.

    Raises:
        UsageError: where it cannot be written.
        DoseError: where it was tampered with.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered, so that closing it has nothing left to fail at.
        file = os.fdopen(private(str(path), os.O_RDWR | os.O_CREAT), "r+b", buffering=0)
    except OSError as error:
        raise UsageError(
            f"The journal {path} cannot be written, so nothing was done: {error.strerror}.",
            "Mend its permissions, or choose another file with --journal.",
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        content = file.read()
        entries = _proved(path, content)
        file.seek(content.rfind(b"\n") + 1)

        def write(act: str, by: str, what: dict[str, Any]) -> None:
            at = datetime.now(UTC).isoformat(timespec="seconds")
            entries.append(journal.follow(entries, act, by, at, what))
            line = entries[-1].line().encode() + b"\n"
            file.truncate()  # what a stopped process left of an entry
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())

        yield write


def private(path: str, flags: int) -> int:
    """Opened for its owner only: what is written there names people."""
    return os.open(path, flags, 0o600)


def _proved(path: Path, content: bytes) -> list[journal.Entry]:
    try:
        # What has no line end was never written whole.
        return journal.loads(content[: content.rfind(b"\n") + 1])
    except DoseError as error:
        raise DoseError(
            f"{path} cannot be trusted. {error.message}",
            "Take it from a backup, or begin another journal with --journal.",
        ) from error
