"""Pages for people: what there is, a repo's card, files, history and discussions, access to it, signing in."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from dulwich.objects import Commit
from markupsafe import Markup
from starlette.responses import Response

from hfvaccine.localhub.cards import form as access_form
from hfvaccine.localhub.cards import markdown
from hfvaccine.localhub.cards import metadata as cards
from hfvaccine.localhub.data.access import STATUSES
from hfvaccine.localhub.data.catalog import KINDS, Repo
from hfvaccine.localhub.pages.frame import icon, page, page_of, quoted, repo_page, see_other, signed_form
from hfvaccine.localhub.pages.sign_in import begin_session, sign_in, sign_out
from hfvaccine.localhub.pages.talk import discussion, take_part, talk
from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes import access
from hfvaccine.localhub.routes.browser import recognise
from hfvaccine.localhub.routes.call import Call, content_routes, metadata_at, route
from hfvaccine.localhub.store.repository import Repository, date_of, told_of

REPOS, ENTRIES, COMMITS = 30, 500, 50


def listing(call: Call) -> Response:
    """The repos that the visitor may see, newest first."""
    recognise(call)
    kind = call.kind if "kind" in call.request.path_params else None
    query = call.request.query_params.get("q", "")
    kinds = (kind,) if kind else KINDS
    repos = sorted(call.visible(*kinds), key=lambda repo: repo.created_at, reverse=True)
    listed, turn = page_of(call, _matching(call, repos, query.lower().split()), REPOS)
    shown = []
    for repo in listed:
        commit, tags = _head(call, repo)
        shown.append({"repo": repo, "tags": tags[:6], "changed": date_of(commit)})
    return page(call, "list.html", shown=shown, kind=kind, q=query, **turn)


def _matching(call: Call, repos: list[Repo], words: list[str]) -> Iterator[Repo]:
    """The repos that have all words in their name or tags; only where the name lacks one the card is read."""
    for repo in repos:
        missing = [word for word in words if word not in repo.id.lower()]
        tags = _head(call, repo)[1] if missing else []
        if all(any(word in tag.lower() for tag in tags) for word in missing):
            yield repo


def _head(call: Call, repo: Repo) -> tuple[Commit, list[str]]:
    """The commit at which `main` stands, and the tags of the card there."""
    with call.hub.open(repo) as git:
        commit = git.resolve("main")
        return commit, cards.tags(repo.kind, metadata_at(git, commit))


def repo(call: Call) -> Response:
    """A repo's card, and how to get at what is behind its gate."""
    recognise(call)
    return _repo_page(call)


def _repo_page(call: Call, refused: Refusal | None = None) -> Response:
    found, git, commit = call.content("see")
    readme = git.read_file(commit, "README.md") or b""
    metadata = cards.metadata_of(readme)
    reads = call.may(found, "read")

    def locate(path: str, image: bool) -> str | None:
        return _located(call, found, git, commit, path, image and not reads, image)

    gate = None
    if found.gated:
        texts = {
            name: value.strip()
            for name in ("heading", "description", "prompt", "button_content")
            if isinstance(value := metadata.get(f"extra_gated_{name}"), str)
        }
        gate = {
            **texts,
            "prompt": Markup(markdown.render(texts.get("prompt", ""), locate)),
            "fields": access_form.fields_of(metadata),
            "reads": reads,
            "request": call.caller and call.hub.access.request(found, "user_id", call.caller.id),
            "refused": refused,
        }
    card = Markup(markdown.render(cards.body_of(readme), locate))
    tags = cards.tags(found.kind, metadata)
    context = {"card": card, "tags": tags, "gate": gate, "endpoint": call.endpoint, "reads": reads}
    return repo_page(call, found, "repo.html", refused.status if refused else 200, **context)


def _located(
    call: Call, repo: Repo, git: Repository, commit: Any, address: str, hidden: bool, image: bool
) -> str | None:
    if address.startswith("/"):  # somewhere on this Hub; images only from this repo
        own = address.startswith(f"{repo.url_path}/resolve/") and not hidden
        return address if own or not image else None
    path, mark, rest = address.partition("#")
    parts: list[str] = []
    for part in unquote(path.partition("?")[0]).split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    entry = git.entry(commit, "/".join(parts))
    view = "tree" if entry and entry.is_folder else "resolve"
    place = "/".join((repo.url_path, view, "main", *map(quoted, parts)))
    return None if hidden else place + (mark + rest if not image else "")


