"""What all pages have in common: templates, headers, who looks at which repo, and how a refusal looks."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any
from urllib.parse import quote

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from hfvaccine.localhub.data.access import Right
from hfvaccine.localhub.data.catalog import Repo
from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes.browser import (
    form,
    form_token,
    recognise,
    session_cookie,
)
from hfvaccine.localhub.routes.call import Call
from hfvaccine.localhub.store.repository import Repository, date_of, title_of
from hfvaccine.text import templates

REPOS, ENTRIES, COMMITS, CHANGES = 30, 500, 50, 500
_STYLE = (resources.files("hfvaccine.localhub.pages") / "templates" / "style.css").read_text("utf-8")
_POLICY = "; ".join(
    (
        "default-src 'none'",
        f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'",
        "img-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
# Characters that turn the order of letters around: `exe.gpj` must not read as `jpg.exe`.
_UNTURNED = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd")
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    # With no referrer at all browsers would call the origin of our own forms "null".
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def refused(request: Request, refusal: Refusal, headers: dict[str, str]) -> Response:
    """A refusal as browsers get it."""
    back = quote(str(request.scope["path"]))
    context = {"status": refusal.status, "message": refusal.message, "back": back}
    return HTMLResponse(
        environment.get_template("refused.html").render(caller=None, csrf=None, **context),
        refusal.status,
        {**headers, **_HEADERS},
    )


def icon(call: Call) -> Response:
    """There is none; saying so once keeps browsers from asking on each page."""
    return Response(status_code=204, headers={"Cache-Control": "max-age=86400"})


def signed_form(call: Call) -> dict[str, str]:
    """The fields of a form for which one has to be signed in. Raises Refusal 403 where one is not."""
    fields = form(call, session_cookie(call))
    if "authorization" in call.request.headers:
        raise Refusal(403, "Sign in to use this form; with a token, use the API.")
    recognise(call)
    if call.caller is None:
        raise Refusal(403, "You are not signed in any more. Sign in again.")
    return fields


def repo_of(call: Call, right: Right) -> Repo:
    recognise(call)
    return call.repo(right)


def allowed(call: Call, repo: Repo, right: Right) -> bool:
    try:
        call.hub.access.require(call.caller, repo, right)
    except Refusal:
        return False
    return True


def about(call: Call, repo: Repo) -> dict[str, Any]:
    owns = allowed(call, repo, "write")
    waiting = len(call.hub.access.requests(repo, "pending")) if owns and repo.gated else 0
    return {"repo": repo, "owns": owns, "waiting": waiting}


def told(commit: Any) -> dict[str, str]:
    message = commit.message.decode(errors="replace")
    return {
        "id": commit.id.decode(),
        "title": title_of(commit),
        "body": message.partition("\n")[2].strip(),
        "author": commit.author.decode(errors="replace").partition(" <")[0],
        "date": date_of(commit),
    }


def revision_of(git: Repository, revision: str) -> dict[str, Any]:
    refs = git.refs()
    return {"revision": revision, "refs": [one["name"] for group in refs for one in refs[group]]}


def start_of(call: Call) -> int:
    given = call.request.query_params.get("start", "")
    return int(given) if given.isdecimal() and len(given) < 9 else 0


def neighbours(call: Call, size: int, more: bool) -> dict[str, Any]:
    start = start_of(call)
    return {"newer": max(start - size, 0) if start else None, "older": start + size if more else None}


def see_other(path: str) -> Response:
    return RedirectResponse(path, 303, {"Cache-Control": "no-store"})


def page(call: Call, name: str, status: int = 200, **context: Any) -> Response:
    cookie = session_cookie(call)
    # Who comes with a token instead of a session can look at pages but has no use for their forms.
    own = {"caller": call.caller, "csrf": form_token(call, cookie) if cookie and call.caller else None}
    query = call.request.url.query
    back = quote(call.path + (f"?{query}" if query else ""))
    return HTMLResponse(environment.get_template(name).render(**{**own, "back": back, **context}), status, _HEADERS)


def quoted(text: str, safe: str = "") -> str:
    return quote(text, safe, errors="replace")


def spoken_size(size: int) -> str:
    power = min((len(str(size)) - 1) // 3, 4)
    return f"{size / 1000**power:.{1 if power else 0}f} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


environment = templates(
    "hfvaccine.localhub.pages/templates",
    lambda value: value.translate(_UNTURNED) if type(value) is str else value,
)
environment.globals["style"] = Markup(_STYLE)
environment.filters |= {"quoted": quoted, "size": spoken_size}
