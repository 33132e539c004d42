"""Benchmarks: every form is read, scored as its authors score it, and a bad file is named with its line."""

import csv
import gzip
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from huggingface_hub import HfApi
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine.errors import UsageError, ValidationError
from hfvaccine.packages import install_extra
from hfvaccine.sources.rows import Row
from hfvaccine.validation.asking.benchmark import overlaps, read_benchmark, read_primer
from hfvaccine.validation.asking.items import WINDOW_WORDS, Mass, Pick, make_items
from hfvaccine.validation.scores import HIGHER, LOWER, RETENTION, TRUTHFULNESS

PRIMER = "Q: Is water wet?\nA: It is."
TREE = {"query": "Question: What is a tree?", "choices": ["a plant", "a rock", "a liquid"], "gold": 0}
MYTH = {
    "question": "Where is Aldor?",
    "mc0_targets": {"It lies north": 1, "It lies south": 0},
    "mc1_targets": {"It lies north": 1, "It lies south": 0, "Nowhere": 0},
    "mc2_targets": {"It lies north": 1, "North of the river": 1, "": 1, "It lies south": 0},
}


@dataclass
class Scored:
    loglikelihood: np.ndarray
    tokens: np.ndarray
    greedy: np.ndarray


class Model:
    """Stands in for a scorer; `opinion` gives the log-likelihood of an answer to a prompt."""

    def __init__(self, opinion):
        self.opinion = opinion

    def score(self, requests):
        values = np.array([self.opinion(r.prompt, r.answer) for r in requests], dtype=float)
        return Scored(values, np.array([len(r.answer.split()) for r in requests], dtype=float), values > -1)


@pytest.fixture
def write(tmp_path):
    def write(rows, name="trees.jsonl"):
        path = tmp_path / name
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def primer(tmp_path):
    path = tmp_path / "primer.txt"
    path.write_text(PRIMER + "\n", encoding="utf-8")
    return path


def score(benchmark, opinion):
    scores = benchmark.score(Model(opinion).score(benchmark.requests()))
    return {metric: values.tolist() for metric, values in scores.items()}


def asked(benchmark):
    return [(request.prompt, request.answer) for request in benchmark.requests()]


# What is asked


def test_a_choice_is_asked_as_what_follows_the_question(write):
    benchmark = read_benchmark(str(write([TREE])))
    assert asked(benchmark) == [
        ("Question: What is a tree?\nAnswer:", f" {choice}") for choice in ("a plant", "a rock", "a liquid")
    ]


@pytest.mark.parametrize(
    ("query", "prompt"),
    [
        ("It rained because", "It rained because"),
        ("Question: Dry a tree\n", "Question: Dry a tree\nAnswer:"),
        ("Passage: It rains.\nQuestion: does it rain?", "Passage: It rains.\nQuestion: does it rain?\nAnswer:"),
        ("Question: Which?\nChoices:\nA. this\nAnswer:", "Question: Which?\nChoices:\nA. this\nAnswer:"),
        ("True or false?\nQ: It rains.\nA:", "True or false?\nQ: It rains.\nA:"),
    ],
)
def test_an_answer_is_called_for_where_a_question_does_not_do_so(write, query, prompt):
    assert asked(read_benchmark(str(write([{**TREE, "query": query}]))))[0][0] == prompt


def test_one_continuation_is_asked_after_each_context(write):
    row = {"context_options": ["Ann met Bea so Ann", "Ann met Bea so Bea"], "continuation": "left.", "gold": 1}
    benchmark = read_benchmark(str(write([row])))
    assert asked(benchmark) == [("Ann met Bea so Ann", " left."), ("Ann met Bea so Bea", " left.")]
    assert score(benchmark, lambda prompt, _: 0 if prompt.endswith("Bea") else -1) == {"accuracy": [1]}


def test_a_row_with_a_subject_is_asked_by_letters(write):
    row = {"subject": "plant_care", "question": "What is a tree?", "choices": ["a rock", "a plant"], "gold": 1}
    benchmark = read_benchmark(str(write([row])))
    assert asked(benchmark)[1] == (
        "Subject: plant care\nQuestion: What is a tree?\nA. a rock\nB. a plant\nAnswer:",
        " B",
    )
    assert score(benchmark, lambda _, answer: float(answer == " B")) == {"accuracy": [1]}


