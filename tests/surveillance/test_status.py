"""What a state comes to: ok, alarm, no data, stale, and what an alarm says."""

import json
from dataclasses import replace

import pytest

from hfvaccine.surveillance.charts import Budget
from hfvaccine.surveillance.state import Round, State
from hfvaccine.surveillance.status import ALARM, LEARNING, NO_DATA, OK, STALE, WAITING, WATCHING, status
from surveillance.drifting import day, declared, probed, state_in


@pytest.fixture(autouse=True)
def no_disk(monkeypatch):
    """What is judged is in the journal at once; test_state.py shows that it is on the disk."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


@pytest.fixture(scope="module")
def fallen(tmp_path_factory):
    return state_in(tmp_path_factory.mktemp("fallen"), rounds=20, change=12)


def test_before_there_is_data_enough_it_says_so(tmp_path):
    state = State.begin(tmp_path, declared())
    assert (status(state).state, status(state).exit_code) == (NO_DATA, 2)
    for number in range(4):
        state.append(probed(number))
    found = status(state, day(3))
    assert [one.state for one in found.charts] == [WAITING, WAITING, LEARNING, LEARNING]
    assert found.state == NO_DATA
    assert found.why == "0 of 4 charts have data enough: each takes 10 clusters of claims, over all rounds."
    state.append(probed(4))
    found = status(state, day(4))
    assert (found.state, found.exit_code, found.why) == (OK, 0, "2 of 4 charts have data enough.")
    assert [one.state for one in found.charts] == [WATCHING, WATCHING, LEARNING, LEARNING]
    assert found.notes[0] == "There is no round of logs yet."


def test_an_alarm_says_what_moved_since_when_by_how_much_on_what_and_what_next(fallen):
    found = status(fallen, day(20))
    assert (found.state, found.exit_code) == (ALARM, 1)
    (alarm,) = found.alarms
    assert (alarm.chart, alarm.side, alarm.worse, alarm.blame) == ("acceptance", "fell", True, "model")
    assert alarm.since == {"round": "probe-12", "at": day(12)}
    assert alarm.before.value == pytest.approx(0.9) and alarm.after.value == pytest.approx(0.6)
    assert alarm.by.low < -0.3 < alarm.by.high < 0
    # Claims 12 to 47 were accepted before and are not since; ten are named.
    assert len(alarm.claims) == 10 and all(12 <= int(one.claim[5:]) < 48 for one in alarm.claims)
    assert all((one.before, one.after) == (1.0, 0.0) for one in alarm.claims)
    assert alarm.next[0] == "hfvaccine validate --base you/base --adapter you/adapter"
    assert alarm.id in alarm.next[1] and "settle" in alarm.next[2]
    assert json.loads(json.dumps(found.record()))["alarms"][0]["after"]["value"] == 0.6


def test_an_alarm_stands_until_it_is_settled_and_then_the_chart_begins_anew(tmp_path):
    state = state_in(tmp_path, rounds=20, change=12)
    raised = status(state, day(20)).alarms[0].raised["round"]
    for number in range(20, 23):
        state.append(probed(number))
    assert status(state, day(22)).alarms[0].raised["round"] == raised
    state.settle(("acceptance",), "alice", "rolled_back")
    for number in range(23, 30):
        state.append(probed(number))
    found = status(state, day(29))
    assert (found.state, found.settled) == (OK, 1)
    assert len(found.charts[1].rounds) == 7 and len(found.charts[0].rounds) == 26
    # Nothing was learnt from the rounds in which it had fallen.
    assert found.charts[1].baseline.value == pytest.approx(0.9)


def test_a_round_that_could_not_be_completed_is_no_data(tmp_path):
    state = state_in(tmp_path, rounds=8)
    state.append(Round("probe-8", day(8), "probe", "verdict", no_data="http_503"))
    found = status(state, day(8))
    assert (found.state, found.exit_code) == (NO_DATA, 2)
    assert found.why == "The last round of probe could not be completed (http_503)."
    state.append(probed(9))
    assert status(state, day(9)).state == OK


def test_a_missed_schedule_is_stale_and_an_alarm_is_more(tmp_path, fallen):
    state = state_in(tmp_path, rounds=8)
    assert status(state, day(8)).state == OK
    found = status(state, day(9))
    assert (found.state, found.exit_code) == (STALE, 2)
    assert found.why == f"The last round of probe is of {day(7)}, and one is due each day."
    assert status(state, day(6)).state == STALE  # a clock went back
    assert status(fallen, day(60)).state == ALARM


def judged(number, source, score):
    name = {"logs": "asserted", "anchors": "judge"}[source]
    claims = {f"claim{i}": f"cluster{i}" for i in range(100)}
    scores = {name: {claim: float(i < 100 * score) for i, claim in enumerate(claims)}}
    return Round(f"{source}-{number}", day(number), source, "judge-a", claims, scores)


@pytest.mark.parametrize(("anchored", "blame"), [(0.9, "model"), (0.4, "judge"), (None, "model")])
def test_anchors_tell_a_judges_drift_from_a_models(tmp_path, anchored, blame):
    charts = ("asserted", "judge") if anchored is not None else ("asserted",)
    state = State.begin(tmp_path, declared(charts))
    for number in range(12):
        state.append(judged(number, "logs", 0.1 if number < 6 else 0.5))
        if anchored is not None:
            state.append(judged(number, "anchors", 0.9 if number < 6 else anchored))
    alarms = {alarm.chart: alarm for alarm in status(state, day(12)).alarms}
    assert alarms["asserted"].blame == blame and alarms["asserted"].side == "rose"
    assert ("judge" in alarms) == (blame == "judge")
    assert ("Without anchors" in alarms["asserted"].why) == (anchored is None)


def test_a_budget_that_has_run_out_is_noted(tmp_path):
    state = state_in(tmp_path, rounds=9, declaration=declared(("rejection",), budget=Budget(0.05, 3)))
    assert status(state, day(9)).notes[0] == "Rejection has run for 5 rounds; the budget was declared for 3."


def test_it_says_what_its_charts_would_find_and_what_not(tmp_path):
    state = state_in(tmp_path, rounds=7)
    rejection, acceptance, *learning = status(state, day(6)).charts
    assert 0 < rejection.finds < rejection.baseline.low and 0 < acceptance.finds < acceptance.baseline.low
    assert [one.finds for one in learning] == [None, None]
    (note,) = [one for one in status(state, day(6)).notes if "Within" in one]
    assert note == (
        f"Within 10 rounds like these would be found: rejection at {rejection.finds:.2f} or below, "
        f"acceptance at {acceptance.finds:.2f} or below."
    )
    few = {"claims": {"claim0": "cluster0"}, "scores": {"rejection": {"claim0": 1.0}}}
    small = State.begin(tmp_path / "small", declared(("rejection",)))
    for number in range(6):
        small.append(replace(probed(number), **few))
    (note,) = status(small, day(5)).notes
    assert note.startswith("No change for the worse would be found within 10 rounds like these: rejection. ")
    assert status(small, day(5)).record()["charts"][0]["finds"] is None


def test_a_digest_is_not_offered_as_something_to_load(tmp_path):
    state = state_in(tmp_path, 20, 12, declaration=replace(declared(), adapter="a" * 64))
    assert status(state, day(20)).alarms[0].next[0] == "hfvaccine validate --base you/base --adapter ADAPTER"
