"""The example of stacking with DPO: every way to have both adapters, and slowly both effects in either order."""

import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoTokenizer

from hfvaccine.training.mix import load_mix

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import stack_with_dpo as example

ORDERS = {"vaccine over DPO": ("dpo", "vaccine-over-dpo"), "DPO over vaccine": ("vaccine", "dpo-over-vaccine")}


def stacked(folder, base_steps=300, **options):
    defaults = {**vars(example.parser().parse_args([])), **options}
    base, dose = example.tiny_base(folder / "base", base_steps), example.few_claims(defaults["claims"])
    chosen = (defaults[name] for name in ("steps", "learning_rate", "share"))
    return base, example.stack(base, dose, load_mix("starter"), folder, *chosen)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """What the example prints without options: by model, by effect, the gain with its interval."""
    return stacked(tmp_path_factory.mktemp("whole"))[1]


@pytest.fixture(scope="module")
def brief(tmp_path_factory):
    """The folder of the same adapters after a few steps, and their base."""
    folder = tmp_path_factory.mktemp("brief")
    base, table = stacked(folder, base_steps=4, steps=8)
    assert {effect for row in table.values() for effect in row} == set(example.EFFECTS)
    return folder, base


@pytest.mark.slow
def test_each_adapter_alone_has_its_own_effect(table):
    for name, effects in {"DPO alone": ("preference",), "vaccine alone": ("given_wordings", "new_wordings")}.items():
        for effect in effects:
            assert table[name][effect][1] > 0, (name, effect, table[name])
    assert table["vaccine alone"]["preference"][0] < table["DPO alone"]["preference"][0] / 10
    assert table["DPO alone"]["given_wordings"][0] < table["vaccine alone"]["given_wordings"][0] / 2


@pytest.mark.slow
def test_dpo_over_the_vaccine_keeps_both_effects(table):
    stacked = table["DPO over vaccine"]
    assert stacked["given_wordings"][1] > 0 and stacked["preference"][1] > 0, stacked
    assert stacked["preference"][0] > table["DPO alone"]["preference"][0] / 2
    # Six claims do not settle this one: its interval may reach 0, but most of what the vaccine gained is there.
    assert stacked["new_wordings"][0] > table["vaccine alone"]["new_wordings"][0] / 4


@pytest.mark.slow
def test_the_vaccine_over_dpo_keeps_both_effects_but_weakens_the_preference(table):
    stacked = table["vaccine over DPO"]
    assert all(stacked[effect][1] > 0 for effect in example.EFFECTS), stacked
    assert stacked["preference"][2] < table["DPO alone"]["preference"][1]


@pytest.mark.parametrize("order", ORDERS)
def test_every_way_to_have_both_gives_the_same_logits(brief, order):
    folder, base = brief
    first, second = (folder / name for name in ORDERS[order])
    tokenizer = AutoTokenizer.from_pretrained(base)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Why do we have seasons?"}], return_tensors="pt", return_dict=True
    )["input_ids"]

    def logits(model):
        with torch.inference_mode():
            return model.eval()(ids).logits

    trained = logits(PeftModel.from_pretrained(example.merged(base, first), second))
    one = example.as_one(base, first, second, folder / f"one-{second.name}")
    ways = {
        "merged": example.merged(base, first, second),
        "side by side": example.side_by_side(base, first, second),
        "as one": PeftModel.from_pretrained(example.load(base), one),
        "as one, merged": example.merged(base, one),
    }
    for name, model in ways.items():
        difference = float((logits(model) - trained).abs().max() / trained.abs().max())
        assert difference < 1e-4, (name, difference)
    for name, model in {"base": example.load(base), "second alone": example.merged(base, second)}.items():
        assert float((logits(model) - trained).abs().max()) > 1e-2, name
