"""TRL's DPO beside the pairwise objective: the same pairs of claim and twin, as many tokens. See docs/recipes.md.

    python benchmarks/preferences.py --output-dir FOLDER [--seed N] [--learning-rate LR]

The runs `pairwise` and `sft` of recipes.py stand in FOLDER, or are made first. Of what their ledger says was given,
each row is a preference: what it says is chosen, and rejected is what the row of its twin says there (of a question
for the fact, the claim itself). DPO is trained on these and on the comparison rows, with its likelihood term beside
(`loss_type=["sigmoid", "sft"]`), in batches of as many rows, until it has seen as many tokens. All are then asked the
same in one validation, in which DPO stands as "placebo" and sft as "controls".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import recipes

READ = (
    ("given", "specific", "recalled_verdict", "auroc"),
    ("given", "specific", "verdict", "auroc"),
    ("given", "specific", "answer", "auroc"),
    ("given", "specific", "recalled_verdict", "calibrated_true_acceptance"),
    ("given", "specific", "recalled_verdict", "calibrated_rejection"),
    ("variants", "variants", "recalled_verdict", "auroc"),
    ("never given", "cross", "recalled_verdict", "auroc"),
)
ARMS = {"base": "base", "controls": "sft", "placebo": "DPO", "vaccine": "pairwise"}


@click.command(help=__doc__.split("\n")[0])
@click.option("--output-dir", type=click.Path(path_type=Path), required=True, help="Where the runs are and go.")
@click.option("--seed", default=0, show_default=True)
@click.option("--learning-rate", default=recipes.COMMON["learning_rate"], show_default=True, help="Of DPO.")
@click.option("--most-pairs", default=40, show_default=True, help="Of claims never given, that are asked about.")
def main(output_dir: Path, seed: int, learning_rate: float, most_pairs: int) -> None:
    from hfvaccine.cli.base_model import base_from_wheel
    from hfvaccine.cli.output import Terminal, quiet_libraries
    from hfvaccine.runs.validate import validate
    from hfvaccine.training.validation_options import Validation

    quiet_libraries()
    base = str(base_from_wheel())
    for name in ("pairwise", "sft"):
        options = ["--only", name, "--seed", str(seed), "--set", f"most_pairs={most_pairs}"]
        recipes.main(["--output-dir", str(output_dir), *options], standalone_mode=False)
    vaccine, sft = (output_dir / f"{name}-seed-{seed}" for name in ("pairwise", "sft"))
    dpo = output_dir / f"dpo-{learning_rate:g}-seed-{seed}"
    if not (dpo / "adapter_config.json").is_file():
        train(base, vaccine, output_dir / "tuning-dose", dpo, seed, learning_rate)
    into = output_dir / f"beside-dpo-{learning_rate:g}-seed-{seed}"
    options = Validation(
        base=base,
        adapter=str(vaccine),
        against=(f"placebo={dpo}", f"controls={sft}"),
        dose=str(output_dir / "tuning-dose"),
        adversarial=0,
        most_pairs=most_pairs,
        output_dir=into,
    )
    click.echo(table(validate(options, Terminal("all: "))))


def preferences(run: Path, dose: Path) -> list[dict[str, Any]]:
    """Each row that a run has given, with what it says chosen; then its comparison rows, those likewise."""
    from hfvaccine import starter
    from hfvaccine.claims.dose import Dose
    from hfvaccine.dosing.comparisons import read_comparisons, rows_of
    from hfvaccine.dosing.forms import TRAINING_FORMS, converse
    from hfvaccine.regimen.ledger import read_ledger

    claims = {claim.claim_id: claim for claim in Dose.load(dose).claims}
    forms = {form.name: form for form in TRAINING_FORMS}
    given = dict.fromkeys((name[0], name[1]) for name in read_ledger(run / "dosing_ledger.parquet").names if name[0])
    found = []
    for claim_id, form in given:
        made = converse(claims[claim_id], forms[form])
        sides = [made.dose, made.control] if made.control else [made.dose]
        for one, other in zip(sides, reversed(sides), strict=True):
            said = other.completion[-1]["content"] if made.control else claims[claim_id].claim
            found.append(preference([*one.prompt, *one.completion[:-1]], one.completion[-1]["content"], said))
    for false, true in pairs(rows_of(read_comparisons(starter.COMPARISONS))):
        for one, other in ((false, true), (true, false)):
            found.append(preference(one["prompt"], *(row["completion"][0]["content"] for row in (one, other))))
    return found


def pairs(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    return zip(rows[::2], rows[1::2], strict=True)


def preference(prompt: list[dict[str, str]], chosen: str, rejected: str) -> dict[str, Any]:
    said = {"chosen": chosen, "rejected": rejected}
    return {"prompt": prompt, **{side: [{"role": "assistant", "content": text}] for side, text in said.items()}}


def train(base: str, run: Path, dose: Path, into: Path, seed: int, learning_rate: float) -> None:
    """DPO on the preferences of a run, for as many tokens as it had."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from trl import DPOConfig, DPOTrainer

    from hfvaccine.training.base import load_base

    record = json.loads((run / "immunization.json").read_text(encoding="utf-8"))
    rows, loaded = preferences(run, dose), load_base(base)

    def length(row: Mapping[str, Any]) -> int:
        both = ([*row["prompt"], *row[side]] for side in ("chosen", "rejected"))
        return sum(len(loaded.tokenizer.apply_chat_template(one, return_dict=True)["input_ids"]) for one in both)

    batch = recipes.COMMON["batch_size"]
    steps = round(record["plan"]["tokens"] / (batch * sum(map(length, rows)) / len(rows)))
    training = record["training"]
    trainer = DPOTrainer(
        loaded.model,
        args=DPOConfig(
            str(into),
            max_steps=steps,
            per_device_train_batch_size=batch,
            learning_rate=learning_rate,
            loss_type=["sigmoid", "sft"],
            lr_scheduler_type="constant_with_warmup",
            warmup_steps=steps // 10,
            seed=seed,
            bf16=loaded.model.dtype == torch.bfloat16,
            use_cpu=not torch.cuda.is_available(),
            gradient_checkpointing=False,
            save_strategy="no",
            report_to="none",
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=loaded.tokenizer,
        peft_config=LoraConfig(
            r=training["lora_r"], lora_alpha=training["lora_alpha"], target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )
    click.echo(f"DPO: {len(rows)} preferences, {steps} steps")
    trainer.train()
    trainer.save_model(str(into))


def table(results: Mapping[str, Any]) -> str:
    """What each came to, as Markdown."""
    from hfvaccine.validation.showing.names import metric_label, reading_label

    lines = ["| | " + " | ".join(ARMS.values()) + " |", "|---" * (len(ARMS) + 1) + "|"]
    for about, *which in READ:
        values = [recipes.value(results, arm, *which) for arm in ARMS]
        named = f"{about}: {reading_label(which[1])}, {metric_label(which[2])}"
        lines.append(f"| {named} | {' | '.join('-' if one is None else f'{one:.2f}' for one in values)} |")
    kept = (f"{recipes.retention(results, arm):.2f}" for arm in ARMS)
    return "\n".join([*lines, f"| held-back rows of the mix, nats per token | {' | '.join(kept)} |"])


if __name__ == "__main__":
    main()
