"""`hfvaccine validate`: measure a base model, or adapters against their base."""

from __future__ import annotations

from typing import Any

import click

from hfvaccine.cli.flags import FULL, flags, given
from hfvaccine.cli.output import Terminal, results, say
from hfvaccine.training.validation_options import Validation


@click.command()
@flags(Validation)
@FULL
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
def validate(full: bool, as_json: bool, **values: Any) -> None:
    """Validate a base model or an adapter in wordings that are never trained on.

    Rejection of false claims is always shown with acceptance of their true
    twins, beside what saying FALSE to everything would score. Which claims
    an adapter was given is read from its immunization.json. What was scored
    before on this machine is found again, so an interrupted validation goes
    on; what a server says is not kept.

    A model that is served behind an OpenAI-compatible endpoint is asked for
    verdicts, at once and after its own recall, and for free text. All else
    takes likelihoods of texts, which such a server is not asked for.

    \b
    Examples:
      hfvaccine validate --base openai-community/gpt2-xl
      hfvaccine validate --base openai-community/gpt2-xl \\
          --adapter you/gpt2-xl-immunized --json
      hfvaccine validate --base you/model --adapter runs/vaccine \\
          --against placebo=runs/vaccine/placebo \\
          --benchmark truthfulqa=mc_task.json \\
          --benchmark arc_easy=arc_easy.jsonl --output-dir report
      hfvaccine validate --endpoint http://localhost:8000/v1 --model adapter \\
          --adapter you/gpt2-xl-immunized
    """
    options = Validation(**given(values))
    options.check()
    from hfvaccine.cli.output import quiet_libraries
    from hfvaccine.runs.validate import validate as measure

    quiet_libraries()
    content = measure(options, Terminal())
    if content is None:  # the main process has the rest to do
        return
    results(content, as_json, full)
    if options.output_dir is not None:
        say(f"Report: {options.output_dir / 'report.html'}")
