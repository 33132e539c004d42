"""The SQLite file of the embedded Hub: accounts, repo settings, access requests, discussions, likes, audit."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hfvaccine.errors import LocalHubError

_FIRST = """
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
# What each later version of this file added. Data folders in the field are brought up step by step when
# they are opened, so a step that has been released is never changed.
_ACCOUNTS = """
ALTER TABLE users ADD COLUMN is_org INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN fullname TEXT;
ALTER TABLE users ADD COLUMN email TEXT;
ALTER TABLE tokens ADD COLUMN name TEXT NOT NULL DEFAULT 'token';
ALTER TABLE tokens ADD COLUMN last_used TEXT;
ALTER TABLE tokens ADD COLUMN fine_grained INTEGER NOT NULL DEFAULT 0;
CREATE TABLE token_repos (
    digest TEXT NOT NULL REFERENCES tokens(digest) ON DELETE CASCADE,
    repo_id INTEGER NOT NULL REFERENCES repos(id) ON DELETE CASCADE,
    role TEXT NOT NULL CHECK (role IN ('read', 'write')), PRIMARY KEY (digest, repo_id));
CREATE TABLE members (
    org_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    role TEXT NOT NULL CHECK (role IN ('admin', 'write', 'read')), PRIMARY KEY (org_id, user_id));
"""
_DISCUSSIONS = """
CREATE TABLE discussions (
    repo_id INTEGER NOT NULL REFERENCES repos(id) ON DELETE CASCADE, num INTEGER NOT NULL, title TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('open', 'closed', 'merged')),
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, created_at TEXT NOT NULL,
    branch TEXT, base TEXT, merge_oid TEXT, merger_id INTEGER REFERENCES users(id) ON DELETE SET NULL,
    PRIMARY KEY (repo_id, num));
CREATE TABLE discussion_events (
    id TEXT PRIMARY KEY, repo_id INTEGER NOT NULL, num INTEGER NOT NULL, type TEXT NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, created_at TEXT NOT NULL, data TEXT NOT NULL,
    FOREIGN KEY (repo_id, num) REFERENCES discussions(repo_id, num) ON DELETE CASCADE);
CREATE INDEX events_of_discussions ON discussion_events (repo_id, num);
"""
_LIKES = """
CREATE TABLE likes (
    repo_id INTEGER NOT NULL REFERENCES repos(id) ON DELETE CASCADE,
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, created_at TEXT NOT NULL,
    PRIMARY KEY (repo_id, user_id));
CREATE INDEX likes_of_users ON likes (user_id);
"""
_PRIVATE_ORGS = "ALTER TABLE users ADD COLUMN private INTEGER NOT NULL DEFAULT 0"
_DRAFTS = "ALTER TABLE discussions ADD COLUMN draft INTEGER NOT NULL DEFAULT 0"
_STRANGERS = """
ALTER TABLE discussions ADD COLUMN stored INTEGER NOT NULL DEFAULT 0;
ALTER TABLE discussions ADD COLUMN stored_at TEXT;
"""
_XET_HASHES = """
CREATE TABLE xet_hashes (oid TEXT PRIMARY KEY, hash TEXT NOT NULL);
CREATE INDEX files_of_xet_hashes ON xet_hashes (hash);
"""
SCHEMAS = (_FIRST, _ACCOUNTS, _DISCUSSIONS, _LIKES, _PRIVATE_ORGS, _DRAFTS, _STRANGERS, _XET_HASHES)


def now() -> str:
    """The time as clients parse it."""
    return iso(datetime.now(UTC))


def iso(moment: datetime) -> str:
    """A UTC time as `YYYY-MM-DDTHH:MM:SS.fffZ`; clients refuse the `+00:00` spelling."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


class Database:
    """One SQLite connection shared by all threads; every use is short and holds the lock.

    Args:
        path: the file; made when absent, and brought up to the present schema.

    Raises:
        LocalHubError: when a newer hfvaccine made it.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        self._connection.row_factory = sqlite3.Row
        self._lock = threading.RLock()
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        try:
            self._bring_up()
        except BaseException:
            self._connection.close()
            raise

    def _bring_up(self) -> None:
        with self.transaction() as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > len(SCHEMAS):
                raise LocalHubError(
                    "This Hub's data folder was used by a newer version of hfvaccine.", "Update hfvaccine."
                )
            for schema in SCHEMAS[version:]:
                for statement in schema.split(";"):
                    connection.execute(statement)
            if version < len(SCHEMAS):
                connection.execute(f"PRAGMA user_version = {len(SCHEMAS)}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing: committed at the end of the block, rolled back when it raises.

        Inside another such block of the same thread it is a part of that one.
        """
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite itself rolls back on a full disk
                    self._connection.execute("ROLLBACK")
                raise

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
        """Record who did what; inside a transaction it is kept or undone with the deed."""
        entry = (now(), actor, action, repo, detail)
        self.change("INSERT INTO audit (at, actor, action, repo, detail) VALUES (?, ?, ?, ?, ?)", *entry)

    def setting(self, name: str, default: str) -> str:
        """A value that is chosen once in the life of the data folder."""
        self.change("INSERT OR IGNORE INTO settings VALUES (?, ?)", name, default)
        row = self.row("SELECT value FROM settings WHERE name = ?", name)
        assert row is not None
        return str(row["value"])

    def close(self) -> None:
        """Close the file; the database is unusable afterwards."""
        with self._lock:
            self._connection.close()


@contextmanager
def data_folder(root: Path) -> Iterator[None]:
    """A Hub's data folder, made when absent; what cannot be opened in it becomes a LocalHubError."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, sqlite3.Error) as error:
        raise LocalHubError(f"{root} cannot hold a Hub: {error}.", "Choose another folder with `--root`.") from error


@contextmanager
def open_database(root: Path) -> Iterator[Database]:
    """The database of the Hub whose data folder is `root`, be it served at the moment or not.

    Raises:
        LocalHubError: when the folder cannot hold one.
    """
    with data_folder(root):
        database = Database(root / "hub.sqlite3")
    try:
        yield database
    finally:
        database.close()
