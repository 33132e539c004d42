"""The quarantine folder: every act whole or not at all, and every later edit found."""

import multiprocessing
from unittest.mock import patch

import pytest
from quarantine.rows import row, table

from hfvaccine.claims import journal
from hfvaccine.errors import DoseError, UsageError
from hfvaccine.quarantine.store import JOURNAL, REJECTS, Quarantine


def rows(*texts):
    return table(*(row(2, claim=text) for text in texts))


def rejected(n):
    return [
        {"source": "a.csv", "where": f"line {i}", "rule": "no-claim", "reason": "Blank.", "row": {}} for i in range(n)
    ]


@pytest.fixture
def quarantine(tmp_path):
    made = Quarantine(tmp_path / "q")
    with made.changing():
        made.commit("intake", "ada", {}, table=rows("Bees are birds."), rejects=rejected(2))
    return made


def names(quarantine):
    return sorted(path.name.split("-")[0] for path in quarantine.folder.iterdir() if not path.name.startswith("."))


def test_what_was_committed_is_read_back(quarantine):
    assert quarantine.table()["claim"].to_pylist() == ["Bees are birds."]
    assert [r["where"] for r in quarantine.rejects()] == ["line 0", "line 1"]
    (entry,) = quarantine.history()
    assert (entry.act, entry.by, entry.what["rows"], entry.what["rejected"]) == ("intake", "ada", 1, 2)
    quarantine.verify()


def test_only_the_newest_rows_are_kept(quarantine):
    with quarantine.changing():
        quarantine.commit("fix", "ada", {}, table=rows("Bees are fish."), rejects=rejected(1))
    assert names(quarantine) == ["claims", JOURNAL, REJECTS]
    assert quarantine.table()["claim"].to_pylist() == ["Bees are fish."]
    assert len(list(quarantine.rejects())) == 3
    quarantine.verify()


def test_an_act_without_rows_leaves_them(quarantine):
    with quarantine.changing():
        quarantine.commit("review", "bob", {"decisions": []})
    assert quarantine.table().num_rows == 1


def test_a_refused_name_writes_nothing(quarantine):
    before = {path.name: path.read_bytes() for path in quarantine.folder.iterdir()}
    with quarantine.changing(), pytest.raises(UsageError):
        quarantine.commit("fix", "a,b", {}, table=rows("Bees are fish."), rejects=rejected(1))
    assert {path.name: path.read_bytes() for path in quarantine.folder.iterdir()} == before


@pytest.mark.parametrize("step", ["_write_claims", "_write_rejects", "_append"])
def test_an_act_that_is_cut_short_was_never_done(quarantine, step):
    killed = patch.object(Quarantine, step, side_effect=KeyboardInterrupt)
    with killed, quarantine.changing(), pytest.raises(KeyboardInterrupt):
        quarantine.commit("fix", "ada", {}, table=rows("Bees are fish."), rejects=rejected(1))
    assert quarantine.table()["claim"].to_pylist() == ["Bees are birds."]
    assert len(list(quarantine.rejects())) == 2
    quarantine.verify()


def test_a_torn_entry_is_written_over(quarantine):
    path = quarantine.folder / JOURNAL
    path.write_bytes(path.read_bytes() + b'{"act": "fix", "at')
    assert len(quarantine.history()) == 1
    with quarantine.changing():
        quarantine.commit("review", "bob", {})
    assert [entry.act for entry in quarantine.history()] == ["intake", "review"]


@pytest.mark.parametrize("prefix", ["claims", JOURNAL, REJECTS])
def test_an_edit_outside_is_found(quarantine, prefix):
    (path,) = (p for p in quarantine.folder.iterdir() if p.name.startswith(prefix))
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DoseError):
            quarantine.verify()


def test_missing_rows_are_named(quarantine):
    next(quarantine.folder.glob("claims-*")).unlink()
    with pytest.raises(DoseError, match="is missing"):
        quarantine.table()


def test_a_folder_without_journal_is_no_quarantine(tmp_path):
    with pytest.raises(DoseError, match="is no quarantine") as refused:
        Quarantine.open(tmp_path)
    assert "intake" in refused.value.next_step


def add(folder, number):
    quarantine = Quarantine(folder)
    for turn in range(5):
        with quarantine.changing():
            quarantine.commit("review", f"r{number}", {"turn": turn})


def test_two_people_at_once_lose_nothing(quarantine):
    processes = [multiprocessing.Process(target=add, args=(quarantine.folder, n)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(quarantine.history()) == 1 + 15


def test_the_time_of_an_act_is_utc(quarantine, monkeypatch):
    monkeypatch.setattr(journal, "now", lambda: "2026-01-02T03:04:05+00:00")
    with quarantine.changing():
        entry = quarantine.commit("review", "bob", {})
    assert entry.at == "2026-01-02T03:04:05+00:00"
