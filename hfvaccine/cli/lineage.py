"""`hfvaccine verify`, `diff` and `bom`: what an adapter was made from, and whether its papers hold."""

from __future__ import annotations

import json
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hfvaccine.cli.output import quiet_downloads, say, show_tree
from hfvaccine.cli.signing import PROVIDER, SIGNER, expected

if TYPE_CHECKING:
    from hfvaccine.lineage.links import Link

STYLES = {"ok": "green", "missing": "yellow", "broken": "bold red"}


@click.command()
@click.argument("source")
@click.option("--revision", help="Branch, tag or commit of an adapter on the Hub.  [default: the newest]")
@click.option(
    "--dose",
    multiple=True,
    help="Its dose, where that was local: a sealed folder, or a Hub ID[@REVISION]. May be repeated, in any order.",
)
@click.option("--base", help="Its base, where that was local: a folder, a .gguf file, or a Hub ID[@REVISION].")
@click.option("--mix", help="Its mix, where that was local: a .jsonl or .parquet file, or a Hub ID[@REVISION].")
@click.option("--data", help="The data of an inoculation, where they were local: a file, or a Hub ID[@REVISION].")
@click.option("--trait-data", help="The rows of the adapter that was frozen beside it, likewise.")
@SIGNER
@PROVIDER
@click.option("--json", "as_json", is_flag=True, help="Print the chain as one JSON object.")
def verify(
    source: str,
    revision: str | None,
    dose: tuple[str, ...],
    base: str | None,
    mix: str | None,
    data: str | None,
    trait_data: str | None,
    signer: str | None,
    signer_provider: str | None,
    as_json: bool,
) -> None:
    """Check the chain of an adapter, from the claims to its results.

    SOURCE is a run folder, that of one adapter of an inoculation, a Hub id, or
    ID@REVISION. Every link stands on those below it: results on the adapter,
    that on the ledger, the plan, the dose, its reviewers and its claims; of an
    inoculated adapter, the plan stands on its data, and on the rows of the
    adapter that was frozen beside it. A link is ok, missing (it could not be
    looked at: no access to the dose, a base that is not here) or broken (it
    is not what was recorded). The exit code is 1 if any link is broken.

    That shows what the adapter is. Who published it is shown by --signer: its
    signature (model.sig) is theirs, and no file was changed, added or taken
    away since. Without --signer a signature is named, and proves nothing.

    \b
    Examples:
      hfvaccine verify you/gpt2-xl-immunized
      hfvaccine verify you/gpt2-xl-immunized@v1 --json
      hfvaccine verify runs/vaccine --base models/mine --dose doses/mine
      hfvaccine verify you/of-two-doses --dose doses/health --dose doses/history
      hfvaccine verify you/gpt2-xl-immunized --signer you.pub
      hfvaccine verify you/gpt2-xl-immunized --signer you@example.org \\
          --signer-provider https://accounts.google.com
      hfvaccine verify runs/inoculation/inoculated-seed-0
    """
    from hfvaccine.files import SIGNATURE
    from hfvaccine.lineage.fetch import chain_of, gather, papers
    from hfvaccine.lineage.links import BROKEN
    from hfvaccine.lineage.signer import EVERYTHING, with_signer

    who = expected(signer, signer_provider)
    quiet_downloads()
    found = papers(source, revision) if who is None else papers(source, revision, patterns=EVERYTHING)
    chain = with_signer(chain_of(found, gather(found, dose, base, mix, data, trait_data)), found, who)
    loud = (link.name.split()[-1] for link in chain.all() if link.name.startswith("RECALLED"))
    recalled = list(dict.fromkeys(loud))  # a booster's may be those of its parent, too
    if as_json:
        click.echo(json.dumps({**chain.as_dict(), "counts": dict(chain.count()), "recalled": recalled}))
    else:
        show(chain)
    if recalled:
        say(f"RECALLED: the fact-check of {len(recalled)} claim(s) that this adapter was given has changed.")
    if who is None and SIGNATURE not in found.names and not found.local:
        say("Not signed: nothing here shows who published it.")
    if chain.state == BROKEN:
        say("The chain is broken: do not rely on what this adapter's papers say.")
        sys.exit(1)


