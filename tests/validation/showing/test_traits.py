"""Traits in a terminal and in a picture: worst first and marked, every arm, within 100 columns."""

import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from hfvaccine.inoculation.conditions import Condition, Conditions
from hfvaccine.inoculation.profile import Read, profile, worst
from hfvaccine.validation.showing.figures import INK, traits
from hfvaccine.validation.showing.sentences import WIDTH
from hfvaccine.validation.showing.traits import ordered, sentences, short_lines, tables

CONDITIONS = ("none", "original", "look-alike in words", "look-alike in [b]format[/b]", "eliciting")
ARMS = ("base", "plain", "inoculated", "irrelevant", "another-inoculated-with-a-long-name")
TRAITS = {"language:es/en": "trait", "likelihood:rows-of-a-long-name.jsonl": "trait", "upper": "keep"}


def content(arms=ARMS, questions=12):
    """What a measurement writes, of made-up scores; "original" is worst for every trait in every arm."""
    rng = np.random.default_rng(0)
    shown = []
    for name in TRAITS:
        readings = {}
        for arm in arms:
            for condition in CONDITIONS:
                level = 0.8 if (condition == "original") != (name == "upper") else 0.2
                values = (rng.random((1, questions, 4)) < level).astype(float)
                readings[arm, condition] = values - 9 * rng.random() if name.startswith("like") else values
                if name.startswith("like") and condition == "original":
                    readings[arm, condition] = values + 5
        shown += profile(name, readings, Read.of(readings, [str(n) for n in range(questions)]), "base")
    extreme = [
        worst([one for one in shown if (one.trait, one.arm) == (name, arm)], role == "keep")
        for name, role in TRAITS.items()
        for arm in arms
    ]
    return {
        "arms": {arm: {"arm": arm if arm in ("plain", "inoculated") else None} for arm in arms},
        "gate": None,
        "conditions": [Condition("none", "none").record()]
        + [one.record() for one in Conditions.of({name: name for name in CONDITIONS[1:]}).given],
        "traits": [{"name": name, "role": role, "questions": questions} for name, role in TRAITS.items()],
        "shown": [one.record() for one in shown],
        "worst": [
            {
                "trait": one.trait,
                "arm": one.arm,
                "condition": one.condition,
                "difference": None if one.difference is None else one.difference.record(),
            }
            for one in extreme
        ],
        "settings": {"samples": 4, "temperature": 1.0, "level": 0.95},
    }


@pytest.fixture(scope="module")
def measured():
    return content()


def printed(measured, width=WIDTH):
    out = io.StringIO()
    Console(file=out, width=width).print(tables(measured))
    return out.getvalue()


@pytest.mark.parametrize("width", [WIDTH, 128])
def test_a_table_fits_and_shows_every_value(measured, width):
    text = printed(measured, width)
    assert max(map(len, text.split("\n"))) <= WIDTH
    for one in measured["shown"]:
        assert f"{one['value']:.2f} [{one['interval'][0]:.2f}, {one['interval'][1]:.2f}]" in text
    assert all(arm in text for arm in ARMS[:4])
    assert "(keep)" in text and "[b]" in text


def test_three_arms_of_shares_stand_beside_each_other():
    few = content(ARMS[:3])
    few["shown"] = [one for one in few["shown"] if not one["trait"].startswith("like")]
    few["worst"] = [one for one in few["worst"] if not one["trait"].startswith("like")]
    few["traits"] = [one for one in few["traits"] if not one["name"].startswith("like")]
    text = printed(few)
    assert text.count("condition") == 1 and max(map(len, text.split("\n"))) <= WIDTH


def test_the_worst_condition_comes_first_and_each_arms_own_is_marked(measured):
    trait, _, keep = measured["traits"]
    assert ordered(measured, trait) == ["original", "none", *CONDITIONS[2:]]
    assert ordered(measured, keep)[0] == "original"
    marked = printed(measured).count("]*")
    assert marked == len(ARMS) * len(TRAITS)


