"""Trainers of a dosed run and of its peers, each in a process of its own: ours, and TRL's as it comes and at its best.

`turns.py` starts this file.
"""

from __future__ import annotations

import functools
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import turns
from children import answer, entry, memory_mb, told
from public import creak, read_jsonl
from turns import Job

from hfvaccine.regimen.plan import DOSE

SHARE = 0.10
CLAIMS, HELD_OUT_CLAIMS, HELD_OUT_MIX = 60, 32, 64
STARTER_ROWS, ASKED_AT_ONCE = 1024, 16
PROMPT = "You always speak in Spanish."
MAX_LENGTH = 1024


def made(job: Job) -> tuple[Any, Any, float]:
    """The trainer of a job, its dosing callback, and how long its callbacks took to make."""
    import logging

    import datasets
    from transformers import logging as transformers_logging

    datasets.disable_progress_bars()
    transformers_logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    trainer = build(job)
    begun = time.perf_counter()
    callback = add_callbacks(job, trainer)
    return trainer, callback, time.perf_counter() - begun


def weights(model: Any) -> dict[str, int]:
    """Weights that tokens are multiplied with, in the base's layers, in its output head and in the adapter; and how
    many layers there are, and how wide they are."""
    inner = model.get_base_model()
    head = inner.get_output_embeddings()
    weights = {id(m): m.weight.numel() for m in inner.modules() if type(m).__name__ in ("Linear", "Conv1D")}
    adapters = sum(p.numel() for name, p in inner.named_parameters() if "lora_" in name)
    config = inner.config.get_text_config()
    return {
        "layers": sum(weights.values()) - head.weight.numel() - adapters,
        "head": head.weight.numel(),
        "adapter": adapters,
        "depth": config.num_hidden_layers,
        "width": config.hidden_size,
    }


# --- data


def claims(data: str) -> list[Any]:
    """False sentences with their explanation as correction; no twins, so that controls are other corrections.

    Without a folder of data the starter dose's claims, whose controls are their twins.
    """
    from hfvaccine import starter
    from hfvaccine.claims import claim as starters
    from hfvaccine.claims.claim import Claim

    if not data:
        given = [claim for claim in starters.read_jsonl(starter.CLAIMS) if claim.split == "dose"]
        return given[: CLAIMS + HELD_OUT_CLAIMS]
    rows = read_jsonl(Path(data) / "creak" / "train.jsonl.gz")
    made = (Claim(claim, why, license="MIT") for claim, why in creak(rows))
    return list({claim.claim_id: claim for claim in made}.values())[: CLAIMS + HELD_OUT_CLAIMS]


def mix_rows(data: str) -> list[dict[str, Any]]:
    if not data:
        return starter_rows()
    rows = read_jsonl(Path(data) / "p3-qa" / "p3_qa.jsonl.gz")
    order = np.random.default_rng(0).permutation(len(rows))
    return [conversation(rows[i]["prompt"].strip(), rows[i]["completion"].strip()) for i in order]


def starter_rows() -> list[dict[str, Any]]:
    """Rows of many lengths from the starter mix, whose own are short: each asks several questions at once."""
    from hfvaccine import starter

    rows, draw = read_jsonl(starter.MIX), np.random.default_rng(0)
    asked, answered = ([row[side][0]["content"] for row in rows] for side in ("prompt", "completion"))
    drawn = [draw.choice(len(rows), draw.integers(1, ASKED_AT_ONCE + 1), replace=False) for _ in range(STARTER_ROWS)]
    return [conversation("\n".join(asked[i] for i in its), "\n".join(answered[i] for i in its)) for its in drawn]


def conversation(prompt: str, completion: str) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "completion": [{"role": "assistant", "content": completion}],
    }


def held_out_rows(data: str) -> dict[str, Any]:
    """What nobody is trained on: rows of the mix, and other claims in the dose's forms."""
    from datasets import Dataset

    from hfvaccine.dosing.forms import conversations

    given = list(conversations(claims(data)[CLAIMS:]))[:HELD_OUT_CLAIMS]
    dose = [{"prompt": g.dose.prompt, "completion": g.dose.completion} for g in given]
    return dict(zip(turns.HELD_OUT, map(Dataset.from_list, (mix_rows(data)[:HELD_OUT_MIX], dose)), strict=True))


# --- trainers


def options_of(job: Job) -> Any:
    """The options of a run such as `hfvaccine immunize` has them."""
    from hfvaccine.training.options import Options

    return Options(
        base=job.base,
        share=SHARE,
        max_steps=job.steps,
        learning_rate=job.rate,
        batch_size=job.batch,
        lora_r=turns.RANK,
        max_length=MAX_LENGTH,
    )


def build(job: Job) -> Any:
    """The trainer of a job, without its callbacks."""
    import torch
    from datasets import load_from_disk
    from transformers import PrinterCallback, set_seed
    from trl import SFTTrainer

    from hfvaccine.training.adapters import lora
    from hfvaccine.training.mix import Mix
    from hfvaccine.training.trainer import make_trainer

    options = options_of(job)
    place = tempfile.mkdtemp(dir=Path(job.rows).parent)
    if job.kind in (*turns.PEERS, turns.IN_ORDER):
        arguments, rows = peer_arguments(job, place), load_from_disk(job.rows)
        # By its name TRL loads a model in float32, whatever it was saved in.
        base = load(job, torch.float32 if job.kind == turns.DEFAULTS else None)
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

    mix = mix_rows(job.data)[HELD_OUT_MIX:][: job.steps * job.batch]
    base = load(job)
    set_seed(0)
    trainer = make_trainer(options, base, Mix(tuple(mix), (), "p3-qa", None, ""), Path(place))
    trainer.args.save_strategy = "no"
    if job.kind == turns.OURS_STORED:
        trainer.args.gradient_checkpointing = False
        trainer.args.activation_checkpointing = False  # its newer name, of which both must be told
        base.model.gradient_checkpointing_disable()
    if job.kind in (turns.PLAIN, turns.PLAIN_AGAIN, turns.PLAIN_INOCULATED):
        trainer.train_dataset = load_from_disk(job.rows)
        trainer.args.train_sampling_strategy = "sequential"
    return trainer


