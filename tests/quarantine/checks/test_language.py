"""Languages told apart: only for sure, and only where it matters."""

import pytest

from hfvaccine.quarantine.checks import language
from hfvaccine.quarantine.checks.language import other_language, primary

SPANISH = "Los murciélagos ven bien y además se orientan con el eco de sus gritos."
GERMAN = "Fledermäuse sehen gut und finden ihren Weg außerdem durch das Echo ihrer Rufe."
RUSSIAN = "Летучие мыши хорошо видят и находят дорогу по эху своих криков."


@pytest.mark.parametrize("text, found", [(SPANISH, "es"), (GERMAN, "de"), (RUSSIAN, "ru")])
def test_another_language_is_named(text, found):
    assert other_language(text, "en") == found
    assert other_language(text, found) is None


@pytest.mark.parametrize("declared", ["es-419", "es-MX"])
def test_a_region_does_not_matter(declared):
    assert other_language(SPANISH, declared) is None
    assert other_language("Bats see well and find their way by the echo of their cries.", declared) == "en"


@pytest.mark.parametrize("text", ["Bats fly.", "Marlon Brando: Casablanca, Roma, Napoli.", "", "1 + 1 = 2", "东京"])
def test_names_and_scraps_are_no_language(text):
    assert other_language(text, "en") is None


@pytest.mark.parametrize("declared", ["la", "xx", "gsw"])
def test_a_language_that_cannot_be_told_is_not_judged(declared):
    assert other_language(SPANISH, declared) is None


def test_close_relatives_are_not_told_apart():
    assert other_language(SPANISH, "pt") is None
    assert other_language(SPANISH, "gl") is None


def test_a_text_of_everyday_words_asks_no_model(monkeypatch):
    monkeypatch.setattr(language, "_identifier", lambda: pytest.fail("asked"))
    assert other_language("Bats see well and find their way by the echo of their cries.", "en") is None


def test_the_words_at_hand_are_taken():
    assert other_language(SPANISH, "en", ["the", "of"]) is None


def test_a_tag_begins_with_its_language():
    assert [primary(tag) for tag in ("en", "pt-BR", "zh-Hans-CN")] == ["en", "pt", "zh"]
