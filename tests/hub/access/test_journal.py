"""The owner's journal: proved before it is added to, private, and never half an entry."""

import pytest

from hfvaccine.errors import DoseError, UsageError
from hfvaccine.hub.access import journal as owner_journal
from hfvaccine.hub.access.journal import journal_of, read, writing


@pytest.fixture
def path(tmp_path):
    with writing(tmp_path / "deep" / "journal.jsonl") as write:
        write("publish", "ada", {"tag": "v1"})
        write("access", "ada", {"user": "bob"})
    return tmp_path / "deep" / "journal.jsonl"


def test_what_was_written_is_read_back_in_a_chain(path):
    acts = [(entry.act, entry.what) for entry in read(path)]
    assert acts == [("publish", {"tag": "v1"}), ("access", {"user": "bob"})]


def test_it_is_readable_for_its_owner_only(path):
    assert path.stat().st_mode & 0o077 == 0


def test_without_a_file_there_is_no_entry(tmp_path):
    assert read(tmp_path / "none.jsonl") == []


def test_a_half_entry_is_written_over(path):
    path.write_bytes(path.read_bytes() + b'{"act": "acc')
    with writing(path) as write:
        write("access", "ada", {"user": "eve"})
    assert [entry.what.get("user") for entry in read(path)] == [None, "bob", "eve"]


def test_a_tampered_journal_is_not_added_to(path):
    path.write_text(path.read_text().replace("bob", "eve"))
    before = path.read_bytes()
    with pytest.raises(DoseError, match=r"entry 2 \(access\) was changed"), writing(path):
        raise AssertionError("not reached")
    assert path.read_bytes() == before


def test_a_journal_that_cannot_be_written_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="cannot be written"), writing(tmp_path):
        raise AssertionError("not reached")


def test_each_dose_has_its_own(monkeypatch, tmp_path):
    monkeypatch.setattr("click.get_app_dir", lambda name: str(tmp_path / name))
    assert journal_of("Ada/Dose") == tmp_path / "hfvaccine" / "access" / "ada--dose.jsonl"
    assert owner_journal.journal_of("ada/other") != journal_of("ada/dose")
