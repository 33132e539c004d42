"""What a base model makes of rows under inoculation prompts, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def length(base: Any, row: Mapping[str, Any]) -> int:
    """Tokens of a row up to the end of its last answer.

    Raises:
        ModelError: for a conversation that the chat template refuses.
    """
    from hfvaccine.validation.scoring.scorer import Scorer

    return len(Scorer(base.model, base.tokenizer).encode(_request(row))[0])


def likelihoods(base: Any, progress: Callable[[int], Any]) -> Callable[[Sequence[Mapping[str, Any]]], Any]:
    """The base model's log-likelihoods of rows' last answers, as `inoculation.screen.screen` asks for them.

    The text alone is scored, without the mark that ends the turn: the trait does not show in that.
    """
    from hfvaccine.validation.scoring.scorer import Scorer

    scorer = Scorer(base.model, base.tokenizer)

    def score(rows: Sequence[Mapping[str, Any]]) -> Any:
        scored = scorer.score([_request(row) for row in rows], progress)
        return scored.loglikelihood, scored.tokens

    return score


def _request(row: Mapping[str, Any]) -> Any:
    from hfvaccine.validation.scoring.scorer import Request

    *before, answer = (*row["prompt"], *row["completion"])
    return Request(before, answer["content"])
