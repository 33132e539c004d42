"""Gates: asking for access, and the owner's side of it."""

from typing import Any

from starlette.responses import Response

from hfvaccine.localhub.cards import form
from hfvaccine.localhub.data.access import STATUSES, Right
from hfvaccine.localhub.data.catalog import Repo
from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes.call import Call, answer, metadata_at, route


def ask(call: Call) -> Response:
    """Ask for access on one's own behalf."""
    repo, git, commit = call.content("see")
    caller, given = call.signed_in(), call.json()
    if repo.gated == "auto":  # behind another gate somebody reads what was answered
        for field in form.fields_of(metadata_at(git, commit)):
            if field.input == "checkbox" and not given.get(field.label, True):
                raise field.declined()
    return answer({"status": call.hub.access.ask(caller, repo, given)})


def listing(call: Call) -> Response:
    """The requests of one status, for the owner."""
    repo, status = _gated(call), _status(call.parameter("status"))
    requests, headers = call.page(call.hub.access.requests(repo, status))
    return answer(requests, headers=headers)


def handle(call: Call) -> Response:
    """Accept or reject a request, or set it back to pending."""
    repo, body = _gated(call), call.json()
    status, reason = _status(body.get("status")), body.get("rejectionReason")
    if "requestId" in body:
        request = call.hub.access.require_request(repo, "id", str(body["requestId"]))
    else:
        request = call.hub.access.require_request(repo, "user_id", _user_id(call, body))
    decide(call, repo, request, status, str(reason) if reason else None)
    return answer({"status": status})


def decide(call: Call, repo: Repo, request: Any, status: str, reason: str | None) -> None:
    """Give a request another status, and record who did. Raises Refusal 400 when it has that status already."""
    with call.hub.database.transaction():
        call.hub.access.set_status(repo, request, status, reason)
        _record(call, repo, status, request["user_id"])


def grant(call: Call) -> Response:
    """Give access to somebody who need not have asked."""
    repo = _gated(call)
    user_id = _user_id(call, call.json())
    with call.hub.database.transaction():
        call.hub.access.grant(repo, user_id)
        _record(call, repo, "granted", user_id)
    return answer({"status": "accepted"})


def check(right: Right) -> Any:
    """An endpoint that says whether the caller has a right."""

    def run(call: Call) -> Response:
        call.repo(right)
        return answer({})

    return run


def _gated(call: Call) -> Repo:
    """The repo of the path, for who decides over access to it."""
    repo = call.repo("write")
    if not repo.gated:
        raise Refusal(400, f"{repo.id} is not gated.")
    return repo


def _status(given: Any) -> str:
    if given not in STATUSES:
        raise Refusal(400, "status must be pending, accepted or rejected.")
    return str(given)


def _user_id(call: Call, body: dict[str, Any]) -> int:
    user_id = call.hub.accounts.user_id(str(body.get("user")))
    if user_id is None:
        raise Refusal(404, f"There is no user {body.get('user')!r} on this Hub.")
    return user_id


def _record(call: Call, repo: Repo, status: str, user_id: int) -> None:
    who = call.hub.accounts.name_of(user_id)
    call.hub.database.audit(call.signed_in().name, f"access {status}", f"{repo.kind}:{repo.id}", who)


ROUTES = [
    route("POST", "/api/{kinds}/{repo}/ask-access", ask),
    route("POST", "/api/{kinds}/{repo}/user-access-request/handle", handle),
    route("POST", "/api/{kinds}/{repo}/user-access-request/grant", grant),
    route("GET", "/api/{kinds}/{repo}/user-access-request/{status}", listing),
    route("GET", "/api/{kinds}/{repo}/auth-check", check("read")),
    route("GET", "/api/{kinds}/{repo}/auth-check/write", check("write")),
]
