"""What exact dosing costs: step time and peak memory with the callbacks and without them, on the same rows in order.

    python benchmarks/overhead.py --data FOLDER --output overhead.json

FOLDER holds
  creak/train.jsonl.gz   claims labelled true or false, each with a sentence that explains why: the dose
  p3-qa/p3_qa.jsonl.gz   questions with short answers: the mix

Every trainer lives in a process of its own, as it would in use, and the processes take turns of a few steps, so that
a machine that slows down slows all of them; every other round runs backwards. Nothing else may run meanwhile.
Exits with 1 where a target is missed.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from measuring import begin, end, quickstart_base, shown, spread, target
from turns import DOSED, INOCULATED, PLAIN, PLAIN_AGAIN, PLAIN_INOCULATED, TURN_STEPS, Job, in_turns, options, prepared

MEMORY_STEPS = 6
AT_MOST = 1.02
RETURNING = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""Makes glibc return what is freed at once: a peak is then what was held, not what lay about. Slow, so not timed."""


@click.command(help=__doc__.split("\n")[0])
@options
@click.option("--repeats", default=2, show_default=True, help="How often it is taken, in new processes.")
@click.option("--batch", default=4, show_default=True, help="Rows of a step.")
def main(threads: int, repeats: int, output: Path | None, base: str | None, **model: Any) -> None:
    about = begin(threads, cuda=model["device"] == "cuda")
    job = Job(DOSED, base=base or quickstart_base(), **model)
    with tempfile.TemporaryDirectory() as folder:
        found, targets = overhead(job, Path(folder), repeats)
    end({"machine": about, "asked": {"repeats": repeats, **model}, "overhead": found}, targets, output)


def overhead(job: Job, folder: Path, repeats: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The callbacks against the same trainer on the rows that they planned, in their order, without them."""
    planned = {kind: prepared(replace(job, kind=kind), folder) for kind in (DOSED, INOCULATED)}
    turn = TURN_STEPS * job.batch * planned[DOSED]["mean"]
    kinds = {DOSED: DOSED, PLAIN: DOSED, PLAIN_AGAIN: DOSED, INOCULATED: INOCULATED, PLAIN_INOCULATED: INOCULATED}
    jobs = [replace(job, kind=k, rows=planned[of]["rows"], turn_tokens=turn) for k, of in kinds.items()]
    runs = [in_turns(jobs) for _ in range(repeats)]
    brief = [replace(j, until=MEMORY_STEPS, turn_tokens=math.inf) for j in jobs if j.kind != PLAIN_AGAIN]
    peaks = [{kind: run.done["peak_mb"] for kind, run in in_turns(brief, RETURNING).items()} for _ in range(repeats)]
    compared, targets = [], []
    click.echo(f"\nOverhead, batch {job.batch}, {repeats} x {job.steps} steps: with against without")
    for kind, peer in ((DOSED, PLAIN), (INOCULATED, PLAIN_INOCULATED), (PLAIN_AGAIN, PLAIN)):
        ours, theirs = ([step for run in runs for step in run[k].measured_steps()] for k in (kind, peer))
        if [s["tokens"] for s in ours] != [s["tokens"] for s in theirs]:
            raise click.ClickException(f"{kind} and {peer} were given other rows.")
        seconds, peer_seconds = (np.array([s["seconds"] for s in steps]) for steps in (ours, theirs))
        own = np.array([s["own"] for s in ours]) / seconds
        row: dict[str, Any] = {
            "kind": kind,
            "peer": peer,
            "step": spread(seconds / peer_seconds),
            "total": float(seconds.sum() / peer_seconds.sum()),
            "own": spread(own),
            "making_seconds": [run[kind].ready["making_seconds"] for run in runs],
        }
        compared.append(row)
        click.echo(
            f"  {kind:21} step {shown(row['step'])}  total {row['total']:.3f}  "
            f"own time {100 * row['own']['median']:.3f} % of a step"
        )
        if kind != PLAIN_AGAIN:
            row["memory"] = spread([peak[kind] / peak[peer] for peak in peaks])
            held, making = np.median([p[peer] for p in peaks]), np.median(row["making_seconds"])
            click.echo(f"  {'':21} peak memory {shown(row['memory'])} of {held:.0f} MB")
            click.echo(f"  {'':21} made once, in {making:.1f} s (dose tokenized, run planned)")
            targets.append(target(f"{kind}: step", row["step"]["median"], at_most=AT_MOST))
            targets.append(target(f"{kind}: own time", 1 + row["own"]["median"], at_most=AT_MOST))
            targets.append(target(f"{kind}: peak memory", row["memory"]["median"], at_most=AT_MOST))
    click.echo("  The last line is a trainer against itself: what this measurement cannot tell apart.")
    runs_kept = [{kind: run[kind].record() for kind in run} for run in runs]
    return {"planned": planned, "compared": compared, "peaks": peaks, "runs": runs_kept}, targets


if __name__ == "__main__":
    main()
