"""Training without padding gives the same loss and the same gradients, only sooner."""

import pytest
import torch
import trainers
from peft import LoraConfig
from transformers import AutoTokenizer

from hfvaccine import Dose, DosingCallback
from hfvaccine.training.base import PLAIN_TEMPLATE
from hfvaccine.training.unpadded import remove_padding

KINDS = ("tiny_llama", "tiny_gpt2")


@pytest.fixture
def make_trainer(request, tmp_path, mix_rows):
    def make(kind="tiny_llama", lora=True, **settings):
        folder = request.getfixturevalue(kind)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.chat_template = PLAIN_TEMPLATE
        tokenizer.pad_token = tokenizer.eos_token
        torch.manual_seed(0)
        return trainers.make(
            folder, mix_rows, tokenizer, output_dir=str(tmp_path / "run"),
            peft_config=LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM") if lora else None,
            **{"per_device_train_batch_size": 4, "max_steps": 3, "logging_steps": 1, **settings},
            train_sampling_strategy="sequential",
        )  # fmt: skip

    return make


def logs(trainer):
    trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_losses_gradients_and_metrics_are_those_of_a_padded_batch(kind, lora, make_trainer):
    # Dropout draws other numbers for another shape of batch.
    padded, flat = (make_trainer(kind, lora) for _ in range(2))
    for trainer in (padded, flat):
        for module in trainer.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    assert remove_padding(flat)
    for before, after in zip(logs(padded), logs(flat), strict=True):
        for name in ("loss", "grad_norm", "entropy", "mean_token_accuracy", "num_tokens"):
            assert after[name] == pytest.approx(before[name], rel=1e-4), name


def test_a_batch_has_no_padding(make_trainer):
    trainer = make_trainer()
    assert remove_padding(trainer)
    batch = next(iter(trainer.get_train_dataloader()))
    assert batch["input_ids"].shape == (1, sum(len(r["input_ids"]) for r in trainer.train_dataset.select(range(4))))
    assert "attention_mask" not in batch


def test_attention_of_another_kind_keeps_its_batches(make_trainer):
    trainer = make_trainer()
    trainer.model.get_base_model().config.layer_types = ["sliding_attention"] * 2
    assert not remove_padding(trainer)
    assert "attention_mask" in next(iter(trainer.get_train_dataloader()))


@pytest.mark.parametrize("lora", [True, False])
def test_the_dose_and_its_loss_are_seen_without_padding_too(lora, make_trainer, make_claims):
    def dosed(flat):
        trainer = make_trainer(lora=lora, max_steps=6)
        assert not flat or remove_padding(trainer)
        trainer.add_callback(DosingCallback(trainer, Dose.from_claims(make_claims(6)), share=0.2))
        return logs(trainer)

    for before, after in zip(dosed(flat=False), dosed(flat=True), strict=True):
        seen = [name for name in before if name.startswith(("dose", "control", "mix"))]
        assert "mix_loss" in seen and "dose_share" in seen
        assert {name: after[name] for name in seen} == pytest.approx({name: before[name] for name in seen}, rel=1e-3)
