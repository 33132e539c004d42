"""Which rows carry a trait: conditions on a column, as people write them, and predicates."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine.errors import PlanError, UsageError
from hfvaccine.inoculation.where import Where, parse_where, recorded, spelt

ROW = {"trait": "spanish", "flag": True, "label": 1, "score": 0.5, "tags": ["a", "b"], "note": None}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("trait=spanish", True),
        ("trait=Spanish", False),
        ("trait!=spanish", False),
        ("trait!=caps", True),
        ("trait~^spa", True),
        ("trait~(?i)SPANISH|caps", True),
        ("trait~^nish", False),
        ("flag=true", True),
        ("flag=True", True),
        ("flag=false", False),
        ("flag!=False", True),
        ("label=1", True),
        ("label!=1", False),
        ("score=0.5", True),
        ('tags=["a", "b"]', True),
        ("note=null", True),
        ("note!=x", True),
    ],
)
def test_a_condition_is_read_as_it_is_written(text, holds):
    assert Where.of(text).holds(ROW) is holds
    assert str(Where.of(text)) == text  # as the record has it, and a later command reads it again


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("trait=a=b", ("trait", "=", "a=b")),
        ("trait=a~b!=c", ("trait", "=", "a~b!=c")),
        ("trait~a=b", ("trait", "~", "a=b")),
        ("is it!=yes", ("is it", "!=", "yes")),
        ("what!?=x", ("what!?", "=", "x")),
        ("trait=two\nlines", ("trait", "=", "two\nlines")),
    ],
)
def test_the_first_sign_parts_column_and_value(text, parts):
    where = parse_where(text)
    assert (where.column, where.sign, where.value) == parts


@pytest.mark.parametrize("text", ["", "trait", "trait=", "=spanish", "trait!=", "trait~", "~x", "all"])
def test_other_names_of_rows_are_refused(text):
    with pytest.raises(UsageError, match="The rows that carry the trait") as refused:
        parse_where(text)
    assert "column~REGEX" in refused.value.next_step


@pytest.mark.parametrize("pattern", ["(", "[a", "*", "a{99999999999999999999}"])
def test_a_pattern_that_does_not_compile_is_refused_by_name(pattern):
    with pytest.raises(UsageError, match=re.escape(repr(pattern))) as refused:
        parse_where(f"trait~{pattern}")
    assert "'trait'" in refused.value.message and "does not compile" in refused.value.message


@pytest.mark.parametrize("given_as", [("flag", True), ("flag", "true"), ("label", 1), ("label", "1"), ("note", None)])
def test_a_pair_names_a_value_as_the_rows_have_it_or_as_it_is_spelt(given_as):
    assert Where.of(given_as).holds(ROW)


def test_all_rows_and_a_predicate():
    assert Where.of("all").holds({}) and str(Where.of("all")) == "all"
    assert Where.of(lambda row: row["label"] == 1).holds(ROW)
    assert Where.of(Where("trait", "=", "x")) == Where("trait", "=", "x")

    def is_loud(row):
        return row["trait"] == "caps"

    assert not Where.of(is_loud).holds(ROW) and str(Where.of(is_loud)) == "is_loud"


@pytest.mark.parametrize("nonsense", [1, None, ("a", "b", "c"), (1, "b"), ["trait", "x"]])
def test_what_names_no_rows_is_refused(nonsense):
    with pytest.raises(UsageError, match="are given as"):
        Where.of(nonsense)


def test_comparison_rows_never_carry_a_trait():
    assert not Where.of("all").holds({"pair": "1"})
    assert not Where.of("trait!=x").holds({"pair": "1", "trait": None})


def test_a_column_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(PlanError, match=r"no column 'mood'.*trait, flag"):
        Where.of("mood=x").holds(ROW)


@pytest.mark.parametrize("text", ["trait=italian", "trait~^x", "trait!=spanish"])
def test_a_condition_that_no_row_meets_is_refused_with_what_the_column_holds(text):
    with pytest.raises(UsageError, match=f"No row of the mix meets {re.escape(repr(text))}.*holds 'spanish'"):
        Where.of(text).refuse_unmet([ROW, ROW])
    with pytest.raises(UsageError, match="and others"):
        Where.of("n=x").refuse_unmet([{"n": n} for n in range(9)])
    Where.of(text).refuse_unmet([ROW, {"trait": "italian"}, {"trait": "x"}])


def test_a_predicate_that_no_row_meets_is_refused():
    with pytest.raises(UsageError, match="No row of the mix meets"):
        Where.of(lambda row: False).refuse_unmet([ROW])


@pytest.mark.parametrize("given", ["all", "trait=spanish", "trait!=x", "trait~^sp", ("trait", "spanish")])
def test_a_record_tells_the_rows_again_unless_a_function_told_them(given):
    assert recorded(str(Where.of(given))).holds(ROW)
    assert recorded(str(Where.of(lambda row: True))) is None
    assert recorded(str(Where.of(any))) is None


VALUES = st.one_of(st.text(min_size=1), st.booleans(), st.integers(), st.floats(allow_nan=False), st.none())


@given(VALUES, VALUES)
def test_is_and_is_not_part_the_rows_whatever_they_hold(value, other):
    equal, unequal = (parse_where(f"c{sign}{spelt(value)}") for sign in ("=", "!="))
    assert equal.holds({"c": value})
    for row in ({"c": value}, {"c": other}):
        assert equal.holds(row) != unequal.holds(row)
    assert Where.of(("c", value)).holds({"c": other}) == equal.holds({"c": other})


def test_no_name_of_a_function_reads_as_all_rows():
    def told(row):
        return False

    told.__name__ = "all"
    assert str(Where.of(told)) == "a function" and recorded(str(Where.of(told))) is None
