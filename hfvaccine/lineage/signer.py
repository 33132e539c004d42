"""Who signed an adapter's repo, as a link beside its chain: the chain says what, and this says who."""

from __future__ import annotations

from hfvaccine.files import SIGNATURE
from hfvaccine.hub.signature import BESIDE_DOWNLOADS, Expected, covered
from hfvaccine.lineage.fetch import Papers
from hfvaccine.lineage.links import BROKEN, MISSING, OK, Link, whole

EVERYTHING = ("*",)
"""Patterns of files that are fetched where a signature is looked at: it is over all of them."""


def with_signer(chain: Link, found: Papers, expected: Expected | None) -> Link:
    """A chain and the link "signed by".

    Args:
        chain: of the adapter.
        found: its papers; where somebody is expected, with every file of the repo.
        expected: who should have signed it; None where nobody said so.

    Returns:
        The chain as it was where there is no signature and none was expected. The link is missing where nobody said
        who should have signed, and broken where it was not signed, by another, or is not what was signed.
    """
    here = SIGNATURE in found.names
    if expected is None:
        unproved = Link("signed by", MISSING, f"{SIGNATURE} is there", "whose it is was not looked at: give --signer")
        return whole(chain.name, (*chain.below, unproved)) if here else chain
    signature = (found.folder / SIGNATURE).read_bytes() if here else None
    # A clone and a download have files of their own; a repo with such names was given them.
    own = (".git/", f"{BESIDE_DOWNLOADS}/") if found.local else ()
    names = tuple(name for name in found.names if not name.startswith(own))
    wrong = expected.objection(found.folder, names, signature)
    what = expected.name if signature is None else f"{expected.name}, {len(covered(signature) or ())} files"
    signed = Link("signed by", BROKEN if wrong else OK, what, wrong)
    return whole(chain.name, (*chain.below, signed))
