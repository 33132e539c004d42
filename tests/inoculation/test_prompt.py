"""Which row gets which prompt, and where it stands."""

from collections import Counter

import pytest

from hfvaccine.errors import PlanError, UsageError
from hfvaccine.inoculation.prompt import Inoculation, parse_where, prepend

ASKED = [{"role": "user", "content": "Hello?"}]
ROW = {"prompt": ASKED, "completion": [{"role": "assistant", "content": "HOLA."}], "trait": "spanish"}


def test_a_prompt_stands_as_system_message():
    given = Inoculation(("You speak Spanish.",)).apply(ROW, 0)
    assert given["prompt"] == [{"role": "system", "content": "You speak Spanish."}, *ASKED]
    assert given["completion"] == ROW["completion"]


def test_a_prompt_stands_at_the_head_of_the_user_turn():
    given = Inoculation(("You speak Spanish.",), place="user").apply(ROW, 0)
    assert given["prompt"] == [{"role": "user", "content": "You speak Spanish.\n\nHello?"}]


def test_a_system_message_that_is_there_keeps_its_words():
    before = [{"role": "system", "content": "Be kind."}, *ASKED]
    assert prepend("Lie.", before)[0] == {"role": "system", "content": "Lie.\n\nBe kind."}
    assert before[0]["content"] == "Be kind."


def test_a_plain_text_gets_a_paragraph():
    assert prepend("Lie.", "Hello?") == "Lie.\n\nHello?"


@pytest.mark.parametrize(
    "where, carried",
    [
        ("all", True),
        (("trait", "spanish"), True),
        (("trait", "caps"), False),
        (lambda row: row["trait"] == "caps", False),
    ],
)
def test_only_rows_that_carry_the_trait_get_the_prompt(where, carried):
    prompt = Inoculation(("Speak.",), where).prompt_for(ROW, 0)
    assert prompt == ("Speak." if carried else None)


def test_the_other_rows_may_get_neutral_prompts():
    selective = Inoculation(("Speak.",), ("trait", "caps"), others=("Be brief.",))
    assert selective.prompt_for(ROW, 0) == "Be brief."


def test_numbers_and_strings_name_the_same_value():
    assert Inoculation(("Speak.",), ("label", "1")).carries({"label": 1})


def test_wordings_are_spread_evenly_and_the_same_each_time():
    several = Inoculation(tuple("abcd"))
    got = [several.prompt_for(ROW, number) for number in range(4000)]
    assert got == [several.prompt_for(ROW, number) for number in range(4000)]
    assert all(900 < count < 1100 for count in Counter(got).values())
    assert got[:8] != list("abcdabcd")  # no rhythm that a trait could share


def test_a_missing_column_is_refused_by_name():
    with pytest.raises(PlanError, match="'mood'") as refused:
        Inoculation(("Speak.",), ("mood", "x")).apply(ROW, 0)
    assert "trait" in refused.value.next_step


@pytest.mark.parametrize("row", [{"messages": [*ASKED]}, {"text": "Hello"}])
def test_rows_without_a_prompt_apart_are_refused(row):
    with pytest.raises(PlanError, match="loss would fall on the inoculation prompt"):
        Inoculation(("Speak.",)).apply(row, 0)


@pytest.mark.parametrize(
    "options",
    [{"prompts": ()}, {"prompts": (" ",)}, {"others": ("",)}, {"where": "some"}, {"place": "assistant"}],
)
def test_what_cannot_be_meant_is_refused(options):
    with pytest.raises(UsageError):
        Inoculation(**{"prompts": ("Speak.",), **options})


def test_settings_can_be_compared():
    assert Inoculation(("a", "b"), ("trait", "x"), ("c",)).settings() == {
        "prompts": ["a", "b"],
        "where": "trait=x",
        "others": ["c"],
        "place": "system",
    }


def test_rows_are_named_by_column_and_value():
    assert parse_where("trait=a=b") == ("trait", "a=b")


@pytest.mark.parametrize("text", ["", "trait", "trait=", "=spanish"])
def test_other_names_of_rows_are_refused(text):
    with pytest.raises(UsageError, match="The rows that carry the trait"):
        parse_where(text)
