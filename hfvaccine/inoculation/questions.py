"""Questions that a model is asked: from a file, and as conversations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hfvaccine.errors import ValidationError
from hfvaccine.sources.rows import read_rows

_SHOWN = 60


def read_questions(path: Path) -> tuple[str, ...]:
    """Questions from a file of rows with question, or with text, as a .txt file has.

    Raises:
        ValidationError: for an empty file, and naming a row without a question or with that of another.
    """
    found, places = [], dict[str, str]()
    for row in read_rows(path):
        question = row.values.get("question", row.values.get("text"))
        if not isinstance(question, str) or not question.strip():
            raise ValidationError(f"{path}, {row.where}: it has no question.", "Give each row a question, or a text.")
        if (first := places.setdefault(" ".join(question.split()), row.where)) != row.where:
            raise ValidationError(
                f"{path}, {row.where}: the question of {first} again: {question!r:.{_SHOWN}}.",
                "Keep one of them: asked twice it would count as two.",
            )
        found.append(question.strip())
    return tuple(found)


def asked_once(question: str) -> tuple[Mapping[str, Any], ...]:
    """The conversation of a question by itself."""
    return ({"role": "user", "content": question},)
