"""Whether what was pushed loads: held against its base without the base's weights."""

import json
from pathlib import Path

import pytest
from finished_runs import bound, finished_run
from hubs import put

from hfvaccine import hub
from hfvaccine.errors import HubError, PublishError
from hfvaccine.files import ADAPTER, ADAPTER_CONFIG, CARD, RECORD


@pytest.fixture
def trained(api, tiny_llama, tmp_path):
    """`trained(base, config)`: a run with a real, untrained adapter of the tiny Llama, whose base on the Hub is said
    to have that configuration and has nothing else."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    def trained(base, config=tiny_llama / "config.json"):
        api.create_repo(base, exist_ok=True)
        run = finished_run(tmp_path / "run", base={"id": base, "revision": put(api, base, "config.json", config)})
        torch.manual_seed(0)
        lora = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
        get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_llama), lora).save_pretrained(run)
        (run / CARD).write_text("an older card")
        adapter = json.loads((run / ADAPTER_CONFIG).read_text())
        (run / ADAPTER_CONFIG).write_text(json.dumps({**adapter, "base_model_name_or_path": base}))
        return bound(run)

    return trained


def merged_model(into, tiny):
    """The folder of a merged model: the papers of a run, and whole weights in place of an adapter."""
    from transformers import AutoModelForCausalLM

    run = finished_run(into, training={"merged": {"dtype": "float32"}})
    for name in (ADAPTER, ADAPTER_CONFIG):
        (run / name).unlink()
    AutoModelForCausalLM.from_pretrained(tiny).save_pretrained(run)
    return bound(run)


def test_a_pushed_adapter_is_seen_to_fit_its_base_without_its_weights(alice, repo_id, trained):
    said = []
    run = trained("alice/llama")
    hub.push_adapter(run, repo_id, progress=said.append, **alice)
    assert any("empty cache" in line for line in said)
    assert not any("Not checked" in line for line in said)


def test_an_adapter_of_another_base_is_named_and_stays_private(alice, api, repo_id, trained, tiny_llama):
    config = json.loads((tiny_llama / "config.json").read_text())
    run = trained("alice/wider", json.dumps({**config, "intermediate_size": 96}).encode())
    with pytest.raises(HubError, match=r"alice/wider: 6 tensors of another shape, such as .*\.mlp\.") as caught:
        hub.push_adapter(run, repo_id, **alice)
    assert "--base-id" in caught.value.next_step
    assert api.model_info(repo_id).private
    assert not api.list_repo_refs(repo_id).tags


def test_an_adapter_with_other_tensors_than_its_configuration_has_is_named(alice, repo_id, trained):
    from safetensors.torch import load_file, save_file

    run = trained("alice/llama")
    tensors = load_file(run / ADAPTER)
    tensors["extra"] = tensors.pop(sorted(tensors)[0])
    save_file(tensors, run / ADAPTER)
    with pytest.raises(HubError, match=r"1 tensor missing, such as base_model.*; 1 tensor unexpected, such as extra"):
        hub.push_adapter(bound(run), repo_id, **alice)


def test_a_base_that_cannot_be_had_is_said_in_one_line(alice, repo_id, run, local):
    said = []
    hub.push_adapter(run, repo_id, progress=said.append, **alice)
    assert [line for line in said if "Not checked" in line] == [
        f"Not checked that it fits its base: {local.endpoint} shows no config.json of alice/tiny"
    ]


def test_a_base_of_an_unknown_kind_is_said_in_one_line(alice, api, repo_id, tmp_path):
    said = []
    api.create_repo("alice/odd")
    revision = put(api, "alice/odd", "config.json", b'{"model_type": "odd"}')
    run = finished_run(tmp_path / "run", base={"id": "alice/odd", "revision": revision})
    hub.push_adapter(run, repo_id, progress=said.append, **alice)
    assert len([line for line in said if line.startswith("Not checked") and "\n" not in line]) == 1


def test_a_merged_model_is_pushed_without_reading_its_weights_into_memory(
    alice, api, repo_id, tmp_path, tiny_llama, monkeypatch
):
    run = merged_model(tmp_path / "run", tiny_llama)
    read = Path.read_bytes

    def small_only(path):
        assert not path.name.startswith("model")
        return read(path)

    said = []
    monkeypatch.setattr(Path, "read_bytes", small_only)
    hub.push_adapter(run, repo_id, progress=said.append, **alice)
    assert {"model.safetensors", "config.json", RECORD} <= set(api.list_repo_files(repo_id))
    assert not any("Not checked" in line for line in said)


def test_a_merged_model_that_lacks_tensors_is_found_out(alice, repo_id, tmp_path, tiny_llama):
    from safetensors.torch import load_file, save_file

    run = merged_model(tmp_path / "run", tiny_llama)
    tensors = load_file(run / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, run / "model.safetensors", {"format": "pt"})
    with pytest.raises(HubError, match=r"1 tensor missing, such as model\.norm\.weight"):
        hub.push_adapter(bound(run), repo_id, **alice)
    (run / "model.safetensors").unlink()
    with pytest.raises(PublishError, match=r"no model\.safetensors"):
        hub.push_adapter(bound(run), repo_id, **alice)
