"""What was asked and answered in production, out of the shapes in which it is logged. Nothing is guessed.

- openai: requests to an OpenAI-compatible endpoint with their responses, in one object: `messages` (or `input`, or
  `prompt`) beside `choices` (or `output`), or each inside `request` and `response`, those perhaps inside `body`; or
  whole conversations as stored, with the assistant's turns among the `messages`.
- otlp: OpenTelemetry's traces or logs as OTLP JSON; of each span, span event or log record the attributes
  `gen_ai.input.messages` and `gen_ai.output.messages`, structured or as a JSON string.
- jsonl: any object, with a map that says which of its fields is what.

Where a request has a response, only what was asked since the turn before counts: a chat sends its whole history each
time, and what was said in it was counted when it was said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hfvaccine.errors import UsageError
from hfvaccine.surveillance.log_files import Skipped

OPENAI, OTLP, JSONL = "openai", "otlp", "jsonl"
FORMATS = (OPENAI, OTLP, JSONL)
FIELDS = ("prompt", "answer", "time")
"""What a map names the fields of; `time` may be left out."""
REASONS = {
    "no_json": "no JSON",
    "too_long": "too long to be read",
    "no_object": "JSON, but no object",
    "other_shape": "an object of another shape",
    "no_question": "without a turn of a user",
    "no_answer": "without an answer in words",
}
"""Why something is skipped, by its code; nothing of what it says is kept, not even the names of its fields."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a user asked and what the model answered.

    Args:
        prompt: the user's last turn.
        answer: the model's.
        at: seconds since 1970; None where the log does not say.
    """

    prompt: str
    answer: str
    at: float | None = None


Reader = Callable[[Any, str, Skipped], Iterator[Exchange]]
"""Finds the exchanges in a value that stands at a place; what is none is skipped and counted."""


def reader(form: str, fields: Mapping[str, str] | None = None) -> Reader:
    """How to read a format.

    Args:
        form: of `FORMATS`.
        fields: for jsonl, which field is which of `FIELDS`; a dot leads into an object, a number into a list.

    Raises:
        UsageError: for another format, or a map that lacks something or is not wanted.
    """
    if form not in FORMATS:
        raise UsageError(f"There is no format {form!r}.", f"Choose from {', '.join(FORMATS)}.")
    if form != JSONL:
        if fields:
            raise UsageError(f"The format {form} says itself what is what.", "Leave --map out, or say --format jsonl.")
        return {OPENAI: _openai, OTLP: _otlp}[form]
    given = dict(fields or {})
    if not {"prompt", "answer"} <= set(given) <= set(FIELDS):
        raise UsageError(
            f"The map of jsonl names {', '.join(given) or 'nothing'}.",
            "Say which fields hold what: --map prompt=FIELD --map answer=FIELD, and --map time=FIELD where there is "
            "one. A dot leads into an object: answer=response.text.",
        )
    paths = {name: given[name].split(".") for name in given}

    def mapped(value: Any, where: str, skipped: Skipped) -> Iterator[Exchange]:
        if not isinstance(value, dict):
            skipped.add("no_object", where)
            return
        found = {name: _at(value, path) for name, path in paths.items()}
        if found["prompt"] is None and found["answer"] is None:
            skipped.add("other_shape", where)
            return
        yield from _kept(_said(found["prompt"]), _said(found["answer"]), found.get("time"), where, skipped)

    return mapped


def _openai(value: Any, where: str, skipped: Skipped) -> Iterator[Exchange]:
    if not isinstance(value, dict):
        skipped.add("no_object", where)
        return
    request, response = (_body(value, names) for names in (("request", "request_body"), ("response", "response_body")))
    asked = next((one for name in ("messages", "input", "prompt") if (one := request.get(name)) is not None), None)
    chosen = next((one for name in ("choices", "output") if (one := response.get(name)) is not None), None)
    if asked is None or not isinstance(asked, str | list) or not isinstance(chosen, list | None):
        skipped.add("other_shape", where)
        return
    at = next((one for of in (response, value, request) for name in _TIMES if (one := of.get(name)) is not None), None)
    turns = [("user", asked)] if isinstance(asked, str) else list(_turns(asked))
    if chosen is not None or response is not value:  # a response without a choice is one that failed
        chosen = chosen or []
        yield from _kept(_last(turns), _said(chosen[:1] if "choices" in response else chosen), at, where, skipped)
    else:
        yield from _pairs(turns, at, where, skipped)


def _otlp(value: Any, where: str, skipped: Skipped) -> Iterator[Exchange]:
    if not isinstance(value, dict):
        skipped.add("no_object", where)
        return
    resources = [one for name in ("resourceSpans", "resourceLogs") for one in _list(value.get(name))]
    if not resources and not {"resourceSpans", "resourceLogs"} & set(value):
        skipped.add("other_shape", where)
        return
    for resource in resources:
        for scope in (one for name in ("scopeSpans", "scopeLogs") for one in _list(_of(resource, name))):
            for record in (one for name in ("spans", "logRecords") for one in _list(_of(scope, name))):
                yield from _record(record, where, skipped)


def _record(record: Any, where: str, skipped: Skipped) -> Iterator[Exchange]:
    """The exchange of a span or of one of its events, or of a log record; all other spans are no conversations."""
    for one in (record, *_list(_of(record, "events"))):
        attributes = {_of(pair, "key"): _of(pair, "value") for pair in _list(_of(one, "attributes"))}
        asked, said = (_plain(attributes.get(name)) for name in ("gen_ai.input.messages", "gen_ai.output.messages"))
        if asked is None and said is None:
            continue
        at = next((time for of in (one, record) for name in _NANO if (time := _of(of, name))), None)
        yield from _kept(_last(list(_turns(_list(asked)))), _said(_list(said)[:1]), at, where, skipped)
        return
    skipped.add("other_shape", where)


def _pairs(turns: Sequence[tuple[str, Any]], at: Any, where: str, skipped: Skipped) -> Iterator[Exchange]:
    """Of a whole conversation each turn of the user with what came next."""
    asked: list[str] = []
    found = False
    for role, content in turns:
        if role == "user":
            asked.append(_said(content))
        elif role == "assistant" and asked and (said := _said(content)):
            found = True
            yield from _kept("\n".join(asked), said, at, where, skipped)
            asked = []
    if not found:
        skipped.add("no_answer" if asked else "no_question", where)


def _kept(prompt: str, answer: str, at: Any, where: str, skipped: Skipped) -> Iterator[Exchange]:
    if prompt and answer:
        yield Exchange(prompt, answer, seconds(at))
    else:
        skipped.add("no_answer" if prompt else "no_question", where)


def _turns(messages: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    for message in messages:
        if isinstance(message, dict) and isinstance(role := message.get("role"), str):
            yield role, message


def _last(turns: Sequence[tuple[str, Any]]) -> str:
    """What the user said since the model's last turn."""
    asked: list[str] = []
    for role, content in reversed(turns):
        if role == "assistant" and asked:
            break
        if role == "user":
            asked.append(_said(content))
    return "\n".join(reversed(asked))


