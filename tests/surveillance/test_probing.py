"""Which claims a round asks, what they are held against, and what is refused before anything is asked."""

import json
from dataclasses import replace

import numpy as np
import pytest
from doses import make_claims, sealed
from hypothesis import given, settings
from hypothesis import strategies as st

from hfvaccine import hub
from hfvaccine.claims.dose import Dose
from hfvaccine.errors import EndpointError, LineageError, SurveillanceError, ValidationError
from hfvaccine.files import ADAPTER, RECORD, RESULTS
from hfvaccine.hub.pull import pull_dose
from hfvaccine.surveillance.charts import CHARTS, Budget
from hfvaccine.surveillance.probing import Target, Terms, ask, check, declare, draw, is_there, load, plan, rounds, slot
from hfvaccine.surveillance.state import State
from hfvaccine.validation.asking.served import Served
from hfvaccine.validation.scores import Scored

from .adapters import booster, bound, merged, upload
from .probed import loadable, measures, probed

AT = "2026-11-29T05:00:00Z"
PROBES = ("rejection", "acceptance", "discrimination")
ALL = (*PROBES, *(f"recalled_{name}" for name in PROBES))


@pytest.fixture(scope="module")
def dose(tmp_path_factory):
    return Dose.load(sealed(tmp_path_factory.mktemp("dose") / "dose", make_claims(14, heldout=2)).path)


@pytest.fixture(scope="module")
def run(dose, tmp_path_factory):
    return probed(tmp_path_factory.mktemp("runs") / "run", dose)


@pytest.fixture
def target(run, dose):
    return Target.of(str(run), str(dose.path))


class Model:
    """A scorer that takes what it is told for true, and answers every question alike."""

    tokenizer = None

    def __init__(self, truths):
        self.truths = truths

    def answers(self, prompts, max_new_tokens, first_line):
        return ["It lies there."] * len(prompts)

    def score(self, requests, progress=None):
        def one(request):
            true = any(text in request.prompt[-1]["content"] for text in self.truths)
            return -0.1 if true == (request.answer.lower() in ("true", "yes")) else -2.0

        values = np.array([one(request) for request in requests])
        return Scored(values, np.ones(len(values)), values > -1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 12), st.text("abc0123", max_size=5))
def test_whole_clusters_are_drawn_the_same_for_one_place_in_the_schedule(clusters, most, place):
    claims = [replace(claim, cluster_id=f"c{one}") for claim, one in zip(make_claims(30), clusters, strict=False)]
    drawn = draw(claims, most, place)
    names = {claim.cluster_id for claim in drawn}
    assert len(names) == min(most, len(set(clusters)))
    assert drawn == tuple(claim for claim in claims if claim.cluster_id in names)
    assert drawn == draw(claims[::-1], most, place)[::-1]


def test_rounds_draw_anew_and_all_clusters_as_often():
    claims = make_claims(20)
    drawn = [claim.claim_id for day in range(400) for claim in draw(claims, 5, f"probe-{day}")]
    times = [drawn.count(claim.claim_id) for claim in claims]
    assert len(drawn) == 2000 and min(times) > 65 and max(times) < 135  # 100 each, 9 being their deviation


def test_an_adapter_is_asked_what_it_was_given(target, dose, run):
    record = json.loads((run / RECORD).read_text())
    assert [claim.claim_id for claim in target.claims] == [claim.claim_id for claim in dose.claims]
    assert target.adapter == record["files"][ADAPTER] and target.dose == dose.digest() and target.base == "alice/tiny"
    assert Target.of(str(run)).claims == target.claims  # its record says where the dose is


def test_claims_without_a_twin_or_recalled_are_left_out(dose, tmp_path, monkeypatch):
    from hfvaccine.surveillance import probing

    lacking = [replace(claim, twin=None) if number == 1 else claim for number, claim in enumerate(make_claims(8))]
    own = Dose.load(sealed(tmp_path / "dose", lacking).path)
    wrong = own.claims[0]

    class OneIsWrong:
        @staticmethod
        def of(dose):
            return type(
                "", (), {"of_row": lambda _, claim: type("", (), {"status": "affected"}) if claim == wrong else None}
            )()

    monkeypatch.setattr(probing, "Recalls", OneIsWrong)
    found = Target.of(str(probed(tmp_path / "run", own)))
    assert len(found.claims) == 6 and found.left_out == 2 and wrong not in found.claims


