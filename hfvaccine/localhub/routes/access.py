"""Gates: asking for access, and the owner's side of it."""

from html import escape
from typing import Any
from urllib.parse import parse_qsl

from starlette.responses import HTMLResponse, Response

from hfvaccine.localhub.access import Right
from hfvaccine.localhub.call import Call, answer, route
from hfvaccine.localhub.refusal import Refusal


def ask(call: Call) -> Response:
    """Ask for access on one's own behalf, by JSON or by the form on the repo's page.

    The form carries the token as a field. There is no session that another site could ride on.
    """
    if call.request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        text = call.text().decode(errors="replace")
        fields: dict[str, Any] = dict(parse_qsl(text, keep_blank_values=True))
        if token := fields.pop("token", ""):
            call.caller = call.hub.accounts.caller(token.strip())
    else:
        fields = call.json()
    repo = call.repo("see")
    status = call.hub.access.ask(call.signed_in(), repo, fields)
    if "text/html" in call.request.headers.get("accept", ""):
        said = {"accepted": "You have access to", "pending": "The owner has been asked for access to"}[status]
        return HTMLResponse(f"<!doctype html><title>Access</title><p>{said} {escape(repo.id)}.")
    return answer({"status": status})


def listing(call: Call) -> Response:
    """The requests of one status, for the owner."""
    repo, status = call.repo("write"), call.parameter("status")
    if status not in ("pending", "accepted", "rejected"):
        raise Refusal(400, "status must be pending, accepted or rejected.")
    _require_gated(repo)
    requests, headers = call.page(call.hub.access.requests(repo, status))
    return answer(requests, headers=headers)


def handle(call: Call) -> Response:
    """Accept or reject a request, or set it back to pending."""
    repo, body = call.repo("write"), call.json()
    _require_gated(repo)
    status, reason = body.get("status"), body.get("rejectionReason")
    if status not in ("pending", "accepted", "rejected"):
        raise Refusal(400, "status must be pending, accepted or rejected.")
    if "requestId" in body:
        request = call.hub.access.request_by_id(repo, str(body["requestId"]))
    else:
        request = call.hub.access.request_of_user(repo, _user_id(call, body))
    call.hub.access.set_status(repo, request, status, str(reason) if reason else None)
    _record(call, repo, status, body)
    return answer({"status": status})


def grant(call: Call) -> Response:
    """Give access to somebody who need not have asked."""
    repo, body = call.repo("write"), call.json()
    _require_gated(repo)
    call.hub.access.grant(repo, _user_id(call, body))
    _record(call, repo, "granted", body)
    return answer({"status": "accepted"})


def check(right: Right) -> Any:
    """An endpoint that says whether the caller has a right."""

    def run(call: Call) -> Response:
        call.repo(right)
        return answer({})

    return run


def _require_gated(repo: Any) -> None:
    if not repo.gated:
        raise Refusal(400, f"{repo.id} is not gated.")


def _user_id(call: Call, body: dict[str, Any]) -> int:
    user_id = call.hub.accounts.user_id(str(body.get("user")))
    if user_id is None:
        raise Refusal(404, f"There is no user {body.get('user')!r} on this Hub.")
    return user_id


def _record(call: Call, repo: Any, status: str, body: dict[str, Any]) -> None:
    who = str(body.get("user") or body.get("requestId"))
    call.hub.database.audit(call.signed_in().name, f"access {status}", f"{repo.kind}:{repo.id}", who)


ROUTES = [
    route("POST", "/api/{kinds}/{repo}/ask-access", ask),
    route("POST", "/api/{kinds}/{repo}/user-access-request/handle", handle),
    route("POST", "/api/{kinds}/{repo}/user-access-request/grant", grant),
    route("GET", "/api/{kinds}/{repo}/user-access-request/{status}", listing),
    route("GET", "/api/{kinds}/{repo}/auth-check", check("read")),
    route("GET", "/api/{kinds}/{repo}/auth-check/write", check("write")),
]
