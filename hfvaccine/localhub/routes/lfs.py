"""Large files by the git-lfs protocol: batch, upload in one piece or in parts, verify, download; and copying them."""

import hashlib
import hmac
import io
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from hfvaccine.localhub.data.catalog import Repo
from hfvaccine.localhub.hub import Hub
from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes import strangers
from hfvaccine.localhub.routes.call import (
    Call,
    answer,
    arrive,
    content_paths,
    content_routes,
    route,
    storing,
    written_out,
)
from hfvaccine.localhub.routes.files import byte_range
from hfvaccine.localhub.store.large_files import OID, Pointer, Upload

UPLOAD_SECONDS = 24 * 3600
DOWNLOAD_SECONDS = 3600
MOST_OBJECTS = 1000
PART = 64 << 20  # larger files are uploaded in parts of this size, by clients that can
MOST_PARTS = 1000
OBJECTS = "/{repo}.git/info/lfs/objects"
_MEDIA = {"Content-Type": "application/vnd.git-lfs+json"}
_SIGNED = ("size", "expires", "upload", "part", "parts")


@contextmanager
def _as_lfs() -> Iterator[None]:
    # git-lfs shows what a refusal says only under this name.
    try:
        yield
    except Refusal as refusal:
        refusal.body["message"] = refusal.message
        refusal.headers.update(_MEDIA)
        raise


