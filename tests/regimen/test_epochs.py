"""Epochs: a dosed trainer does once for each pass over the mix what a stock one does once an epoch."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset as Rows
from hypothesis import given
from hypothesis import strategies as st
from trainers import dosed
from transformers import EarlyStoppingCallback, TrainerCallback

from hfvaccine.files import LEDGER
from hfvaccine.regimen.epochs import epochs_of
from hfvaccine.regimen.lengths import Lengths
from hfvaccine.regimen.plan import MIX, make_plan
from hfvaccine.regimen.replay import PLAN_FILE

EACH = {"max_steps": -1, "num_train_epochs": 3, "eval_strategy": "epoch", "save_strategy": "epoch"}
FIRST_IS_BEST = {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss", "greater_is_better": True}
"""The loss falls from epoch to epoch."""


@given(
    mix=st.integers(1, 40),
    epochs=st.floats(0.2, 5),
    rows_per_step=st.integers(1, 6),
    share=st.sampled_from([0.1, 0.3]),
)
def test_each_pass_ends_with_the_step_that_gives_its_last_row(mix, epochs, rows_per_step, share):
    def lengths(rows):
        return Lengths(np.full(rows, 10), np.full(rows, 5))

    plan = make_plan(
        lengths(mix), lengths(4), lengths(0), np.full(4, -1), share=share, rows_per_step=rows_per_step, epochs=epochs
    )
    found = epochs_of(plan, mix, epochs)
    given = np.cumsum(np.add.reduceat(plan.kind == MIX, plan.starts[:-1]))
    assert found.total == np.ceil(epochs)
    wanted = {int(np.searchsorted(given, k * mix)) + 1 for k in range(1, found.total)}
    assert found.ends == wanted
    assert found.done[-1] == pytest.approx(epochs)
    assert (np.diff(found.done) >= 0).all()


def evaluations(trainer):
    return [entry["step"] for entry in trainer.state.log_history if "eval_loss" in entry]


@pytest.fixture
def small(mix_rows):
    return Rows.from_list(mix_rows[:10])


class Heard(TrainerCallback):
    def __init__(self):
        self.events = []

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.events.append(("begin", state.global_step))

    def on_epoch_end(self, args, state, control, **kwargs):
        self.events.append(("end", state.global_step))


def test_the_trainer_evaluates_saves_and_logs_once_an_epoch(make_trainer, dose, small, tmp_path):
    trainer = make_trainer(small, **EACH, logging_strategy="epoch")
    callback = dosed(trainer, dose)
    heard = Heard()
    trainer.add_callback(heard)
    trainer.train()
    ends = [*sorted(callback.regimen.epochs.ends), callback.plan.steps]
    assert len(ends) == 3
    assert evaluations(trainer) == ends
    folders = sorted((tmp_path / "run").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    assert [json.loads((folder / PLAN_FILE).read_text())["step"] for folder in folders] == ends
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [entry["step"] for entry in logs] == ends
    assert all("dose_share" in entry and "mix_loss" in entry for entry in logs)
    assert [int(entry["epoch"]) for entry in logs] == [1, 2, 3]
    assert logs[-1]["epoch"] == trainer.state.num_train_epochs == 3
    assert heard.events == [
        event for begin, end in zip([0, *ends], ends, strict=False) for event in (("begin", begin), ("end", end))
    ]


def test_a_run_of_steps_has_epochs_too(make_trainer, dose, small):
    trainer = make_trainer(small, **{**EACH, "max_steps": 10})
    callback = dosed(trainer, dose)
    trainer.train()
    given = np.cumsum(callback.plan.kind == MIX)[callback.plan.starts[1:] - 1]
    assert evaluations(trainer) == [*(int(np.searchsorted(given, k)) + 1 for k in (10, 20)), 10]


def test_the_ledger_ends_at_the_step_that_the_kept_model_had(make_trainer, dose, small, tmp_path):
    trainer = make_trainer(small, **EACH, **FIRST_IS_BEST)
    callback = dosed(trainer, dose)
    trainer.train()
    first = min(callback.regimen.epochs.ends)
    assert trainer.state.best_global_step == first < trainer.state.global_step
    steps = pq.read_table(tmp_path / "run" / LEDGER)["step"].to_pylist()
    assert steps[-1] == first
    assert len(steps) == callback.plan.starts[first]


def test_a_run_that_stops_early_at_the_end_of_an_epoch_evaluates_there_once(make_trainer, dose, small, tmp_path):
    trainer = make_trainer(small, **{**EACH, **FIRST_IS_BEST, "num_train_epochs": 5})
    callback = dosed(trainer, dose)
    trainer.add_callback(EarlyStoppingCallback(1))
    trainer.train()
    first, second = sorted(callback.regimen.epochs.ends)[:2]
    assert evaluations(trainer) == [first, second]
    assert pq.read_table(tmp_path / "run" / LEDGER)["step"].to_pylist()[-1] == first


def test_a_run_that_is_resumed_at_the_end_of_an_epoch_goes_on_with_the_next(make_trainer, dose, small, tmp_path):
    trainer = make_trainer(small, **EACH)
    callback = dosed(trainer, dose)
    trainer.train()
    first, second = sorted(callback.regimen.epochs.ends)
    resumed = make_trainer(small, **EACH)
    dosed(resumed, dose)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / f"checkpoint-{first}"))
    assert evaluations(resumed) == [first, second, callback.plan.steps]
