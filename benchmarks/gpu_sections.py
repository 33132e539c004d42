"""The sections of `gpu.py`, each in a process of its own; that file starts this one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from children import entry
from measuring import spread
from turns import Job

NO_GPU = "no GPU here"
LEARNT_STEPS, LEARNT_RATE, LEARNT_CLAIMS = 8, 2e-3, 16
"""Of the adapter that is saved and loaded: enough to change logits by far more than they are rounded."""
PRIMED, TRIED = 12, 24
"""Questions with answers before a question, for requests that begin alike; requests that batch sizes are tried on."""


def quiet() -> None:
    import logging

    import datasets

    from hfvaccine.cli.output import quiet_libraries

    quiet_libraries()
    datasets.disable_progress_bars()
    logging.disable(logging.WARNING)


def device(device: str, sizes: Sequence[int]) -> dict[str, Any]:
    """What is measured on, and how fast it multiplies matrices."""
    import subprocess

    import torch

    found: dict[str, Any] = {"torch": torch.__version__, "cuda": torch.version.cuda}
    if device == "cuda":
        if not torch.cuda.is_available():
            return {"gpu": NO_GPU, **found}
        about = torch.cuda.get_device_properties(0)
        found |= {
            "gpu": about.name,
            "capability": f"{about.major}.{about.minor}",
            "memory_gb": about.total_memory / 1e9,
            "driver": None,
        }
        with suppress(OSError, subprocess.TimeoutExpired):
            asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
            said = subprocess.run(asked, capture_output=True, text=True, timeout=10).stdout
            found["driver"] = said.strip().split("\n")[0]
    rates = {size: matrix_rate(device, size) for size in sizes}
    found |= {"matrix_flops_per_s": max(rates.values()), "matrix_flops_per_s_by_size": rates}
    try:
        found["attention"] = attention(device)
    except Exception as error:  # nothing depends on it
        found["attention"] = {"not_measured": f"{type(error).__name__}: {error}"[:100]}
    return found


def matrix_rate(device: str, size: int, tries: int = 5, products: int = 10) -> float:
    """Operations per second of products of square bfloat16 matrices: the best of some tries, after a first one."""
    import torch

    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))

    def multiply() -> None:
        for _ in range(products):
            torch.mm(a, b)

    return 2 * size**3 * products / min(taken(multiply, device, tries))


def taken(work: Callable[[], object], device: str, tries: int) -> list[float]:
    """Seconds of each of some tries, after one that warms up."""
    import torch

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    seconds = []
    for _ in range(tries + 1):
        wait()
        began = time.perf_counter()
        work()
        wait()
        seconds.append(time.perf_counter() - began)
    return seconds[1:]


def attention(device: str) -> dict[str, Any]:
    """Attention of a flattened batch as ours is computed, a call for each row, against torch's one call for all.

    It says whether `hfvaccine.training.unpadded` should take the latter on a GPU.
    """
    import torch
    from torch.nn.attention.varlen import varlen_attn

    from hfvaccine.training.unpadded import row_by_row

    rows, longest = (32, 512) if device == "cuda" else (2, 16)
    lengths = np.random.default_rng(0).integers(longest // 8, longest, rows).tolist()
    bounds = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32, device=device)
    shape = (1, 25, sum(lengths), 64)
    query, key, value, gradient = (torch.randn(shape, device=device, dtype=torch.bfloat16) for _ in range(4))
    gradient = gradient.transpose(1, 2).contiguous()
    for one in (query, key, value):
        one.requires_grad_()
    module = torch.nn.Module()

    def ours() -> Any:
        return row_by_row(module, query, key, value, None, cu_seq_lens_q=bounds)[0]

    def at_once() -> Any:
        flat = (x[0].transpose(0, 1) for x in (query, key, value))
        return varlen_attn(*flat, bounds, bounds, max(lengths), max(lengths), window_size=(-1, 0))[None]

    found: dict[str, Any] = {"rows": rows, "tokens": sum(lengths)}
    found["largest_difference"] = float((ours() - at_once()).abs().max())
    for name, way in (("row_by_row", ours), ("at_once", at_once)):
        seconds = taken(lambda way=way: way().backward(gradient), device, 5)
        found[f"{name}_ms"] = 1e3 * float(np.median(seconds))
    return found


def model(base: str, device: str, layers: int, width: int, entries: tuple[int, int]) -> dict[str, Any]:
    """Write the base: random weights, and a tokenizer like GPT-2's, learnt from the starter mix and dose."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from tokenizers.trainers import BpeTrainer
    from trainers import random_model
    from transformers import PreTrainedTokenizerFast

    from hfvaccine import starter
    from hfvaccine.training.base import choose_dtype

    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learnt.decoder = decoders.ByteLevel()
    end = "<|endoftext|>"
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=entries[0], initial_alphabet=alphabet, special_tokens=[end])
    texts = [line for file in (starter.MIX, starter.CLAIMS) for line in file.read_text(encoding="utf-8").split("\n")]
    learnt.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=learnt, bos_token=end, eos_token=end)
    tokenizer.save_pretrained(base)
    made = random_model(Job("", device=device, layers=layers, width=width), tokenizer, entries[1])
    made = made.to(choose_dtype())
    made.save_pretrained(base)
    return {"parameters": made.num_parameters(), "dtype": str(made.dtype), "tokenizer_entries": len(tokenizer)}


