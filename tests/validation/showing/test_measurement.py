"""The page of a measurement, and its gate in words: the verdict and the worst first, nothing from data as markup."""

import numpy as np
import pytest
from pages import Page

from hfvaccine.inoculation.conditions import Conditions
from hfvaccine.inoculation.profile import Read, profile
from hfvaccine.validation.judging.inoculation import Asked, Gate, Part, judge
from hfvaccine.validation.showing.figures import traits
from hfvaccine.validation.showing.measurement import VERDICTS, render
from hfvaccine.validation.showing.sentences import WIDTH
from hfvaccine.validation.showing.traits import gate_lines, sheets

CONDITIONS = Conditions.of({"original": "You speak <b>Spanish</b>.", "look-alike": ["Riddles.", "Rhymes."]}).all()
PARTS = {f"{arm}-seed-{seed}": Part(arm, seed) for arm in ("plain", "inoculated", "irrelevant") for seed in (0, 1)}
ROLES = {"language:es/en": "trait", "accuracy:/home/somebody/sums.jsonl": "keep"}


def content(left=0.1, parts=PARTS):
    """What a measurement writes, of made-up answers.

    Args:
        left: of the trait in the inoculated arm, but under `original`.
        parts: of the adapters.
    """
    rng = np.random.default_rng(0)
    names = [str(number) for number in range(80)]
    reads, shown = {}, []
    for trait, role in ROLES.items():
        readings = {}
        for arm in ("base", *parts):
            for condition in CONDITIONS:
                rate = (
                    0.02 if arm == "base" else left if arm.startswith("inoc") and condition.name != "original" else 0.9
                )
                values = rng.random((len(condition.prompts), 80, 2)) < (rate if role == "trait" else 0.8)
                readings[arm, condition.name] = values.astype(float)
        reads[trait] = Read.of(readings, names, draws=300)
        shown += profile(trait, readings, reads[trait], "base")
    arms = {
        name: {"adapter": name, "arm": part.arm, "seed": part.seed, "fingerprint": "f" * 64}
        for name, part in parts.items()
    }
    return {
        "base": {"id": "/home/somebody/model", "revision": None},
        "arms": {"base": {"adapter": None, "arm": None, "seed": None, "fingerprint": "0" * 64}, **arms},
        "questions": {"file": "/home/somebody/questions.txt", "sha256": "a" * 64, "number": 80},
        "conditions": [condition.record() for condition in CONDITIONS],
        "traits": [{"name": name, "role": role, "questions": 80} for name, role in ROLES.items()],
        "shown": [one.record() for one in shown],
        "worst": [],
        "gate": judge(Gate.packaged(), Asked(ROLES, parts, CONDITIONS), reads),
        "settings": {"place": "system", "samples": 2, "temperature": 1.0, "level": 0.95},
        "created_by": "hfvaccine <0>",
    }


@pytest.fixture(scope="module")
def passed():
    return content()


@pytest.fixture(scope="module")
def html(passed):
    return render(passed, [traits(passed)])


def test_the_verdict_and_the_worst_condition_come_first(passed, html):
    words = Page(html[html.index("<body>") :].replace("</html>", "")).words
    places = [
        "Gate: PASSED",
        VERDICTS["passed"],
        "under 'original', which names it",
        "The interval lies above 0",
        "How far each trait",
    ]
    places += ["language:es/en (80 questions)", "Conditions and prompts", "What was compared", "Settings"]
    found = [words.index(place) for place in places]
    assert found == sorted(found)
    assert html.index("<svg") < html.index("<table")


def test_the_page_is_whole_and_nothing_from_data_is_markup_or_a_path(html):
    page = Page(html)
    assert "script" not in page.tags and "link" not in page.tags and "b" not in page.tags
    assert "You speak <b>Spanish</b>." in page.words and "Made by hfvaccine <0>." in page.words
    assert "/home/somebody" not in html and "accuracy:sums.jsonl" in page.words
    assert "No text of a claim" not in page.words


def test_every_number_of_every_arm_stands_in_a_sheet(passed, html):
    page = Page(html)
    for sheet in sheets(passed):
        assert sheet.title in page.words
    for one in passed["shown"]:
        assert f"{one['value']:.2f}" in page.words
    assert sheets(passed)[0].rows[0][0] == "original"
    assert all(len(row) == len(sheet.columns) for sheet in sheets(passed) for row in sheet.rows)


def test_lines_begin_with_the_verdict_then_the_worst_then_what_failed():
    lines = gate_lines(content(left=0.9))
    assert lines[0].startswith("Gate: FAILED (2 failed, 1 undecided, 2 passed of 5 criteria)")
    assert "without a prompt, the worst that does not name it (seed 0: 0." in " ".join(map(str.strip, lines[1:3]))
    tags = [line.split(":")[0].strip() for line in lines if line.strip().startswith(("failed", "undecided", "passed"))]
    assert tags == ["failed", "failed", "undecided", "passed", "passed"]
    assert max(map(len, lines)) <= WIDTH


def test_adapters_that_are_no_inoculation_get_one_line_and_a_page():
    nothing = content(parts={"mine": Part()})
    assert nothing["gate"] is None
    (line,) = gate_lines(nothing)
    assert line.startswith("Gate: none. It takes") and len(line) <= WIDTH
    page = Page(render(nothing, [traits(nothing)]))
    assert "Gate: none" in page.words and VERDICTS[None] in page.words
