"""Objections: how an answer begins that rejects what it was told."""

from __future__ import annotations

from collections.abc import Iterable

from hfvaccine.dosing.wordings import TRAINING_FORMS, Form

PLAIN = ("That is false", "That is not true", "That is incorrect", "This is false", "It is false", "No,", "False.")
"""Objections in anybody's words."""


def taught(forms: Iterable[Form]) -> tuple[str, ...]:
    """The beginnings of answers to claims that forms teach, of those that say the verdict first and not the fact."""
    beginnings = [form.for_claim.partition("{")[0].strip() for form in forms if form.for_twin is not None]
    return tuple(beginning for beginning in beginnings if beginning)


def shortest(beginnings: Iterable[str]) -> tuple[str, ...]:
    """Each beginning once, without those that another one is the beginning of: their probabilities can be added."""
    found = sorted(set(beginnings))
    return tuple(text for text in found if not any(text != other and text.startswith(other) for other in found))


OBJECTIONS = shortest((*PLAIN, *taught(TRAINING_FORMS)))
"""All that a model is asked for that may object too often; none is the beginning of another."""
