"""Validation in training: logged when it should be, two-sidedly, and without a trace on the training."""

import pytest
import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM

from hfvaccine.claims.dose import Dose
from hfvaccine.dosing.callback import DosingCallback
from hfvaccine.errors import UsageError, ValidationError
from hfvaccine.regimen.plan import DOSE
from hfvaccine.training.unpadded import remove_padding
from hfvaccine.validation.asking.probes import Battery
from hfvaccine.validation.callback import ValidationCallback, ready_to_score
from hfvaccine.validation.scoring.scorer import Scorer

STEPS = 5


@pytest.fixture
def dose(make_claims):
    return Dose.from_claims(make_claims(16, heldout=6))


@pytest.fixture
def make_trainer(make_trainer):
    def make(**settings):
        torch.manual_seed(0)
        settings |= {"max_steps": STEPS, "gradient_accumulation_steps": 1, "max_length": 1024, "logging_steps": 1}
        return make_trainer(learning_rate=1e-2, **settings)

    return make


def validations(trainer):
    return {e["step"]: e for e in trainer.state.log_history if any(key.startswith("validation/") for key in e)}


LORA = LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.1)


@pytest.mark.parametrize(
    "unpadded, bf16", [(False, False), pytest.param(True, False, marks=pytest.mark.slow), (True, True)]
)
@pytest.mark.parametrize("peft_config", [None, LORA])
def test_both_sides_are_logged_before_during_and_after_and_training_is_the_same(
    make_trainer, dose, peft_config, unpadded, bf16
):
    weights = []
    for watched in (False, True):
        trainer = make_trainer(peft_config=peft_config, bf16=bf16)
        if unpadded:
            assert remove_padding(trainer)
        if watched:
            trainer.add_callback(ValidationCallback(trainer, dose, every=2))
        trainer.train()
        weights.append([p.detach().clone() for p in trainer.model.parameters()])
    assert all(torch.equal(*pair) for pair in zip(*weights, strict=True))
    found = validations(trainer)
    assert sorted(found) == [0, 2, 4, 5]
    for logs in found.values():
        for name in ("specific", "cross"):
            keys = {f"validation/{name}_{part}" for part in ("verdict_auroc", "answer_auroc", "verdict_rejection")}
            assert keys | {f"validation/{name}_verdict_true_acceptance"} <= set(logs)
            assert all(0 <= logs[key] <= 1 for key in keys)
    assert found[0] != found[5]


def test_what_is_logged_is_what_the_finished_model_scores(make_trainer, dose):
    trainer = make_trainer()
    remove_padding(trainer)
    callback = ValidationCallback(trainer, dose, every=100)
    trainer.add_callback(callback)
    trainer.train()
    trainer.save_model()
    model = AutoModelForCausalLM.from_pretrained(trainer.args.output_dir, dtype=torch.float32)
    with torch.inference_mode():
        scores, _, _ = callback.battery.ask(Scorer(model, trainer.processing_class))
    right = (scores.pairs["specific", "verdict", "plain"].claim < 0).mean()
    assert validations(trainer)[STEPS]["validation/specific_verdict_rejection"] == pytest.approx(right, abs=1e-4)


def test_a_model_is_as_it_was_after_scoring(make_trainer):
    trainer = make_trainer()
    remove_padding(trainer)
    model = trainer.model.train()
    before = model.config._attn_implementation
    with pytest.raises(RuntimeError, match="stop"), ready_to_score(model):
        assert not model.training and model.config._attn_implementation == "sdpa"
        raise RuntimeError("stop")
    assert model.training and model.config._attn_implementation == before


def test_as_many_pairs_as_wanted_are_asked_about(make_trainer, dose):
    callback = ValidationCallback(make_trainer(), dose, every=1, pairs=5)
    assert isinstance(callback.battery, Battery)
    assert [len(s.pairs) for s in callback.battery.sets] == [5, 5]


def test_only_claims_that_the_plan_gives_are_asked_about_as_given(make_trainer, dose):
    trainer = make_trainer(per_device_train_batch_size=4)
    callback = ValidationCallback(trainer, dose, every=100, pairs=None)
    trainer.add_callback(callback)
    dosing = DosingCallback(trainer, dose, share=0.3)
    trainer.add_callback(dosing)
    rows = dosing.regimen.dosage.rows
    given = {rows[number].claim_id for number in dosing.plan.index[dosing.plan.kind == DOSE]}
    assert 4 <= len(given) < len(dose.claims)
    trainer.train()
    asked = {one.name: set(one.ids) for one in callback.battery.sets}
    assert asked == {"specific": given, "cross": {claim.claim_id for claim in dose.heldout}}


def test_what_is_too_few_is_not_asked_about(make_trainer, make_claims):
    trainer = make_trainer()
    callback = ValidationCallback(trainer, Dose.from_claims(make_claims(16)), every=100)
    assert [one.name for one in callback.battery.sets] == ["specific"]
    dose = Dose.from_claims(make_claims(16, heldout=6))
    callback = ValidationCallback(trainer, dose, every=100)
    trainer.add_callback(DosingCallback(trainer, dose, share=0.2))
    trainer.add_callback(callback)
    trainer.train()
    assert [one.name for one in callback.battery.sets] == ["cross"]


@pytest.mark.parametrize("every", [0, -3])
def test_an_interval_that_is_none_is_refused(make_trainer, dose, every):
    with pytest.raises(UsageError, match=f"every is {every}"):
        ValidationCallback(make_trainer(), dose, every=every)


def test_a_dose_without_twins_is_refused(make_trainer, make_claims):
    with pytest.raises(ValidationError):
        ValidationCallback(make_trainer(), Dose.from_claims(make_claims(16, heldout=6, twin=None)), every=1)
