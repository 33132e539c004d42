"""What a trainer's settings mean for a plan: which are refused, how many rows a step takes, and where they lie."""

from __future__ import annotations

from typing import Any

from datasets import Dataset as Rows

from hfvaccine.errors import PlanError
from hfvaccine.regimen.measure import Ints
from hfvaccine.regimen.positions import positions
from hfvaccine.regimen.rendering import reads_clock

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


def refuse_too_long(trainer: Any, number: int, tokens: int) -> None:
    """Refuse a row of the mix that the trainer's model has no room for; it would end the training in the middle.

    Args:
        trainer: the trainer.
        number: of the row.
        tokens: of the row, as the trainer has cut it.

    Raises:
        PlanError: naming the row.
    """
    room = positions(trainer.model.config)
    if room is not None and tokens > room:
        raise PlanError(
            f"Row {number} of the mix has {tokens} tokens, and the model has {room} positions.",
            f"Set max_length to at most {room}, or leave such rows out.",
        )


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
    if reads_clock(trainer.processing_class.chat_template):
        raise PlanError(
            "The chat template writes today's date (strftime_now): on another day the plan would be another.",
            "Fix it before you make the trainer: tokenizer.chat_template = "
            "hfvaccine.regimen.rendering.frozen(tokenizer.chat_template)",
        )
    if trainer.train_dataset is None:
        raise PlanError("A trainer without a train_dataset has no mix.", "Give the mix as its train_dataset.")
    if isinstance(trainer.train_dataset, Rows) and "labels" not in trainer.train_dataset.column_names:
        raise PlanError(
            "The trainer's dataset has not been prepared (no `labels`).",
            "Do not skip the preparation: give SFTTrainer text, messages or prompt/completion rows.",
        )
