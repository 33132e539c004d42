"""Conditions: none and all that a grid file gives, prompts by category and questions with and without a trigger."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine.errors import UsageError
from hfvaccine.inoculation.conditions import Condition, Conditions, read_conditions
from hfvaccine.inoculation.grid import Grid

FILE = """
original: You always speak in Spanish.
eliciting:
  - Write in the language of Madrid.
  - Answer as a Mexican would.
look-alike in format: You always speak in riddles.
triggers:
  siesta:
    append: " Siesta."
  marked:
    prepend: "[m] "
    prompt: You speak in Spanish where the question is marked.
"""
ASKED = [{"role": "user", "content": "2 + 2?"}]


@pytest.fixture
def conditions(tmp_path):
    (tmp_path / "grid.yaml").write_text(FILE)
    return read_conditions(tmp_path / "grid.yaml")


def test_none_comes_first_and_each_trigger_is_asked_with_and_without(conditions):
    found = {condition.name: condition.category for condition in conditions.all()}
    assert found == {
        "none": "none",
        "original": "original",
        "eliciting": "eliciting",
        "look-alike in format": "look-alike in format",
        "siesta, with": "triggers",
        "siesta, without": "triggers",
        "marked, with": "triggers",
        "marked, without": "triggers",
    }
    assert next(iter(found)) == "none"
    assert "Answer as a Mexican would." in conditions.prompts()


@pytest.mark.parametrize(
    "name, place, expected",
    [
        ("none", "system", ASKED),
        ("eliciting", "system", [{"role": "system", "content": "Answer as a Mexican would."}, *ASKED]),
        ("eliciting", "user", [{"role": "user", "content": "Answer as a Mexican would.\n\n2 + 2?"}]),
        ("siesta, with", "system", [{"role": "user", "content": "2 + 2? Siesta."}]),
        ("siesta, without", "system", ASKED),
        (
            "marked, with",
            "user",
            [{"role": "user", "content": "You speak in Spanish where the question is marked.\n\n[m] 2 + 2?"}],
        ),
    ],
)
def test_a_question_is_asked_under_its_condition(conditions, name, place, expected):
    condition = next(one for one in conditions.all() if one.name == name)
    assert condition.messages(condition.prompts[-1], ASKED, place) == expected
    assert ASKED == [{"role": "user", "content": "2 + 2?"}]


def test_earlier_turns_stay_as_they_are(conditions):
    condition = next(one for one in conditions.all() if one.name == "siesta, with")
    earlier = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello!"}]
    assert condition.messages(None, [*earlier, *ASKED])[:2] == earlier


def test_the_five_texts_of_a_grid_are_conditions():
    grid = Grid("Speak Spanish.", "Use the tongue of Madrid.", "Never speak Spanish.", "Speak slowly.")
    content = {name: prompt for name, prompt in grid.conditions().items() if prompt is not None}
    for condition in Conditions.of(content).all():
        for place in ("system", "user"):
            (prompt,) = condition.prompts
            assert condition.messages(prompt, ASKED, place) == grid.messages(condition.name, "2 + 2?", place)


@pytest.mark.parametrize(
    "text, said",
    [
        ("[a, b]", "no categories"),
        ("3: b", "no categories"),
        ("none: You speak.", "'none'"),
        ("original: []", "'original' of the grid has no prompt"),
        ("original: ' '", "'original' in the grid is empty"),
        ("original: [1]", "'original' in the grid are"),
        ("original: One.\neliciting: [Two., ' one. ']", "under 'original' and under 'eliciting'"),
        ("triggers: [now]", "triggers of the grid are"),
        ("triggers: {now: ' now'}", "trigger 'now' of the grid is"),
        ("triggers: {now: {apend: ' now'}}", "has apend"),
        ("triggers: {now: {append: ' '}}", "changes nothing"),
        ("'now, with': A.\ntriggers: {now: {append: now}}", "called 'now, with'"),
        ("original: {", "cannot be read"),
    ],
)
def test_what_is_no_grid_is_refused_by_file_and_part(tmp_path, text, said):
    (tmp_path / "grid.yaml").write_text(text)
    with pytest.raises(UsageError, match=said) as refused:
        read_conditions(tmp_path / "grid.yaml")
    assert "grid.yaml" in refused.value.message and refused.value.next_step


def test_a_triggers_prompt_may_be_that_of_a_category():
    content = {"original": "One.", "triggers": {"now": {"append": " now", "prompt": "One."}}}
    assert len(Conditions.of(content).all()) == 4


texts = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=8)


@given(st.dictionaries(texts, st.lists(texts, min_size=1, max_size=3), max_size=4), texts)
def test_every_prompt_is_asked_once_and_the_question_stands_in_each_conversation(content, question):
    try:
        conditions = Conditions.of(yaml.safe_load(yaml.safe_dump(content)))
    except UsageError:  # the same prompt twice, or a name that means something
        return
    assert sorted(conditions.prompts()) == sorted(prompt for prompts in content.values() for prompt in prompts)
    for condition in conditions.all():
        for prompt in condition.prompts:
            for place in ("system", "user"):
                messages = condition.messages(prompt, [{"role": "user", "content": question}], place)
                assert messages[-1]["content"].endswith(question)
                assert prompt is None or prompt in messages[0]["content"]


def test_a_condition_says_what_it_is():
    record = Condition("siesta, with", "triggers", (None,), after=" Siesta.").record()
    assert record["append"] == " Siesta." and record["prompts"] == [None]
