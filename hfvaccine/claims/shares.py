"""Several doses as somebody writes them: `NAME=SHARE`, each with its part of the training tokens. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hfvaccine.errors import UsageError
from hfvaccine.sources.place import Source, with_revision

USUAL = 0.05
"""What a dose is of the training tokens where nobody says it."""


@dataclass(frozen=True)
class Shares:
    """Doses, and what each is to be of the training tokens.

    Args:
        doses: the name of each, with its revision where it has one, and its share.
        share: of all of them.
    """

    doses: tuple[tuple[str, float], ...]
    share: float

    def written(self) -> tuple[str, ...]:
        """Each as `NAME=SHARE`."""
        return tuple(with_share(name, share) for name, share in self.doses)


def with_share(name: str, share: float) -> str:
    """A dose and its share, as `shared_out` reads them."""
    return f"{name}={share!r}"


def shared_out(given: str | Sequence[str], share: float | None = None) -> Shares:
    """Read doses, of which each may have a share of its own.

    Args:
        given: a dose, or several: `NAME` or `NAME=SHARE`. What is here is meant by its whole name, whatever that is.
        share: of the one that has none of its own; None where nobody says it.

    Raises:
        UsageError: where several have no share of their own, one is named twice, a share is no number, or a share is
            given and no dose is left to take it.
    """
    entries = [given] if isinstance(given, str) else list(given)
    if not entries:
        raise UsageError("There is no dose.", "Name one, or leave it out for the starter dose.")
    read = [without_share(entry) for entry in entries]
    without = [name for name, its in read if its is None]
    if len(without) > 1:
        raise UsageError(
            f"{len(without)} of {len(read)} doses have no share of their own: {', '.join(without)}.",
            f"Say of all but one what it is to be of the training tokens, such as --dose {without[1]}=0.02.",
        )
    names = [with_revision(place.name, place.revision) for place in (Source.of("dose", name) for name, _ in read)]
    if len(read) > 1 and (twice := [name for number, name in enumerate(names) if name in names[:number]]):
        raise UsageError(f"The dose {twice[0]!r} is given twice.", "Give it once, with the share that it is to have.")
    rest = USUAL if share is None else share
    shares = [rest if its is None else its for _, its in read]
    whole = shares[0] if len(shares) == 1 else in_all(shares)
    if not without and share not in (None, whole):
        raise UsageError(
            f"The share {share:g} is given, and each dose has one of its own, {whole:g} in all.",
            "Leave --share out, or one dose without a share of its own.",
        )
    return Shares(tuple(zip(names if len(names) > 1 else [read[0][0]], shares, strict=True)), whole)


def without_share(entry: str) -> tuple[str, float | None]:
    """The name of a dose by itself, and its share where it has one.

    Raises:
        UsageError: for a share that is no number.
    """
    name, sign, share = entry.rpartition("=")
    if not sign or Path(entry).exists():
        return entry, None
    try:
        number = float(share)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"The share {share!r} of the dose {name!r} is no number.", f"Write it as {name}=0.02.")
    return name, number


def in_all(shares: Sequence[float]) -> float:
    """The share of several doses together, as it would be written: 0.05 and 0.02 are 0.07."""
    return round(math.fsum(shares), 12)
