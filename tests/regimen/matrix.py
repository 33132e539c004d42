"""Runs of the matrix test: each trains the tiny model and writes down which rows really reached it.

Called by `test_matrix.py` in its own process, and by a launcher in several:

    torchrun --nproc-per-node 2 tests/dosing/matrix.py JOBS

with JOBS a JSON file of `model`, `claims`, `mix` and a list of `cases`, each with its own `folder`.
"""

import contextlib
import itertools
import json
import random
import sys
from pathlib import Path

import torch
from datasets import Dataset as Rows
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

from hfvaccine import Dose, DosingCallback
from hfvaccine.claims.claim import Claim

STEPS, SAVE_STEPS = 6, 2


class Killed(Exception):
    """The run ends here, as if its process had."""


class KillAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise Killed


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


def train(case, job, kill_at=None, resume=False):
    """Train once. Returns {step: [the rows of each batch]} of this process, and the model."""
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32),
        args=SFTConfig(
            output_dir=case["folder"],
            per_device_train_batch_size=2,
            gradient_accumulation_steps=case["accumulation"],
            max_steps=STEPS,
            learning_rate=1e-3,
            max_length=256,
            packing=case["packing"],
            dataloader_num_workers=case["workers"],
            save_steps=SAVE_STEPS,
            gradient_checkpointing=False,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            bf16=False,
            dataloader_pin_memory=False,
        ),
        train_dataset=Rows.from_list(job["mix"]),
        processing_class=AutoTokenizer.from_pretrained(job["model"]),
    )
    raw = Rows.from_list(job["mix"]) if case["packing"] else None
    dose = Dose.from_claims([Claim.from_row(row) for row in job["claims"]])
    trainer.add_callback(
        DosingCallback(trainer, dose, share=0.1, schedule=case["schedule"], seed=case["seed"], raw_dataset=raw)
    )
    if kill_at is not None:
        trainer.add_callback(KillAt(kill_at))
    arrived, training_step = {}, trainer.training_step

    def recorded(model, inputs, *more, **named):
        arrived.setdefault(trainer.state.global_step + 1, []).append(rows_of(inputs))
        return training_step(model, inputs, *more, **named)

    trainer.training_step = recorded
    with contextlib.suppress(Killed):
        trainer.train(resume_from_checkpoint=resume or None)
    return arrived, trainer


def run(case, job):
    """Train straight, or be killed at a random step and resume; write down what arrived in this process."""
    if case["resumed"]:
        kill_at = random.Random(case["seed"]).randrange(SAVE_STEPS, STEPS)
        arrived, _ = train(case, job, kill_at=kill_at)
        after, trainer = train(case, job, resume=True)
        first = kill_at // SAVE_STEPS * SAVE_STEPS + 1
        assert sorted(after) == list(range(first, STEPS + 1))
        arrived.update(after)
    else:
        arrived, trainer = train(case, job)
    path = Path(case["folder"]) / f"arrived-{trainer.args.process_index}.json"
    path.write_text(json.dumps({str(step): rows for step, rows in arrived.items()}))
    return trainer


if __name__ == "__main__":
    jobs = json.loads(Path(sys.argv[1]).read_text())
    for case in jobs["cases"]:
        run(case, jobs)
    torch.distributed.destroy_process_group()
