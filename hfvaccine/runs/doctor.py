"""What is here to run on: what will fail or be slow, and the command that mends it."""

from __future__ import annotations

import fnmatch
import os
import platform
import shlex
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from importlib.metadata import version as installed
from pathlib import Path

from hfvaccine.errors import HubError
from hfvaccine.files import CACHED, cache_folder
from hfvaccine.packages import DISTRIBUTION, Command, install, reinstall
from hfvaccine.packages import extras as of_extras
from hfvaccine.training.processes import THREADS, free_cores, threads_taken

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
    if shutil.which("nvidia-smi"):
        seen = "a GPU, by nvidia-smi"
        if torch.version.cuda is None:
            said = f"{seen}, and torch {torch.__version__}, which is built without CUDA: on the processor, in {dtype}"
            return Finding("Device", WARNING, said, reinstall("torch"))
        said = f"{seen}, that torch (for CUDA {torch.version.cuda}) cannot use: on the processor, in {dtype}"
        return Finding("Device", WARNING, said, "Look at CUDA_VISIBLE_DEVICES, and at the driver with nvidia-smi")
    return Finding(
        "Device",
        WARNING,
        f"no GPU: on the processor, in {dtype}. 135 million parameters take minutes, a billion takes hours",
        "hfvaccine immunize ... --dry-run says how long a run takes",
    )


def cores() -> Finding:
    """Whether the cores are free: threads that wait for one that is not are slow out of all proportion."""
    import torch

    found, own = free_cores(), torch.get_num_threads()
    if found is None:
        return Finding("Cores", OK, f"{os.cpu_count()}; whether others use them cannot be told here")
    free, number = found
    taken = threads_taken(found, own)
    said = f"{number}, all free" if free == number else f"{number - free} of {number} are busy with other work"
    if taken > max(1, free):
        said = f"{said}: commands take {taken} threads as {THREADS} says, which wait for each other"
        return Finding("Cores", WARNING, said, Command(f"unset {THREADS}"))
    if free == number:
        return Finding("Cores", OK, said)
    said = f"{said}: commands take {taken} of {own} threads"
    return Finding("Cores", WARNING, said, "Wait for what else runs, which would go faster, too")


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

    from hfvaccine.hub.account import reads_only, whoami
    from hfvaccine.hub.errors import IN_PLACE_OF_LOGIN, OFFLINE, first_set

    where = constants.ENDPOINT
    if constants.HF_HUB_OFFLINE:
        name = first_set(OFFLINE) or OFFLINE[0]
        yield Finding("Hub", WARNING, f"{name} is set: only what is cached can be had", Command(f"unset {name}"))
        return
    try:
        answer = get_session().get(where, timeout=PATIENCE)
    except Exception as error:  # of whichever HTTP library the client uses
        if not where.startswith(("http://", "https://")):
            yield Finding("Hub", ERROR, f"HF_ENDPOINT is {where!r}, which is no address", Command("unset HF_ENDPOINT"))
            return
        said = f"{where} does not answer ({type(error).__name__}): only folders and what is cached can be had"
        yield Finding("Hub", WARNING, said, "hfvaccine hub serve, then export HF_ENDPOINT as it says")
        return
    if answer.status_code >= 400:
        said = f"{where}, or a proxy before it, answers {answer.status_code} {answer.reason_phrase}".rstrip()
        next_step = "Try again later, or look at HF_ENDPOINT, and at HTTPS_PROXY where that is set"
        yield Finding("Hub", WARNING, f"{said}: only folders and what is cached can be had", next_step)
        return
    yield Finding("Hub", OK, f"{where} answers")
    if get_token() is None:
        yield Finding("Token", WARNING, "none: gated doses and pushing need one", Command("hf auth login"))
        return
    # A token of the environment comes before what a login keeps, so that to log in would change nothing.
    variable = first_set(IN_PLACE_OF_LOGIN)
    other = Command(f"unset {variable}" if variable else "hf auth login")
    try:
        me = whoami(HfApi())
    except HubError as error:
        refused = getattr(getattr(error.__cause__, "response", None), "status_code", None) == 401
        yield Finding("Token", ERROR, error.message, other if refused else error.next_step)
        return
    if reads_only(me):
        yield Finding("Token", WARNING, f"of {me['name']}, and may only read: pushing needs one that may write", other)
    else:
        yield Finding("Token", OK, f"of {me['name']}")


