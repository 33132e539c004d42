"""Training without padding gives the same loss and the same gradients, only sooner."""

import itertools

import pytest
import tiny
import torch
import trainers
from peft import LoraConfig
from transformers import AutoTokenizer

from hfvaccine import Dose, DosingCallback
from hfvaccine.regimen.measure import IGNORED
from hfvaccine.training.base import PLAIN_TEMPLATE
from hfvaccine.training.unpadded import remove_padding, row_by_row

KINDS = ("tiny_llama", "tiny_gpt2")


@pytest.fixture
def make_trainer(request, tmp_path, mix_rows):
    def make(kind="tiny_llama", lora=True, folder=None, **settings):
        folder = folder or request.getfixturevalue(kind)
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


@pytest.mark.parametrize("layers", [["sliding_attention"] * 2, ["full_attention", "sliding_attention"], None])
@pytest.mark.parametrize("window, flat", [(255, False), (256, True)])
def test_a_window_shorter_than_the_longest_row_keeps_its_batches(layers, window, flat, make_trainer):
    trainer = make_trainer()
    config = trainer.model.get_base_model().config
    config.layer_types, config.sliding_window = layers, window
    assert remove_padding(trainer) == flat
    assert ("attention_mask" in next(iter(trainer.get_train_dataloader()))) != flat


MORE = {"intermediate_size": 64, "num_key_value_heads": 2}
WORDS = tiny.tokenizer(eos_token="</s>")
FLAT = {
    "llama": (MORE, True),
    "mistral": (MORE, True),
    "qwen3": ({**MORE, "head_dim": 8}, True),
    "gpt_neox": ({"intermediate_size": 64}, True),
    "nemotron": (MORE, False),
    "gemma2": ({**MORE, "head_dim": 8, "sliding_window": 512, "attn_logit_softcapping": 5.0}, False),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", FLAT)
def test_rows_of_every_architecture_are_trained_as_they_are_alone(kind, dtype, make_trainer, tmp_path):
    """A batch's loss is that of its rows by themselves, and only models whose rows see each other are padded."""
    settings, flat = FLAT[kind]
    trainer = make_trainer(folder=tiny.save(tmp_path / kind, kind, WORDS, **settings), lora=False)
    trainer.model.to(dtype)
    assert remove_padding(trainer) == flat
    trainer.model.eval()

    def loss(*numbers):
        batch = trainer.data_collator([dict(trainer.train_dataset[number]) for number in numbers])
        with torch.no_grad():
            return float(trainer.compute_loss(trainer.model, batch)), int((batch["labels"][:, 1:] != IGNORED).sum())

    alone = [loss(0), loss(1)]
    expected = sum(mean * tokens for mean, tokens in alone) / sum(tokens for _, tokens in alone)
    assert loss(0, 1)[0] == pytest.approx(expected, rel=1e-4 if dtype == torch.float32 else 2e-2)


def test_a_model_that_is_tried_is_left_as_it_was(make_trainer, tmp_path):
    trainer = make_trainer(folder=tiny.save(tmp_path / "base", "nemotron", WORDS, **MORE), lora=False)
    model = trainer.model.train()
    own = model.config._attn_implementation
    assert not remove_padding(trainer)
    assert (model.config._attn_implementation, model.training) == (own, True)
    assert not trainer.data_collator.padding_free


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


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_computed_again_is_the_same(make_trainer, kind):
    """On a GPU, activations are."""

    def learnt(checkpoints):
        trainer = make_trainer(kind, gradient_checkpointing=checkpoints, bf16=True, learning_rate=1e-2)
        assert remove_padding(trainer)
        for module in trainer.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        trainer.train()
        return [weight for weight in trainer.model.parameters() if weight.requires_grad]

    assert all(one.equal(other) for one, other in zip(learnt(True), learnt(False), strict=True))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("lengths", [(7, 40), (3, 300)], ids=str)
def test_rows_attend_to_themselves_alone_in_training_no_less_exactly(training, lengths):
    module = torch.nn.Module().train(training)
    random = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, heads, sum(lengths), 16, generator=random).bfloat16() for heads in (4, 2, 2))
    bounds = torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32)

    def apart(q, k, v):
        rows, at = [], 0
        for length in lengths:
            row = slice(at, at + length)
            scores = q[0, :, row] @ k[0, :, row].repeat_interleave(2, 0).transpose(1, 2) / 4
            scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf)
            rows.append(scores.softmax(-1) @ v[0, :, row].repeat_interleave(2, 0))
            at += length
        return torch.cat(rows, 1).transpose(0, 1)[None]

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = row_by_row(module, query, key, value, None, cu_seq_lens_q=bounds)
    assert found.dtype == torch.bfloat16
    assert (found.double() - apart(*(x.double() for x in (query, key, value)))).abs().max() < 2e-2


def test_under_autocast_an_adapter_that_casts_nothing_learns_the_same(tiny_llama):
    from peft import LoraConfig, get_peft_model
    from peft.helpers import disable_input_dtype_casting
    from transformers import AutoModelForCausalLM

    def step(uncast):
        torch.manual_seed(0)
        base = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.bfloat16)
        model = get_peft_model(base, LoraConfig(target_modules="all-linear", init_lora_weights=False))
        ids = torch.arange(20)[None]
        with disable_input_dtype_casting(model, active=uncast), torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        return loss.item(), [p.grad for p in model.parameters() if p.requires_grad]

    (cast_loss, cast), (loss, grads) = step(False), step(True)
    assert loss == cast_loss
    assert all(one.dtype == torch.float32 and one.equal(other) for one, other in zip(grads, cast, strict=True))
