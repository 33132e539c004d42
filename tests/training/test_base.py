"""Bases: found, named, bound, and always with a chat template."""

import os
import shutil
import subprocess
import sys

import pytest
import tiny
import torch
from hubs import put, talk_to
from huggingface_hub import HfApi
from safetensors.torch import load_file, save_file

from hfvaccine.errors import ModelError, UsageError
from hfvaccine.files import combined, digest_of
from hfvaccine.localhub.server import LocalHub
from hfvaccine.training.base import (
    PLAIN_TEMPLATE,
    choose_dtype,
    complete_tokenizer,
    found_on_hub,
    load_base,
    weights_of,
)
from hfvaccine.training.estimate import stand_in
from hfvaccine.training.options import Options


def test_a_model_without_chat_template_gets_one(tiny_gpt2):
    base = load_base(str(tiny_gpt2), dtype="float32")
    assert (base.tokenizer.chat_template, base.chat_template) == (PLAIN_TEMPLATE, "hfvaccine")


def test_a_model_without_padding_token_pads_with_its_end_token(tiny_gpt2):
    tokenizer = load_base(str(tiny_gpt2), dtype="float32").tokenizer
    assert tokenizer.pad_token == tokenizer.eos_token == "<|endoftext|>"


def test_a_model_keeps_its_own_chat_template(tiny_llama):
    base = load_base(str(tiny_llama), dtype="float32")
    assert base.chat_template == "own"
    assert base.tokenizer.chat_template.startswith("{% for m in messages %}")


def test_the_given_chat_template_renders_the_prompt_alike_with_and_without_the_answer(tiny_gpt2):
    tokenizer = load_base(str(tiny_gpt2), dtype="float32").tokenizer
    prompt = [{"role": "user", "content": "Why?"}]
    asked = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    answered = tokenizer.apply_chat_template([*prompt, {"role": "assistant", "content": "Because."}], tokenize=False)
    assert asked == "### User:\nWhy?\n### Assistant:\n"
    assert answered == asked + "Because.<|endoftext|>\n"


def test_the_given_chat_template_begins_as_the_tokenizer_begins_texts():
    words = tiny.begin_and_end(tiny.tokenizer(bos_token="<s>", eos_token="</s>"), "<s>", "</s>")
    assert complete_tokenizer(words) == "hfvaccine"
    assert words.chat_template == "{{ bos_token }}" + PLAIN_TEMPLATE
    bare = tiny.tokenizer(bos_token="<s>", eos_token="</s>")
    complete_tokenizer(bare)
    assert bare.chat_template == PLAIN_TEMPLATE


def test_a_template_with_a_clock_is_told_one_date_which_is_recorded():
    words = tiny.tokenizer(eos_token="</s>")
    words.chat_template = "Today is {{ strftime_now('%d %b %Y') }}." + tiny.TEMPLATE
    assert complete_tokenizer(words) == "own, dated 2024-07-26"
    assert words.chat_template == "Today is {{ '26 Jul 2024' }}." + tiny.TEMPLATE
    assert complete_tokenizer(words) == "own"


def test_a_local_base_is_bound_by_the_digest_of_its_weights(tiny_gpt2, tmp_path):
    changed = tmp_path / "changed"
    shutil.copytree(tiny_gpt2, changed)
    weights = load_file(changed / "model.safetensors")
    name = min(weights)
    weights[name].view(-1)[0] += 1
    save_file(weights, changed / "model.safetensors", metadata={"format": "pt"})
    record = load_base(str(tiny_gpt2), dtype="float32").record()
    assert record["weights"] == {"model.safetensors": digest_of(tiny_gpt2 / "model.safetensors")}
    assert record["weights_sha256"] == combined(record["weights"]) != combined(weights_of(changed))
    assert record["revision"] is None


def test_the_weights_that_are_bound_are_those_that_are_loaded(tiny_gpt2, tmp_path):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_gpt2)
    model.save_pretrained(tmp_path, max_shard_size="50KB")
    (tmp_path / "training_args.bin").write_bytes(b"no weights")
    parts = {path.name for path in tmp_path.glob("model-*.safetensors")}
    assert len(parts) > 1 and set(weights_of(tmp_path)) == parts
    shutil.copy(tiny_gpt2 / "model.safetensors", tmp_path)  # goes before the parts
    assert set(weights_of(tmp_path)) == {"model.safetensors"}
    assert weights_of(tmp_path / "training_args.bin") == {"training_args.bin": digest_of(b"no weights")}


