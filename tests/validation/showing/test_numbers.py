"""The numbers and the table that trackers get: those of results.json, the gate's verdict among them."""

import inoculated
import pytest
import samples

from hfvaccine.errors import ValidationError
from hfvaccine.validation.showing.numbers import Told, numbers
from hfvaccine.validation.showing.sentences import headline


@pytest.fixture(scope="module")
def results():
    return samples.trial(pairs=20)[0]


def test_each_number_is_the_one_of_results_json(results):
    found = numbers(results)
    at = {
        f"{row['arm']}/{row['probe']}_{row['reading']}_{row['metric']}": row["value"]
        for row in results["measures"]
        if row["condition"] == "plain"
    }
    shown = {name: value for name, value in found.items() if name in at}
    assert shown == {name: at[name] for name in shown}
    assert {"vaccine/specific_verdict_auroc", "base/cross_verdict_rejection", "placebo/cross_answer_auroc"} <= set(
        shown
    )
    assert {name.removesuffix("rejection") for name in shown if name.endswith("rejection")} == {
        name.removesuffix("true_acceptance") for name in shown if name.endswith("true_acceptance")
    }
    (mc2,) = (row["value"] for row in results["other"] if (row["name"], row["arm"]) == ("truthfulqa", "vaccine"))
    assert found["vaccine/truthfulqa_mc2"] == mc2
    assert not any(name.startswith(("always", "cue")) for name in found)


@pytest.mark.parametrize(("verdict", "number"), [("passed", 1), ("undecided", 0), ("failed", -1)])
def test_the_verdict_is_a_number_and_so_are_its_criteria(results, verdict, number):
    gate = {"verdict": verdict, "criteria": [{"verdict": verdict}, {"verdict": "passed"}]}
    found = numbers({**results, "gate": gate})
    assert found["gate/verdict"] == number
    assert found["gate/passed"] + found["gate/undecided"] + found["gate/failed"] == 2
    assert found[f"gate/{verdict}"] == 1 + (verdict == "passed")


def test_without_a_gate_there_is_no_verdict(results):
    assert not any(name.startswith("gate") for name in numbers({**results, "gate": None}))


def test_the_table_says_the_verdict_first_and_no_name_in_it_is_markup(results):
    named = [{**row, "probe": "a|b"} if row["probe"] == "cross" else row for row in results["measures"]]
    lines = Told.of_results({**results, "measures": named}).markdown().split("\n")
    assert lines[0] == f"**{headline(results)}**"
    assert lines[2] == "|  | base | placebo | vaccine |"
    assert any("a&#124;b" in line for line in lines)
    assert {line.count("|") for line in lines if line.startswith("|")} == {5}


def test_results_of_another_schema_are_refused(results):
    with pytest.raises(ValidationError, match="schema version 1"):
        numbers({**results, "schema_version": 1})


def test_of_traits_there_is_each_condition_and_the_verdict():
    content = inoculated.measured({"plain-seed-0": "1" * 64}, gate=inoculated.gate("undecided"))
    shown = dict(content["shown"][0], value=None)
    told = Told.of_traits({**content, "shown": [shown, *content["shown"][1:]]})
    assert told.numbers["plain-seed-0/language:es_original"] == 1.0
    assert f"{shown['arm']}/language:es_{shown['condition']}" not in told.numbers  # nothing was clear
    assert (told.numbers["gate/verdict"], told.numbers["gate/undecided"]) == (0.0, 1.0)
    lines = told.markdown().split("\n")
    assert lines[0].startswith("**Gate: UNDECIDED") and lines[2] == "|  | base | plain-seed-0 |"
    assert len(lines) == 4 + len(content["conditions"]) * len(content["traits"]) + 2
    assert not any(name.startswith("gate") for name in Told.of_traits({**content, "gate": None}).numbers)