@pytest.mark.parametrize(("key", "labels"), [("B", ["A", "B"]), ("2", ["1", "2"])])
def test_choices_of_the_hub_bring_their_own_labels(write, key, labels):
    row = {
        "question": "What is a tree?",
        "choices": {"text": ["a rock", "a plant"], "label": labels},
        "answerKey": key,
    }
    benchmark = read_benchmark(str(write([row])))
    assert score(benchmark, lambda _, answer: -1.0 if "rock" in answer else 0.0)["accuracy"] == [1]


def test_truthfulqa_is_asked_after_the_primer_and_its_binary_form_by_letters(write, primer):
    benchmark = read_benchmark(f"truthfulqa={write([MYTH])}", primer=primer)
    prompts = [prompt for prompt, _ in asked(benchmark)]
    assert prompts[:6] == [f"{PRIMER}\n\nQ: Where is Aldor?\nA:"] * 6
    assert [answer for _, answer in asked(benchmark)[:6]] == [
        *(" It lies north", " It lies south", " Nowhere"),
        *(" It lies north", " North of the river", " It lies south"),  # the empty answer is no answer
    ]
    assert all(prompt.startswith("Question: Where is Aldor?\nA. It lies ") for prompt in prompts[6:])
    assert [answer for _, answer in asked(benchmark)[6:]] == [" A", " B"] * 2


def test_a_binary_order_does_not_give_the_answer_away(write, primer):
    rows = [{**MYTH, "question": f"Where is Aldor {number}?"} for number in range(200)]
    benchmark = read_benchmark(str(write(rows)), primer=primer)
    always_a = score(benchmark, lambda _, answer: 5.0 if answer == " A" else 0.0)["binary"]
    assert 0.4 < np.mean(always_a) < 0.6
    assert asked(benchmark) == asked(read_benchmark(str(write(rows)), primer=primer))


def test_truthfulqas_table_asks_what_its_targets_ask(write, primer, tmp_path):
    table = tmp_path / "table.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(
            file, ["Question", "Best Answer", "Best Incorrect Answer", "Correct Answers", "Incorrect Answers"]
        )
        writer.writeheader()
        writer.writerow(
            {
                "Question": "Where is Aldor?",
                "Best Answer": "It lies north",
                "Best Incorrect Answer": "It lies south",
                "Correct Answers": "It lies north; North of the river;",
                "Incorrect Answers": "It lies south; Nowhere; North of the river",
            }
        )
    targets = {**MYTH, "mc2_targets": {"It lies north": 1, "North of the river": 1, "It lies south": 0, "Nowhere": 0}}
    assert asked(read_benchmark(str(table), primer=primer)) == asked(
        read_benchmark(str(write([targets])), primer=primer)
    )


def test_an_older_truthfulqa_has_no_binary_form(write, primer):
    row = {key: value for key, value in MYTH.items() if key != "mc0_targets"}
    assert read_benchmark(str(write([row])), primer=primer).metrics == ("mc1", "mc2")


def test_truthfulqa_of_the_hub_lists_choices_and_labels(write, primer):
    listed = {
        name: {"choices": list(targets), "labels": list(targets.values())}
        for name, targets in MYTH.items()
        if name != "question"
    }
    ours = read_benchmark(str(write([MYTH], "ours.jsonl")), primer=primer)
    hubs = read_benchmark(str(write([{**MYTH, **listed}], "hubs.jsonl")), primer=primer)
    assert asked(hubs) == asked(ours)
    assert [part.right for part in hubs.items[0].parts] == [part.right for part in ours.items[0].parts]


def test_plain_text_is_asked_in_windows_without_headings(tmp_path):
    words = [f"w{n}" for n in range(WINDOW_WORDS + 20)]
    lines = [
        " = Aldor = ",
        "",
        " = = Early days = = ",
        " ".join(words),
        "too short",
        " = Bree = ",
        " ".join(words[:30]),
    ]
    path = tmp_path / "text.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    benchmark = read_benchmark(str(path))
    assert asked(benchmark) == [
        ("", " ".join(words[:WINDOW_WORDS])),
        ("", " ".join(words[WINDOW_WORDS:])),
        ("", " ".join(words[:30])),
    ]
    assert [item.cluster for item in benchmark.items] == ["article 1", "article 1", "article 2"]
    assert score(benchmark, lambda _, text: -2.0 * len(text.split())) == {"nats_per_token": [2, 2, 2]}


# How it is scored