@click.command()
@click.argument("adapters", nargs=2, metavar="ADAPTER ADAPTER")
@click.option("--json", "as_json", is_flag=True, help="Print the differences as one JSON object.")
def diff(adapters: tuple[str, str], as_json: bool) -> None:
    """Say what differs between two adapters' records.

    Each ADAPTER is a run folder, a Hub id, or ID@REVISION. What is compared is
    what they were made from and how, and their gates; for their numbers, see
    `hfvaccine compare`.

    \b
    Examples:
      hfvaccine diff you/adapter@v1 you/adapter@v2
      hfvaccine diff runs/a runs/b --json
    """
    from hfvaccine.errors import LineageError
    from hfvaccine.lineage.difference import differences
    from hfvaccine.lineage.fetch import papers
    from hfvaccine.papers.binding import check_record

    quiet_downloads()
    records = []
    for adapter in adapters:
        found = papers(adapter, patterns=())
        records.append(found.record)
        try:
            check_record(found.record, found.kind)
        except LineageError as error:
            say(f"Note: of {one_line(adapter)}: {error.message}")
    differing = differences(*records)
    if as_json:
        click.echo(json.dumps({"adapters": list(adapters), "differences": [one.as_dict() for one in differing]}))
        return
    if not differing:
        made_of = "data" if "data" in records[0] else "dose, mix"
        click.echo(f"The records agree: base, {made_of}, plan, inoculation, training, code and gate are the same.")
        return
    for group, members in groupby(differing, key=lambda one: one.group):
        click.echo(group)
        for one in members:
            click.echo(f"  {one_line(one.name)}")
            for adapter, value in zip(adapters, (one.left, one.right), strict=True):
                click.echo(f"    {one_line(adapter)}: {_value(value)}")


@click.command()
@click.argument("source")
@click.option("--revision", help="Branch, tag or commit of an adapter on the Hub.  [default: the newest]")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write.  [default: stdout]")
def bom(source: str, revision: str | None, output: Path | None) -> None:
    """Write a bill of materials of an adapter: a CycloneDX ML-BOM.

    SOURCE is a run folder, that of one adapter of an inoculation, a Hub id, or
    ID@REVISION. Base, doses, mix or data, and the libraries stand in it by
    their digests and versions, the adapter with every file of its record, how
    it was trained, and its headline numbers; each with its licence, where that
    is known. It repeats what the papers say: whether that holds, says
    `hfvaccine verify`. It needs the extra [bom].

    \b
    Examples:
      hfvaccine bom you/gpt2-xl-immunized --output bom.cdx.json
      hfvaccine bom runs/vaccine
    """
    from hfvaccine.files import CARD, whole_file
    from hfvaccine.lineage.card import metadata_of
    from hfvaccine.lineage.fetch import papers
    from hfvaccine.papers.binding import check_record
    from hfvaccine.papers.bom import bom as made

    quiet_downloads()
    found = papers(source, revision, patterns=(CARD,))
    check_record(found.record, found.kind)
    card = metadata_of((found.folder / CARD).read_text(encoding="utf-8"))
    name = Path(found.source).resolve().name if found.local else f"{found.source.partition('@')[0]}@{found.commit}"
    text = json.dumps(made(found.record, found.kind, card, name), indent=2) + "\n"
    if output is None:
        click.echo(text, nl=False)
    else:
        with whole_file(output) as staged:
            staged.write_text(text, encoding="utf-8")
        say(f"Bill of materials: {output}")


def show(chain: Link) -> None:
    """Print a chain as a tree."""
    show_tree(tree_of(chain))


def tree_of(link: Link) -> Any:
    """A chain as a `rich` tree."""
    from rich.text import Text
    from rich.tree import Tree

    loud = link.name.startswith("RECALLED")
    style = "bold red" if loud else STYLES[link.state]
    label = Text.assemble((f"{link.state:7} ", style), (one_line(link.name), "bold red" if loud else "bold"))
    if link.what:
        label.append(f": {one_line(link.what)}")
    if link.why:
        label.append(f" - {one_line(link.why)}", style if loud or link.state != "ok" else "yellow")
    tree = Tree(label, guide_style="dim")
    for below in link.below:
        tree.children.append(tree_of(below))
    return tree


def one_line(text: str) -> str:
    """A text from a stranger's papers as one printable line."""
    from hfvaccine.text import clean

    return clean(text)


def _value(value: Any) -> str:
    if value is None:
        return "none"
    return one_line(value if isinstance(value, str) else json.dumps(value))
