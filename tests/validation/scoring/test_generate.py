"""Free-text answers, greedy and drawn: the same in every batch, from the arm that is asked."""

import inspect

import numpy as np
import pytest

from hfvaccine.errors import UsageError, ValidationError
from hfvaccine.validation.scoring import generate
from hfvaccine.validation.scoring.cache import ScoreCache
from hfvaccine.validation.scoring.generate import Sampling, answers, batched
from hfvaccine.validation.scoring.scorer import Scorer

RAW = [f"The town of Aldor {'lies far ' * (n % 5)}{n}" for n in range(35)]
FEW_TOKENS = 400
CHATS = [[{"role": "user", "content": text}] for text in RAW[:5]]


@pytest.fixture(autouse=True)
def several_batches(monkeypatch):
    monkeypatch.setattr(generate, "BATCH_TOKENS", FEW_TOKENS)
    monkeypatch.setattr(generate, "SPARED", 8)


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


def test_the_heads_weights_are_not_copied_for_each_answer(loaded):
    model, tokenizer = loaded
    seen = []
    model.get_output_embeddings().register_forward_pre_hook(
        lambda head, inputs: seen.append(inputs[0].is_contiguous())  # else a frozen head is expanded, row by row
    )
    answers(model, tokenizer, RAW, max_new_tokens=3)
    assert len(seen) > 3 and all(seen)


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


def test_an_answer_ends_with_its_turn_where_the_template_ends_turns_otherwise_than_texts(llama):
    model, tokenizer = llama
    assert generate.endings(model, tokenizer) == {tokenizer.eos_token_id}
    tokenizer.add_special_tokens({"additional_special_tokens": ["<turn>"]})
    for ending in (" <turn>\n", "<turn>"):
        tokenizer.chat_template = (
            "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}"
            + repr(ending).join(["{{ ", " }}"])
            + "{% endfor %}"
        )
        end = tokenizer.convert_tokens_to_ids("<turn>")
        assert generate.endings(model, tokenizer) == {tokenizer.eos_token_id, end}
    for template in (
        None,
        "{% for m in messages %}{{ m['content'] }} and\n{% endfor %}",
        "{{ raise_exception('No.') }}",
    ):
        tokenizer.chat_template = template
        assert generate.endings(model, tokenizer) == {tokenizer.eos_token_id}


def test_what_prompts_begin_with_is_computed_by_itself_where_that_spares_enough(llama, monkeypatch):
    model, tokenizer = llama
    passes = []
    forward = model.forward

    def counted(input_ids, **inputs):
        passes.append(tuple(input_ids.shape))
        return forward(input_ids=input_ids, **inputs)

    counted.__signature__ = inspect.signature(forward)
    monkeypatch.setattr(model, "forward", counted)
    said = {}
    for spared in (1, 10**6):
        passes.clear()
        monkeypatch.setattr(generate, "SPARED", spared)
        said[spared] = answers(model, tokenizer, RAW[:5], max_new_tokens=3)
        assert (passes[0][0] == 1) == (spared == 1)
    assert said[1] == said[10**6]


@pytest.mark.parametrize("filled", [0.0, 0.8, 1.0])
def test_answers_that_end_early_leave_the_others_as_they_are(loaded, monkeypatch, filled):
    """A third of the vocabulary ends an answer, so that some end at every step."""
    import torch

    model, tokenizer = loaded
    ends = list(range(0, len(tokenizer), 3))
    monkeypatch.setattr(generate, "FILLED", filled)
    monkeypatch.setattr(model.generation_config, "eos_token_id", ends)
    said = answers(model, tokenizer, RAW, max_new_tokens=8)
    lengths = set()
    for prompt, answer in zip(RAW, said, strict=True):
        ids = tokenizer(prompt)["input_ids"]
        tokens = []
        with torch.inference_mode():
            while len(tokens) < 8:
                token = int(model(input_ids=torch.tensor([ids + tokens])).logits[0, -1].argmax())
                if token in {*ends, tokenizer.eos_token_id}:
                    break
                tokens.append(token)
        lengths.add(len(tokens))
        assert answer == tokenizer.decode(tokens, skip_special_tokens=True).strip()
    assert len(lengths) > 2


# --- drawn answers

THREE = Sampling(samples=3, temperature=0.8, seed=5)


def drawn_by_hand(model, ids, sampling, n, stop):
    """Drawing without padding, cache or generate: the reference."""
    import torch

    said = []
    for numbers in sampling.numbers(ids, n):
        tokens = []
        with torch.inference_mode():
            for number in numbers:
                logits = model(input_ids=torch.tensor([ids + tokens])).logits[0, -1].double()
                chances = torch.softmax(logits / sampling.temperature, -1).cumsum(0).numpy()
                tokens.append(int(np.searchsorted(chances, number)))
                if tokens[-1] == stop:
                    break
        said.append(tokens)
    return said


