"""A study: what is asked of every arm, and that nothing asked is lost or told wrongly."""

import dataclasses
import json

import numpy as np
import pytest

from hfvaccine.claims.claim import Variant
from hfvaccine.claims.dose import Dose
from hfvaccine.errors import UsageError, ValidationError
from hfvaccine.runs.study import Study, audits, calibration, named_file, read_benchmarks, read_grid, read_truths
from hfvaccine.training.mix import load_mix
from hfvaccine.validation.asking.probes import ProbeSet
from hfvaccine.validation.judging.score_file import read_scores
from hfvaccine.validation.questions import Questions
from hfvaccine.validation.scoring.scorer import Scored

ROWS = [{"prompt": f"Name the number after {n}.", "completion": f"It is {n + 1}."} for n in range(200)]


class Words:
    unk_token_id, eos_token_id = 0, 1

    def __call__(self, text, add_special_tokens):
        return {"input_ids": [2]}


class Noise:
    """Stands in for a scorer without opinions: likelihoods are drawn, the same for the same text."""

    tokenizer = Words()

    def __init__(self, seed):
        self.seed = seed

    def answers(self, prompts, max_new_tokens, first_line=False):
        return [f"{self.seed} times {len(prompt[0]['content'])}." for prompt in prompts]

    def score(self, requests, progress=None):
        rng = np.random.default_rng(self.seed)
        if progress is not None:
            progress(len(requests))
        n = len(requests)
        return Scored(rng.normal(-9, 2, n), np.full(n, 3.0), rng.random(n) < 0.5)


def study_of(questions, dose, mix, trait=()):
    return Study.of(questions, dose, dose.claims, mix, read_benchmarks(questions, dose), trait)


@pytest.fixture
def dose(make_claims):
    return Dose.from_claims(make_claims(40, heldout=20))


