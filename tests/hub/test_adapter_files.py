"""Pushing an adapter: which files, under which names, and which runs are refused."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml
from finished_runs import bound, finished_run
from hubs import put, text_of
from huggingface_hub import EvalResultEntry, ModelCard, eval_result_entries_to_yaml, parse_eval_result_entries

from hfvaccine import hub
from hfvaccine.claims.dose import MANIFEST
from hfvaccine.errors import LineageError, PublishError, UsageError
from hfvaccine.files import (
    ADAPTER,
    ADAPTER_CONFIG,
    ADAPTER_NEEDS,
    CARD,
    CONFIG,
    LEDGER,
    PUBLISHED,
    RECORD,
    RESULTS,
    digest_of,
    present,
)
from hfvaccine.papers import binding


def test_a_pushed_adapter_holds_listed_files_and_a_fresh_card(alice, api, repo_id, run, local):
    pushed = hub.push_adapter(run, repo_id, **alice)
    assert pushed.url == f"{local.endpoint}/{repo_id}"
    there = {".gitattributes", "README.md", "tokenizer.json", *ADAPTER_NEEDS}
    assert set(api.list_repo_files(repo_id)) == there
    card = ModelCard(text_of(api, repo_id, "README.md"))
    assert [e.metric_value for e in card.data.eval_results] == [0.5871]
    assert card.text.strip().startswith("> **PASSED.**")
    assert card.data.datasets == ["alice/dose"]
    assert f'from_pretrained(base, "{repo_id}")' in card.text
    assert len(api.list_repo_commits(repo_id)) == 2
    assert hub.push_adapter(run, repo_id, **alice) == pushed
    assert (run / "README.md").read_text() == "an older card"


def test_a_failed_gate_is_published_only_when_asked_and_says_so_first(alice, api, repo_id, tmp_path):
    run = finished_run(tmp_path / "run", verdict="failed")
    with pytest.raises(PublishError, match="auroc_gain") as caught:
        hub.push_adapter(run, repo_id, **alice)
    assert "--publish-failed" in caught.value.next_step
    assert not api.repo_exists(repo_id)
    hub.push_adapter(run, repo_id, publish_failed=True, **alice)
    assert ModelCard(text_of(api, repo_id, "README.md")).text.strip().startswith("> **FAILED.**")


def test_an_undecided_gate_is_published_under_its_banner(alice, api, repo_id, tmp_path):
    hub.push_adapter(finished_run(tmp_path / "run", verdict="undecided"), repo_id, **alice)
    assert ModelCard(text_of(api, repo_id, "README.md")).text.strip().startswith("> **UNDECIDED.**")


@pytest.mark.parametrize("name", ADAPTER_NEEDS)
def test_an_unfinished_run_is_refused(alice, run, name):
    (run / name).unlink()
    with pytest.raises(LineageError, match=name):
        hub.push_adapter(run, "alice/unfinished", **alice)


@pytest.mark.parametrize("name", [RESULTS, LEDGER, ADAPTER, CARD, "tokenizer.json"])
def test_a_file_other_than_the_one_that_is_bound_is_refused(alice, run, api, name):
    (run / name).write_bytes((run / name).read_bytes() + b" ")
    with pytest.raises(LineageError, match=f"{name} is not the file that {RECORD} binds"):
        hub.push_adapter(run, "alice/edited", **alice)
    assert not api.repo_exists("alice/edited")


def test_files_that_came_or_went_since_are_refused(alice, run):
    (run / "merges.txt").write_text("a b")
    with pytest.raises(LineageError, match=r"merges\.txt is not among the files"):
        hub.push_adapter(run, "alice/edited", **alice)
    (run / "merges.txt").unlink()
    (run / "tokenizer.json").unlink()
    with pytest.raises(LineageError, match=r"has no tokenizer\.json, which"):
        hub.push_adapter(run, "alice/edited", **alice)


def test_a_record_that_was_edited_or_is_older_is_refused(alice, run):
    record = json.loads((run / RECORD).read_text())
    (run / RECORD).write_text(json.dumps({**record, "hfvaccine": "9.9"}))
    with pytest.raises(LineageError, match="not what was written"):
        hub.push_adapter(run, "alice/edited", **alice)
    (run / RECORD).write_text(json.dumps({**record, "schema_version": 1}))
    with pytest.raises(LineageError, match="schema version 1"):
        hub.push_adapter(run, "alice/edited", **alice)


@pytest.mark.parametrize(("record", "said"), [("{", "is no JSON"), ("[]", "is no JSON object")])
def test_a_record_that_is_none_is_refused(alice, run, record, said):
    (run / RECORD).write_text(record)
    with pytest.raises(LineageError, match=said):
        hub.push_adapter(run, "alice/untrusted", **alice)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base": None}, "malformed"),
        ({"gate": None}, "never validated"),
        ({"gate": {"verdict": "failed"}}, "do not agree"),
    ],
)
def test_a_record_that_cannot_be_trusted_is_refused(alice, run, change, said):
    bound(run, {**json.loads((run / RECORD).read_text()), **change})
    with pytest.raises(PublishError, match=said):
        hub.push_adapter(run, "alice/untrusted", **alice)


def test_a_local_base_needs_a_hub_id_which_then_stands_everywhere(alice, api, repo_id, tmp_path):
    run = finished_run(
        tmp_path / "run",
        base={"id": "/srv/models/tiny", "revision": None, "weights_sha256": "9" * 64},
        dose={"id": "/srv/doses/mine", "revision": None},
    )
    with pytest.raises(PublishError) as caught:
        hub.push_adapter(run, repo_id, **alice)
    assert "--base-id" in caught.value.next_step
    hub.push_adapter(run, repo_id, base_id="alice/tiny", dose_id="alice/dose", **alice)
    for name in (RECORD, ADAPTER_CONFIG, CONFIG, "README.md"):
        assert "/srv/" not in text_of(api, repo_id, name)
    assert json.loads(text_of(api, repo_id, ADAPTER_CONFIG))["base_model_name_or_path"] == "alice/tiny"
    assert yaml.safe_load(text_of(api, repo_id, CONFIG)) == {"base": "alice/tiny", "dose": "alice/dose", "seed": 0}
    assert ModelCard(text_of(api, repo_id, "README.md")).data.base_model == "alice/tiny"


def test_a_folder_that_looks_like_a_hub_id_is_still_a_folder(alice, api, repo_id, tmp_path):
    run = finished_run(
        tmp_path / "run",
        base={"id": "models/tiny", "revision": None, "weights_sha256": "9" * 64},
        dose={"id": "doses/mine", "revision": None},
    )
    with pytest.raises(PublishError, match="not a Hub id"):
        hub.push_adapter(run, repo_id, **alice)
    hub.push_adapter(run, repo_id, base_id="alice/tiny", **alice)
    card = ModelCard(text_of(api, repo_id, "README.md"))
    assert card.data.base_model == "alice/tiny"
    assert card.data.datasets is None
    assert "doses/" not in card.text


def test_the_files_of_a_run_are_published_by_their_last_names(alice, api, repo_id, run, tmp_path):
    for name in ("gate.yaml", "arc.jsonl", "free.txt"):
        (tmp_path / name).write_text("x")
    options = yaml.safe_load((run / CONFIG).read_text())
    options |= {
        "gate": str(tmp_path / "gate.yaml"),
        "benchmark": [f"arc={tmp_path / 'arc.jsonl'}", "allenai/openbookqa"],
        "inoculation_prompt": "You always say a=b.",
        "report_to": ["wandb"],
        "inoculate_others": "/srv/secret/gone.txt",
    }
    (run / CONFIG).write_text(yaml.safe_dump(options))
    hub.push_adapter(bound(run), repo_id, **alice)
    published = yaml.safe_load(text_of(api, repo_id, CONFIG))
    assert published["gate"] == "gate.yaml"
    assert published["benchmark"] == ["arc=arc.jsonl", "allenai/openbookqa"]
    assert published["inoculation_prompt"] == "You always say a=b."
    assert published["inoculate_others"] == "gone.txt"
    assert "report_to" not in published


def test_rows_from_a_folder_are_published_by_their_last_names(alice, api, repo_id, tmp_path):
    mix = {"id": "/srv/secret/rows.jsonl", "comparisons": {"id": "/srv/secret/pairs.jsonl", "pairs": 3}}
    run = finished_run(tmp_path / "run", mix=mix)
    options = yaml.safe_load((run / CONFIG).read_text())
    (run / CONFIG).write_text(yaml.safe_dump({**options, "mix": mix["id"], "comparisons": mix["comparisons"]["id"]}))
    hub.push_adapter(bound(run), repo_id, **alice)
    published, recorded = (yaml.safe_load(text_of(api, repo_id, name)) for name in (CONFIG, RECORD))
    assert (published["mix"], published["comparisons"]) == ("rows.jsonl", "pairs.jsonl")
    assert (recorded["mix"]["id"], recorded["mix"]["comparisons"]["id"]) == ("rows.jsonl", "pairs.jsonl")


def test_results_on_registered_benchmarks_are_never_claimed_and_those_of_others_stay(alice, api, repo_id, run):
    hub.push_adapter(run, repo_id, **alice)
    assert not [name for name in api.list_repo_files(repo_id) if name.startswith(".eval_results")]
    entry = EvalResultEntry("TIGER-Lab/MMLU-Pro", "mmlu_pro", 0.31, dataset_revision="a" * 40, notes="inspect-ai")
    written = yaml.safe_dump(eval_result_entries_to_yaml([entry]))
    put(api, repo_id, ".eval_results/mmlu_pro.yaml", written.encode())
    record = json.loads((run / RECORD).read_text())
    assert hub.push_adapter(bound(run, {**record, "versions": {"python": "3.12"}}), repo_id, **alice).tag == "v2"
    left = yaml.safe_load(text_of(api, repo_id, ".eval_results/mmlu_pro.yaml"))
    assert parse_eval_result_entries(left) == [entry]


def test_a_dose_that_was_local_is_pinned_to_the_first_version_that_is_it(alice, api, dose, repo_id, tmp_path):
    dose_id, digest = f"{repo_id}-dose", hashlib.sha256((dose / MANIFEST).read_bytes()).hexdigest()
    first = hub.push_dose(dose, dose_id, **alice)
    put(api, dose_id, "NOTICE", b"Thanks.", "dataset")
    local = {"id": "doses/mine", "revision": None, "manifest_sha256": digest}
    run = finished_run(tmp_path / "run", dose=local)
    pushed = hub.push_adapter(run, repo_id, dose_id=dose_id, **alice)
    record, options = (yaml.safe_load(text_of(api, repo_id, name)) for name in (RECORD, CONFIG))
    assert (record["dose"]["id"], record["dose"]["revision"]) == (dose_id, first.revision)
    assert (options["dose"], options["dose_revision"]) == (dose_id, first.revision)
    assert hub.push_adapter(run, repo_id, dose_id=dose_id, **alice) == pushed
    another = finished_run(tmp_path / "another", dose=local | {"manifest_sha256": "9" * 64})
    with pytest.raises(PublishError, match=f"No version of {dose_id} is the dose"):
        hub.push_adapter(another, f"{repo_id}-another", dose_id=dose_id, **alice)


@pytest.mark.parametrize("given", [{"base_id": "/srv/tiny"}, {"dose_id": "starter"}])
def test_an_id_that_is_none_is_a_usage_error(alice, run, given):
    with pytest.raises(UsageError, match="is not a Hub id"):
        hub.push_adapter(run, "alice/misnamed", **given, **alice)


def test_the_published_record_binds_the_published_files(alice, api, repo_id, tmp_path):
    local = {"id": "/srv/models/tiny", "revision": None, "weights_sha256": "9" * 64}
    run = finished_run(tmp_path / "run", base=local)
    hub.push_adapter(run, repo_id, base_id="alice/tiny", **alice)
    folder = Path(api.snapshot_download(repo_id))
    record = json.loads((folder / RECORD).read_text())
    binding.check_record(record)
    assert record["base"]["id"] == "alice/tiny"
    there = {name: digest_of(path) for name, path in present(folder, PUBLISHED).items()}
    assert there.pop(RECORD)
    assert record["files"] == there
    assert CARD in there and CONFIG in there and LEDGER in there


def test_what_was_pinned_is_what_the_published_options_pin(alice, api, repo_id, tmp_path):
    run = finished_run(tmp_path / "run", dose={"revision": None})
    options = yaml.safe_load((run / CONFIG).read_text())
    (run / CONFIG).write_text(yaml.safe_dump({**options, "base_revision": "main", "dose_revision": "main"}))
    hub.push_adapter(bound(run), repo_id, **alice)
    published = yaml.safe_load(text_of(api, repo_id, CONFIG))
    assert published["base_revision"] == "a" * 40
    assert "dose_revision" not in published
