import errno
import hashlib
import io
from pathlib import Path
from unittest.mock import Mock

import httpx2
import pytest

from hfvaccine.localhub.routes import lfs
from hfvaccine.localhub.store.large_files import LargeFiles


def offer(live, repo_id, data, user="alice", operation="upload", **more):
    body = {"operation": operation, "objects": [{"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}], **more}
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
    assert offer(live, repo_id, secret, "outsider", "download")["error"]["code"] == 404
    body = {"oid": oid, "size": len(secret)}
    assert live.request("POST", f"/{repo_id}.git/info/lfs/objects/verify", "outsider", json=body).status_code == 404
    line = '{"key":"header","value":{"summary":"s"}}\n{"key":"lfsFile","value":{"path":"s.bin","oid":"%s","size":%d}}'
    claim = live.request("POST", f"/api/models/{repo_id}/commit/main", "outsider", content=line % (oid, len(secret)))
    assert claim.status_code == 422
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(secret)}\n".encode()
    thief.upload_file(path_or_fileobj=pointer, path_in_repo="s.txt", repo_id=repo_id)
    assert live.request("GET", f"/{repo_id}/resolve/main/s.txt").content == pointer
    assert thief.get_paths_info(repo_id, "s.txt")[0].lfs is None
    for path in (f"/{repo_id}.git/info/lfs/objects/{oid}", f"/alice/vault.git/info/lfs/objects/{oid}"):
        assert live.request("GET", path, "outsider").status_code == 404


@pytest.fixture
def megabyte_parts(monkeypatch):
    monkeypatch.setattr(lfs, "PART", 1 << 20)


def test_clients_upload_in_parts(api, repo_id, data, tmp_path, megabyte_parts, monkeypatch):
    joined, join = [], LargeFiles.join
    monkeypatch.setattr(LargeFiles, "join", lambda *given: (joined.append(len(given[2])), join(*given)))
    (tmp_path / "file.bin").write_bytes(data)
    api.upload_file(path_or_fileobj=tmp_path / "file.bin", path_in_repo="path.bin", repo_id=repo_id)
    api.upload_file(path_or_fileobj=io.BytesIO(data * 2), path_in_repo="object.bin", repo_id=repo_id)
    api.upload_file(path_or_fileobj=data[: 1 << 20], path_in_repo="small.bin", repo_id=repo_id)
    assert joined == [3, 6]
    for name, expected in (("path.bin", data), ("object.bin", data * 2), ("small.bin", data[: 1 << 20])):
        assert Path(api.hf_hub_download(repo_id, name, cache_dir=tmp_path / "cache")).read_bytes() == expected


def offer_parts(live, repo_id, data):
    """Address of the whole, and the addresses and bytes of the parts."""
    action = offer(live, repo_id, data, transfers=["basic", "multipart"])["actions"]["upload"]
    size = int(action["header"].pop("chunk_size"))
    assert list(action["header"]) == sorted(action["header"])
    starts = range(0, len(data), size)
    parts = [(url, data[start : start + size]) for url, start in zip(action["header"].values(), starts, strict=True)]
    return action["href"], parts


def send(parts):
    answers = [httpx2.put(url, content=part).raise_for_status() for url, part in parts]
    return [{"partNumber": number, "etag": one.headers["ETag"]} for number, one in enumerate(answers, 1)]


def test_parts_by_hand(live, repo_id, data, megabyte_parts):
    href, parts = offer_parts(live, repo_id, data)
    body = {"oid": hashlib.sha256(data).hexdigest(), "parts": send(parts)}
    for _ in range(2):  # a client that lost the first answer asks again
        assert httpx2.post(href, json=body).status_code == 200
    assert offer(live, repo_id, data).keys() == {"oid", "size"}
    signed = offer(live, repo_id, data, operation="download")["actions"]["download"]["href"]
    assert httpx2.get(signed).content == data
    assert not list((live.hub.root / "incoming").glob("parts-*"))


def test_all_objects_of_a_batch_go_the_same_way(live, repo_id, data, megabyte_parts):
    objects = [{"oid": hashlib.sha256(one).hexdigest(), "size": len(one)} for one in (data, b"small", b"")]
    for transfers, expected in ((["basic"], "basic"), (None, "basic"), (["multipart", "basic"], "multipart")):
        body = {"operation": "upload", "objects": objects, "transfers": transfers}
        answer = live.request("POST", f"/{repo_id}.git/info/lfs/objects/batch", "alice", json=body).json()
        assert answer["transfer"] == expected
        for one, parts in zip(answer["objects"], (3, 1, 0), strict=True):
            assert len(one["actions"]["upload"].get("header", ())) == (parts + 1 if expected == "multipart" else 0)
    body = {"operation": "upload", "objects": [{"oid": "0" * 64, "size": 1 << 49}], "transfers": ["multipart"]}
    answer = live.request("POST", f"/{repo_id}.git/info/lfs/objects/batch", "alice", json=body).json()
    numbers = [name for name in answer["objects"][0]["actions"]["upload"]["header"] if name != "chunk_size"]
    assert 9 < len(numbers) <= lfs.MOST_PARTS and numbers == sorted(numbers)


def test_parts_that_do_not_make_the_file(live, repo_id, data, megabyte_parts):
    href, parts = offer_parts(live, repo_id, data)
    oid = hashlib.sha256(data).hexdigest()
    for wrong in (b"", parts[0][1][:-1], parts[0][1] + b"x", parts[2][1]):
        assert httpx2.put(parts[0][0], content=wrong).status_code == 422
    sent = send(parts)
    other = httpx2.put(parts[1][0], content=bytes(1 << 20)).headers["ETag"]
    listings = {
        "a part too few": sent[:2],
        "another order": [sent[1], sent[0], sent[2]],
        "none": [],
        "no list": "x",
        "no objects": [1, 2, 3],
        "an etag of nothing": [*sent[:2], {"partNumber": 3, "etag": "../../x"}],
        "an etag longer than a file name": [*sent[:2], {"partNumber": 3, "etag": "x" * 5000}],
        "a part that was not sent": [*sent[:2], {"partNumber": 3, "etag": "0" * 64}],
        "other bytes": [sent[0], {"partNumber": 2, "etag": other}, sent[2]],
    }
    for why, listed in listings.items():
        assert httpx2.post(href, json={"oid": oid, "parts": listed}).status_code == 422, why
    assert httpx2.post(href, json={"oid": "0" * 64, "parts": sent}).status_code == 422
    assert httpx2.post(href, content=b"{").status_code == 400
    assert "actions" in offer(live, repo_id, data)
    assert httpx2.post(href, json={"oid": oid, "parts": sent}).status_code == 200


def test_addresses_of_parts_cannot_be_changed(live, api, repo_id, data, megabyte_parts, monkeypatch):
    href, parts = offer_parts(live, repo_id, data)
    url, part = parts[0]
    for changed in (url.replace("part=1", "part=2"), url.replace("upload=", "upload=0"), url.replace("part=1", "")):
        assert httpx2.put(changed, content=part).status_code == 403
    whole = {"oid": hashlib.sha256(data).hexdigest(), "parts": send(parts)}
    assert httpx2.post(href.replace("parts=3", "parts=2"), json=whole).status_code == 403
    assert httpx2.post(url, json=whole).status_code == 403
    assert httpx2.put(href, content=data).status_code == 403
    assert httpx2.post(href, json=whole).status_code == 200
    monkeypatch.setattr(lfs, "UPLOAD_SECONDS", -1)
    href, parts = offer_parts(live, repo_id, data[::-1])
    assert httpx2.put(parts[0][0], content=parts[0][1]).status_code == 403
    assert httpx2.post(href, json=whole).status_code == 403


def test_download_addresses(live, api, data, monkeypatch):
    repo_id = api.create_repo("alice/signed", private=True).repo_id
    api.upload_file(path_or_fileobj=data, path_in_repo="x.bin", repo_id=repo_id)
    api.create_repo("alice/signed-other")
    action = offer(live, repo_id, data, operation="download")["actions"]["download"]
    href = action["href"]
    assert action["expires_in"] > 0
    assert httpx2.get(href).content == data
    assert httpx2.head(href).headers["Content-Length"] == str(len(data))
    ranged = httpx2.get(href, headers={"Range": "bytes=3000000-"})
    assert (ranged.status_code, ranged.content) == (206, data[3_000_000:])
    for changed in (
        href.replace("alice/signed.git", "alice/signed-other.git"),
        href.replace(hashlib.sha256(data).hexdigest(), "0" * 64),
        href.replace("expires=", "expires=9"),
        href.replace("signature=", "signature=0"),
        href.replace("signature=", "part=1&signature="),
    ):
        assert httpx2.get(changed).status_code == 403
    assert httpx2.put(href, content=data).status_code == 403
    assert httpx2.get(href.partition("?")[0]).status_code == 401
    monkeypatch.setattr(lfs, "DOWNLOAD_SECONDS", -1)
    expired = offer(live, repo_id, data, operation="download")["actions"]["download"]["href"]
    assert httpx2.get(expired).status_code == 403


def test_refusals_are_told_as_git_lfs_shows_them(live, api, repo_id):
    api.update_repo_settings(repo_id, gated="manual")
    body = {"operation": "download", "objects": []}
    for user, status in ((None, 401), ("outsider", 403)):
        answer = live.request("POST", f"/{repo_id}.git/info/lfs/objects/batch", user, json=body)
        assert answer.status_code == status and "restricted" in answer.json()["message"]
        assert answer.headers["Content-Type"] == "application/vnd.git-lfs+json"
    assert live.request("POST", f"/{repo_id}.git/info/lfs/locks/verify", "alice", json={}).status_code == 404
    body = {"operation": "upload", "objects": [{"oid": "0" * 64, "size": 1}] * (lfs.MOST_OBJECTS + 1)}
    assert live.request("POST", f"/{repo_id}.git/info/lfs/objects/batch", "alice", json=body).status_code == 413


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
    full = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    with monkeypatch.context() as patched:
        patched.setattr("hfvaccine.localhub.store.large_files.Upload.write", full)
        with pytest.raises(RuntimeError) as refused:
            api.upload_file(path_or_fileobj=data, path_in_repo="x.bin", repo_id=repo_id)
    assert refused.value.__cause__.response.status_code == 507
    assert list((live.hub.root / "incoming").iterdir()) == []
    assert api.list_repo_files(repo_id) == [".gitattributes"]
