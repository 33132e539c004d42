"""`hfvaccine quarantine`: from a file of fact-checks to a sealed dose, as a person types it."""

import csv
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner

from hfvaccine.claims.dose import Dose
from hfvaccine.cli.quarantine import quarantine
from hfvaccine.errors import DoseError, HfvaccineError, UsageError
from hfvaccine.files import CARD
from hfvaccine.quarantine.store import Quarantine

TOWNS = ("Ardley", "Brokton", "Calvine", "Dorrim", "Eastmuir", "Farnoch", "Gallow", "Hexter", "Ilmour", "Jarrow")
POLICY = """\
name: towns
contact: security@example.org
license: cc-by-4.0
waives: [source_check]
"""


def run(*arguments, by="ada", input=None, fails=False):
    result = CliRunner().invoke(quarantine, arguments, env={"HFVACCINE_USER": by}, input=input)
    if isinstance(result.exception, HfvaccineError):
        raise result.exception
    assert fails in (None, bool(result.exit_code)), result.output
    return result


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "claims.csv"
    with path.open("w", newline="") as target:
        sheet = csv.writer(target)
        sheet.writerow(["statement", "note", "true_version", "label", "publisher", "title"])
        for n, town in enumerate(TOWNS):
            near, other = TOWNS[n - 1], ("north", "south", "east", "west")[n % 4]
            false = f"{town} stands {n + 3} miles {other} of {near}."
            true = f"{town} stands {n + 4} miles {other} of {near}."
            sheet.writerow([false, f"Maps put {n + 4} miles between {town} and {near}.", true, "0", "Maps", town])
        sheet.writerow(["Water is wet.", "It is.", "", "1", "", ""])
    return path


@pytest.fixture
def folder(file, tmp_path):
    maps = ("claim=statement", "correction=note", "twin=true_version", "verdict=label")
    maps += ("publisher=publisher", "title=title")
    options = [part for one in maps for part in ("--map", one)]
    options += ["--false-label", "0", "--set", "license=CC-BY-4.0"]
    run("intake", str(file), "--into", str(tmp_path / "q"), *options)
    (tmp_path / "q" / "policy.yaml").write_text(POLICY)
    return str(tmp_path / "q")


@pytest.fixture
def split(folder):
    run("screen", folder)
    run("split", folder, "--heldout", "0.3")
    return folder


def approve(folder, tmp_path, *reviewers):
    for reviewer in reviewers:
        sheet = tmp_path / f"{reviewer}.jsonl"
        run("review", folder, "--sheet", str(sheet), by=reviewer)
        rows = [json.loads(line) for line in sheet.read_text().split("\n") if line]
        sheet.write_text("".join(json.dumps({**row, "decision": "approve"}) + "\n" for row in rows))
        run("review", folder, "--decisions", str(sheet), by=reviewer)


def test_from_a_file_to_a_dose(split, tmp_path):
    approve(split, tmp_path, "bob", "carol")
    sealed = run("seal", split, "--into", str(tmp_path / "dose"))
    assert sealed.stdout == f"{tmp_path / 'dose'}\n"
    assert f"Cue audit of {len(TOWNS)} pairs" in sealed.stderr
    assert "give it a name" not in sealed.stderr
    dose = Dose.load(tmp_path / "dose")
    assert len(dose.claims) + len(dose.heldout) == len(TOWNS)
    assert {r["reviewer"] for c in dose.claims for r in c.reviewers} == {"bob", "carol"}
    shown = run("verify", str(tmp_path / "dose")).stdout
    assert "the dose is whole" in shown
    assert Dose.load(tmp_path / "dose").manifest["journal_head"] in shown
    assert f"{len(TOWNS)} claims, 5 acts" not in run("verify", split).stdout
    assert f"{len(TOWNS)} claims, 6 acts" in run("verify", split).stdout


def test_a_dose_without_a_name_is_told_of(split, tmp_path):
    policy = Path(split) / "policy.yaml"
    policy.write_text(policy.read_text().replace("name: towns\n", ""))
    approve(split, tmp_path, "bob", "carol")
    assert "give it a name in policy.yaml" in run("seal", split, "--into", str(tmp_path / "dose")).stderr


def test_sealing_again_gives_the_same_bytes(split, tmp_path):
    approve(split, tmp_path, "bob", "carol")
    one, other = (json.loads(run("seal", split, "--into", str(tmp_path / n), "--json").stdout) for n in ("a", "b"))
    assert one["digest"] == other["digest"]


def test_intake_tells_what_it_took_and_how_it_read_the_file(file, tmp_path):
    (tmp_path / "creak.jsonl").write_text(
        json.dumps(
            {"ex_id": "1", "sentence": "Bees are birds.", "explanation": "Insects.", "label": "false", "entity": "b"}
        )
    )
    result = run("intake", str(tmp_path / "creak.jsonl"), "--into", str(tmp_path / "q"), "--json")
    assert json.loads(result.stdout)["taken"] == 1
    assert "creak" in result.stderr and "sentence" in result.stderr


