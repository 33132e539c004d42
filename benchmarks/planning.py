"""Seconds and memory of a plan over ten million rows, against shuffling them and adding up their lengths.

    python benchmarks/planning.py --output planning.json

A permutation with a running total is the least that any shuffling run does. Nothing else may run meanwhile.
Exits with 1 where the target is missed.
"""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from children import ask, entry, memory_mb
from measuring import OUTPUT, begin, end, shown, spread, target

from hfvaccine.regimen.lengths import Lengths
from hfvaccine.regimen.plan import make_plan

SHARE = 0.10
PEER = "permutation and sum"
MEMORY_TARGET = 1000.0
"""Megabytes besides the lengths, which are two numbers of eight bytes a row."""


@click.command(help=__doc__.split("\n")[0])
@click.option("--rows", default=10_000_000, show_default=True, help="Of the mix.")
@click.option("--dose", default=5_000, show_default=True, help="Rows of the dose, and as many controls.")
@OUTPUT
def main(rows: int, dose: int, output: Path | None) -> None:
    about = begin(1)
    random = np.random.default_rng(0)
    spread_of_lengths = 0.7
    lengths = random.lognormal(math.log(200) - spread_of_lengths**2 / 2, spread_of_lengths, rows)
    taken: dict[str, list[dict[str, Any]]] = {"constant": [], "ramp": [], PEER: []}
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "mix.npy", np.clip(lengths, 8, 4096).astype(np.int64))
        np.save(Path(folder) / "dose.npy", random.integers(30, 90, dose))
        for _ in range(3):
            for kind, runs in taken.items():
                runs.append(ask(__file__, "plan", {"kind": kind, "folder": folder}))
    click.echo(f"\nPlanning {rows:,} rows of a mix and {dose:,} of a dose with their controls")
    table = []
    for kind, runs in taken.items():
        seconds, peers = (np.array([run["seconds"] for run in rs]) for rs in (runs, taken[PEER]))
        memory = float(np.median([run["added_mb"] for run in runs]))
        row = {"kind": kind, "seconds": spread(seconds), "ratio": spread(seconds / peers), "added_mb": memory}
        table.append({**row, "rows": runs[0]["rows"]})
        click.echo(
            f"  {kind:20} {np.median(seconds):6.2f} s   {shown(row['ratio'])} x the {PEER}   "
            f"{memory:6.0f} MB besides the lengths   {runs[0]['rows']:,} rows"
        )
    targets = [
        target(f"{row['kind']}: MB besides the lengths", row["added_mb"], at_most=MEMORY_TARGET)
        for row in table
        if row["kind"] != PEER
    ]
    end({"machine": about, "planning": {"table": table, "runs": taken}}, targets, output)


def plan(kind: str, folder: str) -> dict[str, Any]:
    """Seconds and megabytes of one plan, or of what it is compared with."""
    mix = np.load(Path(folder) / "mix.npy")
    dosed = np.load(Path(folder) / "dose.npy")
    tenth = np.maximum(1, mix // 10)
    before, begun = memory_mb("VmRSS"), time.perf_counter()
    if kind == PEER:
        # The same rows: dose and controls as often as the share asks for.
        rounds = round(SHARE * mix.sum() / (1 - 2 * SHARE) / dosed.sum())
        tokens = np.concatenate([mix, np.tile(dosed, 2 * rounds)])
        order = np.random.default_rng(0).permutation(len(tokens))
        rows = len(np.cumsum(tokens[order]))
    else:
        dose = Lengths(dosed, dosed // 2)
        control_of = np.arange(len(dosed))
        made = make_plan(
            Lengths(mix, tenth), dose, dose, control_of, share=SHARE, rows_per_step=8, schedule=kind, epochs=1
        )
        rows = len(made)
    return {"seconds": time.perf_counter() - begun, "added_mb": memory_mb("VmHWM") - before, "rows": rows}


if __name__ == "__main__":
    entry(main, {"plan": plan})
