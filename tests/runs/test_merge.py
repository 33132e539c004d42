"""A merged model of a tiny run: it answers as the adapter does, keeps its papers, and is whole or not there."""

import contextlib
import dataclasses
import io
import json
import re
import shutil

import pytest
import torch
from click.testing import CliRunner
from doses import sealed
from huggingface_hub import ModelCard
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from hfvaccine.cli.merge import merge as command
from hfvaccine.errors import LineageError, ModelError, UsageError
from hfvaccine.files import (
    ADAPTER,
    ADAPTER_CONFIG,
    CARD,
    CONFIG,
    LEDGER,
    RECALLS,
    RECORD,
    RESULTS,
    SCORES,
    SIGNATURE,
    digest_of,
)
from hfvaccine.hub.adapter_files import adapter_files
from hfvaccine.papers.binding import check_record
from hfvaccine.runs import merge as merging
from hfvaccine.runs.immunize import immunize
from hfvaccine.runs.merge import merge
from hfvaccine.training.options import Options


@pytest.fixture(scope="module")
def run(make_claims, tiny_gpt2, mix_file, tmp_path_factory):
    """The folder of a run of four steps, at a rate at which the adapter can be told from its base."""
    dose = sealed(tmp_path_factory.mktemp("dose") / "sealed", make_claims(12, heldout=5))
    folder = tmp_path_factory.mktemp("merge") / "run"
    options = Options(
        base=str(tiny_gpt2), dose=str(dose.path), mix=str(mix_file), share=0.2, max_steps=4, batch_size=4,
        max_length=512, lora_r=4, learning_rate=0.02, dtype="float32", exposures=1, comparisons="none",
        output_dir=str(folder),
    )  # fmt: skip
    immunize(options)
    return folder


@pytest.fixture(scope="module")
def merged(run, tmp_path_factory):
    return merge(run, tmp_path_factory.mktemp("merged") / "model")


@pytest.fixture
def copied(run, tmp_path):
    """A copy of the run that a test may spoil."""
    return shutil.copytree(run, tmp_path / "run")


def read(folder, name):
    return json.loads((folder / name).read_text())


def logits(model, ids):
    with torch.inference_mode():
        return model.eval()(ids).logits


def snippet(folder):
    return re.search(r"```python\n(.*?)```", (folder / CARD).read_text(), re.DOTALL)[1]


def executed(code, folder, monkeypatch):
    """What a snippet of a card prints, run in the folder that it stands in."""
    monkeypatch.chdir(folder)
    said, names = io.StringIO(), {}
    with contextlib.redirect_stdout(said):
        exec(code, names)
    return said.getvalue(), names


def test_the_signature_of_an_adapter_does_not_go_into_its_model(copied, tmp_path):
    (copied / SIGNATURE).write_text("{}")
    merge(copied, tmp_path / "model")
    assert not (tmp_path / "model" / SIGNATURE).exists()


def test_it_loads_without_peft_and_answers_as_the_adapter_does(run, merged, tiny_gpt2):
    ids = torch.randint(0, 500, (3, 40), generator=torch.Generator().manual_seed(1))
    alone = AutoModelForCausalLM.from_pretrained(merged.folder)
    base = AutoModelForCausalLM.from_pretrained(tiny_gpt2)
    plain = logits(base, ids)
    adapted = logits(PeftModel.from_pretrained(base, run), ids)
    assert (adapted - plain).abs().max() > 1e-2
    assert (logits(alone, ids) - adapted).abs().max() <= merging.TOLERANCES["float32"] * adapted.abs().max()
    assert not (merged.folder / ADAPTER).exists() and not (merged.folder / ADAPTER_CONFIG).exists()
    template = AutoTokenizer.from_pretrained(run).chat_template
    assert template and AutoTokenizer.from_pretrained(merged.folder).chat_template == template


def test_it_is_saved_in_the_precision_of_the_base(run, merged, tmp_path, monkeypatch):
    monkeypatch.setattr(merging, "_saved_dtype", lambda base, revision: "bfloat16")
    half = merge(run, tmp_path / "half")
    for one, dtype in ((merged, torch.float32), (half, torch.bfloat16)):
        with safe_open(one.folder / "model.safetensors", "pt") as weights:
            assert {weights.get_tensor(name).dtype for name in weights.keys()} == {dtype}  # noqa: SIM118
        assert read(one.folder, "config.json")["dtype"] == one.dtype == str(dtype).removeprefix("torch.")
    # Ten roundings of float32, which processors do not do alike.
    assert merged.difference <= 1e-5 < half.difference <= half.tolerance == merging.TOLERANCES["bfloat16"]


