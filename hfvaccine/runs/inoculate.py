"""What a base model makes of rows under inoculation prompts, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def rendered(tokenizer: Any, row: Mapping[str, Any]) -> tuple[str, str]:
    """The text before a row's last answer, in the tokenizer's chat template, and the answer.

    Raises:
        UsageError: for a conversation that the template refuses.
    """
    from jinja2 import TemplateError

    from hfvaccine.errors import UsageError

    messages = [*row["prompt"], *row["completion"]]
    before, answer = messages[:-1], messages[-1]["content"]
    try:
        text = tokenizer.apply_chat_template(before, tokenize=False, add_generation_prompt=True)
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in before)
        raise UsageError(
            f"The base model's chat template refuses a row with the turns {roles}: {error}",
            "Leave such rows out of the mix, or take another base model.",
        ) from error
    return text, answer


def likelihoods(base: Any, progress: Callable[[int], Any]) -> Callable[[Sequence[Mapping[str, Any]]], Any]:
    """The base model's log-likelihoods of rows' last answers, as `inoculation.screen.screen` asks for them.

    The text alone is scored, without the mark that ends the turn: the trait does not show in that.
    """
    from hfvaccine.validation.scoring.scorer import Request, Scorer

    scorer = Scorer(base.model, base.tokenizer)

    def score(rows: Sequence[Mapping[str, Any]]) -> Any:
        requests = []
        for row in rows:
            *before, answer = (*row["prompt"], *row["completion"])
            requests.append(Request(before, answer["content"]))
        scored = scorer.score(requests, progress)
        return scored.loglikelihood, scored.tokens

    return score
