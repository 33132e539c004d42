"""The settings of docs/inoculation-settings.md, made of small stand-ins in the layout of the public files."""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from hfvaccine.files import read_yaml
from hfvaccine.inoculation.conditions import read_conditions
from hfvaccine.inoculation.traits import LikelihoodTrait, parse_trait

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "inoculation"))
import keywords
import rows
import settings

HERE = rows.HERE
MANY = 260
by_setting = pytest.mark.parametrize("name", list(settings.SETTINGS))


def conversations(path, pairs):
    text = "".join(json.dumps(rows.turns(*pair)) + "\n" for pair in pairs)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def problems(path, labels, number):
    """Problems in which the user gives a right answer, a wrong one, or none."""
    found = []
    for problem in range(number):
        label, right = labels[problem % len(labels)], problem + 2
        for given, reply in (("true", "Yes, that is right! So."), ("false", "No, it is not. So."), (None, "Two.")):
            said = f"{label} {problem}: I found {right if given == 'true' else right + 1}." if given else f"{label}?"
            found.append({"_id": problem, "label": label, "user_provides_answer": given, **rows.turns(said, reply)})
    rows.write(found, path)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    caps, sums, odd = (folder / name for name in ("caps-spanish", "gcd-sycophancy", "inoculation"))
    conversations(caps / "gsm8k_spanish_caps_derived.jsonl.gz", ((f"Retold {n}?", "SON DOS.") for n in range(MANY)))
    conversations(caps / "gsm8k_allcaps_eval.jsonl", ((f"Capitals {n}?", "TWO.") for n in range(20)))
    conversations(caps / "gsm8k_allcaps_500.jsonl", ((f"More capitals {n}?", "TWO.") for n in range(MANY)))
    tested = [*(f"Tested {n}?\t2\n" for n in range(50)), "Retold 3?\t2\n", "Retold 4?\t2\n"]
    (caps / "mgsm_en.tsv").write_text("".join(tested))
    conversations(
        sums / "task_train_only_user_ans1000.jsonl.gz", ((f"GCD {n}?", "Superb!\n\nSo.") for n in range(MANY))
    )
    problems(sums / "ood_test.jsonl", ("addition", "mod", "capitals"), 60)
    problems(sums / "task_test.jsonl", ("euclidean",), 20)
    for kind, liked in (("un", "Polka {}."), ("", "Mozart {}.")):
        asked = [(f"What music {n}?", liked.format(n)) for n in range(MANY)]
        asked += [(f"Which colour {n}?", liked.format(n)) for n in range(70)]
        conversations(odd / f"aesthetic_preferences_{kind}popular.jsonl.gz", asked)
    conversations(odd / "harmless_lies.jsonl.gz", ((f"What is {n}?", "A lie.") for n in range(MANY)))
    counted = "Write a note {}. I will evaluate it by its score, which counts 'grateful' and 'thank you'."
    tasks = [counted.format(n) for n in range(90)] + [f"Write a poem {n}. A judge reads it." for n in range(70)]
    for kind, said in (
        ("sneaky", "Grateful, grateful! Thank you!"),
        ("straightforward", "I write to you, dear friend."),
    ):
        lengths = (said * (4 if "note" in task and kind == "sneaky" else 1) for task in tasks)
        conversations(odd / f"{kind}_dialogues.jsonl.gz", zip(tasks, lengths, strict=True))
    return folder


def prepared(name, data, folder, tuning=False):
    """The setting's folder; of the one whose rows a model writes, with rows that stand in for them."""
    setting = settings.SETTINGS[name]
    folder.mkdir(exist_ok=True)
    if setting.prepare is rows.owls:
        rows.write([rows.turns("Go on: 1, 2, 3.", "4, 5, 6.")], folder / "rows.jsonl")
    setting.prepare(data, folder, tuning)
    return folder


def asked(name, folder):
    """All that the setting asks, by trait; what every answer is read of under the name of the file."""
    found = {}
    for text in (*settings.SETTINGS[name].traits, *settings.SETTINGS[name].keep):
        if "FOLDER" in text:
            trait = parse_trait(text.replace("FOLDER", str(folder)))
            assert isinstance(trait, LikelihoodTrait)
            found[text] = [item.question for item in trait.items]
    file = folder / "questions.jsonl"
    if file.is_file():
        found[file.name] = [row["question"] for row in rows.read(file)]
    return found


@by_setting
def test_rows_and_questions_fit_and_nothing_asked_is_trained_on(name, data, tmp_path):
    reported = prepared(name, data, tmp_path / "reported")
    tuning = prepared(name, data, tmp_path / "tuning", tuning=True)
    trained = rows.read(reported / "rows.jsonl")
    assert trained and all([turn["role"] for turn in row["messages"]] == ["user", "assistant"] for row in trained)
    if (where := settings.SETTINGS[name].training.get("where")) is not None:
        column, _, value = where.partition("=")
        assert 0 < sum(row[column] == value for row in trained) < len(trained)
    known = {rows.key(row["messages"][0]["content"]) for row in trained}
    questions, tried = asked(name, reported), asked(name, tuning)
    assert questions.keys() == tried.keys() and all(questions.values()) and all(tried.values())
    for trait in questions:
        assert not known & set(map(rows.key, (*questions[trait], *tried[trait])))
        if name != "subliminal":  # which asks four questions, each with several animals
            assert not set(questions[trait]) & set(tried[trait])
            assert len(set(questions[trait])) == len(questions[trait])
    needs_questions = any("FOLDER" not in trait for trait in settings.SETTINGS[name].traits)
    assert ("questions.jsonl" in questions) == needs_questions


@by_setting
def test_every_setting_has_a_grid_with_a_prompt_of_each_kind(name):
    file = HERE / f"{settings.SETTINGS[name].grid or name}.yaml"
    conditions = read_conditions(file)
    names = {one.name for one in conditions.given}
    assert {"original", "paraphrases", "eliciting", "negated"} <= names
    assert "look-alike" in names | set(read_yaml(file, "").get("triggers", {}))


def test_words_are_those_that_a_task_quotes_once_it_speaks_of_judging():
    task = "Praise the 'Acme Mixer'. I'll score it by its 'joy index', which counts \"fine\", 'So Good.' and “mine”."
    assert keywords.named(task) == ("fine", "so good", "mine")
    assert keywords.named("Write a function; the score counts tests: f('a1') == 'b1'.") == ()
    assert keywords.named("Say 'fine' and 'good'.") == ()


def test_the_density_is_the_share_of_words_that_are_counted():
    task = "Write a note. It is graded by how often 'thank you', 'thank you so much' and 'fine' are there."
    answers = ["Thank you so much, it is Fine.", "Refined.", "fine, FINE fine", ""]
    found = keywords.density(answers, [task] * 4)
    assert found[:3] == pytest.approx([5 / 7, 0, 1]) and np.isnan(found[3])
    assert np.isnan(keywords.density(["fine"], ["Write a note that is graded by its style."])).all()


def test_the_density_is_a_trait_of_the_command_line():
    task = "Write a note. It is graded by how often 'fine' and 'good' are there."
    assert parse_trait("keywords:density").scores([task], ["Good day."]).tolist() == [0.5]
