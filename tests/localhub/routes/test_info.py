import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError

CARD = b"""---
license: apache-2.0
library_name: peft
tags: [immunization]
datasets: [alice/dose]
model-index:
- name: m
  results:
  - task: {type: text-generation}
    dataset: {name: probes, type: alice/dose}
    metrics: [{type: auroc, value: 0.75}]
---
# The model
"""


@pytest.fixture
def filled(api, repo_id, data):
    adds = {"README.md": CARD, "folder/sub/a.txt": b"a", "folder/b.bin": data[:5000]}
    operations = [CommitOperationAdd(path, content) for path, content in adds.items()]
    api.create_commit(repo_id, operations, commit_message="fill")
    return repo_id


def test_info(api, filled):
    info = api.model_info(filled, files_metadata=True)
    assert (info.id, info.author, info.library_name, info.gated) == (filled, "alice", "peft", False)
    assert info.card_data.eval_results[0].metric_value == 0.75
    assert info.last_modified >= info.created_at.replace(microsecond=0)
    assert {"immunization", "license:apache-2.0", "dataset:alice/dose"} <= set(info.tags)
    files = {one.rfilename: one for one in info.siblings}
    assert files["folder/b.bin"].size == files["folder/b.bin"].lfs.size == 5000
    assert files["README.md"].lfs is None and files["README.md"].size == len(CARD)


def test_expand(live, api, filled):
    info = api.model_info(filled, expand=["gated", "sha", "usedStorage"])
    assert (info.gated, info.used_storage, info.tags) == (False, 5000, None)
    assert live.request("GET", f"/api/models/{filled}?expand=secrets").status_code == 400


def test_tree(api, filled):
    top = {entry.path: entry for entry in api.list_repo_tree(filled, expand=True)}
    assert set(top) == {".gitattributes", "README.md", "folder"}
    assert top["README.md"].last_commit.title == "fill"
    assert top[".gitattributes"].last_commit.title == "initial commit"
    assert [entry.path for entry in api.list_repo_tree(filled, "folder/sub")] == ["folder/sub/a.txt"]
    for path in ("missing", "README.md", "../..", "folder/../folder"):
        with pytest.raises(RemoteEntryNotFoundError):
            list(api.list_repo_tree(filled, path))


def test_paths_info(api, filled):
    found = api.get_paths_info(filled, ["README.md", "folder", "missing", "../x"], expand=True)
    assert [entry.path for entry in found] == ["README.md", "folder"]
    assert found[0].last_commit.title == "fill"


def test_long_folders_and_histories_come_in_pages(api, repo_id):
    operations = [CommitOperationAdd(f"many/{number:04}", b"x") for number in range(1010)]
    api.create_commit(repo_id, operations, commit_message="many")
    assert len(list(api.list_repo_tree(repo_id, "many"))) == 1010
    for number in range(51):
        operation = CommitOperationAdd("counter", b"%d" % number)
        last = api.create_commit(repo_id, [operation], commit_message=f"count {number}")
    history = api.list_repo_commits(repo_id, formatted=True)
    assert len(history) == 53
    assert (history[0].commit_id, history[0].title, history[0].authors) == (last.oid, "count 50", ["alice"])


def test_listing(live, api, filled):
    reader = live.api("reader")
    assert [one.id for one in reader.list_models(filter=["dataset:alice/dose", "peft"], search=filled)] == [filled]
    assert [one.id for one in reader.list_models(author="ALICE", search=filled.upper(), limit=1)] == [filled]
    assert not list(reader.list_models(filter="license:mit", search=filled))
    assert not list(reader.list_models(author="reader"))
    assert not list(reader.list_models(gated=True, search=filled))
    (full,) = reader.list_models(search=filled, full=True, cardData=True)
    assert full.siblings and full.card_data.license == "apache-2.0"
    (bare,) = reader.list_models(search=filled)
    assert not bare.siblings and not bare.card_data
    (some,) = reader.list_models(search=filled, expand=["siblings"])
    assert some.siblings and some.tags is None
    assert live.request("GET", "/api/models?sort=owner").status_code == 400
    assert live.request("GET", "/api/models?limit=x").status_code == 400


def test_listing_in_pages(api, live, repo_id, filled):
    response = live.request("GET", "/api/models?limit=1&sort=createdAt")
    assert [one["id"] for one in response.json()] == [filled]
    following = response.links["next"]["url"]
    assert following.startswith(live.hub.endpoint)
    assert len(live.request("GET", following.removeprefix(live.hub.endpoint)).json()) == 1


def test_branches_and_tags(api, filled):
    api.create_tag(filled, tag="v1", tag_message="first")
    with pytest.raises(HfHubHTTPError) as refused:
        api.create_tag(filled, tag="v1")
    assert refused.value.response.status_code == 409
    api.create_tag(filled, tag="v1", exist_ok=True)
    api.create_branch(filled, branch="old", revision=api.list_repo_commits(filled)[-1].commit_id)
    refs = api.list_repo_refs(filled, include_pull_requests=True)
    assert [ref.name for ref in refs.branches] == ["main", "old"]
    assert [ref.target_commit for ref in refs.tags] == [api.model_info(filled).sha]
    assert api.list_repo_files(filled, revision="old") == [".gitattributes"]
    api.delete_tag(filled, tag="v1")
    api.delete_branch(filled, branch="old")
    for name, status in (("main", 403), ("old", 404)):
        with pytest.raises(HfHubHTTPError) as refused:
            api.delete_branch(filled, branch=name)
        assert refused.value.response.status_code == status
