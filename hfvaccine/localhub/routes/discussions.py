"""Pull requests and discussions, and squashing a branch's history."""

from itertools import islice
from typing import Any

from dulwich.objects import Blob, ObjectID
from starlette.responses import Response

from hfvaccine.localhub.data.catalog import Repo
from hfvaccine.localhub.data.discussions import LONGEST_TITLE, Discussion, text_of, title_of
from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes import strangers
from hfvaccine.localhub.routes.call import Call, answer, route
from hfvaccine.localhub.store.diff import diff_of
from hfvaccine.localhub.store.repository import BLOCK, Change, Repository, told_of

PAGE, COMMITS = 50, 500


def listing(call: Call) -> Response:
    """The repo's discussions, newest first: what they are called, not what is said in them."""
    repo, query = call.repo("see"), call.request.query_params
    kind, status = query.get("type", "all"), query.get("status", "all")
    if kind not in ("all", "discussion", "pull_request") or status not in ("all", "open", "closed"):
        raise Refusal(400, "type must be all, discussion or pull_request, and status all, open or closed.")
    found = [
        one
        for one in call.hub.discussions.all(repo)
        if kind in ("all", "pull_request" if one.branch else "discussion")
        and status in ("all", "open" if one.is_open else "closed")
        and query.get("author", one.author).lower() == one.author.lower()
    ]
    start = PAGE * call.number("p")
    shown = [_told(repo, one) for one in found[start : start + PAGE]]
    return answer({"discussions": shown, "count": len(found), "start": start})


def _told(repo: Repo, found: Discussion) -> dict[str, Any]:
    return {
        "num": found.num,
        "title": found.title,
        "status": found.status,
        "author": {"name": found.author},
        "createdAt": found.created_at,
        "isPullRequest": found.branch is not None,
        "repo": {"name": repo.id, "type": repo.kind},
    }


def create(call: Call) -> Response:
    """A discussion, or a pull request without commits as yet: a draft, as clients are told that it is."""
    body = call.json()
    repo = call.repo("propose" if body.get("pullRequest") else "discuss")
    stored = BLOCK if body.get("pullRequest") and strangers.is_stranger(call, repo) else 0
    caller, title, text = call.signed_in(), title_of(body.get("title")), text_of(body.get("description"), needed=False)
    git, known = call.git(repo), call.hub.discussions
    with git.writing():
        strangers.require_room_to_say(call, repo, title, text, more=stored)
        number = known.next_number(repo)
        start = git.resolve("main") if body.get("pullRequest") else None
        git.begin_pull(number, start)
        branch, base = ("main", start.id.decode()) if start else (None, None)
        found = known.open(repo, number, caller, title, text, branch, base, draft=start is not None)
        known.charge(found, stored)
    return answer(
        {"num": number, "pullRequest": start is not None, "url": f"{call.address(repo)}/discussions/{number}"}
    )


def commit_to_new(
    call: Call,
    repo: Repo,
    git: Repository,
    branch: str,
    parent: str | None,
    message: str,
    deletions: dict[str, str],
    additions: dict[str, ObjectID],
    blobs: list[Blob],
) -> tuple[str, Discussion]:
    """Open a pull request with one commit.

    Args:
        call: the request of somebody who may propose changes.
        repo: the repo.
        git: its git repository, which is being written to.
        branch: the branch that it is for.
        parent: the commit on that branch to begin at, if not at its head.
        message: the commit's, which also becomes title and first comment.
        deletions: see `Repository.commit`.
        additions: see there.
        blobs: see there.

    Returns:
        The commit's id and the pull request.

    Raises:
        Refusal: 404 when there is no such branch, 412 when the parent is not on it.
    """
    title, _, text = message.partition("\n")
    title = title_of(" ".join(title.split())[:LONGEST_TITLE])
    caller, known = call.signed_in(), call.hub.discussions
    start = git.resolve(f"refs/heads/{branch}")
    if parent is not None:
        on_it = [one for one in git.history(start) if one.id.startswith(parent.encode())]
        if not on_it:
            raise Refusal(412, f"The commit {parent[:40]} is not on {branch}.")
        start = on_it[0]
    number = known.next_number(repo)
    oid = git.commit(f"refs/pr/{number}", caller.name, message, deletions, additions, start=start, blobs=blobs)
    return oid, known.open(repo, number, caller, title, text.strip(), branch, start.id.decode())


