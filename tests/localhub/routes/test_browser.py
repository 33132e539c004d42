"""Sessions: signing in and out, what forms need, and that cookies count nowhere but on pages and files."""

import re
from types import SimpleNamespace

import httpx2
import pytest

from hfvaccine.localhub.app import build_app
from hfvaccine.localhub.pages import repos as pages
from hfvaccine.localhub.routes.browser import local_path
from hfvaccine.localhub.sessions import MOST, Sessions

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Visitor:
    """A browser as far as cookies and forms go; it takes headers that real browsers would set by themselves."""

    def __init__(self, live, user=None, token=None):
        self.client = httpx2.Client(base_url=live.hub.endpoint, headers={"Accept": "text/html"})
        self.endpoint = live.hub.endpoint
        if user or token:
            self.answer = self.sign_in(token or live.tokens[user])

    def get(self, path, **headers):
        return self.client.get(path, headers=headers)

    def csrf(self, path):
        return re.search(r'name="csrf" value="([0-9a-f]{64})"', self.get(path).text)[1]

    def post(self, path, fields, **headers):
        return self.client.post(path, data=fields, headers=headers)

    def sign_in(self, token, then="/"):
        return self.post("/login", {"csrf": self.csrf("/login"), "token": token, "next": then})


@pytest.fixture
def gated(api, repo_id):
    api.update_repo_settings(repo_id, gated="manual")
    return repo_id


def test_signing_in_and_out(live):
    visitor = Visitor(live)
    answer = visitor.sign_in(live.tokens["reader"], "/models?q=a%20b")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/models?q=a%20b")
    session = next(one for one in answer.headers.get_list("Set-Cookie") if one.startswith("hub-session-"))
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(session.split("; ")) and "Secure" not in session
    assert live.tokens["reader"] not in str(answer.headers) + answer.text
    page = visitor.get("/")
    assert "reader" in page.text and "Sign out" in page.text and live.tokens["reader"] not in page.text
    assert visitor.get("/login?next=/models").headers["Location"] == "/models"
    cookies = dict(visitor.client.cookies)
    assert visitor.post("/logout", {"csrf": visitor.csrf("/")}).status_code == 303
    assert "Sign in" in visitor.get("/").text
    # The cookie itself is worthless now, also to who kept a copy.
    assert "Sign in" in httpx2.get(live.hub.endpoint, cookies=cookies).text


def test_a_bad_token(live):
    visitor = Visitor(live)
    for token in ("hfv_wrong", "", "\ud800".encode(errors="replace").decode(), "x" * 10_000):
        answer = visitor.sign_in(token)
        assert answer.status_code == 401 and "knows no such token" in answer.text
        assert not any(name.startswith("hub-session") for name in visitor.client.cookies)
        assert "WWW-Authenticate" not in answer.headers
    assert visitor.sign_in("x" * 300_000).status_code == 413


def test_signing_in_needs_the_form_of_this_browser(live):
    token = live.tokens["reader"]
    visitor, other = Visitor(live), Visitor(live)
    mine, theirs = visitor.csrf("/login"), other.csrf("/login")
    for csrf in ("", "0" * 64, theirs, "\xff"):
        assert visitor.post("/login", {"csrf": csrf, "token": token}).status_code == 403
    assert Visitor(live).post("/login", {"csrf": mine, "token": token}).status_code == 403
    assert visitor.post("/login", {"csrf": mine, "token": token}).status_code == 303


def test_a_session_ends_with_its_token(live):
    token = live.hub.add_user("leaver")
    visitor = Visitor(live, token=token)
    assert "leaver" in visitor.get("/").text
    live.hub._hub.accounts.revoke("leaver", None)
    assert "leaver" not in visitor.get("/").text
    assert visitor.post("/logout", {"csrf": "0"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"},
    ],
)
def test_other_sites_cannot_use_a_session(live, api, gated, headers):
    visitor = Visitor(live, "reader")
    csrf = visitor.csrf("/")
    for path in ("/logout", f"/{gated}/ask", f"/{gated}/requests"):
        assert visitor.post(path, {"csrf": csrf}, **headers).status_code == 403
    stranger = Visitor(live)
    fields = {"csrf": stranger.csrf("/login"), "token": live.tokens["alice"]}
    assert stranger.post("/login", fields, **headers).status_code == 403
    assert "reader" in visitor.get("/").text
    assert list(api.list_pending_access_requests(gated)) == []
    if "Sec-Fetch-Mode" not in headers:
        assert "reader" not in visitor.get("/", **headers).text