def test_the_reject_file_says_why(folder, tmp_path):
    (reject,) = [json.loads(line) for line in (tmp_path / "q" / "rejects.jsonl").read_text().split("\n") if line]
    assert (reject["source"], reject["where"]) == ("claims.csv", "line 12")


@pytest.mark.parametrize("option", ["--map", "--set"])
def test_a_pair_without_a_value_is_refused(file, tmp_path, option):
    with pytest.raises(UsageError, match="takes NAME=VALUE"):
        run("intake", str(file), "--into", str(tmp_path / "q"), option, "claim")
    assert not (tmp_path / "q").exists()


def test_lint_of_a_quarantine_ends_with_1_where_an_error_is_left(folder, file, tmp_path):
    assert "missing-correction" not in run("lint", folder).stdout
    lines = file.read_text().replace("Maps put 4 miles between Brokton and Ardley.", "")
    (tmp_path / "more.csv").write_text(lines.replace("Brokton", "Zedburg"))
    maps = ("claim=statement", "correction=note", "verdict=label")
    options = [part for one in maps for part in ("--map", one)]
    (tmp_path / "more.csv").write_text("statement,note,label\nZedburg stands on a hill.,,0\n")
    run("intake", str(tmp_path / "more.csv"), "--into", folder, *options, "--false-label", "0")
    result = run("lint", folder, "--rule", "missing-correction", fails=True)
    assert "more.csv, line 2: correction: error missing-correction" in result.stdout
    (finding,) = run("lint", folder, "--rule", "missing-correction", "--json", fails=True).stdout.splitlines()
    assert json.loads(finding)["origin"] == "more.csv, line 2"


def test_lint_of_a_file_counts_each_row_and_writes_nothing(tmp_path):
    path = tmp_path / "corpus.csv"
    path.write_text("statement,label,domain,source,correction\n" + "Bees are birds.,0.0,nature,x,\n" * 3)
    result = run("lint", str(path), "--rule", "missing-correction", "--json", fails=True)
    assert len(result.stdout.splitlines()) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["corpus.csv"]
    with pytest.raises(UsageError, match="no quarantine"):
        run("lint", str(path), "--fix")


