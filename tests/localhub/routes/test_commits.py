import errno
import json
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import pytest
from dulwich.object_store import DiskObjectStore
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, RevisionNotFoundError


def ndjson(*operations, summary="raw"):
    lines = [("header", {"summary": summary}), *operations]
    return "\n".join(json.dumps({"key": key, "value": value}) for key, value in lines)


def add(path, content="eA=="):
    return "file", {"path": path, "content": content, "encoding": "base64"}


def test_add_copy_delete(api, repo_id, data):
    first = api.create_commit(
        repo_id,
        [CommitOperationAdd("a.bin", data), CommitOperationAdd("b/c.txt", b"c"), CommitOperationAdd("d.txt", b"d")],
        commit_message="one",
        commit_description="all of it",
    )
    assert first.commit_url.endswith(f"/{repo_id}/commit/{first.oid}")
    api.create_commit(
        repo_id,
        [
            CommitOperationCopy("a.bin", "copy.bin"),
            CommitOperationDelete("b/"),
            CommitOperationDelete("a.bin"),
            CommitOperationAdd("d.txt", b"new"),
        ],
        commit_message="two",
    )
    assert sorted(api.list_repo_files(repo_id)) == [".gitattributes", "copy.bin", "d.txt"]
    assert sorted(api.list_repo_files(repo_id, revision=first.oid)) == [".gitattributes", "a.bin", "b/c.txt", "d.txt"]
    assert api.list_repo_commits(repo_id)[1].message == "all of it"


def test_upload_folder_skips_what_is_there(api, repo_id, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/text.txt").write_text("text")
    (tmp_path / "weights.safetensors").write_bytes(b"\0" * 5000)
    first = api.upload_folder(repo_id=repo_id, folder_path=tmp_path)
    assert api.upload_folder(repo_id=repo_id, folder_path=tmp_path).oid == first.oid
    assert {"sub/text.txt", "weights.safetensors"} < set(api.list_repo_files(repo_id))
    api.upload_folder(repo_id=repo_id, folder_path=tmp_path / "sub", delete_patterns="*.safetensors")
    assert sorted(api.list_repo_files(repo_id)) == [".gitattributes", "sub/text.txt", "text.txt"]


def test_a_parent_that_is_not_the_head(api, repo_id):
    parent = api.model_info(repo_id).sha
    api.create_commit(repo_id, [CommitOperationAdd("a", b"1")], commit_message="one", parent_commit=parent)
    with pytest.raises(HfHubHTTPError, match="The branch was updated since") as refused:
        api.create_commit(repo_id, [CommitOperationAdd("a", b"2")], commit_message="two", parent_commit=parent)
    assert refused.value.response.status_code == 412


def test_revisions_that_take_no_commit(live, api, repo_id):
    with pytest.raises(RevisionNotFoundError):
        api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=repo_id, revision="missing")
    for revision in (api.model_info(repo_id).sha, "refs%2Ftags%2Fv1", "..%2F..%2Fmain"):
        response = live.request("POST", f"/api/models/{repo_id}/commit/{revision}", "alice", content=ndjson(add("x")))
        assert response.status_code in (400, 404)
    assert api.list_repo_files(repo_id) == [".gitattributes"]


@pytest.mark.parametrize(
    "operation",
    [
        ("lfsFile", {"path": "large.bin", "algo": "sha256", "oid": "0" * 64, "size": 5}),
        ("lfsFile", {"path": "large.bin", "oid": None}),
        ("deletedFile", {"path": "missing"}),
        ("deletedFolder", {"path": "good.txt"}),
        ("unknown", {}),
        ("file", {"path": "x", "content": "not base64!"}),
        ("file", {"path": "x", "content": "eA==", "encoding": "rot13"}),
        add("../outside"),
        add("/etc/passwd"),
        add(".git/config"),
        add("good.txt/below"),
        add(None),
    ],
)
def test_one_bad_operation_refuses_the_whole_commit(live, api, repo_id, operation):
    head = api.model_info(repo_id).sha
    content = ndjson(add("good.txt"), operation)
    response = live.request("POST", f"/api/models/{repo_id}/commit/main", "alice", content=content)
    assert 400 <= response.status_code < 500
    info = api.model_info(repo_id)
    assert (info.sha, [one.rfilename for one in info.siblings]) == (head, [".gitattributes"])


HEADLESS = ["", "\n", "5\n", '{"key": 1}', '{"key": "header", "value": {}}', ndjson(summary=" ")]


@pytest.mark.parametrize("content", HEADLESS)
def test_commits_without_a_header(live, repo_id, content):
    response = live.request("POST", f"/api/models/{repo_id}/commit/main", "alice", content=content)
    assert response.status_code == 400


