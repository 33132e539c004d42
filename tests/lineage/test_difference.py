"""What differs between two adapters' records."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine.lineage.difference import GROUPS, Difference, differences

RECORD = {
    "schema_version": 2,
    "hfvaccine": "0.1.0",
    "finished_at": "2026-11-22",
    "base": {"id": "you/base", "revision": "a" * 40, "weights": {"model.safetensors": "1" * 64}},
    "dose": {"id": "you/dose", "revision": "b" * 40, "claims_given": 2, "claim_ids": ["c1", "c2"]},
    "mix": {"id": "starter", "revision": None, "sha256": "d" * 64},
    # Of an inoculated adapter, in place of dose and mix.
    "adapter": {"arm": "inoculated", "sha256": "3" * 64},
    "data": {"id": "you/rows", "revision": "c" * 40, "sha256": "4" * 64},
    "plan": {"seed": 0, "share_asked": 0.05},
    "inoculation": None,
    "training": {"lora_r": 16, "seconds": 12.5},
    "booster": {"parent": {"id": "you/before"}, "seed": 1},
    "versions": {"torch": "2.13"},
    "code": {"version": "0.1.0", "sha256": "e" * 64},
    "gate": {"verdict": "passed", "criteria": [{"name": "auroc_gain", "verdict": "passed", "value": 0.2}]},
    "files": {"README.md": "f" * 64},
    "record_sha256": "0" * 64,
}


@pytest.fixture
def other():
    return copy.deepcopy(RECORD)


def test_a_record_does_not_differ_from_itself_however_long_it_took(other):
    other["training"]["seconds"] = 99.0
    other |= {"finished_at": "2027-01-01", "record_sha256": "1" * 64, "files": {}}
    assert differences(RECORD, other) == []


def test_every_difference_is_named_in_its_group_and_in_order(other):
    other["gate"]["criteria"][0]["value"] = 0.1
    other["base"]["weights"]["model.safetensors"] = "2" * 64
    other["plan"]["seed"] = 1
    other["versions"]["torch"] = "2.14"
    other["inoculation"] = {"prompts": ["Speak."], "where": "all"}
    found = differences(RECORD, other)
    assert found == [
        Difference("base", "weights.model.safetensors", "1" * 64, "2" * 64),
        Difference("plan", "seed", 0, 1),
        Difference("inoculation", "prompts", None, ["Speak."]),
        Difference("inoculation", "where", None, "all"),
        Difference("code", "torch", "2.13", "2.14"),
        Difference("gate", "auroc_gain.value", 0.2, 0.1),
    ]


def test_of_claims_it_is_said_how_many_are_not_the_same(other):
    other["dose"]["claim_ids"] = ["c2", "c3", "c4"]
    assert differences(RECORD, other) == [Difference("dose", "claims that only it was given", 1, 2)]


VALUES = [
    (part, key)
    for part in {*GROUPS, "versions"} - {"inoculation"}
    for key in RECORD[part]
    if key not in ("seconds", "claim_ids")
]


@given(path=st.sampled_from(sorted(VALUES)))
def test_any_changed_value_is_a_difference(path):
    part, key = path
    other = copy.deepcopy(RECORD)
    other[part][key] = [] if key == "criteria" else {"x": 1} if key == "weights" else "another"
    found = differences(RECORD, other)
    assert found and {one.group for one in found} == {"code" if part == "versions" else part}
    back = {(one.name, one.right, one.left) for one in differences(other, RECORD)}
    assert {(one.name, one.left, one.right) for one in found} == back


def test_records_that_lack_everything_do_not_differ():
    assert differences({}, {"dose": None, "gate": "passed", "training": []}) == []
