import errno
import hashlib
import io
from pathlib import Path

import httpx2
import pytest


def offer(live, repo_id, data, user="alice", operation="upload"):
    body = {"operation": operation, "objects": [{"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}]}
    answer = live.request("POST", f"/{repo_id}.git/info/lfs/objects/batch", user, json=body)
    return answer.raise_for_status().json()["objects"][0]


def test_megabytes_there_and_back(api, repo_id, data, tmp_path):
    (tmp_path / "file.bin").write_bytes(data)
    api.upload_file(path_or_fileobj=tmp_path / "file.bin", path_in_repo="path.bin", repo_id=repo_id)
    api.upload_file(path_or_fileobj=io.BytesIO(data[1:]), path_in_repo="object.bin", repo_id=repo_id)
    for name, expected in (("path.bin", data), ("object.bin", data[1:])):
        path = Path(api.hf_hub_download(repo_id, name, cache_dir=tmp_path / "cache"))
        assert path.read_bytes() == expected
        assert path.resolve().name == hashlib.sha256(expected).hexdigest()


def test_the_protocol_as_git_lfs_speaks_it(live, repo_id, data):
    actions = offer(live, repo_id, data)["actions"]
    assert httpx2.put(actions["upload"]["href"], content=data).status_code == 200
    check = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
    headers = {"Authorization": f"Bearer {live.tokens['alice']}"}
    assert httpx2.post(actions["verify"]["href"], json=check, headers=headers).status_code == 200
    assert "actions" not in offer(live, repo_id, data)
    href = offer(live, repo_id, data, None, "download")["actions"]["download"]["href"]
    assert httpx2.get(href).content == data
    missing = offer(live, repo_id, b"missing", None, "download")
    assert missing["error"]["code"] == 404 and "actions" not in missing


def test_what_arrives_must_be_what_was_announced(live, repo_id, data):
    href = offer(live, repo_id, data)["actions"]["upload"]["href"]
    for sent in (data[:-1], data + b"x", b"x" + data[1:], b""):
        assert httpx2.put(href, content=sent).status_code == 422
    assert "actions" in offer(live, repo_id, data)
    assert list((live.hub.root / "incoming").iterdir()) == []


def test_upload_addresses_cannot_be_changed(live, api, repo_id, data):
    other = api.create_repo(repo_id + "-other").repo_id
    href = offer(live, repo_id, data)["actions"]["upload"]["href"]
    oid = hashlib.sha256(data).hexdigest()
    for changed in (
        href.replace(repo_id + ".git", other + ".git"),
        href.replace(oid, "0" * 64),
        href.replace("expires=", "expires=9"),
        href.replace("size=", "size=1"),
        href.partition("&signature")[0],
        href + "ä",
    ):
        assert httpx2.put(changed, content=data).status_code == 403


def test_knowing_a_hash_gives_nothing(live, api, data):
    """A pointer to a file of somebody else's private repo must not open that file, by whatever route."""
    secret = b"SECRET" + data
    api.create_repo("alice/vault", private=True)
    api.upload_file(path_or_fileobj=secret, path_in_repo="s.bin", repo_id="alice/vault")
    oid = hashlib.sha256(secret).hexdigest()
    thief = live.api("outsider")
    repo_id = thief.create_repo("outsider/thief").repo_id
    assert "actions" in offer(live, repo_id, secret, "outsider")
    line = '{"key":"header","value":{"summary":"s"}}\n{"key":"lfsFile","value":{"path":"s.bin","oid":"%s","size":%d}}'
    claim = live.request("POST", f"/api/models/{repo_id}/commit/main", "outsider", content=line % (oid, len(secret)))
    assert claim.status_code == 422
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(secret)}\n".encode()
    thief.upload_file(path_or_fileobj=pointer, path_in_repo="s.txt", repo_id=repo_id)
    assert live.request("GET", f"/{repo_id}/resolve/main/s.txt").content == pointer
    assert thief.get_paths_info(repo_id, "s.txt")[0].lfs is None
    for path in (f"/{repo_id}.git/info/lfs/objects/{oid}", f"/alice/vault.git/info/lfs/objects/{oid}"):
        assert live.request("GET", path, "outsider").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"operation": "copy"},
        {"operation": "upload", "objects": [{}]},
        {"operation": "upload", "objects": [{"oid": "../x", "size": 1}]},
        {"operation": "upload", "objects": [{"oid": "0" * 64, "size": -1}]},
        {"operation": "upload", "objects": "x"},
    ],
)
def test_requests_that_make_no_sense(live, repo_id, body):
    assert live.request("POST", f"/{repo_id}.git/info/lfs/objects/batch", "alice", json=body).status_code == 422


def test_a_full_disk_is_told_and_keeps_nothing(live, api, repo_id, data, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("hfvaccine.localhub.large_files.Upload.write", full)
        with pytest.raises(RuntimeError) as refused:
            api.upload_file(path_or_fileobj=data, path_in_repo="x.bin", repo_id=repo_id)
    assert refused.value.__cause__.response.status_code == 507
    assert list((live.hub.root / "incoming").iterdir()) == []
    assert api.list_repo_files(repo_id) == [".gitattributes"]
