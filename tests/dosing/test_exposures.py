"""Exposures: as many claims as can be given so often, and no claim less."""

from collections import Counter

import pytest
import trainers

from hfvaccine import Dose
from hfvaccine.dosing.choice import choose, ordered
from hfvaccine.errors import DoseError, PlanError
from hfvaccine.regimen.plan import DOSE


def given(callback):
    plan, rows = callback.plan, callback.regimen.dosage.rows
    return Counter(rows[number].claim_id for number in plan.index[plan.kind == DOSE].tolist())


@pytest.mark.parametrize("exposures", [1, 2, 5])
@pytest.mark.parametrize("objective", ["sft", "pairwise"])
def test_every_claim_that_is_given_is_given_as_often_as_was_asked(exposures, objective, make_trainer, make_claims):
    dose = Dose.from_claims(make_claims(40))
    trainer = make_trainer(max_steps=40)
    callback = trainers.dosed(trainer, dose, exposures=exposures, objective=objective)
    times = given(callback)
    assert 0 < len(callback.claims) < 40
    assert set(times) == {claim.claim_id for claim in callback.claims}
    assert min(times.values()) >= exposures
    # One more would be given less often.
    assert sum(times.values()) < (len(callback.claims) + 2) * exposures + len(callback.claims)


def test_where_all_have_room_all_are_given_in_the_order_of_the_dose(make_trainer, dose):
    callback = trainers.dosed(make_trainer(max_steps=40), dose, exposures=2)
    assert callback.claims == dose.claims


def test_the_claims_are_those_that_a_smaller_number_would_choose(make_trainer, make_claims):
    dose = Dose.from_claims(make_claims(40))
    callback = trainers.dosed(make_trainer(max_steps=40), dose, exposures=3, seed=5)
    assert (
        callback.claims
        == choose(dose.claims, len(callback.claims), 5)
        == ordered(dose.claims, 5)[: len(callback.claims)]
    )


def test_not_one_claim_so_often_is_refused_and_the_trainer_stays_as_it_was(make_trainer, make_claims):
    trainer = make_trainer(max_steps=10)
    before = trainer.train_dataset
    with pytest.raises(DoseError, match="not one claim 500 times"):
        trainers.dosed(trainer, Dose.from_claims(make_claims(4)), exposures=500)
    assert trainer.train_dataset is before and trainer.args.max_steps == 10


def test_of_a_streamed_mix_it_is_not_known(make_trainer, mix_rows, dose):
    from datasets import Dataset

    trainer = make_trainer(Dataset.from_list(mix_rows).to_iterable_dataset(), max_steps=10)
    with pytest.raises(PlanError, match="streamed"):
        trainers.dosed(trainer, dose, exposures=2)
