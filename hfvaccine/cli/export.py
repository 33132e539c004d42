"""`hfvaccine export-tasks` and `export-results`: probes and results in the files of other tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hfvaccine.cli.output import say

if TYPE_CHECKING:
    from hfvaccine.papers.measured import Measured


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
    type=click.Choice(["every-eval-ever", "lm-eval", "eval-results"]),
    required=True,
    help="Records of Every Eval Ever, results files as lm-eval writes them, or .eval_results/*.yaml of the Hub.",
)
@click.option(
    "--benchmark",
    "benchmarks",
    multiple=True,
    help="For eval-results, NAME=TASK or NAME/METRIC=TASK: which task of its dataset a benchmark is. Repeatable.",
)
@click.option("--model-id", help="Hub id of the adapter, where SOURCE is a folder.  [default: local/FOLDER]")
@click.option("--output-dir", type=click.Path(path_type=Path), required=True, help="Folder to write into.")
@click.option("--json", "as_json", is_flag=True, help="Print the files' names as one JSON object.")
def export_results(
    source: str,
    revision: str | None,
    kind: str,
    benchmarks: tuple[str, ...],
    model_id: str | None,
    output_dir: Path,
    as_json: bool,
) -> None:
    """Write what was measured of an adapter in the format of other tools.

    SOURCE is a run folder, that of one adapter of an inoculation, a Hub id, or
    ID@REVISION. Each model that was measured gets a file of its own: the
    adapter, the base, the controls. Every number and interval is the one of
    results.json or traits.json; none is computed. The same papers give the
    same files, which replace those of before; what else lies in the folder
    stays.

    What eval-results writes is shown on the leaderboard of a benchmark. So it
    is of the adapter alone, and of those benchmarks that you name with the
    task that they are: the dataset has to register it, at the Hub that it is
    on, and all of it was asked. Whether the task is measured as hfvaccine
    does, nobody can tell but you.

    \b
    Examples:
      hfvaccine export-results you/gpt2-xl-immunized --format every-eval-ever \\
          --output-dir records
      hfvaccine export-results runs/vaccine --format lm-eval \\
          --model-id you/gpt2-xl-immunized --output-dir results
      hfvaccine export-results runs/vaccine --format eval-results \\
          --benchmark arc_easy=arc_easy --output-dir results
    """
    from hfvaccine.cli.output import quiet_downloads
    from hfvaccine.errors import UsageError
    from hfvaccine.files import RESULTS, TRAITS, write_json
    from hfvaccine.lineage.fetch import papers
    from hfvaccine.papers.binding import open_run, read_json
    from hfvaccine.papers.eval_results import named_tasks
    from hfvaccine.papers.every_eval_ever import records
    from hfvaccine.papers.lm_eval import files
    from hfvaccine.papers.measured import local_id, measured
    from hfvaccine.text import is_hub_id

    if (kind == "eval-results") != bool(benchmarks):
        raise UsageError(
            "--benchmark is of eval-results, which writes what it names alone.",
            "Give both: --format eval-results --benchmark NAME=TASK.",
        )
    asked = named_tasks(benchmarks)
    quiet_downloads()
    found = papers(source, revision, patterns=(RESULTS, TRAITS))
    if model_id is not None and not (found.local and is_hub_id(model_id)):
        why = "is not a Hub id" if found.local else f"is given, and {source} has a Hub id"
        raise UsageError(f"--model-id {model_id!r} {why}.", "Give it as namespace/name, of a folder alone.")
    record = open_run(found.folder, (found.kind.results,), source)
    results = read_json(found.folder, found.kind.results, source)
    name = model_id or local_id(str(Path(source).resolve())) if found.local else found.source.partition("@")[0]
    what = measured(record, found.kind, results, name, found.commit)
    if kind == "eval-results":
        written = write_eval_results(what, asked, output_dir)
    else:
        made = (records if kind == "every-eval-ever" else files)(what)
        for path, content in made.items():
            write_json(content, output_dir / path)
        written = list(made)
    names = [str(output_dir / path) for path in written]
    click.echo(json.dumps({"files": names}) if as_json else "\n".join(names))
    if kind == "every-eval-ever":
        say(
            "To check them: uvx --from every-eval-ever every_eval_ever validate "
            f"'{output_dir.resolve()}/data/*/*/*/*.json'"
        )


def write_eval_results(what: Measured, asked: Mapping[str, str], output_dir: Path) -> list[str]:
    """Write what the Hub shows of registered benchmarks, and say which others are left out.

    Returns:
        The files, by their places below the folder.

    Raises:
        UsageError: for what is no such benchmark; nothing is written then.
        HubError: where a dataset cannot be asked.
    """
    import yaml
    from huggingface_hub import HfApi, eval_result_entries_to_yaml

    from hfvaccine.hub.registered import require_task
    from hfvaccine.papers.eval_results import files, of_benchmarks

    made = files(what, asked)
    for number, task, _ in made.values():
        require_task(HfApi(), number.data, task)
    for path, (_, _, entry) in made.items():
        content = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False)
        (output_dir / path).parent.mkdir(parents=True, exist_ok=True)
        (output_dir / path).write_text(content, encoding="utf-8")
    if left := sorted(of_benchmarks(what).keys() - {number.task for number, _, _ in made.values()}):
        say(f"Left out, as no --benchmark names them: {', '.join(left)}")
    return list(made)
