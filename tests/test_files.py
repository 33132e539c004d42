import json

import pytest

from hfvaccine.files import write_json


def test_what_is_written_reads_back(tmp_path):
    write_json({"a": [1, 0.5, None, "é"]}, tmp_path / "new" / "x.json")
    assert json.loads((tmp_path / "new" / "x.json").read_text()) == {"a": [1, 0.5, None, "é"]}


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "x.json"
    write_json({"a": 1}, path)
    with pytest.raises(TypeError):
        write_json({"a": object()}, path)
    assert json.loads(path.read_text()) == {"a": 1}
