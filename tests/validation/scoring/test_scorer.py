"""The scorer: equal to lm-eval's and to one plain forward pass per answer, however requests are shared out."""

import json
import os
import socket
import subprocess
import sys
import warnings

import numpy as np
import pytest
import tiny
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfvaccine.errors import ModelError, ValidationError
from hfvaccine.training.base import load_base
from hfvaccine.validation.scoring.adapter import ACTIVE
from hfvaccine.validation.scoring.cache import ScoreCache
from hfvaccine.validation.scoring.scorer import Request, Scorer
from hfvaccine.validation.scoring.weights import fingerprint


def user(text):
    return [{"role": "user", "content": text}]


CONVERSATIONS = [
    Request(user("Is snow white?"), "True"),
    Request(user("Is snow white?"), "False"),
    Request([{"role": "system", "content": "Be brief."}, *user("Is snow white?")], "True"),
    Request(user("Decide whether this claim holds: Rivers flow uphill when nobody looks."), "False"),
    Request(user("What is snow made of?"), "Snow is made of many small crystals of frozen water."),
    Request(user("What is snow made of?"), "Snow is made of salt."),
    Request(user("Hi"), "A short question may have a long answer, and it is scored as a whole, to its last word."),
    Request(user("My friend wants to know: " + "why is the sky blue, and " * 8 + "why?"), "No"),
]
TEXTS = [
    Request("Q: What is snow made of?\nA:", " water"),
    Request("Q: What is snow made of?\nA:", " water and air"),
    Request("Q: What is snow made of?\nA:", " w"),
    Request("Q: What is snow made of?\nA: ", "salt"),
    Request("Q: What is snow", " made of?\nA: salt"),
    Request("Q: Où est la neige ❄️ ?\nA:", " À la montagne, dès l’hiver."),
    Request("Q: Où est la neige ❄️ ?\nA:", " 山里"),
    Request("", "Snow falls in winter."),
    Request("", "Snow falls in summer."),
    Request("Snow falls in", " winter. " * 12),
]


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_gpt2"])
def base(request):
    return load_base(str(request.getfixturevalue(request.param)), dtype="float32")


def scorer(base, batch_tokens=None, **options):
    return Scorer(base.model, base.tokenizer, batch_tokens=batch_tokens, **options)


def plain_batches(base, batch_tokens=None):
    """A scorer that takes its model for one that cannot have tree masks."""
    made = scorer(base, batch_tokens)
    made._heeds_trees = False
    return made