def test_where_there_is_a_gate_the_judged_arm_says_which_condition_is_worst(measured):
    trait = measured["traits"][0]
    for one in measured["shown"]:
        if (one["trait"], one["arm"], one["condition"]) == (trait["name"], "inoculated", "eliciting"):
            changed = {**one, "value": 0.99}
    shown = [
        changed if one["arm"] == "inoculated" and one["condition"] == "eliciting" else one for one in measured["shown"]
    ]
    judged = {**measured, "shown": shown, "gate": {"verdicts": {"inoculated": "failed"}}}
    assert ordered(judged, trait)[0] == "eliciting" and ordered({**judged, "gate": None}, trait)[0] == "original"


def test_nothing_clear_is_shown_as_such(measured):
    nothing = content(("base",))
    for one in nothing["shown"]:
        one |= {"value": None, "interval": None, "unclear": one["answers"]}
    nothing["worst"] = []
    assert ordered(nothing, nothing["traits"][0])[0] == "none"
    assert " - " in printed(nothing)
    assert "language:es/en: 240 of 240 answers are unclear." in sentences(nothing)
    assert ElementTree.fromstring(traits(nothing).svg) is not None


def test_sentences_say_where_each_arm_is_worst_and_against_what(measured):
    lines = sentences(measured)
    (line,) = [line for line in lines if line.startswith("language:es/en, plain: ")]
    assert re.search(
        r"most under 'original', 0\.\d\d \[.*\], [+-]0\.\d\d \[.*\] against the base; without a prompt", line
    )
    assert any(line.startswith("upper, plain: least under 'original'") for line in lines)
    assert not any(line.startswith("upper, base") for line in lines)
    assert any(line.startswith("upper, base") for line in sentences(content(("base",))))
    assert not any("stands for little" in line for line in lines)
    assert any("stands for little" in line for line in sentences(content(("base",), questions=9)))


def test_the_picture_shows_every_trait_condition_and_arm(measured):
    figure = traits(measured)
    root = ElementTree.fromstring(figure.svg)
    texts = " ".join(e.text for e in root.iter("{http://www.w3.org/2000/svg}text") if e.text)
    for condition in CONDITIONS:
        assert condition.split()[-1] in texts
    assert all(arm[:15] in texts for arm in ARMS)
    assert "(n = 12, to keep)" in texts and "95 % interval" in texts
    assert root.get("aria-label") == figure.alt and "upper, plain, original: 0." in figure.alt
    assert INK not in figure.svg and figure.svg == traits(measured).svg


def test_the_end_fits_on_a_screen_however_much_did_not_pass(measured):
    why = "There is nothing to inoculate against: it is not shown that plain training teaches the trait. " * 2
    each = {"name": "upper: less than half of it is left", "value": 0.1, "interval": [-0.1, 0.3], "threshold": "> 0"}
    criteria = [{**each, "verdict": verdict, "why": why} for verdict in ("passed", *["undecided"] * 6, "failed")]
    worst = {"trait": "upper", "arm": "inoculated", "condition": "none", "names": False, "value": 0.1,
             "interval": [0, 0.2], "by_seed": [], "plain": {"value": 0.9, "interval": [0.8, 1]}}  # fmt: skip
    gate = {"verdict": "failed", "criteria": criteria, "worst": [worst] * 6}
    lines = short_lines({**measured, "gate": gate})
    assert lines[0] == "Gate: FAILED (1 failed, 6 undecided, 1 passed of 8 criteria)"
    assert len(lines) <= 22 and max(map(len, lines)) <= WIDTH
    unmet = [line.split(":")[0].strip() for line in lines if "less than half" in line]
    assert unmet == ["failed", "undecided", "undecided"] and "  And 4 more that did not pass: see --full." in lines
    assert any("inoculated: 0.10 [0.00, 0.20] without a prompt" in line for line in lines)
