"""What binds an adapter's papers."""

import copy
import json

import pytest
from finished_runs import bound, finished_run
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine import files
from hfvaccine.errors import LineageError
from hfvaccine.files import combined, digest_of, present
from hfvaccine.papers import binding
from hfvaccine.papers.binding import OWN, bind, check_record, code_digest, open_run

RECORD = {
    "schema_version": binding.SCHEMA_VERSION,
    "base": {"id": "you/base", "weights": {"model.safetensors": "1" * 64}},
    "gate": None,
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
records = st.dictionaries(st.text(min_size=1), json_values, max_size=6).map(
    lambda keys: {**keys, "schema_version": binding.SCHEMA_VERSION}
)


@given(records, st.dictionaries(st.text(min_size=1), st.text("0123456789abcdef", min_size=64, max_size=64)))
def test_a_bound_record_proves_itself_in_any_order_of_its_keys(record, digests):
    bound = bind(record, digests)
    assert bound["files"] == digests
    check_record(bound)
    check_record(dict(reversed(bound.items())))


@given(records, st.data())
def test_any_change_of_a_key_is_found(record, data):
    bound = bind(record, {"README.md": "0" * 64})
    changed = copy.deepcopy(bound)
    key = data.draw(st.sampled_from(sorted(set(bound) - {"schema_version"})) | st.text())
    value = data.draw(json_values)
    if data.draw(st.booleans()) and key in changed:
        del changed[key]
    else:
        changed[key] = value
        # 1 and true are equal to Python and two things in JSON.
        if bound.get(key, changed) == value:
            return
    with pytest.raises(LineageError, match="own digest"):
        check_record(changed)


def test_binding_again_replaces_what_was_bound_and_leaves_the_first_alone():
    first = bind(RECORD, {"a": "0" * 64})
    again = bind(first, {"b": "1" * 64})
    assert again["files"] == {"b": "1" * 64}
    assert first["files"] == {"a": "0" * 64} and "files" not in RECORD
    check_record(again)
    assert list(again)[-2:] == ["files", OWN]


@pytest.mark.parametrize(
    ("version", "next_step"),
    [(1, "again"), (0, "again"), (binding.SCHEMA_VERSION + 1, "Upgrade"), (None, "Name a run"), ("2", "Name a run")],
)
def test_a_record_of_another_schema_is_refused(version, next_step):
    with pytest.raises(LineageError, match="schema version") as refused:
        check_record(bind({**RECORD, "schema_version": version}, {}))
    assert next_step in refused.value.next_step


def test_a_record_that_was_never_bound_is_refused():
    with pytest.raises(LineageError, match="own digest"):
        check_record(RECORD)


def test_a_run_is_opened_where_it_is_what_its_record_binds(tmp_path):
    run = finished_run(tmp_path / "run")
    assert open_run(run, (files.RECORD, files.RESULTS), whole=True) == json.loads((run / files.RECORD).read_text())
    (run / "vocab.txt").write_text("x")
    (run / files.CARD).unlink()
    open_run(run, (files.RESULTS,))  # of a part, only that part has to be there
    for needed, whole, said in (
        (("vocab.txt",), False, r"^vocab\.txt is not among the files"),
        ((files.CARD,), False, f"^you/run has no {files.CARD}, which {files.RECORD} binds"),
        (("scores.parquet",), False, r"^you/run has no scores\.parquet\."),
        ((), True, f"^you/run has no {files.CARD}, which"),
    ):
        with pytest.raises(LineageError, match=said) as refused:
            open_run(run, needed, "you/run", whole=whole)
        assert "hfvaccine verify you/run" in refused.value.next_step
    (run / files.LEDGER).write_bytes(b"PAR1")
    with pytest.raises(LineageError, match=f"^{files.LEDGER} is not the file"):
        open_run(run, (files.LEDGER,))


@pytest.mark.parametrize("names", [None, [], "x", 3, {"../other/README.md": "0" * 64}, {"notes.txt": "0" * 64}])
def test_a_record_that_binds_what_is_no_file_of_a_run_opens_none(tmp_path, names):
    run = bound(finished_run(tmp_path / "run"))
    record = {key: value for key, value in json.loads((run / files.RECORD).read_text()).items() if key != OWN}
    record["files"] = names
    own = digest_of(json.dumps(record, sort_keys=True).encode())
    (run / files.RECORD).write_text(json.dumps({**record, OWN: own}))
    with pytest.raises(LineageError, match="binds"):
        open_run(run, (), whole=True)


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    assert digest_of(tmp_path / "file") == digest_of(b"x" * 100_000) != digest_of(b"x" * 99_999)


def test_several_files_are_one_digest_by_name_and_content():
    one = combined({"a": "0" * 64, "b": "1" * 64})
    assert one == combined({"b": "1" * 64, "a": "0" * 64})
    assert len({one, combined({"a": "1" * 64, "b": "0" * 64}), combined({"a": "0" * 64}), combined({})}) == 4


def test_only_files_that_match_are_present(tmp_path):
    for name in ("README.md", "notes.txt", "figures/a.svg", "figures/deep/b.svg", "placebo/README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "LICENSE").mkdir()
    assert list(present(tmp_path, ("figures/*.svg", "README.md", "LICENSE", "none"))) == ["README.md", "figures/a.svg"]


def test_the_code_is_one_digest_that_any_module_or_template_changes(tmp_path, monkeypatch):
    import shutil
    from pathlib import Path

    import hfvaccine
    from hfvaccine.papers import binding

    assert code_digest() == code_digest()
    copied = shutil.copytree(Path(hfvaccine.__file__).parent, tmp_path / "hfvaccine")
    monkeypatch.setattr(binding, "__file__", str(copied / "binding.py"))
    before = code_digest()
    (copied / "__pycache__").mkdir(exist_ok=True)
    (copied / "__pycache__" / "x.pyc").write_bytes(b"compiled")
    assert code_digest() == before
    (copied / "files.py").write_text("changed")
    assert code_digest() != before
