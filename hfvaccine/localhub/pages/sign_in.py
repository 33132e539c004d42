"""Signing in with a browser, and out again."""

from __future__ import annotations

import secrets

from starlette.responses import Response

from hfvaccine.localhub.pages.frame import page, see_other, signed_form
from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes.browser import cookie, form, form_token, local_path, recognise, set_cookie
from hfvaccine.localhub.routes.call import Call


def sign_in(call: Call) -> Response:
    """The form that takes a token, for who has not signed in."""
    recognise(call)
    then = local_path(call.request.query_params.get("next", "/"))
    return see_other(then) if call.caller else _sign_in_page(call, then)


def _sign_in_page(call: Call, then: str, wrong: bool = False) -> Response:
    visit = cookie(call, "visit") or secrets.token_urlsafe(32)
    context = {"then": then, "wrong": wrong, "csrf": form_token(call, visit)}
    response = page(call, "login.html", 401 if wrong else 200, **context)
    set_cookie(call, response, "visit", visit)
    return response


def begin_session(call: Call) -> Response:
    """Take a token in exchange for a session."""
    fields = form(call, cookie(call, "visit"))
    then, token = local_path(fields.get("next", "/")), fields.get("token", "").strip()
    try:
        call.hub.accounts.caller(token)
    except Refusal:
        return _sign_in_page(call, then, wrong=True)
    call.hub.sessions.end(cookie(call, "session"))
    response = see_other(then)
    set_cookie(call, response, "session", call.hub.sessions.begin(token))
    set_cookie(call, response, "visit", "")
    return response


def sign_out(call: Call) -> Response:
    """End the session."""
    signed_form(call)
    call.hub.sessions.end(cookie(call, "session"))
    response = see_other("/")
    set_cookie(call, response, "session", "")
    return response
