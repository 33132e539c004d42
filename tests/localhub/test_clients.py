"""Whole libraries against the Hub, in a process of their own with nothing but HF_ENDPOINT set."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub.file_download import http_get

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


TRAINING = """
import sys
import torch
from datasets import Dataset
from huggingface_hub import constants, login, model_info
from peft import AutoPeftModelForCausalLM, LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

token, base, folder = sys.argv[1:]
assert not constants.HF_HUB_DISABLE_XET
login(token)
AutoModelForCausalLM.from_pretrained(base).push_to_hub("alice/tiny-base")
AutoTokenizer.from_pretrained(base).push_to_hub("alice/tiny-base")
model = AutoModelForCausalLM.from_pretrained("alice/tiny-base")
rows = Dataset.from_list([{"prompt": f"Say {n}.", "completion": f" It is {n}."} for n in range(8)])
arguments = SFTConfig(
    folder, push_to_hub=True, hub_model_id="alice/tiny-adapter", hub_private_repo=True, max_steps=3, save_steps=1,
    per_device_train_batch_size=2, report_to=[], use_cpu=True, bf16=False, learning_rate=0.01,
)
lora = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False)
trainer = SFTTrainer(
    model, args=arguments, train_dataset=rows, processing_class=AutoTokenizer.from_pretrained("alice/tiny-base"),
    peft_config=lora,
)
trainer.train()
trainer.push_to_hub()
info = model_info("alice/tiny-adapter")
assert info.private and "adapter_model.safetensors" in {file.rfilename for file in info.siblings}
trained = trainer.model.eval()
ids = torch.arange(3, 40)[None]
with torch.no_grad():
    expected = trained(ids).logits
    plain = AutoModelForCausalLM.from_pretrained("alice/tiny-base").eval()
    before = plain(ids).logits
    for loaded in (PeftModel.from_pretrained(plain, "alice/tiny-adapter"),
                   AutoPeftModelForCausalLM.from_pretrained("alice/tiny-adapter")):
        assert torch.equal(loaded.eval()(ids).logits, expected)
    assert not torch.equal(before, expected)
"""


@pytest.mark.slow  # as test_reproduce.py, with a trainer of its own
def test_a_trainer_pushes_an_adapter_that_loads_again(live, tiny_llama, tmp_path):
    environment = {**os.environ, "HF_ENDPOINT": live.hub.endpoint, "HF_HOME": str(tmp_path / "home")}
    for name in ("HF_TOKEN", "HF_HUB_DISABLE_XET"):
        environment.pop(name, None)
    command = [sys.executable, "-c", TRAINING, live.tokens["alice"], str(tiny_llama), str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_download_goes_on_where_it_was_cut_off(live, api, repo_id, data, tmp_path):
    api.upload_file(path_or_fileobj=data, path_in_repo="large.bin", repo_id=repo_id)
    whole = Path(api.hf_hub_download(repo_id, "large.bin", local_dir=tmp_path / "whole"))
    assert whole.read_bytes() == data
    cut = tmp_path / "cut.incomplete"
    cut.write_bytes(data[:1_000_000])
    address = f"{live.hub.endpoint}/{repo_id}/resolve/main/large.bin"
    with cut.open("ab") as file:
        http_get(address, file, resume_size=1_000_000, headers={}, expected_size=len(data))
    assert cut.read_bytes() == data
