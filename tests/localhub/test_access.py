"""Every route of a repo, tried by everybody: what a gated and a private repo give away to whom."""

import itertools
import json

import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError
from starlette.routing import Route

from hfvaccine.localhub.routes import access, commits, files, identity, info, lfs, pages, refs, repos

SECRET, CARD = b"SECRET text of the dose", b"---\nlicense: mit\n---\nThe card.\n"
LARGE = b"SECRET" * 1000
ROLES = ("anonymous", "outsider", "pending", "rejected", "accepted", "owner")
JSON = {"headers": {"Content-Type": "application/json"}}
NDJSON = "\n".join(
    json.dumps(line)
    for line in (
        {"key": "header", "value": {"summary": "s"}},
        {"key": "file", "value": {"path": "new", "content": "", "encoding": "base64"}},
    )
)

# route -> the right it needs, and a request that would succeed with it.
TABLE = {
    "GET /{repo}/resolve/{rev}/{path:path}": ("read", "GET", "{site}/resolve/main/data/secret.txt", {}),
    "GET /{repo}/resolve/{rev}/{path:path} large": ("read", "GET", "{site}/resolve/main/large.bin", {}),
    "GET /{repo}/resolve/{rev}/{path:path} range": (
        "read",
        "GET",
        "{site}/resolve/{sha}/large.bin",
        {"headers": {"Range": "bytes=0-5"}},
    ),
    "GET /{repo}/resolve/{rev}/{path:path} head": ("read", "HEAD", "{site}/resolve/main/data%2Fsecret.txt", {}),
    "GET /{repo}/resolve/{rev}/{path:path} card": ("read", "GET", "{site}/resolve/main/README.md", {}),
    "GET /{repo}/raw/{rev}/{path:path}": ("read", "GET", "{site}/raw/main/data/secret.txt", {}),
    "POST /{repo}.git/info/lfs/objects/batch": (
        "read",
        "POST",
        "{site}.git/info/lfs/objects/batch",
        {"json": {"operation": "download", "objects": [{"oid": "{oid}", "size": 6000}]}},
    ),
    "POST /{repo}.git/info/lfs/objects/batch upload": (
        "write",
        "POST",
        "{site}.git/info/lfs/objects/batch",
        {"json": {"operation": "upload", "objects": [{"oid": "{oid}", "size": 6000}]}},
    ),
    "POST /{repo}.git/info/lfs/objects/verify": (
        "write",
        "POST",
        "{site}.git/info/lfs/objects/verify",
        {"json": {"oid": "{oid}", "size": 6000}},
    ),
    "GET /{repo}.git/info/lfs/objects/{oid}": ("read", "GET", "{site}.git/info/lfs/objects/{oid}", {}),
    "PUT /{repo}.git/info/lfs/objects/{oid}": ("signature", "PUT", "{site}.git/info/lfs/objects/{oid}", {}),
    "GET /{repo}": ("see", "GET", "{site}", {}),
    "GET /api/{kinds}/{repo}": ("see", "GET", "{api}?blobs=true", {}),
    "GET /api/{kinds}/{repo}/revision/{rev}": ("see", "GET", "{api}/revision/refs%2Fheads%2Fmain", {}),
    "GET /api/{kinds}/{repo}/tree/{rev}": ("see", "GET", "{api}/tree/main?recursive=true&expand=true", {}),
    "GET /api/{kinds}/{repo}/tree/{rev}/{path:path}": ("see", "GET", "{api}/tree/{sha}/data", {}),
    "POST /api/{kinds}/{repo}/paths-info/{rev}": (
        "see",
        "POST",
        "{api}/paths-info/main",
        {"data": {"paths": ["large.bin"], "expand": "true"}},
    ),
    "GET /api/{kinds}/{repo}/commits/{rev}": ("see", "GET", "{api}/commits/main", {}),
    "GET /api/{kinds}/{repo}/refs": ("see", "GET", "{api}/refs?include_prs=1", {}),
    "GET /api/{kinds}/{repo}/auth-check": ("read", "GET", "{api}/auth-check", {}),
    "GET /api/{kinds}/{repo}/auth-check/write": ("write", "GET", "{api}/auth-check/write", {}),
    "POST /api/{kinds}/{repo}/preupload/{rev}": ("write", "POST", "{api}/preupload/main", {"json": {"files": []}}),
    "POST /api/{kinds}/{repo}/commit/{rev}": ("write", "POST", "{api}/commit/scratch", {"content": NDJSON}),
    "POST /api/{kinds}/{repo}/branch/{rev}": ("write", "POST", "{api}/branch/b", {"json": {}}),
    "DELETE /api/{kinds}/{repo}/branch/{rev}": ("write", "DELETE", "{api}/branch/b", {}),
    "POST /api/{kinds}/{repo}/tag/{rev}": ("write", "POST", "{api}/tag/main", {"json": {"tag": "t"}}),
    "DELETE /api/{kinds}/{repo}/tag/{rev}": ("write", "DELETE", "{api}/tag/t", {}),
    "GET /api/{kinds}/{repo}/user-access-request/{status}": ("write", "GET", "{api}/user-access-request/pending", {}),
    "POST /api/{kinds}/{repo}/user-access-request/handle": (
        "write",
        "POST",
        "{api}/user-access-request/handle",
        {"json": {"user": "{helper}", "status": "rejected"}},
    ),
    "POST /api/{kinds}/{repo}/user-access-request/grant": (
        "write",
        "POST",
        "{api}/user-access-request/grant",
        {"json": {"user": "{helper}"}},
    ),
    "PUT /api/{kinds}/{repo}/settings": ("write", "PUT", "{api}/settings", {"json": {"gated": "manual"}}),
    "POST /api/{kinds}/{repo}/ask-access": ("ask", "POST", "{api}/ask-access", {"json": {}}),
}
NO_REPO = {"GET /api/{kinds}", "GET /api/whoami-v2", "POST /api/validate-yaml"}
NAMED_IN_BODY = {"POST /api/repos/create", "DELETE /api/repos/delete", "POST /api/repos/move"}


