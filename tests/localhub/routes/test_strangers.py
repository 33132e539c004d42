"""Pull requests by those who may only read: open to them, bounded, and gone when forgotten."""

import os

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

from hfvaccine.localhub.data.database import open_database
from hfvaccine.localhub.routes import strangers
from hfvaccine.localhub.upkeep.fsck import Fsck
from hfvaccine.localhub.upkeep.gc import collect


def put(api, repo_id, path, content, **more):
    return api.create_commit(repo_id, [CommitOperationAdd(path, content)], commit_message=f"put {path}", **more)


def refused(status, attempt, match=""):
    with pytest.raises(HfHubHTTPError, match=match) as error:
        attempt()
    assert error.value.response.status_code == status


@pytest.fixture
def reader(live):
    return live.api("reader")


@pytest.fixture
def hub(live, monkeypatch):
    """The Hub behind the server, with room for 100 kB of each stranger's."""
    monkeypatch.setattr(live.hub._hub, "for_strangers", 100_000)
    return live.hub._hub


def objects(live, repo_id):
    """The files of a repo's git objects."""
    with open_database(live.hub.root) as database:
        (row,) = database.rows("SELECT folder FROM repos WHERE namespace || '/' || name = ?", repo_id)
    return {path for path in (live.hub.root / "repos" / row["folder"] / "objects").rglob("*") if path.is_file()}


def test_a_stranger_proposes_and_the_owner_merges(api, reader, repo_id):
    put(api, repo_id, "old.txt", b"old")
    made = reader.create_commit(
        repo_id,
        [
            CommitOperationAdd("new.txt", b"new"),
            CommitOperationDelete("old.txt"),
        ],
        commit_message="Better",
        create_pr=True,
    )
    put(reader, repo_id, "more.txt", b"more", revision=made.pr_revision)
    pull = reader.create_pull_request(repo_id, "Another")
    put(reader, repo_id, "x.txt", b"x", revision=pull.git_reference)
    assert reader.change_discussion_status(repo_id, pull.num, "open").new_status == "open"
    refused(403, lambda: reader.merge_pull_request(repo_id, 1))
    api.merge_pull_request(repo_id, 1)
    api.merge_pull_request(repo_id, 2)
    assert set(api.list_repo_files(repo_id)) == {".gitattributes", "new.txt", "more.txt", "x.txt"}
    assert api.get_discussion_details(repo_id, 1).author == "reader"


def test_only_into_ones_own_and_no_large_files(live, api, reader, repo_id, data):
    put(api, repo_id, "large.bin", data)
    for who in (api, live.api("outsider")):
        put(who, repo_id, "a.txt", b"a", create_pr=True)
    for revision in ("refs/pr/1", "refs/pr/2"):
        refused(403, lambda revision=revision: put(reader, repo_id, "x", b"x", revision=revision), "belongs to alice")
    refused(403, lambda: put(reader, repo_id, "x", b"x"), "belongs to alice")
    refused(403, lambda: put(reader, repo_id, "x.bin", os.urandom(1000), create_pr=True), "would be a large file")
    batch = {"operation": "upload", "objects": [{"oid": "0" * 64, "size": 5}]}
    assert live.request("POST", f"/{repo_id}.git/info/lfs/objects/batch", "reader", json=batch).status_code == 403
    token = live.request("GET", f"/api/models/{repo_id}/xet-write-token/main?create_pr=1", "reader")
    assert token.status_code == 403
    put(api, repo_id, "b.txt", b"b", revision="refs/pr/2")  # the owner may add to anybody's
    moved = [CommitOperationCopy("large.bin", "moved.bin"), CommitOperationDelete("large.bin")]
    assert reader.create_commit(repo_id, moved, commit_message="move", create_pr=True).pr_num == 3


def test_a_gate_and_a_private_repo_hold_proposals_back(api, reader, repo_id):
    api.update_repo_settings(repo_id, gated="manual")
    for attempt in (
        lambda: put(reader, repo_id, "x", b"x", create_pr=True),
        lambda: reader.create_pull_request(repo_id, "x"),
    ):
        with pytest.raises(GatedRepoError):
            attempt()
    api.grant_access(repo_id, "reader")
    assert put(reader, repo_id, "x", b"x", create_pr=True).pr_num == 1
    api.update_repo_settings(repo_id, private=True)
    refused(404, lambda: put(reader, repo_id, "x", b"x", create_pr=True))


