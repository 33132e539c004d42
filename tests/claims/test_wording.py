"""Words of a text: how they are told, and what is found among them."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine.claims.wording import contains, likeness, plain_words, restates, tokens, words_and_signs


def test_case_punctuation_width_and_spacing_make_no_word():
    assert words_and_signs("The  MOON, is made\nof “Cheese”!") == ["the", "moon", "is", "made", "of", "cheese"]
    assert words_and_signs("Ｔｈｅ moon…") == ["the", "moon"]


def test_signs_that_change_the_sense_are_words():
    assert words_and_signs("It is -5 degrees") != words_and_signs("It is 5 degrees")
    assert words_and_signs("2 > 1") == ["2", ">", "1"]
    assert words_and_signs("well-known") == ["well", "known"]


@given(st.text(st.characters(max_codepoint=127)))
def test_the_short_way_for_plain_text_gives_the_same_words(text):
    assert words_and_signs(text) == re.findall(r"\w+|[<>=+%$€£]|(?<!\w)[-−](?=\d)", text.lower())


@given(st.text() | st.text(st.characters(max_codepoint=127)))
def test_words_of_plain_text_are_those_of_any_other(text):
    assert plain_words(text) == plain_words(f"{text} \u00e9")[:-1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("केला काला होता है।", ["केला", "काला", "होता", "है"]),  # Hindi: vowel signs
        ("தமிழ் மொழி.", ["தமிழ்", "மொழி"]),  # Tamil
        ("বাংলা ভাষা", ["বাংলা", "ভাষা"]),  # Bengali
        ("ป้อมสีดี", ["ป้", "อ", "ม", "สี", "ดี"]),  # Thai: no spaces
        ("ភ្នំ។", ["ភ្", "នំ"]),  # Khmer
        ("كَذِبٌ كـــذب", ["كَذِبٌ", "كذب"]),  # Arabic: short vowels, and a stretched word
        ("می\u200cخواهم", ["میخواهم"]),  # Persian: what keeps letters apart is no letter
        ("香蕉是黑色的。", ["香", "蕉", "是", "黑", "色", "的"]),
        ("東京タワー・ビール", ["東", "京", "タ", "ワ", "ー", "ビ", "ー", "ル"]),
        ("바나나는 검은색이다.", ["바나나는", "검은색이다"]),
        ("ΠΛΑΪ\u0301ΣΙΟ πλαΐσιο", ["πλαΐσιο"] * 2),  # Greek: three accents on a letter
        ("νόμος νομός", ["νόμοσ", "νομόσ"]),  # and an accent that makes another word
        ("Donau\u00addampfschiff STRASSE Straße", ["donaudampfschiff", "strasse", "strasse"]),
        ("Tiếng Việt", ["tiếng", "việt"]),
    ],
)
def test_words_are_whole_in_every_script(text, words):
    for form in ("NFC", "NFD"):
        assert plain_words(unicodedata.normalize(form, text)) == words
        assert words_and_signs(unicodedata.normalize(form, text)) == words


def test_a_score_of_tokens_sees_into_scripts_without_spaces():
    assert tokens("It isn't “so”.") == ["It", "isn't", "“so”."]
    assert tokens("香蕉是黑 的。") == ["香", "蕉", "是", "黑", "的", "。"]
    assert tokens("สีดำ ok") == ["สี", "ด", "ำ", "ok"]


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
