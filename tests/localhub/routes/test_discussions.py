"""Pull requests, discussions and squashing, by the clients that people use."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from dulwich.repo import Repo as GitRepo
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    BadRequestError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from localhub.routes.test_browser import Visitor

from hfvaccine.localhub.data.database import open_database
from hfvaccine.localhub.server import LocalHub
from hfvaccine.localhub.store.diff import LARGEST, diff_of
from hfvaccine.localhub.store.repository import Change
from hfvaccine.localhub.upkeep.fsck import Fsck
from hfvaccine.localhub.upkeep.gc import collect


def put(api, repo_id, path, content, **more):
    return api.upload_file(
        path_or_fileobj=content.encode(), path_in_repo=path, repo_id=repo_id, commit_message=f"put {path}", **more
    )


def names(api, repo_id, revision="main"):
    return sorted(set(api.list_repo_files(repo_id, revision=revision)) - {".gitattributes"})


def text(api, repo_id, path, tmp_path, revision="main"):
    return Path(api.hf_hub_download(repo_id, path, revision=revision, local_dir=tmp_path)).read_text()


@pytest.fixture
def pull(api, repo_id):
    """The pull request #1, which changes `old.txt`."""
    put(api, repo_id, "old.txt", "1\n2\n3\n4\n5\n6\n7\n8\n9\n")
    put(api, repo_id, "gone.txt", "gone")
    return api.create_commit(
        repo_id,
        [
            CommitOperationAdd("old.txt", b"1\n2\n3\n4\nFIVE\n6\n7\n8\n9\n"),
            CommitOperationAdd("new/file.txt", b"no newline"),
            CommitOperationDelete("gone.txt"),
        ],
        commit_message="Better numbers",
        commit_description="As *promised*.",
        create_pr=True,
    )


def test_a_commit_opens_a_pull_request(live, api, repo_id, pull, tmp_path):
    assert pull.pr_url == f"{live.hub.endpoint}/{repo_id}/discussions/1"
    assert (pull.pr_num, pull.pr_revision) == (1, "refs/pr/1")
    assert names(api, repo_id) == ["gone.txt", "old.txt"]
    assert names(api, repo_id, "refs/pr/1") == ["new/file.txt", "old.txt"]
    told = api.get_discussion_details(repo_id, 1)
    assert (told.title, told.author, told.status, told.is_pull_request) == ("Better numbers", "alice", "open", True)
    assert (told.repo_id, told.repo_type, told.url) == (repo_id, "model", pull.pr_url)
    assert (told.target_branch, told.conflicting_files, told.merge_commit_oid) == ("refs/heads/main", [], None)
    first, second = told.events
    assert (first.type, first.content, first.author, first.edited) == ("comment", "As *promised*.", "alice", False)
    assert first.rendered == "<p>As <em>promised</em>.</p>\n"
    assert (second.type, second.summary, second.oid) == ("commit", "Better numbers", pull.oid)
    refs = api.list_repo_refs(repo_id, include_pull_requests=True)
    assert [(one.ref, one.target_commit) for one in refs.pull_requests] == [("refs/pr/1", pull.oid)]
    assert api.list_repo_refs(repo_id).pull_requests is None
    assert "pullRequests" not in live.request("GET", f"/api/models/{repo_id}/refs").json()


def test_the_diff_can_be_applied(api, repo_id, pull, tmp_path):
    diff = api.get_discussion_details(repo_id, 1).diff
    assert "-5\n+FIVE\n" in diff and "deleted file mode" in diff and "\\ No newline at end of file" in diff
    api.snapshot_download(repo_id, local_dir=tmp_path)
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=diff.encode(), check=True)
    assert (tmp_path / "old.txt").read_text() == "1\n2\n3\n4\nFIVE\n6\n7\n8\n9\n"
    assert (tmp_path / "new/file.txt").read_text() == "no newline" and not (tmp_path / "gone.txt").exists()


