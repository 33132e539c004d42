"""How the launcher ends: with the exit code of the first process that failed, and without its own page about it."""

import signal
import subprocess
from unittest.mock import Mock

import pytest
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

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
