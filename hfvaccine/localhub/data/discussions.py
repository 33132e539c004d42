"""Discussions and pull requests: what they are about, and what was said and done in each. Commits lie in git."""

import json
import secrets
import sqlite3
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hfvaccine.localhub.cards import markdown
from hfvaccine.localhub.data.accounts import Caller
from hfvaccine.localhub.data.catalog import Catalog, Repo
from hfvaccine.localhub.data.database import Database, now
from hfvaccine.localhub.refusal import Refusal, unknown_revision

LONGEST_TITLE, LONGEST_TEXT, MOST_EVENTS = 200, 10_000, 500
EVENT = 500
"""Bytes that what is said or done takes in the database beside its text, at the most."""


@dataclass(frozen=True)
class Discussion:
    """One discussion's row; it is a pull request when there is a branch that it is for.

    `status` is open, closed, merged, or draft for a pull request that is open but not yet to be merged.
    """

    repo_id: int
    num: int
    title: str
    status: str
    user_id: int
    created_at: str
    branch: str | None
    base: str
    merge_oid: str | None
    merger_id: int | None
    author: str

    @property
    def is_open(self) -> bool:
        """Whether it is still being worked on: open, or a draft."""
        return self.status in ("open", "draft")

    @property
    def ref(self) -> str:
        """A pull request's reference."""
        return f"refs/pr/{self.num}"


