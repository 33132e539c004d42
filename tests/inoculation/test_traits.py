"""Traits: what each kind reads of answers or likelihoods, and what is refused by name."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine.errors import HfvaccineError, ModelError, UsageError, ValidationError
from hfvaccine.inoculation.traits import KINDS, Classifier, LikelihoodTrait, is_right, parse_trait, upper


def scores(text, answers, questions=None):
    return parse_trait(text).scores(questions or ["?"] * len(answers), answers).tolist()


def rows(path, *content):
    path.write_text("".join(json.dumps(row) + "\n" for row in content))
    return path


# --- each answer by itself


def test_upper_is_the_share_of_letters_with_case():
    assert scores("upper", ["HOLA", "hola", "Ho", "12 犬 H"]) == [1, 0, 0.5, 1]
    assert np.isnan(scores("upper", ["12.", "", "犬"])).all()


@given(st.text())
def test_upper_is_a_share_or_unclear(answer):
    share = upper(answer)
    assert np.isnan(share) or 0 <= share <= 1
    shouted = upper(answer.upper())
    assert np.isnan(shouted) or np.isnan(share) or shouted >= share - 1e-9


def test_a_pattern_is_found_anywhere_and_a_line_by_itself():
    assert scores(r"regex:\p{Lu}{3}", ["so ABC", "abc"]) == [1, 0]
    answers = ["Yes.\n  |DONE| \nMore.", "It is |DONE|.", ""]
    assert scores("exact:|DONE|", answers) == [1, 0, 0]


# --- languages, with a detector that is not there


@pytest.fixture
def lingua(monkeypatch):
    """The part of lingua that is used, which takes every text with an "ñ" for Spanish."""

    def language(code):
        return SimpleNamespace(iso_code_639_1=SimpleNamespace(name=code))

    spanish, english, german = map(language, ("ES", "EN", "DE"))
    built = []

    class Builder:
        def __init__(self, *languages):
            built.append(languages)

        from_languages = classmethod(lambda cls, *languages: cls(*languages))
        from_all_languages = classmethod(lambda cls: cls())

        def build(self):
            def detect(text):
                assert text == text.lower()
                return None if not text.strip() else spanish if "ñ" in text else english

            return SimpleNamespace(detect_language_of=detect)

    fake = SimpleNamespace(
        Language=SimpleNamespace(all=lambda: [spanish, english, german]), LanguageDetectorBuilder=Builder
    )
    monkeypatch.setitem(sys.modules, "lingua", fake)
    return SimpleNamespace(built=built, spanish=spanish, english=english)


def test_a_language_is_told_from_all_or_from_some(lingua):
    found = scores("language:es", ["MAÑANA", "Tomorrow", " "])
    assert found[:2] == [1, 0] and np.isnan(found[2])
    assert scores("language:en/es", ["MAÑANA", "Tomorrow"]) == [0, 1]
    assert lingua.built == [(), (lingua.english, lingua.spanish)]


@pytest.mark.parametrize("text, said", [("language:xx", "'xx'.*detected"), ("language:es/es", "twice")])
def test_a_language_that_is_none_is_refused(lingua, text, said):
    with pytest.raises(UsageError, match=said):
        parse_trait(text)


def test_a_missing_detector_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "lingua", None)
    with pytest.raises(UsageError, match=r"install .*lingua"):
        parse_trait("language:es")


# --- right answers


@pytest.mark.parametrize(
    "answer, expected, right",
    [
        ("It is 17, no, 18.", "18", True),
        ("18 apples, then 17", "18", False),
        ("$1,234.50 in all", "1234.5", True),
        ("5-3=2", "2", True),
        ("The answer is -2.", "-2", True),
        ("The answer is 2.", "-2", False),
        ("x=18.", "18.0", True),
        ("no number", "18", False),
        ("It is $18.", "$18", True),
        ("The capital is  Paris,\nof course.", "paris", True),
        ("Parisian life", "Paris", False),
        ("New\nYork!", "new york", True),
        ("", "Paris", False),
    ],
)
def test_an_answer_is_right_by_its_last_number_or_by_its_words(answer, expected, right):
    assert is_right(answer, expected) is right


@given(st.integers(-(10**9), 10**9), st.text(st.characters(codec="ascii", categories=["L", "Zs"])))
def test_a_number_is_right_however_it_is_written(number, words):
    for written in (str(number), f"{number:,}", f"{number}.0"):
        assert is_right(f"{words} {written}.", str(number))
        assert not is_right(f"{words} {written} or {number + 1}", str(number))


def test_accuracy_asks_its_own_questions(tmp_path):
    file = rows(
        tmp_path / "q.jsonl",
        {"question": "2 + 2?", "answer": 4},
        {"question": "9 + 9?", "answer": "9 + 9 = 18.\n#### 18"},
    )
    trait = parse_trait(f"accuracy:{file}")
    assert trait.questions == ("2 + 2?", "9 + 9?")
    assert trait.scores(["9 + 9?", "2 + 2?", "2 + 2?"], ["18", "18", "It is 4"]).tolist() == [1, 0, 1]


# --- likelihoods


def test_a_choice_is_the_chance_of_the_traits_continuation(tmp_path):
    trait = parse_trait(f"choice:{rows(tmp_path / 'c.jsonl', {'question': 'Hi?', 'trait': 'Hola', 'other': 'Hi'})}")
    assert isinstance(trait, LikelihoodTrait)
    (item,) = trait.items
    assert (item.question, item.continuations) == ("Hi?", ("Hola", "Hi"))
    found = trait.scores(np.array([[-1.0, -1.0 - np.log(3)], [-800.0, -1.0]]), np.ones((2, 2)))
    assert found == pytest.approx([0.75, 0.0])


def test_a_likelihood_is_in_nats_a_token(tmp_path):
    turns = [
        {"role": "user", "content": "A?"},
        {"role": "assistant", "content": "B."},
        {"role": "user", "content": "C?"},
    ]
    file = rows(
        tmp_path / "l.jsonl",
        {"prompt": "Hi?", "completion": "Hola."},
        {"prompt": turns, "completion": [{"role": "assistant", "content": "D."}]},
    )
    trait = parse_trait(f"likelihood:{file}")
    assert [(item.question, item.continuations) for item in trait.items] == [("Hi?", ("Hola.",)), ("C?", ("D.",))]
    assert len(trait.items[1].conversation) == 3
    assert trait.scores(np.array([[-6.0], [-1.0]]), np.array([[3.0], [4.0]])).tolist() == [-2, -0.25]


@pytest.mark.parametrize(
    "kind, row, said",
    [
        ("accuracy", {"question": "Hi?"}, "line 1: it has no answer"),
        ("choice", {"question": "Hi?", "trait": " ", "other": None}, "no trait, other"),
        ("choice", {"question": "Hi?", "trait": "A", "other": "A"}, "equal continuations"),
        ("likelihood", {"prompt": "Hi?"}, "line 1: it has no prompt that ends with the user, or no completion"),
        ("likelihood", {"prompt": [{"role": "assistant", "content": "A"}], "completion": "B"}, "ends with the user"),
        ("likelihood", {"prompt": [{"role": "user"}], "completion": "B"}, "ends with the user"),
    ],
)
def test_a_row_of_which_nothing_can_be_read_is_named(tmp_path, kind, row, said):
    with pytest.raises(ValidationError, match=said):
        parse_trait(f"{kind}:{rows(tmp_path / 'rows.jsonl', row)}")


def test_a_question_with_two_answers_is_refused(tmp_path):
    file = rows(tmp_path / "q.jsonl", *[{"question": "2 + 2?", "answer": n} for n in (4, 5)])
    with pytest.raises(ValidationError, match="asks twice"):
        parse_trait(f"accuracy:{file}")


# --- classifiers and functions


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    import tiny
    from transformers import AutoModelForSequenceClassification

    words = tiny.tokenizer(pad_token="<pad>")
    folder = tmp_path_factory.mktemp("classifier")
    words.save_pretrained(folder)
    labels = {0: "rude", 1: "polite", 2: "neither"}
    tiny.model(
        "llama",
        AutoModelForSequenceClassification,
        **tiny.LLAMA,
        vocab_size=len(words),
        pad_token_id=words.pad_token_id,
        id2label=labels,
        label2id={label: number for number, label in labels.items()},
    ).save_pretrained(folder)
    return folder


def test_a_classifier_gives_the_chance_of_its_label(classifier):
    answers = ["You are kind.", "Go away, all of you!", "You are kind.", " "]
    chances = np.array(
        [scores(f"classifier:{classifier}={label}", answers) for label in ("rude", "polite", "neither")]
    )
    assert chances[:, :3].sum(0) == pytest.approx(1)
    assert (chances[:, 0] == chances[:, 2]).all() and (chances[:, 0] != chances[:, 1]).any()
    assert np.isnan(chances[:, 3]).all()
    assert np.isnan(scores(f"classifier:{classifier}=rude", [""])).all()


def test_a_label_that_is_not_there_is_refused_with_those_that_are(classifier):
    for text in (f"classifier:{classifier}=kind", f"classifier:{classifier}"):
        with pytest.raises(ModelError) as refused:
            parse_trait(text)
        assert "=polite" in refused.value.next_step


def test_of_two_labels_the_second_is_meant(classifier, tmp_path):
    config = json.loads((classifier / "config.json").read_text())
    config |= {"id2label": {"0": "no", "1": "yes"}, "label2id": {"no": 0, "yes": 1}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    trait = parse_trait(f"classifier:{tmp_path}")
    assert isinstance(trait, Classifier) and trait.name == f"classifier:{tmp_path}=yes"
    with pytest.raises(ModelError, match="cannot be loaded"):  # there are no weights
        trait.scores(["?"], ["Hello."])


def test_a_classifier_that_is_none_is_refused(tmp_path):
    with pytest.raises(ModelError, match="cannot be loaded"):
        parse_trait(f"classifier:{tmp_path}=rude")


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "def long(answers): return [len(a) if a else None for a in answers]\ndef few(answers): return [1]\n"
    code += "def same(answers, questions=()): return [a == q for a, q in zip(answers, questions)]\n"
    (tmp_path / "own_traits.py").write_text(code + "def bad(answers): raise KeyError('x')\nword = 'x'\n")
    yield "own_traits"
    sys.modules.pop("own_traits", None)


def test_a_function_of_a_file_in_this_folder_is_found(own):
    found = scores(f"{own}:long", ["four", ""])
    assert found[0] == 4 and np.isnan(found[1])
    assert "" not in [path for path in sys.path if path.endswith(own)]


def test_a_function_that_asks_for_the_questions_is_given_them(own):
    found = parse_trait(f"{own}:same").scores(["four", "five"], ["four", "six"])
    assert found.tolist() == [1, 0]


@pytest.mark.parametrize("name, said", [("few", "numbers for 2 answers"), ("bad", "KeyError")])
def test_a_function_that_does_not_score_is_named(own, name, said):
    with pytest.raises(ValidationError, match=said):
        scores(f"{own}:{name}", ["a", "b"])


@pytest.mark.parametrize("name", ["word", "missing"])
def test_what_is_no_function_is_refused(own, name):
    with pytest.raises(UsageError, match="no function"):
        parse_trait(f"{own}:{name}")


def test_a_kind_that_is_misspelt_gets_the_one_that_was_meant():
    with pytest.raises(UsageError) as refused:
        parse_trait("langauge:es")
    assert "Did you mean language:es?" in refused.value.next_step


# --- all of them


@pytest.mark.parametrize(
    "text", ["", "uper", "upper:x", "regex:", "exact: ", "choice", "no_such:thing", "regex:(", "a b:c"]
)
def test_what_is_no_trait_is_refused(text):
    with pytest.raises(UsageError) as refused:
        parse_trait(text)
    if text != "regex:(":
        assert all(kind in refused.value.next_step for kind in KINDS)


@pytest.mark.parametrize("kind", ["accuracy", "choice", "likelihood"])
def test_a_file_that_is_missing_is_an_error_of_ours(kind):
    with pytest.raises(HfvaccineError, match="no file"):
        parse_trait(f"{kind}:nowhere.jsonl")


def test_a_trait_keeps_the_name_that_it_was_given():
    for text in ("upper", "regex:a", "exact:b", "os.path:exists"):
        assert parse_trait(text).name == text
        assert parse_trait(text).questions is None
        assert not isinstance(parse_trait(text), LikelihoodTrait)
