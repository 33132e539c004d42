"""The journal of a monitor: what it takes, what it refuses, and what a killed writer leaves."""

import json
from dataclasses import replace

import pytest

from hfvaccine.errors import SurveillanceError, UsageError
from hfvaccine.surveillance.charts import Baseline, Budget
from hfvaccine.surveillance.state import JOURNAL, Declaration, Round, State, round_id

DECLARED = Declaration("you/adapter", "you/base", "d" * 64, {"rejection": None, "acceptance": None})
AT = "2026-11-29T05:00:00Z"


def probed(name, at=AT, score=1.0, **changes):
    claims = {f"claim{i}": f"cluster{i // 2}" for i in range(4)}
    scores = {chart: dict.fromkeys(claims, score) for chart in ("rejection", "acceptance")}
    told = {"id": name, "at": at, "source": "probe", "reading": "verdict", "claims": claims, "scores": scores}
    return Round(**told | changes)


def test_rounds_come_back_as_they_were_given(tmp_path):
    state = State.begin(tmp_path / "state", DECLARED, AT)
    first = probed("a", score=0.25, counts={"asked": 8}, tallies={"claim1": {"asserted": 2}}, adapter="you/adapter")
    missing = Round("b", AT, "probe", "verdict", no_data="http_503")
    assert state.append(first) and state.append(missing)
    again = State.open(tmp_path / "state")
    assert again.declaration == DECLARED
    assert again.rounds == (first, missing)
    assert list(again.rounds[0].units("rejection")) == [0.25, 0.25]


def test_a_round_is_counted_once(tmp_path):
    state, other = State.begin(tmp_path, DECLARED), State.begin(tmp_path, DECLARED)
    assert state.append(probed("a", score=1.0))
    assert not other.append(probed("a", score=0.0))
    assert not state.append(Round("a", AT, "probe", "verdict", no_data="timeout"))
    assert [one.scores["rejection"]["claim0"] for one in State.open(tmp_path).rounds] == [1.0]


def test_a_round_that_was_completed_after_all_counts(tmp_path):
    state = State.begin(tmp_path, DECLARED)
    assert state.append(Round("a", AT, "probe", "verdict", no_data="timeout"))
    assert not state.append(Round("a", AT, "probe", "verdict", no_data="timeout"))
    assert state.append(probed("a"))
    assert not state.append(probed("a"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"reading": "answer"}, "Readings do not compare"),
        ({"base": "you/other"}, "the base you/other"),
        ({"dose": "e" * 64}, "the dose eeee"),
        ({"at": "2026-11-28T05:00:00Z"}, "Set the clock right"),
        ({"scores": {"discrimination": {"claim0": 1.0}}}, "does not chart"),
    ],
)
def test_what_does_not_compare_is_refused_and_nothing_is_written(tmp_path, changes, says):
    state = State.begin(tmp_path, DECLARED)
    state.append(probed("a"))
    before = (tmp_path / JOURNAL).read_bytes()
    with pytest.raises(SurveillanceError, match=says):
        state.append(probed("b", **changes))
    assert (tmp_path / JOURNAL).read_bytes() == before


def test_a_clock_that_goes_back_a_little_is_noted(tmp_path):
    state = State.begin(tmp_path, DECLARED)
    state.append(probed("a"))
    state.append(probed("b", at="2026-11-29T04:58:00Z"))
    lines = [json.loads(line)["what"] for line in (tmp_path / JOURNAL).read_text().splitlines()]
    assert [what.get("clock") for what in lines] == [None, None, "back"]
    assert len(State.open(tmp_path).rounds) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "a text with blanks"},
        {"claims": {"The earth is flat.": "c"}, "scores": {"rejection": {"The earth is flat.": 1.0}}},
        {"counts": {"what they said": 1}},
        {"tallies": {"claim0": {"what they said": 1}}},
        {"scores": {}, "no_data": "the server said: hello"},
        {"scores": {"rejection": {"claim0": 1.5}}},
        {"scores": {"rejection": {"claim0": float("nan")}}},
        {"scores": {"rejection": {"unknown": 1.0}}},
        {"scores": {"asserted": {"claim0": 1.0}}},
        {"scores": {}},
        {"no_data": "timeout"},
        {"at": "yesterday"},
        {"at": "2026-11-29T05:00:00"},
    ],
)
def test_a_round_that_is_none_or_bears_a_text_cannot_be_made(changes):
    with pytest.raises(SurveillanceError):
        probed(**{"name": "a"} | changes) if "id" not in changes else replace(probed("a"), **changes)


