"""The Starlette application: routes on the undecoded path, and refusals as the clients understand them."""

import json
import logging
import time
import uuid
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router, request_response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hfvaccine.localhub.data.database import now
from hfvaccine.localhub.hub import Hub
from hfvaccine.localhub.pages import frame
from hfvaccine.localhub.pages import repos as pages
from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes import (
    access,
    commits,
    discussions,
    files,
    git,
    identity,
    info,
    lfs,
    likes,
    refs,
    repos,
    xet,
    xet_downloads,
)
from hfvaccine.localhub.routes.call import Call, answer, endpoint

log = logging.getLogger("hfvaccine.localhub.access")


def build_app(hub: Hub) -> ASGIApp:
    """The whole Hub as an ASGI application."""
    modules = (
        identity,
        repos,
        access,
        info,
        commits,
        refs,
        discussions,
        likes,
        lfs,
        git,
        xet,
        xet_downloads,
        files,
        pages,
    )
    routes = [Route("/healthz", endpoint(_health))]
    routes += [one for module in modules for one in module.ROUTES]
    app = Starlette(exception_handlers={Refusal: _refused, HTTPException: _refused_by_starlette})
    app.router = Router(routes, redirect_slashes=False, default=request_response(endpoint(_unmatched)))
    app.state.hub = hub
    return _RawPath(app)


class _RawPath:
    """Routes on the path as it was sent, so that `%2F` in a revision or a path splits nothing; logs each answer.

    The log is one JSON object a line. Queries, headers and bodies, where the secrets are, never get into it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        raw = scope["raw_path"].partition(b"?")[0].decode("ascii", errors="replace")
        request_id, began = uuid.uuid4().hex, time.monotonic()
        entry: dict[str, Any] = {"time": now(), "method": scope["method"], "path": raw[:2000], "status": 0, "bytes": 0}

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
                entry["status"] = message["status"]
            await send(message)
            entry["bytes"] += len(message.get("body", b""))

        try:
            await self._app({**scope, "path": raw, "log": entry}, receive, send_marked)
        finally:
            entry |= {"ms": round(1000 * (time.monotonic() - began), 1), "request_id": request_id}
            if log.isEnabledFor(logging.INFO):
                log.info(json.dumps(entry))


def _health(call: Call) -> Response:
    unusable = call.hub.unusable()
    return answer({"status": "unusable", "why": unusable} if unusable else {"status": "ok"}, 503 if unusable else 200)


def _unmatched(call: Call) -> Response:
    """What no route matches: a repo that is not there, or something this Hub does not offer."""
    parts = call.path.strip("/").split("/")
    api = parts[0] == "api"
    parts = parts[1:] if api else parts
    kind = "models"
    if parts and parts[0] in ("models", "datasets", "spaces"):
        kind = parts.pop(0)
    elif api:
        raise Refusal(404, "This Hub does not offer that.")
    # One-segment ids, as of old models, come here too: `/api/models/gpt2`.
    namespace, name = (*parts, "", "")[:2]
    call.request.scope["path_params"] = {"kind": kind, "namespace": namespace, "name": name.removesuffix(".git")}
    repo = call.repo("see")
    if api and repo.kind == "space":  # not 404, which clients could take for a Space that is not there
        raise Refusal(501, f"No Space runs on this Hub, so it does not offer that for {repo.id}: it keeps the files.")
    raise Refusal(404, f"This Hub does not offer that for {repo.id}.")


def _refused(request: Request, refusal: Any) -> Response:
    # Headers are latin-1 and one line; they are all that a HEAD request gets to see.
    headers = {"X-Error-Message": _header(refusal.message), **refusal.headers}
    if refusal.code:
        headers["X-Error-Code"] = refusal.code
    if "text/html" in request.headers.get("accept", ""):
        return frame.refused(request, refusal, headers)
    if refusal.status == 401 and "sec-fetch-mode" not in request.headers:  # browsers sign in by the page
        headers["WWW-Authenticate"] = 'Basic realm="hub", charset="UTF-8"'
    if headers.get("Content-Type", "").startswith("text/plain"):
        return PlainTextResponse(refusal.message + "\n", refusal.status, headers)
    return JSONResponse({"error": refusal.message, **refusal.body}, refusal.status, headers)


def _refused_by_starlette(request: Request, error: Any) -> Response:
    return _refused(request, Refusal(error.status_code, error.detail, headers=dict(error.headers or {})))


def _header(text: str) -> str:
    line = "".join(one if one.isprintable() else "?" for one in " ".join(text.split()))
    return line.encode("latin-1", errors="replace").decode("latin-1")