def details(call: Call) -> Response:
    """One discussion and all that was said in it; for a pull request its commits and, if asked for, the changes."""
    repo = call.repo("read")
    found = call.hub.discussions.find(repo, call.parameter("num"))
    told = {**_told(repo, found), "events": call.hub.discussions.events(found)}
    if found.branch is not None:
        git = call.git(repo)
        first, *later = told["events"]
        # What opened it stands first. Commits know their second only; in the same one they stand before the rest.
        later = sorted([*_commits(git, found), *later], key=lambda event: str(event["createdAt"])[:19])
        told["events"] = [first, *later]
        told["changes"] = {"base": f"refs/heads/{found.branch}"}
        if found.status == "merged":
            told["changes"]["mergeCommitId"] = found.merge_oid
        clashes = clashes_of(git, found)
        told["filesWithConflicts"] = True if clashes is None else clashes
        if call.flag("diff"):
            told["diff"] = diff_of(changes_of(git, found), git.read)
    return answer(told)


def _commits(git: Repository, found: Discussion) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = []
    for commit in islice(git.history(git.resolve(found.ref)), COMMITS):
        if commit.id.decode() == found.base:
            break
        one = told_of(commit)
        event = {"id": one["id"], "type": "commit", "createdAt": one["date"], "author": {"name": one["author"]}}
        listed.append({**event, "data": {"subject": one["title"], "oid": one["id"]}})
    return listed[::-1]


def changes_of(git: Repository, found: Discussion) -> list[Change]:
    """The files that a pull request changes."""
    return git.changes(git.resolve(found.base), git.resolve(found.ref))


def clashes_of(git: Repository, found: Discussion) -> list[str] | None:
    """See `Repository.clashes`; none for what is not open."""
    return git.clashes(str(found.branch), found.ref, found.base) if found.is_open else []


def comment(call: Call) -> Response:
    """Say something."""
    repo, found = _discussion(call)
    text = text_of(call.json().get("comment"))
    strangers.require_room_to_say(call, repo, text)
    return answer({"newMessage": call.hub.discussions.say(found, call.signed_in(), text)})


def rename(call: Call) -> Response:
    """Another title, from the author or somebody who may write."""
    repo, found = _discussion(call, own=True)
    title = title_of(call.json().get("title"))
    strangers.require_room_to_say(call, repo, found.title, title)
    return answer({"newTitle": call.hub.discussions.rename(found, call.signed_in(), title)})


def change_status(call: Call) -> Response:
    """Close it, or open it again."""
    repo, found = _discussion(call, own=True)
    body = call.json()
    status, text = str(body.get("status")), text_of(body.get("comment"), needed=False)
    strangers.require_room_to_say(call, repo, text)
    return answer({"newStatus": call.hub.discussions.set_status(found, call.signed_in(), status, text)})


def merge(call: Call) -> Response:
    """Have the branch take over the commits of a pull request."""
    repo, text = call.repo("write"), text_of(call.json().get("comment"), needed=False)
    oid = merge_now(call, repo, call.hub.discussions.find(repo, call.parameter("num")), text)
    return answer({"mergeCommitId": oid})


