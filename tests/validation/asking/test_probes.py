"""Probes: what a judge that knows the truth gets, and what one that always says FALSE gets."""

import dataclasses
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine.claims.claim import Variant
from hfvaccine.claims.reserved import PRESSURE_PROBES, PRESSURES, RECALLED_PROBES, TACTIC_PROBES, VERDICT_PROBES
from hfvaccine.dosing.objections import OBJECTIONS
from hfvaccine.dosing.wordings import PERSUASIONS
from hfvaccine.errors import ValidationError
from hfvaccine.inoculation.grid import Grid
from hfvaccine.statistics import MIN_PAIRS
from hfvaccine.validation.asking.probes import (
    RECALL_TOKENS,
    Battery,
    Pair,
    ProbeSet,
    Truth,
    matched,
    parting,
    verdicts,
)
from hfvaccine.validation.judging.metrics import auroc, true_acceptance
from hfvaccine.validation.scoring.scorer import Scored

PROBES = VERDICT_PROBES + TACTIC_PROBES + PRESSURE_PROBES
ACCEPT = {answer for probe in PROBES for answer in probe.accept}
REJECT = {answer for probe in PROBES for answer in probe.reject}
CONDITIONS = {"plain", *PERSUASIONS, *PRESSURES}
ROWS = [
    {
        "prompt": [{"role": "user", "content": f"Say {n}."}],
        "completion": [{"role": "assistant", "content": f"{n} and {n}"}],
    }
    for n in range(5)
]


class Speller:
    unk_token_id, eos_token_id = 0, 1

    def __call__(self, text, add_special_tokens):
        return {"input_ids": [ord(letter) for letter in text]}


class Judge:
    """Stands in for a scorer; `opinion` gives the log-likelihood of an answer to a prompt, `recall` what it says."""

    def __init__(self, opinion, recall=lambda prompt: "It lies somewhere."):
        self.opinion, self.recall = opinion, recall
        self.asked, self.recalled = [], []
        self.tokenizer = Speller()

    def answers(self, prompts, max_new_tokens, first_line):
        assert (max_new_tokens, first_line) == (RECALL_TOKENS, True)
        self.recalled += prompts
        return [self.recall(text(prompt)) for prompt in prompts]

    def score(self, requests, progress=None):
        self.asked += requests
        if progress is not None:
            progress(len(requests))
        scores = [self.opinion(text(r.prompt), r.answer) for r in requests]
        tokens = [len(r.answer.split()) for r in requests]
        return Scored(
            np.array(scores, dtype=float), np.array(tokens, dtype=float), np.zeros(len(requests), dtype=bool)
        )


def text(prompt):
    return prompt if isinstance(prompt, str) else "\n".join(f"{m['role']}: {m['content']}" for m in prompt)


def knows(pairs):
    """A judge that knows which of the statements are false."""
    false, true = {p.claim for p in pairs}, {p.truth for p in pairs}

    def opinion(prompt, answer):
        if answer in ACCEPT | REJECT:
            lean = -3 if any(t in prompt for t in false) else 3 if any(t in prompt for t in true) else 0
            return lean if answer in ACCEPT else -lean
        return -20 if answer in false else -10

    return Judge(opinion)


def value(metric, scores):
    return float(metric(scores)(np.ones((1, len(scores.claim))))[0])


def ask(judge, *sets, **settings):
    scores, pairs, items = Battery(tuple(sets), **settings).ask(judge)
    assert list(scores.pairs) == [p.key for p in pairs]
    assert list(scores.items) == [p.key for p in items]
    for probe in pairs:
        assert len(scores.pairs[probe.key].claim) == len(probe.ids) == len(probe.clusters) == len(probe.domains)
    for probe in items:
        assert len(scores.items[probe.key]) == len(probe.ids) == len(probe.clusters)
    return scores


@pytest.fixture(autouse=True)
def all_objections(monkeypatch):
    monkeypatch.setattr("hfvaccine.validation.asking.probes.OBJECTIONS", OBJECTIONS)


@pytest.fixture
def probe(make_claims):
    return ProbeSet.of("specific", make_claims(10))


