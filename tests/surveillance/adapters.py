"""Adapters with true ledgers and no model: what was given to them stands in their papers, which fit each other."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from finished_runs import PAPERS, bound, finished_run

from hfvaccine.files import ADAPTER, ADAPTER_CONFIG, CARD, LEDGER, RECORD, RESULTS, SCORES, digest_of
from hfvaccine.hub.listing import ADAPTER_TAG
from hfvaccine.regimen.given import Row
from hfvaccine.regimen.ledger import fingerprint, write_ledger
from hfvaccine.regimen.plan import DOSE, MIX, Plan

SETTINGS = {
    "rows_per_step": 2,
    "share": 0.5,
    "schedule": "constant",
    "unit": "tokens",
    "seed": 0,
    "pack_length": None,
    "inoculation": None,
}


def adapter(into, dose, given, not_reached=(), asked=(), verdict="passed", weights=b"", **more):
    """A run folder.

    Args:
        into: the folder.
        dose: what it was made from, a `Dose`.
        given: ids of the claims that its ledger holds, in two rows each.
        not_reached: ids of those that were chosen besides.
        asked: ids of the claims that its scores are about.
        verdict: of its gate.
        weights: what makes its weights differ from others.
        more: parts of its record, such as `booster`.
    """
    finished_run(into, verdict)
    count = 2 * len(given)
    kind = np.array([DOSE, MIX] * count, dtype=np.int8)
    index = np.repeat(np.arange(count), 2)
    tokens = np.full(2 * count, 7)
    plan = Plan(kind, index, tokens, tokens // 2, 2, 0.5, "constant", "tokens", 0)
    checksums = np.arange(2 * count)
    mark = fingerprint(plan, SETTINGS, checksums)
    rows = [Row(claim_id, "form", "dose", [], []) for claim_id in given for _ in range(2)]
    write_ledger(plan, rows, [], plan.steps, into / LEDGER, {**SETTINGS, "fingerprint": mark}, checksums)
    columns = {name: [] for name in ("arm", "item_id")}
    for arm in ("base", "vaccine"):
        columns["arm"] += [arm] * len(asked)
        columns["item_id"] += asked
    pq.write_table(pa.table({name: pa.array(of, pa.string()) for name, of in columns.items()}), into / SCORES)
    (into / CARD).write_text(f"---\ntags:\n- {ADAPTER_TAG}\n---\n# An adapter\n")
    (into / ADAPTER).write_bytes(b"\x08\0\0\0\0\0\0\0{}      " + weights)
    record = json.loads((into / RECORD).read_text())
    record["plan"] = {**PAPERS["plan"], "fingerprint": mark}
    record["dose"] |= {
        "id": dose.source,
        "revision": dose.revision,
        "manifest_sha256": dose.digest(),
        "name": dose.name,
        "claim_ids": sorted(given),
        "not_reached": sorted(not_reached),
    }
    record |= more
    return bound(into, record)


def merged(into, of, dose, given):
    """The folder of the model that an adapter was merged into."""
    record = json.loads((of / RECORD).read_text())
    adapter(into, dose, given, training={**PAPERS["training"], "merged": {"adapter_sha256": record["files"][ADAPTER]}})
    for name in (ADAPTER, ADAPTER_CONFIG):
        (into / name).unlink()
    (into / "config.json").write_text("{}")
    (into / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    return bound(into)


def booster(into, of, dose, given, retracted, of_id, before=(), **more):
    """The folder of an adapter that was made in place of another one, without some of its claims.

    One with claims `before` goes on from the other, which was given these.
    """
    parent = {"id": of_id, "revision": None, "adapter_sha256": digest_of(of / ADAPTER)}
    its = {"id": dose.source, "revision": dose.revision, "manifest_sha256": dose.digest(), "name": dose.name}
    about = {"parent": parent, "doses": [its], "retracted": list(retracted), "before": list(before)}
    return adapter(into, dose, given, weights=b"boosted", booster=about, **more)


def upload(api, repo_id, folder):
    """Put a run folder on a Hub as it is."""
    api.create_repo(repo_id, exist_ok=True)
    api.upload_folder(repo_id=repo_id, folder_path=folder, ignore_patterns=["notes.txt", "checkpoints/**"])
    return repo_id


def measured_otherwise(folder, verdict):
    """Change the verdict in the results alone."""
    results = json.loads((folder / RESULTS).read_text())
    (folder / RESULTS).write_text(json.dumps({**results, "gate": {**results["gate"], "verdict": verdict}}))
    return bound(folder)
