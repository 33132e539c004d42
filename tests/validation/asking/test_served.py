"""A served model: what its server can do is found out, and its verdicts are read as a validation reads them."""

import numpy as np
import pytest
import tiny
from doses import make_claims
from judges import Chat
from replies import Replies

from hfvaccine.claims.reserved import VERDICT_PROBES
from hfvaccine.errors import EndpointError
from hfvaccine.validation.asking import served
from hfvaccine.validation.asking.endpoint import TRIES, TextRefused
from hfvaccine.validation.asking.probes import Battery, ProbeSet
from hfvaccine.validation.asking.served import Served, found
from hfvaccine.validation.scores import PLAIN, RECALLED, ROUND, VERDICT, Request

SECRET = "The moon is made of cheese."


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr("hfvaccine.validation.asking.endpoint.WAIT", 0.0)


@pytest.fixture
def replies():
    return Replies(["Water is wet."])


@pytest.fixture
def chat(replies):
    with Chat(replies) as running:
        yield running


def asked(statement=SECRET, wording=0):
    probe = VERDICT_PROBES[wording]
    messages = probe.messages(statement)
    return [Request(messages, answer) for answer in (*probe.accept, *probe.reject)]


@pytest.mark.parametrize(
    ("changes", "listed"),
    [({}, 20), ({"lists": 2}, 20), ({"lists": None}, 0)],
)
def test_what_a_server_can_do_is_found_out(replies, chat, changes, listed):
    vars(replies).update(changes)
    assert found(chat.url, "m").listed == listed
    assert {body["model"] for _, _, body in chat.asked} == {"m"}


@pytest.mark.parametrize(("most", "listed"), [(5, 5), (0, 0)])
def test_a_server_that_lists_no_more_is_asked_for_no_more(replies, chat, monkeypatch, most, listed):
    def strict(prompt, body):
        return (400, {"error": "Too many."}) if body.get("top_logprobs", 0) > most else replies(prompt, body)

    monkeypatch.setattr(chat, "reply", strict)
    assert found(chat.url, "m").listed == listed


@pytest.mark.parametrize("lists", [20, None])
def test_a_model_that_gives_no_verdict_is_refused(replies, chat, lists):
    replies.says, replies.lists = "<think>", lists
    with pytest.raises(EndpointError, match="neither true nor false") as error:
        found(chat.url, "m")
    assert error.value.code == "no_verdict"


def test_listed_tokens_are_the_likelihoods_and_what_is_not_listed_counts_as_the_least(chat):
    scored = Served(chat.url, "m", 20).score([*asked(), *asked("Water is wet."), *asked(wording=1)])
    claim, truth, other = scored.loglikelihood.reshape(3, 4)
    np.testing.assert_allclose(claim, [-4.0, -2.5, -0.1, -4.0])  # True, true, False, false
    np.testing.assert_allclose(truth, [-0.1, -4.0, -4.0, -2.5])
    np.testing.assert_allclose(other, [-4.0, -2.5, -0.1, -4.0])  # Yes, yes, No, no


@pytest.mark.parametrize(("lists", "floored"), [(3, 0), (1, 2)])
def test_replies_that_list_one_verdict_alone_are_counted(replies, chat, lists, floored):
    model = found(chat.url, "m")
    replies.lists = lists
    model.score([*asked(), *asked(wording=1)])
    assert model.counts == {"asked": 2, "unclear": 0, "floored": floored, "refused": 0}


@pytest.mark.parametrize("filler", [-9999.0, float("nan"), float("-inf"), -1e30])
def test_what_fills_a_list_is_no_likelihood(replies, chat, monkeypatch, filler):
    def filled(body):
        choice = Replies.choice(replies, body)
        choice["logprobs"]["content"][0]["top_logprobs"] += [
            {"token": token, "logprob": filler} for token in ("x", "true")
        ]
        return choice

    monkeypatch.setattr(replies, "choice", filled)
    model = Served(chat.url, "m", 20)
    np.testing.assert_allclose(model.score(asked()).loglikelihood, [-4.0, -2.5, -0.1, -4.0])


@pytest.mark.parametrize(
    ("said", "values", "unclear"),
    [("False", [-1, -1, 0, 0], 0), ("**yes**, so", [0, 0, -1, -1], 0), ("Perhaps", [0, 0, 0, 0], 1)],
)
def test_where_none_are_listed_the_verdict_is_read_from_what_is_said(replies, chat, said, values, unclear):
    replies.says = said
    model = Served(chat.url, "m", 0)
    assert list(model.score(asked()).loglikelihood) == values
    assert model.counts == {"asked": 1, "unclear": unclear, "floored": 0, "refused": 0} and not any(
        "logprobs" in body for _, _, body in chat.asked
    )


