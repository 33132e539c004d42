"""`hfvaccine validate` and `export-tasks`: what they print, what they write, and what they refuse."""

import json

import pytest
from click.testing import CliRunner
from doses import sealed
from judges import Chat
from replies import Replies
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hfvaccine import starter
from hfvaccine.claims.dose import Dose
from hfvaccine.cli import cli
from hfvaccine.errors import HfvaccineError
from hfvaccine.training.trackers import FOLDER
from hfvaccine.validation.asking.served import WORDS
from hfvaccine.validation.showing.numbers import Told


@pytest.fixture(scope="module")
def ingredients(make_claims, mix_file, tmp_path_factory):
    dose = sealed(tmp_path_factory.mktemp("ingredients") / "dose", make_claims(18, heldout=6))
    return ["--dose", str(dose.path), "--adversarial", "0", "--mix", str(mix_file)]


@pytest.fixture
def unmixed(ingredients, monkeypatch):
    """The ingredients of a served validation, which loads no mix."""
    monkeypatch.setattr("hfvaccine.runs.validate.load_mix", None)
    return ingredients[:4]


def run(*args):
    return CliRunner().invoke(cli, list(map(str, args)))


def test_a_base_is_measured_and_its_report_written(tiny_llama, ingredients, tmp_path):
    asked = ("validate", "--base", tiny_llama, *ingredients, "--dtype", "float32", "--report-to", "tensorboard")
    assert "--output-dir" in str(run(*asked).exception.next_step)
    done = run(*asked, "--output-dir", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert {"results.json", "scores.parquet", "report.html", "figures", FOLDER} == {
        p.name for p in (tmp_path / "out").iterdir()
    }
    told = Told.of_results(json.loads((tmp_path / "out" / "results.json").read_text()))
    logged = EventAccumulator(str(tmp_path / "out" / FOLDER)).Reload()
    assert {tag: logged.Scalars(tag)[0].value for tag in logged.Tags()["scalars"]} == {
        f"eval/{name}": pytest.approx(value) for name, value in told.numbers.items()
    }
    printed = run("validate", "--base", tiny_llama, *ingredients, "--dtype", "float32", "--json")
    assert json.loads(printed.stdout) == json.loads((tmp_path / "out" / "results.json").read_text())


@pytest.mark.parametrize("lists, reading", [(20, "top_logprobs"), (None, "text")])
def test_a_served_model_is_asked_for_verdicts_and_for_no_likelihood(unmixed, tmp_path, lists, reading):
    claims = Dose.load(unmixed[1])
    truths = [claim.twin for claim in (*claims.claims, *claims.heldout)]
    with Chat(Replies([*truths, *calibrating()], lists)) as chat:
        done = run(
            "validate", "--endpoint", chat.url, "--model", "adapter", *unmixed, "--output-dir", tmp_path / "out"
        )
    assert done.exit_code == 0, done.output
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    served = results["served"]
    assert (served["reading"], served["listed"], served["unclear"], served["floored"]) == (reading, lists or 0, 0, 0)
    put = [body for _, _, body in chat.asked if body["max_tokens"] == (1 if lists else WORDS)]
    assert served["asked"] == len(put) - 2  # on which it was tried what the server can do
    assert results["arms"] == ["base"] and results["gate"] is None and results["other"] == []
    found = {
        (one["probe"], one["reading"]): one["value"]
        for one in results["measures"]
        if (one["arm"], one["metric"], one["condition"]) == ("base", "auroc", "plain")
    }
    assert {key: found[key] for key in (("specific", "verdict"), ("cross", "recalled_verdict"))} == {
        ("specific", "verdict"): 1.0, ("cross", "recalled_verdict"): 1.0,
    }  # fmt: skip
    assert not any(reading == "answer" for _, reading in found)
    said = " ".join(done.stdout.split())
    assert "served model adapter" in said and "which a chat endpoint is not asked for" in said
    assert f"Of its {served['asked']} replies none held no verdict" in said and ("among 20 tokens" in said) == bool(
        lists
    )
    page = (tmp_path / "out" / "report.html").read_text()
    assert "served model adapter" in page and "A served model, measured" in page and "(missing)" not in page


@pytest.mark.parametrize("name, noted", [(None, False), ("the-real-model", True)])
def test_a_server_that_answers_as_another_model_is_noted(unmixed, tmp_path, name, noted):
    replies = Replies(calibrating())
    replies.name = name
    with Chat(replies) as chat:
        done = run("validate", "--endpoint", chat.url, "--model", "adapter", *unmixed, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["served"]["answered_as"] == [name or "adapter"]
    assert done.stderr.count("Note: ") == noted and ("answers as the-real-model" in done.stderr) == noted


def test_a_server_is_given_the_key_of_the_variable_that_is_named(unmixed, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-it")
    monkeypatch.setenv("SERVER_KEY", "its-own")
    with Chat(lambda prompt, body: (401, {})) as chat:
        run("validate", "--endpoint", chat.url, "--model", "x", "--api-key-env", "SERVER_KEY", *unmixed)
    assert {headers["Authorization"] for _, headers, _ in chat.asked} == {"Bearer its-own"}


def test_a_claim_that_a_filter_refuses_ends_no_validation(unmixed):
    replies, claim = Replies(calibrating()), Dose.load(unmixed[1]).claims[0].claim

    def filtered(prompt, body):
        refused = claim in prompt and len(body["messages"]) == 1
        return (400, {"error": {"code": "content_filter"}}) if refused else replies(prompt, body)

    with Chat(filtered) as chat:
        done = run("validate", "--endpoint", chat.url, "--model", "adapter", *unmixed)
    assert done.exit_code == 0, done.output
    assert "4 texts were refused by its server" in " ".join(done.stdout.split())  # one in each wording


def test_what_a_server_says_of_a_claim_is_not_repeated(unmixed, monkeypatch):
    monkeypatch.setattr("hfvaccine.validation.asking.endpoint.WAIT", 0.0)
    replies, asked = Replies(calibrating()), []

    def reply(prompt, body):
        asked.append(prompt)
        return (400, {"error": {"message": f"bad prompt: {prompt}"}}) if len(asked) > 40 else replies(prompt, body)

    with Chat(reply) as chat:
        done = run("validate", "--endpoint", chat.url, "--model", "adapter", *unmixed)
    assert "stopped answering (http_400)" in str(done.exception)
    assert "bad prompt" not in str(done.exception) and "Aldor" not in done.output + str(done.exception)


def calibrating():
    """The true ones of the neutral statements."""
    return [json.loads(line)["true"] for line in starter.CALIBRATION.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    "more, said",
    [
        (["--model", "x"], "go together"),
        (["--base", "x", "--api-key-env", "JUDGE_KEY"], "is of a server"),
        (["--endpoint", "http://127.0.0.1:9/v1", "--model", "x", "--base", "y"], "Both a base and an endpoint"),
        ([], "not said what is validated"),
    ],
)
def test_what_is_asked_of_no_served_model_is_a_usage_error(more, said):
    done = run("validate", *more)
    assert done.exception.exit_code == 2 and said in str(done.exception)


@pytest.mark.parametrize(
    "flag, value, said",
    [
        ("--benchmark", "a=b.jsonl", "takes likelihoods"),
        ("--benchmark-items", 9, "takes likelihoods"),
        ("--primer", __file__, "takes likelihoods"),
        ("--grid", __file__, "takes likelihoods"),
        ("--mix", "nosuch/mix", "takes likelihoods"),
        ("--gate", __file__, "judges by a control"),
        ("--dtype", "float32", "is of a model that is loaded"),
        ("--base-id", "you/model", "is of a model that is loaded"),
        ("--base-revision", "v1", "is of a model that is loaded"),
        ("--against", "placebo=x", "is of a model that is loaded"),
    ],
)
def test_what_means_nothing_of_a_served_model_is_a_usage_error_and_nothing_is_asked(flag, value, said):
    with Chat(Replies()) as chat:
        done = run("validate", "--endpoint", chat.url, "--model", "x", "--adapter", "y", flag, value)
    assert done.exception.exit_code == 2 and f"{flag} {said}" in str(done.exception) and not chat.asked


@pytest.mark.parametrize("against", ["placebo", "placebo=", "other=x", "=x"])
def test_an_arm_that_is_none_is_a_usage_error(tiny_llama, against):
    done = run("validate", "--base", tiny_llama, "--adapter", "x", "--against", against)
    assert done.exception.exit_code == 2 and "names no arm" in str(done.exception)


def test_an_arm_without_adapter_is_a_usage_error(tiny_llama):
    done = run("validate", "--base", tiny_llama, "--against", "placebo=x")
    assert done.exception.exit_code == 2 and "nothing to be held against" in str(done.exception)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--benchmark", "/nowhere/file.jsonl"), "file.jsonl"),
        (("--gate", "/nowhere/gate.yaml"), "gate.yaml"),
        (("--judge", "x"), "nothing to judge"),
        (("--pairs", "x"), "names no file"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name_before_a_model_is_loaded(tiny_llama, ingredients, flags, said):
    done = run("validate", "--base", "/nowhere/model", *ingredients, *flags)
    assert isinstance(done.exception, HfvaccineError) and said in str(done.exception)


def test_the_probes_are_written_as_tasks(ingredients, tmp_path):
    done = run("export-tasks", "--dose", ingredients[1], "--output-dir", tmp_path / "tasks", "--json")
    assert done.exit_code == 0, done.output
    tasks = json.loads(done.stdout)["tasks"]
    assert "hfvaccine_specific_verdict" in tasks and "hfvaccine_cross_answer" in tasks
    assert all((tmp_path / "tasks" / f"{task}.yaml").is_file() for task in tasks)
    again = run("export-tasks", "--dose", ingredients[1], "--output-dir", tmp_path / "tasks")
    assert isinstance(again.exception, HfvaccineError)
