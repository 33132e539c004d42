"""`hfvaccine immunize`: the main job from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hfvaccine.cli.flags import FULL, asked, configured, flags
from hfvaccine.cli.launch import launch, without
from hfvaccine.cli.output import Terminal, print_facts, results, say
from hfvaccine.errors import PublishError, UsageError
from hfvaccine.files import BOOSTER, PAGE, RECORD, RESULTS
from hfvaccine.statistics import MIN_CLUSTERS
from hfvaccine.training.options import Boosting, Options

if TYPE_CHECKING:
    from hfvaccine.runs.immunize import Run

ARGUMENTS = "hfvaccine.arguments"
CONFIGURED = "--accelerate-config"


class Launchable(click.Command):
    """A command that knows its arguments as they were given, to be started again with them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)


@click.command(cls=Launchable)
@flags(Options, required=False)
@click.option("--config", type=click.Path(path_type=Path), help="YAML file of these options; flags win over it.")
@click.option("--resume", type=click.Path(path_type=Path), help="Continue the run in this folder, with its options.")
@click.option(
    "--dry-run", is_flag=True, help="Print the plan, and the memory and time it takes; load and write nothing."
)
@click.option(
    CONFIGURED,
    type=click.Path(path_type=Path),
    help="Run on the devices of this file, which `accelerate config` writes.",
)
@FULL
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
@click.pass_context
def immunize(
    context: click.Context,
    config: Path | None,
    resume: Path | None,
    dry_run: bool,
    accelerate_config: Path | None,
    full: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Train, validate and document an immunized LoRA adapter.

    The run folder loads with `PeftModel.from_pretrained`. With --push-to it is
    published when its gate passed or is undecided; its card says which.
    Several devices take part with --accelerate-config, or where it is started
    with `accelerate launch -m hfvaccine immunize`.

    \b
    Examples:
      hfvaccine immunize --base openai-community/gpt2-xl
      hfvaccine immunize --base you/model --dose you/dose --share 0.1 --placebo \\
          --push-to you/model-immunized
      hfvaccine immunize --base you/model --dose you/dose \\
          --dose you/other-dose=0.02
      hfvaccine immunize --config run.yaml --seed 1 --output-dir runs/seed-1
      hfvaccine immunize --resume runs/vaccine
      hfvaccine immunize --base you/model --mix rows.jsonl \\
          --inoculate-where trait=spanish \\
          --inoculation-prompt "You always speak in Spanish." --dry-run
    """
    said = asked(values, config, resume)
    if not (resume or config or said.get("base")):
        raise click.UsageError("Give the base model: --base, or `base:` in --config.")
    if resume is not None and (resume / BOOSTER).is_file():
        raise UsageError(f"{resume} is the run of a booster.", f"Continue it with: hfvaccine boost --resume {resume}")
    values = configured(Options, said, config, resume)
    if not values.get("base"):
        raise click.UsageError("Give the base model: --base, or `base:` in --config.")
    options = Options(**values)
    options.check()  # before anything heavy is loaded
    if accelerate_config is not None:
        launch(accelerate_config, ["immunize", *without(CONFIGURED, context.meta[ARGUMENTS])])

    from hfvaccine.cli.output import quiet_libraries
    from hfvaccine.runs.immunize import dry_run as plan_job
    from hfvaccine.runs.immunize import immunize as run_job

    quiet_libraries()
    if dry_run:
        planned = plan_job(options)
        if planned is not None:
            print_plan(planned, as_json)
        return
    show = partial(results, as_json=as_json, full=full)
    carry_out(lambda: run_job(options, Terminal(), resume=resume is not None), options, resume, "Adapter", show)


def carry_out(
    work: Callable[[], Run | None],
    options: Options | Boosting,
    resume: Path | None,
    what: str,
    show: Callable[[Mapping[str, Any]], None],
) -> None:
    """Run a job unless it is finished already, show its results, and push where that is asked for.

    Args:
        work: the job; None on all processes but the main one, which has the rest to do.
        options: of the job.
        resume: the folder that is resumed.
        what: the job makes.
        show: prints its results.
    """
    from hfvaccine.hub.push import push_adapter
    from hfvaccine.training.processes import this_process

    if resume is not None and (resume / RECORD).is_file():
        if this_process().is_main_process:
            say(f"{resume} is finished already.")
            show(json.loads((resume / RESULTS).read_text(encoding="utf-8")))
            if (resume / PAGE).is_file():
                say(f"Report: {resume / PAGE}")
        return
    run = work()
    if run is None:
        return
    show(run.results)
    say(f"{what}, card and papers: {run.folder}")
    say(f"Report: {run.folder / PAGE}")
    if options.push_to:
        try:
            pushed = push_adapter(run.folder, options.push_to, publish_failed=options.publish_failed, progress=say)
        except PublishError as error:
            raise PublishError(f"Trained, but not pushed: {error.message}", error.next_step) from error
        say(f"Pushed: {pushed.url}")


def print_plan(planned: Mapping[str, Any], as_json: bool) -> None:
    """What a run would give and take, as a table or as JSON."""
    if as_json:
        click.echo(json.dumps(planned))
        return
    from hfvaccine.training.arm import CURVE, how_often
    from hfvaccine.training.estimate import Estimate, spoken
    from hfvaccine.validation.showing.sentences import wrapped

    dose, plan, expected = planned["dose"], planned["plan"], planned["estimate"]
    compared = planned["mix"]["comparisons"]
    facts = {
        "base": f"{planned['base']}, {expected['parameters'] / 1e6:,.1f} M parameters",
        "adapter": f"{expected['adapter_parameters'] / 1e6:,.2f} M parameters",
        **{
            f"dose{f' {number}' * (number > 1)}": f"{one['id']}, {one['claims_given']} of {one['claims_in_dose']} "
            + (f"claims, {one['share_given']:.2%}" if "share_given" in one else "claims")
            for number, one in enumerate(dose.get("doses") or [dose], start=1)
        },
        "each claim": how_often(dose["times_given"]),
        "mix": f"{planned['mix']['id']}, {planned['mix']['rows']:,} rows"
        + "".join(f"; {rows:,} {reason} are left out" for reason, rows in planned["mix"]["left_out"].items()),
        "comparisons": f"{compared['id']}, {compared['pairs']:,} pairs" if compared else "none",
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
        facts["expected"] = "not known"
    for times in CURVE:
        whole = plan["tokens"] * dose["claims_in_dose"] * times / plan["dose_rows"]
        facts[f"{times} exposures"] = (
            f"room for {plan['dose_rows'] // times:,} claims; all {dose['claims_in_dose']:,} take {whole:,.0f} tokens"
        )
    facts["fingerprint"] = plan["fingerprint"]
    print_facts(facts)
    against = (dose["policy_overridden"] or {"against": ()})["against"]
    failed = Estimate(**{name: value for name, value in expected.items() if name != "arms"}).warning()
    few = wrapped(planned["undecidable"])
    if few:
        head = f"The gate can hardly decide these, and passes none on fewer than {MIN_CLUSTERS} items:"
        few = [*wrapped([head], ""), *few]
    warnings = [
        *(f"Warning: {one}." for one in planned["unmeasured"]),
        *(f"Warning: the dose's policy is overridden: {one}." for one in against),
        *(f"Warning: of the dose, {one}." for one in planned["doubted"]),
    ]
    for line in (*wrapped(filter(None, [failed, planned["scarce"]]), ""), *few, *wrapped(warnings, "")):
        say(line)