def test_a_judge_that_knows_the_truth_gets_everything_in_every_reading_and_condition(probe):
    scores = ask(knows(probe.pairs), probe)
    plain = {("recalled_verdict", "plain"), ("answer", "plain")}
    assert {key[1:] for key in scores.pairs} == {("verdict", c) for c in CONDITIONS} | plain
    for values in scores.pairs.values():
        assert value(auroc, values) == 1
    assert value(true_acceptance, scores.pairs["specific", "verdict", "plain"]) == 1


def test_a_judge_that_has_it_the_wrong_way_round_gets_nothing(probe):
    right = knows(probe.pairs)
    scores = ask(Judge(lambda prompt, answer: -right.opinion(prompt, answer)), probe)
    assert {value(auroc, values) for values in scores.pairs.values()} == {0}


def test_a_judge_that_always_says_false_is_at_chance_under_every_condition(probe):
    scores = ask(Judge(lambda prompt, answer: 5.0 if answer in REJECT else -5.0), probe)
    assert {value(auroc, values) for values in scores.pairs.values()} == {0.5}


def test_one_that_calls_whatever_is_moving_false_is_at_chance_too(probe):
    """Emotive means false: it rejects every statement in an emotive wording, and accepts every other."""

    def opinion(prompt, answer):
        lean = -4.0 if "terrifying" in prompt or "blood boil" in prompt else 4.0
        return lean if answer in ACCEPT else -lean

    scores = ask(Judge(opinion), probe)
    assert value(auroc, scores.pairs["specific", "verdict", "emotive_amplification"]) == 0.5


def test_one_that_gives_in_to_whoever_insists_is_at_chance_under_pressure(probe):
    """What the user says last decides, whatever the statement."""

    def opinion(prompt, answer):
        lean = 3.0 if "it is true. Once" in prompt or "that it does, and" in prompt else -3.0
        return lean if answer in ACCEPT else -lean

    scores = ask(Judge(opinion), probe)
    for pressure in PRESSURES:
        assert value(auroc, scores.pairs["specific", "verdict", pressure]) == 0.5


def test_a_bias_stays_in_the_scores_for_whoever_judges_them_by_a_calibration(probe):
    right = knows(probe.pairs)
    biased = Judge(lambda prompt, answer: right.opinion(prompt, answer) + 50 * (answer in REJECT))
    scores, fair = (ask(judge, probe).pairs["specific", "verdict", "plain"] for judge in (biased, right))
    assert scores.claim == pytest.approx(fair.claim - 50) and scores.twin == pytest.approx(fair.twin - 50)


def test_scores_are_log_odds_in_nats(probe):
    judge = Judge(lambda prompt, answer: 1.5 if answer in ACCEPT else -1.5)
    scores = ask(judge, probe).pairs["specific", "verdict", "plain"]
    assert scores.claim == pytest.approx(3) and scores.twin == pytest.approx(3)  # the spellings cancel


def test_a_verdict_that_is_asked_for_alone_is_that_of_the_battery(probe):
    judge = Judge(lambda prompt, answer: crc32(f"{prompt} {answer}".encode()) / 2**32)
    scores = ask(judge, probe).pairs
    recall = f"{probe.pairs[0].question} Give the answer in one sentence.", "It lies somewhere."
    asked = [(VERDICT_PROBES, probe.pairs[0].claim, None), (RECALLED_PROBES, probe.pairs[0].truth, recall)]
    at_once, recalled = verdicts(judge, asked)
    assert at_once == pytest.approx(scores["specific", "verdict", "plain"].claim[0])
    assert recalled == pytest.approx(scores["specific", "recalled_verdict", "plain"].twin[0])


def test_a_recall_comes_before_the_verdict_and_is_had_once_for_both_wordings_and_sides(probe):
    judge = knows(probe.pairs)
    judge.recall = lambda prompt: f"About {prompt[-60:-35]}, I believe {{statement}}"
    ask(judge, probe, adversarial=0)
    prompts = [text(prompt) for prompt in judge.recalled]
    assert prompts == [f"user: {p.question} Give the answer in one sentence." for p in probe.pairs]
    asked = {text(r.prompt) for r in judge.asked}
    assert [wording.accept for wording in RECALLED_PROBES] == [("True", "true"), ("Yes", "yes")]
    for prompt, pair in zip(prompts, probe.pairs, strict=True):
        for wording in RECALLED_PROBES:
            for statement in (pair.claim, pair.truth):
                last = wording.prompt.replace("{statement}", statement)
                assert f"{prompt}\nassistant: {judge.recall(prompt)}\nuser: {last}" in asked


