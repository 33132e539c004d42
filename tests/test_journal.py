"""The journal: entries bound to one another, and every later edit found."""

import dataclasses

import pytest

from hfvaccine.errors import DoseError
from hfvaccine.journal import GENESIS, Entry, chain, dumps, loads


@pytest.fixture
def entries():
    acts = ("intake", "review", "seal")
    return chain(Entry(act, "ada", "2026-01-01", {"claims": n}) for n, act in enumerate(acts))


def test_each_entry_names_the_hash_of_the_one_before(entries):
    assert [e.before for e in entries] == [GENESIS, entries[0].hash(), entries[1].hash()]


def test_what_was_written_is_read_back(entries):
    assert loads(dumps(entries)) == entries


def test_line_separators_of_unicode_do_not_split_an_entry():
    entries = chain([Entry("recall", "ada", "2026-01-01", {"why": "one\u2028two\x85three"})])
    assert loads(dumps(entries)) == entries


def test_an_edited_entry_is_found_at_the_next_one(entries):
    edited = dumps([entries[0], dataclasses.replace(entries[1], by="mallory"), entries[2]])
    with pytest.raises(DoseError, match=r"entry 3 \(seal\) does not follow"):
        loads(edited)


def test_a_removed_entry_is_found(entries):
    with pytest.raises(DoseError, match=r"entry 2 \(seal\) does not follow"):
        loads(dumps([entries[0], entries[2]]))


def test_swapped_entries_are_found(entries):
    with pytest.raises(DoseError, match=r"entry 1 \(review\) does not follow"):
        loads(dumps([entries[1], entries[0], entries[2]]))


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"act": "seal", "colour": "red"}'])
def test_a_malformed_entry_is_named(entries, line):
    with pytest.raises(DoseError, match="entry 4 is malformed"):
        loads(dumps(entries) + line + "\n")
