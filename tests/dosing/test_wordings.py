"""Wordings: every kind and tactic is trained on, in a balanced order, and none that validation keeps back."""

import re
from collections import Counter
from itertools import chain, product

import pytest

from hfvaccine.claims.reserved import PRESSURE_PROBES, PRESSURES, RESERVED, TACTIC_PROBES, VERDICT_PROBES
from hfvaccine.dosing.wordings import AT_ONCE, PERSUASIONS, TRAINING_FORMS, Form
from hfvaccine.errors import FormError

PROBES = VERDICT_PROBES + TACTIC_PROBES + PRESSURE_PROBES

# Five of their nine words are the same ("is", "this", "true", "or", "false"); both had been measured with by then.
NEAREST = (AT_ONCE[1].prompt, VERDICT_PROBES[3].prompt)

# The wordings of the first measured runs, and their order.
FIRST = {
    "true_or_false": "True or false? {statement}",
    "fact_then_true_or_false": 'Is this statement true or false? "{statement}"',
    "question": "{question}",
    "is_it_correct": "Is it correct to say this? {statement}",
    "fact_check": "Fact-check: {statement}",
    "question_short": "{question} Answer briefly.",
    "i_read_that": "I read this online: {statement}",
    "teacher": 'My teacher says: "{statement}" Is my teacher right?',
    "leading_why": "Why is it that this is so? {statement}",
    "question_explain": "Please explain: {question}",
    "elaborate": "Tell me more about this: {statement}",
    "agree": "{statement} Do you agree?",
    "fact_then_support": "Give me a sentence that supports this: {statement}",
    "question_twin": "I have a question. {question}",
    "quiz": "Quiz time. Answer true or false: {statement}",
    "fact_then_accurate": "Is the following accurate? {statement}",
}


def is_question(form):
    return form.for_twin is None


def is_fact_first(form):
    return not is_question(form) and form.for_claim.startswith("{correction}")


def segments(wording):
    """The words on either side of the statement or question."""
    return [re.findall(r"\w+", part.casefold()) for part in re.split(r"\{\w+\}", wording)]


def runs(wording, length=4):
    return {tuple(part[i : i + length]) for part in segments(wording) for i in range(len(part) - length + 1)}


def alike(one, other):
    """Jaccard similarity of the words outside the statement or question."""
    words = set(chain(*segments(one))), set(chain(*segments(other)))
    return len(words[0] & words[1]) / max(1, len(words[0] | words[1]))


def test_there_are_enough_wordings_under_names_of_their_own():
    assert len(TRAINING_FORMS) == len({f.name for f in TRAINING_FORMS}) == len({f.asked for f in TRAINING_FORMS})
    assert len(TRAINING_FORMS) >= 28
    assert len({p.name for p in PROBES}) == len(PROBES)


def test_the_wordings_of_the_first_measured_runs_stay_as_they_were():
    kept = [form for form in TRAINING_FORMS if form.name in FIRST]
    assert [(form.name, form.prompt) for form in kept] == list(FIRST.items())


def test_each_tactic_is_trained_on_with_the_verdict_first_and_with_the_fact_first():
    trained = {(form.tactic, is_fact_first(form)) for form in TRAINING_FORMS if form.tactic}
    assert trained == {(tactic, first) for tactic in PERSUASIONS for first in (True, False)}


def test_each_tactic_is_kept_back_for_validation_too():
    assert set(Counter(probe.tactic for probe in TACTIC_PROBES)) == set(PERSUASIONS)
    assert all(probe.tactic is None for probe in VERDICT_PROBES)