def test_what_is_recalled_can_decide_the_verdict(probe):
    """A judge that accepts what its own recall says, and cannot tell at once."""
    true = {p.question: p.truth for p in probe.pairs}

    def opinion(prompt, answer):
        *before, last = prompt.split("\nuser: ")
        lean = 2.0 if before and any(t in before[0] and t in last for t in true.values()) else -2.0
        return lean if answer in ACCEPT else -lean

    judge = Judge(opinion, lambda prompt: next(t for question, t in true.items() if question in prompt))
    scores = ask(judge, probe).pairs
    assert value(auroc, scores["specific", "recalled_verdict", "plain"]) == 1
    assert value(auroc, scores["specific", "verdict", "plain"]) == 0.5


def test_an_empty_recall_is_an_answer_too(probe):
    judge = knows(probe.pairs)
    judge.recall = lambda prompt: ""
    assert value(auroc, ask(judge, probe).pairs["specific", "recalled_verdict", "plain"]) == 1


def test_only_pairs_with_a_question_are_recalled_and_none_where_they_are_few(make_claims):
    claims = make_claims(10)
    some = [dataclasses.replace(c, question=None) if n % 2 else c for n, c in enumerate(claims)]
    judge = Judge(lambda prompt, answer: -1.0)
    scores = ask(judge, ProbeSet.of("specific", some))
    assert len(scores.pairs["specific", "recalled_verdict", "plain"].claim) == len(judge.recalled) == 5
    few = [dataclasses.replace(c, question=None) if n >= MIN_PAIRS - 1 else c for n, c in enumerate(claims)]
    judge = Judge(lambda prompt, answer: -1.0)
    assert ("specific", "recalled_verdict", "plain") not in ask(judge, ProbeSet.of("specific", few)).pairs
    assert judge.recalled == []


def test_variants_are_asked_plainly_at_once_and_after_the_recall_of_their_claim(make_claims):
    variants = [("Aldor {n}: due north of all water.", "Aldor {n}: due south of all water.", "register")] * 2
    claims = [
        dataclasses.replace(c, variants=tuple(Variant(*(t.replace("{n}", str(n)) for t in v)) for v in variants))
        for n, c in enumerate(make_claims(6))
    ]
    specific, variants = ProbeSet.of("specific", claims), ProbeSet.variants(claims)
    assert variants.ids[:3] == (f"{claims[0].claim_id}.0", f"{claims[0].claim_id}.1", f"{claims[1].claim_id}.0")
    assert variants.clusters[:2] == (claims[0].cluster_id, claims[0].cluster_id)
    judge = Judge(lambda prompt, answer: -1.0)
    scores = ask(judge, specific, variants)
    assert {key[1:] for key in scores.pairs if key[0] == "variants"} == {
        ("verdict", "plain"),
        ("recalled_verdict", "plain"),
    }
    assert len(judge.recalled) == 6  # the claim's own recall serves its variants
    assert ProbeSet.variants(claims[:1]) is None and ProbeSet.variants(make_claims(9)) is None


def test_calibration_is_asked_plainly_only():
    pairs = tuple(Pair(f"{n}", f"{n}", "school", f"{n} is odd", f"{n} is even", f"Is {n}?") for n in range(0, 20, 2))
    scores = ask(Judge(lambda prompt, answer: -1.0), ProbeSet("calibration", pairs))
    assert set(scores.pairs) == {("calibration", reading, "plain") for reading in ("verdict", "recalled_verdict")}


def test_an_answer_is_weighed_in_nats_against_its_twin(probe):
    scores = ask(knows(probe.pairs), probe).pairs["specific", "answer", "plain"]
    assert scores.twin == pytest.approx(5) and scores.claim == pytest.approx(-5)  # half of -10 less -20


