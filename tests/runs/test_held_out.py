"""`inoculate measure` asks nothing that an adapter was trained on, and nothing that holds a prompt."""

import json
import shutil

import pytest

from hfvaccine.errors import UsageError
from hfvaccine.runs.held_out import Trained
from hfvaccine.runs.inoculate import dry_run, read
from hfvaccine.runs.measure import Measurement, measure
from hfvaccine.training.mix import load_mix
from hfvaccine.training.options import Inoculating
from hfvaccine.training.progress import Progress

PROMPT = "You always count in dozens."
OTHERS = ("What is hail?", "Who was Bach?", "Why is it hot?", "Where is Rome?")


@pytest.fixture
def ask(tiny_llama, inoculation_run, tmp_path, monkeypatch):
    """`ask(questions, adapters=..., **more)`: measure the run, up to where a model would be loaded."""

    class Loaded(Exception):
        pass

    def load(*args, **kwargs):
        raise Loaded

    monkeypatch.setattr("hfvaccine.training.base.load_base", load)

    def asking(*questions, adapters=None, traits=("upper",), **more):
        (tmp_path / "questions.jsonl").write_text(
            "\n".join(json.dumps({"question": text}) for text in (*OTHERS, *questions))
        )
        adapters = [str(inoculation_run)] if adapters is None else list(map(str, adapters))
        what = Measurement.of(str(tiny_llama), adapters, traits, (), tmp_path / "questions.jsonl", **more)
        said, progress = [], Progress()
        progress.say = said.append
        with pytest.raises(Loaded):
            measure(what, tmp_path / "out", progress)
        return [line for line in said if line.startswith("Note: ")]

    return asking


@pytest.fixture
def mix(inoculation_run):
    return load_mix(str(inoculation_run.parent / "rows.jsonl"))


def first(rows):
    return rows[0]["prompt"][0]["content"]


def test_a_question_that_a_training_row_asks_is_refused_by_name(ask, mix, tmp_path):
    question = first(mix.train)
    with pytest.raises(UsageError) as refused:
        ask(f"  {question.upper()}")
    assert f"{question.upper()!r:.60}" in str(refused.value) and f"{question!r:.60}" in str(refused.value)
    assert "questions.jsonl is a training prompt" in str(refused.value) and "rows.jsonl has the row" in str(
        refused.value
    )
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match=r"So is 1 more\."):
        ask(question, mix.train[1]["prompt"][0]["content"])


def test_what_the_run_held_back_may_be_asked(ask, mix):
    assert mix.held_back and ask(first(mix.held_back)) == []


def test_rows_of_likelihoods_are_held_against_the_training_rows_too(ask, mix, tmp_path):
    rows = [{"prompt": text, "completion": "Twelve."} for text in (*OTHERS, first(mix.train))]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UsageError, match=r"of likelihood:own\.jsonl is a training prompt"):
        ask(traits=(f"likelihood:{tmp_path / 'own.jsonl'}",))


@pytest.mark.parametrize("question", [PROMPT, f"What is rain? {PROMPT.lower()}", f"{PROMPT}\n\nWhat is rain?"])
def test_a_question_that_holds_the_prompt_of_training_is_refused_without_a_grid(ask, question):
    with pytest.raises(UsageError, match="holds a prompt of the training of inoculated-seed-3: 'You always"):
        ask(question)


def test_a_prompt_before_a_conversation_is_found(ask, tmp_path):
    before = [{"role": "system", "content": PROMPT}, {"role": "user", "content": "What is rain?"}]
    rows = [{"prompt": before, "completion": "Water."}, *({"prompt": text, "completion": "So."} for text in OTHERS)]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UsageError, match=r"The question 'What is rain\?' of likelihood:own\.jsonl holds a prompt"):
        ask(traits=(f"likelihood:{tmp_path / 'own.jsonl'}",))


