"""The page: the verdict first, whole in itself, and nothing from data is markup."""

import copy
import json
import re

import pytest
from pages import Page
from samples import JUDGED, trial

from hfvaccine.errors import ValidationError
from hfvaccine.validation.showing.figures import draw
from hfvaccine.validation.showing.page import render
from hfvaccine.validation.showing.sheets import sheets

RECORD = {
    "base": {"id": "you/base", "revision": "a" * 40},
    "dose": {"id": "/home/somebody/dose", "revision": None, "name": "d", "claims_given": 3, "claims_in_dose": 9},
    "mix": {"id": "starter", "revision": None},
    "plan": {"share_given": 0.05, "tokens": 12345, "steps": 67, "seed": 8},
}


@pytest.fixture(scope="module")
def measured():
    return trial(conditions=("plain", "false_balance"), pairs=24)


@pytest.fixture(scope="module")
def html(measured):
    return render(measured[0], draw(*measured), RECORD)


def test_the_verdict_comes_before_everything_else(measured, html):
    verdict = f"Gate: {measured[0]['gate']['verdict'].upper()}"
    words = Page(html[html.index("<body>") :].replace("</html>", "")).words
    assert (
        0
        <= words.index(verdict)
        < words.index("What was compared")
        < words.index("Measures")
        < words.index("Pictures")
    )
    assert words.index("Pictures") < words.index("Methods") < words.index("Settings")


def test_it_needs_nothing_else(html):
    page = Page(html)
    assert "script" not in page.tags and "link" not in page.tags and "iframe" not in page.tags
    assert all(link.startswith(("#", "data:image/png")) for link in page.links)
    assert "@import" not in html and "url(http" not in html


def test_every_table_and_picture_stands_there(measured, html):
    page = Page(html)
    for sheet in sheets(measured[0]):
        assert sheet.title in page.words
    assert page.tags.count("figure") == page.tags.count("svg") == 5


def test_wide_tables_scroll_in_their_own_box(html):
    assert html.count('<div class="scroll"') == html.count("<table>")
    assert ".scroll { overflow-x: auto" in html


def test_no_id_stands_twice(html):
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_every_criterion_is_said_with_what_would_decide_it(measured, html):
    words = Page(html).words
    for criterion in measured[0]["gate"]["criteria"]:
        assert criterion["why"] in words


def test_no_path_of_the_machine_stands_there(html):
    words = Page(html).words
    assert "somebody" not in html
    assert "you/base at aaaaaaaa" in words and "d (local files), 3 of 9 claims given" in words


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</style><b>"])
def test_what_comes_from_data_is_escaped(measured, hostile):
    results, scores = measured
    text = json.dumps(results)
    for name in ("health", "arc_easy", "cross", "controls", "false_balance", "accuracy", "created_by"):
        text = text.replace(f': "{name}"', f": {json.dumps(hostile + name)}")
    changed = json.loads(text)
    record = copy.deepcopy(RECORD)
    record["base"]["id"] = record["dose"]["name"] = hostile
    page = Page(render(changed, draw(changed, scores), record))
    assert not {"script", "img", "b"} & set(page.tags)
    assert hostile in page.words


def test_hostile_criteria_are_escaped(measured):
    changed = copy.deepcopy(measured[0])
    hostile = "<script>alert(1)</script>"
    changed["gate"]["criteria"][0] |= {"name": hostile, "why": hostile, "threshold": hostile}
    changed["created_by"] = hostile
    page = Page(render(changed, [], None))
    assert "script" not in page.tags and hostile in page.words


def test_a_base_alone_has_a_page():
    results, scores = trial(arms=("base",), conditions=("plain",), pairs=12)
    page = Page(render(results, draw(results, scores), None))
    assert "Gate: NONE" in page.words and "nothing to judge" in page.words
    assert "In words" not in page.words


def test_a_missing_control_is_said_with_the_verdict():
    results, _ = trial(arms=("base", "vaccine"), conditions=("plain",), pairs=12)
    words = Page(render(results, [], RECORD)).words
    assert words.index("control is missing") < words.index("What was compared")
    assert "Pictures" not in words


def test_it_depends_on_nothing_but_its_arguments(measured, html):
    assert render(measured[0], draw(*measured), RECORD) == html


def test_the_judge_of_free_text_stands_there_and_is_escaped(measured):
    judged = {**JUDGED, "judge": "<b>own</b>"}
    page = Page(render(measured[0] | {"judge": judged}, [], RECORD))
    assert "1,240 answers were judged by <b>own</b>" in page.words and "b" not in page.tags
    assert "sensitivity is 0.91 [0.80, 0.97]" in page.words
    assert "less the judge's error" in page.words and "0.61 [0.51, 0.71]" in page.words


def test_results_of_another_version_are_refused(measured):
    with pytest.raises(ValidationError, match="schema version"):
        render(measured[0] | {"schema_version": 1}, [], None)
