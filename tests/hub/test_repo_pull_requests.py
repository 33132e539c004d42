"""Pull requests: one for what is proposed, and the repo stays as it is."""

import pytest
from finished_runs import bound
from huggingface_hub import HfApi

from hfvaccine import hub
from hfvaccine.errors import HubError, UsageError


def opened(api, repo_id):
    return [one.num for one in api.get_repo_discussions(repo_id) if one.is_pull_request]


def test_a_pull_request_holds_the_adapter_and_the_repo_stays_as_it_is(alice, api, repo_id, run, another, local):
    first = hub.push_adapter(run, repo_id, **alice)
    (another / "tokenizer.json").unlink()
    bound(another)
    asked = hub.push_adapter(another, repo_id, create_pr=True, **alice)
    assert asked.url == f"{local.endpoint}/{repo_id}/discussions/1"
    assert asked.tag is None
    assert api.model_info(repo_id).sha == first.revision
    assert [tag.name for tag in api.list_repo_refs(repo_id).tags] == ["v1"]
    proposed = api.model_info(repo_id, revision="refs/pr/1")
    assert proposed.sha == asked.revision
    assert "tokenizer.json" not in {file.rfilename for file in proposed.siblings}
    assert hub.push_adapter(another, repo_id, create_pr=True, **alice) == asked
    assert opened(api, repo_id) == [1]

    api.merge_pull_request(repo_id, 1)
    merged = hub.push_adapter(another, repo_id, create_pr=True, **alice)
    assert merged.url == first.url  # nothing is left to ask for
    assert opened(api, repo_id) == [1]


def test_a_closed_pull_request_is_not_taken_for_an_open_one(alice, api, repo_id, run, another):
    hub.push_adapter(run, repo_id, **alice)
    hub.push_adapter(another, repo_id, create_pr=True, **alice)
    api.change_discussion_status(repo_id, 1, "closed")
    assert hub.push_adapter(another, repo_id, create_pr=True, **alice).url.endswith("/discussions/2")


def test_a_pull_request_whose_answer_was_lost_is_not_opened_twice(alice, api, repo_id, run, another, monkeypatch):
    hub.push_adapter(run, repo_id, **alice)
    commit = HfApi.create_commit

    def lose(*args, **kwargs):
        commit(*args, **kwargs)
        raise ConnectionError("reset")

    monkeypatch.setattr(HfApi, "create_commit", lose)
    assert hub.push_adapter(another, repo_id, create_pr=True, **alice).url.endswith("/discussions/1")
    assert opened(api, repo_id) == [1]


def test_a_pull_request_needs_a_repo_and_changes_no_settings(alice, repo_id, run):
    with pytest.raises(HubError, match="could get a pull request"):
        hub.push_adapter(run, repo_id, create_pr=True, **alice)
    with pytest.raises(UsageError, match="private"):
        hub.push_adapter(run, repo_id, create_pr=True, private=True, **alice)


def test_a_pull_request_that_changes_more_than_we_would_is_nobodys_but_its_own(alice, api, repo_id, run, another):
    hub.push_adapter(run, repo_id, **alice)
    hub.push_adapter(another, repo_id, create_pr=True, **alice)
    api.upload_file(
        path_or_fileobj=b"import os\n", path_in_repo="modeling_mine.py", repo_id=repo_id, revision="refs/pr/1"
    )
    done = hub.push_adapter(another, repo_id, **alice)
    assert opened(api, repo_id) == [2, 1]
    assert "modeling_mine.py" not in api.list_repo_files(repo_id, revision=done.revision)


def test_a_push_goes_on_with_the_pull_request_that_one_before_it_left_open(alice, api, repo_id, run, another):
    hub.push_adapter(run, repo_id, **alice)
    asked = hub.push_adapter(another, repo_id, create_pr=True, **alice)
    assert hub.push_adapter(another, repo_id, **alice).revision == asked.revision
    assert opened(api, repo_id) == [1]


def test_a_pull_request_of_what_the_hub_did_not_keep_is_closed(alice, api, repo_id, run, another, monkeypatch):
    hub.push_adapter(run, repo_id, **alice)
    download = HfApi.snapshot_download
    monkeypatch.setattr(
        HfApi, "snapshot_download", lambda *args, allow_patterns, **kw: download(*args, allow_patterns=["x"], **kw)
    )
    with pytest.raises(HubError, match="is missing from"):
        hub.push_adapter(another, repo_id, create_pr=True, **alice)
    assert next(api.get_repo_discussions(repo_id)).status == "closed"
