import errno
import os
import sys
from contextlib import ExitStack

import pytest
from dulwich.object_store import DiskObjectStore
from dulwich.objects import Blob
from dulwich.repo import Repo

from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.store.large_files import Pointer
from hfvaccine.localhub.store.repository import check_path, date_of, title_of
from hfvaccine.localhub.store.storage import Storage


@pytest.fixture
def storage(tmp_path):
    storage = Storage(tmp_path)
    storage.create("r", "alice")
    return storage


@pytest.fixture
def git(storage):
    with storage.open("r", lambda oid: oid == "1" * 64) as git:
        yield git


def commit(git, additions=None, deletions=None, branch="main", **more):
    blobs = {path: Blob.from_string(data) for path, data in (additions or {}).items()}
    git.add_blobs(list(blobs.values()))
    return git.commit(
        branch, "alice", "change\n\nwhy", deletions or {}, {path: blob.id for path, blob in blobs.items()}, **more
    )


def paths(git, revision="main"):
    return [entry.path for entry in git.entries(git.resolve(revision), recursive=True) if not entry.is_folder]


def test_a_new_repository_has_one_commit(git):
    (first,) = git.history(git.resolve("main"))
    assert title_of(first) == "initial commit"
    assert date_of(first).endswith("Z")
    assert paths(git) == [".gitattributes"]


def test_add_replace_delete(git):
    commit(git, {"a/b/c.txt": b"1", "a/d.txt": b"2", "e.txt": b"3"})
    commit(git, {"e.txt": b"4"}, {"a/b": "folder"})
    assert paths(git) == [".gitattributes", "a/d.txt", "e.txt"]
    assert git.read_file(git.resolve("main"), "e.txt") == b"4"
    commit(git, {"a": b"a file where a folder was"}, {"a": "file"})
    assert paths(git) == [".gitattributes", "a", "e.txt"]


def test_deleting_everything_leaves_an_empty_tree(git):
    commit(git, {}, {".gitattributes": "file"})
    assert paths(git) == []


def test_many_files_go_into_one_pack(git, tmp_path):
    files = {f"folder/{number}": b"%d" % number for number in range(300)}
    commit(git, files)
    assert len(paths(git)) == 301
    assert len(list(tmp_path.glob("repos/r/objects/pack/*.pack"))) == 1
    assert git.read_file(git.resolve("main"), "folder/299") == b"299"


@pytest.mark.parametrize(
    ("additions", "deletions", "status"),
    [
        ({"x": b""}, {"missing": "file"}, 404),
        ({"x": b""}, {"e.txt": "folder"}, 404),
        ({"x": b"", "e.txt/below": b""}, {}, 400),
        ({"x": b"", "a": b""}, {}, 400),
        ({"x": b"", "x/y": b""}, {}, 400),
    ],
)
def test_a_refused_commit_changes_nothing(git, additions, deletions, status):
    head = commit(git, {"a/b": b"1", "e.txt": b"2"})
    with pytest.raises(Refusal) as refused:
        commit(git, additions, deletions)
    assert refused.value.status == status
    assert git.resolve("main").id.decode() == head


def test_a_commit_on_an_old_parent_is_refused(git):
    old = commit(git, {"a": b"1"})
    new = commit(git, {"a": b"2"}, parent=old)
    with pytest.raises(Refusal) as refused:
        commit(git, {"a": b"3"}, parent=old)
    assert refused.value.status == 412
    assert git.resolve("main").id.decode() == new


@pytest.mark.parametrize("branch", ["missing", "../../x", "refs/heads/main", "a.lock", "", "a\0b", "x" * 5000])
def test_a_commit_needs_an_existing_branch(git, branch):
    with pytest.raises(Refusal) as refused:
        commit(git, {"a": b"1"}, branch=branch)
    assert refused.value.status in (400, 404)


def test_a_full_disk_leaves_the_old_state_and_no_locks(git, tmp_path, monkeypatch):
    head = git.resolve("main").id

    def full(*_):
        (tmp_path / "repos/r/objects/left.lock").touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr(DiskObjectStore, "add_object", full)
        commit(git, {"a": b"1"})
    assert git.resolve("main").id == head
    assert list(tmp_path.rglob("*.lock")) == []
    commit(git, {"a": b"1"})


def test_locks_of_a_killed_server_are_removed(storage, tmp_path):
    (tmp_path / "repos/r/refs/heads/main.lock").touch()
    with Storage(tmp_path).open("r", lambda oid: False) as git:
        commit(git, {"a": b"1"})


def test_what_is_kept_between_requests_never_hides_a_change(storage, tmp_path):
    with storage.open("r", lambda oid: False) as git:
        commit(git, {"a/b": b"1"})
    with storage.open("r", lambda oid: False) as reader, Storage(tmp_path).open("r", lambda oid: False) as writer:
        assert reader.read_file(reader.resolve("main"), "a/b") == b"1"
        changed = commit(writer, {"a/b": b"2", **{f"many/{number}": b"%d" % number for number in range(200)}})
        assert reader.resolve("main").id.decode() == changed
        assert reader.read_file(reader.resolve("main"), "a/b") == b"2"
        assert reader.read_file(reader.resolve("main"), "many/7") == b"7"


