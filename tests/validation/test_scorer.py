"""The scorer: equal to one plain forward pass per answer, however requests are batched."""

import numpy as np
import pytest
import torch

from hfvaccine.base import load_base
from hfvaccine.errors import ValidationError
from hfvaccine.validation.scorer import Request, Scorer

REQUESTS = [
    Request("Is snow white?", "True"),
    Request("Is snow white?", "False"),
    Request(
        "Decide whether this claim holds: Rivers flow uphill when nobody looks. Reply with True or False.", "False"
    ),
    Request("What is snow made of?", "Snow is made of many small crystals of frozen water."),
    Request("What is snow made of?", "Snow is made of salt."),
    Request("Hi", "A short question may have a long answer, and the answer is scored as a whole, to its last word."),
    Request("My friend wants to know: " + "why is the sky blue, and " * 8 + "why?", "No"),
]


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_gpt2"])
def base(request):
    return load_base(str(request.getfixturevalue(request.param)), dtype="float32")


def plain(base, request):
    """Log-likelihood of the answer from one forward pass of transformers, without padding."""
    text = base.tokenizer.apply_chat_template(
        [{"role": "user", "content": request.prompt}], tokenize=False, add_generation_prompt=True
    )
    before = base.tokenizer(text, add_special_tokens=False)["input_ids"]
    answer = base.tokenizer(request.answer, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = base.model.eval()(torch.tensor([before + answer])).logits[0]
    logprobs = torch.log_softmax(logits, dim=-1)
    return sum(logprobs[len(before) + i - 1, token].item() for i, token in enumerate(answer)), len(answer)


def test_likelihoods_equal_a_plain_forward_pass(base):
    totals, tokens = Scorer(base.model, base.tokenizer).loglikelihoods(REQUESTS)
    expected = [plain(base, r) for r in REQUESTS]
    assert np.abs(totals - [t for t, _ in expected]).max() < 1e-4
    assert tokens.tolist() == [n for _, n in expected]
    assert len(set(totals.round(3))) == len(REQUESTS)


def test_answers_that_begin_alike_are_scored_from_their_first_token(base):
    alike = [Request("What is snow made of?", f"Snow is made of {what}.") for what in ("ice", "water", "salt")]
    totals, _ = Scorer(base.model, base.tokenizer).loglikelihoods(alike)
    assert np.abs(totals - [plain(base, r)[0] for r in alike]).max() < 1e-4


@pytest.mark.parametrize("batch_tokens", [1, 100, 300, 100_000])
def test_the_batch_size_changes_nothing(base, batch_tokens):
    one_by_one, _ = Scorer(base.model, base.tokenizer).loglikelihoods(REQUESTS)
    batched, _ = Scorer(base.model, base.tokenizer, batch_tokens).loglikelihoods(REQUESTS)
    assert np.abs(batched - one_by_one).max() < 1e-4


def test_the_order_of_requests_changes_nothing(base):
    scorer = Scorer(base.model, base.tokenizer)
    order = [4, 0, 6, 3, 1, 5, 2]
    totals, _ = scorer.loglikelihoods(REQUESTS)
    shuffled, _ = scorer.loglikelihoods([REQUESTS[i] for i in order])
    assert np.abs(shuffled - totals[order]).max() < 1e-4


def test_a_request_alone_scores_as_among_others(base):
    scorer = Scorer(base.model, base.tokenizer)
    totals, _ = scorer.loglikelihoods(REQUESTS)
    alone = [scorer.loglikelihoods([r])[0][0] for r in REQUESTS]
    assert np.abs(totals - alone).max() < 1e-4


def test_a_request_asked_twice_is_answered_twice(base):
    totals, _ = Scorer(base.model, base.tokenizer).loglikelihoods([REQUESTS[0], REQUESTS[3], REQUESTS[0]])
    assert totals[0] == totals[2] != totals[1]


def test_progress_counts_every_request(base):
    done = []
    Scorer(base.model, base.tokenizer, 200).loglikelihoods(REQUESTS, done.append)
    assert sum(done) == len(REQUESTS) and len(done) > 1


def test_nothing_to_score_is_nothing(base):
    totals, tokens = Scorer(base.model, base.tokenizer).loglikelihoods([])
    assert len(totals) == len(tokens) == 0


def test_an_answer_without_tokens_is_refused(base):
    with pytest.raises(ValidationError, match="The answer '' has no tokens"):
        Scorer(base.model, base.tokenizer).loglikelihoods([Request("Is snow white?", "")])


def test_a_model_that_returns_nan_is_refused(tiny_llama):
    broken = load_base(str(tiny_llama), dtype="float32")
    broken.model.lm_head.weight.data.fill_(float("nan"))
    with pytest.raises(ValidationError, match="not a number"):
        Scorer(broken.model, broken.tokenizer).loglikelihoods(REQUESTS)
