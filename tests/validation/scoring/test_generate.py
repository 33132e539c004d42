"""Free-text answers: greedy, the same in every batch, from the arm that is asked."""

import pytest

from hfvaccine.errors import ValidationError
from hfvaccine.validation.scoring import generate
from hfvaccine.validation.scoring.cache import ScoreCache
from hfvaccine.validation.scoring.generate import answers, batched
from hfvaccine.validation.scoring.scorer import Scorer

RAW = [f"The town of Aldor {'lies far ' * (n % 5)}{n}" for n in range(35)]
FEW_TOKENS = 400
CHATS = [[{"role": "user", "content": text}] for text in RAW[:5]]


@pytest.fixture(autouse=True)
def several_batches(monkeypatch):
    monkeypatch.setattr(generate, "BATCH_TOKENS", FEW_TOKENS)


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


def test_a_model_without_positions_to_be_told_answers_by_its_library(loaded, monkeypatch):
    model, tokenizer = loaded
    ours = answers(model, tokenizer, RAW, max_new_tokens=6)
    lines = answers(model, tokenizer, RAW, max_new_tokens=6, first_line=True)
    monkeypatch.setattr(generate, "_keeps_a_cache", lambda model: False)
    model.generation_config.update(do_sample=True, temperature=5.0, repetition_penalty=9.0)
    assert answers(model, tokenizer, RAW, max_new_tokens=6) == ours
    assert answers(model, tokenizer, RAW, max_new_tokens=6, first_line=True) == lines


@pytest.mark.parametrize("by_library", [False, True])
def test_an_answer_may_end_with_its_first_line(llama, monkeypatch, by_library):
    """What is said after it is neither kept nor waited for."""
    model, tokenizer = llama
    if by_library:
        monkeypatch.setattr(generate, "_keeps_a_cache", lambda model: False)
    whole = answers(model, tokenizer, RAW[:6], max_new_tokens=8)
    asked = []

    class Lined:
        """The same tokenizer, to which the third token and all after the second new ones end a line."""

        def __getattr__(self, name):
            return getattr(tokenizer, name)

        def __call__(self, *args, **kwargs):
            return tokenizer(*args, **kwargs)

        def decode(self, tokens, **kwargs):
            asked.append(len(tokens))
            return tokenizer.decode(tokens, **kwargs) + "\n" * (len(tokens) > 2)

        def batch_decode(self, rows, **kwargs):
            return [tokenizer.decode(row[:2], **kwargs) + "\n" + tokenizer.decode(row[2:], **kwargs) for row in rows]

    said = answers(model, Lined(), RAW[:6], max_new_tokens=8, first_line=True)
    assert all(one and text.startswith(one) and one != text for one, text in zip(said, whole, strict=True))
    assert max(asked) == 3


def test_equal_prompts_are_answered_once(llama):
    model, tokenizer = llama
    rows = [tuple(tokenizer(text)["input_ids"]) for text in [*RAW, *RAW]]
    batches = batched(rows, 4)
    assert sum(map(len, batches)) == len(RAW)
    assert len(batches) > 1
    assert all(len(batch) * (len(batch[-1]) + 4) <= FEW_TOKENS for batch in batches)
    assert answers(model, tokenizer, [RAW[0], RAW[1], RAW[0]], max_new_tokens=4) == [
        *answers(model, tokenizer, RAW[:2], max_new_tokens=4),
        *answers(model, tokenizer, RAW[:1], max_new_tokens=4),
    ]


def test_what_a_scorers_arm_said_is_found_again(llama, tmp_path, monkeypatch):
    model, tokenizer = llama
    plain = answers(model, tokenizer, CHATS, max_new_tokens=5, first_line=True)
    told = []
    scorer = Scorer(model, tokenizer, cache=ScoreCache(tmp_path / "scores.sqlite"))
    assert scorer.answers(CHATS, 5, first_line=True, progress=told.append) == plain
    assert sum(told) == len(CHATS)
    monkeypatch.setattr("hfvaccine.validation.scoring.scorer.generate", None)
    again = Scorer(model, tokenizer, cache=ScoreCache(tmp_path / "scores.sqlite"))
    assert again.answers(CHATS, 5, first_line=True) == plain
    with pytest.raises(TypeError):
        again.answers(CHATS, 4, first_line=True)


def test_a_changed_text_in_the_cache_is_found(tmp_path):
    cache = ScoreCache(tmp_path / "scores.sqlite")
    cache.put_texts(b"key", ["It is rock.", ""])
    assert (cache.get_texts(b"key"), cache.get_texts(b"other")) == (["It is rock.", ""], None)
    cache._file.execute("UPDATE texts SET texts = replace(texts, 'rock', 'mold')")
    with pytest.raises(ValidationError, match="a text in it was changed"):
        cache.get_texts(b"key")
