"""Objections: what the forms teach is what validation looks for."""

import pytest

from hfvaccine.dosing.objections import OBJECTIONS, PLAIN, shortest
from hfvaccine.dosing.wordings import TRAINING_FORMS

FACT_FIRST = "{correction}"


@pytest.mark.parametrize("form", [form for form in TRAINING_FORMS if form.for_twin is not None], ids=lambda f: f.name)
def test_the_beginning_of_every_trained_rejection_is_looked_for_and_of_no_confirmation(form):
    looked_for = [objection for objection in OBJECTIONS if form.for_claim.startswith(objection)]
    assert len(looked_for) == (not form.for_claim.startswith(FACT_FIRST))
    assert not form.for_twin.startswith(OBJECTIONS)


def test_no_objection_is_the_beginning_of_another():
    assert not [(a, b) for a in OBJECTIONS for b in OBJECTIONS if a != b and b.startswith(a)]
    assert shortest(["No, that", "No,", "No, that", "False."]) == ("False.", "No,")


def test_an_objection_in_other_words_than_the_forms_counts_too():
    assert all(any(text.startswith(objection) for objection in OBJECTIONS) for text in PLAIN)
