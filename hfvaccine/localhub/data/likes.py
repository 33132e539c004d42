"""Likes: who likes which repo, at most once each."""

from hfvaccine.localhub.data.accounts import Caller
from hfvaccine.localhub.data.catalog import Catalog, Repo
from hfvaccine.localhub.data.database import Database, now


class Likes:
    """The likes in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, repo: Repo, caller: Caller) -> None:
        """Note that somebody likes a repo; once is as good as twice."""
        self._database.change("INSERT OR IGNORE INTO likes VALUES (?, ?, ?)", repo.number, caller.id, now())

    def remove(self, repo: Repo, caller: Caller) -> None:
        """Take a like back, where there is one."""
        self._database.change("DELETE FROM likes WHERE repo_id = ? AND user_id = ?", repo.number, caller.id)

    def count(self, repo: Repo) -> int:
        """How many like a repo."""
        row = self._database.row("SELECT COUNT(*) AS n FROM likes WHERE repo_id = ?", repo.number)
        return int(row["n"]) if row else 0

    def of_repo(self, repo: Repo) -> list[str]:
        """The names of those who like a repo, the latest first."""
        rows = self._database.rows(
            "SELECT name FROM likes JOIN users ON users.id = user_id WHERE repo_id = ? ORDER BY likes.rowid DESC",
            repo.number,
        )
        return [row["name"] for row in rows]

    def of_user(self, user_id: int) -> list[tuple[Repo, str]]:
        """The repos that a user likes, and since when, the latest first; the caller leaves out what nobody may see."""
        catalog = Catalog(self._database)
        rows = self._database.rows("SELECT * FROM likes WHERE user_id = ? ORDER BY rowid DESC", user_id)
        return [(repo, row["created_at"]) for row in rows if (repo := catalog.by_number(row["repo_id"]))]