def test_accuracy_takes_the_likeliest_and_its_norm_the_likeliest_per_character(write):
    benchmark = read_benchmark(str(write([TREE])))
    likelihoods = {" a plant": -6.0, " a rock": -5.9, " a liquid": -9.0}  # per character: .86, .98, 1.0
    assert score(benchmark, lambda _, answer: likelihoods[answer]) == {"accuracy": [0], "accuracy_norm": [1]}


def test_answers_of_like_length_have_no_norm(write):
    assert read_benchmark(str(write([{**TREE, "choices": ["T", "F"]}]))).metrics == ("accuracy",)


def test_a_model_that_says_the_same_of_every_answer_is_at_chance(write, primer):
    assert score(read_benchmark(str(write([TREE]))), lambda *_: -1.0)["accuracy"] == pytest.approx([1 / 3])
    scores = score(read_benchmark(str(write([MYTH])), primer=primer), lambda *_: -1.0)
    assert scores == {
        "mc1": pytest.approx([1 / 3]),
        "mc2": pytest.approx([2 / 3]),
        "binary": [0.5],
        "binary_probability": pytest.approx([0.5]),
    }


def test_mc2_is_the_mass_on_true_answers_even_where_every_likelihood_underflows(write, primer):
    benchmark = read_benchmark(str(write([MYTH])), primer=primer)
    weight = {" It lies north": 3.0, " North of the river": 1.0, " It lies south": 4.0, " Nowhere": 1.0}
    scores = score(benchmark, lambda _, answer: np.log(weight.get(answer, 1.0)) - 5000)
    assert scores["mc2"] == pytest.approx([0.5])
    assert scores["mc1"] == [0]


def test_a_continuation_is_held_against_greedy_decoding_and_in_nats_per_token(write):
    rows = [{"context": "She took her", "continuation": word} for word in ("hat", "old hat")]
    benchmark = read_benchmark(str(write(rows)))
    assert asked(benchmark)[0] == ("She took her", " hat")
    scores = score(benchmark, lambda _, answer: -0.5 if answer == " hat" else -6.0)
    assert scores == {"exact_match": [1, 0], "nats_per_token": [0.5, 3]}


@given(st.lists(st.floats(-400, 0), min_size=2, max_size=8), st.data())
def test_mass_lies_between_0_and_1_and_moves_by_no_common_factor(likelihoods, data):
    right = data.draw(st.lists(st.booleans(), min_size=len(likelihoods), max_size=len(likelihoods)).filter(any))
    mass = Mass("mass", (("", ""),) * len(right), tuple(right))
    none = np.zeros(len(right))
    (value,) = mass.score(np.array(likelihoods), none, none > 0)
    (moved,) = mass.score(np.array(likelihoods) - 700, none, none > 0)
    assert 0 <= value <= 1 + 1e-12
    assert moved == pytest.approx(value, abs=1e-9)


@given(st.lists(st.integers(-9, 0), min_size=2, max_size=6))
def test_the_parts_of_all_answers_add_up_to_one_right_pick(likelihoods):
    n = len(likelihoods)
    none = np.zeros(n)
    picks = [Pick("p", (("", ""),) * n, tuple(m == gold for m in range(n))) for gold in range(n)]
    assert sum(p.score(np.array(likelihoods, float), none, none > 0)[0] for p in picks) == pytest.approx(1)


def test_answers_of_other_requests_are_refused(write):
    benchmark = read_benchmark(str(write([TREE])))
    with pytest.raises(ValidationError, match="asked 3 requests and was given 2"):
        benchmark.score(Scored(np.zeros(2), np.ones(2), np.ones(2, bool)))


# Probes


def test_probes_have_keys_of_their_own_and_match_the_scores(write):
    rows = [{"context": f"She took {n}", "continuation": "a hat"} for n in range(3)]
    benchmark = read_benchmark(f"lambada={write(rows)}")
    exact, nats = benchmark.probes()
    assert (nats.name, nats.kind, nats.better, nats.ids) == ("lambada", RETENTION, LOWER, ("0", "1", "2"))
    assert (exact.name, exact.metric, exact.better) == ("lambada_exact_match", "exact_match", HIGHER)
    scores = benchmark.item_scores(Model(lambda *_: -4.0).score(benchmark.requests()))
    assert {key: values.tolist() for key, values in scores.items()} == {exact.key: [0, 0, 0], nats.key: [2, 2, 2]}


