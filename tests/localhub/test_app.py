"""What holds on every route: addresses, errors, credentials."""

import base64

import pytest
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError


def test_health(live):
    assert live.request("GET", "/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize("path", ["", "/commits/main", "/tree/main/a/b", "/revision/main", "/refs"])
@pytest.mark.parametrize("repo", ["gpt2", "alice/missing", "a%2Fb/c", "..%2F..%2Fetc/passwd", "alice/x%00", "%ff/%fe"])
def test_a_missing_repo_is_told_as_such(live, repo, path):
    for user, status in ((None, 401), ("reader", 404)):
        response = live.request("GET", f"/api/models/{repo}{path}", user)
        assert (response.status_code, response.headers.get("X-Error-Code")) == (status, "RepoNotFound")
        assert response.json() == {"error": "Repository not found"}


def test_clients_understand_a_missing_repo(live, api):
    for repo_id in ("gpt2", "alice/missing"):
        with pytest.raises(RepositoryNotFoundError):
            live.api(None).model_info(repo_id)
        with pytest.raises(RepositoryNotFoundError):
            api.hf_hub_download(repo_id, "config.json")


def test_what_is_not_offered(live, repo_id):
    assert live.request("GET", "/api/agent-harnesses").status_code == 404
    response = live.request("GET", f"/api/models/{repo_id}/nothing")
    assert response.status_code == 404 and "X-Error-Code" not in response.headers
    assert live.request("POST", "/api/whoami-v2").status_code == 405


def test_an_unknown_token_is_refused_everywhere(live, repo_id):
    for path in ("/api/whoami-v2", f"/api/models/{repo_id}", f"/{repo_id}/resolve/main/.gitattributes"):
        response = live.request("GET", path, token="hfv_wrong")
        assert response.status_code == 401
        assert response.headers["X-Error-Message"] == "Invalid credentials in Authorization header"
        assert "X-Error-Code" not in response.headers


def test_git_credentials(live):
    for secret, status in ((live.tokens["alice"], 200), ("wrong", 401)):
        basic = base64.b64encode(f"anything:{secret}".encode()).decode()
        response = live.request("GET", "/api/whoami-v2", headers={"Authorization": f"Basic {basic}"})
        assert response.status_code == status
    assert live.request("GET", "/api/whoami-v2", headers={"Authorization": "Basic !"}).status_code == 401


def test_who_am_i(live, api):
    assert api.whoami()["name"] == "alice"
    response = live.request("GET", "/api/whoami-v2")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Basic")


def test_slashes_in_revisions_do_not_split_the_path(api, repo_id):
    api.create_branch(repo_id, branch="feature/one")
    assert len({api.model_info(repo_id, revision=name).sha for name in ("feature/one", "refs/heads/main")}) == 1
    assert api.file_exists(repo_id, ".gitattributes", revision="feature/one")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(repo_id, revision="feature")


def test_ids_ignore_case_and_keep_it(api, repo_id):
    assert api.model_info(repo_id.upper()).id == repo_id
    with pytest.raises(HfHubHTTPError, match="already created"):
        api.create_repo(repo_id.lower())


BODIES = [b"", b"{", b"[]", b"\xff", b'"text"', b'{"name": "\\ud800"}', b"[" * 100_000, b'{"name": 1}']


@pytest.mark.parametrize("body", BODIES)
def test_bodies_that_make_no_sense(live, repo_id, body):
    for path in ("/api/repos/create", f"/api/models/{repo_id}/preupload/main", f"/api/models/{repo_id}/commit/main"):
        assert live.request("POST", path, "alice", content=body).status_code == 400


def test_error_headers_are_one_latin_1_line(live, api, repo_id):
    response = live.request("GET", f"/{repo_id}/resolve/main/%E6%97%A5%0D%0AX-Evil:%201", "alice")
    assert response.status_code == 404
    assert "X-Evil" not in response.headers
    assert response.headers["X-Error-Message"].startswith("Entry not found: ?")