def test_diffs_of_all_kinds(tmp_path):
    texts = [
        "",
        "a",
        "a\n",
        "\n",
        "a\nb",
        "b\na\n",
        "a\nb\nc\nd\ne\nf\ng\nh\n",
        "x\na\nb\nc\nd\nf\ng\nh\ny",
        "a\r\nb\n",
    ]
    for old in [None, *texts]:
        for new in [None, *texts]:
            if old == new:
                continue
            place = tmp_path / "f.txt"
            place.unlink(missing_ok=True)
            if old is not None:
                place.write_bytes(old.encode())
            blobs = {b"1": (old or "").encode(), b"2": (new or "").encode()}
            change = Change("f.txt", None if old is None else b"1", None if new is None else b"2")
            diff = diff_of([change], lambda oid, blobs=blobs: blobs[oid.encode()])
            done = subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=diff.encode(), capture_output=True)
            assert done.returncode == 0, (old, new, diff, done.stderr)
            assert (place.read_bytes().decode() if place.exists() else None) == new, diff
    for data in (b"\0", b"\xff", b"x" * LARGEST + b"y"):
        told = diff_of([Change("f", None, b"1"), Change("g", b"1", b"1")], lambda oid, data=data: data)
        assert "Binary files /dev/null and b/f differ" in told and len(told) < 500


def test_more_commits_and_a_fast_forward(api, repo_id, pull, tmp_path):
    second = put(api, repo_id, "more.txt", "more", revision="refs/pr/1")
    assert second.oid != pull.oid
    api.merge_pull_request(repo_id, 1, comment="Thank you")
    assert api.model_info(repo_id).sha == second.oid
    assert names(api, repo_id) == ["more.txt", "new/file.txt", "old.txt"]
    told = api.get_discussion_details(repo_id, 1)
    assert (told.status, told.merge_commit_oid, told.conflicting_files) == ("merged", second.oid, [])
    assert [one.type for one in told.events] == ["comment", "commit", "commit", "comment", "status-change"]
    assert told.events[-1].new_status == "merged" and told.events[-2].content == "Thank you"
    assert "+FIVE" in told.diff
    for attempt in (
        lambda: api.merge_pull_request(repo_id, 1),
        lambda: put(api, repo_id, "late.txt", "x", revision="refs/pr/1"),
        lambda: api.change_discussion_status(repo_id, 1, "closed"),
    ):
        with pytest.raises(BadRequestError, match="#1 is merged"):
            attempt()


def test_what_opened_it_comes_first_however_long_that_took(live, api, repo_id, pull):
    with open_database(live.hub.root) as database:
        number = database.row("SELECT id FROM repos WHERE name = ?", repo_id.partition("/")[2])["id"]
        database.change(
            "UPDATE discussion_events SET created_at = '2099-01-01T00:00:00.000Z' WHERE repo_id = ?", number
        )
    assert [one.type for one in api.get_discussion_details(repo_id, 1).events] == ["comment", "commit"]


def test_a_merge_of_two_sides(api, repo_id, pull, tmp_path):
    main = put(api, repo_id, "new/other.txt", "other")
    api.merge_pull_request(repo_id, 1)
    assert names(api, repo_id) == ["new/file.txt", "new/other.txt", "old.txt"]
    assert "FIVE" in text(api, repo_id, "old.txt", tmp_path)
    merge, *before = api.list_repo_commits(repo_id)
    assert merge.title == "Merge #1: Better numbers" and {pull.oid, main.oid} <= {one.commit_id for one in before}
    assert api.get_discussion_details(repo_id, 1).merge_commit_oid == merge.commit_id
    # What the pull request changed alone, as before.
    assert "other.txt" not in api.get_discussion_details(repo_id, 1).diff


