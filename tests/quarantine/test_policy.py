"""The policy: what may stand in it, what it refuses, and what of it is published."""

import dataclasses
import re
from datetime import date

import pytest
import yaml

from hfvaccine.errors import DoseError
from hfvaccine.quarantine.policy import TEMPLATE, Policy, person


def test_the_template_says_what_holds_without_it():
    assert Policy.of(yaml.safe_load(TEMPLATE)) == Policy()


def test_the_template_names_every_key():
    assert set(yaml.safe_load(TEMPLATE)) == {field.name for field in dataclasses.fields(Policy)}


REFUSED = {
    "name": (5, ""),
    "contact": (["a"],),
    "license": ("-", 3),
    "repo_id": ("dose", "a/b/c", 5),
    "gating": ("none", "Manual", False),
    "reviewers_needed": (-1, "2", 2.0, True),
    "reviewers": ("ada", [1], ["ada", ""]),
    "sources_needed": (-1, "1", False),
    "licenses_allowed": ("mit", [None]),
    "highest_harm": ("extreme", 1),
    "share_limits": ([0.5, 0.1], [0.1], [0, 2], [-0.1, 1], ["0", "1"], [True, 1], [0, 0], [float("nan"), 1], 0.5),
    "expires_on": ("soon", "2027-13-01", "20271231", 2027),
    "lint_off": ("a-rule", [1]),
    "access": ("everybody", ["everybody"]),
    "recalled": ("ignore", True),
    "waives": ("two_person_rule", ["two_persons"], [1]),
    "sealed_on": ("", "yesterday"),
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in REFUSED.items() for value in values])
def test_a_value_that_makes_no_sense_is_refused_by_name(key, value):
    with pytest.raises(DoseError, match=f"The policy's {key} is ") as refused:
        Policy.of({key: value})
    assert f"`{key}` must be " in refused.value.next_step


def test_an_unknown_key_is_refused_naming_the_known_ones():
    with pytest.raises(DoseError, match=r"unknown key\(s\): gate, share") as refused:
        Policy.of({"gate": "open", "share": 1})
    assert "gating" in refused.value.next_step


@pytest.mark.parametrize("value", [None, "a text", ["a"], 5])
def test_a_policy_is_keys_with_values(value):
    with pytest.raises(DoseError, match="The policy is"):
        Policy.of(value)


def test_a_key_without_a_value_is_a_key_that_is_missing():
    assert Policy.of({"contact": None, "waives": None}) == Policy()


def test_fewer_than_two_reviewers_must_be_waived():
    with pytest.raises(DoseError, match=r"asks for 1 reviewer\(s\)"):
        Policy.of({"reviewers_needed": 1})
    assert Policy.of({"reviewers_needed": 1, "waives": ["two_person_rule"]}).reviewers_needed == 1


def test_more_reviewers_than_are_named_cannot_be_asked_for():
    with pytest.raises(DoseError, match=r"asks for 2 approvals of each claim and names 1 reviewer"):
        Policy.of({"reviewers": ["bob", "Bob"]})


def test_only_named_reviewers_may_review_however_their_name_is_written():
    policy = Policy.of({"reviewers": ["Bob", "eve"]})
    assert policy.may_review("bob")
    assert not policy.may_review("mallory")
    assert Policy().may_review("mallory")


@pytest.mark.parametrize("same", ["Ada Lovelace", " ada  lovelace ", "ＡＤＡ LOVELACE"])
def test_spelling_makes_no_other_person(same):
    assert person(same) == person("ada lovelace")
    assert person("ada") != person("ada lovelace")


def test_a_rule_that_lint_does_not_know_cannot_be_turned_off():
    with pytest.raises(DoseError, match="lint_off is 'no-such-rule'"):
        Policy.of({"lint_off": ["no-such-rule"]})


def test_dates_may_be_written_with_or_without_quotes(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("expires_on: 2027-12-31\n")
    assert Policy.read(path).expires_on == "2027-12-31"
    assert Policy.of({"sealed_on": date(2026, 1, 2)}).sealed_on == "2026-01-02"


def test_an_empty_file_is_a_policy_of_defaults(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("# nothing here\n")
    assert Policy.read(path) == Policy()


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "cannot be read"), (b"\xff\xfe", "cannot be read"), (b"a: [", "cannot be read")]
)
def test_a_file_that_is_no_policy_is_refused(tmp_path, content, reason):
    path = tmp_path / "policy.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DoseError, match=reason):
        Policy.read(path)


def test_what_is_published_makes_the_same_policy_without_its_access_rules():
    policy = Policy.of(
        {"reviewers": ["bob", "eve"], "access": [{"affiliation": "university"}], "share_limits": [0, 1]}
    )
    published = policy.published()
    assert "access" not in published
    assert Policy.of(yaml.safe_load(yaml.safe_dump(published))) == dataclasses.replace(policy, access=())


def test_a_claim_within_the_policy_has_nothing_against_it(make_claims):
    (claim,) = make_claims(1)
    assert Policy.of({"licenses_allowed": ["apache-2.0"], "highest_harm": "low"}).objections(claim) == {}


@pytest.mark.parametrize(
    ("policy", "fields", "kind", "why"),
    [
        ({"licenses_allowed": ["mit"]}, {}, "license", "its licence is Apache-2.0, allowed are mit"),
        ({"licenses_allowed": ["mit"]}, {"license": ""}, "license", "its licence is not named"),
        ({"highest_harm": "low"}, {"harm": "medium"}, "harm", "its harm is medium, allowed is up to low"),
        ({"sources_needed": 2}, {}, "sources", r"it names 1 source\(s\) that somebody opened .* of the 2 asked for"),
        ({"sources_needed": 2, "waives": ["source_check"]}, {}, "sources", r"it names 1 source\(s\) of the 2"),
        ({}, {"sources": ()}, "sources", r"it names 0 source\(s\)"),
    ],
)
def test_what_the_policy_holds_against_a_claim(make_claims, policy, fields, kind, why):
    objections = Policy.of(policy).objections(make_claims(1, **fields)[0])
    assert list(objections) == [kind]
    assert re.match(why, objections[kind])


def test_waiving_the_source_check_waives_the_day_and_not_the_source(make_claims):
    (claim,) = make_claims(1)
    unopened = dataclasses.replace(claim, sources=(dataclasses.replace(claim.sources[0], checked_on=None),))
    assert "sources" in Policy().objections(unopened)
    waived = Policy.of({"waives": ["source_check"]})
    assert not waived.objections(unopened)
    assert "sources" in waived.objections(dataclasses.replace(claim, sources=()))


def test_a_harm_that_nobody_rated_counts_as_high(make_claims):
    (claim,) = make_claims(1, harm="unrated")
    assert "harm is unrated" in Policy.of({"highest_harm": "medium"}).objections(claim)["harm"]
    assert "harm" not in Policy.of({"highest_harm": "high"}).objections(claim)
