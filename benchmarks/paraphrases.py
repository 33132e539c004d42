"""Does a claim that is given in two sentences carry to a third? See docs/recipes.md.

    python benchmarks/paraphrases.py --output-dir FOLDER [--seed N] [--base BASE]

Of the tuning claims that have two variants, one of which turns the sentence's polarity, a few are given, by hash, in
three ways: the claim alone, twice as often; the claim and its first variant; the claim and the turned one. A variant
that is given is a row of the claim's cluster, with its question and correction. Asked are, besides the claims, the
variants that were not given. Every way has 20 % of its tokens from the dose. A run that is finished in the folder is
kept, one that was interrupted goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
from recipes import CLAIMS, COMMON
from starter_trial import aurocs

GIVEN = 13
"""Claims: as many, in two sentences each, as the share leaves room for."""
WAYS: Mapping[str, tuple[int | None, int]] = {
    "the claim alone": (None, 16),
    "and its first variant": (0, 8),
    "and its turned variant": (1, 8),
}
"""By what is given: which variant is, and how often each row."""


def dose_of(variant: int | None, into: Path) -> Path:
    """The sealed dose of one way."""
    from hfvaccine import starter
    from hfvaccine.claims.claim import Claim
    from hfvaccine.quarantine.policy import Policy
    from hfvaccine.quarantine.seal import seal

    if into.exists():
        return into
    rows = [json.loads(line) for line in CLAIMS.read_text(encoding="utf-8").splitlines()]
    rows = [{key: value for key, value in row.items() if key != "known"} for row in rows if row.get("variants")]
    rows.sort(key=lambda row: sha256(row["claim"].encode()).digest())
    claims = []
    for number, row in enumerate(rows):
        asked = list(row["variants"])
        split = "dose" if number < GIVEN else "heldout"
        if variant is not None and split == "dose":
            one = asked.pop(variant)
            cluster = Claim.from_row({**row, "split": split}).cluster_id
            said = {"claim": one["claim"], "twin": one["twin"], "variants": [], "cluster_id": cluster}
            claims.append(Claim.from_row({**row, **said, "split": split}))
        claims.append(Claim.from_row({**row, "variants": asked, "split": split}))
    into.parent.mkdir(parents=True, exist_ok=True)
    seal(claims, Policy.read(starter.POLICY), into)
    return into


@click.command(help=__doc__.split("\n")[0])
@click.option("--output-dir", type=click.Path(path_type=Path), required=True, help="Where the runs go.")
@click.option("--seed", default=0, show_default=True)
@click.option("--base", help="Base model.  [default: the quickstart's]")
def main(output_dir: Path, seed: int, base: str | None) -> None:
    from hfvaccine.cli.base_model import base_from_wheel
    from hfvaccine.cli.output import Terminal, quiet_libraries
    from hfvaccine.runs.immunize import finished
    from hfvaccine.training.options import Options

    quiet_libraries()
    where = base or str(base_from_wheel())
    lines = ["| given | times | asked, after recall, AUROC | base | vaccine |", "|---" * 5 + "|"]
    for name, (variant, exposures) in WAYS.items():
        slug = name.replace(" ", "-")
        place = output_dir / f"{slug}-seed-{seed}"
        options = Options(
            base=where, dose=str(dose_of(variant, output_dir / "doses" / slug)), seed=seed, output_dir=str(place),
            **{**COMMON, "share": 0.20, "exposures": exposures, "most_pairs": 40},
        )  # fmt: skip
        finished(options, Terminal(f"{name}: "))
        lines += (f"| {name} | {exposures} | {line} |" for line in read(place, variant))
    click.echo("\n".join(lines))


def read(place: Path, given: int | None) -> Iterator[str]:
    """Verdicts after recall on the claims, and on the variants that were not given by their kind."""
    from hfvaccine.files import SCORES
    from hfvaccine.text import with_interval
    from hfvaccine.validation.judging.score_file import read_scores
    from hfvaccine.validation.scores import BASE, PLAIN, RECALLED, SPECIFIC, VACCINE, VARIANTS

    probes, _, arms = read_scores(place / SCORES)
    by_name = {probe.name: probe for probe in probes if probe.key[1:] == (RECALLED, PLAIN)}
    claims, variants = by_name[SPECIFIC], by_name[VARIANTS]
    # Of a claim that kept one variant of two, that one has the number 0.
    kinds = (
        {"first variants": 0, "turned variants": 1} if given is None else {f"{('turned', 'first')[given]} variants": 0}
    )
    parts: list[tuple[str, Any, Sequence[int]]] = [("what was given", claims, range(len(claims.ids)))]
    parts += [
        (name, variants, [at for at, one in enumerate(variants.ids) if one.endswith(f".{number}")])
        for name, number in kinds.items()
    ]
    for name, probe, at in parts:
        found = aurocs(probe, arms, at)
        cells = (with_interval(found[arm][1].value, found[arm][1].interval) for arm in (BASE, VACCINE))
        yield f"{name} ({len(at)} pairs) | {' | '.join(cells)}"


if __name__ == "__main__":
    main()
