"""What a terminal shows: the gate first, rejection beside acceptance, every control, and what could not be shown."""

import copy
import io
import json

import pytest
from rich.console import Console
from samples import JUDGED, trial

from hfvaccine.errors import ValidationError
from hfvaccine.validation.showing import sheets as report
from hfvaccine.validation.showing.names import FEW, metric_label
from hfvaccine.validation.showing.sentences import verdict_lines
from hfvaccine.validation.showing.sheets import sheets
from hfvaccine.validation.showing.tables import table


@pytest.fixture(scope="module")
def results():
    return trial(arms=("base", "placebo", "controls", "vaccine"))[0]


@pytest.fixture(scope="module")
def base_alone():
    return trial(arms=("base",), conditions=("plain",))[0]


def printed(results, width=128):
    out = io.StringIO()
    Console(file=out, width=width).print(table(results))
    return out.getvalue()


def set_interval(results, low, high, **where):
    changed = copy.deepcopy(results)
    for row in changed["contrasts"]:
        if all(row[key] == value for key, value in where.items()):
            row |= {"difference": round((low + high) / 2, 4), "interval": [low, high]}
    return changed


AUROC = {"probe": "specific", "reading": "verdict", "condition": "plain", "metric": "auroc", "against": "placebo"}


def test_the_verdict_of_the_gate_is_the_first_line(results):
    verdict = results["gate"]["verdict"].upper()
    assert printed(results).startswith(f"Gate: {verdict} (")


def test_a_base_alone_has_no_gate_and_says_so(base_alone):
    assert printed(base_alone).startswith("Gate: NONE")
    assert "control is missing" not in printed(base_alone)
    assert verdict_lines(base_alone) == []


def test_the_main_tables_come_before_the_rest(results):
    titles = [sheet.title for sheet in sheets(results)]
    assert titles[0].startswith("Given claims, verdict")
    assert titles[1].startswith("Claims never given, verdict")
    assert titles[2].startswith("Given claims, answer") and titles[3].startswith("Claims never given, answer")


def test_acceptance_stands_beside_rejection_with_every_control(results):
    main = sheets(results)[0]
    heads = list(main.columns)
    assert heads.index("accepts truths") == heads.index("rejects claims") + 1
    assert [row[0] for row in main.rows] == ["base", "placebo", "controls", "vaccine", "always-FALSE", "cue audit"]
    always_false = dict(zip(heads, main.rows[4], strict=True))
    assert (always_false["rejects claims"], always_false["accepts truths"]) == ("1.00", "0.00")


@pytest.mark.parametrize("metric", report.COLUMNS["verdict"])
def test_a_cell_is_the_measure_with_its_interval(results, metric):
    row = next(
        m
        for m in results["measures"]
        if (m["probe"], m["reading"], m["condition"], m["arm"], m["metric"])
        == ("cross", "verdict", "plain", "vaccine", metric)
    )
    main = sheets(results)[1]
    shown = dict(zip(main.columns, main.rows[3], strict=True))[metric_label(metric)]
    assert shown == f"{row['value']:.2f} [{row['interval'][0]:.2f}, {row['interval'][1]:.2f}]"


@pytest.mark.parametrize("width", [60, 80, 100, 128, 200])
def test_no_line_is_wider_than_the_terminal(results, width):
    assert max(len(line.rstrip()) for line in printed(results, width).splitlines()) <= width


def test_at_80_columns_no_cell_is_broken(results):
    lines = printed(results, 80).splitlines()
    for sheet in sheets(results):
        for row in sheet.rows:
            assert any(line.startswith(row[0]) for line in lines), row[0]
            for value in (text.split(" ")[0] for text in row[1:]):
                assert any(value in line for line in lines if line.startswith(row[0]))


def test_each_condition_has_a_row(results):
    under = next(sheet for sheet in sheets(results) if "Given claims under tactics" in sheet.title)
    assert under.columns == ("", "base", "placebo", "vaccine")
    assert under.rows[0][0] == "plain" and len(under.rows) == 9


