import hashlib
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import RemoteEntryNotFoundError

TEXT = b"0123456789"


@pytest.fixture
def filled(api, repo_id, data):
    adds = {"text.txt": TEXT, "large.bin": data, "a b/\u00fc#?%.txt": b"odd", "empty.txt": b""}
    operations = [CommitOperationAdd(path, content) for path, content in adds.items()]
    api.create_commit(repo_id, operations, commit_message="fill")
    return repo_id


def test_head(live, api, filled, data):
    urls = {name: hf_hub_url(filled, name, endpoint=live.hub.endpoint) for name in ("text.txt", "large.bin")}
    head = {name: get_hf_file_metadata(url) for name, url in urls.items()}
    sha = api.model_info(filled).sha
    assert head["text.txt"].commit_hash == head["large.bin"].commit_hash == sha
    assert (head["text.txt"].size, head["large.bin"].size) == (10, len(data))
    assert head["text.txt"].etag == hashlib.sha1(b"blob 10\0" + TEXT).hexdigest()
    assert head["large.bin"].etag == hashlib.sha256(data).hexdigest()


RANGES = [("0-3", 0, 4), ("5-", 5, None), ("-3", -3, None), ("0-99999999", 0, None), ("9-9", 9, 10)]


@pytest.mark.parametrize(("asked", "start", "end"), RANGES)
def test_ranges(live, filled, data, asked, start, end):
    for name, whole in (("text.txt", TEXT), ("large.bin", data)):
        response = live.request("GET", f"/{filled}/resolve/main/{name}", headers={"Range": f"bytes={asked}"})
        assert response.status_code == 206
        assert response.content == whole[start:end]
        assert response.headers["Content-Range"].endswith(f"/{len(whole)}")


@pytest.mark.parametrize("asked", ["bytes=10000000-", "bytes=5-2", "bytes=-", "bytes=0-1,3-4", "chunks=1", "bytes=-0"])
def test_bad_ranges(live, filled, asked):
    response = live.request("GET", f"/{filled}/resolve/main/text.txt", headers={"Range": asked})
    assert (response.status_code, response.headers["Content-Range"]) == (416, "bytes */10")


def test_missing_files_say_at_which_commit(live, api, filled):
    for path in ("..%2f..%2fhub.sqlite3", "../../../../etc/passwd", "text.txt/x", "a%20b", "%00", "%ff"):
        response = live.request("HEAD", f"/{filled}/resolve/main/{path}")
        assert response.status_code in (401, 404) and "X-Error-Code" in response.headers
    response = live.request("HEAD", f"/{filled}/resolve/main/missing.txt")
    assert response.headers["X-Error-Code"] == "EntryNotFound"
    assert response.headers["X-Repo-Commit"] == api.model_info(filled).sha
    assert live.request("GET", f"/{filled}/resolve/x/text.txt").headers["X-Error-Code"] == "RevisionNotFound"


def test_missing_files_are_remembered(api, filled, tmp_path):
    with pytest.raises(RemoteEntryNotFoundError):
        api.hf_hub_download(filled, "missing.txt", cache_dir=tmp_path)
    assert [path.name for path in tmp_path.glob("*/.no_exist/*/*")] == ["missing.txt"]


def test_snapshot(api, filled, data, tmp_path):
    first = api.model_info(filled).sha
    api.upload_file(path_or_fileobj=b"later", path_in_repo="text.txt", repo_id=filled)
    folder = Path(api.snapshot_download(filled, cache_dir=tmp_path / "cache"))
    assert (folder / "text.txt").read_text() == "later"
    assert (folder / "a b/\u00fc#?%.txt").read_text() == "odd"
    assert (folder / "large.bin").read_bytes() == data
    assert (folder / "empty.txt").read_bytes() == b""
    old = Path(api.snapshot_download(filled, revision=first, local_dir=tmp_path / "old", allow_patterns="*.txt"))
    assert sorted(path.name for path in old.iterdir()) == [".cache", "a b", "empty.txt", "text.txt"]
    assert (old / "text.txt").read_bytes() == TEXT


def test_raw_is_what_git_holds(live, filled, data):
    assert live.request("GET", f"/{filled}/raw/main/text.txt").content == TEXT
    assert hashlib.sha256(data).hexdigest() in live.request("GET", f"/{filled}/raw/main/large.bin").text


def test_files_are_inert_in_a_browser(live, api, filled):
    api.upload_file(path_or_fileobj=b"<script>alert(1)</script>", path_in_repo="x.html", repo_id=filled)
    headers = live.request("GET", f"/{filled}/resolve/main/x.html").headers
    assert headers["Content-Type"].startswith("text/plain")
    assert "sandbox" in headers["Content-Security-Policy"] and headers["X-Content-Type-Options"] == "nosniff"
