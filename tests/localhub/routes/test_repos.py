from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, constants
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from hfvaccine.localhub.upkeep.fsck import Fsck
from hfvaccine.localhub.upkeep.gc import collect


def test_create_twice(live, api):
    address = api.create_repo("alice/twice", private=True)
    assert address == f"{live.hub.endpoint}/alice/twice"
    assert api.create_repo("Alice/Twice", exist_ok=True) == address
    with pytest.raises(HfHubHTTPError) as refused:
        api.create_repo("alice/twice")
    assert refused.value.response.status_code == 409
    assert api.model_info("alice/twice").private


def test_a_name_alone_goes_to_ones_own_namespace(api):
    assert api.create_repo("alone", repo_type="dataset").repo_id == "alice/alone"
    assert api.create_repo("alone").repo_type == "model"
    assert api.create_repo("room", repo_type="space", space_sdk="static").repo_type == "space"


def test_a_space_is_a_repo_like_others(live, api, tmp_path):
    api.create_repo("alice/space", repo_type="space", space_sdk="gradio", private=True)
    files = {"README.md": b"---\nsdk: gradio\nmodels: [alice/model]\nlicense: mit\n---\n# The Space\n", "app.py": b"1"}
    operations = [CommitOperationAdd(name, content) for name, content in files.items()]
    sent = api.create_commit("alice/space", operations, commit_message="Show it", repo_type="space")
    info = api.space_info("alice/space", files_metadata=True)
    assert (info.sha, info.sdk, info.private) == (sent.oid, "gradio", True) and "model:alice/model" in info.tags
    assert (
        Path(api.hf_hub_download("alice/space", "app.py", repo_type="space", cache_dir=tmp_path)).read_bytes() == b"1"
    )
    for path in ("/api/spaces/alice/space", "/spaces/alice/space", "/spaces/alice/space/resolve/main/app.py"):
        assert live.request("GET", path).status_code == 401
    assert "alice/space" not in [one.id for one in live.api(None).list_spaces()]
    api.update_repo_settings("alice/space", repo_type="space", private=False)
    assert "alice/space" in [one.id for one in live.api(None).list_spaces(author="alice")]
    for path, holds in (("/spaces/alice/space", "The Space"), ("/spaces", "alice/space")):
        assert holds in live.request("GET", path).text
    with pytest.raises(HfHubHTTPError):
        live.api("outsider").upload_file(
            path_or_fileobj=b"2", path_in_repo="app.py", repo_id="alice/space", repo_type="space"
        )


def test_a_new_space_says_what_it_is_made_with(live, api):
    for sdk in constants.SPACES_SDK_TYPES:
        repo_id = api.create_repo(f"alice/{sdk}-room", repo_type="space", space_sdk=sdk).repo_id
        info = api.space_info(repo_id)
        assert (info.sdk, info.card_data.title) == (sdk, f"{sdk}-room")
        assert [one.title for one in api.list_repo_commits(repo_id, repo_type="space")] == ["initial commit"]
    for sdk in ("foo", None, ["gradio"]):
        body = {"name": "no-room", "type": "space", "sdk": sdk}
        answer = live.request("POST", "/api/repos/create", "alice", json=body)
        assert answer.status_code == 400 and "choose one of gradio, streamlit" in answer.json()["error"]
    assert not api.repo_exists("alice/no-room", repo_type="space")


def test_what_needs_a_running_space_is_not_offered(live, api):
    repo_id = api.create_repo("alice/at-rest", repo_type="space", space_sdk="static", private=True).repo_id
    for ask in (
        lambda: api.get_space_runtime(repo_id),
        lambda: api.restart_space(repo_id),
        lambda: api.add_space_secret(repo_id, "key", "value"),
        lambda: api.delete_space_variable(repo_id, "key"),
        lambda: api.create_repo("alice/hot", repo_type="space", space_sdk="static", space_hardware="cpu-basic"),
    ):
        with pytest.raises(HfHubHTTPError, match="No Space runs on this Hub") as refused:
            ask()
        assert refused.value.response.status_code == 501
    for user in ("outsider", None):
        with pytest.raises(RepositoryNotFoundError):
            live.api(user).get_space_runtime(repo_id)
    api.move_repo(repo_id, "alice/moved-at-rest", repo_type="space")
    assert live.request("GET", f"/api/spaces/{repo_id}/runtime", "alice").status_code == 307
    dataset = api.create_repo("alice/no-viewer", repo_type="dataset").repo_id
    answer = live.request("GET", f"/api/datasets/{dataset}/parquet", "alice")
    assert answer.status_code == 404 and "X-Error-Code" not in answer.headers


@pytest.mark.parametrize("name", ["bob/x", "outsider/x"])
def test_other_namespaces_are_closed(api, name):
    with pytest.raises(HfHubHTTPError) as refused:
        api.create_repo(name)
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("name", ["..", "../x", "a/b/c", ".git", "x.git", "", None, "x" * 200, 5, "a\0b"])
def test_names_that_no_repo_can_have(live, name):
    assert live.request("POST", "/api/repos/create", "alice", json={"name": name}).status_code in (400, 403)


def test_anonymous_creates_nothing(live):
    assert live.request("POST", "/api/repos/create", json={"name": "x"}).status_code == 401


