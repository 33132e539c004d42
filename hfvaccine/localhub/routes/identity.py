"""Who am I, who is who, and what takes how much space."""

from typing import Any

from starlette.responses import Response

from hfvaccine.localhub.data.accounts import FINE_GRAINED, Caller
from hfvaccine.localhub.data.catalog import KINDS
from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes.call import Call, answer, route


def whoami(call: Call) -> Response:
    """The account behind the token."""
    caller = call.signed_in()
    token: dict[str, Any] = {"displayName": caller.token_name, "role": caller.role}
    if caller.role == FINE_GRAINED:
        token["fineGrained"] = {"global": [], "scoped": _scoped(call, caller)}
    orgs = [{"type": "org", "name": one.org, "fullname": one.fullname, "roleInOrg": one.role} for one in caller.orgs]
    return answer(
        {
            "type": "user",
            "id": str(caller.id),
            "name": caller.name,
            "fullname": caller.fullname,
            "email": caller.email,
            "orgs": orgs,
            "auth": {"type": "access_token", "accessToken": token},
        }
    )


def _scoped(call: Call, caller: Caller) -> list[dict[str, Any]]:
    rights = {"read": ["repo.content.read"], "write": ["repo.content.read", "repo.write"]}
    return [
        {"entity": {"type": repo.kind, "name": repo.id}, "permissions": rights[right]}
        for repo in call.visible(*KINDS)
        if (right := (caller.repos or {}).get(repo.number))
    ]


def overview(call: Call) -> Response:
    """Another user, and of the organisations those that the caller is in, too."""
    caller, user = call.signed_in(), call.parameter("user")
    if (found := call.hub.accounts.profile(user)) is None:
        raise Refusal(404, f"There is no user {user[:100]!r} on this Hub.")
    orgs = [
        {"name": one.org, "fullname": one.fullname}
        for one in call.hub.accounts.members()
        if one.user == found["user"] and caller.role_in(one.org)
    ]
    return answer({"type": "user", **found, "orgs": orgs})


def storage(call: Call) -> Response:
    """The repos of a namespace and how many bytes of large files each holds."""
    caller = call.signed_in()
    namespace = call.parameter("org", caller.name)
    if caller.role_in(namespace) is None:
        raise Refusal(403, f"You are not a member of {namespace}.")
    found: list[dict[str, Any]] = [
        {
            "type": repo.kind,
            "id": repo.id,
            "visibility": repo.visibility,
            "storage": call.hub.catalog.used_storage(repo),
            "updatedAt": repo.created_at,
        }
        for repo in call.visible(*KINDS)
        if repo.namespace.lower() == namespace.lower()
    ]
    total = sum(one["storage"] for one in found) or 1
    shown, headers = call.page(sorted(found, key=lambda one: -one["storage"]))
    return answer([{**one, "storagePercent": 100 * one["storage"] / total} for one in shown], headers=headers)


ROUTES = [
    route("GET", "/api/whoami-v2", whoami),
    route("GET", "/api/users/{user}/overview", overview),
    route("GET", "/api/settings/repositories", storage),
    route("GET", "/api/organizations/{org}/settings/repositories", storage),
]
