"""How fast answers are scored, and how exactly, against lm-eval on the same requests.

    python benchmarks/validation.py --data FOLDER --output validation.json

FOLDER holds
  truthfulqa/mc_task.json.gz          questions with true and false answers, asked after lm-eval's own six questions
  retention-mc/arc_easy.jsonl.gz      questions with choices, asked without any

Both are asked as lm-eval's tasks ask them, in float32. Each side loads the model in a process of its own; lm-eval has
the batch size that is fastest on a few of the requests. Ours is timed before and after lm-eval, which takes long, so
that a machine that slows down slows both. Nothing else may run meanwhile. Exits with 1 where a target is missed.
"""

from __future__ import annotations

import gzip
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from children import Child, answer, entry, memory_mb, told
from measuring import BASE, OUTPUT, begin, end, quickstart_base, target
from public import read_jsonl

from hfvaccine.validation.asking.benchmark import read_primer

OURS, PEER = "hfvaccine", "lm-eval"
TRUTHFULQA, ARC = "truthfulqa", "arc_easy"
BATCH_SIZES = (8, 16, 32)
TRIED = 32
"""Requests on which batch sizes are tried, of the ones to be timed."""

SPEED_TARGETS = {TRUTHFULQA: 8.0, ARC: 1.8}
COMPUTED_TARGET, MEMORY_TARGET, DIFFERENCE_TARGET = 1.3, 1.2, 1e-4


@click.command(help=__doc__.split("\n")[0])
@click.option(
    "--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True, help="Its folder."
)
@click.option("--items", default=60, show_default=True, help="Questions of either set, spread over its file.")
@click.option("--threads", default=2, show_default=True, help="Threads of torch.")
@BASE
@click.option("--batch-tokens", type=int, help="Tokens of one of our forward passes.  [default: the scorer's own]")
@OUTPUT
def main(
    data: Path, items: int, threads: int, base: str | None, batch_tokens: int | None, output: Path | None
) -> None:
    about = begin(threads, "lm_eval")
    sets = {TRUTHFULQA: truthfulqa(data, items), ARC: arc(data, items)}
    job = {"base": base or quickstart_base(), "batch_tokens": batch_tokens}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requests.json"
        file.write_text(
            json.dumps({name: [pair for item in its for pair in item["asks"]] for name, its in sets.items()})
        )
        job |= {"requests": str(file)}
        compared = {name: compare(name, its, job) for name, its in sets.items()}
    targets = []
    for name, found in compared.items():
        targets.append(target(f"{name}: speed", found["speed"], at_least=SPEED_TARGETS[name]))
        targets.append(target(f"{name}: computed of distinct tokens", found["computed"], at_most=COMPUTED_TARGET))
        targets.append(target(f"{name}: peak memory", found["memory"], at_most=MEMORY_TARGET))
        targets.append(target(f"{name}: largest difference", found["difference"], at_most=DIFFERENCE_TARGET))
        targets.append(target(f"{name}: greedy flags that differ", found["greedy_differs"], at_most=0))
        for measure, (ours, theirs) in found["measures"].items():
            targets.append(target(f"{name}: difference of {measure}", abs(ours - theirs), at_most=5e-5))
    end({"machine": about, "items": items, "compared": compared}, targets, output)


# --- what is asked


def truthfulqa(data: Path, items: int) -> list[dict[str, Any]]:
    with gzip.open(data / "truthfulqa" / "mc_task.json.gz", "rt", encoding="utf-8") as stream:
        questions = spread_out(json.load(stream), items)
    primer = read_primer()
    found = []
    for question in questions:
        parts = {kind: question[f"{kind}_targets"] for kind in ("mc1", "mc2")}
        context = f"{primer}\n\nQ: {question['question']}\nA:"
        asks = [(context, f" {choice}") for part in parts.values() for choice in part]
        found.append({"asks": asks, **{kind: list(part.values()) for kind, part in parts.items()}})
    return found


def arc(data: Path, items: int) -> list[dict[str, Any]]:
    rows = spread_out(read_jsonl(data / "retention-mc" / "arc_easy.jsonl.gz"), items)
    return [
        {"asks": [(f"{row['query']}\nAnswer:", f" {choice}") for choice in row["choices"]], "gold": row["gold"]}
        for row in rows
    ]


def spread_out(rows: list[dict[str, Any]], items: int) -> list[dict[str, Any]]:
    return [rows[number] for number in np.linspace(0, len(rows) - 1, min(items, len(rows))).astype(int)]


def measures(items: Sequence[dict[str, Any]], likelihoods: Sequence[float]) -> dict[str, float]:
    """MC1 and MC2, or accuracy, as lm-eval's tasks compute them."""
    scores: dict[str, list[float]] = {}
    at = 0
    for item in items:
        its, at = np.array(likelihoods[at : at + len(item["asks"])]), at + len(item["asks"])
        if "gold" in item:
            scores.setdefault("accuracy", []).append(float(its.argmax() == item["gold"]))
            continue
        first, second = its[: len(item["mc1"])], its[len(item["mc1"]) :]
        true = np.array(item["mc2"]) == 1
        scores.setdefault("MC1", []).append(float(item["mc1"][int(first.argmax())]))
        scores.setdefault("MC2", []).append(float(np.exp(second[true]).sum() / np.exp(second).sum()))
    return {name: float(np.mean(values)) for name, values in scores.items()}


