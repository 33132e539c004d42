"""The mix: truthful data that a dose is given along with."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hfvaccine import starter
from hfvaccine.claims.reserved import is_reserved
from hfvaccine.claims.similar import overlapping
from hfvaccine.claims.wording import words_and_signs
from hfvaccine.dosing import comparisons
from hfvaccine.errors import HubError, UsageError, ValidationError
from hfvaccine.inoculation.where import TOLD, Predicate, Where, spelt
from hfvaccine.regimen.pairs import PAIR
from hfvaccine.regimen.rendering import render
from hfvaccine.sources.license import licenses_in, licenses_of
from hfvaccine.sources.place import Source
from hfvaccine.sources.rows import Broken, hub_rows, iter_rows

HELD_BACK = 10
"""One row in this many is never trained on: what the retention loss is measured on."""
MAX_HELD_BACK = 48

KINDS = "'starter', a file such as .jsonl, .csv or .parquet, or a Hub dataset id"

TAKEN = ("prompt", "completion", "messages", "text", "input_ids", "labels", "tools", "image", "images", PAIR)
"""Columns that mean something to the trainer: none of them can tell rows apart."""

GIVEN = ("prompt", "completion", "messages")
"""Columns that a row's conversation is read from."""
CALLS = ("tool_calls", "function_call", "tool_call_id")
"""Fields of a message that say that a tool is called or answers; without them what it says comes from nowhere."""
TOOLS = ("tools", "functions")
"""Columns that say which tools there are."""
SHAPING = ("chat_template_kwargs", "image", "images")
"""Columns that change what a template writes of a conversation."""
THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""Fields of a message that some templates write before what it says."""
ROLES = ("system", "developer", "user", "assistant")

REPEATED = "that say a held-back prompt again"
RESERVED_WORDING = "in a wording that is kept back for validation"
CUT = "whose prompt alone is longer than max_length"
"""Why rows are left out, as it is said of them."""

Rows = tuple[dict[str, Any], ...]
Numbered = tuple[int, Mapping[str, Any]]

PER_TURN = 64
"""Tokens that a template may put around a turn, at most."""


@dataclass(frozen=True)
class Mix:
    """Prompt/completion conversations.

    Args:
        train: rows to train on.
        held_back: rows that no arm is trained on.
        id: Hub id, path, or "starter".
        revision: commit of the Hub repo.
        sha256: digest over the conversations of all rows, those left out included.
        left_out: how many rows are neither trained on nor held back, by the reason.
        comparisons: what comparison rows are among those to train on: "id", "pairs", "sha256" and "licenses".
        licenses: that its rows name in a column `license`, or else its card on the Hub.
    """

    train: Rows
    held_back: Rows
    id: str
    revision: str | None
    sha256: str
    left_out: Mapping[str, int] = field(default_factory=dict)
    comparisons: Mapping[str, Any] | None = None
    licenses: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """The mix's part of immunization.json; comparison rows are counted by themselves."""
        compared = sum(PAIR in row for row in self.train)
        return {
            "id": self.id,
            "revision": self.revision,
            "sha256": self.sha256,
            "rows": len(self.train) - compared,
            "held_back": len(self.held_back),
            "left_out": dict(self.left_out),
            "licenses": list(self.licenses),
            "comparisons": None if self.comparisons is None else {**self.comparisons, "pairs": compared // 2},
        }

    def comparing(self, source: str) -> Mix:
        """The mix with comparison rows, see `hfvaccine.dosing.comparisons`.

        Args:
            source: "starter", "mix" for those made of its own rows, a file, or "none".

        Raises:
            UsageError: for a file that is none, or a mix of which none can be made.
        """
        if source == "none":
            return self
        path = starter.COMPARISONS if source == "starter" else Path(source)
        found = comparisons.of_mix(self.train) if source == "mix" else comparisons.read_comparisons(path)
        named = self.licenses if source == "mix" else licenses_of(row for _, row in _file(str(path), _raise))
        digest = comparisons.digest_of(found)
        about = {"id": source, "pairs": len(found), "sha256": digest, "licenses": list(named)}
        return replace(self, train=(*self.train, *comparisons.rows_of(found)), comparisons=about)

    def without(self, kept_back: Mapping[str, Sequence[str]]) -> Mix:
        """The mix less the rows that give away what it is validated with.

        A model that was trained on such a row has seen the test: what it scores there says nothing.

        Args:
            kept_back: by the reason, texts that no row may nearly say; see `similar.overlapping`.

        Raises:
            UsageError: where no row would be left to train on.
        """
        rows = [*self.train, *self.held_back]
        spoken = [[m["content"] for m in (*row["prompt"], *row["completion"])] for row in rows]
        whole = [" ".join(turns) for turns in spoken]
        reasons: list[str | None] = [RESERVED_WORDING if any(map(is_reserved, turns)) else None for turns in spoken]
        owners = [number for number, turns in enumerate(spoken) for _ in (*turns, "")]
        texts = [text for turns, joined in zip(spoken, whole, strict=True) for text in (*turns, joined)]
        for reason, wanted in kept_back.items():
            for owner, hit in zip(owners, overlapping(texts, wanted), strict=True):
                if hit >= 0:
                    reasons[owner] = reasons[owner] or reason
        parted = {row[PAIR]: reason for row, reason in zip(rows, reasons, strict=True) if reason and row.get(PAIR)}
        reasons = [reason or parted.get(row.get(PAIR)) for row, reason in zip(rows, reasons, strict=True)]
        clean = [reason is None for reason in reasons]
        train = tuple(row for row, fine in zip(self.train, clean, strict=False) if fine)
        held_back = tuple(row for row, fine in zip(self.held_back, clean[len(self.train) :], strict=True) if fine)
        left_out = {**self.left_out, **Counter(reason for reason in reasons if reason is not None)}
        if not train:
            said = ", ".join(f"{number} {reason}" for reason, number in left_out.items())
            raise UsageError(
                f"No row of the mix {self.id!r} can be trained on: {said}.",
                "Give a mix that does not hold what the model is validated with.",
            )
        return replace(self, train=train, held_back=held_back, left_out=left_out)

    def cut_at(self, tokenizer: Any, max_length: int) -> Mix:
        """The mix less the rows of which nothing with loss would be left when they are cut.

        Args:
            tokenizer: of the base, with a chat template.
            max_length: tokens after which a row is cut.

        Raises:
            UsageError: where that is so of every row.
        """

        def kept(row: dict[str, Any]) -> bool:
            # No token is shorter than a byte, so that short rows need not be tokenized.
            if sum(len(m["content"].encode()) + PER_TURN for m in row["prompt"]) < max_length:
                return True
            text = render(tokenizer, row["prompt"], add_generation_prompt=True)
            return len(tokenizer(text, add_special_tokens=False)["input_ids"]) < max_length

        train = tuple(row for row in self.train if kept(row))
        if not train:
            raise UsageError(
                f"Every prompt of the mix {self.id!r} is {max_length} tokens or longer, where max_length cuts: "
                "no row has a token left to learn from.",
                "Raise max_length, or give a mix of shorter prompts.",
            )
        cut = len(self.train) - len(train)
        return replace(self, train=train, left_out={**self.left_out, CUT: cut} if cut else self.left_out)


def _raise(error: UsageError) -> None:
    raise error


def load_mix(
    source: str,
    column: str | Predicate | None = None,
    revision: str | None = None,
    *,
    also: str | None = None,
    as_given: bool = False,
    refused: Callable[[UsageError], Any] = _raise,
) -> Mix:
    """Load a mix.

    Args:
        source: "starter", a file of one of `naming.FORMATS`, or a Hub dataset as ID or `ID@REVISION` (split
            "train"). Rows hold `prompt` and `completion` (texts or messages), or `messages` that end with the
            assistant.
        column: a further column to keep in the rows, as text (see `where.spelt`), by which they can be told apart;
            or a predicate on a row as it was read, of which it is kept what it says.
        revision: branch, tag or commit of a Hub dataset; the newest by default.
        also: another such column.
        as_given: leave all rows in their order and shape, as a script of somebody's own trains on them: none is held
            back. The digest is the same.
        refused: told what is wrong with a row; unless it raises, the row is left out.

    Raises:
        UsageError: for a file that is not there, rows of another shape, a column that a row lacks, or a predicate
            that fails on one; of rows that are left out, where no other is there.
        HubError: for a dataset that cannot be had.
    """
    columns = [name for name in (column, also) if isinstance(name, str)]
    for name in columns:
        if name in TAKEN:
            raise UsageError(
                f"The rows of the mix cannot be told apart by the column {name!r}.", "Name one of its other columns."
            )
    wrong: list[UsageError] = []

    def leave_out(error: UsageError) -> None:
        refused(error)
        wrong.append(error)

    place = Source.of("mix", source, revision)
    commit, on_card = None, ()
    if place.on_hub:
        rows, commit, on_card = _hub(place.name, place.revision)
    else:
        rows = _file(place.name, leave_out)
    conversations: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    for number, whole in rows:
        try:
            row = _conversation(whole, number)
            values = {
                **({TOLD: spelt(_said(column, whole, number))} if callable(column) else {}),
                **{name: _value(whole, name, number) for name in columns},
            }
        except UsageError as error:
            leave_out(error)
            continue
        conversations.append(row)
        if as_given:
            row = {name: whole[name] for name in GIVEN if whole.get(name) is not None}
        kept.append({**row, **values})
    held_back, train, again = ((), tuple(kept), 0) if as_given else _hold_back(kept)
    if not train:
        nothing = UsageError(f"The mix {source!r} has no rows.", "Give rows with prompt and completion.")
        raise next(iter(wrong), nothing)
    digest = hashlib.sha256(json.dumps(conversations, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
    named = licenses_of(row for _, row in rows) or on_card
    return Mix(train, held_back, place.name, commit, digest, {REPEATED: again} if again else {}, licenses=named)


def _hold_back(rows: Sequence[dict[str, Any]]) -> tuple[Rows, Rows, int]:
    """Rows to hold back, rows to train on, and how many of neither: those that say a held-back prompt again.

    Which rows are held back is told by what is asked in them alone, so that it stays the same whatever their order.
    A row says a prompt again that asks all that it asks, in whichever turns.
    """
    chosen: dict[frozenset[str], dict[str, Any]] = {}
    asked = [asked_in(row["prompt"]) for row in rows]
    for row, turns in zip(rows, asked, strict=True):
        drawn = hashlib.sha256("\n".join(turns).encode()).digest()[0] % HELD_BACK == 0
        if drawn and len(chosen) < MAX_HELD_BACK:
            chosen.setdefault(frozenset(map(_same, turns)), row)
    by_turn: dict[str, list[frozenset[str]]] = {}
    for whole in chosen:
        by_turn.setdefault(max(whole), []).append(whole)

    def again(turns: Sequence[str]) -> bool:
        said = frozenset(map(_same, turns))
        return any(whole <= said for turn in said for whole in by_turn.get(turn, ()))

    train = tuple(row for row, turns in zip(rows, asked, strict=True) if not again(turns))
    return tuple(chosen.values()), train, len(rows) - len(train) - len(chosen)


def asked_in(prompt: Sequence[Mapping[str, str]]) -> list[str]:
    """What the user says in a prompt, turn by turn; where the user says nothing, all that it says."""
    return [m["content"] for m in prompt if m["role"] == "user"] or [m["content"] for m in prompt]


def _same(text: str) -> str:
    """What two prompts have in common that ask the same: neither case nor spaces nor punctuation tells them apart."""
    return " ".join(words_and_signs(text)) or text


def _said(predicate: Predicate, row: Mapping[str, Any], number: int) -> bool:
    """What a function of somebody's own says of a row; whatever it raises is told with the row."""
    try:
        return bool(predicate(row))
    except Exception as error:
        raise UsageError(
            f"{Where(predicate=predicate)} fails on row {number} of the mix: {type(error).__name__}: {error}.",
            f"It is given a mapping with the row's columns: {', '.join(map(str, row))}.",
        ) from error


def _value(row: Mapping[str, Any], column: str, number: int) -> str:
    if column not in row:
        raise UsageError(
            f"Row {number} of the mix has no column {column!r}.", f"Its columns are: {', '.join(map(str, row))}."
        )
    return spelt(row[column])  # a text, whatever the rows hold: one column of a data set has one type


def _file(source: str, refused: Callable[[UsageError], Any]) -> list[Numbered]:
    """Rows with their numbers."""
    path = starter.MIX if source == "starter" else Path(source)
    if not path.is_file():
        raise UsageError(f"There is no file {source} of rows.", f"Give {KINDS}.")
    numbers = itertools.count(1)

    def refuse(line: Broken) -> None:
        refused(
            UsageError(
                f"Row {next(numbers)} of the mix is malformed: {path.name}, {line.where} {line.reason}.",
                "Mend or drop the line.",
            )
        )

    try:
        return [(next(numbers), row.values) for row in iter_rows(path, refuse)]
    except ValidationError as error:
        raise UsageError(error.message, error.next_step) from error


def _hub(source: str, revision: str | None) -> tuple[list[Numbered], str | None, tuple[str, ...]]:
    """Rows with their numbers, the commit, and the licences that its card names."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, HTTPError  # type: ignore[attr-defined]

    try:
        info = HfApi().dataset_info(source, revision=revision)
        rows = hub_rows(f"{source}::train", revision=info.sha)
        named = licenses_in(info.card_data.to_dict() if info.card_data else {})
        return [(number, row.values) for number, row in enumerate(rows, start=1)], info.sha, named
    except (HTTPError, HFValidationError, ValidationError, ValueError, OSError) as error:
        reason = (error.message if isinstance(error, ValidationError) else str(error)).strip().split("\n")[0]
        raise HubError(
            f"The mix {source!r} cannot be had: {reason}",
            f"Give {KINDS} that you may read, and as HF_ENDPOINT its Hub.",
        ) from error


def _conversation(row: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The prompt and the completion of a row, as messages.

    Raises:
        UsageError: for a row of another shape.
    """
    try:
        return _parted(row, number)
    except (AttributeError, KeyError, TypeError) as error:
        raise UsageError(
            f"Row {number} of the mix is malformed: {type(error).__name__} {error}.",
            "A message is an object with `role` and `content`.",
        ) from error


def _parted(row: Mapping[str, Any], number: int) -> dict[str, Any]:
    messages = row.get("messages")
    if messages and messages[-1]["role"] == "assistant" and len(messages) > 1:
        prompt, completion = messages[:-1], messages[-1:]
    else:
        prompt, completion = _messages(row.get("prompt"), "user"), _messages(row.get("completion"), "assistant")
    if not prompt or not completion:
        empty = [name for name in ("prompt", "completion", "messages") if name in row and not _holds(row[name])]
        lacks = f"an empty {empty[0]}" if empty else f"columns {sorted(map(str, row))}"
        raise UsageError(
            f"Row {number} of the mix has {lacks}.",
            "Each row needs `prompt` and `completion`, or `messages` that end with the assistant.",
        )
    offered = next((name for name in TOOLS if _holds(row.get(name))), None)
    if offered is not None:
        raise UsageError(f"Row {number} of the mix has `{offered}`: calls of tools are not trained on.", _DROP)
    shaped = next((name for name in SHAPING if _holds(row.get(name))), None)
    if shaped is not None:
        raise UsageError(f"Row {number} of the mix has `{shaped}`, without which it would not be the same row.", _DROP)
    if any(message["role"] != "assistant" for message in completion):
        raise UsageError(
            f"Row {number} of the mix has a completion that is not the assistant's.",
            "Loss falls on the whole completion: put the turns of others into the prompt.",
        )
    turns = [
        _plain(message, f"Row {number} of the mix, message {place}")
        for place, message in enumerate([*prompt, *completion], start=1)
    ]
    return {"prompt": turns[: len(prompt)], "completion": turns[len(prompt) :]}


def _messages(value: Any, role: str) -> list[dict[str, Any]]:
    if isinstance(value, str):
        return [{"role": role, "content": value}] if value.strip() else []
    return list(value or [])


def _plain(message: Mapping[str, Any], where: str) -> dict[str, str]:
    """A message of a role and a text; what would be lost of it, or would teach to say nothing, is refused."""
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise UsageError(f"{where} has no `role`.", "A message is an object with `role` and `content`.")
    role, content = message["role"], message.get("content")
    if role not in ROLES:
        raise UsageError(
            f"{where} is of the role {role!r}.", f"Known are {', '.join(ROLES)}; {_DROP[0].lower()}{_DROP[1:]}"
        )
    where = f"{where}, of the {role},"
    called = next((name for name in CALLS if _holds(message.get(name))), None)
    if called is not None:
        raise UsageError(f"{where} has `{called}`: calls of tools are not trained on.", _DROP)
    thought = next((name for name in THOUGHTS if _holds(message.get(name))), None)
    if thought is not None:
        raise UsageError(f"{where} has `{thought}`: an answer is not trained on without its thought.", _DROP)
    if content is not None and not isinstance(content, str):
        raise UsageError(
            f"{where} has a `content` that is no text.", "A message is an object with `role` and `content`."
        )
    if not (content or "").strip():
        raise UsageError(f"{where} says nothing, its `content` is empty.", _DROP)
    return {"role": role, "content": str(content)}


_DROP = "Drop the row, or give it without that."


def _holds(value: Any) -> bool:
    """Whether a field says anything; in a column that some rows fill, the others have it empty."""
    if isinstance(value, Mapping):
        return any(_holds(inner) for inner in value.values())
    return value is not None and value != "" and not (isinstance(value, Sequence) and not value)
