"""A row that is given: a conversation, and the claim and form it was made of."""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    claim_id: str
    form: str
    kind: str
    prompt: Messages
    completion: Messages
    control: str | None = None


@dataclass(frozen=True)
class Given:
    """A dose row with its control; None where the form shows no statement or there is no truth to show."""

    dose: Row
    control: Row | None
