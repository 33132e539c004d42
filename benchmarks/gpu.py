"""All that needs a GPU, in one command of at most six minutes: speed, memory, and whether what comes out is the same.

    python benchmarks/gpu.py --output gpu.json
    python benchmarks/gpu.py --device cpu      # a tiny model, to see that every section works

It downloads nothing: the base has gpt2-xl's architecture and random weights, in bfloat16, its tokenizer is learnt from
the starter mix, and the data are the starter dose and mix. Every section runs in processes of its own, on one GPU, and
has a time of its own, for which it must have room in what is left of `--seconds`; the order is that of their worth.

  device       the GPU, and the rate at which it really multiplies bfloat16 matrices, the best of several
  model        the base
  training     tokens per second of a dosed run, as `hfvaccine immunize` trains, with and without checkpoints of
               activations, against TRL as it comes and at its best on the same rows, in turns
  memory       the peak of that run, and its time, against what `--dry-run` expects
  adapter      trained for some steps, saved, and loaded by `PeftModel.from_pretrained`: the same logits?
  scorer       `Scorer` against lm-eval's `HFLM` (or a plain batched forward pass) on the same requests, in turns
  generation   greedy and drawn answers against transformers' batched `generate` on the same prompts, in turns
  training_of_more_rows   the same as `training`, with more rows to a step

Tokens per second count real tokens, no padding. The first turn of a trainer and the first step of each turn warm up,
and do not count. The share of the matrix rate is by operations that a token needs (`flops_per_token`), not by those
that are done. Each section that fails says so in the JSON, takes no other along, and makes the exit code 1; one that
found no time left is no failure. Without a GPU all that is said is that there is none.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import turns
from children import ask
from gpu_sections import NO_GPU
from measuring import begin, shown, spread
from turns import Job, Run

from hfvaccine.files import write_json

SECTIONS = Path(__file__).with_name("gpu_sections.py")
NO_TIME = "no time left"
FINISHING = 15
"""Seconds of a section that trainers have to come to an end."""


@dataclass(frozen=True)
class Size:
    """How large a benchmark is.

    Args:
        layers, width: of the base.
        entries: of its tokenizer, and of its output head.
        matrices: sizes of the square matrices that are multiplied.
        kinds: of trainers.
        rows: of a step, of the first training and of the second.
        steps, turn_steps: of a training and of a turn.
        questions: that are scored with three answers each, and how many of them in float32.
        batch_sizes: that lm-eval is tried with.
        prompts, new_tokens, rounds: of generation; rounds of scoring, too.
    """

    layers: int
    width: int
    entries: tuple[int, int]
    matrices: tuple[int, ...]
    kinds: tuple[str, ...]
    rows: tuple[int, int]
    steps: int
    turn_steps: int
    questions: tuple[int, int]
    batch_sizes: tuple[int, ...]
    prompts: int
    new_tokens: int
    rounds: int


SIZES = {
    "cuda": Size(
        layers=48,
        width=1600,
        entries=(8192, 50257),
        matrices=(4096, 8192, 16384),
        kinds=(turns.OURS, turns.OURS_STORED, *turns.PEERS),
        rows=(8, 32),
        steps=20,
        turn_steps=4,
        questions=(100, 20),
        batch_sizes=(16, 64),
        prompts=32,
        new_tokens=48,
        rounds=3,
    ),
    "cpu": Size(
        layers=2,
        width=64,
        entries=(800, 800),
        matrices=(64, 128),
        kinds=(turns.OURS, *turns.PEERS),
        rows=(2, 3),
        steps=6,
        turn_steps=2,
        questions=(2, 1),
        batch_sizes=(2, 4),
        prompts=4,
        new_tokens=4,
        rounds=2,
    ),
}


@click.command(help=__doc__.split("\n")[0])
@click.option("--seconds", default=360.0, show_default=True, help="Time of all sections together.")
@click.option("--device", default="cuda", show_default=True, type=click.Choice(sorted(SIZES)))
@click.option(
    "--output",
    default="gpu.json",
    show_default=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON file.",
)
def main(seconds: float, device: str, output: Path) -> None:
    about = begin(2 if device == "cuda" else 1, cuda=device == "cuda")
    os.environ["HF_HUB_OFFLINE"] = "1"
    if device == "cuda":
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # several would share the rows of a step
    with tempfile.TemporaryDirectory() as folder:
        benchmark = Benchmark(Path(folder), device)

        def keep(found: Mapping[str, Any]) -> None:
            write_json({"machine": about, "asked": {"seconds": seconds, "device": device}, **found}, output)

        run(benchmark.sections(), seconds, benchmark.found, keep)
    if benchmark.found["device"].get("gpu") == NO_GPU:
        click.echo(NO_GPU)
        return
    click.echo("\n" + "\n".join(table(benchmark.found)))
    sys.exit(int(any("error" in its for its in benchmark.found.values())))


Section = tuple[str, float, Callable[[float], dict[str, Any]]]
"""Its name, the seconds that it may take, and what it does within so many."""


def run(
    sections: Sequence[Section], seconds: float, found: dict[str, Any], keep: Callable[[Mapping[str, Any]], None]
) -> None:
    """Run what there is time for, and keep what was found after each section.

    Args:
        sections: in their order.
        seconds: for all of them.
        found: gets what each found, by its name.
        keep: is told of all that was found so far.
    """
    ends = time.monotonic() + seconds
    for name, its, section in sections:
        began = time.monotonic()
        if ends - began < its:
            found[name] = {"skipped": NO_TIME}
        else:
            click.echo(f"{name} ...", err=True)
            try:
                found[name] = section(its)
            except (Exception, SystemExit) as error:  # whatever it is, the others go on
                found[name] = {"error": str(error) or type(error).__name__}
            found[name]["seconds"] = round(time.monotonic() - began, 1)
        keep(found)
        if found[name].get("gpu") == NO_GPU:
            return


class Benchmark:
    """The sections, seen from outside: each starts its processes, and puts together what they say.

    Args:
        folder: for what is made.
        device: "cuda" or "cpu".

    Attributes:
        found: what was found so far, by section.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self.folder, self.device, self.size = folder, device, SIZES[device]
        self.base = str(folder / "base")
        self.found: dict[str, Any] = {}

    def sections(self) -> list[Section]:
        def child(name: str, job: Mapping[str, Any]) -> Callable[[float], dict[str, Any]]:
            def section(within: float) -> dict[str, Any]:
                if name not in ("device", "model"):
                    self.require("model")
                return ask(SECTIONS, name, job, within=within)

            return section

        size, base = self.size, {"base": self.base}
        model = {**base, "device": self.device, **{k: getattr(size, k) for k in ("layers", "width", "entries")}}
        scorer = {**base, "questions": size.questions, "batch_sizes": size.batch_sizes, "rounds": size.rounds}
        generation = {**base, "prompts": size.prompts, "new_tokens": size.new_tokens, "rounds": size.rounds}
        first, second = size.rows
        return [
            ("device", 40, child("device", {"device": self.device, "sizes": size.matrices})),
            ("model", 50, child("model", model)),
            ("training", 120, lambda within: self.training(first, within)),
            ("memory", 0, self.memory),
            ("adapter", 70, child("adapter", {**base, "folder": str(self.folder / "adapter")})),
            ("scorer", 60, child("scorer", scorer)),
            ("generation", 60, child("generation", generation)),
            ("training_of_more_rows", 120, lambda within: self.training(second, within)),
        ]

    def require(self, name: str) -> None:
        """Refuse to go on without what a section makes."""
        if not self.found[name].keys().isdisjoint(("error", "skipped")):
            raise RuntimeError(f"It needs what {name} did not give.")

    def training(self, rows: int, within: float) -> dict[str, Any]:
        """Trainers in turns, on the rows that ours has planned."""
        self.require("model")
        ends = time.monotonic() + within
        job = Job(turns.DOSED, base=self.base, device=self.device, batch=rows, steps=self.size.steps)
        job = replace(job, rows=str(self.folder / f"rows {rows}"))
        planned = ask(SECTIONS, "plan", asdict(job), within=within)
        job = replace(job, turn_tokens=self.size.turn_steps * rows * planned["mean"])
        left = ends - time.monotonic()
        jobs = [replace(job, kind=kind) for kind in self.size.kinds]
        failed: dict[str, str] = {}
        runs = turns.in_turns(jobs, seconds=left - FINISHING, within=left, failed=failed)
        failed |= {kind: "It had no time for a second turn." for kind, run in runs.items() if not speeds(run)}
        runs = {kind: run for kind, run in runs.items() if kind not in failed}
        rate = self.found["device"].get("matrix_flops_per_s")
        found = {kind: trained(run, planned, rate) for kind, run in runs.items()}
        best = sorted((kind for kind in turns.PEERS[1:] if kind in runs), key=lambda kind: found[kind]["tokens_per_s"])
        compared = {
            f"{one}, against {other}": ratio(runs[one], runs[other])
            for one in (turns.OURS, turns.OURS_STORED)
            for other in (turns.DEFAULTS, *best[-1:])
            if one in runs and other in runs
        }
        said = {"error": f"These failed: {', '.join(failed)}.", "failed": failed} if failed else {}
        return {"rows_per_step": rows, "planned": planned, "trainers": found, "ratios": compared, **said}

    def memory(self, within: float) -> dict[str, Any]:
        """Peak and time of our run against what was expected of it."""
        training = self.found["training"]
        ours = training.get("trainers", {}).get(turns.OURS)
        if ours is None:
            raise RuntimeError("It needs what training did not give.")
        expected = training["planned"]["estimate"]
        if expected["memory"] is None:
            raise RuntimeError(expected["why_not"])
        seconds = training["planned"]["tokens"] / ours["tokens_per_s"]
        return {
            "line": training["planned"]["line"],
            "expected_gb": expected["memory"] / 1e9,
            "peak_gb": ours["peak_gb"],
            "peak_against_expected": ours["peak_gb"] * 1e9 / expected["memory"],
            "expected_s": expected["seconds"],
            "taken_s": seconds,
            "taken_against_expected": seconds / expected["seconds"],
        }


