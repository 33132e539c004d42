"""How much faster two processes validate than one, each on a core of its own, and that they find the same.

    python benchmarks/processes.py --claims 24 --output processes.json

The starter's claims are asked about claim and twin alike, as a validation does it: the recalls, the verdicts and the
likelihoods of answers. One process on one core, two gloo processes on a core each, and one process with two threads on
both cores take turns. Nothing else may run meanwhile. Exits with 1 where a target is missed.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import numpy as np
from children import Child, answer, entry, told
from measuring import BASE, OUTPUT, begin, end, quickstart_base, target

ONE, TWO, THREADS = "one process", "two processes", "one process, two threads"
LEAST = 1.6


@click.command(help=__doc__.split("\n")[0])
@click.option("--claims", default=24, show_default=True, help="Claims to ask about.")
@click.option("--rounds", default=3, show_default=True, help="How often each is timed.")
@BASE
@OUTPUT
def main(claims: int, rounds: int, base: str | None, output: Path | None) -> None:
    about = begin(1)
    first, second = sorted(os.sched_getaffinity(0))[:2]
    job = {"base": base or quickstart_base(), "claims": claims}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    spent: dict[str, list[float]] = {ONE: [], TWO: [], THREADS: []}
    found: dict[str, set[str]] = {ONE: set(), TWO: set(), THREADS: set()}
    with ExitStack() as stack:

        def child(cores: Sequence[int], **environment: str) -> Child:
            pinned = {**job, "cores": list(cores)}
            return stack.enter_context(Child(__file__, "validate", pinned, environment))

        pair = [
            child([core], RANK=str(rank), LOCAL_RANK=str(rank), **group) for rank, core in enumerate((first, second))
        ]
        sides = {ONE: [child([first])], TWO: pair, THREADS: [child([first, second], OMP_NUM_THREADS="2")]}
        for its in sides.values():
            for one in its:
                one.hear()  # that it is ready
        for _ in range(rounds):
            for name, its in sides.items():
                for one in its:
                    one.tell({})
                heard = [one.hear() for one in its]
                spent[name].append(max(one["seconds"] for one in heard))
                found[name] |= {one["scores"] for one in heard}
    seconds = {name: float(np.median(its)) for name, its in spent.items()}
    for name, its in spent.items():
        click.echo(f"{name:<26} {seconds[name]:7.2f} s ({min(its):.2f} to {max(its):.2f})")
    click.echo(f"two processes are {seconds[THREADS] / seconds[TWO]:.2f} times as fast as two threads")
    targets = [
        target("two processes, beside one", seconds[ONE] / seconds[TWO], at_least=LEAST),
        target("sets of scores of both", len(found[ONE] | found[TWO]), at_most=1),
    ]
    end({"machine": about, "claims": claims, "seconds": spent}, targets, output)


def validate(base: str, claims: int, cores: Sequence[int]) -> None:
    """Load, and validate whenever it is told to."""
    os.sched_setaffinity(0, cores)
    import torch

    from hfvaccine.claims.claim import read_jsonl
    from hfvaccine.starter import CLAIMS
    from hfvaccine.training.base import load_base
    from hfvaccine.training.processes import this_process
    from hfvaccine.validation.asking.probes import Battery, ProbeSet
    from hfvaccine.validation.scores import SPECIFIC
    from hfvaccine.validation.scoring.scorer import Scorer

    torch.set_num_threads(len(cores))
    this_process()
    loaded = load_base(base, dtype="float32")
    asked = [claim for claim in read_jsonl(CLAIMS) if claim.twin and claim.question][:claims]
    battery = Battery((ProbeSet.of(SPECIFIC, asked),))
    answer({"ready": True})
    while True:
        told()
        started = time.perf_counter()
        scores: Any = battery.ask(Scorer(loaded.model, loaded.tokenizer))[0].pairs
        seconds = time.perf_counter() - started
        digest = sha256()
        for key in sorted(scores, key=str):
            digest.update(f"{key}{list(scores[key].claim)}{list(scores[key].twin)}".encode())
        answer({"seconds": seconds, "scores": digest.hexdigest()})


if __name__ == "__main__":
    entry(main, {"validate": validate})
