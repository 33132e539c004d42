"""Unmodified git clients, and what none of them would send."""

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import threading
import tracemalloc
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from dulwich import porcelain
from dulwich.errors import NotGitRepository
from dulwich.protocol import pkt_line
from dulwich.repo import Repo
from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes import git as git_routes
from hfvaccine.localhub.routes import lfs as lfs_routes
from hfvaccine.localhub.store.large_files import LargeFiles

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="the git program is not installed")
needs_lfs = pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")
RESULT = "application/x-git-upload-pack-result"


class Git:
    """The git program in a home of its own, which never asks a person."""

    def __init__(self, home: Path, endpoint: str) -> None:
        self.home = home
        self._endpoint = endpoint
        quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
        who = {f"GIT_{role}_{what}": "x@x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(home), **quiet, **who}

    def url(self, repo_id: str, token: str = "") -> str:
        return self._endpoint.replace("//", f"//user:{token}@" if token else "//") + "/" + repo_id

    def __call__(self, *arguments: str, folder: str = ".") -> str:
        done = self.attempt(*arguments, folder=folder)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def attempt(self, *arguments: str, folder: str = ".") -> subprocess.CompletedProcess:
        command, cwd = ["git", *arguments], self.home / folder
        return subprocess.run(command, cwd=cwd, env=self._environment, capture_output=True, text=True, timeout=60)

    def refused(self, *arguments: str, folder: str = ".") -> str:
        done = self.attempt(*arguments, folder=folder)
        assert done.returncode != 0
        return done.stderr


@pytest.fixture
def git(live, tmp_path) -> Git:
    return Git(tmp_path, live.hub.endpoint)


def add(api, repo_id, files, message="add", **more):
    adds = [CommitOperationAdd(path, content) for path, content in files.items()]
    return api.create_commit(repo_id, adds, commit_message=message, **more).oid


def stored(live, repo_id) -> Path:
    """The folder of a repo on the disk, found by its newest commit."""
    sha = live.api("alice").model_info(repo_id).sha.encode()
    for folder in (live.hub.root / "repos").iterdir():
        try:
            with Repo(folder) as repo:
                if repo.refs[b"refs/heads/main"] == sha:
                    return folder
        except (NotGitRepository, KeyError):
            continue
    raise AssertionError(repo_id)


@needs_git
@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
@pytest.mark.parametrize("suffix", ["", ".git"])
def test_cloning_and_fetching(api, git, repo_id, data, kind, suffix):
    if kind != "model":
        api.create_repo(repo_id, repo_type=kind, **({"space_sdk": "static"} if kind == "space" else {}))
    files = {"a.txt": b"first", "folder/b.txt": "é".encode(), "large.bin": data}
    sha = add(api, repo_id, files, repo_type=kind)
    address = ("" if kind == "model" else f"{kind}s/") + repo_id + suffix
    git("clone", git.url(address), "copy")
    assert git("rev-parse", "HEAD", folder="copy") == sha
    assert git("symbolic-ref", "HEAD", folder="copy") == "refs/heads/main"
    assert (git.home / "copy/a.txt").read_bytes() == b"first"
    assert (git.home / "copy/folder/b.txt").read_bytes() == "é".encode()
    assert (git.home / "copy/large.bin").read_bytes().startswith(b"version https://git-lfs.github.com/spec/v1\noid ")
    (git.home / "copy/mine.txt").write_text("a commit that the Hub does not know")
    git("add", "mine.txt", folder="copy")
    git("commit", "-m", "mine", folder="copy")
    newer = add(api, repo_id, {"a.txt": b"second"}, repo_type=kind)
    git("fetch", folder="copy")
    assert git("rev-parse", "origin/main", folder="copy") == newer
    assert git("show", "origin/main:a.txt", folder="copy") == "second"
    git("fsck", "--full", "--strict", folder="copy")


@needs_git
def test_branches_and_tags(api, git, repo_id):
    old = add(api, repo_id, {"a": b"old"})
    api.create_branch(repo_id, branch="side/way")
    api.create_tag(repo_id, tag="light")
    api.create_tag(repo_id, tag="annotated", tag_message="said")
    api.create_tag(repo_id, tag="twice", tag_message="said too")
    new = add(api, repo_id, {"a": b"new"})
    listed = dict(reversed(line.split("\t")) for line in git("ls-remote", git.url(repo_id)).split("\n"))
    annotated = {listed.pop(f"refs/tags/{name}") for name in ("annotated", "twice")}
    assert len(annotated - {old, new}) == 2
    assert listed == {
        "HEAD": new,
        "refs/heads/main": new,
        "refs/heads/side/way": old,
        "refs/tags/light": old,
        "refs/tags/annotated^{}": old,
        "refs/tags/twice^{}": old,
    }
    git("clone", "-b", "side/way", "--single-branch", git.url(repo_id), "side")
    assert git("rev-parse", "HEAD", folder="side") == old
    assert git("tag", folder="side").split() == ["annotated", "light", "twice"]  # sent along with what they point to
    git("clone", "-b", "annotated", git.url(repo_id), "tagged")
    assert (git.home / "tagged/a").read_bytes() == b"old"
    api.delete_branch(repo_id, branch="side/way")
    git("fetch", "--prune", folder="tagged")
    assert "side" not in git("branch", "-r", folder="tagged")


@needs_git
def test_shallow_clones(api, git, repo_id):
    for number in range(4):
        add(api, repo_id, {f"file{number}": b"content %d" % number})
    api.create_commit(repo_id, [CommitOperationDelete("file0")], commit_message="without file0")
    git("clone", "--depth", "1", git.url(repo_id), "copy")
    assert git("rev-list", "--count", "HEAD", folder="copy") == "1"
    # The old blob lies below the border, where this client has nothing: it must be sent, although commits know it.
    add(api, repo_id, {"again": b"content 0"})
    git("pull", folder="copy")
    assert (git.home / "copy/again").read_bytes() == b"content 0"
    assert git("rev-list", "--count", "HEAD", folder="copy") == "2"
    git("fsck", "--full", folder="copy")
    git("fetch", "--depth", "4", folder="copy")
    assert git("rev-list", "--count", "HEAD", folder="copy") == "4"
    git("fetch", "--depth", "1", folder="copy")
    assert git("rev-list", "--count", "HEAD", folder="copy") == "1"
    git("fetch", "--unshallow", folder="copy")
    assert git("rev-list", "--count", "HEAD", folder="copy") == "7"
    git("fsck", "--full", folder="copy")


@needs_git
@pytest.mark.parametrize("state", ["private", "gated"])
def test_only_readers_can_clone(live, api, git, state):
    repo_id = api.create_repo(f"alice/Git-{state}", private=state == "private").repo_id
    add(api, repo_id, {"secret.txt": b"SECRET"})
    accepted, why = live.tokens["alice"], "not found"
    if state == "gated":
        api.update_repo_settings(repo_id, gated="manual")
        api.grant_access(repo_id, "reader")
        accepted, why = live.tokens["reader"], "remote: Access to model alice/Git-gated is restricted"
    git("clone", git.url(repo_id, accepted), "mine")
    assert (git.home / "mine/secret.txt").read_bytes() == b"SECRET"
    assert "could not read Username" in git.refused("clone", git.url(repo_id), "x")
    assert "Authentication failed" in git.refused("clone", git.url(repo_id, "wrong"), "x")
    assert why in git.refused("clone", git.url(repo_id, live.tokens["outsider"]), "x")
    if state == "gated":
        api.cancel_access_request(repo_id, "reader")
        add(api, repo_id, {"later.txt": b"SECRET"})
        assert "restricted" in git.refused("fetch", folder="mine")


@needs_git
def test_pushing_is_refused_with_the_way_to_write(live, api, git, repo_id):
    git("clone", git.url(repo_id, live.tokens["alice"]), "copy")
    told = git.refused("push", "origin", "HEAD:main", folder="copy")
    assert "remote: git push is not offered" in told and f"hf upload {repo_id}" in told
    assert live.request("POST", f"/{repo_id}.git/git-receive-pack", "alice", content=b"0000").status_code == 404


@needs_git
def test_what_no_reference_reaches_cannot_be_fetched(live, api, git, repo_id):
    old = add(api, repo_id, {"a": b"1"})
    add(api, repo_id, {"a": b"2"})
    api.create_branch(repo_id, branch="gone")
    secret = add(api, repo_id, {"secret": b"SECRET"}, revision="gone")
    git("clone", git.url(repo_id), "copy")
    git("clone", "-b", "gone", git.url(repo_id), "had-it")
    api.delete_branch(repo_id, branch="gone")
    git("init", "empty")
    git("fetch", git.url(repo_id), old, folder="empty")  # reachable, if not a tip
    assert "not our ref" in git.refused("fetch", git.url(repo_id), secret, folder="empty")
    (tree,) = {git("rev-parse", f"{secret}^{{tree}}", folder="had-it")}
    blob = git("rev-parse", f"{secret}:secret", folder="had-it")
    head = api.model_info(repo_id).sha
    for oid in (secret, tree, blob, "1" * 40):
        answer = upload_pack(live, repo_id, f"want {oid}\n", None, "done\n")
        assert answer.content == pkt_line(b"ERR upload-pack: not our ref " + oid.encode())
        # Nor is it confirmed to somebody who claims to have it.
        answer = upload_pack(live, repo_id, f"want {head} multi_ack_detailed\n", None, f"have {oid}\n", None)
        assert answer.content == pkt_line(b"NAK\n")
    git("fetch", folder="had-it")
    git("fsck", "--full", folder="had-it")


@needs_git
def test_references_of_other_kinds_are_hidden(live, api, git, repo_id):
    sha = add(api, repo_id, {"a": b"1"})
    api.create_branch(repo_id, branch="work")
    work = add(api, repo_id, {"secret": b"SECRET"}, revision="work")
    api.create_branch(repo_id, branch="review")
    review = add(api, repo_id, {"proposal": b"x"}, revision="review")
    with Repo(stored(live, repo_id)) as repo:
        repo.refs[b"refs/kept/1"] = work.encode()
        repo.refs[b"refs/pr/1"] = review.encode()
    api.delete_branch(repo_id, branch="work")
    api.delete_branch(repo_id, branch="review")
    listed = git("ls-remote", git.url(repo_id))
    assert "kept" not in listed and work not in listed and f"{review}\trefs/pr/1" in listed
    git("init", "copy")
    assert "not our ref" in git.refused("fetch", git.url(repo_id), work, folder="copy")
    git("fetch", git.url(repo_id), "refs/pr/1", folder="copy")
    assert git("rev-parse", "FETCH_HEAD^", folder="copy") == sha


@needs_git
def test_clones_while_commits_happen(api, git, repo_id):
    made = [add(api, repo_id, {"n": b"0"})]
    results, stop = [], threading.Event()

    def clone(name: str) -> None:
        while not stop.is_set() or len(results) < 4:
            folder = f"{name}-{len(results)}"
            done = git.attempt("clone", git.url(repo_id), folder)
            results.append((folder, done.returncode, done.stderr))

    threads = [threading.Thread(target=clone, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for number in range(1, 25):
        made.append(add(api, repo_id, {"n": b"%d" % number, f"f{number}": os.urandom(2000).hex().encode()}))
    stop.set()
    for thread in threads:
        thread.join(60)
    for folder, status, told in results:
        assert status == 0, told
        number = int((git.home / folder / "n").read_text())
        assert git("rev-parse", "HEAD", folder=folder) == made[number]
        git("fsck", "--full", folder=folder)


@needs_git
def test_a_moved_repo_is_followed(api, git, repo_id):
    sha = add(api, repo_id, {"a": b"1"})
    api.move_repo(repo_id, repo_id + "-moved")
    git("clone", git.url(repo_id), "copy")
    assert git("rev-parse", "HEAD", folder="copy") == sha


@needs_git
@needs_lfs
def test_git_lfs(live, api, git, repo_id, data, monkeypatch):
    joined, join = [], LargeFiles.join
    monkeypatch.setattr(LargeFiles, "join", lambda *given: (joined.append(len(given[2])), join(*given)))
    api.update_repo_settings(repo_id, gated="manual")
    api.grant_access(repo_id, "reader")
    add(api, repo_id, {"large.bin": data})
    git("lfs", "install", "--skip-repo")
    login = git.url(repo_id, live.tokens["reader"])
    git("clone", login, "pointers")
    git("lfs", "pull", folder="pointers")
    assert (git.home / "pointers/large.bin").read_bytes() == data
    shutil.rmtree(git.home / "pointers/.git/lfs/objects")
    assert "restricted" in git.refused("lfs", "fetch", git.url(repo_id, live.tokens["outsider"]), folder="pointers")
    # Pushing the files themselves, in one piece and in parts by the agent that huggingface_hub brings.
    owner, new = git.url(repo_id, live.tokens["alice"]), (data[1:], data[2:])
    agent = ["-c", f"lfs.customtransfer.multipart.path={Path(sys.executable).parent / 'hf'}"]
    agent += ["-c", "lfs.customtransfer.multipart.args=lfs-multipart-upload"]
    for content, options in zip(new, ([], agent), strict=True):
        (git.home / "pointers/large.bin").write_bytes(content)
        git("commit", "-a", "-m", "more", folder="pointers")
        with monkeypatch.context() as patched:
            patched.setattr(lfs_routes, "PART", 1 << 20)
            git(*options, "lfs", "push", owner, "main", folder="pointers")
    assert joined == [3]
    objects = [{"oid": hashlib.sha256(one).hexdigest(), "size": len(one)} for one in new]
    body = {"operation": "download", "objects": objects}
    answer = live.request("POST", f"/{repo_id}.git/info/lfs/objects/batch", "alice", json=body).json()
    for one, content in zip(answer["objects"], new, strict=True):
        assert httpx2.get(one["actions"]["download"]["href"]).content == content


def test_a_client_without_the_git_program(live, api, repo_id, tmp_path):
    api.update_repo_settings(repo_id, gated="manual")
    add(api, repo_id, {"folder/a.txt": b"first"})
    address, login = f"{live.hub.endpoint}/{repo_id}", {"username": "alice", "password": live.tokens["alice"]}
    with porcelain.clone(address, tmp_path / "copy", errstream=io.BytesIO(), **login) as repo:
        assert (tmp_path / "copy/folder/a.txt").read_bytes() == b"first"
        newer = add(api, repo_id, {"folder/a.txt": b"second"}).encode()
        porcelain.fetch(repo, errstream=io.BytesIO(), **login)
        assert repo.refs[b"refs/remotes/origin/main"] == newer and repo.object_store[newer].parents
    with porcelain.clone(address, tmp_path / "shallow", depth=1, errstream=io.BytesIO(), **login) as repo:
        assert repo.get_shallow() == {newer}
    for wrong in ({}, {"username": "outsider", "password": live.tokens["outsider"]}):
        with pytest.raises(Exception, match=r"401|403|No valid credentials"):
            porcelain.clone(address, tmp_path / "none", errstream=io.BytesIO(), **wrong)


# What the protocol says, byte by byte


def upload_pack(live, repo_id, *lines, **more):
    body = b"".join(pkt_line(line.encode() if isinstance(line, str) else line) for line in lines)
    return live.request("POST", f"/{repo_id}.git/git-upload-pack", content=body, **more)


def packets(body: bytes) -> list[bytes | None]:
    source, found = io.BytesIO(body), []
    while size := source.read(4):
        found.append(source.read(int(size, 16) - 4) if size != b"0000" else None)
    return found


def test_what_is_advertised(live, api, repo_id):
    sha = api.model_info(repo_id).sha
    answer = live.request("GET", f"/{repo_id}/info/refs?service=git-upload-pack")
    assert answer.headers["Content-Type"] == "application/x-git-upload-pack-advertisement"
    assert "no-cache" in answer.headers["Cache-Control"]
    service, _, head, main, _ = packets(answer.content)
    assert service == b"# service=git-upload-pack\n"
    assert main == f"{sha} refs/heads/main\n".encode()
    name, _, capabilities = head.partition(b"\0")
    assert name == f"{sha} HEAD".encode()
    assert b"symref=HEAD:refs/heads/main" in capabilities.split() and b"filter" not in capabilities.split()


@pytest.mark.parametrize("service", ["", "?service=git-upload-archive", "?service=../x"])
def test_services_that_are_not_offered(live, repo_id, service):
    answer = live.request("GET", f"/{repo_id}/info/refs{service}")
    assert answer.status_code == 403 and answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("mode", "acknowledged", "done"),
    [
        ("multi_ack_detailed", ["ACK {0} common", "ACK {1} common", "NAK"], ["ACK {1}"]),
        ("", ["ACK {0}"], []),
    ],
)
def test_negotiation(live, api, repo_id, mode, acknowledged, done):
    known = [add(api, repo_id, {"a": b"%d" % number}) for number in range(2)]
    head, unknown = add(api, repo_id, {"a": b"new"}), "2" * 40
    begin = (f"want {head} {mode} side-band-64k\n", None, f"have {unknown}\n", *(f"have {one}\n" for one in known))
    answer = packets(upload_pack(live, repo_id, *begin, None).content)
    assert answer == [f"{line}\n".format(*known).encode() for line in acknowledged]
    answer = packets(upload_pack(live, repo_id, *begin, "done\n").content)
    told = [line for line in acknowledged if line != "NAK"] + done
    assert answer[: len(told)] == [f"{line}\n".format(*known).encode() for line in told]
    pack, end = answer[len(told) :]
    assert pack.startswith(b"\1PACK\0\0\0\2\0\0\0\3") and end is None  # commit, tree, blob


def test_a_pack_without_bands(live, api, repo_id):
    answer = upload_pack(live, repo_id, f"want {api.model_info(repo_id).sha}\n", None, "done\n")
    assert answer.headers["Content-Type"] == RESULT
    assert answer.content.startswith(pkt_line(b"NAK\n") + b"PACK\0\0\0\2\0\0\0\3")


def test_a_tip_that_moved_between_two_requests_is_still_sent(live, api, repo_id):
    seen = api.model_info(repo_id).sha
    add(api, repo_id, {"a": b"1"})
    answer = upload_pack(live, repo_id, f"want {seen} side-band-64k\n", None, "done\n")
    assert packets(answer.content)[1].startswith(b"\1PACK")


def test_bodies(live, api, repo_id, monkeypatch):
    want = pkt_line(f"want {api.model_info(repo_id).sha}\n".encode())
    body = want + pkt_line(None) + pkt_line(b"done\n")
    zipped = {"Content-Encoding": "gzip"}
    path = f"/{repo_id}/git-upload-pack"

    def status(content: bytes, headers: dict[str, str] | None = None) -> int:
        return live.request("POST", path, content=content, headers=headers or {}).status_code

    assert live.request("POST", path, content=gzip.compress(body), headers=zipped).content.count(b"PACK") == 1
    assert live.request("POST", path, content=b"0000").content == b""  # trying out credentials
    assert status(want + pkt_line(None)) == 200
    assert status(body, zipped) == 400
    assert status(body, {"Content-Encoding": "br"}) == 415
    monkeypatch.setattr(git_routes, "LARGEST_REQUEST", 2000)
    bomb = want + pkt_line(None) + pkt_line(b"have " + b"1" * 40 + b"\n") * 1000
    assert len(gzip.compress(bomb)) < 2000
    assert status(gzip.compress(bomb), zipped) == 413
    assert status(bomb) == 413


def test_a_compressed_bomb_is_not_unpacked():
    body, headers = io.BytesIO(gzip.compress(bytes(64 << 20))), {"content-encoding": "gzip"}
    tracemalloc.start()
    try:
        with pytest.raises(Refusal, match="too large"):
            git_routes._body(SimpleNamespace(body=body, request=SimpleNamespace(headers=headers)))
        assert tracemalloc.get_traced_memory()[1] < 3 * git_routes.LARGEST_REQUEST
    finally:
        tracemalloc.stop()


@contextmanager
def aborted(live, repo_id, body):
    path = f"{live.hub.endpoint}/{repo_id}/git-upload-pack"
    with live._client.stream("POST", path, content=body) as answer:
        yield next(answer.iter_raw(1000))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")
def test_readers_who_leave_early_leave_nothing_open(live, api, repo_id):
    head = add(api, repo_id, {f"{number}.txt": os.urandom(500_000).hex().encode() for number in range(8)})
    body = pkt_line(f"want {head}\n".encode()) + pkt_line(None) + pkt_line(b"done\n")

    folder = str(stored(live, repo_id))

    def open_files() -> int:
        return sum(folder in os.path.realpath(one) for one in Path("/proc/self/fd").iterdir())

    before = open_files()
    for _ in range(12):
        with aborted(live, repo_id, body) as first:
            assert b"PACK" in first
    for _ in range(100):
        if (after := open_files()) <= before + 10:
            break
        threading.Event().wait(0.05)
    assert after <= before + 10
