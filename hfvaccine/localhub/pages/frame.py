"""What all pages have in common: templates, headers, who looks at which repo, and how a refusal looks."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from importlib import resources
from itertools import islice
from typing import Any
from urllib.parse import quote

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from hfvaccine.localhub.data.catalog import Repo
from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes.browser import cookie, form, form_token, recognise
from hfvaccine.localhub.routes.call import Call
from hfvaccine.text import templates

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
    fields = form(call, cookie(call, "session"))
    if "authorization" in call.request.headers:
        raise Refusal(403, "Sign in to use this form; with a token, use the API.")
    recognise(call)
    if call.caller is None:
        raise Refusal(403, "You are not signed in any more. Sign in again.")
    return fields


def page_of(call: Call, items: Iterable[Any], size: int) -> tuple[list[Any], dict[str, Any]]:
    """The items of this page of a listing, and where the pages before and after it begin."""
    start = call.number("start")
    found = list(islice(items, start, start + size + 1))
    newer, older = max(start - size, 0) if start else None, start + size if len(found) > size else None
    return found[:size], {"newer": newer, "older": older}


def see_other(path: str) -> Response:
    return RedirectResponse(path, 303, {"Cache-Control": "no-store"})


def page(call: Call, name: str, status: int = 200, **context: Any) -> Response:
    session = cookie(call, "session")
    # Who comes with a token instead of a session can look at pages but has no use for their forms.
    own = {"caller": call.caller, "csrf": form_token(call, session) if session and call.caller else None}
    query = call.request.url.query
    back = quote(call.path + (f"?{query}" if query else ""))
    return HTMLResponse(environment.get_template(name).render(**{**own, "back": back, **context}), status, _HEADERS)


def repo_page(call: Call, repo: Repo, name: str, status: int = 200, **context: Any) -> Response:
    """A page of one repo, with its head."""
    owns = call.may(repo, "write")
    waiting = len(call.hub.access.requests(repo, "pending")) if owns and repo.gated else 0
    return page(call, name, status, repo=repo, owns=owns, waiting=waiting, **context)


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
