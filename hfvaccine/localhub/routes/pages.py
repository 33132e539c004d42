"""Pages for people: what there is, a repo's card, files, history and discussions, access to it, signing in."""

import base64
import hashlib
import secrets
from importlib import resources
from itertools import islice
from typing import Any
from urllib.parse import quote, unquote

import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from hfvaccine.localhub import access_form, cards, markdown
from hfvaccine.localhub.access import Right
from hfvaccine.localhub.browser import (
    form,
    form_token,
    local_path,
    recognise,
    session_cookie,
    set_cookie,
    visit_cookie,
)
from hfvaccine.localhub.call import Call, content_routes, route
from hfvaccine.localhub.catalog import KINDS, Repo
from hfvaccine.localhub.discussions import Discussion, text_of
from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes import access, discussions
from hfvaccine.localhub.storage import Repository, date_of, title_of

REPOS, ENTRIES, COMMITS, CHANGES = 30, 500, 50, 500

_TEMPLATES = resources.files("hfvaccine.localhub") / "templates"
_STYLE = (_TEMPLATES / "style.css").read_text("utf-8")
_POLICY = "; ".join(
    (
        "default-src 'none'",
        f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'",
        "img-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
# Characters that turn the order of letters around: `exe.gpj` must not read as `jpg.exe`.
_UNTURNED = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd")
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    # With no referrer at all browsers would call the origin of our own forms "null".
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def listing(call: Call) -> Response:
    """The repos that the visitor may see, newest first."""
    recognise(call)
    kind = call.kind if "kind" in call.request.path_params else None
    words = call.request.query_params.get("q", "").lower().split()
    shown: list[dict[str, Any]] = []
    start, more = _start(call), False
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
    return _page(call, "list.html", shown=shown, kind=kind, q=query, **_neighbours(call, REPOS, more))


def repo(call: Call) -> Response:
    """A repo's card, and how to get at what is behind its gate."""
    found = _repo(call, "see")
    return _repo_page(call, found)


def _repo_page(call: Call, found: Repo, refused: Refusal | None = None) -> Response:
    git = call.git(found)
    commit = git.resolve("main")
    readme = git.read_file(commit, "README.md") or b""
    metadata = cards.metadata_of(readme)
    reads = _may(call, found, "read")

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
    return _page(call, "repo.html", refused.status if refused else 200, **_about(call, found), **context)


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
    place = "/".join((repo.url_path, view, "main", *map(_quoted, parts)))
    return None if hidden else place + (mark + rest if not image else "")


def files(call: Call) -> Response:
    """What a folder holds: names and sizes for whoever sees the repo, links for whoever may read it."""
    found = _repo(call, "see")
    git, revision = call.git(found), call.parameter("rev")
    commit = git.resolve(revision)
    folder = call.parameter("path").strip("/") if "path" in call.request.path_params else ""
    entries = sorted(git.entries(commit, folder), key=lambda entry: (not entry.is_folder, entry.path.lower()))
    start = _start(call)
    crumbs = [("/".join(folder.split("/")[: i + 1]), name) for i, name in enumerate(folder.split("/")) if name]
    return _page(
        call,
        "files.html",
        **_about(call, found),
        **_revision(git, revision),
        **_neighbours(call, ENTRIES, start + ENTRIES < len(entries)),
        entries=entries[start : start + ENTRIES],
        crumbs=crumbs,
        latest=_told(commit),
        reads=_may(call, found, "read"),
    )


def history(call: Call) -> Response:
    """The commits of a revision, newest first."""
    found = _repo(call, "see")
    git, revision, start = call.git(found), call.parameter("rev"), _start(call)
    commits = list(islice(git.history(git.resolve(revision)), start, start + COMMITS + 1))
    more = len(commits) > COMMITS
    return _page(
        call,
        "history.html",
        **_about(call, found),
        **_revision(git, revision),
        **_neighbours(call, COMMITS, more),
        commits=[_told(commit) for commit in commits[:COMMITS]],
    )


def commit(call: Call) -> Response:
    """One commit: its message, and which files it changed."""
    found = _repo(call, "see")
    git = call.git(found)
    this = git.resolve(call.parameter("rev"))
    parent = git.resolve(this.parents[0].decode()) if this.parents else None
    changes = git.changes(parent, this)
    told: dict[str, Any] = {"commit": _told(this), "parent": parent and parent.id.decode()}
    return _page(
        call, "commit.html", **_about(call, found), **told, changes=changes[:CHANGES], left_out=len(changes[CHANGES:])
    )


def talk(call: Call) -> Response:
    """The repo's pull requests and discussions, newest first."""
    found = _repo(call, "see")
    start, listed = _start(call), call.hub.discussions.all(found)
    more = start + COMMITS < len(listed)
    shown = listed[start : start + COMMITS]
    return _page(call, "talk.html", **_about(call, found), **_neighbours(call, COMMITS, more), shown=shown)


def discussion(call: Call) -> Response:
    """One of them: what it changes, and for whoever may read the repo what was said."""
    found = _repo(call, "see")
    one = call.hub.discussions.find(found, call.parameter("num"))
    return _discussion_page(call, found, one)


def _discussion_page(call: Call, found: Repo, one: Discussion, refused: Refusal | None = None) -> Response:
    reads, git = _may(call, found, "read"), call.git(found)
    context: dict[str, Any] = {"changes": [], "clashes": []}
    if one.branch is not None:
        context = {"changes": discussions.changes_of(git, one), "clashes": discussions.clashes_of(git, one)}
    context["left_out"] = len(context["changes"][CHANGES:])
    context["changes"] = context["changes"][:CHANGES]
    events = call.hub.discussions.events(one) if reads else []
    for event in events:
        event["html"] = Markup(event["data"]["latest"]["html"]) if event["type"] == "comment" else ""
    own = call.caller is not None and call.caller.id == one.user_id
    may = {"reads": reads, "speaks": _may(call, found, "discuss"), "refused": refused, "own": own}
    status = refused.status if refused else 200
    return _page(call, "discussion.html", status, **_about(call, found), **context, **may, one=one, events=events)


def take_part(call: Call) -> Response:
    """Say something, close, open again or merge."""
    fields = _form(call)
    found, action = call.repo("discuss"), fields.get("action")
    one, text = call.hub.discussions.find(found, call.parameter("num")), fields.get("text", "")
    try:
        if action == "comment":
            call.hub.discussions.say(one, call.signed_in(), text_of(text))
        elif action == "merge":
            discussions.merge_now(call, call.repo("write"), one, text_of(text, needed=False))
        else:
            if one.user_id != call.signed_in().id:
                call.repo("write")
            call.hub.discussions.set_status(one, call.signed_in(), str(action), text_of(text, needed=False))
    except Refusal as refusal:
        return _discussion_page(call, found, one, refusal)
    return _see(f"{found.url_path}/discussions/{one.num}")


def requests(call: Call) -> Response:
    """Who asked for access, for those who may decide."""
    found = _repo(call, "write")
    statuses = ("pending", "accepted", "rejected")
    groups = [(status, call.hub.access.requests(found, status)) for status in statuses]
    return _page(call, "requests.html", **_about(call, found), groups=groups)


def decide(call: Call) -> Response:
    """Accept or reject a request."""
    fields = _form(call)
    found = call.repo("write")
    status, reason = fields.get("status"), fields.get("reason", "").strip()[: access_form.LONGEST]
    if status not in ("accepted", "rejected"):
        raise Refusal(400, "A request can be accepted or rejected.")
    request = call.hub.access.request_by_id(found, fields.get("request", ""))
    access.decide(call, found, request, status, reason if status == "rejected" else None)
    return _see(f"{found.url_path}/requests")


def ask(call: Call) -> Response:
    """Ask for access with the answers that the card wants."""
    given = _form(call)
    found, caller = call.repo("see"), call.signed_in()
    git = call.git(found)
    metadata = cards.metadata_of(git.read_file(git.resolve("main"), "README.md") or b"")
    try:
        call.hub.access.ask(caller, found, access_form.read(access_form.fields_of(metadata), given))
    except Refusal as refusal:
        return _repo_page(call, found, refusal)
    return _see(found.url_path)


def sign_in(call: Call) -> Response:
    """The form that takes a token, for who has not signed in."""
    recognise(call)
    then = local_path(call.request.query_params.get("next", "/"))
    return _see(then) if call.caller else _sign_in_page(call, then)


def _sign_in_page(call: Call, then: str, wrong: bool = False) -> Response:
    cookie = visit_cookie(call) or secrets.token_urlsafe(32)
    context = {"then": then, "wrong": wrong, "csrf": form_token(call, cookie)}
    page = _page(call, "login.html", 401 if wrong else 200, **context)
    set_cookie(call, page, "visit", cookie)
    return page


def begin_session(call: Call) -> Response:
    """Take a token in exchange for a session."""
    fields = form(call, visit_cookie(call))
    then, token = local_path(fields.get("next", "/")), fields.get("token", "").strip()
    try:
        call.hub.accounts.caller(token)
    except Refusal:
        return _sign_in_page(call, then, wrong=True)
    call.hub.sessions.end(session_cookie(call))
    response = _see(then)
    set_cookie(call, response, "session", call.hub.sessions.begin(token))
    set_cookie(call, response, "visit", "")
    return response


def sign_out(call: Call) -> Response:
    """End the session."""
    _form(call)
    call.hub.sessions.end(session_cookie(call))
    response = _see("/")
    set_cookie(call, response, "session", "")
    return response


def refused(request: Request, refusal: Refusal, headers: dict[str, str]) -> Response:
    """A refusal as browsers get it."""
    back = quote(str(request.scope["path"]))
    context = {"status": refusal.status, "message": refusal.message, "back": back}
    return HTMLResponse(
        _template("refused.html").render(caller=None, csrf=None, **context), refusal.status, {**headers, **_HEADERS}
    )


def icon(call: Call) -> Response:
    """There is none; saying so once keeps browsers from asking on each page."""
    return Response(status_code=204, headers={"Cache-Control": "max-age=86400"})


def _form(call: Call) -> dict[str, str]:
    """The fields of a form for which one has to be signed in. Raises Refusal 403 where one is not."""
    fields = form(call, session_cookie(call))
    if "authorization" in call.request.headers:
        raise Refusal(403, "Sign in to use this form; with a token, use the API.")
    recognise(call)
    if call.caller is None:
        raise Refusal(403, "You are not signed in any more. Sign in again.")
    return fields


def _repo(call: Call, right: Right) -> Repo:
    recognise(call)
    return call.repo(right)


def _may(call: Call, repo: Repo, right: Right) -> bool:
    try:
        call.hub.access.require(call.caller, repo, right)
    except Refusal:
        return False
    return True


def _request(call: Call, repo: Repo) -> Any:
    """The visitor's own request for access, or None."""
    asked = call.caller and call.hub.access.status(repo, call.caller.id)
    return call.hub.access.request_of_user(repo, call.caller.id) if call.caller and asked else None


def _about(call: Call, repo: Repo) -> dict[str, Any]:
    owns = _may(call, repo, "write")
    waiting = len(call.hub.access.requests(repo, "pending")) if owns and repo.gated else 0
    return {"repo": repo, "owns": owns, "waiting": waiting}


def _told(commit: Any) -> dict[str, str]:
    message = commit.message.decode(errors="replace")
    return {
        "id": commit.id.decode(),
        "title": title_of(commit),
        "body": message.partition("\n")[2].strip(),
        "author": commit.author.decode(errors="replace").partition(" <")[0],
        "date": date_of(commit),
    }


def _revision(git: Repository, revision: str) -> dict[str, Any]:
    refs = git.refs()
    return {"revision": revision, "refs": [one["name"] for group in refs for one in refs[group]]}


def _start(call: Call) -> int:
    given = call.request.query_params.get("start", "")
    return int(given) if given.isdecimal() and len(given) < 9 else 0


def _neighbours(call: Call, size: int, more: bool) -> dict[str, Any]:
    start = _start(call)
    return {"newer": max(start - size, 0) if start else None, "older": start + size if more else None}


def _see(path: str) -> Response:
    return RedirectResponse(path, 303, {"Cache-Control": "no-store"})


def _page(call: Call, name: str, status: int = 200, **context: Any) -> Response:
    cookie = session_cookie(call)
    # Who comes with a token instead of a session can look at pages but has no use for their forms.
    own = {"caller": call.caller, "csrf": form_token(call, cookie) if cookie and call.caller else None}
    query = call.request.url.query
    back = quote(call.path + (f"?{query}" if query else ""))
    return HTMLResponse(_template(name).render(**{**own, "back": back, **context}), status, _HEADERS)


def _quoted(text: str, safe: str = "") -> str:
    return quote(text, safe, errors="replace")


def _size(size: int) -> str:
    power = min((len(str(size)) - 1) // 3, 4)
    return f"{size / 1000**power:.{1 if power else 0}f} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def _template(name: str) -> jinja2.Template:
    return _environment.get_template(name)


_environment = jinja2.Environment(
    loader=jinja2.FunctionLoader(lambda name: (_TEMPLATES / name).read_text("utf-8")),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    finalize=lambda value: value.translate(_UNTURNED) if type(value) is str else value,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.globals["style"] = Markup(_STYLE)
_environment.filters |= {"quoted": _quoted, "size": _size}

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
