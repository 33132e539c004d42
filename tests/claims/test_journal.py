"""The journal: entries bound to one another, and every later edit found."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine.claims.journal import GENESIS, Entry, chain, dumps, follow, loads
from hfvaccine.errors import DoseError, UsageError


@pytest.fixture
def entries():
    acts = ("intake", "review", "seal")
    return chain(Entry(act, "ada", "2026-01-01", {"claims": n}) for n, act in enumerate(acts))


def test_each_entry_names_the_hash_of_the_one_before(entries):
    assert [e.before for e in entries] == [GENESIS, entries[0].hash(), entries[1].hash()]


def test_what_was_written_is_read_back(entries):
    assert loads(dumps(entries).encode()) == entries


def test_line_separators_of_unicode_do_not_split_an_entry():
    entries = chain([Entry("recall", "ada", "2026-01-01", {"why": "one\u2028two\x85three"})])
    assert loads(dumps(entries).encode()) == entries


def test_an_edited_entry_is_named(entries):
    line = entries[1].line()
    for edited in (line.replace('"ada"', '"eve"'), line.replace('"claims": 1', '"claims": 9')):
        with pytest.raises(DoseError, match=r"entry 2 \(review\) was changed"):
            loads(dumps(entries).replace(line, edited).encode())


def test_an_entry_forged_with_its_own_hash_is_found_at_the_next_one(entries):
    forged = dumps([entries[0], dataclasses.replace(entries[1], by="mallory"), entries[2]])
    with pytest.raises(DoseError, match=r"entry 3 \(seal\) does not follow"):
        loads(forged.encode())


@given(at=st.integers(min_value=0), bit=st.integers(0, 7))
def test_any_changed_byte_is_found(at, bit):
    whole = dumps(chain(Entry("review", "ada", "2026-01-01", {"note": "é", "n": n}) for n in range(3))).encode()
    at %= len(whole)
    changed = whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]
    with pytest.raises(DoseError):
        loads(changed)


def test_a_cut_off_entry_is_named(entries):
    with pytest.raises(DoseError, match="entry 3 is cut off"):
        loads(dumps(entries)[:-1].encode())


@pytest.mark.parametrize("name", ["", " ", "a,b", "a\nb", "-a", "x" * 97])
def test_a_name_that_nobody_could_be_found_under_is_refused(entries, name):
    with pytest.raises(UsageError, match="no name for the journal"):
        follow(entries, "review", name, "2026-01-01", {})


@pytest.mark.parametrize("name", ["a", "ada", "ada.l-1", "ada@example.org", "Ada Lovelace", "Åsa"])
def test_names_of_people_and_accounts_are_taken(entries, name):
    assert follow(entries, "review", name, "2026-01-01", {}).before == entries[-1].hash()


def test_a_removed_entry_is_found(entries):
    with pytest.raises(DoseError, match=r"entry 2 \(seal\) does not follow"):
        loads(dumps([entries[0], entries[2]]).encode())


def test_swapped_entries_are_found(entries):
    with pytest.raises(DoseError, match=r"entry 1 \(review\) does not follow"):
        loads(dumps([entries[1], entries[0], entries[2]]).encode())


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"act": "seal", "colour": "red"}'])
def test_a_malformed_entry_is_named(entries, line):
    with pytest.raises(DoseError, match="entry 4 is malformed"):
        loads((dumps(entries) + line + "\n").encode())
