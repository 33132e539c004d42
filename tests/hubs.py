"""Embedded Hubs as tests talk to them, and what is asked of them again and again."""

import datasets
import httpx2
from huggingface_hub import constants, hf_api
from huggingface_hub.errors import HfHubHTTPError

AGREED = "I will not redistribute these claims"
ACCESS = """\
name: A whole policy
access:
  - decide: reject
    reason: "Say what you will do with them."
    when: {Purpose: ""}
  - decide: accept
    when: {affiliation: "*university*", "I will not redistribute these claims": true}
"""
"""A policy with rules of access."""


def talk_to(hub, patch, user=None, cache=None):
    """From now on every client in this process talks to one Hub, unless it is told otherwise.

    Args:
        hub: a running `LocalHub`.
        patch: undoes it.
        user: whose token is found where none is given.
        cache: folder of a cache of its own.
    """
    files = f"{hub.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    patch.setattr(constants, "ENDPOINT", hub.endpoint)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
    patch.setattr(hf_api.api, "endpoint", hub.endpoint)
    patch.setattr(datasets.config, "HF_ENDPOINT", hub.endpoint)
    # Made at its first use, with the endpoint of then: that of a Hub long gone, asked again for half a minute.
    patch.setattr("transformers.utils.hub._hf_api", None)
    if cache:
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    if user:
        patch.setenv("HF_TOKEN", hub.add_user(user))


def put(api, repo_id, path, content, repo_type=None):
    """Add a file to a repo; the commit."""
    return api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=repo_id, repo_type=repo_type).oid


def text_of(api, repo_id, name, repo_type=None):
    return open(api.hf_hub_download(repo_id, name, repo_type=repo_type), encoding="utf-8").read()


def answer(status):
    return httpx2.Response(status, request=httpx2.Request("POST", "http://hub.example/api"), text="Not found")


def refused(status, message="Refused"):
    """What a client raises after such an answer."""
    return HfHubHTTPError(message, response=answer(status), server_message=message)
