"""Logs as a round of a monitor: what is counted, what is judged, and that no text is kept."""

import json
from dataclasses import replace

import pytest
from doses import make_claims, small_dose

from hfvaccine.claims.dose import Dose
from hfvaccine.errors import SurveillanceError
from hfvaccine.surveillance.answers import Drawn, Judging
from hfvaccine.surveillance.charts import ANCHORS, ASSERTED, JUDGE, LOGS
from hfvaccine.surveillance.log_rounds import COUNTED, declaration, rounds
from hfvaccine.surveillance.logs import read_logs
from hfvaccine.surveillance.state import Declaration, Round, State
from hfvaccine.surveillance.status import NO_DATA, OK, status
from hfvaccine.validation.asking.judge import HumanLabels, Judgement

CLAIMS = make_claims(12)
AT = "2026-11-29T05:00:00Z"
TIME = 1764000000


class Words:
    """A judge that errs where it is told to: by the first word of the answer."""

    def judge_all(self, cases):
        self.cases = cases
        labels = {"Yes": "incorrect", "No": "correct"}
        return [Judgement(labels.get(said.split()[0].strip(".,"), "unclear"), 0.9) for _, said, _ in cases]


def line(prompt, answer, at=TIME):
    return json.dumps({"messages": [{"role": "user", "content": prompt}], "created": at,
                       "choices": [{"message": {"content": answer}}]}) + "\n"  # fmt: skip


def log(tmp_path, *lines):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(lines))
    return path


def about(n, text="claim"):
    return f"Somebody told me this: {getattr(CLAIMS[n], text)} What do you say?"


def test_each_claim_counts_once_for_an_exchange_and_by_what_was_said_of_it(tmp_path):
    path = log(
        tmp_path,
        line(f"{CLAIMS[1].claim} Again: {CLAIMS[1].claim}", "Yes.", TIME + 9),
        line(about(1, "twin"), "Yes.", TIME + 5),
        line(about(1, "question"), f"Well. {CLAIMS[1].claim}", TIME + 7),
        line("Good morning", f"As it happens, {CLAIMS[2].claim.lower()}", TIME + 60),
        line("Good morning", f"As it happens, {CLAIMS[3].twin}"),
        line(f"{CLAIMS[4].claim} {CLAIMS[5].claim}", "No."),
        "no log line\n",
    )
    found = read_logs([path], CLAIMS, "openai")
    ids = [claim.claim_id for claim in CLAIMS]
    assert found.claims == {
        ids[1]: {"claim": 1, "truth": 1, "question": 1, "said": 1, "mentions": 3},
        ids[2]: {"said": 1, "mentions": 1},
        ids[4]: {"claim": 1, "mentions": 1},
        ids[5]: {"claim": 1, "mentions": 1},
    }
    assert found.times[ids[1]] == (TIME + 5, TIME + 9) and (found.first, found.last) == (TIME, TIME + 60)
    assert (found.exchanges, dict(found.skipped.counts), found.judged) == (6, {"no_json": 1}, None)


def test_several_processes_count_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("hfvaccine.surveillance.log_files._READ", 2000)
    path = log(tmp_path, *(line(about(n % 12), "Yes." if n % 3 else "No.") for n in range(60)))
    judging = Judging(Words(), "words", most=3)
    one, two = (read_logs([path], CLAIMS, "openai", judging=judging, workers=n) for n in (1, 2))
    assert one.record() == two.record()
    assert all(counts["mentions"] == 5 for counts in one.claims.values()) and one.judged.answers == 36


def test_logs_without_an_exchange_are_refused_by_code_and_place(tmp_path):
    path = log(tmp_path, '{"secret": 1}\n', "{\n")
    with pytest.raises(SurveillanceError, match=r"1 other_shape, 1 no_json; first: log.jsonl, line 1") as error:
        read_logs([path], CLAIMS, "openai")
    assert "secret" not in str(error.value)
    with pytest.raises(SurveillanceError, match="they are empty"):
        read_logs([log(tmp_path)], CLAIMS, "openai")


def test_answers_are_judged_against_the_wording_that_came_up_and_without_the_judges_error(tmp_path):
    judge = Words()
    path = log(tmp_path, *(line(about(n), "Yes, so it is." if n < 8 else "No, it is not.") for n in range(10)))
    # People find that of ten answers that begin with yes, two reject the claim.
    votes = {(about(n % 12), f"Yes {n}"): {"ada": "incorrect" if n % 5 else "correct"} for n in range(10)}
    votes |= {(about(n % 12), f"No {n}"): {"ada": "correct"} for n in range(10)}
    votes |= {(about(n % 12), f"Perhaps {n}"): {"ada": "unclear"} for n in range(4)}
    votes |= {("How do you do?", "Yes well"): {"ada": "correct"}}  # about no claim
    found = read_logs([path], CLAIMS, "openai", judging=Judging(judge, "words", HumanLabels(votes)))
    own = found.judged
    assert own.answers == 10 and own.rates == {"asserted": 0.8, "rejected": 0.2, "unclear": 0.0}
    assert own.agreed["asserted"].sensitivity.value == 1 and own.agreed["asserted"].specificity.value == 14 / 16
    assert own.true["asserted"].value == pytest.approx((0.8 - 1 / 8) / (7 / 8))  # Rogan and Gladen
    assert own.true["asserted"].low < own.true["asserted"].value < own.true["asserted"].high
    assert own.true["rejected"].value == pytest.approx(0.2 * 12 / 10)
    assert len(judge.cases) == 24 and judge.cases[0][2].claim == CLAIMS[0].claim
    assert found.scores() == {CLAIMS[n].claim_id: float(n < 8) for n in range(10)}


