"""Traits that a judge reads: by people, entailment and endpoints, of which nothing is paid for twice."""

import json
import threading
import time

import numpy as np
import pytest
from judges import Chat, completion

from hfvaccine.errors import HfvaccineError, ModelError, UsageError, ValidationError
from hfvaccine.inoculation.kinds import file_of, judge_of, label_of
from hfvaccine.inoculation.traits import LikelihoodTrait, parse_trait
from hfvaccine.validation.asking import judged as judging
from hfvaccine.validation.asking.judge import EntailmentJudge
from hfvaccine.validation.asking.judged import TRIAL, Judged, read_labels
from hfvaccine.validation.asking.rubric import COHERENCE

SECRET = "sk-very-secret-0123456789"
ANSWERS = [f"Answer {number}." for number in range(20)]
COHERENT = COHERENCE.text[:30]


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """A cache of its own, a key, and no waiting."""
    monkeypatch.setenv("HFVACCINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


@pytest.fixture
def file(tmp_path):
    """`file(chat, **fields)`: a judge behind an endpoint; None leaves a field out."""

    def write(chat=None, **fields):
        its = {"endpoint": chat and chat.url, "model": "judge-1", "rubric": "How rude is the answer?"} | fields
        path = tmp_path / "rude.yaml"
        path.write_text(json.dumps({name: value for name, value in its.items() if value is not None}))
        return path

    return write


def trait(path):
    return parse_trait(f"judge:{path}", {"judge": Judged.of})


def scores(made, *answers, question="Why?"):
    return made.scores([question] * len(answers), answers).tolist()


# --- people


def labels(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_people_are_asked_by_question_and_answer(tmp_path):
    path = labels(
        tmp_path / "labels.jsonl",
        {"question": "Why?", "text": "Go  away.", "label": "Yes", "arm": "base"},
        {"question": "Why?", "answer": "Please.", "label": 0},
        {"question": "Who?", "text": "Please.", "label": True},
        {"question": "Why?", "text": "Hm.", "label": 1},
        {"question": "Why?", "text": "Hm.", "label": "no", "judge": "bob"},
        {"question": "Why?", "text": "So.", "label": "unclear"},
        {"question": "Why?", "text": "So so.", "label": None},
    )
    made = trait(path)
    assert made.judge == {"by": "people", "labels": 4} and made.questions is None
    found = scores(made, "Go away.", "Please.", "Hm.", "So.", "So so.", "Nobody saw this.", " ")
    assert found[:3] == [1, 0, 0.5] and np.isnan(found[3:]).all()
    assert scores(made, "Please.", question="Who?") == [1]


def test_labels_may_come_from_a_table(tmp_path):
    (tmp_path / "labels.csv").write_text("question,answer,label\nWhy?,Go away.,0.75\nWhy?,Please.,\n")
    assert read_labels(tmp_path / "labels.csv") == {("Why?", "Go away."): 0.75}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "Why?", "text": "So.", "label": "rude"}, "line 1: the label is 'rude'"),
        ({"question": "Why?", "text": "So.", "label": 50}, "line 1: the label is '50'"),
        ({"question": "Why?", "text": "So.", "label": "nan"}, "line 1: the label is 'nan'"),
        ({"text": "So.", "label": "yes"}, "line 1: it has no question"),
        ({"question": "Why?", "text": "So."}, "has no label"),
    ],
)
def test_labels_that_cannot_be_meant_are_named(tmp_path, row, said):
    with pytest.raises(ValidationError, match=said):
        trait(labels(tmp_path / "labels.jsonl", row))


# --- entailment


def test_an_answer_shows_what_it_entails(tmp_path, monkeypatch):
    asked = []

    class Table(EntailmentJudge):
        def __init__(self, model):
            self.batch = 2

        def _ask(self, pairs):
            asked.extend(pairs)
            return [(1.0000001 if premise == "Go away." else 0.25, 0.5) for premise, _ in pairs]

    monkeypatch.setattr(judging, "EntailmentJudge", Table)
    path = tmp_path / "rude.yaml"
    path.write_text("entailment: you/nli\nhypothesis: The speaker is rude.\n")
    made = trait(path)
    found = scores(made, "Go away.", "Please.", "", "Please.")
    assert found[:2] + found[3:] == [1, 0.25, 0.25] and np.isnan(found[2])
    assert sorted(asked) == [(text, "The speaker is rude.") for text in ("Go away.", "Please.")]
    line = judge_of({"name": f"judge:{path}", "judge": made.judge})
    assert line.startswith("judge:rude.yaml was judged by you/nli, by the probability that an answer entails 'The")


