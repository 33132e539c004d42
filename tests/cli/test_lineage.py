"""What `hfvaccine verify` and `diff` print, of chains that are made up here."""

import json
import re

import pytest
from click.testing import CliRunner
from keys import make_key

from hfvaccine.cli import lineage
from hfvaccine.errors import LineageError
from hfvaccine.lineage import fetch
from hfvaccine.lineage.links import BROKEN, MISSING, OK, Link, summary
from hfvaccine.papers.binding import bind

HOSTILE = "a\x1b[2Jb\nc\u202ed [bold]x[/bold] ünïcode"


def made_of(*links):
    whole = Link("you/adapter@abc", OK, "", "", links)
    states = whole.count()
    worst = next((state for state in (BROKEN, MISSING) if states[state]), OK)
    return Link(whole.name, worst, summary(states), "", links)


@pytest.fixture
def asked(monkeypatch):
    """`asked(chain)`: what verify then finds; holds what it was asked with."""
    calls = []

    def asked(found):
        def papers(source, revision=None, patterns=None):
            calls.append([source, revision])
            return fetch.Papers(source, None, (), {}, None, local=not source.startswith("hub/"))

        def gather(papers, dose, base, mix, data, trait_data):
            calls[-1] += [dose, base, mix, data, trait_data]

        monkeypatch.setattr(fetch, "papers", papers)
        monkeypatch.setattr(fetch, "gather", gather)
        monkeypatch.setattr(fetch, "chain_of", lambda papers, evidence: found)
        return calls

    return asked


def run(command, *arguments):
    return CliRunner().invoke(command, arguments)


def test_every_link_is_one_ascii_line_under_what_stands_on_it(asked):
    dose = Link("dose", OK, "you/dose, " + "long " * 60, "it EXPIRED on 2026-01-01")
    asked(made_of(Link("record", OK, "binds 9 files"), Link("results", OK, "gate PASSED", "", (dose,))))
    result = run(lineage.verify, "you/adapter")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "ok      you/adapter@abc: all 3 links hold"
    assert lines[1:3] == ["+-- ok      record: binds 9 files", "`-- ok      results: gate PASSED"]
    assert lines[3].startswith("    `-- ok      dose: you/dose, long") and lines[3].endswith("EXPIRED on 2026-01-01")
    assert len(lines) == 4 and result.stdout.isascii()


def test_a_missing_link_says_why_and_exits_with_0(asked):
    asked(made_of(Link("record", OK, "x"), Link("dose", MISSING, "you/dose", "Ask at the page.")))
    result = run(lineage.verify, "you/adapter")
    assert result.exit_code == 0
    assert "missing you/adapter@abc: nothing is broken, and 1 of 2 links could not be checked" in result.stdout
    assert "missing dose: you/dose - Ask at the page." in result.stdout


def test_what_is_not_signed_says_so_and_is_broken_only_where_a_signer_is_expected(asked, tmp_path):
    asked(made_of(Link("record", OK, "x")))
    result = run(lineage.verify, "hub/adapter")
    assert result.exit_code == 0 and "Not signed: nothing here shows who published it." in result.stderr
    public = make_key(tmp_path / "ada.pem")[1]
    result = run(lineage.verify, "hub/adapter", "--signer", str(public), "--json")
    assert result.exit_code == 1 and "Not signed" not in result.stderr
    link = json.loads(result.stdout)["below"][-1]
    assert (link["name"], link["state"], link["what"]) == ("signed by", "broken", "ada.pub")
    assert "nobody signed it" in link["why"]


def test_a_provider_alone_names_nobody(asked):
    calls = asked(made_of(Link("record", OK, "x")))
    result = run(lineage.verify, "hub/adapter", "--signer-provider", "https://accounts.google.com")
    assert result.exception.exit_code == 2 and "--signer" in result.exception.next_step
    assert calls == []


def test_a_broken_link_exits_with_1(asked):
    asked(made_of(Link("adapter", BROKEN, "LoRA", "weights were changed"), Link("dose", MISSING, "x", "y")))
    result = run(lineage.verify, "you/adapter")
    assert result.exit_code == 1
    assert "broken  adapter: LoRA - weights were changed" in result.stdout
    assert "do not rely" in result.stderr


def test_a_recalled_claim_is_loud(asked):
    notice = Link("RECALLED 0123456789abcdef", OK, "this adapter was given it", "withdrawn (ada, 2026-11-01)")
    asked(made_of(Link("recalls", OK, "1 notices", "", (notice,))))
    result = run(lineage.verify, "you/adapter")
    assert result.exit_code == 0
    assert "RECALLED 0123456789abcdef: this adapter was given it - withdrawn (ada, 2026-11-01)" in result.stdout
    assert result.stderr.startswith("RECALLED: the fact-check of 1 claim(s)")
    found = json.loads(run(lineage.verify, "you/adapter", "--json").stdout)
    assert found["recalled"] == ["0123456789abcdef"]


