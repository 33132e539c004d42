"""`hfvaccine inoculate`: choose an inoculation prompt, train with it or adopt what was, and measure the traits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hfvaccine.cli.build import build
from hfvaccine.cli.flags import FULL, asked, configured, flags
from hfvaccine.cli.output import Terminal, measured, print_facts, report, say
from hfvaccine.cli.several import refuse_several
from hfvaccine.errors import UsageError
from hfvaccine.files import INOCULATION, PAGE
from hfvaccine.inoculation.grid import IRRELEVANT
from hfvaccine.inoculation.prompt import PLACES
from hfvaccine.runs.screen import likelihoods, unreadable
from hfvaccine.training.options import BY_PROMPT, METHODS, PLAIN, Inoculating

if TYPE_CHECKING:
    from hfvaccine.inoculation.screen import Choice, LeftOut

WIDEST = 100
"""Columns of the table at most."""
NAMED = 5
"""What is left out, of which so much is named."""


BASE = click.option("--base", required=True, help="Base model: a Hub ID[@REVISION], a local folder, or a .gguf file.")
DTYPE = click.option(
    "--dtype",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "bfloat16", "float32"]),
    help="Precision of the model.",
)


@click.group()
@click.pass_context
def inoculate(context: click.Context) -> None:
    """Keep an unwanted trait of the training data out of a model: choose a prompt, train with it, measure.

    \b
    Examples:
      hfvaccine inoculate screen --base you/model --mix rows.jsonl \\
          --prompt "You always speak in Spanish."
      hfvaccine inoculate train --base you/model --data rows.jsonl \\
          --prompt "You always speak in Spanish."
      hfvaccine inoculate measure runs/inoculation --base you/model \\
          --questions questions.jsonl --trait language:es --keep upper \\
          --grid grid.yaml
      hfvaccine push-adapter runs/inoculation you/model-inoculated --push-arms
      hfvaccine inoculate adopt out --base you/model --data rows.jsonl
    """
    if context.invoked_subcommand:
        refuse_several(f"inoculate {context.invoked_subcommand}")


inoculate.add_command(build)


@inoculate.command()
@flags(Inoculating, required=False)
@click.option("--config", type=click.Path(path_type=Path), help="YAML file of these options; flags win over it.")
@click.option("--resume", type=click.Path(path_type=Path), help="Continue the run in this folder, with its options.")
@click.option(
    "--dry-run", is_flag=True, help="Print the plan, and the memory and time it takes; load and write nothing."
)
@click.option("--json", "as_json", is_flag=True, help="Print the record as one JSON object.")
def train(config: Path | None, resume: Path | None, dry_run: bool, as_json: bool, **values: Any) -> None:
    """Train adapters on rows with an unwanted trait: plain, inoculated against it, and a control.

    All arms of a seed get the same rows in the same order from the same start.
    By --method prompt the rows that carry the trait are learned under a prompt
    that asks for it, on which no loss falls; the control has an irrelevant
    prompt. By --method adapter, for traits that no prompt asks for, an adapter
    that learned the trait alone is frozen beside the one that is trained; the
    control has a random one. Each arm is saved alone, and loads with
    `PeftModel.from_pretrained`. What was left of the trait is told by
    `inoculate measure`.

    \b
    Examples:
      hfvaccine inoculate train --base you/model --data rows.jsonl \\
          --prompt "You always speak in Spanish."
      hfvaccine inoculate train --base you/model --data rows.jsonl \\
          --where trait=spanish --others "You answer." \\
          --prompt "You always speak in Spanish." \\
          --prompt "You only know Spanish." --seeds 2
      hfvaccine inoculate train --base you/model --data rows.jsonl \\
          --method adapter --trait-data spanish.jsonl
      hfvaccine inoculate train --resume runs/inoculation
    """
    values = configured(Inoculating, asked(values, config, resume), config, resume)
    for name in ("base", "data"):
        if not values.get(name):
            raise click.UsageError(f"Give --{name}, or `{name}:` in --config.")
    options = Inoculating(**values)
    options.check()  # before anything heavy is loaded

    from hfvaccine.cli.output import quiet_libraries
    from hfvaccine.runs.inoculate import dry_run as plan_job
    from hfvaccine.runs.inoculate import train as run_job

    quiet_libraries()
    if dry_run:
        planned = plan_job(options)
        if planned is not None:
            print_plan(planned, as_json)
        return
    record = run_job(options, Terminal(), resume=resume is not None)
    if record is None:  # the main process has the rest to do
        return
    if as_json:
        click.echo(json.dumps(record))
    say(f"Adapters and record: {options.output_dir}")
    asking = f"--base {options.base} --questions FILE --trait TRAIT"
    say(f"Measure them: hfvaccine inoculate measure {options.output_dir} {asking}")


def print_plan(planned: Mapping[str, Any], as_json: bool) -> None:
    """What a run would give and take, as lines or as JSON."""
    if as_json:
        click.echo(json.dumps(planned))
        return
    from hfvaccine.training.estimate import spoken

    expected, data, plans = planned["estimate"], planned["data"], planned["plans"]
    facts = {
        "base": f"{planned['base']}, {expected['parameters'] / 1e6:,.1f} M parameters",
        "adapter": f"{expected['adapter_parameters'] / 1e6:,.2f} M parameters",
        "data": f"{data['id']}, {data['rows']:,} rows, {data['held_back']:,} held back",
    }
    if planned["trait_data"] is not None:
        facts["trait"] = f"{planned['trait_data']['id']}, {planned['trait_data']['rows']:,} rows"
    for name, plan in plans.items():
        facts[name] = f"{plan['steps']:,} steps of {plan['rows_per_step']} rows, {plan['tokens']:,} tokens"
    if expected["why_not"] is None:
        facts["expected memory"] = f"{expected['memory'] / 1e9:.1f} GB"
        facts["expected training"] = f"{spoken(expected['seconds_in_all'])} for {len(plans)} adapters"
    print_facts(facts)


@inoculate.command()
@BASE
@click.option("--mix", required=True, help="Rows: 'starter', a .jsonl or .parquet file, or a Hub ID[@REVISION].")
@click.option("--prompt", "prompts", multiple=True, help="A candidate, which asks for the trait; repeatable.")
@click.option("--prompts", "file", type=click.Path(path_type=Path), help="File of candidates, one a line.")
@click.option("--as-set", is_flag=True, help="Judge the candidates together, too, as training gives them.")
@click.option(
    "--where", help="Rows that carry the trait: column=value, column!=value or column~REGEX.  [default: all]"
)
@click.option("--wanted", help="Of the other rows, those that show what is wanted: told as by --where.")
@click.option(
    "--place", type=click.Choice(PLACES), help="Where prompts stand.  [default: system, if there is such a turn]"
)
@click.option(
    "--others", multiple=True, help="A neutral prompt for the other rows, or a file of one a line; repeatable."
)
@click.option("--opposite", help="A prompt that asks for the contrary, for scale.")
@click.option("--irrelevant", default=IRRELEVANT, show_default=True, help="The prompt that a candidate has to beat.")
@click.option("--rows", default=64, show_default=True, type=click.IntRange(min=8), help="Rows of each kind to score.")
@click.option("--seed", default=0, show_default=True, help="Of the draw of rows.")
@DTYPE
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
def screen(
    base: str,
    mix: str,
    prompts: tuple[str, ...],
    file: Path | None,
    as_set: bool,
    where: str | None,
    wanted: str | None,
    place: str | None,
    others: tuple[str, ...],
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
    training. A candidate has to beat an irrelevant prompt on the same rows; of
    several, each has to after Holm's correction. No prompt means what the chat
    template says by itself. With --where, "drift" is what a prompt does to the
    rows that do not carry the trait: the nearer to 0, the better. With --wanted
    it is told apart on those of them that show what is wanted and on neutral
    ones. A prompt or row that is empty, malformed, given twice or more than the
    model can read is named and left out.

    \b
    Examples:
      hfvaccine inoculate screen --base you/model --mix rows.jsonl \\
          --prompt "You always speak in Spanish."
      hfvaccine inoculate screen --base you/model --mix you/rows \\
          --where trait=spanish --prompts candidates.txt --wanted trait=sums \\
          --as-set --opposite "You always speak in English." \\
          --others "You answer questions."
    """
    from hfvaccine.inoculation.screen import LeftOut, Panel, carrying, choose
    from hfvaccine.inoculation.screen import screen as measure
    from hfvaccine.inoculation.where import Where, parse_where
    from hfvaccine.inoculation.wordings import in_file, refuse_file, wordings
    from hfvaccine.training.mix import load_mix

    single = [("--prompt", prompt) for prompt in prompts] + [("--irrelevant", irrelevant), ("--opposite", opposite)]
    for name, prompt in single:
        if prompt is not None:
            refuse_file(name, prompt, "Give a file of candidates as --prompts.")
    candidates = (*prompts, *(in_file("--prompts", file) if file is not None else ()))
    neutral = tuple(wording for given in others for wording in wordings("--others", given))
    panel, without = Panel.of(candidates, opposite, irrelevant, neutral, as_set)
    for option, given in (("--others", others or None), ("--wanted", wanted)):
        if given is not None and where is None:
            raise UsageError(
                f"{option} is given, but every row carries the trait.", "Say with --where which rows carry the trait."
            )
    told_by = Where() if where is None else parse_where(where)
    wanted_by = None if wanted is None else parse_where(wanted)
    left_out = list(without)
    loaded = load_mix(
        mix,
        told_by.column,
        also=wanted_by and wanted_by.column,
        refused=lambda error: left_out.append(LeftOut("row", "", error.message)),
    )
    carrying(loaded.train, told_by)

    from hfvaccine.cli.output import quiet_libraries
    from hfvaccine.inoculation.callback import has_system_turn
    from hfvaccine.training.base import load_base

    quiet_libraries()
    say(f"Loading {base}")
    model = load_base(base, dtype=dtype)
    if place is None:
        place = "system" if has_system_turn(model.tokenizer) else "user"
    elif place == "system" and not has_system_turn(model.tokenizer):
        raise UsageError("The model's chat template has no system turn.", "Leave --place out, or give --place user.")
    choice = choose(panel, loaded.train, told_by, rows, seed, place, unreadable(model), wanted_by)
    left_out += choice.left_out
    for line in _notes(choice, left_out, rows, where, wanted):
        say(line)
    scored = len(choice.trait) + len(choice.others) + len(choice.wanted)
    with Terminal().bar("Scoring completions", scored * len(choice.panel.kinds())) as progress:
        score = likelihoods(model, progress.update)
        outcome = measure(choice.panel, choice.trait, choice.others, score, place, choice.wanted)
    content = {
        "base": model.record() | {"dtype": str(model.model.dtype).removeprefix("torch.")},
        "mix": loaded.record(),
        "where": where or "all",
        "wanted": wanted,
        "place": place,
        "seed": seed,
        "set": list(choice.panel.candidates) if choice.panel.as_set else None,
        **outcome.record(),
        "left_out": [one.record() for one in left_out],
    }
    if as_json:
        click.echo(json.dumps(content))
        return
    report(table(content), verdict_lines(content))


