"""Evaluation sets, for what they ask and answer: claims that say the same must be known before a model is tested."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hfvaccine.claims.wording import plain_words
from hfvaccine.errors import ValidationError
from hfvaccine.sources.naming import named_source
from hfvaccine.sources.rows import open_rows

LEAST_WORDS = 4
"""Texts of fewer words ("In 1969") are said by too many to be anybody's."""
TRUTHFULQA = "TruthfulQA"
TRUTHFULQA_ID = "truthfulqa/truthful_qa"
GIVE_A_FILE = f"Give it as a file: --against {TRUTHFULQA}=FILE"


@dataclass(frozen=True)
class EvaluationSet:
    """What an evaluation set says.

    Args:
        name: what claims that overlap with it are marked with.
        texts: its questions, choices, answers and passages, each once.
    """

    name: str
    texts: tuple[str, ...]


def read_evaluation_set(source: str) -> EvaluationSet:
    """An evaluation set from a file or the Hub.

    Every text in its rows counts, however deep in lists and objects; answers that stand in one field with ";"
    between them also count one by one. Addresses and texts of fewer than `LEAST_WORDS` words do not count.

    Args:
        source: FILE of rows, or a Hub dataset as ID, ID:CONFIG or ID:CONFIG:SPLIT (by default the test or
            validation split); either also with NAME= before it.

    Raises:
        ValidationError: for a source that cannot be read, or in which there is no text.
    """
    name, place = named_source(source)
    rows = open_rows(place, prefer=("test", "validation"))
    texts = dict.fromkeys(text for row in rows for text in _texts(list(row.values.values())))
    if not texts:
        raise ValidationError(
            f"{name} holds no text of {LEAST_WORDS} words or more to compare claims with.",
            "Give the file that holds its questions and answers.",
        )
    return EvaluationSet(name, tuple(texts))


def read_evaluation_sets(sources: Sequence[str], say: Callable[[str], object] = print) -> list[EvaluationSet]:
    """The sets that are named, and TruthfulQA, on which vaccines are measured, wherever it can be had.

    Args:
        sources: see `read_evaluation_set`.
        say: is told where TruthfulQA cannot be had.

    Raises:
        ValidationError: for a source that cannot be read, or for two of the same name.
    """
    sets = [read_evaluation_set(source) for source in sources]
    doubled = [one.name for number, one in enumerate(sets) if one.name in {other.name for other in sets[:number]}]
    if doubled:
        raise ValidationError(
            f"Two evaluation sets are called {doubled[0]}.", "Name one of them otherwise: --against NAME=FILE"
        )
    if not any(is_truthfulqa(one.name) for one in sets):
        found = truthfulqa()
        if found is None:
            say(f"{TRUTHFULQA} could not be fetched from the Hub: claims are not screened against it. {GIVE_A_FILE}")
        else:
            sets.append(found)
    return sets


def is_truthfulqa(name: str) -> bool:
    """Whether a set is TruthfulQA, by its name."""
    return re.sub(r"[^a-z]", "", name.casefold()).startswith("truthfulqa")


def truthfulqa() -> EvaluationSet | None:
    """TruthfulQA from the Hub, quietly; None where there is no way to it."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]

    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        HfApi().dataset_info(TRUTHFULQA_ID, timeout=10)  # loading would try again and again for half a minute
        return read_evaluation_set(f"{TRUTHFULQA}={TRUTHFULQA_ID}:generation")
    except (OSError, HTTPError, HfHubHTTPError, ValidationError):
        return None
    finally:
        logging.disable(before)


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value that count."""
    if isinstance(value, str):
        if not re.match(r"\w+://", value):
            parts = re.split(r";\s+", value)
            yield from (
                part for part in dict.fromkeys([value.strip(), *parts]) if len(plain_words(part)) >= LEAST_WORDS
            )
    elif isinstance(value, Mapping):
        if value and all(isinstance(number, int | float) for number in value.values()):
            yield from _texts(list(value))  # answers with their scores, as in TruthfulQA's multiple choice
        yield from _texts(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
