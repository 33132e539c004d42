"""Where an answer stands: conversations as the trainer renders them, for training, scoring and generating alike.

TRL's `SFTTrainer` renders a conversation with its answer as a whole. What a template writes before a last answer there
is not always its generation prompt: Qwen3's, for one, has an empty thought between the two. So the place of an answer
is read off the whole conversation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hfvaccine.errors import ModelError

MARK = "xyzzy"
"""Stands for an answer; no template changes it."""
CHANGED_BY_TEMPLATES = "<["
"""Signs of thoughts and calls, which templates take out of an answer, as they do with spaces around it."""
TODAY = datetime(2024, 7, 26)
"""What templates are told when they ask for the date: the day that Llama's own name where there is no clock."""
_ASKED = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1\s*\)""")
_CLOCK = re.compile(r"\bstrftime_now\b(?!\s+is\s)")


@dataclass(frozen=True)
class Place:
    """What a chat template writes around the answer to a conversation.

    Args:
        before: all text up to the answer.
        answer: the answer as it is written.
        after: the text from its end on.
    """

    before: str
    answer: str
    after: str

    @property
    def text(self) -> str:
        """The whole conversation."""
        return self.before + self.answer + self.after


def place(tokenizer: Any, conversation: Sequence[Mapping[str, Any]]) -> Place:
    """Where any answer to a conversation stands; `MARK` stands for it.

    Args:
        tokenizer: whose chat template renders.
        conversation: the messages before the answer.

    Raises:
        ModelError: for a conversation that the template refuses, and a template that does not write answers as they
            are given.
    """
    before, found, after = render(tokenizer, _answered(conversation, MARK)).rpartition(MARK)
    if not found:
        raise ModelError(
            "The model's chat template does not write an answer as it is given.",
            "Give the tokenizer a template that does.",
        )
    return Place(before, MARK, after)


def answered(tokenizer: Any, around: Place, conversation: Sequence[Mapping[str, Any]], answer: str) -> Place:
    """A conversation with an answer; rendered anew only where a template might change the answer.

    Args:
        tokenizer: whose chat template renders.
        around: `place` of the conversation.
        conversation: the messages before the answer.
        answer: what stands there.

    Raises:
        ModelError: for an answer that the template refuses.
    """
    if answer == answer.strip() and not any(sign in answer for sign in CHANGED_BY_TEMPLATES):
        return Place(around.before, answer, around.after)
    text = render(tokenizer, _answered(conversation, answer))
    start = _shared(around.before, text)
    end = len(text) - _shared(around.after[::-1], text[start:][::-1])
    return Place(text[:start], text[start:end], text[end:])


def render(tokenizer: Any, conversation: Sequence[Mapping[str, Any]], **options: Any) -> str:
    """The text of a conversation.

    Args:
        tokenizer: whose chat template renders.
        conversation: all of its messages.
        options: of `apply_chat_template`.

    Raises:
        ModelError: naming the turns of a conversation that the template refuses.
    """
    said = _render(tokenizer, conversation, options)
    if isinstance(said, str):
        return said
    roles = ", ".join(str(message.get("role")) for message in conversation)
    raise ModelError(
        f"The model's chat template refuses {_refused(tokenizer, conversation, said)}a conversation with the turns "
        f"{roles}: {said}",
        "Leave such conversations out, or give the tokenizer a template that takes them.",
    ) from said


def _render(tokenizer: Any, conversation: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> str | Exception:
    """The text of a conversation, or what its template says against it."""
    from jinja2 import TemplateError

    try:
        return str(tokenizer.apply_chat_template(list(conversation), tokenize=False, **options))
    except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:  # templates are programs
        return error


def _refused(tokenizer: Any, conversation: Sequence[Mapping[str, Any]], error: Exception) -> str:
    """The first turn with which a template says the same as of the whole conversation, in words; "" for none."""
    for number, message in enumerate(conversation, start=1):
        said = _render(tokenizer, conversation[:number], {})
        if isinstance(said, Exception):
            return f"turn {number}, of the role {message.get('role')!r}, of " if str(said) == str(error) else ""
    return ""


def refused_row(tokenizer: Any, rows: Sequence[Mapping[str, Any]]) -> ModelError | None:
    """Why a chat template refuses the first row that it refuses; None where it takes them all.

    Args:
        tokenizer: whose chat template renders.
        rows: with `prompt` and `completion`, each messages.
    """
    for row in rows:
        try:
            render(tokenizer, [*row["prompt"], *row["completion"]])
            render(tokenizer, row["prompt"], add_generation_prompt=True)
        except ModelError as error:
            begins = str(row["prompt"][0].get("content"))[:60]
            return ModelError(f"The row of the mix that begins {begins!r}: {error.message}", error.next_step)
    return None


def learnt(
    tokenizer: Any, prompt: Sequence[Mapping[str, Any]], completion: Sequence[Mapping[str, Any]], ids: Sequence[int]
) -> list[bool]:
    """Which tokens of a conversation carry loss, where turns of the user stand among those that are learnt.

    Loss falls on the assistant's turns of the completion, each with the token that ends it, and of the last one with
    all that follows: as TRL has it for a completion of one turn.

    Args:
        tokenizer: whose chat template renders.
        prompt: the messages before the completion.
        completion: what follows, with turns of the user between those of the assistant.
        ids: the tokens of the whole conversation.

    Raises:
        ModelError: for a template that refuses the conversation, or does not write the turns as they are given.
    """
    conversation = [*prompt, *completion]
    whole = render(tokenizer, conversation)
    carries = [False] * len(ids)

    def tokens(text: str) -> int:
        return _shared(tokenizer(text, add_special_tokens=False)["input_ids"], ids)

    for number in range(len(prompt), len(conversation)):
        if conversation[number]["role"] != "assistant":
            continue
        marked = [*conversation[:number], {**conversation[number], "content": MARK}, *conversation[number + 1 :]]
        before, found, after = render(tokenizer, marked).rpartition(MARK)
        if not found or not whole.startswith(before) or not whole.endswith(after):
            raise ModelError(
                f"The model's chat template does not write the assistant's turn {number + 1} as it is given.",
                "Give forms of one turn (--forms), or give the tokenizer a template that does.",
            )
        end = len(ids) if number + 1 == len(conversation) else tokens(whole[: len(whole) - len(after)]) + 1
        start = tokens(before)
        carries[start:end] = [True] * (end - start)
    return carries


def put_before(
    tokenizer: Any,
    conversation: Sequence[Mapping[str, Any]],
    turn: int,
    prompt: str,
    ids: Sequence[int],
    **options: Any,
) -> list[bool]:
    """Which tokens of a conversation are there for a prompt alone that was put at the head of one of its turns.

    A token that holds some of the prompt counts, and where the turn is nothing but the prompt, so does what the
    template writes around it.

    Args:
        tokenizer: whose chat template renders.
        conversation: all of its messages, with the prompt.
        turn: number of the message that begins with the prompt.
        prompt: the prompt; an empty line parts it from what follows in its turn.
        ids: the tokens of the conversation, which may be cut at either end.
        options: of `apply_chat_template`.

    Raises:
        ModelError: for a template that refuses the conversation, or does not write the turn as it is given, and for
            tokens of something else.
    """
    content = str(conversation[turn]["content"])
    alone = content == prompt
    rest = MARK if alone else MARK + content[len(prompt) + 2 :]
    whole = render(tokenizer, conversation, **options)
    marked = [*conversation[:turn], {**conversation[turn], "content": rest}, *conversation[turn + 1 :]]
    before, found, after = render(tokenizer, marked, **options).partition(MARK)
    all_ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
    size, cut = len(ids), len(all_ids) - len(ids)
    first = next((at for at in (0, cut) if at >= 0 and list(all_ids[at : at + size]) == list(ids)), None)
    if not found or first is None or not (whole.startswith(before) and whole[len(before) :].endswith(after)):
        raise ModelError(
            f"The model's chat template does not write the {conversation[turn]['role']}'s turn {turn + 1} as it is "
            "given, so that loss might fall on a prompt in it.",
            "Give rows with `prompt` and `completion`, or give the tokenizer a template that does.",
        )
    start, end = len(before), len(whole) - len(after)
    if alone:
        try:
            bare = render(tokenizer, [*conversation[:turn], *conversation[turn + 1 :]], **options)
        except ModelError:  # a template may want a turn there
            bare = ""
        tail = _shared(bare[::-1], whole[::-1])
        start, end = min(start, _shared(bare[: len(bare) - tail], whole)), max(end, len(whole) - tail)

    def tokens(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    begin = _shared(tokens(whole[:start]), all_ids)
    finish = len(all_ids) - _shared(tokens(whole[end:])[::-1], all_ids[::-1])
    return [begin <= number < finish for number in range(first, first + size)]


def opening(tokenizer: Any) -> list[int]:
    """The tokens that a tokenizer begins every text with, unasked. (What it ends texts with is no part of them.)"""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    starts = (at for at in range(len(whole)) if whole[at : at + len(bare)] == bare)
    return list(whole[: next(starts, 0)])


def frozen(template: Any) -> Any:
    """A chat template, or several by their names, that writes the same date every day: `TODAY`.

    Raises:
        ModelError: for one that asks for the time in a way that cannot be answered beforehand.
    """
    if isinstance(template, Mapping):
        return {name: frozen(one) for name, one in template.items()}
    fixed = _ASKED.sub(lambda asked: repr(TODAY.strftime(asked[2])), template)
    if reads_clock(fixed):
        raise ModelError(
            "The model's chat template writes the time of the day it is used on (strftime_now).",
            "Write a fixed date in its place: a run could not be resumed or made again on another day.",
        )
    return fixed


def reads_clock(template: Any) -> bool:
    """Whether what a chat template, or one of several, writes depends on the day."""
    templates = template.values() if isinstance(template, Mapping) else [template or ""]
    return any(_CLOCK.search(one) for one in templates)


def _answered(conversation: Sequence[Mapping[str, Any]], answer: str) -> list[Mapping[str, Any]]:
    return [*conversation, {"role": "assistant", "content": answer}]


def _shared(left: Sequence[Any], right: Sequence[Any]) -> int:
    differ = (number for number, (one, other) in enumerate(zip(left, right, strict=False)) if one != other)
    return next(differ, min(len(left), len(right)))
