"""What a namespace holds, against a live embedded Hub, and as the command shows it."""

import json
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from click.testing import CliRunner
from finished_runs import finished_run
from hubs import talk_to
from huggingface_hub import HfApi, constants

from hfvaccine import hub
from hfvaccine.cli.listing import list_
from hfvaccine.errors import HubError
from hfvaccine.hub.listing import adapter, headline, listing


@pytest.fixture(scope="module")
def tokens(local, dose, tmp_path_factory):
    """On the Hub alice has a dose, two adapters and two repos that are none, and bob one adapter."""
    made = {name: local.add_user(name) for name in ("alice", "bob")}
    folder = tmp_path_factory.mktemp("sources")
    alice = {"endpoint": local.endpoint, "token": made["alice"]}
    hub.push_dose(dose, "alice/dose", **alice)
    hub.push_adapter(finished_run(folder / "good"), "alice/good", license="apache-2.0", **alice)
    failed = finished_run(folder / "bad", verdict="failed")
    hub.push_adapter(failed, "alice/bad", private=True, publish_failed=True, **alice)
    hub.push_adapter(finished_run(folder / "bobs"), "bob/good", endpoint=local.endpoint, token=made["bob"])
    api = HfApi(**alice)
    api.create_repo("alice/plain")
    api.create_repo("alice/table", repo_type="dataset")
    return made


@pytest.fixture
def found(local, tokens):
    return listing("alice", endpoint=local.endpoint, token=tokens["alice"])


def test_a_namespace_lists_its_doses_and_adapters_and_nothing_else(found):
    assert [dose.id for dose in found.doses] == ["alice/dose"]
    assert sorted(adapter.id for adapter in found.adapters) == ["alice/bad", "alice/good"]


def test_an_adapter_tells_gate_share_headline_and_lineage(found, local):
    good = next(one for one in found.adapters if one.id == "alice/good")
    assert (good.gate, good.private, good.gated, good.merged) == ("passed", False, False, False)
    assert (good.share_given, good.auroc, good.interval) == (0.0987, 0.5871, (0.5, 0.6))
    assert (good.base, good.base_revision) == ("alice/tiny", "a" * 40)
    assert (good.dose, good.dose_revision) == ("alice/dose", "b" * 40)
    assert good.license == "apache-2.0"
    assert good.url == f"{local.endpoint}/alice/good"
    assert "hfvaccine-gate-passed" in good.tags


def test_a_dose_tells_its_name_and_gate(found):
    (dose,) = found.doses
    assert (dose.name, dose.size, dose.gated, dose.private) == ("Small dose", "n<1K", "manual", False)
    assert dose.languages == ("en",)
    assert len(dose.revision) == 40


def test_private_repos_are_listed_for_their_owner_alone(local, tokens, found):
    assert next(one for one in found.adapters if one.id == "alice/bad").private
    theirs = listing("alice", endpoint=local.endpoint, token=tokens["bob"])
    assert [one.id for one in theirs.adapters] == ["alice/good"]


def test_without_a_namespace_it_is_ones_own(local, tokens):
    own = listing(endpoint=local.endpoint, token=tokens["bob"])
    assert own.namespace == "bob"
    assert [one.id for one in own.adapters] == ["bob/good"]
    with pytest.raises(HubError):
        listing(endpoint=local.endpoint, token="hfv_" + "0" * 40)


def test_nothing_is_downloaded(local, tokens, monkeypatch):
    refuse = Mock(side_effect=AssertionError("a file was fetched"))
    monkeypatch.setattr(HfApi, "hf_hub_download", refuse)
    monkeypatch.setattr(HfApi, "snapshot_download", refuse)
    assert listing("alice", endpoint=local.endpoint, token=tokens["alice"]).adapters


METRIC = {"type": "auroc", "value": 0.7, "args": {"probe": "cross", "reading": "verdict", "interval": [0.6, 0.8]}}


