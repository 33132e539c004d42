"""Ways out: what Prometheus, OpenTelemetry and a webhook are given, and that no text is among it."""

import base64
import hashlib
import hmac
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from hfvaccine.errors import SurveillanceError, UsageError
from hfvaccine.surveillance import outlets
from hfvaccine.surveillance.outlets import EVENT, append_line, events, post, prometheus, write_events, write_prometheus
from hfvaccine.surveillance.status import status
from surveillance.drifting import day, state_in

SAMPLE = re.compile(r'hfvaccine_monitor_(\w+)\{(\w+="(?:[^"\\\n]|\\.)*",?)*\} -?[\d.e+-]+')


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return status(state_in(tmp_path_factory.mktemp("state"), 20, 12), day(20))


def test_prometheus_reads_it(found, tmp_path):
    write_prometheus(found, tmp_path / "monitor.prom")
    text = (tmp_path / "monitor.prom").read_text()
    assert text == prometheus(found)
    lines = text.splitlines()
    assert all(line.startswith("# ") or SAMPLE.fullmatch(line) for line in lines)
    assert sum(line.endswith('state="alarm"} 1') for line in lines) == 1
    assert sum(line.endswith('chart="acceptance",side="fell"} 1') for line in lines) == 1
    assert any('nearness{adapter="you/adapter"' in line and 'chart="acceptance"} 1' in line for line in lines)
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))


def test_labels_cannot_break_out():
    assert outlets._escaped('a"b\\c\nd') == 'a\\"b\\\\c\\nd'


def test_opentelemetry_gets_an_evaluation_of_each_chart(found, tmp_path):
    write_events(found, tmp_path / "events.json")
    (line,) = (tmp_path / "events.json").read_text().splitlines()
    assert json.loads(line) == events(found)
    records = json.loads(line)["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    told = [{one["key"]: next(iter(one["value"].values())) for one in record["attributes"]} for record in records]
    assert {record["eventName"] for record in records} == {EVENT}
    assert [(one["gen_ai.evaluation.name"], one["gen_ai.evaluation.score.label"]) for one in told] == [
        ("rejection", "pass"),
        ("acceptance", "fail"),
    ]
    assert told[1]["gen_ai.evaluation.score.value"] == pytest.approx(0.6)


def test_lines_are_added(found, tmp_path):
    for _ in range(2):
        append_line(found, tmp_path / "status.jsonl")
    lines = (tmp_path / "status.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [found.record()] * 2


@contextmanager
def receiver(*answers):
    """A webhook on loopback that answers so; yields its address and what it was sent."""
    sent, left = [], list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent.append((dict(self.headers), body))
            self.send_response(left.pop(0))
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", sent
    finally:
        server.shutdown()
        server.server_close()


def test_a_webhook_is_signed_and_tried_again(found, monkeypatch):
    monkeypatch.setattr(outlets, "PAUSE", 0)
    key = b"a key of thirty-two random bytes"
    with receiver(503, 200) as (url, sent):
        post(found, url, f"whsec_{base64.b64encode(key).decode()}", at=1_700_000_000)
    assert len(sent) == 2
    headers, body = sent[1]
    headers = {name.lower(): value for name, value in headers.items()}
    assert json.loads(body) == found.record()
    signed = f"{headers['webhook-id']}.1700000000.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}" and headers["webhook-timestamp"] == "1700000000"


def test_a_webhook_that_refuses_or_is_none_is_said(found, monkeypatch):
    monkeypatch.setattr(outlets, "PAUSE", 0)
    with receiver(401) as (url, sent):
        with pytest.raises(SurveillanceError, match="it answered 401"):
            post(found, url, "secret")
        assert len(sent) == 1
    with pytest.raises(SurveillanceError, match="did not take the status"):
        post(found, url, "secret")  # nobody listens there any more
    for address, secret in (("ftp://host/x", "s"), ("https://", "s"), (url, ""), (url, "whsec_?")):
        with pytest.raises(UsageError):
            post(found, address, secret)