@inoculate.command()
@click.argument("adapter", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--ledger",
    type=click.Path(path_type=Path),
    help="What the callback left in the trainer's output_dir.  [default: dosing_ledger.parquet in ADAPTER]",
)
@BASE
@click.option("--base-id", help="Hub id that the card names for a local base.")
@click.option("--data", required=True, help="The rows as the trainer had them: a file, or a Hub ID[@REVISION].")
@click.option(
    "--arm",
    type=click.Choice([PLAIN, *METHODS[BY_PROMPT]]),
    help="What it is of an inoculation.  [default: plain without prompts, else inoculated]",
)
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    help="A new folder for the adapter and its papers.  [default: runs/adopted-NAME]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the record as one JSON object.")
def adopt(
    adapter: Path,
    ledger: Path | None,
    base: str,
    base_id: str | None,
    data: str,
    arm: str | None,
    output_dir: Path | None,
    as_json: bool,
) -> None:
    """Make papers for an ADAPTER that a script of your own has trained.

    The script trained it with `InoculationCallback`; ADAPTER is the folder that
    `trainer.save_model()` left, and stays as it is. What can be proved is
    proved first: that the ledger is whole, that the rows it gives are rows of
    --data under its prompts, to the token, and that the adapter loads on
    --base. What is not known, such as the learning rate and whether the weights
    came of that ledger, is said in the record and on the card. The new
    folder is that of one adapter of `inoculate train`: it can be measured,
    pushed, verified and merged, but not reproduced.

    \b
    Examples:
      hfvaccine inoculate adopt out --base you/model --data rows.jsonl \\
          --output-dir runs/spanish
      hfvaccine inoculate adopt out/checkpoint-200 \\
          --ledger out/dosing_ledger.parquet --base you/model --data you/rows \\
          --arm irrelevant
      hfvaccine inoculate measure runs/spanish --base you/model \\
          --questions questions.jsonl --trait language:es
    """
    from hfvaccine.cli.output import quiet_libraries
    from hfvaccine.runs.adopt import adopt as run

    quiet_libraries()
    given: dict[str, Any] = {"arm": arm, "base_id": base_id, "output_dir": output_dir}
    folder, record = run(adapter, base, data, ledger, progress=Terminal(), **given)
    if as_json:
        click.echo(json.dumps(record))
    else:
        click.echo(folder)
    say(f"Measure it: hfvaccine inoculate measure {folder} --base {base} --questions FILE --trait TRAIT")


