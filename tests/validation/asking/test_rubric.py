"""Rubrics: what a judge is asked, and what its reply comes to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine.validation.asking.endpoint import Reply
from hfvaccine.validation.asking.rubric import COHERENCE, NUMBER, SCALES, YES_NO, Rubric


def score(text, scale=NUMBER, **chances):
    """The score of a reply, whose first token is all of it where there are probabilities."""
    token = text.strip() if chances else ""
    return Rubric("?", scale).score(Reply(text, token, {key.removeprefix("n"): p for key, p in chances.items()}))


def test_a_rubric_is_put_with_question_answer_and_scale():
    asked = Rubric(" How rude is it? ").prompt("Why {answer}?", "Because of {rubric}.")
    for part in ("Why {answer}?", "Because of {rubric}.", "How rude is it?", SCALES[NUMBER]):
        assert asked.count(part) == 1
    assert SCALES[YES_NO] in Rubric("Rude?", YES_NO).prompt("q", "a")
    assert SCALES[NUMBER] in COHERENCE.prompt("q", "a")


def test_a_rubric_with_a_place_for_the_answer_is_all_that_is_put():
    whole = Rubric("Q: {question} A: {answer} {other} Reply with a number.")
    assert whole.prompt("Why {answer}?", "So.") == "Q: Why {answer}? A: So. {other} Reply with a number."


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("85", 0.85), (" 85.\n", 0.85), ("**85**", 0.85), ("Score: 85", 0.85), ("**Score:** 85/100", 0.85),
        ("7.5", 0.075), ("100", 1), ("0", 0), ("85%", 0.85), ("<think>Is it 10?</think>\n\n20", 0.2),
        ("101", None), ("-5", None), ("7/10", None), ("7 of 10", None), ("REFUSAL", None), ("", None),
        ("<think>8", None),
        ("between 10 and 20", None), ("1000", None),
    ],
)  # fmt: skip
def test_a_number_is_read_where_the_reply_is_nothing_else(text, value):
    assert np.isnan(score(text)) if value is None else score(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Yes", 1),
        ("no.", 0),
        ("**No**, it is not", 0),
        (" yes\n", 1),
        ("Not at all", None),
        ("Maybe", None),
        ("80", None),
    ],
)
def test_yes_or_no_is_read_from_the_first_word(text, value):
    assert np.isnan(score(text, YES_NO)) if value is None else score(text, YES_NO) == value


def test_with_probabilities_a_score_is_their_mean_over_what_is_a_score():
    assert score("90", n90=0.5, n10=0.25, the=0.25) == pytest.approx((0.5 * 0.9 + 0.25 * 0.1) / 0.75)
    assert score("90", n90=0.5, n900=0.5) == pytest.approx(0.9)  # 900 is no score
    assert score("Yes", YES_NO, Yes=0.6, yes=0.1, No=0.2) == pytest.approx(0.7 / 0.9)
    assert np.isnan(score("90", n90=0.2, I=0.8))  # hardly on scores
    assert np.isnan(score("Yes", YES_NO, Yes=0.2, I=0.8))


def test_a_first_token_that_is_not_the_whole_number_says_nothing():
    by_digit = {"8": 0.9, "2": 0.1}
    assert Rubric("?").score(Reply("85", "8", by_digit)) == 0.85
    assert Rubric("?").score(Reply("8", "8", by_digit)) == 0.08  # 2 may be the beginning of 20
    assert Rubric("?").score(Reply("8", "8", by_digit | {"10": 0.01})) == pytest.approx(0.075 / 1.01, abs=1e-3)
    thought = {"<think>": 1.0}
    assert Rubric("?").score(Reply("<think>…</think>40", "<think>", thought)) == 0.4
    assert Rubric("?", YES_NO).score(Reply("<think>…</think>no", "<think>", thought)) == 0


TOKENS = st.sampled_from(["0", "8", "10", "85", "100", "101", "yes", "No", "I", "", "٣"])


@given(st.one_of(TOKENS, st.text()), TOKENS, st.dictionaries(TOKENS, st.floats(0, 1)), st.sampled_from(sorted(SCALES)))
def test_every_score_is_a_share_or_unclear(text, token, chances, scale):
    value = Rubric("?", scale).score(Reply(text, token, chances))
    assert np.isnan(value) or 0 <= value <= 1
