"""`hfvaccine monitor`: what is printed, what is written, and the exit codes."""

import json

import pytest
from click.testing import CliRunner
from surveillance.drifting import SECRET, day, state_in

from hfvaccine.cli.monitor import monitor
from hfvaccine.errors import SurveillanceError, UsageError
from hfvaccine.surveillance import status as statuses
from hfvaccine.surveillance.state import JOURNAL, State
from hfvaccine.surveillance.status import status


@pytest.fixture
def at(monkeypatch):
    """`at(number)`: the day on which commands are run."""

    def at(number):
        monkeypatch.setattr(statuses, "now", lambda: day(number))

    return at


def run(*arguments):
    return CliRunner().invoke(monitor, list(map(str, arguments)))


def test_exit_codes_tell_ok_alarm_and_stale_apart(tmp_path, at):
    well, fallen = state_in(tmp_path / "well", 8), state_in(tmp_path / "fallen", 20, 12)
    at(8)
    assert run("status", well.folder).exit_code == 0
    at(20)
    assert run("status", well.folder).exit_code == 2
    result = run("status", fallen.folder)
    assert result.exit_code == 1
    assert "alarm: Acceptance fell from 0.90" in result.stdout
    assert "next: hfvaccine validate --base you/base" in result.stdout
    for arguments in ((tmp_path / "nothing",), (well.folder, "--jsonl", tmp_path)):
        failed = run("status", *arguments).exception
        assert getattr(failed, "exit_code", getattr(failed, "code", None)) == 2
    (tmp_path / "file").touch()
    failed = run("status", well.folder, "--jsonl", tmp_path / "file" / "below").exception
    assert isinstance(failed, SurveillanceError) and failed.exit_code == 2


@pytest.mark.parametrize(
    "error", [RuntimeError("odd"), OSError(28, "No space left"), UnicodeEncodeError("ascii", "ä", 0, 1, "no")]
)
def test_whatever_goes_wrong_is_no_alarm(tmp_path, at, monkeypatch, error):
    state_in(tmp_path / "state", 2)

    def fail(*given):
        raise error

    monkeypatch.setattr(statuses, "status", fail)
    failed = run("status", tmp_path / "state").exception
    assert isinstance(failed, SurveillanceError) and failed.exit_code == 2


@pytest.mark.parametrize("every", ["nan", "1e300", "0", "-1", "inf"])
def test_a_period_that_cannot_be_kept_begins_nothing(tmp_path, every):
    refused = run("probe", "you/adapter", "--into", tmp_path / "state", "--every", every).exception
    assert isinstance(refused, UsageError) and "cannot be kept" in str(refused)
    assert not (tmp_path / "state").exists()


def test_every_way_out_is_written_and_holds_no_text(tmp_path, at):
    state = state_in(tmp_path / "state", 20, 12)
    at(20)
    ways = {name: tmp_path / name for name in ("prometheus", "otlp", "jsonl")}
    result = run("status", state.folder, "--json", *(part for name in ways for part in (f"--{name}", ways[name])))
    assert json.loads(result.stdout) == status(State.open(state.folder), day(20)).record()
    assert json.loads(ways["jsonl"].read_text())["state"] == "alarm"
    assert "hfvaccine_monitor_state" in ways["prometheus"].read_text() and "evaluation" in ways["otlp"].read_text()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in written} == {JOURNAL, *ways}
    assert all(SECRET not in path.read_text() for path in written)


def test_a_webhook_without_a_secret_is_refused_while_all_is_well(tmp_path, at, monkeypatch):
    monkeypatch.delenv("HFVACCINE_WEBHOOK_SECRET", raising=False)
    state = state_in(tmp_path, 8)
    at(8)
    assert isinstance(run("status", state.folder, "--webhook", "http://127.0.0.1:9/").exception, UsageError)
    monkeypatch.setenv("HFVACCINE_WEBHOOK_SECRET", "secret")
    assert run("status", state.folder, "--webhook", "http://127.0.0.1:9/").exit_code == 0  # and nothing is sent


def test_an_alarm_is_settled_by_a_person(tmp_path, at):
    state = state_in(tmp_path, 20, 12)
    at(20)
    refused = run("settle", state.folder, "--by", "alice", "--outcome", "false_alarm", "--chart", "rejection")
    assert isinstance(refused.exception, UsageError) and "rejection does not alarm" in str(refused.exception)
    assert run("settle", state.folder, "--by", "alice", "--outcome", "rolled_back").exit_code == 0
    assert not status(State.open(state.folder), day(20)).alarms
    assert "No chart alarms" in str(run("settle", state.folder, "--by", "a", "--outcome", "boosted").exception)


def test_the_page_is_written(tmp_path, at):
    state = state_in(tmp_path / "state", 3)
    at(3)
    result = run("page", state.folder, "--output", tmp_path / "monitor.html")
    assert result.exit_code == 0 and "NO DATA" in (tmp_path / "monitor.html").read_text()
