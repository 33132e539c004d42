"""The processes of a benchmark: started, told what to do, heard in lines of JSON, and how much memory they took.

A script whose functions are to run in processes of their own ends with `entry(main, {"name": function, ...})`. This
module needs nothing but Python, for peers that live in an environment without ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self


class Child:
    """A process that does one job.

    Args:
        script: the file in which the job is named.
        name: of the job.
        job: what its function is given.
        environment: variables that are set for it.
        python: that of another environment.
        within: seconds after which it is ended.
    """

    def __init__(
        self,
        script: str | Path,
        name: str,
        job: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
        python: str = sys.executable,
        within: float | None = None,
    ) -> None:
        self.name = name
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, str(script), "--child", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **(environment or {})},
            text=True,
        )
        self._timer = None if within is None else threading.Timer(within, self._process.kill)
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()
        self.tell(job)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._process.kill()
        self._process.wait()
        self._log.close()

    @property
    def peak_mb(self) -> float:
        """Its peak until now."""
        return memory_mb("VmHWM", str(self._process.pid))

    def tell(self, content: Mapping[str, Any]) -> None:
        assert self._process.stdin
        with suppress(BrokenPipeError):  # where it has ended, `hear` says so
            self._process.stdin.write(json.dumps(content) + "\n")
            self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """Its next answer; where it ended without one, so do we."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            if self._timer is not None and self._timer.finished.is_set():
                sys.exit(f"{self.name} was ended: it took longer than {self._timer.interval:.0f} s.")
            self._log.seek(0)
            sys.exit(f"{self.name} failed:\n{self._log.read()[-3000:]}")
        heard: dict[str, Any] = json.loads(line)
        return heard


def ask(script: str | Path, name: str, job: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The one answer to a job; `more` as of `Child`."""
    with Child(script, name, job, **more) as child:
        return child.hear()


_answers = sys.stdout


def entry(main: Callable[[], object] | None, jobs: Mapping[str, Callable[..., Mapping[str, Any] | None]]) -> None:
    """What a script does when it is started: its command, or as a child one of its jobs, whose answer it returns."""
    global _answers
    if sys.argv[1:2] != ["--child"]:
        assert main is not None, "This file is started by others."
        main()
        return
    _answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to stderr
    said = jobs[sys.argv[2]](**told())
    if said is not None:
        answer(said)


def answer(content: Mapping[str, Any]) -> None:
    """Answer, as a child that has more to do."""
    print(json.dumps(content), file=_answers, flush=True)


def told() -> dict[str, Any]:
    """What a child is told next; where there is nobody left to tell it something, it ends."""
    line = sys.stdin.readline()
    if not line:
        sys.exit()
    content: dict[str, Any] = json.loads(line)
    return content


def memory_mb(what: str, process: str = "self") -> float:
    """ "VmRSS" or its peak, "VmHWM", of a process: a peak that, unlike rusage's, no parent hands down."""
    status = Path(f"/proc/{process}/status")
    if status.is_file():
        return next(int(line.split()[1]) for line in status.read_text().split("\n") if line.startswith(what)) / 1024
    import resource

    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (1024**2 if sys.platform == "darwin" else 1024)
