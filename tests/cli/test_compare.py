"""`hfvaccine compare`: paired differences on common items, what is not comparable, and refusals before tracebacks."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from hfvaccine.cli.compare import compare
from hfvaccine.errors import HfvaccineError, UsageError, ValidationError
from hfvaccine.files import RECORD, RESULTS, SCORES
from hfvaccine.validation.judging.results import evaluate
from hfvaccine.validation.judging.score_file import write_scores
from hfvaccine.validation.scores import (
    ANSWER,
    HIGHER,
    PLAIN,
    RETENTION,
    VERDICT,
    ArmScores,
    ItemProbe,
    PairProbe,
    PairScores,
)


def write_run(folder, skill, ids=range(40), readings=(VERDICT, ANSWER), record=(), seed=0, arm="vaccine"):
    """A run folder whose vaccine, or other arm, has some skill; the same ids have the same luck in every run."""
    ids = list(ids)
    luck = np.random.default_rng(seed).normal(size=(2, 1000))[:, ids]
    names = tuple(f"claim-{i}" for i in ids)
    pairs = [PairProbe("specific", reading, PLAIN, names, names, ("health",) * len(ids)) for reading in readings]
    items = [ItemProbe("arc_easy", RETENTION, "accuracy", HIGHER, names, names)]
    arms = {
        name: [
            ArmScores(
                {p.key: PairScores(luck[0] - s, luck[1] + s) for p in pairs},
                {items[0].key: (luck[0] > 0).astype(float)},
            )
        ]
        for name, s in {"base": 0.0, arm: skill}.items()
    }
    folder.mkdir()
    results = evaluate(pairs, items, arms, {}, draws=50)
    (folder / RESULTS).write_text(json.dumps(results))
    write_scores(pairs, items, arms, folder / SCORES)
    content = {
        "base": {"id": "you/base"},
        "dose": {"id": "starter", "manifest_sha256": "1", "claim_ids": ["x", "y"]},
        "mix": {"id": "starter"},
    } | dict(record)
    (folder / RECORD).write_text(json.dumps(content))
    return folder


def run(*arguments):
    return CliRunner().invoke(compare, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    weak = write_run(folder / "weak", 0.2)
    strong = write_run(folder / "strong", 1.5)
    return strong, weak


def test_the_difference_is_the_first_less_the_second(runs):
    found = json.loads(run(*runs, "--json").stdout)
    assert found["runs"] == ["strong", "weak"]
    row = next(r for r in found["differences"] if (r["reading"], r["metric"]) == (VERDICT, "auroc"))
    assert row["difference"] > 0 and row["interval"][0] > 0
    assert row["items"] == 40 and row["only"] == [0, 0]
    back = json.loads(run(*reversed(runs), "--json").stdout)
    there = next(r for r in back["differences"] if (r["reading"], r["metric"]) == (VERDICT, "auroc"))
    assert there["difference"] == -row["difference"]


def test_runs_that_are_alike_need_no_notes(runs):
    assert json.loads(run(*runs, "--json").stdout)["notes"] == []


def test_the_table_says_which_is_better(runs):
    shown = run(*runs).stdout
    assert shown.startswith("strong less weak, vaccine against vaccine")
    auroc = next(line for line in shown.splitlines() if line.startswith("given claims, verdict: AUROC"))
    assert auroc.rstrip().endswith("better")
    retention = next(line for line in shown.splitlines() if line.startswith("arc easy"))
    assert "+0.000" in retention and retention.rstrip().endswith("40")


def test_bases_are_compared_where_there_is_no_vaccine(tmp_path):
    left = write_run(tmp_path / "left", 1.0, arm="base")
    right = write_run(tmp_path / "right", 0.0, arm="base", readings=(VERDICT,))
    shown = run(left, right)
    assert shown.exit_code == 0 and shown.stdout.startswith("left less right, base against base")
    assert "Only left was asked: given claims answer" in " ".join(shown.stdout.split())


def test_only_common_items_are_compared(tmp_path):
    left = write_run(tmp_path / "left", 1.0, range(30))
    right = write_run(tmp_path / "right", 1.0, range(10, 50))
    found = json.loads(run(left, right, "--json").stdout)
    assert {(r["items"], tuple(r["only"])) for r in found["differences"]} == {(20, (10, 20))}
    assert all(r["difference"] == 0 for r in found["differences"])
    assert any("compared on 20 items; 10 more are left's alone, 20 right's" in note for note in found["notes"])


def test_too_few_in_common_is_said(tmp_path):
    left, right = write_run(tmp_path / "left", 1.0, range(20)), write_run(tmp_path / "right", 1.0, range(18, 40))
    assert "too few in common" in run(left, right).stdout


@pytest.mark.parametrize(
    "record, note",
    [
        ({"base": {"id": "you/another"}}, "The base is another."),
        ({"base": {"id": "you/base", "revision": "a" * 40}}, "The base is another."),
        ({"mix": {"id": "you/mix"}}, "The mix is another."),
        ({"dose": {"id": "starter", "manifest_sha256": "2", "claim_ids": ["x", "y"]}}, "The dose is another."),
        ({"dose": {"id": "copy", "manifest_sha256": "1", "claim_ids": ["x", "z"]}}, "Other claims were given: 1 to"),
    ],
)
def test_what_else_differs_is_said(tmp_path, record, note):
    left, right = write_run(tmp_path / "left", 1.0), write_run(tmp_path / "right", 1.0, record=record)
    notes = json.loads(run(left, right, "--json").stdout)["notes"]
    assert len(notes) == 1 and notes[0].startswith(note)
    assert notes[0] in run(left, right).stdout


def test_a_copied_dose_is_the_same_dose(tmp_path):
    copied = {"dose": {"id": "a-copy", "manifest_sha256": "1", "claim_ids": ["y", "x"]}}
    left, right = write_run(tmp_path / "left", 1.0), write_run(tmp_path / "right", 1.0, record=copied)
    assert json.loads(run(left, right, "--json").stdout)["notes"] == []


def test_probes_of_one_run_alone_are_named(tmp_path):
    left, right = write_run(tmp_path / "left", 1.0), write_run(tmp_path / "right", 1.0, readings=(VERDICT,))
    notes = json.loads(run(left, right, "--json").stdout)["notes"]
    assert notes == ["Only left was asked: given claims answer plain."]


def test_a_run_without_record_says_so(tmp_path):
    left, right = write_run(tmp_path / "left", 1.0), write_run(tmp_path / "right", 1.0)
    (right / RECORD).unlink()
    assert "right has no record" in run(left, right).stdout


def test_runs_of_one_name_are_told_apart(tmp_path):
    folders = [tmp_path / side / "run" for side in ("a", "b")]
    for folder in folders:
        folder.parent.mkdir()
        write_run(folder, 1.0)
    assert json.loads(run(*folders, "--json").stdout)["runs"] == [str(folder) for folder in folders]


def spoil(folder, name, text):
    (folder / name).write_text(text)


@pytest.mark.parametrize(
    "harm, error, message",
    [
        (lambda f: (f / RESULTS).unlink(), UsageError, "holds no results.json"),
        (lambda f: spoil(f, RESULTS, "{"), UsageError, "cannot be read as JSON"),
        (lambda f: spoil(f, RESULTS, "[]"), UsageError, "not a JSON object"),
        (lambda f: spoil(f, RECORD, "[]"), UsageError, "not a JSON object"),
        (lambda f: spoil(f, RESULTS, '{"schema_version": 2}'), ValidationError, "schema version 2"),
        (lambda f: spoil(f, RESULTS, '{"schema_version": 3}'), ValidationError, "results lack arms"),
        (lambda f: (f / SCORES).unlink(), ValidationError, "no scores"),
        (lambda f: spoil(f, SCORES, "not parquet"), ValidationError, "no scores"),
    ],
)
def test_a_folder_that_is_no_validated_run_is_refused(tmp_path, harm, error, message):
    left, right = write_run(tmp_path / "left", 1.0), write_run(tmp_path / "right", 1.0)
    harm(right)
    refused = run(left, right).exception
    assert isinstance(refused, error) and message in refused.message and refused.next_step


def test_a_missing_folder_is_refused(runs, tmp_path):
    refused = run(runs[0], tmp_path / "nowhere").exception
    assert isinstance(refused, HfvaccineError) and "nowhere" in refused.message
