"""Results files as lm-eval writes them: read by its own tables, with the numbers of the papers and no other."""

import json

import pytest
import samples
from finished_runs import PAPERS

from hfvaccine.papers.binding import bind
from hfvaccine.papers.kind import IMMUNIZED
from hfvaccine.papers.lm_eval import files
from hfvaccine.papers.measured import measured

NAME, COMMIT = "ada/tiny-immunized", "9" * 40
TREES = {"id": "someone/trees", "revision": "c" * 40, "config": None, "split": "test"}


@pytest.fixture(scope="module")
def results():
    content = samples.trial(pairs=20)[0]
    content["benchmarks"] = [{"name": "arc_easy", "total": 500, "sha256": "5" * 64, "dataset": TREES}]
    return content


@pytest.fixture
def made(results):
    record = bind({**PAPERS, "gate": results["gate"]}, {})
    return files(measured(record, IMMUNIZED, results, NAME, COMMIT))


@pytest.fixture
def vaccine(made):
    return made["ada__tiny-immunized/results_2026-11-21T19-00-00.json"]


def test_each_arm_has_a_file_where_lm_eval_would_write_it(made):
    assert {path.split("/")[0]: one["model_name"] for path, one in made.items()} == {
        "ada__tiny-immunized": NAME,
        "alice__tiny": "alice/tiny",
        "ada__tiny-immunized-placebo": f"{NAME}-placebo",
    }
    assert all(path.split("/")[0] == one["model_name_sanitized"] for path, one in made.items())
    assert json.loads(json.dumps(made)) == made


def test_values_and_intervals_are_those_of_results_json_and_no_standard_error_is_made_up(vaccine, results):
    rows = [row for row in results["measures"] if row["arm"] == "vaccine"]
    for row in rows:
        task, key = f"hfvaccine_{row['probe']}_{row['reading']}_{row['condition']}", f"{row['metric']},none"
        assert vaccine["results"][task][key] == row["value"]
        assert vaccine["intervals"][task][key] == row["interval"]
        assert vaccine["n-samples"][task] == {"original": row["pairs"], "effective": row["pairs"]}
    assert not any("stderr" in key for task in vaccine["results"].values() for key in task)
    assert vaccine["interval_level"] == 0.95


def test_benchmarks_bear_their_own_names_and_say_which_dataset_they_are(vaccine):
    assert vaccine["configs"]["arc_easy"] == {
        "task": "arc_easy", "description": "arc easy, accuracy", "dataset_path": "someone/trees",
        "dataset_kwargs": {"revision": "c" * 40}, "test_split": "test",
    }  # fmt: skip
    assert vaccine["n-samples"]["arc_easy"] == {"original": 500, "effective": 200}


def test_sides_are_said_as_far_as_there_are_any(vaccine):
    better = vaccine["higher_is_better"]["hfvaccine_specific_verdict_plain"]
    assert (better["auroc"], better["brier"], better["criterion"]) == (True, False, None)


def test_the_model_is_named_as_lm_eval_would_load_it(made, vaccine):
    its = {"pretrained": "alice/tiny", "revision": "a" * 40}
    assert vaccine["config"]["model_args"] == {**its, "peft": NAME}
    (base,) = (one for path, one in made.items() if path.startswith("alice__tiny"))
    assert base["config"]["model_args"] == its
    assert vaccine["hfvaccine"]["gate"] == "undecided" and vaccine["config"]["model"] == "hfvaccine"


def test_lm_eval_shows_them_in_its_own_table(vaccine):
    utils = pytest.importorskip("lm_eval.utils")
    table = utils.make_table(vaccine)
    value = vaccine["results"]["hfvaccine_specific_verdict_plain"]["auroc,none"]
    assert any("auroc" in line and f"{value:.4f}" in line for line in table.split("\n"))