def index(*metrics):
    return [{"name": "x", "results": [{"metrics": list(metrics)}]}]


def test_the_headline_is_the_verdict_on_claims_never_given():
    given = {**METRIC, "value": 0.9, "args": {**METRIC["args"], "probe": "specific"}}
    answer = {**METRIC, "value": 0.8, "args": {**METRIC["args"], "reading": "answer"}}
    other = {**METRIC, "type": "rejection", "value": 1.0}
    assert headline(index(given, answer, other, METRIC)) == (0.7, (0.6, 0.8))
    assert headline(index(given, answer, other)) == (None, None)
    assert headline(index({**METRIC, "args": {**METRIC["args"], "interval": "wide"}})) == (0.7, None)


@pytest.mark.parametrize("broken", [None, 3, "x", [3], [{"results": 1}], index(3), index({"args": 1}), {"a": 1}])
def test_any_other_model_index_has_no_headline(broken):
    assert headline(broken) == (None, None)


def test_a_card_that_anybody_wrote_cannot_break_the_list():
    card = {"hfvaccine": ["x"], "base_model": [3, "a/b"], "datasets": {"x": 1}, "license": 5, "model-index": "no"}
    info = SimpleNamespace(
        id="a/b",
        sha=None,
        last_modified=None,
        private=None,
        gated=None,
        tags=None,
        card_data=SimpleNamespace(to_dict=lambda: card),
        model_index=None,
    )
    one = adapter("http://hub.example/a/b", info)
    assert one.base == "a/b"
    assert {one.dose, one.share_given, one.auroc, one.gate, one.license} == {None}
    for share in ("0.1", float("nan"), True, None):
        card["hfvaccine"] = {"share_given": share}
        assert adapter("http://hub.example/a/b", info).share_given is None


# The command


@pytest.fixture
def run(local, tokens, monkeypatch):
    talk_to(local, monkeypatch)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return lambda *arguments: CliRunner().invoke(list_, arguments, catch_exceptions=False)


def test_a_person_sees_a_table(run, tokens):
    shown = run("--token", tokens["alice"]).stdout
    doses, _, adapters = shown.partition("Adapters of alice")
    assert "Doses of alice" in doses and "Small dose" in doses and "(gated, manual)" in doses
    for text in ("passed", "9.87 %", "0.59 [0.50, 0.60]"):
        assert text in adapters
    assert "\ngood: dose alice/dose@bbbbbbb on base alice/tiny@aaaaaaa\n" in adapters
    assert "FAILED" in adapters and "(private)" in adapters


def test_a_script_gets_one_object(run, tokens):
    said = json.loads(run("alice", "--token", tokens["bob"], "--json").stdout)
    assert said["namespace"] == "alice"
    assert [one["id"] for one in said["adapters"]] == ["alice/good"]
    assert said["adapters"][0]["interval"] == [0.5, 0.6]


def test_an_empty_namespace_says_so_on_stderr(run, tokens):
    result = run("nobody", "--token", tokens["bob"])
    assert result.stdout == ""
    assert "no doses or adapters of nobody" in result.stderr
    assert json.loads(run("nobody", "--token", tokens["bob"], "--json").stdout)["adapters"] == []


def test_what_somebody_called_their_repo_cannot_reach_the_terminal(run, tokens, monkeypatch):
    from hfvaccine.hub import listing as module

    found = listing("alice", endpoint=constants.ENDPOINT, token=tokens["alice"])
    hostile = "\x1b[2J[red]x[/red]\u202e"
    doses = tuple(type(dose)(**{**vars(dose), "name": hostile}) for dose in found.doses)
    monkeypatch.setattr(module, "listing", lambda *args, **kwargs: type(found)("alice", "", doses, ()))
    shown = run("alice").stdout
    assert "[2J[red]x[/red]" in shown
    assert "\x1b" not in shown and "\u202e" not in shown
