"""lm-eval's tasks with our scorer: a model named `hfvaccine`, which is lm-eval's `hf` but for how it scores.

    python -m hfvaccine.validation.scoring.harness --model hfvaccine --model_args pretrained=you/model --tasks arc_easy

takes all that `lm_eval` takes. In Python, importing this module registers the model:

    import hfvaccine.validation.scoring.harness
    lm_eval.simple_evaluate("hfvaccine", model_args="pretrained=you/model,peft=you/adapter", tasks=["arc_easy"])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hfvaccine.errors import ValidationError
from hfvaccine.packages import install_extra

if TYPE_CHECKING:
    from hfvaccine.validation.scoring.scorer import Scorer


def _missing() -> ValidationError:
    return ValidationError("lm-eval's tasks need lm-eval.", install_extra("lm-eval"))


try:
    from lm_eval.api.registry import register_model
    from lm_eval.models.huggingface import HFLM
except ImportError:

    class HFLM:  # type: ignore[no-redef]
        """Stands where lm-eval is not installed."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            raise _missing()

    def register_model(*names: str) -> Callable[[Any], Any]:
        return lambda model: model


@register_model("hfvaccine")
class HfvaccineLM(HFLM):  # type: ignore[misc]
    """lm-eval's `hf`, except that log-likelihoods come from `Scorer`, which computes shared beginnings once.

    Takes the arguments of `hf`; the batch size matters only where text is generated.
    """

    _scorer: Scorer | None = None

    def _loglikelihood_tokens(
        self,
        requests: Sequence[tuple[Any, list[int], list[int]]],
        disable_tqdm: bool = False,
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        """Log-likelihoods of (what it is known by, context tokens, continuation tokens), and whether greedy."""
        if self.backend != "causal":
            answers: list[tuple[float, bool]] = super()._loglikelihood_tokens(requests, disable_tqdm, override_bs)
            return answers
        from tqdm import tqdm

        rows = []
        for _, context, continuation in requests:
            # Too long a context loses its beginning; the last token is never computed, so there is room for one more.
            ids = [*context, *continuation][-(self.max_length + 1) :]
            rows.append((ids, len(ids) - len(continuation)))
        hidden = disable_tqdm or self.rank != 0
        with tqdm(total=len(rows), disable=hidden, desc="Running loglikelihood requests") as bar:
            scored = self._own_scorer().score_tokens(rows, bar.update)
        pairs = zip(scored.loglikelihood.tolist(), scored.greedy.tolist(), strict=True)
        answers = [(float(value), bool(said)) for value, said in pairs]
        for (known_by, _, _), answer in zip(requests, answers, strict=True):
            if known_by is not None:  # windows of a rolling likelihood are not known by anything
                self.cache_hook.add_partial("loglikelihood", known_by, answer)
        return answers

    def _own_scorer(self) -> Scorer:
        if self._scorer is None:
            from hfvaccine.validation.scoring.scorer import Scorer

            self._scorer = Scorer(self.model, self.tokenizer)
            self._scorer.divided = False  # lm-eval gives each process requests of its own
        return self._scorer


def main() -> None:
    """lm-eval's own command, with our model among its models."""
    try:
        from lm_eval.__main__ import cli_evaluate
    except ImportError as error:
        raise _missing() from error
    cli_evaluate()


if __name__ == "__main__":
    import sys

    from hfvaccine.errors import HfvaccineError

    try:
        main()
    except HfvaccineError as error:
        sys.exit(str(error))