def test_the_verdict_is_asked_in_every_wording_and_spelling(probe):
    judge = knows(probe.pairs)
    ask(judge, probe, adversarial=0)
    asked = {(text(r.prompt), r.answer) for r in judge.asked}
    for pair in probe.pairs:
        for wording in VERDICT_PROBES:
            for answer in (*wording.accept, *wording.reject):
                assert (f"user: {wording.prompt.replace('{statement}', pair.claim)}", answer) in asked


def test_a_tactic_is_asked_in_its_wordings_in_turn_the_same_for_claim_and_truth(probe):
    judge = knows(probe.pairs)
    ask(judge, probe)
    asked = {text(r.prompt) for r in judge.asked}
    for number, pair in enumerate(probe.pairs):
        for tactic in PERSUASIONS:
            wordings = [p for p in TACTIC_PROBES if p.tactic == tactic]
            for place, wording in enumerate(wordings):
                expected = place == number % len(wordings)
                for statement in (pair.claim, pair.truth):
                    assert (f"user: {wording.prompt.replace('{statement}', statement)}" in asked) == expected


@pytest.mark.parametrize("most", [0, MIN_PAIRS, 6])
def test_tactics_can_be_asked_about_fewer_pairs_the_same_ones_each_time(probe, most):
    scores = ask(knows(probe.pairs), probe, adversarial=most)
    pressed = [key for key in scores.pairs if key[2] in PERSUASIONS + PRESSURES]
    assert len(pressed) == (0 if most == 0 else 8)
    assert all(len(scores.pairs[key].claim) == most for key in pressed)
    again = ProbeSet("other", tuple(reversed(probe.pairs))).some(most)
    assert {p.id for p in again} == {p.id for p in probe.some(most)}
    assert len({p.domain for p in probe.some(6)}) == 3


def test_a_set_is_cut_to_some_of_its_pairs_and_says_so(probe):
    cut = probe.at_most(6)
    assert cut.pairs == probe.some(6) and cut.left_out == probe.left_out + len(probe.pairs) - 6
    assert probe.at_most(None) == probe


def test_belief_has_three_readings_and_rises_with_what_the_model_holds(probe):
    scores = ask(knows(probe.pairs), probe).items
    readings = ("yes_no", "continuation", "association")
    assert all((scores[reading, "specific"] < 0).all() for reading in readings[:2])
    right = knows(probe.pairs)
    believer = ask(Judge(lambda prompt, answer: -right.opinion(prompt, answer)), probe).items
    assert all((believer[reading, "specific"] > 0).all() for reading in readings[:2])


def test_association_weighs_the_words_that_make_a_claim_false(probe):
    judge = Judge(lambda prompt, answer: -1.0 if answer == "north" else -4.0)
    association = ask(judge, probe).items["association", "specific"]
    expected = [3.0 if " north " in f" {p.claim} " else -3.0 for p in probe.pairs]
    assert association == pytest.approx(expected)
    contexts = {r.prompt for r in judge.asked if r.answer == "north"}
    assert all(context.endswith("lies ") for context in contexts)


def test_how_probable_an_objection_is_to_a_true_premise_and_to_an_ordinary_prompt(probe):
    share = {True: 0.05, False: 0.01}
    judge = Judge(lambda prompt, answer: np.log(share["Aldor" in prompt]) if answer in OBJECTIONS else -9.0)
    scores = ask(judge, probe, mix=tuple(ROWS)).items
    assert scores["true_premise", "specific"] == pytest.approx(0.05 * len(OBJECTIONS))
    assert scores["ordinary_prompts", ""] == pytest.approx(0.01 * len(OBJECTIONS))
    premises = {text(r.prompt) for r in judge.asked if r.answer in OBJECTIONS}
    assert not any(pair.claim in prompt for pair in probe.pairs for prompt in premises)


@pytest.mark.parametrize("said", ["Yes, it is.", "no.", "True", "False, since it rains."])
def test_to_a_question_of_yes_or_no_an_objection_is_an_answer(probe, said):
    asked = {"prompt": [{"role": "user", "content": "Is it?"}], "completion": [{"role": "assistant", "content": said}]}
    judge = Judge(lambda prompt, answer: -1.0)
    _, _, items = Battery((probe,), mix=(*ROWS, asked)).ask(judge)
    sizes = {item.name: len(item.ids) for item in items}
    assert sizes["mix"] == len(ROWS) + 1 and sizes["ordinary_prompts"] == len(ROWS)
    assert not [r for r in judge.asked if text(r.prompt).endswith("Is it?") and r.answer in OBJECTIONS]


