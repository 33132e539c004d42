"""Pages: what they show to whom, asking and answering by form, and how they stand in a real browser."""

import base64
import json
import re
from html import unescape

import pytest
from localhub.routes.test_browser import Visitor

from hfvaccine.localhub.routes import commits

CARD = """---
license: mit
tags: [one, "<i>two"]
extra_gated_heading: Who are <you>?
extra_gated_description: A description.
extra_gated_prompt: "The **terms**. <script>alert(1)</script>"
extra_gated_fields:
  <b>Purpose: text
  Country: country
  Since: date_picker
  Use: {type: select, options: [Research, {label: Something else, value: other}]}
  I agree: checkbox
extra_gated_button_content: Let me in
---
# The card

![A plot](figures/plot.svg) and [data](data) and [the file](data/secret.txt#top).
"""
ANSWERS = {"field-0": "to see", "field-1": "Chad", "field-2": "2026-01-02", "field-3": "1", "field-4": "yes"}
TOLD = {"<b>Purpose": "to see", "Country": "Chad", "Since": "2026-01-02", "Use": "other", "I agree": True}
PLOT = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><rect width="40" height="20"/></svg>'


def put(api, repo_id, files, repo_type=None):
    for path, content in files.items():
        content = content if isinstance(content, bytes) else content.encode()
        api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=repo_id, repo_type=repo_type)


@pytest.fixture
def gated(api, repo_id):
    put(
        api,
        repo_id,
        {"README.md": CARD, "figures/plot.svg": PLOT, "data/secret.txt": "SECRET", "big.bin": b"\0" * 2000},
    )
    api.update_repo_settings(repo_id, gated="manual")
    return repo_id


def words(page):
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page.text)).split())


def test_every_page_is_shut_in(live, gated):
    for path in (
        "/",
        "/models",
        "/datasets?q=x",
        "/login",
        f"/{gated}",
        f"/{gated}/tree/main",
        f"/{gated}/commits/main",
    ):
        page = Visitor(live).get(path)
        assert page.status_code == 200
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-") and "frame-ancestors 'none'" in policy
        assert "form-action 'self'" in policy and "unsafe" not in policy and "script-src" not in policy
        assert page.headers["X-Content-Type-Options"] == "nosniff" and page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "same-origin"
        assert not re.search(r"<script|<link|<iframe| style=| on\w+=|@import|url\(", page.text)


def test_the_list(live, api):
    for number in range(32):
        api.create_repo(f"alice/list-{number:02d}", repo_type="dataset")
    api.create_repo("alice/list-hidden", repo_type="dataset", private=True)
    put(api, "alice/list-07", {"README.md": "---\ntags: [seven-league]\n---\n"}, "dataset")
    visitor, alice = Visitor(live), Visitor(live, "alice")
    first = visitor.get("/datasets?q=alice/list")
    assert "alice/list-31" in first.text and "alice/list-01" not in first.text and "list-hidden" not in first.text
    (following,) = re.findall(r'<a href="([^"]+)" rel="next">', first.text)
    second = visitor.get("/datasets" + unescape(following))
    assert "alice/list-01" in second.text and "alice/list-02" not in second.text and 'rel="next"' not in second.text
    assert (
        "alice/list-31"
        in visitor.get("/datasets" + unescape(re.findall(r'href="([^"]+)" rel="prev"', second.text)[0])).text
    )
    assert "alice/list-hidden" in alice.get("/?q=list-hidden").text
    assert "alice/list-hidden" not in Visitor(live, "outsider").get("/?q=list-hidden").text
    found = visitor.get("/datasets?q=SEVEN-league")
    assert "alice/list-07" in found.text and "alice/list-08" not in found.text
    assert "alice/list-07" not in visitor.get("/models?q=list-07").text
    assert visitor.get("/datasets?q=%22%3E%3Cscript%3E&start=zzz").text.count("<script") == 0


