"""`hfvaccine trial`: one run at several shares and seeds, with its controls, judged together."""

from __future__ import annotations

import json
from pathlib import Path

import click

from hfvaccine.cli.output import Terminal, report, say


@click.command()
@click.option("--config", type=click.Path(path_type=Path), required=True, help="YAML file of the options of each run.")
@click.option("--share", "shares", type=float, multiple=True, help="Dose part of the tokens.  [default: 0.05, 0.1]")
@click.option("--seeds", default=3, show_default=True, help="Runs of each arm, with seeds from 0.")
@click.option("--output-dir", help="Where the trial goes.  [default: the file's]")
@click.option("--json", "as_json", is_flag=True, help="Print the results by share as one JSON object.")
def trial(config: Path, shares: tuple[float, ...], seeds: int, output_dir: str | None, as_json: bool) -> None:
    """Run an experiment: every share with every seed, and the controls with every seed.

    The file holds the options of `hfvaccine immunize`; with `placebo: true` and
    `controls: true` the control arms are trained too, once for each seed. What
    is finished in the folder is kept, so an interrupted trial goes on.

    \b
    Examples:
      hfvaccine trial --config run.yaml --share 0.05 --share 0.1 --seeds 3 \\
          --output-dir trials/first
    """
    from hfvaccine.training.options import Options, read_config

    values = read_config(config) | ({"output_dir": output_dir} if output_dir else {})
    if not values.get("base"):
        raise click.UsageError(f"{config} names no base model.")
    options = Options(**values)
    options.check()
    from hfvaccine.cli.output import quiet_libraries
    from hfvaccine.runs.trial import trial as run
    from hfvaccine.validation.showing.sentences import verdict_lines
    from hfvaccine.validation.showing.tables import table

    quiet_libraries()
    done = run(options, shares or (0.05, 0.1), range(seeds), Terminal())
    if as_json:
        click.echo(json.dumps({f"{share:g}": results for share, results in done.results.items()}))
        return
    for share, results in done.results.items():
        click.echo(f"\nShare {share:.0%}, {seeds} seed(s)")
        report(table(results), verdict_lines(results))
    say(f"Trial: {done.folder}")
