"""Claims of domains, and of tactics, that nothing given is of: the starter dose with each left out once.

    python benchmarks/left_out.py --output-dir FOLDER [--seed N] [--base BASE]

Three at a time are left out, so that four runs leave out each domain and two each tactic of persuasion. Every run
gives a few other claims of the starter dose, by hash, by the quickstart's treatment, and asks about some of those that
are left out. The scores of a field's runs stand together in one line of the table in docs/evidence.md. A run that is
finished in the folder is kept, one that was interrupted goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from starter_trial import part_of_the_starter

AT_ONCE = 3
"""Domains or tactics that one run leaves out."""
GIVEN, ASKED = 10, 30
"""Claims that each run gives, and those left out that it asks about at most, spread over the domains."""


@click.command(help=__doc__.split("\n")[0])
@click.option("--output-dir", type=click.Path(path_type=Path), required=True, help="Where the runs go.")
@click.option("--seed", default=0, show_default=True)
@click.option("--base", help="Base model.  [default: the quickstart's]")
def main(output_dir: Path, seed: int, base: str | None) -> None:
    from hfvaccine.cli.base_model import base_from_wheel
    from hfvaccine.cli.output import Terminal, quiet_libraries
    from hfvaccine.cli.quickstart import TREATMENT
    from hfvaccine.runs.immunize import finished
    from hfvaccine.training.options import Options

    quiet_libraries()
    where = base or str(base_from_wheel())
    lines = ["| left out | asked about | | base | vaccine | gain |", "|---" * 6 + "|"]
    for field in ("domain", "tactic"):
        places = []
        for left_out in parts(field):
            name = f"{field}-{'-'.join(left_out)}"
            options = Options(
                base=where,
                dose=str(part_of_the_starter(GIVEN, output_dir / "doses" / name, (field, frozenset(left_out)))),
                seed=seed,
                output_dir=str(output_dir / f"{name}-seed-{seed}"),
                adversarial=0,
                most_pairs=ASKED,
                **TREATMENT,
            )
            places.append(finished(options, Terminal(f"{name}: ")))
        lines += table(field, places)
    click.echo("\n".join(lines))


def parts(field: str) -> Iterator[tuple[str, ...]]:
    """The values of a field in the starter dose, some at a time; of tactics those that persuade."""
    from hfvaccine import starter
    from hfvaccine.claims.claim import read_jsonl

    values = sorted({getattr(claim, field) for claim in read_jsonl(starter.CLAIMS)} - {"none"})
    for first in range(0, len(values), AT_ONCE):
        yield tuple(values[first : first + AT_ONCE])


def table(field: str, places: Sequence[Path]) -> Iterator[str]:
    """Lines of the claims that were given and of those that were left out, over all runs of a field."""
    from hfvaccine.files import SCORES
    from hfvaccine.statistics import paired, proportion, resample
    from hfvaccine.text import with_interval
    from hfvaccine.validation.judging.metrics import auroc
    from hfvaccine.validation.judging.score_file import read_scores
    from hfvaccine.validation.scores import ANSWER, BASE, CROSS, PLAIN, RECALLED, SPECIFIC, VACCINE, VERDICT
    from hfvaccine.validation.showing.names import reading_label

    read = [read_scores(place / SCORES) for place in places]
    for name, about in ((SPECIFIC, "given"), (CROSS, "left out")):
        for reading in (RECALLED, VERDICT, ANSWER):
            key = (name, reading, PLAIN)
            scores = {arm: [arms[arm][0].pairs[key] for _, _, arms in read] for arm in (BASE, VACCINE)}
            # A claim may be given in several runs: its cluster is drawn once for all of them.
            clusters = [one for pairs, _, _ in read for probe in pairs if probe.key == key for one in probe.clusters]
            samples = resample({arm: by_run([*map(auroc, runs)], runs) for arm, runs in scores.items()}, clusters)
            values = {arm: proportion(sample) for arm, sample in samples.items()}
            gain = paired(*((samples[arm], values[arm]) for arm in (VACCINE, BASE)))
            cells = [with_interval(values[arm].value, values[arm].interval) for arm in (BASE, VACCINE)]
            cells.append(with_interval(gain.value, gain.interval, sign=True))
            asked = f"{about}: {len(set(clusters))} claims"
            yield f"| {field} | {asked} | {reading_label(reading)}, AUROC | {' | '.join(cells)} |"


def by_run(metrics: Sequence[Any], runs: Sequence[Any]) -> Any:
    """The mean of a metric over runs, of each on its own items: scores of different models are not to be ranked."""
    ends = np.cumsum([len(one.claim) for one in runs])

    def mean(weights: Any) -> Any:
        return np.mean(
            [metric(its) for metric, its in zip(metrics, np.split(weights, ends[:-1], axis=1), strict=True)], axis=0
        )

    return mean


if __name__ == "__main__":
    main()