def test_what_a_stranger_may_store_is_bounded(live, hub, api, reader, repo_id):
    put(reader, repo_id, "a.txt", b"a" * 50_000, create_pr=True)
    before = objects(live, repo_id)
    for attempt in (
        lambda: put(reader, repo_id, "b.txt", b"b" * 50_000, create_pr=True),
        lambda: put(reader, repo_id, "b.txt", b"b" * 50_000, revision="refs/pr/1"),
        lambda: put(reader, repo_id, "/".join("abcdefghijklm"), b"", create_pr=True),
        lambda: put(reader, repo_id, "b.txt", b"b", commit_description="b" * 50_000, create_pr=True),
        lambda: reader.create_commit(
            repo_id,
            [CommitOperationAdd(f"{number}.txt", b"b") for number in range(10)],
            commit_message="many",
            create_pr=True,
        ),
    ):
        refused(413, attempt, "you may store 0.1 MB")
    refused(404, lambda: reader.create_commit(  # what is refused for another reason stores nothing either
        repo_id,
        [CommitOperationAdd("c.txt", b"c"), CommitOperationDelete("not-there")],
        commit_message="x",
        create_pr=True,
    ))  # fmt: skip
    assert objects(live, repo_id) == before and len(list(api.get_repo_discussions(repo_id))) == 1
    put(live.api("outsider"), repo_id, "b.txt", b"b" * 50_000, create_pr=True)
    put(api, repo_id, "own.txt", b"o" * 500_000, create_pr=True)
    other = api.create_repo(f"{repo_id}-other").repo_id
    put(reader, other, "b.txt", b"b" * 50_000, create_pr=True)
    api.merge_pull_request(repo_id, 1)  # it is the repo's own now
    put(reader, repo_id, "b.txt", b"b" * 50_000, create_pr=True)
    for _ in range(100):  # also what is empty takes room
        try:
            reader.create_pull_request(repo_id, "again")
        except HfHubHTTPError as error:
            assert error.response.status_code == 413
            break
    else:
        pytest.fail("no end of empty pull requests")


def test_what_a_stranger_says_is_bounded_as_well(live, hub, api, reader, repo_id, monkeypatch):
    text = "\N{MICRO SIGN}" * 10_000  # as it is kept, six bytes each
    put(reader, repo_id, "a.txt", b"a", create_pr=True)
    talk = api.create_discussion(repo_id, "Talk").num
    said = reader.comment_discussion(repo_id, talk, text)
    refused(413, lambda: put(reader, repo_id, "b.txt", b"", revision="refs/pr/1", commit_description=text), "0.1 MB")
    for attempt in (
        lambda: reader.comment_discussion(repo_id, talk, text),
        lambda: reader.comment_discussion(repo_id, 1, text),
        lambda: reader.edit_discussion_comment(repo_id, talk, said.id, text),
        lambda: reader.change_discussion_status(repo_id, 1, "closed", comment=text),
        lambda: reader.create_discussion(repo_id, "More", description=text),
        lambda: reader.create_pull_request(repo_id, "More", description=text),
    ):
        refused(413, attempt, "you may store 0.1 MB")
    assert [one.num for one in api.get_repo_discussions(repo_id)] == [talk, 1]
    live.api("outsider").comment_discussion(repo_id, talk, text)
    for _ in range(3):
        api.comment_discussion(repo_id, 1, text)
    reader.hide_discussion_comment(repo_id, talk, said.id)  # which makes room
    reader.comment_discussion(repo_id, 1, text)
    for attempt in (
        lambda: reader.rename_discussion(repo_id, 1, "b" * 200),
        lambda: reader.create_discussion(repo_id, "Empty"),
    ):
        for _ in range(100):  # also what is short takes room
            try:
                attempt()
            except HfHubHTTPError as error:
                assert error.response.status_code == 413
                break
        else:
            pytest.fail("no end of what is short")
    monkeypatch.setattr(strangers, "FOR_STRANGERS", 100_000)
    hub.for_strangers = 0
    refused(413, lambda: reader.comment_discussion(repo_id, talk, text), "you may store 0.1 MB")


def test_a_hub_that_lets_no_stranger_store_anything(hub, api, reader, repo_id):
    hub.for_strangers = 0
    refused(403, lambda: put(reader, repo_id, "x", b"x", create_pr=True), "belongs to alice")
    refused(403, lambda: reader.create_pull_request(repo_id, "x"))
    put(api, repo_id, "x", b"x", create_pr=True)
    assert reader.create_discussion(repo_id, "Talk").num == 2


def test_forgotten_pull_requests_of_strangers_go(live, api, reader, repo_id):
    for who in (reader, reader, reader, reader, api):
        put(who, repo_id, "x.txt", os.urandom(8).hex().encode(), create_pr=True)
    api.merge_pull_request(repo_id, 1)
    old = "2026-01-01T00:00:00.000Z"
    with open_database(live.hub.root) as database:
        (row,) = database.rows("SELECT id FROM repos WHERE namespace || '/' || name = ?", repo_id)
        database.change("UPDATE discussion_events SET created_at = ? WHERE repo_id = ?", old, row["id"])
        database.change("UPDATE discussions SET stored_at = ? WHERE repo_id = ? AND stored > 0", old, row["id"])
    reader.comment_discussion(repo_id, 2, "Mine is still the best")  # what its author says keeps it no longer
    reader.change_discussion_status(repo_id, 2, "closed")
    api.comment_discussion(repo_id, 3, "Still of interest")
    put(api, repo_id, "y.txt", b"y", revision="refs/pr/4")
    removed = collect(live.hub.root)
    assert removed.pulls == 1 and removed.left_alone == []
    assert [one.num for one in api.get_repo_discussions(repo_id)] == [5, 4, 3, 1]
    refs = api.list_repo_refs(repo_id, include_pull_requests=True).pull_requests
    assert [one.ref for one in refs] == [f"refs/pr/{number}" for number in (1, 3, 4, 5)]
    assert [str(one) for one in Fsck(live.hub.root).run() if repo_id in str(one)] == []
