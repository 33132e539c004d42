"""What is here to run on: what will fail or be slow, and the command that mends it."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from importlib.metadata import version as installed
from pathlib import Path

from hfvaccine.errors import HubError
from hfvaccine.files import cache_folder
from hfvaccine.packages import DISTRIBUTION, install
from hfvaccine.packages import extras as of_extras
from hfvaccine.training.processes import free_cores

OK, WARNING, ERROR = "ok", "warning", "error"
"""As it should be; will be slow, or keep something from being done; will fail."""
GIB = 2**30
LEAST_FREE, LITTLE_FREE = 2 * GIB, 10 * GIB
"""Bytes on a disk below which a run fails, and below which a larger base hardly fits."""
LITTLE_MEMORY = 6 * GIB
"""Bytes of memory that training the smallest base in use takes, twice."""
OLD_DAYS, LARGE_CACHE = 60, 2 * GIB
MEMORY = Path("/proc/meminfo")
PATIENCE = 5.0
"""Seconds that a Hub is waited for."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        name: of it.
        state: `OK`, `WARNING` or `ERROR`.
        what: was found.
        next_step: a command, or what else to do; "" where nothing is.
    """

    name: str
    state: str
    what: str
    next_step: str = ""


def examine(folder: Path) -> Iterator[Finding]:
    """Look at everything, one after the other.

    Args:
        folder: that runs are to be written to.
    """
    yield Finding("Python", OK, f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    wanted = requires(DISTRIBUTION) or []
    yield packages(wanted)
    yield extras(wanted)
    yield device()
    yield cores()
    yield memory(available())
    yield from hub()
    yield from disks(folder)
    yield cache(cache_folder(), time.time())


def packages(wanted: Iterable[str]) -> Finding:
    """Whether every package that is needed is there, in a version that will do.

    Args:
        wanted: requirements as a distribution's metadata have them.
    """
    from packaging.requirements import Requirement

    wrong = {}
    number = 0
    for requirement in map(Requirement, wanted):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            number += 1
            have = _version(requirement.name)
            if have is None or not requirement.specifier.contains(have, prereleases=True):
                wrong[f"{requirement.name}{requirement.specifier}"] = have or "not installed"
    if wrong:
        said = "; ".join(f"{name} is needed, and here is {have}" for name, have in wrong.items())
        return Finding("Packages", ERROR, said, install("-U", *wrong))
    stack = ", ".join(f"{name} {_version(name)}" for name in ("torch", "transformers", "trl", "peft"))
    return Finding("Packages", OK, f"all {number} that are needed, among them {stack}")


def extras(wanted: Iterable[str]) -> Finding:
    """Which extras are there; one that is not keeps nothing but its own job from being done.

    Args:
        wanted: requirements as a distribution's metadata have them.
    """
    from packaging.requirements import Requirement

    needs = of_extras(wanted)
    missing = [name for name, its in needs.items() if any(_version(Requirement(one).name) is None for one in its)]
    here = [name for name in needs if name not in missing]
    lacking = [one for name in missing for one in needs[name]]
    what = f"installed: {', '.join(here) or 'none'}; not installed: {', '.join(missing) or 'none'}"
    return Finding("Extras", OK, what, install(*lacking) if missing else "")


def device() -> Finding:
    """What is trained on."""
    import torch

    from hfvaccine.training.base import choose_dtype

    dtype = str(choose_dtype()).removeprefix("torch.")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        room = torch.cuda.get_device_properties(0).total_memory / GIB
        several = len(names) > 1
        return Finding(
            "Device",
            OK,
            f"{', '.join(names)}, {room:.0f} GiB each; in {dtype}",
            "One process takes one: CUDA_VISIBLE_DEVICES=0, or --accelerate-config FILE for all" if several else "",
        )
    return Finding(
        "Device",
        WARNING,
        f"no GPU: on the processor, in {dtype}. 135 million parameters take minutes, a billion takes hours",
        "hfvaccine immunize ... --dry-run says how long a run takes",
    )


def cores() -> Finding:
    """Whether the cores are free: threads that wait for one that is not are slow out of all proportion."""
    found = free_cores()
    if found is None:
        return Finding("Cores", OK, f"{os.cpu_count()}; whether others use them cannot be told here")
    free, number = found
    if free == number:
        return Finding("Cores", OK, f"{number}, all free")
    what = f"{number - free} of {number} are busy with other work: commands take {max(1, free)} of {number} threads"
    return Finding("Cores", WARNING, what, "Wait for what else runs, which would go faster, too")


def available() -> int | None:
    """Bytes of memory that can be had, those that the system would give back among them; None where none are told."""
    try:
        facts = dict(line.split(":") for line in MEMORY.read_text().splitlines())
        return int(facts["MemAvailable"].removesuffix("kB")) * 1024
    except (OSError, ValueError, KeyError):  # only Linux has the file
        return None


def memory(free: int | None) -> Finding:
    """Whether there is memory enough for the smallest base in use.

    Args:
        free: bytes; None where that is not known.
    """
    if free is None:
        return Finding("Memory", OK, "how much is free cannot be told here")
    said = f"{free / GIB:.1f} GiB free"
    if free < LITTLE_MEMORY:
        return Finding("Memory", WARNING, said, "Use --batch-size 1 and a smaller --max-length, or a smaller base")
    return Finding("Memory", OK, said)


def hub() -> Iterator[Finding]:
    """Whether the Hub that clients talk to answers, and whom it takes this account for."""
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.utils import get_session

    from hfvaccine.hub.account import account

    where = constants.ENDPOINT
    if constants.HF_HUB_OFFLINE:
        yield Finding("Hub", WARNING, "HF_HUB_OFFLINE is set: only what is cached can be had", "unset HF_HUB_OFFLINE")
        return
    try:
        get_session().get(where, timeout=PATIENCE)
    except Exception as error:  # of whichever HTTP library the client uses
        if not where.startswith(("http://", "https://")):
            yield Finding("Hub", ERROR, f"HF_ENDPOINT is {where!r}, which is no address", "unset HF_ENDPOINT")
            return
        said = f"{where} does not answer ({type(error).__name__}): only folders and what is cached can be had"
        yield Finding("Hub", WARNING, said, "hfvaccine hub serve, then export HF_ENDPOINT as it says")
        return
    yield Finding("Hub", OK, f"{where} answers")
    if get_token() is None:
        yield Finding("Token", WARNING, "none: gated doses and pushing need one", "hf auth login")
        return
    try:
        yield Finding("Token", OK, f"of {account(HfApi())}")
    except HubError as error:
        yield Finding("Token", ERROR, error.message, error.next_step)


def disks(folder: Path) -> Iterator[Finding]:
    """Room where models are kept and where runs are written.

    Args:
        folder: of the runs.
    """
    from huggingface_hub import constants

    wanted = (("Cached models", Path(constants.HF_HUB_CACHE)), ("Runs", folder), ("Scores", cache_folder()))
    for name, asked in wanted:
        place = asked.absolute()
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir():
            yield Finding(name, ERROR, f"{place} is no folder", f"Name another place than {asked}")
            continue
        free = shutil.disk_usage(place).free
        said = f"{free / GIB:.1f} GiB free at {place}"
        if not os.access(place, os.W_OK):
            yield Finding(name, ERROR, f"{place} cannot be written to", f"Mend its permissions: ls -ld {place}")
        elif free < LITTLE_FREE:
            yield Finding(name, ERROR if free < LEAST_FREE else WARNING, said, "hf cache prune, or another disk")
        else:
            yield Finding(name, OK, said)


def cache(folder: Path, now: float) -> Finding:
    """How much hfvaccine keeps that it could make again, and what of it is old.

    Args:
        folder: of the cache.
        now: the time, in seconds.
    """
    files = [path.stat() for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    size = sum(one.st_size for one in files)
    old = sum(one.st_size for one in files if now - max(one.st_atime, one.st_mtime) > OLD_DAYS * 86_400)
    said = f"{size / GIB:.1f} GiB of scores and dequantised bases in {folder}"
    if size > LARGE_CACHE and old > size / 2:
        return Finding("Cache", WARNING, f"{said}, most of it not read for {OLD_DAYS} days", f"rm -r {folder}")
    return Finding("Cache", OK, said)


def _version(name: str) -> str | None:
    try:
        return installed(name)
    except PackageNotFoundError:
        return None
