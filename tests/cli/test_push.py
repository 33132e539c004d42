import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from keys import make_key

from hfvaccine.claims.dose import Dose
from hfvaccine.cli.push import publish_dose, pull_dose, push_adapter
from hfvaccine.cli.signing import PASSWORD
from hfvaccine.errors import LineageError
from hfvaccine.hub.access import journal as owner_journal
from hfvaccine.hub.repo import Pushed

PUSHED = Pushed("http://hub.example/datasets/you/dose", "you/dose", "a" * 40, "v2")


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """What the commands hand to the Hub."""
    made = []
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "manifest.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(owner_journal, "journal_of", lambda repo_id: tmp_path / "journal.jsonl")
    monkeypatch.setattr("hfvaccine.hub.account.account", lambda api: "you")

    def record(folder, repo_id, *, progress, **options):
        progress("Committing")
        made.append((str(folder), repo_id, options))
        return PUSHED

    monkeypatch.setattr("hfvaccine.hub.push.push_dose", record)
    monkeypatch.setattr("hfvaccine.hub.push.push_adapter", record)
    return made


def run(command, *arguments):
    return CliRunner().invoke(command, arguments)


def test_the_url_is_all_that_stands_on_stdout(calls):
    result = run(publish_dose, "folder", "you/dose", "--private", "--token", "t")
    assert result.stdout == PUSHED.url + "\n"
    assert "Committing" in result.stderr and f"{PUSHED.revision}, tagged v2" in result.stderr
    assert calls == [("folder", "you/dose", {"private": True, "sign": None, "token": "t"})]


def test_a_new_version_is_noted_once_in_the_owners_journal(calls, tmp_path):
    run(publish_dose, "folder", "you/dose")
    run(publish_dose, "folder", "you/dose")
    (entry,) = owner_journal.read(tmp_path / "journal.jsonl")
    assert (entry.act, entry.by) == ("publish", "you")
    assert (entry.what["revision"], entry.what["tag"]) == (PUSHED.revision, "v2")
    assert entry.what["manifest_sha256"] == hashlib.sha256(b"{}").hexdigest()


def test_nothing_is_pushed_where_the_journal_was_tampered_with(calls, tmp_path):
    run(publish_dose, "folder", "you/dose")
    path = tmp_path / "journal.jsonl"
    path.write_text(path.read_text().replace('"you"', '"eve"'))
    assert "cannot be trusted" in str(run(publish_dose, "folder", "you/dose").exception)
    assert len(calls) == 1


@pytest.mark.parametrize("command", [publish_dose, push_adapter])
def test_json_is_one_object(calls, command):
    assert json.loads(run(command, "folder", "you/dose", "--json").stdout) == {
        "url": PUSHED.url,
        "repo_id": "you/dose",
        "revision": PUSHED.revision,
        "tag": "v2",
    }


@pytest.mark.parametrize("command", [publish_dose, push_adapter])
def test_a_key_signs_with_its_password_from_the_environment_or_asked_for(calls, command, tmp_path, monkeypatch):
    make_key(tmp_path / "plain.pem")
    make_key(tmp_path / "locked.pem", "sesame")
    given = command, "folder", "you/dose", "--sign"
    monkeypatch.delenv(PASSWORD, raising=False)
    assert run(*given, "plain.pem").exit_code == 0
    asked = CliRunner().invoke(command, ["folder", "you/dose", "--sign", "locked.pem"], input="sesame\n")
    assert asked.exit_code == 0 and asked.stdout == PUSHED.url + "\n" and "Password of locked.pem" in asked.stderr
    monkeypatch.setenv(PASSWORD, "sesame")
    assert run(*given, "locked.pem").exit_code == 0
    assert [options["sign"].name for _, _, options in calls] == ["plain.pem", "locked.pem", "locked.pem"]


