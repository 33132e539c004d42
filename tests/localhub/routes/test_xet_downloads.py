"""Downloads by the real hf_xet, and what the routes behind them refuse."""

import logging
import os

import pytest
from localhub.routes.test_xet import Raw, client, run, sha256_of  # noqa: F401 - `client` is a fixture
from localhub.store.test_xet import chunk_hash, raw, shard

from hfvaccine.localhub.store.xet import file_hash

UPLOAD = """
content = os.urandom(int(arguments[1]))
(home / "content").write_bytes(content)
info = api.upload_file(path_or_fileobj=content, path_in_repo="a.bin", repo_id=arguments[0])
"""
DOWNLOAD = """
import shutil
from huggingface_hub import hf_hub_download, snapshot_download
for _ in range(2):
    assert Path(hf_hub_download(arguments[0], "a.bin")).read_bytes() == Path(arguments[1]).read_bytes()
    shutil.rmtree(constants.HF_HUB_CACHE)
assert (Path(snapshot_download(arguments[0])) / "a.bin").read_bytes() == Path(arguments[1]).read_bytes()
"""


def asked(caplog, method, part):
    return sum(f'"method": "{method}"' in line and part in line for line in caplog.messages)


@pytest.mark.parametrize("size", [1, 70_000, 70_000_001])
def test_files_come_down_as_they_went_up(live, client, repo_id, tmp_path, caplog, size):  # noqa: F811
    client(UPLOAD, repo_id, str(size))
    with caplog.at_level(logging.INFO, "hfvaccine.localhub.access"):
        client(DOWNLOAD, repo_id, str(tmp_path / "home" / "content"), home=tmp_path / "another")
    # Twice with a question for the hash; a listing has told it to whoever wants all.
    assert asked(caplog, "HEAD", "a.bin") == 2 and asked(caplog, "GET", "resolve/main/a.bin") == 0
    assert asked(caplog, "GET", "/xet-xorbs/") >= 3 and asked(caplog, "GET", "/xet-read-token/") == 1


def test_the_hash_is_the_one_that_clients_compute(live, api, repo_id, client, tmp_path):  # noqa: F811
    hash_files = pytest.importorskip("hf_xet").hash_files
    for size in (1, 70_000, 3_000_000):
        client(UPLOAD, repo_id, str(size))
        (hashed,) = hash_files([str(tmp_path / "home" / "content")])
        expanded, plain = (api.get_paths_info(repo_id, "a.bin", expand=expand)[0] for expand in (True, False))
        (listed,) = [one for one in api.list_repo_tree(repo_id) if one.path == "a.bin"]
        assert {expanded.xet_hash, plain.xet_hash, listed.xet_hash} == {hashed.hash}
        head = live.request("HEAD", f"/{repo_id}/resolve/main/a.bin")
        assert head.headers["X-Xet-Hash"] == hashed.hash


def test_what_came_by_other_ways_comes_down_by_http(live, api, repo_id):
    api.upload_file(path_or_fileobj=b"\0" * 1000, path_in_repo="a.bin", repo_id=repo_id)
    head = live.request("HEAD", f"/{repo_id}/resolve/main/a.bin")
    assert head.status_code == 200 and not [name for name in head.headers if "xet" in name.lower()]
    assert "xet" not in live.request("GET", f"/api/models/{repo_id}/tree/main?expand=true").text.lower()


class Reading:
    """The protocol without a client, on a file that was handed in by Xet and never committed."""

    def __init__(self, live, repo_id, data):
        writing = Raw(live, repo_id)
        name, _ = writing.xorb(data)
        writing.post("/v1/shards", shard((sha256_of(data)[1], [(raw(name), len(data), 0, 1)]))).raise_for_status()
        self._live = live
        self.hash = file_hash([(chunk_hash(data), len(data))])
        self.path = f"/api/models/{repo_id}/xet-read-token/main"

    def ask(self, user="alice", token="", of=None, **more):
        """What is answered to whoever asks with a token of that user for it."""
        given = self._live.request("GET", self.path, user, token=token)
        if given.status_code != 200:
            return given
        place = given.json()["casUrl"].removeprefix(self._live.hub.endpoint)
        path = f"{place}/v1/reconstructions/{of or self.hash}"
        return self._live.request("GET", path, token=given.json()["accessToken"], **more)


