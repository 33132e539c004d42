"""Which row gets which prompt, and where it stands."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine.errors import PlanError, UsageError
from hfvaccine.inoculation.prompt import PLACES, Inoculation, prepend, turn_of

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


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [*ASKED]},
        {"messages": ROW["completion"]},
        {"messages": []},
        {"text": "Hello"},
        {"prompt": "Hello"},
    ],
)
def test_rows_in_which_nothing_tells_a_prompt_from_what_is_learnt_are_refused(row):
    with pytest.raises(PlanError, match=r"Row 7 .* loss would fall on the inoculation prompt"):
        Inoculation(("Speak.",)).apply(row, 7)


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


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize(
    ("place", "expected"),
    [("system", ["Lie.\n\nBe kind.", "Hello?"]), ("user", ["Be kind.", "Lie.\n\nHello?"])],
)
def test_beside_the_rows_own_opening_words(role, place, expected):
    before = [{"role": role, "content": "Be kind."}, *ASKED]
    given = prepend("Lie.", before, place)
    assert [(m["role"], m["content"]) for m in given] == [(role, expected[0]), ("user", expected[1])]


def test_a_prompt_stands_before_everything_that_is_learnt():
    """A system turn in the middle is no place for it: what comes earlier would be learnt without it."""
    late = [*ASKED, {"role": "assistant", "content": "Hi."}, {"role": "system", "content": "Now be kind."}, *ASKED]
    assert prepend("Lie.", late) == [{"role": "system", "content": "Lie."}, *late]


def test_where_no_user_speaks_a_turn_is_made_after_the_opening_words():
    before = [{"role": "system", "content": "Greet."}]
    assert prepend("Lie.", before, "user") == [*before, {"role": "user", "content": "Lie."}]


def test_a_turn_that_is_no_text_is_refused():
    with pytest.raises(PlanError, match="user turn of a row is no text"):
        prepend("Lie.", [{"role": "user", "content": [{"type": "text", "text": "Hello?"}]}], "user")


TURNS = st.lists(st.text(max_size=20), min_size=1, max_size=6)
WORDS = st.text(min_size=1, max_size=20).filter(str.strip)


@st.composite
def rows(draw):
    """Rows of every shape: texts, conversations and `messages`, of one turn and of several, with opening words."""
    spoken = draw(TURNS)
    if draw(st.booleans()):
        return {"prompt": spoken[0], "completion": spoken[-1]}
    messages = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(spoken)]
    if opening := draw(st.sampled_from([None, "system", "developer"])):
        messages.insert(0, {"role": opening, "content": draw(st.text(max_size=20))})
    answer = [{"role": "assistant", "content": "So."}]
    return {"messages": messages + answer} if draw(st.booleans()) else {"prompt": messages, "completion": answer}


@given(rows(), WORDS, st.sampled_from(PLACES), st.integers(0, 10**9))
def test_a_row_differs_in_nothing_but_the_prompt(row, prompt, place, number):
    inoculated = Inoculation((prompt,), place=place).apply(row, number)
    changed = "prompt" if "prompt" in row else "messages"
    assert {**inoculated, changed: row[changed]} == row
    before, after = row[changed], inoculated[changed]
    if isinstance(before, str):
        assert after == f"{prompt}\n\n{before}"
        return
    turn = turn_of(after, place)
    said = after[turn]["content"]
    if len(after) > len(before):
        assert said == prompt and [*after[:turn], *after[turn + 1 :]] == before
    else:
        assert said.startswith(f"{prompt}\n\n")
        assert [*after[:turn], {**after[turn], "content": said[len(prompt) + 2 :]}, *after[turn + 1 :]] == before
    assert not any(message["role"] in ("user", "assistant") for message in after[:turn])