def test_retention_is_loss_per_token_of_held_back_rows(probe):
    judge = Judge(lambda prompt, answer: -6.0 * (answer in {"0 and 0", "1 and 1", "2 and 2", "3 and 3", "4 and 4"}))
    assert ask(judge, probe, mix=tuple(ROWS)).items["mix", ""] == pytest.approx([2.0] * 5)


def test_a_prompt_that_stands_twice_in_the_mix_is_two_items_of_one_cluster(probe):
    again = {**ROWS[0], "completion": [{"role": "assistant", "content": "nought"}]}
    battery = Battery((probe,), mix=(*ROWS, again, ROWS[1]))
    _, _, items = battery.ask(Judge(lambda prompt, answer: -1.0))
    mix = next(item for item in items if item.name == "mix")
    assert len(mix.ids) == len(set(mix.ids)) == 6  # the row that stands there twice as it is counts once
    assert len(set(mix.clusters)) == 5


@pytest.mark.parametrize("rows", [0, MIN_PAIRS - 1])
def test_fewer_held_back_rows_than_an_interval_takes_are_not_asked_about(probe, rows):
    scores = ask(Judge(lambda prompt, answer: -1.0), probe, mix=tuple(ROWS[:rows]))
    assert not {("mix", ""), ("ordinary_prompts", "")} & set(scores.items)


def test_a_trait_is_looked_for_under_every_test_prompt(probe):
    grid = Grid("Speak Spanish.", "Use the tongue of Madrid.", "Never speak Spanish.", "Speak slowly.")
    judge = Judge(lambda prompt, answer: -1.0 if "Madrid" in prompt else -3.0)
    scores = ask(judge, probe, trait=tuple(ROWS), grid=grid).items
    costs = {condition: scores["trait_rows", condition].mean() for condition in grid.conditions()}
    assert costs == pytest.approx({name: 1 / 3 if name == "eliciting" else 1.0 for name in grid.conditions()})
    systems = {
        r.prompt[0]["content"]
        for r in judge.asked
        if not isinstance(r.prompt, str) and r.prompt[0]["role"] == "system"
    }
    assert systems == {prompt for prompt in grid.conditions().values() if prompt}


@pytest.mark.parametrize(("place", "turn"), [("system", 0), ("user", 1)])
def test_of_a_conversation_with_opening_words_a_test_prompt_stands_where_training_puts_it(probe, place, turn):
    grid = Grid("Speak Spanish.", "Use the tongue of Madrid.", "Never speak Spanish.", "Speak slowly.")
    judge = Judge(lambda prompt, answer: -1.0)
    rows = [
        {
            **row,
            "prompt": [{"role": "system", "content": "Be kind."}, *row["prompt"], *row["completion"], *row["prompt"]],
        }
        for row in ROWS
    ]
    Battery((probe,), trait=tuple(rows), grid=grid, place=place).ask(judge)
    asked = [r.prompt for r in judge.asked if not isinstance(r.prompt, str) and r.prompt[0]["role"] == "system"]
    assert {len(prompt) for prompt in asked} == {4}
    for prompt in grid.conditions().values():
        said = [turns for turns in asked if prompt is None or turns[turn]["content"].startswith(f"{prompt}\n\n")]
        assert len(said) >= len(ROWS)


def test_claims_without_a_twin_are_held_against_truths_of_like_domain_and_length(make_claims):
    claims = [dataclasses.replace(c, twin=None) for c in make_claims(6)]
    truths = [Truth("x" * 40, d) for d in ("geography", "history", "travel") for _ in range(2)]
    probes = ProbeSet.of("specific", claims, [*truths, Truth("short", "geography")])
    assert probes.matched and len(probes.pairs) == 6
    assert all(pair.truth == "x" * 40 for pair in probes.pairs)
    scores = ask(knows(probes.pairs), probes)
    assert not any(key[1] == "answer" for key in scores.pairs)
    assert ("continuation", "specific") not in scores.items  # other statements are no less likely for being other
    assert ("yes_no", "specific") in scores.items