def files(call: Call) -> Response:
    """What a folder holds: names and sizes for whoever sees the repo, links for whoever may read it."""
    recognise(call)
    found, git, commit = call.content("see")
    folder = call.parameter("path").strip("/")
    entries = sorted(git.entries(commit, folder), key=lambda entry: (not entry.is_folder, entry.path.lower()))
    shown, turn = page_of(call, entries, ENTRIES)
    crumbs = [("/".join(folder.split("/")[: i + 1]), name) for i, name in enumerate(folder.split("/")) if name]
    latest, reads = told_of(commit), call.may(found, "read")
    return repo_page(
        call, found, "files.html", entries=shown, crumbs=crumbs, latest=latest, reads=reads, **_refs(call, git), **turn
    )


def history(call: Call) -> Response:
    """The commits of a revision, newest first."""
    recognise(call)
    found, git, newest = call.content("see")
    commits, turn = page_of(call, map(told_of, git.history(newest)), COMMITS)
    return repo_page(call, found, "history.html", commits=commits, **_refs(call, git), **turn)


def _refs(call: Call, git: Repository) -> dict[str, Any]:
    """The revision that is shown, and those that could be."""
    names = [one["name"] for group in git.refs().values() for one in group]
    return {"revision": call.parameter("rev"), "refs": names}


def commit(call: Call) -> Response:
    """One commit: its message, and which files it changed."""
    recognise(call)
    found, git, this = call.content("see")
    parent = git.resolve(this.parents[0].decode()) if this.parents else None
    shown: dict[str, Any] = {"commit": told_of(this), "parent": parent and parent.id.decode()}
    return repo_page(call, found, "commit.html", **shown, changes=git.changes(parent, this))


def requests(call: Call) -> Response:
    """Who asked for access, for those who may decide."""
    recognise(call)
    found = call.repo("write")
    groups = [(status, call.hub.access.requests(found, status)) for status in STATUSES]
    return repo_page(call, found, "requests.html", groups=groups)


def decide(call: Call) -> Response:
    """Accept or reject a request."""
    fields = signed_form(call)
    found = call.repo("write")
    status, reason = fields.get("status"), fields.get("reason", "").strip()[: access_form.LONGEST]
    if status not in ("accepted", "rejected"):
        raise Refusal(400, "A request can be accepted or rejected.")
    request = call.hub.access.require_request(found, "id", fields.get("request", ""))
    access.decide(call, found, request, status, reason if status == "rejected" else None)
    return see_other(f"{found.url_path}/requests")


def ask(call: Call) -> Response:
    """Ask for access with the answers that the card wants."""
    given = signed_form(call)
    found, git, commit = call.content("see")
    metadata = metadata_at(git, commit)
    try:
        call.hub.access.ask(call.signed_in(), found, access_form.read(access_form.fields_of(metadata), given))
    except Refusal as refusal:
        return _repo_page(call, refusal)
    return see_other(found.url_path)


ROUTES = [
    route("GET", "/", listing),
    route("GET", "/{kinds}", listing),
    route("GET", "/login", sign_in),
    route("POST", "/login", begin_session),
    route("POST", "/logout", sign_out),
    route("GET", "/favicon.ico", icon),
    *content_routes("GET", "/{repo}", repo),
    *content_routes("GET", "/{repo}/tree/{rev}", files),
    *content_routes("GET", "/{repo}/tree/{rev}/{path:path}", files),
    *content_routes("GET", "/{repo}/commits/{rev}", history),
    *content_routes("GET", "/{repo}/commit/{rev}", commit),
    *content_routes("GET", "/{repo}/discussions", talk),
    *content_routes("GET", "/{repo}/discussions/{num}", discussion),
    *content_routes("POST", "/{repo}/discussions/{num}", take_part),
    *content_routes("GET", "/{repo}/requests", requests),
    *content_routes("POST", "/{repo}/requests", decide),
    *content_routes("POST", "/{repo}/ask", ask),
]