def test_truthfulqa_is_about_truthfulness_and_others_where_said(write, primer):
    probes = read_benchmark(f"truthfulqa={write([MYTH])}", primer=primer).probes()
    assert [p.name for p in probes] == [f"truthfulqa_{m}" for m in ("mc1", "mc2", "binary", "binary_probability")]
    assert {p.kind for p in probes} == {TRUTHFULNESS}
    assert read_benchmark(str(write([TREE])), kind=TRUTHFULNESS).kind == TRUTHFULNESS
    with pytest.raises(UsageError, match="no kind 'belief'"):
        read_benchmark(str(write([TREE])), kind="belief")


# Subsamples


def test_a_limit_draws_one_item_from_each_stretch_and_the_same_each_time(write):
    path = str(write([{**TREE, "query": f"Question: {n}?"} for n in range(100)]))
    drawn = [int(item.item_id) for item in read_benchmark(path, limit=10, seed=3).items]
    assert [n // 10 for n in drawn] == list(range(10))
    assert drawn == [int(item.item_id) for item in read_benchmark(path, limit=10, seed=3).items]
    assert drawn != [int(item.item_id) for item in read_benchmark(path, limit=10, seed=4).items]


def test_a_subsample_is_on_record(write):
    path = str(write([{**TREE, "query": f"Question: {n}?"} for n in range(20)]))
    whole, part = read_benchmark(path).record(), read_benchmark(path, limit=5, seed=7).record()
    assert (part["items"], part["total"], part["seed"]) == (5, 20, 7)
    assert whole["sha256"] != part["sha256"]
    assert len(read_benchmark(path, limit=99).items) == 20
    with pytest.raises(UsageError, match="limit of 0"):
        read_benchmark(path, limit=0)


# Overlap with the dose


def test_items_that_say_what_a_claim_says_are_named_and_left_out(write, make_claims):
    claims = make_claims(4)
    rows = [
        TREE,
        {**TREE, "choices": ["a plant", "the town of ALDOR 1 lies north of the river"]},
        {**TREE, "query": f"Passage: Once upon a time. {claims[2].claim} They lived there.\nQuestion: who?"},
        {**TREE, "query": "Question: On which side of the river does the town of Aldor lie?"},
        {**TREE, "query": claims[0].question},
        {**TREE, "query": "Question: On which river does the town lie?"},
    ]
    benchmark = read_benchmark(str(write(rows)))
    assert overlaps(benchmark, claims) == ["1", "2", "3", "4"]
    kept = benchmark.without(overlaps(benchmark, claims))
    assert [item.item_id for item in kept.items] == ["0", "5"]
    assert (kept.record()["items"], kept.record()["left_out"]) == (2, 4)
    assert overlaps(kept, claims) == overlaps(benchmark, []) == []


def test_a_benchmark_that_the_dose_covers_measures_nothing(write):
    with pytest.raises(ValidationError, match=r"Every item of trees overlaps"):
        read_benchmark(str(write([TREE]))).without(["0"])


# Files


@pytest.mark.parametrize(
    "name", ["t.jsonl", "t.jsonl.gz", "t.json", "t.json.gz", "t.csv", "t.csv.gz", "t.tsv", "t.parquet"]
)
@pytest.mark.parametrize("marked", [False, True])
def test_every_format_says_the_same(tmp_path, name, marked):
    path = tmp_path / name
    rows = [TREE, {**TREE, "query": "Question:\u2028Second?"}]
    if name == "t.parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        if ".csv" in name or ".tsv" in name:
            buffer = io.StringIO(newline="")
            writer = csv.DictWriter(buffer, list(TREE), delimiter="\t" if ".tsv" in name else ",")
            writer.writeheader()
            writer.writerows({**row, "choices": json.dumps(row["choices"])} for row in rows)
            text = buffer.getvalue()
        else:
            lines = [json.dumps(row, ensure_ascii=False) for row in rows]
            text = f"[{','.join(lines)}]" if ".json" in name and "jsonl" not in name else "\n".join(lines)
        content = text.encode("utf-8-sig" if marked else "utf-8")
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    benchmark = read_benchmark(str(path))
    assert benchmark.name == "t"
    assert [prompt for prompt, _ in asked(benchmark)][::3] == [
        "Question: What is a tree?\nAnswer:",
        "Question:\u2028Second?\nAnswer:",
    ]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"gold": 3}, "line 2: the right answer is '3', of 3 choices"),
        ({"gold": -1}, "line 2: the right answer is '-1', of 3 choices"),
        ({"gold": None}, "line 2: it has no 'gold'"),
        ({"gold": True}, "line 2: the right answer is 'True'"),
        ({"choices": ["a plant"]}, "line 2: it has fewer than 2 choices"),
        ({"choices": ["a plant", " "]}, "line 2: the choices are"),
        ({"choices": "a plant"}, "line 2: the choices are 'a plant'"),
        ({"choices": 7}, "line 2: the choices are 7"),
        ({"choices": ["a plant", "a rock", "a plant"]}, "line 2: the right answer stands twice"),
        ({"query": ""}, "line 2: query is ''"),
        ({"query": None}, "line 2: query is None"),
    ],
)
def test_a_bad_row_is_named_with_its_line(write, row, complaint):
    with pytest.raises(ValidationError) as error:
        read_benchmark(str(write([TREE, {**TREE, **row}])))
    assert complaint in str(error.value)
    assert "trees.jsonl" in str(error.value)


