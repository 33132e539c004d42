"""The SQLite file of the embedded Hub: accounts, repo settings, access requests, audit."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hfvaccine.errors import LocalHubError

SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE COLLATE NOCASE, created_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tokens (
    digest TEXT PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    role TEXT NOT NULL CHECK (role IN ('read', 'write')), created_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS repos (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, namespace TEXT NOT NULL COLLATE NOCASE,
    name TEXT NOT NULL COLLATE NOCASE, folder TEXT NOT NULL UNIQUE, private INTEGER NOT NULL,
    gated TEXT CHECK (gated IN ('auto', 'manual')), created_at TEXT NOT NULL, UNIQUE (kind, namespace, name));
CREATE TABLE IF NOT EXISTS moves (
    kind TEXT NOT NULL, namespace TEXT NOT NULL COLLATE NOCASE, name TEXT NOT NULL COLLATE NOCASE,
    repo_id INTEGER NOT NULL REFERENCES repos(id) ON DELETE CASCADE, PRIMARY KEY (kind, namespace, name));
CREATE TABLE IF NOT EXISTS large_files (
    repo_id INTEGER NOT NULL REFERENCES repos(id) ON DELETE CASCADE, oid TEXT NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (repo_id, oid));
CREATE TABLE IF NOT EXISTS access_requests (
    id TEXT PRIMARY KEY, repo_id INTEGER NOT NULL REFERENCES repos(id) ON DELETE CASCADE,
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    status TEXT NOT NULL CHECK (status IN ('pending', 'accepted', 'rejected')), fields TEXT NOT NULL,
    reason TEXT, created_at TEXT NOT NULL, UNIQUE (repo_id, user_id));
CREATE TABLE IF NOT EXISTS audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
    repo TEXT, detail TEXT);
"""


def now() -> str:
    """The time as clients parse it."""
    return iso(datetime.now(UTC))


def iso(moment: datetime) -> str:
    """A UTC time as `YYYY-MM-DDTHH:MM:SS.fffZ`; clients refuse the `+00:00` spelling."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


class Database:
    """One SQLite connection shared by all threads; every use is short and holds the lock.

    Args:
        path: the file; made when absent.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        self._connection.row_factory = sqlite3.Row
        self._lock = threading.RLock()
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.executescript(SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing: committed at the end of the block, rolled back when it raises."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """All rows of one query."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def row(self, query: str, *values: Any) -> sqlite3.Row | None:
        """The first row of one query, or None."""
        with self._lock:
            found: sqlite3.Row | None = self._connection.execute(query, values).fetchone()
            return found

    def change(self, query: str, *values: Any) -> int:
        """Run one statement in a transaction of its own; the number of rows it touched."""
        with self.transaction() as connection:
            return connection.execute(query, values).rowcount

    def audit(self, actor: str, action: str, repo: str | None = None, detail: str | None = None) -> None:
        """Record who did what."""
        self.change(
            "INSERT INTO audit (at, actor, action, repo, detail) VALUES (?, ?, ?, ?, ?)",
            now(),
            actor,
            action,
            repo,
            detail,
        )

    def setting(self, name: str, default: str) -> str:
        """A value that is chosen once in the life of the data folder."""
        with self.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (name, default))
        row = self.row("SELECT value FROM settings WHERE name = ?", name)
        assert row is not None
        return str(row["value"])

    def close(self) -> None:
        """Close the file; the database is unusable afterwards."""
        with self._lock:
            self._connection.close()


@contextmanager
def open_database(root: Path) -> Iterator[Database]:
    """The database of the Hub whose data folder is `root`, be it served at the moment or not.

    Raises:
        LocalHubError: when the folder cannot hold one.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        database = Database(root / "hub.sqlite3")
    except (OSError, sqlite3.Error) as error:
        raise LocalHubError(f"{root} cannot hold a Hub: {error}.", "Choose another folder with `--root`.") from error
    try:
        yield database
    finally:
        database.close()
