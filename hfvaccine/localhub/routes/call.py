"""One request as the routes see it, and the wrapper that turns a plain function into an endpoint."""

import base64
import errno
import json
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, urlencode

from dulwich.objects import Commit
from starlette.concurrency import run_in_threadpool
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hfvaccine.localhub.cards.metadata import metadata_of
from hfvaccine.localhub.data.access import Right
from hfvaccine.localhub.data.accounts import Caller
from hfvaccine.localhub.data.catalog import KINDS, Repo
from hfvaccine.localhub.guard import changing
from hfvaccine.localhub.hub import Hub
from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.store.large_files import CHUNK, Incoming
from hfvaccine.localhub.store.repository import Repository

LARGEST_JSON = 32 << 20
LARGEST_BODY = 1 << 30
IN_MEMORY = 4 << 20
PAGE = 1000


class Call:
    """One request.

    Args:
        hub: the Hub it came to.
        request: the request itself, its path still percent-encoded.
        body: the whole body, as a file.
    """

    def __init__(self, hub: Hub, request: Request, body: BinaryIO) -> None:
        self.hub = hub
        self.request = request
        self.body = body
        self._closing = ExitStack()

    @property
    def endpoint(self) -> str:
        """The Hub's address as this client knows it; clients send tokens to no other."""
        return f"{self.request.url.scheme}://{self.request.headers.get('host', '127.0.0.1')}"

    @property
    def path(self) -> str:
        """The request's path as it was sent, percent-encoded."""
        return str(self.request.scope["path"])

    @cached_property
    def caller(self) -> Caller | None:
        """Who is asking, or None for anonymous. Raises Refusal 401 for an unknown token."""
        scheme, _, credentials = self.request.headers.get("authorization", "").partition(" ")
        if scheme and is_foreign(self.request):
            # Browsers add a remembered Basic password to what other sites make them send.
            raise Refusal(403, "This request comes from a page of another site.")
        if scheme.lower() == "basic":
            try:
                credentials = base64.b64decode(credentials, validate=True).decode().partition(":")[2]
            except ValueError:  # no base64, or no UTF-8
                credentials = ""
        elif scheme.lower() != "bearer":
            return None
        return self.hub.accounts.caller(credentials.strip())

    def name_in_log(self) -> None:
        """Have the log say who asked, where the request got as far as asking who it is."""
        if caller := self.__dict__.get("caller"):
            self.request.scope.get("log", {})["user"] = caller.name

    def signed_in(self) -> Caller:
        """Who is asking. Raises Refusal 401 for anonymous."""
        if self.caller is None:
            raise Refusal(401, "Sign in with a token of this Hub to do that.")
        return self.caller

    def parameter(self, name: str, default: str = "") -> str:
        """A part of the path, decoded; the default on routes whose path has no such part."""
        return unquote(self.request.path_params.get(name, default))

    def number(self, name: str) -> int:
        """A query parameter as a number, 0 where it is none."""
        given = self.request.query_params.get(name, "")
        return int(given) if given.isdecimal() and len(given) < 12 else 0

    def flag(self, name: str) -> bool:
        """Whether a query parameter says true."""
        return self.request.query_params.get(name, "").lower() in ("true", "1")

    @property
    def kind(self) -> str:
        """The kind of repo that the path speaks of."""
        kind = self.request.path_params.get("kind", "models")[:-1]
        return kind if kind in KINDS else "model"

    def repo(self, right: Right) -> Repo:
        """The repo that the path names, when the caller has this right to it.

        Raises:
            Refusal: as `Access.require` does; 307 when the repo has another name now.
        """
        namespace, name = self.parameter("namespace"), self.parameter("name")
        repo = self.hub.catalog.find(self.kind, namespace, name)
        if repo is None and (moved := self.hub.catalog.find_moved(self.kind, namespace, name)):
            self.hub.access.require(self.caller, moved, "see")
            old = f"/{self.request.path_params['namespace']}/{self.request.path_params['name']}"
            location = self.path.replace(old, f"/{moved.id}", 1)
            query = self.request.url.query
            raise Refusal(307, f"Moved to {moved.id}", headers={"Location": location + (f"?{query}" if query else "")})
        return self.hub.access.require(self.caller, repo, right)

    def may(self, repo: Repo, right: Right) -> bool:
        """Whether the caller has a right to a repo."""
        return self.hub.access.allows(self.caller, repo, right)

    def visible(self, *kinds: str) -> Iterator[Repo]:
        """The repos of these kinds that the caller may know of, each kind's oldest first."""
        return (repo for kind in kinds for repo in self.hub.catalog.all(kind) if self.may(repo, "see"))

    def git(self, repo: Repo) -> Repository:
        """The repo's git repository, open until the end of the request."""
        return self._closing.enter_context(self.hub.open(repo))

    def content(self, right: Right) -> tuple[Repo, Repository, Commit]:
        """The repo that the path names, its git repository, and the path's revision, else `main`; see `repo`."""
        repo = self.repo(right)
        git = self.git(repo)
        return repo, git, git.resolve(self.parameter("rev", "main"))

    def json(self) -> dict[str, Any]:
        """The body as a JSON object, {} when there is none. Raises Refusal 400 or 413."""
        return parse_json(self.read() or b"{}", "The body")

    def read(self, most: int = LARGEST_JSON, too_much: str = "The body is too large for this request.") -> bytes:
        """The whole body, for routes whose bodies are small. Raises Refusal 413."""
        data = self.body.read(most + 1)
        if len(data) > most:
            raise Refusal(413, too_much)
        return data

    def page(self, items: list[Any], size: int = PAGE) -> tuple[list[Any], dict[str, str]]:
        """The part of a listing that the query's cursor asks for, and the header that leads to the next part."""
        start = self.number("cursor")
        if start + size >= len(items):
            return items[start : start + size], {}
        pairs = [pair for pair in self.request.query_params.multi_items() if pair[0] != "cursor"]
        address = f"{self.endpoint}{self.path}?{urlencode([*pairs, ('cursor', str(start + size))])}"
        return items[start : start + size], {"Link": f'<{address}>; rel="next"'}

    def address(self, repo: Repo) -> str:
        """The absolute address of a repo's page."""
        return self.endpoint + repo.url_path

    def __enter__(self) -> "Call":
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()