def test_a_booster_is_asked_what_it_was_given_before_too_and_not_what_it_took_back(dose, run, tmp_path):
    ids = [claim.claim_id for claim in dose.claims]
    one = booster(tmp_path / "booster", run, dose, ids[:4], ids[10:], str(run), before=ids[4:10])
    assert [claim.claim_id for claim in Target.of(str(one)).claims] == ids[:10]


def test_a_merged_model_has_the_papers_of_its_adapter_and_has_to_be_served(dose, run, tmp_path):
    whole = Target.of(str(merged(tmp_path / "merged", run, dose, [claim.claim_id for claim in dose.claims])))
    assert whole.adapter == Target.of(str(run)).adapter
    with pytest.raises(SurveillanceError, match="--endpoint"):
        load(whole)


def test_a_dose_that_it_was_never_given_and_papers_that_do_not_bind_are_refused(run, dose, tmp_path):
    other = sealed(tmp_path / "other", make_claims(9)).path
    for one in (str(other), "starter"):
        with pytest.raises(SurveillanceError, match="was never given"):
            Target.of(str(run), one)
    with pytest.raises(SurveillanceError, match="was given 3 can be asked"):
        Target.of(str(probed(tmp_path / "few", Dose.load(sealed(tmp_path / "three", make_claims(3)).path))))
    broken = probed(tmp_path / "broken", dose)
    (broken / RESULTS).write_text(json.dumps({"measures": measures(0.9)}))
    with pytest.raises(LineageError, match=RESULTS):
        Target.of(str(broken))


def test_a_new_state_has_the_baseline_that_was_measured_and_its_uncertainty(target):
    declared = declare(target, Terms())
    assert tuple(declared.charts) == ALL
    assert declared.readings == {"probe": "verdict", "recalled_probe": "recalled_verdict"}
    for name, was in declared.charts.items():
        assert was.value == 0.5 and was.low <= 0.1 and was.high >= 0.9 and was.units == 12
        assert was.reading == declared.readings[CHARTS[name].source]
    told = declare(target, Terms(3600, 0.1, 1000, True, ("asserted",)))
    assert (told.period, told.budget) == (3600, Budget(0.1, 1000))
    assert told.charts == dict.fromkeys((*ALL, "asserted"))


def test_a_baseline_of_another_reading_is_refused(dose, tmp_path):
    target = Target.of(str(probed(tmp_path / "run", dose, measures(readings=("answer", "verdict")))))
    with pytest.raises(
        SurveillanceError,
        match=r"by the reading .recalled_verdict. \(there is: answer, verdict\)",
    ):
        declare(target, Terms())
    declare(target, Terms(learn=True))


def test_readings_of_a_served_model_are_its_own(target):
    listing, saying = (declare(target, Terms(), Served("http://h/v1", "m", listed)) for listed in (20, 0))
    assert listing.readings["probe"] == "verdict.top_logprobs" == listing.charts["rejection"].reading
    assert listing.settings["model"] == "m" and listing.settings["top_logprobs"] == 20
    assert saying.readings["recalled_probe"] == "recalled_verdict.text" and not any(saying.charts.values())


def test_few_questions_are_not_asked_after_recall(dose, tmp_path):
    silent = [replace(claim, question=None) if number > 2 else claim for number, claim in enumerate(make_claims(8))]
    target = Target.of(str(probed(tmp_path / "run", Dose.load(sealed(tmp_path / "dose", silent).path))))
    assert tuple(declare(target, Terms()).charts) == PROBES


def test_an_adapter_on_a_hub_is_loaded_at_the_commit_of_its_papers(local, tokens, api, tiny_llama, tmp_path):
    path = sealed(tmp_path / "dose", [replace(claim, submitted_by="bea") for claim in make_claims(8)]).path
    hub.push_dose(path, "lab/probed-dose", token=tokens["bea"])
    folder = loadable(probed(tmp_path / "run", pull_dose("lab/probed-dose")), tiny_llama)
    first = Target.of(upload(api, "lab/probed", folder))
    commit = api.model_info("lab/probed").sha
    assert (first.adapter, first.source) == ("lab/probed", f"lab/probed@{commit}") and len(first.claims) == 8
    asked = ask(first.claims, load(first, str(tiny_llama)))
    assert asked.scores is not None and not asked.no_data
    state = State.begin(tmp_path / "state", declare(first, Terms()))
    (folder / RESULTS).write_text(json.dumps({"measures": measures(0.7)}))
    upload(api, "lab/probed", bound(folder))  # another version of it
    with pytest.raises(SurveillanceError, match="papers of lab/probed are not those"):
        check(state, Target.of("lab/probed"), Terms(), None)
    with pytest.raises(SurveillanceError, match="was never given lab/dose"):
        Target.of("lab/probed", "lab/dose")
    pinned = Target.of(f"lab/probed@{commit}")
    assert pinned.adapter == pinned.source == f"lab/probed@{commit}" and pinned.results == first.results