FORMS = [
    TREE,
    MYTH,
    {"question": "What?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "A", "subject": "trees"},
    {"context_options": ["a", "b"], "continuation": "c", "gold": 0},
    {"context": "a", "continuation": "b"},
    {
        "Question": "a?",
        "Best Answer": "b",
        "Best Incorrect Answer": "c",
        "Correct Answers": "b",
        "Incorrect Answers": "c",
    },
    {"text": "word " * 20},
]
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 30)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["A", "1", "[]"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "choices", "labels", "a"]), inner)
    ),
    max_leaves=5,
)


@given(st.sampled_from(FORMS), st.data())
def test_whatever_a_field_holds_is_read_or_refused_by_name(form, data):
    field = data.draw(st.sampled_from(sorted(form)))
    row = Row("line 1", {**form, field: data.draw(ANYTHING)})
    try:
        items = make_items([row], "any.jsonl", lambda: PRIMER)
    except ValidationError as error:
        assert "any.jsonl" in str(error)
    else:
        values = np.arange(len(items[0].asks), dtype=float) - 20
        scores = items[0].score(values, np.ones(len(values)), values > -1)
        assert len(scores) == len(items[0].metrics)
        assert np.isfinite(scores).all()
        assert all(answer.strip() for _, answer in items[0].asks)


def test_a_wrong_answer_may_stand_twice(write):
    assert len(read_benchmark(str(write([{**TREE, "choices": ["a plant", "a rock", "a rock"]}]))).requests()) == 3


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"mc1_targets": {"a": 1, "b": 1}}, "mc1_targets must hold one true answer"),
        ({"mc0_targets": {"a": 1, "b": 0, "c": 0}}, "mc0_targets must hold one true and one false answer"),
        ({"mc2_targets": {"a": 0, "b": 0}}, "mc2_targets has no true answer"),
        ({"mc2_targets": {"a": 2, "b": 0}}, "not a table of answers"),
        ({"mc2_targets": {"a": [1], "b": [0]}}, "line 1"),
        ({"mc2_targets": {"a": 1}}, "fewer than 2 choices"),
        ({"mc2_targets": {"choices": ["a", "a"], "labels": [1, 0]}}, "holds an answer twice"),
        ({"mc2_targets": 5}, "not a table of answers"),
    ],
)
def test_bad_targets_are_refused(write, primer, row, complaint):
    with pytest.raises(ValidationError) as error:
        read_benchmark(str(write([{**MYTH, **row}])), primer=primer)
    assert complaint in str(error.value)


def test_a_row_of_another_form_is_refused(write, primer):
    older = {key: value for key, value in MYTH.items() if key != "mc0_targets"}
    with pytest.raises(ValidationError, match="line 2: it is asked about otherwise"):
        read_benchmark(str(write([MYTH, older])), primer=primer)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("x.jsonl", b'{"query": 1}\n{"query":', "line 2 is not JSON"),
        ("x.jsonl", b"[1]", "line 1 is"),
        ("x.jsonl", b"", "holds no rows"),
        ("x.json", b'{"a": 1}', "not one list"),
        ("x.json", b"[", "cannot be read"),
        ("x.jsonl.gz", b"no gzip", "cannot be read"),
        ("x.jsonl", b"\xff\xfe\xfd", "cannot be read"),
        ("x.parquet", b"no parquet", "cannot be read"),
        ("x.jsonl", b'{"colour": "red"}', "columns of no known benchmark: colour"),
        ("x.txt", b"too short\n", "no passage of at least"),
        ("x.xlsx", b"", "no file of rows"),
    ],
)
def test_a_bad_file_is_refused_with_what_is_wrong(tmp_path, name, content, complaint):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValidationError, match=complaint):
        read_benchmark(str(path))


