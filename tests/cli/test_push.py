import json

import pytest
from click.testing import CliRunner

from hfvaccine import hub
from hfvaccine.cli.push import push_adapter, push_dose
from hfvaccine.errors import PublishError

PUSHED = hub.Pushed("http://hub.example/datasets/you/dose", "you/dose", "a" * 40)


@pytest.fixture
def calls(monkeypatch):
    """What the commands hand to the Hub."""
    made = []

    def record(folder, repo_id, *, progress, **options):
        progress("Committing")
        made.append((str(folder), repo_id, options))
        return PUSHED

    monkeypatch.setattr(hub, "push_dose", record)
    monkeypatch.setattr(hub, "push_adapter", record)
    return made


def run(command, *arguments):
    return CliRunner().invoke(command, arguments)


def test_the_url_is_all_that_stands_on_stdout(calls):
    result = run(push_dose, "folder", "you/dose", "--private", "--token", "t")
    assert result.stdout == PUSHED.url + "\n"
    assert "Committing" in result.stderr and PUSHED.revision in result.stderr
    assert calls == [("folder", "you/dose", {"private": True, "token": "t"})]


@pytest.mark.parametrize("command", [push_dose, push_adapter])
def test_json_is_one_object(calls, command):
    assert json.loads(run(command, "folder", "you/dose", "--json").stdout) == {
        "url": PUSHED.url,
        "repo_id": "you/dose",
        "revision": PUSHED.revision,
    }


def test_starter_is_the_packaged_dose(calls, monkeypatch, tmp_path):
    from hfvaccine import starter

    monkeypatch.setattr(starter, "sealed", lambda: tmp_path / "packaged")
    run(push_dose, "starter", "you/dose")
    assert calls[0][0] == str(tmp_path / "packaged")


def test_every_option_of_push_adapter_arrives(calls):
    run(
        *(push_adapter, "run", "you/adapter", "--base-id", "you/base", "--dose-id", "you/dose"),
        *("--license", "mit", "--publish-failed", "--private"),
    )
    assert calls == [
        (
            "run",
            "you/adapter",
            {
                "base_id": "you/base",
                "dose_id": "you/dose",
                "license": "mit",
                "private": True,
                "publish_failed": True,
                "token": None,
            },
        )
    ]


@pytest.mark.parametrize("command", [push_dose, push_adapter])
def test_help_has_examples(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Examples:\n    hfvaccine push-" in result.stdout


def test_a_missing_argument_is_a_usage_error():
    assert run(push_dose, "folder").exit_code == 2


def test_refusals_reach_the_main_command_as_they_are(tmp_path):
    result = run(push_adapter, str(tmp_path / "absent"), "you/adapter")
    assert isinstance(result.exception, PublishError)
    assert result.stdout == ""
