"""`hfvaccine export-results`: what it writes of a folder and of a Hub, and what it refuses."""

import json
from pathlib import Path

import hubs
import inoculated
import pytest
import samples
import yaml
from click.testing import CliRunner
from finished_runs import bound, finished_run
from huggingface_hub import HfApi, parse_eval_result_entries

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


EVAL = b"""
name: Trees
evaluation_framework: inspect-ai
tasks:
  - {id: oaks, split: test}
  - {id: pines, split: train}
"""


@pytest.fixture
def registered(run, local, results, tmp_path, monkeypatch):
    """The run, of which `arc_easy` was all of a dataset that is registered; of which one is changed by hand."""
    hubs.talk_to(local, monkeypatch, "ada", tmp_path / "cache")
    api = HfApi()
    for name in ("ada/trees", "ada/rows"):
        api.create_repo(name, repo_type="dataset", exist_ok=True)
    commit = hubs.put(api, "ada/trees", "eval.yaml", EVAL, "dataset")
    items = {row["name"].removesuffix(f"_{row['metric']}"): row["items"] for row in results["other"]}

    def registered(**changed):
        trees = {"id": "ada/trees", "revision": commit, "config": None, "split": "test"} | changed
        total = trees.pop("total", items["arc_easy"])
        one = {"name": "arc_easy", "total": total, "sha256": "5" * 64, "dataset": trees}
        other = {"name": "mmlu", "total": items["mmlu"], "sha256": "6" * 64, "dataset": None}
        (run / RESULTS).write_text(json.dumps({**results, "benchmarks": [one, other]}))
        bound(run)
        return commit

    return registered


def test_a_registered_benchmark_is_written_as_the_hubs_client_reads_it(run, registered, results, tmp_path):
    commit = registered()
    done = export(run, tmp_path / "out", "--benchmark", "arc_easy=oaks", kind="eval-results")
    assert done.exception is None, done.exception
    path = tmp_path / "out" / ".eval_results" / "arc_easy.yaml"
    assert done.stdout.splitlines() == [str(path)] and "Left out" in done.stderr and "mmlu" in done.stderr
    (entry,) = parse_eval_result_entries(yaml.safe_load(path.read_text()))
    (row,) = (one for one in results["other"] if (one["name"], one["arm"]) == ("arc_easy", "vaccine"))
    assert (entry.dataset_id, entry.dataset_revision, entry.task_id) == ("ada/trees", commit, "oaks")
    assert entry.value == row["value"] and "not by generation" in entry.notes
    assert entry.date == "2026-11-21T19:00:00Z"


@pytest.mark.parametrize(
    ("asked", "changed", "said"),
    [
        ("arc_easy", {}, "names no benchmark and task"),
        ("birds=oaks", {}, "no benchmark that the adapter was asked"),
        ("arc_easy/mc1=oaks", {}, "there are: accuracy"),
        ("mmlu=oaks", {}, "no dataset on a Hub"),
        ("arc_easy=oaks", {"revision": None}, "at a known commit"),
        ("arc_easy=oaks", {"total": 10_000}, "that is not the benchmark"),
        ("arc_easy=birches", {}, "registers no task 'birches'"),
        ("arc_easy=pines", {}, "is of the split 'train', and test was asked"),
        ("arc_easy=oaks", {"id": "ada/rows"}, "registered as no benchmark"),
    ],
)
def test_what_is_no_registered_task_is_refused_and_nothing_is_written(run, registered, tmp_path, asked, changed, said):
    registered(**changed)
    done = export(run, tmp_path / "out", "--benchmark", asked, kind="eval-results")
    assert isinstance(done.exception, UsageError) and said in done.exception.message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("kind", "more"), [("eval-results", ()), ("lm-eval", ("--benchmark", "arc_easy=oaks"))])
def test_benchmarks_are_named_for_eval_results_and_for_nothing_else(run, tmp_path, kind, more):
    assert "--benchmark" in export(run, tmp_path / "out", *more, kind=kind).exception.next_step