def test_a_private_repo_is_not_there(live, api, gated):
    api.update_repo_settings(gated, private=True)
    for user, status in ((None, 401), ("outsider", 404), ("alice", 200)):
        visitor = Visitor(live, user)
        for path in (f"/{gated}", f"/{gated}/tree/main", f"/{gated}/tree/main/data", f"/{gated}/commits/main"):
            page, missing = visitor.get(path), visitor.get(path.replace("Repo-", "Nothing-"))
            assert page.status_code == status
            if status != 200:
                assert page.headers["Content-Type"].startswith("text/html") and "WWW-Authenticate" not in page.headers
                assert page.text.replace("Repo-", "Nothing-") == missing.text


def test_a_gated_repo_shows_names_and_its_card(live, api, gated):
    visitor = Visitor(live, "outsider")
    page = visitor.get(f"/{gated}")
    assert '<h1 id="card-the-card">The card</h1>' in page.text
    assert "<em>[A plot]</em>" in page.text and "<img" not in page.text
    assert f'href="/{gated}/resolve/main/data/secret.txt#top"' in page.text
    assert f'href="/{gated}/tree/main/data"' in page.text
    assert "license:mit" in page.text and "&lt;i&gt;two" in page.text and "<i>" not in page.text
    files = visitor.get(f"/{gated}/tree/main")
    assert "data /" in words(files) and "big.bin LFS 2.0 kB" in words(files) and "/resolve/" not in files.text
    deeper = visitor.get(f"/{gated}/tree/main/data")
    assert "secret.txt 6 B" in words(deeper) and "SECRET" not in deeper.text and "/resolve/" not in deeper.text
    refused = visitor.get(f"/{gated}/resolve/main/data/secret.txt")
    assert refused.status_code == 403 and "Ask for access" in refused.text and "SECRET" not in refused.text
    owner = Visitor(live, "alice")
    assert f'<img src="/{gated}/resolve/main/figures/plot.svg" alt="A plot"' in owner.get(f"/{gated}").text
    assert f'href="/{gated}/resolve/main/data/secret.txt"' in owner.get(f"/{gated}/tree/main/data").text
    assert owner.get(f"/{gated}/resolve/main/data/secret.txt").text == "SECRET"


def test_files_and_history(live, api, repo_id):
    put(api, repo_id, {"a b/ü#?.txt": "x", "b\u202egpj.exe": "y"})
    api.create_branch(repo_id, branch="feature/one")
    api.upload_file(
        path_or_fileobj=b"z",
        path_in_repo="c",
        repo_id=repo_id,
        revision="feature/one",
        commit_message="<i>Third",
        commit_description="Why",
    )
    visitor = Visitor(live)
    page = visitor.get(f"/{repo_id}/tree/main")
    assert f'href="/{repo_id}/tree/main/a%20b"' in page.text and f'href="/{repo_id}/tree/feature%2Fone"' in page.text
    assert "\u202e" not in page.text and "b\ufffdgpj.exe" in page.text
    (link,) = re.findall(r'<td><a href="([^"]+)"', visitor.get(f"/{repo_id}/tree/main/a%20b").text)
    assert visitor.get(link).text == "x"
    history = visitor.get(f"/{repo_id}/commits/feature%2Fone")
    assert "&lt;i&gt;Third" in history.text and "initial commit" in history.text
    told = visitor.get(re.findall(r'<td><a href="([^"]+)"', history.text)[0])
    assert "Why" in told.text and "c added" in words(told) and "alice" in told.text
    assert visitor.get(f"/{repo_id}/tree/nowhere").status_code == 404
    assert visitor.get(f"/{repo_id}/tree/main/nowhere").status_code == 404
    assert visitor.get(f"/{repo_id}/commit/{'0' * 40}").status_code == 404
    newest = api.list_repo_commits(repo_id)[0]
    assert visitor.get(f"/{repo_id}/commit/{newest.commit_id}").status_code == 200


