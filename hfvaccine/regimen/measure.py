"""What a tokenized row is known by: its tokens, the tokens with loss, and a checksum of both.

The planner counts by the lengths; while training, the rows that reach the
model are told by their checksums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hfvaccine.regimen.lengths import Lengths

IGNORED = -100
"""Label of a token without loss."""

Ints = npt.NDArray[np.int64]

# Odd 64-bit numbers, as signed ones: arithmetic wraps in the same way in numpy and in torch.
TOKEN, LABEL, PLACE, FINISH = 0x1E3779B97F4A7C15, 0x3F58476D1CE4E5B9, 0x14D049BB133111EB, 0x2545F4914F6CDD1D


@dataclass(frozen=True)
class Measured:
    """Rows of a tokenized dataset as the plan sees them.

    Args:
        lengths: tokens and supervised tokens of each row.
        checksums: (rows,) see `scramble`.
    """

    lengths: Lengths
    checksums: Ints


def measure(prepared: Any, batch_size: int = 10_000) -> Measured:
    """Measure every row of a tokenized `datasets.Dataset`, a batch at a time.

    Args:
        prepared: rows with `input_ids` and `labels`.
        batch_size: rows that are in memory at once.
    """
    tokens, supervised, checksums = [], [], []
    for batch in prepared.select_columns(["input_ids", "labels"]).with_format("arrow").iter(batch_size):
        ids, lengths = _flat(batch["input_ids"])
        labels, _ = _flat(batch["labels"])
        ends = np.cumsum(lengths)
        place = np.arange(len(ids)) - np.repeat(ends - lengths, lengths)
        # The first token is never predicted: its label may say anything, and collators differ in it.
        labels = np.where(place == 0, IGNORED, labels)
        tokens.append(lengths)
        supervised.append(_sums((labels != IGNORED).astype(np.int64), ends))
        checksums.append(_sums(scramble(ids, labels, place), ends))
    if not tokens:
        empty = np.zeros(0, np.int64)
        return Measured(Lengths(empty, empty), empty)
    return Measured(Lengths(np.concatenate(tokens), np.concatenate(supervised)), np.concatenate(checksums))


def scramble(ids: Any, labels: Any, place: Any) -> Any:
    """A number for each token, its label and its place in the row; the sum over a row is its checksum.

    Works on int64 arrays of numpy and on int64 tensors of torch, with the same result.
    """
    mixed = ids * TOKEN + labels * LABEL + place * PLACE
    mixed = mixed ^ ((mixed >> 31) & 0x1FFFFFFFF)  # the mask makes the shift a logical one
    return mixed * FINISH


def _flat(column: Any) -> tuple[Ints, Ints]:
    """All values of a list column, and the length of each list."""
    import pyarrow.compute as pc

    chunk = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    values = pc.list_flatten(chunk).to_numpy(zero_copy_only=False).astype(np.int64)
    return values, pc.list_value_length(chunk).to_numpy(zero_copy_only=False).astype(np.int64)


def _sums(values: Ints, ends: Ints) -> Ints:
    """Sums over consecutive stretches that end at `ends`; wraps as checksums do."""
    total = np.concatenate([np.zeros(1, np.int64), np.cumsum(values)])
    return np.diff(total[np.concatenate([[0], ends]).astype(np.int64)])