def test_an_id_opens_no_other_repository(storage):
    storage.create("other", "bob")
    with storage.open("r", lambda oid: False) as git:
        secret = commit(git, {"a": b"secret"})
        assert git.resolve(secret)
    with storage.open("other", lambda oid: False) as git, pytest.raises(Refusal) as refused:
        git.resolve(secret)
    assert refused.value.code == "RevisionNotFound"


@pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")
def test_open_files_stay_few(storage, tmp_path, monkeypatch):
    monkeypatch.setattr("hfvaccine.localhub.store.repository.LOOSE_LIMIT", 0)
    for number in range(10):
        storage.create(f"r{number}", "alice")
        with storage.open(f"r{number}", lambda oid: False) as git:
            for one in range(number):
                commit(git, {f"{one}": b"%d" % one})
    before = len(os.listdir("/proc/self/fd"))
    for number in range(10):
        with ExitStack() as stack:
            for _ in range(12):
                git = stack.enter_context(storage.open(f"r{number}", lambda oid: False))
                assert len(paths(git)) == number + 1
    assert len(os.listdir("/proc/self/fd")) <= before + 8 * 8 * 8 * 2
    storage.close()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_submodule_is_neither_file_nor_folder(git, tmp_path):
    head = commit(git, {"a": b"1"})
    with Repo(tmp_path / "repos/r") as repo:
        tree = repo[repo[head.encode()].tree]
        tree.add(b"module", 0o160000, b"1" * 40)
        made = repo[head.encode()].copy()
        made.tree = tree.id
        repo.object_store.add_object(tree)
        repo.object_store.add_object(made)
        repo.refs[b"refs/heads/main"] = made.id
    assert paths(git) == [".gitattributes", "a"]
    assert git.entry(git.resolve("main"), "module") is None


def test_revisions(git):
    oid = commit(git, {"a": b"1"})
    head = git.resolve("main")
    git.create_branch("feature/x", head)
    git.create_tag("v1", head, "", "alice")
    git.create_tag("v2", head, "annotated", "alice")
    for name in ("HEAD", "refs/heads/main", "feature/x", "v1", "v2", "refs/tags/v2", oid, oid[:8]):
        assert git.resolve(name).id.decode() == oid
    refs = git.refs()
    assert [(ref["name"], ref["targetCommit"]) for ref in refs["tags"]] == [("v1", oid), ("v2", oid)]
    blob = git.entry(head, "a").oid
    for name in (
        "",
        "x",
        "..",
        "../config",
        "refs/heads/../../config",
        "\0",
        "\udc80",
        blob,
        head.tree.decode(),
        "0" * 40,
    ):
        with pytest.raises(Refusal) as refused:
            git.resolve(name)
        assert refused.value.code == "RevisionNotFound"


def test_branches_and_tags_are_made_and_deleted_once(git):
    head = git.resolve("main")
    git.create_branch("x", head)
    for again in (lambda: git.create_branch("x", head), lambda: git.create_branch("x/y", head)):
        with pytest.raises(Refusal) as refused:
            again()
        assert refused.value.status == 409
    git.delete_ref("branch", "x")
    for name, status in (("x", 404), ("main", 403), ("..", 400)):
        with pytest.raises(Refusal) as refused:
            git.delete_ref("branch", name)
        assert refused.value.status == status


def test_last_commits(git):
    first = commit(git, {"a/x": b"1", "b": b"1"})
    second = commit(git, {"a/y": b"2"})
    found = git.last_commits(git.resolve("main"), ["a", "a/x", "a/y", "b", "not there"])
    assert {path: one.id.decode() for path, one in found.items() if path != "not there"} == {
        "a": second,
        "a/x": first,
        "a/y": second,
        "b": first,
    }


def test_only_bound_pointers_are_large_files(git):
    mine, other = Pointer("1" * 64, 10), Pointer("2" * 64, 20)
    commit(git, {"mine": mine.text(), "other": other.text()})
    head = git.resolve("main")
    assert git.entry(head, "mine").large == mine
    assert git.entry(head, "other").large is None
    assert git.read_file(head, "other") == other.text()


OUTSIDE = ["", "/a", "a/", "a//b", "..", "a/../b", "./a", ".git/config", "a/.GIT/x", "a\0b", "a\nb", "a\\b", None]


@pytest.mark.parametrize("path", [*OUTSIDE, "x" * 300, "a/" * 70 + "a"])
def test_paths_outside_the_repo(path):
    with pytest.raises(Refusal) as refused:
        check_path(path)
    assert refused.value.status == 422


def test_unusual_paths_inside_the_repo():
    for path in ("a b/ü.txt", "...", ".gitignore", "a.git/b", "-", "a%2Fb", "日本語"):
        assert check_path(path) == path
