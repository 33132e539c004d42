"""Flags from the fields of an options class, written there and only there; and flags that several commands share."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import click

from hfvaccine.files import CONFIG
from hfvaccine.text import as_option
from hfvaccine.training.options import Inoculating, Options, Training, read_config

Command = TypeVar("Command", bound=Callable[..., Any])


INTO = click.option(
    "--into",
    "folder",
    required=True,
    metavar="STATE",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the monitor's state, to which a round is added.",
)
FULL = click.option("--full", is_flag=True, help="Print every table and sentence of the results.")


def flags(kind: type, *, required: bool = True, leave: Collection[str] = ()) -> Callable[[Command], Command]:
    """Add a flag for each field of an options class to a command; it is None, or (), where it is not given.

    Args:
        kind: a dataclass whose docstring has a line for each field under `Args:`. What it inherits comes before its
            `output_dir`; how to train comes first of all.
        required: whether a field without a default has to be given as a flag; else a file may have it.
        leave: fields that the command takes otherwise.
    """
    own = [field for field in fields(kind) if field.name in kind.__annotations__]
    shared = set(Training.__annotations__)
    training = [field for field in fields(kind) if field.name in shared and field not in own]
    inherited = [field for field in fields(kind) if field not in (*own, *training)]
    tail = [field.name for field in own].index("output_dir")
    explained, hints = _explained(kind), get_type_hints(kind)

    def add(command: Command) -> Command:
        for field in reversed([*training, *own[:tail], *inherited, *own[tail:]]):
            if field.name in leave:
                continue
            command = _flag(field, hints[field.name], explained[field.name], required)(command)
        return command

    return add


def given(values: dict[str, Any]) -> dict[str, Any]:
    """The flags that were given, by name."""
    return {name: value for name, value in values.items() if value is not None and value != ()}


def asked(values: dict[str, Any], config: Path | None, resume: Path | None) -> dict[str, Any]:
    """The flags that a run was started with, by name.

    Args:
        values: of all flags.
        config: YAML file of options.
        resume: folder of a run, which has its own copy of them.

    Raises:
        click.UsageError: for a run that is resumed with other options.
    """
    found = given(values)
    if resume is not None and (found or config):
        raise click.UsageError("--resume continues a run with its own options: give no others.")
    return found


def configured(
    kind: type[Options] | type[Inoculating], flags: dict[str, Any], config: Path | None, resume: Path | None
) -> dict[str, Any]:
    """What a run is to do: what its flags say over a file, or what the run did that is resumed.

    Args:
        kind: whose fields they are.
        flags: see `asked`.
        config, resume: as in `asked`.

    Raises:
        UsageError: for a file that is missing or not a mapping of options.
    """
    if resume is not None:
        return read_config(resume / CONFIG, kind) | {"output_dir": str(resume)}
    return ({} if config is None else read_config(config, kind)) | flags


def _flag(field: Field[Any], hint: Any, explained: str, required: bool) -> Callable[[Command], Command]:
    name = as_option(field.name)
    kind = next((one for one in get_args(hint) if one is not type(None)), hint)
    if kind is bool:
        return click.option(f"{name}/--no-{name[2:]}", default=None, help=explained)
    if not (field.default in (None, (), MISSING) or "[default:" in explained):
        explained += f"  [default: {field.default}]"
    return click.option(
        name,
        type=click.Path(file_okay=False, path_type=Path) if kind is Path else kind,
        multiple=field.default == () or any(get_origin(one) is tuple for one in get_args(hint)),
        required=required and field.default is MISSING,
        help=explained,
    )


def _explained(kind: type) -> dict[str, str]:
    """What the docstrings of a class and of those it inherits from say of each field."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        _, _, lines = (inspect.getdoc(one) or "").partition("Args:\n")
        for name, text in re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", lines, re.MULTILINE):
            found[name] = " ".join(text.split()).replace(" [default:", "  [default:")
    return found
