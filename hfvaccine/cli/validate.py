"""`hfvaccine validate`: measure a base model, or adapters against their base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hfvaccine.cli.output import bar, results, say
from hfvaccine.cli.questions import given_questions, question_options


@click.command()
@click.option("--base", required=True, help="Base model: a Hub id, a local folder, or a .gguf file.")
@click.option("--base-id", help="Hub id of a local base.")
@click.option("--base-revision", help="Branch, tag or commit of a base on the Hub.  [default: the newest]")
@click.option("--adapter", help="Adapter to validate: a run folder or a Hub id.")
@click.option(
    "--against",
    multiple=True,
    help="What to hold it against besides the base: placebo=ADAPTER or controls=ADAPTER, a folder or a Hub id.",
)
@click.option("--dose", default="starter", show_default=True, help="Dose: 'starter', a folder, or a Hub dataset id.")
@click.option("--dose-revision", help="Of a dose on the Hub.  [default: the newest]")
@click.option("--mix", default="starter", show_default=True, help="Mix whose held-back rows measure retention.")
@click.option("--mix-revision", help="Of a mix on the Hub.  [default: the newest]")
@click.option("--dtype", default="auto", show_default=True, help="auto, bfloat16 or float32.")
@question_options
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write results.json, scores.parquet, figures and report.html to this folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
def validate(
    base: str,
    base_id: str | None,
    base_revision: str | None,
    adapter: str | None,
    against: tuple[str, ...],
    dose: str,
    dose_revision: str | None,
    mix: str,
    mix_revision: str | None,
    dtype: str,
    output_dir: Path | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Validate a base model or an adapter in wordings that are never trained on.

    Rejection of false claims is always shown with acceptance of their true
    twins, beside what saying FALSE to everything would score. Which claims
    an adapter was given is read from its immunization.json. What was scored
    before is found again, so an interrupted validation goes on.

    \b
    Examples:
      hfvaccine validate --base openai-community/gpt2-xl
      hfvaccine validate --base openai-community/gpt2-xl --adapter you/gpt2-xl-immunized --json
      hfvaccine validate --base you/model --adapter runs/vaccine --against placebo=runs/vaccine/placebo \\
          --benchmark truthfulqa=mc_task.json --benchmark arc_easy=arc_easy.jsonl --output-dir report
    """
    adapters = {"vaccine": adapter} if adapter else {}
    for given in against:
        arm, sign, name = given.partition("=")
        if arm not in ("placebo", "controls") or not sign or not name or not adapter:
            raise click.UsageError(
                f"--against {given!r} names no arm. Give --adapter, and placebo=ADAPTER or controls=ADAPTER."
            )
        adapters[arm] = name
    from hfvaccine.cli.output import quiet_libraries
    from hfvaccine.runs.validate import validate as measure
    from hfvaccine.validation.questions import Questions

    quiet_libraries()
    questions = Questions(**given_questions(flags))
    pins = {"base_revision": base_revision, "dose_revision": dose_revision, "mix_revision": mix_revision}
    content = measure(base, adapters, dose, mix, dtype, questions, output_dir, say, bar, base_id, **pins)
    results(content, as_json)
    if output_dir is not None:
        say(f"Report: {output_dir / 'report.html'}")
