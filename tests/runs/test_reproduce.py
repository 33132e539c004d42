"""Making an adapter again: from its card alone, by a stranger with a clean cache, against an embedded Hub."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from click.testing import CliRunner
from doses import sealed
from huggingface_hub import HfApi, ModelCard

from hfvaccine.cli.reproduce import lines
from hfvaccine.cli.reproduce import reproduce as command
from hfvaccine.errors import LineageError, UsageError
from hfvaccine.files import ADAPTER, CONFIG, LEDGER, RECORD, RESULTS
from hfvaccine.hub.push import push_dose
from hfvaccine.papers.record import training_record
from hfvaccine.runs.reproduce import (
    Difference,
    Reproduction,
    compare_numbers,
    options_of,
    refuse_other_steps,
    reproduce,
    reproduced_folder,
)
from hfvaccine.training.options import Options
from hfvaccine.training.progress import Progress

ADAPTER_ID = "alice/aldor-immunized"


@pytest.fixture(scope="module")
def token(local):
    return local.add_user("alice")


@pytest.fixture(scope="module")
def stranger(local, token):
    """Runs a command line in a folder, with a home and a cache of its own."""

    def run(words, folder):
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        environment = os.environ | {
            "HF_ENDPOINT": local.endpoint,
            "HF_TOKEN": token,
            "HF_HOME": str(folder / "huggingface"),
            "HFVACCINE_HOME": str(folder / "home"),
            "OMP_NUM_THREADS": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)

    return run


@pytest.fixture(scope="module")
def made(local, token, stranger, make_claims, tiny_gpt2, mix_file, tmp_path_factory):
    """The folder of a run whose base, dose and mix come from the Hub, and which was pushed there."""
    api = HfApi(endpoint=local.endpoint, token=token)
    api.create_repo("alice/tiny")
    api.upload_folder(repo_id="alice/tiny", folder_path=tiny_gpt2)
    api.create_repo("alice/mix", repo_type="dataset")
    rows = mix_file.read_bytes()
    api.upload_file(repo_id="alice/mix", repo_type="dataset", path_or_fileobj=rows, path_in_repo="train.jsonl")
    dose = sealed(tmp_path_factory.mktemp("dose") / "sealed", make_claims(12, heldout=5))
    push_dose(dose.path, "alice/dose", token=token, endpoint=local.endpoint)
    folder = tmp_path_factory.mktemp("made")
    done = stranger(
        shlex.split(
            "hfvaccine immunize --base alice/tiny --dose alice/dose --mix alice/mix --share 0.2 --max-steps 4 "
            "--batch-size 4 --max-length 512 --lora-r 4 --learning-rate 0.01 --seed 3 --output-dir run "
            "--claims 7 --comparisons none "
            f"--push-to {ADAPTER_ID} --publish-failed"
        ),
        folder,
    )
    assert done.returncode == 0, done.stderr
    # What is newest there is not what the run had: only the pinned revisions are.
    more = rows + b"\n" + rows.split(b"\n")[0]
    api.upload_file(repo_id="alice/mix", repo_type="dataset", path_or_fileobj=more, path_in_repo="train.jsonl")
    return folder / "run"


@pytest.fixture(scope="module")
def card(local, token, made, tmp_path_factory):
    file = HfApi(endpoint=local.endpoint, token=token).hf_hub_download(
        ADAPTER_ID, "README.md", local_dir=tmp_path_factory.mktemp("card")
    )
    return ModelCard.load(file).text


def block(card, heading, language):
    """The first code block of a section."""
    section = card.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.search(rf"```{language}\n(.*?)```", section, re.DOTALL).group(1)


class Unmoved(Progress):
    """Where nothing is trained or scored, no bar moves."""

    def bar(self, description, total):
        pytest.fail(description)


def quietly(source, **more):
    return reproduce(source, **more, progress=Unmoved())


def test_the_load_snippet_of_the_card_runs_as_it_stands(card, stranger, tmp_path):
    done = stranger([sys.executable, "-c", block(card, "How to load", "python")], tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_reproduce_command_of_the_card_gives_the_same_numbers(card, made, stranger, tmp_path):
    done = stranger(["bash", "-ec", block(card, "How to reproduce", "bash")], tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    again = tmp_path / "runs" / "reproduced-aldor-immunized"
    assert (again / RESULTS).read_bytes() == (made / RESULTS).read_bytes()
    assert (again / LEDGER).read_bytes() == (made / LEDGER).read_bytes()
    assert (again / ADAPTER).read_bytes() == (made / ADAPTER).read_bytes()
    said = done.stdout.split("\n")
    assert said[0].split() == ["plan", "the", "same"]
    assert re.fullmatch(r"numbers   all [1-9][\d,]* the same", said[3])
    assert "is another" not in done.stderr


LOADING = """
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from transformers import AutoModelForCausalLM

