"""What a base model makes of rows under inoculation prompts, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hfvaccine.errors import ModelError, ValidationError
from hfvaccine.validation.scores import Request


def unreadable(base: Any) -> Callable[[Mapping[str, Any]], str | None]:
    """Whether a base model can read a row up to the end of its last answer, as `inoculation.screen.choose` asks.

    Returns:
        From a row to a sentence that says why not; None where it can.
    """
    from hfvaccine.regimen.positions import positions
    from hfvaccine.validation.scoring.scorer import Scorer

    scorer, room = Scorer(base.model, base.tokenizer), positions(base.model.config)

    def why_not(row: Mapping[str, Any]) -> str | None:
        try:
            tokens = len(scorer.encode(_request(row))[0])
        except (ModelError, ValidationError) as error:
            return error.message
        if room is None or tokens <= room:
            return None
        return f"The conversation has {tokens} tokens, and the model has {room} positions."

    return why_not


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
    *before, answer = (*row["prompt"], *row["completion"])
    return Request(before, answer["content"])
