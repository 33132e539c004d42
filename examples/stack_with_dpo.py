"""A vaccine and a DPO adapter on one base, in either order, with both effects measured in each.

    python examples/stack_with_dpo.py                           # a tiny model made on the spot, two minutes on a CPU
    python examples/stack_with_dpo.py --base you/model --learning-rate 2e-4 --share 0.1

What is shown and what is not: docs/stacking.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset as Rows
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from hfvaccine import Dose, DosingCallback, Scorer, starter
from hfvaccine.claims.reserved import QUESTION_PROBES
from hfvaccine.dosing.forms import TRAINING_FORMS, conversations
from hfvaccine.training.mix import Mix, load_mix
from hfvaccine.validation.scoring.scorer import Request

FORMS = TRAINING_FORMS[:8]
"""The wordings that the dose is given in: all of them are too many for so short a training."""

WELCOMING = " Ask me again if anything is unclear."
CURT = " Do not bother me with that again."
"""What the DPO adapter learns to prefer, and what it learns to avoid, at the end of an answer to anything."""

EFFECTS = ("given_wordings", "new_wordings", "preference")
"""The vaccine's, in wordings that it was trained on and in others; and the DPO adapter's."""


QUIET: dict[str, Any] = {
    "lr_scheduler_type": "linear",
    "warmup_steps": 0.05,
    "max_length": 512,
    "save_strategy": "no",
    "logging_strategy": "no",
    "report_to": [],
    "gradient_checkpointing": False,
    "bf16": False,
}


# --- the two trainings, each with a stock trainer, each on a plain model


def train_dpo(model: Any, tokenizer: Any, pairs: Rows, folder: Path, steps: int, learning_rate: float) -> None:
    """Teach a plain model a preference, as a LoRA adapter in a folder.

    Given `peft_config`, the trainer takes the model without the new adapter as its reference. That is why the first
    adapter has to be merged: a `PeftModel` is refused here, and the base alone would be the wrong reference.
    """
    trainer = DPOTrainer(
        model=model,
        args=DPOConfig(
            str(folder / "checkpoints"),
            max_steps=steps,
            learning_rate=learning_rate,
            per_device_train_batch_size=4,
            beta=0.1,
            **QUIET,
        ),
        train_dataset=pairs,
        processing_class=tokenizer,
        peft_config=lora(),
    )
    trainer.train()
    trainer.model.save_pretrained(folder)


def train_vaccine(
    model: Any, tokenizer: Any, dose: Dose, mix: Mix, folder: Path, steps: int, learning_rate: float, share: float
) -> None:
    """Give a plain model a dose, as a LoRA adapter in a folder."""
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            str(folder / "checkpoints"),
            max_steps=steps,
            learning_rate=learning_rate,
            per_device_train_batch_size=8,
            **QUIET,
        ),
        train_dataset=Rows.from_list(list(mix.train)),
        processing_class=tokenizer,
        peft_config=lora(),
    )
    trainer.add_callback(DosingCallback(trainer, dose, share=share, forms=FORMS))
    trainer.train()
    trainer.model.save_pretrained(folder)


def lora() -> LoraConfig:
    """Either adapter: their targets need not be the same, nor their ranks."""
    return LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")


# --- the three ways to have both, which give the same model


def merged(base: str, *adapters: Path) -> Any:
    """A base with adapters merged into it, one after the other: a plain model, to train the next adapter on."""
    model = load(base)
    for adapter in adapters:
        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    return model


def side_by_side(base: str, first: Path, second: Path) -> PeftModel:
    """The untouched base with both adapters active."""
    model = PeftModel.from_pretrained(load(base), first, adapter_name="first")
    model.load_adapter(second, adapter_name="second")
    model.base_model.set_adapter(["first", "second"])  # `model.set_adapter` takes one
    return model.eval()


def as_one(base: str, first: Path, second: Path, folder: Path) -> Path:
    """Save both adapters as one, which `PeftModel.from_pretrained` loads on the untouched base."""
    model = side_by_side(base, first, second)
    model.add_weighted_adapter(["first", "second"], [1.0, 1.0], "both", combination_type="cat")  # exact, unlike "svd"
    model.save_pretrained(folder, selected_adapters=["both"])
    return folder / "both"


# --- what is measured


def effects(model: Any, tokenizer: Any, dose: Dose, held_back: Rows) -> dict[str, np.ndarray]:
    """Margins in nats, one for each claim or pair.

    Returns:
        "given_wordings": how much rather a claim gets its answer than its twin's, and the twin its own than the
        claim's, halved; a model that answers both alike, whatever it says, has 0. "new_wordings": how much rather
        the twin than the claim is the answer to the claim's question. "preference": how much rather a held-back
        answer ends welcoming than curt.
    """
    scorer = Scorer(model.eval(), tokenizer)

    def margins(asked: Sequence[tuple[Any, str, str]]) -> np.ndarray:
        requests = [Request(prompt, answer) for prompt, *answers in asked for answer in answers]
        found = scorer.score(requests).loglikelihood.reshape(-1, 2)
        return found[:, 0] - found[:, 1]

    forms = [(given.dose, given.control) for given in conversations(dose.claims, FORMS) if given.control is not None]
    answers = [(row.completion[0]["content"], twin.completion[0]["content"]) for row, twin in forms]
    to_claim = margins([(row.prompt, *answer) for (row, _), answer in zip(forms, answers, strict=True)])
    to_twin = margins([(twin.prompt, *answer[::-1]) for (_, twin), answer in zip(forms, answers, strict=True)])
    ids = np.array([row.claim_id for row, _ in forms])
    both = (to_claim + to_twin) / 2
    asked = [
        (said(wording.replace("{question}", claim.question)), claim.twin, claim.claim)
        for claim in dose.claims
        for wording in QUESTION_PROBES
    ]
    return {
        "given_wordings": np.array([both[ids == claim.claim_id].mean() for claim in dose.claims]),
        "new_wordings": margins(asked).reshape(len(dose.claims), -1).mean(1),
        "preference": margins(
            [(row["prompt"], row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in held_back]
        ),
    }


def gain(now: np.ndarray, base: np.ndarray) -> tuple[float, float, float]:
    """The mean difference from the base, and its 95 % interval over claims or pairs."""
    difference = now - base
    draws = np.random.default_rng(0).choice(difference, (2000, len(difference))).mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(difference.mean()), float(low), float(high)


# --- the whole


def stack(
    base: str, dose: Dose, mix: Mix, folder: Path, steps: int, learning_rate: float, share: float
) -> dict[str, Any]:
    """Train both adapters alone and in either order, and measure both effects in each.

    Args:
        base: Hub id or folder.
        dose: a few claims that have twins and questions.
        mix: its held-back rows are what the preference is measured on.
        folder: where the adapters go.
        steps: of the vaccine's training; DPO takes a quarter of them.
        learning_rate: of the vaccine; DPO takes a fifth of it.
        share: the dose's part of the vaccine's tokens.

    Returns:
        By model, by effect: the difference from the base with its interval.
    """
    tokenizer = AutoTokenizer.from_pretrained(base)
    pairs, held_back = preferences(mix.train[:64]), preferences(mix.held_back)
    dpo, vaccine = folder / "dpo", folder / "vaccine"
    vaccine_over_dpo, dpo_over_vaccine = folder / "vaccine-over-dpo", folder / "dpo-over-vaccine"

    train_dpo(load(base), tokenizer, pairs, dpo, steps // 4, learning_rate / 5)
    train_vaccine(load(base), tokenizer, dose, mix, vaccine, steps, learning_rate, share)
    train_vaccine(merged(base, dpo), tokenizer, dose, mix, vaccine_over_dpo, steps, learning_rate, share)
    train_dpo(merged(base, vaccine), tokenizer, pairs, dpo_over_vaccine, steps // 4, learning_rate / 5)

    adapters = {
        "DPO alone": dpo,
        "vaccine alone": vaccine,
        "vaccine over DPO": as_one(base, dpo, vaccine_over_dpo, folder / "vaccine-over-dpo-as-one"),
        "DPO over vaccine": as_one(base, vaccine, dpo_over_vaccine, folder / "dpo-over-vaccine-as-one"),
        "both, trained apart": as_one(base, dpo, vaccine, folder / "trained-apart"),
    }
    before = effects(load(base), tokenizer, dose, held_back)
    table = {}
    for name, adapter in adapters.items():
        after = effects(merged(base, adapter), tokenizer, dose, held_back)
        table[name] = {effect: gain(after[effect], before[effect]) for effect in EFFECTS}
    return table


def preferences(rows: Sequence[Any]) -> Rows:
    """Pairs of answers that differ in their last sentence alone."""

    def ending(row: Any, last: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": row["completion"][0]["content"] + last}]

    return Rows.from_list(
        [
            {"prompt": row["prompt"], "chosen": ending(row, WELCOMING), "rejected": ending(row, CURT)}
            for row in rows
            if len(row["completion"][0]["content"]) < 300
        ]
    )


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def load(base: str) -> Any:
    """The base in float32: bfloat16 rounds an adapter away that is merged into it."""
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)


def tiny_base(folder: Path, steps: int = 300) -> str:
    """The folder of a little Llama that has read nothing but the starter mix, with a tokenizer made from it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    special = ["<end>", "<pad>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1000, initial_alphabet=alphabet, special_tokens=special)
    words.train_from_iterator(starter.MIX.read_text(encoding="utf-8").split("\n"), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>", pad_token="<pad>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}:\n{{ m['content'] }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}assistant:\n{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        initializer_range=0.05,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    trainer = SFTTrainer(
        model=LlamaForCausalLM(config),
        args=SFTConfig(
            str(folder / "checkpoints"),
            max_steps=steps,
            learning_rate=3e-3,
            per_device_train_batch_size=8,
            **QUIET,
        ),
        train_dataset=Rows.from_list(list(load_mix("starter").train)),
        processing_class=tokenizer,
    )
    trainer.train()
    trainer.model.save_pretrained(folder)
    return str(folder)


def few_claims(number: int) -> Dose:
    """The first claims of the starter dose that have both a twin and a question."""
    dose = Dose.load(starter.sealed())
    fit = tuple(claim for claim in dose.claims if claim.twin and claim.question)
    return replace(dose, claims=fit[:number])


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    made.add_argument("--base", help="Hub id or folder of an instruct model; a tiny one made on the spot by default")
    made.add_argument("--claims", type=int, default=6)
    made.add_argument("--steps", type=int, default=300)
    made.add_argument("--learning-rate", type=float, default=5e-3)
    made.add_argument("--share", type=float, default=0.4)
    made.add_argument("--folder", type=Path, help="where the adapters go; by default they are not kept")
    made.add_argument("--json", action="store_true")
    return made


def main() -> None:
    given = parser().parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        base = given.base or tiny_base(folder / "base")
        dose, mix = few_claims(given.claims), load_mix("starter")
        table = stack(base, dose, mix, folder, given.steps, given.learning_rate, given.share)
    if given.json:
        print(json.dumps(table))
        return
    print(f"{'nats, against the base':24}" + "".join(f"{effect:>26}" for effect in EFFECTS))
    for name, row in table.items():
        cells = (f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]" for mean, low, high in row.values())
        print(f"{name:24}" + "".join(f"{cell:>26}" for cell in cells))


if __name__ == "__main__":
    main()