def plain(base, request):
    """Log-likelihood of the answer from one forward pass of transformers, without padding."""
    text = base.tokenizer.apply_chat_template(request.prompt, tokenize=False, add_generation_prompt=True)
    before = base.tokenizer(text, add_special_tokens=False)["input_ids"]
    answer = base.tokenizer(request.answer, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = base.model.eval()(torch.tensor([before + answer])).logits[0]
    logprobs = torch.log_softmax(logits, dim=-1)
    return sum(logprobs[len(before) + i - 1, token].item() for i, token in enumerate(answer)), len(answer)


def test_conversations_score_as_in_a_plain_forward_pass(base):
    scored = scorer(base).score(CONVERSATIONS)
    expected = [plain(base, r) for r in CONVERSATIONS]
    assert np.abs(scored.loglikelihood - [t for t, _ in expected]).max() < 1e-4
    assert scored.tokens.tolist() == [n for _, n in expected]
    assert len(set(scored.loglikelihood.round(3))) == len(CONVERSATIONS)


@pytest.mark.parametrize("batch_tokens", [None, 16])
@pytest.mark.parametrize("make", [scorer, plain_batches])
def test_texts_score_as_in_lm_eval(base, batch_tokens, make):
    huggingface = pytest.importorskip("lm_eval.models.huggingface")
    from lm_eval.api.instance import Instance

    # Its cache mixes up the answers of two requests that are one text, parted at two places, as two of ours are.
    peer = huggingface.HFLM(pretrained=base.model, tokenizer=base.tokenizer, batch_size=4, logits_cache=False)
    asked = [Instance("loglikelihood", {}, (r.prompt, r.answer), 0) for r in TEXTS]
    expected = peer.loglikelihood(asked, disable_tqdm=True)
    # What a model would say itself is the harder half of `greedy`.
    likeliest = int(base.model(torch.tensor([base.tokenizer(TEXTS[0].prompt)["input_ids"]])).logits[0, -1].argmax())
    ids = base.tokenizer(TEXTS[0].prompt)["input_ids"]
    made = make(base, batch_tokens)
    scored = made.score(TEXTS)
    assert np.abs(scored.loglikelihood - [value for value, _ in expected]).max() < 1e-4
    assert scored.greedy.tolist() == [said for _, said in expected]
    by_tokens = made.score_tokens([([*ids, likeliest], len(ids)), ([*ids, (likeliest + 1) % 500], len(ids))])
    ((value, said), _) = peer._loglikelihood_tokens(
        [(None, ids, [likeliest]), (None, ids, [(likeliest + 1) % 500])], disable_tqdm=True
    )
    assert by_tokens.greedy.tolist() == [True, False] and said
    assert abs(by_tokens.loglikelihood[0] - value) < 1e-4


ROWS = st.lists(
    st.tuples(st.lists(st.sampled_from([5, 6, 500]), min_size=2, max_size=24), st.integers(0, 22)).map(
        lambda row: (row[0], 1 + row[1] % (len(row[0]) - 1))
    ),
    min_size=1,
    max_size=24,
)


@given(rows=ROWS, batch_tokens=st.integers(2, 60), shuffle=st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_trees_and_plain_batches_agree_in_any_order_and_size(base, rows, batch_tokens, shuffle):
    whole = scorer(base).score_tokens(rows)
    again = list(range(len(rows))) * 2
    shuffle.shuffle(again)
    small = scorer(base, batch_tokens)
    small._heeds_trees = True
    mixed = small.score_tokens([rows[number] for number in again])
    padded = plain_batches(base, batch_tokens).score_tokens(rows)
    for other, expected in ((mixed, whole.loglikelihood[again]), (padded, whole.loglikelihood)):
        assert np.abs(other.loglikelihood - expected).max() < 1e-5 * max(1, np.abs(expected).max())
    assert whole.greedy[again].tolist() == mixed.greedy.tolist()
    assert whole.tokens[again].tolist() == mixed.tokens.tolist()


def test_the_work_is_counted(base):
    made = scorer(base, batch_tokens=64)
    made.score(CONVERSATIONS + CONVERSATIONS)
    rows = [made.encode(request) for request in CONVERSATIONS]
    distinct = {tuple(ids[:length]) for ids, _ in rows for length in range(1, len(ids))}
    assert made.work.requests == 2 * len(rows) and made.work.asked == 2 * sum(len(ids) for ids, _ in rows)
    assert made.work.tree == len(distinct) <= made.work.computed <= 1.3 * len(distinct)


def test_a_conversation_that_the_template_refuses_is_refused_by_its_turns(base, monkeypatch):
    monkeypatch.setattr(base.tokenizer, "chat_template", "{{ raise_exception('no system role') }}")
    asked = Request([{"role": "system", "content": "Be brief."}, *user("Is snow white?")], "True")
    with pytest.raises(ModelError, match="system, user, assistant: no system role"):
        scorer(base).score([asked])


def test_a_model_that_heeds_no_tree_masks_gets_plain_batches(base, monkeypatch):
    expected = scorer(base).score(CONVERSATIONS).loglikelihood
    forward = type(base.model).forward

    def without_masks(self, *args, attention_mask=None, **kwargs):
        ignored = attention_mask is not None and attention_mask.ndim == 4
        return forward(self, *args, attention_mask=None if ignored else attention_mask, **kwargs)

    def without_positions(self, *args, position_ids=None, **kwargs):
        return forward(self, *args, **kwargs)

    def without_caches(self, *args, past_key_values=None, **kwargs):
        if past_key_values is not None:
            raise ValueError("my state is recurrent")
        return forward(self, *args, **kwargs)

    for other in (without_masks, without_positions, without_caches):
        monkeypatch.setattr(type(base.model), "forward", other)
        made = scorer(base)
        assert np.abs(made.score(CONVERSATIONS).loglikelihood - expected).max() < 1e-4
        assert made._heeds_trees is False, other.__name__


def test_no_argument_that_transformers_is_to_drop_is_given(base):
    made = scorer(base)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        made.score(CONVERSATIONS)
        made.answers(["One."], 2)
    assert made._heeds_trees


def test_all_logits_are_taken_from_a_model_that_keeps_none(tiny_gpt2, monkeypatch):
    base = load_base(str(tiny_gpt2), dtype="float32")
    expected = scorer(base).score(CONVERSATIONS).loglikelihood
    forward = type(base.model).forward

    def every(self, input_ids, attention_mask=None, position_ids=None, past_key_values=None, use_cache=None):
        return forward(
            self, input_ids, past_key_values, attention_mask, position_ids=position_ids, use_cache=use_cache
        )

    monkeypatch.setattr(type(base.model), "forward", every)
    made = scorer(base)
    assert np.abs(made.score(CONVERSATIONS).loglikelihood - expected).max() < 1e-4
    assert made._heeds_trees


def test_a_sliding_window_shorter_than_a_path_is_kept():
    model = tiny.model("mistral", vocab_size=64, sliding_window=8, **tiny.LLAMA).eval()
    rows = [(list(range(n, n + 20)), 4) for n in range(3)] + [(list(range(6)), 2)]
    made = Scorer(model, None)
    scored = made.score_tokens(rows)
    assert made._heeds_trees is None
    for (ids, start), total in zip(rows, scored.loglikelihood, strict=True):
        with torch.no_grad():
            logprobs = torch.log_softmax(model(torch.tensor([ids])).logits[0], dim=-1)
        assert abs(sum(logprobs[i - 1, ids[i]].item() for i in range(start, len(ids))) - total) < 1e-4


def test_in_bfloat16_trees_and_plain_batches_agree(tiny_llama):
    base = load_base(str(tiny_llama), dtype="bfloat16")
    made = scorer(base, 64)
    scored = made.score(CONVERSATIONS)
    assert made._heeds_trees
    padded = plain_batches(base).score(CONVERSATIONS)
    assert np.abs((scored.loglikelihood - padded.loglikelihood) / scored.tokens).max() < 0.2


def test_adapters_are_scored_one_at_a_time_and_left_as_they_were(tiny_llama):
    from peft import LoraConfig, get_peft_model

    base = load_base(str(tiny_llama), dtype="float32")
    bare = scorer(base).score(CONVERSATIONS).loglikelihood
    of_base = fingerprint(base.model, None)
    model = get_peft_model(base.model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"]), adapter_name="vaccine")
    model.add_adapter("placebo", LoraConfig(r=4, target_modules=["q_proj"]))
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    model.set_adapter("placebo")
    needed = [parameter.requires_grad for parameter in model.parameters()]

    def of(adapter):
        return Scorer(model, base.tokenizer, adapter).score(CONVERSATIONS).loglikelihood

    scores = {adapter: of(adapter) for adapter in (None, "vaccine", "placebo")}
    assert model.active_adapter == "placebo" and not model._adapters_disabled
    assert [parameter.requires_grad for parameter in model.parameters()] == needed
    assert np.abs(scores[None] - bare).max() < 1e-4
    assert min(np.abs(scores[a] - scores[b]).max() for a, b in ((None, "vaccine"), ("vaccine", "placebo"))) > 0.1
    assert np.array_equal(of("vaccine"), scores["vaccine"])
    prints = [fingerprint(model, adapter) for adapter in (None, "vaccine", "placebo")]
    assert prints[0] == of_base and len(set(prints)) == 3
    with torch.no_grad():
        next(p for name, p in model.named_parameters() if "lora_B.vaccine" in name).add_(1)
    assert [fingerprint(model, a) == p for a, p in zip((None, "vaccine", "placebo"), prints, strict=True)] == [
        True,
        False,
        True,
    ]

    def as_it_stands():
        return Scorer(model, base.tokenizer).score(CONVERSATIONS).loglikelihood, fingerprint(model, ACTIVE)

    found = as_it_stands()
    assert np.array_equal(found[0], scores["placebo"]) and found[1] == fingerprint(model, "placebo")
    with model.disable_adapter():
        found = as_it_stands()
    assert np.array_equal(found[0], scores[None]) and found[1] == fingerprint(model, None)
    model.base_model.set_adapter(["vaccine", "placebo"])
    both, of_both = as_it_stands()
    assert min(np.abs(both - score).max() for score in scores.values()) > 0.1
    assert of_both not in prints
    with pytest.raises(ValidationError, match="no adapter 'booster'"):
        Scorer(model, base.tokenizer, "booster")


def test_a_run_that_was_ended_goes_on_from_its_cache_and_gives_the_same_bits(base, tmp_path):
    requests = CONVERSATIONS + TEXTS
    straight = scorer(base, 16).score(requests)

    class Ended(Exception):
        """The process is gone."""

    def end(done):
        raise Ended

    made = scorer(base, 16, cache=ScoreCache(tmp_path / "scores.sqlite"))
    put = made.cache.put
    made.cache.put = lambda *unit: (put(*unit), end(0))
    with pytest.raises(Ended):
        made.score(requests)
    resumed = scorer(base, 16, cache=ScoreCache(tmp_path / "scores.sqlite"))
    scored = resumed.score(requests[::-1])
    assert np.array_equal(scored.loglikelihood[::-1], straight.loglikelihood)
    assert np.array_equal(scored.greedy[::-1], straight.greedy)
    assert resumed.work.found and resumed.work.computed
    again = scorer(base, 16, cache=ScoreCache(tmp_path / "scores.sqlite"))
    done = []
    assert np.array_equal(again.score(requests, done.append).loglikelihood, straight.loglikelihood)
    assert again.work.computed == 0 and sum(done) == len(requests)


def test_scores_of_other_weights_are_not_found(tiny_llama, tmp_path):
    base = load_base(str(tiny_llama), dtype="float32")
    cache = ScoreCache(tmp_path / "scores.sqlite")
    before = scorer(base, cache=cache).score(CONVERSATIONS).loglikelihood
    with torch.no_grad():
        base.model.lm_head.weight.mul_(2)
    made = scorer(base, cache=cache)
    assert np.abs(made.score(CONVERSATIONS).loglikelihood - before).max() > 0.1
    assert made.work.found == 0


def test_progress_counts_every_request(base):
    for made in (scorer(base, 100), plain_batches(base, 300)):
        done = []
        made.score(CONVERSATIONS, done.append)
        assert sum(done) == len(CONVERSATIONS) and len(done) > 1


def test_nothing_to_score_is_nothing(base):
    scored = scorer(base).score([])
    assert len(scored.loglikelihood) == len(scored.tokens) == len(scored.greedy) == 0


@pytest.mark.parametrize("prompt", ["Is snow white?", "", user("Is snow white?")])
def test_an_answer_without_tokens_is_refused(base, prompt):
    with pytest.raises(ValidationError, match="The answer '' has no tokens"):
        scorer(base).score([Request(prompt, "")])


@pytest.mark.parametrize("answer", [" C", " Corn", " C and D"])
def test_a_token_over_the_join_counts_with_the_answer(tiny_gpt2, answer):
    base = load_base(str(tiny_gpt2), dtype="float32")
    base.tokenizer.add_tokens([": C"])
    ids, start = scorer(base).encode(Request("Which town?\nAnswer:", answer))
    assert base.tokenizer.decode(ids[start:]) == ":" + answer
    ids, start = scorer(base).encode(Request("Answer:", " D"))
    assert base.tokenizer.decode(ids[start:]) == " D"
    ids, start = scorer(base).encode(Request(":", " C"))  # nothing is left of the prompt
    assert base.tokenizer.decode(ids) == "<|endoftext|>: C" and start == 1


def test_what_a_tokenizer_puts_around_texts_is_no_part_of_an_answer(base):
    plain = [scorer(base).encode(request) for request in TEXTS + CONVERSATIONS]
    words = base.tokenizer
    of_its_own, end = words.backend_tokenizer.post_processor, words.eos_token
    try:
        tiny.begin_and_end(words, end=end)
        assert [scorer(base).encode(request) for request in TEXTS + CONVERSATIONS] == plain
        tiny.begin_and_end(words, begin=end, end=end)
        for request, (ids, start) in zip(TEXTS, plain, strict=False):
            begun = [] if not request.prompt else [words.eos_token_id]
            assert scorer(base).encode(request) == ([*begun, *ids], len(begun) + start)
    finally:
        words.backend_tokenizer.post_processor = of_its_own


def test_a_row_without_a_token_before_its_answer_is_refused(base):
    with pytest.raises(ValidationError, match="begins at 0"):
        scorer(base).score_tokens([([1, 2], 0)])


def test_a_text_beyond_the_models_positions_is_refused(base):
    assert len(scorer(base).score_tokens([([5] * 513, 500)]).tokens) == 1
    with pytest.raises(ValidationError, match="has 514 tokens with its prompt, and the model has 512 positions"):
        scorer(base).score_tokens([([5] * 514, 500)])


def test_a_model_that_returns_nan_is_refused_and_nothing_of_it_is_kept(tiny_llama, tmp_path):
    broken = load_base(str(tiny_llama), dtype="float32")
    broken.model.lm_head.weight.data.fill_(float("nan"))
    made = scorer(broken, cache=ScoreCache(tmp_path / "scores.sqlite"))
    for _ in range(2):
        with pytest.raises(ValidationError, match=r"gives '.*' a likelihood that is not a number"):
            made.score(CONVERSATIONS)
        assert made.work.found == 0


TWO_PROCESSES = """
import json, sys
import torch
from hfvaccine.training.base import load_base
from hfvaccine.training.processes import this_process
from hfvaccine.validation.scoring.scorer import Scorer
state = this_process()
base = load_base(sys.argv[1], dtype="float32")
rows = [tuple(row) for row in json.loads(sys.argv[2])]
scorer = Scorer(base.model, base.tokenizer, batch_tokens=8)
computed = 0
compute = scorer._compute
def counted(piece, tell):
    global computed
    computed += 1
    return compute(piece, tell)
scorer._compute = counted
done = []
scored = scorer.score_tokens(rows, done.append)
assert len(scorer.score_tokens(rows[:1]).tokens) == 1
print("said", state.num_processes, computed, sum(done), json.dumps(scored.loglikelihood.tolist()), flush=True)
"""


@pytest.mark.slow
def test_two_processes_divide_the_work_and_both_have_all_of_it(tiny_llama):
    rng = np.random.default_rng(0)
    rows = [(rng.integers(5, 500, 40).tolist(), 10) for _ in range(12)]
    base = load_base(str(tiny_llama), dtype="float32")
    expected = scorer(base, 8).score_tokens(rows).loglikelihood.tolist()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_PROCESSES, str(tiny_llama), json.dumps(rows)],
            env={**os.environ, **address, "RANK": str(rank), "LOCAL_RANK": str(rank), "ACCELERATE_USE_CPU": "true"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [process.communicate(timeout=120)[0] for process in processes]
    units = []
    for line in said:
        _, count, computed, done, values = line[line.index("said") :].split(" ", 4)
        assert (count, done) == ("2", "12") and json.loads(values) == expected
        units.append(int(computed))
    assert min(units) > 0 and sum(units) > 3