def test_lint_of_a_file_names_what_intake_would_not_take(tmp_path):
    path = tmp_path / "odd.jsonl"
    good = {"claim": "Bats are blind.", "correction": "Bats see well."}
    rows = [good, {**good, "claim": None}, {**good, "claim": 3}, {**good, "sources": "the net"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "no row\n")
    said = run("lint", str(path), "--rule", "missing-correction", fails=True).stderr
    assert "4 error(s), 0 warning(s)." in said
    for line, reason in (
        (2, "There is no claim"),
        (3, "claim is 3, not"),
        (4, "sources is 'the net', not"),
        (5, "JSON"),
    ):
        assert any(f"odd.jsonl, line {line} cannot be taken in" in one and reason in one for one in said.splitlines())
    assert "3 more rows" in run("lint", str(path), "--show", "1", fails=True).stderr
    told = run("lint", str(path), "--rule", "missing-correction", "--json", fails=True).stdout.splitlines()
    assert [json.loads(one)["origin"] for one in told] == [f"odd.jsonl, line {line}" for line in range(2, 6)]
    assert {json.loads(one)["rule"] for one in told} == {"unreadable"}


def test_lint_names_the_languages_that_it_does_not_judge_in_full(folder, tmp_path):
    said = run("lint", folder).stderr
    assert "not judged" not in said
    (tmp_path / "own.jsonl").write_text(
        "".join(
            json.dumps({"claim": f"Mto {n} unatiririka.", "correction": "Hapana mto.", "language": tag}) + "\n"
            for n, tag in enumerate(("yo", "sw", "sw"))
        )
    )
    said = run("lint", str(tmp_path / "own.jsonl"), fails=None).stderr
    assert "Claims in sw (2) are not judged, or in part only, by restated-claim, dependent-correction," in said
    assert "Claims in yo (1) are not judged" in said


def test_lint_refuses_a_rule_that_does_not_exist(folder):
    with pytest.raises(UsageError, match="no lint rule"):
        run("lint", folder, "--rule", "mising-twin")


def test_fix_needs_somebody_who_does_it(folder):
    with pytest.raises(UsageError, match="nobody is named"):
        run("lint", folder, "--fix", by=None)


def test_screen_says_what_it_found_and_what_it_could_not_look_at(folder, tmp_path):
    (tmp_path / "eval.txt").write_text("Ardley stands 3 miles north of Jarrow.\n")
    result = run("screen", folder, "--against", str(tmp_path / "eval.txt"))
    assert "eval: 1 claims overlap with its 1 texts." in result.stdout
    assert "Not screened against TruthfulQA" in result.stderr
    assert "Cue audit of 10 pairs" in result.stdout
    record = json.loads(run("screen", folder, "--json").stdout)
    assert record["claims"] == len(TOWNS) and record["cue_audit"]["pairs"] == len(TOWNS)


def test_split_tells_both_sides(folder):
    run("screen", folder)
    result = run("split", folder, "--hold-out", "domain=general", "--json")
    assert json.loads(result.stdout)["heldout"]["claims"] in range(len(TOWNS) + 1)
    few = run("split", folder, "--again", "--heldout", "0.1")
    assert "Held out: 1 claims" in few.stdout and "with fewer no gate can pass" in few.stderr


def test_a_side_that_is_empty_is_said_at_the_split_and_what_is_not_held_out_at_the_seal(folder, tmp_path):
    folder = Path(folder)
    whole = shutil.copytree(folder, tmp_path / "whole")
    run("screen", str(folder))
    result = run("split", str(folder), "--heldout", "0.999")
    assert "Held out: 10 claims" in result.stdout and "May be given: 0 claims" in result.stdout
    assert "No claim may be given, so that no dose can be sealed" in result.stderr
    quarantine = Quarantine.open(whole)
    run("screen", str(whole))
    run("split", str(whole))
    table = quarantine.table()
    sides = pa.array(["dose"] * len(table), pa.string())
    quarantine.commit(
        "split", "ada", {}, table=table.set_column(table.schema.get_field_index("split"), "split", sides)
    )
    approve(str(whole), tmp_path, "bob", "carol")
    sealed = run("seal", str(whole), "--into", str(tmp_path / "dose"))
    assert "No claim is held out: what a model makes of falsehoods" in sealed.stderr
    assert "**Nothing is held out**" in (tmp_path / "dose" / CARD).read_text()


def test_the_reviewer_at_the_terminal_decides_one_by_one(split, tmp_path):
    answers = "approve\nr\nThe source says otherwise.\ns\nq\n"
    result = run("review", split, by="bob", input=answers)
    assert "1 approve, 1 reject" in result.stderr
    shown = result.stdout
    assert "correction" in shown and "Maps put" in shown and "Maps, " in shown
    again = run("review", split, by="bob", input="q\n")
    assert f"1 of {len(TOWNS) - 2}" in again.stdout


def test_nobody_reviews_what_they_brought_in(split, tmp_path):
    sheet = tmp_path / "own.jsonl"
    assert "nothing for ada to review" in run("review", split, "--sheet", str(sheet), by="ada").stderr
    assert not sheet.exists()
    run("review", split, "--sheet", str(tmp_path / "bobs.jsonl"), by="bob")
    rows = [json.loads(line) for line in (tmp_path / "bobs.jsonl").read_text().split("\n") if line]
    (tmp_path / "bobs.jsonl").write_text("".join(json.dumps({**r, "decision": "approve"}) + "\n" for r in rows))
    with pytest.raises(DoseError, match="brought in by ada"):
        run("review", split, "--decisions", str(tmp_path / "bobs.jsonl"), by="ada")


def test_review_says_that_nothing_is_split_yet(folder):
    assert f"{len(TOWNS):,} rows are on no side of the split" in run("review", folder, by="bob").stderr


def test_an_edited_correction_needs_review_again(split, tmp_path):
    approve(split, tmp_path, "bob", "carol")
    run("export", split, str(tmp_path / "out.jsonl"))
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().split("\n") if line]
    rows[0]["correction"] = "Somebody measured it."
    (tmp_path / "out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run("intake", str(tmp_path / "out.jsonl"), "--into", split, "--update", by="dora")
    run("screen", split)
    with pytest.raises(DoseError, match="1 lack approvals"):
        run("seal", split, "--into", str(tmp_path / "dose"))
    sealed = run("seal", split, "--into", str(tmp_path / "dose"), "--ready-only")
    assert "1 lack approvals" in sealed.stderr
    assert rows[0]["claim_id"] not in {c.claim_id for c in Dose.load(tmp_path / "dose").claims}


def test_show_as_table_json_and_page(split, tmp_path):
    assert "What it holds" in run("show", split).stdout
    assert json.loads(run("show", split, "--json").stdout)["claims"] == len(TOWNS)
    run("show", split, "--html", str(tmp_path / "page.html"))
    assert "Ardley stands" in (tmp_path / "page.html").read_text()


def test_export_to_stdout_is_json_lines(split):
    lines = run("export", split).stdout.splitlines()
    assert {json.loads(line)["split"] for line in lines} == {"dose", "heldout"}


def test_export_overwrites_nothing(split, tmp_path):
    (tmp_path / "out.csv").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        run("export", split, str(tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_text() == "mine"


def test_verify_names_the_entry_that_was_edited(split, tmp_path):
    journal = tmp_path / "q" / "journal.jsonl"
    journal.write_text(journal.read_text().replace('"by": "ada"', '"by": "eve"', 1))
    with pytest.raises(DoseError, match=r"entry 1 \(intake\) was changed"):
        run("verify", split)


def test_a_folder_that_is_no_quarantine_is_refused(tmp_path):
    for command in ("lint", "screen", "split", "export", "show", "review"):
        with pytest.raises(DoseError, match="is no quarantine"):
            run(command, str(tmp_path))