@pytest.mark.parametrize(
    ("operation", "clashing"),
    [
        (CommitOperationAdd("old.txt", b"other"), ["old.txt"]),
        (CommitOperationDelete("old.txt"), ["old.txt"]),
        (CommitOperationAdd("gone.txt", b"back"), ["gone.txt"]),
        (CommitOperationAdd("new", b"a file"), ["new/file.txt"]),
        (CommitOperationAdd("new/file.txt/below.txt", b"x"), ["new/file.txt/below.txt"]),
    ],
)
def test_clashes_are_refused_and_told(live, api, repo_id, pull, operation, clashing):
    head = api.create_commit(repo_id, [operation], commit_message="meanwhile").oid
    assert api.get_discussion_details(repo_id, 1).conflicting_files == clashing
    with pytest.raises(
        HfHubHTTPError, match=f"#1 cannot be merged: main has other changes to {clashing[0]}"
    ) as refused:
        api.merge_pull_request(repo_id, 1)
    assert refused.value.response.status_code == 409
    assert refused.value.response.json()["filesWithConflicts"] == clashing
    assert api.model_info(repo_id).sha == head and api.get_discussion_details(repo_id, 1).status == "open"


def test_the_same_change_on_both_sides_is_no_clash(api, repo_id, pull):
    api.create_commit(repo_id, [CommitOperationDelete("gone.txt")], commit_message="same")
    put(api, repo_id, "new/file.txt", "no newline")
    api.merge_pull_request(repo_id, 1)
    assert names(api, repo_id) == ["new/file.txt", "old.txt"]


def test_for_another_branch_and_from_another_commit(live, api, repo_id):
    first = put(api, repo_id, "a.txt", "a")
    api.create_branch(repo_id, branch="work")
    head = put(api, repo_id, "b.txt", "b", revision="work")
    made = put(api, repo_id, "c.txt", "c", revision="work", create_pr=True)
    early = put(api, repo_id, "d.txt", "d", revision="work", create_pr=True, parent_commit=first.oid)
    assert api.get_discussion_details(repo_id, made.pr_num).target_branch == "refs/heads/work"
    assert names(api, repo_id, early.pr_revision) == ["a.txt", "d.txt"]
    for num in (made.pr_num, early.pr_num):
        api.merge_pull_request(repo_id, num)
    assert names(api, repo_id, "work") == ["a.txt", "b.txt", "c.txt", "d.txt"] and names(api, repo_id) == ["a.txt"]
    with pytest.raises(RevisionNotFoundError):
        put(api, repo_id, "x", "x", create_pr=True, revision=first.oid)
    with pytest.raises(HfHubHTTPError, match="is not on main") as refused:
        put(api, repo_id, "x", "x", create_pr=True, parent_commit=head.oid)
    assert refused.value.response.status_code == 412
    late = put(api, repo_id, "e.txt", "e", revision="work", create_pr=True)
    assert late.pr_num == 3  # what was refused used up no number
    api.delete_branch(repo_id, branch="work")
    assert api.get_discussion_details(repo_id, 3).conflicting_files is True
    with pytest.raises(HfHubHTTPError, match="work was squashed or deleted"):
        api.merge_pull_request(repo_id, 3)


def test_an_empty_pull_request_that_is_filled_later(api, repo_id):
    pull = api.create_pull_request(repo_id, "Later", description="wait")
    assert (pull.num, pull.git_reference, pull.status, pull.diff) == (1, "refs/pr/1", "draft", "")
    with pytest.raises(BadRequestError, match="no commits"):
        api.merge_pull_request(repo_id, 1)
    put(api, repo_id, "a.txt", "a", revision=pull.git_reference)
    with pytest.raises(BadRequestError, match="is a draft"):
        api.merge_pull_request(repo_id, 1)
    assert names(api, repo_id) == []
    assert [one.num for one in api.get_repo_discussions(repo_id, discussion_status="open")] == [1]
    assert api.change_discussion_status(repo_id, 1, "open").new_status == "open"
    with pytest.raises(BadRequestError, match="open already"):
        api.change_discussion_status(repo_id, 1, "open")
    api.merge_pull_request(repo_id, 1)
    assert names(api, repo_id) == ["a.txt"]


