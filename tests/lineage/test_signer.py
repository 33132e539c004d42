"""The link that says who signed an adapter, beside the chain that says what it is."""

import shutil
from pathlib import Path

import pytest
from finished_runs import finished_run
from hubs import put
from huggingface_hub import HfApi
from keys import make_key

from hfvaccine import hub
from hfvaccine.files import CARD, SIGNATURE
from hfvaccine.hub.signature import Expected, Signer
from hfvaccine.lineage.fetch import papers
from hfvaccine.lineage.links import BROKEN, MISSING, OK, Link
from hfvaccine.lineage.signer import EVERYTHING, with_signer

CHAIN = Link("ada/signed", OK, "all 1 links hold", "", (Link("record", OK, "binds 9 files"),))


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return make_key(tmp_path_factory.mktemp("keys") / "ada.pem")


@pytest.fixture(scope="module")
def pushed(local, key, tmp_path_factory):
    """A signed adapter on the Hub, and its commit."""
    run = finished_run(tmp_path_factory.mktemp("signed") / "run")
    return hub.push_adapter(run, "ada/signed", sign=Signer.of(key[0]))


@pytest.fixture
def download(pushed, tmp_path):
    return Path(HfApi().snapshot_download("ada/signed", revision=pushed.revision, local_dir=tmp_path / "download"))


def seen(source, public=None, patterns=EVERYTHING):
    found = papers(str(source), patterns=patterns)
    chain = with_signer(CHAIN, found, Expected.of(str(public)) if public else None)
    return chain, {link.name: link for link in chain.below}.get("signed by")


def test_the_signer_is_a_link_that_holds_on_the_hub_and_in_a_download(pushed, key, download):
    for source in (f"ada/signed@{pushed.revision}", download):
        chain, link = seen(source, key[1])
        assert (chain.state, link.state, link.what, link.why) == (OK, OK, "ada.pub, 8 files", "")
        assert chain.what == "all 2 links hold"


def test_a_signature_that_nobody_asked_about_is_named_and_proves_nothing(pushed):
    chain, link = seen(f"ada/signed@{pushed.revision}", patterns=())
    assert (chain.state, link.state) == (MISSING, MISSING)
    assert link.what == f"{SIGNATURE} is there" and "give --signer" in link.why


def test_what_is_not_signed_has_a_link_only_where_a_signer_is_expected(download, key):
    (download / SIGNATURE).unlink()
    assert seen(download) == (CHAIN, None)
    chain, link = seen(download, key[1])
    assert (chain.state, link.state) == (BROKEN, BROKEN)
    assert "nobody signed it" in link.why


def test_another_key_is_broken(pushed, tmp_path):
    chain, link = seen(f"ada/signed@{pushed.revision}", make_key(tmp_path / "eve.pem")[1])
    assert (chain.state, link.state) == (BROKEN, BROKEN)
    assert "another key made it" in link.why


def test_what_came_into_the_repo_later_is_broken_and_the_signed_version_holds(local, key, pushed):
    for name, content in (("evil.py", b"x"), (".cache/huggingface/evil.py", b"x"), ("docs/notes.md", b"x")):
        revision = put_raw(name, content)
        link = seen(f"ada/signed@{revision}", key[1])[1]
        assert link.state == BROKEN
        assert link.why.startswith("added after it was signed: ") and name in link.why
    revision = put(HfApi(), "ada/signed", CARD, b"another")
    assert f"changed after it was signed: {CARD}" in seen(f"ada/signed@{revision}", key[1])[1].why
    assert seen("ada/signed@v1", key[1])[1].state == OK


def put_raw(name, content):
    """Add a file beside those that were signed, whatever the client thinks of its name."""
    from huggingface_hub import CommitOperationAdd

    operation = CommitOperationAdd("placeholder", content)
    operation.path_in_repo = name
    api = HfApi()
    return api.create_commit("ada/signed", [operation], commit_message="x", parent_commit=None, revision="main").oid


def test_a_clone_may_hold_what_git_keeps(download, key):
    shutil.rmtree(download / ".cache")
    (download / ".git" / "hooks").mkdir(parents=True)
    (download / ".git" / "hooks" / "x").write_text("x")
    assert seen(download, key[1])[1].state == OK
    (download / ".github").mkdir()
    (download / ".github" / "x").write_text("x")
    assert "added after it was signed: .github/x" in seen(download, key[1])[1].why
