"""`hfvaccine recall`: a claim was wrong; who was given it, and how they are told."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hfvaccine.cli.output import counted, quiet_downloads, say, show_tree
from hfvaccine.cli.push import TOKEN

if TYPE_CHECKING:
    from hfvaccine.surveillance.affected import Reached
    from hfvaccine.surveillance.notice import Notified
    from hfvaccine.surveillance.recall import Issued

Command = TypeVar("Command", bound=Callable[..., Any])

WHERE = click.argument("where", nargs=-1, required=True, metavar="NAMESPACE|REPO|FOLDER...")
DOSE = click.option(
    "--dose", help="Whose recalls: a sealed folder or a Hub id.  [default: of each adapter's own dose]"
)
CLAIM = click.option("--claim", "claims", multiple=True, metavar="ID", help="Look for this claim only. Repeatable.")
BY = click.option(
    "--by",
    envvar="HFVACCINE_USER",
    metavar="NAME",
    help="Who says so, of a dose in a folder; on a Hub it is your account.  [env: HFVACCINE_USER]",
)
STYLES = {"affected": "bold red", "under_investigation": "yellow", "not_affected": "green", "fixed": "green"}


@click.group()
def recall() -> None:
    """Recall a claim whose fact-check changed, and tell who was given it.

    What is recalled is said in two steps: one person says it, and another one
    of those who may review the dose signs it. It then stands in the dose, as a
    journal (recalls.jsonl) that goes on with the dose's own, and as OpenVEX
    (recalls.openvex.json). Whoever pulls or gives the dose is refused or
    warned, as its policy says (`recalled`).

    \b
    Examples:
      hfvaccine recall issue lab/dose 404806b157df2f6f --status affected \\
          --why "The study was retracted." --action "Train again without it."
      hfvaccine recall find lab
      hfvaccine recall notify lab --dry-run
      hfvaccine recall close lab/dose 404806b157df2f6f lab
    """


@recall.command()
@click.argument("dose")
@click.argument("claim")
@click.option(
    "--status",
    required=True,
    type=click.Choice(["under_investigation", "affected", "not_affected", "fixed"]),
    help="What holds of the claim.",
)
@click.option("--why", help="The reason, without the claim's words: it is public.")
@click.option("--source", help="What says so, such as a page or a document.")
@click.option("--action", help="With `affected`: what those should do who gave it.")
@click.option("--justification", help="With `not_affected`: one of OpenVEX's five labels.")
@BY
@TOKEN
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def issue(dose: str, claim: str, as_json: bool, **told: Any) -> None:
    """Say what holds of CLAIM, an id of the dose DOSE, or sign what another person said.

    DOSE is a sealed folder or a Hub id; there it is one commit, by somebody
    who may write. The first person says why; the second gives the same status
    without a reason. Who brought the claim in has no say, where two people are
    asked for. Later statements override earlier ones. `fixed` is for a row that
    was mended since; that adapters were mended is said by `recall close`.

    \b
    Examples:
      hfvaccine recall issue my-dose 404806b157df2f6f --by ada \\
          --status under_investigation --why "A reader doubts the source." \\
          --source "Mail of 2 May"
      hfvaccine recall issue my-dose 404806b157df2f6f --by bob \\
          --status under_investigation
      hfvaccine recall issue lab/dose 404806b157df2f6f --status not_affected \\
          --justification inline_mitigations_already_exist \\
          --why "The source holds."
    """
    from hfvaccine.surveillance.recall import issue as act

    _issued(act(dose, claim, **told), as_json)


@recall.command()
@WHERE
@DOSE
@CLAIM
@TOKEN
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one object for each adapter.")
def find(where: tuple[str, ...], dose: str | None, claims: tuple[str, ...], token: str | None, as_json: bool) -> None:
    """Show every adapter, merged model and booster that was given a recalled claim.

    What was given is what the ledger beside an adapter says, held against its
    record; a claim that was chosen and never given makes it not affected. What
    cannot be looked at is named, and then the exit code is 1. With --claim any
    claim can be looked for, recalled or not.

    \b
    Examples:
      hfvaccine recall find lab
      hfvaccine recall find lab/adapter runs --dose lab/dose --json
      hfvaccine recall find lab --claim 404806b157df2f6f
    """
    from hfvaccine.surveillance.affected import find as look

    quiet_downloads()
    found = look(where, dose=dose, claims=claims, token=token)
    if as_json:
        click.echo(json.dumps([one.as_dict() for one in found]))
    else:
        _show(found)
    affected = [one for one in found if one.of("affected", "under_investigation")]
    unknown = [one for one in found if one.problem]
    looked = counted(len(found) - len(unknown), "adapter")
    say(f"{looked} looked at, {len(affected)} affected, {len(unknown)} not to be looked at")
    holding = (given for one in affected if one.on_hub for given in one.claims if given.rows)
    if any(given.recall is not None for given in holding):
        asked = [*where, *(["--dose", dose] if dose else []), *(f"--claim {one}" for one in claims)]
        say(f"Tell them: hfvaccine recall notify {' '.join(asked)}")
    if unknown:
        sys.exit(1)


@recall.command()
@WHERE
@DOSE
@CLAIM
@click.option("--dry-run", is_flag=True, help="Say what would be opened, and open nothing.")
@TOKEN
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one object for each repo.")
def notify(
    where: tuple[str, ...],
    dose: str | None,
    claims: tuple[str, ...],
    dry_run: bool,
    token: str | None,
    as_json: bool,
) -> None:
    """Open a discussion and a pull request with the notice on each repo that was given a recalled claim.

    The pull request adds RECALL.md for people and recalls.jsonl for `hfvaccine
    verify`; the card stays as it is, since the adapter's papers bind it. What
    was said before is not said again. Ends with exit code 1 where a repo
    refused; the others are told all the same.

    \b
    Examples:
      hfvaccine recall notify lab --dry-run
      hfvaccine recall notify lab someone/merged-model --dose lab/dose
    """
    from hfvaccine.surveillance.affected import find as look
    from hfvaccine.surveillance.notice import notify as tell_them

    quiet_downloads()
    found = look(where, dose=dose, claims=claims, token=token)
    outcomes = tell_them(found, dry_run=dry_run, token=token, tell=lambda one: None if as_json else _told(one))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in outcomes]))
    for one in found:
        if one.problem:
            say(f"{one.place} cannot be looked at: {one.problem}")
        elif not one.on_hub and one.of("affected", "under_investigation"):
            say(f"{one.place} is a folder: nobody is told there, and `recall find` shows it.")
    if dry_run:
        say("Nothing was opened: this was a dry run.")
    elif not any(one.changed for one in outcomes):
        say("Nothing was opened: there is nothing new to say.")
    if any(one.problem for one in outcomes):
        sys.exit(1)


@recall.command()
@click.argument("dose")
@click.argument("claim")
@WHERE
@BY
@TOKEN
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def close(dose: str, claim: str, where: tuple[str, ...], by: str | None, token: str | None, as_json: bool) -> None:
    """Say that CLAIM of DOSE is fixed, once all that were given it have a measured booster without it.

    Name where the adapters and their boosters are. A booster counts whose
    record names its parent and the claim that it retracts, whose ledger does
    not hold the claim, and whose results were asked about it and did not fail.
    It takes as many people as the recall did. The dose's row stays recalled.

    \b
    Examples:
      hfvaccine recall close lab/dose 404806b157df2f6f lab
      hfvaccine recall close my-dose 404806b157df2f6f runs --by ada
    """
    from hfvaccine.surveillance.closing import close as act

    quiet_downloads()
    _issued(act(dose, claim, where, by=by, token=token), as_json)


def _issued(done: Issued, as_json: bool) -> None:
    from hfvaccine.text import clean

    recall = done.recall
    if as_json:
        click.echo(json.dumps({**vars(done), "recall": recall.as_dict()}))
    else:
        click.echo(clean(f"{recall.claim_id} {recall.told()}"))
    if not done.changed:
        say("It stood so already: nothing was written.")
    if done.holds:
        say(f"It holds: {len(recall.by)} of {done.needed} people said so. See {done.place}")
    else:
        say(f"It does not hold yet: {len(recall.by)} of {done.needed} people said so.")
        say("Another one of those who may review the dose signs it with the same command, without a reason.")


def _show(found: Sequence[Reached]) -> None:
    from rich.tree import Tree

    from hfvaccine.surveillance.affected import roots

    def branch(one: Reached, seen: frozenset[str]) -> Tree:
        tree = Tree(_head(one), guide_style="dim")
        tree.children += [Tree(line) for line in _lines(one)]
        for below in found:
            if below.parent == one.place and below.place not in seen:
                tree.children.append(branch(below, seen | {below.place}))
        return tree

    for one in roots(found):
        show_tree(branch(one, frozenset({one.place})))


def _head(one: Reached) -> Any:
    from rich.text import Text

    from hfvaccine.text import clean

    head = Text.assemble((clean(one.source), "bold"), f" ({one.kind}, gate {clean(one.gate or 'unknown')})")
    if one.problem:
        head = Text.assemble(
            (clean(one.source), "bold"), (f" cannot be looked at: {clean(one.problem)}", "bold yellow")
        )
    return head


def _lines(one: Reached) -> list[Any]:
    from rich.text import Text

    from hfvaccine.text import clean

    lines = []
    for given in one.claims:
        status = given.status.replace("_", " ")
        line = Text.assemble((status, STYLES[given.status]), f" {clean(given.claim_id)}: {clean(given.why)}")
        if given.justification:
            line.append(f" ({clean(given.justification)})")
        if given.rows:
            line.append(f" - {clean(given.recall.told()) if given.recall else 'not recalled'}")
        lines.append(line)
    return lines


def _told(one: Notified) -> None:
    if not one.claims:
        click.echo(f"{one.place}: all was said before, and stands in the repo")
        return
    for what, outcome, url in (
        ("discussion", one.discussion, one.discussion_url),
        ("pull request", one.pull_request, one.pull_request_url),
    ):
        click.echo(f"{one.place}: {what} {outcome}" + (f", {url}" if url else ""))
    if one.problem:
        say(f"  {one.problem}")
