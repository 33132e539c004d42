"""What `hub fsck` finds in a data folder, and what `hub gc` takes out of one."""

import hashlib
import os
import shutil
import sqlite3
import threading
import time

import httpx2
import pytest
from click.testing import CliRunner
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import RevisionNotFoundError

from hfvaccine.cli.hub_storage import fsck as fsck_command
from hfvaccine.cli.hub_storage import gc as gc_command
from hfvaccine.errors import LocalHubError
from hfvaccine.localhub.guard import changing, removing
from hfvaccine.localhub.server import LocalHub
from hfvaccine.localhub.upkeep.fsck import Fsck
from hfvaccine.localhub.upkeep.gc import _Store, collect

LARGE = os.urandom(1_000_000)
OID = hashlib.sha256(LARGE).hexdigest()
DAY = 24 * 3600


@pytest.fixture
def hub(tmp_path):
    with LocalHub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def api(hub):
    return HfApi(endpoint=hub.endpoint, token=hub.add_user("alice"))


@pytest.fixture
def repo(api):
    """A repo with small files, a large one, a branch and a tag."""
    repo_id = api.create_repo("alice/repo").repo_id
    add(api, repo_id, {"README.md": b"# card", "data/a.txt": b"a", "large.bin": LARGE})
    api.create_branch(repo_id, branch="other")
    api.create_tag(repo_id, tag="v1", tag_message="first")
    return repo_id


def add(api, repo_id, files, revision=None, delete=()):
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    operations += [CommitOperationDelete(path) for path in delete]
    return api.create_commit(repo_id, operations, commit_message="change", revision=revision).oid


def findings(root, **options):
    return [str(one) for one in Fsck(root, **options).run()]


def repository(root):
    (folder,) = (root / "repos").iterdir()
    return folder


def stored(root, oid=OID):
    return root / "large-files" / oid[:2] / oid[2:]


def loose(root, kind):
    """A loose object of one type."""
    from dulwich.repo import Repo

    with Repo(repository(root)) as git:
        for oid in git.object_store:
            if git[oid].type_name == kind:
                return repository(root) / "objects" / oid[:2].decode() / oid[2:].decode()
    raise AssertionError(kind)


def age(path, days=2):
    """Make everything below a folder old."""
    past = time.time() - days * DAY
    for one in (path, *path.rglob("*")):
        os.utime(one, (past, past))


# --- fsck


def test_a_sound_hub_while_served_and_after(hub, api, repo):
    assert findings(hub.root) == []
    root = hub.root
    check = Fsck(root)
    assert list(check.run()) == []
    assert (check.repos, check.large_files) == (1, 1)
    assert check.objects > 8
    hub.stop()
    assert findings(root) == []
    before = sorted(root.rglob("*"))
    Fsck(root)
    assert sorted(root.rglob("*")) == before


def drop(root, kind):
    loose(root, kind).unlink()


def swap(root, kind):
    """Another object's bytes under this name."""
    other = loose(root, b"tag")
    target = loose(root, kind)
    target.chmod(0o644)
    target.write_bytes(other.read_bytes())


def cut(root, kind):
    target = loose(root, kind)
    target.chmod(0o644)
    target.write_bytes(target.read_bytes()[:8])


def change_database(root, *statements):
    connection = sqlite3.connect(root / "hub.sqlite3")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


DAMAGE = {
    "a blob is gone": (lambda root: drop(root, b"blob"), "is missing"),
    "a tree is gone": (lambda root: drop(root, b"tree"), "is missing"),
    "a commit is gone": (lambda root: drop(root, b"commit"), "is missing"),
    "a blob holds something else": (lambda root: swap(root, b"blob"), "is broken"),
    "a tree is cut": (lambda root: cut(root, b"tree"), "is broken"),
    "a branch points nowhere": (
        lambda root: ref(root, "heads/other", "0" * 39 + "1"),
        "refs/heads/other needs object",
    ),
    "a branch holds rubbish": (lambda root: ref(root, "heads/other", "rubbish"), "refs/heads/other"),
    "a branch is empty": (lambda root: (repository(root) / "refs/heads/other").write_text(""), "refs/heads/other"),
    "main is gone": (lambda root: (repository(root) / "refs/heads/main").unlink(), "no branch main"),
    "a large file is gone": (lambda root: stored(root).unlink(), f"large file {OID} is missing"),
    "a large file is cut": (lambda root: os.truncate(stored(root), 10), "has 10 bytes instead of 1000000"),
    "a large file is another": (lambda root: stored(root).write_bytes(bytes(1_000_000)), "has other bytes"),
    "a repository is gone": (lambda root: shutil.rmtree(repository(root)), "is missing or no repository"),
    "a size is wrong": (
        lambda root: change_database(root, "UPDATE large_files SET size = 7"),
        "names 1000000 bytes of large file",
    ),
    "a row belongs to nothing": (
        lambda root: change_database(root, f"INSERT INTO large_files VALUES (99, '{'0' * 64}', 1)"),
        "refers to no repos",
    ),
    "the database is no database": (
        lambda root: (root / "hub.sqlite3").write_bytes(b"SQLite format 3\0" + bytes(9000)),
        "database:",
    ),
}


