"""Evaluation sets: all that they say is read, from wherever it stands, and what is missing is said."""

import json

import pytest

from hfvaccine.claims.similar import overlapping
from hfvaccine.errors import ValidationError
from hfvaccine.quarantine.checks import evaluation_sets
from hfvaccine.quarantine.checks.evaluation_sets import (
    EvaluationSet,
    read_evaluation_set,
    read_evaluation_sets,
    truthfulqa,
)
from hfvaccine.sources.rows import Row


def written(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_every_text_counts_however_deep(tmp_path):
    row = {
        "question": "Can glass flow like honey at night?",
        "category": "Physics",
        "number": 3,
        "choices": {"text": ["Only very slowly over centuries", "No, it is solid"], "label": ["A", "B"]},
        "targets": {"Old windows sag with their age": 0, "Glass is an amorphous solid": 1},
        "source": "https://example.org/does/glass/really/flow/downwards",
    }
    found = read_evaluation_set(written(tmp_path / "glass.v1.jsonl", row, row))
    assert found.name == "glass"
    assert found.texts == (
        "Can glass flow like honey at night?",
        "Only very slowly over centuries",
        "No, it is solid",
        "Old windows sag with their age",
        "Glass is an amorphous solid",
    )


def test_answers_in_one_field_count_together_and_one_by_one(tmp_path):
    both = "Bats can see quite well; Bats see better than we do; No"
    found = read_evaluation_set("Bats=" + written(tmp_path / "b.jsonl", {"Correct Answers": both}))
    assert found == EvaluationSet("Bats", (both, "Bats can see quite well", "Bats see better than we do"))


def test_what_numpy_printed_is_a_passage_in_which_claims_are_found(tmp_path):
    printed = "{'choices': array(['The heart stops when we sneeze.',\n       'Nothing at all.'], dtype=object)}"
    found = read_evaluation_set(written(tmp_path / "printed.jsonl", {"mc1_targets": printed}))
    assert overlapping(["Our heart stops when we sneeze", "The heart stops when we sneeze"], found.texts).tolist() == [
        -1,
        0,
    ]


def test_a_set_without_texts_is_refused(tmp_path):
    with pytest.raises(ValidationError, match=r"^numbers holds no text of 4 words"):
        read_evaluation_set(written(tmp_path / "numbers.jsonl", {"a": 1, "b": "too short"}))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValidationError, match=r"no file"):
        read_evaluation_set(str(tmp_path / "nothing.csv"))


def test_truthfulqa_is_on_the_list_where_it_can_be_had(tmp_path, monkeypatch):
    own = written(tmp_path / "own.jsonl", {"question": "Is the earth really flat?"})
    said = []
    monkeypatch.setattr(evaluation_sets, "truthfulqa", lambda: None)
    assert [one.name for one in read_evaluation_sets([own], said.append)] == ["own"]
    assert "--against TruthfulQA=FILE" in said.pop()

    fetched = EvaluationSet("TruthfulQA", ("Do you grow watermelons in your stomach?",))
    monkeypatch.setattr(evaluation_sets, "truthfulqa", lambda: fetched)
    assert [one.name for one in read_evaluation_sets([own], said.append)] == ["own", "TruthfulQA"]
    assert [one.name for one in read_evaluation_sets([f"truthful_qa={own}"], said.append)] == ["truthful_qa"]
    assert said == []


def test_two_sets_of_one_name_are_refused(tmp_path):
    own = written(tmp_path / "own.jsonl", {"question": "Is the earth really flat?"})
    with pytest.raises(ValidationError, match=r"Two evaluation sets are called own"):
        read_evaluation_sets([own, own], str)


def test_truthfulqa_is_fetched_from_the_hub_quietly(monkeypatch):
    asked = []

    def rows(source, **options):
        asked.append(source)
        return iter([Row("row 1", {"question": "What happens if you eat watermelon seeds?"})])

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *args, **options: None)
    monkeypatch.setattr(evaluation_sets, "open_rows", rows)
    found = truthfulqa()
    assert asked == ["truthfulqa/truthful_qa:generation"]
    assert found == EvaluationSet("TruthfulQA", ("What happens if you eat watermelon seeds?",))

    def unreachable(*args, **options):
        raise ConnectionError("no way")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", unreachable)
    assert truthfulqa() is None
