"""Exported tasks: lm-eval loads them from anywhere, scores them as we would, and their folder says what it is."""

import dataclasses
import json
from pathlib import Path
from unittest.mock import Mock

import pytest

from hfvaccine.claims.reserved import QUESTION_PROBES, TACTIC_PROBES, VERDICT_PROBES
from hfvaccine.errors import ValidationError
from hfvaccine.validation.asking.export import export_tasks

CANARY = "hfvaccine:canary:5f3f2a0e"
TASKS = [
    f"hfvaccine_{name}_{reading}" for name in ("specific", "cross") for reading in ("verdict", "tactics", "answer")
]


def rows(folder, task):
    return [json.loads(line) for line in (folder / f"{task}.jsonl").read_text(encoding="utf-8").split("\n") if line]


@pytest.fixture
def claims(make_claims):
    made = make_claims(7, heldout=3)
    return made[:4], made[4:]


@pytest.fixture
def folder(claims, tmp_path):
    export_tasks(*claims, tmp_path / "out" / "tasks", CANARY)
    return tmp_path / "out" / "tasks"


def test_every_statement_is_asked_about_in_every_wording(folder, claims):
    given, heldout = claims
    assert len(rows(folder, TASKS[0])) == len(given) * 2 * len(VERDICT_PROBES)
    assert len(rows(folder, TASKS[1])) == len(given) * 2 * len(TACTIC_PROBES)
    assert len(rows(folder, TASKS[2])) == len(given) * len(QUESTION_PROBES)
    prompts = {row["prompt"] for row in rows(folder, "hfvaccine_cross_verdict")}
    for claim in heldout:
        for probe in VERDICT_PROBES:
            for statement in (claim.claim, claim.twin):
                assert probe.prompt.replace("{statement}", statement) in prompts
    assert {row["tactic"] for row in rows(folder, TASKS[1])} == {probe.tactic for probe in TACTIC_PROBES}


def test_the_right_verdict_on_a_claim_is_a_rejection_and_on_its_twin_an_acceptance(folder):
    accept = {answer for probe in VERDICT_PROBES for answer in probe.accept}
    for row in rows(folder, TASKS[0]) + rows(folder, TASKS[1]):
        right = {row["choices"][label] for label in row["label"]}
        assert right and right < set(row["choices"])
        assert (right <= accept) == (row["statement"] == "twin")
        assert bool(right & accept) == (row["statement"] == "twin")


def test_the_right_answer_to_a_question_is_the_twin(folder, claims):
    twins = {claim.claim_id: claim.twin for claim in claims[0]}
    for row in rows(folder, TASKS[2]):
        assert [row["choices"][label] for label in row["label"]] == [twins[row["claim_id"]]]


def test_every_file_carries_the_canary_and_the_readme_says_how_sensitive_it_is(folder):
    for path in folder.iterdir():
        lines = path.read_text(encoding="utf-8").split("\n")
        if path.suffix == ".jsonl":
            assert all(json.loads(line)["canary"] == CANARY for line in lines if line)
        else:
            assert CANARY in "\n".join(lines)
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "as sensitive as the dose" in readme
    assert "never train on it" in readme
    assert all(task in readme for task in TASKS)
    assert folder.stat().st_mode & 0o077 == 0  # for its owner only


def test_what_cannot_be_asked_two_sidedly_is_left_out(claims, tmp_path):
    given = [dataclasses.replace(claims[0][0], question=None), dataclasses.replace(claims[0][1], twin=None)]
    names = export_tasks(given, [], tmp_path / "tasks", CANARY)
    assert names == TASKS[:2]
    assert {row["claim_id"] for row in rows(tmp_path / "tasks", TASKS[0])} == {given[0].claim_id}
    with pytest.raises(ValidationError, match="No claim has a twin"):
        export_tasks(given[1:], [], tmp_path / "other", CANARY)
    assert not (tmp_path / "other").exists()


def test_nothing_is_overwritten(claims, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValidationError, match="is not empty"):
        export_tasks(*claims, tmp_path, CANARY)
    with pytest.raises(ValidationError, match="is not empty"):
        export_tasks(*claims, tmp_path / "mine.txt", CANARY)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert export_tasks(*claims, tmp_path / "empty", CANARY) == TASKS


def test_without_a_canary_nothing_is_written(claims, tmp_path):
    with pytest.raises(ValidationError, match="no canary"):
        export_tasks(*claims, tmp_path / "tasks", " ")
    assert not list(tmp_path.iterdir())


def test_an_export_that_fails_leaves_nothing(claims, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "rename", Mock(side_effect=OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        export_tasks(*claims, tmp_path / "tasks", CANARY)
    assert not list(tmp_path.iterdir())


# In lm-eval


@pytest.fixture
def evaluate(folder, tmp_path, monkeypatch):
    """`evaluate(model, tokenizer, tasks)`: lm-eval's results, from a folder that was moved, called from another."""
    lm_eval = pytest.importorskip("lm_eval")
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    moved = folder.rename(tmp_path / "moved")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    def run(model, tokenizer, tasks):
        manager = TaskManager(include_path=str(moved), include_defaults=False)
        return lm_eval.simple_evaluate(
            model=HFLM(pretrained=model, tokenizer=tokenizer, device="cpu", batch_size=8),
            tasks=tasks,
            task_manager=manager,
            apply_chat_template=True,
            bootstrap_iters=0,
        )

    return run


def likelihood(model, tokenizer, prompt, answer):
    """Log-likelihood of an answer to a user turn, by one plain forward pass: the reference."""
    import torch

    turn = [{"role": "user", "content": prompt}]
    context = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    start = len(tokenizer(context, add_special_tokens=False)["input_ids"])
    ids = torch.tensor(tokenizer(context + answer, add_special_tokens=False)["input_ids"])
    with torch.inference_mode():
        logprobs = model(input_ids=ids[None]).logits[0].log_softmax(-1)
    return float(logprobs[start - 1 : -1].gather(1, ids[start:, None]).sum())


def test_lm_eval_finds_the_tasks_by_name_and_all_by_their_tag(folder):
    pytest.importorskip("lm_eval")
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    assert sorted(manager.all_subtasks) == sorted(TASKS)
    assert manager.all_tags == ["hfvaccine"]


def test_lm_eval_scores_them_as_we_do(evaluate, tiny_llama):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_llama), AutoTokenizer.from_pretrained(tiny_llama)
    results = evaluate(model, tokenizer, ["hfvaccine_cross_verdict", "hfvaccine_specific_answer"])
    for task, n in (("hfvaccine_cross_verdict", 3 * 2 * len(VERDICT_PROBES)), ("hfvaccine_specific_answer", 12)):
        samples = results["samples"][task]
        assert len(samples) == n
        right = []
        for sample in samples:
            doc = sample["doc"]
            own = [likelihood(model, tokenizer, doc["prompt"], choice) for choice in doc["choices"]]
            assert [value for value, _ in sample["filtered_resps"]] == pytest.approx(own, abs=1e-4)
            right.append(own.index(max(own)) in doc["label"])
        assert results["results"][task]["acc,none"] == pytest.approx(sum(right) / n)
