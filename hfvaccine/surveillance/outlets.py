"""Ways out of a status, for what others watch with: Prometheus, OpenTelemetry, JSON lines, a webhook. Never a text.

What leaves here are ids, numbers, times and sentences of ours; a status holds nothing else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hfvaccine.errors import SurveillanceError, UsageError
from hfvaccine.files import whole_file
from hfvaccine.surveillance.charts import SIDES
from hfvaccine.surveillance.state import clock
from hfvaccine.surveillance.status import ALARM, NO_DATA, OK, STALE, WATCHING, Status
from hfvaccine.version import VERSION

EVENT = "gen_ai.evaluation.result"
"""OpenTelemetry's name of the event, semantic conventions for generative AI."""
INFO, ERROR = 9, 17
"""OpenTelemetry's severity numbers."""
TRIES, PAUSE, PATIENCE = 3, 1.0, 10.0
"""Of a webhook: how often it is called, and seconds between and for an answer."""
SECRET = "HFVACCINE_WEBHOOK_SECRET"
"""The environment variable with the secret that signs a webhook's body."""


def prometheus(status: Status) -> str:
    """A status in Prometheus' text format, for the text-file collector of its node exporter."""
    about = {name: str(status.watched[name]) for name in ("adapter", "dose")}

    def lines() -> Iterator[str]:
        def metric(
            name: str, help_: str, samples: list[tuple[dict[str, str], float]], kind: str = "gauge"
        ) -> Iterator[str]:
            yield f"# HELP hfvaccine_monitor_{name} {help_}"
            yield f"# TYPE hfvaccine_monitor_{name} {kind}"
            for labels, value in samples:
                told = ",".join(f'{key}="{_escaped(its)}"' for key, its in (about | labels).items())
                yield f"hfvaccine_monitor_{name}{{{told}}} {value:.10g}"

        charts = status.charts
        known = [one for one in charts if one.baseline is not None]
        yield from metric(
            "state",
            "1 for the state that the monitor is in.",
            [({"state": word}, float(word == status.state)) for word in (OK, ALARM, NO_DATA, STALE)],
        )
        yield from metric(
            "alarm",
            "1 for a chart that alarms, by the side that it moved to.",
            [
                ({"chart": one.name, "side": side}, float(one.alarm is not None and one.alarm.side == side))
                for one in charts
                for side in SIDES
            ],
        )
        yield from metric(
            "nearness",
            "How much of the way to an alarm the evidence of a chart has gone, from 0 to 1.",
            [({"chart": one.name}, one.nearness) for one in charts],
        )
        yield from metric(
            "mean",
            "Mean score of the last round of a chart.",
            [({"chart": one.name}, one.last.value) for one in charts if one.last],
        )
        for name, of in (("baseline_low", "Lower"), ("baseline_high", "Upper")):
            yield from metric(
                name,
                f"{of} end of the interval that a chart is held against.",
                [({"chart": one.name}, float(getattr(one.baseline, name.partition("_")[2]))) for one in known],
            )
        yield from metric(
            "rounds",
            "Rounds that a chart has been held against its baseline.",
            [({"chart": one.name}, float(len(one.rounds))) for one in charts],
        )
        yield from metric(
            "last_round_timestamp_seconds",
            "When the last round of a source was finished.",
            [({"source": source}, clock(its["at"]).timestamp()) for source, its in status.sources.items()],
        )

    return "".join(line + "\n" for line in lines())