class Discussions:
    """The discussions in the database. A new one's number is safe while its repository is held for writing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def next_number(self, repo: Repo) -> int:
        """The number that the repo's next discussion gets."""
        row = self._database.row("SELECT MAX(num) AS last FROM discussions WHERE repo_id = ?", repo.number)
        return 1 + ((row and row["last"]) or 0)

    def open(
        self,
        repo: Repo,
        number: int,
        caller: Caller,
        title: str,
        text: str,
        branch: str | None,
        base: str | None,
        draft: bool = False,
    ) -> Discussion:
        """Enter a discussion, or a pull request whose reference is there already.

        Args:
            repo: what it is about.
            number: its number.
            caller: who opens it.
            title: see `title_of`.
            text: what its author says first.
            branch: for a pull request the branch that it is for.
            base: for a pull request the commit that it begins at.
            draft: whether it is to wait for commits, and for its status to be set to open.
        """
        with self._database.transaction():
            try:
                self._database.change(
                    "INSERT INTO discussions (repo_id, num, title, status, user_id, created_at, branch, base, draft)"
                    " VALUES (?, ?, ?, 'open', ?, ?, ?, ?, ?)",
                    *(repo.number, number, title, caller.id, now(), branch, base, draft),
                )
            except sqlite3.IntegrityError as error:  # deleted meanwhile
                raise Refusal(404, "Repository not found", "RepoNotFound") from error
            found = self.find(repo, number)
            self.say(found, caller, text[:LONGEST_TEXT])
            return found

    def find(self, repo: Repo, number: int | str) -> Discussion:
        """The discussion of this number. Raises Refusal 404 when there is none."""
        known = str(number).isdecimal() and len(str(number)) < 10
        found = self._all("repo_id = ? AND num = ?", repo.number, int(number)) if known else []
        if not found:
            raise Refusal(404, f"{repo.id} has no such discussion.")
        return found[0]

    def all(self, repo: Repo) -> list[Discussion]:
        """All of a repo, newest first."""
        return self._all("repo_id = ?", repo.number)

    def require_open(self, found: Discussion) -> None:
        """Refuse unless it is open or a draft. Raises Refusal 400."""
        if not found.is_open:
            raise Refusal(400, f"#{found.num} is {found.status}.")

    def open_for(self, repo: Repo, revision: str) -> Discussion | None:
        """The pull request that a change to a revision is a change to, or None where that is a branch.

        Raises:
            Refusal: 400 when it is not open, 404 when there is none.
        """
        if not revision.startswith("refs/pr/"):
            return None
        found = next((one for one in self.all(repo) if one.branch and one.ref == revision), None)
        if found is None:
            raise unknown_revision(revision)
        self.require_open(found)
        return found

    def stored(self, repo: Repo, caller: Caller) -> int:
        """Bytes that somebody who may not write to a repo has stored there.

        These are the commits of pull requests that were not merged, and all that was said, wherever it was.
        """
        row = self._database.row(
            "SELECT (SELECT TOTAL(iif(status = 'merged', 0, stored) + LENGTH(CAST(title AS BLOB))) FROM discussions"
            " WHERE repo_id = ? AND user_id = ?) + (SELECT TOTAL(LENGTH(data) + ?) FROM discussion_events"
            " WHERE repo_id = ? AND user_id = ?) AS bytes",
            *(repo.number, caller.id, EVENT, repo.number, caller.id),
        )
        return int(row["bytes"]) if row else 0

    def charge(self, found: Discussion, size: int) -> None:
        """Count bytes that a stranger stored in a pull request; 0 only notes that a stranger's was touched."""
        self._database.change(
            "UPDATE discussions SET stored = stored + ?, stored_at = ?"
            " WHERE repo_id = ? AND num = ? AND (stored_at IS NOT NULL OR ? > 0)",
            *(size, now(), found.repo_id, found.num, size),
        )

    def events(self, found: Discussion) -> list[dict[str, Any]]:
        """What was said and done, as the API tells it, oldest first."""
        return self._events("repo_id = ? AND num = ?", found.repo_id, found.num)

    def say(self, found: Discussion, caller: Caller, text: str) -> dict[str, Any]:
        """Add a comment."""
        return self._add(found, caller.id, "comment", {"raw": text, "hidden": False, "history": []})

    def rename(self, found: Discussion, caller: Caller, title: str) -> dict[str, Any]:
        """Give it another title."""
        with self._database.transaction():
            self._set(found, "title", title)
            return self._add(found, caller.id, "title-change", {"from": found.title, "to": title})

    def set_status(self, found: Discussion, caller: Caller, status: str, text: str | None) -> dict[str, Any]:
        """Close it or open it, perhaps with a last word; what was a draft is none any more.

        Raises:
            Refusal: 400 when it was merged, or has that status already.
        """
        if status not in ("open", "closed"):
            raise Refusal(400, "status must be open or closed.")
        with self._database.transaction():
            found = self._again(found)  # it may have been merged since
            if found.status in ("merged", status):
                raise Refusal(400, f"#{found.num} is {found.status} already.")
            if text:
                self.say(found, caller, text)
            self._set(found, "status", status)
            self._set(found, "draft", 0)
            return self._add(found, caller.id, "status-change", {"status": status})

    def revise(self, found: Discussion, comment: str, caller: Caller, text: str | None) -> dict[str, Any]:
        """Put another text in place of a comment's; with None hide it. What it said is not kept.

        Raises:
            Refusal: 404 when there is no such comment, 400 when it is hidden.
        """
        with self._database.transaction():
            data = json.loads(self._comment(found, comment)["data"])
            if data["hidden"] and text is not None:
                raise Refusal(400, "This comment is hidden.")
            edit = {"updatedAt": now(), "author": {"name": caller.name}}
            history = data["history"][-MOST_EVENTS:] + ([] if text is None else [edit])
            data = {"raw": text or "", "hidden": text is None, "history": history}
            self._database.change("UPDATE discussion_events SET data = ? WHERE id = ?", json.dumps(data), comment)
            return self._events("events.id = ?", comment)[0]

    def author_of(self, found: Discussion, comment: str) -> int:
        """Whose comment it is. Raises Refusal 404 when there is none."""
        return int(self._comment(found, comment)["user_id"])

    def begin_merge(self, found: Discussion, caller: Caller, oid: str) -> None:
        """Note the commit that a branch is about to move to, so that `merging` names it to whoever comes after us."""
        self._database.change(
            "UPDATE discussions SET merge_oid = ?, merger_id = ? WHERE repo_id = ? AND num = ?",
            *(oid, caller.id, found.repo_id, found.num),
        )

    def end_merge(self, found: Discussion, done: bool) -> None:
        """Note that the branch moved, or that it did not."""
        with self._database.transaction():
            if not done:
                self._set(found, "merge_oid", None)
                return
            self._set(found, "status", "merged")
            self._add(found, self._again(found).merger_id or found.user_id, "status-change", {"status": "merged"})

    def merging(self) -> list[tuple[Repo, Discussion]]:
        """The pull requests between `begin_merge` and `end_merge`."""
        catalog = Catalog(self._database)
        return [
            (repo, found)
            for found in self._all("status <> 'merged' AND merge_oid IS NOT NULL")
            if (repo := catalog.by_number(found.repo_id))
        ]

    def _all(self, condition: str, *values: Any) -> list[Discussion]:
        rows = self._database.rows(
            "SELECT repo_id, num, title, iif(draft AND status = 'open', 'draft', status) AS status, user_id,"
            " discussions.created_at, branch, base, merge_oid, merger_id, users.name AS author"
            " FROM discussions JOIN users ON users.id = user_id"
            f" WHERE {condition} ORDER BY num DESC",
            *values,
        )
        return [Discussion(**{key: row[key] for key in row.keys()}) for row in rows]  # noqa: SIM118 - it holds values

    def _again(self, found: Discussion) -> Discussion:
        return next(iter(self._all("repo_id = ? AND num = ?", found.repo_id, found.num)), found)

    def _set(self, found: Discussion, column: str, value: str | int | None) -> None:
        self._database.change(
            f"UPDATE discussions SET {column} = ? WHERE repo_id = ? AND num = ?", value, found.repo_id, found.num
        )

    def _add(self, found: Discussion, user_id: int, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        event = secrets.token_hex(12)
        with self._database.transaction():
            count = self._database.row(
                "SELECT COUNT(*) AS n FROM discussion_events WHERE repo_id = ? AND num = ?", found.repo_id, found.num
            )
            if data.get("status") != "merged" and count and count["n"] >= MOST_EVENTS:
                raise Refusal(400, f"#{found.num} is full: open another one.")
            try:
                self._database.change(
                    "INSERT INTO discussion_events (id, repo_id, num, type, user_id, created_at, data)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    *(event, found.repo_id, found.num, kind, user_id, now(), json.dumps(data)),
                )
            except sqlite3.IntegrityError as error:
                raise Refusal(404, "Repository not found", "RepoNotFound") from error
            return self._events("events.id = ?", event)[0]

    def _events(self, condition: str, *values: Any) -> list[dict[str, Any]]:
        rows = self._database.rows(
            "SELECT events.*, users.name AS author FROM discussion_events AS events JOIN users ON users.id = user_id"
            f" WHERE {condition} ORDER BY events.rowid",
            *values,
        )
        return [_event(row) for row in rows]

    def _comment(self, found: Discussion, comment: str) -> Any:
        row = self._database.row(
            "SELECT * FROM discussion_events WHERE id = ? AND repo_id = ? AND num = ? AND type = 'comment'",
            *(comment, found.repo_id, found.num),
        )
        if row is None:
            raise Refusal(404, "There is no such comment.")
        return row


def size_of(*texts: str) -> int:
    """Bytes that texts take, each as an event of its own."""
    return sum(EVENT + len(json.dumps(text)) for text in texts)


def title_of(value: Any) -> str:
    """A title as it is kept: one line. Raises Refusal 400."""
    title = " ".join(value.split()) if isinstance(value, str) else ""
    if not 0 < len(title) <= LONGEST_TITLE:
        raise Refusal(400, f"A title is a text of 1 to {LONGEST_TITLE} characters.")
    return title


def text_of(value: Any, needed: bool = True) -> str:
    """A comment as it is kept. Raises Refusal 400 when there is none, where one is needed, or it is too long."""
    text = "" if value is None and not needed else value
    if not isinstance(text, str) or len(text) > LONGEST_TEXT or (needed and not text.strip()):
        raise Refusal(400, f"A comment is a text of 1 to {LONGEST_TEXT} characters.")
    return text


@lru_cache(maxsize=256)
def html_of(text: str) -> str:
    """A comment as HTML; its links lead out of the Hub or nowhere."""
    return markdown.render(text, lambda address, image: None)


def _event(row: Any) -> dict[str, Any]:
    data, author = json.loads(row["data"]), {"name": row["author"]}
    if row["type"] == "comment":
        raw, history = data["raw"], data["history"]
        last = history[-1] if history else {"updatedAt": row["created_at"], "author": author}
        latest = {"raw": raw, "html": html_of(raw), **last}
        data = {"edited": bool(history), "hidden": data["hidden"], "latest": latest, "history": history}
        data["numEdits"] = len(history)
    created = {"id": row["id"], "type": row["type"], "createdAt": row["created_at"]}
    return {**created, "author": author, "data": data}
