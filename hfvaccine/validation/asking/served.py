"""A served model as what asks probes needs, in a reading that its server can give. No torch.

By the probabilities of the tokens that may come first (`TOP_LOGPROBS`): where each verdict is one token they are what
a validation reads, as far down as the server lists them. Where it lists none, by the verdict that is said (`TEXT`).
Log-probabilities of prompts would be exact, but many servers have none and do not say so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from math import log
from threading import Lock
from typing import Any, TypeVar

import numpy as np

from hfvaccine.claims.reserved import VERDICT_PROBES
from hfvaccine.errors import EndpointError
from hfvaccine.validation.asking.endpoint import Endpoint, TextRefused
from hfvaccine.validation.scores import Request, Scored

TOP_LOGPROBS, TEXT = "top_logprobs", "text"
"""How verdicts are read."""
MOST_LISTED = (20, 5)
"""How many tokens a server is asked to list; some list no more than 5."""
MOST_RETRIES = 50
"""Of all questions together; then the server is given up."""
MOST_REFUSED = 0.05
"""Of the texts of one pass, how many a server may refuse: a filter may take some claims for an offence."""
AT_ONCE = 4
"""Questions that are under way at the same time."""
WORDS = 8
"""Tokens in which a verdict has to be said."""
SAID = re.compile(r"[\W_]*(true|yes|false|no)\b", re.IGNORECASE)
ACCEPTS = ("true", "yes")
LEAST = 0.01
"""Of the probability of the first token, what verdicts hold in all where the answer is one."""
TRIED = "Ice is frozen water."
"""The statement on which it is tried what a server can do."""

Messages = Sequence[Mapping[str, str]]
T = TypeVar("T")


class Served:
    """A served model; it has what `asking.probes.Battery` uses of a scorer.

    Args:
        address: of its server, see `Endpoint`.
        model: its name there.
        listed: how many tokens the server lists with their log-probabilities; 0 to read verdicts in text.
        variable: environment variable that holds its key, see `Endpoint`.

    Attributes:
        counts: of questions for a verdict, how many were `asked`, how many replies were `unclear`, no verdict, and of
            how many a side was `floored`: none of its spellings was listed; of all texts how many were `refused`.

    Raises:
        UsageError: for what is no address, and for a variable that is none or not set.
    """

    tokenizer = None
    """Nobody knows it."""

    def __init__(self, address: str, model: str, listed: int, variable: str | None = None) -> None:
        self.endpoint = Endpoint(address, model, variable, MOST_RETRIES)
        self.model = model
        self.listed = listed
        self.counts = dict.fromkeys(("asked", "unclear", "floored", "refused"), 0)
        self._lock = Lock()

    @property
    def how(self) -> str:
        """How verdicts are read, `TOP_LOGPROBS` or `TEXT`."""
        return TOP_LOGPROBS if self.listed else TEXT

    @property
    def renamed(self) -> str:
        """That its server answers as another model than is asked for, in a sentence; "" where it does not."""
        others = sorted(self.endpoint.answered_as - {self.model})
        if not others:
            return ""
        return (
            f"{self.endpoint.host} was asked for {self.model}, and answers as {' and '.join(others)}: "
            "some servers ignore the name. See that it is the model that you mean"
        )

    def answers(
        self,
        prompts: Sequence[Messages],
        max_new_tokens: int,
        first_line: bool = False,
        progress: Callable[[int], Any] | None = None,
    ) -> list[str]:
        """What the model says by greedy decoding, see `Scorer.answers`; nothing to a text that its server refuses.

        Raises:
            EndpointError: where the server does not answer, or refuses more than `MOST_REFUSED` of the texts.
        """

        def say(messages: Messages) -> tuple[str, int]:
            text = self._say(messages, max_new_tokens)
            return (text.split("\n", 1)[0].strip() if first_line else text), 1

        return self._each(say, prompts, lambda prompt: ("", 1), progress)

    def score(self, requests: Sequence[Request], progress: Callable[[int], Any] | None = None) -> Scored:
        """Log-likelihoods of verdicts: what the server lists, or what the verdict that is said comes to.

        A verdict that is not listed counts as likely as the least likely token that is. Of what is said, the verdicts
        of its kind are likelier than the others; where it is neither, or the text is refused, all are alike.

        Args:
            requests: those of one conversation, which is one object, stand together.
            progress: called with the number of requests done since the last call.

        Raises:
            EndpointError: where the server does not answer, or not in this reading, or refuses more than
                `MOST_REFUSED` of the texts.
        """
        groups = [list(its) for _, its in groupby(requests, key=lambda one: id(one.prompt))]
        read = self._first_token if self.listed else self._word
        found = [value for values in self._each(read, groups, self._nothing, progress) for value in values]
        every = np.ones(len(requests))
        return Scored(np.array(found), every, every < 0)

    def _first_token(self, group: Sequence[Request]) -> tuple[list[float], int]:
        # At a temperature of 0 some servers list what is left after it, which is one token.
        wanted = {"temperature": 1, "top_p": 1, "logprobs": True, "top_logprobs": self.listed}
        listed = self.endpoint.complete(_conversation(group), max_tokens=1, **wanted).chances
        if not listed:
            raise EndpointError(
                f"{self.model} at {self.endpoint.host} lists no log-probabilities of its first token.",
                "Ask its server for them again, or begin another state in another folder.",
                "no_top_logprobs",
            )
        there = [one.answer for one in group if one.answer in listed]
        self._count(asked=1, unclear=sum(listed[answer] for answer in there) < LEAST, floored=len(_sides(there)) < 2)
        least = min(listed.values())
        return [log(listed.get(one.answer, least)) for one in group], len(group)

    def _word(self, group: Sequence[Request]) -> tuple[list[float], int]:
        said = SAID.match(self._say(_conversation(group), WORDS))
        if said is None:
            return self._nothing(group)
        self._count(asked=1)
        its = _sides([said[1]])
        return [0.0 if _sides([one.answer]) == its else -1.0 for one in group], len(group)

    def _nothing(self, group: Sequence[Request]) -> tuple[list[float], int]:
        """What no verdict comes to."""
        self._count(asked=1, unclear=1)
        return [0.0] * len(group), len(group)

    def _say(self, messages: Messages, most: int) -> str:
        return self.endpoint.complete(messages, temperature=0, max_tokens=most).text.strip()

    def _count(self, **more: int) -> None:
        with self._lock:
            for name, number in more.items():
                self.counts[name] += number

    def _each(
        self,
        ask: Callable[[Any], tuple[T, int]],
        texts: Sequence[Any],
        nothing: Callable[[Any], tuple[T, int]],
        progress: Callable[[int], Any] | None,
    ) -> list[T]:
        """What becomes of each, several at once; `nothing` of the few that are refused. Other failures end all."""
        refused = []

        def attempt(one: Any) -> tuple[T, int]:
            try:
                return ask(one)
            except TextRefused:
                refused.append(one)
                if len(refused) > MOST_REFUSED * len(texts):
                    raise
                self._count(refused=1)
                return nothing(one)

        results = []
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                for one, done in pool.map(attempt, texts):
                    results.append(one)
                    if progress is not None:
                        progress(done)
            finally:
                pool.shutdown(cancel_futures=True)
        return results


def found(address: str, model: str, variable: str | None = None) -> Served:
    """A served model in the first reading that its server proves to have.

    Args:
        address, model, variable: see `Served`.

    Raises:
        UsageError: likewise.
        EndpointError: where it does not answer, or gives no verdict on a plain statement.
    """
    requests = [
        Request(messages, answer)
        for probe in VERDICT_PROBES[:2]  # one of each kind of verdict
        for messages in [probe.messages(TRIED)]
        for answer in (*probe.accept, *probe.reject)
    ]
    for listed in (*MOST_LISTED, 0):
        served = Served(address, model, listed, variable)
        try:
            served.score(requests)
        except EndpointError as error:
            lacks = isinstance(error, TextRefused) or error.code in ("no_top_logprobs", "http_501")
            if not (listed and lacks):
                raise
        else:
            if not served.counts["unclear"]:
                return Served(address, model, listed, variable)  # which has not been asked anything yet
    raise EndpointError(
        f"{model} at {served.endpoint.host} says neither true nor false where it is asked for one of them.",
        "Serve it with its own chat template, and without a turn of thought before its answer.",
        "no_verdict",
    )


def _sides(answers: Sequence[str]) -> set[bool]:
    """Whether answers accept what they are about, each of these sides once."""
    return {answer.lower() in ACCEPTS for answer in answers}


def _conversation(group: Sequence[Request]) -> Messages:
    prompt = group[0].prompt
    assert not isinstance(prompt, str)
    return prompt
