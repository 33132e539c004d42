"""`hfvaccine quarantine`: from anyone's fact-checks to a sealed dose."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from hfvaccine.cli.output import say
from hfvaccine.cli.review import review

SHOWN = 10
"""Rows named one by one."""
NOTHING_HELD_OUT = "No claim is held out: what a model makes of falsehoods that it was not given cannot be measured."

Command = TypeVar("Command", bound=Callable[..., Any])

FOLDER = click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def by(command: Command) -> Command:
    """Add the option that says who acts."""
    return click.option(
        "--by",
        envvar="HFVACCINE_USER",
        required=True,
        metavar="NAME",
        help="Who does this, as the journal will name them: your Hub user name.  [env: HFVACCINE_USER]",
    )(command)


@click.group()
def quarantine() -> None:
    """Bring claims in, mend them, have them reviewed, and seal them into a dose.

    A quarantine is a folder. Every act on it is an entry in its journal, each
    bound to the one before; `seal` turns what was reviewed into a dose folder
    that `hfvaccine push-dose` publishes.

    \b
    Examples:
      export HFVACCINE_USER=ada
      hfvaccine quarantine intake claims.csv --into my-claims
      hfvaccine quarantine lint my-claims
      hfvaccine quarantine screen my-claims --against TruthfulQA=TruthfulQA.csv
      hfvaccine quarantine split my-claims
      hfvaccine quarantine review my-claims --by bob
      hfvaccine quarantine seal my-claims --into my-dose
    """


quarantine.add_command(review)


@quarantine.command()
@click.argument("sources", nargs=-1, required=True, metavar="SRC...")
@click.option("--into", "folder", required=True, type=click.Path(file_okay=False, path_type=Path), help="Quarantine.")
@by
@click.option("--format", "format_name", help="Shape of the sources.  [default: seen from their columns]")
@click.option("--map", "maps", multiple=True, metavar="FIELD=COLUMN", help="Where a field comes from. Repeatable.")
@click.option("--set", "fixed", multiple=True, metavar="FIELD=VALUE", help="A field's value in all rows. Repeatable.")
@click.option("--false-label", "false_labels", multiple=True, help="Value of `verdict` that means false. Repeatable.")
@click.option("--update", is_flag=True, help="Replace rows whose claim is there already, such as mended ones.")
@click.option("--limit", type=click.IntRange(min=1), help="Read at most so many rows of each source.")
@AS_JSON
def intake(
    sources: tuple[str, ...],
    folder: Path,
    by: str,
    format_name: str | None,
    maps: tuple[str, ...],
    fixed: tuple[str, ...],
    false_labels: tuple[str, ...],
    update: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """Take claims from SRC... into a quarantine.

    SRC is a .csv, .tsv, .jsonl, .json, .jsonld, .html or .parquet file (each
    also with .gz) or a Hub dataset as ID, ID:CONFIG or ID:CONFIG:SPLIT. Known
    shapes are seen from their columns, and what was seen is printed before it
    is applied. Every row that is not taken stands in rejects.jsonl, with its
    place and the reason.

    \b
    Examples:
      hfvaccine quarantine intake creak.jsonl --into my-claims --by ada \\
          --set license=mit
      hfvaccine quarantine intake feed.json reviews.html --into my-claims --by ada
      hfvaccine quarantine intake own.csv --into my-claims --by ada \\
          --map claim=statement --map correction=note --map verdict=label \\
          --false-label 0
    """
    from hfvaccine.quarantine.intake.intake import intake as take
    from hfvaccine.quarantine.store import Quarantine

    taken = take(
        Quarantine(folder),
        sources,
        by,
        format=format_name,
        mapping=_pairs(maps, "--map"),
        fixed=_pairs(fixed, "--set"),
        false_labels=false_labels,
        update=update,
        limit=limit,
        say=say,
    )
    click.echo(json.dumps(taken.to_dict()) if as_json else taken)


def _pairs(options: tuple[str, ...], name: str) -> dict[str, str]:
    from hfvaccine.errors import UsageError

    pairs = dict(option.partition("=")[::2] for option in options if "=" in option)
    if len(pairs) < len(options):
        raise UsageError(f"{name} takes NAME=VALUE, each name once; given were {', '.join(options)}.", "Write it so.")
    return pairs


@quarantine.command()
@click.argument("what", metavar="DIR|SRC")
@click.option("--fix", is_flag=True, help="Apply the mends that change no word; --by says who does.")
@click.option("--by", envvar="HFVACCINE_USER", metavar="NAME", help="Who mends.  [env: HFVACCINE_USER]")
@click.option("--format", "format_name", help="Shape of SRC.  [default: seen from its columns]")
@click.option("--rule", "only", multiple=True, metavar="RULE", help="Report this rule only. Repeatable.")
@click.option("--show", type=click.IntRange(min=0), default=5, show_default=True, help="Findings to print of a rule.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that look at rows.")
@click.option("--json", "as_json", is_flag=True, help="Print every finding as one JSON object a line.")
def lint(
    what: str,
    fix: bool,
    by: str | None,
    format_name: str | None,
    only: tuple[str, ...],
    show: int,
    workers: int,
    as_json: bool,
) -> None:
    """Say what is wrong with the claims in DIR, or in SRC before it is taken in, and how to mend it.

    Ends with exit code 1 where an error is left. Rules named under `lint_off`
    in DIR/policy.yaml are not applied, and a sealed dose says so.

    \b
    Examples:
      hfvaccine quarantine lint corpus.csv
      hfvaccine quarantine lint my-claims
      hfvaccine quarantine lint my-claims --fix --by ada
      hfvaccine quarantine lint my-claims --rule missing-correction --show 0
      hfvaccine quarantine lint my-claims --json > findings.jsonl
    """
    from hfvaccine.errors import UsageError
    from hfvaccine.quarantine import acts
    from hfvaccine.quarantine.checks import lint as rules
    from hfvaccine.quarantine.checks.rules import RULES, not_judged
    from hfvaccine.quarantine.store import Quarantine

    rules.refuse_unknown(only)
    tags: Counter[str] = Counter()
    unread: list[tuple[str, str]] = []

    def counted(rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        for row in rows:
            tags[row["language"]] += 1
            yield row

    if not Path(what).is_dir():
        from hfvaccine.quarantine.intake.intake import drafts

        if fix:
            raise UsageError(f"{what} is no quarantine, and only there are rows mended.", "Take it in, then mend it.")
        rows = drafts(what, format=format_name, say=say, refused=lambda *told: unread.append(told))
        findings = rules.lint(counted(rows), workers=workers)
    else:
        opened = Quarantine.open(what)
        if fix and not by:
            raise UsageError("--fix changes rows, and nobody is named who does.", "Give --by NAME.")
        if fix:
            mended = acts.fix(opened, str(by))
            say(f"Mended: {_counts(mended)}." if mended else "There is nothing to mend without changing a word.")
        held = opened.table()
        tags.update(held["language"].to_pylist())
        findings = acts.findings(opened, held, workers=workers)
    found: Counter[str] = Counter()
    for finding in findings:
        if only and finding.rule not in only:
            continue
        found[finding.rule] += 1
        if as_json:
            click.echo(json.dumps(finding._asdict(), ensure_ascii=False))
        elif found[finding.rule] <= show:
            click.echo(f"{finding.origin}: {finding.field}: {finding.severity} {finding.rule}: {finding.message}")
            click.echo(f"  {finding.mend}")
    if found and not as_json:
        from hfvaccine.cli.output import report, table

        told = [(rule, RULES[rule], count) for rule, count in found.most_common()]
        rows = [(rule, known.severity, f"{count:,}", known.summary) for rule, known, count in told]
        report(table("Found by lint", ("rule", "severity", "findings", "what it means"), rows), ())
    unknown: dict[tuple[str, ...], list[str]] = {}
    for tag in sorted(tags):
        if names := not_judged(tag):
            unknown.setdefault(names, []).append(f"{tag} ({tags[tag]:,})")
    for names, shown in unknown.items():
        say(f"Claims in {', '.join(shown)} are not judged, or in part only, by {', '.join(names)}.")
    for where, reason in unread if as_json else ():
        told = {"origin": where, "rule": "unreadable", "severity": "error", "message": reason}
        click.echo(json.dumps(told, ensure_ascii=False))
    for where, reason in unread[:show]:
        say(f"{where} cannot be taken in: {reason}")
    if len(unread) > show:
        say(f"{len(unread) - show:,} more rows cannot be taken in.")
    warnings = sum(count for rule, count in found.items() if RULES[rule].severity == "warning")
    errors = found.total() - warnings + len(unread)
    say(f"{errors:,} error(s), {warnings:,} warning(s).")
    if errors:
        sys.exit(1)


@quarantine.command()
@FOLDER
@by
@click.option("--against", multiple=True, metavar="[NAME=]SRC", help="Evaluation set: file or Hub id. Repeatable.")
@click.option("--embeddings", metavar="MODEL", help="Sentence encoder that also finds paraphrases: folder or Hub id.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.7,
    show_default=True,
    help="Share of words from which on claims are near-duplicates.",
)
@click.option("--again", is_flag=True, help="Forget the clusters of rows that are not split yet.")
@AS_JSON
def screen(
    folder: Path,
    by: str,
    against: tuple[str, ...],
    embeddings: str | None,
    threshold: float,
    again: bool,
    as_json: bool,
) -> None:
    """Find near-duplicates, overlap with evaluation sets, and wording that gives falsehood away.

    TruthfulQA is always looked for, on the Hub or as --against TruthfulQA=FILE;
    where it cannot be had, the dose says that it was not screened.

    \b
    Examples:
      hfvaccine quarantine screen my-claims --by ada
      hfvaccine quarantine screen my-claims --by ada \\
          --against TruthfulQA=TruthfulQA.csv --against you/eval-set
    """
    from hfvaccine.quarantine import acts
    from hfvaccine.quarantine.review import rows_of
    from hfvaccine.quarantine.store import Quarantine

    opened = Quarantine.open(folder)
    found = acts.screen(opened, by, against=against, embeddings=embeddings, threshold=threshold, again=again, say=say)
    if as_json:
        giveaways = found.audit.giveaways if found.audit else ()
        click.echo(json.dumps({**found.record(), "giveaways": giveaways, "mend": found.mend}))
        return
    record = found.record()
    links = ", ".join(f"{count:,} by {name.replace('_', ' ')}" for name, count in record["links"].items())
    click.echo(f"{found.claims:,} claims in {record['clusters']:,} clusters (links: {links or 'none'}).")
    largest = {cluster: size for cluster, size in found.largest() if size > 1}
    for row in rows_of(opened.table(), largest):
        click.echo(f"  {largest[row['claim_id']]:,} claims like {row['claim'][:90]!r}")
    for name, one in record["evaluation_sets"].items():
        told = f"{one['claims']:,} claims overlap with its {one['texts']:,} texts" if "texts" in one else one["status"]
        click.echo(f"{name}: {told}.")
    _print_audit(found, {row["claim_id"]: row for row in rows_of(opened.table(), found.mend[:SHOWN])})


def _print_audit(found: Any, rows: dict[str, dict[str, Any]]) -> None:
    from hfvaccine.claims.cues import CUE_LIMIT

    if found.audit is None:
        return
    click.echo(_audited(found.audit.bag_of_words, found.audit.length, found.audit.pairs, CUE_LIMIT))
    if not found.audit.passed:
        click.echo(f"  Words that speak for falsehood: {', '.join(map(repr, found.audit.giveaways))}")
        for claim_id in found.mend[:SHOWN]:
            row = rows[claim_id]
            click.echo(f"  Mend {claim_id} ({row['origin']}): {row['claim'][:80]!r} beside {row['twin'][:80]!r}")
        say(f"{len(found.mend):,} pairs are told by their wording; word claim and twin alike. --json names all.")


def _audited(bag_of_words: float, length: float, pairs: int, limit: float) -> str:
    """What a cue audit found, in a sentence."""
    scores = f"bag of words {bag_of_words:.2f}, length {length:.2f} (0.5 is chance)"
    verdict = "within" if max(bag_of_words, length) <= limit else "ABOVE"
    return f"Cue audit of {pairs:,} pairs: {scores}, {verdict} the limit of {limit:.2f}."


@quarantine.command()
@FOLDER
@by
@click.option(
    "--heldout",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of clusters never given.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Which clusters those are.")
@click.option(
    "--hold-out",
    multiple=True,
    metavar="FIELD=VALUE",
    help="domain=NAME or tactic=NAME that is never given. Repeatable.",
)
@click.option("--embeddings", metavar="MODEL", help="The sentence encoder of the screening, where it had one.")
@click.option("--again", is_flag=True, help="Forget the earlier split; refused once a dose was sealed.")
@AS_JSON
def split(
    folder: Path,
    by: str,
    heldout: float,
    seed: int,
    hold_out: tuple[str, ...],
    embeddings: str | None,
    again: bool,
    as_json: bool,
) -> None:
    """Decide which claims may be given and which are only ever probed, by cluster.

    A claim stays on its side when others are added later. A newcomer that is
    near claims of both sides is taken out, since it would leak on either.

    \b
    Examples:
      hfvaccine quarantine split my-claims --by ada
      hfvaccine quarantine split my-claims --by ada --hold-out domain=health
    """
    from hfvaccine.quarantine import acts
    from hfvaccine.quarantine.store import Quarantine
    from hfvaccine.statistics import MIN_PAIRS

    held = [tuple(option.partition("=")[::2]) for option in hold_out]
    done = acts.split(
        Quarantine.open(folder), by, heldout=heldout, seed=seed, hold_out=held, embeddings=embeddings, again=again
    )
    if as_json:
        click.echo(json.dumps(done))
        return
    for side, name in (("dose", "May be given"), ("heldout", "Held out")):
        click.echo(f"{name}: {done[side]['claims']:,} claims in {done[side]['clusters']:,} clusters.")
    if not done["heldout"]["claims"]:
        say(NOTHING_HELD_OUT)
    elif done["heldout"]["claims"] < MIN_PAIRS:
        say(
            f"Held-out claims show what becomes of claims that are never given, and that takes {MIN_PAIRS}: with "
            "fewer no gate can pass. Before a first seal, split with --again and a larger --heldout."
        )
    if not done["dose"]["claims"]:
        say("No claim may be given, so that no dose can be sealed: take in more, or split again with --again.")
    for one in done["held_out_by"]:
        if one["given_before"]:
            click.echo(
                f"{one['given_before']:,} claims of {one['field']} {one['value']} were on the other side before."
            )
    if done["taken_out"]:
        click.echo(
            f"Taken out: {done['taken_out']:,} newcomers that are near claims of both sides; see rejects.jsonl."
        )


@quarantine.command()
@FOLDER
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
def export(folder: Path, file: Path | None) -> None:
    """Write all rows of DIR to FILE (.jsonl, .csv or .parquet), or as JSON lines to stdout.

    The file can be edited and taken in again: `intake FILE --into DIR --update`.

    \b
    Examples:
      hfvaccine quarantine export my-claims claims.csv
      hfvaccine quarantine export my-claims | jq -r .claim
    """
    from hfvaccine.errors import UsageError
    from hfvaccine.quarantine.intake.export import export as write
    from hfvaccine.quarantine.store import Quarantine

    if file is not None and file.exists():
        raise UsageError(f"{file} exists already.", "It may hold edits: choose another name.")
    count = write(Quarantine.open(folder), file or click.get_text_stream("stdout"))
    say(f"Wrote {count:,} claims. They are falsehoods: keep the file as the quarantine is kept.")


@quarantine.command()
@FOLDER
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page to read in a browser.")
@click.option(
    "--claims", "shown", type=click.IntRange(min=0), default=500, show_default=True, help="Claims on that page."
)
@AS_JSON
def show(folder: Path, html: Path | None, shown: int, as_json: bool) -> None:
    """What is in DIR: how much, how varied, how far reviewed.

    \b
    Examples:
      hfvaccine quarantine show my-claims
      hfvaccine quarantine show my-claims --html my-claims.html
    """
    from hfvaccine.quarantine.acts import findings
    from hfvaccine.quarantine.page import render
    from hfvaccine.quarantine.policy import Policy
    from hfvaccine.quarantine.store import POLICY, Quarantine
    from hfvaccine.quarantine.survey import survey, tables

    opened = Quarantine.open(folder)
    policy = Policy.read(folder / POLICY)
    rows = opened.table()
    counted = survey(rows, opened.history(), policy, opened.rejects())
    if html:
        page = render(counted, rows, name=policy.name, findings=findings(opened, rows.slice(0, shown)), shown=shown)
        html.write_text(page, encoding="utf-8")
        say(f"Wrote {html}. It quotes falsehoods: keep it as the quarantine is kept.")
    if as_json:
        click.echo(json.dumps(counted.to_dict()))
    elif not html:
        from hfvaccine.cli.output import report, table

        for title, columns, cells in tables(counted):
            report(table(title, columns, cells), ())


@quarantine.command()
@FOLDER
@click.option("--into", "dose", required=True, type=click.Path(path_type=Path), help="Dose folder to make.")
@by
@click.option("--ready-only", is_flag=True, help="Leave out, and count, what the policy refuses.")
@AS_JSON
def seal(folder: Path, dose: Path, by: str, ready_only: bool, as_json: bool) -> None:
    """Make a dose of the reviewed claims in DIR, as its policy.yaml allows.

    The same claims and decisions give the same bytes.

    \b
    Examples:
      hfvaccine quarantine seal my-claims --into my-dose --by ada
      hfvaccine quarantine seal my-claims --into my-dose --by ada --ready-only
    """
    from hfvaccine.claims.dose import UNNAMED
    from hfvaccine.quarantine.seal import OBJECTIONS, seal_quarantine
    from hfvaccine.quarantine.store import Quarantine

    sealed = seal_quarantine(Quarantine.open(folder), dose, by, ready_only)
    if as_json:
        click.echo(json.dumps({"folder": str(dose), "digest": sealed.digest(), "counts": sealed.manifest["counts"]}))
        return
    click.echo(dose)
    given, heldout = len(sealed.claims), len(sealed.heldout)
    say(f"Sealed {given:,} claims to give and {heldout:,} held out, digest {sealed.digest()[:12]}.")
    if not heldout:
        say(NOTHING_HELD_OUT)
    if sealed.name == UNNAMED:
        say(f"Its card calls it {UNNAMED!r}: give it a name in policy.yaml, and seal it again.")
    if audit := sealed.manifest.get("cue_audit"):
        say(_audited(**audit))
    say(f"The journal ends at {sealed.manifest['journal_head']}: keep that elsewhere, to tell it from one made anew.")
    if sealed.manifest["left_out"]:
        left_out = (
            f"{count:,} {OBJECTIONS[kind][0] if kind in OBJECTIONS else 'were rejected'}"
            for kind, count in sealed.manifest["left_out"].items()
        )
        say(f"Left out: {', '.join(left_out)}.")
    say(f"Next: hfvaccine push-dose {dose} NAMESPACE/NAME")


@quarantine.command()
@click.argument("what", metavar="DIR|REPO_ID")
@click.option("--revision", help="Branch, tag or commit of REPO_ID.")
@click.option("--token", help="Hub token; by default that of `hf auth login` or HF_TOKEN.")
def verify(what: str, revision: str | None, token: str | None) -> None:
    """Prove every file of a quarantine, a dose folder or a dose on the Hub, and the journal's chain.

    Ends with exit code 1, naming the first entry or file, where something was
    changed. Whoever can write all of it can also make a whole chain anew: that
    shows only where the journal's last digest, which is printed, was kept
    elsewhere.

    \b
    Examples:
      hfvaccine quarantine verify my-claims
      hfvaccine quarantine verify my-dose
      hfvaccine quarantine verify you/dose@v1
    """
    from hfvaccine.claims.dose import Dose
    from hfvaccine.quarantine.store import JOURNAL, Quarantine

    if (Path(what) / JOURNAL).is_file():
        opened = Quarantine(what)
        opened.verify()
        acts = opened.history()
        ends = f", journal ends at {acts[-1].hash()}" if acts else ""
        click.echo(f"{what}: the quarantine is whole: {opened.table().num_rows:,} claims, {len(acts)} acts{ends}")
        return
    if Path(what).exists():
        dose = Dose.load(what)
    else:
        from hfvaccine.hub.pull import pull_dose

        dose = pull_dose(what, revision=revision, allow_recalled=True, token=token)
    given, heldout = len(dose.claims), len(dose.heldout)
    click.echo(
        f"{what}: the dose is whole: {given:,} claims to give, {heldout:,} held out, digest {dose.digest()}, "
        f"journal ends at {dose.manifest['journal_head']}"
    )


def _counts(counts: Any) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