def test_who_may_read_a_repo_and_nobody_else(live, api, repo_id):
    data = os.urandom(1000)
    mine = Reading(live, repo_id, data)
    assert [mine.ask(user).status_code for user in ("alice", "outsider", None)] == [200, 200, 200]
    (fetch,) = mine.ask().json()["fetch_info"].values()
    url = fetch[0]["url"].removeprefix(live.hub.endpoint)
    assert live.request("GET", url).content[8:] == data
    assert live.request("HEAD", url).headers["Content-Length"] == "1008"
    api.update_repo_settings(repo_id, gated="manual")
    refused = [mine.ask(user) for user in ("outsider", None)]
    assert [(one.status_code, one.headers["X-Error-Code"]) for one in refused] == [
        (403, "GatedRepo"),
        (401, "GatedRepo"),
    ]
    api.update_repo_settings(repo_id, gated=False, visibility="private")
    assert [mine.ask(user).status_code for user in ("alice", "outsider", None)] == [200, 404, 401]
    # A hash is no key to a file of another repo, nor is an address of it.
    other = Reading(live, api.create_repo(f"{repo_id}-other").repo_id, b"other")
    assert other.ask("outsider", of=mine.hash).status_code == 404
    for changed in (url.replace("part=0", "part=1"), url.replace(repo_id, f"{repo_id}-other"), url.split("?")[0]):
        assert live.request("GET", changed).status_code == 403
    # A token is for what it was made for, and worth no more than the one behind it.
    written = Raw(live, repo_id)
    assert (
        live.request("GET", f"{written.place}/v1/reconstructions/{mine.hash}", token=written.token).status_code == 404
    )
    short = live.hub.add_user("alice")
    given = live.request("GET", mine.path, token=short).json()
    place = given["casUrl"].removeprefix(live.hub.endpoint)
    assert written.post("/v1/shards", b"", token=given["accessToken"]).status_code == 401
    live.hub._hub.database.change("DELETE FROM tokens WHERE digest = ?", sha256_of(short.encode())[0])
    path = f"{place}/v1/reconstructions/{mine.hash}"
    for token in (given["accessToken"], written.token, live.tokens["alice"], "nonsense"):
        assert live.request("GET", path, token=token).status_code == 401


def test_parts_of_a_file(live, repo_id):
    data = os.urandom(1000)
    reading = Reading(live, repo_id, data)
    found = reading.ask(headers={"Range": "bytes=100-199"}).json()
    assert found["offset_into_first_range"] == 100
    (term,) = found["terms"]
    assert term["range"] == {"start": 0, "end": 1} and term["unpacked_length"] == 1000
    (fetch,) = found["fetch_info"][term["hash"]]
    assert fetch["range"] == term["range"] and fetch["url_range"] == {"start": 0, "end": 1007}
    url = fetch["url"].removeprefix(live.hub.endpoint)
    part = live.request("GET", url, headers={"Range": "bytes=8-11"})
    assert (part.status_code, part.content) == (206, data[:4])
    assert reading.ask(headers={"Range": "bytes=1000-"}).status_code == 416
    for unknown in ("0" * 64, "nonsense"):
        refused = reading.ask(of=unknown)
        assert (refused.status_code, refused.headers["X-Error-Code"]) == (404, "EntryNotFound")


REFUSED = """
from huggingface_hub.errors import GatedRepoError
try:
    api.hf_hub_download(arguments[0], "a.bin")
except GatedRepoError as error:
    print("gated")
"""


def test_clients_are_refused_as_by_http(live, api, client, repo_id, tmp_path):  # noqa: F811
    client(UPLOAD, repo_id, "1000")
    api.update_repo_settings(repo_id, gated="manual")
    told = run(live.hub.endpoint, live.tokens["outsider"], tmp_path / "outsider", REFUSED, repo_id)
    assert told == "gated\n"
