"""`hfvaccine monitor probe`, end to end: a tiny adapter that is loaded, and a server on loopback."""

import json
import random
import subprocess
import sys
import time

import pytest
import tiny
from click.testing import CliRunner
from doses import make_claims, sealed
from judges import Chat
from replies import Replies
from surveillance.drifting import day
from surveillance.probed import loadable, measures, probed

from hfvaccine.claims.dose import Dose
from hfvaccine.cli.monitor import monitor
from hfvaccine.errors import HfvaccineError
from hfvaccine.surveillance.probing import Target, load
from hfvaccine.surveillance.state import JOURNAL, State
from hfvaccine.validation.asking.probes import Battery, ProbeSet
from hfvaccine.validation.judging.metrics import decisions
from hfvaccine.validation.scores import PLAIN, SPECIFIC


@pytest.fixture(scope="module")
def dose(tmp_path_factory):
    return Dose.load(sealed(tmp_path_factory.mktemp("dose") / "dose", make_claims(14, heldout=2)).path)


@pytest.fixture(scope="module")
def adapter(dose, tiny_llama, tmp_path_factory):
    return loadable(probed(tmp_path_factory.mktemp("runs") / "run", dose), tiny_llama)


@pytest.fixture(scope="module")
def sure(dose, tmp_path_factory):
    """Papers of an adapter that was right about nearly everything; its weights are none."""
    return probed(tmp_path_factory.mktemp("sure") / "run", dose, measures(0.96, (0.9, 1.0), clusters=200))


@pytest.fixture
def replies(dose, monkeypatch):
    monkeypatch.setattr("hfvaccine.validation.asking.endpoint.WAIT", 0.0)
    return Replies([claim.twin for claim in dose.claims])


@pytest.fixture
def chat(replies):
    with Chat(replies) as running:
        yield running


@pytest.fixture
def at(monkeypatch):
    """`at(number)`: the day on which commands are run; at first the first one."""

    def at(number):
        for module in ("probing", "state", "status"):
            monkeypatch.setattr(f"hfvaccine.surveillance.{module}.now", lambda: day(number))

    at(0)
    return at


def run(*arguments):
    return CliRunner().invoke(monitor, ["probe", *map(str, arguments)])


def served(chat, model="m"):
    return ("--endpoint", chat.url, "--model", model)


def refusal(result):
    assert isinstance(result.exception, HfvaccineError) and result.exception.exit_code == 2, result.output
    return str(result.exception)


def test_an_adapter_is_probed_by_the_reading_of_its_validation(adapter, dose, tmp_path, at):
    folder = tmp_path / "state"
    first = run(adapter, "--into", folder, "--clusters", 10)
    assert first.exit_code == 0 and "6 of 6 charts have data enough" in first.stdout, first.output
    again = run(adapter, "--into", folder, "--clusters", 10)
    assert again.exit_code == 0 and "is in" in again.stderr and "nothing was asked" in again.stderr
    at(2)
    assert run(adapter, "--into", folder, "--clusters", 10).exit_code == 0
    rounds = State.open(folder).rounds
    assert [one.source for one in rounds] == ["probe", "recalled_probe"] * 2
    assert rounds[0].claims != rounds[2].claims and rounds[0].counts == {"clusters": 10, "pairs": 10}
    asked = Battery((ProbeSet.of(SPECIFIC, dose.claims),))
    validated, probes, _ = asked.ask(load(Target.of(str(adapter))))
    ids = next(probe.ids for probe in probes if probe.name == SPECIFIC)
    for one in rounds:
        for chart, metric in (("rejection", "rejection"), ("discrimination", "pair_accuracy")):
            scores = one.scores["recalled_" * (one.source != "probe") + chart]
            its = decisions(metric, validated.pairs[SPECIFIC, one.reading, PLAIN])
            assert scores == {claim: its[ids.index(claim)] for claim in one.claims}
    assert "Aldor" not in (folder / JOURNAL).read_text()