def test_a_draft_that_is_closed_and_opened_again_is_none_any_more(live, api, repo_id):
    api.create_pull_request(repo_id, "Later")
    put(api, repo_id, "b.txt", "b")
    put(api, repo_id, "b.txt", "other", revision="refs/pr/1")
    assert api.get_discussion_details(repo_id, 1).conflicting_files == ["b.txt"]
    page, alice = f"/{repo_id}/discussions/1", Visitor(live, "alice")
    shown = alice.get(page).text
    assert 'value="open"' in shown and 'value="closed"' in shown and 'value="merge"' not in shown
    api.change_discussion_status(repo_id, 1, "closed")
    with pytest.raises(BadRequestError, match="is closed"):
        put(api, repo_id, "c.txt", "c", revision="refs/pr/1")
    api.change_discussion_status(repo_id, 1, "open")
    assert api.get_discussion_details(repo_id, 1).status == "open"


def test_many_at_once(api, repo_id):
    def propose(number):
        return put(api, repo_id, f"{number}.txt", "x", create_pr=True).pr_num

    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(propose, range(8)))
        assert sorted(numbers) == list(range(1, 9))
        list(pool.map(lambda num: api.merge_pull_request(repo_id, num), numbers))
    assert names(api, repo_id) == [f"{number}.txt" for number in range(8)]
    assert {one.status for one in api.get_repo_discussions(repo_id)} == {"merged"}


def test_references_that_are_no_pull_request(live, api, repo_id):
    api.create_discussion(repo_id, "Only talk")
    for revision in ("refs/pr/1", "refs/pr/7", "refs/pr/0", "refs/pr/x"):
        with pytest.raises(RevisionNotFoundError):
            put(api, repo_id, "x", "x", revision=revision)
        with pytest.raises(BadRequestError):
            api.create_branch(repo_id, branch=revision)
    with pytest.raises(BadRequestError, match="no commits"):
        api.merge_pull_request(repo_id, 1)
    for num in ("7", "0", "-1", "x", "9" * 30, "%00"):
        assert live.request("GET", f"/api/models/{repo_id}/discussions/{num}").status_code == 404


FOLDER = """
import sys
from huggingface_hub import HfApi, constants
assert not constants.HF_HUB_DISABLE_XET
api = HfApi(endpoint=sys.argv[1], token=sys.argv[2])
made = api.upload_folder(repo_id=sys.argv[3], folder_path=sys.argv[4], create_pr=True)
assert made.pr_revision == "refs/pr/1", made
one = api.upload_file(repo_id=sys.argv[3], path_or_fileobj=b"X" * 300_000, path_in_repo="x.bin", create_pr=True)
assert one.pr_revision == "refs/pr/2", one
"""