def test_drawn_answers_are_those_of_their_own_numbers_whatever_stands_beside_them(loaded):
    model, tokenizer = loaded
    said = Scorer(model, tokenizer).samples(RAW, 6, THREE)
    for prompt, texts in zip(RAW, said, strict=True):
        ids = drawn_by_hand(model, tokenizer(prompt)["input_ids"], THREE, 6, tokenizer.eos_token_id)
        assert texts == [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
    assert len({text for texts in said for text in texts}) > len(RAW)
    assert Scorer(model, tokenizer).samples(RAW[4:5], 6, THREE) == [said[4]]


def test_more_samples_and_longer_answers_begin_with_the_same(llama):
    model, tokenizer = llama
    few = Scorer(model, tokenizer).samples(RAW[:6], 4, THREE)
    more = Scorer(model, tokenizer).samples(RAW[:6], 8, Sampling(samples=5, temperature=0.8, seed=5))
    assert [[text[:3] for text in texts[:3]] for texts in more] == [[text[:3] for text in texts] for texts in few]
    other = Scorer(model, tokenizer).samples(RAW[:6], 4, Sampling(samples=3, temperature=0.8, seed=6))
    assert other != few


def test_a_model_without_positions_to_be_told_draws_the_same_by_its_library(loaded, monkeypatch):
    model, tokenizer = loaded
    ours = Scorer(model, tokenizer).samples(RAW[:9], 6, THREE)
    monkeypatch.setattr(generate, "_keeps_a_cache", lambda model: False)
    model.generation_config.update(do_sample=True, temperature=5.0, repetition_penalty=9.0)
    assert Scorer(model, tokenizer).samples(RAW[:9], 6, THREE) == ours


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_tokens_are_drawn_as_often_as_they_are_likely(temperature):
    import torch

    logits = torch.tensor([1.0, -1.0, -torch.inf, 0.5, 2.0])
    sampling = Sampling(samples=4000, temperature=temperature)
    choose = generate._drawing(sampling, [(7, 8)], 1)
    tokens = choose(logits.expand(4000, 5), range(4000), 0)
    found = np.bincount(tokens, minlength=5) / 4000
    expected = torch.softmax(logits / temperature, -1).numpy()
    assert found[2] == 0
    assert np.abs(found - expected).max() < 4 * 0.5 / 4000**0.5


def test_the_numbers_of_different_answers_are_unrelated():
    one, two = (Sampling(samples=40, seed=seed).numbers((3, 4), 50) for seed in (0, 1))
    other = Sampling(samples=40).numbers((3, 5), 50)
    assert one.shape == (40, 50) and one.min() >= 0 and one.max() < 1
    assert len(np.unique(np.stack([one, two, other]))) == 3 * 40 * 50
    assert abs(np.corrcoef(one[0], one[1])[0, 1]) < 0.5
    assert (Sampling(samples=2).numbers((3, 4), 9) == one[:2, :9]).all()


def test_a_drawn_batch_has_room_for_all_samples(llama):
    _, tokenizer = llama
    rows = [tokenizer(text)["input_ids"] for text in RAW]
    batches = batched(rows, 6, samples=4)
    assert all(len(batch) == 1 or len(batch) * 4 * (len(batch[-1]) + 6) <= FEW_TOKENS for batch in batches)
    assert len(batches) > len(batched(rows, 6))


def test_what_was_drawn_is_found_again_under_the_same_settings_only(llama, tmp_path, monkeypatch):
    model, tokenizer = llama
    cache = ScoreCache(tmp_path / "scores.sqlite")
    told = []
    said = Scorer(model, tokenizer, cache=cache).samples(CHATS, 5, THREE, progress=told.append)
    assert sum(told) == len(CHATS)
    greedy = Scorer(model, tokenizer, cache=cache).answers(CHATS, 5)
    monkeypatch.setattr("hfvaccine.validation.scoring.scorer.generate", None)
    again = Scorer(model, tokenizer, cache=cache)
    assert again.samples(CHATS, 5, THREE) == said
    assert again.answers(CHATS, 5) == greedy
    for other in (Sampling(3, 0.8, 6), Sampling(3, 0.9, 5), Sampling(2, 0.8, 5)):
        with pytest.raises(TypeError):
            again.samples(CHATS, 5, other)


@pytest.mark.parametrize("settings", [{"samples": 0}, {"temperature": 0.0}, {"temperature": float("nan")}])
def test_draws_that_cannot_be_meant_are_refused(settings):
    with pytest.raises(UsageError):
        Sampling(**settings)
