"""Processes of one command: the first one speaks, and of what they do not divide there is one process."""

from unittest.mock import Mock

import pytest
from click.testing import CliRunner

from hfvaccine.cli import cli, several
from hfvaccine.errors import UsageError


@pytest.mark.parametrize("rank, waits", [(None, False), ("0", False), ("3", True)])
def test_the_first_process_of_a_machine_speaks_first(monkeypatch, rank, waits):
    slept = Mock()
    monkeypatch.setattr("time.sleep", slept)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    several.let_the_first_speak()
    assert slept.called == waits


@pytest.mark.parametrize("command", ["trial --config x", "inoculate measure --base b", "inoculate screen --base b"])
def test_a_command_that_no_processes_divide_is_refused_to_several(monkeypatch, command):
    started = {"LOCAL_RANK": "0", "WORLD_SIZE": "2"}
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    refused = CliRunner().invoke(cli, command.split()).exception
    assert isinstance(refused, UsageError) and "runs in one process, and a launcher has started 2" in str(refused)
    monkeypatch.delenv("LOCAL_RANK")  # as in a pod of a cluster, where no launcher has started anything
    assert "one process" not in str(CliRunner().invoke(cli, command.split()).exception)


@pytest.mark.parametrize("command", several.TOGETHER)
def test_a_command_that_processes_divide_is_one_of_ours(monkeypatch, command):
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert CliRunner().invoke(cli, [*command.split(), "--help"]).exit_code == 0
    assert "one process" not in str(CliRunner().invoke(cli, command.split()).exception)
