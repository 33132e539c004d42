"""Pushing adapters of an inoculation: which of a run is meant, what is published, and what is refused."""

import json

import pytest
import yaml
from click.testing import CliRunner
from finished_runs import finished_run
from hubs import text_of
from huggingface_hub import ModelCard
from inoculated import NAMES, TREATED, finished, gate

from hfvaccine import hub
from hfvaccine.cli import listing as command
from hfvaccine.errors import LineageError, PublishError, UsageError
from hfvaccine.files import ADAPTER, ARM_NEEDS, CONFIG, INOCULATION, TRAITS
from hfvaccine.hub.listing import listing
from hfvaccine.hub.push import push_arms
from hfvaccine.papers.binding import open_run


def banner(api, repo):
    return ModelCard(text_of(api, repo, "README.md")).text.strip().split("\n")[0]


@pytest.fixture
def run(tmp_path):
    return finished(tmp_path / "run", gate=gate())


def test_of_a_run_the_inoculated_adapter_is_published_with_its_papers(alice, api, repo_id, run, tmp_path):
    pushed = hub.push_adapter(run, repo_id, license="mit", **alice)
    info = api.model_info(repo_id)
    assert (pushed.revision, pushed.tag, info.private) == (info.sha, "v1", False)
    names = {file.rfilename for file in info.siblings} - {".gitattributes"}
    assert names == {*ARM_NEEDS, TRAITS, "README.md", "tokenizer.json"}  # no answers, and nothing of other arms
    folder = api.snapshot_download(repo_id, local_dir=tmp_path / "copy")
    record = open_run(tmp_path / "copy", whole=True)
    assert record["adapter"] == {**record["adapter"], "name": TREATED, "arm": "inoculated", "seed": 0}
    assert record["data"]["id"] == "rows.jsonl" and record["run"][TREATED]["repo"] == repo_id
    options = yaml.safe_load((tmp_path / "copy" / CONFIG).read_text())
    assert (options["base"], options["data"], options["arms"]) == ("alice/tiny", "rows.jsonl", "inoculated")
    assert "output_dir" not in options and str(tmp_path) not in json.dumps(options)
    assert banner(api, repo_id).startswith("> **PASSED.**") and folder
    again = hub.push_adapter(run / TREATED, repo_id, **alice)
    assert again == pushed  # the same, by its own folder, and under the licence that it has there


def test_controls_get_repos_of_their_own_that_say_first_what_they_are(alice, api, repo_id, run):
    pushed = push_arms(run, repo_id, private=True, **alice)
    assert [one.repo_id for one in pushed] == [repo_id, f"{repo_id}-plain", f"{repo_id}-irrelevant"]
    for one in pushed:
        assert api.model_info(one.repo_id).private
    for one in pushed[1:]:
        assert banner(api, one.repo_id).startswith("> **CONTROL, NOT FOR USE.**")
    card = text_of(api, repo_id, "README.md")
    assert f"[{repo_id}-plain](/{repo_id}-plain)" in card and "not published with it" not in card


@pytest.mark.parametrize("push", [hub.push_adapter, push_arms])
def test_a_failed_gate_is_refused_unless_it_is_asked_for(alice, api, repo_id, tmp_path, push):
    run = finished(tmp_path / "run", gate=gate("failed"))
    with pytest.raises(PublishError, match="failed its gate") as caught:
        push(run, repo_id, **alice)
    assert "--publish-failed" in caught.value.next_step and not api.repo_exists(repo_id)
    push(run, repo_id, publish_failed=True, **alice)
    assert banner(api, repo_id).startswith("> **FAILED.**")


def test_what_was_not_measured_is_published_and_says_so(alice, api, repo_id, tmp_path):
    said = []
    hub.push_adapter(finished(tmp_path / "run", traits=False), repo_id, progress=said.append, **alice)
    assert banner(api, repo_id).startswith("> **NOT MEASURED.**")
    assert any("never measured" in line for line in said)


def test_a_repo_of_something_else_is_refused(alice, api, run, repo_id, tmp_path):
    hub.push_adapter(finished_run(tmp_path / "vaccine"), repo_id, **alice)
    with pytest.raises(PublishError, match=f"holds something else: it has no {INOCULATION}"):
        hub.push_adapter(run, repo_id, **alice)


def test_a_run_of_several_names_the_one_that_is_meant(alice, repo_id, tmp_path):
    run = finished(tmp_path / "run", traits=False, names=(*NAMES, "inoculated-seed-1"))
    with pytest.raises(UsageError, match="2 inoculated adapters: inoculated-seed-0, inoculated-seed-1"):
        hub.push_adapter(run, repo_id, **alice)
    plain = finished(tmp_path / "plain", names=NAMES[:1])
    with pytest.raises(UsageError, match="no inoculated adapter"):
        hub.push_adapter(plain, repo_id, **alice)
    with pytest.raises(UsageError, match="no controls beside it"):
        push_arms(plain / NAMES[0], repo_id, **alice)
    with pytest.raises(UsageError, match="no inoculated adapter with arms"):
        push_arms(finished_run(tmp_path / "vaccine"), repo_id, **alice)
    with pytest.raises(UsageError, match="has no dose"):
        hub.push_adapter(run / TREATED, repo_id, dose_id="alice/dose", **alice)


def test_a_file_that_was_changed_or_came_later_is_refused(alice, api, repo_id, run):
    (run / NAMES[0] / ADAPTER).write_bytes(b"other")
    with pytest.raises(LineageError, match="was changed since"):
        push_arms(run, repo_id, **alice)
    assert not api.repo_exists(repo_id)  # nothing of it was sent
    (run / TREATED / TRAITS).unlink()
    with pytest.raises(LineageError, match=f"no {TRAITS}"):
        hub.push_adapter(run, repo_id, **alice)


def test_a_base_without_a_hub_id_is_refused(alice, repo_id, tmp_path):
    run = finished(tmp_path / "run", base={"id": "/models/tiny"})
    with pytest.raises(PublishError, match="is not a Hub id"):
        hub.push_adapter(run, repo_id, **alice)
    assert hub.push_adapter(run, repo_id, base_id="alice/tiny", **alice).tag == "v1"


def test_a_list_tells_inoculated_adapters_and_controls_from_others(local, run, tmp_path, monkeypatch):
    token = local.add_user("lister")
    with_token = {"endpoint": local.endpoint, "token": token}
    hub.push_adapter(finished_run(tmp_path / "vaccine"), "lister/vaccine", **with_token)
    push_arms(run, "lister/spanish", **with_token)
    found = {one.id: one for one in listing("lister", **with_token).adapters}
    told = {name.partition("/")[2]: (one.kind, one.arm, one.gate) for name, one in found.items()}
    assert told == {
        "vaccine": ("immunized", None, "passed"), "spanish": ("inoculated", "inoculated", "passed"),
        "spanish-plain": ("control", "plain", "none"), "spanish-irrelevant": ("control", "irrelevant", "none"),
    }  # fmt: skip
    assert found["lister/spanish"].worst["condition"] == "original"
    monkeypatch.setattr("hfvaccine.hub.listing.listing", lambda *_, **__: listing("lister", **with_token))
    shown = CliRunner().invoke(command.list_, ["lister"]).output
    assert "Inoculated adapters of lister" in shown and "CONTROL, plain" in shown and "0.90 [0.85, 0.95]" in shown
