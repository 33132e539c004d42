"""Which repos there are, under which names, with which settings, and which large files they hold."""

import json
import secrets
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hfvaccine.localhub.data.database import Database, now
from hfvaccine.localhub.refusal import Refusal

KINDS = ("model", "dataset", "space")


@dataclass(frozen=True)
class Repo:
    """One repo's row: what it is called and who may reach it. Its content lies in `folder`, whatever its name."""

    number: int
    kind: str
    namespace: str
    name: str
    folder: str
    private: bool
    gated: str | None
    created_at: str

    @property
    def id(self) -> str:
        """`namespace/name`, as clients write it."""
        return f"{self.namespace}/{self.name}"

    @property
    def url_path(self) -> str:
        """The path of the repo's page: `/ns/name`, `/datasets/ns/name`."""
        return f"/{self.id}" if self.kind == "model" else f"/{self.kind}s/{self.id}"

    @property
    def visibility(self) -> str:
        """Who may see it, in one word: `private` or `public`."""
        return "private" if self.private else "public"


class Catalog:
    """The repos in the database. Names are matched without regard to case and shown as they were given."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, kind: str, namespace: str, name: str) -> Repo | None:
        """The repo of this name, or None."""
        return next(iter(self._repos("kind = ? AND namespace = ? AND name = ?", kind, namespace, name)), None)

    def find_moved(self, kind: str, namespace: str, name: str) -> Repo | None:
        """The repo that had this name before it moved, or None."""
        row = self._database.row(
            "SELECT repo_id FROM moves WHERE kind = ? AND namespace = ? AND name = ?", kind, namespace, name
        )
        return self.by_number(row["repo_id"]) if row else None

    def by_number(self, number: int) -> Repo | None:
        """The repo of this number, or None."""
        return next(iter(self._repos("id = ?", number)), None)

    def all(self, kind: str) -> list[Repo]:
        """Every repo of one kind, oldest first."""
        return self._repos("kind = ?", kind)

    @staticmethod
    def new_folder() -> str:
        """A folder name that no repo has had: names can move and come back, content must not mix."""
        return secrets.token_hex(16)

    def add(self, kind: str, namespace: str, name: str, folder: str, private: bool) -> Repo:
        """Enter a repo whose content already lies in `folder`.

        Raises:
            Refusal: 409 when the name is taken.
        """
        try:
            with self._database.transaction():
                change = self._database.change
                change(
                    "INSERT INTO repos (kind, namespace, name, folder, private, created_at) VALUES (?, ?, ?, ?, ?, ?)",
                    *(kind, namespace, name, folder, private, now()),
                )
                change("DELETE FROM moves WHERE kind = ? AND namespace = ? AND name = ?", kind, namespace, name)
        except sqlite3.IntegrityError as error:
            raise Refusal(409, f"You already created this {kind} repo: {namespace}/{name}") from error
        repo = self.find(kind, namespace, name)
        assert repo is not None
        return repo

    def remove(self, repo: Repo) -> None:
        """Forget a repo, with its large-file bindings, old names, access requests and discussions."""
        self._database.change("DELETE FROM repos WHERE id = ?", repo.number)

    def move(self, repo: Repo, namespace: str, name: str) -> None:
        """Give a repo another name and remember the old one.

        Raises:
            Refusal: 409 when the name is taken.
        """
        try:
            with self._database.transaction():
                change = self._database.change
                change("UPDATE repos SET namespace = ?, name = ? WHERE id = ?", namespace, name, repo.number)
                change("DELETE FROM moves WHERE kind = ? AND namespace = ? AND name = ?", repo.kind, namespace, name)
                if repo.id.lower() != f"{namespace}/{name}".lower():
                    old = (repo.kind, repo.namespace, repo.name, repo.number)
                    change("INSERT OR REPLACE INTO moves VALUES (?, ?, ?, ?)", *old)
        except sqlite3.IntegrityError as error:
            message = f"A {repo.kind} repository called {namespace}/{name} already exists"
            raise Refusal(409, message) from error

    def change_settings(self, repo: Repo, private: bool, gated: str | None) -> None:
        """Set who may reach a repo."""
        self._database.change("UPDATE repos SET private = ?, gated = ? WHERE id = ?", private, gated, repo.number)

    def bind_large_file(self, repo: Repo, oid: str, size: int) -> None:
        """Record that a large file was handed in for this repo.

        Files are stored once for all repos, so this binding alone says who may use one:
        to know a file's hash must not be enough to get it out of somebody else's repo.
        """
        self._database.change("INSERT OR IGNORE INTO large_files VALUES (?, ?, ?)", repo.number, oid, size)

    def bind_all_of(self, other: Repo, repo: Repo) -> None:
        """Let a repo that was made of another one use all large files of that."""
        self._database.change(
            "INSERT INTO large_files SELECT ?, oid, size FROM large_files WHERE repo_id = ?", repo.number, other.number
        )

    def large_file_size(self, repo: Repo, oid: str) -> int | None:
        """The size of a large file bound to this repo, or None when it is not."""
        row = self._database.row("SELECT size FROM large_files WHERE repo_id = ? AND oid = ?", repo.number, oid)
        return row["size"] if row else None

    def name_for_xet(self, oid: str, xet_hash: str) -> None:
        """Record what a large file is called by Xet, which follows from its bytes; somebody has to have seen them."""
        self._database.change("INSERT OR IGNORE INTO xet_hashes VALUES (?, ?)", oid, xet_hash)

    def xet_hashes(self, oids: Iterable[str]) -> dict[str, str]:
        """By SHA-256, what of these large files Xet calls those that it has a name for."""
        query = "SELECT oid, hash FROM xet_hashes WHERE oid IN (SELECT value FROM json_each(?))"
        return {row["oid"]: row["hash"] for row in self._database.rows(query, json.dumps(list(oids)))}

    def named_by_xet(self, repo: Repo, xet_hash: str) -> tuple[str, int] | None:
        """SHA-256 and size of the large file of this repo that Xet calls so, or None."""
        row = self._database.row(
            "SELECT oid, size FROM large_files JOIN xet_hashes USING (oid) WHERE repo_id = ? AND hash = ?",
            *(repo.number, xet_hash),
        )
        return (row["oid"], row["size"]) if row else None

    def used_storage(self, repo: Repo) -> int:
        """Bytes of all large files bound to a repo."""
        row = self._database.row("SELECT TOTAL(size) AS bytes FROM large_files WHERE repo_id = ?", repo.number)
        return int(row["bytes"]) if row else 0

    def _repos(self, condition: str, *values: Any) -> list[Repo]:
        found = []
        for row in self._database.rows(f"SELECT * FROM repos WHERE {condition} ORDER BY id", *values):
            number, kind, namespace, name, folder, private, gated, created_at = row
            found.append(Repo(number, kind, namespace, name, folder, bool(private), gated, created_at))
        return found
