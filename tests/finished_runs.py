"""Run folders as immunize and validate leave them, without a model: papers that bind a few small files."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from hfvaccine.files import (
    ADAPTER,
    ADAPTER_CONFIG,
    CARD,
    CONFIG,
    LEDGER,
    PUBLISHED,
    RECORD,
    RESULTS,
    digest_of,
    present,
)
from hfvaccine.papers import binding

PAPERS = {
    "schema_version": binding.SCHEMA_VERSION,
    "hfvaccine": "0.1.0",
    "finished_at": "2026-11-21T19:00:00Z",
    "base": {"id": "alice/tiny", "revision": "a" * 40, "weights_sha256": None, "chat_template": "own"},
    "dose": {
        "id": "alice/dose",
        "revision": "b" * 40,
        "manifest_sha256": "c" * 64,
        "name": "Small dose",
        "claims_given": 4,
        "claims_in_dose": 4,
        "languages": ["en"],
    },
    "mix": {"id": "starter", "revision": None, "sha256": "d" * 64, "rows": 460},
    "plan": {
        "fingerprint": "e" * 64,
        "schedule": "constant",
        "unit": "tokens",
        "share_asked": 0.1,
        "share_given": 0.0987,
        "seed": 0,
    },
    "inoculation": None,
    "training": {"method": "LoRA", "lora_r": 16},
    "versions": {"python": "3.11.7"},
}
MEASURE = {
    "probe": "cross",
    "reading": "verdict",
    "condition": "plain",
    "arm": "vaccine",
    "metric": "auroc",
    "pairs": 4,
    "clusters": 4,
    "value": 0.5871,
    "interval": [0.5, 0.6],
}


def finished_run(into, verdict="passed", **changes):
    """A run folder, with `changes` merged into its record."""
    into.mkdir()
    gate = {"verdict": verdict, "criteria": [{"name": "auroc_gain", "verdict": verdict, "value": 0.1}]}
    results = {"measures": [MEASURE], "contrasts": [], "gate": gate}
    (into / RESULTS).write_text(json.dumps(results))
    record = {**PAPERS, "gate": gate}
    for part, values in changes.items():
        record[part] = {**record[part], **values}
    adapter = {"peft_type": "LORA", "base_model_name_or_path": record["base"]["id"]}
    (into / ADAPTER_CONFIG).write_text(json.dumps(adapter))
    (into / ADAPTER).write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    ledger = pa.table({"kind": ["mix", "dose"], "dose": [None, record["dose"]["name"]]})
    pq.write_table(ledger, into / LEDGER)
    (into / "tokenizer.json").write_text("{}")
    (into / CARD).write_text("an older card")
    options = {"base": record["base"]["id"], "dose": record["dose"]["id"], "output_dir": str(into), "seed": 0}
    (into / CONFIG).write_text(yaml.safe_dump(options))
    (into / "checkpoints" / "checkpoint-1").mkdir(parents=True)
    (into / "checkpoints" / "checkpoint-1" / "optimizer.pt").write_bytes(b"state")
    (into / "notes.txt").write_text("mine")
    return bound(into, record)


def bound(run, record=None):
    """The run with a record that binds the files that are there now."""
    record = record or json.loads((run / RECORD).read_text())
    files = {name: digest_of(path) for name, path in present(run, PUBLISHED).items()}
    files.pop(RECORD, None)
    (run / RECORD).write_text(json.dumps(binding.bind(record, files)))
    return run
