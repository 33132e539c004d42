"""Locks on a data folder between processes: who serves it, who changes it, who removes from it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVING, WRITING, WAITING = "serving.guard", "writing.guard", "waiting.guard"


@contextmanager
def changing(root: Path) -> Iterator[None]:
    """Held by each request that may change something; many at a time, but none while `removing` is held."""
    with open(root / WRITING, "a") as guard:
        # Without this queue there might always be a change under way, and `removing` would wait for ever.
        with open(root / WAITING, "a") as queue:
            fcntl.flock(queue, fcntl.LOCK_SH)
            fcntl.flock(guard, fcntl.LOCK_SH)
        yield


@contextmanager
def removing(root: Path) -> Iterator[None]:
    """Held while what nothing refers to is removed: waits for the changes under way, and new ones wait for it."""
    with open(root / WAITING, "a") as queue, open(root / WRITING, "a") as guard:
        fcntl.flock(queue, fcntl.LOCK_EX)
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


@contextmanager
def kept_from_serving(root: Path) -> Iterator[bool]:
    """Keep servers from starting, where none runs.

    Returns:
        Whether that was possible; False means that the folder is being served.
    """
    with open(root / SERVING, "a") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