def test_no_route_is_missing_from_the_table():
    modules = (access, commits, files, identity, info, lfs, pages, refs, repos)
    known = {name.rpartition(" ")[0] if name.count(" ") > 1 else name for name in TABLE} | NO_REPO | NAMED_IN_BODY
    served = set()
    for route in itertools.chain.from_iterable(module.ROUTES for module in modules):
        assert isinstance(route, Route)
        path = route.path.replace("/{kind:prefix}", "").replace("{kind:kind}", "{kinds}")
        path = path.replace("{namespace:owner}", "{namespace}").replace("{namespace}/{name}", "{repo}")
        served |= {f"{method} {path}" for method in route.methods - {"HEAD"}}
    assert served == known


@pytest.fixture(scope="module", params=["gated", "private"])
def place(request, live):
    """A gated or a private dataset of alice with one user for each role."""
    owner, repo_id = live.api("alice"), f"alice/Table-{request.param}"
    owner.create_repo(repo_id, repo_type="dataset", private=True)
    owner.update_repo_settings(repo_id, repo_type="dataset", gated="manual")
    adds = {"README.md": CARD, "data/secret.txt": SECRET, "large.bin": LARGE}
    made = owner.create_commit(
        repo_id,
        [CommitOperationAdd(path, content) for path, content in adds.items()],
        commit_message="data",
        repo_type="dataset",
    )
    owner.create_branch(repo_id, branch="scratch", repo_type="dataset")
    if request.param == "gated":
        owner.update_repo_settings(repo_id, repo_type="dataset", visibility="public")
    tokens = {"anonymous": "", "owner": live.tokens["alice"], "outsider": live.tokens["outsider"]}
    for role in ("pending", "rejected", "accepted"):
        tokens[role] = live.hub.add_user(f"{role}-{request.param}")
        if request.param == "gated":
            live.request("POST", f"/api/datasets/{repo_id}/ask-access", token=tokens[role]).raise_for_status()
        else:
            owner.grant_access(repo_id, f"{role}-{request.param}", repo_type="dataset")
    if request.param == "gated":
        owner.reject_access_request(repo_id, "rejected-gated", repo_type="dataset", rejection_reason="no")
        owner.accept_access_request(repo_id, "accepted-gated", repo_type="dataset")
    live.hub.add_user("helper")
    (large,) = owner.get_paths_info(repo_id, "large.bin", repo_type="dataset")
    words = {"site": f"/datasets/{repo_id}", "api": f"/api/datasets/{repo_id}", "sha": made.oid}
    return request.param, tokens, {**words, "oid": large.lfs.sha256, "helper": "helper"}