def disks(folder: Path) -> Iterator[Finding]:
    """Room where models are kept and where runs are written.

    Args:
        folder: of the runs.
    """
    from huggingface_hub import constants

    models = Path(constants.HF_HUB_CACHE)
    yield _disk("Cached models", models, "HF_HOME", "See what can go with hf cache list and hf cache prune")
    yield _disk("Runs", folder, "--output-dir", "Delete old runs there")
    yield _disk("Scores", cache_folder(), "HFVACCINE_HOME", "Free some space there")


def _disk(name: str, asked: Path, setting: str, free_some: str) -> Finding:
    """Room at one place, which may yet have to be made.

    Args:
        name: of the finding.
        asked: the place.
        setting: that names another.
        free_some: what to do where it is full.
    """
    elsewhere = f"name another place with {setting}"
    try:
        place = _nearest(asked.absolute())
        if not place.is_dir():
            return Finding(name, ERROR, f"{place} is no folder", f"Name another place than {asked} with {setting}")
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Finding(name, ERROR, f"{asked} cannot be looked at: {error.strerror}", _permissions(asked, elsewhere))
    said = f"{free / GIB:.1f} GiB free at {place}"
    if not os.access(place, os.W_OK | os.X_OK):
        return Finding(name, ERROR, f"{place} cannot be written to", _permissions(place, elsewhere))
    if free < LITTLE_FREE:
        return Finding(name, ERROR if free < LEAST_FREE else WARNING, said, f"{free_some}, or {elsewhere}")
    return Finding(name, OK, said)


def _nearest(place: Path) -> Path:
    """A place, or where it is not made yet the folder above that is there."""
    for one in (place, *place.parents):
        try:
            one.stat()
            return one
        except (FileNotFoundError, NotADirectoryError):
            continue
    return place


def _permissions(place: Path, otherwise: str) -> str:
    return f"Mend the permissions (namei -l {shlex.quote(str(place))}), or {otherwise}"


def cache(folder: Path, now: float) -> Finding:
    """How much hfvaccine keeps that it could make again, and what of it is old.

    Args:
        folder: of the cache.
        now: the time, in seconds.
    """
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):  # which `disks` speaks of
        names = []
    except OSError as error:
        said = f"{folder} cannot be read: {error.strerror}"
        return Finding("Cache", ERROR, said, _permissions(folder, "name another place with HFVACCINE_HOME"))
    size, old, stale = 0, 0, []
    for pattern in CACHED:  # what one pattern finds belongs together, as a database and its journal
        places = [folder / name for name in fnmatch.filter(names, pattern)]
        files = [one for place in places for one in _stats(place)]
        its = sum(one.st_size for one in files)
        size += its
        if all(now - max(one.st_atime, one.st_mtime) > OLD_DAYS * 86_400 for one in files):
            old, stale = old + its, [*stale, *places]
    said = f"{size / GIB:.1f} GiB of scores and dequantised bases in {folder}"
    if size > LARGE_CACHE and old > size / 2:
        remove = Command(f"rm -r {shlex.join(map(str, stale))}")
        return Finding("Cache", WARNING, f"{said}, most of it not read for {OLD_DAYS} days", remove)
    return Finding("Cache", OK, said)


def _stats(place: Path) -> Iterator[os.stat_result]:
    """Of a file, or of all files below a folder; those that vanish meanwhile are left out."""
    below = (os.path.join(at, name) for at, _, files in os.walk(place) for name in files)
    for path in (place, *below):
        with suppress(OSError):
            one = os.lstat(path)
            if not stat.S_ISDIR(one.st_mode):
                yield one


def _version(name: str) -> str | None:
    try:
        return installed(name)
    except PackageNotFoundError:
        return None
