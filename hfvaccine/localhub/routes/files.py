"""Content: whole files and ranges of them."""

import re
from typing import Any
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from hfvaccine.localhub.data.catalog import Repo
from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes.browser import recognise
from hfvaccine.localhub.routes.call import Call, content_routes
from hfvaccine.localhub.store.repository import Entry, Repository

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
# Files are untrusted: whatever a browser makes of one, it must not run in the Hub's name.
_INERT = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "Cache-Control": "private, no-cache",
}
# Cards show these; an SVG's script is kept from running by the policy above, and by being shown as an image.
_IMAGES = {
    "gif": "image/gif",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "png": "image/png",
    "svg": "image/svg+xml",
    "webp": "image/webp",
}


def resolve(call: Call) -> Response:
    """A file's bytes, be it in git or in large-file storage. Links on pages lead here, so sessions count."""
    recognise(call)
    repo, git, commit, entry = _find(call)
    headers = _headers(commit, entry)
    if entry.large:
        if xet_hash := call.hub.catalog.xet_hashes([entry.large.oid]).get(entry.large.oid):
            headers["X-Xet-Hash"] = xet_hash
            route = f"/api/{repo.kind}s/{repo.id}/xet-read-token/{commit.id.decode()}"
            headers["X-Xet-Refresh-Route"] = call.endpoint + route
        headers["ETag"] = headers["X-Linked-ETag"] = f'"{entry.large.oid}"'
        headers["X-Linked-Size"] = str(entry.size)
        headers["Content-Type"] = "application/octet-stream"
    if image := _IMAGES.get(entry.path.rpartition(".")[2].lower()):
        headers["Content-Type"] = image
    status, start, end = byte_range(call, entry.size, headers)
    if call.request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    if entry.large:
        return StreamingResponse(call.hub.large_files.read(entry.large.oid, start, end), status, headers)
    return Response(git.read(entry.oid)[start:end], status, headers)


def raw(call: Call) -> Response:
    """A file as it stands in git: for large ones the pointer."""
    _, git, commit, entry = _find(call)
    headers = _headers(commit, entry)
    data = git.read(entry.oid)
    headers["Content-Length"] = str(len(data))
    return Response(None if call.request.method == "HEAD" else data, 200, headers)


def _find(call: Call) -> tuple[Repo, Repository, Any, Entry]:
    repo, git, commit = call.content("read")
    path = call.parameter("path")
    entry = git.entry(commit, path)
    if entry is None or entry.is_folder:
        # Clients remember that a file is missing only when told at which commit.
        headers = {"X-Repo-Commit": commit.id.decode()}
        raise Refusal(404, f"Entry not found: {path[:200]}", "EntryNotFound", headers)
    return repo, git, commit, entry


def _headers(commit: Any, entry: Entry) -> dict[str, str]:
    return {
        **_INERT,
        "X-Repo-Commit": commit.id.decode(),
        "ETag": f'"{entry.oid}"',
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(entry.size),
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(entry.path.rpartition('/')[2], errors='replace')}",
        "Accept-Ranges": "bytes",
    }


def byte_range(call: Call, size: int, headers: dict[str, str]) -> tuple[int, int, int]:
    """Status, start and end of the bytes asked for; adjusts the headers. Raises Refusal 416."""
    asked = call.request.headers.get("range")
    if asked is None or call.request.method == "HEAD":
        return 200, 0, size
    found = _RANGE.fullmatch(asked.strip())
    first, last = (found[1], found[2]) if found else ("", "")
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
    else:
        start, end = max(size - int(last or 0), 0), size
    if start >= end:
        raise Refusal(
            416, f"The range {asked[:50]!r} is not in this file.", headers={"Content-Range": f"bytes */{size}"}
        )
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - start)
    return 206, start, end


ROUTES = [
    *content_routes("GET", "/{repo}/resolve/{rev}/{path:path}", resolve),
    *content_routes("GET", "/{repo}/raw/{rev}/{path:path}", raw),
]
