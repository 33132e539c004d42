"""What is missing where a claim comes back in another sentence: the fact, or comparing with it? See docs/evidence.md.

    python benchmarks/comparing.py --output-dir FOLDER [--base BASE] [--set OPTION=VALUE ...]

Trains the recipe on the tuning pairs with 726 pairs of comparison rows, the starter's and 500 of `comparisons.jsonl`,
and asks for verdicts after the model's own recall, and after the reviewed correction in its place: of given claims, of
their variants, of variants of claims never given, and of the 100 comparisons that are left. A run that was interrupted
goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from recipes import COMMON, tuning_dose

PAIRS = Path(__file__).with_name("comparisons.jsonl")
LEFT = 100
"""The first so many pairs are not trained on."""


def more_comparisons(into: Path) -> Path:
    """The starter's comparisons, and those of `PAIRS` that are not left for the test."""
    from hfvaccine import starter

    more = PAIRS.read_text(encoding="utf-8").splitlines(keepends=True)[LEFT:]
    into.write_text(starter.COMPARISONS.read_text(encoding="utf-8") + "".join(more), encoding="utf-8")
    return into


class Recalling:
    """A scorer in whose mouth a recall can be put."""

    def __init__(self, scorer: Any, facts: Mapping[str, str] | None) -> None:
        self.scorer, self.tokenizer, self.facts = scorer, scorer.tokenizer, facts

    def answers(self, prompts: Sequence[Any], *given: Any, **more: Any) -> list[str]:
        if self.facts is None:
            said: list[str] = self.scorer.answers(prompts, *given, **more)
            return said
        return [self.facts[prompt[-1]["content"]] for prompt in prompts]

    def score(self, *given: Any) -> Any:
        return self.scorer.score(*given)


@click.command()
@click.option("--output-dir", type=click.Path(path_type=Path), required=True, help="Where the run goes.")
@click.option("--base", help="Base model.  [default: the quickstart's]")
@click.option("--set", "changes", multiple=True, help="OPTION=VALUE, such as max_steps=400.")
def main(output_dir: Path, base: str | None, changes: tuple[str, ...]) -> None:
    from hfvaccine.cli.base_model import base_from_wheel
    from hfvaccine.cli.output import Terminal, quiet_libraries
    from hfvaccine.dosing.comparisons import read_comparisons
    from hfvaccine.runs.ingredients import Ingredients, scorer_of
    from hfvaccine.training.adapters import load_trained
    from hfvaccine.training.arm import plan_run, times_given, train
    from hfvaccine.training.base import load_base
    from hfvaccine.training.options import Options
    from hfvaccine.validation.asking.probes import RECALL, Battery, Pair, ProbeSet
    from hfvaccine.validation.judging.metrics import METRICS
    from hfvaccine.validation.scores import PLAIN, RECALLED, VACCINE

    quiet_libraries()
    output_dir.mkdir(parents=True, exist_ok=True)
    values = {name: json.loads(given) for name, _, given in (change.partition("=") for change in changes)}
    options = Options(
        base=base or str(base_from_wheel()),
        dose=str(tuning_dose(output_dir / "tuning-dose")),
        output_dir=str(output_dir / "run"),
        **{**COMMON, "comparisons": str(more_comparisons(output_dir / "comparisons.jsonl")), **values},
    )
    loaded = load_base(options.base, dtype=options.dtype)
    ingredients = Ingredients.of(options).fitting(options, loaded, loaded.model.config, Terminal())
    callback = plan_run(
        options, loaded, VACCINE, replace(ingredients.dose, claims=ingredients.chosen), ingredients.mix,
        output_dir / "run",
    )  # fmt: skip
    given = times_given(callback)
    arm = train(options, loaded, VACCINE, callback, output_dir / "run", True, Terminal())
    loaded = load_base(options.base, dtype=options.dtype)
    scorer = scorer_of(load_trained(loaded, {VACCINE: arm}), loaded, VACCINE)

    claims = [claim for claim in ingredients.dose.claims if claim.claim_id in given]
    left = [
        Pair(str(number), str(number), "", one.false, one.true, one.question, one.evidence)
        for number, one in enumerate(read_comparisons(PAIRS)[:LEFT])
    ]
    sets = {
        "given claims": replace(ProbeSet.of("given", claims, []), name="given"),
        "their variants": ProbeSet.variants(claims),
        "variants of claims never given": ProbeSet.variants(ingredients.dose.heldout),
        "comparisons never trained on": ProbeSet("left", tuple(left)),
    }
    for about, probes in sets.items():
        if probes is None:
            continue
        facts = {RECALL.replace("{question}", str(pair.question)): str(pair.correction) for pair in probes.pairs}
        for recall, put in (("its own recall", None), ("the reviewed fact", facts)):
            if probes.name == "left" and put is None:
                continue
            scores, _, _ = Battery((probes,), (), 0).ask(Recalling(scorer, put))
            found = scores.pairs[probes.name, RECALLED, PLAIN]
            each = np.ones((1, len(probes.pairs)))
            shown = {name: METRICS[name].of(found)(each).item() for name in ("auroc", "pair_accuracy")}
            numbers = ", ".join(f"{name} {value:.2f}" for name, value in shown.items())
            click.echo(f"{about}, after {recall}: {numbers} ({len(probes.pairs)} pairs)")


if __name__ == "__main__":
    main()
