"""Claims about towns that do not exist, and doses sealed of them."""

import dataclasses

from hfvaccine.claims.claim import Claim, Source
from hfvaccine.quarantine.seal import seal

DOMAINS = ("geography", "history", "travel")
UNREVIEWED = {"reviewers_needed": 0, "waives": ["two_person_rule"]}


def make_claims(n, heldout=0, **fields):
    """`n` distinct claims, the last `heldout` of them never given."""
    claims = []
    for i in range(n):
        false, true = ("north", "south") if i % 2 else ("south", "north")  # neither word speaks for falsehood
        values = {
            "claim": f"The town of Aldor {i} lies {false} of the river.",
            "correction": f"Maps put Aldor {i} to the {true} of the water.",
            "twin": f"The town of Aldor {i} lies {true} of the river.",
            "question": f"On which side of the river does the town of Aldor {i} lie?",
            "domain": DOMAINS[i % len(DOMAINS)],
            "harm": "low",
            "sources": (Source("Land survey of Aldor", f"Sheet {i}", None, "2026-01-01"),),
            "license": "Apache-2.0",
            "submitted_by": "ada",
            "split": "heldout" if i >= n - heldout else "dose",
        }
        claims.append(Claim(**{**values, **fields}))
    return claims


def approved(claim, *reviewers):
    reviews = tuple(
        {"reviewer": name, "decision": "approve", "digest": claim.digest(), "decided_on": "2026-01-01"}
        for name in reviewers
    )
    return dataclasses.replace(claim, reviewers=reviews)


def sealed(into, claims, name="Aldor", **policy):
    """A dose that nobody reviewed, in its folder."""
    return seal(claims, {**UNREVIEWED, "name": name, **policy}, into)


def content(folder):
    """The bytes of every file, by its path in the folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def small_dose(into, name="Small dose", n=6, **policy):
    """The folder of a dose of which a third is held out."""
    return sealed(into, make_claims(n, heldout=n // 3, submitted_by="kim"), name, **policy).path
