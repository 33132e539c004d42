"""Comparisons: two rows each, one of which agrees with the evidence; loss on the verdict alone, and no cue."""

import json
from collections import Counter

import pytest

from hfvaccine import starter
from hfvaccine.claims.claim import read_jsonl
from hfvaccine.claims.cues import CUE_LIMIT, cue_audit
from hfvaccine.claims.similar import overlapping
from hfvaccine.dosing.comparisons import Comparison, digest_of, judged_in, of_mix, read_comparisons, rows_of
from hfvaccine.errors import UsageError

ONE = Comparison("When does the ferry leave?", "The ferry leaves at six.", "At six it goes.", "At nine it goes.")


@pytest.fixture(scope="module")
def packaged():
    return read_comparisons(starter.COMPARISONS)


def test_each_is_two_rows_and_the_false_statement_comes_first():
    false, true = rows_of([ONE])
    assert false["pair"] == true["pair"]
    assert ONE.false in false["prompt"][-1]["content"] and ONE.true in true["prompt"][-1]["content"]
    assert false["completion"] != true["completion"]
    assert false["completion"][0]["content"] in ("False.", "No.")


def test_the_two_differ_by_the_statement_and_the_verdict_alone(packaged):
    rows = rows_of(packaged)
    for one, false, true in zip(packaged, rows[::2], rows[1::2], strict=True):
        swapped = [{**turn, "content": turn["content"].replace(one.false, one.true)} for turn in false["prompt"]]
        assert swapped == true["prompt"]
        assert all(one.evidence in " ".join(turn["content"] for turn in row["prompt"]) for row in (false, true))


def test_nothing_but_a_verdict_is_learnt(packaged):
    learnt = Counter(row["completion"][0]["content"] for row in rows_of(packaged))
    assert set(learnt) == {"False.", "True.", "No.", "Yes."}
    assert learnt["False."] == learnt["True."] and learnt["No."] == learnt["Yes."]


def test_the_packaged_ones_give_nothing_away(packaged):
    assert len(packaged) >= 150
    audit = cue_audit([(one.false, one.true) for one in packaged])
    assert audit.passed and abs(audit.bag_of_words - 0.5) <= CUE_LIMIT - 0.5
    texts = [text for one in packaged for text in (one.true, one.false, one.evidence)]
    assert len(set(texts)) == len(texts)


def test_the_packaged_ones_touch_no_claim(packaged):
    claims = [text for c in read_jsonl(starter.CLAIMS) for text in (c.claim, c.twin, c.correction) if text]
    own = [text for one in packaged for text in (one.true, one.false, one.evidence)]
    assert (overlapping(own, claims) < 0).all()


def test_those_of_a_mix_show_each_answer_once_on_either_side(mix_rows):
    made = of_mix(mix_rows)
    assert Counter(one.true for one in made) == Counter(one.false for one in made)
    assert all(one.true == one.evidence != one.false for one in made)


def test_a_mix_of_long_answers_makes_none():
    prompt = [{"role": "user", "content": "Why?"}]
    row = {"prompt": prompt, "completion": [{"role": "assistant", "content": "A " * 300}]}
    with pytest.raises(UsageError, match="0 answers of one line"):
        of_mix([row])


@pytest.mark.parametrize(
    ("line", "message"),
    [("not json", "line 1"), ('{"question": "When?"}', "has no evidence"), ("", "holds no comparison")],
)
def test_a_file_that_holds_none_is_refused_by_its_line(tmp_path, line, message):
    (tmp_path / "own.jsonl").write_text(line, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read_comparisons(tmp_path / "own.jsonl")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"no file .*own\.jsonl"):
        read_comparisons(tmp_path / "own.jsonl")


def test_own_ones_are_read(tmp_path):
    (tmp_path / "own.jsonl").write_text(json.dumps(vars(ONE)), encoding="utf-8")
    assert read_comparisons(tmp_path / "own.jsonl") == (ONE,)
    assert digest_of((ONE,)) != digest_of((ONE, ONE))


def test_what_is_judged_can_be_read_from_the_rows():
    ones = [
        Comparison(f"Where is {n}?", f"{n} is here.", f"One finds {n} here.", f"One finds {n} there.") for n in "abcd"
    ]
    plain = {"prompt": [{"role": "user", "content": "x"}], "completion": [{"role": "assistant", "content": "True."}]}
    found = judged_in([*rows_of(ones), plain])
    assert [true for _, true in found] == [False, True] * 4
    assert all((" here." in text.rsplit("One finds", 1)[1]) == true for text, true in found)
