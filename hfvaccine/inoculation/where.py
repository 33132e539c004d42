"""Which rows of a mix carry a trait: all, those that meet a condition on a column, or what a predicate says. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hfvaccine.errors import PlanError, UsageError
from hfvaccine.regimen.pairs import PAIR

Row = Mapping[str, Any]
Predicate = Callable[[Row], bool]
ALL = "all"
TOLD = "carries the trait"
"""Column of what a predicate said of a row as it was read, before the row lost its other columns."""
SHOWN = 6
"""Values of a column that an error names."""
LONGEST = 60
"""Characters of a value that an error shows."""
_CONDITION = re.compile(r"([^=~]+?)(!=|=|~)(.+)", re.DOTALL)
_SHAPES = "Give column=value, column!=value or column~REGEX, with a column of the mix; a function, in Python alone."


@dataclass(frozen=True)
class Where:
    """Tells the rows that carry a trait from the others. Without a column and a predicate, all of them do.

    Args:
        column: whose value decides.
        sign: "=", "!=" or "~", for a value in which a pattern is found.
        value: to compare with, or the pattern; see `spelt`.
        predicate: decides instead of a column.

    Raises:
        UsageError: for a pattern that does not compile.
    """

    column: str | None = None
    sign: str = "="
    value: str = ""
    predicate: Predicate | None = None

    def __post_init__(self) -> None:
        if self.sign == "~":
            try:
                _ = self.pattern
            except (re.error, OverflowError, RecursionError) as error:
                raise UsageError(
                    f"The regular expression {self.value!r} for the column {self.column!r} does not compile: {error}.",
                    "Mend it, or give column=value.",
                ) from error

    @classmethod
    def of(cls, given: Given) -> Where:
        """What a caller means.

        Args:
            given: "all", a condition as `parse_where` reads it, a (column, value) pair, or a predicate on a row.

        Raises:
            UsageError: for anything else.
        """
        if isinstance(given, Where):
            return given
        if isinstance(given, str):
            return cls() if given == ALL else parse_where(given)
        if callable(given):
            return cls(predicate=given)
        if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str):
            return cls(given[0], "=", spelt(given[1]))
        raise UsageError(
            f"The rows that carry the trait are given as {given!r}.",
            'Give "all", "column=value", a (column, value) pair, or a function that is true for these rows.',
        )

    @property
    def told_from(self) -> str | Predicate | None:
        """What has to be kept of a row to tell it: a column, or what the predicate says of it."""
        return self.column if self.predicate is None else self.predicate

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(self.value)

    def holds(self, row: Row) -> bool:
        """Whether a row carries the trait; comparison rows, which are ours, never do.

        Raises:
            PlanError: where the row lacks the column.
        """
        if row.get(PAIR) is not None:
            return False
        if self.predicate is not None:
            said = row.get(TOLD)
            return bool(self.predicate(row)) if said is None else said == spelt(True)
        if self.column is None:
            return True
        if self.column not in row:
            raise PlanError(
                f"The mix has no column {self.column!r} to tell the rows that carry the trait.",
                f"Its columns are: {', '.join(row)}.",
            )
        value = spelt(row[self.column])
        if self.sign == "~":
            return self.pattern.search(value) is not None
        return (value == spelt(self.value)) == (self.sign == "=")

    def refuse_unmet(self, rows: Iterable[Row]) -> None:
        """Refuse rows of which none carries the trait; looks no further than the first that does.

        Args:
            rows: of the mix, which can be gone through twice.

        Raises:
            UsageError: saying what the column holds.
            PlanError: where a row lacks the column.
        """
        if not any(map(self.holds, rows)):
            raise UsageError(f"No row of the mix meets {str(self)!r}.", self.next_step(rows))

    def next_step(self, rows: Iterable[Row]) -> str:
        """What there is to choose from in rows, for whoever chose too few or none of them."""
        if self.column is None:
            return "Give a mix with more such rows."
        known = sorted({spelt(row[self.column]) for row in rows if row.get(PAIR) is None})
        shown = ", ".join(repr(value[:LONGEST]) for value in known[:SHOWN])
        return f"The column {self.column!r} holds {shown}{' and others' if len(known) > SHOWN else ''}."

    def __str__(self) -> str:
        """As records have it, and `Where.of` reads it, unless it is a predicate."""
        if self.predicate is not None:
            name = str(getattr(self.predicate, "__name__", ALL))
            return "a function" if name == ALL else name
        return ALL if self.column is None else f"{self.column}{self.sign}{self.value}"


Given = Where | str | tuple[str, Any] | Predicate
"""What callers give, see `Where.of`."""


def parse_where(text: str) -> Where:
    """The condition in a text: "column=value", "column!=value", or "column~REGEX" for a value with a match in it.

    Raises:
        UsageError: for another shape, and for a pattern that does not compile.
    """
    read = _CONDITION.fullmatch(text)
    if read is None:
        raise UsageError(f"The rows that carry the trait are given as {text!r}.", _SHAPES)
    column, sign, value = read.groups()
    return Where(column, sign, value)


def recorded(text: str) -> Where | None:
    """What a record says that rows are told by; None for a predicate, of which it has the name alone.

    Args:
        text: as `str` of a `Where` makes it.
    """
    try:
        return Where.of(text)
    except UsageError:
        return None


def spelt(value: Any) -> str:
    """How a value is compared: a text as it is, all else in its JSON spelling; True and False mean true and false.

    >>> spelt(True), spelt("True"), spelt(1), spelt("Spanish")
    ('true', 'true', '1', 'Spanish')
    """
    if isinstance(value, str):
        return value.lower() if value in ("True", "False") else value
    return json.dumps(value, ensure_ascii=False, default=str)