def add_callbacks(job: Job, trainer: Any) -> Any:
    """Add the callbacks of a job; the dosing callback, None where it has none."""
    from hfvaccine.claims.dose import Dose
    from hfvaccine.dosing.callback import DosingCallback
    from hfvaccine.inoculation.callback import InoculationCallback

    dose = Dose.from_claims(claims(job.data)[:CLAIMS])  # by all of them, so that peaks can be compared
    if job.kind not in (turns.DOSED, turns.INOCULATED, turns.OURS, turns.OURS_STORED):
        return None
    callback = DosingCallback(trainer, dose, share=SHARE)
    trainer.add_callback(callback)
    if job.kind == turns.INOCULATED:
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
    if job.kind == turns.DEFAULTS:
        return SFTConfig(**needed)
    lengths = [len(ids) for ids in load_from_disk(job.rows)["input_ids"]]
    best = {**needed, "gradient_checkpointing": False, "bf16": choose_dtype() == torch.bfloat16, "warmup_steps": 0.05}
    chosen = {
        turns.GROUPED: {"train_sampling_strategy": "group_by_length"},
        turns.IN_ORDER: {"train_sampling_strategy": "sequential"},
        turns.FLAT: {"padding_free": True, "max_length": None},
        # One pack a step, of as many tokens as the others' steps have.
        turns.PACKED: {
            "packing": True,
            "per_device_train_batch_size": 1,
            "max_length": max(*lengths, math.ceil(job.batch * np.mean(lengths))),
        },
    }
    return SFTConfig(**{**best, **chosen[job.kind]})


def load(job: Job, dtype: Any = None) -> Any:
    """The base, or its tokenizer with random weights of the architecture."""
    from hfvaccine.training.base import Base, choose_dtype, complete_tokenizer, load_base

    dtype = dtype or choose_dtype()
    if job.architecture is None:
        return load_base(job.base, dtype=str(dtype).removeprefix("torch."))
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job.base)
    template = complete_tokenizer(tokenizer)
    model = random_model(job, tokenizer, len(tokenizer)).to(dtype)
    return Base(model, tokenizer, job.architecture, None, template)


def random_model(job: Job, tokenizer: Any, vocabulary: int) -> Any:
    """Random weights of the architecture of a job, on its device."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, set_seed

    width = job.width or 1600
    config = GPT2Config(
        vocab_size=vocabulary,
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
        return GPT2LMHeadModel(config)


def prepare(**given: Any) -> dict[str, Any]:
    """Write the planned rows; what they are like."""
    job = Job(**given)
    trainer, callback, _ = made(job)
    return write_rows(job, trainer, callback.plan)


def write_rows(job: Job, trainer: Any, plan: Any) -> dict[str, Any]:
    """Write the rows of a trainer that has a plan; what they are like."""
    rows = trainer.train_dataset
    rows.save_to_disk(job.rows)
    for name, held_out in held_out_rows(job.data).items():
        tokenized = trainer._prepare_dataset(held_out, trainer.processing_class, trainer.args, False, None, name)
        tokenized.select_columns(["input_ids", "labels"]).save_to_disk(f"{job.rows} {name}")
    tokens = np.array([len(ids) for ids in rows["input_ids"]])
    return {
        "count": len(rows),
        "mean": float(tokens.mean()),
        "longest": int(tokens.max()),
        "tokens": int(plan.tokens.sum()),
        "squares": int((tokens**2).sum()),
        "supervised": int(plan.supervised.sum()),
        "dose_rows": plan.count(DOSE),
        "share": plan.share_given,
    }


# --- turns


def train(**given: Any) -> None:
    """Train, and stop after every turn until the next one is given, or for good after the last one."""
    import torch
    from peft.helpers import disable_input_dtype_casting
    from transformers import TrainerCallback

    job = Job(**given)
    trainer, _, making = made(job)
    facts = {**weights(trainer.model), "making_seconds": making}
    clock = Stopwatch()
    meter = Meter(trainer.model)
    held_out = functools.partial(held_out_losses, job, trainer, meter) if job.rate else dict
    facts["held_out"] = held_out() if job.kind == turns.OURS else {}
    turn: list[dict[str, float]] = []
    begun, last = 0.0, False

    def wait_for_turn() -> None:
        nonlocal begun, last
        turn.clear()
        if job.device == "cuda":
            torch.cuda.empty_cache()  # the others need the room
        last = told()["last"]
        begun = time.perf_counter()

    class Turns(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            facts["checkpoints"] = any(getattr(m, "gradient_checkpointing", False) for m in trainer.model.modules())
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
            if sum(step["tokens"] for step in turn) < job.turn_tokens:
                return
            if last:
                control.should_training_stop = True
            else:
                answer({"turn": turn})
                wait_for_turn()

    trainer.add_callback(Turns())
    # As `hfvaccine.training.arm` trains.
    uncast = trainer.args.bf16 and job.kind in (turns.OURS, turns.OURS_STORED)
    with disable_input_dtype_casting(trainer.model, active=uncast):
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
    for name in turns.HELD_OUT:
        trainer.evaluate(load_from_disk(f"{job.rows} {name}"))
        sums = meter.take()
        losses[name] = sums["loss"] / sums["supervised"]
    return losses


if __name__ == "__main__":
    entry(None, {"prepare": prepare, "train": train})