@_as_lfs()
def batch(call: Call) -> Response:
    """Where to send files to, or fetch them from."""
    body = call.json()
    operation = body.get("operation")
    if operation not in ("upload", "download"):
        raise Refusal(422, "operation must be upload or download.")
    if body.get("hash_algo", "sha256") != "sha256":
        raise Refusal(409, "Only sha256 is offered.")
    repo = call.repo("write" if operation == "upload" else "read")
    asked = body.get("objects")
    if not isinstance(asked, list) or not all(isinstance(one, dict) for one in asked):
        raise Refusal(422, "objects must be a list of objects.")
    if len(asked) > MOST_OBJECTS:
        raise Refusal(413, f"Ask for at most {MOST_OBJECTS} objects at once.")
    pointers = [_pointer(one) for one in asked]
    transfers, part = body.get("transfers"), 0
    # A client's transfer agent takes all objects of a batch, so all are in parts or none.
    if isinstance(transfers, list) and "multipart" in transfers and any(one.size > PART for one in pointers):
        part = max(PART, sum(one.size for one in pointers) // MOST_PARTS + 1)
    if operation == "upload":
        offers = [_upload_offer(call, repo, pointer, part) for pointer in pointers]
    else:
        offers, part = [_download_offer(call, repo, pointer) for pointer in pointers], 0
    objects = [{**pointer._asdict(), **offer} for pointer, offer in zip(pointers, offers, strict=True)]
    transfer = "multipart" if part else "basic"
    return answer({"transfer": transfer, "objects": objects, "hash_algo": "sha256"}, headers=_MEDIA)


def _pointer(value: dict[str, Any]) -> Pointer:
    oid, size = value.get("oid"), value.get("size")
    if not isinstance(oid, str) or not OID.fullmatch(oid) or type(size) is not int or not 0 <= size < 1 << 50:
        raise Refusal(422, "Each object needs its sha256 as oid, and its size.")
    return Pointer(oid, size)


def _download_offer(call: Call, repo: Repo, pointer: Pointer) -> dict[str, Any]:
    if call.hub.catalog.large_file_size(repo, pointer.oid) is None:
        return {"error": {"code": 404, "message": "Object does not exist"}}
    href = _signed(call, repo, "GET", pointer, DOWNLOAD_SECONDS)
    # "authenticated" keeps git-lfs from sending its token to an address that needs none.
    return {"authenticated": True, "actions": {"download": {"href": href, "expires_in": DOWNLOAD_SECONDS}}}


def _upload_offer(call: Call, repo: Repo, pointer: Pointer, part: int) -> dict[str, Any]:
    # Whether another repo has the file makes no difference: who sends it must have it.
    if call.hub.catalog.large_file_size(repo, pointer.oid) is not None:
        call.hub.large_files.touch(pointer.oid)
        return {}
    if part:
        action = _parts_offer(call, repo, pointer, part)
    else:
        action = {"href": _signed(call, repo, "PUT", pointer, UPLOAD_SECONDS)}
    verify_at = {"href": f"{call.address(repo)}.git/info/lfs/objects/verify"}
    return {"actions": {"upload": {**action, "expires_in": UPLOAD_SECONDS}, "verify": verify_at}}


def _parts_offer(call: Call, repo: Repo, pointer: Pointer, part: int) -> dict[str, Any]:
    upload_id, starts = secrets.token_hex(16), range(0, pointer.size, part)
    # git-lfs hands the numbers on in the order of the alphabet, so all have five digits.
    header = {"chunk_size": str(part)}
    for number, start in enumerate(starts, 1):
        piece = Pointer(pointer.oid, min(part, pointer.size - start))
        header[f"{number:05}"] = _signed(call, repo, "PUT", piece, UPLOAD_SECONDS, upload=upload_id, part=number)
    href = _signed(call, repo, "POST", pointer, UPLOAD_SECONDS, upload=upload_id, parts=len(starts))
    return {"href": href, "header": header}


def _signed(call: Call, repo: Repo, method: str, pointer: Pointer, seconds: int, **more: object) -> str:
    query = signed_query(call.hub, repo, method, pointer, seconds, **more)
    return f"{call.address(repo)}.git/info/lfs/objects/{pointer.oid}?{query}"


def signed_query(hub: Hub, repo: Repo, method: str, pointer: Pointer, seconds: int, **more: object) -> str:
    """What makes an address good for one method on one file of a repo, for so many seconds; see `target`."""
    query = {"size": pointer.size, "expires": int(time.time()) + seconds, **more}
    return urlencode({**query, "signature": _sign(hub, repo, method, pointer.oid, query)})


def _sign(hub: Hub, repo: Repo, method: str, oid: str, query: Mapping[str, object]) -> str:
    text = f"{method} {repo.folder} {oid} {urlencode([(name, str(query.get(name, ''))) for name in _SIGNED])}"
    return hmac.new(hub.secret, text.encode(), hashlib.sha256).hexdigest()


def target(call: Call, method: str = "") -> tuple[Repo, Pointer]:
    """The repo and file, or part of it, that an address was signed for, by its method or another name of its use.

    Raises:
        Refusal: 403.
    """
    query, oid = call.request.query_params, call.parameter("oid")
    repo = call.hub.catalog.find(call.kind, call.parameter("namespace"), call.parameter("name"))
    if repo and OID.fullmatch(oid):
        method = method or ("GET" if call.request.method == "HEAD" else call.request.method)
        expected = _sign(call.hub, repo, method, oid, query).encode()
        given = query.get("signature", "").encode(errors="replace")
        if hmac.compare_digest(given, expected) and int(query["expires"]) > time.time():
            return repo, Pointer(oid, int(query["size"]))
    raise Refusal(403, "This address is not valid, or no longer.")


async def upload(request: Request) -> Response:
    """Take in one file, or a part of one, at an address signed by `batch`, as clients send no token here."""
    hub: Hub = request.app.state.hub
    repo, pointer = await run_in_threadpool(target, Call(hub, request, io.BytesIO()))
    with storing(), hub.large_files.receive() as incoming:
        more = Refusal(422, f"More bytes were sent than the announced {pointer.size}.")
        await arrive(request, incoming, pointer.size, more)
        etag = await run_in_threadpool(_finish, hub, repo, pointer, incoming, request.query_params)
    return Response(status_code=200, headers={"ETag": f'"{etag}"'})


def _finish(hub: Hub, repo: Repo, pointer: Pointer, incoming: Upload, query: Mapping[str, str]) -> str:
    if "part" in query:
        return incoming.finish_part(query["upload"], int(query["part"]), pointer.size)
    incoming.finish(pointer)
    hub.catalog.bind_large_file(repo, pointer.oid, pointer.size)
    return pointer.oid


@_as_lfs()
def complete(call: Call) -> Response:
    """Make one file of the parts that were uploaded."""
    repo, pointer = target(call)
    query, body = call.request.query_params, call.json()
    parts = body.get("parts")
    listed = [one for one in parts if isinstance(one, dict)] if isinstance(parts, list) else []
    etags = [str(one.get("etag")).strip('"') for one in listed]
    whole = [one.get("partNumber") for one in listed] == list(range(1, int(query["parts"]) + 1))
    if body.get("oid") != pointer.oid or not whole or not all(OID.fullmatch(etag) for etag in etags):
        raise Refusal(422, "The oid, and partNumber and etag of all parts in order, are needed.")
    # A client that missed the answer asks again, when the parts are gone.
    if call.hub.catalog.large_file_size(repo, pointer.oid) is None:
        call.hub.large_files.join(query["upload"], etags, pointer)
        call.hub.catalog.bind_large_file(repo, pointer.oid, pointer.size)
    return answer(pointer._asdict(), headers=_MEDIA)


@_as_lfs()
def verify(call: Call) -> Response:
    """Whether an upload arrived."""
    repo, pointer = call.repo("write"), _pointer(call.json())
    if call.hub.catalog.large_file_size(repo, pointer.oid) != pointer.size:
        raise Refusal(404, "Object does not exist")
    return answer(pointer._asdict(), headers=_MEDIA)


@_as_lfs()
def download(call: Call) -> Response:
    """One file: at an address signed by `batch`, or for a caller who may read it."""
    signed = "signature" in call.request.query_params
    repo = target(call)[0] if signed else call.repo("read")
    oid = call.parameter("oid")
    size = call.hub.catalog.large_file_size(repo, oid)
    if size is None:
        raise Refusal(404, "Object does not exist", "EntryNotFound")
    headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    status, start, end = byte_range(call, size, headers)
    if call.request.method == "HEAD":
        return Response(headers=headers)
    return StreamingResponse(call.hub.large_files.read(oid, start, end), status, headers)


def duplicate(call: Call) -> Response:
    """Give another repo large files of this one, for a commit there that is about to name them."""
    repo, body = call.repo("read"), call.json()
    target, asked = body.get("target"), body.get("files")
    if not isinstance(target, dict):
        raise Refusal(400, "target must be an object with the type and the name of a repo.")
    if not isinstance(asked, list) or not all(isinstance(one, dict) for one in asked):
        raise Refusal(400, "files must be a list of objects.")
    if len(asked) > MOST_OBJECTS:
        raise Refusal(413, f"Ask for at most {MOST_OBJECTS} files at once.")
    namespace, _, name = str(target.get("name")).partition("/")
    found = call.hub.catalog.find(str(target.get("type")), namespace, name)
    into = call.hub.access.require(call.caller, found, "propose")
    if not call.may(into, "write"):
        raise strangers.no_large_file(into, next((str(one.get("filename")) for one in asked), "A copy"))
    failed = []
    for oid in (str(one.get("sha256"))[:64] for one in asked):
        if (size := call.hub.catalog.large_file_size(repo, oid)) is None:
            failed.append({"sha256": oid, "error": f"{repo.id} has no such large file."})
        else:
            call.hub.large_files.touch(oid)
            call.hub.catalog.bind_large_file(into, oid, size)
    return answer({"failed": failed})


ROUTES = [
    route("POST", "/api/{kinds}/{repo}/lfs-files/duplicate", duplicate),
    *content_routes("POST", f"{OBJECTS}/batch", batch),
    *content_routes("POST", f"{OBJECTS}/verify", verify),
    *content_routes("POST", f"{OBJECTS}/{{oid}}", complete),
    *content_routes("GET", f"{OBJECTS}/{{oid}}", download),
    *[Route(written_out(path), upload, methods=["PUT"]) for path in content_paths(f"{OBJECTS}/{{oid}}")],
]
