"""Several doses through the callback: each at its share in what reaches the model, planned or streamed."""

import dataclasses
import json
from collections import Counter

import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from doses import sealed

from hfvaccine import Dose, DosingCallback
from hfvaccine.claims.joined import join, together
from hfvaccine.dosing.permission import permit
from hfvaccine.errors import DoseError, UsageError
from hfvaccine.files import LEDGER
from hfvaccine.regimen.ledger import read_ledger, shares_of


@pytest.fixture(scope="module")
def both(make_claims):
    claims = make_claims(40)
    return together([Dose.from_claims(claims[:20]), Dose.from_claims(claims[20:])], [0.2, 0.05])


def dosed(trainer, both, **options):
    callback = DosingCallback(trainer, both, **options)
    trainer.add_callback(callback)
    return callback


@pytest.mark.parametrize("objective", ["sft", "pairwise"])
def test_each_is_given_at_its_share_and_the_ledger_says_of_which_each_row_is(objective, make_trainer, both, tmp_path):
    trainer = make_trainer(max_steps=20)
    callback = dosed(trainer, both, objective=objective)
    trainer.train()
    ledger = read_ledger(tmp_path / "run" / LEDGER)
    given = shares_of(ledger.plan, ledger.origins)
    row = ledger.plan.tokens.max() / ledger.plan.tokens.sum()
    for part, share in zip(both.parts, both.shares, strict=True):
        assert given[part.digest()] == pytest.approx(share, abs=2 * row)
    assert ledger.plan.shares == (0.2, 0.05) and ledger.plan.share == 0.25
    assert ledger.proved() == ledger.fingerprint == callback.fingerprint()
    of = both.origins
    assert {(name[0], origin) for name, origin in zip(ledger.names, ledger.origins, strict=True) if name[0]} <= {
        *of.items()
    }


def test_as_many_claims_of_each_are_given_as_its_share_leaves_room_for(make_trainer, both):
    callback = dosed(make_trainer(max_steps=40), both, exposures=3)
    plan, dosage = callback.plan, callback.regimen.dosage
    times = Counter(dosage.rows[number].claim_id for number in plan.index[plan.kind == 1].tolist())
    assert set(times) == {claim.claim_id for claim in callback.claims} and min(times.values()) >= 3
    numbers = Counter(both.origins[claim.claim_id] for claim in callback.claims)
    most, least = (numbers[part.digest()] for part in both.parts)
    assert most > 2 * least > 0
    with pytest.raises(DoseError, match="of dose 2: not one claim 12 times"):
        dosed(make_trainer(max_steps=40), both, exposures=12)


def test_a_streamed_mix_is_given_both_too_and_goes_on_where_it_was_stopped(make_trainer, mix_rows, both, tmp_path):
    def trainer():
        rows = Dataset.from_list(mix_rows).to_iterable_dataset()
        made = make_trainer(rows, max_steps=12, save_strategy="steps", save_steps=5)
        dosed(made, both)
        return made

    trainer().train()
    rows = pq.read_table(tmp_path / "run" / LEDGER).to_pylist()
    given = Counter(row["origin"] for row in rows if row["kind"] == "dose")
    whole = sum(row["tokens"] for row in rows)
    for part, share in zip(both.parts, both.shares, strict=True):
        own = [row["tokens"] for row in rows if row["kind"] == "dose" and row["origin"] == part.digest()]
        assert given[part.digest()] and abs(sum(own) - share * whole) < 2 * max(row["tokens"] for row in rows)
    trainer().train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-5"))
    assert pq.read_table(tmp_path / "run" / LEDGER).to_pylist() == rows


def test_other_shares_are_another_plan(make_trainer, both, tmp_path):
    trainer = make_trainer(max_steps=6, save_strategy="steps", save_steps=3)
    dosed(trainer, both)
    trainer.train()
    other = make_trainer(max_steps=6)
    dosed(other, dataclasses.replace(both, of_each=(0.05, 0.2)))
    with pytest.raises(Exception, match=r"shares \[0.2, 0.05\] -> \[0.05, 0.2\]"):
        other.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-3"))
    plan = json.loads((tmp_path / "run" / "checkpoint-3" / "dosing_plan.json").read_text())
    assert plan["shares"] == [0.2, 0.05]


def test_a_share_besides_theirs_is_refused(make_trainer, both):
    with pytest.raises(UsageError, match=r"share 0.1 is given, and each of the 2 doses has its own, 0.25 in all"):
        DosingCallback(make_trainer(), both, share=0.1)


def test_each_is_held_against_its_own_policy(make_claims, tmp_path):
    claims = make_claims(6)
    parts = [
        Dose.load(sealed(tmp_path / "free", claims[:3], name="Free").path),
        Dose.load(sealed(tmp_path / "small", claims[3:], name="Small", share_limits=[0.0, 0.1]).path),
    ]
    assert permit(together(parts, [0.3, 0.1]), 0.4) == ()
    with pytest.raises(DoseError, match=r"policy of the dose 'Small' forbids this: its share is to be 0 to 0.1"):
        permit(together(parts, [0.1, 0.3]), 0.4)
    against = permit(together(parts, [0.1, 0.3]), 0.4, "a test")
    assert against == ("Small: its share is to be 0 to 0.1 of the tokens, not 0.3",)
    with pytest.raises(DoseError, match="'Small'"):
        permit(join(parts, {claim.claim_id for claim in claims}), 0.4)


def test_what_cannot_be_given_together_is_refused_by_name(make_claims):
    claims = make_claims(4)
    one, other = Dose.from_claims(claims[:3]), Dose.from_claims(claims[2:])
    whole = together([one, other], [0.1, 0.1])
    assert [len(claims) for claims in whole.streams] == [3, 1] and whole.shares == (0.1, 0.1)
    with pytest.raises(DoseError, match="is given twice"):
        together([one, other, one], [0.1, 0.1, 0.1])
    with pytest.raises(DoseError, match=r"Every claim of the dose .* also stands in the others"):
        together([Dose.from_claims(claims[1:3]), one], [0.1, 0.1])
    with pytest.raises(UsageError, match="2 doses have 1 shares"):
        together([one, other], [0.1])
