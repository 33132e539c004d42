"""A journal in a file that several processes may write to: proved when it is opened, and whole whenever one is killed.

An entry is acknowledged when it is on the disk. Whoever is killed before leaves at most a line without an end, which
nobody reads and the next writer cuts. Writers wait for each other.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hfvaccine.claims.journal import Entry, follow, loads
from hfvaccine.files import sync_folder

Write = Callable[[str, str, str, dict[str, Any]], None]
"""Adds an entry of act, who did it, time and details; raises OSError where it cannot, and then nothing was added."""


def read(path: Path) -> list[Entry]:
    """Every entry, the chain proved; none where there is no file yet.

    Raises:
        DoseError: naming the first entry that was tampered with.
        OSError: where it cannot be read.
    """
    return _whole(path.read_bytes()) if path.is_file() else []


@contextmanager
def writing(path: Path, new: bool = True) -> Iterator[tuple[list[Entry], Write]]:
    """Hold a journal, proved and open for writing; others wait.

    Args:
        path: the file, readable for its owner only where it is made.
        new: make it, and its folder, where it is not there.

    Yields:
        Its entries, to which those that are written are added, and what writes one.

    Raises:
        DoseError: naming the first entry that was tampered with.
        OSError: where it cannot be opened.
    """
    if new:
        path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | (os.O_CREAT if new else 0), 0o600)
    # Unbuffered, so that closing it has nothing left to fail at.
    with os.fdopen(handle, "r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        content = file.read()
        entries = _whole(content)
        file.seek(content.rfind(b"\n") + 1)

        def write(act: str, by: str, at: str, what: dict[str, Any]) -> None:
            entry = follow(entries, act, by, at, what)
            line = entry.line().encode() + b"\n"
            start = file.tell()
            file.truncate()  # what a stopped process left of an entry
            try:
                if not entries:
                    sync_folder(path.parent)
                if file.write(line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                file.seek(start)
                file.truncate()
                raise
            entries.append(entry)

        yield entries, write


def _whole(content: bytes) -> list[Entry]:
    """What has no line end was never written whole."""
    return loads(content[: content.rfind(b"\n") + 1])
