"""Pages of discussions and pull requests."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup
from starlette.responses import Response

from hfvaccine.localhub.data.catalog import Repo
from hfvaccine.localhub.data.discussions import Discussion, text_of
from hfvaccine.localhub.pages.frame import page_of, repo_page, see_other, signed_form
from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes import discussions, strangers
from hfvaccine.localhub.routes.browser import recognise
from hfvaccine.localhub.routes.call import Call

TOPICS = 50


def talk(call: Call) -> Response:
    """The repo's pull requests and discussions, newest first."""
    recognise(call)
    found = call.repo("see")
    shown, turn = page_of(call, call.hub.discussions.all(found), TOPICS)
    return repo_page(call, found, "talk.html", shown=shown, **turn)


def discussion(call: Call) -> Response:
    """One of them: what it changes, and for whoever may read the repo what was said."""
    recognise(call)
    found = call.repo("see")
    one = call.hub.discussions.find(found, call.parameter("num"))
    return _discussion_page(call, found, one)


def _discussion_page(call: Call, found: Repo, one: Discussion, refused: Refusal | None = None) -> Response:
    reads, git = call.may(found, "read"), call.git(found)
    context: dict[str, Any] = {"changes": [], "clashes": []}
    if one.branch is not None:
        context = {"changes": discussions.changes_of(git, one), "clashes": discussions.clashes_of(git, one)}
    events = call.hub.discussions.events(one) if reads else []
    for event in events:
        event["html"] = Markup(event["data"]["latest"]["html"]) if event["type"] == "comment" else ""
    own = call.caller is not None and call.caller.id == one.user_id
    may = {"reads": reads, "speaks": call.may(found, "discuss"), "refused": refused, "own": own}
    status = refused.status if refused else 200
    return repo_page(call, found, "discussion.html", status, **context, **may, one=one, events=events)


def take_part(call: Call) -> Response:
    """Say something, close, open again or merge."""
    fields = signed_form(call)
    found, action = call.repo("discuss"), fields.get("action")
    one, text = call.hub.discussions.find(found, call.parameter("num")), fields.get("text", "")
    try:
        if action != "merge":
            strangers.require_room_to_say(call, found, text)
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
    return see_other(f"{found.url_path}/discussions/{one.num}")
