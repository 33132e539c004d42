"""How fast answers are generated: ours against transformers' own batched `generate`, on the same prompts.

    python benchmarks/generation.py --output generation.json

The prompts are questions of the starter mix, by themselves and after a system prompt of a grid's length and of a long
one. Both sides answer the same batches, sorted by length, with the same model in the same process; they take turns at
each batch, and every other turn runs backwards. With one thread it is processor time that counts, which other programs
disturb less. Greedy answers are compared as well, and have to be the same in float32: in bfloat16 many tokens are
exactly as likely as each other, and rounding chooses. Exits with 1 where a target is missed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from measuring import BASE, OUTPUT, begin, end, quickstart_base, shown, spread, target

from hfvaccine import starter

SHORT = "You always write your whole answer in the language of Madrid and Mexico City."
PREFIXES = {"none": None, "short": SHORT, "long": " ".join(SHORT for _ in range(12))}
"""System prompts."""
TARGETS = {
    ("none", 1): 1.0,
    ("short", 1): 1.0,
    ("long", 1): 1.0,
    ("none", 4): 1.0,
    ("short", 4): 1.5,
    ("long", 4): 1.5,
}
"""Least speed as a ratio, by prefix and by samples of each answer; one sample is the greedy one."""
SAME_TARGET = 1.0
"""Of greedy answers in float32."""


@click.command(help=__doc__.split("\n")[0])
@click.option("--prompts", default=16, show_default=True, help="Different questions.")
@click.option("--samples", default=4, show_default=True, help="Answers to each, where they are drawn.")
@click.option("--max-new-tokens", default=64, show_default=True, help="Where answers are cut off.")
@click.option("--rounds", default=3, show_default=True, help="Turns of each side, after one that warms up.")
@click.option("--threads", default=1, show_default=True, help="Threads of torch.")
@click.option("--dtype", default="auto", show_default=True, type=click.Choice(["auto", "bfloat16", "float32"]))
@BASE
@OUTPUT
def main(
    prompts: int,
    samples: int,
    max_new_tokens: int,
    rounds: int,
    threads: int,
    dtype: str,
    base: str | None,
    output: Path | None,
) -> None:
    about = begin(threads)
    import torch

    from hfvaccine.cli.output import quiet_libraries
    from hfvaccine.training.base import load_base

    torch.set_num_threads(threads)
    quiet_libraries()
    loaded = load_base(base or quickstart_base(), dtype=dtype)
    about["dtype"] = str(loaded.model.dtype)
    clock = time.process_time if threads == 1 and loaded.model.device.type == "cpu" else time.monotonic
    found, targets = {}, []
    for prefix, text in PREFIXES.items():
        asked = [[*([] if text is None else [{"role": "system", "content": text}]), *q] for q in questions(prompts)]
        for each in (1, samples):
            name = f"prefix {prefix}, {'greedy' if each == 1 else f'{each} samples'}"
            found[name] = compare(loaded, asked, each, max_new_tokens, rounds, clock)
            one = found[name]
            click.echo(
                f"{name}: {shown(one['ours'])} answers a second, transformers {shown(one['theirs'])}, "
                f"ratio {shown(one['ratio'])}; tokens an answer {one['tokens'][0]:.0f} and {one['tokens'][1]:.0f}"
            )
            if (prefix, each) in TARGETS:
                targets.append(target(f"{name}: speed", one["ratio"]["median"], at_least=TARGETS[prefix, each]))
            if each == 1 and loaded.model.dtype == torch.float32:
                targets.append(target(f"{name}: same answers", one["same"], at_least=SAME_TARGET))
    end({"machine": about, "prompts": prompts, "rounds": rounds, "found": found}, targets, output)


def questions(number: int) -> list[list[dict[str, str]]]:
    """Different first turns of the starter mix."""
    rows = [json.loads(line) for line in starter.MIX.read_text(encoding="utf-8").split("\n") if line]
    texts = dict.fromkeys(
        row["prompt"][0]["content"] if isinstance(row["prompt"], list) else row["prompt"] for row in rows
    )
    return [[{"role": "user", "content": text}] for text in list(texts)[:number]]


def compare(
    base: Any, asked: Sequence[Any], each: int, most: int, rounds: int, clock: Callable[[], float]
) -> dict[str, Any]:
    """Both sides on the same batches, by turns."""
    from hfvaccine.validation.scoring.generate import Sampling, batched, encode, generate

    batches = batched(encode(base.model, base.tokenizer, asked, most), most, each)

    def ours(batch: Any, seed: int) -> list[str]:
        sampling = None if each == 1 else Sampling(each, 1.0, seed)
        return generate(base.model, base.tokenizer, batch, None, most, sampling=sampling)

    def theirs(batch: Any, seed: int) -> list[str]:
        return by_transformers(base, batch, each, most, seed)

    sides = (ours, theirs)
    speeds: dict[Any, list[float]] = {side: [] for side in sides}
    said: dict[Any, list[str]] = {side: [] for side in sides}
    for turn in range(rounds + 1):
        seconds: Any = dict.fromkeys(sides, 0.0)
        for batch in batches:
            for side in sides[:: 1 if turn % 2 else -1]:
                began = clock()
                texts = side(batch, turn)
                seconds[side] += clock() - began
                if turn:
                    said[side] += texts
        if turn:  # the first one warms up
            for side in sides:
                speeds[side].append(len(asked) * each / seconds[side])
    same = np.mean([one == other for one, other in zip(said[ours], said[theirs], strict=True)])
    tokens = [np.mean([len(base.tokenizer(text)["input_ids"]) for text in texts]) for texts in said.values()]
    return {
        "ours": spread(speeds[ours]),
        "theirs": spread(speeds[theirs]),
        "ratio": spread(np.divide(speeds[ours], speeds[theirs])),
        "same": float(same),
        "tokens": [float(mean) for mean in tokens],
        "batches": [len(batch) for batch in batches],
    }


def by_transformers(base: Any, batch: Sequence[Sequence[int]], each: int, most: int, seed: int) -> list[str]:
    """The answers to one batch by the model's own `generate`, left-padded, as its documentation has it."""
    import torch

    padded = base.tokenizer.pad({"input_ids": [list(row) for row in batch]}, padding_side="left", return_tensors="pt")
    padded = padded.to(base.model.device)
    torch.manual_seed(seed)
    drawn = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "num_return_sequences": each}
    with torch.inference_mode():
        out = base.model.eval().generate(
            **padded,
            max_new_tokens=most,
            pad_token_id=base.tokenizer.pad_token_id,
            **({"do_sample": False} if each == 1 else drawn),
        )
    texts = base.tokenizer.batch_decode(out[:, padded["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.strip() for text in texts]


if __name__ == "__main__":
    main()
