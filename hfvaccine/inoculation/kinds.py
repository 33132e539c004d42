"""What traits may be given as, and what their names say. Pure."""

from __future__ import annotations

from pathlib import Path

KINDS = {
    "upper": "share of upper-case letters among those with case",
    "regex:PATTERN": "whether the pattern is found",
    "exact:TEXT": "whether the text stands as a line of its own",
    "language:es": "whether it is in the language; language:es/en tells it from these alone",
    "accuracy:FILE": "whether the final number or the text is the answer, of rows with question and answer",
    "choice:FILE": "probability of the trait's continuation of two, of rows with question, trait and other",
    "likelihood:FILE": "log-likelihood in nats a token, of rows with prompt and completion",
    "classifier:HUB_ID=LABEL": "probability of the label by a text classifier",
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
