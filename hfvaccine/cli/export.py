"""`hfvaccine export-tasks`: the probes of a dose as tasks of lm-eval."""

from __future__ import annotations

import json
from pathlib import Path

import click

from hfvaccine.cli.output import say


@click.command("export-tasks")
@click.option("--dose", default="starter", show_default=True, help="'starter', a folder, or a Hub ID[@REVISION].")
@click.option("--adapter", help="Adapter, likewise, whose given claims are asked about.  [default: all to give]")
@click.option("--output-dir", type=click.Path(path_type=Path), required=True, help="Empty folder for the tasks.")
@click.option("--json", "as_json", is_flag=True, help="Print the tasks' names as one JSON object.")
def export_tasks(dose: str, adapter: str | None, output_dir: Path, as_json: bool) -> None:
    """Write the probes of a dose as tasks that lm-eval runs without hfvaccine.

    The folder holds the claims in full: it is as sensitive as the dose.

    \b
    Examples:
      hfvaccine export-tasks --dose you/dose --output-dir tasks
      lm_eval --model hf --model_args pretrained=you/model --apply_chat_template \\
          --include_path tasks --tasks hfvaccine
    """
    from hfvaccine.hub.pull import open_dose
    from hfvaccine.runs.ingredients import given_to
    from hfvaccine.sources.place import Source
    from hfvaccine.validation.asking.export import export_tasks as write

    opened = open_dose(Source.of("dose", dose))
    given = opened.claims
    if adapter:
        chosen, ids, _ = given_to(adapter, opened)
        given = tuple(claim for claim in chosen if claim.claim_id in ids)
    tasks = write(given, opened.heldout, output_dir, opened.manifest["canary"])
    if as_json:
        click.echo(json.dumps({"folder": str(output_dir), "tasks": tasks}))
        return
    for task in tasks:
        click.echo(task)
    say(f"{output_dir} holds false claims: it is as sensitive as the dose.")