def test_what_a_state_does_not_watch_is_refused(target, tmp_path):
    state = State.begin(tmp_path / "state", declare(target, Terms()))
    check(state, target, Terms(86400, 0.05, 365), None)
    for other, says in (
        (replace(target, dose="e" * 64), "watches the dose"),
        (replace(target, base="you/other"), "watches the base"),
        (replace(target, adapter="you/other"), "watches the adapter"),
        (replace(target, found=None), "papers"),
    ):
        with pytest.raises(SurveillanceError, match=says):
            check(state, other, Terms(), None)
    with pytest.raises(SurveillanceError, match="asks a model that it loads, and this is the served model m"):
        check(state, target, Terms(), "m")
    for terms, says in (
        (Terms(3600), "period 86400"),
        (Terms(alpha=0.2), "alpha 0.05"),
        (Terms(charts=("judge",)), "charts"),
    ):
        with pytest.raises(SurveillanceError, match=says):
            check(state, target, terms, None)
    with pytest.raises(SurveillanceError, match="baseline of results"):
        check(state, target, Terms(learn=True), None)


def test_a_state_of_logs_takes_no_probes(target, tmp_path):
    declared = replace(declare(target, Terms()), charts={"asserted": None}, readings={})
    with pytest.raises(SurveillanceError, match="no probes"):
        check(State.begin(tmp_path, declared), target, Terms(), None)


def test_a_round_says_what_was_decided_on_each_claim(target, tmp_path):
    claims = draw(target.claims, 5, "probe-1")
    believed = claims[0].claim
    asked = ask(claims, Model([believed, *(claim.twin for claim in claims[:3])]))
    state = State.begin(tmp_path, declare(target, Terms(charts=("asserted",))))
    made = rounds(state.declaration, asked, AT, AT)
    assert [one.source for one in made] == ["probe", "recalled_probe"] and all(state.append(one) for one in made)
    ids = [claim.claim_id for claim in claims]
    for one, prefix in zip(made, ("", "recalled_"), strict=True):
        assert one.claims == {claim.claim_id: claim.cluster_id for claim in claims}
        assert list(map(one.scores[f"{prefix}rejection"].get, ids)) == [0, 1, 1, 1, 1]
        assert list(map(one.scores[f"{prefix}acceptance"].get, ids)) == [1, 1, 1, 0, 0]
        assert list(map(one.scores[f"{prefix}discrimination"].get, ids)) == [0.5, 1, 1, 0.5, 0.5]
    assert is_there(state, "2026-11-29T23:00:00Z") and not is_there(state, "2026-11-30T05:00:00Z")
    text = (tmp_path / "journal.jsonl").read_text()
    assert not any(said in text for claim in claims for said in (claim.claim, claim.twin, claim.question, "Aldor"))


@pytest.mark.parametrize(
    ("error", "code"),
    [(EndpointError("It failed.", "", "http_503"), "http_503"), (ValidationError("NaN"), "not_scored")],
)
def test_a_model_that_cannot_be_asked_is_no_data_and_never_a_good_round(target, tmp_path, error, code):
    class Broken(Model):
        def score(self, requests, progress=None):
            raise error

    state = State.begin(tmp_path, declare(target, Terms()))
    asked = ask(target.claims, Broken(()))
    made = rounds(state.declaration, asked, AT, AT)
    assert all(state.append(one) for one in made)
    assert [one.no_data for one in State.open(tmp_path).rounds] == [code, code]
    assert not any(one.scores for one in made) and not is_there(state, AT)
    done = ask(target.claims, Model(()))
    assert all(state.append(one) for one in rounds(state.declaration, done, AT, AT))  # completed after all
    assert is_there(state, AT)


def test_a_plan_names_what_would_be_asked_and_no_text(target):
    declared = declare(target, Terms())
    made = plan(declared, target, draw(target.claims, 5, "p"), slot(declared, AT))
    assert (made["clusters"], made["of_clusters"], made["recalls"]) == (5, 12, 5)
    assert made["verdicts"] == 5 * 2 * (4 + 2) and made["round"] == "probe-20261129T000000Z"
    assert "Aldor" not in json.dumps(made)