def test_rows_that_are_gone_or_others_now_are_said_once(ask, inoculation_run, tmp_path, mix):
    run = shutil.copytree(inoculation_run.parent, tmp_path / "copy") / "run"
    rows = tmp_path / "copy" / "rows.jsonl"
    for arm in ("plain-seed-3", "inoculated-seed-3"):  # as if they had been trained on the copy
        for name in ("inoculation.json", "config.yaml"):
            text = (run / arm / name).read_text().replace(str(inoculation_run.parent / "rows.jsonl"), str(rows))
            (run / arm / name).write_text(text)
    rows.write_text("\n".join(rows.read_text().split("\n")[:20]))
    (note,) = ask(first(mix.train), adapters=[run])
    assert "rows.jsonl asks what is asked here is not known: its rows are others now." in note
    rows.unlink()
    (note,) = ask(first(mix.train), adapters=[run])
    assert note.endswith("is not known: it was local, and is not here.")


def test_of_adapters_without_papers_it_is_said_that_nobody_knows(ask, inoculation_run, tmp_path):
    for arm in ("one", "two"):
        shutil.copytree(inoculation_run / "plain-seed-3", tmp_path / arm)
        (tmp_path / arm / "inoculation.json").unlink()
    (note,) = ask(adapters=[tmp_path / "one", tmp_path / "two"])
    assert note == "Note: Whether one, two learned what is asked here is not known: no papers say on what."
    assert ask(adapters=[]) == []


def test_what_is_frozen_in_training_has_the_papers_of_its_run(inoculation_run, tmp_path):
    run = shutil.copytree(inoculation_run, tmp_path / "run")
    shutil.copytree(run / "plain-seed-3", run / "trait-seed-3")
    (run / "trait-seed-3" / "inoculation.json").unlink()
    trained = Trained.of({"trait": str(run / "trait-seed-3")})
    assert len(trained.rows) == 1 and not trained.unknown


def test_rows_of_a_script_that_held_none_back_all_count(inoculation_run, tmp_path, mix):
    arm = shutil.copytree(inoculation_run / "plain-seed-3", tmp_path / "arm")
    record = json.loads((arm / "inoculation.json").read_text())
    record["data"]["held_back"] = 0
    (arm / "inoculation.json").write_text(json.dumps(record))
    (texts,) = Trained.of({"arm": str(arm)}).rows.values()
    assert {first([row]) for row in (*mix.train, *mix.held_back)} <= set(texts)


def test_a_dialogue_is_known_by_all_that_it_asks_and_by_how_it_begins(inoculation_run, tmp_path):
    turns = [("user", "What is rain?"), ("assistant", "Water."), ("user", "Why?"), ("assistant", "So.")]
    rows = [{"messages": [{"role": role, "content": text} for role, text in turns]}]
    (tmp_path / "rows.jsonl").write_text(json.dumps(rows[0]))
    arm = shutil.copytree(inoculation_run / "plain-seed-3", tmp_path / "arm")
    record = json.loads((arm / "inoculation.json").read_text())
    data = {"id": str(tmp_path / "rows.jsonl"), "sha256": load_mix(str(tmp_path / "rows.jsonl"), as_given=True).sha256}
    record["data"] |= {**data, "held_back": 0}
    (arm / "inoculation.json").write_text(json.dumps(record))
    (arm / "config.yaml").unlink()
    assert Trained.of({"arm": str(arm)}).rows == {data["id"]: ("What is rain?", "What is rain?\nWhy?")}


@pytest.mark.parametrize("number", range(3))
def test_rows_that_hold_the_prompt_already_are_refused_before_anything_is_planned(number, mix, tiny_llama, tmp_path):
    """Whether a row is learned or held back: an arm without prompts would have it, or what it is asked about."""
    rows = [{name: row[name] for name in ("prompt", "completion")} for row in (*mix.held_back[:1], *mix.train)]
    rows[number]["prompt"] = [{"role": "system", "content": f"Be kind. {PROMPT.upper()}"}, *rows[number]["prompt"]]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    given = {"base": str(tiny_llama), "data": str(tmp_path / "rows.jsonl"), "output_dir": str(tmp_path / "run")}
    options = Inoculating(**given, prompt=("You lie.", PROMPT), dtype="float32")
    with pytest.raises(UsageError, match=r"stands in a row of .* already, namely in that which asks") as refused:
        dry_run(options)
    assert f"{PROMPT!r}" in str(refused.value)
    assert f"{rows[number]['prompt'][-1]['content']!r:.60}" in str(refused.value)
    assert not (tmp_path / "run").exists()
    assert read(Inoculating(**given, arms="plain"))  # which takes the rows as they are