def test_asking_by_the_form(live, api, gated):
    assert (
        "Sign in" in words(Visitor(live).get(f"/{gated}")) and "<form class" not in Visitor(live).get(f"/{gated}").text
    )
    visitor = Visitor(live, "reader")
    page = visitor.get(f"/{gated}")
    assert "Who are &lt;you&gt;?" in page.text and "A description." in page.text and "Let me in" in page.text
    assert "The <strong>terms</strong>." in page.text and "alert(1)" not in page.text
    assert (
        "&lt;b&gt;Purpose" in page.text
        and '<input type="date"' in page.text
        and "Something else</option>" in page.text
    )
    csrf = visitor.csrf(f"/{gated}")
    for name in ANSWERS:
        answer = visitor.post(f"/{gated}/ask", {**ANSWERS, "csrf": csrf, name: ""})
        assert answer.status_code == 400 and 'role="alert"' in answer.text
    assert list(api.list_pending_access_requests(gated)) == []
    answer = visitor.post(f"/{gated}/ask", {**ANSWERS, "csrf": csrf, "more": "x"})
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/{gated}")
    (asked,) = api.list_pending_access_requests(gated)
    assert (asked.username, asked.fields) == ("reader", TOLD)
    assert "Your request is waiting" in visitor.get(f"/{gated}").text
    api.reject_access_request(gated, "reader", rejection_reason="<i>not</i> now")
    rejected = visitor.get(f"/{gated}")
    assert "was rejected" in rejected.text and "&lt;i&gt;not&lt;/i&gt; now" in rejected.text
    assert visitor.post(f"/{gated}/ask", {**ANSWERS, "csrf": csrf}).status_code == 403
    api.accept_access_request(gated, "reader")
    assert "You have access" in visitor.get(f"/{gated}").text
    assert visitor.get(f"/{gated}/resolve/main/data/secret.txt").text == "SECRET"


def test_owners_answer_by_the_form(live, api, gated):
    reader, outsider, owner = (Visitor(live, name) for name in ("reader", "outsider", "alice"))
    for visitor in (reader, outsider):
        visitor.post(f"/{gated}/ask", {**ANSWERS, "csrf": visitor.csrf(f"/{gated}")})
    page, place = owner.get(f"/{gated}/requests"), f"/{gated}/requests"
    assert (
        "Access requests (2)" in page.text
        and "&lt;b&gt;Purpose" in page.text
        and "Waiting for your answer (2)" in page.text
    )
    ids = {one.username: one.request_id for one in api.list_pending_access_requests(gated)}
    # Nobody but the owner sees or decides; a session with a good form token of its own is not enough.
    for visitor, status in ((reader, 403), (Visitor(live), 401)):
        assert visitor.get(place).status_code == status
    accept = {"request": ids["reader"], "status": "accepted"}
    assert reader.post(place, {**accept, "csrf": reader.csrf(f"/{gated}")}).status_code == 403
    assert reader.post(place, {**accept, "csrf": owner.csrf(place)}).status_code == 403
    assert owner.post(place, accept).status_code == 403
    read_only = Visitor(live, token=live.hub.add_user("alice", role="read"))
    assert read_only.post(place, {**accept, "csrf": read_only.csrf("/")}).status_code == 403
    assert len(list(api.list_pending_access_requests(gated))) == 2
    csrf = owner.csrf(place)
    for wrong in ({"status": "pending"}, {"status": ""}, {"request": "0"}):
        assert owner.post(place, {**accept, "csrf": csrf, **wrong}).status_code in (400, 404)
    assert owner.post(place, {**accept, "csrf": csrf}).headers["Location"] == place
    rejection = {"request": ids["outsider"], "status": "rejected", "reason": "Who are you?", "csrf": csrf}
    assert owner.post(place, rejection).status_code == 303
    assert [one.username for one in api.list_accepted_access_requests(gated)] == ["reader"]
    assert [one.username for one in api.list_rejected_access_requests(gated)] == ["outsider"]
    assert "Who are you?" in outsider.get(f"/{gated}").text
    live.hub.add_user("granted")
    api.grant_access(gated, "granted")
    assert "granted" in words(owner.get(place))  # who was let in without asking has not filled in anything
    assert owner.post(place, {**accept, "csrf": csrf}).status_code == 400
    assert owner.post(place, {**accept, "csrf": csrf, "status": "rejected"}).status_code == 303
    assert reader.get(f"/{gated}/resolve/main/data/secret.txt").status_code == 403