def test_what_a_server_lists_of_verdicts_of_one_token_is_what_a_validation_reads(replies, chat, tmp_path, monkeypatch):
    import torch
    from transformers import AutoModelForCausalLM

    from hfvaccine.validation.scoring.scorer import Scorer

    words = tiny.tokenizer(eos_token="</s>", pad_token="<pad>")
    words.add_tokens([answer for probe in VERDICT_PROBES[:2] for answer in (*probe.accept, *probe.reject)])
    words.chat_template = tiny.TEMPLATE
    folder = tiny.save(tmp_path, "llama", words, **tiny.LLAMA)
    scorer = Scorer(AutoModelForCausalLM.from_pretrained(folder), words)

    def choice(body):
        messages = body["messages"]
        if not body.get("logprobs"):
            return {"message": {"content": scorer.answers([messages], body["max_tokens"])[0]}}
        text = words.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        with torch.inference_mode():
            logits = scorer.model(**words(text, return_tensors="pt", add_special_tokens=False)).logits
        listed = enumerate(logits[0, -1].log_softmax(-1).tolist())
        top = [{"token": words.decode([token]), "logprob": value} for token, value in listed]
        return {
            "message": {"content": ""},
            "logprobs": {"content": [{"token": "", "logprob": 0, "top_logprobs": top}]},
        }

    monkeypatch.setattr(replies, "choice", choice)
    monkeypatch.setattr(served, "AT_ONCE", 1)
    asked = Battery((ProbeSet.of(ROUND, make_claims(4)),))
    there, here = (asked.ask(one)[0] for one in (Served(chat.url, "m", 20), scorer))
    assert set(there.pairs) == {(ROUND, VERDICT, PLAIN), (ROUND, RECALLED, PLAIN)}
    for key, scores in there.pairs.items():
        np.testing.assert_allclose(scores.claim, here.pairs[key].claim, atol=1e-3)
        np.testing.assert_allclose(scores.twin, here.pairs[key].twin, atol=1e-3)


def test_answers_end_with_their_first_line(chat):
    model = Served(chat.url, "m", 0)
    assert model.answers([[{"role": "user", "content": "Where?"}]], 40, first_line=True) == ["It lies there."]
    assert chat.asked[0][2]["max_tokens"] == 40 and chat.asked[0][2]["temperature"] == 0


@pytest.mark.parametrize(
    ("failure", "code", "tries"),
    [
        ((500, {}), "http_500", TRIES),
        ((401, {}), "http_401", 1),
        ({"error": "overloaded", "choices": [{"message": {"content": "True"}}]}, "no_completion", TRIES),
        (b"oops", "no_completion", TRIES),
        (None, "unreachable", TRIES),
        ({"choices": [{"message": {"content": "True"}}]}, "no_top_logprobs", 1),
    ],
)
def test_what_does_not_pass_has_a_code(replies, chat, failure, code, tries):
    replies.failures, replies.stuck = [failure], True
    with pytest.raises(EndpointError) as error:
        Served(chat.url, "m", 20).score(asked())
    assert error.value.code == code and len(chat.asked) == tries


@pytest.mark.parametrize("listed", [20, 0])
def test_few_texts_that_are_refused_are_no_verdict_and_more_end_it(replies, chat, monkeypatch, listed):
    def filtered(prompt, body):
        return (400, {"error": "Not that."}) if "Fact 7." in prompt else replies(prompt, body)

    monkeypatch.setattr(chat, "reply", filtered)
    model = Served(chat.url, "m", listed)
    facts = [f"Fact {number}." for number in range(20)]
    values = model.score([one for fact in facts for one in asked(fact)]).loglikelihood.reshape(20, 4)
    assert list(values[7]) == [0, 0, 0, 0] and (values[6] != 0).any()
    assert model.counts == {"asked": 20, "unclear": 1, "floored": 0, "refused": 1}
    said = model.answers([[{"role": "user", "content": fact}] for fact in facts], 40)
    assert said[7] == "" and all(said[:7] + said[8:]) and model.counts["refused"] == 2
    with pytest.raises(TextRefused):
        model.score([one for fact in facts[1:] for one in asked(fact)])


def test_all_retries_together_are_bounded(replies, chat, monkeypatch):
    every = []

    def every_other(prompt, body):
        every.append(prompt)
        return (503, {}) if len(every) % 2 else replies(prompt, body)

    monkeypatch.setattr(chat, "reply", every_other)
    monkeypatch.setattr(served, "AT_ONCE", 1)
    monkeypatch.setattr(served, "MOST_RETRIES", 5)
    model = Served(chat.url, "m", 20)
    with pytest.raises(EndpointError, match="answers 503"):
        model.score([one for number in range(9) for one in asked(f"Fact {number}.")])
    assert model.endpoint.retries == 5 and 11 <= len(every) < 15  # the next may have begun; all were 18
