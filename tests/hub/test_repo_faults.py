"""Pushes whose n-th request breaks, for every n: what is on the Hub afterwards is as before, or complete."""

import functools
import itertools
import time

import httpx2
import huggingface_hub
import pytest
from doses import make_claims, sealed
from finished_runs import finished_run
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from huggingface_hub.utils._http import default_client_factory

from hfvaccine import hub
from hfvaccine.errors import HubError
from hfvaccine.files import RECALLS, RECORD

numbers = itertools.count()

FAULTS = ["dropped", "answer lost", "timeout", 409, 412, 429, 500, 503]
"""How a request breaks: it never arrives, its answer does not, or the Hub answers with that status."""


class Faults(httpx2.BaseTransport):
    """A transport that breaks one request, or all from one on."""

    def __init__(self):
        self.real = httpx2.HTTPTransport()
        self.made = 0
        self.fault = self.at = None
        self.lasting = False

    def arm(self, fault, at, lasting=False):
        self.made, self.fault, self.at, self.lasting = 0, fault, at, lasting

    def handle_request(self, request):
        number, self.made = self.made, self.made + 1
        breaks = self.fault is not None and (number == self.at or (self.lasting and number > self.at))
        if not breaks:
            return self.real.handle_request(request)
        if self.fault == "dropped":
            raise httpx2.ConnectError("connection refused", request=request)
        if self.fault == "timeout":
            raise httpx2.ReadTimeout("timed out", request=request)
        if self.fault == "answer lost":
            self.real.handle_request(request).read()
            raise httpx2.RemoteProtocolError("server disconnected without sending a response", request=request)
        return httpx2.Response(self.fault, request=request, json={"error": "Broken on purpose"})


@pytest.fixture
def faults(monkeypatch):
    """The layer that breaks requests; nobody sleeps before trying again."""
    layer = Faults()

    def client():
        made = default_client_factory()
        made._transport, made._mounts = layer, {}
        return made

    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    huggingface_hub.set_client_factory(client)
    yield layer
    huggingface_hub.set_client_factory(default_client_factory)


def sealed_as(into, name):
    return sealed(into, make_claims(4, domain=name), name=name).path


def run_named(into, name):
    return finished_run(into, dose={"name": name})


class Doses:
    kind, marker = "dataset", "manifest.json"
    make, push = staticmethod(sealed_as), staticmethod(hub.push_dose)


class Adapters:
    kind, marker = "model", RECORD
    make, push = staticmethod(run_named), staticmethod(hub.push_adapter)


@pytest.fixture(scope="module", params=[Doses, Adapters], ids=["dose", "adapter"])
def what(request, tmp_path_factory):
    """What is pushed; `version(n)` is the folder of its n-th version, none of whose data any other has."""
    folder = tmp_path_factory.mktemp("sources")
    thing = request.param()
    thing.version = functools.cache(lambda n: thing.make(folder / str(n), f"Version {n}"))
    return thing


def state(api, repo_id, kind):
    """What can be seen of a repo; None where there is none."""
    if not api.repo_exists(repo_id, repo_type=kind):
        return None
    info = api.repo_info(repo_id, repo_type=kind, files_metadata=True)
    refs = api.list_repo_refs(repo_id, repo_type=kind)
    return {
        "files": {f.rfilename: f.blob_id for f in info.siblings if f.rfilename != ".gitattributes"},
        "gated": info.gated,
        "private": info.private,
        "commits": len(api.list_repo_commits(repo_id, repo_type=kind)),
        "tags": {tag.name: tag.target_commit for tag in refs.tags},
        "head": info.sha,
    }


def require_shut(api, repo_id, kind):
    """Nobody else may ever read what belongs behind a gate."""
    with pytest.raises((GatedRepoError, RepositoryNotFoundError)):
        api.auth_check(repo_id, repo_type=kind)


def break_each(what, faults, as_user, alice, fault, update, lasting=False):
    """Push with the n-th request broken, for every n until a push no longer comes to it; how many there were."""
    api, outsider = as_user("alice"), as_user("outsider")
    repo_id = f"alice/repo-{next(numbers)}"
    if update:
        what.push(what.version(0), repo_id, **alice)
        if what.kind == "model":
            api.upload_file(path_or_fileobj=b"{}\n", path_in_repo=RECALLS, repo_id=repo_id, commit_message="A recall")
    for n in itertools.count():
        if not update:
            repo_id = f"alice/repo-{next(numbers)}"
        source = what.version(n + 1 if update else 0)
        before = state(api, repo_id, what.kind) if update else None

        faults.arm(fault, n, lasting)
        failed = None
        try:
            what.push(source, repo_id, **alice)
        except HubError as error:
            failed = error
        reached = faults.made > n
        faults.arm(None, None)
        after = done = state(api, repo_id, what.kind)
        if what.kind == "dataset" and after is not None:
            require_shut(outsider, repo_id, what.kind)
        if failed:
            assert failed.next_step
            what.push(source, repo_id, **alice)
            done = state(api, repo_id, what.kind)

        # In the end there is what one push makes: one commit for this content, and its tag.
        assert done["commits"] == (before["commits"] if before else 1) + 1, (n, failed)
        assert done["tags"] == {**(before["tags"] if before else {}), f"v{n + 2 if update else 1}": done["head"]}
        assert what.marker in done["files"]
        assert (RECALLS in done["files"]) == (update and what.kind == "model")
        assert done["gated"] == ("manual" if what.kind == "dataset" else False)

        # What the broken one left is what was there before, or all of what was to come.
        empty = after is not None and before is None and not after["files"] and after["private"]
        unchanged = after == before or (empty and lasting)
        assert unchanged or (after["files"], after["head"]) == (done["files"], done["head"]), (n, failed, after)
        if not empty:  # an empty private repo may be anybody's: for its owner to open
            assert not done["private"], (n, failed)
        if not reached:
            return n


OFTEN = ["answer lost"]
"""What is tried each time, since the Hub has done it; the rest ends in the same places and is slow."""


@pytest.mark.parametrize("update", [False, True], ids=["first push", "update"])
@pytest.mark.parametrize(
    "fault", [fault if fault in OFTEN else pytest.param(fault, marks=pytest.mark.slow) for fault in FAULTS]
)
def test_a_push_with_one_broken_request_leaves_all_or_nothing(what, faults, as_user, alice, fault, update):
    assert break_each(what, faults, as_user, alice, fault, update) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("update", [False, True], ids=["first push", "update"])
@pytest.mark.parametrize("fault", ["dropped", *OFTEN, 503])
def test_a_push_during_which_the_hub_goes_away_leaves_all_or_nothing(what, faults, as_user, alice, fault, update):
    assert break_each(what, faults, as_user, alice, fault, update, lasting=True) >= 8
