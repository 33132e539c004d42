"""`hfvaccine access`: who may have a dose that you published."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hfvaccine.cli.output import counted, report, say
from hfvaccine.cli.push import TOKEN
from hfvaccine.errors import UsageError

if TYPE_CHECKING:
    from huggingface_hub.hf_api import AccessRequest

    from hfvaccine.hub.access.requests import Access, Outcome

    Act = Callable[[Access], list[Outcome]]

REPO = click.argument("repo_id", metavar="REPO")
USERS = click.argument("users", nargs=-1, metavar="[USER]...")
JOURNAL = click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the decisions.  [default: one for each dose in your folder for hfvaccine]",
)
RULES = click.option(
    "--rules",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Policy file whose `access` list decides instead of names.",
)
REASON = click.option("--reason", default="", metavar="TEXT", help="Shown to them, at most 200 characters.")
DRY_RUN = click.option("--dry-run", is_flag=True, help="Say what would be decided, and decide nothing.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def access() -> None:
    """Decide who may have a dose that you published.

    Who asks for a gated dose fills in its form on the Hub. Accept or reject
    them by name, or by the `access` list of a policy file, of which the first
    rule that fits decides; a request that no rule fits stays pending:

    \b
      access:
        - decide: accept
          when: {email: "*@example.org",
                 "I will not redistribute these claims": true}
        - decide: reject
          reason: "Say what you will do with them."
          when: {Purpose: ""}

    A rule asks about username, fullname, email or any field of the form, with
    the patterns of file names, upper and lower case alike; true stands for a
    ticked box, "" for what was left empty. Full names and fields are what
    somebody wrote about themselves.

    Every decision is an entry in a journal of your own, each bound to the one
    before. It names people, so it is never published.

    \b
    Examples:
      hfvaccine access list you/my-dose
      hfvaccine access accept you/my-dose ada bob
      hfvaccine access accept you/my-dose --rules policy.yaml --dry-run
      hfvaccine access revoke you/my-dose bob \\
          --reason "The claims were passed on."
      hfvaccine access export you/my-dose requests.csv
    """


@access.command("list", short_help="List who asked, with what they wrote.")
@REPO
@click.option(
    "--status",
    type=click.Choice(["pending", "accepted", "rejected", "all"]),
    default="pending",
    show_default=True,
    help="Which requests.",
)
@TOKEN
@AS_JSON
def list_requests(repo_id: str, status: str, token: str | None, as_json: bool) -> None:
    """List who asked for the dose REPO, with what they wrote.

    \b
    Examples:
      hfvaccine access list you/my-dose
      hfvaccine access list you/my-dose --status all --json
    """
    from hfvaccine.hub.access.requests import STATUSES, Access, as_row

    requests = Access(repo_id, token=token).requests(*(STATUSES if status == "all" else (status,)))
    if as_json:
        click.echo(json.dumps([as_row(request) for request in requests]))
        return
    if requests:
        report(_table(requests), ())
    kind = "" if status == "all" else f"{status} "
    say(f"{counted(len(requests), f'{kind}request')} for {repo_id}")
    if requests and status == "pending":
        say(f"Decide with `hfvaccine access accept {repo_id} USER` or `hfvaccine access reject {repo_id} USER`.")


@access.command(short_help="Let in people who asked, by name or by rules.")
@REPO
@USERS
@RULES
@DRY_RUN
@JOURNAL
@TOKEN
@AS_JSON
def accept(repo_id: str, users: tuple[str, ...], rules: Path | None, dry_run: bool, **how: Any) -> None:
    """Let in those USERs who asked for the dose REPO, or those that --rules accept.

    Nobody is let in who did not ask: the form is where people bind themselves
    to the dose's terms. Requests that the rules reject stay pending; `hfvaccine
    access reject --rules` rejects them.

    \b
    Examples:
      hfvaccine access accept you/my-dose ada bob
      hfvaccine access accept you/my-dose --rules policy.yaml --dry-run
    """
    by_rules = _by_rules(users, rules, "accept", dry_run)
    _decide(repo_id, by_rules or (lambda owner: owner.accept(users, dry_run=dry_run)), dry_run, **how)


@access.command(short_help="Turn down people who asked, by name or by rules.")
@REPO
@USERS
@RULES
@REASON
@DRY_RUN
@JOURNAL
@TOKEN
@AS_JSON
def reject(repo_id: str, users: tuple[str, ...], rules: Path | None, reason: str, dry_run: bool, **how: Any) -> None:
    """Turn down those USERs who asked for the dose REPO, or those that --rules reject.

    Who has access already is not touched: that is what `hfvaccine access
    revoke` is for.

    \b
    Examples:
      hfvaccine access reject you/my-dose eve \\
          --reason "Say what you will do with them."
      hfvaccine access reject you/my-dose --rules policy.yaml --dry-run
    """
    by_rules = _by_rules(users, rules, "reject", dry_run)
    if by_rules and reason:
        raise UsageError("Both --rules and --reason were given.", "Give the reason in the rule.")
    _decide(repo_id, by_rules or (lambda owner: owner.reject(users, reason, dry_run=dry_run)), dry_run, **how)


@access.command(short_help="Take access away from people who have it.")
@REPO
@click.argument("users", nargs=-1, required=True, metavar="USER...")
@REASON
@DRY_RUN
@JOURNAL
@TOKEN
@AS_JSON
def revoke(repo_id: str, users: tuple[str, ...], reason: str, dry_run: bool, **how: Any) -> None:
    """Take access to the dose REPO away from those USERs who have it.

    Their requests become rejected ones, not pending again: rules that let them
    in would do so again. What they fetched before stays with them. `hfvaccine
    access accept` lets them in again.

    \b
    Examples:
      hfvaccine access revoke you/my-dose bob
      hfvaccine access revoke you/my-dose bob \\
          --reason "The claims were passed on."
    """
    _decide(repo_id, lambda owner: owner.revoke(users, reason, dry_run=dry_run), dry_run, **how)


@access.command(short_help="Write all requests and decisions to a file.")
@REPO
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@JOURNAL
@TOKEN
def export(repo_id: str, file: Path, journal: Path | None, token: str | None) -> None:
    """Write all requests for the dose REPO, with the decisions on them, to FILE.

    FILE ends in .csv (one row a request, with the last decision) or .jsonl
    (with all of them). In .csv a text that a spreadsheet would run as a
    formula begins with an apostrophe.

    \b
    Examples:
      hfvaccine access export you/my-dose requests.csv
      hfvaccine access export you/my-dose requests.jsonl
    """
    from hfvaccine.hub.access.requests import Access

    access = Access(repo_id, journal=journal, token=token)
    count = access.export(file)
    click.echo(file)
    if head := access.head():
        say(f"The journal ends at {head}: keep that elsewhere, to tell it from one made anew.")
    say(f"{counted(count, 'request')}. The file names people: keep it to yourself.")


def _by_rules(users: Sequence[str], rules: Path | None, decision: str, dry_run: bool) -> Act | None:
    """Deciding by rules, or None where people are named."""
    if bool(users) == bool(rules):
        raise UsageError(
            "Give user names or --rules, and not both." if users else "Nobody is named, and no rules are given.",
            "Name those you decide on, or give --rules FILE.",
        )
    if rules is None:
        return None
    from hfvaccine.hub.access.rules import read_rules

    read = read_rules(rules)
    return lambda owner: owner.apply(read, decision, dry_run=dry_run)


def _decide(repo_id: str, act: Act, dry_run: bool, *, journal: Path | None, token: str | None, as_json: bool) -> None:
    """Print each outcome as soon as it stands: what comes after it may be refused."""
    from hfvaccine.hub.access.requests import Access

    told: list[Outcome] = []

    def tell(outcome: Outcome) -> None:
        told.append(outcome)
        if not as_json:
            click.echo(_sentence(outcome, dry_run))

    owner = Access(repo_id, journal=journal, token=token, progress=tell)
    try:
        act(owner)
    finally:
        if as_json and told:
            click.echo(json.dumps([asdict(outcome) for outcome in told]))
    if as_json and not told:
        click.echo("[]")
    done = sum(outcome.done for outcome in told)
    if dry_run:
        say("Nothing was decided: this was a dry run.")
    elif done:
        say(f"{counted(done, 'decision')} written to {owner.journal}")
    else:
        say("Nothing was decided.")


def _sentence(outcome: Outcome, dry_run: bool) -> str:
    rule = f" (rule {outcome.rule})" if outcome.rule else ""
    if outcome.done:
        said = f"{outcome.now}{rule}"
    elif outcome.now != outcome.was:
        said = f"would be {outcome.now}{rule}"
        if not dry_run:
            said = f"left pending, rule {outcome.rule} would have it {outcome.now}"
    elif outcome.now == "pending":
        said = "left pending, no rule fits"
    else:
        said = f"{outcome.now} already"
    return f"{outcome.user}: {said}"


def _table(requests: Sequence[AccessRequest]) -> Any:
    from rich.table import Table
    from rich.text import Text

    from hfvaccine.text import clean

    def answer(value: object) -> str:
        return {True: "yes", False: "no"}[value] if isinstance(value, bool) else clean(value)

    table = Table("User", "Full name", "E-mail", "Asked on", "Status", "Answers", show_lines=True)
    for request in requests:
        answers = [f"{clean(name)}: {answer(value)}" for name, value in (request.fields or {}).items()]
        told = (request.username or request.request_id, request.fullname or "", request.email or "")
        rest = (f"{request.timestamp:%Y-%m-%d %H:%M}", request.status, "\n".join(answers))
        # Strangers wrote these texts: neither markup nor control characters of theirs reach the terminal.
        table.add_row(*(Text(clean(value)) for value in told), *map(Text, rest))
    return table
