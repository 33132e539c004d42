"""Likes. The present clients only take them back and list them; to give one is a POST to the same address."""

from starlette.responses import Response

from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes.call import Call, answer, route


def like(call: Call) -> Response:
    """Like a repo."""
    call.hub.likes.add(call.repo("like"), call.signed_in())
    return answer({})


def unlike(call: Call) -> Response:
    """Like it no longer."""
    call.hub.likes.remove(call.repo("like"), call.signed_in())
    return answer({})


def likers(call: Call) -> Response:
    """Who likes a repo."""
    shown, headers = call.page(call.hub.likes.of_repo(call.repo("see")))
    known = [profile for name in shown if (profile := call.hub.accounts.profile(name))]
    return answer([{**profile, "avatarUrl": ""} for profile in known], headers=headers)


def liked(call: Call) -> Response:
    """What a user likes, of what the caller may know of."""
    user = call.parameter("user")
    if (user_id := call.hub.accounts.user_id(user)) is None:
        raise Refusal(404, f"There is no user {user[:100]!r} on this Hub.")
    found = [
        {"createdAt": since, "repo": {"name": repo.id, "type": repo.kind}}
        for repo, since in call.hub.likes.of_user(user_id)
        if call.may(repo, "see")
    ]
    shown, headers = call.page(found)
    return answer(shown, headers=headers)


ROUTES = [
    route("POST", "/api/{kinds}/{repo}/like", like),
    route("DELETE", "/api/{kinds}/{repo}/like", unlike),
    route("GET", "/api/{kinds}/{repo}/likers", likers),
    route("GET", "/api/users/{user}/likes", liked),
]