def events(status: Status) -> dict[str, Any]:
    """A status as OTLP JSON: one `gen_ai.evaluation.result` for each chart that has a mean.

    Its value is the mean of the last round, its label `pass` or `fail`, or `learning` or `waiting` before there is
    enough to say.
    """
    at = str(int(clock(status.at).timestamp() * 1e9))
    records = []
    for one in status.charts:
        if one.last is None:
            continue
        label = {ALARM: "fail", WATCHING: "pass"}.get(one.state, one.state)
        why = one.alarm.why if one.alarm else f"Share of {one.chart.says}."
        values: dict[str, str | float] = {
            "gen_ai.evaluation.name": one.name,
            "gen_ai.evaluation.score.value": one.last.value,
            "gen_ai.evaluation.score.label": label,
            "gen_ai.evaluation.explanation": why,
            "hfvaccine.monitor.nearness": one.nearness,
        }
        severity, text = (ERROR, "ERROR") if one.alarm else (INFO, "INFO")
        records.append(
            {
                "timeUnixNano": at,
                "observedTimeUnixNano": at,
                "severityNumber": severity,
                "severityText": text,
                "eventName": EVENT,
                "attributes": _attributes(values),
            }
        )
    about = {f"hfvaccine.{name}": str(status.watched[name]) for name in ("adapter", "base", "dose")}
    scope = {"name": "hfvaccine.surveillance", "version": VERSION}
    return {
        "resourceLogs": [
            {
                "resource": {"attributes": _attributes({"service.name": "hfvaccine-monitor"} | about)},
                "scopeLogs": [{"scope": scope, "logRecords": records}],
            }
        ]
    }


def write_prometheus(status: Status, path: Path) -> None:
    """Write the Prometheus file whole, as its collector wants it."""
    with whole_file(path) as staged:
        staged.write_text(prometheus(status), encoding="utf-8")
        staged.chmod(0o644)


def write_events(status: Status, path: Path) -> None:
    """Write the events whole, one line as OpenTelemetry's file exporter does."""
    with whole_file(path) as staged:
        staged.write_text(json.dumps(events(status)) + "\n", encoding="utf-8")


def append_line(status: Status, path: Path) -> None:
    """Add the status to a file of JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(json.dumps(status.record()).encode() + b"\n")


def post(status: Status, url: str, secret: str, at: float | None = None) -> None:
    """Send a status to a webhook, signed as Standard Webhooks says (standardwebhooks.com, "Signature scheme").

    The header `webhook-signature` is "v1," and the base64 of HMAC-SHA256 of "{id}.{timestamp}.{body}", id and
    timestamp being the headers `webhook-id` and `webhook-timestamp`. The id is that of what is said, whenever it is
    said: a receiver that has seen it may pass over it.

    Args:
        status: to send.
        url: of the webhook.
        secret: a "whsec_" and base64, or any text.
        at: seconds since the epoch, by default now.

    Raises:
        UsageError: for an address or a secret that is none.
        SurveillanceError: where it could not be delivered.
    """
    import urllib.error
    import urllib.request

    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise UsageError(f"{url!r} is no address of a webhook.", "Give one that begins with https://.")
    body = json.dumps(status.record()).encode()
    identity = hashlib.sha256(json.dumps([status.state, [one.id for one in status.alarms], status.sources]).encode())
    headers = signed(body, f"msg_{identity.hexdigest()[:32]}", int(time.time() if at is None else at), secret)
    request = urllib.request.Request(url, body, headers | {"Content-Type": "application/json"}, method="POST")
    problem = ""
    for number in range(TRIES):
        time.sleep(number * PAUSE)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE):
                return
        except urllib.error.HTTPError as error:
            problem = f"it answered {error.code}"
            error.close()
            if error.code < 500 and error.code != 429:
                break
        except OSError as error:
            problem = str(getattr(error, "reason", error))
    raise SurveillanceError(
        f"The webhook at {urlsplit(url).hostname} did not take the status: {problem}.",
        "Mend it, and run this again: the status is as it was.",
    )


def signed(body: bytes, identity: str, at: int, secret: str) -> dict[str, str]:
    """The headers of a webhook with this body.

    Raises:
        UsageError: for a secret that is none.
    """
    key = secret.encode()
    if secret.startswith("whsec_"):
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            key = b""
    if not key:
        raise UsageError(
            "A webhook needs a secret that signs what is sent.", f"Put it into the environment as {SECRET}."
        )
    signature = hmac.new(key, f"{identity}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": identity,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }


def _attributes(values: Mapping[str, str | float]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"stringValue": value} if isinstance(value, str) else {"doubleValue": float(value)}}
        for key, value in values.items()
    ]


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
