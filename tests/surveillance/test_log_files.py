"""Logs as a stream, whatever stands between."""

import gzip
import json

import pytest

from hfvaccine.errors import SurveillanceError
from hfvaccine.surveillance import log_files
from hfvaccine.surveillance.log_files import Skipped, read

VALUES = [{"n": n, "text": f'a "quote", [brackets] {{braces}} and ü {n}'} for n in range(9)]


def values(path):
    skipped, seen = Skipped(), []
    found = [value for lines in read(path, seen.append) for _, value in lines.values(skipped)]
    return found, skipped, b"".join(seen)


@pytest.mark.parametrize("part", [7, 1 << 20])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "write",
    [
        lambda: "".join(json.dumps(one) + "\n" for one in VALUES),
        lambda: "\n".join(json.dumps(one, ensure_ascii=False) for one in VALUES),  # no line end at the end
        lambda: json.dumps(VALUES, ensure_ascii=False),
        lambda: json.dumps(VALUES, indent=2),
        lambda: "".join(json.dumps(one, indent=1) + "\n" for one in VALUES),
        lambda: "\ufeff" + "\r\n".join(json.dumps(one) for one in VALUES) + "\r\n\r\n",
    ],
    ids=["lines", "unended", "list", "indented list", "indented", "windows"],
)
def test_lines_lists_and_indented_values_are_read_in_parts_of_any_size(tmp_path, monkeypatch, write, packed, part):
    monkeypatch.setattr(log_files, "_READ", part)
    if part == 7 and write().startswith("[{"):
        part = None  # a list on one line is told from lines by more than seven bytes
        monkeypatch.setattr(log_files, "_READ", 1 << 20)
    path = tmp_path / ("log.json.gz" if packed else "log.json")
    content = write().encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    found, skipped, _ = values(path)
    assert (found, dict(skipped.counts)) == (VALUES, {})


def test_what_is_no_json_is_counted_and_placed_and_reading_goes_on(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"n": 1}\nGET / 200\n\n\xff\xfe\n{"n": 2}\n{"n": 3, "cut')
    found, skipped, _ = values(path)
    assert found == [{"n": 1}, {"n": 2}]
    assert (dict(skipped.counts), skipped.first) == ({"no_json": 3}, {"no_json": "log.jsonl, line 2"})


def test_a_line_that_is_too_long_is_left_out_and_never_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(log_files, "_READ", 100)
    monkeypatch.setattr(log_files, "LONGEST", 500)
    path = tmp_path / "log.jsonl"
    path.write_text('{"n": 1}\n{"n": "' + "x" * 5000 + '"}\n{"n": 3}\n' + "y" * 3000)
    found, skipped, _ = values(path)
    assert found == [{"n": 1}, {"n": 3}]
    assert dict(skipped.counts) == {"too_long": 2}


def test_a_document_that_breaks_off_gives_what_was_whole(tmp_path):
    path = tmp_path / "log.json"
    path.write_text(json.dumps(VALUES, indent=2)[:-60])
    found, skipped, _ = values(path)
    assert (found, dict(skipped.counts)) == (VALUES[:-1], {"no_json": 1})


def test_one_huge_value_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(log_files, "_READ", 100)
    monkeypatch.setattr(log_files, "LONGEST", 500)
    path = tmp_path / "log.json"
    path.write_text('{\n"n": "' + "x" * 5000 + '"}')
    with pytest.raises(SurveillanceError, match="one value of more than"):
        values(path)


def test_a_packed_file_that_is_cut_off_is_refused(tmp_path):
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"n": 1}\n' * 1000)[:-12])
    with pytest.raises(SurveillanceError, match="no whole"):
        values(path)
    path.write_bytes(b'{"n": 1}\n')
    with pytest.raises(SurveillanceError, match="no whole"):
        values(path)
    with pytest.raises(SurveillanceError, match="cannot be read"):
        values(tmp_path / "missing.jsonl")


def test_every_byte_is_shown_once(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": 2}\n')
    assert values(path)[2] == path.read_bytes()
