"""A live Hub on loopback with three accounts, for unmodified clients."""

import os

os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_UPDATE_DOWNLOAD_COUNTS"] = "0"

import itertools
from collections.abc import Iterator

import httpx2
import pytest
from huggingface_hub import HfApi

from hfvaccine.localhub.server import LocalHub

USERS = ("alice", "reader", "outsider")
_numbers = itertools.count()


class Live:
    """A running Hub and its users' clients."""

    def __init__(self, hub: LocalHub) -> None:
        self.hub = hub
        self._client = httpx2.Client(verify=False)  # a client of its own for each request would double the time
        self.tokens = {name: hub.add_user(name) for name in USERS}

    def api(self, user: str | None) -> HfApi:
        return HfApi(endpoint=self.hub.endpoint, token=self.tokens[user] if user else False)

    def request(self, method: str, path: str, user: str | None = None, token: str = "", **more) -> httpx2.Response:
        """A raw request, for what no client would send."""
        token = token or (self.tokens[user] if user else "")
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **more.pop("headers", {})}
        return self._client.request(method, self.hub.endpoint + path, headers=headers, **more)


@pytest.fixture(scope="session")
def live(tmp_path_factory) -> Iterator[Live]:
    with LocalHub(tmp_path_factory.mktemp("hub")) as hub:
        yield Live(hub)


@pytest.fixture
def api(live) -> HfApi:
    return live.api("alice")


@pytest.fixture
def repo_id(api) -> str:
    """A fresh public model repo of alice."""
    return api.create_repo(f"alice/Repo-{next(_numbers)}").repo_id


@pytest.fixture
def data() -> bytes:
    """Some megabytes that no other test uploads."""
    return os.urandom(3_000_123)
