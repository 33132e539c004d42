"""`hfvaccine monitor probe`: one round of seeded questions to an adapter, or to a model that is served."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from hfvaccine.cli.flags import INTO
from hfvaccine.cli.output import Terminal, counted, monitored, quiet_downloads, quiet_libraries, report, say, table

if TYPE_CHECKING:
    from hfvaccine.surveillance.state import Round, State

HOUR = 3600


@click.command()
@click.argument("adapter", required=False)
@click.option("--dose", help="Folder, Hub id or ID@REVISION of the dose.  [default: what the adapter's record names]")
@INTO
@click.option("--endpoint", metavar="URL", help="Ask the model that is served there, over OpenAI's chat completions.")
@click.option("--model", metavar="NAME", help="Its name on that server.")
@click.option(
    "--api-key-env",
    metavar="VARIABLE",
    help="Environment variable that holds the key of that server.  [default: OPENAI_API_KEY]",
)
@click.option("--base", help="Its base, where no record says where that is; of a served model without papers, a name.")
@click.option("--clusters", default=60, show_default=True, help="Clusters of claims that a round draws.")
@click.option("--every", type=float, metavar="HOURS", help="For a new state: between two rounds.  [default: 24]")
@click.option("--alpha", type=float, help="For a new state: the chance of any false alarm.  [default: 0.05]")
@click.option("--horizon", type=int, help="For a new state: in so many rounds.  [default: 365]")
@click.option("--learn", is_flag=True, help="For a new state: the first rounds are the baseline, not results.json.")
@click.option(
    "--chart",
    "charts",
    multiple=True,
    type=click.Choice(["asserted", "judge"]),
    help="For a new state: a chart of logs that will be read into it too. Repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be asked; ask nothing and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the round and the status as one JSON object.")
def probe(
    adapter: str | None,
    dose: str | None,
    folder: Path,
    endpoint: str | None,
    model: str | None,
    api_key_env: str | None,
    base: str | None,
    clusters: int,
    every: float | None,
    alpha: float | None,
    horizon: int | None,
    learn: bool,
    charts: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Ask ADAPTER, or the model that is served of it, about claims that it was given and their true twins.

    ADAPTER is a run folder, a Hub id or ID@REVISION. Each round draws other
    clusters of claims, by its place in the schedule, and asks in wordings that
    were never trained on, at once and after the model's own recall. A state
    that is new begins with the baseline of the adapter's results.json.
    A server that fails is asked again a few times; a round that cannot be
    completed is no data. What a server can do is tried once. Its key stands in
    $OPENAI_API_KEY, or in the variable that --api-key-env names.

    The exit code is that of `hfvaccine monitor status` after the round: 0 for
    ok, 1 for an alarm, 2 for no data, and for whatever is refused.

    \b
    Examples:
      hfvaccine monitor probe you/adapter --into state
      hfvaccine monitor probe runs/adapter --dose you/dose --into state \\
          --every 6 --dry-run
      hfvaccine monitor probe you/adapter --into state \\
          --endpoint http://localhost:8000/v1 --model adapter
    """
    from hfvaccine.errors import UsageError
    from hfvaccine.statistics import MIN_PAIRS
    from hfvaccine.surveillance import probing
    from hfvaccine.surveillance.state import LONGEST, Round, State, now
    from hfvaccine.validation.asking.served import MOST_LISTED, Served, found
    from hfvaccine.validation.questions import check_endpoint

    check_endpoint(endpoint, model, api_key_env)
    if adapter is None and (endpoint is None or dose is None or base is None):
        raise UsageError(
            "It is not said what is probed.",
            "Name an adapter; or of a served model without papers --endpoint, --model, --dose and --base.",
        )
    if every is not None and not 0 < every * HOUR <= LONGEST:
        most = f"{LONGEST / HOUR:,.0f}"
        raise UsageError(f"A round each {every:g} hours cannot be kept.", f"Give --every from above 0 to {most}.")
    if clusters < MIN_PAIRS:
        raise UsageError(f"--clusters is {clusters}.", f"Draw at least {MIN_PAIRS}: fewer say nothing.")
    terms = probing.Terms(None if every is None else every * HOUR, alpha, horizon, learn, charts)
    quiet_downloads()
    target = probing.Target.of(adapter, dose) if adapter else probing.Target.served(model, base, dose)
    state = State.find(folder)
    served = None
    if state is not None:
        probing.check(state, target, terms, model)
        if endpoint is not None:
            served = Served(endpoint, model, state.declaration.settings["top_logprobs"], api_key_env)
    elif endpoint is not None:
        if dry_run:
            served = Served(endpoint, model, MOST_LISTED[0], api_key_env)
        else:
            served = found(endpoint, model, api_key_env)
    declared = state.declaration if state else probing.declare(target, terms, served)
    began = now()
    place = probing.slot(declared, began)
    claims = probing.draw(target.claims, clusters, place)
    if dry_run:
        made = probing.plan(declared, target, claims, place)
        click.echo(json.dumps(made)) if as_json else show_plan(made)
        if served is not None and state is None:
            say("What the server can do was not tried: this is for one that lists log-probabilities.")
        say("Nothing was asked, and nothing written.")
        return
    if state is not None and probing.is_there(state, began):
        say(f"The round {place} is in {folder} already: nothing was asked.")
        finish(state, [], as_json)
    if state is not None:
        state.check(Round(place, began, probing.PROBE, state.readings[probing.PROBE], no_data="not_asked_yet"))
    if served is None:
        quiet_libraries()
    scorer = served or probing.load(target, base)
    bar = partial(Terminal().bar, "Probing")
    state, asked, added = probing.probe(folder, declared, claims, scorer, began, bar)
    if served is not None and served.renamed:
        say(f"Note: {served.renamed}")
    if asked.no_data:
        say(f"No data ({asked.no_data}). {asked.next_step}")
    finish(state, added, as_json)


def show_plan(made: Mapping[str, Any]) -> None:
    """Print what a round would ask, as ids and numbers."""
    from hfvaccine.text import NOT_KNOWN, with_interval

    rows = [
        (
            one["name"],
            one["reading"],
            NOT_KNOWN if (was := one["baseline"]) is None else with_interval(was["value"], (was["low"], was["high"])),
        )
        for one in made["charts"]
    ]
    pairs, clusters = counted(len(made["claims"]), "claim"), counted(made["clusters"], "cluster")
    lines = [
        f"It asks {pairs} of {clusters}, each with its true twin; {made['of_clusters']:,} clusters can be asked.",
        f"Left out of those that were given, without a twin or recalled: {made['left_out']:,}.",
        f"Questions to be answered: {made['recalls']:,}; verdicts to be given: {made['verdicts']:,}.",
    ]
    report(table(f"{made['adapter']}, {made['round']}", ("chart", "reading", "baseline"), rows), lines)


def finish(state: State, added: Sequence[Round], as_json: bool) -> NoReturn:
    """Print the rounds that were added and what the state comes to, and exit as that says."""
    from hfvaccine.surveillance.status import status

    found = status(state)
    if as_json:
        click.echo(json.dumps({"rounds": [asdict(one) for one in added], "status": found.record()}))
    else:
        monitored(found)
    sys.exit(found.exit_code)
