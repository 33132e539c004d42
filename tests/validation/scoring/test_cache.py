"""The cache of scores: what was put is found, bit by bit, whenever the process that put it was killed."""

import os
import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from hfvaccine.errors import ValidationError
from hfvaccine.validation.scoring.cache import ScoreCache

UNIT = np.array([-0.1, -1e-30, -17.25], dtype=np.float32), np.array([True, False, True])
PUT_FOREVER = """
import sys
import numpy as np
from hfvaccine.validation.scoring.cache import ScoreCache
cache = ScoreCache(sys.argv[1])
for number in range(10**9):
    cache.put(number.to_bytes(4, "big"), np.full(5000, number, dtype=np.float32), np.ones(5000, dtype=bool))
    if number == 20:
        print("going", flush=True)
"""


def test_what_is_put_is_found_again_and_nothing_else(tmp_path):
    cache = ScoreCache(tmp_path / "new" / "scores.sqlite")
    assert cache.get(b"key") is None
    cache.put(b"key", *UNIT)
    cache.put(b"key", *UNIT)
    cache.put(b"none", UNIT[0][:0], UNIT[1][:0])
    cache.close()
    again = ScoreCache(tmp_path / "new" / "scores.sqlite")
    for put, found in zip(UNIT, again.get(b"key"), strict=True):
        assert put.dtype == found.dtype and np.array_equal(put, found)
    assert len(again.get(b"none")[0]) == 0 and again.get(b"other") is None


def test_two_may_share_a_file(tmp_path):
    one, other = (ScoreCache(tmp_path / "scores.sqlite") for _ in range(2))
    one.put(b"key", *UNIT)
    assert other.get(b"key") is not None
    other.put(b"more", *UNIT)
    assert one.get(b"more") is not None


def test_a_writer_that_is_killed_leaves_whole_scores(tmp_path):
    file = tmp_path / "scores.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", PUT_FOREVER, str(file)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "going\n"
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    cache = ScoreCache(file)
    number = 0
    while (found := cache.get(number.to_bytes(4, "big"))) is not None:
        assert (found[0] == number).all() and len(found[0]) == len(found[1]) == 5000
        number += 1
    assert number > 20
    cache.put(b"after", *UNIT)
    assert cache.get(b"after") is not None


def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("Not a database, but a text that is long enough to be looked at. " * 20)
    with pytest.raises(ValidationError, match=r"notes\.txt cannot be used"):
        ScoreCache(text)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as file:
        file.execute("CREATE TABLE scores (name TEXT)")
    before = other.read_bytes()
    with pytest.raises(ValidationError, match="holds other things than scores"):
        ScoreCache(other)
    assert other.read_bytes() == before


def test_a_damaged_file_is_refused(tmp_path):
    file = tmp_path / "scores.sqlite"
    cache = ScoreCache(file)
    cache.put(b"key", np.full(3, 0.5, dtype=np.float32), UNIT[1])
    cache.close()
    content = file.read_bytes()
    at = content.rindex(np.full(3, 0.5, dtype="<f4").tobytes())
    file.write_bytes(content[: at + 2] + b"\1" + content[at + 3 :])
    with pytest.raises(ValidationError, match="a score in it was changed"):
        ScoreCache(file).get(b"key")
    file.write_bytes(content[:3000])
    with pytest.raises(ValidationError, match=r"scores\.sqlite cannot be used"):
        ScoreCache(file).get(b"key")


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValidationError, match="cannot be used"):
        ScoreCache(tmp_path / "file" / "scores.sqlite")
