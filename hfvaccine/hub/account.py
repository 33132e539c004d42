"""Who one is on a Hub, and what one may do there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.utils import get_session, hf_raise_for_status

from hfvaccine.errors import HubError
from hfvaccine.hub.errors import as_hub_error, log_in, page_of, require_repo_id


def whoami(api: HfApi) -> Mapping[str, Any]:
    """What a Hub says of a token: the `name` of its account, and more.

    Args:
        api: of the Hub, with the token.

    Raises:
        HubError: without a token, or where the Hub cannot be reached.
    """
    with as_hub_error(api, "", "dataset"):
        me: dict[str, Any] = api.whoami()
        return me


def account(api: HfApi) -> str:
    """The name of the account behind a token; it raises what `whoami` does."""
    return str(whoami(api)["name"])


def reads_only(me: Mapping[str, Any]) -> bool:
    """Whether a token may write nowhere; of a fine-grained one that is not known.

    Args:
        me: what `whoami` returns.
    """
    return bool(me.get("auth", {}).get("accessToken", {}).get("role") == "read")


def own(api: HfApi, asked: Iterable[Any]) -> list[Any]:
    """Those of some pull requests that this account opened: others' may change at any moment, or bring more.

    Args:
        api: of the Hub, with the token; who that is is asked only where there are any.
        asked: discussions, as `HfApi.get_repo_discussions` has them.
    """
    found = list(asked)
    me = account(api) if found else ""
    return [one for one in found if one.author == me]


def check_write(repo_id: str, *, token: str | None = None, endpoint: str | None = None) -> None:
    """Refuse a repo that this account cannot write to, before any work is done for it.

    Args:
        repo_id: `namespace/name` of the repo to be.
        token: Hub token, by default the one huggingface_hub finds.
        endpoint: the Hub, by default the one huggingface_hub talks to.

    Raises:
        HubError: without a token, with one that only reads, or for a namespace that is not the account's.
    """
    require_repo_id(repo_id)
    api = HfApi(endpoint=endpoint, token=token)
    me = whoami(api)
    namespace = repo_id.split("/")[0]
    own = {str(me["name"]).lower(), *(str(org["name"]).lower() for org in me.get("orgs", ()))}
    if namespace.lower() not in own:
        raise HubError(
            f"The account {me['name']} has no namespace {namespace!r} to push {repo_id} to.",
            f"Push to {me['name']}/{repo_id.split('/')[1]}, or log in as somebody else with `hf auth login`.",
        )
    if reads_only(me):
        raise HubError("This token may only read.", log_in(api))


def ask_access(
    repo_id: str, fields: Mapping[str, Any], *, token: str | None = None, endpoint: str | None = None
) -> str:
    """Ask for access to a gated dose on an embedded Hub; the real Hub only has a page for it.

    Args:
        repo_id: the dataset repo.
        fields: what its access form asks for.
        token: Hub token of who asks.
        endpoint: the Hub, by default the one huggingface_hub talks to.

    Returns:
        "accepted" or "pending".

    Raises:
        HubError: where access can only be asked for in a browser, naming the page, or the Hub refuses.
    """
    require_repo_id(repo_id)
    api = HfApi(endpoint=endpoint, token=token)
    page = page_of(api, repo_id, "dataset")
    with as_hub_error(api, repo_id, "dataset"):
        response = get_session().post(
            f"{api.endpoint}/api/datasets/{repo_id}/ask-access", headers=api._build_hf_headers(), json=dict(fields)
        )
        try:
            hf_raise_for_status(response)
        except RepositoryNotFoundError:
            raise
        except HfHubHTTPError as error:
            if response.status_code not in (404, 405):
                raise
            raise HubError(
                f"{api.endpoint} takes requests for access in a browser only.", f"Ask at {page} while logged in."
            ) from error
        return str(response.json()["status"])
