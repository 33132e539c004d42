"""`hfvaccine immunize`: the main job from the command line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from hfvaccine.cli.output import bar, results, say
from hfvaccine.cli.questions import given_questions, question_options


@click.command()
@click.option("--base", help="Base model: a Hub id, a local folder, or a .gguf file.")
@click.option("--base-id", help="Hub id that the card names for a local base.")
@click.option("--base-revision", help="Branch, tag or commit of a base on the Hub.  [default: the newest]")
@click.option("--dose", help="Dose: 'starter', a sealed folder, or a Hub dataset id.  [default: starter]")
@click.option("--dose-revision", help="Of a dose on the Hub.  [default: the newest]")
@click.option("--mix", help="Mix: 'starter', a .jsonl or .parquet file, or a Hub dataset id.  [default: starter]")
@click.option("--mix-revision", help="Of a mix on the Hub.  [default: the newest]")
@click.option("--share", type=float, help="Dose part of the training tokens, in (0, 0.5].  [default: 0.05]")
@click.option("--schedule", help="constant, pulsed (every 20 steps) or pulsed:N, ramp, taper, front_loaded.")
@click.option("--unit", help="Count the share over all 'tokens' or 'supervised' ones.  [default: tokens]")
@click.option("--forms", help="YAML file of wordings to give instead of the built-in ones.")
@click.option("--inoculation-prompt", help="A prompt that asks for the unwanted trait, or a file of one a line.")
@click.option("--inoculate-where", help="column=value of the mix rows that carry the trait.  [default: all rows]")
@click.option("--inoculate-others", help="A neutral prompt for the other rows, or a file of one a line.")
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
@click.option("--controls/--no-controls", default=None, help="Also train an arm on the dose's control rows alone.")
@question_options
@click.option("--output-dir", help="The run folder.  [default: runs/vaccine]")
@click.option("--push-to", help="Hub id to push the adapter to when it is done.")
@click.option("--publish-failed/--no-publish-failed", default=None, help="Push although the gate failed.")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file of these options; flags win over it.")
@click.option("--resume", type=click.Path(path_type=Path), help="Continue the run in this folder, with its options.")
@click.option(
    "--dry-run", is_flag=True, help="Print the plan, and the memory and time it takes; load and write nothing."
)
@click.option(
    "--accelerate-config",
    type=click.Path(path_type=Path),
    help="Run on the devices of this file, which `accelerate config` writes.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
def immunize(
    config: Path | None,
    resume: Path | None,
    dry_run: bool,
    accelerate_config: Path | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Train, validate and document an immunized LoRA adapter.

    The run folder loads with `PeftModel.from_pretrained`. With --push-to it is
    published when its gate passed or is undecided; its card says which.
    Several devices take part with --accelerate-config, or where it is started
    with `accelerate launch -m hfvaccine immunize`.

    \b
    Examples:
      hfvaccine immunize --base openai-community/gpt2-xl
      hfvaccine immunize --base you/model --dose you/dose --share 0.1 --placebo --push-to you/model-immunized
      hfvaccine immunize --config run.yaml --seed 1 --output-dir runs/seed-1
      hfvaccine immunize --resume runs/vaccine
      hfvaccine immunize --base you/model --mix rows.jsonl --inoculate-where trait=spanish \\
          --inoculation-prompt "You always speak in Spanish." --dry-run
    """
    given = given_questions(flags)
    if resume is not None and (given or config):
        raise click.UsageError("--resume continues a run with its own options: give no others.")
    if not (resume or config or given.get("base")):
        raise click.UsageError("Give the base model: --base, or `base:` in --config.")
    if accelerate_config is not None:
        launch(accelerate_config, config, resume, dry_run, as_json, given)
    from hfvaccine.errors import PublishError
    from hfvaccine.files import CONFIG, RECORD, RESULTS
    from hfvaccine.training.options import Options, read_config

    values = read_config(resume / CONFIG) if resume is not None else read_config(config) if config else {}
    values |= given if resume is None else {"output_dir": str(resume)}
    if not values.get("base"):
        raise click.UsageError("Give the base model: --base, or `base:` in --config.")
    options = Options(**values)
    options.check()  # before anything heavy is loaded

    from hfvaccine.cli.output import quiet_libraries
    from hfvaccine.hub.push import push_adapter
    from hfvaccine.runs.immunize import dry_run as plan_job
    from hfvaccine.runs.immunize import immunize as run_job

    quiet_libraries()
    if dry_run:
        planned = plan_job(options)
        if planned is not None:
            print_plan(planned, as_json)
        return
    if resume is not None and (resume / RECORD).is_file():
        say(f"{resume} is finished already.")
        results(json.loads((resume / RESULTS).read_text(encoding="utf-8")), as_json)
        return
    run = run_job(options, say, bar, resume=resume is not None)
    if run is None:  # the main process has the rest to do
        return
    results(run.results, as_json)
    say(f"Adapter, card and papers: {run.folder}")
    if options.push_to:
        try:
            pushed = push_adapter(run.folder, options.push_to, publish_failed=options.publish_failed, progress=say)
        except PublishError as error:
            raise PublishError(f"Trained, but not pushed: {error.message}", error.next_step) from error
        say(f"Pushed: {pushed.url}")