def test_a_missing_placebo_is_said_above_the_tables():
    shown = printed(trial(arms=("base", "vaccine"), conditions=("plain",))[0])
    assert shown.index("control is missing") < shown.index("Given claims")


def test_a_present_placebo_is_not_missing(results):
    assert "control is missing" not in printed(results)


@pytest.mark.parametrize(
    "interval, outcome",
    [((0.1, 0.2), "beats placebo"), ((-0.1, 0.2), "does not beat placebo"), ((-0.2, -0.1), "is worse than placebo")],
)
def test_an_outcome_is_said_in_words(results, interval, outcome):
    lines = verdict_lines(set_interval(results, *interval, **AUROC))
    assert sum(f"On given claims (verdict), the vaccine {outcome}" in line for line in lines) == 1


@pytest.mark.parametrize("interval, said", [((-0.1, 0.2), True), ((0.1, 0.2), False)])
def test_what_could_have_been_shown_is_said_where_nothing_is(results, interval, said):
    line = next(x for x in verdict_lines(set_interval(results, *interval, **AUROC)) if "(verdict), the vac" in x)
    assert ("could have shown" in line) == said


def test_a_fall_in_acceptance_is_said(results):
    changed = set_interval(results, -0.3, -0.1, **(AUROC | {"metric": "true_acceptance"}))
    assert any("acceptance of truths falls against placebo" in line for line in verdict_lines(changed))


def test_conditions_are_counted_and_the_worse_named(results):
    changed = set_interval(results, -0.3, -0.1, **(AUROC | {"condition": "false_balance"}))
    line = next(x for x in verdict_lines(changed) if x.startswith("On given claims under tactics"))
    assert "worse under 1 (false balance)" in line


@pytest.mark.parametrize(
    "name, interval, outcome",
    [
        ("arc_easy", [0.1, 0.2], "better"),
        ("arc_easy", [-0.2, -0.1], "worse"),
        ("held_back_mix", [0.1, 0.2], "worse"),
        ("held_back_mix", [-0.2, -0.1], "better"),
        ("held_back_mix", [-0.2, 0.1], "no change shown"),
    ],
)
def test_better_and_worse_follow_the_metric(results, name, interval, outcome):
    changed = copy.deepcopy(results)
    for row in changed["other_contrasts"]:
        if row["name"] == name:
            row["interval"] = interval
    line = next(x for x in verdict_lines(changed) if x.startswith("Retention, " + name.replace("_", " ")))
    assert f": {outcome} against placebo" in line


@pytest.mark.parametrize(
    "interval, outcome", [([0.1, 0.2], "it ROSE"), ([-0.1, 0.2], "no rise shown"), ([-0.2, -0.1], "it fell")]
)
def test_a_rise_of_belief_is_said(results, interval, outcome):
    changed = copy.deepcopy(results)
    changed["belief"]["rises"][0]["interval"] = interval
    assert any(outcome in line for line in verdict_lines(changed) if line.startswith("Belief in the given"))


def test_claims_that_are_believed_more_are_named_by_id(results):
    named = [{"claim_id": f"id-{i}", "reading": "verdict", "rise": 2.0, "p": 1e-5, "p_holm": 1e-3} for i in range(12)]
    changed = copy.deepcopy(results)
    changed["belief"]["named"] = named
    line = next(x for x in verdict_lines(changed) if x.startswith("Single claims"))
    assert "id-0 (verdict" in line and "id-9 " in line and "id-10" not in line and "2 more" in line


@pytest.mark.parametrize("cued", [True, False])
def test_a_set_that_fails_the_cue_audit_is_said_to(cued):
    results = trial(arms=("base",), conditions=("plain",), cued=cued)[0]
    assert ("FAILS THE CUE AUDIT" in printed(results)) == cued
    assert any("gives falsehood away" in line for line in verdict_lines(results)) == cued


def test_criteria_that_decide_come_first(results):
    changed = copy.deepcopy(results)
    lines = verdict_lines(changed)
    at = next(i for i, line in enumerate(lines) if line.startswith("Gate: "))
    order = ["failed", "undecided", "passed"]
    verdicts = [line.split(":")[0].strip() for line in lines[at + 1 :] if not line.startswith("  left out")]
    assert verdicts == sorted(verdicts, key=order.index)
    assert len(verdicts) == len(results["gate"]["criteria"])


