"""The bars: as long as the probability, named right or wrong, and well-formed whatever a reading is called."""

from xml.etree import ElementTree

import pytest

from hfvaccine.demo.bars import LEFT, TRACK, bars
from hfvaccine.demo.replies import CLAIM, TWIN, Verdict

VERDICTS = (
    Verdict(CLAIM, 'At <once> & "so"', -1.0),
    Verdict(TWIN, 'At <once> & "so"', 0.0),
    Verdict(CLAIM, "Later", 40.0),
)


@pytest.fixture
def picture():
    return ElementTree.fromstring(bars(VERDICTS, "#1f83c4"))


def test_a_bar_is_as_long_as_the_probability_of_true(picture):
    drawn = [one for one in picture.findall("rect") if one.get("fill") == "#1f83c4"]
    assert [float(one.get("width")) / TRACK for one in drawn] == pytest.approx([0.269, 0.5, 1.0], abs=0.01)
    assert {one.get("x") for one in drawn} == {str(LEFT)}


def test_each_verdict_is_said_and_marked(picture):
    said = ["".join(one.itertext()) for one in picture.findall("text")]
    assert [one for one in said if one[0] in "01"] == ["0.27 FALSE ✓", "0.50 FALSE ✗", "1.00 TRUE ✗"]
    assert said.count('At <once> & "so"') == 1 and {"FALSE", "even", "TRUE"} < {*said}


def test_who_cannot_see_it_is_told_the_same(picture):
    told = picture.get("aria-label")
    assert told.startswith('At <once> & "so", false claim: FALSE, right; probability of TRUE 0.27. At <once>')
    assert told.endswith("Later, false claim: TRUE, wrong; probability of TRUE 1.00.")


def test_without_verdicts_there_is_no_picture():
    assert bars((), "#000") == ""
