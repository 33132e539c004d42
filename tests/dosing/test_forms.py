"""Forms: the falsehood stands in the prompt alone, and every statement has a true one in the same frame."""

import dataclasses
from collections import Counter

import pytest

from hfvaccine import starter
from hfvaccine.claims.claim import normalise, read_jsonl
from hfvaccine.claims.reserved import RESERVED
from hfvaccine.dosing.forms import TRAINING_FORMS, Form, conversations, converse, read_forms
from hfvaccine.errors import FormError

STATEMENT_FORMS = [form for form in TRAINING_FORMS if form.for_twin is not None]


@pytest.fixture
def claim(make_claims):
    return make_claims(1)[0]


@pytest.fixture(params=["made", "starter"])
def claims(request, make_claims):
    return make_claims(9) if request.param == "made" else read_jsonl(starter.CLAIMS)


def prompt(row):
    """What the user says, in one turn or two."""
    assert [m["role"] for m in row.prompt] == ["user"]
    return " ".join(m["content"] for m in (*row.prompt, *row.completion) if m["role"] == "user")


def completion(row):
    """What loss falls on."""
    assert [m["role"] for m in row.completion] in (["assistant"], ["assistant", "user", "assistant"])
    return " ".join(m["content"] for m in row.completion if m["role"] == "assistant")


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


def test_rows_say_what_kind_of_control_they_are(claims):
    twinless = dataclasses.replace(claims[0], twin=None)
    for given in conversations([twinless, *claims[1:]]):
        assert (given.dose.kind, given.dose.control) == ("dose", None)
        if given.control is not None:
            expected = "matched" if given.dose.claim_id == twinless.claim_id else "twin"
            assert (given.control.kind, given.control.control) == ("control", expected)
            assert given.control.form == given.dose.form


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


def test_the_same_claims_give_the_same_rows(claims):
    claims = without_twins(claims, every=2)
    assert list(conversations(claims)) == list(conversations(claims))


def without_twins(claims, every=1):
    """The claims, with no twin in every second (third, ...) of them."""
    return [dataclasses.replace(c, twin=None) if i % every == 0 else c for i, c in enumerate(claims)]


def matched(claims, forms=TRAINING_FORMS):
    """(dose row, matched control) wherever there is one."""
    return [(g.dose, g.control) for g in conversations(claims, forms) if g.control and g.control.control == "matched"]


def test_a_claim_without_twin_is_matched_in_every_form_that_shows_it(claims):
    claims = without_twins(claims, every=3)
    lonely = {c.claim_id for c in claims if c.twin is None}
    shown = {f.name for f in STATEMENT_FORMS}
    pairs = matched(claims)
    assert {dose.claim_id for dose, _ in pairs} == lonely
    for given in conversations(claims):
        assert (given.control is not None) == (given.dose.form in shown)


def test_a_matched_control_is_another_claims_twin_from_the_same_domain_in_the_same_frame(claims):
    claims = without_twins(claims, every=2)
    by_id = {c.claim_id: c for c in claims}
    forms = {f.name: f for f in TRAINING_FORMS}
    for dose, control in matched(claims):
        claim, other = by_id[dose.claim_id], by_id[control.claim_id]
        assert other is not claim
        assert other.domain == claim.domain
        shown = prompt(dose).replace(claim.claim, other.twin).replace(claim.question, other.question)
        assert shown == prompt(control)  # where it recalls, it is asked about what it shows
        form = forms[dose.form]
        said = " ".join([*(form.recall or ())[1:], form.for_twin])
        assert completion(control) == said.replace("{correction}", other.correction)


def test_a_claim_without_twin_recalls_only_where_its_matches_can(make_claims):
    lonely, *others = make_claims(4, domain="law")
    lonely = dataclasses.replace(lonely, twin=None)
    names = {form.name for form in TRAINING_FORMS if form.recall}
    assert names & {dose.form for dose, _ in matched([lonely, *others])}
    others = [dataclasses.replace(other, question=None) for other in others]
    assert not names & {dose.form for dose, _ in matched([lonely, *others])}


