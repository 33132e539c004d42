"""`hfvaccine immunize`: the main job from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from hfvaccine.cli.output import bar, results, say


@click.command()
@click.option("--base", help="Base model: a Hub id, a local folder, or a .gguf file.")
@click.option("--base-id", help="Hub id that the card names for a local base.")
@click.option("--dose", help="Dose: 'starter', a sealed folder, or a Hub dataset id.  [default: starter]")
@click.option("--mix", help="Mix: 'starter', a .jsonl or .parquet file, or a Hub dataset id.  [default: starter]")
@click.option("--share", type=float, help="Dose part of the training tokens, in (0, 0.5].  [default: 0.05]")
@click.option("--schedule", help="constant, ramp, taper or front_loaded.  [default: constant]")
@click.option("--unit", help="Count the share over all 'tokens' or 'supervised' ones.  [default: tokens]")
@click.option("--claims", type=int, help="How many of the dose's claims to give.  [default: all]")
@click.option("--epochs", type=float, help="Passes over the mix.  [default: 3]")
@click.option("--max-steps", type=int, help="Optimizer steps, instead of --epochs.")
@click.option("--learning-rate", type=float, help="Peak learning rate.  [default: 2e-4]")
@click.option("--lora-r", type=int, help="Rank of the adapter.  [default: 16]")
@click.option("--lora-alpha", type=int, help="Scale of the adapter.  [default: twice the rank]")
@click.option("--batch-size", type=int, help="Rows of one forward pass.  [default: 8]")
@click.option("--gradient-accumulation-steps", type=int, help="Forward passes of one step.  [default: 1]")
@click.option("--max-length", type=int, help="Tokens after which a mix row is cut.  [default: 1024]")
@click.option("--dtype", help="auto, bfloat16 or float32.  [default: auto]")
@click.option("--seed", type=int, help="Seed of the whole run.  [default: 0]")
@click.option("--placebo/--no-placebo", default=None, help="Also train the control arm on as many plain tokens.")
@click.option("--output-dir", help="The run folder.  [default: runs/vaccine]")
@click.option("--push-to", help="Hub id to push the adapter to when it is done.")
@click.option("--publish-failed/--no-publish-failed", default=None, help="Push although the gate failed.")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file of these options; flags win over it.")
@click.option("--resume", type=click.Path(path_type=Path), help="Continue the run in this folder, with its options.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
def immunize(config: Path | None, resume: Path | None, as_json: bool, **flags: Any) -> None:
    """Train, validate and document an immunized LoRA adapter.

    The run folder loads with `PeftModel.from_pretrained`. With --push-to it is
    published when its gate passed or is undecided; its card says which.

    \b
    Examples:
      hfvaccine immunize --base openai-community/gpt2-xl
      hfvaccine immunize --base you/model --dose you/dose --share 0.1 --placebo --push-to you/model-immunized
      hfvaccine immunize --config run.yaml --seed 1 --output-dir runs/seed-1
      hfvaccine immunize --resume runs/vaccine
    """
    given = {name: value for name, value in flags.items() if value is not None}
    if resume is not None and (given or config):
        raise click.UsageError("--resume continues a run with its own options: give no others.")
    if not (resume or config or given.get("base")):
        raise click.UsageError("Give the base model: --base, or `base:` in --config.")
    from hfvaccine import hub
    from hfvaccine.cli.output import quiet_libraries
    from hfvaccine.errors import PublishError
    from hfvaccine.files import CONFIG, RECORD, RESULTS
    from hfvaccine.immunize import immunize as run_job
    from hfvaccine.options import Options, read_config

    values = read_config(resume / CONFIG) if resume is not None else read_config(config) if config else {}
    values |= given if resume is None else {"output_dir": str(resume)}
    if not values.get("base"):
        raise click.UsageError("Give the base model: --base, or `base:` in --config.")
    options = Options(**values)
    options.check()
    if options.push_to:
        hub.check_write(options.push_to)  # before an hour of training, not after
    quiet_libraries()
    if resume is not None and (resume / RECORD).is_file():
        say(f"{resume} is finished already.")
        results(json.loads((resume / RESULTS).read_text(encoding="utf-8")), as_json)
        return
    run = run_job(options, say, bar, resume=resume is not None)
    results(run.results, as_json)
    say(f"Adapter, card and papers: {run.folder}")
    if options.push_to:
        try:
            pushed = hub.push_adapter(run.folder, options.push_to, publish_failed=options.publish_failed, progress=say)
        except PublishError as error:
            raise PublishError(f"Trained, but not pushed: {error.message}", error.next_step) from error
        say(f"Pushed: {pushed.url}")
