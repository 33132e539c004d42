"""Branches and tags."""

from starlette.responses import Response

from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes.call import Call, answer, route


def listing(call: Call) -> Response:
    """All branches and tags, and pull requests where they are asked for."""
    refs = call.git(call.repo("see")).refs()
    if not call.flag("include_prs"):
        del refs["pullRequests"]
    return answer({**refs, "converts": []})


def create_branch(call: Call) -> Response:
    """A branch, from `main` or from the revision given."""
    repo, start = call.repo("write"), call.json().get("startingPoint") or "main"
    git = call.git(repo)
    git.create_branch(call.parameter("rev"), git.resolve(str(start)))
    return answer({})


def delete_branch(call: Call) -> Response:
    """Drop a branch; its commits stay reachable by their ids."""
    call.git(call.repo("write")).delete_ref("branch", call.parameter("rev"))
    return answer({})


def create_tag(call: Call) -> Response:
    """Tag the revision in the path."""
    repo, body = call.repo("write"), call.json()
    name, message = body.get("tag"), body.get("message") or ""
    if not isinstance(name, str) or not isinstance(message, str):
        raise Refusal(400, "tag must be a text.")
    git = call.git(repo)
    git.create_tag(name, git.resolve(call.parameter("rev")), message, call.signed_in().name)
    return answer({})


def delete_tag(call: Call) -> Response:
    """Drop a tag."""
    call.git(call.repo("write")).delete_ref("tag", call.parameter("rev"))
    return answer({})


ROUTES = [
    route("GET", "/api/{kinds}/{repo}/refs", listing),
    route("POST", "/api/{kinds}/{repo}/branch/{rev}", create_branch),
    route("DELETE", "/api/{kinds}/{repo}/branch/{rev}", delete_branch),
    route("POST", "/api/{kinds}/{repo}/tag/{rev}", create_tag),
    route("DELETE", "/api/{kinds}/{repo}/tag/{rev}", delete_tag),
]
