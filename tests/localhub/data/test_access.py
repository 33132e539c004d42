"""Every route of a repo, tried by everybody: what a gated and a private repo give away to whom."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from starlette.routing import Route

from hfvaccine.localhub.app import build_app
from hfvaccine.localhub.data.accounts import FINE_GRAINED, Accounts
from hfvaccine.localhub.data.catalog import Catalog
from hfvaccine.localhub.data.database import open_database

SECRET, CARD = b"SECRET text of the dose", b"---\nlicense: mit\n---\nThe card.\n"
LARGE = b"SECRET" * 1000
STATES = ("public", "gated", "private", "org gated", "org private")
ROLES = (
    "anonymous",
    "outsider",
    "pending",
    "rejected",
    "revoked",  # was accepted once
    "accepted",
    "org reader",
    "org writer",
    "fine-grained for another repo",
    "fine-grained reader",
    "fine-grained writer",
    "accepted, token for this repo",
    "accepted, token for another repo",
    "read-only token of the owner",
    "revoked token of the owner",
    "owner",
)
QUIET = (
    "anonymous",
    "fine-grained for another repo",
    "fine-grained reader",
    "accepted, token for this repo",
    "accepted, token for another repo",
    "read-only token of the owner",
)
NDJSON = "\n".join(
    json.dumps(line)
    for line in (
        {"key": "header", "value": {"summary": "s"}},
        {"key": "file", "value": {"path": "new", "content": "", "encoding": "base64"}},
    )
)
FETCH = "0032want {sha}\n00000009done\n"

# route -> the right it needs, and a request that would succeed with it. A word after the route tells rows of one
# route apart. Rights: see, like, read, discuss, propose, write; "gate" is write, and refused by repos without a gate;
# "author" is discuss, and alice's alone; "moderate" is discuss, and for writers; "copy" is read here, and write where
# it goes to; "merge" is write, and has nothing to do here;
# "duplicate" is read here, and write in a namespace of one's own;
# "ask" and "signature" are those of one route each. Texts in braces are words of the `place`; "before" is a request of
# the owner's that is sent first.
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
    "GET /{repo}/resolve/{rev}/{path:path} cached": (
        "read",
        "GET",
        "{site}/resolve/main/data/secret.txt",
        {"headers": {"If-None-Match": "{etag}"}},
    ),
    "GET /{repo}/resolve/{rev}/{path:path} head-cached": (
        "read",
        "HEAD",
        "{site}/resolve/main/large.bin",
        {"headers": {"If-None-Match": '"{oid}"'}},
    ),
    "GET /{repo}/resolve/{rev}/{path:path} pull-request": (
        "read",
        "GET",
        "{site}/resolve/refs%2Fpr%2F1/data/secret.txt",
        {},
    ),
    "GET /{repo}/raw/{rev}/{path:path} pull-request": (
        "read",
        "GET",
        "{site}/raw/refs%2Fpr%2F1/data/secret.txt",
        {},
    ),
    "GET /{repo}/raw/{rev}/{path:path} large": ("read", "GET", "{site}/raw/{sha}/large.bin", {}),
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
    "POST /api/{kinds}/{repo}/lfs-files/duplicate": (
        "copy",
        "POST",
        "{api}/lfs-files/duplicate",
        {"json": {"target": {"type": "dataset", "name": "{id}"}, "files": [{"sha256": "{oid}"}]}},
    ),
    "PUT /{repo}.git/info/lfs/objects/{oid}": ("signature", "PUT", "{site}.git/info/lfs/objects/{oid}", {}),
    "POST /{repo}.git/info/lfs/objects/{oid}": ("signature", "POST", "{site}.git/info/lfs/objects/{oid}", {}),
    "GET /{repo}.git/info/lfs/objects/{oid} signed-wrongly": (
        "signature",
        "GET",
        "{site}.git/info/lfs/objects/{oid}?size=6000&expires=9999999999&signature=0",
        {},
    ),
    "POST /api/{kinds}/{repo}/duplicate": (
        "duplicate",
        "POST",
        "{api}/duplicate",
        {"json": {"repository": "copy-{role}-{slug}"}},
    ),
    "GET /{repo}/info/refs": ("read", "GET", "{site}/info/refs?service=git-upload-pack", {}),
    "GET /{repo}.git/info/refs": ("read", "GET", "{site}.git/info/refs?service=git-upload-pack", {}),
    "POST /{repo}/git-upload-pack": ("read", "POST", "{site}/git-upload-pack", {"content": FETCH}),
    "POST /{repo}.git/git-upload-pack": ("read", "POST", "{site}.git/git-upload-pack", {"content": FETCH}),
    "GET /{repo}": ("see", "GET", "{site}", {}),
    "GET /{repo}/tree/{rev}": ("see", "GET", "{site}/tree/main", {}),
    "GET /{repo}/tree/{rev}/{path:path}": ("see", "GET", "{site}/tree/{sha}/data", {}),
    "GET /{repo}/commits/{rev}": ("see", "GET", "{site}/commits/main", {}),
    "GET /{repo}/commit/{rev}": ("see", "GET", "{site}/commit/{sha}", {}),
    "GET /{repo}/discussions": ("see", "GET", "{site}/discussions", {}),
    "GET /{repo}/discussions/{num}": ("see", "GET", "{site}/discussions/1", {}),
    "POST /{repo}/discussions/{num}": ("session", "POST", "{site}/discussions/1", {"data": {"action": "merge"}}),
    "GET /{repo}/requests": ("write", "GET", "{site}/requests", {}),
    "POST /{repo}/requests": ("session", "POST", "{site}/requests", {"data": {"status": "accepted"}}),
    "POST /{repo}/ask": ("session", "POST", "{site}/ask", {"data": {"field-0": "x"}}),
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
    "POST /api/{kinds}/{repo}/paths-info/{rev} pull-request": (
        "see",
        "POST",
        "{api}/paths-info/refs%2Fpr%2F1",
        {"data": {"paths": ["data/secret.txt"]}},
    ),
    "GET /api/{kinds}/{repo}/commits/{rev}": ("see", "GET", "{api}/commits/main", {}),
    "GET /api/{kinds}/{repo}/refs": ("see", "GET", "{api}/refs?include_prs=1", {}),
    "GET /api/{kinds}/{repo}/auth-check": ("read", "GET", "{api}/auth-check", {}),
    "GET /api/{kinds}/{repo}/auth-check/write": ("write", "GET", "{api}/auth-check/write", {}),
    "POST /api/{kinds}/{repo}/preupload/{rev}": ("write", "POST", "{api}/preupload/main", {"json": {"files": []}}),
    "POST /api/{kinds}/{repo}/commit/{rev}": ("write", "POST", "{api}/commit/scratch", {"content": NDJSON}),
    "POST /api/{kinds}/{repo}/preupload/{rev} pull-request": (
        "propose",
        "POST",
        "{api}/preupload/main?create_pr=1",
        {"json": {"files": []}},
    ),
    "POST /api/{kinds}/{repo}/commit/{rev} pull-request": (
        "propose",
        "POST",
        "{api}/commit/main?create_pr=1",
        {"content": NDJSON},
    ),
    "GET /api/{kinds}/{repo}/xet-write-token/{rev} pull-request": (
        "write",
        "GET",
        "{api}/xet-write-token/main?create_pr=1",
        {},
    ),
    "POST /api/{kinds}/{repo}/super-squash/{rev}": ("write", "POST", "{api}/super-squash/scratch", {"json": {}}),
    "POST /api/{kinds}/{repo}/super-squash/{rev} pull-request": (
        "write",
        "POST",
        "{api}/super-squash/refs%2Fpr%2F2",
        {"json": {}},
    ),
    "GET /api/{kinds}/{repo}/discussions": ("see", "GET", "{api}/discussions", {}),
    "POST /api/{kinds}/{repo}/discussions": ("discuss", "POST", "{api}/discussions", {"json": {"title": "t"}}),
    "POST /api/{kinds}/{repo}/discussions pull-request": (
        "propose",
        "POST",
        "{api}/discussions",
        {"json": {"title": "t", "pullRequest": True}},
    ),
    "GET /api/{kinds}/{repo}/discussions/{num}": ("read", "GET", "{api}/discussions/2?diff=1", {}),
    "POST /api/{kinds}/{repo}/discussions/{num}/comment": (
        "discuss",
        "POST",
        "{api}/discussions/1/comment",
        {"json": {"comment": "c"}},
    ),
    "POST /api/{kinds}/{repo}/discussions/{num}/comment/{comment}/edit": (
        "author",
        "POST",
        "{api}/discussions/1/comment/{edited}/edit",
        {"json": {"content": "other"}},
    ),
    "POST /api/{kinds}/{repo}/discussions/{num}/comment/{comment}/hide": (
        "moderate",
        "POST",
        "{api}/discussions/1/comment/{hidden}/hide",
        {},
    ),
    "POST /api/{kinds}/{repo}/discussions/{num}/title": (
        "moderate",
        "POST",
        "{api}/discussions/1/title",
        {"json": {"title": "t"}},
    ),
    "POST /api/{kinds}/{repo}/discussions/{num}/status": (
        "moderate",
        "POST",
        "{api}/discussions/1/status",
        {
            "json": {"status": "open"},
            "before": ("POST", "{api}/discussions/1/status", {"json": {"status": "closed"}}),
        },
    ),
    "POST /api/{kinds}/{repo}/discussions/{num}/merge": ("merge", "POST", "{api}/discussions/1/merge", {}),
    "POST /api/{kinds}/{repo}/branch/{rev}": ("write", "POST", "{api}/branch/b-{role}", {"json": {}}),
    "DELETE /api/{kinds}/{repo}/branch/{rev}": (
        "write",
        "DELETE",
        "{api}/branch/d-{role}",
        {"before": ("POST", "{api}/branch/d-{role}", {"json": {}})},
    ),
    "POST /api/{kinds}/{repo}/tag/{rev}": ("write", "POST", "{api}/tag/main", {"json": {"tag": "t-{role}"}}),
    "DELETE /api/{kinds}/{repo}/tag/{rev}": (
        "write",
        "DELETE",
        "{api}/tag/d-{role}",
        {"before": ("POST", "{api}/tag/main", {"json": {"tag": "d-{role}"}})},
    ),
    "POST /api/{kinds}/{repo}/like": ("like", "POST", "{api}/like", {}),
    "DELETE /api/{kinds}/{repo}/like": ("like", "DELETE", "{api}/like", {}),
    "GET /api/{kinds}/{repo}/likers": ("see", "GET", "{api}/likers", {}),
    "GET /api/{kinds}/{repo}/user-access-request/{status}": ("gate", "GET", "{api}/user-access-request/pending", {}),
    "POST /api/{kinds}/{repo}/user-access-request/handle": (
        "gate",
        "POST",
        "{api}/user-access-request/handle",
        {"json": {"user": "handled-{role}", "status": "rejected"}},
    ),
    "POST /api/{kinds}/{repo}/user-access-request/grant": (
        "gate",
        "POST",
        "{api}/user-access-request/grant",
        {"json": {"user": "granted-{role}"}},
    ),
    "PUT /api/{kinds}/{repo}/settings": ("write", "PUT", "{api}/settings", {"json": {"gated": "{gated}"}}),
    "POST /api/{kinds}/{repo}/ask-access": ("ask", "POST", "{api}/ask-access", {"json": {}}),
    "GET /api/{kinds}/{repo}/xet-write-token/{rev}": ("write", "GET", "{api}/xet-write-token/main", {}),
    "GET /api/{kinds}/{repo}/xet-read-token/{rev}": ("read", "GET", "{api}/xet-read-token/main", {}),
    "GET /api/{kinds}/{repo}/xet-files/v1/reconstructions/{hash}": (
        "xet",
        "GET",
        "{api}/xet-files/v1/reconstructions/{oid}",
        {},
    ),
    "GET /api/{kinds}/{repo}/xet-files/{path:path}": ("xet", "GET", "{api}/xet-files/v2/reconstructions/{oid}", {}),
    "GET /api/{kinds}/{repo}/xet-xorbs/{oid}": ("signature", "GET", "{api}/xet-xorbs/{oid}?part=0&signature=0", {}),
    "POST /api/{kinds}/{repo}/xet/{place}/v1/xorbs/default/{hash}": (
        "xet",
        "POST",
        "{api}/xet/0/v1/xorbs/default/{oid}",
        {},
    ),
    "POST /api/{kinds}/{repo}/xet/{place}/v1/shards": ("xet", "POST", "{api}/xet/0/v1/shards", {}),
    "POST /api/{kinds}/{repo}/xet/{place}/v2/shards": ("xet", "POST", "{api}/xet/0/v2/shards", {}),
    "GET /api/{kinds}/{repo}/xet/{place}/{path:path}": ("xet", "GET", "{api}/xet/0/v1/chunks/default/{oid}", {}),
    "POST /api/{kinds}/{repo}/xet/{place}/{path:path}": (
        "xet",
        "POST",
        "{api}/xet/0/v1/xorb-grants/default/{oid}",
        {},
    ),
}

# Routes that speak of no repo, and those that name it in the body: they have tests of their own.
NO_REPO = {
    "GET /",
    "GET /{kinds}",
    "GET /favicon.ico",
    "GET /login",
    "POST /login",
    "POST /logout",
    "GET /healthz",
    "GET /api/{kinds}",
    "GET /api/whoami-v2",
    "GET /api/users/{user}/overview",
    "GET /api/users/{user}/likes",
    "GET /api/settings/repositories",
    "GET /api/organizations/{org}/settings/repositories",
    "POST /api/validate-yaml",
}
NAMED_IN_BODY = {"POST /api/repos/create", "DELETE /api/repos/delete", "POST /api/repos/move"}


def test_no_route_is_missing_from_the_table():
    known = {name.rpartition(" ")[0] if name.count(" ") > 1 else name for name in TABLE} | NO_REPO | NAMED_IN_BODY
    served = set()
    for route in build_app(None)._app.router.routes:
        assert isinstance(route, Route)
        path = route.path.replace("/{kind:prefix}", "").replace("{kind:kind}", "{kinds}")
        path = path.replace("{namespace:owner}", "{namespace}").replace("{namespace}/{name}", "{repo}")
        served |= {f"{method} {path}" for method in route.methods - {"HEAD"}}
    assert served == known


@pytest.fixture(scope="module", params=STATES)
def place(request, live):
    """A dataset of alice's or of an organisation's, and a token for each role."""
    state = request.param
    gate, slug = state.rpartition(" ")[2], state.replace(" ", "-")
    with accounts_of(live) as (accounts, catalog):
        accounts.add_org("lab")
        tokens = {"anonymous": "", "owner": live.tokens["alice"]}
        for role in ROLES[1:8]:
            accounts.add_user(f"{role}-{slug}".replace(" ", "-"))
            tokens[role] = accounts.add_token(f"{role}-{slug}".replace(" ", "-"))
        accounts.set_member("lab", "alice", "admin")
        accounts.set_member("lab", f"org-reader-{slug}", "read")
        accounts.set_member("lab", f"org-writer-{slug}", "write")
        for role in ROLES:
            accounts.add_user(f"handled-{short(role)}")
            accounts.add_user(f"granted-{short(role)}")

        owner, repo_id = live.api("alice"), f"{'lab' if 'org' in state else 'alice'}/Table-{slug}"
        owner.create_repo(repo_id, repo_type="dataset", private=True)
        owner.create_repo(f"{repo_id}-other", repo_type="dataset", private=True)
        if gate != "public":
            owner.update_repo_settings(repo_id, repo_type="dataset", gated="manual")
        adds = {"README.md": CARD, "data/secret.txt": SECRET, "large.bin": LARGE}
        made = owner.create_commit(
            repo_id,
            [CommitOperationAdd(path, content) for path, content in adds.items()],
            commit_message="data",
            repo_type="dataset",
        )
        owner.create_branch(repo_id, branch="scratch", repo_type="dataset")
        if gate != "private":
            owner.update_repo_settings(repo_id, repo_type="dataset", visibility="public")

        repo, other = (catalog.find("dataset", *name.split("/")) for name in (repo_id, f"{repo_id}-other"))
        for role, allowed in zip(ROLES[8:11], ([(other, "write")], [(repo, "read")], [(repo, "write")]), strict=True):
            tokens[role] = accounts.add_token("alice", FINE_GRAINED, role, allowed)
        name = f"accepted-{slug}"
        tokens["accepted, token for this repo"] = accounts.add_token(name, FINE_GRAINED, repos=[(repo, "read")])
        tokens["accepted, token for another repo"] = accounts.add_token(name, FINE_GRAINED, repos=[(other, "write")])
        tokens["read-only token of the owner"] = accounts.add_token("alice", "read")
        tokens["revoked token of the owner"] = accounts.add_token("alice", "write", "to be revoked")
        (revoked,) = (token.id for token in accounts.tokens() if token.name == "to be revoked")
        accounts.revoke("alice", [revoked])
    pull = owner.create_pull_request(repo_id, "Proposal", description=SECRET.decode(), repo_type="dataset")
    told = owner.create_commit(
        repo_id,
        [CommitOperationAdd("data/secret.txt", b"more " + SECRET)],
        commit_message="change",
        repo_type="dataset",
        create_pr=True,
    )
    assert (pull.num, told.pr_num) == (1, 2)
    said = [owner.comment_discussion(repo_id, 1, text, repo_type="dataset").id for text in ("x", "y")]

    asking = {role: f"{role}-{slug}" for role in ("pending", "rejected", "revoked", "accepted")}
    if gate == "gated":
        for role in asking:
            live.request("POST", f"/api/datasets/{repo_id}/ask-access", token=tokens[role]).raise_for_status()
        owner.accept_access_request(repo_id, asking["accepted"], repo_type="dataset")
        owner.accept_access_request(repo_id, asking["revoked"], repo_type="dataset")
        for role in ("rejected", "revoked"):
            owner.reject_access_request(repo_id, asking[role], repo_type="dataset", rejection_reason="Say why.")
    elif gate == "private":
        for name in asking.values():
            owner.grant_access(repo_id, name, repo_type="dataset")
    for role in ROLES if gate != "public" else ():
        owner.grant_access(repo_id, f"handled-{short(role)}", repo_type="dataset")
    infos = {one.path: one for one in owner.get_paths_info(repo_id, list(adds), repo_type="dataset")}
    words = {
        "site": f"/datasets/{repo_id}",
        "api": f"/api/datasets/{repo_id}",
        "id": repo_id,
        "slug": slug,
        "sha": made.oid,
        "oid": infos["large.bin"].lfs.sha256,
        "etag": f'"{infos["data/secret.txt"].blob_id}"',
        "gated": "" if gate == "public" else "manual",
        "edited": said[0],
        "hidden": said[1],
    }
    return state, tokens, words


@contextmanager
def accounts_of(live) -> Iterator[tuple[Accounts, Catalog]]:
    """The accounts and repos of the Hub while it is being served, as the command line reaches them."""
    with open_database(live.hub.root) as database:
        yield Accounts(database), Catalog(database)


def short(role: str) -> str:
    return role.replace(",", "").replace(" ", "-")


def level(state: str, role: str) -> str | None:
    """The most that a role may do with the repo."""
    org, gate = state.startswith("org"), state.rpartition(" ")[2]
    if role == "revoked token of the owner":
        return None
    if role in ("owner", "fine-grained writer") or (org and role == "org writer"):
        return "write"
    if role in ("read-only token of the owner", "fine-grained reader") or (org and role == "org reader"):
        return "read"
    if gate == "private":
        return None
    return "read" if gate == "public" or role in ("accepted", "accepted, token for this repo") else "see"


def expected(state: str, right: str, role: str) -> tuple[set[int], str | None]:
    """The statuses that are right, and the error code."""
    may, no = level(state, role), 401 if role == "anonymous" else 403
    if right in ("signature", "session"):  # a token alone is never enough; test_pages.py tries sessions
        return {403}, None
    if right == "xet":  # needs a token of its own kind, which test_xet_uploads.py tries
        return {401}, None
    if role == "revoked token of the owner":
        return {401}, None
    if may is None:
        return {401 if role == "anonymous" else 404}, "RepoNotFound"
    if right == "ask" and role != "anonymous":
        if state == "public":
            return {400}, None
        return {403 if role in ("rejected", "revoked") or "another repo" in role else 200}, None
    if right == "ask" or (right in ("write", "gate", "merge") and may != "write"):
        return {no}, None
    if right == "merge":
        return {400}, None
    if right == "gate" and state == "public":
        return {400}, None
    if right in ("read", "discuss", "propose", "author", "moderate", "copy", "duplicate") and may == "see":
        return {no}, "GatedRepo"
    alice = role in ("owner", "fine-grained writer")
    if right == "duplicate" and role == "fine-grained writer":  # of this repo, and of no other
        return {no}, None
    if (right in ("like", "discuss", "propose", "duplicate") and role in QUIET) or (right == "author" and not alice):
        return {no}, None
    if right in ("moderate", "copy") and may != "write":
        return {no}, None
    return {200, 206, 304}, None


@pytest.mark.parametrize("name", TABLE)
def test_route(live, place, name):
    state, tokens, words = place
    right, method, path, more = TABLE[name]
    for role in ROLES:
        request = filled(more, {**words, "role": short(role)})
        if before := request.pop("before", None):
            live.request(before[0], before[1], "alice", **before[2])
        response = live.request(method, filled(path, {**words, "role": short(role)}), token=tokens[role], **request)
        statuses, code = expected(state, right, role)
        told = f"{role}: {response.status_code} {response.text[:200]}"
        assert response.status_code in statuses, told
        assert response.headers.get("X-Error-Code") == code, told
        assert response.headers["X-Request-Id"]
        require_no_leak(response, level(state, role), words, told)


READING = [name for name, row in TABLE.items() if row[1] in ("GET", "HEAD") and "before" not in row[3]]


@pytest.mark.parametrize("name", READING)
def test_route_with_a_browser_s_session(live, place, name):
    """Pages and `resolve` know who has signed in; to the API, to git and to `raw` a cookie is nothing."""
    state, tokens, words = place
    right, method, path, more = TABLE[name]
    for role in ROLES:
        if role in ("anonymous", "revoked token of the owner"):
            continue
        headers = {**filled(more, words).get("headers", {}), "Cookie": session(live, tokens[role])}
        response = live.request(method, filled(path, words), headers=headers)
        told = f"{role}: {response.status_code} {response.text[:200]}"
        as_nobody, as_role = expected(state, right, "anonymous")[0], expected(state, right, role)[0]
        known = path.startswith("{site}") and not any(part in path for part in (".git/", "/info/refs", "/raw/"))
        assert response.status_code in (as_role if known else as_nobody), told
        require_no_leak(response, level(state, role if known else "anonymous"), words, told)


@cache
def session(live, token: str) -> str:
    """The cookie of a browser in which somebody has signed in."""
    with httpx2.Client(base_url=live.hub.endpoint) as browser:
        csrf = browser.get("/login").text.partition('name="csrf" value="')[2].partition('"')[0]
        answer = browser.post("/login", data={"csrf": csrf, "token": token, "next": "/"})
        assert answer.status_code == 303, answer.text
        (name, value) = next((name, value) for name, value in browser.cookies.items() if "session" in name)
        return f"{name}={value}"


def filled(value, words):
    """A request of the table with the words put in."""
    if isinstance(value, str) and value != NDJSON:
        for word, text in words.items():
            value = value.replace("{" + word + "}", text)
    elif isinstance(value, list | tuple):
        value = [filled(one, words) for one in value]
    elif isinstance(value, dict):
        value = {key: filled(one, words) for key, one in value.items()}
    return value


def require_no_leak(response, may, words, told):
    """No content for who may only see, and no name and no commit for who may not even do that."""
    if may in (None, "see"):
        assert b"SECRET" not in response.content, told
    if may is None:
        assert "secret.txt" not in response.text + str(response.headers) and words["sha"] not in response.text, told


def test_listings_hide_private_repos(live, place):
    state, tokens, words = place
    repo_id = words["api"].removeprefix("/api/datasets/")
    for role in ROLES:
        response = live.request("GET", "/api/datasets?limit=1000", token=tokens[role])
        if role == "revoked token of the owner":
            assert response.status_code == 401
        else:
            listed = [one["id"] for one in response.json()]
            assert (repo_id in listed) == (level(state, role) is not None), role
            if "fine-grained" in role:
                assert (f"{repo_id}-other" in listed) == (role == "fine-grained for another repo")


def test_deleting_and_moving_is_for_writers(live, place):
    state, tokens, words = place
    repo_id = words["api"].removeprefix("/api/datasets/")
    namespace, _, name = repo_id.partition("/")
    for role in ROLES:
        if level(state, role) == "write":
            continue
        statuses, _ = expected(state, "write", role)
        target = f"{role}-{state}/stolen".replace(" ", "-")
        bodies = {"move": {"fromRepo": repo_id, "toRepo": target}, "delete": {"organization": namespace, "name": name}}
        for method, action in (("POST", "move"), ("DELETE", "delete")):
            body = {**bodies[action], "type": "dataset"}
            response = live.request(method, f"/api/repos/{action}", token=tokens[role], json=body)
            assert response.status_code in statuses, role


def test_creating_is_for_writers_of_the_namespace(live, place):
    state, tokens, words = place
    namespace = words["api"].split("/")[3]
    for role in ROLES:
        body = {"organization": namespace, "name": f"by-{short(role)}-{state.replace(' ', '-')}"}
        response = live.request("POST", "/api/repos/create", token=tokens[role], json=body)
        may = role == "owner" or (namespace == "lab" and role == "org writer")
        bad = 401 if role in ("anonymous", "revoked token of the owner") else 403
        assert response.status_code == (200 if may else bad), role


def test_the_hash_of_a_large_file_opens_no_other_repo(live, place):
    """Large files are stored once for all repos: who knows a hash must not get the file through a repo of his own."""
    _, tokens, words = place
    api = HfApi(endpoint=live.hub.endpoint, token=tokens["outsider"])
    mine, oid = api.create_repo("mine").repo_id, words["oid"]

    def send(method, path, **more):
        return live.request(method, path.replace("MINE", mine), token=tokens["outsider"], **more)

    batch = {"operation": "download", "objects": [{"oid": oid, "size": len(LARGE)}]}
    (told,) = send("POST", "/MINE.git/info/lfs/objects/batch", json=batch).json()["objects"]
    assert told["error"]["code"] == 404 and "actions" not in told
    assert send("GET", f"/MINE.git/info/lfs/objects/{oid}").status_code == 404
    (told,) = send("POST", "/MINE.git/info/lfs/objects/batch", json={**batch, "operation": "upload"}).json()["objects"]
    assert "upload" in told["actions"]  # not "already there"
    header = {"key": "header", "value": {"summary": "s"}}
    for size in ({"size": len(LARGE)}, {}):
        line = {"key": "lfsFile", "value": {"path": "stolen.bin", "algo": "sha256", "oid": oid, **size}}
        body = f"{json.dumps(header)}\n{json.dumps(line)}"
        assert send("POST", "/api/models/MINE/commit/main", content=body).status_code == 422
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(LARGE)}\n".encode()
    api.upload_file(path_or_fileobj=pointer, path_in_repo="p.txt", repo_id=mine)
    assert send("GET", "/MINE/resolve/main/p.txt").content == pointer


def test_fine_grained_tokens_follow_the_repo_and_end_with_it(live, api, repo_id):
    with accounts_of(live) as (accounts, catalog):
        repo = catalog.find("model", *repo_id.split("/"))
        token = accounts.add_token("alice", FINE_GRAINED, "ci", [(repo, "write")])
    api.update_repo_settings(repo_id, private=True)
    api.move_repo(repo_id, f"{repo_id}-moved")
    api.create_repo(repo_id, private=True)
    narrow = HfApi(endpoint=live.hub.endpoint, token=token)
    assert narrow.model_info(f"{repo_id}-moved").private
    narrow.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=f"{repo_id}-moved")
    assert [one["entity"]["name"] for one in narrow.whoami()["auth"]["accessToken"]["fineGrained"]["scoped"]] == [
        f"{repo_id}-moved"
    ]
    with pytest.raises(RepositoryNotFoundError):
        narrow.model_info(repo_id)
    with pytest.raises(HfHubHTTPError, match="needs a write token"):
        narrow.move_repo(f"{repo_id}-moved", f"{repo_id}-again")
    api.delete_repo(f"{repo_id}-moved")
    api.create_repo(f"{repo_id}-moved", private=True)
    with pytest.raises(RepositoryNotFoundError):
        narrow.model_info(f"{repo_id}-moved")


def test_a_token_does_no_more_than_its_account(live, api, repo_id):
    api.update_repo_settings(repo_id, private=True)
    with accounts_of(live) as (accounts, catalog):
        repo = catalog.find("model", *repo_id.split("/"))
        token = accounts.add_token("outsider", FINE_GRAINED, "greedy", [(repo, "write")])
    greedy = HfApi(endpoint=live.hub.endpoint, token=token)
    assert greedy.whoami()["auth"]["accessToken"]["fineGrained"]["scoped"] == []
    with pytest.raises(RepositoryNotFoundError):
        greedy.model_info(repo_id)


def test_leaving_an_organisation(live, api):
    with accounts_of(live) as (accounts, _):
        accounts.add_org("left-lab")
        accounts.set_member("left-lab", "alice", "admin")
        accounts.set_member("left-lab", "reader", "write")
        repo_id = live.api("reader").create_repo("Left-Lab/m", private=True).repo_id
        assert repo_id == "left-lab/m"
        assert api.model_info(repo_id).author == "left-lab"
        accounts.set_member("left-lab", "reader", None)
        with pytest.raises(RepositoryNotFoundError):
            live.api("reader").model_info(repo_id)


@pytest.fixture
def gated(api, repo_id):
    api.update_repo_settings(repo_id, gated="manual")
    return repo_id


def test_who_declines_what_a_form_asks_to_tick_has_not_asked(live, api, repo_id):
    term = "I will not pass it on"
    card = f"---\nextra_gated_fields:\n  {term}: checkbox\n---\n"
    api.upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=repo_id)
    api.update_repo_settings(repo_id, gated="auto")
    path = f"/api/models/{repo_id}/ask-access"
    refused = live.request("POST", path, "reader", json={term: False})
    assert refused.status_code == 400 and term in refused.json()["error"]
    assert not list(api.list_accepted_access_requests(repo_id))
    assert live.request("POST", path, "reader", json={term: True}).json() == {"status": "accepted"}


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
    with pytest.raises(GatedRepoError, match=r'rejected by the repo.s owner: "not now"'):
        reader.auth_check(gated)
    asked = live.request("POST", f"/api/models/{gated}/ask-access", "reader")
    assert asked.status_code == 403 and '"not now"' in asked.json()["error"]
    with pytest.raises(HfHubHTTPError, match="200 characters"):
        api.reject_access_request(gated, "reader", rejection_reason="x" * 201)


def test_an_automatic_gate(live, api, gated):
    api.update_repo_settings(gated, gated="auto")
    with pytest.raises(GatedRepoError):
        live.api("reader").auth_check(gated)
    assert live.request("POST", f"/api/models/{gated}/ask-access", "reader").json() == {"status": "accepted"}
    live.api("reader").auth_check(gated)


def test_members_need_not_ask(live, api, gated):
    assert live.request("POST", f"/api/models/{gated}/ask-access", "alice").json() == {"status": "accepted"}
    assert list(api.list_pending_access_requests(gated)) == [] == list(api.list_accepted_access_requests(gated))


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


def test_what_the_owner_learns_of_who_asks(live, api, gated):
    with accounts_of(live) as (accounts, _):
        accounts.add_user("ada", "ada@example.org", "Ada L.")
        accounts.add_user("bob", "bob@example.org")
        token = accounts.add_token("ada")
    live.request("POST", f"/api/models/{gated}/ask-access", token=token, json={"why": "x"}).raise_for_status()
    (asked,) = api.list_pending_access_requests(gated)
    assert (asked.username, asked.fullname, asked.email) == ("ada", "Ada L.", "ada@example.org")
    api.grant_access(gated, "bob")
    (granted,) = api.list_accepted_access_requests(gated)
    assert (granted.username, granted.fullname, granted.email) == ("bob", "bob", None)
    huge = live.request("POST", f"/api/models/{gated}/ask-access", "outsider", json={"why": "x" * 30_000})
    assert huge.status_code == 413


def test_every_decision_is_in_the_audit(live, api, gated):
    live.request("POST", f"/api/models/{gated}/ask-access", "reader").raise_for_status()
    (asked,) = api.list_pending_access_requests(gated)
    api.accept_access_request(gated, request_id=asked.request_id)
    api.reject_access_request(gated, "reader", rejection_reason=None)
    api.grant_access(gated, "outsider")
    with pytest.raises(HfHubHTTPError):
        api.grant_access(gated, "outsider")
    with open_database(live.hub.root) as database:
        rows = database.rows("SELECT * FROM audit WHERE repo = ? ORDER BY id", f"model:{gated}")
    assert [(row["actor"], row["action"], row["detail"]) for row in rows] == [
        ("alice", "create", "public"),
        ("alice", "settings", "public, gated: manual"),
        ("reader", "access pending", "reader"),
        ("alice", "access accepted", "reader"),
        ("alice", "access rejected", "reader"),
        ("alice", "access granted", "outsider"),
    ]
