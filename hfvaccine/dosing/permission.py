"""Whether a dose may be given as it is asked for: its own policy says until when, how much of it, and what."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hfvaccine.claims.dose import Dose
from hfvaccine.claims.joined import Joined
from hfvaccine.errors import DoseError
from hfvaccine.quarantine.policy import Policy
from hfvaccine.quarantine.recalls import objections


def permit(dose: Dose, share: float, override: str | None = None) -> tuple[str, ...]:
    """Hold what is asked for against the dose's policy.

    Args:
        dose: with the claims that are to be given; of several, each is held against its own policy.
        share: part of the training tokens that it is to be; of several with a share each, that of all.
        override: why it is given all the same.

    Returns:
        What the policy has against it, recalled claims included, in words: nothing, unless there is a reason to
        override it.

    Raises:
        DoseError: naming what the policy has against it, where nobody says why it is given all the same.
    """
    if isinstance(dose, Joined):
        shares = dose.shares or [share] * len(dose.parts)
        given = [(p, claims, its) for p, claims, its in zip(dose.parts, dose.by_part, shares, strict=True) if claims]
        return tuple(
            f"{part.name}: {objection}"
            for part, claims, its in given
            for objection in permit(replace(part, claims=claims, heldout=()), its, override)
        )
    policy = Policy.of(dose.policy)
    against = []
    today = datetime.now(UTC).date().isoformat()
    if policy.expires_on is not None and policy.expires_on <= today:
        against.append(f"it expired on {policy.expires_on}")
    low, high = policy.share_limits
    if not low <= share <= high:
        against.append(f"its share is to be {low:g} to {high:g} of the tokens, not {share:g}")
    harmful = sum("harm" in policy.objections(claim) for claim in dose.claims) if dose.policy else 0
    if harmful:
        against.append(f"{harmful} of its claims would do more harm than {policy.highest_harm}")
    against += objections(dose)[0]
    if against and override is None:
        raise DoseError(
            f"The policy of the dose {dose.name!r} forbids this: {'; '.join(against)}.",
            "Give it as its policy allows, or seal it anew; where there is a reason to give it all the same, say it "
            "with --override-policy REASON (override_policy=), and the card shows it.",
        )
    return tuple(against)