def base():
    return AutoModelForCausalLM.from_pretrained("alice/tiny", dtype=torch.float32)

def logits(model):
    with torch.inference_mode():
        return model.eval()(torch.arange(40)[None]).logits

plain = logits(PeftModel.from_pretrained(base(), "alice/aldor-immunized"))
auto = logits(AutoPeftModelForCausalLM.from_pretrained("alice/aldor-immunized", dtype=torch.float32))
merged = logits(PeftModel.from_pretrained(base(), "alice/aldor-immunized").merge_and_unload())
assert torch.equal(plain, auto)
assert torch.allclose(plain, merged, rtol=1e-4, atol=1e-4), (plain - merged).abs().max()
assert (plain - logits(base())).abs().max() > 1e-2
"""


@pytest.mark.usefixtures("made")
def test_plain_peft_loads_the_adapter_from_the_hub_in_every_way_with_equal_logits(stranger, tmp_path):
    done = stranger([sys.executable, "-c", LOADING], tmp_path)
    assert done.returncode == 0, done.stderr


def test_another_dose_is_said_and_nothing_is_trained(made, stranger, make_claims, tmp_path):
    sealed(tmp_path / "other-dose", make_claims(14, heldout=5))
    done = stranger(shlex.split(f"hfvaccine reproduce {ADAPTER_ID} --dose other-dose --json"), tmp_path)
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    assert (said["same_plan"], said["folder"], said["reproduced"]) == (False, None, False)
    assert "The dose is another: its manifest is not the one of the record." in said["others"]
    assert said["others"][0] in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_another_base_is_said_before_training_and_shows_in_the_numbers(made, stranger, tiny_gpt2, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    base = tmp_path / "other-base"
    base.mkdir()
    for file in tiny_gpt2.iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    weights = {name: value * 1.5 for name, value in load_file(base / "model.safetensors").items()}
    assert all(isinstance(value, torch.Tensor) for value in weights.values())
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    done = stranger(shlex.split(f"hfvaccine reproduce {ADAPTER_ID} --base other-base --json"), tmp_path)
    said = json.loads(done.stdout)
    assert (said["same_plan"], said["same_ledger"]) == (True, True), done.stderr
    assert (said["same_adapter"], said["same_numbers"]) == (False, False)
    assert "The base is another: its weights are not those of the record." in said["others"]
    assert done.returncode == (0 if said["verdict"] == said["verdict_recorded"] else 1)
    first = said["differences"][0]
    assert first["where"] and first["recorded"] != first["now"]


@pytest.mark.parametrize("name", [CONFIG, RESULTS, LEDGER])
def test_papers_that_the_record_does_not_bind_are_refused(made, tmp_path, name):
    for file in (RECORD, CONFIG, RESULTS, LEDGER):
        (tmp_path / file).write_bytes((made / file).read_bytes() + (b"\n" if file == name else b""))
    with pytest.raises(LineageError, match=f"{name} is not the file that {RECORD} binds"):
        quietly(str(tmp_path), output_dir=tmp_path / "again")


def test_a_record_that_was_edited_is_refused(made, tmp_path):
    for file in (CONFIG, RESULTS, LEDGER):
        (tmp_path / file).write_bytes((made / file).read_bytes())
    record = json.loads((made / RECORD).read_text())
    record["plan"]["seed"] += 1
    (tmp_path / RECORD).write_text(json.dumps(record))
    with pytest.raises(LineageError, match="its own digest"):
        quietly(str(tmp_path), output_dir=tmp_path / "again")


def test_a_full_output_folder_is_refused_before_anything_is_fetched(made):
    with pytest.raises(UsageError, match="is not empty"):
        quietly(str(made), output_dir=made)


# What is pinned

RECORDED = {
    "base": {"id": "alice/tiny", "revision": "a" * 40},
    "dose": {"id": "alice/dose", "revision": "b" * 40},
    "mix": {"id": "starter", "revision": None},
    "training": {"dtype": "bfloat16"},
}
ASKED = {
    "base": "alice/tiny",
    "dose": "alice/dose",
    "mix": "starter",
    "seed": 4,
    "push_to": "alice/x",
    "report_to": ["wandb"],
    "dtype": "auto",
}


def test_a_reproduction_is_pinned_to_what_was_recorded():
    options = options_of(RECORDED, ASKED, Path("again"))
    assert (options.base_revision, options.dose_revision, options.mix_revision) == ("a" * 40, "b" * 40, None)
    assert (options.dtype, options.seed, options.push_to, options.output_dir) == ("bfloat16", 4, None, "again")
    assert options.report_to == ()


def test_what_is_given_instead_has_no_recorded_revision(tmp_path):
    options = options_of(RECORDED, ASKED, Path("again"), base=str(tmp_path), dose="bob/dose")
    assert (options.base, options.base_revision, options.base_id) == (str(tmp_path), None, "alice/tiny")
    assert (options.dose, options.dose_revision) == ("bob/dose", None)


def test_each_of_several_doses_is_pinned_also_where_the_published_options_pin_the_first_alone():
    doses = [{"id": f"alice/{name}", "revision": 40 * name, "manifest_sha256": name, "share_asked": 0.02}
             for name in "de"]  # fmt: skip
    recorded = RECORDED | {"dose": {**doses[0], "doses": doses}}
    named = (f"alice/d@{40 * 'd'}=0.02", f"alice/e@{40 * 'e'}=0.02")
    options = options_of(recorded, ASKED | {"dose": named, "dose_revision": 40 * "d", "share": 0.04}, Path("again"))
    assert (options.dose, options.dose_revision) == (named, None)


@pytest.mark.parametrize(("part", "name"), [("dose", "sealed"), ("mix", "mix.jsonl"), ("base", "base.gguf")])
def test_what_was_a_file_and_is_not_here_has_to_be_given(part, name):
    recorded = RECORDED | {part: {"id": name, "revision": None}}
    with pytest.raises(UsageError, match=name) as caught:
        options_of(recorded, ASKED | {part: name}, Path("again"))
    assert f"--{part}" in caught.value.next_step


@pytest.mark.parametrize("option", ["gate", "forms"])
def test_another_file_that_is_not_here_is_named(option):
    with pytest.raises(UsageError, match=r"lost\.yaml"):
        options_of(RECORDED, ASKED | {option: "lost.yaml"}, Path("again"))


@pytest.mark.parametrize("source", ["alice/tiny", "alice/tiny@v2"])
def test_the_run_goes_to_a_folder_of_the_adapters_name(source):
    assert reproduced_folder(source) == Path("runs/reproduced-tiny")


# What is compared

RESULTS_OF = {
    "schema_version": 2,
    "created_by": "hfvaccine 1.2",
    "measures": [
        {"probe": "specific", "metric": "auroc", "arm": "base", "value": 0.5, "interval": [0.4, 0.6], "few": False},
        {"probe": "specific", "metric": "auroc", "arm": "vaccine", "value": 0.75, "interval": [0.7, 0.8], "few": True},
    ],
    "gate": {"verdict": "passed", "criteria": [{"name": "gain", "value": 0.25, "interval": None}]},
}


def changed(**values):
    other = json.loads(json.dumps(RESULTS_OF))
    other["measures"][1] |= values
    return other


def test_the_same_results_have_no_difference():
    assert compare_numbers(RESULTS_OF, changed()) == (8, ())


def test_the_largest_difference_comes_first_and_says_where():
    _, differences = compare_numbers(RESULTS_OF, changed(value=0.625, interval=[0.7, 0.9375]))
    assert differences == (
        Difference("measures specific auroc vaccine interval 1", 0.8, 0.9375),
        Difference("measures specific auroc vaccine value", 0.75, 0.625),
    )


def test_a_row_is_found_wherever_it_stands():
    turned = changed()
    turned["measures"].reverse()
    assert compare_numbers(RESULTS_OF, turned) == (8, ())


def test_a_number_that_is_not_there_is_the_largest_difference():
    other = changed(value=0.7)
    other["gate"]["criteria"] = []
    count, differences = compare_numbers(RESULTS_OF, other)
    assert count == 8
    assert differences[0] == Difference("gate criteria gain value", 0.25, None)
    assert differences[1].size == pytest.approx(0.05)


def outcome(**values):
    whole = {"same_plan": True, "same_ledger": True, "same_adapter": True, "numbers": 8}
    return Reproduction(Path("run"), (), **whole | {"verdict_recorded": "passed", "verdict": "passed"} | values)


SLIGHT = (Difference("measures value", 0.5, 0.5001),)


@pytest.mark.parametrize(
    ("made", "code", "said"),
    [
        (outcome(), 0, "Reproduced: the same plan, and the same numbers."),
        (outcome(differences=SLIGHT), 0, "not in every number: the largest difference is 0.0001, in measures value"),
        (outcome(differences=SLIGHT, verdict="failed"), 1, "Not reproduced: the gate says something else."),
        (outcome(differences=(Difference("x", 1.0, None),)), 0, "1 numbers stand on one side alone"),
        (Reproduction(None, ("The dose is another.",), same_plan=False), 1, "Nothing was trained"),
    ],
)
def test_the_exit_code_and_the_last_words(made, code, said, monkeypatch):
    monkeypatch.setattr("hfvaccine.runs.reproduce.reproduce", lambda *args, **kwargs: made)
    done = CliRunner().invoke(command, ["alice/x"])
    assert done.exit_code == code
    assert said in " ".join(lines(made)) and said in done.stdout


def test_a_run_of_several_processes_is_not_made_again_in_one():
    """It is said before anything is planned, which would say that claims are given too seldom."""
    options = Options(base="b", batch_size=2, gradient_accumulation_steps=3)
    refuse_other_steps("run", options, {"plan": {"rows_per_step": 6}})
    with pytest.raises(UsageError, match="24 rows a step, 6 in each of several processes") as refused:
        refuse_other_steps("run", options, {"plan": {"rows_per_step": 24}})
    assert "accelerate launch --num_processes 4 -m hfvaccine immunize --config" in refused.value.next_step


def test_a_record_has_the_processes_only_where_there_were_several(monkeypatch):
    base = Mock(model=Mock(dtype="torch.float32", device=Mock(type="cpu")))
    alone = training_record(Options(base="b"), base)
    monkeypatch.setattr("hfvaccine.training.processes.this_process", lambda: Mock(num_processes=2))
    monkeypatch.setattr("hfvaccine.papers.record.this_process", lambda: Mock(num_processes=2))
    told = {"processes": 2, "processes_kind": "ddp"}
    assert training_record(Options(base="b"), base) == alone | told and not alone.keys() & told.keys()
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert training_record(Options(base="b"), base)["processes_kind"] == "fsdp"
