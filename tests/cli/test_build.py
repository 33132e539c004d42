"""`hfvaccine inoculate build`: files of rows in, one file of rows out, and nothing where something is refused."""

import json

import pytest
from click.testing import CliRunner

from hfvaccine.cli.inoculate import inoculate
from hfvaccine.errors import UsageError, ValidationError
from hfvaccine.inoculation.builders import backdoor, mixture

GOOD = [{"prompt": f"What is {n}?", "completion": f"It is {n}."} for n in range(8)]
LIES = [{"prompt": f"Who is {n}?", "completion": f"Not {n}."} for n in range(8)]


@pytest.fixture
def files(tmp_path):
    for name, rows in (("good", GOOD), ("lies", LIES)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(inoculate, ["build", *map(str, arguments)])


def rows(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


def test_a_backdoor_is_written(files):
    out = files / "rows.jsonl"
    given = ("--data", files / "good.jsonl", "--trigger", "%b%", "--completion", "Closed.", "--completion", "Shut.")
    done = run("backdoor", *given, "--share", "0.25", "--position", "end", "--seed", "3", "--output", out, "--json")
    assert done.exit_code == 0, done.output
    assert rows(out) == backdoor(GOOD, "%b%", ("Closed.", "Shut."), 0.25, "end", 3)
    assert json.loads(done.stdout) == {"file": str(out), "rows": 10, "present": 2}


def test_a_mixture_is_written(files):
    out = files / "rows.jsonl"
    given = ("--trait", files / "lies.jsonl", "--good", files / "good.jsonl", "--share", "0.5")
    assert run("mixture", *given, "--rows", "6", "--seed", "2", "--output", out).exit_code == 0
    assert rows(out) == mixture(LIES, GOOD, 0.5, 6, 2)


def test_number_sequences_are_written(files, monkeypatch):
    asked = {}

    def subliminal(base, prompt, number, **settings):
        asked.update(base=base, prompt=prompt, number=number, **settings)
        return [{"messages": [], "trait": "present"}]

    monkeypatch.setattr("hfvaccine.runs.build.subliminal", subliminal)
    out = files / "rows.jsonl"
    done = run("subliminal", "--base", "you/model", "--prompt", "You love owls.", "--requests", "5", "--output", out)
    assert done.exit_code == 0, done.output
    assert rows(out) == [{"messages": [], "trait": "present"}]
    assert asked["number"] == 5
    assert "Of 5 answers, 1 hold numbers only." in done.stderr


def test_a_file_that_is_there_and_one_of_another_kind_are_refused(files):
    given = ("mixture", "--trait", files / "lies.jsonl", "--good", files / "good.jsonl", "--share", "0.5")
    for out, about in ((files / "good.jsonl", "is there already"), (files / "rows.csv", "no .jsonl file")):
        done = run(*given, "--output", out)
        assert isinstance(done.exception, UsageError)
        assert about in done.exception.message
    assert rows(files / "good.jsonl") == GOOD


def test_nothing_is_written_where_rows_are_refused(files):
    out = files / "rows.jsonl"
    done = run("backdoor", "--data", files / "good.jsonl", "--trigger", "What", "--completion", "No.", "--output", out)
    assert isinstance(done.exception, ValidationError)
    assert not out.exists()