def test_other_sites_cannot_read_files_with_a_session(live, api, repo_id):
    api.update_repo_settings(repo_id, private=True)
    visitor, path = Visitor(live, "alice"), f"/{repo_id}/resolve/main/.gitattributes"
    assert visitor.get(path).status_code == 200
    assert visitor.get(path, **{"Sec-Fetch-Site": "same-origin"}).status_code == 200
    for site in ("same-site", "cross-site"):
        assert visitor.get(path, **{"Sec-Fetch-Site": site}).status_code == 401
    assert Visitor(live, "outsider").get(path).status_code == 404


@pytest.mark.parametrize("csrf", ["", "0" * 64, "of another session"])
def test_forms_need_the_token_of_the_session(live, api, gated, csrf):
    visitor = Visitor(live, "reader")
    given = Visitor(live, "reader").csrf("/") if csrf.startswith("of") else csrf
    for path in ("/logout", f"/{gated}/ask", f"/{gated}/requests"):
        assert visitor.post(path, {"csrf": given}).status_code == 403
        assert visitor.post(path, {}).status_code == 403
    assert "reader" in visitor.get("/").text and list(api.list_pending_access_requests(gated)) == []


def test_forms_that_make_no_sense(live, gated):
    visitor = Visitor(live, "reader")
    for content, status in ((b"\xff=\xfe", 400), (b"a=b&" * 1000, 400), (b"x" * 300_000, 413), (b"", 403)):
        assert visitor.client.post(f"/{gated}/ask", content=content, headers=FORM).status_code == status


def test_the_api_knows_no_cookies(live, api, gated):
    """Every route but pages and `resolve` treats a session as nobody."""
    visitor, known = Visitor(live, "alice"), 0
    csrf = visitor.csrf("/")
    words = {"kind": "models", "namespace": gated.split("/")[0], "name": gated.split("/")[1], "rev": "main"}
    words |= {"path": "README.md", "status": "pending", "oid": "0" * 64}
    for route in build_app(live.hub._hub)._app.router.routes:
        if route in pages.ROUTES or "prefix" in route.path or "/resolve/" in route.path:
            continue
        path = re.sub(r"{(\w+)(:\w+)?}", lambda found: words.get(found[1], "x"), route.path)
        for method in route.methods - {"HEAD"}:
            nobody = live.request(method, path, json={"csrf": csrf}, headers={"Accept": "text/html"})
            somebody = visitor.client.request(method, path, json={"csrf": csrf})
            assert somebody.status_code == nobody.status_code, (method, path)
            known += somebody.status_code in (401, 403)
    assert known > 15
    assert api.repo_exists(gated)


def test_remembered_passwords_are_no_use_to_other_sites(live, gated):
    """Browsers add Basic credentials to requests of other sites, JSON in a text/plain form included."""
    headers = {"Content-Type": "text/plain", "Sec-Fetch-Site": "cross-site"}
    auth = ("alice", live.tokens["alice"])
    path = f"{live.hub.endpoint}/api/models/{gated}/settings"
    assert httpx2.put(path, auth=auth, json={"gated": False}, headers=headers).status_code == 403
    assert httpx2.put(path, auth=auth, json={"gated": False}, headers={"Origin": "http://a.b"}).status_code == 403
    assert httpx2.put(path, auth=auth, json={"gated": False}).status_code == 200


def test_where_signing_in_leads():
    for path in ("/", "/a/b?q=%20&x#y", "/datasets/a/b/tree/refs%2Fpr%2F1"):
        assert local_path(path) == path
    for path in ("", "//evil.example", "/\\evil.example", "https://evil.example", "/a\nb", "/\t/evil.example", "/é"):
        assert local_path(path) == "/"


def test_sessions_run_out(monkeypatch):
    sessions = Sessions()
    first = sessions.begin("token")
    assert sessions.token(first) == "token" and sessions.token("x") is None and sessions.token("") is None
    monkeypatch.setattr("hfvaccine.localhub.sessions.time", SimpleNamespace(monotonic=lambda: 1e9))
    assert sessions.token(first) is None
    cookies = [sessions.begin(str(i)) for i in range(MOST + 1)]
    assert sessions.token(cookies[0]) is None and sessions.token(cookies[1]) == "1"


def test_the_log_holds_no_token(live, caplog):
    caplog.set_level("INFO", logger="hfvaccine.localhub")
    visitor = Visitor(live, "reader")
    visitor.get(f"/login?token={live.tokens['reader']}")
    assert caplog.records and live.tokens["reader"] not in caplog.text
    assert not any(value in caplog.text for value in visitor.client.cookies.values())