def metadata_at(git: Repository, commit: Commit) -> dict[str, Any]:
    """What the card of a repo says on top, as it is at a commit."""
    return metadata_of(git.read_file(commit, "README.md") or b"")


def is_foreign(request: Request) -> bool:
    """Whether a browser sends this on behalf of a page that is not ours. Other ports of this host are not ours."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2] != request.headers.get("host")


def parse_json(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object. Raises Refusal 400."""
    try:
        value = json.loads(data)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:  # UnicodeError, of lone surrogates, is a ValueError
        raise Refusal(400, f"{what} is not valid JSON.") from error
    if not isinstance(value, dict):
        raise Refusal(400, f"{what} is not a JSON object.")
    return value


def kind_of(given: Any, field: str) -> str:
    """The kind of repo that a field of a body names, a model where it names none. Raises Refusal 400."""
    kind = given or "model"
    if kind not in KINDS:
        raise Refusal(400, f"{field} must be one of {', '.join(KINDS)}, not {str(given)[:50]!r}.")
    return str(kind)


class _Kind(StringConvertor):
    regex = "models|datasets|spaces"


class _Prefix(StringConvertor):
    regex = "datasets|spaces"


class _Owner(StringConvertor):
    regex = "(?!(?:api|datasets|spaces)/)[^/]+"


register_url_convertor("kind", _Kind())
register_url_convertor("prefix", _Prefix())
register_url_convertor("owner", _Owner())


Handler = Callable[[Call], Response]


def endpoint(handler: Handler, full: int = 507) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint out of a function that blocks: it runs in a worker thread, with the whole body at hand.

    Args:
        handler: the function.
        full: the status that says that the disk is full.
    """

    async def run(request: Request) -> Response:
        hub: Hub = request.app.state.hub
        with (
            storing(full),
            tempfile.SpooledTemporaryFile(max_size=IN_MEMORY, dir=str(hub.large_files.incoming)) as body,
            Call(hub, request, cast(BinaryIO, body)) as call,
        ):
            async for chunk in request.stream():
                if body.tell() + len(chunk) > LARGEST_BODY:
                    raise Refusal(413, "The body is larger than 1 GiB: commit fewer files at once.")
                body.write(chunk)
            body.seek(0)
            try:
                return await run_in_threadpool(_handled, handler, call)
            finally:
                call.name_in_log()

    return run


async def arrive(request: Request, incoming: Incoming, most: int, refusal: Refusal) -> None:
    """Take a request's body in, piece by piece, to where it will be kept instead of to a temporary file first.

    Args:
        request: whose body.
        incoming: takes it.
        most: bytes that it may have.
        refusal: raised for a longer one.
    """
    pieces, waiting, size = [], 0, 0
    async for data in request.stream():
        size += len(data)
        if size > most:
            raise refusal
        pieces.append(data)
        waiting += len(data)
        if waiting >= CHUNK:
            await run_in_threadpool(incoming.write, b"".join(pieces))
            pieces, waiting = [], 0
    await run_in_threadpool(incoming.write, b"".join(pieces))


def _handled(handler: Handler, call: Call) -> Response:
    if call.request.method in ("GET", "HEAD"):
        return handler(call)
    with changing(call.hub.root):
        return handler(call)


@contextmanager
def storing(full: int = 507) -> Iterator[None]:
    """Turns a full disk into a refusal, by 507, the one such status that clients do not retry."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "disk is full" in str(error):
            raise Refusal(full, "The Hub's disk is full. Nothing of this request was kept.") from error
        raise


def answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> JSONResponse:
    """A JSON answer."""
    return JSONResponse(content, status, headers)


def route(method: str, path: str, handler: Handler, full: int = 507) -> Route:
    """A route. `{repo}` in the path stands for `{namespace}/{name}` and `{kinds}` for the three kinds of repo."""
    return Route(written_out(path), endpoint(handler, full), methods=[method])


def written_out(path: str) -> str:
    """A path with the abbreviations of `route` written out."""
    return path.replace("{repo}", "{namespace}/{name}").replace("{kinds}", "{kind:kind}")


def content_routes(method: str, path: str, handler: Handler) -> list[Route]:
    """The routes of addresses that begin with the repo: `/datasets/ns/name/...`, and `/ns/name/...` for models."""
    return [route(method, one, handler) for one in content_paths(path)]


def content_paths(path: str) -> tuple[str, str]:
    """The two spellings of a path that begins with the repo."""
    return f"/{{kind:prefix}}{path}", path.replace("{repo}", "{namespace:owner}/{name}")
