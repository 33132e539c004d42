"""Free text: every arm is asked the same, people judge blindly, and a judge's error is taken out."""

import json

import pytest

from hfvaccine.errors import ValidationError
from hfvaccine.validation.asking.free_text import Answer, Interview, write_answers, write_sheet
from hfvaccine.validation.asking.judge import HumanLabels, Judgement
from hfvaccine.validation.asking.probes import ProbeSet


class Strict:
    """Calls an answer correct where it is the twin."""

    def judge_all(self, cases):
        return [Judgement("correct" if response == e.twin else "incorrect", 1.0) for _, response, e in cases]


class Blind:
    def judge_all(self, cases):
        return [Judgement("correct", 0.5) for _ in cases]


@pytest.fixture
def sets(make_claims):
    claims = make_claims(20)
    return [ProbeSet.of("specific", claims[:10]), ProbeSet.of("cross", claims[10:])]


def said(interview, arm, right):
    """Answers of which `right` of ten of each set are correct."""
    places = {}
    responses = []
    for name, pair in interview.asked:
        places[name] = places.get(name, -1) + 1
        responses.append(pair.truth if places[name] < right else pair.claim)
    return interview.answers(arm, responses)


def test_each_set_gets_its_score_and_no_claim_is_in_the_question(sets):
    interview = Interview.of(sets, 10, Strict())
    assert len(interview.prompts()) == 20
    for (_, pair), prompt in zip(interview.asked, interview.prompts(), strict=True):
        assert str(pair.question) in prompt and pair.claim not in prompt and pair.truth not in prompt
    scores = interview.score(said(interview, "vaccine", 7))
    assert {(p.name, p.of, p.better): v.mean() for p, v in scores.items()} == {
        ("free_text", "specific", "higher"): 0.7,
        ("free_text", "cross", "higher"): 0.7,
    }


def test_fewer_pairs_are_the_same_ones_for_every_arm(sets):
    assert Interview.of(sets, 4).asked == Interview.of(sets, 4).asked
    assert [name for name, _ in Interview.of(sets, 4).asked] == ["specific"] * 4 + ["cross"] * 4


def test_without_questions_there_is_nothing_to_ask(make_claims):
    with pytest.raises(ValidationError, match="No claim has a question"):
        Interview.of([ProbeSet.of("specific", make_claims(8, question=None))], 8)


def test_without_a_judge_there_are_answers_and_no_scores(sets):
    interview = Interview.of(sets, 10)
    answers = said(interview, "base", 5)
    assert interview.score(answers) == {} and interview.report(answers, {}) is None


def test_people_label_without_knowing_whose_answer_it_is(sets, tmp_path):
    interview = Interview.of(sets, 10)
    answers = [*said(interview, "base", 0), *said(interview, "vaccine", 10), *said(interview, "placebo", 10)]
    write_sheet(answers, tmp_path / "to_label.jsonl")
    text = (tmp_path / "to_label.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert len(rows) == 40  # vaccine and placebo said the same
    assert not any(arm in text for arm in ("base", "vaccine", "placebo", "specific", "cross"))
    order = [row["response"] in {pair.truth for _, pair in interview.asked} for row in rows]
    assert order != sorted(order) and order != sorted(order, reverse=True)

    truths = {pair.truth for _, pair in interview.asked}
    for row in rows:
        row |= {"label": "correct" if row["response"] in truths else "incorrect", "judge": "ada"}
    (tmp_path / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)))
    judged = Interview.of(sets, 10, HumanLabels.read(tmp_path / "labels.jsonl"))
    assert {v.mean() for v in judged.score(answers[:20]).values()} == {0.0}
    assert {v.mean() for v in judged.score(answers[20:40]).values()} == {1.0}
    assert "people" in judged.report(answers, {})["error"]


def test_who_answered_what_is_kept(sets, tmp_path):
    interview = Interview.of(sets, 10)
    answers = said(interview, "base", 3)
    write_answers(answers, tmp_path / "answers.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [Answer(**row) for row in rows] == answers


def labels_of(answers, correct):
    return HumanLabels({(a.prompt, a.response): {"ada": "correct" if correct(a) else "incorrect"} for a in answers})


def test_a_judge_is_held_against_people_and_its_rates_are_corrected(sets):
    asked = Interview.of(sets, 10)
    answers = [*said(asked, "base", 0), *said(asked, "vaccine", 10)]
    truths = {pair.truth for _, pair in asked.asked}
    interview = Interview.of(sets, 10, Strict(), labels_of(answers, lambda a: a.response in truths))
    report = interview.report(answers, {("vaccine", "specific"): (1.0, 10), ("base", "specific"): (0.0, 10)})
    assert report["labelled"] == 40
    assert report["error"]["sensitivity"]["value"] == report["error"]["specificity"]["value"] == 1.0
    assert [(c["arm"], c["value"]) for c in report["corrected"]] == [("vaccine", 1.0), ("base", 0.0)]


@pytest.mark.parametrize("labelled", [False, True])
def test_a_judge_that_cannot_be_trusted_is_said_to_be_so(sets, labelled):
    asked = Interview.of(sets, 10)
    answers = said(asked, "base", 5)
    truths = {pair.truth for _, pair in asked.asked}
    labels = labels_of(answers, lambda a: a.response in truths) if labelled else None
    report = Interview.of(sets, 10, Blind(), labels).report(answers, {("base", "specific"): (1.0, 10)})
    assert "not known" in report["error"] and "corrected" not in report
    assert ("chance" in report["error"]) == labelled
