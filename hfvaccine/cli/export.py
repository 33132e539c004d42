"""`hfvaccine export-tasks` and `export-results`: probes and results in the files of other tools."""

from __future__ import annotations

import json
from pathlib import Path

import click

from hfvaccine.cli.output import say


@click.command("export-tasks")
@click.option("--dose", default="starter", show_default=True, help="'starter', a folder, or a Hub ID[@REVISION].")
@click.option("--adapter", help="Adapter, likewise, whose given claims are asked about.  [default: all to give]")
@click.option("--output-dir", type=click.Path(path_type=Path), required=True, help="Empty folder for the tasks.")
@click.option("--json", "as_json", is_flag=True, help="Print the tasks' names as one JSON object.")
def export_tasks(dose: str, adapter: str | None, output_dir: Path, as_json: bool) -> None:
    """Write the probes of a dose as tasks that lm-eval runs without hfvaccine.

    The folder holds the claims in full: it is as sensitive as the dose.

    \b
    Examples:
      hfvaccine export-tasks --dose you/dose --output-dir tasks
      lm_eval --model hf --model_args pretrained=you/model --apply_chat_template \\
          --include_path tasks --tasks hfvaccine
    """
    from hfvaccine.hub.pull import open_dose
    from hfvaccine.runs.ingredients import given_to
    from hfvaccine.sources.place import Source
    from hfvaccine.validation.asking.export import export_tasks as write

    opened = open_dose(Source.of("dose", dose))
    given, held_out = opened.claims, opened.heldout
    if adapter:
        whole, chosen, ids, _ = given_to(adapter, opened)
        given, held_out = tuple(claim for claim in chosen if claim.claim_id in ids), whole.heldout
    tasks = write(given, held_out, output_dir, opened.manifest["canary"])
    if as_json:
        click.echo(json.dumps({"folder": str(output_dir), "tasks": tasks}))
        return
    for task in tasks:
        click.echo(task)
    say(f"{output_dir} holds false claims: it is as sensitive as the dose.")


@click.command("export-results")
@click.argument("source")
@click.option("--revision", help="Branch, tag or commit of an adapter on the Hub.  [default: the newest]")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["every-eval-ever", "lm-eval"]),
    required=True,
    help="Records of Every Eval Ever, or results files as lm-eval writes them.",
)
@click.option("--model-id", help="Hub id of the adapter, where SOURCE is a folder.  [default: local/FOLDER]")
@click.option("--output-dir", type=click.Path(path_type=Path), required=True, help="Folder to write into.")
@click.option("--json", "as_json", is_flag=True, help="Print the files' names as one JSON object.")
def export_results(
    source: str, revision: str | None, kind: str, model_id: str | None, output_dir: Path, as_json: bool
) -> None:
    """Write what was measured of an adapter in the format of other tools.

    SOURCE is a run folder, that of one adapter of an inoculation, a Hub id, or
    ID@REVISION. Each model that was measured gets a file of its own: the
    adapter, the base, the controls. Every number and interval is the one of
    results.json or traits.json; none is computed. The same papers give the
    same files, which replace those of before; what else lies in the folder
    stays.

    \b
    Examples:
      hfvaccine export-results you/gpt2-xl-immunized --format every-eval-ever \\
          --output-dir records
      hfvaccine export-results runs/vaccine --format lm-eval \\
          --model-id you/gpt2-xl-immunized --output-dir results
    """
    from hfvaccine.cli.output import quiet_downloads
    from hfvaccine.errors import UsageError
    from hfvaccine.files import RESULTS, TRAITS, write_json
    from hfvaccine.lineage.fetch import papers
    from hfvaccine.papers.binding import open_run, read_json
    from hfvaccine.papers.every_eval_ever import records
    from hfvaccine.papers.lm_eval import files
    from hfvaccine.papers.measured import local_id, measured
    from hfvaccine.text import is_hub_id

    quiet_downloads()
    found = papers(source, revision, patterns=(RESULTS, TRAITS))
    if model_id is not None and not (found.local and is_hub_id(model_id)):
        why = "is not a Hub id" if found.local else f"is given, and {source} has a Hub id"
        raise UsageError(f"--model-id {model_id!r} {why}.", "Give it as namespace/name, of a folder alone.")
    record = open_run(found.folder, (found.kind.results,), source)
    results = read_json(found.folder, found.kind.results, source)
    name = model_id or local_id(str(Path(source).resolve())) if found.local else found.source.partition("@")[0]
    what = measured(record, found.kind, results, name, found.commit)
    written = (records if kind == "every-eval-ever" else files)(what)
    for path, content in written.items():
        write_json(content, output_dir / path)
    names = [str(output_dir / path) for path in written]
    click.echo(json.dumps({"files": names}) if as_json else "\n".join(names))
    if kind == "every-eval-ever":
        say(
            "To check them: uvx --from every-eval-ever every_eval_ever validate "
            f"'{output_dir.resolve()}/data/*/*/*/*.json'"
        )
