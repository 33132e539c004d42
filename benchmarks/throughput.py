"""How fast a dosed run is: tokens per second against TRL as it comes and at its best, and where the time goes.

    python benchmarks/throughput.py --data FOLDER --output throughput.json
    python benchmarks/throughput.py --data FOLDER --device cuda --architecture gpt2-xl

All train on the same rows at the same loss. FOLDER, and how the processes take turns: as for `overhead.py`.
Exits with 1 where a target is missed.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import turns
from children import ask, entry
from measuring import begin, end, quickstart_base, shown, spread, target
from turns import Job, Run

TRAINING_RATE = 2e-4
PROFILED, BEFORE_PROFILE = 5, 3
DEFAULTS_TARGET, BEST_TARGET, LOSS_TARGET = 1.3, 1.0, 0.005


@click.command(help=__doc__.split("\n")[0])
@turns.options
@click.option("--batch", default="8,4", show_default=True, help="Rows of a step; each in its turn.")
def main(threads: int, batch: str, output: Path | None, base: str | None, **model: Any) -> None:
    about = begin(threads, cuda=model["device"] == "cuda")
    job = Job(turns.DOSED, base=base or quickstart_base(), **model)
    with tempfile.TemporaryDirectory() as folder:
        found, targets = throughput(job, [int(rows) for rows in batch.split(",")], Path(folder))
    end({"machine": about, "asked": model, "throughput": found}, targets, output)


def throughput(job: Job, batches: Sequence[int], folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ours against TRL as it comes and at its best: speed, loss over the run, loss after training."""
    result: dict[str, Any] = {"batches": {}}
    targets: list[dict[str, Any]] = []
    kinds = [turns.OURS, *turns.PEERS] if job.device == "cpu" else [turns.OURS, turns.OURS_STORED, *turns.PEERS]
    chip = ask(__file__, "matmul", {"device": job.device})["flops"]
    for batch in batches:
        here = replace(job, batch=batch)
        planned = turns.prepared(here, folder)
        here = replace(here, rows=planned["rows"], turn_tokens=turns.TURN_STEPS * batch * planned["mean"])
        runs = turns.in_turns([replace(here, kind=kind) for kind in kinds])
        best = max((run.speed() for kind, run in runs.items() if kind in turns.PEERS and kind != turns.DEFAULTS))
        click.echo(
            f"\nThroughput, batch {batch}, {planned['count']} rows of {planned['mean']:.0f} tokens, "
            f"{100 * planned['supervised'] / planned['tokens']:.0f} % of them with loss, {planned['share']:.1%} dose"
        )
        table = []
        for kind, run in runs.items():
            loss, ours = run.loss(), runs[turns.OURS].loss()
            row = {
                "kind": kind,
                "tokens_per_second": run.speed(),
                "by_turn": spread(run.speeds()),
                "ours_against_it": spread(np.array(list(map(np.divide, runs[turns.OURS].speeds(), run.speeds())))),
                "padding": 1 - run.total("tokens") / run.total("width"),
                "loss": loss,
                "loss_against_ours": loss / ours - 1,
                "peak_mb": run.done["peak_mb"],
                "of_matmul_rate": run.speed() * planned_flops(run, planned) / chip,
            }
            table.append(row)
            click.echo(
                f"  {kind:27} {row['tokens_per_second']:7.0f} tokens/s  ours is {shown(row['ours_against_it'])} x  "
                f"padding {100 * row['padding']:4.1f} %  loss {loss:.4f} ({100 * row['loss_against_ours']:+.2f} %)  "
                f"peak {row['peak_mb']:.0f} MB  {100 * row['of_matmul_rate']:.0f} % of the matmul rate"
            )
            if any(run.total(what) != runs[turns.OURS].total(what) for what in ("tokens", "supervised")):
                raise click.ClickException(f"{kind} was given other rows than {turns.OURS}.")
            if kind in turns.PEERS:
                name = f"batch {batch}: loss of {kind}, from ours"
                targets.append(target(name, abs(row["loss_against_ours"]), at_most=LOSS_TARGET))
        by_kind = {row["kind"]: row for row in table}
        strongest = next(kind for kind in turns.PEERS if runs[kind].speed() == best)
        for peer, least in ((turns.DEFAULTS, DEFAULTS_TARGET), (strongest, BEST_TARGET)):
            targets.append(
                target(f"batch {batch}: {peer}", by_kind[peer]["ours_against_it"]["median"], at_least=least)
            )
        runs_kept = {kind: run.record() for kind, run in runs.items()}
        result["batches"][batch] = {"planned": planned, "table": table, "best": strongest, "runs": runs_kept}
        if batch == batches[-1]:
            result["trained"] = trained(here)
            result["profile"] = ask(__file__, "profile", asdict(here))
            click.echo(f"\nWhere the time of our steps goes, batch {batch}, by torch's profiler")
            for name, part in result["profile"].items():
                click.echo(f"  {name:27} {100 * part:5.1f} %")
    click.echo(f"\nMatmul rate of the machine in this precision: {chip / 1e12:.2f} TFLOP/s")
    return {**result, "matmul_flops": chip}, targets


