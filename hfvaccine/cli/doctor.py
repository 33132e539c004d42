"""`hfvaccine doctor`: what is here, what will be slow or fail, and what mends it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from hfvaccine.cli.output import say

STYLES = {"ok": "green", "warning": "yellow", "error": "red"}


@click.command()
@click.option(
    "--output-dir", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Where runs go."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one object for each finding.")
def doctor(output_dir: Path, as_json: bool) -> None:
    """Look at what is here to run on, and say what will be slow or fail.

    Packages and extras, device, cores, memory, Hub and token, free space, the
    cache: each with the command that mends it. Nothing is changed. The exit
    code is 1 where something will fail.

    \b
    Examples:
      hfvaccine doctor
      hfvaccine doctor --output-dir /data/runs --json
    """
    from hfvaccine.cli.output import hanging, quiet_libraries
    from hfvaccine.packages import Command
    from hfvaccine.runs.doctor import ERROR, OK, examine

    quiet_libraries()
    found = []
    for one in examine(output_dir):
        found.append(one)
        if not as_json:
            shown = hanging(f"{one.state:8} ", f"{one.name}: {one.what}")
            click.echo(f"{click.style(shown[:8], STYLES[one.state])}{shown[8:]}")
            if one.next_step:
                step, indent = one.next_step, " " * 11
                click.echo(indent + step if isinstance(step, Command) else hanging(indent, step))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found]))
    wrong = sum(one.state == ERROR for one in found)
    slow = sum(one.state not in (OK, ERROR) for one in found)
    say(f"{wrong} will fail, {slow} to know of." if wrong or slow else "All is as it should be.")
    sys.exit(1 if wrong else 0)
