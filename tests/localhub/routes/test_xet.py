"""Uploads by the real hf_xet, in processes of their own that have nothing but HF_ENDPOINT set."""

import errno
import fcntl
import hashlib
import io
import logging
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from localhub.store.test_xet import chunk, chunk_hash, raw, shard

from hfvaccine.localhub import guard
from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.server import LocalHub
from hfvaccine.localhub.store import xorbs as xorbs_module
from hfvaccine.localhub.store.xet import LZ4, read_chunks, read_shard, unpack, xorb_hash
from hfvaccine.localhub.store.xorbs import Xorbs

MB = 1_000_000
PRELUDE = """
import hashlib, os, sys, time
from pathlib import Path
from unittest.mock import Mock
from huggingface_hub import HfApi, constants
assert not constants.HF_HUB_DISABLE_XET
home, arguments = Path(os.environ["HF_HOME"]), sys.argv[1:]
api = HfApi()
def check(repo, **files):
    for path, content in files.items():
        assert Path(api.hf_hub_download(repo, path)).read_bytes() == content, path
"""


def environment(endpoint: str, token: str, home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return {**kept, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_TOKEN": token}


def run(endpoint: str, token: str, home: Path, code: str, *arguments: str, check: bool = True) -> str:
    """Run a client; `home` keeps what it remembers from one run to the next."""
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-c", PRELUDE + code, *arguments]
    done = subprocess.run(command, env=environment(endpoint, token, home), capture_output=True, text=True, timeout=240)
    assert not check or done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture
def client(live, tmp_path):
    def call(code, *arguments, home=tmp_path / "home", **more):
        return run(live.hub.endpoint, live.tokens["alice"], home, code, *arguments, **more)

    return call


def xorbs(live, repo_id: str) -> dict[str, int]:
    """The xorbs of a repo and their sizes."""
    namespace, name = repo_id.split("/")
    repo = live.hub._hub.catalog.find("model", namespace, name)
    return {path.name: path.stat().st_size for path in (live.hub.root / "xorbs" / repo.folder).glob("*/*")}


def test_files_of_all_sorts(live, client, repo_id):
    client(
        """
import numpy as np
repo = arguments[0]
content = os.urandom(30_000_000)
path = home / "path.bin"
path.write_bytes(content[::-1])
api.upload_file(path_or_fileobj=content, path_in_repo="bytes.bin", repo_id=repo)
api.upload_file(path_or_fileobj=path, path_in_repo="path.bin", repo_id=repo)
check(repo, **{"bytes.bin": content, "path.bin": content[::-1]})

folder = home / "folder"
(folder / "deep").mkdir(parents=True)
numbers = np.random.default_rng(0).normal(size=700_001).astype("float32").tobytes() + b"odd"
text = b"".join(b"line %d of a text\\n" % number for number in range(100_000))
files = {"one.bin": b"1", "empty.bin": b"", "deep/numbers.bin": numbers, "text.bin": text, "README.md": b"# Card\\n"}
for name, one in files.items():
    (folder / name).write_bytes(one)
api.upload_folder(folder_path=folder, repo_id=repo)
check(repo, **files)
sha = api.repo_info(repo).sha
api.upload_folder(folder_path=folder, repo_id=repo)
api.upload_file(path_or_fileobj=path, path_in_repo="path.bin", repo_id=repo)
assert api.repo_info(repo).sha == sha
(info,) = api.get_paths_info(repo, "text.bin")
assert info.lfs.sha256 == hashlib.sha256(text).hexdigest() and info.lfs.size == len(text)
""",
        repo_id,
    )
    schemes = set()
    for path in live.hub.root.glob("xorbs/*/*/*"):
        with open(path, "rb") as file:
            schemes |= {one.scheme for one in read_chunks(file)}
    assert schemes == {0, 1, 2}  # or this tested less than it seems to
    assert sum(xorbs(live, repo_id).values()) > 60 * MB


def test_a_second_version_sends_only_what_is_new(live, client, repo_id, tmp_path):
    upload = """
content = bytearray((home / "seed").read_bytes() if (home / "seed").exists() else Path(arguments[1]).read_bytes())
content[len(content) // 2:len(content) // 2 + 10] = arguments[2].encode()
api.upload_file(path_or_fileobj=bytes(content), path_in_repo="model.bin", repo_id=arguments[0])
check(arguments[0], **{"model.bin": bytes(content)})
"""
    seed = tmp_path / "seed"
    seed.write_bytes(os.urandom(20 * MB))
    client(upload, repo_id, str(seed), "first")
    first = xorbs(live, repo_id)
    client(upload, repo_id, str(seed), "second, longer")
    second = xorbs(live, repo_id)
    assert sum(first.values()) > 20 * MB and sum(second.values()) - sum(first.values()) < MB
    # Somebody who remembers nothing sends all of it.
    client(upload, repo_id, str(seed), "third", home=tmp_path / "another")
    assert sum(xorbs(live, repo_id).values()) > 39 * MB


def test_the_same_file_in_two_repos(live, api, client, repo_id):
    other = f"{repo_id}-other"
    client(
        """
content = os.urandom(5_000_000)
for repo in arguments:
    api.create_repo(repo, exist_ok=True)
    api.upload_file(path_or_fileobj=content, path_in_repo="a.bin", repo_id=repo)
(home / "content").write_bytes(content)
""",
        repo_id,
        other,
    )
    assert xorbs(live, repo_id) == xorbs(live, other) and xorbs(live, other)
    namespace, name = repo_id.split("/")
    folder = live.hub.root / "xorbs" / live.hub._hub.catalog.find("model", namespace, name).folder
    assert folder.is_dir()
    api.delete_repo(repo_id)
    assert not folder.exists()
    client(
        """
content = (home / "content").read_bytes()
check(arguments[0], **{"a.bin": content})
api.upload_file(path_or_fileobj=content + b"more", path_in_repo="b.bin", repo_id=arguments[0])
check(arguments[0], **{"b.bin": content + b"more"})
""",
        other,
    )


UPLOAD = """
repo = api.create_repo("alice/again", exist_ok=True).repo_id
seed = home / "content"
content = (seed.read_bytes() if seed.exists() else os.urandom(3_000_000)) + b"more"
seed.write_bytes(content)
api.upload_file(path_or_fileobj=content, path_in_repo="a.bin", repo_id=repo)
check(repo, **{"a.bin": content})
"""


def test_clients_that_remember_what_the_hub_has_lost(tmp_path):
    root, home = tmp_path / "hub", tmp_path / "home"
    with LocalHub(root) as hub:
        port = int(hub.endpoint.rpartition(":")[2])
        token = hub.add_user("alice")
        run(hub.endpoint, token, home, UPLOAD)
        shutil.rmtree(root / "xorbs")  # as a clean-up does while the Hub is serving
        run(hub.endpoint, token, home, UPLOAD)
    with LocalHub(root, port=port) as hub:
        run(hub.endpoint, token, home, UPLOAD)  # and a restart loses nothing
    shutil.rmtree(root)
    with LocalHub(root, port=port) as hub:
        run(hub.endpoint, hub.add_user("alice"), home, UPLOAD)


def test_tokens_are_renewed_while_an_upload_runs(live, client, repo_id, monkeypatch, caplog):
    monkeypatch.setattr(live.hub._hub.grants, "seconds", 1)
    with caplog.at_level(logging.INFO, "hfvaccine.localhub.access"):
        client(
            'api.upload_file(path_or_fileobj=os.urandom(3_000_000), path_in_repo="a", repo_id=arguments[0])', repo_id
        )
    assert sum("xet-write-token" in line for line in caplog.messages) > 1
    assert all('"user": "alice"' in line for line in caplog.messages if "/v1/xorbs/" in line)
    assert [one.rfilename for one in live.api("alice").repo_info(repo_id).siblings] == [".gitattributes", "a"]


FAILING = """
try:
    api.upload_file(path_or_fileobj=os.urandom(200_000), path_in_repo="a", repo_id=arguments[0])
except Exception as error:
    print(type(error), error)
"""


def test_clients_that_are_refused_stop_at_once(live, client, repo_id, monkeypatch, caplog):
    refuse = Mock(side_effect=Refusal(400, "These words reach the user."))
    full = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    for method, fails, route, words in (
        ("rebuild", refuse, "/v2/shards", "These words reach the user."),
        ("rebuild", full, "/v2/shards", "disk is full"),
        ("put", refuse, "/v1/xorbs", "400 Bad Request"),
        ("put", full, "/v1/xorbs", "413 Request Entity Too Large"),
    ):
        with monkeypatch.context() as patch, caplog.at_level(logging.INFO, "hfvaccine.localhub.access"):
            caplog.clear()
            patch.setattr(Xorbs, method, fails)
            assert words in client(FAILING, repo_id)
            assert sum(route in line for line in caplog.messages) == 1  # no second try


class Raw:
    """The protocol without a client."""

    def __init__(self, live, repo_id, user="alice", token=""):
        self._live = live
        path = f"/api/models/{repo_id}/xet-write-token/main"
        self.given = live.request("GET", path, user, token=token)
        self.token = self.given.headers.get("X-Xet-Access-Token", "")
        self.place = self.given.headers.get("X-Xet-Cas-Url", "").removeprefix(live.hub.endpoint)

    def post(self, path, content, token=None, place=None):
        return self._live.request("POST", (place or self.place) + path, token=token or self.token, content=content)

    def xorb(self, data, **more):
        body = chunk(data)
        name = xorb_hash([(chunk_hash(data), len(data))])
        return name, self.post(f"/v1/xorbs/default/{name}", body, **more)


def sha256_of(data: bytes) -> tuple[str, bytes]:
    text = hashlib.sha256(data).hexdigest()
    return text, raw(text)


def bound(live, repo_id, sha256):
    namespace, name = repo_id.split("/")
    return live.hub._hub.catalog.large_file_size(live.hub._hub.catalog.find("model", namespace, name), sha256)


@pytest.fixture
def other_id(api, repo_id):
    return api.create_repo(f"{repo_id}-other").repo_id


def test_xorbs_of_another_repo_are_out_of_reach(live, repo_id, other_id):
    mine, theirs = Raw(live, repo_id), Raw(live, other_id)
    secret = os.urandom(1000)
    name, answer = theirs.xorb(secret)
    assert answer.json() == {"was_inserted": True}
    assert theirs.xorb(secret)[1].json() == {"was_inserted": False}
    sha256, digest = sha256_of(secret)
    # Who knows all hashes still has no file.
    body = shard((digest, [(raw(name), 1000, 0, 1)]))
    refused = mine.post("/v1/shards", body)
    assert refused.status_code == 400 and "not sent to this repo" in refused.text
    (told,) = (mine.post("/v2/shards", body).json(),)
    assert told["type"] == "error" and not told["retryable"] and "not sent to this repo" in told["message"]
    assert mine.post("/v1/shards", body, place=theirs.place).status_code == 401
    assert theirs.post("/v1/shards", body, token=mine.token).status_code == 401
    assert mine.xorb(b"poison", place=theirs.place)[1].status_code == 401
    # A token that is good there, with an address made of two.
    mixed = mine.place.rpartition("/")[0] + "/" + theirs.place.rpartition("/")[2]
    assert theirs.post("/v1/shards", body, place=mixed).status_code in (400, 404)
    assert theirs.xorb(b"poison", place=mixed)[1].status_code == 404
    assert bound(live, repo_id, sha256) is None and bound(live, other_id, sha256) is None
    assert theirs.post("/v1/shards", body).json() == {"result": 1}
    assert bound(live, other_id, sha256) == 1000 and bound(live, repo_id, sha256) is None
    # Nor does it help that the Hub has the file by now.
    assert mine.post("/v1/shards", body).status_code == 400


def test_tokens(live, api, repo_id, other_id):
    given = Raw(live, repo_id)
    assert given.given.json() == {
        "casUrl": live.hub.endpoint + given.place,
        "accessToken": given.token,
        "exp": int(given.given.headers["X-Xet-Token-Expiration"]),
    }
    assert 0 < given.given.json()["exp"] - time.time() <= 15 * 60
    assert [Raw(live, repo_id, user).given.status_code for user in (None, "outsider")] == [401, 403]
    assert Raw(live, repo_id, token=live.hub.add_user("alice", "read")).given.status_code == 403
    for token in ("nonsense", live.tokens["alice"]):
        assert given.xorb(b"data", token=token)[1].status_code == 401
    assert live.request("GET", f"/api/models/{repo_id}", token=given.token).status_code == 401
    # It is worth no more than the token behind it.
    mine = live.hub.add_user("alice")
    short = Raw(live, repo_id, token=mine)
    assert short.xorb(b"data")[1].status_code == 200
    live.hub._hub.database.change("DELETE FROM tokens WHERE digest = ?", sha256_of(mine.encode())[0])
    assert short.xorb(b"data")[1].status_code == 401
    gone = Raw(live, other_id)
    api.move_repo(other_id, f"{other_id}-moved")
    moved = gone.xorb(b"data")[1]
    assert moved.status_code == 307
    assert gone.xorb(b"data", place=moved.headers["Location"].partition("/v1/")[0])[1].status_code == 200
    api.delete_repo(f"{other_id}-moved")
    api.create_repo(other_id)
    assert gone.xorb(b"data")[1].status_code == 404
    # Nor is it worth more than a right that was taken away.
    live.hub._hub.accounts.add_org("xet-lab")
    live.hub._hub.accounts.set_member("xet-lab", "reader", "write")
    api_of_reader = live.api("reader")
    lent = Raw(live, api_of_reader.create_repo("xet-lab/shared").repo_id, "reader")
    assert lent.xorb(b"data")[1].status_code == 200
    live.hub._hub.accounts.set_member("xet-lab", "reader", "read")
    assert lent.xorb(b"data")[1].status_code == 403


def test_expired_tokens(live, repo_id, monkeypatch):
    monkeypatch.setattr(live.hub._hub.grants, "seconds", 0)
    assert Raw(live, repo_id).xorb(b"data")[1].status_code == 401


def test_bad_uploads(live, repo_id):
    given = Raw(live, repo_id)
    name, _ = given.xorb(b"good")
    poison = given.post(f"/v1/xorbs/default/{xorb_hash([(chunk_hash(b'other'), 5)])}", chunk(b"evil!"))
    assert poison.status_code == 400
    for bad_name in ("0" * 63, "..", "A" * 64, "%2e%2e%2f"):
        assert given.post(f"/v1/xorbs/default/{bad_name}", chunk(b"good")).status_code in (400, 404)
    assert given.post(f"/v1/xorbs/default/{'0' * 64}", b"").status_code == 400
    assert given.post(f"/v1/xorbs/default/{'0' * 64}", chunk(b"1") * 8193).status_code == 413
    bomb = chunk(bytes(15 << 20), LZ4) * 5
    assert len(bomb) < 1 << 20 and given.post(f"/v1/xorbs/default/{'0' * 64}", bomb).status_code == 413
    assert set(xorbs(live, repo_id)) == {name}
    sha256, digest = sha256_of(b"good")
    for terms in ([(raw(name), 4, 0, 2)], [(raw(name), 5, 0, 1)], [(raw(name), 4, 1, 0)], [(raw(name), 0, 9, 9)], []):
        refused = given.post("/v1/shards", shard((digest, terms)))
        assert refused.status_code in (400, 422), terms
    assert given.post("/v1/shards", shard((digest, [(raw(name), 1 << 31, 0, 1)] * 300_000))).status_code == 413
    assert given.post("/v1/shards", b"no shard").status_code == 400
    assert bound(live, repo_id, sha256) is None
    assert not list((live.hub.root / "incoming").iterdir())
    assert given.post("/v1/shards", shard((digest, [(raw(name), 4, 0, 1)]))).status_code == 200
    assert bound(live, repo_id, sha256) == 4


def test_nothing_is_removed_while_a_file_is_put_together(live, repo_id, monkeypatch):
    held = []

    def rebuild(self, *arguments, original=Xorbs.rebuild):
        with open(live.hub.root / guard.WRITING) as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held.append(True)
        return original(self, *arguments)

    monkeypatch.setattr(Xorbs, "rebuild", rebuild)
    given = Raw(live, repo_id)
    for route, data in (("/v1/shards", b"one"), ("/v2/shards", b"two")):
        name, _ = given.xorb(data)
        given.post(route, shard((sha256_of(data)[1], [(raw(name), 3, 0, 1)]))).raise_for_status()
        assert bound(live, repo_id, sha256_of(data)[0]) == 3
    assert held == [True, True]


def test_a_file_that_is_there_already_counts_as_fresh(live, repo_id):
    given, (sha256, digest) = Raw(live, repo_id), sha256_of(b"kept")
    name, _ = given.xorb(b"kept")
    body, stored = shard((digest, [(raw(name), 4, 0, 1)])), live.hub._hub.large_files.path(sha256)
    given.post("/v1/shards", body).raise_for_status()
    os.utime(stored, (0, 0))
    given.post("/v1/shards", body).raise_for_status()
    assert time.time() - stored.stat().st_mtime < 60


def put(store, folder, place, name, body):
    with store.receive() as incoming:
        incoming.write(body)
        return store.put(folder, place, name, incoming)


def test_xorbs_that_break_off_leave_nothing(tmp_path):
    (tmp_path / "incoming").mkdir()
    store = Xorbs(tmp_path, tmp_path / "incoming")
    place = store.place("repo")
    data = [os.urandom(1500), os.urandom(1500)]
    name = xorb_hash([(chunk_hash(one), 1500) for one in data])
    body = b"".join(map(chunk, data))
    for breaks_off in (body[:-1], body[:1400]):
        with pytest.raises(Refusal) as refused:
            put(store, "repo", place, name, breaks_off)
        assert refused.value.status == 400
    with pytest.raises(OSError, match="power"), store.receive() as incoming:
        incoming.write(body[:2000])
        raise OSError("the power is gone")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert put(store, "repo", place, name, body)
    assert store.place("repo") == place
    store.remove("repo")
    with pytest.raises(Refusal) as refused:
        put(store, "repo", place, name, body)
    assert refused.value.status == 404
    assert store.place("repo") != place


@pytest.mark.parametrize("told", [True, False], ids=["a boot id", "none"])
def test_xorbs_of_before_a_crash_are_never_read(tmp_path, monkeypatch, told):
    """They are not forced to the disk; where the machine does not say when it started, a place ends with its Hub."""
    boot = tmp_path / "boot"
    monkeypatch.setattr(xorbs_module, "_BOOT", boot)
    (tmp_path / "incoming").mkdir()
    if told:
        boot.write_text("before")
    name, body = xorb_hash([(chunk_hash(b"data"), 4)]), chunk(b"data")
    before = Xorbs(tmp_path, tmp_path / "incoming")
    place = before.place("repo")
    assert put(before, "repo", place, name, body)
    if told:
        assert Xorbs(tmp_path, tmp_path / "incoming").place("repo") == place
        boot.write_text("after")
    after = Xorbs(tmp_path, tmp_path / "incoming")
    with pytest.raises(Refusal) as refused:
        put(after, "repo", place, name, body)
    assert refused.value.status == 404
    assert after.place("repo") != place and not (tmp_path / "xorbs" / "repo" / place).exists()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), *[st.integers(0, 8) | st.integers(0, 2**32 - 1)] * 3), max_size=5),
    st.booleans(),
)
def test_whatever_a_shard_says_of_xorbs(tmp_path_factory, parts, afresh):
    root = tmp_path_factory.mktemp("store")
    (root / "incoming").mkdir()
    store = Xorbs(root, root / "incoming")
    data = [b"1", b"22", b"4444"]
    name = xorb_hash([(chunk_hash(one), len(one)) for one in data])
    put(store, "repo", store.place("repo"), name, b"".join(map(chunk, data)))
    if afresh:  # what was reckoned when it came is forgotten
        store = Xorbs(root, root / "incoming")
    names = {"a": raw(name), "b": bytes(32)}
    (recipe,) = read_shard(io.BytesIO(shard((bytes(32), [(names[which], *rest) for which, *rest in parts]))))
    try:
        hashes, chunks = zip(*[(b"", b""), *store.rebuild("repo", store.place("repo"), recipe)], strict=True)
        built = b"".join(chunks)
        assert list(hashes[1:]) == list(map(chunk_hash, chunks[1:]))
        assert built == b"".join(b"".join(data[start:end]) for _, _, start, end in parts)
        assert len(built) == recipe.size
    except Refusal as refusal:
        assert refusal.status == 400


