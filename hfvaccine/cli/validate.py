"""`hfvaccine validate`: measure a base model, or an adapter against its base."""

from __future__ import annotations

from pathlib import Path

import click

from hfvaccine.cli.output import bar, results, say


@click.command()
@click.option("--base", required=True, help="Base model: a Hub id, a local folder, or a .gguf file.")
@click.option("--adapter", help="Adapter to validate: a run folder or a Hub id.")
@click.option("--placebo", help="Adapter of the control arm, such as the `placebo` folder of a run.")
@click.option("--dose", default="starter", show_default=True, help="Dose: 'starter', a folder, or a Hub dataset id.")
@click.option("--mix", default="starter", show_default=True, help="Mix whose held-back rows measure retention.")
@click.option("--dtype", default="auto", show_default=True, help="auto, bfloat16 or float32.")
@click.option("--output", type=click.Path(path_type=Path), help="Also write the results to this file.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
def validate(
    base: str,
    adapter: str | None,
    placebo: str | None,
    dose: str,
    mix: str,
    dtype: str,
    output: Path | None,
    as_json: bool,
) -> None:
    """Validate a base model or an adapter in wordings that are never trained on.

    Rejection of false claims is always shown with acceptance of their true
    twins, beside what saying FALSE to everything would score. Which claims
    an adapter was given is read from its immunization.json.

    \b
    Examples:
      hfvaccine validate --base openai-community/gpt2-xl
      hfvaccine validate --base openai-community/gpt2-xl --adapter you/gpt2-xl-immunized --json
    """
    from hfvaccine.cli.output import quiet_libraries
    from hfvaccine.files import write_json
    from hfvaccine.immunize import validate as measure

    quiet_libraries()
    content = measure(base, adapter, placebo, dose, mix, dtype, say, bar)
    if output is not None:
        write_json(content, output)
    results(content, as_json)
