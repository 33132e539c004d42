"""Likes: counted once each, sorted by, and told only of what one may see."""

import pytest
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError


def like(live, user, repo_id, method="POST"):
    return live.request(method, f"/api/models/{repo_id}/like", user)


def test_one_like_each_until_it_is_taken_back(live, api, repo_id):
    for user in ("alice", "reader", "reader"):
        assert like(live, user, repo_id.upper().replace("ALICE", "alice")).status_code == 200
    assert api.model_info(repo_id).likes == 2 == api.model_info(repo_id, expand=["likes"]).likes
    assert [(one.username, one.fullname) for one in api.list_repo_likers(repo_id)] == [
        ("reader", "reader"),
        ("alice", "alice"),
    ]
    assert repo_id in live.api("reader").list_liked_repos().models
    assert repo_id in live.api(None).list_liked_repos("Reader").models
    for _ in range(2):
        live.api("reader").unlike(repo_id)
    assert api.model_info(repo_id).likes == 1
    assert repo_id not in api.list_liked_repos("reader").models
    api.delete_repo(repo_id)
    assert repo_id not in api.list_liked_repos().models


def test_kinds_are_told_apart(live, api, repo_id):
    api.create_repo(repo_id, repo_type="dataset")
    live.request("POST", f"/api/datasets/{repo_id}/like", "outsider").raise_for_status()
    liked = api.list_liked_repos("outsider")
    assert repo_id in liked.datasets and repo_id not in liked.models and liked.total >= 1
    assert api.dataset_info(repo_id).likes == 1 and api.model_info(repo_id).likes == 0
    live.api("outsider").unlike(repo_id, repo_type="dataset")
    assert api.dataset_info(repo_id).likes == 0


def test_sorting_by_likes(live, api, repo_id):
    names = [api.create_repo(f"{repo_id}-{one}").repo_id for one in "abc"]
    for count, name in ((2, names[1]), (1, names[0])):
        for user in ("alice", "reader")[:count]:
            like(live, user, name).raise_for_status()
    listed = api.list_models(search=f"{repo_id}-".partition("/")[2], sort="likes")
    assert [(one.id, one.likes) for one in listed] == [(names[1], 2), (names[0], 1), (names[2], 0)]


def test_a_repo_that_turned_private_is_in_nobody_else_s_list(live, api, repo_id):
    for user in ("alice", "reader"):
        like(live, user, repo_id).raise_for_status()
    api.update_repo_settings(repo_id, private=True)
    assert repo_id not in live.api("reader").list_liked_repos().models
    assert repo_id not in live.api(None).list_liked_repos("alice").models
    assert repo_id in api.list_liked_repos().models
    with pytest.raises(RepositoryNotFoundError):
        list(live.api("reader").list_repo_likers(repo_id))
    assert like(live, "reader", repo_id).status_code == 404


def test_what_is_refused(live, api, repo_id):
    assert like(live, None, repo_id).status_code == 401
    assert like(live, None, repo_id, "DELETE").status_code == 401
    with pytest.raises(HfHubHTTPError) as refused:
        api.list_liked_repos("nobody")
    assert refused.value.response.status_code == 404
