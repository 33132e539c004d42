"""Several processes of one command: how they are started."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from hfvaccine.cli.output import say
from hfvaccine.errors import UsageError
from hfvaccine.files import read_yaml


def without(option: str, arguments: Sequence[str]) -> Iterator[str]:
    """Arguments of a command as they were given, but for an option and its value."""
    rest = iter(arguments)
    for argument in rest:
        if argument == option:
            next(rest)
        elif not argument.startswith(f"{option}="):
            yield argument


def launch(configuration: Path, command: Sequence[str]) -> NoReturn:
    """Start a command in as many processes as a configuration says, and end with the exit code of the first to fail.

    Args:
        configuration: what `accelerate config` wrote.
        command: of hfvaccine, with its arguments.

    Raises:
        UsageError: for a file that is none, and for what accelerate cannot start with it.
    """
    content = read_yaml(configuration, "Write one with `accelerate config`.")
    if not isinstance(content, dict) or "distributed_type" not in content:
        raise UsageError(
            f"{configuration} names no distributed_type: it is no configuration of accelerate.",
            "Write one with `accelerate config`.",
        )
    import logging
    import subprocess

    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    arguments = launch_command_parser().parse_args(["--config_file", str(configuration), "-m", "hfvaccine", *command])
    logging.disable()  # torch's launcher tells again, in a page, of a process that has said itself why it ended
    try:
        launch_command(arguments)
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        if failure.exitcode < 0:  # it had no time for a word
            say(f"Error: process {rank} of the run was ended by {signal.Signals(-failure.exitcode).name}.")
            say("See what ended it, such as too little memory; a run with checkpoints goes on with --resume.")
        sys.exit(failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode)  # as shells count signals
    except SignalException:
        sys.exit(1)
    except subprocess.CalledProcessError as failed:
        sys.exit(failed.returncode)
    except Exception as error:  # of many kinds, and before any process is there
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise UsageError(
            f"accelerate cannot start with {configuration}: {reason}.",
            "Mend that, or write another with `accelerate config`.",
        ) from error
    sys.exit(0)
