"""The regimen of a trainer, made when there is none yet."""

from __future__ import annotations

from typing import Any

from datasets import Dataset as Rows
from datasets import IterableDataset

from hfvaccine.regimen.regimen import ATTRIBUTE, Regimen
from hfvaccine.regimen.stream import StreamedRegimen


def regimen_of(trainer: Any, raw_dataset: Rows | IterableDataset | None = None) -> Regimen:
    """The trainer's regimen.

    Args:
        trainer: a `trl.SFTTrainer`.
        raw_dataset: the mix as it was before the trainer prepared it; needed under packing,
            where the prepared rows have lost their text.

    Raises:
        PlanError: for a trainer whose settings cannot be exact.
    """
    regimen: Regimen | None = getattr(trainer, ATTRIBUTE, None)
    if regimen is None:
        streamed = isinstance(trainer.train_dataset, IterableDataset)
        regimen = (StreamedRegimen if streamed else Regimen)(trainer, raw_dataset)
    if raw_dataset is not None:
        regimen.raw = raw_dataset
    return regimen
