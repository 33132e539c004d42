"""The processes of a run: a launcher may start several; all train, and one of them decides, writes and speaks. And how
many threads each takes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hfvaccine.training.progress import Progress

if TYPE_CHECKING:
    from accelerate import PartialState

T = TypeVar("T")

PATIENCE = timedelta(hours=1)
"""How long processes wait for each other: the main one may have a large base to download."""


THREADS = "OMP_NUM_THREADS"
"""The environment variable that says how many threads are taken, whatever else runs; launchers set it."""
SHARING = ("fsdp", "deepspeed")
"""What shares a model's weights between processes, by accelerate's names."""
TIMES = Path("/proc/stat")
CONTROL_GROUP = Path("/sys/fs/cgroup")
QUOTAS = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))
"""Files with the microseconds of time that are given, and those of a period, in version 2 and 1 of control groups."""
WATCHED = 0.4
"""Seconds that the cores are watched for."""
BUSY = 0.4
"""Of this time; a core that others use longer is not free."""


def free_cores() -> tuple[int, int] | None:
    """How many cores of those that this process may use others leave free now, and how many there are.

    Of a container that gets the time of fewer, it is so many. This process has to wait meanwhile. None where that
    cannot be told, as it can on Linux.
    """

    def spent() -> dict[int, tuple[int, int]]:
        """Of each core how long it was idle, and how long it is up, in ticks."""
        lines = [line.split() for line in TIMES.read_text().split("\n") if line.startswith("cpu")]
        every = {int(name[3:]): [int(one) for one in its[:8]] for name, *its in lines if name != "cpu"}
        return {core: (times[3] + times[4], sum(times)) for core, times in every.items()}

    try:
        cores, before = os.sched_getaffinity(0), spent()
        time.sleep(WATCHED)
        after = spent()
    except (AttributeError, OSError, ValueError):
        return None
    idle = {
        core: (after[core][0] - before[core][0]) / max(1, after[core][1] - before[core][1])
        for core in cores
        if core in before and core in after
    }
    number = min(len(idle), _quota() or len(idle))
    return min(number, sum(share > 1 - BUSY for share in idle.values())), number


def _quota() -> int | None:
    """Of how many cores the control group gives the time, as `docker --cpus` does; None where it sets no limit."""
    for files in QUOTAS:
        try:
            limit, period = " ".join((CONTROL_GROUP / name).read_text() for name in files).split()
            if float(limit) > 0:
                return max(1, int(float(limit) / float(period)))
        except (OSError, ValueError):  # of the other version, or "max"
            continue
    return None


def threads_taken(found: tuple[int, int] | None, own: int) -> int:
    """How many threads are taken where there is no GPU.

    Args:
        found: what `free_cores` returns.
        own: how many torch would take.
    """
    return own if found is None or os.environ.get(THREADS) else min(own, max(1, found[0]))


def fit_threads(progress: Progress) -> None:
    """Take no more threads than there are free cores: one that waits for a core of others holds up all of them.

    What `THREADS` says holds, and a GPU does not mind.

    Args:
        progress: told where fewer are taken.
    """
    import torch

    if os.environ.get(THREADS) or torch.cuda.is_available():
        return
    found, own = free_cores(), torch.get_num_threads()
    taken = threads_taken(found, own)
    if found is None or taken == own:
        return
    free, cores = found
    torch.set_num_threads(taken)
    busy = f"{cores - free} of {cores} cores are busy with other work"
    why = busy if free < cores else f"{cores} cores are all that this process may use"
    progress.say(f"{why}: {taken} of {own} threads are used ({THREADS} sets another number)")


def this_process() -> PartialState:
    """Which of the processes this is, and its device; the processes find each other at the first call."""
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)


def kind_of_processes() -> str | None:
    """What the launcher was told to do with several processes: "ddp", where each has the whole model, or "fsdp" or
    "deepspeed", where they share its weights. None for one process."""
    from accelerate.utils import parse_flag_from_env

    if this_process().num_processes == 1:
        return None
    return next((name for name in SHARING if parse_flag_from_env(f"ACCELERATE_USE_{name.upper()}")), "ddp")


def main_first(work: Callable[[], T]) -> T | None:
    """Do something on the main process, and then on the others, unless the main process was refused.

    Args:
        work: what to do; what it downloads or makes, the others find.

    Returns:
        What came of it; None on the other processes where the main process raised, so that they can
        leave without a word of their own.
    """
    from accelerate.utils import broadcast_object_list

    done = [False]
    if not this_process().is_main_process:
        broadcast_object_list(done)
        if done[0]:
            return work()
        part()
        return None
    try:
        outcome = work()
        done[0] = True
    finally:
        broadcast_object_list(done)
        if not done[0]:
            part()
    return outcome


def part() -> None:
    """End the group, so that the main process can go on for hours while the others are gone."""
    this_process().destroy_process_group()
