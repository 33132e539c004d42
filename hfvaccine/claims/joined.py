"""Several doses as one: of a booster, its parent's and a new one; or doses that are given together, each at its own
share. Pure, no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from hfvaccine.claims.claim import Claim
from hfvaccine.claims.dose import Dose
from hfvaccine.claims.similar import overlapping
from hfvaccine.errors import DoseError, UsageError
from hfvaccine.files import digest_of


@dataclass(frozen=True)
class Joined(Dose):
    """Claims of several doses, to be given as one.

    It has no policy: each of its parts is given under its own.

    Args:
        parts: the doses, the first named (of a booster, the newest) first; all else is as in `Dose`, source and
            revision those of the first, and the recalls those of all, which `quarantine.recalls` reads by the policy
            of each.
        of_each: the share of each part, where each has turns of its own; empty where their claims are given as one
            dose.
    """

    parts: tuple[Dose, ...] = ()
    of_each: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        return " and ".join(part.name for part in self.parts) if self.of_each else self.parts[0].name

    @property
    def origins(self) -> Mapping[str, str]:
        """The digest of the dose that each claim is taken from, by the claim's id."""
        found: dict[str, str] = {}
        for part in self.parts:
            digest = part.digest()
            found = {claim.claim_id: digest for claim in part.claims} | found
        return {claim.claim_id: found[claim.claim_id] for claim in self.claims}

    @property
    def by_part(self) -> tuple[tuple[Claim, ...], ...]:
        """The claims that are taken from each part."""
        origins, digests = self.origins, [part.digest() for part in self.parts]
        return tuple(tuple(c for c in self.claims if origins[c.claim_id] == digest) for digest in digests)

    @property
    def streams(self) -> tuple[tuple[Claim, ...], ...]:
        return self.by_part if self.of_each else (self.claims,)

    @property
    def shares(self) -> tuple[float, ...]:
        return self.of_each

    def digest(self) -> str:
        """SHA-256 over the digests of the parts, in their order."""
        return digest_of("\n".join(part.digest() for part in self.parts).encode())


def together(parts: Sequence[Dose], shares: Sequence[float]) -> Joined:
    """Several doses to be given in one run, each at a share of its own.

    A claim that several of them hold is taken from the first named.

    Args:
        parts: the doses.
        shares: of each, the part of the training tokens that it is to be.

    Raises:
        UsageError: where there are not as many shares as doses, or not several.
        DoseError: for a dose that is named twice, or of which every claim stands in the others too.
    """
    if len(parts) != len(shares) or len(parts) < 2:
        raise UsageError(f"{len(parts)} doses have {len(shares)} shares.", "Give several doses, and each a share.")
    digests = [part.digest() for part in parts]
    ids = [{claim.claim_id for claim in part.claims} for part in parts]
    called = [f"{part.name!r}{f' ({part.source})' if part.source else ''}" for part in parts]
    if twice := [name for number, name in enumerate(called) if digests[number] in digests[:number]]:
        raise DoseError(f"The dose {twice[0]} is given twice.", "Give it once, with the share that it is to have.")
    for number in range(len(parts)):
        if ids[number] <= set(chain(*ids[:number], *ids[number + 1 :])):
            raise DoseError(
                f"Every claim of the dose {called[number]} also stands in the others that are given.",
                "Leave that dose out.",
            )
    return replace(join(parts, set(chain(*ids))), of_each=tuple(shares))


def join(parts: Sequence[Dose], given: Collection[str], apart: Collection[str] = ()) -> Joined:
    """One dose of several.

    A claim that several of them hold is taken as the first has it. Held out is what some of them hold out, less what
    is given or was, in the same or nearly the same words, wherever it comes from.

    Args:
        parts: the doses, the first named first; of a booster, the newest.
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
    first = parts[0]
    return Joined(
        claims=tuple(claims.values()),
        heldout=tuple(heldout.values()),
        source=first.source,
        revision=first.revision,
        recalls=tuple(entry for part in reversed(parts) for entry in part.recalls),
        recalls_asked=all(part.recalls_asked for part in parts),
        parts=tuple(parts),
    )