@pytest.mark.parametrize("command", [publish_dose, push_adapter])
def test_what_cannot_sign_is_refused_before_anything_is_pushed(calls, command, tmp_path, monkeypatch):
    make_key(tmp_path / "locked.pem", "sesame")
    monkeypatch.delenv(PASSWORD, raising=False)
    for key, said in (("none.pem", "There is no key"), ("locked.pub", "is a public key"), ("locked.pem", "not given")):
        refused = run(command, "folder", "you/dose", "--sign", key).exception
        assert refused.exit_code == 2 and said in refused.message
    monkeypatch.setenv(PASSWORD, "wrong")
    assert "not the password" in run(command, "folder", "you/dose", "--sign", "locked.pem").exception.message
    assert calls == []


def test_starter_is_the_packaged_dose(calls, monkeypatch, tmp_path):
    from hfvaccine import starter

    monkeypatch.setattr(starter, "sealed", lambda: tmp_path / "packaged")
    run(publish_dose, "starter", "you/dose")
    assert calls[0][0] == str(tmp_path / "packaged")


def test_every_option_of_push_adapter_arrives(calls):
    run(
        *(push_adapter, "run", "you/adapter", "--base-id", "you/base", "--dose-id", "you/dose"),
        *("--dose-id", "you/other"),
        *("--license", "mit", "--publish-failed", "--private", "--create-pr"),
    )
    assert calls == [
        (
            "run",
            "you/adapter",
            {
                "base_id": "you/base",
                "dose_id": ("you/dose", "you/other"),
                "license": "mit",
                "private": True,
                "publish_failed": True,
                "create_pr": True,
                "sign": None,
                "token": None,
            },
        )
    ]


@pytest.fixture
def pulled(monkeypatch, make_claims, tmp_path):
    """What pull-dose hands to the Hub, and a dose in return."""
    made = []
    dose = Dose.from_claims(make_claims(5, heldout=2))
    (tmp_path / "manifest.json").write_text("{}")
    policy = {"name": "A\x1b[2Jdose"}
    dose = replace(dose, path=tmp_path, source="you/dose", revision="b" * 40, policy=policy)

    def record(repo_id, **options):
        made.append((repo_id, options))
        return dose

    monkeypatch.setattr("hfvaccine.hub.pull.pull_dose", record)
    return made


def test_the_folder_is_all_that_stands_on_stdout(pulled, tmp_path):
    result = run(pull_dose, "you/dose", "--revision", "v1", "--local-dir", "here", "--token", "t")
    assert result.stdout == f"{tmp_path}\n"
    assert "3 claims to give, 2 held out" in result.stderr and "b" * 40 in result.stderr
    assert "\x1b" not in result.stderr
    options = {"revision": "v1", "local_dir": Path("here"), "allow_recalled": False, "signer": None, "token": "t"}
    assert pulled == [("you/dose", options)]


def test_what_is_recalled_of_a_dose_that_is_pulled_all_the_same_is_warned_of(pulled, monkeypatch):
    monkeypatch.setattr("hfvaccine.quarantine.recalls.objections", lambda dose: (("1 is recalled",), ("1 is\x1b[2J",)))
    result = run(pull_dose, "you/dose", "--allow-recalled")
    assert pulled[0][1]["allow_recalled"]
    assert result.stderr.startswith("Warning: 1 is recalled.\nWarning: 1 is[2J.\n")


def test_a_pulled_dose_as_json_is_one_object(pulled, tmp_path):
    assert json.loads(run(pull_dose, "you/dose", "--json").stdout) == {
        "path": str(tmp_path),
        "repo_id": "you/dose",
        "revision": "b" * 40,
        "name": "A\x1b[2Jdose",
        "claims": 3,
        "heldout": 2,
        "manifest_sha256": hashlib.sha256(b"{}").hexdigest(),
    }


@pytest.mark.parametrize("command", [publish_dose, pull_dose, push_adapter])
def test_help_has_examples(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Examples:\n    hfvaccine {command.name} " in result.stdout


def test_a_missing_argument_is_a_usage_error():
    assert run(publish_dose, "folder").exit_code == 2


def test_refusals_reach_the_main_command_as_they_are(tmp_path):
    result = run(push_adapter, str(tmp_path / "absent"), "you/adapter")
    assert isinstance(result.exception, LineageError)
    assert result.stdout == ""
