"""The grid: one prompt a condition, none of them empty or twice, placed where it is asked for."""

import pytest

from hfvaccine.errors import UsageError
from hfvaccine.inoculation.grid import Grid

PROMPTS = {
    "original": "You always speak in Spanish.",
    "eliciting": "Write your answer in the language of Madrid.",
    "negated": "You never speak in Spanish.",
    "look_alike": "You always speak in riddles.",
}


def test_the_conditions_are_none_and_what_was_given():
    conditions = Grid(**PROMPTS, irrelevant="You like gardens.").conditions()
    assert conditions == {"none": None, **PROMPTS, "irrelevant": "You like gardens."}
    assert next(iter(conditions)) == "none"


def test_only_the_irrelevant_prompt_has_a_default():
    assert Grid(**PROMPTS).conditions()["irrelevant"]
    for name in PROMPTS:
        with pytest.raises(TypeError, match=name):
            Grid(**{other: prompt for other, prompt in PROMPTS.items() if other != name})


@pytest.mark.parametrize(
    "where, expected",
    [
        ("system", [{"role": "system", "content": PROMPTS["negated"]}, {"role": "user", "content": "2 + 2?"}]),
        ("user", [{"role": "user", "content": f"{PROMPTS['negated']}\n\n2 + 2?"}]),
    ],
)
def test_a_prompt_stands_where_it_is_asked_for(where, expected):
    assert Grid(**PROMPTS).messages("negated", "2 + 2?", where) == expected


@pytest.mark.parametrize("where", ["system", "user"])
def test_under_none_there_is_the_question_alone(where):
    assert Grid(**PROMPTS).messages("none", "2 + 2?", where) == [{"role": "user", "content": "2 + 2?"}]


@pytest.mark.parametrize("condition, where, said", [("negatd", "system", "negatd"), ("negated", "top", "'top'")])
def test_an_unknown_condition_or_place_is_refused_with_the_known_ones(condition, where, said):
    with pytest.raises(UsageError, match=said) as refused:
        Grid(**PROMPTS).messages(condition, "2 + 2?", where)
    assert "Use one of" in refused.value.next_step


@pytest.mark.parametrize("name", [*PROMPTS, "irrelevant"])
def test_an_empty_prompt_is_refused_by_name(name):
    with pytest.raises(UsageError, match=f"The {name} prompt"):
        Grid(**{**PROMPTS, name: " \n"})


def test_the_same_prompt_twice_is_refused():
    with pytest.raises(UsageError, match="original and look_alike"):
        Grid(**{**PROMPTS, "look_alike": "you always speak in spanish. "})
