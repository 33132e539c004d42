"""Uploads by Xet, which is how clients send large files: xorbs, then a shard that says how files are made of them."""

import io
import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from hfvaccine.localhub.data.access import Right
from hfvaccine.localhub.data.catalog import Repo
from hfvaccine.localhub.guard import changing
from hfvaccine.localhub.hub import Hub
from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes.call import Call, answer, arrive, route, storing, written_out
from hfvaccine.localhub.store.large_files import Pointer
from hfvaccine.localhub.store.xet import LARGEST_XORB, Recipe, file_hash, read_shard

_BASE = "/api/{kinds}/{repo}/xet/{place}"
TELL_EVERY, AT_ONCE = 1.0, 2
"""Seconds between two signs of life, and files that are put together at once."""


def write_token(call: Call) -> Response:
    """Where to send xorbs and shards of this repo to, and the token for it."""
    repo = call.repo("write")
    place = call.hub.xorbs.place(repo.folder)
    return granted(call, f"{call.endpoint}/api/{repo.kind}s/{repo.id}/xet/{place}", place)


def granted(call: Call, address: str, scope: str) -> Response:
    """A token for Xet that stands for the caller's own within a scope, and where it is good."""
    token, expires = call.hub.grants.begin(_bearer(call), scope), int(time.time() + call.hub.grants.seconds)
    headers = {"X-Xet-Cas-Url": address, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(expires)}
    return answer({"casUrl": address, "accessToken": token, "exp": expires}, headers=headers)


def admitted(call: Call, right: Right, scope: str) -> Repo:
    """The repo, when whoever is behind the request's token for Xet, be it nobody, still has that right.

    Raises:
        Refusal: 401 for what is no token of that scope, and as `Call.repo` does.
    """
    token = call.hub.grants.token(_bearer(call), scope)
    if token is None:
        use = "an upload" if right == "write" else "a download"
        raise Refusal(401, f"This token for {use} by Xet is not valid here, or no longer.")
    call.caller = call.hub.accounts.caller(token) if token else None
    return call.repo(right)


def _bearer(call: Call) -> str:
    return call.request.headers.get("authorization", "").partition(" ")[2].strip()


def _granted(call: Call) -> tuple[Repo, str]:
    """The repo and the place of its xorbs, when whoever is behind the request's token may still write there."""
    place = call.parameter("place")
    return admitted(call, "write", place), place


async def put_xorb(request: Request) -> Response:
    """Take in a xorb."""
    call = Call(request.app.state.hub, request, io.BytesIO())
    repo, place = await run_in_threadpool(_granted, call)
    call.name_in_log()
    xorbs = call.hub.xorbs

    def put() -> bool:
        with changing(call.hub.root):
            return xorbs.put(repo.folder, place, call.parameter("hash"), incoming)

    with storing(full=413), xorbs.receive() as incoming:
        too_large = Refusal(413, f"A xorb holds at most {LARGEST_XORB >> 20} MiB.")
        await arrive(request, incoming, 2 * LARGEST_XORB, too_large)  # with what may follow its chunks
        return answer({"was_inserted": await run_in_threadpool(put)})


def put_shard(call: Call) -> Response:
    """Put files together, and keep each as a large file of the repo."""
    for _ in _kept(call.hub, *_granted(call), list(read_shard(call.body))):
        pass
    return answer({"result": 1})


def put_shard_telling(call: Call) -> Response:
    """The same, telling how far it is: no client loses patience then, and a refusal's words reach its user."""
    granted, recipes = _granted(call), list(read_shard(call.body))
    total = sum(recipe.size for recipe in recipes)

    def events() -> Iterator[str]:
        try:
            # This runs once the route has returned, and so has to hold by itself what a route is held in.
            with storing(), changing(call.hub.root):
                for done in _kept(call.hub, *granted, recipes):
                    yield json.dumps({"type": "validating", "verified": done, "total": total}) + "\n"
            yield json.dumps({"type": "result"}) + "\n"
        except Refusal as refusal:
            yield json.dumps({"type": "error", "message": refusal.message, "retryable": False}) + "\n"

    return StreamingResponse(events(), media_type="application/x-ndjson")


def _kept(hub: Hub, repo: Repo, place: str, recipes: list[Recipe]) -> Iterator[int]:
    """Keeps the files of the recipes; yields now and then how many bytes are done."""
    missing = []
    for recipe in recipes:
        if hub.catalog.large_file_size(repo, recipe.sha256) is None:
            missing.append(recipe)
        else:
            hub.large_files.touch(recipe.sha256)
    # A short shard can describe files of any length.
    if sum(recipe.size for recipe in missing) > shutil.disk_usage(hub.large_files.incoming).free:
        raise Refusal(413, "The Hub's disk has no room for the files of this upload.")
    done = {recipe.sha256: 0 for recipe in missing}  # whole from the start, as others add it up meanwhile

    def keep(recipe: Recipe) -> tuple[int, str | None]:
        with hub.large_files.receive() as incoming:
            chunks = []
            for hashed, data in hub.xorbs.rebuild(repo.folder, place, recipe):
                incoming.write(data)
                chunks.append((hashed, len(data)))
                done[recipe.sha256] = incoming.size
            incoming.finish(Pointer(recipe.sha256, incoming.size))
        return incoming.size, file_hash(chunks) if chunks else None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        kept = {pool.submit(keep, recipe): recipe.sha256 for recipe in missing}
        waiting = set(kept)
        try:
            while waiting:
                ready, waiting = wait(waiting, TELL_EVERY, FIRST_COMPLETED)
                for one in ready:
                    size, name = one.result()
                    hub.catalog.bind_large_file(repo, kept[one], size)
                    if name is not None:
                        hub.catalog.name_for_xet(kept[one], name)
                yield sum(done.values())
        finally:
            pool.shutdown(cancel_futures=True)


def not_here(call: Call) -> Response:
    """What clients can do without: deduplication across repos, and newer ways to send the same."""
    _granted(call)
    raise Refusal(404, "This Hub does not offer that.")


ROUTES = [
    route("GET", "/api/{kinds}/{repo}/xet-write-token/{rev}", write_token),
    Route(written_out(f"{_BASE}/v1/xorbs/default/{{hash}}"), put_xorb, methods=["POST"]),
    # Unlike other clients, this one retries 507, and sleeps for minutes in between.
    route("POST", f"{_BASE}/v1/shards", put_shard, full=413),
    route("POST", f"{_BASE}/v2/shards", put_shard_telling, full=413),
    route("GET", f"{_BASE}/{{path:path}}", not_here, full=413),
    route("POST", f"{_BASE}/{{path:path}}", not_here, full=413),
]
