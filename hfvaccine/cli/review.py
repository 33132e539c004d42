"""`hfvaccine quarantine review`: a claim at a time in the terminal, or many by a sheet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hfvaccine.cli.output import hanging, say

if TYPE_CHECKING:
    from hfvaccine.quarantine.checks.lint import LintFinding
    from hfvaccine.quarantine.store import Quarantine

KEYS = ("a", "approve", "r", "reject", "s", "skip", "q", "quit")
SHOWN = ("claim", "correction", "twin", "question")
FACTS = ("verdict", "domain", "tactic", "harm", "license", "language", "submitted_by", "origin")


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--by",
    envvar="HFVACCINE_USER",
    required=True,
    metavar="NAME",
    help="The reviewer, as the journal will name them.  [env: HFVACCINE_USER]",
)
@click.option("--sheet", type=click.Path(dir_okay=False, path_type=Path), help="Write what is to review to this file.")
@click.option("--decisions", type=click.Path(dir_okay=False, path_type=Path), help="Take decisions from this file.")
def review(folder: Path, by: str, sheet: Path | None, decisions: Path | None) -> None:
    """Approve or reject the claims in DIR.

    Without options one claim after another is shown, and each decision is
    written at once, so that you can stop at any time. --sheet writes all that
    is left for you as .csv, .tsv or .jsonl; fill in its column `decision`
    (approve or reject) and hand it in with --decisions. Nobody can review what
    they brought in, and an approval holds only while the row stays as it was.

    \b
    Examples:
      hfvaccine quarantine review my-claims --by bob
      hfvaccine quarantine review my-claims --by bob --sheet todo.csv
      hfvaccine quarantine review my-claims --by bob --decisions todo.csv
    """
    from hfvaccine.errors import UsageError
    from hfvaccine.quarantine.acts import findings
    from hfvaccine.quarantine.review import decide, read_decisions, to_review, write_sheet
    from hfvaccine.quarantine.store import Quarantine

    if sheet and decisions:
        raise UsageError("--sheet writes a file and --decisions reads one.", "Give one of them.")
    opened = Quarantine.open(folder)
    if decisions:
        _done(decide(opened, by, read_decisions(decisions)))
        return
    rows = to_review(opened, by)
    first = next(rows, None)
    if first is None:
        unsplit = opened.table()["split"].null_count
        say(f"There is nothing for {by} to review.")
        if unsplit:
            say(f"{unsplit:,} rows are on no side of the split yet: hfvaccine quarantine split {folder}")
        return
    found: dict[str, list[LintFinding]] = {}
    for finding in findings(opened):
        found.setdefault(finding.claim_id, []).append(finding)
    if sheet:
        lines = {claim: "; ".join(f"{f.rule}: {f.message}" for f in of) for claim, of in found.items()}
        count = write_sheet(chain([first], rows), sheet, lines)
        say(f"Wrote {count:,} claims for {by} to {sheet}. They are falsehoods: keep it as the quarantine is kept.")
        return
    _done(_one_by_one(opened, by, [first, *rows], found))


def _one_by_one(
    opened: Quarantine, by: str, rows: list[dict[str, Any]], found: Mapping[str, Iterable[LintFinding]]
) -> Counter[str]:
    from hfvaccine.quarantine.review import APPROVE, REJECT, decide

    made: Counter[str] = Counter()
    for number, row in enumerate(rows, start=1):
        click.secho(f"\n{number} of {len(rows)}  {row['claim_id']}", bold=True)
        for line in _lines(row, found.get(row["claim_id"], ())):
            click.echo(line)
        key = click.prompt("[a]pprove, [r]eject, [s]kip, [q]uit", type=click.Choice(KEYS), show_choices=False)[0]
        if key == "q":
            break
        if key == "s":
            continue
        note = click.prompt("Why", default="", show_default=False) if key == "r" else ""
        made += decide(opened, by, [(row["claim_id"], row["digest"], APPROVE if key == "a" else REJECT, note)])
    return made


def _lines(row: Mapping[str, Any], findings: Iterable[LintFinding]) -> Iterable[str]:
    from hfvaccine.text import clean

    for name in SHOWN:
        yield _field(name, clean(row[name]) if row[name] else "–")
    for variant in row.get("variants") or ():
        yield _field("variant", clean(variant["claim"] or "–"))
        yield _field("its twin", clean(variant["twin"] or "–"))
    for source in row["sources"] or [{}]:
        parts = (source.get("publisher"), source.get("title"), source.get("url"))
        opened = f"opened {source['checked_on']}" if source.get("checked_on") else "not opened by anybody yet"
        yield _field("source", f"{clean(', '.join(filter(None, parts)))} ({opened})" if any(parts) else "–")
    yield _field("", "  ".join(f"{name} {clean(row[name])}" for name in FACTS if row[name]))
    for finding in findings:
        yield _field("lint", f"{finding.severity} {finding.rule}: {finding.message}")


def _field(name: str, text: str) -> str:
    return hanging(f"  {name:<11}", text)


def _done(made: Counter[str]) -> None:
    total = ", ".join(f"{count:,} {decision}" for decision, count in made.items()) or "no new decision"
    say(f"Written into the journal: {total}.")
