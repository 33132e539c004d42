"""What a run records of its dose and its plan, without a run."""

from dataclasses import replace

import numpy as np
import pytest

from hfvaccine.claims.dose import Dose
from hfvaccine.papers.record import dose_record, plan_record
from hfvaccine.regimen.lengths import Lengths
from hfvaccine.regimen.plan import make_plan


def test_a_dose_is_recorded_by_its_digest_and_its_claims_by_their_ids(make_claims):
    dose = Dose.from_claims(make_claims(9, heldout=3))
    chosen = dose.claims[:4]
    record = dose_record(dose, chosen, {chosen[0].claim_id: 5, chosen[2].claim_id: 1})
    assert (record["claims_given"], record["claims_chosen"], record["claims_in_dose"]) == (2, 4, 6)
    assert record["claim_ids"] == sorted(chosen[n].claim_id for n in (0, 2))
    assert record["not_reached"] == sorted(chosen[n].claim_id for n in (1, 3))
    assert record["times_given"] == {"least": 0, "median": 0.5, "most": 5}
    assert record["manifest_sha256"] == dose.digest()
    assert record["licenses"] == list(dose.licenses) == sorted({claim.license for claim in dose.claims})
    unnamed = replace(dose, claims=tuple(replace(claim, license="") for claim in dose.claims), heldout=())
    assert unnamed.licenses == () and replace(unnamed, policy={"license": "cc0-1.0"}).licenses == ("cc0-1.0",)
    assert not any(claim.claim in str(record) or claim.correction in str(record) for claim in dose.claims)


def test_a_plan_is_recorded_with_what_came_of_it():
    lengths = Lengths(np.full(50, 40), np.full(50, 10))
    plan = make_plan(lengths, lengths, lengths, np.arange(50), share=0.2, rows_per_step=4, steps=10, seed=5)
    record = plan_record(plan, "f00")
    assert (record["fingerprint"], record["seed"], record["steps"], record["rows"]) == ("f00", 5, 10, 40)
    kinds = ("dose", "control", "mix")
    assert sum(record[f"{kind}_rows"] for kind in kinds) == record["rows"]
    assert sum(record[f"{kind}_tokens"] for kind in kinds) == record["tokens"] == 1600
    assert record["share_given"] == pytest.approx(record["dose_tokens"] / record["tokens"], abs=1e-5)
    assert record["share_asked"] == 0.2