def ref(root, name, value):
    (repository(root) / "refs" / name).write_text(value + "\n")


@pytest.mark.parametrize("name", DAMAGE)
def test_damage(hub, api, repo, name):
    root = hub.root
    hub.stop()
    harm, said = DAMAGE[name]
    harm(root)
    errors = [line for line in findings(root) if line.startswith("error: ")]
    assert errors and any(said in line for line in errors), errors
    done = CliRunner().invoke(fsck_command, ["--root", str(root)])
    assert done.exit_code == 1 and said in done.stdout


def test_a_damaged_pack(hub, api, repo):
    add(api, repo, {f"many/{number}": b"%d" % number for number in range(150)})
    (pack,) = repository(hub.root).glob("objects/pack/*.pack")
    pack.chmod(0o644)
    with pack.open("r+b") as file:
        file.seek(1000)
        file.write(b"\xff" * 8)
    assert any("is broken" in line for line in findings(hub.root))


def test_notes_are_no_errors(hub, api, repo):
    root = hub.root
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'1' * 64}\nsize 5\n"
    add(api, repo, {"pointer.txt": text.encode()})
    (root / "repos" / "stray").mkdir()
    (root / "large-files" / "ff").mkdir(exist_ok=True)
    (root / "large-files" / "ff" / ("f" * 62)).write_bytes(b"")
    (root / "notes.txt").write_text("mine")
    age(root / "repos" / "stray")
    age(root / "large-files" / "ff")
    done = CliRunner().invoke(fsck_command, ["--root", str(root), "--sizes-only"])
    assert done.exit_code == 0
    said = done.stdout.splitlines()
    assert len(said) == 4 and all(line.startswith("note: ") for line in said)
    for part in ("pointer.txt", "repos/stray", "f" * 64, "notes.txt"):
        assert part in done.stdout


def test_sizes_only_reads_no_large_file(hub, api, repo):
    stored(hub.root).write_bytes(bytes(1_000_000))
    assert findings(hub.root, hashes=False) == []


@pytest.mark.parametrize("command", [fsck_command, gc_command])
def test_no_hub_in_the_folder(tmp_path, command):
    error = CliRunner().invoke(command, ["--root", str(tmp_path)]).exception
    assert isinstance(error, LocalHubError) and "--root" in error.next_step
    assert list(tmp_path.iterdir()) == []


# --- gc


def content(api, repo, revision="main"):
    names = api.list_repo_files(repo, revision=revision)
    return {name: open(api.hf_hub_download(repo, name, revision=revision), "rb").read() for name in names}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


def test_everything_referred_to_stays(hub, api, repo):
    before = [content(api, repo, revision) for revision in ("main", "other", "v1")]
    root = hub.root
    age(root)
    removed = collect(root)
    assert (removed.large_files, removed.bindings, removed.objects, removed.left_alone) == (0, 0, 0, [])
    assert findings(root) == []
    shutil.rmtree(root.parent / "cache")
    assert [content(api, repo, revision) for revision in ("main", "other", "v1")] == before
    add(api, repo, {"data/b.txt": b"after"})
    assert content(api, repo)["data/b.txt"] == b"after"


def test_what_a_deleted_branch_held_goes_after_the_grace_period(hub, api, repo):
    other = os.urandom(300_000)
    oid = hashlib.sha256(other).hexdigest()
    lost = add(api, repo, {"second.bin": other, "small.txt": b"only here"}, revision="other")
    api.delete_branch(repo, branch="other")
    hub._hub.catalog.name_for_xet(oid, "0" * 64)
    assert collect(hub.root).large_files == 0 and hub._hub.catalog.xet_hashes([oid])
    assert api.repo_info(repo, revision=lost).sha == lost
    age(hub.root)
    removed = collect(hub.root)
    assert (removed.large_files, removed.bindings, removed.bytes) == (1, 1, 300_000)
    assert removed.objects >= 4
    api.file_exists(repo, "small.txt", revision=lost)
    with pytest.raises(RevisionNotFoundError):
        api.repo_info(repo, revision=lost)
    assert not stored(hub.root, oid).exists() and stored(hub.root).exists()
    assert findings(hub.root) == [] and not hub._hub.catalog.xet_hashes([oid])
    add(api, repo, {"second.bin": other})
    assert content(api, repo)["second.bin"] == other


def test_a_file_that_need_not_be_sent_again_counts_as_fresh(hub, api, repo):
    other = os.urandom(300_000)
    oid = hashlib.sha256(other).hexdigest()
    add(api, repo, {"second.bin": other}, revision="other")
    api.delete_branch(repo, branch="other")
    age(hub.root)
    asked = {"operation": "upload", "objects": [{"oid": oid, "size": len(other)}]}
    headers = {"Authorization": f"Bearer {api.token}"}
    answer = httpx2.post(f"{hub.endpoint}/{repo}.git/info/lfs/objects/batch", json=asked, headers=headers)
    assert "actions" not in answer.json()["objects"][0]
    assert collect(hub.root).large_files == 0
    add(api, repo, {"second.bin": other})
    assert content(api, repo)["second.bin"] == other


