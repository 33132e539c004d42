"""Users, organisations, and tokens. A token is shown once; only its SHA-256 is kept."""

import contextlib
import hashlib
import re
import secrets
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hfvaccine.errors import LocalHubError
from hfvaccine.localhub.data.catalog import Repo
from hfvaccine.localhub.data.database import Database, now
from hfvaccine.localhub.refusal import Refusal

NAME = re.compile(r"(?!.*(--|\.\.))(?!.*\.git$)[A-Za-z0-9_]([A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
RESERVED = {"api", "models", "datasets", "spaces", "buckets", "docs", "healthz", "login", "settings", "static"}
FINE_GRAINED = "fineGrained"
_ID_LENGTH = 12


class Membership(NamedTuple):
    """One user's place in one organisation."""

    org: str
    fullname: str
    user: str
    role: str


@dataclass(frozen=True)
class Caller:
    """Who sends a request: the user behind a valid token, and what that token may do.

    `role` is "read", "write" or "fineGrained"; only for the last `repos` says what the
    token may do ("read" or "write") with which repos, by their numbers.
    """

    id: int
    name: str
    role: str
    repos: Mapping[int, str] | None = None
    orgs: tuple[Membership, ...] = ()
    fullname: str = ""
    email: str | None = None
    token_name: str = field(default="token", compare=False)

    def role_in(self, namespace: str) -> str | None:
        """What the user, whatever the token, is in a namespace: admin, write, read, or None for a stranger."""
        wanted = namespace.lower()
        if self.name.lower() == wanted:
            return "admin"
        return next((one.role for one in self.orgs if one.org.lower() == wanted), None)

    def may_use(self, repo: Repo) -> str | None:
        """What the token, whoever holds it, is good for with a repo: write, read, or None."""
        return self.role if self.repos is None else self.repos.get(repo.number)


class Token(NamedTuple):
    """What is known of a token: all but the token itself. `id` is the beginning of its SHA-256."""

    user: str
    id: str
    role: str
    name: str
    created_at: str
    last_used: str | None


def is_name(text: object) -> bool:
    """Whether a text can name a namespace or a repo, by the clients' own rule."""
    return isinstance(text, str) and NAME.fullmatch(text) is not None


def token_id(token: str) -> str:
    """The id that a token is listed and revoked by."""
    return _digest(token)[:_ID_LENGTH]


class Accounts:
    """Users, organisations and tokens in the database.

    Args:
        database: where they are.
        actor: who makes changes through this object, for the audit.
    """

    def __init__(self, database: Database, actor: str = "operator") -> None:
        self._database = database
        self._actor = actor

    def add_user(self, name: str, email: str | None = None, fullname: str | None = None) -> None:
        """Make an account, or set an account's email and full name where these are given.

        Raises:
            LocalHubError: for a name that cannot be a namespace, or that is an organisation's.
        """
        self._add(name, is_org=False, fullname=fullname, email=email)

    def add_org(self, name: str, fullname: str | None = None, private: bool | None = None) -> None:
        """Make an organisation, or set its full name, and whether its new repos are private, where these are given.

        Raises:
            LocalHubError: for a name that cannot be a namespace, or that is a user's.
        """
        self._add(name, is_org=True, fullname=fullname, private=private)

    def set_member(self, org: str, user: str, role: str | None) -> None:
        """Make a user an organisation's member of this role; None takes the user out.

        Raises:
            LocalHubError: when there is no such organisation or user.
        """
        with self._database.transaction() as connection:
            org_id, user_id = self._number(org, is_org=True), self._number(user, is_org=False)
            connection.execute("DELETE FROM members WHERE org_id = ? AND user_id = ?", (org_id, user_id))
            if role is not None:
                connection.execute("INSERT INTO members VALUES (?, ?, ?)", (org_id, user_id, role))
            self._audit("member", f"{org}: {user} {role or 'out'}")

    def add_token(
        self, name: str, role: str = "write", label: str = "token", repos: Iterable[tuple[Repo, str]] = ()
    ) -> str:
        """A fresh token of an existing user.

        Args:
            name: the user.
            role: "read", "write", or "fineGrained" for one that is good for `repos` and what is public, nothing else.
            label: what to call it.
            repos: for a fine-grained token each repo, and whether it may "read" or "write" there.

        Returns:
            The token; it cannot be shown again.
        """
        token = "hfv_" + secrets.token_hex(20)
        digest, fine_grained = _digest(token), role == FINE_GRAINED
        with self._database.transaction() as connection:
            user_id = self._number(name, is_org=False)
            connection.execute(
                "INSERT INTO tokens (digest, user_id, role, created_at, name, fine_grained) VALUES (?, ?, ?, ?, ?, ?)",
                (digest, user_id, "read" if fine_grained else role, now(), label, fine_grained),
            )
            allowed = []
            for repo, right in repos if fine_grained else ():
                connection.execute("INSERT OR REPLACE INTO token_repos VALUES (?, ?, ?)", (digest, repo.number, right))
                allowed.append(f"{repo.kind}:{repo.id} {right}")
            self._audit("token", f"{name}: {digest[:_ID_LENGTH]} {role} {label!r} {', '.join(allowed)}".rstrip())
        return token

    def revoke(self, name: str, token_ids: Iterable[str] | None) -> int:
        """Make tokens of a user worthless from now on.

        Args:
            name: the user.
            token_ids: which, as `tokens` names them; None for all.

        Returns:
            How many.

        Raises:
            LocalHubError: when there is no such user or token; no token is revoked then.
        """
        with self._database.transaction() as connection:
            user_id = self._number(name, is_org=False)
            known = [one.id for one in self.tokens() if one.user.lower() == name.lower()]
            wanted = known if token_ids is None else list(dict.fromkeys(token_ids))
            for one in wanted:
                if one not in known:
                    raise LocalHubError(
                        f"{name} has no token {one[:_ID_LENGTH]!r}.", "`hfvaccine hub user list --tokens` shows all."
                    )
                connection.execute(
                    f"DELETE FROM tokens WHERE user_id = ? AND substr(digest, 1, {_ID_LENGTH}) = ?", (user_id, one)
                )
                self._audit("revoke token", f"{name}: {one}")
        return len(wanted)

    def names(self) -> list[str]:
        """All users, oldest first."""
        return [row["name"] for row in self._database.rows("SELECT name FROM users WHERE NOT is_org ORDER BY id")]

    def orgs(self) -> list[str]:
        """All organisations, oldest first."""
        return [row["name"] for row in self._database.rows("SELECT name FROM users WHERE is_org ORDER BY id")]

    def members(self) -> list[Membership]:
        """Who is what in which organisation."""
        return self._memberships("1 = 1")

    def tokens(self) -> list[Token]:
        """All tokens, by user and age."""
        rows = self._database.rows(
            "SELECT tokens.*, users.name AS user FROM tokens JOIN users ON users.id = user_id"
            " ORDER BY users.id, tokens.created_at"
        )
        return [
            Token(
                row["user"], row["digest"][:_ID_LENGTH], _role(row), row["name"], row["created_at"], row["last_used"]
            )
            for row in rows
        ]

    def user_id(self, name: str) -> int | None:
        """The number of the user of this name, or None."""
        row = self._database.row("SELECT id FROM users WHERE name = ? AND NOT is_org", name)
        return row["id"] if row else None

    def spelling(self, namespace: str) -> str:
        """A namespace as it was first written, whatever the case it is asked for in."""
        row = self._database.row("SELECT name FROM users WHERE name = ?", namespace)
        return row["name"] if row else namespace

    def makes_private(self, namespace: str) -> bool:
        """Whether a new repo of a namespace is private where nothing else is said."""
        row = self._database.row("SELECT private FROM users WHERE name = ?", namespace)
        return bool(row and row["private"])

    def name_of(self, user_id: int) -> str:
        """The name of the user of this number."""
        row = self._database.row("SELECT name FROM users WHERE id = ?", user_id)
        return row["name"] if row else str(user_id)

    def profile(self, name: str) -> dict[str, str] | None:
        """What everybody may know of the user of this name, or None: `user` and `fullname`."""
        row = self._database.row("SELECT name, fullname FROM users WHERE name = ? AND NOT is_org", name)
        return {"user": row["name"], "fullname": row["fullname"] or row["name"]} if row else None

    def caller(self, token: str) -> Caller:
        """Who holds a token.

        Raises:
            Refusal: 401 for an unknown token, in the words the clients look for.
        """
        digest = _digest(token)
        row = self._database.row(
            "SELECT tokens.*, users.name AS user, fullname, email FROM tokens JOIN users ON users.id = user_id"
            " WHERE digest = ?",
            digest,
        )
        if row is None:
            raise Refusal(401, "Invalid credentials in Authorization header")
        self._note_use(digest, row["last_used"])
        repos = None
        if row["fine_grained"]:
            rows = self._database.rows("SELECT repo_id, role FROM token_repos WHERE digest = ?", digest)
            repos = {one["repo_id"]: one["role"] for one in rows}
        orgs = tuple(self._memberships("user_id = ?", row["user_id"]))
        fullname = row["fullname"] or row["user"]
        return Caller(row["user_id"], row["user"], _role(row), repos, orgs, fullname, row["email"], row["name"])

    def _add(self, name: str, is_org: bool, **given: str | bool | None) -> None:
        if not is_name(name) or name.lower() in RESERVED:
            raise LocalHubError(
                f"{name!r} cannot be the name of a user or organisation.",
                "Use up to 96 letters, digits, '-', '_' or '.', and none of the Hub's own words such as 'api'.",
            )
        kind = "org" if is_org else "user"
        with self._database.transaction() as connection:
            found = self._database.row("SELECT is_org FROM users WHERE name = ?", name)
            if found and bool(found["is_org"]) != is_org:
                there, wanted = ("user", "an organisation") if is_org else ("organisation", "a user")
                raise LocalHubError(f"{name!r} is the name of a {there}, not of {wanted}.", "Choose another name.")
            if found is None:
                connection.execute(
                    "INSERT INTO users (name, created_at, is_org) VALUES (?, ?, ?)", (name, now(), is_org)
                )
                self._audit(f"add {kind}", name)
            for column in (one for one, value in given.items() if value is not None):
                connection.execute(f"UPDATE users SET {column} = ? WHERE name = ?", (given[column], name))
                self._audit(f"change {kind}", f"{name}: {column}")

    def _number(self, name: str, is_org: bool) -> int:
        row = self._database.row("SELECT id FROM users WHERE name = ? AND is_org = ?", name, is_org)
        if row is None:
            kind, group = ("organisation", "org") if is_org else ("user", "user")
            raise LocalHubError(f"There is no {kind} {name!r}.", f"Add it first: `hfvaccine hub {group} add NAME`.")
        return int(row["id"])

    def _memberships(self, condition: str, *values: Any) -> list[Membership]:
        rows = self._database.rows(
            "SELECT orgs.name AS org, orgs.fullname, users.name AS user, role FROM members"
            " JOIN users AS orgs ON orgs.id = org_id JOIN users ON users.id = user_id"
            f" WHERE {condition} ORDER BY org_id, user_id",
            *values,
        )
        return [Membership(row["org"], row["fullname"] or row["org"], row["user"], row["role"]) for row in rows]

    def _note_use(self, digest: str, last: str | None) -> None:
        at = now()
        hour = len("2026-01-01T00")
        if last is None or last[:hour] != at[:hour]:  # to the hour is enough, and costs no write for each request
            # A full disk must not keep people from reading.
            with contextlib.suppress(sqlite3.OperationalError):
                self._database.change("UPDATE tokens SET last_used = ? WHERE digest = ?", at, digest)

    def _audit(self, action: str, detail: str) -> None:
        self._database.audit(self._actor, action, None, detail)


def _role(row: Any) -> str:
    return FINE_GRAINED if row["fine_grained"] else str(row["role"])


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
