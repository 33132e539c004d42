"""Near-duplicates: the same as comparing each with each, whatever the order and however many follow a pattern."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfvaccine.claims import similar
from hfvaccine.claims.similar import ALIKE, CROWD, GRAM, Rows, components, near_pairs, overlapping
from hfvaccine.claims.wording import plain_words
from hfvaccine.errors import UsageError


def jaccard(one, other):
    one, other = set(plain_words(one)), set(plain_words(other))
    return len(one & other) / len(one | other) if one and other else 0.0


def by_hand(texts, threshold):
    return {
        (i, j): jaccard(texts[i], texts[j])
        for j in range(len(texts))
        for i in range(j)
        if jaccard(texts[i], texts[j]) >= threshold
    }


def found(texts, threshold):
    pairs, similarity = near_pairs(texts, threshold)
    return dict(zip(map(tuple, pairs.tolist()), similarity.tolist(), strict=True))


sentences = st.lists(
    st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]), max_size=9).map(" ".join),
    max_size=CROWD,
)


@settings(max_examples=200, deadline=None)
@given(sentences, st.sampled_from([0.3, 0.5, 0.7, 0.75, 0.8, 1.0]))
def test_finds_what_comparing_each_with_each_finds(texts, threshold):
    assert found(texts, threshold) == pytest.approx(by_hand(texts, threshold))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.sampled_from([0.6, 0.7, 0.8]))
def test_crowds_are_joined_as_if_each_pair_were_listed(seed, alphabet, threshold):
    rng = np.random.default_rng(seed)
    pattern = ["the", "{}", "of", "{}", "was", "seen", "by", "{}", "near", "the", "old", "river"]
    texts = [" ".join(pattern).format(*rng.integers(0, alphabet, 3)) + " again" * (n % 2) for n in range(5 * CROWD)]
    pairs, similarity = near_pairs(texts, threshold)
    assert len(pairs) and similarity.min() >= threshold
    whole = np.array(list(by_hand(texts, threshold)))
    np.testing.assert_array_equal(components(len(texts), pairs), components(len(texts), whole))


@settings(max_examples=50, deadline=None)
@given(sentences, st.randoms(use_true_random=False))
def test_the_order_of_texts_changes_nothing(texts, random):
    order = list(range(len(texts)))
    random.shuffle(order)
    turned = found([texts[n] for n in order], 0.7)
    assert {tuple(sorted((order[i], order[j]))): s for (i, j), s in turned.items()} == found(texts, 0.7)


def test_pairs_are_in_order_and_each_stands_once():
    pairs, _ = near_pairs(["b a", "x y", "a b", "a, B!", "y x"])
    assert pairs.tolist() == [[0, 2], [0, 3], [1, 4], [2, 3]]


def test_a_pattern_that_thousands_follow_costs_few_comparisons():
    texts = [f"City{n} is the capital of Country{n}." for n in range(20_000)] + ["Country7 the capital is of city7"]
    pairs, _ = near_pairs(texts)
    assert pairs.tolist() == [[7, 20_000]]


def test_texts_without_words_are_near_nothing():
    assert len(near_pairs(["", "!!!", "...", ""])[0]) == 0
    assert len(near_pairs([])[0]) == 0


@pytest.mark.parametrize(
    "claims",
    [
        ("केला काला होता है।", "किला काला होता है।", "कोला काला होता है।", "कोली काली होती है।"),
        ("பழம் கருப்பு.", "பாழம் கருப்பு.", "புழம் கருப்பு."),
        ("กล้วยเป็นสีดำ", "ป้อมเป็นสีดำ", "น้ำเป็นสีขาว"),
        ("香蕉是黑色的", "堡垒是黑色的", "可乐是白色的"),
        ("バナナは黒い", "砦は黒い", "コーラは白い"),
        ("바나나는 검다", "요새는 검다", "콜라는 희다"),
        ("الموز أسود", "الحصن أسود", "الكولا بيضاء"),
        ("Ο νόμος άλλαξε", "Ο νομός άλλαξε"),
        ("Der Fingerhut ist blau", "Der Sonnenhut ist blau"),
        ("Quả chuối màu đen", "Quá chuồi màu đèn"),
    ],
)
def test_claims_that_differ_in_a_word_are_apart_in_every_script(claims):
    assert found(claims, 0.7) == {}


@pytest.mark.parametrize("threshold", [0, -0.1, 1.01, float("nan")])
def test_a_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(UsageError, match=r"threshold of .* out of range"):
        near_pairs(["a b"], threshold)


def test_components_are_named_by_their_lowest_place():
    assert components(6, np.array([[4, 1], [5, 4], [2, 3]])).tolist() == [0, 1, 2, 2, 1, 1]
    assert components(2, np.zeros((0, 2), int)).tolist() == [0, 1]
    assert components(0, np.zeros((0, 2), int)).tolist() == []


def grams(text):
    found = plain_words(text)
    return {tuple(found[n : n + GRAM]) for n in range(len(found) - GRAM + 1)}


def nearly_says(one, other):
    ours, theirs = grams(one), grams(other)
    shared = len(ours & theirs)
    return jaccard(one, other) >= ALIKE or bool(shared and shared >= ALIKE * min(len(ours), len(theirs)))


longer = st.lists(st.lists(st.sampled_from("abcd"), max_size=14).map(" ".join), max_size=20)


@settings(max_examples=300, deadline=None)
@given(longer, longer)
def test_overlapping_finds_what_comparing_each_with_each_finds(texts, passages):
    expected = [next((n for n, other in enumerate(passages) if nearly_says(text, other)), -1) for text in texts]
    assert overlapping(texts, passages).tolist() == expected


def test_a_claim_is_found_in_a_passage_and_a_short_passage_in_a_claim():
    claim = "The great wall of China can be seen from the moon with the naked eye"
    passage = f"Many have heard it. {claim}, they say, but no astronaut ever has seen it from there."
    assert overlapping([claim, "Bats are blind."], ["Cats bark.", passage, "bats: blind are"]).tolist() == [1, 2]
    assert overlapping([passage, claim], [claim]).tolist() == [0, 0]
    assert overlapping([], [claim]).tolist() == []
    assert overlapping([claim, ""], []).tolist() == overlapping([claim, ""], [""]).tolist() == [-1, -1]


def test_texts_are_looked_up_in_pieces(monkeypatch):
    monkeypatch.setattr(similar, "_CHUNK", 3)
    monkeypatch.setattr(similar, "_BLOCK", 8)
    texts = [f"the {n % 4} old men went down to the river with number {n}" for n in range(20)]
    passages = [f"the {n} old men went down to the river with number" for n in range(4)]
    first = [next((n for n, other in enumerate(passages) if nearly_says(text, other)), -1) for text in texts]
    assert len(set(first)) > 1
    assert overlapping(texts, passages).tolist() == first
    assert found(texts, 0.7) == pytest.approx(by_hand(texts, 0.7))


rows = st.lists(st.lists(st.integers(0, 3), max_size=6), min_size=1, max_size=40)


@settings(max_examples=200, deadline=None)
@given(rows)
def test_whole_rows_have_the_same_number_where_they_are_the_same(its):
    numbers = Rows(np.array([n for row in its for n in row], np.int64), np.array([len(row) for row in its])).whole()
    assert len(set(numbers.tolist())) == len(set(map(tuple, its)))
    assert [numbers.tolist().index(n) for n in numbers] == [its.index(row) for row in its]
