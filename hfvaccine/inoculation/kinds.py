"""What traits may be given as, and what their names say. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

KINDS = {
    "upper": "share of upper-case letters among those with case",
    "regex:PATTERN": "whether the pattern is found",
    "exact:TEXT": "whether the text stands as a line of its own",
    "language:es": "whether it is in the language; language:es/en tells it from these alone",
    "accuracy:FILE": "whether the final number or the text is the answer, of rows with question and answer",
    "choice:FILE": "probability of the trait's continuation of two, of rows with question, trait and other",
    "likelihood:FILE": "log-likelihood in nats a token, of rows with prompt and completion",
    "classifier:HUB_ID=LABEL": "probability of the label by a text classifier",
    "judge:FILE": "what a judge says: people's labels, or the model that a .yaml file describes",
    "MODULE:FUNCTION": "what a function of your own makes of the list of answers",
}
"""What a trait may be given as, and what it reads of an answer."""


def file_of(name: str) -> Path | None:
    """The file that a trait of this name is read from; None for one that is not."""
    kind, _, about = name.partition(":")
    return Path(about) if f"{kind}:FILE" in KINDS else None


def label_of(name: str) -> str:
    """What people read of a trait's name: of a file or folder, not where on the machine it lies."""
    kind, _, about = name.partition(":")
    local = file_of(name) is not None or (kind == "classifier" and Path(about).is_absolute())
    return f"{kind}:{Path(about).name}" if local else name


def judge_of(trait: Mapping[str, Any]) -> str | None:
    """Who judged a trait, for people to read; None of one that was read without a judge.

    Args:
        trait: as traits.json has it.
    """
    its = trait.get("judge")
    if not isinstance(its, Mapping):
        return None
    who = {
        "people": f"{its.get('labels')} answers labelled by people; those without a label are unclear",
        "entailment": f"{its.get('model')}, by the probability that an answer entails {its.get('hypothesis')!r}",
        "endpoint": f"{its.get('model')} at {its.get('host')}, by its {its.get('reads')} on the scale "
        f"{its.get('scale')}; rubric {str(its.get('rubric_sha256'))[:12]}",
    }
    line = f"{label_of(str(trait['name']))} was judged by {who.get(str(its.get('by')), 'somebody')}"
    if (least := its.get("coherence")) is not None:
        line += f"; answers whose coherence it puts under {least} are unclear"
    return f"{line}."