# --- training


def flops_per_token(weights: Mapping[str, float], planned: Mapping[str, float]) -> float:
    """Floating-point operations that training an adapter needs for a token, on the average.

    A weight takes 2 forward (Kaplan et al., arXiv 2001.08361), and 2 for the gradient of what goes into it; 2 more for
    its own gradient only where it is trained, as an adapter's (Hu et al., arXiv 2106.09685): 4 of the frozen base, 6
    of the adapter. The output head counts for tokens with loss alone. Attention is 12 * depth * width for each token
    that one attends to, forward and backward (Chowdhery et al., arXiv 2204.02311, appendix B); under a causal mask
    those are (t + 1) / 2 in a row of t tokens. Norms, and what is computed again, do not count.

    Args:
        weights: as `trainers.weights` counts them.
        planned: `tokens`, `supervised`, and `squares`, the sum of the squared lengths of all rows.
    """
    frozen = weights["layers"] + weights["head"] * planned["supervised"] / planned["tokens"]
    attended = (planned["squares"] / planned["tokens"] + 1) / 2
    return 4 * frozen + 6 * weights["adapter"] + 12 * weights["depth"] * weights["width"] * attended


def speeds(run: Run) -> list[float]:
    """Tokens per second of each turn but the first, without a turn's first step: it takes back memory it gave away."""
    measured = [turn[1:] or turn for turn in run.measured_turns()]
    return [sum(step["tokens"] for step in turn) / sum(step["seconds"] for step in turn) for turn in measured]


