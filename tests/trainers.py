"""Trainers of tiny models, on the CPU and without a word; and what reaches the model in them."""

import contextlib
import itertools

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

from hfvaccine import DosingCallback

SETTINGS = {
    "per_device_train_batch_size": 2,
    "learning_rate": 1e-3,
    "max_length": 256,
    "save_strategy": "no",
    "report_to": [],
    "disable_tqdm": True,
    "gradient_checkpointing": False,
    "use_cpu": True,
    "bf16": False,
    "dataloader_pin_memory": False,
}


def make(model, rows, tokenizer=None, eval_rows=None, peft_config=None, **settings):
    """A trainer of the model in a folder, on a list of rows or a data set; `output_dir` is among the settings."""
    return SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        args=SFTConfig(**{**SETTINGS, **settings}),
        train_dataset=Dataset.from_list(rows) if isinstance(rows, list) else rows,
        eval_dataset=eval_rows and Dataset.from_list(eval_rows),
        processing_class=tokenizer or AutoTokenizer.from_pretrained(model),
        peft_config=peft_config,
    )


def dosed(trainer, dose, **options):
    callback = DosingCallback(trainer, dose, **{"share": 0.2, **options})
    trainer.add_callback(callback)
    return callback


def watch(trainer, look):
    """From now on look at each batch before the trainer takes its step."""
    step = trainer.training_step

    def watched(model, inputs, *more, **named):
        look(inputs)
        return step(model, inputs, *more, **named)

    trainer.training_step = watched


def arriving(trainer):
    """The rows that reach the model from now on, as `rows_of` gives them."""
    rows = []
    watch(trainer, lambda inputs: rows.extend(rows_of(inputs)))
    return rows


def rows_of(inputs):
    """The (tokens, labels) of each row of a batch; a first label is left out, for it is never used."""
    ids, labels = inputs["input_ids"], inputs["labels"]
    if "attention_mask" in inputs:
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        pairs = [(i[:n].tolist(), t[1:n].tolist()) for i, t, n in zip(ids, labels, lengths, strict=True)]
    else:
        starts = [*(inputs["position_ids"][0] == 0).nonzero().flatten().tolist(), ids.shape[1]]
        pairs = [(ids[0, a:b].tolist(), labels[0, a + 1 : b].tolist()) for a, b in itertools.pairwise(starts)]
    return pairs


def encoded(tokenizer, prompt, completion, ignored=-100):
    """Tokens and labels of a conversation, told from what the template writes up to each turn of the assistant."""
    render = tokenizer.apply_chat_template
    turns = prompt + completion
    whole = render(turns, return_dict=True)["input_ids"]
    labels = [ignored] * len(whole)
    for number in range(len(prompt), len(turns), 2):
        start = len(render(turns[:number], add_generation_prompt=True, return_dict=True)["input_ids"])
        end = len(render(turns[: number + 1], return_dict=True)["input_ids"])
        labels[start:end] = whole[start:end]
    return whole, labels


class Killed(Exception):
    """The run ends here, as if its process had."""


def interrupt(trainer, batch):
    """Stop the trainer as Ctrl-C does, once, after so many batches: in the middle of a step if it accumulates."""
    step, count = trainer.training_step, itertools.count(1)

    def stopped(*args, **named):
        loss = step(*args, **named)
        if next(count) == batch:
            raise KeyboardInterrupt
        return loss

    trainer.training_step = stopped
    with contextlib.suppress(KeyboardInterrupt):
        trainer.train()


class KillAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise Killed
