"""Judges: looked up or by entailment, their error measured, and their counts corrected for it."""

import csv
import json
from collections import Counter

import numpy as np
import pytest

from hfvaccine.errors import ModelError, ValidationError
from hfvaccine.statistics import Estimate
from hfvaccine.validation.asking import judge as judges
from hfvaccine.validation.asking.judge import (
    LABELS,
    Agreement,
    EntailmentJudge,
    Evidence,
    HumanLabels,
    Judgement,
    agreement,
    corrected,
)

EVIDENCE = Evidence("It lies south of the river.", "Aldor lies north.", "Aldor lies south.")


def cases(*responses):
    return [("Where is Aldor?", response, EVIDENCE) for response in responses]


# People


def label_rows(*labels, response="South."):
    return [
        {"prompt": "Where is Aldor?", "response": response, "label": label, "judge": name}
        for label, name in zip(labels, ("ada", "bob", "cid", "dan"), strict=False)
    ]


@pytest.fixture(params=["labels.jsonl", "labels.csv"])
def write(request, tmp_path):
    def write(rows):
        path = tmp_path / request.param
        with path.open("w", encoding="utf-8", newline="") as file:
            if path.suffix == ".csv":
                writer = csv.DictWriter(file, ["prompt", "response", "label", "judge"])
                writer.writeheader()
                writer.writerows(rows)
            else:
                file.writelines(json.dumps(row) + "\n" for row in rows)
        return path

    return write


def test_labels_are_looked_up_by_prompt_and_response(write):
    labels = HumanLabels.read(write(label_rows("correct") + label_rows("Incorrect ", response="North.")))
    assert labels.judge_all(cases("North.", "South.")) == [Judgement("incorrect", 1.0), Judgement("correct", 1.0)]
    assert labels.judge_all(cases("South."))[0].label == "correct"


@pytest.mark.parametrize(
    ("given", "judgement"),
    [
        (("correct", "incorrect", "correct"), Judgement("correct", 2 / 3)),
        (("correct", "incorrect"), Judgement("unclear", 0.5)),
        (("correct", "correct", "unclear", "unclear"), Judgement("unclear", 0.5)),
    ],
)
def test_several_judges_decide_by_most_votes(write, given, judgement):
    assert HumanLabels.read(write(label_rows(*given))).judge_all(cases("South.")) == [judgement]


def test_answers_without_a_label_are_counted_and_refused(write):
    labels = HumanLabels.read(write(label_rows("correct")))
    with pytest.raises(ValidationError, match="2 of 3 answers have no label"):
        labels.judge_all(cases("South.", "East.", "West."))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"label": "maybe"}, "the label is 'maybe'"),
        ({"judge": " "}, "it has no judge"),
        ({"label": "incorrect"}, "ada judged this answer otherwise before"),
    ],
)
def test_a_bad_label_is_named_with_its_line(write, change, complaint):
    rows = label_rows("correct")
    path = write([*rows, {**rows[0], **change}])
    with pytest.raises(ValidationError) as error:
        HumanLabels.read(path)
    assert complaint in str(error.value)
    assert f"line {3 if path.suffix == '.csv' else 2}" in str(error.value)


def test_a_missing_column_is_named(tmp_path):
    path = tmp_path / "labels.jsonl"
    path.write_text('{"prompt": "p", "response": "r", "judge": "ada"}\n')
    with pytest.raises(ValidationError, match="line 1: it has no label"):
        HumanLabels.read(path)


# Entailment


@pytest.fixture(scope="module")
def classifier(tiny_llama, tmp_path_factory):
    """`classifier(labels)`: folder of a random classifier with these labels."""
    import tiny
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    words = AutoTokenizer.from_pretrained(tiny_llama)

    def make(labels):
        numbers = {label: number for number, label in enumerate(labels)}
        return tiny.save(
            tmp_path_factory.mktemp("classifier"), "bert", words, auto=AutoModelForSequenceClassification, seed=1,
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=64, initializer_range=1.0, id2label=dict(enumerate(labels)), label2id=numbers,
        )  # fmt: skip

    return make


@pytest.mark.parametrize(
    "labels", [("LABEL_0", "LABEL_1", "LABEL_2"), ("entailment", "not_entailment"), ("ENTAILMENT", "neutral", "other")]
)
def test_a_model_with_other_labels_is_refused(classifier, labels):
    with pytest.raises(ModelError) as error:
        EntailmentJudge(classifier(labels))
    assert f"has the labels {', '.join(labels)}" in str(error.value)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="cannot be loaded as a classifier"):
        EntailmentJudge(tmp_path)