def _said(value: Any) -> str:
    """The words in a message, its content, or a part of it; "" where it has none."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(words for one in value if (words := _said(one)))
    if not isinstance(value, dict) or value.get("type") in _SILENT:
        return ""
    return next((words for name in _WORDS if name in value and (words := _said(value[name]))), "")


_WORDS = ("message", "parts", "content", "text", "refusal")
_SILENT = ("tool_call", "tool_call_response", "reasoning", "function_call", "function_call_output", "image_url")
"""Parts of a message that nobody hears."""
_TIMES = ("created", "created_at", "timestamp", "time")
_NANO = ("startTimeUnixNano", "timeUnixNano", "observedTimeUnixNano")


def _body(value: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, Any]:
    """A request or response: what one of the fields holds, or the value itself; written as JSON it is read."""
    inner = next((value[name] for name in names if name in value), value)
    for _ in range(2):
        if isinstance(inner, str):
            inner = _json(inner)
        if isinstance(inner, dict) and isinstance(inner.get("body"), dict | str):
            inner = inner["body"]
    return inner if isinstance(inner, dict) else {}


def _plain(value: Any) -> Any:
    """What an OTLP value stands for; a string that is JSON is read."""
    if isinstance(value, str):
        return _json(value)
    if not isinstance(value, dict):
        return None
    for name, its in value.items():
        if name == "stringValue":
            return _json(its)
        if name == "arrayValue":
            return [_inner(one) for one in _list(_of(its, "values"))]
    return None


def _inner(value: Any) -> Any:
    """What an OTLP value inside another stands for: here a string is a string."""
    for name, its in value.items() if isinstance(value, dict) else ():
        if name == "kvlistValue":
            return {_of(pair, "key"): _inner(_of(pair, "value")) for pair in _list(_of(its, "values"))}
        return [_inner(one) for one in _list(_of(its, "values"))] if name == "arrayValue" else its
    return None


def _json(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None


def _of(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _at(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        if isinstance(value, list) and name.lstrip("-").isdigit():
            value = value[int(name)] if -len(value) <= int(name) < len(value) else None
        else:
            value = _of(value, name)
    return value


def seconds(time: Any) -> float | None:
    """A time as logs write it, in seconds since 1970: ISO with or without zone (UTC), or so many s, ms, us or ns.

    None for what is no time.
    """
    if isinstance(time, str):
        try:
            moment = datetime.fromisoformat(time)
        except ValueError:
            if not time.isascii() or not time.isdigit():
                return None
            time = int(time)
        else:
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if isinstance(time, bool) or not isinstance(time, int | float) or not 0 < time < 1e20:
        return None
    while time > 1e11:
        time /= 1000
    return float(time)