def expected(state: str, right: str, role: str) -> tuple[set[int], str | None]:
    """The statuses that are right, and the error code."""
    missing = 401 if role == "anonymous" else 404
    if right == "signature":
        return {403}, None
    if role == "owner":
        return {200, 206}, None
    if state == "private":
        return {missing}, "RepoNotFound"
    if right == "see" or (right == "read" and role == "accepted"):
        return {200, 206}, None
    if right == "read":
        return {401 if role == "anonymous" else 403}, "GatedRepo"
    if right == "ask":
        return {401 if role == "anonymous" else 403 if role == "rejected" else 200}, None
    return {401 if role == "anonymous" else 403}, None


@pytest.mark.parametrize("name", TABLE)
def test_route(live, place, name):
    state, tokens, words = place
    right, method, path, more = TABLE[name]

    def filled(value):
        if isinstance(value, str) and value != NDJSON:
            for word, text in words.items():
                value = value.replace("{" + word + "}", text)
        elif isinstance(value, list):
            value = [filled(one) for one in value]
        elif isinstance(value, dict):
            value = {key: filled(one) for key, one in value.items()}
        return value

    if "handle" in name:
        live.request("POST", words["api"] + "/ask-access", token=live.hub.add_user("helper"))
        if state == "private":
            live.api("alice").grant_access(words["api"].removeprefix("/api/datasets/"), "helper", repo_type="dataset")
    for role in ROLES:
        if right == "ask" and role == "outsider":
            continue  # would turn the outsider of this module into a pending one; has a test of its own
        response = live.request(method, filled(path), token=tokens[role], **filled(more))
        statuses, code = expected(state, right, role)
        told = f"{role}: {response.status_code} {response.text[:200]}"
        assert response.status_code in statuses, told
        assert response.headers.get("X-Error-Code") == code, told
        assert response.headers["X-Request-Id"]
        if role != "owner" and not (right == "read" and role == "accepted"):
            assert b"SECRET" not in response.content, told
            if state == "private":
                assert "secret.txt" not in response.text + str(response.headers) and words["sha"] not in response.text


def test_listings_hide_private_repos(live, place):
    state, tokens, words = place
    repo_id = words["api"].removeprefix("/api/datasets/")
    for role in ROLES:
        listed = [one["id"] for one in live.request("GET", "/api/datasets", token=tokens[role]).json()]
        assert (repo_id in listed) == (state == "gated" or role == "owner")


def test_deleting_and_moving_is_for_owners(live, place):
    state, tokens, words = place
    repo_id = words["api"].removeprefix("/api/datasets/")
    name = repo_id.partition("/")[2]
    for role in ROLES[:-1]:
        status = expected(state, "write", role)[0]
        target = f"{role}-{state}/stolen"
        bodies = {"move": {"fromRepo": repo_id, "toRepo": target}, "delete": {"organization": "alice", "name": name}}
        for method, action in (("POST", "move"), ("DELETE", "delete")):
            body = {**bodies[action], "type": "dataset"}
            response = live.request(method, f"/api/repos/{action}", token=tokens[role], json=body)
            assert response.status_code in status