def test_the_base_says_in_which_precision_it_is(tiny_gpt2, tmp_path):
    AutoModelForCausalLM.from_pretrained(tiny_gpt2, dtype=torch.float16).save_pretrained(tmp_path)
    assert [merging._saved_dtype(str(base), None) for base in (tiny_gpt2, tmp_path)] == ["float32", "float16"]
    assert merging._saved_dtype("model.gguf", None) is None


def test_its_record_names_the_adapter_and_binds_its_files(run, merged):
    record, before = read(merged.folder, RECORD), read(run, RECORD)
    check_record(record)
    assert record["files"] == {name: digest_of(merged.folder / name) for name in record["files"]}
    assert {"model.safetensors", "config.json", CARD, CONFIG, LEDGER, RESULTS, SCORES} <= set(record["files"])
    assert record["training"]["merged"] == {
        "adapter_sha256": digest_of(run / ADAPTER),
        "adapter_config_sha256": digest_of(run / ADAPTER_CONFIG),
        "record_sha256": before["record_sha256"],
        "dtype": "float32",
        "difference": merged.difference,
        "tolerance": merged.tolerance,
    }
    assert {k: record[k] for k in ("base", "dose", "mix", "plan", "gate")} == {
        k: before[k] for k in ("base", "dose", "mix", "plan", "gate")
    }
    for name in (LEDGER, RESULTS, SCORES, CONFIG, "figures/roc.svg", "tokenizer.json"):
        assert (merged.folder / name).read_bytes() == (run / name).read_bytes()


def test_it_is_published_as_an_adapter_is(merged):
    files = adapter_files(merged.folder, "you/tiny-merged", base_id="you/tiny", publish_failed=True)
    data = ModelCard(files[CARD].decode()).data
    assert (data.base_model, data["base_model_relation"]) == ("you/tiny", "finetune")
    assert data.library_name == "transformers"


def test_the_load_snippets_of_both_cards_run_and_say_the_same(run, merged, tiny_gpt2, monkeypatch):
    code = snippet(run)
    assert "PATH/TO/BASE" in code and "PATH/TO/BASE" not in snippet(merged.folder)
    by_adapter, names = executed(code.replace("PATH/TO/BASE", str(tiny_gpt2)), run, monkeypatch)
    assert isinstance(names["model"], PeftModel)
    by_model, names = executed(snippet(merged.folder), merged.folder, monkeypatch)
    assert not isinstance(names["model"], PeftModel)
    assert by_adapter == by_model != "\n"


def test_recall_notices_go_with_it(copied, tmp_path):
    (copied / RECALLS).write_text("{}\n")
    merge(copied, tmp_path / "model")
    assert (tmp_path / "model" / RECALLS).read_text() == "{}\n"


def test_a_model_that_answers_otherwise_is_not_kept(run, tmp_path, monkeypatch):
    monkeypatch.setitem(merging.TOLERANCES, "float32", -1.0)
    with pytest.raises(ModelError, match="differ from the adapter's by"):
        merge(run, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_another_base_is_refused(run, tiny_gpt2, tiny_llama, tmp_path):
    with pytest.raises(ModelError, match="was trained on"):
        merge(run, tmp_path / "model", str(tiny_llama))
    shutil.copytree(tiny_gpt2, tmp_path / "moved")
    merge(run, tmp_path / "model", str(tmp_path / "moved"))
    assert read(tmp_path / "model", RECORD)["base"] == read(run, RECORD)["base"]


@pytest.mark.parametrize("name", [ADAPTER, RESULTS, LEDGER])
def test_a_run_that_was_changed_is_refused(copied, tmp_path, name):
    (copied / name).write_bytes((copied / name).read_bytes() + b" ")
    with pytest.raises(LineageError, match=re.escape(name)):
        merge(copied, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_merged_model_and_an_unfinished_run_are_refused(merged, copied, tmp_path):
    with pytest.raises(LineageError, match=ADAPTER_CONFIG):
        merge(merged.folder, tmp_path / "again")
    (copied / RECORD).unlink()
    with pytest.raises(LineageError, match=RECORD):
        merge(copied, tmp_path / "model")


def test_a_folder_that_holds_something_is_left_alone(run, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        merge(run, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_command_prints_the_folder_and_how_near_it_came(merged, monkeypatch, tmp_path):
    made = []

    def recorded(*given):
        *given, progress = given
        progress.say("Base: tiny")
        made.append(given)
        return merged

    monkeypatch.setattr(merging, "merge", recorded)
    done = CliRunner().invoke(command, [str(tmp_path), "model", "--base", "tiny"])
    assert done.stdout == f"{merged.folder}\n"
    assert "Base: tiny" in done.stderr and "0.0001 is allowed in float32" in done.stderr
    done = CliRunner().invoke(command, [str(tmp_path), "model", "--json"])
    assert json.loads(done.stdout) == dataclasses.asdict(merged) | {"folder": str(merged.folder)}
    assert [(str(o), b) for _, o, b in made] == [("model", "tiny"), ("model", None)]
