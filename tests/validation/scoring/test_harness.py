"""lm-eval's own ways of asking, with our scorer: the same answers as from its `hf` model."""

import subprocess
import sys

import numpy as np
import pytest

from hfvaccine.packages import install_extra
from hfvaccine.training.base import load_base

pytest.importorskip("lm_eval")

from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model
from lm_eval.models.huggingface import HFLM

from hfvaccine.validation.scoring.harness import HfvaccineLM

LONG = " The river runs to the sea." * 150


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_gpt2"])
def both(request):
    base = load_base(str(request.getfixturevalue(request.param)), dtype="float32")
    return [kind(pretrained=base.model, tokenizer=base.tokenizer, batch_size=2) for kind in (HfvaccineLM, HFLM)]


def asked(kind, *arguments):
    return [Instance(kind, {}, each, number) for number, each in enumerate(arguments)]


def test_the_model_is_registered_under_its_name():
    assert get_model("hfvaccine") is HfvaccineLM


def test_likelihoods_are_those_of_hf_even_of_texts_that_are_cut(both):
    pairs = [
        ("Q: Why?\nA:", " No"),
        ("Q: Why?\nA:", " No, never"),
        ("", " No"),
        (LONG, " A sea."),
        ("A " + LONG, " No"),
    ]
    ours, theirs = (model.loglikelihood(asked("loglikelihood", *pairs), disable_tqdm=True) for model in both)
    assert np.abs(np.subtract([value for value, _ in ours], [value for value, _ in theirs])).max() < 1e-4
    assert [said for _, said in ours] == [said for _, said in theirs]


def test_rolling_likelihoods_are_those_of_hf(both):
    texts = [("The river runs.",), (LONG,)]
    ours, theirs = (model.loglikelihood_rolling(asked("loglikelihood_rolling", *texts)) for model in both)
    assert np.allclose(ours, theirs, rtol=1e-6)


def test_an_adapter_is_scored_where_there_is_one(tiny_llama):
    from peft import LoraConfig, get_peft_model
    from torch.nn import init

    base = load_base(str(tiny_llama), dtype="float32")
    bare = HfvaccineLM(pretrained=base.model, tokenizer=base.tokenizer)
    pairs = asked("loglikelihood", ("Q: Why?\nA:", " No"))
    ((before, _),) = bare.loglikelihood(pairs, disable_tqdm=True)
    model = get_peft_model(base.model, LoraConfig(r=4, target_modules=["q_proj"]))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            init.normal_(parameter)
    (((ours, _),), ((theirs, _),)) = (
        kind(pretrained=model, tokenizer=base.tokenizer).loglikelihood(pairs, disable_tqdm=True)
        for kind in (HfvaccineLM, HFLM)
    )
    assert abs(ours - theirs) < 1e-4 < abs(ours - before)


def test_without_lm_eval_the_module_can_be_imported_and_says_what_to_install():
    code = """
import sys
sys.modules["lm_eval"] = None
from hfvaccine.errors import ValidationError
from hfvaccine.validation.scoring import harness
for use in (harness.HfvaccineLM, harness.main):
    try:
        use()
    except ValidationError as error:
        print(error.next_step)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{install_extra('lm-eval')}\n" * 2