SERVE = """
import sys
from hfvaccine.localhub.server import LocalHub
with LocalHub(sys.argv[1], port=int(sys.argv[2])) as hub:
    print(hub.endpoint, hub.add_user("alice"), flush=True)
    sys.stdin.read()
"""


@contextmanager
def serving(root, port=0):
    """A Hub in a process of its own, its address and a token; ends it when it still runs."""
    command = [sys.executable, "-c", SERVE, str(root), str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        yield server, *server.stdout.readline().split()
        server.stdin.close()
        server.wait(20)


@pytest.mark.slow
def test_files_of_200_megabytes_in_little_memory(tmp_path):
    with serving(tmp_path / "hub") as (server, endpoint, token):

        def memory(what):
            _, _, rest = Path(f"/proc/{server.pid}/status").read_text().partition(f"{what}:")
            return int(rest.split()[0]) / 1000

        before = memory("VmRSS")
        said = run(
            endpoint,
            token,
            tmp_path / "home",
            """
repo = api.create_repo("alice/large").repo_id
content = os.urandom(200_000_000)
path = home / "large.bin"
path.write_bytes(content[::-1])
for name, one in (("bytes.bin", content), ("path.bin", path)):
    began = time.monotonic()
    api.upload_file(path_or_fileobj=one, path_in_repo=name, repo_id=repo)
    print(name, "up", round(time.monotonic() - began, 2))
began = time.monotonic()
api.hf_hub_download(repo, "path.bin")
print("down", round(time.monotonic() - began, 2))
check(repo, **{"bytes.bin": content, "path.bin": content[::-1]})
""",
        )
        grown = memory("VmHWM") - before
        print(said, f"server: {before:.0f} MB before, {grown:.0f} MB more at most")
        assert grown < 100
    assert server.returncode == 0


@pytest.mark.slow
def test_a_killed_hub_has_no_half_xorb_and_uploads_begin_again(tmp_path):
    root, home, port = tmp_path / "hub", tmp_path / "home", 0
    home.mkdir()
    (home / "content").write_bytes(os.urandom(150 * MB))
    upload = """
repo = api.create_repo("alice/killed", exist_ok=True).repo_id
api.upload_file(path_or_fileobj=home / "content", path_in_repo="a.bin", repo_id=repo)
check(repo, **{"a.bin": (home / "content").read_bytes()})
"""
    for sent in range(4):  # the fourth time the Hub puts the file together
        with serving(root, port) as (server, endpoint, token):
            port = int(endpoint.rpartition(":")[2])
            with subprocess.Popen(
                [sys.executable, "-c", PRELUDE + upload],
                env=environment(endpoint, token, home),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ) as client:
                while len(list(root.glob("xorbs/*/*/*"))) < sent or not any((root / "incoming").iterdir()):
                    assert client.poll() is None, f"too late to kill it at {sent} xorbs"
                    time.sleep(0.002)
                server.kill()
                client.kill()
        for path in root.glob("xorbs/*/*/*"):
            with open(path, "rb") as file:
                chunks = [(chunk_hash(unpack(one, file.read(one.packed))), one.size) for one in read_chunks(file)]
            assert xorb_hash(chunks) == path.name
        assert not list(root.glob("large-files/*/*"))
    with serving(root, port) as (_, endpoint, token):
        run(endpoint, token, home, upload)
        assert not any((root / "incoming").iterdir())