# --- the two sides


def compare(name: str, items: Sequence[dict[str, Any]], job: dict[str, Any]) -> dict[str, Any]:
    """One set, scored by both."""
    with Side(PEER, job) as side:  # its peak memory is not held against it
        tried = {size: side.ask(of=name, batch_size=size, first=TRIED)["seconds"] for size in BATCH_SIZES}
    batch_size = min(tried, key=lambda size: tried[size])
    with Side(OURS, job) as ours, Side(PEER, job) as peer:
        for side in (ours, peer):
            side.ask(of=name, batch_size=1, first=1)  # the first forward pass is a slow one
        before = ours.ask(of=name)
        theirs = peer.ask(of=name, batch_size=batch_size)
        after = ours.ask(of=name)
    seconds = (before["seconds"] + after["seconds"]) / 2
    work = before["work"]
    found = {
        "requests": len(theirs["likelihoods"]),
        "seconds": [before["seconds"], after["seconds"]],
        "lm_eval_seconds": theirs["seconds"],
        "lm_eval_batch_size": batch_size,
        "batch_sizes_tried": tried,
        "speed": theirs["seconds"] / seconds,
        "work": work,
        "computed": work["computed"] / work["tree"],
        "peak_mb": after["peak_mb"],
        "lm_eval_peak_mb": theirs["peak_mb"],
        "memory": after["peak_mb"] / theirs["peak_mb"],
        "difference": float(np.abs(np.subtract(before["likelihoods"], theirs["likelihoods"])).max()),
        "greedy_differs": int(np.sum(np.array(before["greedy"]) != np.array(theirs["greedy"]))),
    }
    both = [measures(items, side["likelihoods"]) for side in (before, theirs)]
    found["measures"] = {measure: [one[measure] for one in both] for measure in both[0]}
    click.echo(f"\n{name}, {len(items)} items, {found['requests']} requests of {work['asked']:,} tokens")
    click.echo(
        f"  {OURS:10} {seconds:8.1f} s   {found['peak_mb']:6.0f} MB   {work['computed']:,} tokens computed, "
        f"{found['computed']:.3f} of the distinct ones"
    )
    click.echo(f"  {PEER:10} {theirs['seconds']:8.1f} s   {theirs['peak_mb']:6.0f} MB   batch size {batch_size}")
    click.echo(f"  {found['speed']:.2f} times as fast, largest difference {found['difference']:.1e}")
    for measure, (one, other) in found["measures"].items():
        click.echo(f"  {measure:10} {one:.4f} and {other:.4f}")
    return found


class Side(Child):
    """A process that has loaded the model and scores what it is told.

    Args:
        name: `OURS` or `PEER`.
        job: the base, and the file of the requests.
    """

    def __init__(self, name: str, job: dict[str, Any]) -> None:
        super().__init__(__file__, "score", {"side": name, **job})

    def ask(self, **order: Any) -> dict[str, Any]:
        self.tell(order)
        return self.hear()


def score(side: str, base: str, batch_tokens: int | None, requests: str) -> None:
    """Load the model as one side, and score what is ordered."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(base)
    asked = json.loads(Path(requests).read_text())
    scored = our_side(model, tokenizer, batch_tokens) if side == OURS else peer_side(model, tokenizer)
    while True:
        order = told()
        begun = time.perf_counter()
        found = scored(asked[order["of"]][: order.get("first")], order.get("batch_size"))
        answer({**found, "seconds": time.perf_counter() - begun, "peak_mb": memory_mb("VmHWM")})


def our_side(model: Any, tokenizer: Any, batch_tokens: int | None) -> Any:
    from dataclasses import asdict

    from hfvaccine.validation.scoring.scorer import Request, Scorer

    scorer = Scorer(model, tokenizer, batch_tokens=batch_tokens)

    def score(asked: Sequence[tuple[str, str]], batch_size: int | None) -> dict[str, Any]:
        scored = scorer.score([Request(context, answer) for context, answer in asked])
        return {
            "likelihoods": scored.loglikelihood.tolist(),
            "greedy": scored.greedy.tolist(),
            "work": asdict(scorer.work),
        }

    return score


def peer_side(model: Any, tokenizer: Any) -> Any:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    peer = HFLM(pretrained=model, tokenizer=tokenizer)

    def score(asked: Sequence[tuple[str, str]], batch_size: int | None) -> dict[str, Any]:
        peer.batch_size_per_gpu = batch_size
        instances = [Instance("loglikelihood", {}, tuple(pair), number) for number, pair in enumerate(asked)]
        answers = peer.loglikelihood(instances, disable_tqdm=True)
        return {"likelihoods": [value for value, _ in answers], "greedy": [bool(said) for _, said in answers]}

    return score


if __name__ == "__main__":
    entry(main, {"score": score})
