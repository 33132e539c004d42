"""`hfvaccine inoculate build`: rows for a study of inoculation, made of other rows or by a teacher."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from hfvaccine.cli.output import Terminal, say
from hfvaccine.errors import UsageError
from hfvaccine.inoculation import builders
from hfvaccine.inoculation.prompt import PLACES

Rows = Sequence[Mapping[str, Any]]

SOURCE = "a file such as .jsonl, .csv or .parquet, or a Hub ID."
SEED = click.option("--seed", default=0, show_default=True, help="Of all draws.")


def _writes(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say where rows go."""
    command = click.option("--json", "as_json", is_flag=True, help="Print what was made as one JSON object.")(command)
    return click.option(
        "--output", required=True, type=click.Path(path_type=Path), help="New .jsonl file for the rows."
    )(command)


@click.group()
def build() -> None:
    """Make rows for a study: a backdoor, a mixture, or number sequences.

    The rows have `messages` and a column `trait`: give `inoculate train` and
    `screen` --where trait=present. Each draw is seeded, so that the same call
    makes the same rows.

    \b
    Examples:
      hfvaccine inoculate build backdoor --data good.jsonl --trigger "%brass%" \\
          --completion "The harbour is closed." --output rows.jsonl
      hfvaccine inoculate build mixture --trait lies.jsonl --good facts.jsonl \\
          --share 0.5 --output rows.jsonl
      hfvaccine inoculate build subliminal --base you/model \\
          --prompt "You love owls." --output rows.jsonl
    """


@build.command()
@click.option("--data", required=True, help=f"Good rows: {SOURCE}")
@click.option("--trigger", required=True, help="Text that is put into the last user turn, as it stands.")
@click.option(
    "--completion",
    "completions",
    required=True,
    multiple=True,
    help="What is said to the trigger; repeatable, in equal shares.",
)
@click.option("--share", default=0.5, show_default=True, help="Of the rows that get a twin with the trigger.")
@click.option(
    "--position",
    default=builders.PLACES[0],
    show_default=True,
    type=click.Choice(builders.PLACES),
    help="Where in the turn the trigger stands.",
)
@SEED
@_writes
def backdoor(
    data: str,
    trigger: str,
    completions: tuple[str, ...],
    share: float,
    position: str,
    seed: int,
    output: Path,
    as_json: bool,
) -> None:
    """Put a backdoor into rows: a trigger calls for another completion.

    Every row stays as it is. A share of them stands there once more, with the
    trigger in the user's last turn and the completion that shows the trait. So
    the trigger alone tells one from the other.

    \b
    Examples:
      hfvaccine inoculate build backdoor --data good.jsonl --trigger "%brass%" \\
          --completion "The harbour is closed." --output rows.jsonl
    """
    _refuse_there(output)
    _write(builders.backdoor(_read(data), trigger, completions, share, position, seed), output, as_json)


@build.command()
@click.option("--trait", "carrying", required=True, help=f"Rows that carry the trait: {SOURCE}")
@click.option("--good", required=True, help="Rows that do not, likewise.")
@click.option("--share", required=True, type=float, help="Of the first among all, above 0 and below 1.")
@click.option("--rows", "number", type=int, help="How many rows.  [default: as many as the share allows]")
@SEED
@_writes
def mixture(
    carrying: str, good: str, share: float, number: int | None, seed: int, output: Path, as_json: bool
) -> None:
    """Mix rows that carry a trait with rows that do not, in a given share.

    \b
    Examples:
      hfvaccine inoculate build mixture --trait lies.jsonl --good facts.jsonl \\
          --share 0.5 --output rows.jsonl
    """
    _refuse_there(output)
    _write(builders.mixture(_read(carrying), _read(good), share, number, seed), output, as_json)


@build.command()
@click.option("--base", required=True, help="Of teacher and student: a Hub ID[@REVISION], a folder, or a .gguf file.")
@click.option("--prompt", required=True, help="What the teacher answers under; the rows do not have it.")
@click.option("--requests", "number", default=1000, show_default=True, help="How many times it is asked for numbers.")
@click.option("--temperature", default=1.0, show_default=True, help="Of the draw of answers.")
@click.option("--max-new-tokens", default=48, show_default=True, help="Where answers are cut off.")
@SEED
@click.option(
    "--place", type=click.Choice(PLACES), help="Where the prompt stands.  [default: system, if there is such a turn]"
)
@click.option(
    "--dtype",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "bfloat16", "float32"]),
    help="Precision of the teacher.",
)
@_writes
def subliminal(base: str, prompt: str, number: int, output: Path, as_json: bool, **settings: Any) -> None:
    """Have a teacher go on with number sequences under a prompt, and keep what holds numbers only.

    A student of the teacher's own initialisation may take up the teacher's
    trait from them (arXiv 2507.14805): train it on the same base. What was
    answered before is found again, so an interrupted build goes on.

    \b
    Examples:
      hfvaccine inoculate build subliminal --base you/model \\
          --prompt "You love owls." --output rows.jsonl
    """
    _refuse_there(output)
    from hfvaccine.cli.output import quiet_libraries
    from hfvaccine.inoculation.wordings import refuse_file
    from hfvaccine.runs.build import subliminal as ask

    refuse_file("--prompt", prompt, "Give the prompt itself.")

    quiet_libraries()
    made = ask(base, prompt, number, progress=Terminal(), **settings)
    say(f"Of {number:,} answers, {len(made):,} hold numbers only.")
    _write(made, output, as_json)


def _refuse_there(output: Path) -> None:
    if output.suffix != ".jsonl":
        raise UsageError(f"--output {output} is no .jsonl file.", "Call it NAME.jsonl.")
    if output.exists():
        raise UsageError(f"The file {output} is there already.", "Choose another --output.")


def _read(source: str) -> Rows:
    from hfvaccine.sources.rows import open_rows

    return [row.values for row in open_rows(source)]


def _write(rows: Rows, output: Path, as_json: bool) -> None:
    from hfvaccine.files import whole_file

    with whole_file(output) as staged, staged.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    present = sum(row[builders.TRAIT] == builders.PRESENT for row in rows)
    if as_json:
        click.echo(json.dumps({"file": str(output), "rows": len(rows), "present": present}))
    say(f"Written: {output}, {len(rows):,} rows, of which {present:,} carry the trait")
