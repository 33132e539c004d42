import json
import os
import stat
import subprocess
import sys

import pytest

from hfvaccine.errors import UsageError
from hfvaccine.files import (
    guard_formula,
    made_once,
    sole_writer,
    unguard_formula,
    whole_file,
    whole_folder,
    write_json,
)


def test_what_is_written_reads_back(tmp_path):
    write_json({"a": [1, 0.5, None, "é"]}, tmp_path / "new" / "x.json")
    assert json.loads((tmp_path / "new" / "x.json").read_text()) == {"a": [1, 0.5, None, "é"]}


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "x.json"
    write_json({"a": 1}, path)
    with pytest.raises(TypeError):
        write_json({"a": object()}, path)
    assert json.loads(path.read_text()) == {"a": 1}


def test_a_folder_is_one_process_alone_and_free_again_after_it(tmp_path):
    with sole_writer(tmp_path), pytest.raises(UsageError, match="Another process"), sole_writer(tmp_path):
        pass
    held = "import sys, time; from pathlib import Path; from hfvaccine.files import sole_writer\n"
    held += "with sole_writer(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", held, tmp_path], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UsageError), sole_writer(tmp_path):
            pass
        other.kill()
    with sole_writer(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_what_is_no_file_is_written_to_and_stays_what_it_is(tmp_path):
    aim, link, pipe = tmp_path / "aim.json", tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(aim)
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)
    for path in (link, pipe):
        with whole_file(path) as staged:
            staged.write_text("whole")
    assert reader.communicate(timeout=10)[0] == b"whole"
    assert link.is_symlink() and aim.read_text() == "whole" and stat.S_ISFIFO(pipe.stat().st_mode)
    with pytest.raises(UsageError, match="is a folder"), whole_file(tmp_path):
        pass


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "deep" / "made") as staging:
        (staging / "half").write_text("x")
        raise KeyboardInterrupt
    assert list((tmp_path / "deep").iterdir()) == []
    with whole_folder(tmp_path / "deep" / "made") as staging:
        (staging / "all").write_text("x")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["made"]
    assert (tmp_path / "deep" / "made" / "all").read_text() == "x"


@pytest.mark.parametrize(
    ("text", "written"),
    [("=1+1", "'=1+1"), ("@SUM(A1)", "'@SUM(A1)"), ("'=1", "''=1"), ("plain = text", "plain = text"), ("'", "'")],
)
def test_a_cell_is_never_a_formula(text, written):
    assert guard_formula(text) == written
    assert unguard_formula(written) == text


def test_of_two_that_make_a_folder_of_a_cache_the_first_ones_stays(tmp_path):
    def make(place):
        place.mkdir()
        (place / "by").write_text("the second")
        made_once(tmp_path / "made", first)

    def first(place):
        place.mkdir()
        (place / "by").write_text("the first")

    assert made_once(tmp_path / "made", make) == tmp_path / "made"
    assert (tmp_path / "made" / "by").read_text() == "the first"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_folder_that_another_process_made_meanwhile_is_kept_and_said(tmp_path):
    with pytest.raises(UsageError, match="made by another process meanwhile"), whole_folder(tmp_path / "made"):
        (tmp_path / "made").mkdir()
        (tmp_path / "made" / "theirs").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["made", "theirs"]