def ratio(one: Run, other: Run) -> dict[str, float]:
    """Speed of one against another, turn by turn."""
    return spread([a / b for a, b in zip(speeds(one), speeds(other), strict=False)])


def trained(run: Run, planned: Mapping[str, float], matrix_rate: float | None) -> dict[str, Any]:
    """One trainer's numbers."""
    by_turn = spread(speeds(run))
    needed = by_turn["median"] * flops_per_token(run.ready, planned)
    whole = run.total("tokens") == planned["tokens"]
    return {
        "tokens_per_s": by_turn["median"],
        "tokens_per_s_by_turn": by_turn,
        "flops_per_token": flops_per_token(run.ready, planned),
        "share_of_matrix_rate": None if matrix_rate is None else needed / matrix_rate,
        "checkpoints": run.ready["checkpoints"],
        "padding_share": 1 - run.total("tokens") / run.total("width"),
        "peak_gb": run.done["peak_mb"] * 2**20 / 1e9,
        "loss_nats_per_token": run.loss() if whole else None,  # over the same rows, or not to be compared
        "turns": run.turns,
    }


# --- showing


def table(found: Mapping[str, Any]) -> list[str]:
    """The main numbers, in lines of at most 100 columns."""
    lines = []
    for section, its in found.items():
        for state in ("error", "skipped"):
            if state in its:
                lines.append(f"{section:21} {state}: {its[state].strip().splitlines()[-1]}"[:100])
        with suppress(KeyError):  # of a section that failed or was skipped there may be nothing to show
            lines += [f"{section:21} {what[:37]:37} {value}"[:100] for what, value in ROWS[section](its)]
    return lines


