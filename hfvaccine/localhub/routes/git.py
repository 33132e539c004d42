"""Fetching with git itself. Writing goes through the Hub's API, which checks and applies a commit as a whole."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.responses import Response, StreamingResponse

from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes.call import Call, content_routes
from hfvaccine.localhub.store.upload_pack import UploadPack, parse

LARGEST_REQUEST = 8 << 20
_FRESH = {"Cache-Control": "no-cache, max-age=0, must-revalidate"}


@contextmanager
def _plain() -> Iterator[None]:
    # git shows what a refusal says only when it is plain text.
    try:
        yield
    except Refusal as refusal:
        refusal.headers["Content-Type"] = "text/plain; charset=utf-8"
        raise


@_plain()
def info_refs(call: Call) -> Response:
    """The references of a repo; the first request of every clone, fetch and push."""
    service = call.request.query_params.get("service")
    if service == "git-receive-pack":
        repo = call.repo("see")
        kind = "" if repo.kind == "model" else f" --repo-type {repo.kind}"
        command = f"hf upload {repo.id} FOLDER{kind}"
        raise Refusal(403, f"git push is not offered: write with the Hub's API, for example with `{command}`.")
    repo = call.repo("read")
    if service != "git-upload-pack":
        raise Refusal(403, "Only git's smart protocol is offered, with service=git-upload-pack.")
    lines = b"".join(UploadPack(call.git(repo).git).advertisement())
    return Response(lines, headers=_FRESH, media_type="application/x-git-upload-pack-advertisement")


@_plain()
def upload_pack(call: Call) -> Response:
    """What a client lacks, as a pack."""
    repo, ask = call.repo("read"), parse(_body(call))

    def answered() -> Iterator[bytes]:
        # The call is over, and its repository closed, long before a large pack is through.
        with call.hub.open(repo) as repository:
            yield from UploadPack(repository.git).answer(ask)

    return StreamingResponse(answered(), headers=_FRESH, media_type="application/x-git-upload-pack-result")


def _body(call: Call) -> bytes:
    data = call.body.read(LARGEST_REQUEST + 1)
    encoding = call.request.headers.get("content-encoding", "identity")
    if encoding in ("gzip", "x-gzip"):
        try:
            data = zlib.decompressobj(wbits=31).decompress(data, LARGEST_REQUEST + 1)
        except zlib.error as error:
            raise Refusal(400, "The body is not gzip.") from error
    elif encoding != "identity":
        raise Refusal(415, "Only gzip is understood as an encoding of the body.")
    if len(data) > LARGEST_REQUEST:
        raise Refusal(413, "The body is too large for a request to git-upload-pack.")
    return data


ROUTES = [
    route
    for repo in ("/{repo}.git", "/{repo}")
    for route in (
        *content_routes("GET", f"{repo}/info/refs", info_refs),
        *content_routes("POST", f"{repo}/git-upload-pack", upload_pack),
    )
]
