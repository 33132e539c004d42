"""Several doses as one: what a booster is given of its parent's doses and of a new one. Pure, no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from hfvaccine.claims.claim import Claim
from hfvaccine.claims.dose import Dose
from hfvaccine.claims.similar import overlapping
from hfvaccine.errors import DoseError
from hfvaccine.files import digest_of


@dataclass(frozen=True)
class Joined(Dose):
    """Claims of several doses, to be given as one.

    It has no policy: each of its parts is given under its own.

    Args:
        parts: the doses, the newest first; all else is as in `Dose`, source and revision those of the newest, and
            the recalls those of all, which `quarantine.recalls` reads by the policy of each.
    """

    parts: tuple[Dose, ...] = ()

    @property
    def name(self) -> str:
        return self.parts[0].name

    @property
    def origins(self) -> Mapping[str, str]:
        """The digest of the dose that each claim is taken from, by the claim's id."""
        found: dict[str, str] = {}
        for part in self.parts:
            digest = part.digest()
            found = {claim.claim_id: digest for claim in part.claims} | found
        return {claim.claim_id: found[claim.claim_id] for claim in self.claims}

    def digest(self) -> str:
        """SHA-256 over the digests of the parts, in their order."""
        return digest_of("\n".join(part.digest() for part in self.parts).encode())


def join(parts: Sequence[Dose], given: Collection[str], apart: Collection[str] = ()) -> Joined:
    """One dose of several.

    A claim that several of them hold is taken as the newest has it. Held out is what some of them hold out, less what
    is given or was, in the same or nearly the same words, wherever it comes from.

    Args:
        parts: the doses, the newest first.
        given: ids of the claims that are to be given.
        apart: ids of claims that are not, and that must not be taken for claims never given either: they were given
            before.

    Raises:
        DoseError: where no part holds one of the claims among those that may be given.
    """
    claims: dict[str, Claim] = {}
    for part in parts:
        claims |= {c.claim_id: c for c in part.claims if c.claim_id in given and c.claim_id not in claims}
    if lacking := sorted(set(given) - claims.keys()):
        raise DoseError(
            f"{len(lacking)} claims that are to be given stand in none of the doses, first {lacking[0]}.",
            "Name the very doses, at their revisions, that the adapter was given.",
        )
    taken = {*given, *apart}
    known = [[c for c in part.claims if c.claim_id in taken] for part in parts]
    clusters = {c.cluster_id for its in known for c in its}
    heldout: dict[str, Claim] = {}
    for number, part in enumerate(parts):
        free = [c for c in part.heldout if c.claim_id not in taken and c.cluster_id not in clusters]
        # Within a dose, what is alike is on one side already.
        others = [text for place, its in enumerate(known) if place != number for c in its for text in c.texts]
        near = overlapping([c.claim for c in free], others)
        heldout |= {c.claim_id: c for c, hit in zip(free, near, strict=True) if hit < 0 and c.claim_id not in heldout}
    newest = parts[0]
    return Joined(
        claims=tuple(claims.values()),
        heldout=tuple(heldout.values()),
        source=newest.source,
        revision=newest.revision,
        recalls=tuple(entry for part in reversed(parts) for entry in part.recalls),
        recalls_asked=all(part.recalls_asked for part in parts),
        parts=tuple(parts),
    )
