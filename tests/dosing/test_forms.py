"""Forms: the falsehood stands in the prompt alone, its twin in the same frame, probes in other wordings."""

import dataclasses
from collections import Counter

import pytest

from hfvaccine import starter
from hfvaccine.dosing.forms import QUESTION_PROBES, TRAINING_FORMS, VERDICT_PROBES, Form, conversations, converse
from hfvaccine.errors import FormError
from hfvaccine.quarantine.claim import normalise, read_jsonl

STATEMENT_FORMS = [form for form in TRAINING_FORMS if form.for_twin is not None]


@pytest.fixture
def claim(make_claims):
    return make_claims(1)[0]


@pytest.fixture(params=["made", "starter"])
def claims(request, make_claims):
    return make_claims(9) if request.param == "made" else read_jsonl(starter.CLAIMS)


def prompt(row):
    assert [m["role"] for m in row.prompt] == ["user"]
    return row.prompt[0]["content"]


def completion(row):
    assert [m["role"] for m in row.completion] == ["assistant"]
    return row.completion[0]["content"]


def test_no_completion_contains_its_claim(claims):
    texts = {c.claim_id: normalise(c.claim) for c in claims}
    for given in conversations(claims):
        for row in filter(None, (given.dose, given.control)):
            assert texts[row.claim_id] not in normalise(completion(row))


@pytest.mark.parametrize("form", STATEMENT_FORMS, ids=lambda form: form.name)
def test_claim_and_twin_stand_in_the_same_frame(claim, form):
    given = converse(claim, form)
    assert claim.claim in prompt(given.dose)
    assert prompt(given.dose).replace(claim.claim, claim.twin) == prompt(given.control)


@pytest.mark.parametrize("form", STATEMENT_FORMS, ids=lambda form: form.name)
def test_claim_and_twin_get_different_answers(claim, form):
    given = converse(claim, form)
    assert completion(given.dose) != completion(given.control)


@pytest.mark.parametrize("form", TRAINING_FORMS, ids=lambda form: form.name)
def test_every_answer_says_what_is_true(claim, form):
    given = converse(claim, form)
    for row in filter(None, (given.dose, given.control)):
        assert claim.correction in completion(row) or claim.twin in completion(row)


def test_a_question_needs_no_control(claim):
    assert converse(claim, Form("question", "{question}", "{correction}")).control is None


def test_a_claim_without_twin_gets_no_control(claim):
    alone = dataclasses.replace(claim, twin=None)
    assert all(given.control is None for given in conversations([alone]))


@pytest.mark.parametrize("field", ["claim", "correction", "twin", "question"])
@pytest.mark.parametrize("braces", ["{correction}", "{statement}", "{0}", "{", "{twin} or {question}"])
def test_braces_are_text(make_claims, field, braces):
    text = f"In templates {braces} is left as it is."
    claim = make_claims(1, **{field: text})[0]
    seen = "".join(
        prompt(row) + completion(row)
        for given in conversations([claim])
        for row in filter(None, (given.dose, given.control))
    )
    assert text in seen
    assert seen.count(braces) == seen.count(text)


def test_each_round_gives_each_claim_once(make_claims):
    claims = make_claims(7)
    order = [given.dose.claim_id for given in conversations(claims)]
    rounds = [order[i : i + 7] for i in range(0, len(order), 7)]
    assert len(rounds) == len(TRAINING_FORMS)
    assert all(once == [c.claim_id for c in claims] for once in rounds)


def test_each_claim_is_given_in_each_form_once(make_claims):
    pairs = [(given.dose.claim_id, given.dose.form) for given in conversations(make_claims(7))]
    assert len(set(pairs)) == len(pairs) == 7 * len(TRAINING_FORMS)


def test_each_round_is_balanced_over_the_forms(make_claims):
    forms = [given.dose.form for given in conversations(make_claims(2 * len(TRAINING_FORMS)))]
    for start in range(0, len(forms), 2 * len(TRAINING_FORMS)):
        counts = Counter(forms[start : start + 2 * len(TRAINING_FORMS)])
        assert set(counts.values()) == {2}


def test_a_claim_is_given_only_in_forms_that_it_has_the_fields_for(claim):
    bare = dataclasses.replace(claim, twin=None, question=None)
    used = {given.dose.form for given in conversations([bare])}
    assert used == {f.name for f in TRAINING_FORMS if f.fits(bare)}
    assert not used & {"question", "question_twin", "quiz"}


def test_a_claim_that_no_form_fits_is_named(claim):
    bare = dataclasses.replace(claim, question=None)
    with pytest.raises(FormError, match="No form fits the claim 'The town of Aldor 0"):
        list(conversations([bare], [Form("question", "{question}", "{correction}")]))


def test_no_probe_uses_a_wording_that_is_trained_on(claim):
    trained = {normalise(prompt(given.dose)) for given in conversations([claim])}
    probes = [p.prompt.replace("{statement}", claim.claim) for p in VERDICT_PROBES]
    probes += [p.replace("{question}", claim.question) for p in QUESTION_PROBES]
    assert len(trained) == len(TRAINING_FORMS)
    assert not trained & {normalise(p) for p in probes}


@pytest.mark.parametrize("probe", VERDICT_PROBES, ids=lambda probe: probe.name)
def test_a_verdict_probe_shows_the_statement_once_and_weighs_both_verdicts(probe):
    assert probe.prompt.count("{statement}") == 1
    assert len(probe.accept) == len(probe.reject) > 0


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
