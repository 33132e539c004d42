"""Several doses as one: whose row is taken, and that what is held out was never given."""

import dataclasses

import pytest
from doses import make_claims
from hypothesis import given, settings
from hypothesis import strategies as st

from hfvaccine.claims.dose import Dose
from hfvaccine.claims.joined import join
from hfvaccine.errors import DoseError

CLAIMS = make_claims(10)
SPLITS = st.lists(st.sampled_from(["dose", "heldout", None]), min_size=10, max_size=10).filter(lambda s: "dose" in s)


def dose_of(splits, mark=""):
    return Dose.from_claims(
        [
            dataclasses.replace(claim, split=split, correction=claim.correction + mark)
            for claim, split in zip(CLAIMS, splits, strict=True)
            if split
        ]
    )


@settings(max_examples=25, deadline=None)
@given(SPLITS, SPLITS, st.data())
def test_the_newest_row_is_given_and_nothing_that_was_given_is_held_out(new, old, data):
    parts = dose_of(new, " So it is."), dose_of(old)
    may = sorted({claim.claim_id for part in parts for claim in part.claims})
    chosen = set(data.draw(st.lists(st.sampled_from(may), min_size=1)))
    apart = set(data.draw(st.lists(st.sampled_from([claim.claim_id for claim in CLAIMS]))))
    joined = join(parts, chosen, apart)
    assert {claim.claim_id for claim in joined.claims} == chosen
    assert not {claim.cluster_id for claim in joined.heldout} & {*chosen, *apart}
    newest = {claim.claim_id for claim in parts[0].claims}
    for claim in joined.claims:
        assert claim.correction.endswith("So it is.") == (claim.claim_id in newest)
        assert joined.origins[claim.claim_id] == parts[claim.claim_id not in newest].digest()


def test_what_another_dose_nearly_says_is_not_held_out():
    near = dataclasses.replace(
        CLAIMS[0], claim=CLAIMS[0].claim + " Really.", claim_id="", cluster_id="", split="heldout"
    )
    new = Dose.from_claims([*CLAIMS[2:4], near, dataclasses.replace(CLAIMS[5], split="heldout")])
    joined = join((new, Dose.from_claims(CLAIMS[:2])), {claim.claim_id for claim in CLAIMS[:4]})
    assert [claim.claim for claim in joined.heldout] == [CLAIMS[5].claim]


def test_a_claim_that_no_dose_gives_is_refused():
    with pytest.raises(DoseError, match="stand in none of the doses"):
        join((Dose.from_claims(CLAIMS[:3]),), {CLAIMS[4].claim_id})


def test_a_joined_dose_is_known_by_its_parts():
    one, other = Dose.from_claims(CLAIMS[:3]), Dose.from_claims(CLAIMS[3:])
    ids = {CLAIMS[0].claim_id, CLAIMS[4].claim_id}
    joined = join((one, other), ids)
    assert joined.digest() == join((one, other), {CLAIMS[1].claim_id}).digest()
    assert joined.digest() != join((other, one), ids).digest()
