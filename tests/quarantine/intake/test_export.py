"""What is exported comes back through intake as it was."""

import csv
import io
import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfvaccine.claims.claim import claim_id, is_blank
from hfvaccine.errors import UsageError
from hfvaccine.quarantine.intake.export import FORMATS, export, unguarded
from hfvaccine.quarantine.intake.intake import intake
from hfvaccine.quarantine.store import SCHEMA, Quarantine

words = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: text.strip() and not is_blank(text))
texts = words | st.sampled_from(
    ["=1+1", "'=1", "''+x", "-5", "@a", 'a "b", c', "a\nb", "a\r\nb", "\tx", "'", "'x'", "\r"]
)
texts = texts.filter(lambda text: text.strip() and not is_blank(text))
maybe = st.none() | texts
sources = st.fixed_dictionaries({"publisher": texts, "title": texts, "url": maybe, "checked_on": maybe})
variants = st.fixed_dictionaries({"claim": texts, "twin": maybe, "kind": texts})
rows = st.fixed_dictionaries(
    {
        **dict.fromkeys(("correction", "twin", "question", "domain", "tactic", "checker", "license", "harm"), maybe),
        "claim": texts,
        "verdict": st.sampled_from(["false", "pants-on-fire"]),
        "language": st.sampled_from(["en", "de"]),
        "sources": st.lists(sources, max_size=2),
        "overlaps": st.lists(texts, max_size=2),
        "variants": st.lists(variants, max_size=2),
        "split": st.sampled_from([None, "dose", "heldout"]),
        "cluster_id": texts,
        "origin": texts,
    }
)


def filled(folder, drafts):
    """A quarantine that holds the drafts."""
    quarantine = Quarantine(folder)
    unique = {claim_id(row["claim"], row["language"]): row for row in drafts}
    whole = [{**row, "claim_id": key, "submitted_by": "ada", "reviewers": []} for key, row in unique.items()]
    with quarantine.changing():
        quarantine.commit("intake", "ada", {}, table=pa.Table.from_pylist(whole, SCHEMA))
    return quarantine


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=30, deadline=None)  # acts are synced to the disk, which may be busy
@given(drafts=st.lists(rows, min_size=1, max_size=4))
def test_what_goes_out_comes_back(tmp_path_factory, suffix, drafts):
    folder = tmp_path_factory.mktemp("export")
    quarantine = filled(folder / "a", drafts)
    file = folder / f"rows{suffix}"
    assert export(quarantine, file) == quarantine.table().num_rows
    back = Quarantine(folder / "b")
    taken = intake(back, [file], "ada")
    assert taken.rejected == {}
    assert back.table().to_pylist() == quarantine.table().to_pylist()
    again = intake(quarantine, [file], "ada", update=True)
    assert (again.updated, again.unchanged, again.rejected) == (0, quarantine.table().num_rows, {})


DRAFT = {
    **dict.fromkeys(SCHEMA.names),
    "claim": "Snow is warm.",
    "verdict": "false",
    "language": "en",
    "cluster_id": "c",
    "origin": "x",
    "sources": [{"publisher": "Met", "title": "Snow", "url": None, "checked_on": None}],
    "overlaps": [],
}


def test_a_table_is_safe_to_open_in_a_spreadsheet(tmp_path):
    formula = '=HYPERLINK("https://example.org","x")'
    quarantine = filled(tmp_path / "a", [{**DRAFT, "claim": formula, "correction": "'=1"}])
    export(quarantine, tmp_path / "rows.csv")
    content = (tmp_path / "rows.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    [row] = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    assert (row["claim"], row["correction"]) == (f"'{formula}", "''=1")
    assert json.loads(row["sources"]) == DRAFT["sources"]
    assert unguarded(row)["claim"] == formula
    assert unguarded({"a": "'twas", "b": None, "c": "'"}) == {"a": "'twas", "b": None, "c": "'"}


def test_an_open_file_gets_lines_of_json(tmp_path):
    out = io.StringIO()
    assert export(filled(tmp_path / "a", [DRAFT]), out) == 1
    row = json.loads(out.getvalue())
    assert row["claim"] == "Snow is warm." and "reviewers" not in row


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    quarantine = filled(tmp_path / "a", [DRAFT])
    target = tmp_path / "rows.jsonl"
    target.write_text("before\n", encoding="utf-8")
    monkeypatch.setattr("hfvaccine.quarantine.intake.export.json.dumps", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(quarantine, target)
    assert target.read_text(encoding="utf-8") == "before\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "rows.jsonl"]


def test_another_name_or_folder_is_refused(tmp_path):
    quarantine = filled(tmp_path / "a", [DRAFT])
    with pytest.raises(UsageError, match=r"'rows\.xlsx'\. Use a name with \.jsonl, \.csv, \.parquet"):
        export(quarantine, tmp_path / "rows.xlsx")
    with pytest.raises(UsageError, match="There is no folder"):
        export(quarantine, tmp_path / "gone" / "rows.csv")
