"""Pictures: the same bytes for the same results, nothing that was not measured, and nothing that breaks out of SVG."""

import copy
import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from samples import trial

from hfvaccine.validation.scores import PairScores
from hfvaccine.validation.showing.figures import INK, _curve, belief, dose_response, draw, heat, retention, roc

NOTHING = ([], [], {})


@pytest.fixture(scope="module")
def measured():
    return trial(conditions=("plain", "false_balance", "insists_true"), pairs=30)


@pytest.fixture(scope="module")
def drawn(measured):
    return {figure.name: figure for figure in draw(*measured)}


def texts(figure):
    root = ElementTree.fromstring(figure.svg)
    return [e.text for e in root.iter("{http://www.w3.org/2000/svg}text") if e.text]


def test_every_picture_is_drawn(drawn):
    assert list(drawn) == ["roc", "belief", "heat_specific", "heat_cross", "retention"]


@pytest.mark.parametrize("name", ["roc", "belief", "heat_specific", "heat_cross", "retention"])
class TestEveryPicture:
    def test_it_is_svg_of_one_root_with_its_alt_text(self, drawn, name):
        figure = drawn[name]
        root = ElementTree.fromstring(figure.svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.get("role") == "img" and root.get("aria-label") == figure.alt
        assert len(figure.alt) > 40

    def test_it_says_its_title_its_n_and_its_interval(self, drawn, name):
        shown = " ".join(texts(drawn[name]))
        assert drawn[name].title in shown
        assert re.search(r"\bn = \d+", shown)
        assert "95 % interval" in shown.replace("  ", " ")

    def test_it_takes_the_ink_of_the_page(self, drawn, name):
        svg = drawn[name].svg
        assert "currentColor" in svg and INK not in svg
        assert "#000000" not in svg and "prefers-color-scheme:dark" in svg

    def test_it_can_stand_beside_others(self, drawn, name):
        ids = re.findall(r'\bid="([^"]+)"', drawn[name].svg)
        assert ids and all(one.startswith(f"{name}-") for one in ids)
        for target in re.findall(r'(?:href="#|url\(#)([^")]+)', drawn[name].svg):
            assert target in ids

    def test_it_fetches_nothing_and_knows_no_time(self, drawn, name):
        svg = drawn[name].svg
        assert "<metadata" not in svg and "<script" not in svg
        assert not re.search(r'href="(?!#|data:image/png)', svg)


def test_the_same_results_make_the_same_bytes(measured, drawn):
    assert {figure.name: figure.svg for figure in draw(*measured)} == {n: f.svg for n, f in drawn.items()}


def test_roc_shows_the_auroc_of_the_results(measured, drawn):
    results, _ = measured
    for m in results["measures"]:
        key = (m["reading"], m["condition"], m["metric"])
        if key == ("verdict", "plain", "auroc") and m["arm"] in results["arms"] and m["probe"] != "known":
            low, high = m["interval"]
            assert f"{m['arm']} {m['value']:.2f} [{low:.2f}, {high:.2f}]" in texts(drawn["roc"])


@pytest.mark.parametrize("seed", range(5))
def test_the_area_under_a_curve_is_its_auroc(seed):
    rng = np.random.default_rng(seed)
    scores = PairScores(rng.normal(size=400), 1 + rng.normal(size=400))
    grid = np.linspace(0, 1, 2001)
    auroc = (scores.twin[None] > scores.claim[:, None]).mean()
    assert np.trapezoid(_curve(scores, grid), grid) == pytest.approx(auroc, abs=0.005)


def test_a_judge_that_says_the_same_to_everything_is_the_diagonal():
    grid = np.linspace(0, 1, 11)
    assert _curve(PairScores(np.ones(9), np.ones(9)), grid) == pytest.approx(grid)


def test_a_perfect_judge_accepts_all_truths_and_no_claim():
    assert _curve(PairScores(-np.ones(9), np.ones(9)), np.linspace(0, 1, 11)) == pytest.approx(np.ones(11))


def test_belief_marks_claims_by_their_names_in_the_results(measured):
    results, scores = measured
    changed = copy.deepcopy(results)
    changed["belief"]["named"] = []
    assert "Dashed" not in " ".join(texts(belief(changed, scores)))
    changed["belief"]["named"] = [
        {"claim_id": "specific-003", "reading": "verdict", "rise": 2.0, "p": 0.0, "p_holm": 0.0}
    ]
    assert "Dashed" in " ".join(texts(belief(changed, scores)))


def test_a_field_that_was_not_measured_is_a_dash(measured):
    results, _ = measured
    changed = copy.deepcopy(results)
    gone = ("specific", "false_balance", "health")
    changed["domains"] = [d for d in changed["domains"] if (d["probe"], d["condition"], d["domain"]) != gone]
    dashes = [sum(text == "–" for text in texts(heat(one, "specific"))) for one in (results, changed)]
    assert dashes == [0, 2]  # the vaccine's own field, and its difference


def test_sets_whose_names_differ_in_signs_alone_have_files_of_their_own(measured):
    results, scores = measured
    text = json.dumps(results)
    rows = {
        part: [{**row, "probe": name} for name in ("specific", "my set", "My-Set!", "my_set_2", "日本") for row in one]
        for part in ("measures", "domains")
        if (one := [row for row in json.loads(text)[part] if row["probe"] == "specific"])
    }
    names = [figure.name for figure in draw(results | rows, scores)]
    maps = [name for name in names if name.startswith("heat")]
    assert maps == ["heat_specific", "heat_my_set", "heat_my_set_2", "heat_my_set_2_2", "heat"]
    assert len(set(names)) == len(names)


def test_a_field_whose_interval_holds_chance_is_in_brackets(measured):
    results, _ = measured
    changed = copy.deepcopy(results)
    for row in changed["domains"]:
        row["interval"] = [0.4, 0.9]
    shown = texts(heat(changed, "cross"))
    assert sum(bool(re.fullmatch(r"\(\d\.\d\d\)", text)) for text in shown) == 6 * 3
    for row in changed["domains"]:
        row["interval"] = [0.6, 0.9]
    assert not any(re.fullmatch(r"\(\d\.\d\d\)", text) for text in texts(heat(changed, "cross")))


def test_retention_says_which_side_is_better(drawn):
    shown = texts(drawn["retention"])
    assert "difference in share: right is better" in shown
    assert "nats per token: left is better" in shown


def test_the_dose_response_has_a_point_for_each_share():
    runs = [(share, trial(conditions=("plain",), pairs=12, seed=i)[0]) for i, share in enumerate((0.1, 0.01))]
    figure = dose_response(runs)
    assert "1 %: " in figure.alt and figure.alt.index("1 %: ") < figure.alt.index("10 %: ")
    assert "2 shares, and the placebo at 0" in " ".join(texts(figure))
    assert figure.alt.index("0 %: ") < figure.alt.index("1 %: ")


def test_what_was_not_measured_is_not_drawn():
    results, scores = trial(arms=("base",), conditions=("plain",), pairs=12)
    assert [figure.name for figure in draw(results, scores)] == ["roc"]
    assert roc(results, NOTHING) is None
    assert belief(results, NOTHING) is None
    assert heat(results, "elsewhere") is None
    assert retention(results) is None
    assert dose_response([]) is None
    assert dose_response([(0.05, results)]) is None


@pytest.mark.parametrize(
    "name", ['<script>alert("1")</script>', "$\\frac{1}{2}$ & ]]>", "a\x1b[31m\n\u202eb", "a\ufffe\uffffb"]
)
def test_names_from_data_are_text(measured, name):
    results, scores = measured
    changed = json.loads(json.dumps(results).replace('"health"', json.dumps(name)).replace('"mmlu"', json.dumps(name)))
    for figure in draw(changed, scores):
        ElementTree.fromstring(figure.svg)
        assert "<script" not in figure.svg and "\x1b" not in figure.svg


def test_dollars_are_no_formula(measured):
    results, _ = measured
    changed = json.loads(json.dumps(results).replace('"mmlu"', '"$x^2$"'))
    assert any(text.startswith("$x^2$, accuracy") for text in texts(retention(changed)))
