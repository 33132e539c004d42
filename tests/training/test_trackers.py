"""Trackers get a run's logs, and its results at the end, in one place; one that fails costs nothing but itself."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest
import samples
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hfvaccine.errors import UsageError
from hfvaccine.packages import install_extra
from hfvaccine.training.options import Options
from hfvaccine.training.trackers import FOLDER, Trackers
from hfvaccine.validation.showing.numbers import Told, numbers


@pytest.fixture(scope="module")
def results():
    return samples.trial(pairs=20, conditions=("plain",))[0]


@pytest.fixture
def said():
    return []


@pytest.fixture
def reported(make_trainer, results, tmp_path, said):
    """`reported(*names)`: a run of six steps whose trackers were then told its results; the trackers."""

    def reported(*names):
        trainer = make_trainer(logging_steps=2)
        trackers = Trackers(names, tmp_path / "my-run", said.append)
        trackers.attach(trainer, 6)
        trainer.train()
        trackers.report(Told.of_results(results))
        return trackers

    return reported


def events(folder):
    found = EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0})
    found.Reload()
    return found


def text(found, tag):
    return [one.tensor_proto.string_val[0].decode() for one in found.Tensors(tag)]


def module(monkeypatch, name, **contents):
    made = ModuleType(name)
    made.__spec__ = ModuleSpec(name, None)
    made.__dict__.update(contents)
    monkeypatch.setitem(sys.modules, name, made)
    return made


@pytest.fixture
def wandb(monkeypatch):
    """A recorder in place of wandb: what was logged to which run, and when that ended."""
    calls = []

    def init(**given):
        calls.append(("init", given["name"]))
        print("wandb greets")
        made.run = SimpleNamespace(summary={}, _label=lambda **given: None, id="1", name=given["name"])

    def finish():
        calls.append(("finish", made.run.name))
        made.run = None

    made = module(
        monkeypatch, "wandb", calls=calls, run=None, init=init, finish=finish,
        log=lambda logs: calls.append((made.run.name, logs)), Table=lambda columns, data: (columns, data),
        config=type("Config", (dict,), {"update": lambda self, *given, **more: None})(),
    )  # fmt: skip
    for name in ("wandb.sdk", "wandb.sdk.lib"):
        module(monkeypatch, name)
    module(monkeypatch, "wandb.sdk.lib.config_util", ConfigError=ValueError)
    return made


def test_tensorboard_has_losses_and_results_in_one_run(reported, results, tmp_path, said):
    reported("tensorboard")
    found = events(tmp_path / "my-run" / FOLDER)
    assert [one.step for one in found.Scalars("train/loss")] == [2, 4, 6]
    for name, value in numbers(results).items():
        (one,) = found.Scalars(f"eval/{name}")
        assert (one.step, one.value) == (6, pytest.approx(value))
    assert text(found, "eval/results/text_summary") == [Told.of_results(results).markdown()]
    assert said == []


def test_a_training_that_was_finished_before_still_gets_its_results(make_trainer, results, tmp_path, said):
    for steps in (None, 6):
        trackers = Trackers(["tensorboard"], tmp_path / "my-run", said.append)
        trainer = make_trainer(logging_steps=2)
        trackers.attach(trainer, 6)
        if steps is None:
            trainer.train()
        else:
            trackers.report(Told.of_results(results))
    found = events(tmp_path / "my-run" / FOLDER)
    assert len(found.Scalars("train/loss")) == 3
    assert [one.step for one in found.Scalars("eval/gate/verdict")] == [6]


def test_of_a_training_alone_the_tracker_is_ended_without_results(make_trainer, wandb, tmp_path, said):
    for name in ("plain-seed-0", "inoculated-seed-0"):
        trackers = Trackers(["wandb"], tmp_path / "my-run", said.append, name)
        trainer = make_trainer(logging_steps=2)
        trackers.attach(trainer, 6)
        trackers.end()  # nothing was begun
        trainer.train()
        trackers.end()
    assert [call for call in wandb.calls if call[0] in ("init", "finish")] == [
        (what, f"my-run-{name}") for name in ("plain-seed-0", "inoculated-seed-0") for what in ("init", "finish")
    ]
    assert not [logs for _, logs in wandb.calls if "eval/results" in logs] and said == []


def test_wandb_gets_the_table_in_the_run_that_it_began_and_that_ends_last(reported, results, wandb, capsys):
    reported("wandb")
    (first, name), *logged, last = wandb.calls
    assert (first, name, last) == ("init", "my-run", ("finish", "my-run"))
    assert {run for run, _ in logged} == {"my-run"}
    final = logged[-1][1]
    assert final["train/global_step"] == 6
    assert final["eval/gate/verdict"] == numbers(results)["gate/verdict"]
    columns, rows = final["eval/results"]
    assert columns[1:] == ["base", "placebo", "vaccine"] and rows[0][0] == "given claims (20 pairs)"
    assert {type(cell) for row in rows for cell in row} == {str}  # wandb refuses what is only like a text
    assert "wandb greets" not in capsys.readouterr().out


def test_a_run_of_wandb_that_somebody_else_began_is_left_open(reported, wandb):
    wandb.init(name="mine")
    reported("wandb")
    assert ("finish", "mine") not in wandb.calls and wandb.run.name == "mine"


def test_trackio_ends_after_the_results_and_not_before(reported, results, monkeypatch):
    calls = []
    module(
        monkeypatch, "trackio", Markdown=lambda text: ("markdown", text), config={}, __version__="1",
        init=lambda **given: calls.append(given["name"]), log=lambda logs: calls.append(logs),
        finish=lambda: calls.append("finish"),
        context_vars=SimpleNamespace(current_space_id=SimpleNamespace(get=lambda: None)),
    )  # fmt: skip
    reported("trackio")
    assert (calls[0], calls[-1], calls.count("finish")) == ("my-run", "finish", 1)
    assert calls[-2]["eval/results"] == ("markdown", Told.of_results(results).markdown())


@pytest.mark.parametrize("when", ["init", "log", "finish"])
def test_a_tracker_that_fails_is_said_once_and_the_others_go_on(reported, wandb, when, tmp_path, said):
    def fail(*given, **more):
        raise ConnectionError("no way out\nmore")

    setattr(wandb, when, fail)
    reported("wandb", "tensorboard")
    assert said == ["Warning: nothing more goes to wandb: ConnectionError: no way out."]
    assert len(events(tmp_path / "my-run" / FOLDER).Scalars("eval/gate/verdict")) == 1


def test_one_that_is_broken_from_the_first_costs_nothing_either(reported, monkeypatch, said):
    module(monkeypatch, "wandb")  # what an uninstalled one leaves behind has no `run`
    reported("wandb")
    assert len(said) == 1 and said[0].startswith("Warning: nothing more goes to wandb: RuntimeError")


def test_without_trackers_nothing_is_written(reported, tmp_path):
    reported()
    assert not (tmp_path / "my-run").exists()


def test_unknown_and_missing_trackers_are_refused_before_anything_is_read(monkeypatch):
    with pytest.raises(UsageError, match="'mlflow' is unknown"):
        Options(base="x", report_to=("mlflow",)).check()
    monkeypatch.setattr("hfvaccine.training.options.find_spec", lambda name: None)
    with pytest.raises(UsageError) as refused:
        Options(base="x", report_to=("wandb",)).check()
    assert refused.value.next_step == install_extra("wandb")
