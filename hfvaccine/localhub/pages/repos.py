"""Pages for people: what there is, a repo's card, files, history and discussions, access to it, signing in."""

from itertools import islice
from typing import Any
from urllib.parse import unquote

from markupsafe import Markup
from starlette.responses import Response

from hfvaccine.localhub.cards import form as access_form
from hfvaccine.localhub.cards import markdown
from hfvaccine.localhub.cards import metadata as cards
from hfvaccine.localhub.data.catalog import KINDS, Repo
from hfvaccine.localhub.pages.frame import (
    CHANGES,
    COMMITS,
    ENTRIES,
    REPOS,
    about,
    allowed,
    icon,
    neighbours,
    page,
    quoted,
    repo_of,
    revision_of,
    see_other,
    signed_form,
    start_of,
    told,
)
from hfvaccine.localhub.pages.sign_in import begin_session, sign_in, sign_out
from hfvaccine.localhub.pages.talk import discussion, take_part, talk
from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes import access
from hfvaccine.localhub.routes.browser import (
    recognise,
)
from hfvaccine.localhub.routes.call import Call, content_routes, route
from hfvaccine.localhub.store.repository import Repository, date_of


def listing(call: Call) -> Response:
    """The repos that the visitor may see, newest first."""
    recognise(call)
    kind = call.kind if "kind" in call.request.path_params else None
    words = call.request.query_params.get("q", "").lower().split()
    shown: list[dict[str, Any]] = []
    start, more = start_of(call), False
    repos = [repo for one in KINDS if kind in (None, one) for repo in call.hub.catalog.all(one)]
    repos.sort(key=lambda repo: repo.created_at, reverse=True)
    for repo in repos:
        if not call.hub.access.sees(call.caller, repo):
            continue
        in_name = all(word in repo.id.lower() for word in words)
        if in_name and start > 0:
            start -= 1
            continue
        with call.hub.open(repo) as git:
            commit = git.resolve("main")
            tags = cards.tags(repo.kind, cards.metadata_of(git.read_file(commit, "README.md") or b""))
        if not in_name and not all(any(word in text.lower() for text in (repo.id, *tags)) for word in words):
            continue
        if start > 0:
            start -= 1
            continue
        if len(shown) == REPOS:
            more = True
            break
        shown.append({"repo": repo, "tags": tags[:6], "changed": date_of(commit)})
    query = call.request.query_params.get("q", "")
    return page(call, "list.html", shown=shown, kind=kind, q=query, **neighbours(call, REPOS, more))


def repo(call: Call) -> Response:
    """A repo's card, and how to get at what is behind its gate."""
    found = repo_of(call, "see")
    return _repo_page(call, found)


def _repo_page(call: Call, found: Repo, refused: Refusal | None = None) -> Response:
    git = call.git(found)
    commit = git.resolve("main")
    readme = git.read_file(commit, "README.md") or b""
    metadata = cards.metadata_of(readme)
    reads = allowed(call, found, "read")

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
            "request": _request(call, found),
            "refused": refused,
        }
    card = Markup(markdown.render(cards.body_of(readme), locate))
    tags = cards.tags(found.kind, metadata)
    context = {"card": card, "tags": tags, "gate": gate, "endpoint": call.endpoint, "reads": reads}
    return page(call, "repo.html", refused.status if refused else 200, **about(call, found), **context)


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
    found = repo_of(call, "see")
    git, revision = call.git(found), call.parameter("rev")
    commit = git.resolve(revision)
    folder = call.parameter("path").strip("/") if "path" in call.request.path_params else ""
    entries = sorted(git.entries(commit, folder), key=lambda entry: (not entry.is_folder, entry.path.lower()))
    start = start_of(call)
    crumbs = [("/".join(folder.split("/")[: i + 1]), name) for i, name in enumerate(folder.split("/")) if name]
    return page(
        call,
        "files.html",
        **about(call, found),
        **revision_of(git, revision),
        **neighbours(call, ENTRIES, start + ENTRIES < len(entries)),
        entries=entries[start : start + ENTRIES],
        crumbs=crumbs,
        latest=told(commit),
        reads=allowed(call, found, "read"),
    )


def history(call: Call) -> Response:
    """The commits of a revision, newest first."""
    found = repo_of(call, "see")
    git, revision, start = call.git(found), call.parameter("rev"), start_of(call)
    commits = list(islice(git.history(git.resolve(revision)), start, start + COMMITS + 1))
    more = len(commits) > COMMITS
    return page(
        call,
        "history.html",
        **about(call, found),
        **revision_of(git, revision),
        **neighbours(call, COMMITS, more),
        commits=[told(commit) for commit in commits[:COMMITS]],
    )


def commit(call: Call) -> Response:
    """One commit: its message, and which files it changed."""
    found = repo_of(call, "see")
    git = call.git(found)
    this = git.resolve(call.parameter("rev"))
    parent = git.resolve(this.parents[0].decode()) if this.parents else None
    changes = git.changes(parent, this)
    shown: dict[str, Any] = {"commit": told(this), "parent": parent and parent.id.decode()}
    return page(
        call, "commit.html", **about(call, found), **shown, changes=changes[:CHANGES], left_out=len(changes[CHANGES:])
    )


def requests(call: Call) -> Response:
    """Who asked for access, for those who may decide."""
    found = repo_of(call, "write")
    statuses = ("pending", "accepted", "rejected")
    groups = [(status, call.hub.access.requests(found, status)) for status in statuses]
    return page(call, "requests.html", **about(call, found), groups=groups)


def decide(call: Call) -> Response:
    """Accept or reject a request."""
    fields = signed_form(call)
    found = call.repo("write")
    status, reason = fields.get("status"), fields.get("reason", "").strip()[: access_form.LONGEST]
    if status not in ("accepted", "rejected"):
        raise Refusal(400, "A request can be accepted or rejected.")
    request = call.hub.access.request_by_id(found, fields.get("request", ""))
    access.decide(call, found, request, status, reason if status == "rejected" else None)
    return see_other(f"{found.url_path}/requests")


def ask(call: Call) -> Response:
    """Ask for access with the answers that the card wants."""
    given = signed_form(call)
    found, caller = call.repo("see"), call.signed_in()
    git = call.git(found)
    metadata = cards.metadata_of(git.read_file(git.resolve("main"), "README.md") or b"")
    try:
        call.hub.access.ask(caller, found, access_form.read(access_form.fields_of(metadata), given))
    except Refusal as refusal:
        return _repo_page(call, found, refusal)
    return see_other(found.url_path)


def _request(call: Call, repo: Repo) -> Any:
    """The visitor's own request for access, or None."""
    asked = call.caller and call.hub.access.status(repo, call.caller.id)
    return call.hub.access.request_of_user(repo, call.caller.id) if call.caller and asked else None


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
