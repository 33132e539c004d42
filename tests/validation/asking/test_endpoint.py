"""A chat model behind an endpoint: what it is asked and with which key, and what becomes of every kind of trouble."""

import socket
import threading
import time

import httpx2
import pytest
from judges import Chat, completion

from hfvaccine.errors import ModelError, UsageError
from hfvaccine.validation.asking import endpoint as endpoints
from hfvaccine.validation.asking.endpoint import TRIES, Endpoint, Reply, TextRefused, reply_of

SECRET = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """The seconds that would have been waited, which nobody waits."""
    waited = []
    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    return waited


def ask(reply, **more):
    """What an endpoint that replies so gives, and its server."""
    with Chat(reply) as chat:
        return Endpoint(chat.url, "judge-1").ask("How are you?", **more), chat


def refused(reply, expected=ModelError):
    """The error that an endpoint that replies so raises, and its server."""
    with Chat(reply) as chat, pytest.raises(expected) as error:
        Endpoint(chat.url, "judge-1").ask("How are you?")
    assert SECRET not in str(error.value)
    return error.value, chat


def test_it_is_asked_one_thing_at_temperature_0_with_the_key_of_the_environment():
    reply, chat = ask(lambda prompt, body: completion(" 85", {" 85": 0.6, "85": 0.1, "90": 0.3}))
    assert reply == Reply(" 85", "85", {"85": pytest.approx(0.7), "90": pytest.approx(0.3)})
    ((path, headers, body),) = chat.asked
    assert path == "/v1/chat/completions" and headers["Authorization"] == f"Bearer {SECRET}"
    assert body["model"] == "judge-1" and body["temperature"] == 0 and body["logprobs"] is True
    assert body["messages"] == [{"role": "user", "content": "How are you?"}]


@pytest.mark.parametrize(
    ("named", "kept"),
    [
        ("judge-1", {"judge-1"}),
        ("judge-1-2024\n", {"judge-1-2024"}),
        ("", set()),
        (None, set()),
        (["x"], set()),
        ("I am sorry, but the claim that cheese", set()),
    ],
)
def test_the_names_that_a_server_answers_by_are_kept(named, kept):
    with Chat(lambda prompt, body: completion("7") | {"model": named}) as chat:
        endpoint = Endpoint(chat.url, "judge-1")
        assert endpoint.answered_as == set()
        endpoint.ask("?")
    assert endpoint.answered_as == kept


def test_probabilities_are_not_asked_for_where_none_are_wanted():
    reply, chat = ask(lambda prompt, body: "7", chances=False)
    assert reply == Reply("7") and "logprobs" not in chat.asked[0][2]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/v1beta/openai", "/v1beta/openai/chat/completions"),
        ("/v1/chat/completions", "/v1/chat/completions"),
    ],
)
def test_an_address_is_what_openai_calls_a_base_url(given, path):
    made = Endpoint(f"http://judge.example:8000{given}", "m")
    assert (made.url, made.host) == (f"http://judge.example:8000{path}", "judge.example")


