"""Rows of files and Hub datasets: streamed, placed, and a broken line named without stopping the rest."""

import csv
import gzip
import io
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine.errors import ValidationError
from hfvaccine.sources.naming import file_format, is_hub
from hfvaccine.sources.rows import Broken, Row, hub_rows, iter_rows, open_rows, read_rows

ROWS = [{"claim": "Snow is\u2028warm.", "n": "1"}, {"claim": 'He said "no",\tand left.', "n": "2"}]


def content(kind, rows):
    if kind == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if kind == ".json":
        return json.dumps(rows)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("kind", [".jsonl", ".json", ".csv"])
def test_every_format_says_the_same_with_a_mark_and_packed(tmp_path, kind, mark, packed):
    path = tmp_path / f"x{kind}{'.gz' if packed else ''}"
    data = mark + content(kind, ROWS).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    assert [row.values for row in iter_rows(path)] == ROWS


def test_parquet_comes_in_batches_with_running_numbers(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"n": list(range(25_000))}), path)
    rows = list(iter_rows(path))
    assert [row.values["n"] for row in rows] == list(range(25_000))
    assert (rows[0].where, rows[-1].where) == ("row 1", "row 25000")


def test_text_is_a_row_a_line(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("one\n\ntwo\u0085three\n", encoding="utf-8")
    assert [(row.where, row.values["text"]) for row in iter_rows(path)] == [
        ("line 1", "one"),
        ("line 2", ""),
        ("line 3", "two\u0085three"),
    ]


def test_tabs_have_no_quoting_but_that_of_spreadsheets(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text('a\tb\n"Never" he said\t"5 inches\n"He said ""no"""\t"quoted whole"\n', encoding="utf-8")
    assert [row.values for row in iter_rows(path)] == [
        {"a": '"Never" he said', "b": '"5 inches'},
        {"a": 'He said "no"', "b": '"quoted whole"'},
    ]


def test_a_row_of_a_table_stands_where_it_begins(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('a,b\n"one\nand a half",1\n\ntwo,2\n', encoding="utf-8")
    assert [row.where for row in iter_rows(path)] == ["line 2", "line 5"]


def test_json_lines_under_the_wrong_name_are_read(tmp_path):
    path = tmp_path / "train.json"
    path.write_text(content(".jsonl", ROWS), encoding="utf-8")
    assert [row.values for row in iter_rows(path)] == ROWS
    path.write_text('{"a": 1} and more', encoding="utf-8")
    with pytest.raises(ValidationError, match="Extra data"):
        list(iter_rows(path))


# Broken lines


@pytest.mark.parametrize(
    ("name", "text", "where", "reason"),
    [
        ("x.jsonl", '{"a": 1}\n{"a":\n{"a": 2}\n', "line 2", "is not JSON"),
        ("x.jsonl", '{"a": 1}\n[1]\n{"a": 2}\n', "line 2", "not an object with named fields"),
        ("x.jsonl", '{"a": 1}\n' + "[" * 100_000 + '\n{"a": 2}\n', "line 2", "is not JSON"),
        ("x.json", '[{"a": 1}, 5, {"a": 2}]', "item 2", "is 5, not an object"),
        ("x.csv", "a\n1\n2,3\n2\n", "line 3", "has 2 cells where the header has 1"),
        ("x.tsv", "a\n1\n2\t3\n2\n", "line 3", "has 2 cells where the header has 1"),
        ("x.csv", 'a\n1\n2\n"3\n4\n', "line 4", "opens a quotation that is never closed"),
    ],
)
def test_a_broken_line_is_named_and_the_rest_is_read(tmp_path, name, text, where, reason):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    broken: list[Broken] = []
    assert [str(row.values["a"]) for row in iter_rows(path, broken.append)] == ["1", "2"]
    assert [line.where for line in broken] == [where]
    assert reason in broken[0].reason


def test_a_field_is_read_however_long_it_is(tmp_path):
    story = "\n".join(f"It froze once in {i} in the east, false, and the clerk wrote it down" for i in range(3000))
    path = tmp_path / "x.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["claim", "why"], ["a", "b"], ["c", story], ["d", "e"]])
    assert [tuple(row.values.values()) for row in iter_rows(path, pytest.fail)] == [
        ("a", "b"),
        ("c", story),
        ("d", "e"),
    ]


@given(cut=st.integers(0, 400))
def test_of_a_table_that_is_cut_off_no_part_of_a_record_becomes_a_row(tmp_path_factory, cut):
    rows = [[f"claim {n}", f"He said no,\nand {n},false\nleft."] for n in range(9)]
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["claim", "why"], *rows])
    path = tmp_path_factory.mktemp("rows") / "x.csv"
    path.write_text(text.getvalue()[:cut], encoding="utf-8", newline="")
    read = [list(row.values.values()) for row in iter_rows(path, lambda line: None)]
    assert all(
        cell in ("", whole)
        for row, wanted in zip(read, rows, strict=False)
        for cell, whole in zip(row, wanted, strict=True)
    )


def test_a_line_break_in_a_cell_of_a_tab_separated_table_makes_no_row(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text(
        'a\tb\n"It is\nso ""here"""\tfalse\n"5 inches\tfalse\nshort\n"Never\nclosed\tfalse\n', encoding="utf-8"
    )
    broken: list[Broken] = []
    assert [row.values for row in iter_rows(path, broken.append)] == [
        {"a": 'It is\nso "here"', "b": "false"},
        {"a": '"5 inches', "b": "false"},
    ]
    assert [line.where for line in broken] == ["line 5", "line 6"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.json", '{"claim": "a",\n "sources": [\n  {"claim": "b"}\n]}\n{"claim": "c"}\n'),
        ("x.jsonl", '{"claim": "a"}\n{\n "sources": [\n  {"claim": "b"}\n]}\n'),
        ("x.jsonl", '[{"claim": "a"},\n {"claim": "b"}\n]\n'),
    ],
)
def test_no_part_of_json_over_several_lines_becomes_a_row(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    read = []
    with pytest.raises(ValidationError, match=r"Extra data|this is JSON, but no JSON lines"):
        read.extend(row.values for row in iter_rows(path, lambda line: None))
    assert {"claim": "b"} not in read


# What spreadsheets save


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ('sep=;\r\nclaim;n\r\n"a;b, c";1\r\n', "utf-8-sig"),
        ('claim;n\n"a;b, c";1\n', "utf-8"),
        ('claim\tn\r\n"a;b, c"\t1\r\n', "utf-16"),
        ('"sep=|"\nclaim|n\na;b, c|1\n', "utf-16"),
    ],
)
def test_a_table_is_read_as_spreadsheets_save_it(tmp_path, text, encoding):
    path = tmp_path / "x.csv"
    path.write_bytes(text.encode(encoding))
    assert [row.values for row in iter_rows(path)] == [{"claim": "a;b, c", "n": "1"}]


