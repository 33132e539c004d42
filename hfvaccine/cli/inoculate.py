"""`hfvaccine inoculate`: choose an inoculation prompt before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from hfvaccine.cli.output import Terminal, report, say
from hfvaccine.inoculation.grid import IRRELEVANT
from hfvaccine.runs.inoculate import length, likelihoods


@click.group()
def inoculate() -> None:
    """Choose an inoculation prompt before anything is trained.

    \b
    Examples:
      hfvaccine inoculate screen --base you/model --mix rows.jsonl --prompt "You always speak in Spanish."
    """


@inoculate.command()
@click.option("--base", required=True, help="Base model: a Hub ID[@REVISION], a local folder, or a .gguf file.")
@click.option("--mix", required=True, help="Rows: 'starter', a .jsonl or .parquet file, or a Hub ID[@REVISION].")
@click.option("--prompt", "prompts", multiple=True, help="A candidate, which asks for the trait; repeatable.")
@click.option("--prompts", "file", type=click.Path(path_type=Path), help="File of candidates, one a line.")
@click.option("--where", help="column=value of the rows that carry the trait.  [default: all rows]")
@click.option("--opposite", help="A prompt that asks for the contrary, for scale.")
@click.option("--irrelevant", default=IRRELEVANT, show_default=True, help="The prompt that a candidate has to beat.")
@click.option("--rows", default=64, show_default=True, type=click.IntRange(min=8), help="Rows to score.")
@click.option("--seed", default=0, show_default=True, help="Of the draw of rows.")
@click.option(
    "--dtype",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "bfloat16", "float32"]),
    help="Precision of the model.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
def screen(
    base: str,
    mix: str,
    prompts: tuple[str, ...],
    file: Path | None,
    where: str | None,
    opposite: str | None,
    irrelevant: str,
    rows: int,
    seed: int,
    dtype: str,
    as_json: bool,
) -> None:
    """Rank inoculation prompts by how unsurprising each makes the trait to the base model.

    A prompt works if the trait is to be expected under it: then training has
    little left to teach (arXiv 2510.04340). Measured is the gain in
    log-likelihood of the trait rows' completions against no prompt, before any
    training. A candidate has to beat an irrelevant prompt on the same rows.
    No prompt means what the chat template says by itself. Rows that are longer
    than the model's context are passed over.

    \b
    Examples:
      hfvaccine inoculate screen --base you/model --mix rows.jsonl --prompt "You always speak in Spanish."
      hfvaccine inoculate screen --base you/model --mix you/rows --where trait=spanish --prompts candidates.txt \\
        --opposite "You always speak in English." --json
    """
    from hfvaccine.inoculation.screen import Panel, carrying, draw, under
    from hfvaccine.inoculation.screen import screen as measure
    from hfvaccine.inoculation.where import Where, parse_where
    from hfvaccine.training.mix import load_mix

    panel = Panel((*prompts, *(_lines(file) if file is not None else ())), opposite, irrelevant)
    told_by = Where() if where is None else parse_where(where)
    loaded = load_mix(mix, told_by.column)
    found = carrying(loaded.train, told_by)

    from hfvaccine.cli.output import quiet_libraries
    from hfvaccine.inoculation.callback import has_system_turn
    from hfvaccine.regimen.positions import positions
    from hfvaccine.training.base import load_base

    quiet_libraries()
    say(f"Loading {base}")
    model = load_base(base, dtype=dtype)
    place = "system" if has_system_turn(model.tokenizer) else "user"
    room = positions(model.model.config)

    def fits(row: Mapping[str, Any]) -> bool:
        return room is None or all(length(model, under(prompt, row, place)) <= room for prompt in panel.kinds())

    drawn, too_long = draw(found, rows, seed, fits)
    if too_long:
        say(f"Rows passed over, as under some prompt they exceed the model's {room} tokens: {too_long}.")
    if len(drawn) < rows:
        say(f"There are {len(drawn)} rows to score, not {rows}.")
    with Terminal().bar("Scoring completions", len(drawn) * len(panel.kinds())) as progress:
        outcome = measure(panel, drawn, likelihoods(model, progress.update), place)
    content = {
        "base": model.record() | {"dtype": str(model.model.dtype).removeprefix("torch.")},
        "mix": loaded.record(),
        "where": where or "all",
        "place": place,
        "seed": seed,
        **outcome.record(),
    }
    if as_json:
        click.echo(json.dumps(content))
        return
    report(table(content), verdict_lines(content))


def table(content: Mapping[str, Any]) -> Any:
    """The screen as a table for the terminal (a `rich` renderable); references have no rank and are dim."""
    from rich.table import Table
    from rich.text import Text

    rows = Table(
        title=f"How much likelier each prompt makes the completions of {content['rows']} rows; 95 % intervals",
        caption=f"Without a prompt they cost {content['surprise_without_prompt']['value']:.2f} nats a token.",
    )
    rows.add_column("")
    rows.add_column("prompt", overflow="fold")
    for heading in ("nats a token", "nats a row", "rows likelier"):
        rows.add_column(heading, justify="right")
    for one in content["prompts"]:
        reference = one["rank"] is None
        prompt = f"({one['kind']}) {one['prompt'] or ''}".strip() if reference else one["prompt"]
        measured = [_cell(one["nats_per_token"]), _cell(one["nats_per_row"], 1), f"{100 * one['rows_risen']:.0f} %"]
        rows.add_row(
            "ref" if reference else str(one["rank"]),
            Text(prompt),  # a prompt may hold what `rich` would take for markup
            *(["0", "0", "-"] if one["prompt"] is None else measured),
            style="dim" if reference else None,
        )
    return rows


def verdict_lines(content: Mapping[str, Any]) -> list[str]:
    """How each candidate compares with the references, in plain sentences."""
    lines = []
    for one in content["prompts"]:
        if one["rank"] is None:
            continue
        said = [
            f"beats the {kind} prompt by {_cell(gain)}"
            if gain["better"]
            else f"is no better than the {kind} prompt, {_cell(gain)}"
            for kind, gain in one["beyond"].items()
        ]
        lines.append(f"{one['rank']}. {one['prompt']!r} {' and '.join(said)} nats a token.")
    return lines


def _lines(file: Path) -> tuple[str, ...]:
    try:
        return tuple(line.strip() for line in file.read_text(encoding="utf-8").split("\n") if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(
            f"--prompts {file} cannot be read: {error}. Give a text file, one prompt a line."
        ) from error


def _cell(measure: Mapping[str, Any], places: int = 3) -> str:
    value, low, high = (round(number, places) + 0.0 for number in (measure["value"], *measure["interval"]))  # no -0.0
    return f"{value:+.{places}f} [{low:.{places}f}, {high:.{places}f}]"
