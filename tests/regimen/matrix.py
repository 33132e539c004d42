"""Runs of the matrix test: each trains the tiny model and writes down which rows really reached it.

Called by `test_matrix.py` in its own process, and by a launcher in several:

    PYTHONPATH=tests torchrun --nproc-per-node 2 tests/regimen/matrix.py JOBS

with JOBS a JSON file of `model`, `claims`, `mix` and a list of `cases`, each with its own `folder`.
"""

import contextlib
import json
import random
import sys
from pathlib import Path

import torch
import trainers
from datasets import Dataset as Rows
from trainers import KillAt, Killed, rows_of, watch

from hfvaccine import Dose, DosingCallback
from hfvaccine.claims.claim import Claim

STEPS, SAVE_STEPS = 6, 2


def train(case, job, kill_at=None, resume=False):
    """Train once. Returns {step: [the rows of each batch]} of this process, and the model."""
    trainer = trainers.make(
        job["model"],
        job["mix"],
        output_dir=case["folder"],
        gradient_accumulation_steps=case["accumulation"],
        max_steps=STEPS,
        packing=case["packing"],
        dataloader_num_workers=case["workers"],
        save_strategy="steps",
        save_steps=SAVE_STEPS,
    )
    raw = Rows.from_list(job["mix"]) if case["packing"] else None
    dose = Dose.from_claims([Claim.from_row(row) for row in job["claims"]])
    trainer.add_callback(
        DosingCallback(trainer, dose, share=0.1, schedule=case["schedule"], seed=case["seed"], raw_dataset=raw)
    )
    if kill_at is not None:
        trainer.add_callback(KillAt(kill_at))
    arrived = {}
    watch(trainer, lambda inputs: arrived.setdefault(trainer.state.global_step + 1, []).append(rows_of(inputs)))
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
