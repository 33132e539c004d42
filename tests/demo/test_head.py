"""What stands on top: the verdict as the papers have it, and a control or what was never measured said plainly."""

import json

import pytest
from inoculated import TREATED, finished, gate
from samples import trial

from hfvaccine.demo.head import head
from hfvaccine.files import INOCULATION, TRAITS
from hfvaccine.papers.kind import IMMUNIZED, INOCULATED


@pytest.fixture(scope="module")
def results():
    return trial(pairs=20)[0]


@pytest.mark.parametrize("verdict", ["passed", "failed", "undecided"])
def test_the_gate_of_an_immunized_adapter(results, verdict):
    judged = {**results, "gate": {**(results["gate"] or {}), "verdict": verdict, "criteria": [{"verdict": verdict}]}}
    top = head(IMMUNIZED, {}, judged)
    assert (top.verdict, top.word, top.counts) == (verdict, f"Gate: {verdict.upper()}", f"1 {verdict} of 1 criteria")
    assert top.meaning.startswith("Every criterion was met") == (verdict == "passed")
    assert top.sheet.columns == ("", "base", "placebo", "vaccine")
    assert any(row[0].startswith("given claims") for row in top.sheet.rows)


def test_what_is_missing_is_said():
    results, _ = trial(arms=("base", "vaccine"), pairs=20)
    assert "no placebo was trained" in " ".join(head(IMMUNIZED, {}, results).warnings)


def papers(folder):
    return [json.loads((folder / name).read_text()) for name in (INOCULATION, TRAITS)]


def test_an_inoculated_adapter_beside_the_arms_of_its_seed(tmp_path):
    top = head(INOCULATED, *papers(finished(tmp_path / "run", gate=gate("failed")) / TREATED))
    assert (top.verdict, top.word) == ("failed", "Gate: FAILED")
    assert top.sheet.columns == ("", "inoculated", "plain", "irrelevant", "base")
    shown = ("0.10 [0.05, 0.15]", "0.90 [0.85, 0.95]", "0.70 [0.65, 0.75]", "0.00 [0.00, 0.05]")
    assert top.sheet.rows[0] == ("language:es: without a prompt", *shown)
    assert top.sheet.rows[1][0] == "language:es: worst, under original"
    assert top.sheet.rows[2][0] == "upper, to be kept: without a prompt"


def test_a_control_and_what_was_never_measured(tmp_path):
    run = finished(tmp_path / "run", gate=gate("passed"))
    control = head(INOCULATED, *papers(run / "plain-seed-0"))
    assert (control.verdict, control.word) == (None, "Control") and "Not for use" in control.meaning
    record, _ = papers(run / TREATED)
    untold = head(INOCULATED, record, {})
    assert (untold.verdict, untold.word, untold.sheet) == (None, "Not measured", None)
    unjudged = head(INOCULATED, *papers(finished(tmp_path / "other") / TREATED))
    assert unjudged.word == "Gate: none" and unjudged.sheet is not None
