"""The mix: truthful data that a dose is given along with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfvaccine import starter
from hfvaccine.errors import HubError, UsageError, ValidationError
from hfvaccine.sources.place import Source
from hfvaccine.sources.rows import Broken, hub_rows, iter_rows

HELD_BACK = 10
"""One row in this many is never trained on: what the retention loss is measured on."""
MAX_HELD_BACK = 48

KINDS = "'starter', a file such as .jsonl, .csv or .parquet, or a Hub dataset id"

TAKEN = ("prompt", "completion", "messages", "text", "input_ids", "labels", "tools", "image", "images")
"""Columns that mean something to the trainer: none of them can tell rows apart."""


@dataclass(frozen=True)
class Mix:
    """Prompt/completion conversations.

    Args:
        train: rows to train on.
        held_back: rows that no arm is trained on.
        id: Hub id, path, or "starter".
        revision: commit of the Hub repo.
        sha256: digest over the conversations of all rows.
    """

    train: tuple[dict[str, Any], ...]
    held_back: tuple[dict[str, Any], ...]
    id: str
    revision: str | None
    sha256: str

    def record(self) -> dict[str, Any]:
        """The mix's part of immunization.json."""
        return {
            "id": self.id,
            "revision": self.revision,
            "sha256": self.sha256,
            "rows": len(self.train),
            "held_back": len(self.held_back),
        }


def load_mix(source: str, column: str | None = None, revision: str | None = None) -> Mix:
    """Load a mix.

    Args:
        source: "starter", a file of one of `naming.FORMATS`, or a Hub dataset as ID or `ID@REVISION` (split
            "train"). Rows hold `prompt` and `completion` (texts or messages), or `messages` that end with the
            assistant.
        column: a further column to keep in the rows, as text, by which they can be told apart.
        revision: branch, tag or commit of a Hub dataset; the newest by default.

    Raises:
        UsageError: for a file that is not there, rows of another shape, or a column that a row lacks.
        HubError: for a dataset that cannot be had.
    """
    if column in TAKEN:
        raise UsageError(
            f"The rows of the mix cannot be told apart by the column {column!r}.", "Name one of its other columns."
        )
    place = Source.of("mix", source, revision)
    rows, commit = _hub(place.name, place.revision) if place.on_hub else (_file(place.name), None)
    conversations: list[dict[str, Any]] = []
    train: list[dict[str, Any]] = []
    held_back: list[dict[str, Any]] = []
    for number, whole in enumerate(rows, start=1):
        try:
            row = _conversation(whole, number)
        except (AttributeError, KeyError, TypeError) as error:
            raise UsageError(
                f"Row {number} of the mix is malformed: {type(error).__name__} {error}.",
                "A message is an object with `role` and `content`.",
            ) from error
        conversations.append(row)
        key = hashlib.sha256(row["prompt"][-1]["content"].encode()).digest()
        held = key[0] % HELD_BACK == 0 and len(held_back) < MAX_HELD_BACK and len(row["prompt"]) == 1
        (held_back if held else train).append(
            row if column is None else {**row, column: _value(whole, column, number)}
        )
    if not train:
        raise UsageError(f"The mix {source!r} has no rows.", "Give rows with prompt and completion.")
    digest = hashlib.sha256(json.dumps(conversations, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
    return Mix(tuple(train), tuple(held_back), place.name, commit, digest)


def _value(row: Mapping[str, Any], column: str, number: int) -> str:
    if column not in row:
        raise UsageError(
            f"Row {number} of the mix has no column {column!r}.", f"Its columns are: {', '.join(map(str, row))}."
        )
    return str(row[column])


def _file(source: str) -> list[Mapping[str, Any]]:
    path = starter.MIX if source == "starter" else Path(source)
    if not path.is_file():
        raise UsageError(f"There is no mix file {source}.", f"Give {KINDS}.")
    found: list[Mapping[str, Any]] = []

    def refuse(line: Broken) -> None:
        raise UsageError(
            f"Row {len(found) + 1} of the mix is malformed: {path.name}, {line.where} {line.reason}.",
            "Mend or drop the line.",
        )

    try:
        for row in iter_rows(path, refuse):
            found.append(row.values)
    except ValidationError as error:
        raise UsageError(error.message, error.next_step) from error
    return found


def _hub(source: str, revision: str | None) -> tuple[list[Mapping[str, Any]], str | None]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        commit = HfApi().dataset_info(source, revision=revision).sha
        return [row.values for row in hub_rows(f"{source}::train", revision=commit)], commit
    except (HfHubHTTPError, HFValidationError, ValidationError, ValueError, OSError) as error:
        reason = (error.message if isinstance(error, ValidationError) else str(error)).strip().split("\n")[0]
        raise HubError(f"The mix {source!r} cannot be had: {reason}", f"Give {KINDS} that you may read.") from error


def _conversation(row: Mapping[str, Any], number: int) -> dict[str, Any]:
    messages = row.get("messages")
    if messages and messages[-1]["role"] == "assistant" and len(messages) > 1:
        prompt, completion = messages[:-1], messages[-1:]
    else:
        prompt, completion = _messages(row.get("prompt"), "user"), _messages(row.get("completion"), "assistant")
    if not prompt or not completion:
        raise UsageError(
            f"Row {number} of the mix has columns {sorted(row)}.",
            "Each row needs `prompt` and `completion`, or `messages` that end with the assistant.",
        )
    return {"prompt": _plain(prompt), "completion": _plain(completion)}


def _messages(value: Any, role: str) -> list[dict[str, str]]:
    if isinstance(value, str):
        return [{"role": role, "content": value}] if value.strip() else []
    return list(value or [])


def _plain(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    if not all(isinstance(m["content"], str) for m in messages):
        raise TypeError("a content is not a text")
    return [{"role": m["role"], "content": m["content"]} for m in messages]