def test_a_file_of_two_repos_goes_with_the_last_one(hub, api, repo):
    api.create_repo("alice/second")
    add(api, "alice/second", {"same.bin": LARGE})
    age(hub.root)
    for name, left in (("alice/second", 1), (repo, 0)):
        api.delete_repo(name)
        collect(hub.root)
        assert len(list(hub.root.glob("large-files/*/*"))) == left
    assert findings(hub.root) == []


def test_many_small_commits_become_one_pack(hub, api, repo):
    for number in range(40):
        add(api, repo, {f"data/{number}.txt": b"%d" % number})
    before = content(api, repo)
    history = [commit.commit_id for commit in api.list_repo_commits(repo)]
    collect(hub.root)
    objects = repository(hub.root) / "objects"
    assert list(objects.glob("??/*")) == []
    assert len(list(objects.glob("pack/*.pack"))) == 1
    assert [commit.commit_id for commit in api.list_repo_commits(repo)] == history
    shutil.rmtree(hub.root.parent / "cache")
    assert content(api, repo) == before
    assert findings(hub.root) == []


def test_what_comes_back_meanwhile_stays(hub, api, repo, monkeypatch):
    lost = add(api, repo, {"second.bin": os.urandom(300_000), "small.txt": b"only here"}, revision="other")
    api.delete_branch(repo, branch="other")
    age(hub.root)
    pack = _Store.pack

    def pack_while_the_branch_comes_back(store, before):
        pack(store, before)
        api.create_branch(repo, branch="back", revision=lost)

    monkeypatch.setattr(_Store, "pack", pack_while_the_branch_comes_back)
    assert collect(hub.root).large_files == 0
    assert content(api, repo, "back")["small.txt"] == b"only here"
    assert findings(hub.root) == []


def test_changes_wait_while_something_is_removed_and_reads_do_not(hub, api, repo):
    with removing(hub.root):
        writer = threading.Thread(target=add, args=(api, repo, {"late.txt": b"late"}))
        writer.start()
        writer.join(0.5)
        assert writer.is_alive()
        assert "late.txt" not in api.list_repo_files(repo)
    writer.join(10)
    assert "late.txt" in api.list_repo_files(repo)


def test_removal_waits_for_changes(hub, tmp_path):
    with changing(hub.root), changing(hub.root):
        collecting = threading.Thread(target=collect, args=(hub.root,))
        collecting.start()
        collecting.join(0.5)
        assert collecting.is_alive()
    collecting.join(10)
    assert not collecting.is_alive()


def test_leftovers(hub, api, repo):
    root = hub.root
    for path in ("repos/gone/objects", "xorbs/gone/place", "incoming/folder"):
        (root / path).mkdir(parents=True)
        (root / path / "file").write_bytes(b"12345")
    (root / "incoming" / "half").write_bytes(b"1")  # and "folder" is what the parts of an upload lie in
    assert collect(root).leftovers == 0
    age(root / "repos" / "gone")
    age(root / "incoming")
    removed = collect(root)
    assert (removed.folders, removed.leftovers) == (1, 2)
    assert [one.name for one in (root / "repos").iterdir()] == [repository(root).name]
    assert list((root / "incoming").iterdir()) == list((root / "xorbs").glob("gone*")) == []


def test_xorbs_of_a_repo_go_all_at_once(hub, api, repo):
    folder = hub.root / "xorbs" / repository(hub.root).name / "place"
    folder.mkdir(parents=True)
    for name in ("1", "2"):
        (folder / name).write_bytes(b"x")
    age(folder.parent)
    os.utime(folder / "2")
    assert collect(hub.root).folders == 0
    age(folder.parent)
    assert collect(hub.root).folders == 1
    assert not folder.parent.exists()


def test_a_damaged_repo_is_left_alone(hub, api, repo):
    api.delete_branch(repo, branch="other")
    drop(hub.root, b"tree")
    age(hub.root)
    files = sorted(hub.root.rglob("*"))
    removed = collect(hub.root)
    assert removed.left_alone == [f"models/{repo}"]
    assert (removed.large_files, removed.bindings, removed.objects) == (0, 0, 0)
    assert sorted(hub.root.rglob("*")) == files


def test_a_short_grace_period_needs_a_stopped_hub(hub, api, repo):
    root = hub.root
    with pytest.raises(LocalHubError, match="being served"):
        collect(root, grace=60)
    api.delete_repo(repo)
    hub.stop()
    done = CliRunner().invoke(gc_command, ["--root", str(root), "--grace-hours", "0"])
    assert done.exit_code == 0 and "1 large file" in done.stderr
    assert list(root.glob("large-files/*/*")) == []
