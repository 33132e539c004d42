"""`hfvaccine list`: the doses and adapters of a namespace on the Hub."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from hfvaccine.cli.push import TOKEN

if TYPE_CHECKING:
    from hfvaccine.hub.listing import ListedAdapter, ListedDose


@click.command("list")
@click.argument("namespace", required=False)
@TOKEN
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: namespace, endpoint, doses, adapters.")
def list_(namespace: str | None, token: str | None, as_json: bool) -> None:
    """List the doses and adapters of NAMESPACE, a user or an organisation, the newest first.

    Without NAMESPACE they are your own. They are found by their tags and told
    by their cards; nothing but recalls is downloaded. AUROC is that of the
    verdict at once on claims that the model was never given: 0.5 is chance, 1
    is perfect. Inoculated adapters and their controls stand by themselves, with
    the condition under which the unwanted trait shows most.

    \b
    Examples:
      hfvaccine list
      hfvaccine list an-organisation --json
      HF_ENDPOINT=http://127.0.0.1:8009 hfvaccine list you
    """
    from hfvaccine.cli.output import report, table
    from hfvaccine.hub.listing import listing
    from hfvaccine.text import clean

    found = listing(namespace, token=token)
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    whose = clean(found.namespace)
    if found.doses:
        rows = [(_name(dose), clean(dose.name or "–"), clean(dose.size or "–"), _day(dose)) for dose in found.doses]
        report(table(f"Doses of {whose}", ("Repo", "Name", "Claims", "Changed"), rows), ())
    immunized = [one for one in found.adapters if one.kind == "immunized"]
    inoculated = [one for one in found.adapters if one.kind != "immunized"]
    if immunized:
        columns = ("Repo", "Gate", "Share", "AUROC at once, never given")
        rows = [_adapter(one) for one in immunized]
        # Beside the numbers these would be cut off on a terminal of 80 columns.
        report(table(f"Adapters of {whose}", columns, rows), map(_lineage, immunized))
    if inoculated:
        columns = ("Repo", "Kind", "Gate", "The trait at its worst")
        rows = [_inoculated(one) for one in inoculated]
        report(table(f"Inoculated adapters of {whose}, and controls", columns, rows), map(_lineage, inoculated))
    if not found.doses and not found.adapters:
        click.echo(f"{found.endpoint} shows no doses or adapters of {whose} to this account.", err=True)


def _name(repo: ListedDose | ListedAdapter) -> str:
    """The repo without its namespace, and below it who can see it and what it is, where that is not the usual."""
    from hfvaccine.text import clean

    marks = ["private"] if repo.private else []
    if repo.gated:
        marks.append(f"gated, {clean(repo.gated)}")
    if getattr(repo, "merged", False):
        marks.append("merged model")
    if repo.recalled != 0:
        marks.append("has recalls" if repo.recalled is None else f"{repo.recalled} RECALLED")
    name = clean(repo.id.partition("/")[2] or repo.id)
    return f"{name}\n({'; '.join(marks)})" if marks else name


def _adapter(one: ListedAdapter) -> tuple[str, ...]:
    from hfvaccine.text import clean, percent, with_interval

    gate = clean((one.gate or "–").replace("-", " "))
    auroc = with_interval(one.auroc, one.interval)
    return _name(one), gate if gate == "passed" else gate.upper(), percent(one.share_given), auroc


def _inoculated(one: ListedAdapter) -> tuple[str, ...]:
    from hfvaccine.text import clean, with_interval

    kind = f"CONTROL, {clean(one.arm or '–')}" if one.kind == "control" else clean(one.arm or "–")
    gate = "–" if one.kind == "control" else clean((one.gate or "–").replace("-", " "))
    gate = {"passed": "passed", "none": "no gate"}.get(gate, gate.upper())
    worst = "–"
    if one.worst is not None:
        worst = f"{with_interval(one.worst['value'], one.worst['interval'])}, {clean(one.worst['condition'])}"
    return _name(one), kind, gate, worst


def _lineage(one: ListedAdapter) -> str:
    from hfvaccine.text import clean

    given = "dose" if one.kind == "immunized" else "data"
    made_of = ((given, one.dose, one.dose_revision), ("base", one.base, one.base_revision))
    parts = [f"{what} {clean(name)}" + (f"@{clean(at)[:7]}" if at else "") for what, name, at in made_of if name]
    if one.dose and one.more_doses:
        parts[0] += f" and {one.more_doses:,} more"
    return f"{clean(one.id.partition('/')[2] or one.id)}: {' on '.join(parts) or 'made of something it does not name'}"


def _day(dose: ListedDose) -> str:
    return (dose.changed or "–")[:10]
