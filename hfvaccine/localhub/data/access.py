"""Who may do what with a repo: the one decision that every route goes through, and the requests behind gates."""

import json
import secrets
from typing import Any, Literal

from hfvaccine.localhub.data.accounts import Caller
from hfvaccine.localhub.data.catalog import Repo
from hfvaccine.localhub.data.database import Database, now
from hfvaccine.localhub.refusal import Refusal

Right = Literal["see", "like", "read", "discuss", "propose", "write"]
STATUSES = ("pending", "accepted", "rejected")
LARGEST_FORM, LONGEST_REASON = 20_000, 200
# What strangers may do, with a token that may change something.
_DEEDS = {"like": "like", "discuss": "discuss", "propose": "propose changes to"}


class Access:
    """Decides over rights and keeps the access requests.

    "see" is names and metadata, "like" is to like what one may see, "read" is content, "discuss" is to say something
    about what one may read, "propose" is to open pull requests for it and to fill one's own, "write" is all else.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def allows(self, caller: Caller | None, repo: Repo, right: Right) -> bool:
        """Whether the caller has a right, see `require`."""
        try:
            self.require(caller, repo, right)
        except Refusal:
            return False
        return True

    def require(self, caller: Caller | None, repo: Repo | None, right: Right) -> Repo:
        """Grant a right or refuse it.

        Args:
            caller: who asks; None for anonymous.
            repo: what it is about; None when there is no such repo, which looks the same as a hidden one.
            right: what is asked for.

        Returns:
            The repo, when the right is granted.

        Raises:
            Refusal: 401, 403 or 404 with the code that clients expect.
        """
        standing = self._standing(caller, repo) if caller and repo else None
        if repo is None or (repo.private and standing is None):
            raise Refusal(404 if caller else 401, "Repository not found", "RepoNotFound")
        if right == "write" and standing != "write":
            if caller is None:
                raise Refusal(401, "Sign in with a write token of the owner to change this repo.")
            if caller.role_in(repo.namespace) in (None, "read"):
                raise Refusal(403, f"You don't have the rights to change {repo.id}: it belongs to {repo.namespace}.")
            raise Refusal(403, f"Your token may not change {repo.id}: that needs a write token.")
        if right in ("read", "discuss", "propose") and repo.gated and standing is None:
            self._require_accepted(caller, repo)
        if deed := _DEEDS.get(right):
            if caller is None:
                raise Refusal(401, f"Sign in with a write token to {deed} {repo.id}.")
            if caller.may_use(repo) != "write":
                raise Refusal(403, f"Your token may not {deed} {repo.id}: that needs a write token.")
        return repo

    def require_namespace(self, caller: Caller, namespace: str, action: str) -> None:
        """Refuse unless the caller may put new repos into a namespace.

        Raises:
            Refusal: 403.
        """
        if caller.role_in(namespace) not in ("admin", "write"):
            raise Refusal(403, f"You don't have the rights to {action} under the namespace {namespace!r}.")
        if caller.role != "write":
            raise Refusal(403, f"Your token may not {action}: that needs a write token.")

    def _standing(self, caller: Caller, repo: Repo) -> Literal["read", "write"] | None:
        """What the caller may do beyond what strangers may: as a member of the namespace, as far as the token goes."""
        role, allowed = caller.role_in(repo.namespace), caller.may_use(repo)
        if role is None or allowed is None:
            return None
        return "write" if role != "read" and allowed == "write" else "read"

    def _require_accepted(self, caller: Caller | None, repo: Repo) -> None:
        page = f"Ask for access at {repo.url_path}."
        if caller is None:
            message = f"Access to {repo.kind} {repo.id} is restricted. You must have access to it and be authenticated"
            raise Refusal(401, f"{message} to access it. Please log in.", "GatedRepo")
        if caller.may_use(repo) is None:
            message = f"Access to {repo.kind} {repo.id} is restricted and your token is not for this repo."
            raise Refusal(403, message, "GatedRepo")
        request = self.request(repo, "user_id", caller.id)
        status = request["status"] if request else None
        if status == "accepted":
            return
        reason = {
            None: f"and you are not in the authorized list. {page}",
            "pending": "and your request for access is awaiting a review from the repo's owner.",
            "rejected": f"and your request for access has been rejected by the repo's owner{_why(request)}",
        }[status]
        raise Refusal(403, f"Access to {repo.kind} {repo.id} is restricted {reason}", "GatedRepo")

    def ask(self, caller: Caller, repo: Repo, fields: dict[str, Any]) -> str:
        """Ask for access on one's own behalf; accepted at once where the gate is automatic.

        Returns:
            The status of the request, which is the old one when there was one already.

        Raises:
            Refusal: 400 when the repo is not gated, 403 after a rejection or when the token is for other repos.
        """
        if not repo.gated:
            raise Refusal(400, f"{repo.id} is not gated: its files are open to whoever can see it.")
        if caller.may_use(repo) is None:
            raise Refusal(403, f"Your token is not for {repo.id}: ask with another one.")
        if caller.role_in(repo.namespace):
            return "accepted"
        if len(json.dumps(fields)) > LARGEST_FORM:
            raise Refusal(413, f"A request for access holds at most {LARGEST_FORM} characters.")
        first = "accepted" if repo.gated == "auto" else "pending"
        with self._database.transaction():
            if self._add(repo, caller.id, first, fields):
                self._database.audit(caller.name, f"access {first}", f"{repo.kind}:{repo.id}", caller.name)
        request = self.require_request(repo, "user_id", caller.id)
        if request["status"] == "rejected":
            message = f"Your request for access to {repo.id} has been rejected by the repo's owner{_why(request)}"
            raise Refusal(403, message)
        return str(request["status"])

    def grant(self, repo: Repo, user_id: int) -> None:
        """Accept a user who may not have asked.

        Raises:
            Refusal: 400 when the user already has access.
        """
        if not self._add(repo, user_id, "accepted", None):
            self.set_status(repo, self.require_request(repo, "user_id", user_id), "accepted", None)

    def set_status(self, repo: Repo, request: Any, status: str, reason: str | None) -> None:
        """Accept, reject, or set back a request.

        Raises:
            Refusal: 400 when the request is in that state already, or the reason is too long to be shown.
        """
        if reason and len(reason) > LONGEST_REASON:
            raise Refusal(400, f"A reason has at most {LONGEST_REASON} characters.")
        if request["status"] == status:
            raise Refusal(400, f"This request for access to {repo.id} is already {status}.")
        self._database.change(
            "UPDATE access_requests SET status = ?, reason = ? WHERE id = ?", status, reason, request["id"]
        )

    def request(self, repo: Repo, column: Literal["id", "user_id"], value: int | str) -> Any:
        """A request by its id or its user, or None when this repo has none."""
        return self._database.row(
            f"SELECT * FROM access_requests WHERE repo_id = ? AND {column} = ?", repo.number, value
        )

    def require_request(self, repo: Repo, column: Literal["id", "user_id"], value: int | str) -> Any:
        """The same. Raises Refusal 404 when this repo has none."""
        if (request := self.request(repo, column, value)) is None:
            raise Refusal(404, f"No such request for access to {repo.id}.")
        return request

    def requests(self, repo: Repo, status: str) -> list[dict[str, Any]]:
        """All requests of one status as the API lists them, oldest first."""
        rows = self._database.rows(
            "SELECT access_requests.*, users.name, fullname, email FROM access_requests"
            " JOIN users ON users.id = user_id"
            " WHERE repo_id = ? AND status = ? ORDER BY access_requests.created_at, access_requests.id",
            repo.number,
            status,
        )
        listed = []
        for row in rows:
            fields = json.loads(row["fields"])
            user = {"user": row["name"], "fullname": row["fullname"] or row["name"]}
            if row["email"] and fields is not None:  # who was let in without asking has not given it to the owner
                user["email"] = row["email"]
            entry = {"requestId": row["id"], "status": status, "timestamp": row["created_at"], "user": user}
            listed.append({**entry, "fields": fields} if fields else entry)
        return listed

    def _add(self, repo: Repo, user_id: int, status: str, fields: dict[str, Any] | None) -> bool:
        added = self._database.change(
            "INSERT OR IGNORE INTO access_requests (id, repo_id, user_id, status, fields, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            *(secrets.token_hex(12), repo.number, user_id, status, json.dumps(fields), now()),
        )
        return added == 1


def _why(request: Any) -> str:
    """The owner's reason as the end of a sentence."""
    return f': "{request["reason"]}"' if request and request["reason"] else "."
