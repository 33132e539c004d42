"""What was tried to make a vaccine take: configurations on the tuning pairs, each with its cost. See docs/recipes.md.

    python benchmarks/recipes.py --output-dir FOLDER [--only NAME ...] [--seed N ...] [--base BASE] [--table]

Half of `tuning_claims.jsonl`, by hash, may be given, the other half never is: nothing of the starter dose is touched.
A run that is finished in the folder is kept, one that was interrupted goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import click

CLAIMS = Path(__file__).with_name("tuning_claims.jsonl")
COMMON: Mapping[str, Any] = {
    "share": 0.10,
    "batch_size": 6,
    "learning_rate": 1.5e-3,
    "max_steps": 200,
    "adversarial": 0,
}
CONFIGURATIONS: Mapping[str, Mapping[str, Any]] = {
    "pairwise": {},
    "sft": {"objective": "sft"},
    "pairwise, no comparisons": {"comparisons": "none"},
    "sft, no comparisons": {"objective": "sft", "comparisons": "none"},
    "pairwise, forms at once": {"forms": "at_once"},
    "pairwise, forms that recall": {"forms": "recalling"},
    "pairwise, 16 exposures": {"exposures": 16},
    "pairwise, lr 8e-4": {"learning_rate": 8e-4},
    "pairwise, lr 2.5e-3": {"learning_rate": 2.5e-3},
    "pairwise, 400 steps": {"max_steps": 400},
}
"""What each changes of `COMMON`."""

COLUMNS = (
    ("given", "specific", "recalled_verdict", "auroc"),
    ("", "specific", "recalled_verdict", "pair_accuracy"),
    ("", "specific", "verdict", "auroc"),
    ("", "specific", "answer", "auroc"),
    ("", "specific", "recalled_verdict", "calibrated_true_acceptance"),
    ("", "specific", "recalled_verdict", "calibrated_rejection"),
    ("variants", "variants", "recalled_verdict", "auroc"),
    ("never given", "cross", "recalled_verdict", "auroc"),
    ("", "cross", "recalled_verdict", "true_acceptance"),
    ("", "cross", "recalled_verdict", "rejection"),
    ("known", "known", "recalled_verdict", "auroc"),
)


def tuning_dose(into: Path) -> Path:
    """The tuning pairs as a sealed dose, half of them held out."""
    from hfvaccine import starter
    from hfvaccine.claims.claim import Claim
    from hfvaccine.quarantine.policy import Policy
    from hfvaccine.quarantine.seal import seal

    if not into.exists():
        rows = [json.loads(line) for line in CLAIMS.read_text(encoding="utf-8").split("\n") if line]
        rows.sort(key=lambda row: sha256(row["claim"].encode()).digest())
        claims = []
        for number, row in enumerate(rows):
            row.pop("known", None)
            claims.append(Claim.from_row({**row, "split": "heldout" if number % 2 else "dose"}))
        seal(claims, Policy.read(starter.POLICY), into)
    return into


def forms_file(name: str, folder: Path) -> str:
    """The built-in forms of one kind, as a file."""
    import yaml

    from hfvaccine.dosing import wordings

    forms = wordings.AT_ONCE if name == "at_once" else wordings.recalling(3)
    rows = [
        {key: list(value) if key == "recall" else value for key, value in vars(form).items() if value is not None}
        for form in forms
    ]
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(rows, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return str(path)


def done(folder: Path) -> Iterator[tuple[str, int, dict[str, Any], dict[str, Any]]]:
    """Name, seed, record and results of each run that is done."""
    for name in CONFIGURATIONS:
        for place in sorted(folder.glob(f"{slug(name)}-seed-*")):
            if (place / "immunization.json").is_file():
                record, results = (
                    json.loads((place / file).read_text(encoding="utf-8"))
                    for file in ("immunization.json", "results.json")
                )
                yield name, int(place.name.rpartition("-")[2]), record, results


def slug(name: str) -> str:
    return name.replace(",", "").replace(" ", "-")


def value(results: Mapping[str, Any], arm: str, probe: str, reading: str, metric: str) -> float | None:
    for row in results["measures"]:
        if (row["arm"], row["probe"], row["reading"], row["condition"], row["metric"]) == (
            arm, probe, reading, "plain", metric,
        ):  # fmt: skip
            return float(row["value"])
    return None


def retention(results: Mapping[str, Any], arm: str) -> float:
    return next(float(r["value"]) for r in results["other"] if r["arm"] == arm and r["kind"] == "retention")


def table(folder: Path) -> str:
    """What is done, as Markdown; the base's row comes first."""
    from hfvaccine.validation.showing.names import metric_label, reading_label

    heads = [
        f"{about} {reading_label(reading)} {metric_label(metric)}".strip() for about, _, reading, metric in COLUMNS
    ]
    lines = [
        "| configuration | seed | claims x times | tokens | seconds | " + " | ".join(heads) + " | mix, nats |",
        "|---" * (len(heads) + 6) + "|",
    ]
    base_shown = False
    for name, seed, record, results in done(folder):
        plan, times = record["plan"], record["dose"]["times_given"]
        for arm in ("vaccine",) if base_shown else ("base", "vaccine"):
            base_shown = True
            numbers = [value(results, arm, *column[1:]) for column in COLUMNS]
            shown = ["-" if number is None else f"{number:.2f}" for number in numbers]
            cost = (
                ["-"] * 4
                if arm == "base"
                else [
                    str(seed),
                    f"{record['dose']['claims_given']} x {times['least']}-{times['most']}",
                    f"{plan['tokens']:,}",
                    f"{record['training']['seconds']:.0f}",
                ]
            )
            lines.append(
                f"| {' | '.join([name if arm == 'vaccine' else arm, *cost, *shown])} | {retention(results, arm):.3f} |"
            )
    return "\n".join(lines)


@click.command()
@click.option("--output-dir", type=click.Path(path_type=Path), required=True, help="Where the runs go.")
@click.option("--only", multiple=True, help="Names of configurations.  [default: all]")
@click.option("--seed", "seeds", type=int, multiple=True, default=(0,), show_default=True)
@click.option("--base", help="Base model.  [default: the quickstart's]")
@click.option("--set", "changes", multiple=True, help="OPTION=VALUE for all of them, such as max_steps=400.")
@click.option("--table", "only_table", is_flag=True, help="Print what is done, and run nothing.")
def main(
    output_dir: Path, only: tuple[str, ...], seeds: tuple[int, ...], base: str | None, changes: tuple[str, ...],
    only_table: bool,
) -> None:  # fmt: skip
    output_dir.mkdir(parents=True, exist_ok=True)
    if not only_table:
        from hfvaccine.cli.base_model import base_from_wheel
        from hfvaccine.cli.output import Terminal, quiet_libraries
        from hfvaccine.runs.immunize import finished
        from hfvaccine.training.options import Options

        quiet_libraries()
        dose = tuning_dose(output_dir / "tuning-dose")
        more = {name: json.loads(given) for name, _, given in (change.partition("=") for change in changes)}
        for name in only or CONFIGURATIONS:
            for seed in seeds:
                place = output_dir / f"{slug(name)}-seed-{seed}"
                values = {**COMMON, **CONFIGURATIONS[name], **more}
                if "forms" in values:
                    values["forms"] = forms_file(values["forms"], output_dir)
                options = Options(
                    base=base or str(base_from_wheel()), dose=str(dose), seed=seed, output_dir=str(place), **values
                )
                finished(options, Terminal(f"{name}, seed {seed}: "))
    click.echo(table(output_dir))


if __name__ == "__main__":
    main()
