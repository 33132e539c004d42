"""A row that is given: a conversation, and the claim and form it was made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Row:
    """One training conversation made from a claim.

    Args:
        claim_id: the claim it comes from; for a matched control, the claim whose truth is shown.
        form: the form's name.
        kind: "dose" (the claim is shown or asked about) or "control" (a true statement in the same form).
        prompt: messages without loss.
        completion: what follows; loss falls on the assistant's messages of it.
        control: "twin" for a control that shows the claim's twin, "matched" for one that shows another claim's
            truth of like length and domain; None for a dose row.
        origin: the digest of the dose that the claim is of, where several are given as one; else None.
    """

    claim_id: str
    form: str
    kind: str
    prompt: Messages
    completion: Messages
    control: str | None = None
    origin: str | None = None


@dataclass(frozen=True)
class Given:
    """A dose row with its control; None where the form shows no statement or there is no truth to show."""

    dose: Row
    control: Row | None


def in_rounds(streams: Sequence[Iterable[Given]]) -> Iterator[list[tuple[int, Given]]]:
    """The rows of several doses as they are numbered: in rounds of one row of each, while it has any.

    Args:
        streams: of each dose its rows, in the order in which they are given.

    Returns:
        The rounds, each row with the number of its dose.
    """
    for round in zip_longest(*streams):
        yield [(number, given) for number, given in enumerate(round) if given is not None]


def marked(rows: Iterable[Given], origins: Mapping[str, str]) -> Iterator[Given]:
    """Rows with the dose that each is of.

    Args:
        rows: dose rows, each with its control.
        origins: the dose of each claim, by its id; rows of other claims stay as they are.
    """
    if not origins:
        yield from rows
        return
    for given in rows:
        dose, control = given.dose, given.control
        yield Given(
            replace(dose, origin=origins.get(dose.claim_id)),
            control and replace(control, origin=origins.get(control.claim_id)),
        )