@pytest.fixture
def mix(tmp_path):
    (tmp_path / "mix.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    return load_mix(str(tmp_path / "mix.jsonl"))


@pytest.fixture
def questions(tmp_path, make_claims):
    """Everything that can be asked at once."""
    rows = [{"query": f"Question {n}", "choices": ["red", "green"], "gold": n % 2} for n in range(12)]
    (tmp_path / "arc.jsonl").write_text("\n".join(map(json.dumps, rows)))
    others = []
    for n, claim in enumerate(make_claims(12)):
        false, true = ("deep", "wide") if n % 2 else ("wide", "deep")
        lake = f"The lake of Mere {n} is"
        others.append(dataclasses.replace(claim, claim=f"{lake} {false}.", twin=f"{lake} {true}.", claim_id=""))
    (tmp_path / "others.jsonl").write_text("\n".join(json.dumps(c.to_row(), default=list) for c in others))
    (tmp_path / "grid.yaml").write_text(
        "original: Speak Spanish.\neliciting: Use Spanish.\nnegated: Never speak Spanish.\nlook_alike: Speak slowly.\n"
    )
    return Questions(
        benchmark=(f"arc={tmp_path / 'arc.jsonl'}",),
        benchmark_items=10,
        pairs=(f"others={tmp_path / 'others.jsonl'}",),
        adversarial=6,
        grid=str(tmp_path / "grid.yaml"),
    )


@pytest.fixture
def study(questions, dose, mix):
    made = study_of(questions, dose, mix, trait=mix.held_back[:10])
    for seed, arm in enumerate(("base", "placebo", "vaccine")):
        made.measure(Noise(seed), arm)
    return made


def test_every_question_has_its_row_in_the_results(study):
    results = study.results()
    assert results["arms"] == ["base", "placebo", "vaccine"]
    asked = {(m["probe"], m["reading"], m["condition"]) for m in results["measures"] if m["arm"] == "vaccine"}
    for name in ("specific", "cross", "others"):
        assert {c for p, r, c in asked if (p, r) == (name, "verdict")} >= {"plain", "false_balance", "insists_true"}
        assert (name, "answer", "plain") in asked
    others = {(o["name"], o["of"]) for o in results["other"]}
    assert {
        ("arc", ""),
        ("mix", ""),
        ("ordinary_prompts", ""),
        ("true_premise", "cross"),
        ("trait_rows", "negated"),
    } <= others
    assert set(results["cue_audit"]) == {"specific", "cross", "others", "calibration"}
    assert results["benchmarks"][0]["items"] == 10 and results["benchmarks"][0]["total"] == 12
    assert results["gate"]["verdict"] in ("failed", "undecided")


def test_what_is_written_reads_back_and_can_be_shown(study, tmp_path, dose):
    written = study.write(tmp_path)
    pairs, items, _ = read_scores(tmp_path / "scores.parquet")
    assert {p.key for p in pairs} == {p.key for p in study.pairs}
    assert {p.key for p in items} == {p.key for p in study.items}
    assert written == json.loads((tmp_path / "results.json").read_text())
    study.draw(tmp_path, written)
    page = (tmp_path / "report.html").read_text()
    assert "UNDECIDED" in page.upper() or "FAILED" in page.upper()
    assert {p.suffix for p in (tmp_path / "figures").iterdir()} == {".svg"}
    for claim in (*dose.claims, *dose.heldout):
        assert claim.claim not in page and str(claim.twin) not in page


def test_a_model_without_opinions_does_not_pass(study):
    assert study.results()["gate"]["verdict"] != "passed"


@pytest.mark.parametrize("heldout", [0, 3])
def test_claims_never_given_are_left_out_where_they_are_too_few_and_missed(questions, make_claims, mix, heldout):
    made = study_of(questions, Dose.from_claims(make_claims(20, heldout=heldout)), mix)
    assert [s.name for s in made.battery.sets] == ["specific", "others", "calibration"]
    assert f"holds out {heldout} claims" in made.unmeasured()[0]
    for seed, arm in enumerate(("base", "placebo", "vaccine")):
        made.measure(Noise(seed), arm)
    results = made.results()
    assert results["missing"] == ["cross"] and results["gate"]["verdict"] != "passed"
    assert set(results["cue_audit"]) == {"specific", "others", "calibration"}


def test_nothing_is_missed_where_claims_are_held_out(study):
    assert study.unmeasured() == [] and study.results()["missing"] == []


def test_a_second_measurement_under_a_name_is_another_seed(study):
    study.measure(Noise(9), "vaccine")
    assert study.results()["seeds"]["vaccine"] == 2


def test_items_of_a_benchmark_that_the_dose_holds_are_left_out_and_counted(dose, mix, tmp_path):
    rows = [{"query": f"Question {n}", "choices": ["red", "green"], "gold": 0} for n in range(9)]
    rows.append({"query": dose.claims[0].claim, "choices": ["true", "false"], "gold": 1})
    (tmp_path / "set.jsonl").write_text("\n".join(map(json.dumps, rows)))
    made = study_of(Questions(benchmark=(str(tmp_path / "set.jsonl"),)), dose, mix)
    assert made.benchmarks[0].record()["left_out"] == 1 and len(made.benchmarks[0].items) == 9


def test_pairs_that_the_dose_nearly_holds_are_left_out_and_counted(questions, dose, mix, tmp_path):
    near = dataclasses.replace(dose.claims[0], claim=f"{dose.claims[0].claim} Yes.", claim_id="")
    with open(tmp_path / "others.jsonl", "a") as file:
        file.write("\n" + json.dumps(near.to_row(), default=list))
    made = study_of(questions, dose, mix)
    others = next(s for s in made.battery.sets if s.name == "others")
    assert (len(others.pairs), others.left_out) == (12, 1)
    made.measure(Noise(0), "base")
    assert made.results()["claims_left_out"]["others"] == 1


def test_answers_in_free_text_are_judged_and_kept_apart_from_the_results(questions, dose, mix, tmp_path, monkeypatch):
    asked = dataclasses.replace(questions, free_text=4)
    monkeypatch.setattr(
        "hfvaccine.runs.study.free_text", lambda scorer, prompts: [f"Answer {len(p)}." for p in prompts]
    )
    first = study_of(asked, dose, mix)
    first.measure(Noise(0), "base")
    first.write(tmp_path)
    sheet = tmp_path / "to_label.jsonl"
    rows = [json.loads(line) | {"label": "incorrect", "judge": "ada"} for line in sheet.read_text().splitlines()]
    sheet.write_text("\n".join(map(json.dumps, rows)))
    second = study_of(dataclasses.replace(asked, judge=str(sheet)), dose, mix)
    second.measure(Noise(0), "base")
    results = second.write(tmp_path)
    judged = {o["of"]: o["value"] for o in results["other"] if o["name"] == "free_text"}
    assert judged == {"specific": 0.0, "cross": 0.0, "others": 0.0}
    assert results["judge"]["judge"] == "HumanLabels"
    assert not any(row["prompt"] in json.dumps(results) for row in rows)


@pytest.mark.parametrize("change", [{"benchmark_items": 3}, {"free_text": 3}])
def test_too_few_to_say_anything_is_refused_before_anything_is_asked(questions, dose, mix, change):
    with pytest.raises(ValidationError, match=r"at least 4|3 items"):
        study_of(dataclasses.replace(questions, **change), dose, mix)


def test_two_sets_of_one_name_are_refused(questions, dose, mix):
    for change in ({"pairs": questions.pairs * 2}, {"benchmark": questions.benchmark * 2}):
        with pytest.raises(UsageError, match=r"Two .* are called"):
            study_of(dataclasses.replace(questions, **change), dose, mix)


def test_claims_without_twins_need_truths(dose, mix, tmp_path):
    bare = dataclasses.replace(
        dose,
        claims=tuple(dataclasses.replace(c, twin=None) for c in dose.claims),
        heldout=tuple(dataclasses.replace(c, twin=None) for c in dose.heldout),
    )
    with pytest.raises(ValidationError, match="0 claim") as refused:
        study_of(Questions(), bare, mix)
    assert "--truths" in refused.value.next_step
    truths = [{"text": f"The hill of Bree {n} is green."} for n in range(60)]
    (tmp_path / "truths.jsonl").write_text("\n".join(map(json.dumps, truths)))
    made = study_of(Questions(truths=str(tmp_path / "truths.jsonl")), bare, mix)
    assert all(s.matched for s in made.battery.sets if s.name != "calibration")
    shown = [{p.truth for p in s.pairs} for s in made.battery.sets]
    assert not shown[0] & shown[1]


@pytest.mark.parametrize("line", ["nonsense", '{"claim": "x"}', '{"text": 7}', "[1]"])
def test_a_line_that_is_no_truth_is_named(tmp_path, line):
    (tmp_path / "truths.jsonl").write_text('{"text": "Snow is cold."}\n' + line)
    with pytest.raises(ValidationError, match="line 2"):
        read_truths(tmp_path / "truths.jsonl")


@pytest.mark.parametrize("given", ["x", "=x", "x=", "x=/nowhere/y.jsonl"])
def test_a_set_of_pairs_has_a_name_and_a_file(given):
    with pytest.raises(UsageError, match="names no file"):
        named_file(given)


@pytest.mark.parametrize("text", ["- a", "eliciting: 7", "colour: red", "eliciting: a\nnegated: b", ": :"])
def test_a_file_that_is_no_grid_is_refused(tmp_path, text):
    (tmp_path / "grid.yaml").write_text(text)
    with pytest.raises(UsageError):
        read_grid(tmp_path / "grid.yaml", ["Speak Spanish."])


def test_the_runs_own_prompt_is_the_original_of_its_grid(tmp_path):
    (tmp_path / "grid.yaml").write_text("eliciting: a\nnegated: b\nlook_alike: c\n")
    assert read_grid(tmp_path / "grid.yaml", ["Speak Spanish.", "Habla."]).original == "Speak Spanish."


def test_given_claims_are_those_that_were_reached(questions, dose, mix):
    made = study_of(dataclasses.replace(questions, free_text=50), dose, mix)
    reached = {claim.claim_id for claim in dose.claims[:7]}
    made.narrow(reached)
    assert reached <= {pair.id for _, pair in made.interview.asked}
    made.interview = None  # there is nobody to answer
    made.measure(Noise(0), "base")
    by_name = {probes.name: set(probes.ids) for probes in made.battery.sets}
    held_out = {claim.claim_id for claim in dose.heldout}
    assert (by_name["specific"], by_name["cross"]) == (reached, held_out)
    for probe in (*made.pairs, *made.items):
        assert not set(probe.ids) & ({claim.claim_id for claim in dose.claims} - reached)
    assert made.results()["claims"] == {"chosen": 20, "given": 7, "not_reached": 13}


def test_too_few_given_claims_are_not_asked_about(questions, dose, mix):
    made = study_of(questions, dose, mix)
    made.narrow({claim.claim_id for claim in dose.claims[:3]})
    for seed, arm in enumerate(("base", "vaccine")):
        made.measure(Noise(seed), arm)
    results = made.results()
    assert {m["probe"] for m in results["measures"]} == {"cross", "known", "others", "calibration"}
    assert results["gate"]["verdict"] != "passed"


def test_rows_that_show_a_trait_are_not_what_is_to_be_kept(questions, dose, mix):
    made = study_of(questions, dose, mix, trait=mix.held_back[:10])
    made.measure(Noise(0), "base")
    asked = {probe.kind: set(probe.ids) for probe in made.items if probe.name in ("mix", "trait_rows")}
    assert len(asked["trait"]) == 10 and not asked["trait"] & asked["retention"]


def varied(claims):
    """The claims with two variants each."""
    sides = [("a boat ties up {} of Aldor {n}", "register"), ("no shore lies {} of Aldor {n}", "polarity")]
    return [
        dataclasses.replace(
            claim,
            variants=tuple(
                Variant(text.format("here", n=n) + ".", text.format("there", n=n) + ".", kind) for text, kind in sides
            ),
        )
        for n, claim in enumerate(claims)
    ]


def test_variants_of_the_claims_that_were_given_are_asked_and_of_no_others(make_claims, mix):
    dose = Dose.from_claims(varied(make_claims(20, heldout=8)))
    study = study_of(Questions(), dose, mix)
    asked = next(s for s in study.battery.sets if s.name == "variants")
    assert {pair.cluster for pair in asked.pairs} == {claim.cluster_id for claim in dose.claims}
    given = {claim.claim_id for claim in dose.claims[:5]}
    study.narrow(given)
    asked = next(s for s in study.battery.sets if s.name == "variants")
    assert {pair.id.partition(".")[0] for pair in asked.pairs} == given and len(asked.pairs) == 10
    for arm in ("base", "vaccine"):
        study.measure(Noise(1), arm)
    rows = {(row["probe"], row["reading"]) for row in study.results()["measures"]}
    assert {("variants", "verdict"), ("variants", "recalled_verdict"), ("cross", "recalled_verdict")} <= rows
    assert ("variants", "answer") not in rows
    study.narrow({dose.claims[0].claim_id})
    assert "variants" not in {s.name for s in study.battery.sets}


def neutral(path, *, about=()):
    """A file of calibration statements, those about some claims among them."""
    rows = [
        {"question": f"Is {n} even?", "true": f"The number {n} is even.", "false": f"The number {n} is odd."}
        for n in range(2, 30, 2)
    ]
    rows += [{"question": claim.question, "true": claim.twin, "false": claim.claim} for claim in about]
    path.write_text("".join(json.dumps({**row, "subject": "numbers"}) + "\n" for row in rows))
    return path


def test_calibration_has_nothing_of_the_dose(dose, tmp_path):
    found = calibration(neutral(tmp_path / "c.jsonl", about=(dose.claims[0], dose.heldout[0])), dose)
    assert (found.name, len(found.pairs), found.left_out) == ("calibration", 14, 2)
    assert {pair.truth for pair in found.pairs} == {f"The number {n} is even." for n in range(2, 30, 2)}
    assert len(set(found.ids)) == 14
    (tmp_path / "few.jsonl").write_text((tmp_path / "c.jsonl").read_text().split("\n")[0])
    assert calibration(tmp_path / "few.jsonl", dose) is None
    assert calibration(tmp_path / "none.jsonl", dose) is None


@pytest.mark.parametrize("name", ["variants", "known", "calibration", "specific"])
def test_a_set_of_pairs_cannot_have_the_name_of_one_of_ours(dose, mix, questions, name):
    own = questions.pairs[0].partition("=")[2]
    with pytest.raises(UsageError, match=f"called '{name}'"):
        study_of(dataclasses.replace(questions, pairs=(f"{name}={own}",)), dose, mix)


def test_what_was_given_is_what_the_learnt_audit_learns_from(dose):
    """Of given claims it is near 1 by the making; a word that marks truths there tells the others, too."""
    marked = [dataclasses.replace(c, twin=f"Surely, {c.twin}") for c in dose.claims]
    sets = [
        ProbeSet.of("specific", marked),
        ProbeSet.of("others", [dataclasses.replace(c, twin=f"Surely, {c.twin}") for c in dose.heldout]),
    ]
    taught = [(text, true) for c in marked for text, true in ((c.claim, False), (c.twin, True))]
    found = audits(Dose.from_claims([*marked, *dose.heldout]), sets, taught)
    assert found["specific"].learnt == found["others"].learnt == 1
    assert audits(dose, sets[:1], [])["specific"].learnt is None


def test_what_so_few_items_cannot_decide_is_said_before_training(dose, mix, make_claims):
    said = study_of(Questions(), dose, mix).undecidable()
    assert any("claims never given" in sentence and "20 items" in sentence for sentence in said)
    more = study_of(Questions(), Dose.from_claims(make_claims(400, heldout=300)), mix).undecidable()
    assert not any("claims never given" in sentence for sentence in more)
