"""`hfvaccine reproduce`: an adapter made again from its papers, and compared with them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hfvaccine.cli.output import Terminal

if TYPE_CHECKING:
    from hfvaccine.runs.reproduce import Reproduction

SHOWN = 5
"""Numbers that came out otherwise which are listed; --json lists all."""


@click.command()
@click.argument("source")
@click.option("--base", help="Its base, where that is not on the Hub: a folder, .gguf file or Hub ID[@REVISION].")
@click.option(
    "--dose",
    multiple=True,
    help="Its dose, where that is not under its recorded name: a folder or Hub ID[@REVISION]. May be repeated, in any "
    "order.",
)
@click.option("--mix", help="Its mix, likewise: a .jsonl or .parquet file, or a Hub ID[@REVISION].")
@click.option("--data", help="The data of an inoculation, likewise: a file, or a Hub ID[@REVISION].")
@click.option("--trait-data", help="The rows of the adapter that was frozen beside it, likewise.")
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of the new run.  [default: runs/reproduced-NAME]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with every number that differs.")
def reproduce(
    source: str,
    base: str | None,
    dose: tuple[str, ...],
    mix: str | None,
    data: str | None,
    trait_data: str | None,
    output_dir: Path | None,
    as_json: bool,
) -> None:
    """Make an adapter again from its record and its options, and compare.

    SOURCE is a run folder, or an adapter on the Hub as ID or ID@REVISION. Base,
    dose and mix are taken at the revisions of its record; what is another now
    is said before anything is trained, and where the plan would be another,
    nothing is. The exit code is 0 when the plan is the same and the gate says
    what it said, and 1 otherwise: on other hardware the numbers may differ in
    their last places, and the largest difference is shown. An adapter of an
    inoculation is trained again and compared by plan, ledger, weights and loss;
    to measure it, give it to `hfvaccine inoculate measure`.

    \b
    Examples:
      hfvaccine reproduce you/gpt2-xl-immunized
      hfvaccine reproduce you/gpt2-xl-immunized@v1 --output-dir again
      hfvaccine reproduce runs/vaccine --base models/gpt2-xl --dose my-dose
      hfvaccine reproduce you/model-inoculated --data rows.jsonl \\
          --trait-data spanish.jsonl
    """
    from hfvaccine.cli.output import quiet_libraries
    from hfvaccine.runs.reproduce import reproduce as make_again

    quiet_libraries()
    made = make_again(source, base, dose, mix, output_dir, Terminal(), data, trait_data)
    if made is None:  # the main process has the rest to do
        return
    if as_json:
        content = asdict(made) | {"folder": made.folder and str(made.folder)}
        content |= {"same_numbers": made.same_numbers, "same_verdict": made.same_verdict}
        click.echo(json.dumps(content | {"reproduced": made.reproduced}))
    else:
        for line in lines(made):
            click.echo(line)
    sys.exit(0 if made.reproduced else 1)


def lines(made: Reproduction) -> Iterator[str]:
    """What is the same and what differs, for a person."""
    yield f"plan      {_same(made.same_plan)}"
    if made.folder is None:
        yield "Nothing was trained: with other rows it would be another adapter."
        return
    yield f"ledger    {_same(made.same_ledger)}"
    yield f"adapter   {_same(made.same_adapter)}" + (", bit for bit" if made.same_adapter else " in its weights")
    if made.verdict is None:
        yield f"loss      {_loss(made)}"
        yield f"Reproduced: the same plan{_weights(made)}"
        yield f"The run: {made.folder.parent}"
        return
    differing = len(made.differences)
    if made.same_numbers:
        yield f"numbers   all {made.numbers:,} the same"
    else:
        yield f"numbers   {differing:,} of {made.numbers:,} differ"
        for one in made.differences[:SHOWN]:
            yield f"            {one.where}: {_number(one.recorded)} recorded, {_number(one.now)} now"
        if differing > SHOWN:
            yield f"            and {differing - SHOWN:,} that differ less"
    if made.same_verdict:
        yield f"gate      {made.verdict}, as recorded"
    else:
        yield f"gate      {made.verdict} now, {made.verdict_recorded} recorded"
    yield _summary(made)
    yield f"The run: {made.folder}"


def _loss(made: Reproduction) -> str:
    one = made.largest_difference
    return "the same" if one is None else f"{_number(one.now)} now, {_number(one.recorded)} recorded"


def _weights(made: Reproduction) -> str:
    """How near the weights of an adapter that is not measured again have come."""
    return ", and the same weights." if made.same_adapter else ", not the same weights: measure both."


def _summary(made: Reproduction) -> str:
    if not made.reproduced:
        return "Not reproduced: " + (
            "the gate says something else." if made.same_plan else "other rows were given than are recorded."
        )
    largest = made.largest_difference
    if largest is None:
        return "Reproduced: the same plan, and the same numbers."
    if made.missing:
        return f"Reproduced in plan and verdict only: {made.missing:,} numbers stand on one side alone."
    return (
        f"Reproduced in plan and verdict, not in every number: the largest difference is {largest.size:.4g}, "
        f"in {largest.where}."
    )


def _same(same: bool) -> str:
    return "the same" if same else "differs"


def _number(value: float | None) -> str:
    return "nothing" if value is None else f"{value:g}"