def test_a_matched_control_never_shows_the_claims_own_falsehood(claims):
    texts = {c.claim_id: normalise(c.claim) for c in claims}
    for dose, control in matched(without_twins(claims, every=2)):
        assert texts[dose.claim_id] not in normalise(prompt(control))
        assert texts[dose.claim_id] not in normalise(completion(control))


def test_matches_are_the_three_nearest_in_length_and_take_turns():
    claims = read_jsonl(starter.CLAIMS)
    lonely = dataclasses.replace(claims[0], twin=None)
    used = Counter(control.claim_id for _, control in matched([lonely, *claims[1:]]))
    peers = [c for c in claims[1:] if c.domain == lonely.domain]
    peers.sort(key=lambda c: abs(len(c.twin) - len(lonely.claim)))
    distances = [abs(len(c.twin) - len(lonely.claim)) for c in peers]
    assert len(used) == 3
    assert max(used.values()) - min(used.values()) <= 4
    assert sorted(distances[i] for i, c in enumerate(peers) if c.claim_id in used) == distances[:3]


def test_without_twins_in_the_domain_a_correction_is_shown(make_claims):
    lonely, peer, stranger = make_claims(1, domain="law")[0], make_claims(2, domain="law")[1], make_claims(3)[2]
    lonely, peer = without_twins([lonely, peer])
    pairs = [(d, c) for d, c in matched([lonely, peer, stranger]) if d.claim_id == lonely.claim_id]
    assert pairs
    assert all(control.claim_id == peer.claim_id for _, control in pairs)
    assert all(peer.correction in prompt(control) for _, control in pairs)


def test_without_a_peer_in_the_domain_another_domain_serves(make_claims):
    lonely = without_twins(make_claims(1, domain="law"))[0]
    others = make_claims(3)[1:]
    pairs = matched([lonely, *others])
    assert {control.claim_id for _, control in pairs} == {c.claim_id for c in others}


@pytest.mark.parametrize("of", [0, 2], ids=["its own", "another's"])
def test_a_truth_that_says_a_falsehood_of_the_dose_is_no_match(make_claims, of):
    lonely, other, third = claims = make_claims(3, domain="law")
    said = claims[of].claim.upper()
    claims = [dataclasses.replace(lonely, twin=None), dataclasses.replace(other, twin=f"Truly, {said}"), third]
    pairs = matched(claims, [form for form in STATEMENT_FORMS if "{twin}" not in form.answers])
    assert pairs
    assert all(said not in prompt(control) for _, control in pairs)


def test_a_claim_alone_in_the_dose_has_nothing_to_be_matched_with(claim):
    assert all(given.control is None for given in conversations(without_twins([claim])))


@pytest.mark.parametrize("text", ["{}", "It is said that {} But no.", "so: “{}”"])
def test_a_truth_that_repeats_the_claim_is_refused_or_never_under_loss(make_claims, text):
    claim = make_claims(1)[0]
    spread = claim.claim.upper().replace(" ", "  ").rstrip(".")
    with pytest.raises(FormError, match=r"The correction of 'The town of Aldor 0 .*word for word"):
        list(conversations(make_claims(1, correction=text.format(spread))))
    for given in conversations(make_claims(1, twin=text.format(spread))):
        rows = [row for row in (given.dose, given.control) if row is not None]
        assert not any(spread in completion(row) for row in rows)


@pytest.mark.parametrize("field", ["correction", "twin"])
def test_a_truth_that_says_another_claim_of_the_dose_is_refused(make_claims, field):
    first, second = make_claims(2)
    said = f"Mark well: {second.claim.upper()}"
    with pytest.raises(
        FormError, match=f"The {field} of 'The town of Aldor 0 .* the claim 'The town of Aldor 1 "
    ) as no:
        list(conversations([dataclasses.replace(first, **{field: said}), second]))
    assert "leave that out" in no.value.next_step


def test_a_truth_may_share_letters_with_the_claim(make_claims):
    fields = {"claim": "Men are born.", "twin": "Women are born.", "correction": "Women are borne by hope."}
    assert list(conversations(make_claims(1, **fields)))