def dead(*given, **more):
    raise ConnectionError("Connection refused")


def test_a_base_on_a_hub_is_bound_by_its_commit_and_found_again_without_a_network(
    tiny_gpt2, tiny_llama, tmp_path, monkeypatch
):
    with LocalHub(tmp_path / "hub") as local:
        talk_to(local, monkeypatch, "ada", tmp_path / "cache")
        api = HfApi()
        api.create_repo("ada/tiny")
        first = api.upload_folder(repo_id="ada/tiny", folder_path=tiny_gpt2).oid
        put(api, "ada/tiny", "README.md", b"---\nlicense: gemma\n---\n")
        second = api.upload_folder(repo_id="ada/tiny", folder_path=tiny_llama).oid
        newest, older = (load_base("ada/tiny", revision=r, dtype="float32") for r in (None, first))
        named = load_base(f"ada/tiny@{first}", dtype="float32")
        monkeypatch.setattr(HfApi, "model_info", dead)
        assert found_on_hub("ada/tiny", None) == {"revision": second, "local_files_only": True}
        assert load_base("ada/tiny", dtype="float32").revision == second
        for load in (load_base, lambda name: stand_in(Options(base=name))):
            with pytest.raises(ModelError, match="cannot be reached: Connection refused") as refused:
                load("ada/other")
            assert "HF_ENDPOINT" in refused.value.next_step
    assert named.record() == older.record() and named.id == "ada/tiny"
    assert (newest.revision, older.revision) == (second, first)
    assert (newest.record()["licenses"], older.record()["licenses"]) == (["gemma"], [])
    assert (newest.model.config.model_type, older.model.config.model_type) == ("llama", "gpt2")
    assert newest.weights == weights_of(tiny_llama)
    assert older.record()["weights_sha256"] == combined(weights_of(tiny_gpt2)) == older.weights_sha256


def test_the_card_names_a_local_base_as_asked(tiny_gpt2):
    assert load_base(str(tiny_gpt2), base_id="openai-community/gpt2-xl", dtype="float32").id == (
        "openai-community/gpt2-xl"
    )


def test_a_folder_with_the_sign_of_a_revision_in_its_name_is_a_folder(tiny_gpt2, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_gpt2, tmp_path / "models" / "tiny@home")
    base = load_base("models/tiny@home", dtype="float32")
    assert (base.id, base.revision) == ("models/tiny@home", None)
    with pytest.raises(UsageError, match="has no revisions"):
        load_base("models/tiny@home", revision="v1")


def test_an_unknown_base_is_refused_with_the_next_step(tmp_path):
    with pytest.raises(ModelError, match="cannot be loaded") as refused:
        load_base(str(tmp_path / "nothing"), dtype="float32")
    assert "Give a Hub id, a folder" in refused.value.next_step


def test_a_base_without_a_tokenizer_is_refused_in_our_words(tiny_gpt2, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(tiny_gpt2, bare, ignore=shutil.ignore_patterns("tokenizer*", "vocab*", "merges*"))
    with pytest.raises(ModelError, match="has no tokenizer that can be read"):
        load_base(str(bare), dtype="float32")


def test_a_missing_gguf_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"There is no file .*model\.gguf"):
        load_base(str(tmp_path / "model.gguf"))


def test_weights_that_were_cut_off_are_refused(tiny_gpt2, tmp_path):
    cut = tmp_path / "cut"
    shutil.copytree(tiny_gpt2, cut)
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_base(str(cut), dtype="float32")


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_an_emulated_bfloat16_is_not_chosen(monkeypatch, native, dtype):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native
    )
    assert choose_dtype() is dtype


OFFLINE = """
import sys, time
import datasets, transformers
import hfvaccine.runs.immunize
from hfvaccine.cli import main
sys.argv = ["hfvaccine", "immunize", "--base", "gpt2-xl", "--output-dir", sys.argv[1]]
begun = time.monotonic()
try:
    main()
finally:
    print(time.monotonic() - begun)
"""


def test_a_dead_network_is_named_in_one_message_within_ten_seconds(tmp_path):
    dead_end = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    run = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(tmp_path / "run")],
        env={**os.environ, **dead_end}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == 1 and float(run.stdout) < 10
    lines = run.stderr.strip().split("\n")
    assert lines[0].startswith("Error: The base model 'gpt2-xl' is not on this machine, and http://127.0.0.1:9 cannot")
    assert len(lines) == 2 and "HF_ENDPOINT" in lines[1]
    assert not (tmp_path / "run").exists()
