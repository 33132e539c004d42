"""`hfvaccine merge`: an adapter and its base as one model."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from hfvaccine.cli.output import Terminal, say


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("output_dir", type=click.Path(path_type=Path))
@click.option("--base", help="Its base, where that has moved since: a Hub ID[@REVISION], folder or .gguf file.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as one JSON object.")
def merge(run_dir: Path, output_dir: Path, base: str | None, as_json: bool) -> None:
    """Merge the adapter in RUN_DIR into its base, and save the model in OUTPUT_DIR.

    The model is saved in the base's own precision and loads without peft. It
    keeps the adapter's papers: record, ledger, results, scores, pictures, and
    a card that tells the gate's verdict first. RUN_DIR may be that of one adapter
    of an inoculation. Before it is kept, its logits
    are compared with the adapter's.

    \b
    Examples:
      hfvaccine merge run merged
      hfvaccine merge run merged --base models/gpt2-xl
      hfvaccine push-adapter merged you/my-model-immunized-merged
    """
    from hfvaccine.cli.output import quiet_libraries
    from hfvaccine.runs.merge import merge as make

    quiet_libraries()
    merged = make(run_dir, output_dir, base, Terminal())
    if as_json:
        click.echo(json.dumps(asdict(merged) | {"folder": str(merged.folder)}))
    else:
        click.echo(merged.folder)
    say(
        f"Its logits differ from the adapter's by at most {merged.difference:.2g} of the largest; "
        f"{merged.tolerance:g} is allowed in {merged.dtype}."
    )