def test_a_read_token_of_the_owner_reads_but_does_not_write(live, place):
    _, _, words = place
    token = live.hub.add_user("alice", role="read")
    assert live.request("GET", words["site"] + "/resolve/main/data/secret.txt", token=token).content == SECRET
    assert live.request("GET", words["api"] + "/auth-check/write", token=token).status_code == 403
    body = {"name": "by-read-token"}
    assert live.request("POST", "/api/repos/create", token=token, json=body).status_code == 403


@pytest.fixture
def gated(api, repo_id):
    api.update_repo_settings(repo_id, gated="manual")
    return repo_id


def test_asking_waiting_and_being_let_in(live, api, gated):
    reader = live.api("reader")
    answer = live.request("POST", f"/api/models/{gated}/ask-access", "reader", json={"why": "research"})
    assert answer.json() == {"status": "pending"}
    (asked,) = api.list_pending_access_requests(gated)
    assert (asked.username, asked.fields, asked.status) == ("reader", {"why": "research"}, "pending")
    with pytest.raises(GatedRepoError, match="awaiting a review"):
        reader.auth_check(gated)
    api.accept_access_request(gated, request_id=asked.request_id)
    reader.auth_check(gated)
    assert [one.username for one in api.list_accepted_access_requests(gated)] == ["reader"]
    with pytest.raises(HfHubHTTPError, match="already accepted"):
        api.accept_access_request(gated, "reader")
    with pytest.raises(HfHubHTTPError, match="already accepted"):
        api.grant_access(gated, "reader")
    api.cancel_access_request(gated, "reader")
    api.reject_access_request(gated, "reader", rejection_reason="not now")
    with pytest.raises(GatedRepoError, match="rejected"):
        reader.auth_check(gated)
    assert live.request("POST", f"/api/models/{gated}/ask-access", "reader").status_code == 403


def test_asking_by_the_form_of_the_page(live, api, gated):
    api.upload_file(
        path_or_fileobj=b"---\nextra_gated_fields:\n  <i>Purpose: text\n---\n<script>alert(1)</script>",
        path_in_repo="README.md",
        repo_id=gated,
    )
    page = live.request("GET", f"/{gated}").text
    assert f'action="/api/models/{gated}/ask-access"' in page
    assert "&lt;script&gt;" in page and "<script" not in page and "<i>" not in page
    form = {"token": live.tokens["outsider"], "Purpose": "to see"}
    answer = live.request("POST", f"/api/models/{gated}/ask-access", data=form, headers={"Accept": "text/html"})
    assert "has been asked" in answer.text
    (asked,) = api.list_pending_access_requests(gated)
    assert (asked.username, asked.fields) == ("outsider", {"Purpose": "to see"})


def test_an_automatic_gate(live, api, gated):
    api.update_repo_settings(gated, gated="auto")
    with pytest.raises(GatedRepoError):
        live.api("reader").auth_check(gated)
    assert live.request("POST", f"/api/models/{gated}/ask-access", "reader").json() == {"status": "accepted"}
    live.api("reader").auth_check(gated)


def test_requests_that_make_no_sense(live, api, repo_id):
    assert live.request("POST", f"/api/models/{repo_id}/ask-access", "reader").status_code == 400
    with pytest.raises(HfHubHTTPError, match="not gated"):
        api.grant_access(repo_id, "reader")
    settings = live.request("PUT", f"/api/models/{repo_id}/settings", "alice", json={"gated": "yes"})
    assert settings.status_code == 400
    api.update_repo_settings(repo_id, gated="manual")
    for user in ("nobody", "reader"):
        with pytest.raises(HfHubHTTPError) as refused:
            api.accept_access_request(repo_id, user)
        assert refused.value.response.status_code == 404
