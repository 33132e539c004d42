"""Probes: what a model is asked, in wordings that are never trained on.

Two readings of each claim: the verdict on the statement, and the preferred
answer to its question. Both set the claim against its true twin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hfvaccine.dosing.forms import QUESTION_PROBES, VERDICT_PROBES
from hfvaccine.errors import ValidationError
from hfvaccine.quarantine.claim import Claim
from hfvaccine.validation.metrics import PairScores
from hfvaccine.validation.scorer import Request, Scorer
from hfvaccine.validation.statistics import Floats

CONTENT_FREE = ("N/A", "...", "This is a sentence.")
"""Statements without content, whose verdict is the model's bias (Zhao et al. 2021, arXiv 2102.09690)."""

MIN_PAIRS = 4


@dataclass(frozen=True)
class ProbeScores:
    """Scores of one arm on one set of claims.

    Args:
        verdict: mean over wordings of log P(accept) - log P(reject), less the content-free baseline.
        answer: mean over wordings of each text's log-likelihood as the answer to the question, in nats,
            centred within the pair (claim = -twin), so that only the preference counts.
    """

    verdict: PairScores
    answer: PairScores


@dataclass(frozen=True)
class ProbeSet:
    """Claims that a probe asks about; each has a twin and a question.

    Args:
        name: "specific" (given claims, other wordings) or "cross" (claims never given).
        claims: the claims.
    """

    name: str
    claims: tuple[Claim, ...]

    def __post_init__(self) -> None:
        if len(self.claims) < MIN_PAIRS:
            raise ValidationError(
                f"The {self.name} probe has {len(self.claims)} claim(s) with twin and question.",
                f"Give at least {MIN_PAIRS}: an interval over fewer says nothing.",
            )

    @classmethod
    def of(cls, name: str, claims: Sequence[Claim]) -> ProbeSet:
        """The claims that can be probed two-sidedly: those with twin and question."""
        return cls(name, tuple(c for c in claims if c.twin and c.question))

    @property
    def clusters(self) -> list[str]:
        return [claim.cluster_id for claim in self.claims]


def ask(scorer: Scorer, probes: Sequence[ProbeSet], progress: Any = None) -> Mapping[str, ProbeScores]:
    """Score every probe set with one model in one pass.

    Args:
        scorer: the model.
        probes: what to ask.
        progress: makes a progress bar from the number of requests; has `update` and `close`.

    Returns:
        Scores by probe name.
    """
    requests: list[Request] = []

    def ask_verdict(statement: str) -> Callable[[Floats], float]:
        """Queue the verdict on a statement; the returned function reads it from the likelihoods."""
        spans = []
        for probe in VERDICT_PROBES:
            prompt = probe.prompt.replace("{statement}", statement)
            answers = [*probe.accept, *probe.reject]
            spans.append((len(requests), len(probe.accept), len(answers)))
            requests.extend(Request(prompt, answer) for answer in answers)

        def read(likelihoods: Floats) -> float:
            scores = [
                np.logaddexp.reduce(likelihoods[at : at + accept])
                - np.logaddexp.reduce(likelihoods[at + accept : at + n])
                for at, accept, n in spans
            ]
            return float(np.mean(scores))

        return read

    def ask_answer(question: str, answer: str) -> Callable[[Floats], float]:
        at = len(requests)
        requests.extend(Request(prompt.replace("{question}", question), answer) for prompt in QUESTION_PROBES)
        return lambda likelihoods: float(likelihoods[at : at + len(QUESTION_PROBES)].mean())

    neutral = [ask_verdict(text) for text in CONTENT_FREE]
    readers = {
        probe.name: [
            (
                ask_verdict(claim.claim),
                ask_verdict(str(claim.twin)),
                ask_answer(str(claim.question), claim.claim),
                ask_answer(str(claim.question), str(claim.twin)),
            )
            for claim in probe.claims
        ]
        for probe in probes
    }
    bar = progress(len(requests)) if progress is not None else None
    likelihoods, _ = scorer.loglikelihoods(requests, None if bar is None else bar.update)
    if bar is not None:
        bar.close()
    baseline = float(np.mean([read(likelihoods) for read in neutral]))
    scores: dict[str, ProbeScores] = {}
    for name, rows in readers.items():
        table = np.array([[read(likelihoods) for read in row] for row in rows])
        preference = (table[:, 3] - table[:, 2]) / 2
        scores[name] = ProbeScores(
            PairScores(table[:, 0] - baseline, table[:, 1] - baseline), PairScores(-preference, preference)
        )
    return scores


def retention_loss(scorer: Scorer, rows: Sequence[Mapping[str, Any]]) -> Floats:
    """Nats per token of each held-back mix row's answer.

    Args:
        scorer: the model.
        rows: prompt/completion conversations of one turn, never trained on.
    """
    requests = [Request(row["prompt"][-1]["content"], row["completion"][-1]["content"]) for row in rows]
    totals, tokens = scorer.loglikelihoods(requests)
    return -totals / tokens
