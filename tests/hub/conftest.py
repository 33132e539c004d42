"""Accounts on an embedded Hub with a cache of their own, and what is pushed there."""

import itertools

import pytest
from doses import small_dose
from finished_runs import finished_run
from huggingface_hub import HfApi, constants

numbers = itertools.count()


@pytest.fixture(scope="module")
def tokens(local):
    return {name: local.add_user(name) for name in ("alice", "reader", "outsider", "ada", "bob", "eve")}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture
def alice(local, tokens):
    """What every call of the publisher is given."""
    return {"endpoint": local.endpoint, "token": tokens["alice"]}


@pytest.fixture
def api(alice):
    """The publisher's client."""
    return HfApi(**alice)


@pytest.fixture
def as_user(local, tokens):
    """`as_user(name)`: somebody's client, or with None nobody's."""
    return lambda name: HfApi(endpoint=local.endpoint, token=tokens[name] if name else False)


@pytest.fixture
def repo_id():
    return f"alice/repo-{next(numbers)}"


@pytest.fixture(scope="session")
def dose(tmp_path_factory):
    """The folder of a dose."""
    return small_dose(tmp_path_factory.mktemp("dose") / "sealed")


@pytest.fixture
def run(tmp_path):
    """The folder of a finished run."""
    return finished_run(tmp_path / "run")


@pytest.fixture
def another(tmp_path):
    """Another one."""
    return finished_run(tmp_path / "another", dose={"name": "Another"})