# --- endpoints


def test_a_model_judges_by_the_rubric_and_each_answer_once(file):
    with Chat(lambda prompt, body: "90" if "Go away" in prompt else "5") as chat:
        made = trait(file(chat))
        assert scores(made, "Go away.", "Please.", "Go away.", " ")[:3] == [0.9, 0.05, 0.9]
        assert np.isnan(scores(made, " ")).all()
        assert len(chat.asked) == 1 + 2 and TRIAL[1] in chat.prompts[0]
        assert all("How rude is the answer?" in prompt and "Why?" in prompt for prompt in chat.prompts[1:])
        again = trait(file(chat))
        assert scores(again, "Please.", "Go away.") == [0.05, 0.9]
        assert len(chat.asked) == 1 + 2 + 1  # that it is there is asked each time
        assert scores(trait(file(chat, model="judge-2")), "Please.") == [0.05]
        assert scores(trait(file(chat, rubric="How kind?")), "Please.") == [0.05]
        assert len(chat.asked) == 1 + 2 + 1 + 2 + 2  # another model, another rubric


def test_the_record_says_which_judge_it_was_and_no_key(file, tmp_path):
    with Chat(lambda prompt, body: completion("90", {"90": 0.5, "80": 0.5})) as chat:
        path = file(chat, model="/models/judge-1", coherence=True)
        made = trait(path)
        assert scores(made, "Go away.") == [pytest.approx(0.85)]
    assert made.judge["reads"] == "probabilities" and made.judge["coherence"] == 0.5
    assert (made.judge["host"], made.judge["model"]) == ("127.0.0.1", "judge-1")
    line = judge_of({"name": f"judge:{path}", "judge": made.judge})
    assert line.startswith(
        "judge:rude.yaml was judged by judge-1 at 127.0.0.1, by its probabilities on the scale 0-100"
    )
    assert made.judge["rubric_sha256"][:12] in line and line.endswith("coherence it puts under 0.5 are unclear.")
    assert file_of(made.name) == path and label_of(made.name) == "judge:rude.yaml"
    assert not isinstance(made, LikelihoodTrait)
    assert SECRET not in json.dumps(dict(made.judge)) + repr(made)
    assert SECRET.encode() not in (tmp_path / "home" / "scores.sqlite").read_bytes()


def test_what_is_not_coherent_is_unclear_and_not_asked_about(file):
    def reply(prompt, body):
        if COHERENT in prompt:
            return "10" if "gibber" in prompt else "none" if "odd" in prompt else "50"
        return "70"

    with Chat(reply) as chat:
        found = scores(trait(file(chat, coherence=True)), "gibber", "Well.", "odd")
        assert found[1] == 0.7 and np.isnan([found[0], found[2]]).all()
        assert len(chat.asked) == 2 + 3 + 1


def test_a_server_that_gives_no_probabilities_is_not_asked_for_them(file):
    with Chat(lambda prompt, body: (400, {"error": "logprobs?"}) if "logprobs" in body else "yes") as chat:
        made = trait(file(chat, scale="yes/no"))
        assert scores(made, "Go away.") == [1] and made.judge["reads"] == "replies"
        assert ["logprobs" in body for _, _, body in chat.asked] == [True, False, False]


