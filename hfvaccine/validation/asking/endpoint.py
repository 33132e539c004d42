"""A chat model behind an OpenAI-compatible endpoint, asked one thing at a time.

`huggingface_hub.InferenceClient` speaks to such endpoints, too, but tries once, adds "/v1" to every address, hands the
user's Hub token to whichever server it is given, and asks none where HF_HUB_OFFLINE is set.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp
from threading import Lock
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx2

from hfvaccine.errors import EndpointError, UsageError
from hfvaccine.text import clean

KEY = "OPENAI_API_KEY"
"""The environment variable that holds the key, unless another is named."""
PATIENCE = httpx2.Timeout(120, connect=10)
"""Seconds; a model that thinks before it replies takes its time."""
TRIES = 5
WAIT = 1.0
"""Seconds before the second try; before each further one twice as many."""
LONGEST_WAIT = 60.0
"""Seconds that a server may ask to be given; where it asks for more, it is not waited for."""
MOST_TOKENS = 2048
"""Of a reply, thoughts included."""
CANDIDATES = 20
"""First tokens whose probabilities are asked for, as many as OpenAI gives."""
NEVER = -700.0
"""A log-probability that no model gives: servers fill their lists with such values, and with what is no number."""
AGAIN = "Run this again once it answers."

_TEXT_REFUSED = (400, 413, 422)
_NAME = re.compile(r"[\w./:@+-]{1,200}")
"""Of a model; anything else may be words, and what a server says is kept nowhere."""
_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_SHOWN = 200


@dataclass(frozen=True)
class Reply:
    """What a model replied.

    Args:
        text: all of it.
        token: that it begins with; "" where the server does not say.
        chances: of what it could have begun with, the likeliest ones by their texts; empty where it does not say.
    """

    text: str
    token: str = ""
    chances: Mapping[str, float] = field(default_factory=dict)


class TextRefused(EndpointError):
    """One text that a server does not take: too long for the model, or against its rules. Others it may take."""


class _Passing(Exception):
    """A trouble that may be over soon.

    Args:
        what: happened, as the end of a sentence.
        code: the same in a word.
        wait: seconds that the server asks for.
    """

    def __init__(self, what: str, code: str, wait: float = 0.0) -> None:
        super().__init__(what)
        self.code = code
        self.wait = wait


class Endpoint:
    """A chat model behind an OpenAI-compatible endpoint; threads may share it.

    Args:
        address: as OpenAI's clients call `base_url`, such as http://localhost:8000/v1.
        model: by the name that the server has for it.
        variable: environment variable that holds the key; None for `KEY`, which need not be there.
        most_retries: how often requests are tried again, all together; no bound by default.

    Attributes:
        retries: how often they were.
        answered_as: names of models that stood in replies: some servers ignore the name that they are asked for.

    Raises:
        UsageError: for an address that is none or holds a secret, and for a variable that is none or not set.
    """

    def __init__(self, address: str, model: str, variable: str | None = None, most_retries: int | None = None) -> None:
        parts = _parts(address)
        path = parts.path.rstrip("/") or "/v1"
        path = path if path.endswith("/chat/completions") else f"{path}/chat/completions"
        self.url = parts._replace(path=path).geturl()
        self.host = str(parts.hostname)
        self.model = model
        if variable is not None and not _VARIABLE.fullmatch(variable):
            raise UsageError(  # it may be the key itself, which is shown nowhere
                "What is given for the key is no name of an environment variable.",
                "Put the key into the environment, and give the variable's name.",
            )
        self.variable = variable or KEY
        self._key = os.environ.get(self.variable, "").strip()
        if variable is not None and not self._key:
            raise UsageError(
                f"The environment variable {variable} is not set.", f"Put the key of {self.host} into it."
            )
        if not self._key.isascii() or not self._key.isprintable():
            raise UsageError(f"The key in {self.variable} holds characters that cannot be sent.", "Copy it anew.")
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self.most_retries = most_retries
        self.retries = 0
        self.answered_as: set[str] = set()
        self._lock = Lock()
        self._client = httpx2.Client(headers=headers, timeout=PATIENCE)  # it follows no redirect: the key stays here

    def ask(self, prompt: str, chances: bool = True) -> Reply:
        """What the model replies to one message at temperature 0.

        Timeouts, 429, 5xx and what is no chat completion are tried again, `TRIES` times in all.

        Args:
            prompt: the message.
            chances: ask for the probabilities of first tokens, which not every server gives.

        Raises:
            TextRefused: for a prompt, or a request for probabilities, that the server does not take.
            EndpointError: for a server that cannot be reached, refuses, or goes on giving no reply.
        """
        messages = [{"role": "user", "content": prompt}]
        settings = {"logprobs": True, "top_logprobs": CANDIDATES} if chances else {}
        return self.complete(messages, temperature=0, max_tokens=MOST_TOKENS, **settings)

    def complete(self, messages: Sequence[Mapping[str, str]], **settings: Any) -> Reply:
        """What the model replies to a conversation; tried again as in `ask`.

        Args:
            messages: of the conversation.
            settings: of the request, as the API names them.

        Raises:
            TextRefused, EndpointError: see `ask`.
        """
        body = {"model": self.model, "messages": list(messages), **settings}
        for number in range(TRIES):
            try:
                return self._read(self._post(body))
            except _Passing as trouble:
                if number + 1 == TRIES or trouble.wait > LONGEST_WAIT or not self._may_retry():
                    raise EndpointError(f"The endpoint {self.url} {trouble}.", AGAIN, trouble.code) from trouble
                time.sleep(max(WAIT * 2**number, trouble.wait))
        raise AssertionError  # the last try has returned or raised

    def _may_retry(self) -> bool:
        with self._lock:
            free = self.most_retries is None or self.retries < self.most_retries
            self.retries += free
        return free

    def _post(self, body: Mapping[str, Any]) -> httpx2.Response:
        try:
            return self._client.post(self.url, json=body)
        except httpx2.TimeoutException as error:
            raise _Passing("does not answer in time", "timeout") from error
        except httpx2.RequestError as error:
            raise _Passing(f"cannot be reached: {clean(error) or type(error).__name__}", "unreachable") from error

    def _read(self, response: httpx2.Response) -> Reply:
        """The reply of a response.

        Raises:
            _Passing, TextRefused, EndpointError: see `ask`.
        """
        status = response.status_code
        try:
            content = response.json()
        except ValueError:
            content = response.text
        said, code = f"answers {status}{self._complaint(content)}", f"http_{status}"
        if status in (408, 429) or status >= 500:
            raise _Passing(said, code, _seconds(response.headers.get("Retry-After", "")))
        if status == 200:
            try:
                reply = reply_of(content)
            except ValueError as error:
                raise _Passing(f"gives no chat completion: it {said}", "no_completion") from error
            name = str(content.get("model") or "").strip()
            if _NAME.fullmatch(name):
                self.answered_as.add(name)
            return reply
        if status in _TEXT_REFUSED:
            raise TextRefused(f"The endpoint {self.url} {said}.", "Check `model`, and what its server takes.", code)
        if status in (401, 403):
            next_step = f"Put a key that it takes into {self.variable}."
            raise EndpointError(f"The endpoint {self.url} {said}.", next_step, code)
        raise EndpointError(
            f"The endpoint {self.url} {said}.",
            f"Check the address, which mostly ends in /v1, and the name of the model, {self.model!r}.",
            code,
        )

    def _complaint(self, content: Any) -> str:
        """What a server says is wrong, on one line and without the key."""
        for name in ("error", "message", "detail"):
            content = content.get(name, content) if isinstance(content, Mapping) else content
        text = clean(content).rstrip(".")
        text = text.replace(self._key, "...") if self._key else text
        return f": {text[:_SHOWN]}" if text else ""


def reply_of(content: Any) -> Reply:
    """The reply in a chat completion, with the probabilities of its first token where it has them.

    Args:
        content: as JSON has it.

    Raises:
        ValueError: for what is no chat completion.
    """
    try:
        if content.get("error"):
            raise ValueError("an error")
        choice = content["choices"][0]
        text = choice["message"]["content"]
        if isinstance(text, list):  # of parts, as some servers give it
            text = "".join(part["text"] for part in text if part["type"] == "text")
    except (AttributeError, KeyError, IndexError, TypeError) as error:
        raise ValueError("no chat completion") from error
    if not isinstance(text, str | None):
        raise ValueError("no chat completion")
    try:
        first = choice["logprobs"]["content"][0]
        found: dict[str, float] = {}
        for one in first["top_logprobs"]:
            value = float(one["logprob"])
            if not value > NEVER:  # nor is NaN
                continue
            key = str(one["token"]).strip()  # several may be one text but for a space
            found[key] = found.get(key, 0.0) + exp(min(0.0, value))
        return Reply(text or "", str(first["token"]).strip(), found)
    except (KeyError, IndexError, TypeError, ValueError):
        return Reply(text or "")


def _parts(address: str) -> SplitResult:
    """The parts of an address; one that is refused is not shown, since it may hold a secret."""
    try:
        parts = urlsplit(address.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(
            "The endpoint is no address of a server.", "Give one with http:// or https://: http://localhost:8000/v1."
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            f"The address of the endpoint at {parts.hostname} holds more than host and path.",
            "Give these alone: a key stands in the environment.",
        )
    return parts


def _seconds(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        return 0.0
