"""Downloads by Xet: a token, what a file is made of, and the xorbs that are made out of it as they are read.

Only files that came by Xet have the hash by which clients ask. Whoever may read a repo may take them by HTTP as well.
"""

from starlette.responses import Response, StreamingResponse

from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes.call import Call, answer, route
from hfvaccine.localhub.routes.files import byte_range
from hfvaccine.localhub.routes.lfs import DOWNLOAD_SECONDS, signed_query, target
from hfvaccine.localhub.routes.xet import admitted, granted
from hfvaccine.localhub.store import virtual_xorbs
from hfvaccine.localhub.store.large_files import Pointer

_READ = "read"  # the scope of its tokens, which those of uploads have not; each is checked against the repo again

_XORB = "XORB"  # what its addresses are signed for, and those of git-lfs are not


def read_token(call: Call) -> Response:
    """Where to ask what files are made of, and the token for it."""
    repo, _, _ = call.content("read")
    return granted(call, f"{call.endpoint}/api/{repo.kind}s/{repo.id}/xet-files", _READ)


def reconstruction(call: Call) -> Response:
    """Of which chunks of which xorbs a file is made, or the bytes asked for of it, and where those are."""
    repo = admitted(call, "read", _READ)
    found = call.hub.catalog.named_by_xet(repo, call.parameter("hash"))
    if found is None:
        raise Refusal(404, "This repo has no file that Xet calls so.", "EntryNotFound")
    oid, size = found
    _, start, end = byte_range(call, size, {})
    terms, fetch = [], {}
    for part in virtual_xorbs.parts(size, start, end):
        name, (first, stop) = virtual_xorbs.name(oid, part.number), part.packed
        query = signed_query(call.hub, repo, _XORB, Pointer(oid, size), DOWNLOAD_SECONDS, part=part.number)
        url = f"{call.endpoint}/api/{repo.kind}s/{repo.id}/xet-xorbs/{oid}?{query}"
        chunks = {"start": part.start, "end": part.end}
        terms.append({"hash": name, "unpacked_length": part.size, "range": chunks})
        fetch[name] = [{"range": chunks, "url": url, "url_range": {"start": first, "end": stop - 1}}]
    offset = start % virtual_xorbs.CHUNK
    return answer({"offset_into_first_range": offset, "terms": terms, "fetch_info": fetch})


def xorb(call: Call) -> Response:
    """The bytes asked for of a xorb, at an address that `reconstruction` signed, as clients send no token here."""
    repo, pointer = target(call, _XORB)
    if call.hub.catalog.large_file_size(repo, pointer.oid) != pointer.size:
        raise Refusal(404, "Object does not exist", "EntryNotFound")
    number = int(call.request.query_params["part"])
    length = virtual_xorbs.length(pointer.size, number)
    headers = {"Content-Length": str(length), "Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    status, start, end = byte_range(call, length, headers)
    if call.request.method == "HEAD":
        return Response(headers=headers)
    path = call.hub.large_files.path(pointer.oid)
    return StreamingResponse(virtual_xorbs.read(path, number, start, end), status, headers)


def not_here(call: Call) -> Response:
    """A newer way to say the same: clients then ask in the older one."""
    admitted(call, "read", _READ)
    raise Refusal(404, "This Hub does not offer that.")


ROUTES = [
    route("GET", "/api/{kinds}/{repo}/xet-read-token/{rev}", read_token),
    route("GET", "/api/{kinds}/{repo}/xet-files/v1/reconstructions/{hash}", reconstruction),
    route("GET", "/api/{kinds}/{repo}/xet-files/{path:path}", not_here),
    route("GET", "/api/{kinds}/{repo}/xet-xorbs/{oid}", xorb),
]
