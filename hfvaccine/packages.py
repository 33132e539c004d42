"""The command that puts packages into the environment that is running, by whichever installer can."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec
from pathlib import Path

DISTRIBUTION = "hfvaccine"
PREPARED = Path(".uv", "bin", "uv")
"""Where `make` keeps the uv that it made .venv with, from the folder of .venv on."""


class Command(str):
    """A line to be copied into a shell: nothing may break it."""


def install(*requirements: str) -> Command:
    """The command that installs packages here.

    Args:
        requirements: of packages, such as `trackio>=0.25`, or options that pip and uv both have, such as `--no-deps`.
    """
    return Command(f"{_installer('install')} {shlex.join(requirements)}")


def reinstall(*requirements: str) -> Command:
    """The command that installs another build of packages that are here, which may be of the same version.

    Args:
        requirements: of the packages.
    """
    from packaging.requirements import Requirement

    names = [Requirement(one).name for one in requirements]
    return Command(f"{_installer('uninstall')} {shlex.join(names)} && {install(*requirements)}")


def install_extra(name: str) -> Command:
    """The command that installs what an extra of hfvaccine needs, one requirement after the other: hfvaccine itself
    need not be on any index.

    Args:
        name: of the extra.
    """
    try:
        needed = extras(requires(DISTRIBUTION) or ()).get(name)
    except PackageNotFoundError:  # its folder is on the path, and nothing more
        needed = None
    return install(*(needed or [f"{DISTRIBUTION}[{name}]"]))


def extras(wanted: Iterable[str]) -> dict[str, list[str]]:
    """What each extra needs here, by its name.

    Args:
        wanted: requirements as a distribution's metadata have them.
    """
    from packaging.requirements import Requirement

    needs: dict[str, list[str]] = {}
    for requirement in map(Requirement, wanted):
        marker, requirement.marker = requirement.marker, None
        text = str(marker or "")
        if marker is not None and "extra ==" in text:
            name = text.split("extra ==")[1].split('"')[1]
            if marker.evaluate({"extra": name}):
                needs.setdefault(name, []).append(str(requirement))
    return needs


def _installer(what: str) -> str:
    """An environment that uv made holds no pip, and the `pip` on the path is then that of another Python."""
    python, prepared = shlex.quote(sys.executable), Path(sys.prefix).parent / PREPARED
    if find_spec("pip") is not None:
        return f"{python} -m pip {what}"
    if shutil.which("uv"):
        return f"uv pip {what} --python {python}"
    if prepared.is_file():
        return f"{shlex.quote(str(prepared))} pip {what} --python {python}"
    return f"{python} -m ensurepip && {python} -m pip {what}"
