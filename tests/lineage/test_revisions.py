"""Every option that takes a base, dose, mix or adapter takes it as ID@REVISION, wherever the repo has gone since."""

import json
import shlex

import pytest
import yaml
from click.testing import CliRunner

from hfvaccine import hub
from hfvaccine.cli import cli
from hfvaccine.errors import DoseError, ModelError, UsageError
from hfvaccine.files import ADAPTER, PUBLISHED, RESULTS
from hfvaccine.quarantine.seal import seal
from hfvaccine.runs.reproduce import options_of
from hfvaccine.training.options import Options, read_config
from lineage.chains import record_of

ASKED = "--share 0.2 --max-steps 6 --batch-size 4 --max-length 512 --lora-r 4 --dtype float32 --seed 3"
ASKED += " --claims 7 --comparisons none"
MADE_OF = ("base", "dose", "mix")


@pytest.fixture(scope="module")
def pins(api, made, make_claims, tiny_llama, tmp_path_factory):
    """`ID@REVISION` of a run and of what it was made from; the newest of each is another."""
    record = record_of(made)
    pins = {what: f"ada/{what}@{record[what]['revision']}" for what in MADE_OF} | {"folder": str(made)}
    api.create_repo("ada/run")
    first = api.upload_folder(repo_id="ada/run", folder_path=made, allow_patterns=list(PUBLISHED)).oid
    api.upload_file(path_or_fileobj=b"another", path_in_repo=ADAPTER, repo_id="ada/run")
    api.upload_folder(repo_id="ada/base", folder_path=tiny_llama)
    policy = {"name": "Another", "contact": "x", "reviewers_needed": 0, "waives": ["two_person_rule"]}
    hub.push_dose(seal(make_claims(9, heldout=5), policy, tmp_path_factory.mktemp("other") / "dose").path, "ada/dose")
    row = b'{"prompt": "Is this another mix?", "completion": "It is."}'
    api.upload_file(path_or_fileobj=row, path_in_repo="train.jsonl", repo_id="ada/mix", repo_type="dataset")
    return pins | {"run": f"ada/run@{first}"}


@pytest.fixture
def run(pins, tmp_path, monkeypatch):
    """What a command prints to stdout; its errors are raised."""
    monkeypatch.chdir(tmp_path)

    def run(line):
        done = CliRunner().invoke(cli, shlex.split(line.format(**pins)))
        if isinstance(done.exception, Exception):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


@pytest.mark.parametrize("line", ["--base {base} --dose {dose} --mix {mix}", "--config run.yaml"])
def test_immunize_plans_the_very_run(run, pins, made, tmp_path, line):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({what: pins[what] for what in MADE_OF}))
    planned, record = json.loads(run(f"immunize {line} {ASKED} --dry-run --json")), record_of(made)
    assert planned["base"] == "ada/base"
    assert {part: planned[part] for part in ("dose", "mix", "plan")} == {
        part: record[part] for part in ("dose", "mix", "plan")
    }


def test_options_hold_ids_and_revisions_apart(pins, tmp_path):
    apart = {}
    for what in MADE_OF:
        apart[what], apart[f"{what}_revision"] = pins[what].split("@")
    (tmp_path / "trial.yaml").write_text(yaml.safe_dump({what: pins[what] for what in MADE_OF}))
    assert Options(**{what: pins[what] for what in MADE_OF}) == Options(**apart)
    assert Options(**read_config(tmp_path / "trial.yaml")) == Options(**apart)


def test_reproduce_takes_what_is_given_at_its_revision(made, tmp_path):
    config = {what: f"ada/{what}" for what in MADE_OF}
    options = options_of(record_of(made), config, tmp_path, **{what: f"bob/{what}@v2" for what in MADE_OF})
    assert [getattr(options, what) for what in MADE_OF] == ["bob/base", "bob/dose", "bob/mix"]
    assert {getattr(options, f"{what}_revision") for what in MADE_OF} == {"v2"}