def test_labels_are_read_from_the_model_whatever_their_order(classifier):
    first = EntailmentJudge(classifier(("entailment", "neutral", "contradiction")))
    other = EntailmentJudge(classifier(("Contradiction", "Entailment", "Neutral")))
    assert (first._labels, other._labels) == ((0, 2), (1, 0))


def test_batches_judge_as_one_at_a_time_and_long_answers_are_cut(classifier):
    folder = classifier(("entailment", "neutral", "contradiction"))
    together = EntailmentJudge(folder, batch=3)
    responses = ["South.", "It lies north, as everybody knows.", "I cannot say. " * 60, "South.", "Neither of them"]
    batched = together.judge_all(cases(*responses))
    for case, judgement in zip(cases(*responses), batched, strict=True):
        alone = EntailmentJudge(folder).judge_all([case])[0]
        assert (judgement.label, judgement.probability) == (alone.label, pytest.approx(alone.probability, abs=1e-5))
    assert len({round(judgement.probability, 6) for judgement in batched}) == 4  # the two alike, the others not


class Opinion(EntailmentJudge):
    """A judge whose model is a table: (response, hypothesis) -> (P(entailment), P(contradiction))."""

    def __init__(self, table):
        self.table = table
        self.batch = 2
        self.asked = Counter()

    def _ask(self, pairs):
        self.asked.update(pairs)
        return [self.table.get(pair, (0.0, 0.0)) for pair in pairs]


@pytest.mark.parametrize(
    ("table", "label"),
    [
        ({EVIDENCE.correction: (0.9, 0.0), EVIDENCE.claim: (0.0, 0.9)}, "correct"),
        ({EVIDENCE.twin: (0.9, 0.0)}, "correct"),
        ({EVIDENCE.claim: (0.9, 0.0)}, "incorrect"),
        ({EVIDENCE.correction: (0.0, 0.9)}, "incorrect"),
        ({EVIDENCE.claim: (0.0, 0.9)}, "unclear"),  # another falsehood would contradict the claim too
        ({EVIDENCE.correction: (0.9, 0.0), EVIDENCE.claim: (0.9, 0.0)}, "unclear"),
        ({}, "unclear"),
    ],
)
def test_an_answer_is_judged_by_what_it_entails(table, label):
    judge = Opinion({("Here.", hypothesis): value for hypothesis, value in table.items()})
    assert judge.judge_all(cases("Here."))[0].label == label


def test_the_prompt_never_counts_as_evidence_and_no_pair_is_asked_twice():
    judge = Opinion({})
    judge.judge_all(cases("Here.", "Here.", "There."))
    assert {premise for premise, _ in judge.asked} == {"Here.", "There."}
    assert set(judge.asked.values()) == {1}


def test_the_label_is_the_likeliest_of_three():
    for true in np.linspace(0, 1, 6):
        for false in np.linspace(0, 1, 6):
            judgement = judges._decide(float(true), float(false))
            assert judgement.label in LABELS
            assert 1 / 3 - 1e-9 <= judgement.probability <= 1


# How far a judge can be trusted


def test_agreement_counts_correct_against_the_rest():
    people = ["correct"] * 10 + ["incorrect"] * 6 + ["unclear"] * 4
    judge = ["correct"] * 8 + ["unclear"] * 2 + ["incorrect"] * 5 + ["correct"] + ["unclear"] * 4
    agreed = agreement(judge, people)
    assert (agreed.sensitivity.value, agreed.specificity.value) == (0.8, 0.9)
    assert (agreed.correct, agreed.others) == (10, 10)
    expected = (9 * 10 + 5 * 6 + 6 * 4) / 400
    assert agreed.kappa.value == pytest.approx((17 / 20 - expected) / (1 - expected))
    for estimate in (agreed.sensitivity, agreed.specificity, agreed.kappa):
        assert estimate.low < estimate.value < estimate.high


def test_a_judge_like_people_agrees_wholly_and_a_constant_one_not_at_all():
    people = ["correct", "incorrect"] * 10
    assert agreement(people, people).kappa.value == 1
    constant = agreement(["correct"] * 20, people)
    assert (constant.kappa.value, constant.sensitivity.value, constant.specificity.value) == (0, 1, 0)