def merge_now(call: Call, repo: Repo, found: Discussion, text: str) -> str:
    """Merge, or say why not.

    Returns:
        The commit at which the branch stands now.

    Raises:
        Refusal: 400 when it is no open pull request, a draft, or has no commits, 409 when it clashes with the branch.
    """
    caller, known, git = call.signed_in(), call.hub.discussions, call.git(repo)
    with git.writing():
        found = known.find(repo, found.num)
        known.require_open(found)
        if found.branch is None or git.resolve(found.ref).id.decode() == found.base:
            raise Refusal(400, f"#{found.num} has no commits that could be merged.")
        if found.status == "draft":
            raise Refusal(400, f"#{found.num} is a draft: set its status to open, then merge it.")
        clashes = clashes_of(git, found)
        if clashes is None:
            raise Refusal(409, f"{found.branch} was squashed or deleted since #{found.num} was opened: open another.")
        if clashes:
            names = ", ".join(clashes[:5]) + (f" and {len(clashes) - 5} more" if len(clashes) > 5 else "")
            message = f"#{found.num} cannot be merged: {found.branch} has other changes to {names}"
            raise Refusal(409, message, body={"filesWithConflicts": clashes})
        if text:
            known.say(found, caller, text)
        title = f"Merge #{found.num}: {found.title}"
        oid = git.merged(found.branch, found.ref, found.base, caller.name, title)
        known.begin_merge(found, caller, oid)
        git.move_branch(found.branch, oid)
        known.end_merge(found, done=True)
    call.hub.database.audit(caller.name, "merge", f"{repo.kind}:{repo.id}", f"#{found.num} into {found.branch}")
    return oid


def edit(call: Call) -> Response:
    """Another text for one's own comment."""
    repo, found = _discussion(call)
    caller, text = call.signed_in(), text_of(call.json().get("content"))
    if call.hub.discussions.author_of(found, call.parameter("comment")) != caller.id:
        raise Refusal(403, "Only its author may change a comment.")
    strangers.require_room_to_say(call, repo, text)
    return answer({"updatedComment": call.hub.discussions.revise(found, call.parameter("comment"), caller, text)})


def hide(call: Call) -> Response:
    """Take a comment away for good: one's own, or anybody's for who may write."""
    repo, found = _discussion(call)
    caller, comment = call.signed_in(), call.parameter("comment")
    if call.hub.discussions.author_of(found, comment) != caller.id:
        call.hub.access.require(caller, repo, "write")
    return answer({"updatedComment": call.hub.discussions.revise(found, comment, caller, None)})


def _discussion(call: Call, own: bool = False) -> tuple[Repo, Discussion]:
    """The discussion of the path, for who may take part in it; `own` for its author and who may write."""
    repo = call.repo("discuss")
    found = call.hub.discussions.find(repo, call.parameter("num"))
    if own and found.user_id != call.signed_in().id:
        call.hub.access.require(call.caller, repo, "write")
    return repo, found


def super_squash(call: Call) -> Response:
    """One commit in place of a branch's history, or of a pull request's since it began: it can be merged as before."""
    repo, branch = call.repo("write"), call.parameter("rev").removeprefix("refs/heads/")
    message, caller = call.json().get("message") or f"Super-squash branch {branch!r}", call.signed_in()
    if not isinstance(message, str):
        raise Refusal(400, "message must be a text.")
    git = call.git(repo)
    with git.writing():
        pull = call.hub.discussions.open_for(repo, branch)
        if pull and git.resolve(pull.ref).id.decode() == pull.base:
            raise Refusal(400, f"#{pull.num} has no commits that could be squashed.")
        oid = git.squash(branch, caller.name, message, pull.base if pull else None)
    call.hub.database.audit(caller.name, "super-squash", f"{repo.kind}:{repo.id}", branch)
    return answer({"commitOid": oid})


_ONE = "/api/{kinds}/{repo}/discussions/{num}"
ROUTES = [
    route("GET", "/api/{kinds}/{repo}/discussions", listing),
    route("POST", "/api/{kinds}/{repo}/discussions", create),
    route("GET", _ONE, details),
    route("POST", f"{_ONE}/comment", comment),
    route("POST", f"{_ONE}/comment/{{comment}}/edit", edit),
    route("POST", f"{_ONE}/comment/{{comment}}/hide", hide),
    route("POST", f"{_ONE}/title", rename),
    route("POST", f"{_ONE}/status", change_status),
    route("POST", f"{_ONE}/merge", merge),
    route("POST", "/api/{kinds}/{repo}/super-squash/{rev}", super_squash),
]
