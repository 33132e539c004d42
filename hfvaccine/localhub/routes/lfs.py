"""Large files by the git-lfs protocol: batch, basic transfer, verify."""

import hashlib
import hmac
import time
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from hfvaccine.localhub.call import Call, answer, content_paths, content_routes, storing, written_out
from hfvaccine.localhub.catalog import KINDS, Repo
from hfvaccine.localhub.hub import Hub
from hfvaccine.localhub.large_files import CHUNK, OID, Pointer
from hfvaccine.localhub.refusal import Refusal

UPLOAD_SECONDS = 24 * 3600
OBJECTS = "/{repo}.git/info/lfs/objects"


def batch(call: Call) -> Response:
    """Where to send files to, or fetch them from."""
    body = call.json()
    upload = body.get("operation") == "upload"
    if not upload and body.get("operation") != "download":
        raise Refusal(422, "operation must be upload or download.")
    if body.get("hash_algo", "sha256") != "sha256":
        raise Refusal(409, "Only sha256 is offered.")
    repo = call.repo("write" if upload else "read")
    asked = body.get("objects")
    if not isinstance(asked, list) or not all(isinstance(one, dict) for one in asked):
        raise Refusal(422, "objects must be a list of objects.")
    objects = [_offer(call, repo, _pointer(one), upload) for one in asked]
    return answer({"transfer": "basic", "objects": objects, "hash_algo": "sha256"}, headers=_MEDIA)


_MEDIA = {"Content-Type": "application/vnd.git-lfs+json"}


def _pointer(value: dict[str, Any]) -> Pointer:
    oid, size = value.get("oid"), value.get("size")
    if not isinstance(oid, str) or not OID.fullmatch(oid) or not isinstance(size, int) or not 0 <= size < 1 << 50:
        raise Refusal(422, "Each object needs its sha256 as oid, and its size.")
    return Pointer(oid, size)


def _offer(call: Call, repo: Repo, pointer: Pointer, upload: bool) -> dict[str, Any]:
    offered: dict[str, Any] = {"oid": pointer.oid, "size": pointer.size}
    present = call.hub.catalog.large_file_size(repo, pointer.oid) is not None
    address = f"{call.address(repo)}.git/info/lfs/objects"
    if not upload and not present:
        offered["error"] = {"code": 404, "message": "Object does not exist"}
    elif not upload:
        offered["actions"] = {"download": {"href": f"{address}/{pointer.oid}"}}
    elif not present:
        # Whether another repo has the file makes no difference: who sends it must have it.
        expires = int(time.time()) + UPLOAD_SECONDS
        query = {"size": pointer.size, "expires": expires, "signature": _sign(call.hub, repo, pointer, expires)}
        offered["actions"] = {
            "upload": {"href": f"{address}/{pointer.oid}?{urlencode(query)}"},
            "verify": {"href": f"{address}/verify"},
        }
    return offered


def _sign(hub: Hub, repo: Repo, pointer: Pointer, expires: int) -> str:
    text = f"{repo.folder}:{pointer.oid}:{pointer.size}:{expires}"
    return hmac.new(hub.secret, text.encode(), hashlib.sha256).hexdigest()


async def upload(request: Request) -> Response:
    """Take in one file at an address signed by `batch`, as clients send no token here."""
    hub: Hub = request.app.state.hub
    repo, pointer = await run_in_threadpool(_signed_target, hub, request)
    # Not through `endpoint`: the body goes to its place piece by piece instead of to a temporary file first.
    with storing(), hub.large_files.receive() as incoming:
        pieces = bytearray()
        async for data in request.stream():
            pieces += data
            if incoming.size + len(pieces) > pointer.size:
                raise Refusal(422, f"More bytes were sent than the announced {pointer.size}.")
            if len(pieces) >= CHUNK:
                await run_in_threadpool(incoming.write, bytes(pieces))
                pieces.clear()
        incoming.write(bytes(pieces))
        await run_in_threadpool(incoming.finish, pointer)
        hub.catalog.bind_large_file(repo, pointer.oid, pointer.size)
    return Response(status_code=200)


def _signed_target(hub: Hub, request: Request) -> tuple[Repo, Pointer]:
    query, path = request.query_params, request.path_params
    kind = path.get("kind", "models")[:-1]
    repo = hub.catalog.find(kind if kind in KINDS else "model", path["namespace"], path["name"])
    size, expires = query.get("size", ""), query.get("expires", "")
    if repo and OID.fullmatch(path["oid"]) and size.isdecimal() and expires.isdecimal() and len(size + expires) < 40:
        pointer = Pointer(path["oid"], int(size))
        expected = _sign(hub, repo, pointer, int(expires))
        given = query.get("signature", "").encode(errors="replace")
        if hmac.compare_digest(given, expected.encode()) and int(expires) > time.time():
            return repo, pointer
    raise Refusal(403, "This upload address is not valid, or no longer.")


def verify(call: Call) -> Response:
    """Whether an upload arrived."""
    repo, pointer = call.repo("write"), _pointer(call.json())
    if call.hub.catalog.large_file_size(repo, pointer.oid) != pointer.size:
        raise Refusal(404, "Object does not exist")
    return answer({"oid": pointer.oid, "size": pointer.size}, headers=_MEDIA)


def download(call: Call) -> Response:
    """One file, for git-lfs."""
    repo, oid = call.repo("read"), call.parameter("oid")
    size = call.hub.catalog.large_file_size(repo, oid)
    if size is None:
        raise Refusal(404, "Object does not exist", "EntryNotFound")
    headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
    if call.request.method == "HEAD":
        return Response(headers=headers)
    return StreamingResponse(call.hub.large_files.read(oid, 0, size), headers=headers)


ROUTES = [
    *content_routes("POST", f"{OBJECTS}/batch", batch),
    *content_routes("POST", f"{OBJECTS}/verify", verify),
    *content_routes("GET", f"{OBJECTS}/{{oid}}", download),
    *[Route(written_out(path), upload, methods=["PUT"]) for path in content_paths(f"{OBJECTS}/{{oid}}")],
]
