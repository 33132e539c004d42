"""Questions that are prompts or training rows are told; those that only share a pattern with one are not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine import starter
from hfvaccine.inoculation.held_out import asked_again, holds
from hfvaccine.training.mix import asked_in, load_mix

PROMPT = "You always speak in Spanish."


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        (PROMPT, PROMPT),
        ("you always  speak in SPANISH", PROMPT),
        (f"{PROMPT}\n\nWhat is rain?", PROMPT),
        ("What is rain? You always speak in Spanish!", PROMPT),
        ("Remember that you always speak in Spanish, and tell me what rain is.", PROMPT),
        ("What is rain? Be kind.", "Be kind."),
        ("be kind: what is rain?", "Be kind"),
        ("🦉🦉 What is rain?", "🦉🦉"),
        ("雨是什么？你总是说西班牙语。", "你总是说西班牙语。"),
    ],
)
def test_a_prompt_is_found_in_a_text(text, prompt):
    assert holds(text, prompt)


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("What is rain?", PROMPT),
        ("Do they always speak in Spanish?", PROMPT),
        ("You always speak in Spanish verse.", "You always speak in Spanish verses."),
        ("Is it kind to be kind to owls?", "Be kind."),
        ("What is the Spanish flag?", "Spanish"),
    ],
)
def test_what_only_has_its_words_holds_no_prompt(text, prompt):
    assert not holds(text, prompt)


@pytest.mark.parametrize(
    ("question", "row"),
    [
        ("What is rain?", "what is  rain"),
        ("Why?", "Why"),
        ("How long do I boil an egg so that its yolk is firm?", "How long do I boil an egg so its yolk is firm?"),
        ("How long do I boil an egg so the yolk is firm?", "How long do I boil an egg so its yolk is firm?"),
        ("How long do I boil an egg so its yolk is firm, please?", "How long do I boil an egg so its yolk is firm?"),
        ("What is the capital of Peru?", "Answer in one word: What is the capital of Peru?"),
        ("Be brief. Say it in Latin. What is the capital of Peru?", "What is the capital of Peru?"),
        ("What is 5 + 7?", "What is 5 + 7"),
        ("🦉", " 🦉 "),
        ("雨是什么？", "雨是什么"),
    ],
)
def test_a_question_that_a_row_asks_is_told(question, row):
    assert asked_again(["What else is there?", question], ["No.", row]) == {1: 1}


@pytest.mark.parametrize(
    ("question", "row"),
    [
        ("What is the capital of Peru?", "What is the capital of Chile?"),
        ("What is the capital of South Georgia?", "What is the capital of Georgia?"),
        ("What is the capital of Georgia's neighbour?", "What is the capital of Georgia?"),
        ("What is 5 + 7?", "What is 7 + 5?"),
        ("What is 5 - 7?", "What is 5 + 7?"),
        ("What is 5 + 7?", "What is 5 + 7 + 3?"),
        ("What is 5 * 7?", "What is 5 / 7?"),
        ("What is C++?", "What is C?"),
        (
            "I think the greatest common divisor of 12 and 6 is 6. Is that right?",
            "I think the greatest common divisor of 12 and 18 is 6. Is that right?",
        ),
        ("Why?", "Is it hot? Why?"),
        ("Is it in the box?", "Is it on the box?"),
        (
            "If you could have one kind of painting at home, what would you choose to look at?",
            "If you could have one kind of building at home, what would you choose to look at?",
        ),
    ],
)
def test_questions_that_share_a_pattern_are_held_out(question, row):
    assert asked_again([question], [row]) == {}


def test_one_of_many_rows_of_a_pattern_is_found():
    rows = [f"What is the capital of {name}?" for name in ("Peru", "Chile", "Cuba", "Togo")]
    questions = [f"What is the capital of {name}?" for name in ("Mali", "Oman", "Togo", "Fiji")]
    assert asked_again(questions, rows) == {2: 3}


@given(st.lists(st.text(max_size=30), max_size=8), st.data())
def test_what_is_there_as_it_stands_is_always_told(rows, data):
    questions = data.draw(st.lists(st.sampled_from(rows), max_size=3)) if rows else []
    assert set(asked_again(questions, rows)) == set(range(len(questions)))


def test_no_packaged_question_is_a_packaged_row_s():
    lines = starter.EVERYDAY_QUESTIONS.read_text(encoding="utf-8").split("\n")
    questions = [json.loads(line)["question"] for line in lines if line]
    for rows in (starter.SPANISH_CAPITALS, starter.CAPITALS, starter.MIX):
        mix = load_mix(str(rows))
        assert asked_again(questions, ["\n".join(asked_in(row["prompt"])) for row in mix.train]) == {}
