"""Inoculation prompts: which training row gets which one, and where in the row it stands. Pure.

Source: Inoculation Prompting (arXiv 2510.04340): a short prompt that asks for
the unwanted trait goes before the training rows that carry it, and before
nothing else: at test time, without it, the trait is weaker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hfvaccine.errors import PlanError, UsageError
from hfvaccine.regimen.pairs import PAIR

Row = Mapping[str, Any]
Where = str | tuple[str, Any] | Callable[[Row], bool]
PLACES = ("system", "user")


@dataclass(frozen=True)
class Inoculation:
    """One prompt, or several wordings of it, and the rows that get them.

    Args:
        prompts: wordings of the inoculation prompt; each row gets one of them, the same in every epoch.
        where: the rows that carry the trait: "all", `(column, value)`, or a predicate on a row.
        others: neutral prompts for the other rows; without them the other rows get nothing.
        place: "system" for a message before the conversation, "user" for the head of the first user turn.

    Raises:
        UsageError: for an empty prompt, or rows or a place that cannot be meant.
    """

    prompts: tuple[str, ...]
    where: Where = "all"
    others: tuple[str, ...] = ()
    place: str = "system"

    def __post_init__(self) -> None:
        if not self.prompts or not all(isinstance(p, str) and p.strip() for p in (*self.prompts, *self.others)):
            raise UsageError(
                "An inoculation prompt is empty.", "Give a short sentence that asks for the unwanted trait."
            )
        if isinstance(self.where, str) and self.where != "all":
            raise UsageError(
                f"The rows to inoculate are given as {self.where!r}.",
                'Give "all", a (column, value) pair, or a function that is true for the rows that carry the trait.',
            )
        if self.place not in PLACES:
            raise UsageError(f"The place {self.place!r} is unknown.", f"Use one of: {', '.join(PLACES)}.")

    def carries(self, row: Row) -> bool:
        """Whether a row carries the trait.

        Raises:
            PlanError: where the row lacks the column.
        """
        if row.get(PAIR) is not None:  # a comparison, which is ours
            return False
        if isinstance(self.where, str):
            return True
        if callable(self.where):
            return bool(self.where(row))
        column, value = self.where
        if column not in row:
            raise PlanError(
                f"The mix has no column {column!r} to tell the rows that carry the trait.",
                f"Its columns are: {', '.join(row)}.",
            )
        return bool(str(row[column]) == str(value))

    def prompt_for(self, row: Row, number: int) -> str | None:
        """The prompt of a row, by its number in the mix: the same for the same number, evenly spread."""
        wordings = self.prompts if self.carries(row) else self.others
        if not wordings:
            return None
        digest = hashlib.blake2b(str(number).encode(), digest_size=8).digest()
        return wordings[int.from_bytes(digest) % len(wordings)]

    def apply(self, row: Row, number: int) -> dict[str, Any]:
        """The row with its prompt before it, if it gets one.

        Raises:
            PlanError: for a row whose prompt and completion are not apart: loss would fall on the inoculation prompt.
        """
        prompt = self.prompt_for(row, number)
        if prompt is None:
            return dict(row)
        if "prompt" not in row or "completion" not in row:
            raise PlanError(
                f"The rows of the mix hold {', '.join(row)}: loss would fall on the inoculation prompt.",
                "Give rows with `prompt` and `completion`, on which only the completion is learnt.",
            )
        return {**row, "prompt": prepend(prompt, row["prompt"], self.place)}

    def settings(self) -> dict[str, Any]:
        """What was asked for, as the record and a resumed run compare it."""
        if callable(self.where):
            where = getattr(self.where, "__name__", "a function")
        else:
            where = self.where if isinstance(self.where, str) else f"{self.where[0]}={self.where[1]}"
        return {"prompts": list(self.prompts), "where": where, "others": list(self.others), "place": self.place}


def parse_where(text: str) -> tuple[str, str]:
    """The (column, value) of "column=value", as the command line gives it.

    Raises:
        UsageError: for another shape.
    """
    column, equals, value = text.partition("=")
    if not (column and equals and value):
        raise UsageError(
            f"The rows that carry the trait are given as {text!r}.",
            "Give column=value, with a column of the mix and the value of these rows.",
        )
    return column, value


def prepend(prompt: str, before: str | Sequence[Mapping[str, str]], place: str = "system") -> Any:
    """Put a prompt before a text or a conversation.

    Args:
        prompt: what to put there.
        before: a text, or messages.
        place: see `Inoculation`; a text has no system message, and gets the prompt as its first paragraph.

    Returns:
        A text for a text, messages for messages. A system message that is there already keeps its
        words, after the prompt.
    """
    if isinstance(before, str):
        return f"{prompt}\n\n{before}"
    messages = [dict(message) for message in before]
    first = next((m for m in messages if m["role"] == ("system" if place == "system" else "user")), None)
    if first is not None:
        first["content"] = f"{prompt}\n\n{first['content']}"
        return messages
    return [{"role": place, "content": prompt}, *messages]