def trained(job: Job) -> dict[str, Any]:
    """Held-out losses after training on the same rows from the same start: ours, TRL by length, and TRL with our
    batches, which differs from ours by rounding alone."""
    kinds = (turns.OURS, turns.IN_ORDER, turns.GROUPED)
    runs = turns.in_turns([replace(job, kind=kind, rate=TRAINING_RATE, turn_tokens=math.inf) for kind in kinds])
    losses = {kind: run.done["held_out"] for kind, run in runs.items()}
    before = runs[turns.OURS].ready["held_out"]
    click.echo(f"\nHeld-out loss after {job.steps} steps at {TRAINING_RATE:g}, nats per token")
    for rows in turns.HELD_OUT:
        after = "   ".join(f"{kind} {loss[rows]:.4f}" for kind, loss in losses.items())
        click.echo(f"  {rows:5} before {before[rows]:.4f}   {after}")
    return {"before": before, "after": losses}


def planned_flops(run: Run, planned: dict[str, Any]) -> float:
    """Operations that a token needs: two a weight, forward and for the gradient of the inputs; the head of tokens
    with loss once more, because its logits are made again. Attention, adapters and what is recomputed do not count."""
    return float(4 * run.ready["layers"] + 6 * run.ready["head"] * planned["supervised"] / planned["tokens"])


# --- in processes of their own


def profile(**given: Any) -> dict[str, float]:
    """Parts of the time of a few steps of ours, by what they do."""
    import torch
    from torch.profiler import ProfilerActivity
    from trainers import made
    from transformers import TrainerCallback

    job = Job(**given)
    trainer, _, _ = made(job)
    cuda = job.device == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    profiler = torch.profiler.profile(activities=activities, record_shapes=True)
    seconds = [0.0]

    class Profiling(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == BEFORE_PROFILE:
                profiler.start()
                seconds[0] = time.perf_counter()
            elif state.global_step == BEFORE_PROFILE + PROFILED:
                seconds[0] = time.perf_counter() - seconds[0]
                profiler.stop()
                control.should_training_stop = True

    trainer.add_callback(Profiling())
    trainer.train()
    vocabulary = trainer.model.get_base_model().get_output_embeddings().weight.shape[0]
    taken: Counter[str] = Counter()
    for event in profiler.key_averages(group_by_input_shape=True):
        own = event.self_device_time_total if cuda else event.self_cpu_time_total
        taken[group(event.key, event.input_shapes, vocabulary)] += own / 1e6
    groups = {name: spent / seconds[0] for name, spent in taken.most_common()}
    groups["between operations"] = 1 - sum(groups.values())
    return groups


def group(operation: str, shapes: Sequence[Any], vocabulary: int) -> str:
    """What an operation is for, by its name and by the sizes that only adapters and the output head have."""
    sizes = {
        size for one in shapes for size in (one if isinstance(one, (list, tuple)) else ()) if isinstance(size, int)
    }
    if "adam" in operation.lower() or "Optimizer" in operation or "_foreach" in operation:
        return "optimizer"
    if "attention" in operation:
        return "attention"
    if vocabulary in sizes or "LogProb" in operation:
        return "output head and loss"
    if turns.RANK in sizes:
        return "LoRA"
    if operation.split("::")[-1] in ("mm", "addmm", "linear", "matmul", "bmm", "mkldnn_linear"):
        return "linear layers"
    return "other operations"


def matmul(device: str) -> dict[str, float]:
    """Operations per second of a large product in the precision that is trained in."""
    import torch

    from hfvaccine.training.base import choose_dtype

    size, seconds = (8192 if device == "cuda" else 2048), []
    a, b = (torch.randn(size, size, device=device, dtype=choose_dtype()) for _ in range(2))
    for _ in range(20):
        begun = time.perf_counter()
        torch.mm(a, b)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return {"flops": float(2 * size**3 / np.median(seconds[5:]))}


if __name__ == "__main__":
    entry(main, {"profile": profile, "matmul": matmul})