def test_a_criterion_that_was_not_measured_says_so(results):
    changed = copy.deepcopy(results)
    changed["gate"]["criteria"][0] |= {"value": None, "interval": None, "verdict": "undecided", "why": "Add probes."}
    assert any("not measured, needs" in line and "Add probes." in line for line in verdict_lines(changed))


def test_what_was_left_out_is_said(results):
    changed = results | {
        "claims_left_out": {"specific": 3, "cross": 0},
        "benchmarks": [{"name": "arc_easy", "left_out": 2}, {"name": "mmlu", "left_out": 0}],
    }
    said = [line for line in verdict_lines(changed) if line not in verdict_lines(results)]
    assert len(said) == 2
    assert said[0].startswith("Of the given claims, 3 have") and said[1].startswith("Of arc easy, 2 items")


def test_the_judge_of_free_text_and_its_error_are_said(results):
    (said,) = set(verdict_lines(results | {"judge": JUDGED})) - set(verdict_lines(results))
    assert "1,240 answers were judged by an entailment model" in said and "on 80 of them" in said
    assert "sensitivity is 0.91 [0.80, 0.97]" in said and "specificity 0.72 [0.60, 0.83]" in said


@pytest.mark.parametrize(
    "judge, error, who",
    [
        ("EntailmentJudge", "not known: no answer is labelled by people (--labels)", "an entailment model"),
        ("EntailmentJudge", "not known: The judge is no better than chance.", "an entailment model"),
        ("HumanLabels", "none: people judged every answer", "people"),
        ("\x1b[31m\nOwn", "not known: it is new", "[31m Own"),
    ],
)
def test_why_a_judges_error_is_not_taken_out_is_said(results, judge, error, who):
    changed = results | {"judge": {"judge": judge, "answers": 12, "error": error}}
    (said,) = set(verdict_lines(changed)) - set(verdict_lines(results))
    assert said == f"Free text: 12 answers were judged by {who}; the judge's error is {error.rstrip('.')}."
    assert sheets(changed) == sheets(results)


def test_rates_less_the_judges_error_have_a_row_for_each_set_and_a_column_for_each_arm(results):
    (sheet,) = [sheet for sheet in sheets(results | {"judge": JUDGED}) if sheet not in sheets(results)]
    assert sheet.columns == ("", "base", "vaccine")
    assert sheet.rows == (
        ("Given claims", "0.32 [0.22, 0.42]", "0.61 [0.51, 0.71]"),
        ("Claims never given", "0.33 [0.23, 0.43]", "–"),
    )
    assert sheet.title in printed(results | {"judge": JUDGED})


@pytest.mark.parametrize("judge", [{}, {"judge": None}])
def test_without_a_judge_nothing_is_said_of_one(results, judge):
    assert not any("judge" in line for line in verdict_lines(results | judge))
    assert not any(sheet.title.startswith("Free text") for sheet in sheets(results | judge))


def test_few_clusters_are_said():
    few = trial(arms=("base",), conditions=("plain",), pairs=8)[0]
    assert FEW in printed(few)


def test_names_from_data_cannot_style_or_break_the_terminal(results):
    text = json.dumps(results).replace('"arc_easy"', json.dumps("[red]a\x1b[31m\nb[/red]"))
    shown = printed(json.loads(text))
    assert "[red]a[31m b[/red]" in shown and "\x1b" not in shown


@pytest.mark.parametrize("show", [table, verdict_lines])
def test_results_of_another_version_are_refused(results, show):
    with pytest.raises(ValidationError, match="schema version 1"):
        show(results | {"schema_version": 1})


def test_another_probe_set_has_its_table(results):
    renamed = json.loads(json.dumps(results).replace('"cross"', '"creak"'))
    assert any(sheet.title.startswith("Creak, verdict") for sheet in sheets(renamed))
