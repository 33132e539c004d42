"""What a browser's request says: who is signed in, and that a form was filled in on a page of ours.

Only pages and the files of a repo know of cookies. The API knows the Authorization header alone, so no other site
can make a browser use it.
"""

import hashlib
import hmac
import re
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes.call import Call, is_foreign
from hfvaccine.localhub.sessions import SECONDS

LARGEST_FORM = 256 * 1024
_LOCAL = re.compile(r"/(?![/\\])[!-\[\]-~]*")


def recognise(call: Call) -> None:
    """Let the session say who asks where no token does. Only for what changes nothing.

    A request that another site caused, even one on another port of this machine, is anonymous.
    """
    if "authorization" in call.request.headers or is_foreign(call.request):
        return
    session = cookie(call, "session")
    if token := call.hub.sessions.token(session):
        try:
            call.caller = call.hub.accounts.caller(token)
        except Refusal:
            call.hub.sessions.end(session)


def form(call: Call, given_to: str) -> dict[str, str]:
    """The fields of a form of ours.

    Args:
        call: the request.
        given_to: the cookie to which the form was given out.

    Raises:
        Refusal: 403 unless one of our own pages gave out the form to this browser, 400 or 413 for a strange body.
    """
    if is_foreign(call.request) or call.request.headers.get("sec-fetch-mode", "navigate") != "navigate":
        raise Refusal(403, "This form was sent from another site.")
    data = call.read(LARGEST_FORM, "That is too much for this form.")
    try:
        fields = dict(parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=200))
    except ValueError as error:
        raise Refusal(400, "The form cannot be read.") from error
    given = fields.pop("csrf", "").encode(errors="replace")
    if not given_to or not hmac.compare_digest(given, form_token(call, given_to).encode()):
        raise Refusal(403, "This form is out of date. Load its page again; your browser must keep cookies.")
    return fields


def form_token(call: Call, given_to: str) -> str:
    """What shows that a form was given out to the browser that holds this cookie."""
    return hmac.new(call.hub.secret, b"form:" + given_to.encode(errors="replace"), hashlib.sha256).hexdigest()


def cookie(call: Call, what: str) -> str:
    """The cookie of the "session", or of the "visit" that the form for signing in was given out to; "" for none."""
    return call.request.cookies.get(_name(call.request, what), "")


def set_cookie(call: Call, response: Response, what: str, value: str) -> None:
    """Have the browser keep a cookie, or drop it when there is no value."""
    response.set_cookie(
        _name(call.request, what),
        value,
        max_age=SECONDS if value else 0,
        path="/",
        secure=call.request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def local_path(text: str) -> str:
    """A path on this Hub to go on to, "/" for whatever else a link may hold."""
    return text if _LOCAL.fullmatch(text) else "/"


def _name(request: Request, what: str) -> str:
    # Browsers send a host's cookies to all of its ports: two Hubs on one machine must not share a name.
    return f"hub-{what}-{request.url.port or ''}"