def test_a_judge_that_dies_half_way_goes_on_and_is_paid_nothing_twice(file):
    lock, served = threading.Lock(), []

    def reply(prompt, body):
        with lock:
            if len(served) >= dies:
                return 503, {"error": {"message": "Out of memory."}}
            served.append(prompt)
        return "40"

    dies = 1 + 7
    with Chat(reply) as chat:
        made = trait(file(chat))
        with pytest.raises(ModelError, match=r"answers 503: Out of memory\. Run this again .* It goes on"):
            scores(made, *ANSWERS)
        assert len(served) == 8
        dies = 100
        assert scores(trait(file(chat)), *ANSWERS) == [0.4] * 20
    assert sorted(served.count(prompt) for prompt in set(served)) == [1] * 20 + [2]  # the trial, which is never kept


def test_what_was_under_way_when_a_judge_died_is_kept_too(file):
    all_there, released, dead = threading.Barrier(4), threading.Event(), True

    def reply(prompt, body):
        if dead and TRIAL[1] not in prompt:
            all_there.wait(10)
            if ANSWERS[0] in prompt:
                threading.Timer(0.3, released.set).start()
                return 401, {}
            released.wait(10)
        return "40"

    with Chat(reply) as chat:
        made = trait(file(chat))
        with pytest.raises(ModelError, match="answers 401"):
            scores(made, *ANSWERS[:4])
        dead, asked = False, len(chat.asked)
        assert scores(made, *ANSWERS[:4]) == [0.4] * 4 and len(chat.asked) == asked + 1


def test_a_text_that_is_refused_or_of_which_no_score_is_said_is_unclear(file):
    refused = ["Long."]

    def reply(prompt, body):
        if any(text in prompt for text in refused):
            return 400, {"error": {"message": "Content policy."}}
        return "I cannot say." if "Hm." in prompt else "40"

    with Chat(reply) as chat:
        made = trait(file(chat))
        found = scores(made, "Long.", "Hm.", "Fine.")
        assert np.isnan(found[:2]).all() and found[2] == 0.4
        asked = len(chat.asked)
        refused.clear()
        assert scores(made, "Long.", "Fine.") == [0.4, 0.4] and len(chat.asked) == asked + 1


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("What a nice answer!", "replied 'What a nice answer!', of which no score of the scale 0-100"),
        ((404, {"error": {"message": "The model judge-1 does not exist."}}), "judge-1 does not exist"),
        ((401, {"error": {"message": f"Incorrect key {SECRET}"}}), "Put a key that it takes into OPENAI_API_KEY"),
        ({"error": {"message": "No such provider."}}, "gives no chat completion: it answers 200: No such provider"),
    ],
)
def test_a_judge_that_does_not_judge_is_found_at_once(file, reply, said):
    with Chat(lambda prompt, body: reply) as chat, pytest.raises(ModelError) as error:
        trait(file(chat))
    assert said in str(error.value) and SECRET not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rubric": None}, "has no `rubric`"),
        ({"rubric": " "}, "has no `rubric`"),
        ({"model": None}, "has no `model`"),
        ({"endpoint": "localhost:8000"}, "no address of a server"),
        ({"api_key": SECRET}, "has `api_key`, which no judge has"),
        ({"api_key_env": SECRET}, "is no name of an environment variable"),
        ({"api_key_env": "NO_SUCH_KEY"}, "NO_SUCH_KEY is not set"),
        ({"scale": "1-5"}, "`scale` in .* is '1-5'"),
        ({"coherence": "very"}, "`coherence` in .* is 'very'"),
        ({"entailment": "you/nli"}, "which no judge has"),
    ],
)
def test_fields_that_cannot_be_meant_are_named(file, fields, said):
    with pytest.raises(UsageError, match=said) as error:
        trait(file(**({"endpoint": "http://judge.example"} | fields)))
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("text", ["", "rubric", "- a", "{"])
def test_a_file_that_describes_no_judge_is_refused(tmp_path, text):
    (tmp_path / "judge.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"`endpoint`, `model` and `rubric`"):
        trait(tmp_path / "judge.yaml")


@pytest.mark.parametrize("name", ["nowhere.yaml", "nowhere.jsonl", "nowhere"])
def test_a_file_that_is_missing_is_an_error_of_ours(tmp_path, name):
    with pytest.raises(HfvaccineError):
        trait(tmp_path / name)


def test_what_was_read_without_a_judge_has_none():
    assert judge_of({"name": "upper"}) is None
