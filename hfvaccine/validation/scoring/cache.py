"""Scores on disk, so that a run that was ended goes on, and what was scored once is found again."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hfvaccine.errors import ValidationError
from hfvaccine.files import cache_folder

FILE_MARK = 0x68667663
"""Tells SQLite files of ours from others."""
PATIENCE_SECONDS = 60
"""How long a process waits for another that writes."""

Logprobs = npt.NDArray[np.float32]
Greedy = npt.NDArray[np.bool_]


class ScoreCache:
    """Log-probabilities and texts by the digest of all that they depend on, in one SQLite file.

    What is put there is there whole or not at all, whenever the process is killed. Several processes may share it.

    Args:
        path: of the file; it is made where there is none.

    Raises:
        ValidationError: for a file that is damaged, or not ours.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        with self._named():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(self.path, timeout=PATIENCE_SECONDS, isolation_level=None)
            # One transaction, because two processes may find no file at the same time.
            self._file.execute("BEGIN IMMEDIATE")
            (mark,) = self._file.execute("PRAGMA application_id").fetchone()
            (tables,) = self._file.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if mark != FILE_MARK and tables:
                raise sqlite3.DatabaseError("it holds other things than scores")
            self._file.execute(f"PRAGMA application_id = {FILE_MARK}")
            self._file.execute(
                "CREATE TABLE IF NOT EXISTS scores (key BLOB PRIMARY KEY, logprobs BLOB, greedy BLOB, crc INTEGER)"
            )
            self._file.execute("CREATE TABLE IF NOT EXISTS texts (key BLOB PRIMARY KEY, texts TEXT, crc INTEGER)")
            self._file.execute("COMMIT")

    def get(self, key: bytes) -> tuple[Logprobs, Greedy] | None:
        """What was put under a key; None where nothing was.

        Raises:
            ValidationError: for a file that is damaged.
        """
        with self._named():
            found = self._file.execute("SELECT logprobs, greedy, crc FROM scores WHERE key = ?", (key,)).fetchone()
            if found is None:
                return None
            logprobs, greedy, crc = found
            if zlib.crc32(logprobs + greedy) != crc:
                raise sqlite3.DatabaseError("a score in it was changed")
        return np.frombuffer(logprobs, dtype="<f4"), np.frombuffer(greedy, dtype=bool)

    def put(self, key: bytes, logprobs: Logprobs, greedy: Greedy) -> None:
        """Keep the scores of one unit of work.

        Raises:
            ValidationError: for a file that cannot be written.
        """
        row = logprobs.astype("<f4").tobytes(), greedy.astype(bool).tobytes()
        with self._named():
            self._file.execute(
                "INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?)", (key, *row, zlib.crc32(b"".join(row)))
            )

    def get_texts(self, key: bytes) -> list[str] | None:
        """What a model said, put under a key; None where nothing was.

        Raises:
            ValidationError: for a file that is damaged.
        """
        with self._named():
            found = self._file.execute("SELECT texts, crc FROM texts WHERE key = ?", (key,)).fetchone()
            if found is None:
                return None
            if zlib.crc32(found[0].encode()) != found[1]:
                raise sqlite3.DatabaseError("a text in it was changed")
        texts: list[str] = json.loads(found[0])
        return texts

    def put_texts(self, key: bytes, texts: list[str]) -> None:
        """Keep what a model said to one batch of prompts.

        Raises:
            ValidationError: for a file that cannot be written.
        """
        row = json.dumps(texts)
        with self._named():
            self._file.execute("INSERT OR REPLACE INTO texts VALUES (?, ?, ?)", (key, row, zlib.crc32(row.encode())))

    def close(self) -> None:
        self._file.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Turn what SQLite says into an error that names the file."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise ValidationError(
                f"The cache of scores {self.path} cannot be used: {error}.",
                "Delete the file, and scores are computed anew; or name another one.",
            ) from error


def cache_of_scores() -> ScoreCache:
    """That of all runs on this machine."""
    return ScoreCache(cache_folder() / "scores.sqlite")