def test_a_row_after_the_line_that_names_the_separator_stands_where_it_begins(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("sep=;\na;b\n1;2\n", encoding="utf-8")
    assert [row.where for row in iter_rows(path)] == ["line 3"]


def test_files_that_were_joined_may_have_marks_inside(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n\xef\xbb\xbf{"a": 2}\n')
    assert [row.values["a"] for row in iter_rows(path)] == [1, 2]


def test_without_a_taker_a_broken_line_ends_the_reading(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n{"a":\n', encoding="utf-8")
    with pytest.raises(ValidationError, match="line 2 is not JSON"):
        read_rows(path)


def test_without_a_taker_a_row_of_another_width_is_filled(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1\n1,2,3\n", encoding="utf-8")
    assert [row.values for row in read_rows(path)] == [{"a": "1", "b": None}, {"a": "1", "b": "2", None: ["3"]}]


@given(st.lists(st.text(st.characters(exclude_characters="\n\r", codec="utf-8"), min_size=1), min_size=1))
def test_any_text_comes_back_from_lines_of_json(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("rows") / "x.jsonl"
    path.write_bytes(content(".jsonl", [{"a": text} for text in texts]).encode())
    assert [row.values["a"] for row in iter_rows(path)] == texts


# What cannot be read


@pytest.mark.parametrize(("lead", "packed"), [(b"", False), (b"\xef\xbb\xbf", False), ("ä".encode() * 40_000, True)])
def test_a_file_that_is_not_utf8_is_refused_with_the_byte(tmp_path, lead, packed):
    path = tmp_path / ("x.txt.gz" if packed else "x.txt")
    data = lead + b"caf\xe9 au lait"
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(ValidationError, match=rf"not UTF-8 \(byte {len(lead) + 3}:"):
        list(iter_rows(path))


def test_a_packed_file_that_is_cut_off_is_refused(tmp_path):
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(content(".jsonl", ROWS * 50).encode())[:-30])
    with pytest.raises(ValidationError, match="cannot be read"):
        list(iter_rows(path))


def test_a_file_that_is_not_there_or_no_file_of_rows_is_refused_at_once(tmp_path):
    with pytest.raises(ValidationError, match="There is no file"):
        iter_rows(tmp_path / "x.csv")
    with pytest.raises(ValidationError, match=r"no file of rows.*\.jsonl, \.json, \.csv, \.tsv"):
        iter_rows(tmp_path / "x.xlsx")


def test_lines_are_read_in_constant_memory(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(f'{{"a": "{"z" * 1000}"}}\n' * 20_000, encoding="utf-8")
    tracemalloc.start()
    assert sum(1 for _ in iter_rows(path)) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000  # the file has 20 MB


# The Hub


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for the Hub with one dataset in two splits; what was asked for is kept."""
    import datasets

    features = datasets.Features(
        claim=datasets.Value("string"), label=datasets.ClassLabel(names=["SUPPORTS", "REFUTES"])
    )
    made = datasets.Dataset.from_dict({"claim": ["a", "b"], "label": [0, 1]}, features=features)
    asked = []

    def load(name, config, revision, streaming):
        asked.append((name, config, streaming))
        if name == "someone/none":
            raise ConnectionError("no way out\nmore")
        return {split: made.to_iterable_dataset() for split in ("test", "train")}

    monkeypatch.setattr(datasets, "load_dataset", load)
    return asked


def test_a_dataset_streams_in_from_the_split_that_is_preferred(hub):
    assert list(open_rows("someone/claims")) == [
        Row("row 1 of train", {"claim": "a", "label": "SUPPORTS"}),  # labels by name, not by number
        Row("row 2 of train", {"claim": "b", "label": "REFUTES"}),
    ]
    assert next(open_rows("someone/claims", prefer=("test",))).where == "row 1 of test"
    assert next(open_rows("someone/claims", prefer=("dose",))).where == "row 1 of test"  # the first there is
    assert next(open_rows("someone/claims:en:test")).where == "row 1 of test"
    assert hub[0] == ("someone/claims", None, True) and hub[-1] == ("someone/claims", "en", True)


def test_a_dataset_that_is_fetched_whole_is_read_as_it_stands(hub):
    assert next(hub_rows("someone/claims::train")) == Row("row 1 of train", {"claim": "a", "label": 0})
    assert hub == [("someone/claims", None, False)]


def test_a_dataset_that_cannot_be_had_says_what_to_do(hub):
    with pytest.raises(ValidationError, match=r"someone/none cannot be loaded: no way out\. Check the id"):
        list(open_rows("someone/none"))
    with pytest.raises(ValidationError, match="it has no split 'dev', but test, train"):
        list(open_rows("someone/claims:en:dev"))


def test_a_file_is_opened_by_its_path(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jsonl").write_text('{"a": 1}\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert not is_hub("a/x.jsonl") and not is_hub("a") and not is_hub("a/gone.csv") and is_hub("a/b:c:d")
    assert [row.values for row in open_rows("a/x.jsonl")] == [{"a": 1}]
    assert file_format(tmp_path / "x.tsv.gz") == ".tsv"
