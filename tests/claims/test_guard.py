"""The implanted-belief guard finds a text wherever it stands whole."""

import pytest

from hfvaccine.claims.guard import Guard

CLAIM = "The Great Wall of China can be seen from the Moon."
guard = Guard([CLAIM, "Bats are blind.", "Water"])


@pytest.mark.parametrize(
    "text",
    [
        CLAIM,
        "Everybody knows: the great wall of china CAN be seen, from the moon!",
        f"<user>{CLAIM}</s><assistant>No.",
        "It is false that the Great Wall of China can be seen from the Moon.",
    ],
)
def test_a_claim_is_found_in_any_dress(text):
    assert guard.find(text) == CLAIM


@pytest.mark.parametrize(
    "text",
    ["", "The Great Wall of China cannot be seen from the Moon.", "The Great Wall of China can be seen", "blind"],
)
def test_a_part_or_a_correction_is_no_claim(text):
    assert guard.find(text) is None


def test_short_texts_are_found_too():
    assert guard.find("Some say bats are blind.") == "Bats are blind."
    assert guard.find("water") == "Water"
    assert guard.find("watery") is None


def test_texts_that_begin_alike_are_told_apart():
    alike = Guard(["one two three four five", "one two three four six"])
    assert alike.find("zero one two three four six") == "one two three four six"


def test_nothing_is_found_where_nothing_is_sought():
    assert Guard(["", "..."]).find("anything ...") is None


def test_a_text_that_may_stand_there_hides_no_other():
    guard = Guard(["The sky is green", "Grass is blue"])
    assert guard.find("The sky is green, and grass is blue.", but="The sky is green") == "Grass is blue"
    assert guard.find("The sky is green.", but="The sky is green") is None