def test_a_dry_run_says_what_would_be_asked_and_does_nothing(sure, chat, tmp_path, at):
    folder = tmp_path / "state"
    shown = run(sure, "--into", folder, "--clusters", 5, "--dry-run")
    assert shown.exit_code == 0 and "It asks 5 claims of 5 clusters" in shown.stdout
    assert "recalled_rejection" in shown.stdout and "0.96" in shown.stdout and "Aldor" not in shown.output
    made = json.loads(run(sure, "--into", folder, *served(chat), "--dry-run", "--json").stdout)
    assert made["verdicts"] == 12 * 12 and made["charts"][0]["reading"] == "verdict.top_logprobs"
    assert not folder.exists() and not chat.asked


def test_what_is_another_is_refused_in_one_sentence_and_nothing_is_written(adapter, sure, tiny_llama, tmp_path, at):
    words = tiny.tokenizer(eos_token="</s>", pad_token="<pad>")
    words.chat_template = tiny.TEMPLATE
    other = tiny.save(tmp_path / "other", "llama", words, **tiny.LLAMA | {"initializer_range": 0.2})
    foreign = sealed(tmp_path / "foreign", make_claims(9)).path
    before = sorted(tmp_path.iterdir())
    for arguments, says in (
        ((adapter, "--base", other), "was trained on ada/tiny"),
        ((adapter, "--dose", foreign), "was never given"),
        ((adapter, "--dose", tmp_path / "nothing"), "no "),
        ((tiny_llama,), "immunization.json"),
        ((sure,), "alice/tiny"),  # a base that is nowhere
        ((sure, "--alpha", 2), "no budget"),
        ((sure, "--every", 0), "cannot be kept"),
        ((sure, "--clusters", 3), "--clusters is 3"),
        ((sure, "--model", "m"), "go together"),
        ((sure, "--api-key-env", "SERVER_KEY"), "is of a server"),
        ((), "what is probed"),
    ):
        assert says in refusal(run(*arguments, "--into", tmp_path / "state")), arguments
    assert sorted(tmp_path.iterdir()) == before


