"""Adapters as they are loaded again: the trained one is taken to the rounding of its dtype, and no other is."""

from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from hfvaccine.errors import ValidationError
from hfvaccine.training.adapters import (  # fmt: skip
    FLOAT32_ELSEWHERE,
    ROUNDING,
    Arm,
    apart,
    in_its_dtype,
    load_trained,
    tolerance,
    witness,
)
from hfvaccine.training.base import load_base


@pytest.fixture(scope="module")
def trained(tiny_gpt2, tmp_path_factory):
    """`trained(dtype)`: the folder of an adapter that does something, and its witness."""

    def trained(dtype):
        folder = tmp_path_factory.mktemp("adapter")
        base = load_base(str(tiny_gpt2), dtype=dtype).model
        model = get_peft_model(base, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
        model.save_pretrained(folder)
        return folder, witness(model)

    return trained


def arm(folder, seen):
    return {"vaccine": Arm(folder, None, 0, "", None, 0.0, None, seen)}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_trained_adapter_is_taken_to_the_rounding_of_its_dtype_and_no_other_is(tiny_gpt2, trained, dtype):
    folder, seen = trained(dtype)
    allowed = ROUNDING[dtype] * max(map(abs, seen))
    for off in (0.0, 0.5 * allowed):
        load_trained(load_base(str(tiny_gpt2), dtype=dtype), arm(folder, [seen[0] + off, *seen[1:]]))
    for wrong in ([seen[0] + 2 * allowed, *seen[1:]], [float("nan"), *seen[1:]], trained(dtype)[1]):
        with pytest.raises(ValidationError, match=f"is allowed in torch.{dtype} on cpu"):
            load_trained(load_base(str(tiny_gpt2), dtype=dtype), arm(folder, wrong))


@pytest.mark.parametrize(
    ("dtype", "device", "allowed"),
    [
        ("float32", "cpu", ROUNDING["float32"]),
        ("float32", "cuda", FLOAT32_ELSEWHERE),
        ("bfloat16", "cpu", ROUNDING["bfloat16"]),
        ("bfloat16", "cuda", ROUNDING["bfloat16"]),
        ("float16", "cuda", ROUNDING["float16"]),
    ],
)
def test_the_tolerance_fits_dtype_and_device(dtype, device, allowed):
    assert tolerance(SimpleNamespace(dtype=getattr(torch, dtype), device=torch.device(device))) == allowed


def test_how_far_apart_is_a_part_of_the_largest():
    assert apart(torch.tensor([9.0, -20.0]), torch.tensor([10.0, -20.0])) == pytest.approx(0.05)
    assert apart(torch.zeros(2), torch.zeros(2)) == 0.0


def test_adapters_in_the_dtype_of_their_base_are_off_by_no_more_than_it_rounds_anyway(tiny_llama, tmp_path):
    torch.manual_seed(0)
    whole = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    config = LoraConfig(target_modules="all-linear", init_lora_weights=False)
    get_peft_model(whole, config).save_pretrained(tmp_path)

    def logits(dtype, change):
        model = change(
            PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=dtype), tmp_path)
        )
        with torch.inference_mode():
            said = model.eval()(input_ids=torch.arange(20)[None]).logits.float()
        return said, {p.dtype for name, p in model.named_parameters() if "lora_" in name}

    exact, _ = logits(torch.float32, lambda model: model)
    usual, kept = logits(torch.bfloat16, lambda model: model)
    found, cast = logits(torch.bfloat16, in_its_dtype)
    assert (kept, cast) == ({torch.float32}, {torch.bfloat16})
    assert (found - exact).norm() < 2 * (usual - exact).norm()
