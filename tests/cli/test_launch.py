"""How the launcher ends: with the exit code of the first process that failed, and without its own page about it."""

import signal
import subprocess
from unittest.mock import Mock

import pytest
from click.testing import CliRunner
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from hfvaccine.cli import cli
from hfvaccine.cli import launch as launching
from hfvaccine.errors import UsageError


@pytest.fixture
def ends(tmp_path, monkeypatch):
    """Launch something of which the launcher says how it ended."""
    config = tmp_path / "accelerate.yaml"
    config.write_text("distributed_type: MULTI_GPU\nnum_processes: 2\n")

    def end(with_error=None):
        monkeypatch.setattr("accelerate.commands.launch.launch_command", Mock(side_effect=with_error))
        monkeypatch.setattr("logging.disable", Mock())
        launching.launch(config, ["immunize", "--base", "b"])

    return end


def failed(**codes):
    failures = {int(rank[1:]): ProcessFailure(0, 1, code, "none") for rank, code in codes.items()}
    for rank, failure in failures.items():
        failure.timestamp = 10 - rank  # the last one failed first
    return ChildFailedError("hfvaccine", failures)


@pytest.mark.parametrize(
    "error, code, said",
    [
        (None, 0, ""),
        (failed(p0=-signal.SIGTERM, p1=2), 2, ""),
        (failed(p0=1, p1=-signal.SIGKILL), 137, "process 1 of the run was ended by SIGKILL"),
        (SignalException("no", signal.SIGINT), 1, ""),
        (subprocess.CalledProcessError(3, "ssh"), 3, ""),
    ],
)
def test_it_ends_as_the_first_that_failed(ends, capsys, error, code, said):
    with pytest.raises(SystemExit) as ended:
        ends(error)
    shown = capsys.readouterr()
    assert ended.value.code == code and shown.out == ""
    assert said in shown.err and bool(said) == bool(shown.err)


def test_what_accelerate_cannot_start_with_is_refused_in_its_words(ends):
    with pytest.raises(UsageError, match=r"accelerate\.yaml: DeepSpeed is not installed"):
        ends(ImportError("DeepSpeed is not installed.\nmore"))


@pytest.mark.parametrize("rank, waits", [(None, False), ("0", False), ("3", True)])
def test_the_first_process_of_a_machine_speaks_first(monkeypatch, rank, waits):
    slept = Mock()
    monkeypatch.setattr("time.sleep", slept)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    launching.let_the_first_speak()
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


@pytest.mark.parametrize("command", launching.TOGETHER)
def test_a_command_that_processes_divide_is_one_of_ours(monkeypatch, command):
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert CliRunner().invoke(cli, [*command.split(), "--help"]).exit_code == 0
    assert "one process" not in str(CliRunner().invoke(cli, command.split()).exception)
