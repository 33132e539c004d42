"""A quarantine as one HTML page to read in a browser: nothing is fetched, nothing runs, and no claim is markup."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from hfvaccine.claims.claim import TEXTS, is_blank
from hfvaccine.claims.dose import UNNAMED
from hfvaccine.quarantine.checks.lint import LintFinding
from hfvaccine.quarantine.review import APPROVED, AWAITING, BEGUN, REJECTED
from hfvaccine.quarantine.survey import Survey, Table, charts, held, tables
from hfvaccine.text import templates
from hfvaccine.version import VERSION

SHOWN = 500
"""Claims on a page; more make it slow to open on a phone."""
LONGEST = 2000
"""Letters of one text; a claim is a sentence, so what is cut is no claim."""

DRAWN = ("Review", "Domain", "Tactic", "Source", "Claims in a cluster", "Split")
"""What is drawn as bars; the rest stands in tables."""
TONES = {APPROVED: "good", REJECTED: "bad", BEGUN: "warn"}
ADDRESS = re.compile(r"[!#-;=?-\[\]_a-z~]+")
"""What a web address is written with (RFC 3986); others must be percent-encoded."""
TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of what follows, so that a text would show other than it is."""


def render(
    survey: Survey, table: pa.Table, *, name: str = "", findings: Iterable[LintFinding] = (), shown: int = SHOWN
) -> str:
    """The page.

    Args:
        survey: the counts of the quarantine.
        table: its rows, of which the first are shown.
        name: of the dose to be, from the policy.
        findings: what lint holds against the rows.
        shown: how many claims to show.

    Returns:
        HTML. It depends on nothing but the arguments, and all that comes from data is escaped.
    """
    rows = table.slice(0, shown).to_pylist()
    found: dict[str, list[LintFinding]] = {row["claim_id"]: [] for row in rows}
    for finding in findings:
        if finding.claim_id in found:
            found[finding.claim_id].append(finding)
    page = templates("hfvaccine.quarantine", _visible)
    source = resources.files("hfvaccine.quarantine").joinpath("page.html").read_text(encoding="utf-8")
    style = source.partition("<style>")[2].partition("</style>")[0]
    return page.get_template("page.html").render(
        name=name or UNNAMED,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        survey=survey,
        sums=_sums(survey),
        charts=[chart for chart in charts(survey) if chart[0] in DRAWN and chart[3]],
        tables=[one for one in tables(survey) if one[0] not in DRAWN and one[0] != "What it holds"],
        claims=[_card(row, survey.states.get(row["claim_id"], AWAITING), found[row["claim_id"]]) for row in rows],
        lint=_lint(found.values()),
        hidden=table.num_rows - len(rows),
        version=VERSION,
    )


def _sums(survey: Survey) -> list[tuple[str, int, float | None]]:
    (claims, count, _), (clusters, joined, _), *parts = held(survey)
    return [(claims, count, None), (clusters, joined, None), *(parts if survey.claims else [])]


def _lint(found: Iterable[list[LintFinding]]) -> Table:
    """What lint finds in the claims on the page, by rule; what to do is said here once, not with every claim."""
    claims: Counter[tuple[str, str, str]] = Counter()
    for findings in found:
        claims.update({(finding.severity, finding.rule, finding.mend) for finding in findings})
    rows: list[tuple[str, ...]] = [
        (rule, severity, f"{count:,}", mend)
        for (severity, rule, mend), count in sorted(claims.items(), key=lambda one: (one[0][0], -one[1], one[0][1]))
    ]
    return "What lint finds in these", ("rule", "severity", "claims", "what to do"), rows


def _card(row: Mapping[str, Any], state: str, findings: list[LintFinding]) -> dict[str, Any]:
    facts = [(name, row[name]) for name in ("verdict", "domain", "tactic", "language", "license")]
    facts += [("from", row["origin"]), ("by", row["submitted_by"])]
    return {
        "id": row["claim_id"],
        "state": state,
        "tone": TONES.get(state, ""),
        "split": "not split yet" if is_blank(row["split"]) else row["split"],
        "harm": row["harm"],
        "overlaps": row["overlaps"] or [],
        **{name: "" if is_blank(row[name]) else row[name] for name in TEXTS},
        "variants": [{"claim": one["claim"], "twin": one["twin"]} for one in row["variants"] or []],
        "sources": [_source(source) for source in row["sources"] or []],
        "findings": findings,
        "facts": [(label, value) for label, value in facts if not is_blank(value)],
        "cluster": "" if row["cluster_id"] == row["claim_id"] else row["cluster_id"],
    }


def _source(source: Mapping[str, str | None]) -> dict[str, str]:
    """A source as it is listed; only an address that is plainly one of the web becomes a link."""
    url = source["url"] or ""
    host = _host(url)
    opened = f"opened {source['checked_on']}" if source["checked_on"] else "opened by nobody yet"
    return {
        "url": url if host else "",
        "title": source["title"] or "untitled",
        "note": ", ".join(part for part in (source["publisher"], host or url, opened) if part),
    }


def _host(url: str) -> str:
    """The host of a web address, "" for anything else: other schemes, names and passwords in it, odd letters."""
    try:
        parts = urlsplit(url)
        plain = parts.scheme in ("http", "https") and "@" not in parts.netloc and ADDRESS.fullmatch(url)
        return (parts.hostname or "") if plain else ""
    except ValueError:
        return ""


def _visible(value: object) -> object:
    """A text in which nothing is hidden: what cannot be seen or turns the direction shows as U+FFFD."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    text = "".join(
        "\ufffd"
        if character in TURNING or (unicodedata.category(character) in ("Cc", "Cs") and not character.isspace())
        else character
        for character in value[:LONGEST]
    )
    return text if len(value) <= LONGEST else f"{text}… ({len(value) - LONGEST:,} more letters)"
