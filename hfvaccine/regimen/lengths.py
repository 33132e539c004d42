"""How long rows are, and in what that is counted. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hfvaccine.errors import PlanError, UsageError

UNITS = ("tokens", "supervised")

Ints = npt.NDArray[np.int64]
Counts = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Lengths:
    """How long the rows of one kind are.

    Args:
        tokens: (rows,) non-padding tokens of each row.
        supervised: (rows,) tokens that carry loss.
    """

    tokens: Ints
    supervised: Ints

    def of(self, unit: str) -> Ints:
        return self.tokens if unit == "tokens" else self.supervised

    def __len__(self) -> int:
        return len(self.tokens)


def check_rows(label: str, rows: Lengths, unit: str, longest: int | None = None) -> None:
    """Refuse rows that count nothing, or are longer than a pack.

    Raises:
        PlanError: naming the row.
    """
    if len(rows) and int(rows.of(unit).min()) <= 0:
        raise PlanError(
            f"Row {int(rows.of(unit).argmin())} of the {label} has no {unit} to count.",
            "Drop empty rows, and rows whose completion was cut away.",
        )
    if longest is not None and len(rows) and int(rows.tokens.max()) > longest:
        raise PlanError(
            f"Row {int(rows.tokens.argmax())} of the {label} has {int(rows.tokens.max())} tokens, a pack {longest}.",
            "A row is never split: pack to a greater length, or drop the row.",
        )


def check_unit(unit: str) -> None:
    """Refuse a unit that the share cannot be counted in.

    Raises:
        UsageError: naming the unit.
    """
    if unit not in UNITS:
        raise UsageError(f"The unit {unit!r} is unknown.", f"Count the share in one of: {', '.join(UNITS)}.")