def test_an_automatic_gate_and_no_gate(live, api, repo_id):
    visitor = Visitor(live, "reader")
    csrf = visitor.csrf("/")
    assert visitor.post(f"/{repo_id}/ask", {"csrf": csrf}).status_code == 400
    api.update_repo_settings(repo_id, gated="auto")
    assert visitor.post(f"/{repo_id}/ask", {"csrf": csrf}).status_code == 303
    assert "You have access" in visitor.get(f"/{repo_id}").text


CARDS = {
    "empty": b"",
    "no text": b"---\nlicense: mit\n---\n",
    "not text": b"\xff\xfe\x00binary\x80",
    "broken metadata": b"---\na: [\n---\n# Still shown",
    "odd metadata": b"---\nextra_gated_fields: 7\nextra_gated_prompt: [1]\nextra_gated_heading: {}\ntags: 1\n---\nx",
    "template": b"---\ntags: ['{{ 7*7 }}']\n---\n{{ 7*7 }}{% include 'x' %}",
    "huge": b"# x\n" + b"word " * 100_000,
    "deep": b"> " * 5000 + b"\n\n" + b"<div>" * 4000 + b"\n\n" + b"- " * 5000,
    "right to left": "\u202e\u05d0\u05d1 \u0645\u0631\u062d\u0628\u0627 \u2067x".encode(),
}


@pytest.mark.parametrize("name", CARDS)
def test_cards_of_any_shape(live, gated, name, monkeypatch):
    # Clients refuse to send some of these, and the Hub to take them; it once did.
    monkeypatch.setattr(commits, "_require_card", lambda repo, readme: None)
    card = {"path": "README.md", "content": base64.b64encode(CARDS[name]).decode(), "encoding": "base64"}
    lines = [{"key": "header", "value": {"summary": "card"}}, {"key": "file", "value": card}]
    body = "\n".join(json.dumps(line) for line in lines)
    live.request("POST", f"/api/models/{gated}/commit/main", "alice", content=body).raise_for_status()
    for user in ("outsider", "alice"):
        page = Visitor(live, user).get(f"/{gated}")
        assert page.status_code == 200 and page.text.rstrip().endswith("</html>")
        assert len(page.text) < 3_000_000 and (name != "template" or page.text.count("{{ 7*7 }}") >= 2)


def test_files_of_strangers_do_not_run(live, api, repo_id):
    put(
        api,
        repo_id,
        {"page.html": "<script>alert(1)</script>", "plot.svg": PLOT, "x.js": "alert(1)", "p.png": b"\x89PNG\0"},
    )
    for path, kind in (
        ("page.html", "text/plain"),
        ("plot.svg", "image/svg+xml"),
        ("x.js", "text/plain"),
        ("p.png", "image/png"),
    ):
        answer = Visitor(live).get(f"/{repo_id}/resolve/main/{path}")
        assert (
            answer.headers["Content-Type"].startswith(kind) and answer.headers["X-Content-Type-Options"] == "nosniff"
        )
        assert "sandbox" in answer.headers["Content-Security-Policy"].split("; ")
        assert "allow" not in answer.headers["Content-Security-Policy"]


