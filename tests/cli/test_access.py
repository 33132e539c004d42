import csv
import itertools
import json
import re

import pytest
from click.testing import CliRunner
from doses import small_dose
from hubs import talk_to
from huggingface_hub import HfApi, constants

from hfvaccine import hub
from hfvaccine.cli.access import access
from hfvaccine.cli.push import pull_dose
from hfvaccine.errors import HubError, UsageError
from hfvaccine.hub.access import requests as access_module
from hfvaccine.hub.access.requests import Access

numbers = itertools.count()
RULES = """\
access:
  - decide: accept
    when: {Affiliation: "*university*"}
  - decide: reject
    reason: "Say what you will do with them."
    when: {Purpose: ""}
"""


@pytest.fixture(scope="module")
def tokens(local):
    return {name: local.add_user(name) for name in ("alice", "ada", "bob")}


@pytest.fixture(scope="module")
def dose(tmp_path_factory):
    return small_dose(tmp_path_factory.mktemp("dose") / "sealed")


@pytest.fixture
def repo_id(local, tokens, dose, monkeypatch, tmp_path):
    """A published dose for one test, on the Hub that the commands talk to."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    talk_to(local, monkeypatch)
    monkeypatch.setattr(access_module, "journal_of", lambda repo_id: tmp_path / "default.jsonl")
    name = f"alice/dose-{next(numbers)}"
    hub.push_dose(dose, name, token=tokens["alice"])
    return name


@pytest.fixture
def asked(repo_id, tokens):
    hub.ask_access(repo_id, {"Affiliation": "A University", "Purpose": "A test"}, token=tokens["ada"])
    hub.ask_access(repo_id, {"Affiliation": "", "Purpose": ""}, token=tokens["bob"])


@pytest.fixture
def run(tokens, repo_id):
    def run(command, *arguments, code=0):
        result = CliRunner().invoke(access, [command, repo_id, *map(str, arguments), "--token", tokens["alice"]])
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(RULES)
    return path


def test_the_list_is_a_table_of_people_and_their_answers(run, asked, repo_id):
    result = run("list")
    for shown in ("ada", "bob", "Affiliation: A University", "Purpose: A test", "pending"):
        assert shown in result.stdout
    assert f"2 pending requests for {repo_id}" in result.stderr
    assert f"hfvaccine access accept {repo_id} USER" in result.stderr
    assert run("list", "--status", "accepted").stdout == ""


def test_the_list_as_json_is_data(run, asked):
    first, second = json.loads(run("list", "--json").stdout)
    assert (first["user"], first["status"], first["fields"]["Purpose"]) == ("ada", "pending", "A test")
    assert second["user"] == "bob"
    run("accept", "ada")
    assert [r["user"] for r in json.loads(run("list", "--json").stdout)] == ["bob"]
    assert {r["status"] for r in json.loads(run("list", "--status", "all", "--json").stdout)} == {
        "accepted",
        "pending",
    }


def test_a_stranger_cannot_write_to_the_terminal(run, repo_id, tokens):
    hub.ask_access(repo_id, {"Purpose": "\x1b[2J\u202eReviewed: [red]yes[/red]\x07"}, token=tokens["ada"])
    shown = run("list").stdout
    assert "[red]yes[/red]" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)


def test_accept_then_revoke_by_hand(run, asked, tmp_path, tokens, repo_id):
    result = run("accept", "ada")
    assert result.stdout == "ada: accepted\n"
    assert f"1 decision written to {tmp_path / 'default.jsonl'}" in result.stderr
    assert run("accept", "ada").stdout == "ada: accepted already\n"
    pulled = CliRunner().invoke(pull_dose, [repo_id, "--token", tokens["ada"], "--json"])
    assert json.loads(pulled.stdout)["name"] == "Small dose"

    assert run("revoke", "ada", "--reason", "Passed on.").stdout == "ada: rejected\n"
    entries = (tmp_path / "default.jsonl").read_text().splitlines()
    assert [json.loads(line)["what"]["reason"] for line in entries] == ["", "Passed on."]


def test_reject_gives_its_reason(run, asked, tmp_path):
    journal = tmp_path / "own.jsonl"
    assert run("reject", "bob", "--reason", "What for?", "--journal", journal).stdout == "bob: rejected\n"
    assert json.loads(journal.read_text())["what"]["reason"] == "What for?"
    assert not (tmp_path / "default.jsonl").exists()


def test_rules_are_tried_out_then_carried_out_one_way_at_a_time(run, asked, rules, tmp_path):
    dry = run("accept", "--rules", rules, "--dry-run")
    assert dry.stdout == "ada: would be accepted (rule 1)\nbob: would be rejected (rule 2)\n"
    assert "dry run" in dry.stderr
    assert not (tmp_path / "default.jsonl").exists()
    assert run("accept", "--rules", rules).stdout == (
        "ada: accepted (rule 1)\nbob: left pending, rule 2 would have it rejected\n"
    )
    (outcome,) = json.loads(run("reject", "--rules", rules, "--json").stdout)
    assert (outcome["user"], outcome["now"], outcome["done"], outcome["rule"]) == ("bob", "rejected", True, 2)
    assert json.loads(run("reject", "--rules", rules, "--json").stdout) == []


def test_what_no_rule_fits_is_said(run, repo_id, tokens, rules):
    hub.ask_access(repo_id, {"Purpose": "Fun"}, token=tokens["ada"])
    result = run("accept", "--rules", rules)
    assert result.stdout == "ada: left pending, no rule fits\n"
    assert "Nothing was decided." in result.stderr


def test_what_was_done_before_a_refusal_is_printed(run, asked, monkeypatch):
    accept = HfApi.accept_access_request
    calls = itertools.count()

    def fail(self, *args, **kwargs):
        if next(calls):
            raise ConnectionError("reset")
        return accept(self, *args, **kwargs)

    monkeypatch.setattr(HfApi, "accept_access_request", fail)
    result = run("accept", "ada", "bob", "--json", code=1)
    assert isinstance(result.exception, HubError)
    assert [outcome["user"] for outcome in json.loads(result.stdout)] == ["ada"]


def test_the_export_names_its_file_and_warns(run, asked, tmp_path):
    run("accept", "ada")
    result = run("export", tmp_path / "requests.csv")
    assert result.stdout == f"{tmp_path / 'requests.csv'}\n"
    assert "keep it to yourself" in result.stderr
    assert re.search(r"The journal ends at [0-9a-f]{64}: keep that elsewhere", result.stderr)
    with (tmp_path / "requests.csv").open(newline="") as file:
        assert [(row["user"], row["decision_now"]) for row in csv.DictReader(file)] == [
            ("ada", "accepted"),
            ("bob", ""),
        ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("accept",),
        ("accept", "ada", "--rules", "policy.yaml"),
        ("reject",),
        ("reject", "--rules", "policy.yaml", "--reason", "x"),
        ("accept", "--rules", "/no/such.yaml"),
    ],
)
def test_a_mixed_up_command_is_a_usage_error(run, arguments):
    result = run(*arguments, code=1)
    assert isinstance(result.exception, UsageError)
    assert result.exception.next_step
    assert result.stdout == ""


def test_nobody_to_revoke_is_a_usage_error(run):
    assert "USER" in run("revoke", code=2).stderr


def test_a_refusal_reaches_the_main_command_with_nothing_on_stdout(run, asked):
    result = run("accept", "nobody", "--json", code=1)
    assert isinstance(result.exception, HubError)
    assert result.stdout == ""


@pytest.mark.parametrize("command", ["list", "accept", "reject", "revoke", "export"])
def test_help_has_examples(command):
    result = CliRunner().invoke(access, [command, "--help"])
    assert result.exit_code == 0
    assert f"hfvaccine access {command} you/my-dose" in result.stdout


def test_the_group_shows_how_rules_are_written():
    shown = CliRunner().invoke(access, ["--help"]).stdout
    shown = " ".join(shown.split())
    assert 'when: {email: "*@example.org", "I will not redistribute these claims": true}' in shown


def test_commands_use_the_journal_of_the_dose():
    assert Access("you/my-dose").journal.name == "you--my-dose.jsonl"