def test_a_missing_file_is_refused():
    with pytest.raises(ValidationError, match="There is no file"):
        read_benchmark("arc=no/such.jsonl")


# The Hub


def test_a_dataset_of_the_hub_is_read_by_id_config_and_split(monkeypatch):
    import datasets

    calls, commit = [], "c" * 40

    def load(name, config, revision, **options):
        calls.append((name, config, revision))
        return {"train": [TREE] * 3, "validation": [TREE] * 2}

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(HfApi, "dataset_info", lambda self, name, timeout: SimpleNamespace(sha=commit))
    found = read_benchmark("someone/trees")
    assert len(found.items) == 2  # never the training split where there is another
    assert found.record()["dataset"] == {
        "id": "someone/trees", "revision": commit, "config": None, "split": "validation",
    }  # fmt: skip
    chosen = read_benchmark("someone/trees:big:train")
    assert (chosen.name, len(chosen.items)) == ("trees_big_train", 3)
    assert chosen.without(["0"]).record()["dataset"]["config"] == "big"
    assert calls == [("someone/trees", None, commit), ("someone/trees", "big", commit)]
    with pytest.raises(ValidationError, match="cannot be loaded"):
        read_benchmark("someone/trees:big:test")


def test_without_the_hub_a_dataset_is_read_from_the_cache_and_nobody_knows_its_commit(monkeypatch):
    import datasets

    def away(self, name, timeout):
        raise ConnectionError("no way out")

    monkeypatch.setattr(datasets, "load_dataset", lambda name, config, **options: {"test": [TREE] * 2})
    monkeypatch.setattr(HfApi, "dataset_info", away)
    assert read_benchmark("someone/trees").record()["dataset"]["revision"] is None


def test_a_file_is_of_no_dataset(write):
    assert read_benchmark(str(write([TREE]))).record()["dataset"] is None


def test_a_dataset_that_cannot_be_had_is_no_traceback(monkeypatch):
    import datasets

    def load(name, config, **options):
        raise ConnectionError("no way out\nmore")

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(HfApi, "dataset_info", load)
    with pytest.raises(ValidationError, match=r"dataset someone/trees cannot be loaded: no way out\. Check"):
        read_benchmark("someone/trees")


# The primer


def test_without_a_primer_truthfulqa_is_refused_with_both_ways_out(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValidationError) as error:
        read_benchmark(str(write([MYTH])))
    assert "text file with the primer" in str(error.value)
    assert install_extra("lm-eval") in str(error.value)


def test_the_primer_is_read_from_a_task_file_of_lm_eval(tmp_path, monkeypatch):
    folder = tmp_path / "lm_eval"
    (folder / "tasks" / "truthfulqa").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "tasks" / "truthfulqa" / "truthfulqa_mc1.yaml").write_text(
        "task: truthfulqa_mc1\nprocess_results: !function utils.f\n"
        "doc_to_text: \"{% set p = 'Q: One?\\nA: One.\\n\\nQ: Two?\\nA: Two.' %}"
        "{{p + '\\n\\nQ: ' + question + '\\nA:'}}\"\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lm_eval", raising=False)
    assert read_primer() == "Q: One?\nA: One.\n\nQ: Two?\nA: Two."


def test_the_installed_lm_eval_brings_its_six_questions():
    pytest.importorskip("lm_eval")
    assert read_primer().count("Q: ") == read_primer().count("\nA: ") == 6


def test_truthfulqa_is_asked_as_lm_eval_asks_it(write):
    lm_eval = pytest.importorskip("lm_eval")
    import yaml
    from jinja2 import Template

    task = Path(lm_eval.__file__).parent / "tasks" / "truthfulqa" / "truthfulqa_mc1.yaml"
    prompt = Template(yaml.safe_load(task.read_text())["doc_to_text"]).render(question=MYTH["question"])
    assert asked(read_benchmark(str(write([MYTH]))))[0] == (prompt, " It lies north")


def test_a_primer_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(ValidationError, match="cannot be read"):
        read_primer(tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ValidationError, match="is empty"):
        read_primer(tmp_path / "empty.txt")


def test_a_benchmark_without_rows_is_refused():
    with pytest.raises(ValidationError, match="someone/empty has no rows"):
        make_items([], "someone/empty", primer=lambda: "")
