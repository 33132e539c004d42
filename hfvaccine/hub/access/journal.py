"""The owner's own journal of a dose on the Hub: what was published, and who was let in.

It is hash-chained like that of a quarantine, and never published, since it names people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hfvaccine.claims import journal, journal_file
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
    with _trusted(path):
        return journal_file.read(path)


@contextmanager
def writing(path: Path) -> Iterator[Write]:
    """Hold the journal, proved and open for writing, before anything is done that must stand in it.

    Args:
        path: the file; made, readable for its owner only, where it is not there yet.

    Raises:
        UsageError: where it cannot be written.
        DoseError: where it was tampered with.
    """
    with ExitStack() as stack:
        try:
            with _trusted(path):
                _, write = stack.enter_context(journal_file.writing(path))
        except OSError as error:
            raise UsageError(
                f"The journal {path} cannot be written, so nothing was done: {error.strerror}.",
                "Mend its permissions, or choose another file with --journal.",
            ) from error
        yield lambda act, by, what: write(act, by, journal.now(), what)


@contextmanager
def _trusted(path: Path) -> Iterator[None]:
    try:
        yield
    except DoseError as error:
        raise DoseError(
            f"{path} cannot be trusted. {error.message}",
            "Take it from a backup, or begin another journal with --journal.",
        ) from error
