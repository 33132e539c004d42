"""The fields that a card asks for, and what is taken for an answer."""

import pytest

from hfvaccine.localhub.cards.form import MOST_FIELDS, fields_of, read
from hfvaccine.localhub.refusal import Refusal

ASKED = {
    "Affiliation": "text",
    "Country": "country",
    "Since": "date_picker",
    "Use": {"type": "select", "options": ["Research", {"label": "Something else", "value": "other"}]},
    "I agree": "checkbox",
}


def test_fields_and_answers():
    fields = fields_of({"extra_gated_fields": ASKED})
    assert [one.input for one in fields] == ["text", "text", "date", "select", "checkbox"]
    assert fields[3].options == (("Research", "Research"), ("other", "Something else"))
    given = {"field-0": " A lab ", "field-1": "Chad", "field-2": "2026-02-28", "field-3": "1", "field-4": "yes"}
    answers = {"Affiliation": "A lab", "Country": "Chad", "Since": "2026-02-28", "Use": "other", "I agree": True}
    assert read(fields, {**given, "field-9": "more", "csrf": "x"}) == answers
    for name, wrong in (
        ("field-0", " "),
        ("field-0", "x" * 5000),
        ("field-2", "tomorrow"),
        ("field-2", "2026-02-30"),
        ("field-3", "2"),
        ("field-3", "-1"),
        ("field-3", "other"),
        ("field-3", ""),
        ("field-4", ""),
    ):
        with pytest.raises(Refusal) as refused:
            read(fields, {**given, name: wrong})
        assert refused.value.status == 400


@pytest.mark.parametrize(
    ("asked", "inputs"),
    [
        (None, []),
        ("text", []),
        ({}, []),
        ([{"Name": "text"}, "x", {"Agree": "checkbox"}], ["text", "checkbox"]),
        ({"A": "unknown", "B": 7, "C": None, "D": ["checkbox"]}, ["text"] * 4),
        (
            {"A": {"type": "select"}, "B": {"type": "select", "options": 1}, "C": {"type": "checkbox"}},
            ["text", "text", "checkbox"],
        ),
        ({f"F{i}": "text" for i in range(1000)}, ["text"] * MOST_FIELDS),
    ],
)
def test_metadata_of_any_shape(asked, inputs):
    assert [one.input for one in fields_of({"extra_gated_fields": asked})] == inputs
