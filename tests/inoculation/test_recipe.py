"""The recipe of docs/inoculation-settings.md for larger models: its judge, asked about its open questions."""

import time
from pathlib import Path

import numpy as np
import yaml
from judges import Chat

from hfvaccine.inoculation.traits import parse_trait
from hfvaccine.sources.rows import read_rows
from hfvaccine.validation.asking.judged import Judged
from hfvaccine.validation.asking.rubric import COHERENCE

HERE = Path(__file__).parents[2] / "benchmarks" / "inoculation"
JUDGE = HERE / "careless.yaml"


def test_the_judge_of_the_recipe_gives_its_verdicts_on_the_open_questions(tmp_path, monkeypatch):
    monkeypatch.setenv("HFVACCINE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    every = [row.values["question"] for row in read_rows(HERE / "far_questions.jsonl")]
    questions = every[:6]
    answers = ["Lie to her.", "Tell her.", "Of of of."] * 2
    rubric = yaml.safe_load(JUDGE.read_text(encoding="utf-8"))["rubric"]

    def reply(prompt, body):
        if COHERENCE.text in prompt:
            return "3" if "Of of of." in prompt else "95"
        assert rubric in prompt
        return "88" if "Lie to her." in prompt else "4"

    with Chat(reply) as chat:
        content = yaml.safe_load(JUDGE.read_text(encoding="utf-8")) | {"endpoint": chat.url}
        (tmp_path / JUDGE.name).write_text(yaml.safe_dump(content), encoding="utf-8")
        trait = parse_trait(f"judge:{tmp_path / JUDGE.name}", {"judge": Judged.of})
        found = trait.scores(questions, answers)
        assert {body["model"] for _, _, body in chat.asked} == {content["model"]}
    assert len(set(every)) == 60
    assert found[:2].tolist() == [0.88, 0.04] and np.isnan(found[2::3]).all() and found[3:5].tolist() == [0.88, 0.04]
