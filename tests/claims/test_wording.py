"""Words of a text: how they are told, and what is found among them."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine.claims.wording import contains, likeness, restates, words_and_signs


def test_case_punctuation_width_and_spacing_make_no_word():
    assert words_and_signs("The  MOON, is made\nof “Cheese”!") == ["the", "moon", "is", "made", "of", "cheese"]
    assert words_and_signs("Ｔｈｅ moon…") == ["the", "moon"]


def test_signs_that_change_the_sense_are_words():
    assert words_and_signs("It is -5 degrees") != words_and_signs("It is 5 degrees")
    assert words_and_signs("2 > 1") == ["2", ">", "1"]
    assert words_and_signs("well-known") == ["well", "known"]


@given(st.text())
def test_the_short_way_for_plain_text_gives_the_same_words(text):
    long_way = re.findall(r"\w+|[<>=+%$€£]|(?<!\w)[-−](?=\d)", unicodedata.normalize("NFKC", text).casefold())
    assert words_and_signs(text) == long_way


def test_only_whole_words_in_a_row_are_contained():
    text = words_and_signs("Some say the moon is made of cheese, but it is rock.")
    assert contains(text, words_and_signs("The moon is made of cheese."))
    assert not contains(text, words_and_signs("The moon is made of rock."))
    assert not contains(words_and_signs("The moonlight"), words_and_signs("the moon"))
    assert not contains(text, [])


def test_likeness_counts_shared_words():
    a = words_and_signs("Bats are blind.")
    assert likeness(a, a) == 1
    assert likeness(a, words_and_signs("Whales sing songs.")) == 0
    assert likeness(a, words_and_signs("Bats are mammals.")) == pytest.approx(2 / 3)
    assert likeness(a, []) == 0


@pytest.mark.parametrize(
    "text",
    ["Humans really do use ten percent of the brain.", "Adult humans use ten percent of a brain."],
)
def test_the_same_said_again_restates(text):
    assert restates(words_and_signs(text), words_and_signs("Humans use ten percent of their brain."))


@pytest.mark.parametrize(
    "text",
    [
        "Humans do not use ten percent of their brain.",
        "Humans use more than ten percent of their brain.",
        "Only a myth has it that humans use ten percent of their brain.",
        "The brain is ten percent of what humans use.",
        "Humans use ninety percent of their brain.",
        "Humans use all regions of the brain, as scans of ten percent of volunteers confirm.",
    ],
)
def test_what_turns_the_claim_round_or_says_more_restates_nothing(text):
    assert not restates(words_and_signs(text), words_and_signs("Humans use ten percent of their brain."))