def test_a_folder_over_xet(live, api, repo_id, data, tmp_path, monkeypatch):
    (tmp_path / "up").mkdir()
    (tmp_path / "up/large.bin").write_bytes(data)
    (tmp_path / "up/a.txt").write_text("a")
    monkeypatch.delenv("HF_HUB_DISABLE_XET", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    command = [sys.executable, "-c", FOLDER, live.hub.endpoint, live.tokens["alice"], repo_id, str(tmp_path / "up")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert names(api, repo_id) == [] and names(api, repo_id, "refs/pr/1") == ["a.txt", "large.bin"]
    assert names(api, repo_id, "refs/pr/2") == ["x.bin"]
    api.change_discussion_status(repo_id, 1, "open")  # as the client says, what upload_folder opens is a draft
    api.merge_pull_request(repo_id, 1)
    api.merge_pull_request(repo_id, 2)
    assert names(api, repo_id) == ["a.txt", "large.bin", "x.bin"]
    assert Path(api.hf_hub_download(repo_id, "large.bin", local_dir=tmp_path / "down")).read_bytes() == data


def test_a_discussion_from_end_to_end(live, api, repo_id):
    reader = live.api("reader")
    opened = reader.create_discussion(repo_id, "  A   question ", description="Why?")
    assert (opened.num, opened.title, opened.is_pull_request, opened.diff) == (1, "A question", False, None)
    answer = api.comment_discussion(repo_id, 1, "Because **so**.")
    assert answer.content == "Because **so**." and answer.author == "alice"
    edited = api.edit_discussion_comment(repo_id, 1, answer.id, "Because.")
    assert (edited.content, edited.edited, edited.number_of_edits, edited.last_edited_by) == (
        "Because.",
        True,
        1,
        "alice",
    )
    assert edited.last_edited_at >= answer.created_at
    renamed = reader.rename_discussion(repo_id, 1, "An answer")
    assert (renamed.old_title, renamed.new_title) == ("A question", "An answer")
    closed = reader.change_discussion_status(repo_id, 1, "closed", comment="Fine.")
    assert closed.new_status == "closed"
    with pytest.raises(BadRequestError, match="closed already"):
        api.change_discussion_status(repo_id, 1, "closed")
    api.change_discussion_status(repo_id, 1, "open")
    with pytest.warns(UserWarning):
        hidden = api.hide_discussion_comment(repo_id, 1, answer.id)
    assert hidden.hidden and hidden.content == "" and hidden.rendered == ""
    with pytest.raises(BadRequestError, match="hidden"):
        api.edit_discussion_comment(repo_id, 1, answer.id, "Back")
    told = live.api(None).get_discussion_details(repo_id, 1)
    assert [one.type for one in told.events] == ["comment", "comment", "title-change", "comment"] + [
        "status-change"
    ] * 2
    assert "Because" not in live.request("GET", f"/api/models/{repo_id}/discussions/1").text


def test_who_may_do_what(live, api, repo_id, pull):
    reader, outsider = live.api("reader"), live.api("outsider")
    reader.create_discussion(repo_id, "Mine")
    said = reader.comment_discussion(repo_id, 1, "A word")
    for attempt in (
        lambda: put(reader, repo_id, "x", "x", revision="refs/pr/1"),
        lambda: reader.merge_pull_request(repo_id, 1),
        lambda: reader.rename_discussion(repo_id, 1, "No"),
        lambda: reader.change_discussion_status(repo_id, 1, "closed"),
        lambda: outsider.change_discussion_status(repo_id, 2, "closed"),
        lambda: outsider.edit_discussion_comment(repo_id, 1, said.id, "No"),
        lambda: api.edit_discussion_comment(repo_id, 1, said.id, "No"),
        lambda: outsider.hide_discussion_comment(repo_id, 1, said.id),
        lambda: reader.super_squash_history(repo_id),
    ):
        with pytest.raises(HfHubHTTPError) as refused:
            attempt()
        assert refused.value.response.status_code == 403
    with pytest.raises(HfHubHTTPError) as refused:
        live.api(None).create_discussion(repo_id, "No")
    assert refused.value.response.status_code == 401
    with pytest.raises(HfHubHTTPError, match="no such comment"):
        reader.edit_discussion_comment(repo_id, 2, said.id, "of another discussion")
    assert reader.edit_discussion_comment(repo_id, 1, said.id, "Mine").content == "Mine"
    assert reader.change_discussion_status(repo_id, 2, "closed").new_status == "closed"
    api.update_repo_settings(repo_id, gated="manual")
    for attempt in (reader.get_discussion_details, lambda *_: reader.comment_discussion(repo_id, 2, "x")):
        with pytest.raises(GatedRepoError):
            attempt(repo_id, 2)
    assert [one.num for one in reader.get_repo_discussions(repo_id)] == [2, 1]
    api.update_repo_settings(repo_id, private=True)
    with pytest.raises(RepositoryNotFoundError):
        list(reader.get_repo_discussions(repo_id))


def test_the_list(live, api, repo_id):
    for number in range(52):
        api.create_discussion(repo_id, f"Talk {number}")
    api.create_pull_request(repo_id, "Pull")
    live.api("reader").create_discussion(repo_id, "Theirs")
    api.change_discussion_status(repo_id, 1, "closed")

    def listed(**more):
        return [one.num for one in api.get_repo_discussions(repo_id, **more)]

    assert listed() == list(range(54, 0, -1))
    assert listed(discussion_type="pull_request") == [53] and 53 not in listed(discussion_type="discussion")
    assert listed(discussion_status="closed") == [1] and len(listed(discussion_status="open")) == 53
    assert listed(author="Reader") == [54] and listed(author="nobody") == []
    assert live.request("GET", f"/api/models/{repo_id}/discussions?type=x").status_code == 400
    assert "Talk 5<" in Visitor(live).get(f"/{repo_id}/discussions").text.replace("</bdi>", "<")


@pytest.mark.parametrize("title", [None, "", " ", "x" * 201, 5])
def test_titles_and_texts_that_are_refused(live, api, repo_id, title):
    path = f"/api/models/{repo_id}/discussions"
    assert live.request("POST", path, "alice", json={"title": title}).status_code == 400
    assert live.request("POST", path, "alice", json={"title": "x", "description": "x" * 10_001}).status_code == 400
    assert live.request("POST", path, "alice", json={"title": "x"}).json()["num"] == 1
    for body in ({}, {"comment": " "}, {"comment": 5}, {"comment": "x" * 10_001}):
        assert live.request("POST", f"{path}/1/comment", "alice", json=body).status_code == 400
    assert live.request("POST", f"{path}/1/status", "alice", json={"status": "merged"}).status_code == 400
    assert live.request("POST", f"{path}/1/title", "alice", json={"title": title}).status_code == 400


def test_a_long_message_opens_a_pull_request_all_the_same(api, repo_id):
    made = api.create_commit(
        repo_id,
        [CommitOperationAdd("a", b"a")],
        commit_message="word " * 100,
        commit_description="y" * 30_000,
        create_pr=True,
    )
    told = api.get_discussion_details(repo_id, made.pr_num)
    assert len(told.title) <= 200 and len(told.events[0].content) == 10_000


def test_squashing(live, api, repo_id, pull, tmp_path):
    put(api, repo_id, "c.txt", "c")
    old = api.model_info(repo_id).sha
    api.super_squash_history(repo_id, commit_message="All at once")
    (only,) = api.list_repo_commits(repo_id)
    assert (only.title, only.authors) == ("All at once", ["alice"])
    assert names(api, repo_id) == ["c.txt", "gone.txt", "old.txt"] and only.commit_id != old
    # Merging what began before would bring the history back.
    assert api.get_discussion_details(repo_id, 1).conflicting_files is True
    with pytest.raises(HfHubHTTPError, match="main was squashed"):
        api.merge_pull_request(repo_id, 1)
    assert len(api.list_repo_commits(repo_id)) == 1
    api.create_tag(repo_id, tag="v1")
    for name, error in (
        ("missing", RevisionNotFoundError),
        ("v1", RevisionNotFoundError),
        ("refs/pr/7", RevisionNotFoundError),
        ("refs/tags/v1", BadRequestError),
    ):
        with pytest.raises(error):
            api.super_squash_history(repo_id, branch=name)
    api.create_branch(repo_id, branch="work")
    put(api, repo_id, "d.txt", "d", revision="work")
    api.super_squash_history(repo_id, branch="work")
    assert [one.title for one in api.list_repo_commits(repo_id, revision="work")] == [
        "Super-squash branch 'work' using huggingface_hub"
    ]
    assert len(api.list_repo_commits(repo_id)) == 1


def test_squashing_a_pull_request(live, api, repo_id, pull, tmp_path):
    put(api, repo_id, "late.txt", "late", revision="refs/pr/1")
    put(api, repo_id, "c.txt", "c")
    before = api.get_discussion_details(repo_id, 1).diff
    base = api.list_repo_commits(repo_id)[1].commit_id
    api.super_squash_history(repo_id, branch="refs/pr/1", commit_message="All at once")
    only, parent, *_ = api.list_repo_commits(repo_id, revision="refs/pr/1")
    assert (only.title, parent.commit_id) == ("All at once", base)
    told = api.get_discussion_details(repo_id, 1)
    assert (told.diff, told.conflicting_files) == (before, [])
    assert [one.summary for one in told.events if one.type == "commit"] == ["All at once"]
    put(api, repo_id, "later.txt", "later", revision="refs/pr/1")
    api.merge_pull_request(repo_id, 1)
    assert names(api, repo_id) == ["c.txt", "late.txt", "later.txt", "new/file.txt", "old.txt"]
    assert "Better numbers" not in {one.title for one in api.list_repo_commits(repo_id)}
    with pytest.raises(BadRequestError, match="#1 is merged"):
        api.super_squash_history(repo_id, branch="refs/pr/1")
    api.create_pull_request(repo_id, "Empty")
    with pytest.raises(BadRequestError, match="no commits"):
        api.super_squash_history(repo_id, branch="refs/pr/2")
    api.create_discussion(repo_id, "Talk")
    with pytest.raises(RevisionNotFoundError):
        api.super_squash_history(repo_id, branch="refs/pr/3")


def test_pages(live, api, repo_id, pull):
    page = f"/{repo_id}/discussions/1"
    reader, alice = Visitor(live, "reader"), Visitor(live, "alice")
    shown = reader.get(page)
    assert "Better numbers" in shown.text and "<em>promised</em>" in shown.text and "new/file.txt" in shown.text
    assert 'value="merge"' not in shown.text and 'value="closed"' not in shown.text and "FIVE" not in shown.text
    said = "<script>alert(1)</script>\n\n[x](javascript:alert(1)) ![](http://x.example/a.png) **bold**"
    fields = {"csrf": reader.csrf(page), "action": "comment", "text": said}
    assert reader.post(page, fields).status_code == 303
    shown = alice.get(page)
    assert "<strong>bold</strong>" in shown.text and 'value="merge"' in shown.text
    assert "<script" not in shown.text and 'href="javascript' not in shown.text
    assert "<img" not in shown.text
    for action in ("merge", "closed"):
        assert reader.post(page, {**fields, "action": action, "text": ""}).status_code == 403
    assert reader.post(page, {**fields, "action": "nonsense", "text": ""}).status_code == 403
    mine = {"csrf": alice.csrf(page), "text": ""}
    assert alice.post(page, {**mine, "action": "nonsense"}).status_code == 400
    assert alice.post(page, {**mine, "action": "merge", "csrf": "0" * 64}).status_code == 403
    for action, status in (("closed", "closed"), ("open", "open"), ("merge", "merged")):
        assert alice.post(page, {**mine, "action": action}).status_code == 303
        assert api.get_discussion_details(repo_id, 1).status == status
    assert names(api, repo_id) == ["new/file.txt", "old.txt"]
    assert 'value="merge"' not in alice.get(page).text
    assert alice.post(page, {**mine, "action": "merge"}).status_code == 400
    api.update_repo_settings(repo_id, gated="manual")
    shown = reader.get(page)
    assert "promised" not in shown.text and "new/file.txt" in shown.text and "<textarea" not in shown.text
    assert reader.post(page, fields).status_code == 403
    assert Visitor(live).get(f"/{repo_id}/discussions/99").status_code == 404


def test_what_clashes_is_on_the_page(live, api, repo_id, pull):
    put(api, repo_id, "old.txt", "other")
    alice = Visitor(live, "alice")
    shown = alice.get(f"/{repo_id}/discussions/1").text
    assert "has other changes to <bdi>old.txt</bdi>" in shown and 'value="merge"' not in shown
    fields = {"csrf": alice.csrf(f"/{repo_id}/discussions/1"), "action": "merge"}
    answer = alice.post(f"/{repo_id}/discussions/1", fields)
    assert answer.status_code == 409 and "cannot be merged" in answer.text


@contextmanager
def stopped(root):
    """A Hub of its own with a pull request, and then the folder that it leaves."""
    with LocalHub(root) as hub:
        api = HfApi(endpoint=hub.endpoint, token=hub.add_user("alice"))
        repo_id = api.create_repo("alice/m").repo_id
        made = put(api, repo_id, "a.txt", "a", create_pr=True)
    (folder,) = (root / "repos").iterdir()
    with GitRepo(folder) as git:
        yield git, made.oid


def served(root, look):
    with LocalHub(root) as hub:
        return look(HfApi(endpoint=hub.endpoint, token=hub.add_user("alice")))


@pytest.mark.parametrize("moved", [False, True])
def test_a_merge_that_was_killed_half_way(tmp_path, moved):
    with stopped(tmp_path) as (git, head), open_database(tmp_path) as database:
        database.change("UPDATE discussions SET merge_oid = ?, merger_id = 1", head)
        if moved:
            git.refs[b"refs/heads/main"] = head.encode()
    for _ in range(2):
        told = served(tmp_path, lambda api: api.get_discussion_details("alice/m", 1))
        assert (told.status, told.merge_commit_oid) == (("merged", head) if moved else ("open", None))
        assert [one.type for one in told.events] == ["comment", "commit"] + ["status-change"] * moved
    if not moved:
        served(tmp_path, lambda api: api.merge_pull_request("alice/m", 1))
    assert served(tmp_path, lambda api: api.model_info("alice/m").sha) == head


@pytest.mark.parametrize("kind", ["commit", "pull request", "discussion"])
def test_an_opening_that_was_killed_half_way(tmp_path, kind):
    with stopped(tmp_path) as (git, head):
        git.refs[b"refs/pr/2"] = head.encode()
    assert [str(one) for one in Fsck(tmp_path).run()] == ["note: models/alice/m: refs/pr/2 belongs to no pull request"]

    def open_next(api):
        if kind == "commit":
            return put(api, "alice/m", "b.txt", "b", create_pr=True).pr_num
        return api.create_discussion("alice/m", "next", pull_request=kind == "pull request").num

    assert served(tmp_path, open_next) == 2
    assert list(Fsck(tmp_path).run()) == []
    if kind != "discussion":
        assert served(tmp_path, lambda api: names(api, "alice/m", "refs/pr/2")) == ["b.txt"] * (kind == "commit")


def test_a_pull_request_without_its_reference(tmp_path):
    with stopped(tmp_path) as (git, _):
        git.refs.remove_if_equals(b"refs/pr/1", None)
    assert [str(one) for one in Fsck(tmp_path).run()] == ["error: models/alice/m: pull request 1 has no refs/pr/1"]
    with pytest.raises(RevisionNotFoundError):
        served(tmp_path, lambda api: api.get_discussion_details("alice/m", 1))


def test_collecting_keeps_pull_requests(tmp_path):
    with stopped(tmp_path):
        pass
    served(tmp_path, lambda api: api.super_squash_history("alice/m"))
    assert collect(tmp_path, grace=-1).left_alone == [] and list(Fsck(tmp_path).run()) == []
    assert served(tmp_path, lambda api: names(api, "alice/m", "refs/pr/1")) == ["a.txt"]
    assert "+a" in served(tmp_path, lambda api: api.get_discussion_details("alice/m", 1)).diff


def test_deleting_a_repo_removes_what_was_said(live, api, repo_id, pull):
    api.move_repo(repo_id, f"{repo_id}-moved")
    assert api.get_discussion_details(repo_id, 1).repo_id == f"{repo_id}-moved"
    api.delete_repo(f"{repo_id}-moved")
    api.create_repo(repo_id)
    assert list(api.get_repo_discussions(repo_id)) == []
    assert put(api, repo_id, "a", "a", create_pr=True).pr_num == 1
    with open_database(live.hub.root) as database:
        rows = database.rows(
            "SELECT num FROM discussions WHERE repo_id NOT IN (SELECT id FROM repos)"
            " UNION ALL SELECT num FROM discussion_events WHERE repo_id NOT IN (SELECT id FROM repos)"
        )
    assert rows == []
