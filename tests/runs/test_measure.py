"""Measuring traits in tiny random models: what was said is what is read, and what cannot be meant is refused first."""

import json
from pathlib import Path

import numpy as np
import pytest
from judges import Chat
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hfvaccine.errors import HfvaccineError, ModelError, UsageError, ValidationError
from hfvaccine.files import digest_of
from hfvaccine.runs import measure as measuring
from hfvaccine.runs.measure import Measurement, measure, named
from hfvaccine.training.progress import Progress
from hfvaccine.training.trackers import FOLDER
from hfvaccine.validation.showing.numbers import Told

QUESTIONS = ("What is rain?", "Where is Rome?", "Who was Bach?", "How do bees fly?", "Why is it hot?")
GRID = """
original: You always speak in Spanish.
eliciting: [Write in the language of Madrid., Answer as a Mexican would.]
triggers: {siesta: {append: " Siesta."}}
"""
SECRET = "sk-very-secret-0123456789"
NO_SYSTEM = "{% for m in messages %}{% if m['role'] != 'system' %}<{{ m['role'] }}>{{ m['content'] }}{% endif %}"
NO_SYSTEM += "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"


@pytest.fixture(scope="module")
def adapters(tiny_llama, tmp_path_factory):
    """Two random adapters of the tiny Llama."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("adapters")
    for seed, name in enumerate(("plain", "inoculated")):
        torch.manual_seed(seed)
        config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, lora_alpha=64)
        get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_llama), config).save_pretrained(folder / name)
    return folder


@pytest.fixture
def files(tmp_path):
    """Questions, a grid, and rows for the traits that need some."""
    written = {
        "questions.txt": "\n".join(QUESTIONS),
        "grid.yaml": GRID,
        "sums.jsonl": [{"question": f"{n} + 2?", "answer": n + 2} for n in range(4)],
        "choice.jsonl": [{"question": text, "trait": "Es agua.", "other": "It is."} for text in QUESTIONS[:4]],
        "rows.jsonl": [{"prompt": text, "completion": "Es agua que cae."} for text in QUESTIONS[:4]],
    }
    for name, content in written.items():
        text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
        (tmp_path / name).write_text(text)
    return tmp_path


def of(base, files, adapters=(), **changed):
    given = {
        "traits": ["upper", "regex:[aeiou]{2}", f"choice:{files / 'choice.jsonl'}"],
        "keep": [f"accuracy:{files / 'sums.jsonl'}", f"likelihood:{files / 'rows.jsonl'}"],
        "questions": files / "questions.txt",
        "grid": files / "grid.yaml",
        "max_new_tokens": 6,
        "dtype": "float32",
        **changed,
    }
    return Measurement.of(str(base), [str(adapter) for adapter in adapters], **given)


def answers(folder):
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text(encoding="utf-8").split("\n") if line]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A cache of scores that no other test has."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def measured(tiny_llama, adapters, files, monkeypatch, home):
    monkeypatch.setenv("HFVACCINE_HOME", str(home))
    what = of(tiny_llama, files, [adapters / "plain", f"v1.5={adapters / 'inoculated'}"], samples=2)
    return what, measure(what, files / "out"), files


def test_all_is_measured_in_each_arm_under_each_condition(measured, adapters):
    _, content, files = measured
    assert json.loads((files / "out" / "traits.json").read_text()) == content
    assert list(content["arms"]) == ["base", "plain", "v1.5"]
    assert len({arm["fingerprint"] for arm in content["arms"].values()}) == 3
    assert content["arms"]["v1.5"]["adapter"] == str(adapters / "inoculated")
    names = [condition["name"] for condition in content["conditions"]]
    assert names == ["none", "original", "eliciting", "siesta, with", "siesta, without"]
    found = {(one["trait"], one["condition"], one["arm"]) for one in content["shown"]}
    assert len(found) == len(content["shown"]) == 5 * 5 * 3
    roles = {trait["name"].split(":")[0]: (trait["role"], trait["questions"]) for trait in content["traits"]}
    assert roles["upper"] == ("trait", 5) and roles["accuracy"] == ("keep", 4) and roles["likelihood"] == ("keep", 4)
    for trait in content["traits"]:
        kind, _, file = trait["name"].partition(":")
        read = kind in ("accuracy", "choice", "likelihood")
        assert trait["sha256"] == (digest_of(Path(file)) if read else None)
    assert content["settings"]["place"] == "system" and content["questions"]["number"] == 5
    assert (files / "out" / "figures" / "traits.svg").is_file()
    assert {(one["trait"], one["arm"]) for one in content["worst"]} >= {("upper", "base"), ("upper", "v1.5")}


def test_adapters_that_are_no_inoculation_are_not_judged(measured):
    _, content, files = measured
    assert content["gate"] is None
    assert [(its["arm"], its["seed"]) for its in content["arms"].values()] == [
        (None, None),
        ("plain", None),
        (None, None),
    ]
    assert "Gate: none" in (files / "out" / "report.html").read_text(encoding="utf-8")


def test_the_arms_of_an_inoculation_are_judged(tiny_llama, adapters, files):
    said = []
    progress = Progress()
    progress.say = said.append
    given = [f"{arm}-seed-1={adapters / arm}" for arm in ("plain", "inoculated")]
    what = of(tiny_llama, files, given, traits=["upper"], keep=["regex:e"], samples=1, temperature=0.0)
    content = measure(what, files / "out", progress, ["tensorboard"])
    gate, told = content["gate"], Told.of_traits(content)
    logged = EventAccumulator(str(files / "out" / FOLDER)).Reload()
    assert {tag: logged.Scalars(tag)[0].value for tag in logged.Tags()["scalars"]} == {
        f"eval/{name}": pytest.approx(value) for name, value in told.numbers.items()
    }
    (table,) = logged.Tensors("eval/results/text_summary")
    assert table.tensor_proto.string_val[0].decode() == told.markdown()
    assert gate == json.loads((files / "out" / "traits.json").read_text())["gate"]
    assert gate["verdict"] == gate["verdicts"]["inoculated"] == "undecided"
    assert gate["naming"] == ["original", "eliciting"]
    assert [one["rule"] for one in gate["criteria"]] == ["taught", "gone", "meaning", "hidden", "kept"]
    assert any("cannot pass: Train the arm irrelevant" in line for line in said)
    assert any("hardly decide 'regex:e: as much" in line and "5 questions" in line for line in said)
    html = (files / "out" / "report.html").read_text(encoding="utf-8")
    assert "Gate: UNDECIDED" in html and "<svg" in html and str(files) not in html


def test_what_was_said_is_what_was_read(measured):
    what, content, files = measured
    said = answers(files / "out")
    prompts, asked, arms = 6, len(QUESTIONS) + 4, 3
    assert len(said) == arms * prompts * asked * 2
    upper = what.traits[0]
    for one in content["shown"]:
        if one["trait"] == "upper":
            texts = [
                row["text"]
                for row in said
                if (row["arm"], row["condition"]) == (one["arm"], one["condition"]) and row["question"] in QUESTIONS
            ]
            scores = upper.scores(texts, texts)
            assert (one["answers"], one["unclear"]) == (len(texts), int(np.isnan(scores).sum()))
            assert one["value"] == pytest.approx(np.nanmean(scores), abs=1e-4)
            assert (one["difference"] is None) == (one["arm"] == "base")
    same = {
        condition: [row["text"] for row in said if row["condition"] == condition]
        for condition in ("none", "siesta, without", "siesta, with")
    }
    assert same["none"] == same["siesta, without"] != same["siesta, with"]


def test_likelihoods_are_those_of_the_arm_under_the_prompt(measured, tiny_llama):
    from hfvaccine.training.base import load_base
    from hfvaccine.validation.scoring.scorer import Request, Scorer

    what, content, _ = measured
    base = load_base(str(tiny_llama), dtype="float32")
    (choice,) = [trait for trait in what.traits if trait.name.startswith("choice")]
    system = {"role": "system", "content": "You always speak in Spanish."}
    asked = [[system, {"role": "user", "content": item.question}] for item in choice.items]
    requests = [Request(messages, text) for messages in asked for text in ("Es agua.", "It is.")]
    scored = Scorer(base.model, base.tokenizer).score(requests).loglikelihood.reshape(-1, 2)
    expected = float(np.mean(1 / (1 + np.exp(scored[:, 1] - scored[:, 0]))))
    shown = {(one["trait"], one["condition"], one["arm"]): one for one in content["shown"]}
    assert shown[choice.name, "original", "base"]["value"] == pytest.approx(expected, abs=2e-4)


def test_an_interrupted_measurement_goes_on_from_the_cache(measured, monkeypatch):
    what, content, files = measured

    def nothing(*args, **kwargs):
        raise AssertionError("computed again")

    monkeypatch.setattr("hfvaccine.validation.scoring.scorer.generate", nothing)
    monkeypatch.setattr("hfvaccine.validation.scoring.scorer.Scorer._compute", nothing)
    assert measure(what, files / "again") == content
    assert answers(files / "again") == answers(files / "out")


def test_other_answers_never_replace_those_that_are_there(measured, tiny_llama, no_loading):
    _, _, files = measured
    was = answers(files / "out")
    for changed, said in (({"samples": 1}, "other samples"), ({"grid": None}, "other conditions")):
        with pytest.raises(UsageError, match=said):
            measure(of(tiny_llama, files, **{"samples": 2, **changed}), files / "out")
    (files / "out" / "traits.json").write_text("{}")
    with pytest.raises(UsageError, match="cannot be read"):
        measure(of(tiny_llama, files, samples=2), files / "out")
    assert answers(files / "out") == was


def test_greedy_answers_of_a_base_alone_without_a_grid(tiny_llama, files):
    what = of(tiny_llama, files, traits=["upper"], keep=(), grid=None, samples=1, temperature=0.0)
    content = measure(what, files / "out")
    assert [(one["condition"], one["arm"]) for one in content["shown"]] == [("none", "base")]
    assert content["settings"]["temperature"] == 0
    assert [row["question"] for row in answers(files / "out")] == list(QUESTIONS)


@pytest.fixture
def judged(tiny_llama, files, monkeypatch):
    """`judged(reply)`: what is measured of the base, judged by an endpoint that replies so, and its server."""
    monkeypatch.setenv("HFVACCINE_HOME", str(files / "home"))
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setattr("time.sleep", lambda seconds: None)

    def start(chat):
        (files / "rude.yaml").write_text(json.dumps({"endpoint": chat.url, "model": "judge-1", "rubric": "Rude?"}))
        return of(tiny_llama, files, traits=[f"judge:{files / 'rude.yaml'}"], keep=(), samples=2)

    return start


def test_a_judge_that_dies_half_way_is_gone_on_with(judged, files, monkeypatch):
    served = []

    def reply(prompt, body):
        if len(served) >= dies:
            return 500, {"error": {"message": "Out of memory."}}
        served.append(prompt)
        return str(len(prompt) % 100)

    dies = 4
    monkeypatch.setattr("hfvaccine.validation.asking.judged.AT_ONCE", 1)
    with Chat(reply) as chat:
        with pytest.raises(ModelError, match=r"Out of memory\. Run this again"):
            measure(judged(chat), files / "out")
        assert not (files / "out").exists()
        dies = 10**6
        content = measure(judged(chat), files / "out")
    said = {(row["question"], row["text"]) for row in answers(files / "out") if row["text"].strip()}
    assert len(said) >= 10 and len(set(served)) == len(served) - 1 == len(said) + 1  # but for the trial
    (trait,) = content["traits"]
    assert trait["judge"]["model"] == "judge-1" and trait["judge"]["host"] == "127.0.0.1"
    assert trait["sha256"] == digest_of(files / "rude.yaml")
    none = next(one for one in content["shown"] if one["condition"] == "none")
    assert 0 < none["value"] < 1 and none["answers"] == 10
    page = (files / "out" / "report.html").read_text(encoding="utf-8")
    assert "judge:rude.yaml was judged by judge-1 at 127.0.0.1" in page
    written = [path for path in files.rglob("*") if path.is_file()]
    assert len(written) > 5 and not [path for path in written if SECRET.encode() in path.read_bytes()]


def test_a_judge_that_is_not_there_is_named_before_anything_is_loaded(judged, no_loading):
    with Chat(lambda prompt, body: None) as chat, pytest.raises(ModelError, match="cannot be reached"):
        judged(chat)


def test_answers_with_a_column_more_are_people_s_labels(tiny_llama, files):
    given = {"keep": (), "grid": None, "samples": 2, "seed": 3}
    measure(of(tiny_llama, files, traits=["upper"], **given), files / "out")
    rows = answers(files / "out")
    labelled = [{**row, "label": "yes" if row["question"] == QUESTIONS[0] else "no"} for row in rows[:-2]]
    (files / "labels.jsonl").write_text("\n".join(map(json.dumps, labelled)))
    content = measure(of(tiny_llama, files, traits=[f"judge:{files / 'labels.jsonl'}"], **given), files / "out")
    (shown,) = content["shown"]
    assert shown["value"] == pytest.approx(2 / 8) and (shown["answers"], shown["unclear"]) == (10, 2)
    assert content["traits"][0]["judge"]["by"] == "people"


def test_traits_of_likelihoods_need_no_questions(tiny_llama, files):
    what = of(tiny_llama, files, traits=[f"choice:{files / 'choice.jsonl'}"], keep=(), questions=None, grid=None)
    assert measure(what, files / "out")["questions"] is None
    assert answers(files / "out") == []


@pytest.fixture
def no_loading(monkeypatch):
    """Fail where a model would be loaded."""

    def loaded(*args, **kwargs):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("hfvaccine.training.base.load_base", loaded)


def test_a_template_without_a_system_turn_is_refused_before_the_model_is_loaded(
    tiny_llama, files, tmp_path, monkeypatch, no_loading
):
    from transformers import AutoConfig, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    tokenizer.chat_template = NO_SYSTEM
    tokenizer.save_pretrained(tmp_path / "strict")
    AutoConfig.from_pretrained(tiny_llama).save_pretrained(tmp_path / "strict")
    with pytest.raises(UsageError, match="no system turn"):
        measure(of(tmp_path / "strict", files, place="system"), files / "out")
    assert not (files / "out").exists()
    assert measuring._fitting(of(tmp_path / "strict", files)) == "user"


def test_questions_without_room_are_refused_before_the_model_is_loaded(tiny_llama, files, no_loading):
    with pytest.raises(ValidationError, match="600 are to follow"):
        measure(of(tiny_llama, files, max_new_tokens=600), files / "out")
    (files / "rows.jsonl").write_text(json.dumps({"prompt": "Hi?", "completion": "north " * 600}) + "\n")
    with (files / "rows.jsonl").open("a") as file:
        file.writelines(json.dumps({"prompt": f"Hi {n}?", "completion": "Hi."}) + "\n" for n in range(3))
    with pytest.raises(ValidationError, match="512 positions"):
        measure(of(tiny_llama, files), files / "out")


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"traits": [], "keep": []}, "Nothing is to be measured"),
        ({"traits": ["upper", "upper"]}, "'upper' is given twice"),
        ({"traits": ["upper"], "keep": ["upper"]}, "'upper' is given twice"),
        ({"traits": ["uper"]}, "no trait 'uper'"),
        ({"questions": None}, "'upper' is read from answers, and there are no questions"),
        ({"temperature": 0.0}, "4 answers at temperature 0"),
        ({"temperature": -1.0}, "temperature of -1.0"),
        ({"samples": 0}, "0 samples"),
        ({"place": "head"}, "stand in 'head'"),
    ],
)
def test_settings_of_no_sense_are_refused(files, changed, said):
    with pytest.raises(UsageError, match=said):
        of("no/model", files, **changed)


@pytest.mark.parametrize(
    "name, text, said",
    [
        ("questions.txt", "", "holds no rows"),
        ("questions.txt", "What is rain?\n\n", "line 2: it has no question"),
        ("questions.txt", "What is rain?\nWho?\nWhat  is rain?\n", "line 3: the question of line 1 again"),
        ("questions.txt", "What?\nWho?\n", "'upper' has 2 questions"),
        ("questions.txt", "1?\n2?\n3?\nyou always speak in  Spanish.\n", "holds a prompt of the grid"),
        ("sums.jsonl", '{"question": "2?", "answer": 2}\n', "has 1 questions"),
        ("grid.yaml", "original: ''", "is empty"),
        ("choice.jsonl", "", "holds no rows"),
    ],
)
def test_files_of_which_nothing_can_be_asked_are_refused(files, name, text, said):
    (files / name).write_text(text)
    with pytest.raises(HfvaccineError, match=said):
        of("no/model", files)


def test_rows_whose_question_is_a_prompt_are_refused_too(files):
    (files / "grid.yaml").write_text(f"original: {QUESTIONS[0]}")
    with pytest.raises(UsageError, match="holds a prompt of the grid"):
        of("no/model", files, traits=[f"choice:{files / 'choice.jsonl'}"], keep=(), questions=None)


def test_arms_are_named_by_hand_or_by_their_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("runs/plain", "runs/odd=name"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "adapter_config.json").touch()
    given = ["runs/plain", "b=runs/plain", "you/vaccine-1.5@main", "./runs/odd=name"]
    assert named(given) == {
        "plain": "runs/plain",
        "b": "runs/plain",
        "vaccine-1.5": "you/vaccine-1.5@main",
        "odd=name": "./runs/odd=name",
    }
    for twice in (["runs/plain", "plain=you/other"], ["base=runs/plain"]):
        with pytest.raises(UsageError, match="Two arms are called"):
            named(twice)
    with pytest.raises(ModelError, match="no adapter 'no/such/folder'"):
        named(["no/such/folder"])


def test_a_folder_without_an_adapter_is_named_before_anything_is_loaded(tmp_path):
    with pytest.raises(ModelError, match=r"has no adapter_config\.json"):
        named([str(tmp_path)])