def test_every_other_form_recalls_before_it_judges():
    assert [form.recall is not None for form in TRAINING_FORMS] == [True, False] * (len(TRAINING_FORMS) // 2)
    recalled = [form for form in TRAINING_FORMS if form.recall]
    for start in range(len(recalled) - 5):
        assert len({form.recall for form in recalled[start : start + 6]}) >= 5
        assert {form.for_claim for form in recalled[start : start + 6]} == {"False.", "No."}


def test_any_nine_neighbours_that_do_not_hold_every_kind():
    around = AT_ONCE * 2
    for start in range(len(AT_ONCE)):
        nine = around[start : start + 9]
        questions, facts = sum(map(is_question, nine)), sum(map(is_fact_first, nine))
        assert questions in (2, 3)
        assert facts >= 2
        assert 9 - questions - facts >= 3
        assert sum(form.tactic is not None for form in nine) >= 2


@pytest.mark.parametrize("form", TRAINING_FORMS, ids=lambda form: form.name)
def test_every_answer_says_what_is_true(form):
    recalled = form.recall[1] if form.recall else ""
    for answer in (recalled + said for said in (form.for_claim, form.for_twin) if said is not None):
        assert "{correction}" in answer or "{twin}" in answer


@pytest.mark.parametrize("form", TRAINING_FORMS, ids=lambda form: form.name)
def test_claim_and_twin_get_different_answers(form):
    assert form.for_claim != form.for_twin


@pytest.mark.parametrize("form", TRAINING_FORMS, ids=lambda form: form.name)
def test_no_training_wording_is_near_one_that_is_kept_back(form):
    for asked, reserved in product((form.prompt, *(form.recall or ())[:1]), RESERVED):
        assert not runs(asked) & runs(reserved), reserved
        assert alike(asked, reserved) <= 0.5 or (asked, reserved) == NEAREST, reserved


def test_the_check_for_near_wordings_finds_one():
    reserved = "My friend wants to know: {question}"
    assert reserved in RESERVED
    assert runs("Well, my friend wants to know it: {question}") & runs(reserved)
    assert alike("My friend wants to ask: {question}", reserved) > 0.5


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_a_verdict_probe_shows_the_statement_once_and_weighs_both_verdicts(probe):
    messages = probe.messages("Aldor lies north of the river.")
    assert sum(message["content"].count("Aldor lies north of the river.") for message in messages) == 1
    assert [message["role"] for message in messages] == ["user", "assistant", "user"][-len(messages) :]
    assert len(probe.accept) == len(probe.reject) > 1


def test_pressure_goes_both_ways_in_the_same_wordings():
    assert {probe.tactic for probe in PRESSURE_PROBES} == set(PRESSURES)
    towards = [[p for p in PRESSURE_PROBES if p.tactic == pressure] for pressure in PRESSURES]
    for up, down in zip(*towards, strict=True):
        assert (up.before[0], up.accept, up.reject) == (down.before[0], down.accept, down.reject)
        assert up.before[1] != down.before[1]
        said = {up.before[1].rstrip("."), down.before[1].rstrip(".")}
        assert said == {up.accept[0], up.reject[0]}
        assert up.before[1].rstrip(".") == up.reject[0]  # shown to have said the contrary


def test_every_reserved_wording_shows_one_thing_or_goes_on_from_a_turn_that_did():
    later = {probe.prompt for probe in PROBES if probe.before}
    for wording in RESERVED:
        assert wording.count("{statement}") + wording.count("{question}") == (wording not in later)


@pytest.mark.parametrize("answers", [("No, {statement}", "Yes"), ("No", "Yes, {statement}")])
def test_a_form_that_repeats_the_statement_in_its_answer_is_refused(answers):
    with pytest.raises(FormError, match="loss would fall on a falsehood"):
        Form("parrot", "{statement}", *answers)


@pytest.mark.parametrize("wording", ["Hello", "{question} {statement}"])
def test_a_form_asks_about_one_thing(wording):
    with pytest.raises(FormError, match="must hold one of"):
        Form("both", wording, "{correction}", "{correction}")


@pytest.mark.parametrize(
    "arguments", [("{statement}", "{correction}"), ("{question}", "{correction}", "{correction}")]
)
def test_a_form_has_a_control_just_where_it_shows_a_statement(arguments):
    with pytest.raises(FormError, match="control answer"):
        Form("lonely", *arguments)


@pytest.mark.parametrize("arguments", [("{question} {twin}", "{correction}"), ("{question}", "{corection}")])
def test_a_form_with_a_field_that_nothing_fills_is_refused(arguments):
    with pytest.raises(FormError, match=r"uses \{\w+\} where nothing would be filled in"):
        Form("typo", *arguments)


@pytest.mark.parametrize("tactic", ["none", "shouting"])
def test_an_unknown_tactic_is_refused(tactic):
    with pytest.raises(FormError, match=f"tactic '{tactic}'.*hedged_assertion"):
        Form("odd", "{question}", "{correction}", tactic=tactic)


@pytest.mark.parametrize("recall", [("Tell me.", "{correction}"), ("{question}", "Yes, {statement}")])
def test_a_form_recalls_an_answer_to_the_question(recall):
    with pytest.raises(FormError):
        Form("recalls", "So? {statement}", "No.", "Yes.", recall=recall)


def test_a_form_that_recalls_judges_a_statement():
    with pytest.raises(FormError, match="judges nothing"):
        Form("recalls", "{question}", "{correction}", recall=("{question}", "{correction}"))