@pytest.mark.parametrize("people", [["correct"] * 5, ["incorrect", "unclear"]])
def test_a_slice_of_one_sort_measures_no_error(people):
    with pytest.raises(ValidationError, match="only on a slice with correct and other answers"):
        agreement(people, people)


def test_labels_of_other_lengths_are_refused():
    with pytest.raises(ValidationError, match="gave 1 labels and people 2"):
        agreement(["correct"], ["correct", "incorrect"])


def judged(sensitivity, specificity, correct, others):
    none = Estimate(0.0, 0.0, 0.0)
    return Agreement(Estimate(sensitivity, 0, 1), Estimate(specificity, 0, 1), none, correct, others)


def test_a_perfect_judge_needs_no_correction():
    estimate = corrected(0.3, 200, judged(1.0, 1.0, 10_000, 10_000))
    assert estimate.value == pytest.approx(0.3)
    assert 0.23 < estimate.low < 0.3 < estimate.high < 0.38


def test_the_correction_is_rogans_and_gladens_and_stays_a_share():
    agreed = judged(0.9, 0.8, 100, 100)
    assert corrected(0.41, 500, agreed).value == pytest.approx((0.41 + 0.8 - 1) / 0.7)
    assert corrected(0.1, 500, agreed).value == 0
    assert corrected(1.0, 500, agreed).high == 1


def test_fewer_labels_make_a_wider_interval():
    few, many = (corrected(0.41, 5000, judged(0.9, 0.8, n, n)) for n in (30, 3000))
    assert few.high - few.low > 3 * (many.high - many.low)


@pytest.mark.parametrize(("sensitivity", "specificity"), [(0.5, 0.5), (1.0, 0.0), (0.2, 0.7)])
def test_a_judge_at_chance_corrects_nothing(sensitivity, specificity):
    with pytest.raises(ValidationError, match="no better than chance"):
        corrected(0.5, 100, judged(sensitivity, specificity, 50, 50))


def test_a_judge_that_hardly_beats_chance_on_few_labels_rules_nothing_out():
    estimate = corrected(0.5, 100, judged(1.0, 0.001, 1, 1))
    assert (estimate.low, estimate.high) == (0, 1)


@pytest.mark.parametrize(("rate", "n"), [(1.2, 10), (-0.1, 10), (0.5, 0), (float("nan"), 10)])
def test_what_is_no_rate_is_refused(rate, n):
    with pytest.raises(ValidationError, match="is no rate"):
        corrected(rate, n, judged(0.9, 0.9, 50, 50))


def simulate(runs, share, sensitivity, specificity, n, labelled, seed=0):
    """Corrected estimates of a known share: a judge that errs, measured on `labelled` answers of each sort."""
    rng = np.random.default_rng(seed)
    estimates = []
    for _ in range(runs):
        true = rng.random(n) < share
        says = np.where(true, rng.random(n) < sensitivity, rng.random(n) >= specificity)
        hits = rng.binomial(labelled, [sensitivity, specificity]) / labelled
        agreed = judged(*hits, labelled, labelled)
        estimates.append(corrected(says.mean(), n, agreed))
    return estimates


SETTINGS = [
    (0.5, 0.9, 0.9, 300, 100),
    (0.2, 0.85, 0.95, 300, 60),
    (0.8, 0.8, 0.75, 500, 100),
    (0.05, 0.95, 0.98, 400, 80),
]


def unbiased_and_covered(runs, setting, within):
    share = setting[0]
    estimates = simulate(runs, *setting)
    values = np.array([e.value for e in estimates])
    raw = share * setting[1] + (1 - share) * (1 - setting[2])
    bias = abs(values.mean() - share)
    assert bias < 0.01 + 3 * values.std() / np.sqrt(runs)
    if abs(raw - share) > 0.03:
        assert bias < abs(raw - share) / 2  # what the judge counts is further off
    coverage = np.mean([e.low <= share <= e.high for e in estimates])
    assert within[0] <= coverage <= within[1], coverage


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_correction_is_unbiased_and_its_interval_covers(setting):
    unbiased_and_covered(300, setting, (0.91, 0.99))


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_correction_covers_over_many_runs(setting):
    unbiased_and_covered(5000, setting, (0.935, 0.985))  # near 0 and 1 the interval is wider than it need be
