"""Copying files from one repo into another, which is for who may read the one and write to the other."""

import os
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, HfFileSystem
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from hfvaccine.localhub.upkeep.gc import collect

PATHS = ("a.txt", "large.bin")


@pytest.fixture
def source(api, repo_id, data):
    adds = [CommitOperationAdd("a.txt", b"small"), CommitOperationAdd("large.bin", data)]
    api.create_commit(repo_id, adds, commit_message="data")
    return repo_id


@pytest.fixture
def target(live, source):
    return live.api("reader").create_repo(f"reader/{source.partition('/')[2]}", repo_type="dataset").repo_id


def copy(api, source, target, paths=PATHS, create_pr=False):
    operations = [
        CommitOperationCopy(one, f"copied/{one}", src_repo_id=source, src_repo_type="model") for one in paths
    ]
    return api.create_commit(target, operations, commit_message="copy", repo_type="dataset", create_pr=create_pr)


def test_files_that_one_may_read(live, api, source, target, data, tmp_path):
    copy(live.api("reader"), source, target)
    api.delete_repo(source)
    down = [
        Path(api.hf_hub_download(target, f"copied/{one}", repo_type="dataset", local_dir=tmp_path)) for one in PATHS
    ]
    assert [one.read_bytes() for one in down] == [b"small", data]
    assert collect(live.hub.root).left_alone == []
    assert api.dataset_info(target, expand=["usedStorage"]).used_storage == len(data)


def test_a_gate_holds_copies_back(live, api, source, target):
    api.update_repo_settings(source, gated="manual")
    reader = live.api("reader")
    for paths in (PATHS, ("large.bin",), ("a.txt",)):
        with pytest.raises(GatedRepoError):
            copy(reader, source, target, paths)
    assert reader.dataset_info(target, expand=["usedStorage"]).used_storage == 0
    api.grant_access(source, "reader")
    copy(reader, source, target)
    api.update_repo_settings(source, private=True)
    with pytest.raises(RepositoryNotFoundError):
        copy(reader, source, target)


def test_what_is_refused(live, api, source, target):
    told = f"large.bin would be a large file: only who may write to {target} uploads those"
    for create_pr in (False, True):
        with pytest.raises(HfHubHTTPError, match=told) as refused:
            copy(api, source, target, ("large.bin",), create_pr)
        assert refused.value.response.status_code == 403
    assert list(api.get_repo_discussions(target, repo_type="dataset")) == []
    copy(api, source, target, ("a.txt",), create_pr=True)
    path, known = f"/api/models/{source}/lfs-files/duplicate", {"type": "dataset", "name": target}
    for body in ({}, {"target": known}, {"target": known, "files": "x"}, {"target": [], "files": []}):
        assert live.request("POST", path, "reader", json=body).status_code == 400
    secret = api.create_repo(f"{source}-secret", repo_type="dataset", private=True).repo_id
    for name in ("alice/not-there", secret):
        body = {"target": {"type": "dataset", "name": name}, "files": []}
        assert live.request("POST", path, "reader", json=body).status_code == 404


def test_a_hash_alone_opens_nothing(live, api, source, target):
    """A file of a repo that the caller cannot read, asked for by its hash at one that is open."""
    other = api.create_repo(f"{source}-other", private=True).repo_id
    api.upload_file(path_or_fileobj=os.urandom(500_000), path_in_repo="x.bin", repo_id=other)
    (info,) = api.get_paths_info(other, "x.bin")
    body = {"target": {"type": "dataset", "name": target}, "files": [{"sha256": info.lfs.sha256}]}
    answer = live.request("POST", f"/api/models/{source}/lfs-files/duplicate", "reader", json=body)
    assert [one["sha256"] for one in answer.json()["failed"]] == [info.lfs.sha256]
    line = f'{{"key": "lfsFile", "value": {{"path": "x", "algo": "sha256", "oid": "{info.lfs.sha256}"}}}}'
    body = '{"key": "header", "value": {"summary": "s"}}\n' + line
    assert live.request("POST", f"/api/datasets/{target}/commit/main", "reader", content=body).status_code == 422


def test_downloads_see_no_hash_of_xet(live, api, source, data, tmp_path):
    """What is told for the sake of copies must not send downloads to a place that is not there."""
    listed = list(api.list_repo_tree(source))
    (expanded,) = api.get_paths_info(source, "large.bin", expand=True)
    assert {one.xet_hash for one in [*listed, expanded]} == {None}
    files = HfFileSystem(endpoint=live.hub.endpoint, token=live.tokens["alice"], skip_instance_cache=True)
    assert files.info(f"{source}/large.bin", refresh=True)["size"] == len(data)
    files.get(f"{source}/large.bin", str(tmp_path / "large.bin"))
    assert (tmp_path / "large.bin").read_bytes() == data
