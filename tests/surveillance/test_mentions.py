"""Claims are found in what people write, and what is no claim is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine.claims.claim import Claim, Variant
from hfvaccine.surveillance.mentions import ASKED, FALSE, TRUE, Mentions, stem

CAMEL = Claim(
    claim="A camel's hump is a store of water for dry journeys.",
    correction="The hump of a camel is fatty tissue, an energy reserve.",
    twin="A camel's hump is a store of fat for lean times.",
    question="What is a camel's hump a store of?",
    variants=(
        Variant("Camels crossing a desert carry a tank of water.", "Camels crossing a desert carry no tank of water."),
    ),
)
SPIDERS = Claim(
    claim="A sleeping person swallows about eight spiders in a year.",
    correction="Spiders practically never end up in a sleeper's mouth.",
    twin="A sleeping person swallows practically no spiders in a year.",
)
CONGRESS = Claim(
    claim="Some name Congress and others the Constitution, but the number of justices is set by the Constitution.",
    correction="How many justices sit is fixed by law.",
    twin="Some name Congress and others the Constitution, but the number of justices is set by Congress.",
)
CHINESE = Claim(
    claim="骆驼的驼峰里储存的是水。", correction="驼峰里是脂肪。", twin="骆驼的驼峰里储存的是脂肪。", language="zh"
)
SHORT = Claim(claim="Owls bark.", correction="Owls hoot.")
CLAIMS = (CAMEL, SPIDERS, CONGRESS, CHINESE, SHORT)


@pytest.fixture(scope="module")
def mentions():
    return Mentions(CLAIMS)


def found(mentions, text):
    return [(CLAIMS[one.statement.claim], one.statement.kind) for one in mentions.find([text])[0]]


@pytest.mark.parametrize(
    "text",
    [
        "Hello there. my uncle says A CAMEL'S HUMP -- is a store of water, for dry journeys!!! Is he right?",
        "a camels hump stores water for dry journeys",  # endings
        "So a camel's hump is a stroe of water for dry jouneys, no?",  # slips
        "A camel's hump, they say, is a store of water for long dry journeys.",
        "Camels crossing a desert carry a tank of water, I was told.",
    ],
)
def test_a_claim_is_found_inside_a_text_however_it_is_written(mentions, text):
    assert found(mentions, text) == [(CAMEL, FALSE)]


def test_a_twin_a_correction_and_a_question_are_told_from_the_claim(mentions):
    assert found(mentions, f"Well: {CAMEL.twin}") == [(CAMEL, TRUE)]
    assert found(mentions, "Camels crossing a desert carry no tank of water") == [(CAMEL, TRUE)]
    assert found(mentions, SPIDERS.correction) == [(SPIDERS, TRUE)]
    assert found(mentions, "And what is a camel's hump a store of?") == [(CAMEL, ASKED)]
    assert found(mentions, CONGRESS.claim) == [(CONGRESS, FALSE)]  # the same words as its twin, in another order
    assert found(mentions, CONGRESS.twin) == [(CONGRESS, TRUE)]


def test_a_text_may_mention_several_claims(mentions):
    assert found(mentions, f"{SPIDERS.claim} And also: {CAMEL.claim}") == [(SPIDERS, FALSE), (CAMEL, FALSE)]
    alike = [Claim(claim=f"The town of Aldor {n} lies north of the river.", correction="South.") for n in range(5)]
    both = Mentions(alike).find([f"{alike[3].claim} {alike[1].claim}"])[0]  # neither takes words of the other
    assert {one.statement.claim for one in both} == {1, 3}


def test_the_words_of_a_claim_all_over_a_text_are_no_mention(mentions):
    scattered = f" {'and then another thing happened there ' * 3}".join(["camel", "hump", "store", "water", "dry"])
    assert found(mentions, scattered) == []
    assert found(mentions, "The camel drank water from a store before dry weather came.") == []


def test_a_short_statement_has_to_stand_word_by_word(mentions):
    assert found(mentions, "They say owls bark.") == [(SHORT, FALSE)]
    assert found(mentions, "Barking at owls is what dogs do.") == []


def test_scripts_without_spaces_are_searched_too(mentions):
    assert found(mentions, "请问,骆驼的驼峰里储存的是水吗?") == [(CHINESE, FALSE)]


@given(st.lists(st.text(max_size=80), max_size=6), st.lists(st.text(alphabet="xyz q", max_size=60), max_size=4))
def test_what_stands_around_a_claim_and_in_other_texts_does_not_hide_it(mentions, others, around):
    before, after = (" ".join(part) for part in (around[:2], around[2:]))
    texts = [*others, f"{before} {SPIDERS.claim} {after}"]
    assert (SPIDERS, FALSE) in [(CLAIMS[m.statement.claim], m.statement.kind) for m in mentions.find(texts)[-1]]


def test_a_higher_threshold_finds_less(mentions):
    half = "A sleeping person swallows spiders"
    assert not Mentions(CLAIMS, threshold=0.9).find([half])[0]
    assert Mentions(CLAIMS, threshold=0.4).find([half])[0]


def test_endings_that_change_nothing_do_not_count():
    assert stem("stores") == stem("stored") == stem("storing") == stem("store")
    assert stem("bodies") == stem("body") and stem("is") == "is"
