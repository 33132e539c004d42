"""Free-text answers: greedy, the same in every batch, from the arm that is asked."""

import pytest

from hfvaccine.errors import ValidationError
from hfvaccine.validation.scoring.generate import BATCH, answers

RAW = [f"The town of Aldor {'lies far ' * (n % 5)}{n}" for n in range(BATCH + 3)]
CHATS = [[{"role": "user", "content": text}] for text in RAW[:5]]


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_gpt2"])
def loaded(request):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = request.getfixturevalue(request.param)
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def llama(tiny_llama):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(tiny_llama), AutoTokenizer.from_pretrained(tiny_llama)


def by_hand(model, ids, n, stop):
    """Greedy decoding without padding, cache or generate: the reference."""
    import torch

    said = []
    with torch.inference_mode():
        while len(said) < n and (not said or said[-1] != stop):
            logits = model(input_ids=torch.tensor([ids + said])).logits
            said.append(int(logits[0, -1].argmax()))
    return said


def test_answers_are_what_greedy_decoding_says_whatever_stands_beside_them(loaded):
    model, tokenizer = loaded
    said = answers(model, tokenizer, RAW, max_new_tokens=6)
    for prompt, answer in zip(RAW, said, strict=True):
        ids = by_hand(model, tokenizer(prompt)["input_ids"], 6, tokenizer.eos_token_id)
        assert answer == tokenizer.decode(ids, skip_special_tokens=True).strip()
    assert len(set(said)) > 1
    assert said == answers(model, tokenizer, RAW, max_new_tokens=6)


def test_a_models_own_sampling_settings_do_not_count(llama):
    model, tokenizer = llama
    plain = answers(model, tokenizer, RAW[:4], max_new_tokens=6)
    model.generation_config.update(do_sample=True, temperature=5.0, repetition_penalty=9.0)
    assert answers(model, tokenizer, RAW[:4], max_new_tokens=6) == plain


def test_conversations_go_through_the_chat_template(llama):
    model, tokenizer = llama
    text = tokenizer.apply_chat_template(CHATS[0], tokenize=False, add_generation_prompt=True)
    assert answers(model, tokenizer, CHATS[:1], max_new_tokens=5) == answers(
        model, tokenizer, [text], max_new_tokens=5
    )


def test_each_arm_answers_for_itself_and_the_active_one_stays(llama):
    import torch
    from peft import LoraConfig, get_peft_model

    base, tokenizer = llama
    alone = answers(base, tokenizer, RAW[:6], max_new_tokens=6)
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, lora_alpha=64)
    model = get_peft_model(base, config, adapter_name="vaccine")
    model.add_adapter("placebo", config)
    model.set_adapter("placebo")
    model.train()
    said = {name: answers(model, tokenizer, RAW[:6], name, max_new_tokens=6) for name in (None, "vaccine", "placebo")}
    assert said[None] == alone
    assert said["vaccine"] != said["placebo"] != alone != said["vaccine"]
    assert model.active_adapter == "placebo"
    assert model.training
    assert answers(model, tokenizer, RAW[:6], max_new_tokens=6) == said["placebo"]
    with pytest.raises(ValidationError, match="no adapter 'booster'"):
        answers(model, tokenizer, RAW[:1], "booster")


def test_a_plain_model_has_no_adapter(llama):
    with pytest.raises(ValidationError, match="no adapter 'vaccine'"):
        answers(*llama, RAW[:1], "vaccine")


def test_a_prompt_that_leaves_no_room_is_refused(llama):
    with pytest.raises(ValidationError, match="are to follow it; the model takes 512"):
        answers(*llama, ["north " * 600])


def test_an_empty_prompt_is_refused(llama):
    with pytest.raises(ValidationError, match="0 tokens"):
        answers(*llama, [""])


def test_a_raw_prompt_is_not_followed_by_the_end_that_the_tokenizer_appends(llama):
    import tiny

    model, tokenizer = llama
    plain = answers(model, tokenizer, RAW[:3], max_new_tokens=5)
    tiny.begin_and_end(tokenizer, end=tokenizer.eos_token)
    assert answers(model, tokenizer, RAW[:3], max_new_tokens=5) == plain