def test_bad_paths_are_refused_before_the_upload(live, repo_id):
    for path in ("../x", "/x", "a//b", ""):
        files = {"files": [{"path": path, "sample": "", "size": 1}]}
        response = live.request("POST", f"/api/models/{repo_id}/preupload/main", "alice", json=files)
        assert response.status_code == 422


def test_upload_modes(live, api, repo_id):
    api.upload_file(path_or_fileobj=b"*.log\n", path_in_repo=".gitignore", repo_id=repo_id)
    text, binary = "eHl6", "AAEC"
    files = [("a.txt", text, 3), ("a.txt", text, 11 << 20), ("a.dat", binary, 3), ("b.parquet", text, 3)]
    files.append(("c.log", text, 3))
    body = {"files": [{"path": path, "sample": sample, "size": size} for path, sample, size in files]}
    said = live.request("POST", f"/api/models/{repo_id}/preupload/main", "alice", json=body).json()["files"]
    assert [one["uploadMode"] for one in said] == ["regular", "lfs", "lfs", "lfs", "regular"]
    assert [one["shouldIgnore"] for one in said] == [False, False, False, False, True]


def test_many_writers_lose_nothing(api, repo_id):
    def write(number):
        for part in range(5):
            operation = CommitOperationAdd(f"{number}/{part}", b"x")
            api.create_commit(repo_id, [operation], commit_message=f"{number} {part}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert len(api.list_repo_files(repo_id)) == 21
    assert len(api.list_repo_commits(repo_id)) == 21


def test_cards_are_checked(live, api, repo_id):
    with pytest.raises(ValueError, match="Invalid metadata"):
        api.upload_file(path_or_fileobj=b"---\nlicense: [\n---\n", path_in_repo="README.md", repo_id=repo_id)
    ask = {"content": "# no metadata", "repoType": "model"}
    answer = live.request("POST", "/api/validate-yaml", json=ask).json()
    assert answer == {"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]}
    ask["content"] = "---\na: [\n---\n"
    plain = live.request("POST", "/api/validate-yaml", json=ask, headers={"Accept": "text/plain"})
    assert plain.status_code == 400 and plain.text.startswith("- Error: ")


@pytest.mark.parametrize(
    "card",
    [
        b"---\nlicense: [\n---\n",
        b"---\na: &x 1\nb: *x\n---\n",
        b"---\n- a\n---\n",
        b"---\nmodel-index: 5\n---\n",
        b"---\ntags: {a: b}\n---\n",
    ],
)
def test_a_commit_that_leaves_the_check_out_is_refused_all_the_same(live, api, repo_id, card, monkeypatch):
    with pytest.raises(ValueError) as asked:
        api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=repo_id)
    monkeypatch.setattr(HfApi, "_validate_yaml", lambda *args, **more: None)
    for create_pr in (False, True):
        with pytest.raises(BadRequestError) as refused:
            api.create_commit(
                repo_id,
                [CommitOperationAdd("a.txt", b"a"), CommitOperationAdd("README.md", card)],
                commit_message="x",
                create_pr=create_pr,
            )
        assert refused.value.response.json()["error"] == str(asked.value)
    assert api.list_repo_files(repo_id) == [".gitattributes"] and list(api.get_repo_discussions(repo_id)) == []
    api.upload_file(path_or_fileobj=card, path_in_repo="docs/README.md", repo_id=repo_id)
    api.upload_file(path_or_fileobj=b"no metadata", path_in_repo="README.md", repo_id=repo_id)


def test_a_card_is_checked_for_the_kind_of_its_repo(live, api, repo_id):
    card = b"---\nsdk: foo\n---\n"
    api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=repo_id)
    space = api.create_repo(f"{repo_id}-space", repo_type="space", space_sdk="static").repo_id
    told = 'Invalid card metadata: "sdk" must be one of gradio, streamlit, docker, static, not "foo"'
    with pytest.raises(ValueError, match=told):
        api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=space, repo_type="space")
    lines = [{"key": "header", "value": {"summary": "s"}}]
    lines.append({"key": "file", "value": {"path": "README.md", "content": card.decode(), "encoding": "utf-8"}})
    body = "\n".join(json.dumps(line) for line in lines)
    answer = live.request("POST", f"/api/spaces/{space}/commit/main", "alice", content=body)
    assert answer.status_code == 400 and answer.json()["errors"] == [{"message": told}]
    ask = {"content": "", "repoType": "bucket"}
    assert live.request("POST", "/api/validate-yaml", json=ask).status_code == 400


def test_a_full_disk_is_told_and_keeps_nothing(live, api, repo_id, monkeypatch):
    head = api.model_info(repo_id).sha

    full = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    with monkeypatch.context() as patched:
        patched.setattr(DiskObjectStore, "add_object", full)
        with pytest.raises(HfHubHTTPError, match="disk is full") as refused:
            api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=repo_id)
    assert refused.value.response.status_code == 507
    assert api.model_info(repo_id).sha == head
    api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=repo_id)
