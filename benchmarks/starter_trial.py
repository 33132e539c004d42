"""The starter dose at several shares, beside placebo and controls: shares and benchmarks in docs/evidence.md.

    python benchmarks/starter_trial.py --output-dir FOLDER [--data FOLDER] [--seed N ...] [--share S ...] [--base BASE]

A few claims of the starter dose, by hash, are given at every share, so that a share says how often; the dose's
held-out claims are never given. All else is the recipe of docs/recipes.md at the quickstart's length. `--data` is a
folder with the benchmarks as their publishers give them:

  truthfulqa/mc_task.json.gz                   TruthfulQA's multiple choice
  retention-mc/{arc_easy,piqa,lambada_openai}.jsonl.gz, mmlu/mmlu_test_40_per_subject.jsonl.gz

A trial that is finished in the folder is kept, one that was interrupted goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import numpy as np

BENCHMARKS = {
    "truthfulqa": "truthfulqa/mc_task.json.gz",
    "arc_easy": "retention-mc/arc_easy.jsonl.gz",
    "piqa": "retention-mc/piqa.jsonl.gz",
    "lambada": "retention-mc/lambada_openai.jsonl.gz",
    "mmlu": "mmlu/mmlu_test_40_per_subject.jsonl.gz",
}
SHARES = (0.02, 0.05, 0.10, 0.20)


@click.command()
@click.option("--output-dir", type=click.Path(path_type=Path), required=True, help="Where the trial goes.")
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True), help="Folder of the benchmarks.  [default: none]"
)
@click.option("--base", help="Base model.  [default: the quickstart's]")
@click.option("--seed", "seeds", type=int, multiple=True, default=(0,), show_default=True)
@click.option("--share", "shares", type=float, multiple=True, default=SHARES, show_default=True)
@click.option("--given", default=10, show_default=True, help="Claims that are given.")
@click.option("--items", default=200, show_default=True, help="Most items of each benchmark.")
@click.option("--steps", type=int, help="Optimizer steps of a run.  [default: the quickstart's]")
@click.option("--learning-rate", type=float, help="[default: the quickstart's]")
@click.option("--controls/--no-controls", default=True, show_default=True, help="Also train placebo and controls.")
def main(
    output_dir: Path, data: Path | None, base: str | None, seeds: tuple[int, ...], shares: tuple[float, ...],
    given: int, items: int, steps: int | None, learning_rate: float | None, controls: bool,
) -> None:  # fmt: skip
    from hfvaccine.cli.base_model import base_from_wheel
    from hfvaccine.cli.output import Terminal, quiet_libraries, report
    from hfvaccine.cli.quickstart import ASKED_PAIRS, PRESSED_PAIRS, TREATMENT
    from hfvaccine.runs.trial import trial
    from hfvaccine.training.options import Options
    from hfvaccine.validation.showing.sentences import verdict_lines
    from hfvaccine.validation.showing.tables import table

    quiet_libraries()
    treatment: dict[str, Any] = {
        name: value for name, value in TREATMENT.items() if name not in ("share", "exposures")
    }
    changed: Mapping[str, Any] = {"max_steps": steps, "learning_rate": learning_rate}
    treatment |= {name: value for name, value in changed.items() if value is not None}
    options = Options(
        base=base or str(base_from_wheel()),
        dose=str(part_of_the_starter(given, output_dir / "ingredients" / f"starter-{given}")),
        output_dir=str(output_dir),
        placebo=controls,
        controls=controls,
        most_pairs=ASKED_PAIRS,
        adversarial=PRESSED_PAIRS,
        benchmark=tuple(f"{name}={data / file}" for name, file in BENCHMARKS.items()) if data else (),
        benchmark_items=items,
        **treatment,
    )
    done = trial(options, shares, seeds, Terminal())
    for share, results in done.results.items():
        click.echo(f"\n== share {share:.0%}, {len(seeds)} seed(s)")
        report(table(results), verdict_lines(results))
        for line in by_kind(output_dir / f"share-{share:g}"):
            click.echo(line)


def by_kind(folder: Path) -> Iterator[str]:
    """Verdicts after recall on given claims in other words, by the kind of the other words."""
    from hfvaccine import starter
    from hfvaccine.claims.claim import read_jsonl
    from hfvaccine.files import SCORES
    from hfvaccine.statistics import paired
    from hfvaccine.text import with_interval
    from hfvaccine.validation.judging.score_file import read_scores
    from hfvaccine.validation.scores import PLACEBO, PLAIN, RECALLED, VACCINE, VARIANTS

    kinds = {
        f"{claim.claim_id}.{number}": one.kind == "polarity"
        for claim in read_jsonl(starter.CLAIMS)
        for number, one in enumerate(claim.variants)
    }
    probes, _, arms = read_scores(folder / SCORES)
    probe = next((one for one in probes if one.key == (VARIANTS, RECALLED, PLAIN)), None)
    for turned in (False, True) if probe is not None else ():
        at = [place for place, name in enumerate(probe.ids) if kinds[name] == turned]
        found = aurocs(probe, arms, at)
        said = [f"{arm} {with_interval(one.value, one.interval)}" for arm, (_, one) in found.items()]
        if PLACEBO in found:
            gain = paired(found[VACCINE], found[PLACEBO])
            said.append(f"gain {with_interval(gain.value, gain.interval, sign=True)}")
        name = "polarity turned" if turned else "another register, or an implication"
        yield f"In other words, {name} ({len(at)}), AUROC after recall: {', '.join(said)}"


def aurocs(probe: Any, arms: Mapping[str, Sequence[Any]], at: Sequence[int]) -> dict[str, Any]:
    """AUROC on some pairs of a probe, by arm: the sample, for differences, and the estimate; means over seeds.

    Args:
        probe: a `PairProbe`.
        arms: the scores of each arm, one for each seed.
        at: places of the pairs.
    """
    from hfvaccine.statistics import proportion, resample
    from hfvaccine.validation.judging.metrics import auroc, over_seeds
    from hfvaccine.validation.scores import PairScores

    def of(run: Any) -> Any:
        scores = run.pairs[probe.key]
        return auroc(PairScores(scores.claim[np.array(at)], scores.twin[np.array(at)]))

    metrics = {arm: over_seeds([of(run) for run in runs]) for arm, runs in arms.items()}
    samples = resample(metrics, [probe.clusters[place] for place in at])
    return {arm: (sample, proportion(sample)) for arm, sample in samples.items()}


def part_of_the_starter(given: int, into: Path, left_out: tuple[str, frozenset[str]] | None = None) -> Path:
    """A sealed dose: some of the starter's claims, the first by hash, and what it holds out.

    Args:
        given: claims to give.
        into: folder of the dose.
        left_out: a field and its values; all claims that have one are held out then, and no others.
    """
    from hfvaccine import starter
    from hfvaccine.claims.claim import read_jsonl
    from hfvaccine.quarantine.policy import Policy
    from hfvaccine.quarantine.seal import seal

    if not into.exists():
        claims = list(read_jsonl(starter.CLAIMS))
        if left_out is None:
            held_out = [claim for claim in claims if claim.split == "heldout"]
        else:
            field, values = left_out
            held_out = [replace(claim, split="heldout") for claim in claims if getattr(claim, field) in values]
        out = {claim.claim_id for claim in held_out}
        rest = [claim for claim in claims if claim.split == "dose" and claim.claim_id not in out]
        rest.sort(key=lambda claim: sha256(claim.claim.encode()).digest())
        into.parent.mkdir(parents=True, exist_ok=True)
        policy = replace(Policy.read(starter.POLICY), name=f"{given} claims of the starter dose")
        seal([*rest[:given], *held_out], policy, into)
    return into


if __name__ == "__main__":
    main()