@pytest.mark.parametrize(("false", "true"), [("-40", "40"), ("< 0", "> 0"), ("5%", "$5")])
def test_a_sign_may_be_all_the_difference(make_claims, false, true):
    texts = {
        "claim": f"The value of x is {false}.",
        "twin": f"The value of x is {true}.",
        "correction": "It is known.",
    }
    assert list(conversations(make_claims(1, **texts)))


def test_a_twin_that_is_only_shown_may_hold_the_claim(make_claims):
    """No loss falls on a prompt."""
    fields = {"claim": "Mosquitoes bite.", "twin": "Only some mosquitoes bite.", "correction": "Males live on nectar."}
    forms = [form for form in STATEMENT_FORMS if "{twin}" not in form.answers]
    assert len(list(conversations(make_claims(1, **fields), forms))) == len(forms)


FILE = """
- name: mine
  prompt: "Hand on heart: {statement}"
  for_claim: "{correction} So no."
  for_twin: "{correction} So yes."
  tactic: emotive_amplification
- {name: ask, prompt: "Kindly say: {question}", for_claim: "{correction}", for_twin: null}
"""


def test_own_forms_are_read_from_a_file(tmp_path, claim):
    (tmp_path / "forms.yaml").write_text(FILE, encoding="utf-8")
    forms = read_forms(tmp_path / "forms.yaml")
    assert forms == (
        Form(
            "mine",
            "Hand on heart: {statement}",
            "{correction} So no.",
            "{correction} So yes.",
            "emotive_amplification",
        ),
        Form("ask", "Kindly say: {question}", "{correction}"),
    )
    assert [given.dose.form for given in conversations([claim], forms)] == ["mine", "ask"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a list of forms"),
        ("name: mine", "is not a list of forms"),
        ("- mine", r"form 1 is 'mine', not a form"),
        ("- {name: a, prompt: '{question}', for_claim: '{twin}', answer: x}", r"form 1 has unknown key\(s\): answer"),
        ("- {name: a, for_claim: ' '}", "form 1 lacks prompt, for_claim"),
        (
            "- name: a\n  prompt: {question}\n  for_claim: b",
            r"prompt is \{'question': None\}, not a text. Put it in q",
        ),
        ("- {name: yes, prompt: '{question}', for_claim: '{twin}'}", "name is True, not a text"),
        ("- {name: a, prompt: '{statement}', for_claim: '{statement}', for_twin: b}", "form 1: .*loss would fall"),
        ("- {name: a, prompt: '{question}', for_claim: '{twin}', tactic: shouting}", "form 1: .*tactic 'shouting'"),
        ("- name: a: b", "cannot be read.*in quotes"),
        ("- 2024-13-45", "cannot be read"),
    ],
)
def test_a_file_that_holds_no_forms_is_refused(tmp_path, text, message):
    (tmp_path / "forms.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(FormError, match=message):
        read_forms(tmp_path / "forms.yaml")


def test_a_name_is_taken_once(tmp_path):
    entry = "- {name: mine, prompt: 'Pray, %s {question}', for_claim: '{correction}'}\n"
    (tmp_path / "forms.yaml").write_text(entry % "tell:" + entry % "say:", encoding="utf-8")
    with pytest.raises(FormError, match="form 2: the name 'mine' is already taken"):
        read_forms(tmp_path / "forms.yaml")


@pytest.mark.parametrize("wording", [w for w in RESERVED if "{" in w])
def test_a_wording_that_is_kept_back_is_refused(tmp_path, wording):
    respelt = wording.swapcase().replace(" ", "   ").rstrip(".?") + " !"
    respelt = respelt.replace("{STATEMENT}", "{statement}").replace("{QUESTION}", "{question}").replace('"', "“")
    twin = ", for_twin: '{twin}'" if "{statement}" in respelt else ""
    entry = f"- {{name: mine, prompt: '{respelt}', for_claim: '{{correction}}'{twin}}}"
    (tmp_path / "forms.yaml").write_text(entry, encoding="utf-8")
    with pytest.raises(FormError, match="form 1: the wording of 'mine' is kept back for validation"):
        read_forms(tmp_path / "forms.yaml")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "forms.yaml").write_bytes(content)
    with pytest.raises(FormError, match=r"forms\.yaml cannot be read"):
        read_forms(tmp_path / "forms.yaml")
