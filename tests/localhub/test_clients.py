"""Whole libraries against the Hub, in a process of their own with nothing but HF_ENDPOINT set."""

import io
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

SCRIPT = """
import sys
from datasets import load_dataset
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub import DatasetCard, HfFileSystem, ModelCard
from huggingface_hub import create_repo, login, metadata_update, model_info, whoami

outsider, reader, owner = sys.argv[1:]
login(reader)
assert whoami()["name"] == "reader"
try:
    load_dataset("alice/gated-rows", token=outsider)
except DatasetNotFoundError as error:
    assert "is a gated dataset on the Hub" in str(error)
else:
    raise SystemExit("the outsider was let in")
rows = load_dataset("alice/gated-rows", split="dose")
assert rows["claim"] == ["a", "b"], rows
assert [row["claim"] for row in load_dataset("alice/gated-rows", split="dose", streaming=True)] == ["a", "b"]
rows.push_to_hub("alice/copy", split="dose", token=owner)
assert load_dataset("alice/copy", split="dose", token=owner)["claim"] == ["a", "b"]
files = HfFileSystem(token=owner)
assert "datasets/alice/copy/README.md" in files.ls("datasets/alice/copy", detail=False)
assert b"dataset_info" in files.read_bytes("datasets/alice/copy/README.md")
assert DatasetCard.load("alice/gated-rows").data.license == "mit"

repo_id = create_repo("alice/carded", token=owner).repo_id
card = ModelCard(sys.stdin.read())
card.validate()
card.push_to_hub(repo_id, token=owner)
loaded = ModelCard.load(repo_id)
assert loaded.text.strip() == "# The model", loaded.text
assert loaded.data.eval_results[0].metric_value == 0.75
metadata_update(repo_id, {"library_name": "peft"}, token=owner)
assert model_info(repo_id).library_name == "peft"
"""
CARD = """---
license: mit
model-index:
- name: m
  results:
  - task: {type: text-generation}
    dataset: {name: probes, type: alice/dose}
    metrics: [{type: auroc, value: 0.75}]
---
# The model
"""


@pytest.fixture
def gated_rows(live, api):
    file = io.BytesIO()
    pq.write_table(pa.table({"claim": ["a", "b"]}), file)
    card = b"---\nlicense: mit\nconfigs:\n- config_name: default\n  data_files:\n"
    card += b"  - {split: dose, path: data/dose.parquet}\n---\n"
    api.create_repo("alice/gated-rows", repo_type="dataset", private=True)
    api.update_repo_settings("alice/gated-rows", repo_type="dataset", gated="manual")
    for path, content in (("data/dose.parquet", file.getvalue()), ("README.md", card)):
        api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id="alice/gated-rows", repo_type="dataset")
    api.update_repo_settings("alice/gated-rows", repo_type="dataset", private=False)
    api.grant_access("alice/gated-rows", "reader", repo_type="dataset")


def test_datasets(live, gated_rows, tmp_path):
    environment = {**os.environ, "HF_ENDPOINT": live.hub.endpoint, "HF_HOME": str(tmp_path)}
    environment.pop("HF_TOKEN", None)
    arguments = [live.tokens[name] for name in ("outsider", "reader", "alice")]
    command = [sys.executable, "-c", SCRIPT, *arguments]
    done = subprocess.run(command, env=environment, input=CARD, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
