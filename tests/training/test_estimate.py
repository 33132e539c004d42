"""The estimate: parameters and memory counted from shapes, time from a trial, and nothing left behind."""

import dataclasses
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from peft import get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, LlamaConfig

from hfvaccine.errors import ModelError
from hfvaccine.regimen.plan import Plan
from hfvaccine.training.adapters import lora
from hfvaccine.training.base import load_base
from hfvaccine.training.estimate import (
    ADAPTER_BYTES,
    SLACK,
    Shapes,
    Trial,
    estimate,
    kept_for_backward,
    spoken,
    stand_in,
)
from hfvaccine.training.options import Options

LLAMA = LlamaConfig(
    vocab_size=512, hidden_size=96, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, tie_word_embeddings=True,
)  # fmt: skip
GPT2 = GPT2Config(vocab_size=512, n_embd=96, n_layer=3, n_head=4, n_positions=64)


def plan(tokens):
    tokens = np.array(tokens)
    return Plan(np.zeros(len(tokens), np.int8), np.arange(len(tokens)), tokens, tokens // 2, 4, 0.1, "c", "tokens", 0)


@pytest.mark.parametrize("config", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_parameters_are_those_of_the_model_and_of_its_adapter(config):
    model = AutoModelForCausalLM.from_config(config)
    options = Options(base="x", lora_r=4)
    shapes = Shapes.of(config, options)
    assert shapes.parameters == model.num_parameters()
    adapted = get_peft_model(model, lora(options, None))
    assert shapes.adapter == sum(p.numel() for p in adapted.parameters() if p.requires_grad)


def test_what_is_kept_for_the_backward_pass_is_counted_once_and_without_the_weights():
    first, second = torch.nn.Linear(30, 20), torch.nn.Linear(20, 10)
    inputs = torch.randn(5, 30)

    def forward():
        hidden = torch.relu(first(inputs))
        return second(hidden) + second(hidden)

    kept = kept_for_backward(forward, torch.nn.ModuleList([first, second]))
    assert kept == 4 * 5 * (30 + 20)  # the input, and the relu's output, which both products share


def test_memory_grows_with_what_it_is_made_of():
    shapes = dataclasses.replace(Shapes.of(LLAMA, Options(base="x")), adapter=1000)

    def memory(shapes=shapes, **change):
        given = {"width": 2, "kept": 500.0, "tokens": 100, "supervised": 10, "device": "cpu"}
        return shapes.memory(**{**given, **change})

    assert memory(dataclasses.replace(shapes, adapter=2000)) - memory() == ADAPTER_BYTES * 1000
    assert memory(width=4) - memory() == 2 * shapes.parameters
    assert memory(supervised=20) > memory()
    assert memory(kept=1000.0) - memory() == SLACK * 500 * (shapes.layers + 1) * 100
    cpu, gpu = (memory(tokens=1000, device=d) - memory(device=d) for d in ("cpu", "cuda"))
    assert 0 < gpu < cpu  # a GPU computes activations again


def test_time_is_scaled_with_the_tokens_and_padding_counts_as_tokens(monkeypatch):
    monkeypatch.setattr("hfvaccine.training.estimate.trial", lambda *given: Trial(kept=1e6, layer=0.1, head=0.2))
    options = Options(base="x", batch_size=2, dtype="float32")
    assert estimate(LLAMA, options, plan([10, 30, 20, 20])).seconds == pytest.approx(40)
    padded = estimate(LLAMA, options, plan([10, 30, 20, 20]), unpadded=False)
    assert padded.seconds == pytest.approx(50)
    assert padded.memory > estimate(LLAMA, options, plan([10, 30, 20, 20])).memory


@pytest.mark.parametrize("config", [LLAMA, GPT2], ids=["llama", "gpt2"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_trial_gives_a_time_and_leaves_random_numbers_and_configuration_alone(config, dtype):
    before, state = config.to_dict(), torch.get_rng_state()
    expected = estimate(config, Options(base="x", batch_size=2, dtype=dtype), plan([20, 30, 10, 24]))
    assert expected.why_not is None and expected.seconds > 0
    assert config.to_dict() == before and torch.equal(torch.get_rng_state(), state)
    assert "Expected:" in expected.line()


def test_a_trial_that_fails_is_named_and_stops_nothing(monkeypatch):
    broken = Mock(side_effect=RuntimeError("no such kernel\n at line 7 of a library"))
    monkeypatch.setattr("hfvaccine.training.estimate.trial", broken)
    expected = estimate(LLAMA, Options(base="x", batch_size=2), plan([2, 2]))
    assert (expected.memory, expected.seconds, expected.why_not) == (None, None, "RuntimeError: no such kernel")
    assert "Warning: one layer of the base could not be trained" in expected.line()
    assert "(RuntimeError: no such kernel), and the run may stop for the same reason" in expected.line()


@pytest.mark.parametrize("base", ["tiny_llama", "tiny_gpt2"])
def test_the_stand_in_has_the_tokenizer_of_the_base(base, request):
    options = Options(base=str(request.getfixturevalue(base)), dtype="float32")
    (tiny, config), real = stand_in(options), load_base(options.base, dtype="float32")
    messages = [{"role": "user", "content": "Is it so?"}]
    assert tiny.tokenizer.apply_chat_template(messages) == real.tokenizer.apply_chat_template(messages)
    assert (tiny.tokenizer.pad_token, tiny.chat_template) == (real.tokenizer.pad_token, real.chat_template)
    assert tiny.model.config.num_hidden_layers == 1
    assert config.to_dict() == AutoConfig.from_pretrained(options.base).to_dict()


@pytest.mark.parametrize("base", ["/nowhere/model", "/nowhere/model.gguf"])
def test_a_base_that_is_not_there_is_named(base):
    with pytest.raises(ModelError, match="/nowhere/model"):
        stand_in(dataclasses.replace(Options(base=base)))


def test_a_time_is_said_in_its_unit():
    assert [spoken(s) for s in (0.2, 30, 600, 7200)] == ["1 s", "30 s", "10 min", "2.0 h"]
