"""A frozen adapter beside the trained one: both compute, one learns, and the trained one is saved alone."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from hfvaccine.files import ADAPTER
from hfvaccine.training.frozen import BESIDE, change, random_like, switch_on

IDS = torch.arange(12)[None]


@pytest.fixture(scope="module")
def trait(tiny_llama, tmp_path_factory):
    """The folder of an adapter that changes what the base says."""
    torch.manual_seed(7)
    folder = tmp_path_factory.mktemp("trait")
    base = AutoModelForCausalLM.from_pretrained(tiny_llama)
    get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)).save_pretrained(folder)
    return folder


def factors(folder):
    weights = load_file(folder / ADAPTER)
    return {name: (a, weights[name.replace("lora_A", "lora_B")]) for name, a in weights.items() if "lora_A" in name}


@given(sizes=st.tuples(*[st.integers(1, 9)] * 3), seed=st.integers(0, 99), size=st.sampled_from((0, 1e-6, 1, 1e4)))
def test_the_size_of_a_change_is_the_norm_of_the_product(sizes, seed, size):
    drawn, (rank, inputs, outputs) = torch.Generator().manual_seed(seed), sizes
    a, b = torch.randn(rank, inputs, generator=drawn), size * torch.randn(outputs, rank, generator=drawn)
    assert change(a, b) == pytest.approx(float((b.double() @ a.double()).norm()), rel=1e-6)


def test_a_random_adapter_changes_each_module_as_much_and_otherwise(trait, tmp_path, tiny_llama):
    random_like(trait, tmp_path / "one", seed=1)
    random_like(trait, tmp_path / "two", seed=2)
    one, two, own = factors(tmp_path / "one"), factors(tmp_path / "two"), factors(trait)
    assert own.keys() == one.keys() == two.keys()
    for name, (a, b) in own.items():
        product = b @ a
        for other in (one, two):
            drawn = other[name][1] @ other[name][0]
            assert float(drawn.norm()) == pytest.approx(float(product.norm()), rel=1e-4)
            assert torch.nn.functional.cosine_similarity(drawn.flatten(), product.flatten(), dim=0).abs() < 0.5
        assert not one[name][0].equal(two[name][0])
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama), tmp_path / "one")


def test_a_random_adapter_is_drawn_once_and_the_same_by_the_same_seed(trait, tmp_path):
    random_like(trait, tmp_path / "one", seed=1)
    random_like(trait, tmp_path / "again", seed=1)
    assert (tmp_path / "one" / ADAPTER).read_bytes() == (tmp_path / "again" / ADAPTER).read_bytes()
    kept = (tmp_path / "one" / ADAPTER).read_bytes()
    random_like(trait, tmp_path / "one", seed=2)
    assert (tmp_path / "one" / ADAPTER).read_bytes() == kept


def test_both_adapters_compute_and_only_the_trained_one_learns(trait, tiny_llama):
    def base():
        return AutoModelForCausalLM.from_pretrained(tiny_llama).eval()

    model = get_peft_model(base(), LoraConfig(r=2, target_modules="all-linear")).eval()
    model.load_adapter(trait, BESIDE)
    switch_on(model)
    learning = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert learning and all(".default." in name for name in learning)
    with torch.no_grad():
        alone = PeftModel.from_pretrained(base(), trait)(input_ids=IDS).logits
        assert model(input_ids=IDS).logits.equal(alone)  # a LoRA begins as nothing: all comes from the frozen one
        model.set_adapter("default")
        assert model(input_ids=IDS).logits.equal(base()(input_ids=IDS).logits)
