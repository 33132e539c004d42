"""A journal in a file: what could not be written whole was not written, and the next writer goes on from there."""

import errno
import os

import pytest

from hfvaccine.claims.journal_file import read, writing


def test_an_entry_that_is_not_on_the_disk_was_not_added(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "new" / "journal.jsonl"
    with writing(path) as (entries, write):
        write("publish", "ada", "2026-11-29", {})
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            write("access", "ada", "2026-11-29", {})
        assert [entry.act for entry in entries] == ["publish"]
        assert read(path) == entries
        monkeypatch.undo()
        write("close", "ada", "2026-11-30", {})
    assert [entry.act for entry in read(path)] == ["publish", "close"]


def test_a_file_that_is_to_be_there_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError), writing(tmp_path / "none.jsonl", new=False):
        raise AssertionError("not reached")
    assert read(tmp_path / "none.jsonl") == []
