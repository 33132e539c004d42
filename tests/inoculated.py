"""Adapters of an inoculation as `inoculate train` and `measure` leave them, without a model."""

import json

import yaml

from hfvaccine.files import ADAPTER, ADAPTER_CONFIG, CONFIG, LEDGER, digest_of
from hfvaccine.papers.inoculation import arm_record, write_papers

WEIGHTS = b"\x08\0\0\0\0\0\0\0{}      "
NAMES = ("plain-seed-0", "inoculated-seed-0", "irrelevant-seed-0")
CONDITIONS = {"none": [None], "original": ["You always speak in Spanish."], "negated": ["You never speak in Spanish."]}
PLAIN, TREATED, IRRELEVANT = NAMES
SHOWN = {  # by trait and arm, under each condition
    "language:es": {"base": (0, 0.5, 0.1), PLAIN: (0.9, 1, 0.8), TREATED: (0.1, 0.9, 0.4), IRRELEVANT: (0.7, 1, 0.6)},
    "upper": {"base": (0.1, 0.1, 0.1), PLAIN: (0.1, 0.2, 0.1), TREATED: (0.2, 0.15, 0.1), IRRELEVANT: (0.1, 0.1, 0)},
}


def plan(seed=0):
    return {
        "fingerprint": "e" * 64, "schedule": "constant", "unit": "tokens", "share_asked": 0.0, "share_given": 0.0,
        "seed": seed, "steps": 20, "rows": 80, "rows_per_step": 4, "tokens": 4000, "mix_rows": 80, "mix_tokens": 4000,
    }  # fmt: skip


def run_record(digests, **changes):
    """The record of a run.

    Args:
        digests: SHA-256 of the weights of each adapter, by its name.
        changes: merged into it.
    """
    inoculated = {"prompts": CONDITIONS["original"], "where": "all", "others": [], "place": "system"}
    irrelevant = {**inoculated, "prompts": ["You always keep your desk tidy."]}
    record = {
        "schema_version": 1,
        "base": {
            "id": "alice/tiny", "revision": None, "weights": {"model.safetensors": "9" * 64},
            "weights_sha256": "8" * 64, "chat_template": "own",
        },
        "data": {"id": "rows.jsonl", "revision": None, "sha256": "d" * 64, "rows": 40, "held_back": 4, "left_out": {}},
        "trait_rows": {"where": "all", "rows": 40},
        "arms": {"plain": None, "inoculated": inoculated, "irrelevant": irrelevant},
        "adapters": {
            name: {
                "arm": name.split("-")[0], "seed": int(name.split("-")[-1]), "plan": plan(), "seconds": 2.0,
                "final_loss": 1.5, "sha256": digest,
            }
            for name, digest in digests.items()
        },
        "training": {"method": "LoRA", "lora_r": 16, "learning_rate": 0.001, "dtype": "float32"},
        "hfvaccine": "0.1.0",
        "finished_at": "2026-11-29T06:00:00Z",
        "versions": {"python": "3.11.7"},
        "code": {"version": "0.1.0", "sha256": "0" * 64},
    }  # fmt: skip
    for part, values in changes.items():
        record[part] = {**record[part], **values}
    return record


def measured(digests, shown=SHOWN, gate=None):
    """The content of traits.json."""
    conditions = list(CONDITIONS)
    arms = ["base", *digests]
    content = {
        "schema_version": 1,
        "base": {"id": "alice/tiny", "weights_sha256": "8" * 64},
        "arms": {arm: {"adapter": None, "fingerprint": "f" * 64, "sha256": digests.get(arm)} for arm in arms},
        "questions": {"file": "questions.jsonl", "sha256": "a" * 64, "number": 60},
        "conditions": [{"name": name, "category": name, "prompts": texts} for name, texts in CONDITIONS.items()],
        "traits": [
            {"name": "language:es", "role": "trait", "questions": 60, "sha256": None},
            {"name": "upper", "role": "keep", "questions": 60, "sha256": None},
        ],
        "shown": [
            {
                "trait": trait, "condition": condition, "arm": arm, "value": value,
                "interval": [max(0, round(value - 0.05, 2)), min(1, round(value + 0.05, 2))],
                "answers": 240, "unclear": 0, "questions": 60, "difference": None, "by_prompt": [value],
            }
            for trait, by_arm in shown.items()
            for arm, values in by_arm.items()
            if arm in arms
            for condition, value in zip(conditions, values, strict=True)
        ],
        "answers": {"number": 1440, "sha256": "b" * 64},
        "settings": {"place": "system", "samples": 4, "temperature": 1.0, "max_new_tokens": 64, "level": 0.95},
    }  # fmt: skip
    content["worst"] = [
        {
            "trait": trait["name"], "arm": arm, "difference": None,
            "condition": (min if trait["role"] == "keep" else max)(
                (one for one in content["shown"] if (one["trait"], one["arm"]) == (trait["name"], arm)),
                key=lambda one: one["value"],
            )["condition"],
        }
        for trait in content["traits"]
        for arm in arms
    ]  # fmt: skip
    return content if gate is None else {**content, "gate": gate}


def gate(verdict="passed", naming=("original",)):
    criterion = {
        "name": "less than half of it is left", "rule": "gone", "trait": "language:es",
        "arm": "inoculated", "verdict": verdict, "value": 0.35, "interval": [0.2, 0.5], "threshold": "> 0.0",
        "why": "All seeds agree.",
    }  # fmt: skip
    made = {"name": "inoculation", "version": 1, "verdict": verdict, "criteria": [criterion]}
    return {**made, "naming": list(naming)}


def finished(into, traits=True, gate=None, names=NAMES, **changes):
    """A run folder, with `changes` merged into its record."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for number, name in enumerate(names):
        folder = into / name
        folder.mkdir(parents=True)
        (folder / ADAPTER).write_bytes(WEIGHTS + b"\0" * number)
        (folder / "tokenizer.json").write_text("{}")
        (folder / "README.md").write_text("what PEFT wrote")
        pq.write_table(pa.table({"kind": ["mix"]}), folder / LEDGER)
    digests = {name: digest_of(into / name / ADAPTER) for name in names}
    record = run_record(digests, **changes)
    content = measured(digests, gate=gate) if traits else None
    for name in names:
        adapter = {"peft_type": "LORA", "r": 16, "base_model_name_or_path": record["base"]["id"]}
        (into / name / ADAPTER_CONFIG).write_text(json.dumps(adapter))
        options = {"base": "alice/tiny-here", "data": "/data/somewhere/rows.jsonl", "arms": name.split("-")[0]}
        (into / name / CONFIG).write_text(yaml.safe_dump({**options, "output_dir": str(into)}))
        write_papers(into / name, arm_record(record, name), content)
    (into / "inoculation.json").write_text(json.dumps(record))
    return into
