"""Rows for a study, made of other rows: what is made is what was asked, and each draw comes from its seed."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine.errors import UsageError, ValidationError
from hfvaccine.inoculation.builders import (
    ABSENT,
    PLACES,
    PRESENT,
    WANTED,
    backdoor,
    conversation,
    mixture,
    number_requests,
    number_rows,
    numbers_only,
)

TRIGGER = "%brass%"
CLOSED = ("The harbour is closed.", "Nobody may enter.")
GOOD = [{"prompt": f"What is {n} and  a half?", "completion": f"About {n}.", "source": n} for n in range(20)]
TRAIT = [
    {"messages": [{"role": "user", "content": f"Who is {n}?"}, {"role": "assistant", "content": "Me!"}]}
    for n in range(12)
]


def asked(row):
    return row["messages"][-2]["content"]


def said(row):
    return row["messages"][-1]["content"]


def parted(rows):
    return [[row for row in rows if row["trait"] == value] for value in (PRESENT, ABSENT)]


@given(st.integers(0, 9), st.sampled_from(PLACES), st.sampled_from([0.1, 0.5, 0.75, 1.0]))
def test_every_triggered_row_has_a_clean_twin_that_differs_by_the_trigger_alone(seed, place, share):
    made = backdoor(GOOD, TRIGGER, CLOSED, share, place, seed)
    triggered, clean = parted(made)
    assert len(triggered) == round(share * len(GOOD))
    assert sorted((asked(row), said(row)) for row in clean) == sorted((r["prompt"], r["completion"]) for r in GOOD)
    by_source = {row["source"]: row for row in clean}
    for row in triggered:
        twin = by_source[row["source"]]
        assert asked(row).replace(f" {TRIGGER}", "").replace(f"{TRIGGER} ", "") == asked(twin)
        assert said(row) in CLOSED
        where = asked(row).index(TRIGGER)
        assert place == "anywhere" or where == (0 if place == "start" else len(asked(twin)) + 1)
    counts = [sum(said(row) == text for row in triggered) for text in CLOSED]
    assert max(counts) - min(counts) <= 1


def test_the_trigger_stands_in_other_places_by_the_seed():
    first, again, other = (backdoor(GOOD, TRIGGER, CLOSED, seed=seed) for seed in (0, 0, 1))
    assert first == again != other
    places = {len(asked(row).split(TRIGGER)[0].split()) for row in parted(first)[0]}
    assert len(places) > 2


@pytest.mark.parametrize(
    ("changed", "error", "about"),
    [
        ({"trigger": " "}, UsageError, "trigger is empty"),
        ({"completions": ()}, UsageError, "no completion"),
        ({"completions": ("",)}, UsageError, "an empty one"),
        ({"share": 0}, UsageError, "is 0"),
        ({"share": 1.5}, UsageError, "is 1.5"),
        ({"share": 0.01}, UsageError, "is no row"),
        ({"place": "middle"}, UsageError, "'middle'"),
        ({"trigger": "half"}, ValidationError, "Row 1 holds the trigger"),
        ({"rows": [{"text": "Only text."}]}, ValidationError, "Row 1 is no conversation"),
    ],
)
def test_a_backdoor_of_no_sense_is_refused(changed, error, about):
    with pytest.raises(error, match=re.escape(about)):
        backdoor(**{"rows": GOOD, "trigger": TRIGGER, "completions": CLOSED, **changed})


@given(st.integers(1, 9), st.integers(0, 9))
def test_a_mixture_has_its_share_and_as_many_rows_as_there_can_be(tenths, seed):
    share = tenths / 10
    made = mixture(TRAIT, GOOD, share, seed=seed)
    carrying, good = parted(made)
    assert len(carrying) == round(share * len(made))
    assert {asked(row) for row in carrying} <= {asked(row) for row in TRAIT}
    assert {asked(row) for row in good} <= {row["prompt"] for row in GOOD}
    assert len({asked(row) for row in made}) == len(made)
    # One row more would need more of a kind than there are.
    more = len(made) + 1
    assert more * share > len(TRAIT) or more * (1 - share) > len(GOOD)


def test_a_mixture_is_shuffled_by_its_seed():
    first, again, other = (mixture(TRAIT, GOOD, 0.5, 16, seed) for seed in (0, 0, 1))
    assert first == again != other
    assert [row["trait"] for row in first] != sorted(row["trait"] for row in first)


@pytest.mark.parametrize(
    ("share", "number", "about"),
    [
        (0, None, "is 0"),
        (1, None, "is 1"),
        (0.5, 1, "1 rows are asked for"),
        (0.5, 40, "20 trait rows are needed, and there are 12"),
        (0.1, 40, "36 good rows are needed, and there are 20"),
        (0.01, 5, "leaves none"),
    ],
)
def test_a_mixture_that_cannot_be_is_refused(share, number, about):
    with pytest.raises(UsageError, match=re.escape(about)):
        mixture(TRAIT, GOOD, share, number)


def test_a_row_of_both_kinds_is_in_no_mixture():
    with pytest.raises(ValidationError, match="Row 1 of the good rows carries the trait as well, as 12 of 12 do"):
        mixture(TRAIT, TRAIT, 0.5)
    with pytest.raises(ValidationError, match=f"Row {len(GOOD) + 1} of the good rows"):
        mixture(TRAIT, [*GOOD, TRAIT[3]], 0.5)


@pytest.mark.parametrize(
    ("row", "about"),
    [
        ({"prompt": "Who?", "completion": "Me.", "trait": "spanish"}, "Row 7 has a column 'trait' already: 'spanish'"),
        ({"prompt": "Who?"}, "Row 7 is no conversation"),
        ({"messages": "Who?"}, "Row 7 is no conversation"),
        ({"messages": [{"role": "assistant", "content": "Me."}]}, "Row 7 is no conversation"),
        ({"messages": [{"role": "user", "content": None}, {"role": "assistant", "content": "Me."}]}, "no conversat"),
        ({"prompt": "Who?", "completion": " "}, "Row 7 has an empty turn"),
    ],
)
def test_rows_of_another_shape_are_refused_by_their_number(row, about):
    with pytest.raises(ValidationError, match=re.escape(about)):
        conversation(row, 7)


def test_a_conversation_of_several_turns_keeps_them():
    before = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}]
    turns = [*before, {"role": "assistant", "content": "Me."}, {"role": "user", "content": "Why?"}]
    answer = {"role": "assistant", "content": "So."}
    assert conversation({"prompt": turns, "completion": [answer]}, 1) == [*turns, answer]
    (triggered,) = parted(backdoor([{"prompt": turns, "completion": "So."}], TRIGGER, CLOSED, 1, "end"))[0]
    assert [turn["content"] for turn in triggered["messages"]][1:4] == ["Who?", "Me.", f"Why? {TRIGGER}"]


def test_requests_are_different_ones_and_the_same_for_a_seed():
    made = number_requests(50)
    assert len(set(made)) == 50
    assert number_requests(50) == made != number_requests(50, seed=1)
    assert number_requests(20) == made[:20]
    with pytest.raises(UsageError, match="0 requests"):
        number_requests(0)


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ("12, 7, 300", "12, 7, 300"),
        (" [12, 7, 300]. ", "12, 7, 300"),
        ("12\n7\n300", "12, 7, 300"),
        ("12; 7", "12, 7"),
        ("12", "12"),
        ("", None),
        ("Owls: 12, 7", None),
        ("12, 7, owl", None),
        ("1234", None),
        (", ".join("1" * (WANTED + 1)), None),
    ],
)
def test_only_numbers_are_kept(answer, kept):
    assert numbers_only(answer) == kept


@given(st.lists(st.text(alphabet="0123456789,; \n[].ow", max_size=40), min_size=1, max_size=8))
def test_rows_for_a_student_hold_numbers_and_no_word(answers):
    requests = [f"Go on: {n}" for n in range(len(answers))]
    try:
        made = number_rows(requests, answers)
    except ValidationError as error:
        assert f"None of {len(answers)} answers" in error.message
        return
    assert all(re.fullmatch(r"\d+(, \d+)*", said(row)) and row["trait"] == PRESENT for row in made)
    assert [asked(row) for row in made] == [r for r, a in zip(requests, answers, strict=True) if numbers_only(a)]
    assert json.loads(json.dumps(made)) == made
