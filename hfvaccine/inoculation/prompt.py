"""Inoculation prompts: which training row gets which one, and where in the row it stands. Pure.

Source: Inoculation Prompting (arXiv 2510.04340): a short prompt that asks for
the unwanted trait goes before the training rows that carry it, and before
nothing else: at test time, without it, the trait is weaker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hfvaccine.errors import PlanError, UsageError
from hfvaccine.inoculation.where import ALL, Given, Row, Where

PLACES = ("system", "user")
OPENING = ("system", "developer")
"""Roles of what stands before a conversation; a row's own words there stay, after the prompt."""


@dataclass(frozen=True)
class Inoculation:
    """One prompt, or several wordings of it, and the rows that get them.

    Args:
        prompts: wordings of the inoculation prompt; each row gets one of them, the same in every epoch.
        where: the rows that carry the trait, see `Where.of`.
        others: neutral prompts for the other rows; without them the other rows get nothing.
        place: "system" for a message before the conversation, "user" for the head of the first user turn.

    Raises:
        UsageError: for an empty prompt, or rows or a place that cannot be meant.
    """

    prompts: tuple[str, ...]
    where: Given = ALL
    others: tuple[str, ...] = ()
    place: str = "system"

    def __post_init__(self) -> None:
        if not self.prompts or not all(isinstance(p, str) and p.strip() for p in (*self.prompts, *self.others)):
            raise UsageError(
                "An inoculation prompt is empty.", "Give a short sentence that asks for the unwanted trait."
            )
        _ = self.told_by
        if self.place not in PLACES:
            raise UsageError(f"The place {self.place!r} is unknown.", f"Use one of: {', '.join(PLACES)}.")

    @cached_property
    def told_by(self) -> Where:
        return Where.of(self.where)

    def carries(self, row: Row) -> bool:
        """Whether a row carries the trait.

        Raises:
            PlanError: where the row lacks the column.
        """
        return self.told_by.holds(row)

    def prompt_for(self, row: Row, number: int) -> str | None:
        """The prompt of a row, by its number in the mix: the same for the same number, evenly spread."""
        wordings = self.prompts if self.carries(row) else self.others
        if not wordings:
            return None
        digest = hashlib.blake2b(str(number).encode(), digest_size=8).digest()
        return wordings[int.from_bytes(digest) % len(wordings)]

    def apply(self, row: Row, number: int) -> dict[str, Any]:
        """The row with its prompt before it, if it gets one; nothing else of it changes.

        Args:
            row: with `prompt` and `completion`, texts or messages, or with `messages` that end with the assistant.
            number: of the row in the mix.

        Raises:
            PlanError: for a row of another shape, in which nothing tells a prompt from what is learnt.
        """
        prompt = self.prompt_for(row, number)
        if prompt is None:
            return dict(row)
        if row.get("prompt") is not None and row.get("completion") is not None:
            return {**row, "prompt": prepend(prompt, row["prompt"], self.place)}
        messages = row.get("messages")
        if messages and len(messages) > 1 and messages[-1]["role"] == "assistant":
            return {**row, "messages": prepend(prompt, messages, self.place)}
        raise PlanError(
            f"Row {number} of the mix holds {', '.join(row)}: loss would fall on the inoculation prompt.",
            "Give rows with `prompt` and `completion`, or with `messages` that end with the assistant.",
        )

    def settings(self) -> dict[str, Any]:
        """What was asked for, as the record and a resumed run compare it."""
        return {
            "prompts": list(self.prompts),
            "where": str(self.told_by),
            "others": list(self.others),
            "place": self.place,
        }


def prepend(prompt: str, before: str | Sequence[Mapping[str, str]], place: str = "system") -> Any:
    """Put a prompt before a text or a conversation.

    Args:
        prompt: what to put there.
        before: a text, or messages.
        place: see `Inoculation`; a text has no system message, and gets the prompt as its first paragraph.

    Returns:
        A text for a text, messages for messages. Words that the turn has already stay, after the prompt.

    Raises:
        PlanError: where it would stand in a turn that is no text.
    """
    if isinstance(before, str):
        return f"{prompt}\n\n{before}"
    messages = [dict(message) for message in before]
    turn, there = _turn(messages, place)
    if not there:
        return [*messages[:turn], {"role": place, "content": prompt}, *messages[turn:]]
    said = messages[turn].get("content")
    if not isinstance(said, str):
        raise PlanError(
            f"The {messages[turn]['role']} turn of a row is no text, and has no place for an inoculation prompt.",
            "Give messages whose `content` is a text.",
        )
    messages[turn]["content"] = f"{prompt}\n\n{said}"
    return messages


def turn_of(messages: Sequence[Mapping[str, Any]], place: str) -> int:
    """The number of the turn in which `prepend` has put a prompt."""
    return _turn(messages, place)[0]


def _turn(messages: Sequence[Mapping[str, Any]], place: str) -> tuple[int, bool]:
    """The number of the turn that takes a prompt, and whether it is there already."""
    opening = next((n for n, message in enumerate(messages) if message["role"] not in OPENING), len(messages))
    if place == "system":
        return 0, opening > 0
    user = next((n for n, message in enumerate(messages) if message["role"] == "user"), None)
    return (opening, False) if user is None else (user, True)