def test_a_served_model_is_probed_until_it_drifts(sure, replies, chat, tmp_path, at):
    folder = tmp_path / "state"
    assert run(sure, "--into", folder, *served(chat)).exit_code == 0
    at(1)
    result = run(sure, "--into", folder, *served(chat), "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["status"]["state"] == "ok"
    state = State.open(folder)
    assert state.readings == {"probe": "verdict.top_logprobs", "recalled_probe": "recalled_verdict.top_logprobs"}
    assert state.declaration.settings["top_logprobs"] == 20
    assert all(set(scores.values()) == {1.0} for one in state.rounds for scores in one.scores.values())
    counts = {"clusters": 12, "pairs": 12, "retries": 0, "asked": 144, "unclear": 0, "floored": 0, "refused": 0}
    assert state.rounds[0].counts == counts
    replies.truths = ()  # another revision is served, which says false to everything
    at(2)
    result = run(sure, "--into", folder, *served(chat))
    assert result.exit_code == 1 and "Acceptance fell from 0.96" in result.stdout
    assert "Aldor" not in (folder / JOURNAL).read_text() and "Aldor" not in result.output


def test_a_server_that_answers_as_another_model_is_noted_in_each_round(sure, replies, chat, tmp_path, at, monkeypatch):
    folder = tmp_path / "state"
    assert "Note" not in run(sure, "--into", folder, *served(chat)).stderr
    replies.name = "the-real-model"
    monkeypatch.setenv("SERVER_KEY", "its-own")
    at(1)
    again = run(sure, "--into", folder, *served(chat), "--api-key-env", "SERVER_KEY")
    assert chat.asked[-1][1]["Authorization"] == "Bearer its-own"
    assert again.exit_code == 0 and again.stderr.count("answers as the-real-model") == 1


def test_a_round_that_cannot_be_completed_is_no_data(sure, replies, chat, tmp_path, at):
    folder = tmp_path / "state"
    replies.failures, replies.stuck = [(500, {})], True
    assert "answers 500" in refusal(run(sure, "--into", folder, *served(chat))) and not folder.exists()
    replies.failures = []
    assert run(sure, "--into", folder, *served(chat)).exit_code == 0
    at(1)
    for failure, code in (((500, {}), "http_500"), ({"error": "no"}, "no_completion"), ((401, {}), "http_401")):
        replies.failures = [failure]
        result = run(sure, "--into", folder, *served(chat))
        assert result.exit_code == 2 and f"No data ({code})" in result.stderr
        assert "no_data: " in result.stdout and "Aldor" not in result.output
    assert [one.no_data for one in State.open(folder).rounds[2:]] == ["http_500"] * 2  # of one round the first
    replies.failures, replies.stuck = [(429, {})], False
    assert run(sure, "--into", folder, *served(chat)).exit_code == 0  # mended within the day
    assert [bool(one.scores) for one in State.open(folder).rounds] == [True, True, False, False, True, True]
    assert State.open(folder).rounds[-1].counts["retries"] == 1


def test_readings_are_never_mixed(adapter, sure, replies, chat, tmp_path, at):
    folder = tmp_path / "state"
    replies.lists = None
    text = tmp_path / "text"
    assert run(sure, "--into", folder, *served(chat)).exit_code == 2  # learns its baseline, so no chart says ok yet
    assert State.open(folder).readings["probe"] == "verdict.text"
    replies.lists = 20
    assert run(sure, "--into", text, *served(chat)).exit_code == 0
    at(1)
    replies.lists = None
    result = run(sure, "--into", text, *served(chat))
    assert result.exit_code == 2 and "no_top_logprobs" in result.stderr
    before = (text / JOURNAL).read_bytes()
    assert "readings do not compare" in refusal(run(sure, "--into", text))
    assert "the served model other" in refusal(run(sure, "--into", text, *served(chat, "other")))
    assert "watches the adapter" in refusal(run(adapter, "--into", text, *served(chat)))
    assert "begun with period" in refusal(run(sure, "--into", text, *served(chat), "--every", 1))
    assert (text / JOURNAL).read_bytes() == before


def test_a_clock_that_goes_back_is_refused_before_anything_is_asked(sure, chat, tmp_path, at):
    at(5)
    assert run(sure, "--into", tmp_path, *served(chat)).exit_code == 0
    at(3)
    asked = len(chat.asked)
    assert "Set the clock right" in refusal(run(sure, "--into", tmp_path, *served(chat)))
    assert len(chat.asked) == asked and len(State.open(tmp_path).rounds) == 2


def test_a_served_model_without_papers_learns_its_baseline(dose, chat, tmp_path, at):
    about = ("--dose", dose.path, "--base", "you/base", "--into", tmp_path / "state", *served(chat, "you/model"))
    assert run(*about).exit_code == 2
    state = State.open(tmp_path / "state")
    assert (state.declaration.adapter, state.declaration.base) == ("you/model", "you/base")
    assert not any(state.declaration.charts.values()) and all(one.scores for one in state.rounds)


def start(folder, run, chat):
    command = [sys.executable, "-m", "hfvaccine", "monitor", "probe", run, "--into", folder, *served(chat)]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_probes_at_once_count_once(sure, chat, tmp_path):
    both = [start(tmp_path / "state", sure, chat) for _ in range(2)]
    said = [one.communicate(timeout=120) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    ids = [one.id for one in State.open(tmp_path / "state").rounds]
    assert len(ids) == len(set(ids)) in (2, 4)  # or four, where midnight lies between them


@pytest.mark.slow
def test_probes_that_are_killed_leave_a_state_that_goes_on(sure, replies, chat, tmp_path):
    chance, folder = random.Random(0), tmp_path / "state"
    replies.slow = 0.005
    for _ in range(20):
        probing = start(folder, sure, chat)
        time.sleep(0.8 + 2 * chance.random())
        probing.kill()
        probing.communicate()
    probing = start(folder, sure, chat)
    assert probing.wait(120) == 0, probing.communicate()
    rounds = State.open(folder).rounds
    assert len({one.id for one in rounds}) == len(rounds) and all(one.scores for one in rounds)
