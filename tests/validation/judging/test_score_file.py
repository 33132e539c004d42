"""The file of single scores: what is written comes back, and what is not ours is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from validation.judging.arms import ITEMS, PAIRS, PROBES, arm

from hfvaccine.errors import ValidationError
from hfvaccine.files import SCORES
from hfvaccine.validation.judging.results import evaluate
from hfvaccine.validation.judging.score_file import read_scores, write_scores
from hfvaccine.validation.scores import BASE, SCHEMA_VERSION, VACCINE, ArmScores


def same(left, right):
    for one, other in zip(left, right, strict=True):
        assert list(one.pairs) == list(other.pairs) and list(one.items) == list(other.items)
        for key in one.pairs:
            assert (one.pairs[key].claim == other.pairs[key].claim).all()
            assert (one.pairs[key].twin == other.pairs[key].twin).all()
        for key in one.items:
            assert (one.items[key] == other.items[key]).all()


def test_scores_come_back_as_they_were_written(tmp_path):
    arms = {BASE: [arm()], VACCINE: [arm(truth=1, seed=1), arm(truth=1, seed=2)]}
    probes = [replace(PROBES[0], clusters=tuple(f"c{i // 2}" for i in range(PAIRS)), matched=True), *PROBES[1:]]
    write_scores(probes, ITEMS, arms, tmp_path / "run" / SCORES)
    pairs, items, back = read_scores(tmp_path / "run" / SCORES)
    assert (pairs, items, list(back)) == (probes, ITEMS, list(arms))
    for name in arms:
        same(arms[name], back[name])
    assert evaluate(pairs, items, back, {}, draws=50) == evaluate(probes, ITEMS, arms, {}, draws=50)


def test_the_same_scores_make_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_scores(PROBES, ITEMS, {BASE: [arm()], VACCINE: [arm(seed=1)]}, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_the_columns_are_those_that_others_read(tmp_path):
    import pyarrow.parquet as pq

    write_scores(PROBES, ITEMS, {BASE: [arm()]}, tmp_path / SCORES)
    table = pq.read_table(tmp_path / SCORES)
    columns = "arm seed probe reading condition item_id cluster side score"
    assert table.column_names == columns.split()
    first = table.slice(0, 1).to_pylist()[0]
    assert first == {
        "arm": "base",
        "seed": 0,
        "probe": "specific",
        "reading": "verdict",
        "condition": "plain",
        "item_id": "specific0",
        "cluster": "specific0",
        "side": "claim",
        "score": arm().pairs[PROBES[0].key].claim[0],
    }
    assert {row["side"] for row in table.to_pylist() if row["probe"] == "arc_easy"} == {""}


def test_an_arm_that_was_asked_less_comes_back_with_less(tmp_path):
    part = ArmScores({PROBES[1].key: arm().pairs[PROBES[1].key]})
    write_scores(PROBES, ITEMS, {BASE: [part], VACCINE: [arm()]}, tmp_path / SCORES)
    _, _, back = read_scores(tmp_path / SCORES)
    assert list(back[BASE][0].pairs) == [PROBES[1].key] and not back[BASE][0].items


def test_nothing_that_is_not_a_number_is_written(tmp_path):
    broken = arm()
    broken.items["mix", ""][0] = np.nan
    with pytest.raises(ValidationError, match="mix at mix0"):
        write_scores(PROBES, ITEMS, {BASE: [broken]}, tmp_path / SCORES)
    assert not list(tmp_path.iterdir())


def foreign(path, kind):
    import pyarrow as pa
    import pyarrow.parquet as pq

    if kind == "text":
        path.write_text("not parquet")
    elif kind == "other parquet":
        pq.write_table(pa.table({"x": [1]}), path)
    elif kind == "other columns":
        metadata = {"hfvaccine": json.dumps({"schema_version": SCHEMA_VERSION, "pairs": [], "items": [], "arms": {}})}
        pq.write_table(pa.table({"x": [1]}).replace_schema_metadata(metadata), path)
    elif kind == "newer":
        write_scores(PROBES, ITEMS, {BASE: [arm()]}, path)
        table = pq.read_table(path)
        newer = json.loads(table.schema.metadata[b"hfvaccine"]) | {"schema_version": SCHEMA_VERSION + 1}
        pq.write_table(table.replace_schema_metadata({"hfvaccine": json.dumps(newer)}), path)
    elif kind == "cut":
        write_scores(PROBES, ITEMS, {BASE: [arm()]}, path)
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "rows lost":
        write_scores(PROBES, ITEMS, {BASE: [arm()], VACCINE: [arm()]}, path)
        table = pq.read_table(path)
        pq.write_table(table.slice(0, table.num_rows - 3), path)


@pytest.mark.parametrize(
    "kind, said",
    [
        ("missing", "no scores at"),
        ("text", "holds no scores of hfvaccine"),
        ("other parquet", "holds no scores of hfvaccine"),
        ("other columns", "version"),
        ("newer", "version 4"),
        ("cut", "holds no scores of hfvaccine"),
        ("rows lost", "other items of"),
    ],
)
def test_a_foreign_file_is_refused(tmp_path, kind, said):
    path = tmp_path / SCORES
    foreign(path, kind)
    with pytest.raises(ValidationError) as refused:
        read_scores(path)
    assert said in refused.value.message and str(path) in refused.value.message