def test_a_state_is_that_of_one_monitor(tmp_path):
    State.begin(tmp_path, DECLARED)
    for other in (replace(DECLARED, dose="other"), replace(DECLARED, budget=Budget(0.1)), replace(DECLARED, learn=9)):
        with pytest.raises(SurveillanceError, match="another folder"):
            State.begin(tmp_path, other)
    with pytest.raises(SurveillanceError, match="holds no state"):
        State.open(tmp_path / "nothing")


def test_a_baseline_of_another_reading_is_refused(tmp_path):
    of_verdicts = Baseline(0.9, 0.8, 0.95, 100, "verdict")
    with pytest.raises(SurveillanceError, match="Readings do not compare"):
        Declaration("a", "b", "c", {"rejection": of_verdicts}, readings={"probe": "choice"})
    state = State.begin(tmp_path, Declaration("a", "b", "c", {"rejection": of_verdicts}))
    with pytest.raises(SurveillanceError, match="Readings do not compare"):
        state.append(probed("a", reading="choice"))


def test_what_was_changed_is_found_and_a_torn_tail_is_cut(tmp_path):
    state = State.begin(tmp_path, DECLARED)
    for name in "abc":
        state.append(probed(name))
    path = tmp_path / JOURNAL
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[-1][:40])
    assert [one.id for one in State.open(tmp_path).rounds] == ["a", "b", "c"]
    State.open(tmp_path).append(probed("d"))
    assert path.read_bytes().startswith(whole) and len(path.read_bytes().splitlines()) == 5
    path.write_bytes(whole.replace(b'"claim1": 1.0', b'"claim1": 0.0', 1))
    for act in (lambda: State.open(tmp_path), lambda: state.append(probed("e"))):
        with pytest.raises(SurveillanceError, match="was changed after it was written"):
            act()


@pytest.mark.parametrize("left", [b"", b'{"act": "beg'])
def test_a_state_whose_first_writer_was_killed_is_begun_anew(tmp_path, left):
    (tmp_path / JOURNAL).write_bytes(left)
    assert State.find(tmp_path) is None
    State.begin(tmp_path, DECLARED, AT).append(probed("a"))
    assert [one.id for one in State.find(tmp_path).rounds] == ["a"]


def test_settings_hold_for_all_rounds_and_bear_no_text(tmp_path):
    bound = replace(DECLARED, settings={"model": "you/model", "top_logprobs": 20})
    State.begin(tmp_path, bound)
    assert State.open(tmp_path).declaration == bound
    with pytest.raises(SurveillanceError, match="another folder"):
        State.begin(tmp_path, DECLARED)
    with pytest.raises(SurveillanceError, match="cannot stand"):
        replace(DECLARED, settings={"model": "what they said"})


def test_only_known_outcomes_settle_an_alarm(tmp_path):
    state = State.begin(tmp_path, DECLARED)
    state.append(probed("a"))
    state.settle(("rejection",), "alice", "endpoint_mended")
    assert [(one.by, one.charts, one.after) for one in State.open(tmp_path).settled] == [("alice", ("rejection",), 1)]
    with pytest.raises(UsageError):
        state.settle(("rejection",), "alice", "they said it was nothing")


def test_a_round_is_named_after_its_place_in_the_schedule():
    assert round_id("probe", "2026-11-29T05:10:00Z", 3600) == round_id("probe", "2026-11-29T05:50:00Z", 3600)
    assert round_id("probe", "2026-11-29T05:10:00Z", 3600) == "probe-20261129T050000Z"