def test_private_gate_commit_open(live, api):
    """The order in which a dose is published: at no moment can it be read without leave."""
    reader = live.api("reader")
    api.create_repo("alice/dose", repo_type="dataset", private=True)
    api.update_repo_settings("alice/dose", repo_type="dataset", gated="manual")
    api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id="alice/dose", repo_type="dataset")
    with pytest.raises(RepositoryNotFoundError):
        reader.dataset_info("alice/dose")
    api.update_repo_settings("alice/dose", repo_type="dataset", visibility="public")
    info = reader.dataset_info("alice/dose")
    assert (info.private, info.gated) == (False, "manual")
    assert {one.rfilename for one in info.siblings} == {".gitattributes", "x.txt"}
    api.update_repo_settings("alice/dose", repo_type="dataset", gated=False)
    assert reader.file_exists("alice/dose", "x.txt", repo_type="dataset")


def test_delete(api, repo_id):
    api.delete_repo(repo_id)
    with pytest.raises(RepositoryNotFoundError):
        api.model_info(repo_id)
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo(repo_id)
    api.delete_repo(repo_id, missing_ok=True)


def test_a_new_repo_of_an_old_name_has_nothing_of_the_old(api, repo_id, data):
    api.upload_file(path_or_fileobj=data, path_in_repo="a.bin", repo_id=repo_id)
    api.delete_repo(repo_id)
    api.create_repo(repo_id)
    assert api.list_repo_files(repo_id) == [".gitattributes"]
    assert api.model_info(repo_id, expand=["usedStorage"]).used_storage == 0


def test_duplicate(live, api, repo_id, data, tmp_path):
    for content in (data, b"small"):
        api.upload_file(path_or_fileobj=content, path_in_repo="a.bin", repo_id=repo_id)
    api.create_branch(repo_id, branch="deep/branch")
    api.create_tag(repo_id, tag="v1", tag_message="first")
    api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=repo_id, create_pr=True)
    api.update_repo_settings(repo_id, private=True, gated="manual")
    copy = api.duplicate_repo(repo_id, f"{repo_id}-copy").repo_id
    before, after = api.list_repo_commits(repo_id), api.list_repo_commits(copy)
    assert [one.commit_id for one in after] == [one.commit_id for one in before]
    old, new = api.list_repo_refs(repo_id), api.list_repo_refs(copy, include_pull_requests=True)
    assert (new.branches, new.tags, new.pull_requests) == (old.branches, old.tags, [])
    assert list(api.get_repo_discussions(copy)) == []
    info = api.model_info(copy)
    assert (info.private, info.gated) == (True, "manual")
    assert live.request("GET", f"/api/models/{copy}/commits/main", "reader").status_code == 404
    api.delete_repo(repo_id)
    assert collect(live.hub.root).left_alone == []
    past = api.hf_hub_download(copy, "a.bin", revision=after[1].commit_id, cache_dir=tmp_path)
    assert Path(past).read_bytes() == data
    assert [str(one) for one in Fsck(live.hub.root).run() if copy in str(one)] == []
    with pytest.raises(HfHubHTTPError) as refused:
        api.duplicate_repo(copy, copy)
    assert refused.value.response.status_code == 409
    assert api.duplicate_repo(copy, copy, exist_ok=True).repo_id == copy


def test_who_duplicates(live, api, repo_id):
    api.update_repo_settings(repo_id, gated="manual")
    reader, name = live.api("reader"), repo_id.partition("/")[2]
    with pytest.raises(GatedRepoError):
        reader.duplicate_repo(repo_id)
    api.grant_access(repo_id, "reader")
    with pytest.raises(HfHubHTTPError, match="under the namespace 'alice'"):
        reader.duplicate_repo(repo_id, "alice/taken-over")
    assert not api.repo_exists("alice/taken-over") and not api.repo_exists(f"reader/{name}")
    copy = reader.duplicate_repo(repo_id, private=True).repo_id
    info = reader.model_info(copy)
    assert (copy, info.private, info.gated) == (f"reader/{name}", True, "manual")
    for body in ({}, {"repository": 5}, {"repository": "a/b/c"}, {"repository": "x", "visibility": "protected"}):
        assert live.request("POST", f"/api/models/{repo_id}/duplicate", "reader", json=body).status_code == 400
    api.create_repo("alice/to-copy", repo_type="space", space_sdk="docker")
    assert (
        api.space_info(api.duplicate_repo("alice/to-copy", "alice/copied", repo_type="space").repo_id).sdk == "docker"
    )


def test_move(live, api, repo_id, tmp_path):
    api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=repo_id)
    api.create_repo("alice/taken", exist_ok=True)
    with pytest.raises(HfHubHTTPError, match="already exists"):
        api.move_repo(repo_id, "alice/taken")
    target = repo_id + "-moved"
    api.move_repo(repo_id, target)
    assert api.model_info(repo_id).id == target
    assert Path(api.hf_hub_download(repo_id, "x.txt", cache_dir=tmp_path)).read_text() == "x"
    response = live.request("GET", f"/api/models/{repo_id}/tree/main?recursive=true")
    assert response.status_code == 307
    assert response.headers["Location"] == f"/api/models/{target}/tree/main?recursive=true"
    api.update_repo_settings(target, private=True)
    assert live.request("GET", f"/api/models/{repo_id}").status_code == 401
    api.create_repo(repo_id)
    assert api.model_info(repo_id).id == repo_id
