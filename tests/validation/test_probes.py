"""Probes: what a judge that knows the truth gets, and what one that always says FALSE gets."""

import dataclasses
from zlib import crc32

import numpy as np
import pytest

from hfvaccine.dosing.forms import QUESTION_PROBES, VERDICT_PROBES
from hfvaccine.errors import ValidationError
from hfvaccine.validation.metrics import auroc, true_acceptance
from hfvaccine.validation.probes import CONTENT_FREE, MIN_PAIRS, ProbeSet, ask, retention_loss

ACCEPT = {answer for probe in VERDICT_PROBES for answer in probe.accept}
REJECT = {answer for probe in VERDICT_PROBES for answer in probe.reject}


class Judge:
    """Stands in for a scorer; `opinion` gives the log-likelihood of an answer to a prompt."""

    def __init__(self, opinion):
        self.opinion = opinion
        self.asked = []

    def loglikelihoods(self, requests, progress=None):
        self.asked += requests
        if progress is not None:
            progress(len(requests))
        scores = [self.opinion(r.prompt, r.answer) for r in requests]
        return np.array(scores, dtype=float), np.array([len(r.answer.split()) for r in requests], dtype=float)


def knows(claims):
    """A judge that knows which of the statements are false."""
    false = {c.claim for c in claims}
    true = {c.twin for c in claims}

    def opinion(prompt, answer):
        if answer in ACCEPT | REJECT:
            lean = -3 if any(t in prompt for t in false) else 3 if any(t in prompt for t in true) else 0
            return lean if answer in ACCEPT else -lean
        return -20 if answer in false else -10

    return Judge(opinion)


def value(metric, scores):
    return float(metric(scores)(np.ones((1, len(scores.claim))))[0])


@pytest.fixture
def probe(make_claims):
    return ProbeSet.of("specific", make_claims(10))


def test_a_judge_that_knows_the_truth_gets_everything_in_both_readings(probe):
    scores = ask(knows(probe.claims), [probe])["specific"]
    assert value(auroc, scores.verdict) == value(auroc, scores.answer) == 1
    assert value(true_acceptance, scores.verdict) == 1


def test_a_judge_that_has_it_the_wrong_way_round_gets_nothing(probe):
    right = knows(probe.claims)
    wrong = Judge(lambda prompt, answer: -right.opinion(prompt, answer))
    scores = ask(wrong, [probe])["specific"]
    assert value(auroc, scores.verdict) == value(auroc, scores.answer) == 0


def test_a_judge_that_always_says_false_is_at_chance(probe):
    scores = ask(Judge(lambda prompt, answer: 5.0 if answer in REJECT else -5.0), [probe])["specific"]
    assert value(auroc, scores.verdict) == value(auroc, scores.answer) == 0.5


def test_a_bias_towards_false_is_taken_out(probe):
    right = knows(probe.claims)
    biased = Judge(lambda prompt, answer: right.opinion(prompt, answer) + 50 * (answer in REJECT))
    assert value(true_acceptance, ask(biased, [probe])["specific"].verdict) == 1


def test_scores_are_in_nats_less_what_content_free_texts_get(probe):
    def opinion(prompt, answer):
        verdict = 1.0 if answer in ACCEPT else 0.0
        return verdict * (0.25 if any(f" {t}" in prompt or f'"{t}' in prompt for t in CONTENT_FREE) else 1.0)

    scores = ask(Judge(opinion), [probe])["specific"].verdict
    assert scores.claim == pytest.approx(0.75)


def test_a_preference_is_centred_within_its_pair(probe):
    scores = ask(knows(probe.claims), [probe])["specific"].answer
    assert scores.twin == pytest.approx(5)
    assert scores.claim == pytest.approx(-5)


def test_every_statement_is_asked_about_in_every_wording(probe):
    judge = knows(probe.claims)
    ask(judge, [probe])
    prompts = {r.prompt for r in judge.asked}
    for claim in probe.claims:
        for wording in VERDICT_PROBES:
            assert wording.prompt.replace("{statement}", claim.claim) in prompts
            assert wording.prompt.replace("{statement}", claim.twin) in prompts
        for wording in QUESTION_PROBES:
            assert wording.replace("{question}", claim.question) in prompts


def test_two_probes_in_one_pass_score_as_each_alone(make_claims):
    claims = make_claims(12)
    probes = [ProbeSet.of("specific", claims[:6]), ProbeSet.of("cross", claims[6:])]
    judge = Judge(lambda prompt, answer: float(crc32((prompt + answer).encode()) % 1000))
    together = ask(judge, probes)
    for probe in probes:
        alone = ask(judge, [probe])[probe.name]
        assert alone.verdict.claim == pytest.approx(together[probe.name].verdict.claim)
        assert alone.answer.twin == pytest.approx(together[probe.name].answer.twin)


def test_progress_counts_every_request(probe):
    class Bar:
        done, closed = 0, False

        def update(self, n):
            self.done += n

        def close(self):
            self.closed = True

    bar, totals = Bar(), []
    ask(knows(probe.claims), [probe], lambda total: totals.append(total) or bar)
    assert (totals, bar.closed) == ([bar.done], True)


def test_claims_without_twin_or_question_cannot_be_probed(make_claims):
    claims = make_claims(8)
    claims[0] = dataclasses.replace(claims[0], twin=None)
    claims[1] = dataclasses.replace(claims[1], question=None)
    assert ProbeSet.of("specific", claims).claims == tuple(claims[2:])


def test_fewer_than_the_least_number_of_pairs_are_refused(make_claims):
    assert len(ProbeSet.of("cross", make_claims(MIN_PAIRS)).claims) == MIN_PAIRS
    with pytest.raises(ValidationError, match=f"cross probe has {MIN_PAIRS - 1} claim"):
        ProbeSet.of("cross", make_claims(MIN_PAIRS - 1))


def test_retention_is_nats_per_token_of_the_answer():
    rows = [{"prompt": [{"content": "One?"}], "completion": [{"content": "one two three four"}]}]
    assert retention_loss(Judge(lambda prompt, answer: -8.0), rows) == pytest.approx([2.0])
