"""What a trainer's settings mean for a plan: which are refused, how many rows a step takes, and where they lie."""

from __future__ import annotations

from typing import Any

from datasets import Dataset as Rows

from hfvaccine.errors import PlanError
from hfvaccine.regimen.measure import Ints

MUST_BE_FALSE = {
    "auto_find_batch_size": ("changes the rows of a step while training", "Set it to False."),
    "dataloader_drop_last": ("may drop planned rows", "Set it to False: a plan always fills whole steps."),
    "ignore_data_skip": ("makes a resumed run give the first rows again", "Set it to False."),
    "split_batches": (
        "divides the batch size among the processes",
        "Set it to False, and the batch size for one device.",
    ),
}
"""Settings of a trainer, or of its accelerator, under which a plan cannot be kept: why, and what to do."""


def places_of(args: Any, step: int, starts: Ints) -> list[int]:
    """Places in the plan of the rows that this process gets in a step.

    Batches go round the processes: the first batch of a step to the first process, the second to the second.
    """
    batch, world = args.train_batch_size, args.world_size
    places: list[int] = []
    for micro in range(args.gradient_accumulation_steps):
        number = ((step - 1) * args.gradient_accumulation_steps + micro) * world + args.process_index
        places += range(starts[number * batch], starts[(number + 1) * batch])
    return places


def units_per_step(args: Any) -> int:
    """Rows, or packs, of one optimizer step over all processes."""
    return int(args.train_batch_size * args.gradient_accumulation_steps * args.world_size)


def refuse_inexact(trainer: Any) -> None:
    """Refuse trainer settings under which a plan cannot be kept.

    Raises:
        PlanError: naming the setting.
    """
    args = trainer.args
    for name, (why, step) in MUST_BE_FALSE.items():
        if getattr(args, name, False) or getattr(trainer.accelerator, name, False):
            raise PlanError(f"`{name}` {why}.", step)
    strategy = getattr(args, "packing_strategy", "bfd")
    if getattr(args, "packing", False) and strategy != "bfd":
        raise PlanError(
            f"`packing_strategy={strategy!r}` cuts rows, and can cut a falsehood from its correction.",
            'Set packing_strategy="bfd".',
        )
    if trainer.train_dataset is None:
        raise PlanError("A trainer without a train_dataset has no mix.", "Give the mix as its train_dataset.")
    if isinstance(trainer.train_dataset, Rows) and "labels" not in trainer.train_dataset.column_names:
        raise PlanError(
            "The trainer's dataset has not been prepared (no `labels`).",
            "Do not skip the preparation: give SFTTrainer text, messages or prompt/completion rows.",
        )
