"""Records of Every Eval Ever: valid by its own checks, one for each model, with the numbers of the papers."""

import json
from pathlib import Path

import inoculated
import pytest
import samples
from finished_runs import PAPERS

from hfvaccine.files import INOCULATION, TRAITS
from hfvaccine.papers.binding import bind
from hfvaccine.papers.every_eval_ever import records
from hfvaccine.papers.kind import IMMUNIZED, INOCULATED
from hfvaccine.papers.measured import measured

NAME, COMMIT = "ada/tiny-immunized", "9" * 40


@pytest.fixture(scope="module")
def results():
    content = samples.trial(pairs=20)[0]
    # The invented trial has shares above 1, which no model can score.
    content["other"] = [row for row in content["other"] if row["metric"] != "mc2"]
    return content


@pytest.fixture
def what(results):
    return measured(bind({**PAPERS, "gate": results["gate"]}, {}), IMMUNIZED, results, NAME, COMMIT)


def of(made, arm):
    (found,) = (one for one in made.values() if one["model_info"]["additional_details"]["arm"] == arm)
    return found


def check(made, folder):
    """What the package's own validator says of records where they belong."""
    validator = pytest.importorskip("every_eval_ever.validator.validation_core")
    found = []
    for name, content in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        report = validator.validate_aggregate(path, repo_path=name, run_semantic_checks=True)
        found += [*report.errors, *report.warnings]
    return found


def test_the_package_finds_nothing_wrong(what, tmp_path):
    assert check(records(what), tmp_path) == []


def test_nor_with_those_of_an_inoculation_and_of_a_local_run(results, tmp_path):
    folder = inoculated.finished(tmp_path / "run", gate=inoculated.gate()) / inoculated.TREATED
    record, traits = (json.loads((folder / name).read_text()) for name in (INOCULATION, TRAITS))
    made = records(measured(record, INOCULATED, traits, "local/spanish"))
    assert len(made) == 4 and check(made, tmp_path / "out") == []
    local = bind({**PAPERS, "base": {**PAPERS["base"], "id": "/models/tiny", "revision": None}}, {})
    assert check(records(measured(local, IMMUNIZED, results, "local/run")), tmp_path / "local") == []


def test_and_it_would(what, tmp_path):
    made = records(what)
    next(iter(made.values()))["evaluation_results"][0]["score_details"]["score"] = 3.0
    assert "outside" in check(made, tmp_path)[0]["msg"]


def test_arms_are_kept_apart_where_the_data_store_has_them(what):
    made = records(what)
    assert {str(Path(path).parent): one["model_info"]["id"] for path, one in made.items()} == {
        "data/hfvaccine/ada/tiny-immunized": NAME,
        "data/hfvaccine/alice/tiny": "alice/tiny",
        "data/hfvaccine/ada/tiny-immunized-placebo": f"{NAME}-placebo",
    }
    assert {one["source_metadata"]["source_organization_name"] for one in made.values()} == {"ada"}
    relations = {arm: of(made, arm)["source_metadata"]["evaluator_relationship"] for arm in ("vaccine", "base")}
    assert relations == {"vaccine": "first_party", "base": "third_party"}


def test_the_same_papers_make_the_same_records(what, results):
    again = measured(bind({**PAPERS, "gate": results["gate"]}, {}), IMMUNIZED, results, NAME, COMMIT)
    assert records(what) == records(again)


def test_values_and_intervals_are_those_of_results_json(what, results):
    found = {
        one["evaluation_result_id"]: one["score_details"] for one in of(records(what), "vaccine")["evaluation_results"]
    }
    rows = [row for row in results["measures"] if row["arm"] == "vaccine" and "criterion" not in row["metric"]]
    for row in rows:
        score = found[
            f"hfvaccine_{row['probe']}_{row['reading']}_{row['condition']}_".rstrip("_") + f"/{row['metric']}"
        ]
        interval = score["uncertainty"]["confidence_interval"]
        assert score["score"] == row["value"]
        assert [interval["lower"], interval["upper"]] == row["interval"]
        assert (interval["confidence_level"], interval["method"]) == (0.95, "over resampled clusters")
        assert "standard_error" not in score["uncertainty"]


def test_a_metric_of_which_neither_side_is_better_is_left_out(what):
    ids = [one["evaluation_result_id"] for one in of(records(what), "vaccine")["evaluation_results"]]
    assert not any("criterion" in name for name in ids)


def test_sides_bounds_and_the_verdict_are_said(what):
    vaccine = of(records(what), "vaccine")
    config = {one["evaluation_result_id"]: one["metric_config"] for one in vaccine["evaluation_results"]}
    nats = config["hfvaccine_retention_held_back_mix/nats_per_token"]
    assert (nats["lower_is_better"], nats["min_score"], nats["max_score"]) == (True, 0, "Infinity")
    d_prime = config["hfvaccine_specific_verdict_plain/d_prime"]
    assert (d_prime["lower_is_better"], d_prime["min_score"]) == (False, "-Infinity")
    assert vaccine["source_metadata"]["additional_details"]["gate"] == "undecided"
    assert vaccine["model_info"]["additional_details"]["base_revision"] == "a" * 40


def test_where_the_data_are_is_said_and_no_text_of_a_claim(what):
    data = {one["evaluation_name"]: one["source_data"] for one in of(records(what), "vaccine")["evaluation_results"]}
    dose = data["hfvaccine_specific_verdict_plain"]
    assert (dose["source_type"], dose["hf_repo"]) == ("hf_dataset", "alice/dose")
    assert dose["additional_details"]["revision"] == "b" * 40
    assert data["hfvaccine_retention_arc_easy"]["source_type"] == "other"