def test_browsers_get_a_page_for_what_is_missing(live, repo_id):
    page = Visitor(live).get("/alice/nothing/at/all")
    assert page.headers["Content-Type"].startswith("text/html") and "sign in" in page.text
    assert Visitor(live).get("/favicon.ico").status_code == 204
    # A picture that is refused must not make the browser ask for a password, which it would keep and send along.
    for path in ("/alice/nothing/resolve/main/x.png", "/api/models/alice/nothing"):
        answer = live.request("GET", path, headers={"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "same-origin"})
        assert answer.status_code == 401 and "WWW-Authenticate" not in answer.headers
    assert live.request("GET", "/alice/nothing").json() == {"error": "Repository not found"}


HOSTILE = """# Hostile
<script>document.title='RAN'</script><img src=x onerror="document.title='RAN'">
<svg onload="document.title='RAN'"></svg>
<a href="javascript:document.title='RAN'" id=trap>x</a> [y](javascript:document.title='RAN')
<style>body{display:none}</style><p style="position:fixed">y</p><iframe src="/login"></iframe>
![far](http://127.0.0.1:9/x.png) <img src="http://127.0.0.1:9/y.png"> ![near](figures/plot.svg)

| a rather wide column | another rather wide column | and a third one that is wide | and a fourth |
|---|---|---|---|
| averyveryverylongwordthatdoesnotbreak | averyveryverylongwordthatdoesnotbreak | x | y |

averyveryverylongwordthatdoesnotbreakaveryveryverylongwordthatdoesnotbreakaveryveryverylongwordthatdoesnotbreak

```
one very long line of code that goes on and on and on and on and on and on and on and on and on and on and on
```
"""


def test_pages_in_a_browser(live, api, gated, chromium):
    place = f"{live.hub.endpoint}/{gated}"
    active = PLOT.replace("<rect", "<script>document.title='RAN'</script><rect")
    put(
        api,
        gated,
        {"README.md": CARD + HOSTILE, "page.html": "<script>document.title='RAN'</script>", "active.svg": active},
    )
    chromium.go(f"{live.hub.endpoint}/login?next=/{gated}")
    chromium.run(f"document.querySelector('[name=token]').value = '{live.tokens['reader']}'")
    chromium.click("document.querySelector('form.stack button').click()")
    assert chromium.run("location.href") == place and chromium.run("document.cookie") == ""
    for name, value in ANSWERS.items():
        field = f"document.getElementsByName('{name}')[0]"
        chromium.run(f"{field}.type == 'checkbox' ? {field}.checked = true : {field}.value = '{value}'")
    chromium.click("document.querySelector('form.stack button').click()")
    assert "waiting" in chromium.run("document.querySelector('.notice').innerText")
    chromium.click("document.querySelector('.who button').click()")
    chromium.go(f"{live.hub.endpoint}/login?next=/{gated}/requests")
    chromium.run(f"document.querySelector('[name=token]').value = '{live.tokens['alice']}'")
    chromium.click("document.querySelector('form.stack button').click()")
    chromium.click("document.querySelector('section button.main').click()")
    assert [(one.username, one.fields) for one in api.list_accepted_access_requests(gated)] == [("reader", TOLD)]
    pages = ("", "/tree/main", "/tree/main/data", "/commits/main", "/requests")
    for width in (1200, 390):
        chromium.width(width)
        for page in pages:
            chromium.go(place + page)
            assert chromium.run("document.documentElement.scrollWidth") <= width, (page, width)
            assert chromium.run("getComputedStyle(document.querySelector('main')).maxWidth") == "960px"
            assert len(chromium.picture()) > 5000
    chromium.go(place)
    assert chromium.run("[...document.images].map(one => one.naturalWidth > 0).join()") == "true,false,false,true"
    chromium.run("document.querySelector('#card-trap').click()")
    assert chromium.run("document.title") == gated
    for file in ("page.html", "active.svg"):
        chromium.go(f"{place}/resolve/main/{file}")
        assert chromium.run("document.title") != "RAN" and chromium.run("window.origin") == "null"
    asked = [
        one["params"]["request"]["url"] for one in chromium.events if one["method"] == "Network.requestWillBeSent"
    ]
    # Chromium's own pictures, as in its fields, are data.
    assert asked and all(address.startswith((live.hub.endpoint, "data:image/svg+xml")) for address in asked)