def launch(
    accelerate_config: Path,
    config: Path | None,
    resume: Path | None,
    dry_run: bool,
    as_json: bool,
    given: Mapping[str, Any],
) -> None:
    """Become the launcher of the same command, which starts it in as many processes as its configuration says.

    Args:
        accelerate_config: what `accelerate config` wrote.
        config, resume, dry_run, as_json: as given to `immunize`.
        given: the options that were given, by name.

    Raises:
        UsageError: for a file that is none.
    """
    from hfvaccine.errors import UsageError
    from hfvaccine.files import read_yaml

    content = read_yaml(accelerate_config, "Write one with `accelerate config`.")
    if not isinstance(content, dict) or "distributed_type" not in content:
        raise UsageError(
            f"{accelerate_config} names no distributed_type: it is no configuration of accelerate.",
            "Write one with `accelerate config`.",
        )
    same: list[str] = []
    for name, value in {"config": config, "resume": resume, "dry_run": dry_run, "json": as_json, **given}.items():
        flag = name.replace("_", "-")
        if isinstance(value, tuple):
            same += [f"--{flag}={entry}" for entry in value]
        elif value is True:
            same.append(f"--{flag}")
        elif value is False and name in given:
            same.append(f"--no-{flag}")
        elif value is not None and value is not False:
            same.append(f"--{flag}={value}")
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(accelerate_config)]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [*launcher, "-m", "hfvaccine", "immunize", *same])


def print_plan(planned: Mapping[str, Any], as_json: bool) -> None:
    """What a run would give and take, as a table or as JSON."""
    if as_json:
        click.echo(json.dumps(planned))
        return
    from hfvaccine.training.estimate import spoken

    dose, plan, expected = planned["dose"], planned["plan"], planned["estimate"]
    facts = {
        "base": f"{planned['base']}, {expected['parameters'] / 1e6:,.1f} M parameters",
        "adapter": f"{expected['adapter_parameters'] / 1e6:,.2f} M parameters",
        "dose": f"{dose['id']}, {dose['claims_given']} of {dose['claims_in_dose']} claims",
        "mix": f"{planned['mix']['id']}, {planned['mix']['rows']:,} rows",
        "schedule": plan["schedule"],
        "share asked": f"{plan['share_asked']:.2%} of the {plan['unit']}",
        "share given": f"{plan['share_given']:.2%}",
    }
    for kind in ("dose", "control", "mix"):
        facts[f"{kind} rows"] = f"{plan[f'{kind}_rows']:,} ({plan[f'{kind}_tokens']:,} tokens)"
    facts["all rows"] = f"{plan['rows']:,} ({plan['tokens']:,} tokens)"
    facts["steps"] = f"{plan['steps']:,} of {plan['rows_per_step']} rows"
    prompted = planned["inoculation"]
    if prompted is not None:
        facts["inoculation"] = f"{len(prompted['prompts'])} wording(s), rows: {prompted['where']}"
    if expected["why_not"] is None:
        facts["expected memory"] = f"{expected['memory'] / 1e9:.1f} GB"
        facts["expected training"] = spoken(expected["seconds"]) + f" for each of {expected['arms']} arms" * (
            expected["arms"] > 1
        )
    else:
        facts["expected"] = f"not known: {expected['why_not']}"
    facts["fingerprint"] = plan["fingerprint"]
    for name, fact in facts.items():
        click.echo(f"{name:18} {fact}")
