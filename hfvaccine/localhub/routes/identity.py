"""Who am I."""

from starlette.responses import Response

from hfvaccine.localhub.call import Call, answer, route


def whoami(call: Call) -> Response:
    """The account behind the token."""
    caller = call.signed_in()
    token = {"displayName": "token", "role": caller.role}
    return answer(
        {
            "type": "user",
            "id": str(caller.id),
            "name": caller.name,
            "fullname": caller.name,
            "email": None,
            "orgs": [],
            "auth": {"type": "access_token", "accessToken": token},
        }
    )


ROUTES = [route("GET", "/api/whoami-v2", whoami)]
