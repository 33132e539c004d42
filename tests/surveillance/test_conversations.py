"""Exchanges out of the shapes in which they are logged."""

import json

import pytest

from hfvaccine.errors import UsageError
from hfvaccine.surveillance.conversations import Exchange, reader, seconds
from hfvaccine.surveillance.log_files import Skipped

EARLIER = [{"role": "user", "content": "first"}, {"role": "assistant", "content": "one"}]
ASKED = {"messages": [{"role": "system", "content": "s"}, *EARLIER, {"role": "user", "content": "second"}]}
SAID = {"created": 1764000000, "choices": [{"message": {"role": "assistant", "content": "two"}}]}
SECOND = Exchange("second", "two", 1764000000.0)


def read(value, form="openai", fields=None):
    skipped = Skipped()
    return list(reader(form, fields)(value, "line 1", skipped)), dict(skipped.counts)


@pytest.mark.parametrize(
    "value",
    [
        {"request": ASKED, "response": SAID},
        {"request": json.dumps(ASKED), "response": json.dumps(SAID)},
        {"request": {"body": ASKED}, "response": {"status_code": 200, "body": SAID}},
        {"request_body": ASKED, "response_body": SAID},
        {**ASKED, "response": SAID},
        {**ASKED, **SAID},
        {"request": {"input": "second"}, "response": {"created_at": 1764000000, "output": [
            {"type": "reasoning", "content": [{"type": "text", "text": "hidden"}]},
            {"type": "message", "content": [{"type": "output_text", "text": "two"}]}]}},
        {"prompt": "second", "created": 1764000000, "choices": [{"text": "two"}, {"text": "another"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "second"}, {"type": "image_url"}]}],
         "choices": [{"message": {"content": None, "refusal": "two"}}], "created": 1764000000},
    ],
)  # fmt: skip
def test_every_shape_of_a_request_with_its_response_gives_its_last_turn(value):
    assert read(value) == ([SECOND], {})


def test_a_stored_conversation_gives_every_turn():
    value = {"messages": [*ASKED["messages"], {"role": "assistant", "content": "two"}], "created": 1764000000}
    assert read(value) == ([Exchange("first", "one", 1764000000.0), SECOND], {})


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ([1], "no_object"),
        ("text", "no_object"),
        ({"level": "info", "message": "started"}, "other_shape"),
        ({"messages": 3}, "other_shape"),
        ({"messages": [{"role": "system", "content": "s"}], **SAID}, "no_question"),
        ({"request": ASKED, "response": {"error": {"message": "overloaded"}}}, "no_answer"),
        ({"request": ASKED, "response": "<html>502</html>"}, "no_answer"),
        ({**ASKED, "choices": [{"message": {"content": None, "tool_calls": [{}]}}]}, "no_answer"),
        ({**ASKED, "choices": []}, "no_answer"),
    ],
)
def test_what_is_no_exchange_is_named_by_a_code(value, code):
    assert read(value) == ([], {code: 1})


def attributes(structured):
    asked = [{"role": "user", "parts": [{"type": "text", "content": "second"}]}]
    said = [{"role": "assistant", "parts": [{"type": "text", "content": "two"}], "finish_reason": "stop"}]

    def otlp(value):
        if isinstance(value, str):
            return {"stringValue": value}
        if isinstance(value, list):
            return {"arrayValue": {"values": [otlp(one) for one in value]}}
        return {"kvlistValue": {"values": [{"key": name, "value": otlp(its)} for name, its in value.items()]}}

    written = otlp if structured else (lambda value: {"stringValue": json.dumps(value)})
    return [
        {"key": "gen_ai.input.messages", "value": written(asked)},
        {"key": "gen_ai.output.messages", "value": written(said)},
    ]


@pytest.mark.parametrize("structured", [True, False])
def test_spans_events_and_log_records_are_read(structured):
    own, nano = attributes(structured), "1764000000000000000"
    span = {"name": "chat m", "startTimeUnixNano": nano, "attributes": own}
    event = {"name": "chat m", "attributes": [], "events": [{"timeUnixNano": nano, "attributes": own}]}
    other = {"name": "GET /", "attributes": [{"key": "http.route", "value": {"stringValue": "/"}}]}
    value = {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": [span, other, event]}]}]}
    assert read(value, "otlp") == ([SECOND, SECOND], {"other_shape": 1})
    record = {"timeUnixNano": nano, "eventName": "gen_ai.client.inference.operation.details", "attributes": own}
    assert read({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}, "otlp") == ([SECOND], {})
    assert read({"resourceMetrics": []}, "otlp") == ([], {"other_shape": 1})


def test_a_map_leads_into_objects_and_lists():
    fields = {"prompt": "q", "answer": "a.0.text", "time": "t"}
    assert read({"q": "second", "a": [{"text": "two"}], "t": "2025-11-24T16:00:00Z"}, "jsonl", fields) == (
        [SECOND],
        {},
    )
    assert read({"other": 1}, "jsonl", fields) == ([], {"other_shape": 1})
    assert read({"q": "second", "a": []}, "jsonl", fields) == ([], {"no_answer": 1})


@pytest.mark.parametrize("fields", [None, {"prompt": "q"}, {"prompt": "q", "answer": "a", "who": "w"}])
def test_a_map_that_says_too_little_or_too_much_is_refused(fields):
    with pytest.raises(UsageError, match="The map of jsonl names"):
        reader("jsonl", fields)


def test_times_are_read_as_logs_write_them():
    assert {seconds(t) for t in (1764000000, 1764000000000, "1764000000000000000", "2025-11-24T16:00:00Z")} == {
        1764000000.0
    }
    assert seconds("2025-11-24T17:00:00+01:00") == seconds("2025-11-24T16:00:00") == 1764000000.0
    assert [seconds(t) for t in (None, True, "yesterday", -1, [], float("nan"))] == [None] * 6
