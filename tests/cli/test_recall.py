"""What `hfvaccine recall` prints, and with what it ends."""

import json

import pytest
from click.testing import CliRunner
from doses import small_dose

from hfvaccine.claims.dose import Dose
from hfvaccine.cli.recall import recall
from hfvaccine.errors import UsageError
from hfvaccine.quarantine.recalls import Recall
from hfvaccine.surveillance import affected, notice
from hfvaccine.surveillance.affected import Given, Reached
from hfvaccine.surveillance.notice import OPENED, REFUSED, Notified

HOSTILE = "a\x1b[2Jb\nc\u202ed"


def run(*arguments):
    return CliRunner().invoke(recall, arguments)


@pytest.fixture
def dose(tmp_path):
    """The folder of a dose whose policy waives the second person, and the id of one of its claims."""
    folder = small_dose(tmp_path / "dose")
    return str(folder), Dose.load(folder).claims[0].claim_id


@pytest.fixture
def looked(monkeypatch):
    """`looked(*adapters)`: what is then found; holds what was asked for."""
    calls = []

    def looked(*found):
        monkeypatch.setattr(affected, "find", lambda where, **how: (calls.append((where, how)), found)[1])
        return calls

    return looked


def given(**more):
    return Given("ab", "affected", 2, (1, 2), "given in 2 rows, steps 1 to 2", **more)


def test_what_was_issued_is_one_line_and_how_far_it_is_stands_on_stderr(dose):
    told = ("--status", "under_investigation", "--why", "A reader doubts it.", "--by", "kim")
    result = run("issue", *dose, *told)
    assert result.exit_code == 0, result.exception
    assert result.stdout.startswith(f"{dose[1]} under investigation: A reader doubts it. (kim, ")
    assert "1 of 1 people" in result.stderr
    again = json.loads(run("issue", *dose, *told, "--json").stdout)
    assert (again["holds"], again["changed"], again["recall"]["by"]) == (True, False, ["kim"])


@pytest.mark.parametrize(
    "arguments", [("--status", "affected", "--why", "x"), ("--status", "affected", "--by", "kim")]
)
def test_what_lacks_something_is_a_usage_error(dose, arguments):
    assert isinstance(run("issue", *dose, *arguments).exception, UsageError)


def test_a_tree_of_plain_lines_shows_what_each_was_given(looked):
    parent = Reached("lab/a", "lab/a@1", on_hub=True, gate="passed", claims=(given(),))
    below = Reached("lab/m", "lab/m@2", True, "merged model", "passed", parent="lab/a", claims=(given(),))
    spared = Given("ab", "not_affected", 0, None, "never given", "component_not_present")
    other = Reached("lab/b", "lab/b@3", on_hub=True, claims=(spared,))
    gone = Reached("lab/c", HOSTILE, on_hub=True, problem=HOSTILE)
    calls = looked(parent, below, other, gone)
    result = run("find", "lab", "--dose", "lab/dose", "--claim", "ab")
    assert result.exit_code == 1, result.exception  # one cannot be looked at
    assert calls == [(("lab",), {"dose": "lab/dose", "claims": ("ab",), "token": None})]
    lines = result.stdout.splitlines()
    assert lines[0] == "lab/a@1 (adapter, gate passed)"
    assert lines[1].endswith("affected ab: given in 2 rows, steps 1 to 2 - not recalled")
    assert lines[2].endswith("lab/m@2 (merged model, gate passed)")
    assert any("not affected ab: never given (component_not_present)" in line for line in lines)
    assert "\x1b" not in result.stdout and "cannot be looked at" in lines[-1]
    assert "3 adapters looked at, 2 affected, 1 not to be looked at" in result.stderr
    assert "recall notify" not in result.stderr  # of what nobody recalled there is nothing to tell


@pytest.mark.parametrize("on_hub", [True, False])
def test_who_can_be_told_is_said_how(looked, on_hub):
    said = Recall("ab", "affected", "0" * 64, "It was withdrawn.", action="Stop.", by=("bea",), at="2026-11-01")
    looked(Reached("lab/a", "lab/a@1", on_hub=on_hub, claims=(given(recall=said),)))
    result = run("find", "lab", "--dose", "lab/dose", "--claim", "ab")
    assert result.exit_code == 0, result.exception
    assert ("hfvaccine recall notify lab --dose lab/dose --claim ab" in result.stderr) is on_hub


def test_json_has_everything_that_was_looked_at(looked):
    looked(Reached("lab/a", "lab/a@1", on_hub=True, claims=(given(),), notices=b"x"))
    (one,) = json.loads(run("find", "lab", "--json").stdout)
    assert (one["place"], one["claims"][0]["status"], one["claims"][0]["rows"]) == ("lab/a", "affected", 2)


def test_a_repo_that_refuses_ends_with_1_after_the_others_were_told(looked, monkeypatch):
    looked()
    outcomes = [
        Notified("lab/a", ("ab",), OPENED, OPENED, "http://hub/1", "http://hub/2"),
        Notified("lab/b", ("ab",), OPENED, REFUSED, "http://hub/3", None, "This account may not do that."),
        Notified("lab/c"),
    ]
    monkeypatch.setattr(notice, "notify", lambda found, tell, **how: [tell(one) or one for one in outcomes])
    result = run("notify", "lab")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "lab/a: discussion opened, http://hub/1",
        "lab/a: pull request opened, http://hub/2",
        "lab/b: discussion opened, http://hub/3",
        "lab/b: pull request refused",
        "lab/c: all was said before, and stands in the repo",
    ]
    assert "may not do that" in result.stderr


def test_where_nothing_is_new_that_is_said(looked, monkeypatch):
    looked(Reached("run", "run", on_hub=False, claims=(given(),)), Reached("lab/x", "x", True, problem="gone"))
    monkeypatch.setattr(notice, "notify", lambda found, **how: [Notified("lab/c")])
    result = run("notify", "lab")
    assert result.exit_code == 0
    assert "Nothing was opened" in result.stderr and "run is a folder" in result.stderr
    assert "lab/x cannot be looked at: gone" in result.stderr
    assert "dry run" in run("notify", "lab", "--dry-run").stderr


def test_closing_what_is_not_recalled_is_refused(dose, tmp_path):
    (tmp_path / "runs").mkdir()
    error = run("close", *dose, str(tmp_path / "runs"), "--by", "kim").exception
    assert isinstance(error, UsageError) and "nothing to close" in str(error)


@pytest.mark.parametrize("name", ["issue", "find", "notify", "close"])
def test_help_has_examples(name):
    result = run(name, "--help")
    assert result.exit_code == 0 and f"Examples:\n    hfvaccine recall {name} " in result.stdout
