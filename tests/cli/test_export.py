"""`hfvaccine export-results`: what it writes of a folder and of a Hub, and what it refuses."""

import json
from pathlib import Path

import hubs
import inoculated
import pytest
import samples
from click.testing import CliRunner
from finished_runs import bound, finished_run

from hfvaccine import hub
from hfvaccine.cli import cli
from hfvaccine.errors import LineageError, UsageError
from hfvaccine.files import RECORD, RESULTS


@pytest.fixture(scope="module")
def results():
    return samples.trial(pairs=20, conditions=("plain",))[0]


@pytest.fixture
def run(tmp_path, results):
    """A finished run with the results of an invented trial."""
    folder = finished_run(tmp_path / "my-run", training={"control_arms": {}, "placebo": True})
    (folder / RESULTS).write_text(json.dumps(results))
    record = json.loads((folder / RECORD).read_text())
    return bound(folder, {**record, "gate": results["gate"]})


def export(source, into, *more, kind="every-eval-ever"):
    return CliRunner().invoke(cli, ["export-results", str(source), "--format", kind, "--output-dir", str(into), *more])


def models(done):
    assert done.exception is None, done.exception
    return [json.loads(Path(name).read_text())["model_info"]["id"] for name in done.stdout.splitlines()]


def test_the_names_of_the_files_are_all_that_stands_on_stdout(run, tmp_path):
    done = export(run, tmp_path / "out")
    assert models(done) == ["local/my-run", "alice/tiny", "local/my-run-placebo"]
    assert done.stderr.startswith("To check them: uvx --from every-eval-ever every_eval_ever validate '/")
    named = json.loads(export(run, tmp_path / "out", "--json").stdout)
    assert named["files"] == done.stdout.splitlines()


def test_the_same_papers_write_the_same_files_and_leave_all_others(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    once, again = ({n: Path(n).read_text() for n in export(run, tmp_path / "out").stdout.split()} for _ in range(2))
    assert once == again and len(list((tmp_path / "out").rglob("*.json"))) == 3
    assert (tmp_path / "out" / "mine").read_text() == "x"


def test_a_folder_may_be_called_what_it_will_be_on_the_hub(run, tmp_path):
    done = export(run, tmp_path, "--model-id", "ada/tiny-immunized", kind="lm-eval")
    assert [Path(name).parent.name for name in done.stdout.splitlines()] == [
        "ada__tiny-immunized", "alice__tiny", "ada__tiny-immunized-placebo",
    ]  # fmt: skip
    assert done.stderr == ""


def test_a_repo_on_a_hub_is_called_by_its_id_at_its_commit(run, local, tmp_path, monkeypatch):
    hubs.talk_to(local, monkeypatch, "ada", tmp_path / "cache")
    pushed = hub.push_adapter(run, "ada/exported", endpoint=local.endpoint)
    done = export("ada/exported@v1", tmp_path / "out")
    assert models(done) == ["ada/exported", "alice/tiny", "ada/exported-placebo"]
    vaccine = json.loads(Path(done.stdout.splitlines()[0]).read_text())["model_info"]["additional_details"]
    assert (vaccine["revision"], vaccine["model_availability"]) == (pushed.revision, "open_weights")
    refused = export("ada/exported", tmp_path / "out", "--model-id", "ada/other").exception
    assert isinstance(refused, UsageError) and "has a Hub id" in refused.message


def test_one_adapter_of_an_inoculation_is_exported_with_those_of_its_seed(tmp_path):
    whole = inoculated.finished(tmp_path / "run")
    done = export(whole / inoculated.TREATED, tmp_path / "out")
    assert len(models(done)) == 4
    assert isinstance(export(whole, tmp_path / "none").exception, LineageError)
    assert not (tmp_path / "none").exists()


def test_results_that_the_record_does_not_bind_are_refused_and_nothing_is_written(run, tmp_path):
    (run / RESULTS).write_text((run / RESULTS).read_text().replace("0.9", "1.0"))
    refused = export(run, tmp_path / "out").exception
    assert isinstance(refused, LineageError) and "results.json" in refused.message
    assert not (tmp_path / "out").exists()


def test_so_is_an_adapter_that_was_never_measured(tmp_path):
    folder = inoculated.finished(tmp_path / "run", traits=False) / inoculated.TREATED
    refused = export(folder, tmp_path / "out").exception
    assert isinstance(refused, LineageError) and "traits.json" in refused.message


@pytest.mark.parametrize("name", ["nobody", "a/b/c", "../x", ""])
def test_a_name_that_is_no_hub_id_is_refused(run, tmp_path, name):
    refused = export(run, tmp_path / "out", "--model-id", name).exception
    assert isinstance(refused, UsageError) and "is not a Hub id" in refused.message