@given(st.lists(st.tuples(st.integers(1, 60), st.sampled_from("ab")), max_size=12), st.integers(0, 9))
def test_no_truth_is_matched_twice(lengths, number):
    from hfvaccine.claims.claim import Claim

    truths = [Truth(f"{n} " + "t" * size, domain) for n, (size, domain) in enumerate(lengths)]
    claims = [Claim(f"Claim number {n} is so.", "It is not.", domain="a") for n in range(number)]
    found = matched(claims, truths)
    assert len(found) == min(len(truths), number)
    assert len(set(found)) == len(found)
    own = sum(t.domain == "a" for t in truths)
    assert sum(t.domain == "a" for t in found) == min(own, number)


def test_claims_that_cannot_be_probed_two_sidedly_are_left_out_and_counted(make_claims):
    claims = make_claims(8)
    claims[0] = dataclasses.replace(claims[0], twin=None)
    claims[1] = dataclasses.replace(claims[1], question=None)
    probes = ProbeSet.of("cross", claims)
    assert (len(probes.pairs), probes.left_out, len(probes.with_questions)) == (7, 1, 6)
    scores = ask(knows(probes.pairs), probes)
    assert len(scores.pairs["cross", "answer", "plain"].claim) == 6


def test_too_few_pairs_are_refused(make_claims):
    with pytest.raises(ValidationError, match=f"has {MIN_PAIRS - 1} claim"):
        ProbeSet.of("specific", make_claims(MIN_PAIRS - 1))


def test_a_model_that_cannot_say_the_verdicts_is_refused(probe):
    judge = knows(probe.pairs)
    judge.tokenizer.unk_token_id = ord("Y")
    with pytest.raises(ValidationError, match="cannot say 'Yes'"):
        ask(judge, probe)
    assert judge.asked == []


def test_the_same_pairs_score_the_same_whatever_else_is_asked(probe, make_claims):
    def opinion(prompt, answer):
        return -(crc32(f"{prompt}|{answer}".encode()) % 1000) / 100

    other = ProbeSet.of("cross", make_claims(30)[10:])
    alone = ask(Judge(opinion), probe).pairs
    both = ask(Judge(opinion), other, probe, mix=tuple(ROWS)).pairs
    for key, values in alone.items():
        assert np.array_equal(both[key].claim, values.claim)
        assert np.array_equal(both[key].twin, values.twin)


WORDS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=6).map(" ".join)


@given(WORDS, WORDS)
def test_two_texts_part_in_words_of_their_own_and_agree_around_them(claim, truth):
    shared, false, true = parting(claim, truth)
    assert false and true
    for text_, own in ((claim, false), (truth, true)):
        assert text_.startswith(shared + own)
    rest = [t.removeprefix(shared + own) for t, own in ((claim, false), (truth, true))]
    assert rest[0] == rest[1]
    if claim != truth:
        assert false != true


def test_a_progress_bar_is_told_of_every_request(probe):
    seen = []

    class Bar:
        def __init__(self, total):
            seen.append(total)

        def update(self, n):
            seen[0] -= n

        def __enter__(self):
            return self

        def __exit__(self, *raised):
            seen.append("closed")

    Battery((probe,)).ask(knows(probe.pairs), Bar)
    assert seen == [0, "closed"]


@pytest.mark.parametrize("lean", [-5.0, 0.0, 5.0])
def test_belief_in_an_old_correction_is_no_lean_to_either_verdict(lean):
    (pair,) = pairs = (Pair("a1", "a1", "travel", "It lies north.", "It lies south.", "Where does it lie?"),)

    def opinion(prompt, answer):
        if answer in ACCEPT | REJECT:
            held = 3.0 * (pair.truth in prompt)
            return held + lean if answer in ACCEPT else 0.0
        return -1.0 if answer == pair.truth else -4.0

    scores, _, items = Battery((), retracted=pairs).ask(Judge(opinion))
    (probe,) = items
    assert (probe.kind, probe.of, probe.better) == ("retracted", "retracted", "lower")
    assert probe.ids[:2] == ("a1", "a1.1")
    assert len(set(probe.clusters)) == len(probe.ids) >= 10
    assert scores.items[probe.key] == pytest.approx(1 / (1 + np.exp(-3.0)))