def _device(its: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [("", f"{its.get('gpu', 'CPU')}, torch {its['torch']}")]
    rows.append(("bfloat16 matrix rate", f"{its['matrix_flops_per_s'] / 1e12:.2f} TFLOP/s"))
    if "at_once_ms" in its["attention"]:
        ways = " and ".join(f"{its['attention'][f'{way}_ms']:.1f}" for way in ("row_by_row", "at_once"))
        rows.append(("attention, by row and at once", f"{ways} ms"))
    return rows


def _training(its: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [
        (f"steps of {its['rows_per_step'] * its['planned']['mean']:.0f} tokens", "tokens/s    of matrix rate    peak")
    ]
    for kind, one in its["trainers"].items():
        share = one["share_of_matrix_rate"]
        of = "" if share is None else f"{100 * share:.1f} %"
        rows.append((kind, f"{one['tokens_per_s']:8,.0f}{of:>18}{one['peak_gb']:9.1f} GB"))
    return rows + [(name, f"x {shown(value)}") for name, value in its["ratios"].items()]


def _memory(its: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("peak of what is expected", f"{its['peak_against_expected']:.2f} of {its['expected_gb']:.1f} GB"),
        ("time of what is expected", f"{its['taken_against_expected']:.2f} of {its['expected_s']:.0f} s"),
    ]


def _adapter(its: Mapping[str, Any]) -> list[tuple[str, str]]:
    value = f"{its['difference_of_largest']:.1e} of the largest, allowed {its['allowed_of_largest']:g}"
    return [("loaded against trained, logits", value)]


def _scorer(its: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [("peer", its["peer"])]
    for name in ("after_a_primer", "by_themselves"):
        apart = its[name]["float32_largest_difference_nats"]
        rows.append((name, f"x {shown(its[name]['speed'])}  apart by {apart:.0e} in float32"))
    return rows


def _generation(its: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [(name, f"x {shown(one['speed'])}") for name, one in its.items() if isinstance(one, dict)]
    same = its["greedy"]["same_answers_share"], its["greedy"]["float32_same_answers_share"]
    return [*rows, ("same greedy answers", f"{same[0]:.0%}, {same[1]:.0%} in float32")]


ROWS: dict[str, Callable[[Mapping[str, Any]], list[tuple[str, str]]]] = {
    "device": _device,
    "model": lambda its: [("parameters", f"{its['parameters'] / 1e6:,.0f} M, {its['dtype']}")],
    "training": _training,
    "memory": _memory,
    "adapter": _adapter,
    "scorer": _scorer,
    "generation": _generation,
    "training_of_more_rows": _training,
}

if __name__ == "__main__":
    main()