def test_nothing_in_a_strangers_papers_reaches_the_terminal_raw(asked):
    asked(made_of(Link(HOSTILE, OK, HOSTILE, HOSTILE)))
    out = run(lineage.verify, "you/adapter").stdout
    assert "\x1b" not in out and "\u202e" not in out and len(out.splitlines()) == 2
    assert "[bold]x[/bold]" in out


def test_a_terminal_gets_the_same_links_in_its_width(asked, monkeypatch):
    import rich.console

    link = Link("dose", MISSING, "you/dose " * 20, HOSTILE)
    console = rich.console.Console(force_terminal=True, width=80, highlight=False)
    monkeypatch.setattr(rich.console, "Console", lambda **options: console)
    with console.capture() as captured:
        lineage.show(made_of(Link("results", OK, "gate PASSED", "", (link,))))
    shown = re.sub(r"\x1b\[[0-9;]*m", "", captured.get())  # colours
    assert "\x1b" not in shown and "\u202e" not in shown
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) > 4
    assert lines[0].startswith("missing you/adapter@abc") and any(line.startswith("└──") for line in lines)


def test_json_is_one_object_with_the_whole_tree(asked):
    below = Link("dose", BROKEN, "d", "e")
    asked(made_of(Link("results", OK, "r", "", (below,))))
    result = run(lineage.verify, "you/adapter", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (found["name"], found["state"], found["counts"]) == ("you/adapter@abc", BROKEN, {OK: 1, BROKEN: 1})
    assert found["below"][0]["below"] == [{"name": "dose", "state": BROKEN, "what": "d", "why": "e", "below": []}]


def test_every_option_of_verify_arrives(asked):
    calls = asked(made_of(Link("record", OK, "x")))
    rows = ("--mix", "m", "--data", "r", "--trait-data", "t")
    run(lineage.verify, "you/a", "--revision", "v1", "--dose", "d", "--dose", "e", "--base", "b", *rows)
    assert calls == [["you/a", "v1", ("d", "e"), "b", "m", "r", "t"]]


RECORD = {"schema_version": 3, "base": {"id": "you/base"}, "plan": {"seed": 0}, "dose": {"claim_ids": ["a"]}}


@pytest.fixture
def folders(tmp_path):
    """`folders(left, right)`: two run folders with these records."""

    def folders(*records):
        for name, record in zip(("left", "right"), records, strict=True):
            (tmp_path / name).mkdir()
            (tmp_path / name / "immunization.json").write_text(json.dumps(record))
        return str(tmp_path / "left"), str(tmp_path / "right")

    return folders


def test_differences_stand_in_their_groups(folders):
    other = {**RECORD, "plan": {"seed": 1}, "base": {"id": HOSTILE}, "dose": {"claim_ids": ["b", "c"]}}
    left, right = folders(bind(RECORD, {}), bind(other, {}))
    result = run(lineage.diff, left, right)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == ["base", "dose", "plan"]
    assert lines[lines.index("  seed") :] == ["  seed", f"    {left}: 0", f"    {right}: 1"]
    at = lines.index("  claims that only it was given")
    assert lines[at + 1 : at + 3] == [f"    {left}: 1", f"    {right}: 2"]
    assert "\x1b" not in result.stdout


def test_records_that_agree_say_so(folders):
    result = run(lineage.diff, *folders(bind(RECORD, {}), bind(RECORD, {"README.md": "0" * 64})))
    assert result.exit_code == 0 and result.stdout.startswith("The records agree")


def test_differences_as_json_are_one_object(folders):
    left, right = folders(bind(RECORD, {}), bind({**RECORD, "plan": {"seed": 1}}, {}))
    found = json.loads(run(lineage.diff, left, right, "--json").stdout)
    assert found == {
        "adapters": [left, right],
        "differences": [{"group": "plan", "name": "seed", "left": 0, "right": 1}],
    }


def test_a_record_that_was_edited_is_noted_and_compared_all_the_same(folders):
    result = run(lineage.diff, *folders(bind(RECORD, {}), {**bind(RECORD, {}), "plan": {"seed": 9}}))
    assert result.exit_code == 0
    assert "Note: of" in result.stderr and "own digest" in result.stderr
    assert "seed" in result.stdout


def test_a_folder_without_record_is_refused(folders, tmp_path):
    left, _ = folders(bind(RECORD, {}), bind(RECORD, {}))
    assert isinstance(run(lineage.diff, left, str(tmp_path)).exception, LineageError)


@pytest.mark.parametrize("command", [lineage.verify, lineage.diff])
def test_help_has_examples(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Examples:\n    hfvaccine {command.name} " in result.stdout