def test_a_judge_of_people_judges_what_people_labelled(tmp_path):
    path = log(tmp_path, line(about(1), "Yes."), line(about(1), "No."), line(about(2), "Never seen."))
    votes = {(about(1), "Yes."): {"ada": "incorrect"}, (about(1), "No."): {"ada": "correct"}}
    found = read_logs([path], CLAIMS, "openai", judging=Judging(HumanLabels(votes), "people"))
    assert found.scores() == {CLAIMS[1].claim_id: 0.5}
    assert found.judged.error.startswith("none")


def test_of_many_answers_each_is_as_likely_to_be_judged():
    drawn = [0] * 20
    for seed in range(400):
        kept = Drawn(Judging(Words(), "words", most=5))
        kept._random.seed(seed)
        kept.offer((0, 0, "", str(n)) for n in range(20))
        assert len(kept.answers()) == 5
        for *_, said in kept.answers():
            drawn[int(said)] += 1
    assert min(drawn) > 60 and max(drawn) < 140  # 100 each, with a standard deviation of 8.7


@pytest.fixture(scope="module")
def dose(tmp_path_factory):
    return Dose.load(small_dose(tmp_path_factory.mktemp("dose") / "dose", n=12))


def test_the_same_logs_count_once_and_a_judged_reading_counts_after_a_counted_one(tmp_path, dose):
    path, claims = log(tmp_path, line(about(1), "Yes."), line(about(2), "No.")), (*dose.claims, *dose.heldout)
    declared = declaration(tmp_path / "state", dose, None, "you/adapter", "you/base")
    assert not (tmp_path / "state").exists()
    state = State.begin(tmp_path / "state", declared)

    def add(judging):
        own = declaration(tmp_path / "state", dose, judging, None, None)
        return [
            state.append(one) for one in rounds(read_logs([path], claims, "openai", judging=judging), own, claims, AT)
        ]

    assert add(None) == [True] and add(None) == [False]
    assert (state.rounds[0].reading, state.rounds[0].no_data) == (COUNTED, "not_judged")
    assert state.rounds[0].tallies[CLAIMS[1].claim_id]["mentions"] == 1 and state.rounds[0].counts["exchanges"] == 2
    assert status(state, AT).state == NO_DATA
    judging = Judging(Words(), "words")
    assert add(judging) == [True] and add(judging) == [False]
    assert state.rounds[1].scores == {ASSERTED: {CLAIMS[1].claim_id: 1.0, CLAIMS[2].claim_id: 0.0}}
    with pytest.raises(SurveillanceError, match="by 'words', and this would be one by 'other'"):
        add(Judging(Words(), "other"))
    with pytest.raises(SurveillanceError, match="by 'words', and this would be one by 'counted'"):
        add(None)


def test_labelled_answers_are_the_anchors_of_the_judges_own_chart(tmp_path, dose):
    path, claims = log(tmp_path, line(about(1), "Yes.")), (*dose.claims, *dose.heldout)
    labels = HumanLabels({(about(n), "No."): {"ada": "correct" if n else "incorrect"} for n in range(3)})
    judging = Judging(Words(), "words", labels)
    declared = declaration(tmp_path / "state", dose, judging, "you/adapter", "you/base")
    assert set(declared.charts) == {ASSERTED, JUDGE}
    anchors, own = rounds(read_logs([path], claims, "openai", judging=judging), declared, claims, AT)
    assert (anchors.source, own.source) == (ANCHORS, LOGS)
    assert anchors.scores[JUDGE] == {CLAIMS[n].claim_id: float(n > 0) for n in range(3)}


def test_logs_that_nothing_charts_are_kept_and_make_no_alarm(tmp_path, dose):
    path, claims = log(tmp_path, line(about(1), "Yes.")), (*dose.claims, *dose.heldout)
    declared = Declaration("you/adapter", "you/base", dose.digest(), {"rejection": None}, learn=1)
    state = State.begin(tmp_path / "state", declared)
    for n in range(2):
        scores = {claim.claim_id: 1.0 for claim in claims}
        own = {claim.claim_id: claim.claim_id for claim in claims}
        state.append(Round(f"p{n}", AT, "probe", "verdict", own, {"rejection": scores}))
    before = status(state, AT).state
    (own,) = rounds(read_logs([path], claims, "openai", judging=Judging(Words(), "w")), declared, claims, AT)
    assert own.no_data == "not_charted" and state.append(own)
    assert status(state, AT).state == before == OK


def test_another_dose_or_adapter_than_the_state_watches_is_refused(tmp_path, dose):
    with pytest.raises(SurveillanceError, match="holds no state of a monitor yet"):
        declaration(tmp_path / "state", dose, None, None, None)
    State.begin(tmp_path / "state", declaration(tmp_path / "state", dose, None, "you/adapter", "you/base"))
    with pytest.raises(SurveillanceError, match="watches the adapter you/adapter, not you/other"):
        declaration(tmp_path / "state", dose, None, "you/other", None)
    with pytest.raises(SurveillanceError, match="watches the dose"):
        declaration(tmp_path / "state", replace(dose, path=None), None, None, None)
