"""The page: what is written and said is never markup, who may listen to it, and how it is in a browser."""

import json
import sys
import threading
import time

import httpx2
import pytest
from pages import Page

from hfvaccine.demo.questions import Asked
from hfvaccine.demo.replies import CLAIM, Reply, Verdict
from hfvaccine.errors import UsageError

pytest.importorskip("gradio", reason="The extra [demo] is not installed.")

from hfvaccine.demo import page
from hfvaccine.demo.subject import load, open_subject

HOSTILE = "<script>document.title='RAN'</script><img src=x onerror=\"document.title='RAN'\"> ${1+1} {{2+2}} {% x %}"


class Parrot:
    """Says what it was asked last, and accepts everything."""

    tokenizer = None

    def __init__(self, scorer):
        self.scorer = scorer

    def answers(self, prompts, max_new_tokens, first_line=False):
        return [prompts[0][-1]["content"]]

    def score(self, requests):
        return self.scorer.score(requests)


class Served:
    """A page on a free port of this machine, until it is told to stop as by Ctrl-C."""

    def __init__(self, subject, arms, place):
        self.listening = page.listen("127.0.0.1", 0)
        self.address = page.address(self.listening)
        self.server = page.server(subject, page.build(subject, arms, place))
        self.thread = threading.Thread(target=page.serve, args=(self.server, self.listening))

    def __enter__(self):
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()
            time.sleep(0.01)
        return self

    def __exit__(self, *raised):
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive() and self.listening.fileno() == -1


@pytest.fixture(scope="module")
def shown(made):
    subject = open_subject(str(made))
    return subject, *load(subject)


def test_nothing_that_is_said_is_markup():
    asked, reply = Asked(HOSTILE), Reply(HOSTILE, HOSTILE, HOSTILE, (Verdict(CLAIM, "At <b>once</b>", 0.5),))
    made = Page(page.column(asked, reply))
    assert {*made.tags} <= {"section", "h3", "span", "p", "q", "svg", "text", "tspan", "rect", "path"}
    assert made.words.count("<script>") == 3 and "At <b>once</b>" in made.words
    assert made.words.count("${1+1} {{2+2}} {% x %}") == 3


def test_the_top_says_verdict_quarantine_and_what_is_missing(shown):
    top = Page(page.top(shown[0]))
    assert "Gate: " in top.words and "Quarantined falsehoods." in top.words and shown[0].canaries[0] in top.words
    assert top.links == {"/report"}
    assert "run: vaccine beside base" in top.words


def test_other_machines_are_let_in_on_purpose_only():
    for host in ("0.0.0.0", "192.0.2.1", "example.org"):
        with pytest.raises(UsageError, match="can be reached by other machines"):
            page.listen(host, 0)
    with pytest.raises(UsageError, match="Cannot listen on"):
        page.listen("192.0.2.1", 0, anywhere=True)
    with page.listen("localhost", 0) as taken:
        assert page.address(taken).startswith("http://127.0.0.1:")
        with pytest.raises(UsageError, match="--port"):
            page.listen("127.0.0.1", taken.getsockname()[1])


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UsageError, match=r"install .*gradio"):
        page.gradio()


def test_what_is_served(shown):
    with Served(*shown) as served:
        answer = httpx2.get(served.address)
        assert answer.status_code == 200 and "Demo of run" in answer.text
        assert httpx2.get(f"{served.address}/report").text == (shown[0].report).read_text(encoding="utf-8")
        assert httpx2.get(served.address, headers={"Host": "evil.example"}).status_code == 400
        config = httpx2.get(f"{served.address}/config").json()
        assert config["analytics_enabled"] is False and not config.get("is_space")
        assert all(one["api_visibility"] == "private" for one in config["dependencies"])


def value(name, kind="textarea"):
    return f"document.querySelector('#{name} {kind}').value"


def option(text):
    return f"[...document.querySelectorAll('[role=option]')].find(one => one.innerText.includes({json.dumps(text)}))"


def write(chromium, name, text):
    chromium.press(f"document.querySelector('#{name} textarea')")
    chromium.run(f"document.querySelector('#{name} textarea').select()")
    chromium.call("Input.insertText", text=text)
    chromium.wait(f"{value(name)} == {json.dumps(text)}")


def sides(chromium):
    return [chromium.run(f"document.querySelector('#side-{number}').innerText") for number in (0, 1)]


def test_the_page_in_a_browser(shown, chromium):
    subject, arms, place = shown
    (claim, *_), (never, *_) = (group.ready for group in subject.groups[:2])
    with Served(subject, {arm: Parrot(scorer) for arm, scorer in arms.items()}, place) as served:
        chromium.width(1100)
        chromium.go(served.address)
        chromium.wait("!!document.querySelector('#ask')")
        assert chromium.run("document.title") == "Demo of run"
        # A claim that was given stands ready, and fills in all that belongs to it.
        chromium.press("document.querySelector('#ready input')")
        chromium.press(option(claim.label))
        chromium.wait(f"{value('question')} == {json.dumps(claim.asked.question)}")
        chromium.wait(f"{value('truth')} == {json.dumps(claim.asked.truth)}")
        assert chromium.run(value("claim")) == claim.asked.claim
        chromium.press("document.querySelector('#ask')")
        chromium.wait("!!document.querySelector('#side-1 svg.bars')")
        for name, side in zip(("base", "vaccine"), sides(chromium), strict=True):
            assert side.startswith(name) and claim.asked.question in side
        assert chromium.run("document.querySelectorAll('svg.bars rect.track').length") == 8
        # Another group, a tactic, and what has no place on a page.
        chromium.press("document.querySelector('#group input')")
        chromium.press(option("Tactics and pressure"))
        chromium.press("document.querySelector('#ready input')")
        chromium.press(option("User insists: true"))
        chromium.wait(f"{value('tactic', 'input')} == 'user insists: true'")
        write(chromium, "question", HOSTILE)
        chromium.press("document.querySelector('#ask')")
        chromium.wait("document.querySelector('#side-1').innerText.includes('At once, user insists: true')")
        assert all(
            "<script>document.title='RAN'</script>" in side and "${1+1} {{2+2}}" in side for side in sides(chromium)
        )
        assert chromium.run("document.title") == "Demo of run"
        # A statement alone has no answer, and no recall.
        write(chromium, "question", " ")
        chromium.press("document.querySelector('#ask')")
        chromium.wait("!document.querySelector('#side-1').innerText.includes('It answers')")
        chromium.wait("document.querySelectorAll('svg.bars rect.track').length == 8")
        assert "It recalls" not in "".join(sides(chromium))
        for width in (1100, 390):
            chromium.width(width)
            assert chromium.run("document.documentElement.scrollWidth") <= width
        assert chromium.run("getComputedStyle(document.querySelector('#sides')).flexDirection") == "column"
        assert len(chromium.picture()) > 5000
        ground = "getComputedStyle(document.querySelector('gradio-app')).backgroundColor"
        assert chromium.run(ground) == "rgb(251, 250, 248)"
        dark = {"name": "prefers-color-scheme", "value": "dark"}
        chromium.call("Emulation.setEmulatedMedia", features=[dark])
        assert chromium.run(ground) == "rgb(20, 22, 26)"
    asked = {
        event["params"]["request"]["url"]
        for event in chromium.events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert {address for address in asked if not address.startswith((served.address, "data:", "blob:"))} == set()
    assert not [event for event in chromium.events if event["method"] == "Runtime.exceptionThrown"]
    assert never.label not in claim.label