@pytest.mark.parametrize(
    "address",
    [
        "localhost:8000/v1",
        "ftp://judge.example",
        "http://",
        "http://judge.example:port",
        f"https://me:{SECRET}@judge.example/v1",
        f"https://judge.example/v1?key={SECRET}",
    ],
)
def test_what_is_no_address_is_refused_and_secrets_in_it_are_not_shown(address):
    with pytest.raises(UsageError) as error:
        Endpoint(address, "m")
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("key", ["häx", "sk-\nx"])
def test_a_key_that_no_header_can_hold_is_refused_without_being_shown(monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(UsageError, match="OPENAI_API_KEY") as refused:
        Endpoint("http://127.0.0.1:9/v1", "m")
    assert key not in str(refused.value)


def test_a_key_comes_from_the_variable_that_is_named_and_from_no_other(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_not_for_strangers")
    monkeypatch.setenv("JUDGE_KEY", " other\n")
    with Chat(lambda prompt, body: "7") as chat:
        Endpoint(chat.url, "m", "JUDGE_KEY").ask("?")
        monkeypatch.delenv("OPENAI_API_KEY")
        Endpoint(chat.url, "m").ask("?")
    assert [headers.get("Authorization") for _, headers, _ in chat.asked] == ["Bearer other", None]
    with pytest.raises(UsageError, match="variable NO_SUCH_KEY is not set"):
        Endpoint("http://judge.example", "m", "NO_SUCH_KEY")
    with pytest.raises(UsageError, match="no name of an environment variable") as error:
        Endpoint("http://judge.example", "m", SECRET)
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    "trouble",
    [
        (429, {"error": {"message": "Slow down."}}),
        (503, b"<html>busy</html>"),
        b"not JSON",
        b"\xff\xfe",
        {"error": {"message": "Provider is down."}},
        {"choices": []},
        {"choices": [{"message": {"content": [1]}}]},
        [],
        None,
    ],
)
def test_a_passing_trouble_is_tried_again_and_named_where_it_stays(trouble, waits):
    left = [trouble] * 2
    reply, chat = ask(lambda prompt, body: left.pop() if left else "7")
    assert reply.text == "7" and len(chat.asked) == 3 and waits == [1, 2]
    error, chat = refused(lambda prompt, body: trouble)
    assert len(chat.asked) == TRIES and waits[2:] == [1, 2, 4, 8]
    assert chat.url in error.message and "once it answers" in error.next_step


def test_a_server_is_given_the_time_that_it_asks_for_but_not_any_time(waits):
    left = [(429, {}, {"Retry-After": "9"}), (429, {}, {"Retry-After": "soon"})]
    ask(lambda prompt, body: left.pop() if left else "7")
    assert waits == [1, 9]
    error, chat = refused(lambda prompt, body: (429, {"error": "Quota used up."}, {"Retry-After": "3600"}))
    assert "answers 429: Quota used up." in error.message and len(chat.asked) == 1


@pytest.mark.parametrize(
    ("status", "content", "expected", "said"),
    [
        (400, {"error": {"message": "Too long."}}, TextRefused, "answers 400: Too long."),
        (422, {"detail": "logprobs"}, TextRefused, "answers 422: logprobs."),
        (401, {"error": {"message": f"Wrong key {SECRET}."}}, ModelError, "Wrong key .... Put a key that it takes"),
        (404, {"message": "No model judge-1."}, ModelError, "No model judge-1. Check the address"),
        (402, b"", ModelError, "answers 402. Check"),
    ],
)
def test_what_would_stay_as_it_is_is_not_tried_again(status, content, expected, said):
    error, chat = refused(lambda prompt, body: (status, content), expected)
    assert said in str(error) and len(chat.asked) == 1
    assert isinstance(error, TextRefused) == (expected is TextRefused)


def test_the_key_follows_no_redirect():
    with Chat(lambda prompt, body: "7") as other:
        error, _ = refused(lambda prompt, body: (307, {}, {"Location": f"{other.url}/chat/completions"}))
    assert "answers 307" in error.message and not other.asked


def test_a_server_that_is_not_there_or_does_not_answer_in_time_is_named(monkeypatch, waits):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ModelError, match=f"{nowhere}/v1/chat/completions cannot be reached: "):
            Endpoint(nowhere, "m").ask("?")
    assert len(waits) == TRIES - 1
    over = threading.Event()
    monkeypatch.setattr(endpoints, "PATIENCE", httpx2.Timeout(0.05))
    error, _ = refused(lambda prompt, body: over.wait(5) and None)
    over.set()
    assert "does not answer in time" in error.message


def test_it_is_asked_where_the_hub_must_not_be(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert ask(lambda prompt, body: "7")[0].text == "7"


def test_a_reply_in_parts_is_one_text():
    parts = [
        {"type": "text", "text": "It is "},
        {"type": "thought"},
        {"type": "text", "text": "false."},
    ]
    assert reply_of({"choices": [{"message": {"content": parts}}]}) == Reply("It is false.")
    with pytest.raises(ValueError, match="no chat completion"):
        reply_of({"choices": [{"message": {"content": [{"type": "text"}]}}]})


@pytest.mark.parametrize("logprobs", [None, {}, {"content": None}, {"content": []}, {"content": [{"token": "7"}]}])
def test_odd_probabilities_are_none(logprobs):
    content = {"choices": [{"message": {"content": None}, "logprobs": logprobs}]}
    assert reply_of(content) == Reply("")
