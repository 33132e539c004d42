"""The rules of an `access` list, without a Hub."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hubs import ACCESS, AGREED
from huggingface_hub.hf_api import AccessRequest
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine.errors import UsageError
from hfvaccine.hub.access.rules import AccessRule, Verdict, decide, read_rules


def asked(**changes):
    request = AccessRequest(
        username="ada",
        fullname="Ada L.",
        email="ada@example.org",
        timestamp=datetime(2026, 11, 1, tzinfo=UTC),
        status="pending",
        fields={"Purpose": "A test", AGREED: True},
        request_id="1f",
    )
    return replace(request, **changes)


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        ({"email": "*@example.org"}, True),
        ({"email": "*@EXAMPLE.org"}, True),
        ({"email": "*@example.com"}, False),
        ({"email": "@example.org"}, False),
        ({"username": "ADA"}, True),
        ({"fullname": "ada*"}, True),
        ({"Purpose": "*test"}, True),
        ({"purpose": "*test"}, True),
        ({"Purpose": ""}, False),
        ({"Affiliation": ""}, True),
        ({"Affiliation": "?*"}, False),
        ({AGREED: True}, True),
        ({AGREED: False}, False),
        ({"I read the terms": False}, True),
        ({"I read the terms": True}, False),
        ({"email": "*@example.org", AGREED: True}, True),
        ({"email": "*@example.org", AGREED: False}, False),
    ],
)
def test_a_rule_fits_where_all_its_patterns_do(when, fits):
    assert decide(asked(), [AccessRule("accept", when)]) == (Verdict("accept", "", 1) if fits else None)


@pytest.mark.parametrize("ticked", [True, "true", "on", "Yes", "1"])
@pytest.mark.parametrize("unticked", [False, "", None, "off", "false", "no", "I will not"])
def test_a_box_is_ticked_or_not_however_it_was_sent(ticked, unticked):
    rule = [AccessRule("accept", {AGREED: True})]
    assert decide(asked(fields={AGREED: ticked}), rule)
    assert not decide(asked(fields={AGREED: unticked}), rule)


@pytest.mark.parametrize("pattern", ["*", " ** "])
@pytest.mark.parametrize("empty", ["", None, "  ", "\u200b\u00ad", "\n", False])
def test_a_star_asks_that_something_is_there(pattern, empty):
    rule = [AccessRule("accept", {"Purpose": pattern})]
    assert decide(asked(fields={"Purpose": "Research"}), rule)
    assert not decide(asked(fields={"Purpose": empty}), rule) and not decide(asked(fields={}), rule)
    assert decide(asked(fields={"Purpose": empty}), [AccessRule("reject", {"Purpose": ""})])


def test_the_first_rule_that_fits_decides():
    rules = [
        AccessRule("accept", {"username": "bob"}),
        AccessRule("reject", {"email": "*"}, "No."),
        AccessRule("accept", {"email": "*"}),
    ]
    assert decide(asked(), rules) == Verdict("reject", "No.", 2)
    assert decide(asked(username="Bob"), rules) == Verdict("accept", "", 1)
    assert decide(asked(), []) is None


def test_a_field_of_the_form_cannot_speak_for_the_account():
    forged = asked(email="eve@evil.example", fields={"email": "ada@example.org", "Username": "ada"})
    assert (
        decide(forged, [AccessRule("accept", {"email": "*@example.org"}), AccessRule("accept", {"username": "bob"})])
        is None
    )


def test_what_the_hub_hides_is_empty():
    hidden = asked(username=None, fullname=None, email=None, fields=None)
    assert decide(hidden, [AccessRule("accept", {"email": "?*"}), AccessRule("accept", {"username": "?*"})]) is None
    assert decide(hidden, [AccessRule("reject", {"email": ""})]) == Verdict("reject", "", 1)


names = st.sampled_from(["username", "fullname", "email", "Purpose", AGREED])
rules_of_any_kind = st.lists(
    st.builds(
        AccessRule,
        st.sampled_from(["accept", "reject"]),
        st.dictionaries(names, st.one_of(st.booleans(), st.text(max_size=6)), min_size=1, max_size=3),
    ),
    max_size=5,
)


@given(rules=rules_of_any_kind, text=st.text(max_size=6), ticked=st.booleans())
def test_later_rules_never_change_a_verdict_and_each_verdict_is_its_rules_own(rules, text, ticked):
    request = asked(fullname=text, fields={"Purpose": text, AGREED: ticked})
    verdict = decide(request, rules)
    if verdict is None:
        assert all(decide(request, [rule]) is None for rule in rules)
    else:
        assert decide(request, rules[: verdict.rule]) == verdict
        assert decide(request, rules[: verdict.rule - 1]) is None
        assert verdict.decision == rules[verdict.rule - 1].decide


def test_rules_are_read_from_a_policy(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(ACCESS)
    assert read_rules(path) == (
        AccessRule("reject", {"Purpose": ""}, "Say what you will do with them."),
        AccessRule("accept", {"affiliation": "*university*", AGREED: True}),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x", "has no rules"),
        ("access: []", "has no rules"),
        ("- access", "has no rules"),
        ("access: [", "cannot be read"),
        ("access: [accept]", "rule 1 is not made of"),
        ("access: [{decide: accept}]", "rule 1 is not made of"),
        ("access: [{decide: accept, when: {email: x}, who: me}]", "rule 1 is not made of"),
        ("access: [{decide: accept, when: {email: x}}, {decide: maybe, when: {email: x}}]", "rule 2 decides 'maybe'"),
        ("access: [{decide: accept, when: {}}]", "no condition"),
        ("access: [{decide: accept, when: everybody}]", "no condition"),
        ("access: [{decide: reject, when: {Purpose: }}]", "'Purpose' against None"),
        ("access: [{decide: reject, when: {Purpose: 5}}]", "'Purpose' against 5"),
        ("access: [{decide: reject, when: {fullname: no}}]", "'fullname' is ticked"),
        ("access: [{decide: accept, when: {email: x}, reason: y}]", "gives 'y' as its reason"),
        ("access: [{decide: reject, when: {email: x}, reason: 5}]", "gives 5 as its reason"),
        (f"access: [{{decide: reject, when: {{email: x}}, reason: {'y' * 201}}}]", "201 characters"),
    ],
)
def test_a_rule_that_could_be_misread_is_refused(tmp_path, text, said):
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        read_rules(path)
    assert caught.value.next_step


def test_a_missing_rules_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_rules(tmp_path / "absent.yaml")
