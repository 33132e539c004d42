"""Both ways to boost, and three shares of replay, side by side on SmolLM2. See docs/booster.md.

    python benchmarks/booster.py --output-dir FOLDER [--seeds 3 | --seed N] [--base BASE] [--steps 100] [--table]

Of the tuning pairs, by hash, a parent may be given 12 and a booster 6 others; the rest is never given, half of it held
out by each dose, and asked about in part. One claim of the parent's is retracted. Runs that are finished in the folder
are kept, and those that were stopped go on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from statistics import mean
from typing import Any

import click

CLAIMS = Path(__file__).with_name("tuning_claims.jsonl")
COMMON: Mapping[str, Any] = {"share": 0.20, "batch_size": 6, "learning_rate": 1.5e-3}
ASKED: Mapping[str, Any] = {"adversarial": 0, "most_pairs": 20}
OLD_CLAIMS, NEW_CLAIMS = 12, 6
WAYS: Mapping[str, Mapping[str, Any]] = {
    "from the base": {},
    "continue, no replay": {"continued": True, "replay": 0.0},
    "continue, replay 0.3": {"continued": True, "replay": 0.3},
    "continue, replay 0.6": {"continued": True, "replay": 0.6},
}
COLUMNS = (
    ("new", "recalled_verdict", "auroc"),
    ("new", "answer", "auroc"),
    ("old", "recalled_verdict", "auroc"),
    ("old", "answer", "auroc"),
    ("cross", "recalled_verdict", "auroc"),
    ("cross", "recalled_verdict", "true_acceptance"),
)


def doses(into: Path) -> tuple[Path, Path]:
    """The parent's dose and the new one, sealed."""
    from hfvaccine import starter
    from hfvaccine.claims.claim import Claim
    from hfvaccine.quarantine.policy import Policy
    from hfvaccine.quarantine.seal import seal

    rows = [json.loads(line) for line in CLAIMS.read_text(encoding="utf-8").split("\n") if line]
    rows.sort(key=lambda row: sha256(row["claim"].encode()).digest())
    rows = [{key: value for key, value in row.items() if key != "known"} for row in rows]
    given, held = rows[: OLD_CLAIMS + NEW_CLAIMS], rows[OLD_CLAIMS + NEW_CLAIMS :]
    parts = {"old": (given[:OLD_CLAIMS], held[::2]), "new": (given[OLD_CLAIMS:], held[1::2])}
    for name, (its, out) in parts.items():
        if not (into / name).exists():
            claims = [Claim.from_row({**row, "split": "dose"}) for row in its]
            claims += [Claim.from_row({**row, "split": "heldout"}) for row in out]
            seal(claims, Policy.read(starter.POLICY), into / name)
    return into / "old", into / "new"


def run_all(folder: Path, base: str, seeds: Iterable[int], steps: int) -> None:
    """Parents and boosters of every seed."""
    from hfvaccine.cli.output import Terminal, quiet_libraries
    from hfvaccine.files import RECORD
    from hfvaccine.runs.immunize import immunize
    from hfvaccine.surveillance.booster import boost
    from hfvaccine.training.options import Boosting, Options

    quiet_libraries()
    old, new = doses(folder / "doses")
    for seed in seeds:
        parent = folder / f"parent-{seed}"
        if not (parent / RECORD).is_file():
            options = Options(
                base=base, dose=str(old), max_steps=steps, seed=seed, output_dir=str(parent), **COMMON, **ASKED
            )
            immunize(options, Terminal("parent: "), resume=parent.is_dir())
        record = json.loads((parent / RECORD).read_text(encoding="utf-8"))
        retracted = min(record["dose"]["claim_ids"])
        for name, way in WAYS.items():
            place = folder / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
            if not (place / RECORD).is_file():
                asked = Boosting(
                    adapter=str(parent), dose=str(new), retract=(retracted,), because="a benchmark",
                    output_dir=str(place), **ASKED, **way,
                )  # fmt: skip
                boost(asked, Terminal(f"{name}: "), resume=place.is_dir())


def table(folder: Path) -> list[dict[str, Any]]:
    """A row for each way and for the parent: means over the seeds that are finished."""
    from hfvaccine.files import RECORD, RESULTS

    rows = []
    for name in WAYS:
        places = sorted(folder.glob(f"{name.replace(', ', '-').replace(' ', '-')}-[0-9]*"))
        done = [place for place in places if (place / RECORD).is_file()]
        found = [json.loads((place / RESULTS).read_text(encoding="utf-8")) for place in done]
        records = [json.loads((place / RECORD).read_text(encoding="utf-8")) for place in done]
        for arm in ("parent", "vaccine") if name == "from the base" else ("vaccine",):
            if found:
                row: dict[str, Any] = {"way": "the parent" if arm == "parent" else name, "seeds": len(found)}
                for column in COLUMNS:
                    row[" ".join(column)] = _mean(found, "measures", arm, ("probe", "reading", "metric"), column)
                row["old correction"] = _mean(found, "other", arm, ("kind",), ("retracted",))
                row["nats per token"] = _mean(found, "other", arm, ("kind", "metric"), ("retention", "nats_per_token"))
                trained = records
                if arm == "parent":
                    parents = (folder / f"parent-{place.name.rpartition('-')[2]}" for place in done)
                    trained = [json.loads((place / RECORD).read_text(encoding="utf-8")) for place in parents]
                row["steps"] = trained[0]["plan"]["steps"]
                row["seconds"] = round(mean(record["training"]["seconds"] for record in trained))
                rows.append(row)
    return rows


def _mean(found: list[dict[str, Any]], part: str, arm: str, keys: tuple[str, ...], wanted: tuple[str, ...]) -> Any:
    values = [
        row["value"]
        for results in found
        for row in results[part]
        if row["arm"] == arm and tuple(row[key] for key in keys) == wanted and row.get("condition", "plain") == "plain"
    ]
    return round(mean(values), 3) if values else None


@click.command()
@click.option("--output-dir", type=click.Path(path_type=Path), required=True)
@click.option("--seeds", default=3, show_default=True, help="Runs of each way, with seeds from 0.")
@click.option("--seed", "only", type=int, help="Run this seed alone, as on a core of its own.")
@click.option("--base", help="Base model.  [default: SmolLM2-135M-Instruct from its package]")
@click.option("--steps", default=100, show_default=True, help="Of the parent; boosters have as many for each claim.")
@click.option("--table", "only_table", is_flag=True, help="Print what is finished, and run nothing.")
def main(output_dir: Path, seeds: int, only: int | None, base: str | None, steps: int, only_table: bool) -> None:
    """Run all that is not finished, then print the table as JSON lines."""
    from hfvaccine.cli.base_model import base_from_wheel

    if not only_table:
        run_all(output_dir, base or str(base_from_wheel()), range(seeds) if only is None else [only], steps)
    for row in table(output_dir):
        click.echo(json.dumps(row))


if __name__ == "__main__":
    main()