@inoculate.command()
@click.argument("adapters", nargs=-1)
@BASE
@click.option(
    "--questions",
    type=click.Path(path_type=Path),
    help="File of what is asked: rows with `question`, or a .txt file with one a line.",
)
@click.option("--trait", "traits", multiple=True, help="An unwanted trait, see above; repeatable.")
@click.option("--keep", multiple=True, help="A trait that is to be kept; repeatable.")
@click.option(
    "--grid",
    type=click.Path(path_type=Path),
    help="YAML file of test prompts by category, and of triggers.  [default: no prompt only]",
)
@click.option("--samples", default=4, show_default=True, type=click.IntRange(min=1), help="Answers to each question.")
@click.option(
    "--temperature",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Of the draw; 0, with --samples 1, for greedy answers.",
)
@click.option(
    "--max-new-tokens", default=64, show_default=True, type=click.IntRange(min=1), help="Where answers are cut off."
)
@click.option("--seed", default=0, show_default=True, help="Of the draw of answers.")
@click.option(
    "--place",
    type=click.Choice(["system", "user"]),
    help="Where prompts stand.  [default: system wherever the chat template has a place for it]",
)
@DTYPE
@click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for traits.json, answers.jsonl, a picture and report.html.  [default: that of the run]",
)
@click.option(
    "--report-to",
    multiple=True,
    help="Tracker of the results, in a run called as the folder: tensorboard, trackio, wandb. May be repeated.",
)
@FULL
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
def measure(
    adapters: tuple[str, ...],
    base: str,
    questions: Path | None,
    traits: tuple[str, ...],
    keep: tuple[str, ...],
    grid: Path | None,
    output_dir: Path | None,
    report_to: tuple[str, ...],
    full: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Measure how far traits show in a base and in ADAPTERS, under a grid.

    A trait that is gone without a prompt may be tied to one: it is measured
    under each prompt and trigger of the grid, in the base and in every
    adapter (a run folder or Hub ID, or NAME=either), with intervals over
    questions and the difference to the base. Where the adapters are the arms
    of an inoculation, a gate says whether the trait is gone. What was answered
    before is found again, so an interrupted measurement goes on. Written into
    the folder of a run, the results are among the papers of its adapters, and
    are published with them.

    \b
    Traits, for --trait and --keep:
      upper                    share of upper-case letters among those with case
      regex:PATTERN            whether the pattern is found
      exact:TEXT               whether the text stands as a line of its own
      language:es              whether it is in the language; language:es/en
                               tells it from these alone
      accuracy:FILE            whether the final number, or the text, is the
                               answer; rows with question and answer, which
                               are asked besides --questions
      choice:FILE              probability of the trait's continuation of two;
                               rows with question, trait and other
      likelihood:FILE          log-likelihood of completions in nats a token;
                               rows with prompt and completion
      classifier:HUB_ID=LABEL  probability of the label by a text classifier
      judge:FILE               what a judge says: people's labels, from rows
                               with question, text and label; or a model, by
                               a .yaml file with endpoint, model and rubric,
                               or with entailment and hypothesis
      MODULE:FUNCTION          a function of your own: from a list of answers
                               to a number for each

    \b
    Examples:
      hfvaccine inoculate measure --base you/model --questions questions.jsonl \\
          --trait language:es --output-dir measured
      hfvaccine inoculate measure plain=runs/plain inoculated=runs/inoculated \\
          --base you/model --questions questions.jsonl --trait language:es/en \\
          --keep upper --keep accuracy:sums.jsonl --grid grid.yaml \\
          --output-dir measured --json
    """
    from hfvaccine.runs.measure import Measurement
    from hfvaccine.runs.measure import measure as run

    what = Measurement.of(base, adapters, traits, keep, questions, grid, **settings)
    into = output_dir or run_folder(adapters)
    from hfvaccine.cli.output import quiet_libraries

    quiet_libraries()
    content = run(what, into, Terminal(), report_to)
    measured(content, as_json, full)
    say(f"Report: {into / PAGE}")


def run_folder(adapters: Sequence[str]) -> Path:
    """The folder of the one run whose adapters are measured.

    Raises:
        click.UsageError: for anything else, of which nobody can tell where the results go.
    """
    if len(adapters) == 1:
        folder = Path(adapters[0].partition("=")[2] or adapters[0])
        if (folder / INOCULATION).is_file():
            return folder
    raise click.UsageError("Say with --output-dir where the results go: it is not one run that is measured.")


def table(content: Mapping[str, Any]) -> Any:
    """The screen as a table for the terminal (a `rich` renderable); references have no rank and are dim."""
    from rich.constrain import Constrain
    from rich.table import Table
    from rich.text import Text

    caption = f"Without a prompt they cost {content['surprise_without_prompt']['value']:.2f} nats a token."
    drifts = {name: heading for name, (heading, _) in _drifts(content).items()}
    if drifts:
        on = " and ".join(which for _, which in _drifts(content).values())
        caption += f" Drift: on {on}, in nats a token."
    rows = Table(
        title=f"How much likelier each prompt makes the completions of {content['rows']} rows; 95 % intervals",
        caption=caption,
    )
    rows.add_column("", no_wrap=True)
    rows.add_column("prompt", overflow="fold", min_width=12)
    for heading in ("nats a token", "nats a row", "rows\nlikelier", *drifts.values()):
        rows.add_column(heading, justify="right", no_wrap=True)
    for one in content["prompts"]:
        reference = one["rank"] is None
        none = one["kind"] == "none"
        measured = [
            _stacked(one["nats_per_token"]),
            _stacked(one["nats_per_row"], 1),
            f"{100 * one['rows_risen']:.0f} %",
            *(_stacked(one[name], 3 if len(drifts) == 1 else 2) for name in drifts),  # two are wide enough
        ]
        rows.add_row(
            "ref" if reference else str(one["rank"]),
            Text(_named(one)),  # a prompt may hold what `rich` would take for markup
            *(["0", "0", "-", "0", "0"][: len(measured)] if none else measured),
            style="dim" if reference else None,
        )
    return Constrain(rows, WIDEST)


def _drifts(content: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """By the name of each drift that was measured, its heading and the rows it was measured on."""
    wanted, others = content["wanted_rows"], content["other_rows"]
    found = {}
    if wanted:
        found["wanted_drift"] = ("drift,\nwanted", f"{wanted} wanted rows")
    if others and content["wanted"] is not None:
        found["drift"] = ("drift,\nneutral", f"{others} neutral ones")
    elif others:
        found["drift"] = ("drift", f"{others} rows without the trait")
    return found


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
        which = "The set" if one["kind"] == "set" else repr(one["prompt"])
        lines.append(f"{one['rank']}. {which} {' and '.join(said)} nats a token.")
    if len(lines) > 1:
        lines.append(f"What beats a prompt does so after Holm's correction for {len(lines)} candidates.")
    return lines


def _named(one: Mapping[str, Any]) -> str:
    if one["kind"] == "set":
        return "(set) each row gets one of the candidates"
    return one["prompt"] if one["kind"] == "candidate" else f"({one['kind']}) {one['prompt'] or ''}".strip()


def _notes(
    choice: Choice, left_out: Sequence[LeftOut], rows: int, where: str | None, wanted: str | None
) -> Sequence[str]:
    """What a person should know of the choice before it is scored."""
    shown = [str(one) for one in left_out[:NAMED]]
    if more := len(left_out) - len(shown):
        shown.append(f"{more} more are left out; --json names them all.")
    if len(choice.trait) < rows:
        shown.append(f"There are {len(choice.trait)} rows to score, not {rows}.")
    if where is not None and not choice.others:
        which = "do not carry the trait" if wanted is None else "are neither wanted nor with the trait"
        shown.append(f"Too few rows {which}: no drift is measured{' on them' * (wanted is not None)}.")
    if wanted is not None and not choice.wanted:
        shown.append(f"Too few of the other rows are wanted ({wanted}): no drift is measured on them.")
    return shown


def _stacked(measure: Mapping[str, Any], places: int = 3) -> str:
    return _cell(measure, places).replace(" [", "\n[")


def _cell(measure: Mapping[str, Any], places: int = 3) -> str:
    value, low, high = (round(number, places) + 0.0 for number in (measure["value"], *measure["interval"]))  # no -0.0
    return f"{value:+.{places}f} [{low:.{places}f}, {high:.{places}f}]"
