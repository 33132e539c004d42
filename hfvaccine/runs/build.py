"""Number sequences by a teacher under a prompt, as rows for a student: what `inoculate build subliminal` does.

Source: Subliminal Learning (arXiv 2507.14805): a student of the teacher's own initialisation may take up a trait of
the teacher from answers that hold nothing of it. Any other student is not expected to.
"""

from __future__ import annotations

from typing import Any

from hfvaccine.errors import UsageError
from hfvaccine.inoculation.builders import number_requests, number_rows
from hfvaccine.inoculation.prompt import prepend
from hfvaccine.training.progress import SILENT, Progress


def subliminal(
    base: str,
    prompt: str,
    number: int = 1000,
    temperature: float = 1.0,
    max_new_tokens: int = 48,
    seed: int = 0,
    place: str | None = None,
    dtype: str = "auto",
    progress: Progress = SILENT,
) -> list[dict[str, Any]]:
    """Ask a teacher for numbers, and keep the answers that hold nothing else.

    What was answered before is found again, so that a build that was interrupted goes on.

    Args:
        base: of teacher and student, see `load_base`.
        prompt: that the teacher answers under; the rows do not have it.
        number: of requests; fewer rows come back, since not every answer is kept.
        temperature: of the draw, above 0.
        max_new_tokens: where an answer is cut off.
        seed: of the requests and of the draw.
        place: of the prompt; None for "system" wherever the chat template has a place for it.
        dtype: see `load_base`.
        progress: told how far it is.

    Returns:
        Rows with `messages`, all of which carry the trait; see `builders.number_rows`.

    Raises:
        UsageError: for an empty prompt, or a place that the template does not have.
        ModelError: for a base that cannot be had.
        ValidationError: where no answer is left.
    """
    if not prompt.strip():
        raise UsageError("The teacher has no prompt.", "Give one that the trait comes from.")
    requests = number_requests(number, seed)
    from hfvaccine.inoculation.callback import has_system_turn
    from hfvaccine.runs.ingredients import scorer_of
    from hfvaccine.training.base import load_base
    from hfvaccine.validation.scoring.generate import Sampling

    sampling = Sampling(1, temperature, seed)
    progress.say(f"Teacher: {base}, under {prompt!r}")
    loaded = load_base(base, dtype=dtype)
    system = has_system_turn(loaded.tokenizer)
    if place == "system" and not system:
        raise UsageError(
            f"The chat template of {base} has no system turn.", "Leave --place out, or give --place user."
        )
    where = place or ("system" if system else "user")
    asked = [prepend(prompt, [{"role": "user", "content": request}], where) for request in requests]
    with progress.bar("Answers of the teacher", len(asked)) as bar:
        said = scorer_of(loaded.model, loaded, None).samples(asked, max_new_tokens, sampling, bar.update)
    return number_rows(requests, [text for (text,) in said])
