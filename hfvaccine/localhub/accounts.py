"""Users and their tokens. A token is shown once; only its SHA-256 is kept."""

import hashlib
import re
import secrets
from dataclasses import dataclass

from hfvaccine.errors import LocalHubError
from hfvaccine.localhub.database import Database, now
from hfvaccine.localhub.refusal import Refusal

NAME = re.compile(r"(?!.*(--|\.\.))(?!.*\.git$)[A-Za-z0-9_]([A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
RESERVED = {"api", "models", "datasets", "spaces", "buckets", "docs", "healthz", "login", "settings", "static"}


@dataclass(frozen=True)
class Caller:
    """Who sends a request: the user behind a valid token, and what that token may do."""

    id: int
    name: str
    role: str


def is_name(text: object) -> bool:
    """Whether a text can name a namespace or a repo, by the clients' own rule."""
    return isinstance(text, str) and NAME.fullmatch(text) is not None


class Accounts:
    """Users and tokens in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_user(self, name: str) -> None:
        """Make an account; nothing happens when it exists.

        Raises:
            LocalHubError: for a name that cannot be a namespace.
        """
        if not is_name(name) or name.lower() in RESERVED:
            raise LocalHubError(
                f"{name!r} cannot be a user name.",
                "Use up to 96 letters, digits, '-', '_' or '.', and none of the Hub's own words such as 'api'.",
            )
        self._database.change("INSERT OR IGNORE INTO users (name, created_at) VALUES (?, ?)", name, now())

    def add_token(self, name: str, role: str = "write") -> str:
        """A fresh token of an existing user.

        Args:
            name: the user.
            role: "read" or "write".

        Returns:
            The token; it cannot be shown again.
        """
        token = "hfv_" + secrets.token_hex(20)
        made = self._database.change(
            "INSERT INTO tokens (digest, user_id, role, created_at) SELECT ?, id, ?, ? FROM users WHERE name = ?",
            _digest(token),
            role,
            now(),
            name,
        )
        if not made:
            raise LocalHubError(f"There is no user {name!r}.", "Add it first: `hfvaccine hub user add NAME`.")
        return token

    def names(self) -> list[str]:
        """All users, oldest first."""
        return [row["name"] for row in self._database.rows("SELECT name FROM users ORDER BY id")]

    def user_id(self, name: str) -> int | None:
        """The number of the user of this name, or None."""
        row = self._database.row("SELECT id FROM users WHERE name = ?", name)
        return row["id"] if row else None

    def caller(self, token: str) -> Caller:
        """Who holds a token.

        Raises:
            Refusal: 401 for an unknown token, in the words the clients look for.
        """
        row = self._database.row(
            "SELECT users.id, users.name, tokens.role FROM tokens JOIN users ON users.id = user_id WHERE digest = ?",
            _digest(token),
        )
        if row is None:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return Caller(row["id"], row["name"], row["role"])


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
