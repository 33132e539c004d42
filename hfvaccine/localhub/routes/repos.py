"""Making, moving, deleting repos, and their settings."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from hfvaccine.localhub.cards.metadata import SDKS
from hfvaccine.localhub.data.accounts import RESERVED, is_name
from hfvaccine.localhub.data.catalog import Repo
from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes.call import Call, answer, kind_of, route

RUNNING = ("hardware", "sleepTimeSeconds", "secrets", "variables", "volumes")
"""What a client says of how a new Space is to run."""


def create(call: Call) -> Response:
    """A new repo with its first commit; 409 with its address when there is one."""
    body = call.json()
    kind, namespace, name = _named(call, body)
    if kind == "space" and (asked := [key for key in RUNNING if body.get(key)]):
        raise Refusal(501, f"No Space runs on this Hub: make it without {', '.join(asked)}.")
    files = {"README.md": _space_card(name, body.get("sdk"))} if kind == "space" else {}
    private = _wants_private(body, default=call.hub.accounts.makes_private(namespace))
    return _new(call, kind, namespace, name, private, files)


def duplicate(call: Call) -> Response:
    """A repo made of what lies in another one, but for its pull requests; private and gated as that one is."""
    source, body = call.repo("read"), call.json()
    kind, namespace, name = _named(call, {"name": body.get("repository"), "type": source.kind})
    private = _wants_private(body, default=source.private or call.hub.accounts.makes_private(namespace))
    return _new(call, kind, namespace, name, private, {}, source)


def _new(
    call: Call,
    kind: str,
    namespace: str,
    name: str,
    private: bool,
    files: Mapping[str, bytes],
    source: Repo | None = None,
) -> Response:
    """Make a repo that holds some files, or all that lies in another one."""
    caller = call.signed_in()
    call.hub.access.require_namespace(caller, namespace, f"create a {kind}")
    if (repo := call.hub.catalog.find(kind, namespace, name)) is None:
        folder = call.hub.catalog.new_folder()
        call.hub.storage.create(folder, caller.name, files)
        try:
            if source:
                with call.hub.storage.open(folder, lambda oid: False) as git:
                    git.take_over(call.git(source))
            with call.hub.database.transaction():
                repo = call.hub.catalog.add(kind, call.hub.accounts.spelling(namespace), name, folder, private)
                told = repo.visibility
                if source:
                    call.hub.catalog.bind_all_of(source, repo)
                    call.hub.catalog.change_settings(repo, private, source.gated)
                    told += f", of {source.id}"
                call.hub.database.audit(caller.name, "create", f"{kind}:{repo.id}", told)
        except BaseException as error:
            call.hub.storage.remove(folder)
            repo = call.hub.catalog.find(kind, namespace, name)
            if not isinstance(error, Refusal) or repo is None:
                raise
        else:
            return answer(_created(call, repo))
    raise Refusal(409, f"You already created this {kind} repo: {repo.id}", body=_created(call, repo))


def _created(call: Call, repo: Repo) -> dict[str, str]:
    return {"url": call.address(repo), "name": repo.id, "id": repo.folder}


def _space_card(name: str, sdk: Any) -> bytes:
    """What a new Space begins with, as on the real Hub. Raises Refusal 400 for an SDK that clients do not know."""
    if sdk not in SDKS:
        raise Refusal(400, f"Invalid space_sdk {str(sdk)[:50]!r}. Please choose one of {', '.join(SDKS)}.")
    return f'---\ntitle: "{name}"\nsdk: {sdk}\n---\n'.encode()


def delete(call: Call) -> Response:
    """A repo and all in it, for good."""
    repo = call.hub.access.require(call.caller, call.hub.catalog.find(*_named(call, call.json())), "write")
    with call.hub.database.transaction():
        call.hub.catalog.remove(repo)
        call.hub.database.audit(call.signed_in().name, "delete", f"{repo.kind}:{repo.id}")
    call.hub.storage.remove(repo.folder)
    call.hub.xorbs.remove(repo.folder)
    return answer({})


def move(call: Call) -> Response:
    """Another name for a repo; the old one leads there."""
    body = call.json()
    kind = kind_of(body.get("type"), "type")
    source, target = (str(body.get(field, "")).partition("/") for field in ("fromRepo", "toRepo"))
    repo = call.hub.access.require(call.caller, call.hub.catalog.find(kind, source[0], source[2]), "write")
    caller = call.signed_in()
    if not is_name(target[2]):
        raise Refusal(400, f"{body.get('toRepo')!r} is not a valid repo id.")
    call.hub.access.require_namespace(caller, target[0], f"move a {kind}")
    with call.hub.database.transaction():
        call.hub.catalog.move(repo, call.hub.accounts.spelling(target[0]), target[2])
        call.hub.database.audit(caller.name, "move", f"{kind}:{repo.id}", str(body["toRepo"]))
    return answer({})


def change_settings(call: Call) -> Response:
    """Who may see the repo, and whether its content is gated."""
    repo, body = call.repo("write"), call.json()
    gated = body.get("gated", repo.gated) or None
    if gated not in (None, "auto", "manual"):
        raise Refusal(400, 'gated must be "auto", "manual" or false.')
    private = _wants_private(body, default=repo.private)
    detail = f"{'private' if private else 'public'}, gated: {gated or 'no'}"
    with call.hub.database.transaction():
        call.hub.catalog.change_settings(repo, private, gated)
        call.hub.database.audit(call.signed_in().name, "settings", f"{repo.kind}:{repo.id}", detail)
    return answer({"private": private, "gated": gated or False})


def _named(call: Call, body: dict[str, Any]) -> tuple[str, str, str]:
    name, namespace = body.get("name"), body.get("organization")
    if isinstance(name, str) and "/" in name and not namespace:
        namespace, _, name = name.partition("/")
    namespace = namespace or call.signed_in().name
    if not is_name(name) or not is_name(namespace) or str(namespace).lower() in RESERVED:
        raise Refusal(400, f"{namespace}/{name} is not a valid repo id.")
    return kind_of(body.get("type"), "type"), str(namespace), str(name)


def _wants_private(body: dict[str, Any], default: bool) -> bool:
    visibility = body.get("visibility")
    if visibility not in (None, "public", "private"):
        raise Refusal(400, "visibility must be public or private.")
    if visibility is not None:
        return bool(visibility == "private")
    private = body.get("private")
    return default if private is None else bool(private)


ROUTES = [
    route("POST", "/api/repos/create", create),
    route("DELETE", "/api/repos/delete", delete),
    route("POST", "/api/repos/move", move),
    route("POST", "/api/{kinds}/{repo}/duplicate", duplicate),
    route("PUT", "/api/{kinds}/{repo}/settings", change_settings),
]
