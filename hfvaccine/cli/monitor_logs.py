"""`hfvaccine monitor logs`: which claims come up in production, and what was answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hfvaccine.cli.flags import INTO
from hfvaccine.cli.output import counted, report, say, table

if TYPE_CHECKING:
    from hfvaccine.surveillance.logs import Logged

SHOWN = 20
"""Claims that the table names, those that came up most."""


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--dose", default="starter", show_default=True, help="Folder, Hub id or ID@REVISION of the dose.")
@click.option(
    "--format",
    "form",
    required=True,
    type=click.Choice(["openai", "otlp", "jsonl"]),
    help="Of the logs: requests with their responses, OpenTelemetry's GenAI spans as OTLP JSON, or any JSON lines.",
)
@click.option(
    "--map",
    "fields",
    multiple=True,
    metavar="NAME=FIELD",
    help="For jsonl, the field that holds the prompt, the answer and, where there is one, the time. Repeatable.",
)
@INTO
@click.option("--judge", help="Who judges the answers: an entailment model, or a file of people's labels.")
@click.option("--labels", type=click.Path(dir_okay=False, path_type=Path), help="People's labels of some answers.")
@click.option("--most-judged", default=20, show_default=True, help="Answers of one claim that are judged at the most.")
@click.option("--workers", default=1, show_default=True, help="Processes that search the logs.")
@click.option("--adapter", help="For a new state: the adapter that is deployed, as its papers name it.")
@click.option("--base", help="For a new state: the model that it was trained on.")
@click.option("--json", "as_json", is_flag=True, help="Print what was counted as one JSON object.")
def logs(
    files: tuple[Path, ...],
    dose: str,
    form: str,
    fields: tuple[str, ...],
    folder: Path,
    judge: str | None,
    labels: Path | None,
    most_judged: int,
    workers: int,
    adapter: str | None,
    base: str | None,
    as_json: bool,
) -> None:
    """Count which claims of a dose come up in production logs, and what was answered.

    A claim is found in longer turns too, in other case and punctuation, and
    with small edits; its twin is told from it. Ids, counts and times are kept,
    and never a text. Without --judge the round says what came up, and not what
    was answered. --labels are people's labels of answers such as these
    (columns prompt, response, label, judge): they show the judge's error,
    which is then taken out of what it counts. The same logs count once.

    \b
    Examples:
      hfvaccine monitor logs requests.jsonl.gz --dose you/dose --format openai \\
          --into state
      hfvaccine monitor logs traces.jsonl --format otlp --into state \\
          --judge you/nli-model --labels labelled.csv
      hfvaccine monitor logs chats.jsonl --format jsonl --map prompt=question \\
          --map answer=reply.text --into state
    """
    from hfvaccine.errors import UsageError
    from hfvaccine.hub.pull import open_dose
    from hfvaccine.sources.place import Source
    from hfvaccine.surveillance.answers import open_judging
    from hfvaccine.surveillance.conversations import REASONS, reader
    from hfvaccine.surveillance.log_rounds import declaration, rounds
    from hfvaccine.surveillance.logs import read_logs
    from hfvaccine.surveillance.state import State, now

    if most_judged < 1 or workers < 1:
        raise UsageError("--most-judged and --workers are numbers from 1 on.", "Leave them out, or give more.")
    if labels is not None and judge is None:
        raise UsageError("--labels shows the error of a judge, and there is none.", "Give --judge too.")
    if missing := next((file for file in files if not file.is_file()), None):
        raise UsageError(f"There is no file {missing}.", "Check the path.")
    parts = dict(one.partition("=")[::2] for one in fields)
    reader(form, parts)
    found = open_dose(Source.of("dose", dose))
    judging = None if judge is None else open_judging(judge, labels, most_judged)
    declared = declaration(folder, found, judging, adapter, base)

    claims = (*found.claims, *found.heldout)
    logged = read_logs(files, claims, form, parts, judging, workers)
    journal = State.begin(folder, declared)
    added = [journal.append(one) for one in rounds(logged, declared, claims, now())]
    if as_json:
        click.echo(json.dumps(logged.record()))
    else:
        show(logged)
    for code, count in sorted(logged.skipped.counts.items()):
        say(f"Skipped {count:,}: {REASONS[code]} (first: {logged.skipped.first[code]})")
    say(f"Round added to {folder}." if added[-1] else f"These logs are in {folder} already: no round was added.")


def show(logged: Logged) -> None:
    """Print what was counted, as ids and numbers."""
    names: tuple[str, ...] = ("mentions", "claim", "question", "truth", "said")
    names += ("asserted", "rejected", "unclear") if logged.judged else ()
    ranked = sorted(logged.claims.items(), key=lambda one: (-one[1]["mentions"], one[0]))
    rows = [(claim, *(f"{counts.get(name, 0):,}" for name in names)) for claim, counts in ranked[:SHOWN]]
    exchanges, claims = counted(logged.exchanges, "exchange"), counted(len(ranked), "claim")
    lines = [f"{claims} came up." if len(ranked) <= SHOWN else f"{claims} came up; the others are in --json."]
    if logged.judged is None:
        lines.append("What was answered: not judged (--judge MODEL or FILE).")
    else:
        own = logged.judged
        told = ", ".join(f"{name} {100 * share:.1f} %" for name, share in own.rates.items()) or "nothing to judge"
        lines.append(f"What was answered, by {own.judge} on {counted(own.answers, 'answer')}: {told}.")
        lines += [
            f"Without the judge's error: {name} {100 * one.value:.1f} % [{100 * one.low:.1f}, {100 * one.high:.1f}]."
            for name, one in own.true.items()
        ]
        if own.error:
            lines.append(f"The judge's error: {own.error.rstrip('.')}.")
    report(table(exchanges, ("claim id", *names), rows), lines)