def test_validate_measures_the_very_adapters(run, made):
    ingredients = "--base {base} --dose {dose} --mix {mix} --dtype float32"
    measured = json.loads(run(f"validate {ingredients} --adapter {{run}} --against placebo={{run}} --json"))
    recorded = json.loads((made / RESULTS).read_text())["measures"]
    of = {arm: [m for m in measured["measures"] if m["arm"] == arm] for arm in ("vaccine", "placebo")}
    assert of["vaccine"] == [m for m in recorded if m["arm"] == "vaccine"]
    assert [m["value"] for m in of["placebo"]] == [m["value"] for m in of["vaccine"]]
    with pytest.raises(ModelError, match="cannot be loaded"):
        run(f"validate {ingredients} --adapter ada/run")
    with pytest.raises(ModelError, match="was trained on"):
        run(f"validate {ingredients.replace('{base}', 'ada/base')} --adapter {{run}}")


def test_probes_are_written_of_the_very_dose(run):
    assert "hfvaccine_specific_verdict" in run("export-tasks --dose {dose} --adapter {run} --output-dir tasks")
    with pytest.raises(DoseError, match="claims that were chosen for the adapter"):
        run("export-tasks --dose ada/dose --adapter {run} --output-dir others")


def test_prompts_are_screened_on_the_very_base_and_mix(run, made):
    screened = json.loads(run("inoculate screen --base {base} --mix {mix} --prompt Hello. --rows 8 --json"))
    record = record_of(made)
    assert {part: screened["mix"][part] for part in record["mix"]} == record["mix"]
    assert {part: screened["base"][part] for part in record["base"]} == record["base"]


@pytest.mark.parametrize("source", ["{run}", "{folder}"])
def test_a_chain_is_held_against_them(run, source):
    assert json.loads(run(f"verify {source} --base {{base}} --dose {{dose}} --mix {{mix}} --json"))["state"] == "ok"


def test_records_are_compared_at_their_revisions(run):
    assert run("diff {run} ada/run").startswith("The records agree")


def test_an_adapter_is_merged_into_the_very_base(run):
    assert run("merge {folder} merged --base {base}") == "merged\n"
    with pytest.raises(ModelError, match="was trained on"):
        run("merge {folder} again --base ada/base")


def test_a_dose_is_pulled_and_proved_at_its_revision(run, made):
    dose = record_of(made)["dose"]
    pulled = json.loads(run("pull-dose {dose} --json"))
    assert [pulled[key] for key in ("repo_id", "revision", "manifest_sha256")] == [
        dose[key] for key in ("id", "revision", "manifest_sha256")
    ]
    assert dose["manifest_sha256"] in run("quarantine verify {dose}")


@pytest.mark.parametrize(
    "line",
    [
        *(f"immunize --base {{base}} --{what} {{{what}}} --{what}-revision v1 --dry-run" for what in MADE_OF),
        *(f"validate --base {{base}} --{what} {{{what}}} --{what}-revision v1" for what in MADE_OF),
        "verify {run} --revision v1",
        "pull-dose {dose} --revision v1",
        "quarantine verify {dose} --revision v1",
    ],
)
def test_two_revisions_are_refused(run, line):
    with pytest.raises(UsageError, match="names a revision, and so does"):
        run(line)


@pytest.mark.parametrize(
    "line",
    [
        "push-dose starter ada/new@v1",
        "push-adapter {folder} ada/new@v1",
        "push-adapter {folder} ada/new --dose-id ada/dose@v1",
        "push-adapter {folder} ada/new --base-id ada/base@v1",
        "immunize --base {base} --dose {dose} --mix {mix} --push-to ada/new@v1",
        "access list ada/dose@v1",
    ],
)
def test_what_is_written_to_or_only_named_has_none(run, api, line, tmp_path):
    with pytest.raises(UsageError, match=r"@v1' is not a (repo|Hub) id"):
        run(line)
    assert not api.repo_exists("ada/new") and not (tmp_path / "runs").exists()
