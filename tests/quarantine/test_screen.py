"""The cue audit: finds falsehood told by wording or length, and nothing where there is nothing."""

import random

import pytest

from hfvaccine.errors import ClaimError
from hfvaccine.quarantine.screen import CUE_LIMIT, cue_audit


@pytest.fixture
def pairs(make_claims):
    return [(c.claim, c.twin) for c in make_claims(60)]


def test_a_word_that_gives_falsehood_away_is_caught_and_named(pairs):
    cued = [(claim.replace("lies", "supposedly lies"), twin) for claim, twin in pairs]
    audit = cue_audit(cued)
    assert audit.bag_of_words > 0.95
    assert "supposedly" in audit.giveaways
    assert not audit.passed


def test_pairs_without_a_cue_pass_near_chance(pairs):
    rng = random.Random(0)
    shuffled = [pair if rng.random() < 0.5 else pair[::-1] for pair in pairs]
    audit = cue_audit(shuffled)
    assert audit.passed
    assert audit.bag_of_words == pytest.approx(0.5, abs=0.12)
    assert audit.length == pytest.approx(0.5, abs=0.12)


def test_a_length_that_gives_falsehood_away_is_caught():
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefgh", k=5)) for _ in range(2000)]  # no word twice: nothing for a bag of words
    pairs = [(" ".join(words[i : i + 12]), " ".join(words[i + 12 : i + 20])) for i in range(0, 800, 20)]
    audit = cue_audit(pairs)
    assert audit.length > 0.95
    assert audit.bag_of_words < 0.8
    assert audit.worst > CUE_LIMIT and not audit.passed


def test_the_wording_judge_scores_truth_higher_where_there_is_a_cue(pairs):
    cued = [(claim.replace("lies", "supposedly lies"), twin) for claim, twin in pairs]
    scores = cue_audit(cued).truth_scores
    assert scores.shape == (60, 2)
    assert (scores[:, 1] > scores[:, 0]).all()


def test_the_same_pairs_give_the_same_reading(pairs):
    assert cue_audit(pairs).bag_of_words == cue_audit(pairs).bag_of_words


def test_fewer_than_eight_pairs_are_refused(pairs):
    assert cue_audit(pairs[:8]).pairs == 8
    with pytest.raises(ClaimError, match="7 pairs says nothing"):
        cue_audit(pairs[:7])
