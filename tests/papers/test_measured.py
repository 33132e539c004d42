"""Papers taken apart into the models that were measured: each number as it stands there, and none that does not."""

import json

import inoculated
import pytest
import samples
from finished_runs import PAPERS

from hfvaccine.errors import ValidationError
from hfvaccine.files import INOCULATION, TRAITS
from hfvaccine.papers.binding import bind
from hfvaccine.papers.kind import IMMUNIZED, INOCULATED
from hfvaccine.papers.measured import local_id, measured

COMMIT, NAME = "9" * 40, "ada/tiny-immunized"
TREES = {"id": "someone/trees", "revision": "c" * 40, "config": None, "split": "test"}


@pytest.fixture(scope="module")
def results():
    content = samples.trial(pairs=20)[0]
    content["benchmarks"] = [
        {"name": "arc_easy", "total": 500, "sha256": "5" * 64, "dataset": TREES},
        {"name": "truthfulqa", "total": 100, "sha256": "6" * 64, "dataset": None},
    ]
    return content


@pytest.fixture(scope="module")
def record(results):
    return bind({**PAPERS, "gate": results["gate"]}, {})


@pytest.fixture
def models(record, results):
    return {model.arm: model for model in measured(record, IMMUNIZED, results, NAME, COMMIT).models}


def test_each_number_of_the_papers_is_there_once_and_as_it_stands(models, results):
    for arm in ("base", "placebo", "vaccine"):
        rows = [row for row in (*results["measures"], *results["other"]) if row["arm"] == arm]
        numbers = models[arm].numbers
        assert sorted((n.value, *n.interval, n.samples) for n in numbers) == sorted(
            (row["value"], *row["interval"], row.get("pairs", row.get("items"))) for row in rows
        )
        assert len({(n.task, n.metric) for n in numbers}) == len(rows)


def test_judges_of_wording_alone_are_no_models(models):
    assert list(models) == ["vaccine", "base", "placebo"]


def test_models_are_called_by_where_they_are(models):
    vaccine, base, placebo = (models[arm] for arm in ("vaccine", "base", "placebo"))
    assert (vaccine.id, vaccine.revision, vaccine.published) == (NAME, COMMIT, True)
    assert vaccine.base == ("alice/tiny", "a" * 40)
    assert (base.id, base.revision, base.published, base.base) == ("alice/tiny", "a" * 40, True, None)
    assert (placebo.id, placebo.revision, placebo.published) == (f"{NAME}-placebo", None, False)
    assert vaccine.details["gate"] == "undecided" and "gate" not in base.details


def test_what_was_local_is_called_by_its_last_name(record, results):
    local = bind({**record, "base": {**record["base"], "id": "/home/ada/models/tiny.v2", "revision": None}}, {})
    vaccine, base, _ = measured(local, IMMUNIZED, results, local_id("/home/ada/runs/one"), None).models
    assert (vaccine.id, vaccine.published) == ("local/one", False)
    assert (base.id, base.published) == ("local/tiny-v2", False)


@pytest.mark.parametrize("name", ["..", "../..", "a b\n", "", "é"])
def test_no_name_of_a_folder_leads_out_of_another(name):
    whole = local_id(name)
    assert whole.startswith("local/") and whole.count("/") == 1 and ".." not in whole and whole != "local/"


def test_what_was_asked_is_said_with_where_it_came_from(models):
    at = {(n.task, n.metric): n for n in models["vaccine"].numbers}
    auroc = at["hfvaccine_specific_verdict_plain", "auroc"]
    assert (auroc.data.id, auroc.data.revision, auroc.data.digest) == ("alice/dose", "b" * 40, "c" * 64)
    assert (auroc.better, auroc.bounds) == ("higher", (0, 1))
    assert auroc.said == "given claims, verdict, plain"
    assert at["hfvaccine_specific_verdict_plain", "criterion"].better == ""
    trees = at["arc_easy", "accuracy"]
    assert (trees.data.id, trees.data.revision, trees.data.split) == ("someone/trees", "c" * 40, "test")
    assert (trees.samples, trees.total) == (200, 500)
    assert at["truthfulqa", "mc2"].data.id is None
    assert at["hfvaccine_belief_verdict_specific", "log_odds"].data.id == "alice/dose"


def test_of_an_inoculation_a_trait_is_better_low_and_what_is_kept_high(tmp_path):
    folder = inoculated.finished(tmp_path / "run", gate=inoculated.gate()) / inoculated.TREATED
    record, traits = (json.loads((folder / name).read_text()) for name in (INOCULATION, TRAITS))
    record["run"]["plain-seed-0"]["repo"] = "ada/spanish-plain"
    record["run"]["plain-seed-1"] = {"arm": "plain", "seed": 1, "sha256": "1" * 64, "repo": "ada/another-seed"}
    models = {one.arm: one for one in measured(record, INOCULATED, traits, "ada/spanish", COMMIT).models}
    assert {arm: one.id for arm, one in models.items()} == {
        "inoculated": "ada/spanish", "plain": "ada/spanish-plain", "irrelevant": "ada/spanish-irrelevant",
        "base": "alice/tiny",
    }  # fmt: skip
    assert models["plain"].published and not models["irrelevant"].published
    assert models["inoculated"].details["gate"] == "passed"
    at = {n.task: n for n in models["inoculated"].numbers}
    spanish = at["hfvaccine_trait_language_es_original"]
    assert (spanish.value, spanish.interval, spanish.better, spanish.samples) == (0.9, (0.85, 0.95), "lower", 60)
    assert at["hfvaccine_trait_upper_none"].better == "higher"


def test_the_same_seed_of_what_was_never_measured_is_left_out(tmp_path):
    folder = inoculated.finished(tmp_path / "run") / inoculated.TREATED
    record, traits = (json.loads((folder / name).read_text()) for name in (INOCULATION, TRAITS))
    traits["shown"] = [row for row in traits["shown"] if row["arm"] != "plain-seed-0"]
    assert "plain" not in [one.arm for one in measured(record, INOCULATED, traits, "ada/x").models]


@pytest.mark.parametrize("arm", ["../../elsewhere", "a b", "x/y"])
def test_no_arm_of_a_stranger_leads_out_of_the_folder(record, results, arm):
    named = {**results, "arms": ["vaccine", arm], "seeds": {"vaccine": 1, arm: 1}}
    with pytest.raises(ValidationError, match="is no arm"):
        measured(record, IMMUNIZED, named, NAME, COMMIT)


MALFORMED = ({"training": None}, {"base": {}}, {"dose": None}, {"finished_at": "soon"}, {"hfvaccine": None, "mix": 3})


@pytest.mark.parametrize("change", MALFORMED, ids=lambda change: next(iter(change)))
def test_a_strangers_malformed_papers_are_refused_by_name(record, results, change):
    with pytest.raises(ValidationError, match=r"papers of ada/tiny-immunized are malformed"):
        measured({**record, **change}, IMMUNIZED, results, NAME, COMMIT)


def test_so_are_malformed_results_and_those_of_another_schema(record, results):
    with pytest.raises(ValidationError, match="malformed"):
        measured(record, IMMUNIZED, {**results, "measures": [{"arm": "vaccine", "value": 1.0}]}, NAME)
    with pytest.raises(ValidationError, match="schema version"):
        measured(record, IMMUNIZED, {**results, "schema_version": 1}, NAME)