def plan(**given: Any) -> dict[str, Any]:
    """Plan a dosed run and write its rows; what they are like, and what the run is expected to take."""
    from trainers import made, options_of, write_rows

    from hfvaccine.training.estimate import estimate

    job = Job(**given)
    trainer, callback, _ = made(job)
    config = trainer.model.config
    expected = estimate(config, options_of(job), callback.plan, trainer.data_collator.padding_free)
    flat = {"unpadded": trainer.data_collator.padding_free, "line": expected.line(), "estimate": asdict(expected)}
    return {**write_rows(job, trainer, callback.plan), **flat}


def adapter(base: str, folder: str) -> dict[str, Any]:
    """Train an adapter as `hfvaccine immunize` does, and load it as anybody would; how far their logits lie apart."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from hfvaccine import starter
    from hfvaccine.claims.claim import read_jsonl
    from hfvaccine.claims.dose import Dose
    from hfvaccine.training.adapters import apart, in_its_dtype, load_trained, tolerance
    from hfvaccine.training.arm import plan_run, train
    from hfvaccine.training.base import load_base
    from hfvaccine.training.mix import load_mix
    from hfvaccine.training.options import Options
    from hfvaccine.training.progress import SILENT
    from hfvaccine.validation.scores import VACCINE

    quiet()
    loaded = load_base(base)
    options = Options(
        base=base,
        share=0.2,
        max_steps=LEARNT_STEPS,
        learning_rate=LEARNT_RATE,
        claims=LEARNT_CLAIMS,
        output_dir=folder,
    )
    dose = Dose.from_claims(read_jsonl(starter.CLAIMS)[:LEARNT_CLAIMS])
    callback = plan_run(options, loaded, VACCINE, dose, load_mix("starter"), Path(folder))
    arm = train(options, loaded, VACCINE, callback, Path(folder), False, SILENT)
    trained = callback.regimen.trainer.model.eval()
    ids = torch.arange(8 * 64, device=trained.device).reshape(8, 64) * 7919 % len(loaded.tokenizer)

    def logits(of: Any) -> Any:
        with torch.inference_mode():
            return of(input_ids=ids).logits.float().cpu()

    expected = logits(trained)
    with trained.disable_adapter():
        without = logits(trained)
    fresh = AutoModelForCausalLM.from_pretrained(base, dtype=loaded.model.dtype).to(trained.device)
    others = PeftModel.from_pretrained(fresh, folder).eval()
    allowed = tolerance(trained)
    found: dict[str, Any] = {
        "dtype": str(loaded.model.dtype),
        "steps": LEARNT_STEPS,
        "largest_logit": float(expected.abs().max()),
        "largest_difference": float((logits(others) - expected).abs().max()),
        "difference_of_largest": apart(logits(others), expected),
        "in_its_dtype_difference_of_largest": apart(logits(in_its_dtype(others)), expected),
        "allowed_of_largest": allowed,
        "adapter_changes_of_largest": apart(without, expected),
    }
    if not found["difference_of_largest"] <= allowed:
        found["error"] = "The loaded adapter gives other logits than the one that was trained."
    if not found["adapter_changes_of_largest"] > allowed:
        found["error"] = "The adapter changes so little that one without it would pass."
    del trained, others, fresh, callback
    load_trained(load_base(base), {VACCINE: arm})  # raises where the run's own check does not pass
    return {**found, "own_check": "passed"}


def requests(number: int) -> dict[str, list[tuple[str, str]]]:
    """Questions of the starter dose with three answers each: after others that are answered, and by themselves."""
    from public import read_jsonl

    from hfvaccine import starter

    claims = [row for row in read_jsonl(starter.CLAIMS) if row.get("question") and row.get("twin")][:number]
    primer = "\n\n".join(
        f"Q: {row['prompt'][0]['content']}\nA: {row['completion'][0]['content']}"
        for row in read_jsonl(starter.MIX)[:PRIMED]
    )
    answers = [(row["question"], f" {row[side]}") for row in claims for side in ("claim", "twin", "correction")]
    return {
        "after_a_primer": [(f"{primer}\n\nQ: {question}\nA:", answer) for question, answer in answers],
        "by_themselves": [(f"Question: {question}\nAnswer:", answer) for question, answer in answers],
    }


def scorer(base: str, questions: Sequence[int], batch_sizes: Sequence[int], rounds: int) -> dict[str, Any]:
    """Seconds and log-likelihoods of ours and of the peer, on the same model, in turns."""
    import torch
    from validation import our_side, peer_side

    from hfvaccine.training.base import load_base

    quiet()
    loaded = load_base(base)
    model, tokenizer = loaded.model, loaded.tokenizer
    try:
        peer, theirs = "lm-eval", peer_side(model, tokenizer)
    except ImportError:
        peer, theirs = "transformers, as lm-eval is not installed", plain_side(model, tokenizer)
    ours = our_side(model, tokenizer, None)
    found: dict[str, Any] = {"peer": peer, "dtype": str(model.dtype)}
    sides = {"ours": lambda asked, size: ours(asked, None), "theirs": theirs}
    wait = torch.cuda.synchronize if model.device.type == "cuda" else lambda: None

    def timed(side: str, asked: Sequence[Any], size: int) -> tuple[float, dict[str, Any]]:
        wait()
        began = time.perf_counter()
        said = sides[side](asked, size)
        wait()
        return time.perf_counter() - began, said

    for name, asked in requests(questions[0]).items():
        tries = {size: min(timed("theirs", asked[:TRIED], size)[0] for _ in range(2)) for size in batch_sizes}
        size = min(tries, key=lambda one: tries[one])
        timed("ours", asked[:TRIED], size)
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        said: dict[str, Any] = {}
        for turn in range(rounds):
            for side in list(sides)[:: 1 if turn % 2 else -1]:
                took, said[side] = timed(side, asked, size)
                seconds[side].append(took)
        found[name] = {
            "requests": len(asked),
            "ours_s": spread(seconds["ours"]),
            "theirs_s": spread(seconds["theirs"]),
            "their_batch_size": size,
            "speed": spread(np.divide(seconds["theirs"], seconds["ours"])),
            "work_tokens": said["ours"]["work"],
            **differences(*(said[side] for side in sides)),
        }
    model.float()  # in which what is left of a difference is no rounding
    for name, asked in requests(questions[1]).items():
        exact = differences(ours(asked, None), theirs(asked, batch_sizes[0]))
        found[name] |= {f"float32_{what}": value for what, value in exact.items()}
    return found


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, float]:
    apart = np.abs(np.subtract(ours["likelihoods"], theirs["likelihoods"]))
    return {
        "largest_difference_nats": float(apart.max()),
        "mean_likelihood_nats": float(np.mean(theirs["likelihoods"])),
        "greedy_flags_that_differ": int(np.sum(np.not_equal(ours["greedy"], theirs["greedy"]))),
    }


def plain_side(model: Any, tokenizer: Any) -> Callable[[Sequence[tuple[str, str]], int], dict[str, Any]]:
    """Log-likelihoods by padded batches of like length through the model, for want of lm-eval."""
    import torch

    def score(asked: Sequence[tuple[str, str]], batch_size: int) -> dict[str, Any]:
        starts = [len(tokenizer(prompt)["input_ids"]) for prompt, _ in asked]
        rows = [tokenizer(prompt + answer)["input_ids"] for prompt, answer in asked]
        order = sorted(range(len(rows)), key=lambda number: -len(rows[number]))
        likelihoods, greedy = [0.0] * len(rows), [False] * len(rows)
        for at in range(0, len(order), batch_size):
            its = order[at : at + batch_size]
            padded = tokenizer.pad({"input_ids": [rows[i] for i in its]}, padding_side="right", return_tensors="pt")
            padded = padded.to(model.device)
            with torch.inference_mode():
                logits = torch.log_softmax(model(**padded).logits.float(), dim=-1)
            for line, i in enumerate(its):
                wanted = padded["input_ids"][line, starts[i] : len(rows[i])]
                after = logits[line, starts[i] - 1 : len(rows[i]) - 1]
                likelihoods[i] = float(after.gather(1, wanted[:, None]).sum())
                greedy[i] = bool((after.argmax(-1) == wanted).all())
        return {"likelihoods": likelihoods, "greedy": greedy}

    return score


def generation(base: str, prompts: int, new_tokens: int, rounds: int) -> dict[str, Any]:
    """Answers a second, ours and transformers', and how many greedy ones are the same."""
    from generation import SHORT, compare, questions

    from hfvaccine.training.base import load_base

    quiet()
    loaded = load_base(base)
    plain = questions(prompts)
    primed = [[{"role": "system", "content": SHORT}, *question] for question in plain[: max(2, prompts // 4)]]
    asked = {"greedy": (plain, 1), "four_samples_after_a_short_prefix": (primed, 4)}

    def compared(prompted: Sequence[Any], each: int, rounds: int) -> dict[str, Any]:
        found = compare(loaded, prompted, each, new_tokens, rounds, time.perf_counter)
        same = {"same_answers_share": found["same"]} if each == 1 else {}
        names = {
            "answers_per_s": "ours",
            "their_answers_per_s": "theirs",
            "speed": "ratio",
            "rows_of_batches": "batches",
        }
        return {"answers": len(prompted) * each, **{new: found[old] for new, old in names.items()}, **same}

    found: dict[str, Any] = {"dtype": str(loaded.model.dtype), "new_tokens": new_tokens}
    found |= {name: compared(*its, rounds) for name, its in asked.items()}
    loaded.model.float()  # in bfloat16 many tokens are exactly as likely as each other
    found["greedy"]["float32_same_answers_share"] = compared(*asked["greedy"], 1)["same_answers_share"]
    return found


JOBS: dict[str, Callable[..., dict[str, Any]]] = {
    "device": device,
    "model": model,
    "plan": plan,
    "adapter": adapter,
    "scorer": scorer,
    "generation": generation,
}

if __name__ == "__main__":
    entry(None, JOBS)
