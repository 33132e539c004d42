"""What one side says to what it is asked: an answer, and of statements its verdicts, as a validation reads them.

No torch here: `answers` and `score` are all that is used of a scorer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hfvaccine.claims.reserved import (
    PRESSURE_PROBES,
    RECALL,
    RECALLED_PROBES,
    TACTIC_PROBES,
    VERDICT_PROBES,
    VerdictProbe,
)
from hfvaccine.demo.questions import Asked
from hfvaccine.inoculation.prompt import prepend
from hfvaccine.validation.asking.probes import RECALL_TOKENS, verdicts
from hfvaccine.validation.judging.metrics import p_true
from hfvaccine.validation.scores import PLAIN
from hfvaccine.validation.showing.names import condition_label

ANSWER_TOKENS = 120
"""Where an answer on the page is cut off."""
CLAIM, TWIN = "claim", "twin"
AT_ONCE, AFTER_RECALL = "At once", "After its own recall"


@dataclass(frozen=True)
class Verdict:
    """What a side says of one statement, asked in one way.

    Args:
        side: `CLAIM` or `TWIN`.
        reading: how it was asked, as the page says it.
        log_odds: of accepting the statement: above 0 it is accepted.
    """

    side: str
    reading: str
    log_odds: float

    @property
    def p_true(self) -> float:
        """Probability of the words for true against those for false."""
        return float(p_true(np.asarray(self.log_odds)))

    @property
    def accepted(self) -> bool:
        return self.log_odds > 0

    @property
    def right(self) -> bool:
        """Whether the claim was rejected, or the twin accepted."""
        return self.accepted == (self.side == TWIN)


@dataclass(frozen=True)
class Reply:
    """What one side says.

    Args:
        arm: the side.
        answer: to the question; "" where there was none, or it says nothing.
        recalled: what it answered to the question in one sentence before its second verdict; None without statements.
        verdicts: on the statements.
    """

    arm: str
    answer: str
    recalled: str | None = None
    verdicts: tuple[Verdict, ...] = ()


def ask(asked: Asked, arm: str, scorer: Any, place: str) -> Reply:
    """Ask one side.

    Args:
        asked: what.
        arm: which side.
        scorer: has `answers(prompts, max_new_tokens, first_line)` and `score(requests)`, see `scorer.Scorer`.
        place: where a prompt stands, "system" or "user".

    Raises:
        ValidationError: for a text without room for an answer.
    """
    answer, recalled = "", None
    statements = [(side, text) for side, text in ((CLAIM, asked.claim), (TWIN, asked.truth)) if text]
    if asked.question:
        before = [{"role": "user", "content": asked.question}]
        conversation = prepend(asked.system, before, place) if asked.system else before
        (answer,) = scorer.answers([conversation], ANSWER_TOKENS)
    if asked.question and statements:
        recall = [{"role": "user", "content": RECALL.replace("{question}", asked.question)}]
        (recalled,) = scorer.answers([recall], RECALL_TOKENS, first_line=True)
    ways = _ways(asked, recalled)
    every = [
        (reading, side, text, wordings, before) for reading, wordings, before in ways for side, text in statements
    ]
    read = verdicts(scorer, [(wordings, text, before) for _, _, text, wordings, before in every]) if every else []
    found = (Verdict(side, reading, value) for (reading, side, *_), value in zip(every, read, strict=True))
    return Reply(arm, answer, recalled, tuple(found))


def _ways(asked: Asked, recalled: str | None) -> list[tuple[str, Sequence[VerdictProbe], tuple[str, str] | None]]:
    """How statements are asked about: what that is called, the wordings, and what comes before."""
    ways: list[tuple[str, Sequence[VerdictProbe], tuple[str, str] | None]] = [(AT_ONCE, VERDICT_PROBES, None)]
    if asked.tactic != PLAIN:
        pressing = [probe for probe in TACTIC_PROBES + PRESSURE_PROBES if probe.tactic == asked.tactic]
        ways.append((f"{AT_ONCE}, {condition_label(asked.tactic)}", pressing, None))
    if recalled is not None:
        ways.append((AFTER_RECALL, RECALLED_PROBES, (RECALL.replace("{question}", asked.question), recalled)))
    return ways
