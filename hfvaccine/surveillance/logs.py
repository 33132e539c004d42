"""Which claims come up in production, and what was answered: a round made of logs, of which no text is kept."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfvaccine.claims.claim import Claim
from hfvaccine.errors import SurveillanceError
from hfvaccine.surveillance.answers import ASSERTED, REJECTED, Answer, Drawn, Judged, Judging, judge
from hfvaccine.surveillance.conversations import Exchange, Reader, reader
from hfvaccine.surveillance.log_files import Lines, Skipped, read
from hfvaccine.surveillance.mentions import FALSE, Mention, Mentions
from hfvaccine.workers import in_order

MENTIONS, SAID = "mentions", "said"
"""Exchanges that mention a claim at all; and those in whose answer it stands, whatever the answer says of it."""


@dataclass
class Found:
    """What some lines hold.

    Args:
        exchanges: how many.
        counts: by place of the claim, how many of what.
        times: by place of the claim, the first and the last time it came up; of all exchanges under -1.
        answers: what is to be judged.
        skipped: what was no exchange.
    """

    exchanges: int = 0
    counts: dict[int, Counter[str]] = field(default_factory=dict)
    times: dict[int, tuple[float, float]] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    skipped: Skipped = field(default_factory=Skipped)

    def add(self, other: Found) -> None:
        """Count what other lines hold too, all but their answers."""
        self.exchanges += other.exchanges
        for claim, counts in other.counts.items():
            self.counts.setdefault(claim, Counter()).update(counts)
        for claim, span in other.times.items():
            self.saw(claim, *span)
        self.skipped.update(other.skipped)

    def saw(self, claim: int, first: float, last: float) -> None:
        old = self.times.get(claim, (first, last))
        self.times[claim] = (min(old[0], first), max(old[1], last))


@dataclass(frozen=True)
class Search:
    """What is looked for in lines, and how they are read; goes to other processes as it is.

    Args:
        claims: of the dose.
        form: of the logs.
        fields: of a log of JSON lines.
        judged: whether answers are wanted.
    """

    claims: tuple[Claim, ...]
    form: str
    fields: Mapping[str, str] | None
    judged: bool

    def ready(self) -> Callable[[Lines], Found]:
        """What looks through lines; made once in each process."""
        mentions, read = Mentions(self.claims), reader(self.form, self.fields)
        return lambda lines: _look(lines, mentions, read, self.judged)


def _look(lines: Lines, mentions: Mentions, read: Reader, judged: bool) -> Found:
    found = Found()
    exchanges = [one for where, value in lines.values(found.skipped) for one in read(value, where, found.skipped)]
    found.exchanges = len(exchanges)
    times = [one.at for one in exchanges if one.at is not None]
    if times:
        found.saw(-1, min(times), max(times))
    asked = mentions.find([one.prompt for one in exchanges])
    said = mentions.find([one.answer for one in exchanges])
    for exchange, in_prompt, in_answer in zip(exchanges, asked, said, strict=True):
        if in_prompt or in_answer:
            _count(found, exchange, in_prompt, in_answer, judged)
    return found


def _count(found: Found, exchange: Exchange, asked: Sequence[Mention], said: Sequence[Mention], judged: bool) -> None:
    """Count each claim once for an exchange, and keep the answer where it is to be judged."""
    own = [one.statement for one in said if one.statement.kind == FALSE]
    what = {(one.statement.claim, one.statement.kind) for one in asked} | {(one.claim, SAID) for one in own}
    wordings = {one.claim: one.variant for one in reversed([*(one.statement for one in asked), *own])}
    for claim, kind in what:
        found.counts.setdefault(claim, Counter())[kind] += 1
    for claim, wording in wordings.items():
        found.counts[claim][MENTIONS] += 1
        if exchange.at is not None:
            found.saw(claim, exchange.at, exchange.at)
        if judged:
            found.answers.append(Answer(claim, wording, exchange.prompt, exchange.answer))


@dataclass(frozen=True)
class Logged:
    """What logs come to: ids, counts and times.

    Args:
        digest: SHA-256 of the logs' bytes, one after the other.
        exchanges: turns of users with their answers.
        claims: by claim id, how many of what: `mentions.KINDS`, `MENTIONS`, `SAID`, and of answers `VERDICTS`.
        times: by claim id, the first and the last time that it came up, in seconds since 1970.
        first: the first time in the logs; None where they have none.
        last: the last.
        skipped: what was no exchange.
        judged: what was answered; None where nobody judged.
    """

    digest: str
    exchanges: int
    claims: Mapping[str, Mapping[str, int]]
    times: Mapping[str, tuple[float, float]]
    first: float | None
    last: float | None
    skipped: Skipped
    judged: Judged | None = None

    def scores(self) -> dict[str, float]:
        """By claim id, the share of its clear answers that assert it; without those that have none."""
        found = {}
        for claim, counts in self.claims.items():
            asserted, rejected = counts.get(ASSERTED, 0), counts.get(REJECTED, 0)
            if asserted + rejected:
                found[claim] = asserted / (asserted + rejected)
        return found

    def record(self) -> dict[str, Any]:
        """As JSON has it; without a text."""
        return {
            "digest": self.digest,
            "exchanges": self.exchanges,
            "first": self.first,
            "last": self.last,
            "claims": {
                claim: {**counts, **dict(zip(("first", "last"), self.times.get(claim, ()), strict=False))}
                for claim, counts in self.claims.items()
            },
            "skipped": dict(self.skipped.counts),
            "judged": None
            if (own := self.judged) is None
            else {
                "judge": own.judge,
                "answers": own.answers,
                "rates": dict(own.rates),
                "error": own.error
                or {
                    name: {"sensitivity": one.sensitivity.record(), "specificity": one.specificity.record()}
                    for name, one in own.agreed.items()
                },
                "true_rates": {name: one.record() for name, one in own.true.items()},
            },
        }


def read_logs(
    files: Sequence[Path],
    claims: Sequence[Claim],
    form: str,
    fields: Mapping[str, str] | None = None,
    judging: Judging | None = None,
    workers: int = 1,
) -> Logged:
    """Read logs to their end and count.

    Args:
        files: the logs, see `log_files.read`.
        claims: of the dose.
        form: of the logs, see `conversations`.
        fields: for JSON lines, which of them is what.
        judging: who judges the answers; None to count only.
        workers: processes that look through the lines, beside the one that reads where they are more than one.

    Raises:
        SurveillanceError: for a file that cannot be read, or logs without one exchange.
        UsageError: for a format or map that says nothing.
        ValidationError: for a judge that cannot judge.
    """
    search = Search(tuple(claims), form, fields, judging is not None)
    look = search.ready()  # refuses what is wrong before anything is read
    digest = hashlib.sha256()
    total, kept = Found(), Drawn(judging)
    lines = (part for file in files for part in read(file, digest.update))
    for found in in_order(search.ready if workers > 1 else lambda: look, lines, workers):
        total.add(found)
        kept.offer(found.answers)
    if not total.exchanges:
        why = ", ".join(f"{count:,} {code}" for code, count in total.skipped.counts.items()) or "they are empty"
        where = next(iter(total.skipped.first.values()), "")
        raise SurveillanceError(
            f"The logs hold no exchange of the format {form} ({why}{f'; first: {where}' if where else ''}).",
            "Name their format with --format: openai, otlp, or jsonl with a --map.",
        )
    judged = None if judging is None else judge(kept.answers(), judging, claims)
    for place, verdicts in judged.verdicts.items() if judged else ():
        total.counts[place].update(verdicts)
    first, last = total.times.get(-1, (None, None))
    return Logged(
        digest.hexdigest(),
        total.exchanges,
        {claims[place].claim_id: dict(counts) for place, counts in sorted(total.counts.items())},
        {claims[place].claim_id: span for place, span in sorted(total.times.items()) if place >= 0},
        first,
        last,
        total.skipped,
        judged,
    )
