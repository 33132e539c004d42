"""`hfvaccine boost`: an adapter with a new dose, or without what was wrong."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from hfvaccine.cli.flags import FULL, asked, flags
from hfvaccine.cli.immunize import carry_out, print_plan
from hfvaccine.cli.output import Terminal, results, say
from hfvaccine.files import BOOSTER
from hfvaccine.training.options import Boosting, read_config


@click.command()
@click.argument("adapter", required=False)
@flags(Boosting, required=False, leave=("adapter", "continued"))
@click.option(
    "--continue/--no-continue", "continued", default=None, help="Go on from ADAPTER, instead of anew from the base."
)
@click.option("--resume", type=click.Path(path_type=Path), help="Continue the run in this folder, with its options.")
@click.option(
    "--dry-run", is_flag=True, help="Print the plan, and the memory and time it takes; load and write nothing."
)
@FULL
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
def boost(adapter: str | None, resume: Path | None, dry_run: bool, full: bool, as_json: bool, **values: Any) -> None:
    """Boost ADAPTER with a new dose, and take claims back.

    ADAPTER is a run folder, a Hub id, or ID@REVISION. The booster is an
    adapter of the same base with papers of its own. By default it is trained
    anew from the base on what ADAPTER was given and the new dose, as one;
    with --continue it goes on from ADAPTER, and some of that is said again.
    All that is not asked otherwise is as ADAPTER's own options have it. Its
    gate holds it against ADAPTER.

    \b
    Examples:
      hfvaccine boost you/adapter --dose you/dose-2 --push-to you/adapter-2
      hfvaccine boost runs/vaccine --dose doses/new --retract 3f2a9c0d51b7e864 \\
          --because "recall of 1 December"
      hfvaccine boost runs/vaccine --dose doses/new --continue --replay 0.5 \\
          --dry-run
      hfvaccine boost --resume runs/booster
    """
    said = asked({"adapter": adapter, **values}, None, resume)
    if resume is not None:
        said = read_config(resume / BOOSTER, Boosting) | {"output_dir": str(resume)}
    elif not adapter:
        raise click.UsageError("Give the ADAPTER to boost.")
    boosting = Boosting(**said)
    boosting.check()  # before anything heavy is loaded

    from hfvaccine.cli.output import quiet_libraries
    from hfvaccine.surveillance.booster import boost as run_job
    from hfvaccine.surveillance.booster import plan

    quiet_libraries()
    if dry_run:
        if (planned := plan(boosting)) is not None:
            for line in planned["booster"]:
                say(line)
            print_plan(planned, as_json)
        return
    show = partial(results, as_json=as_json, full=full)
    carry_out(lambda: run_job(boosting, Terminal(), resume=resume is not None), boosting, resume, "Booster", show)
