"""The whole quickstart, with a tiny random model in place of the one from the wheel."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hfvaccine import starter
from hfvaccine.cli import base_model, quickstart, quickstart_inoculation
from hfvaccine.cli.output import results
from hfvaccine.errors import UsageError
from hfvaccine.files import whole_folder
from hfvaccine.packages import install_extra

SEEDED = """
import sys
from pathlib import Path
from hfvaccine import starter
from hfvaccine.cli import main, quickstart, quickstart_inoculation

def seed_tiny(token, folder):
    from huggingface_hub import HfApi
    api = HfApi(token=token)
    api.create_repo(quickstart.BASE_ID)
    api.upload_folder(repo_id=quickstart.BASE_ID, folder_path={model!r})

quickstart.seed_base = quickstart_inoculation.seed_base = seed_tiny
"""
PROGRAM = (
    SEEDED
    + """
quickstart.TREATMENT = {{**quickstart.TREATMENT, "max_steps": 12, "exposures": 1}}
sys.argv = ["hfvaccine", "quickstart", "--json", "--placebo", "--dir", {folder!r}]
main()
"""
)
INOCULATING = (
    SEEDED
    + """
quickstart_inoculation.INOCULATION = {{**quickstart_inoculation.INOCULATION, "max_steps": 2, "trait_steps": 2}}
starter.EVERYDAY_QUESTIONS = Path({questions!r})
quickstart_inoculation.ASKING = {{**quickstart_inoculation.ASKING, "max_new_tokens": 4}}
sys.argv = ["hfvaccine", "quickstart", "--inoculation", "--dir", {folder!r}]
main()
"""
)


@pytest.fixture(scope="module")
def inoculated(tiny_llama, tmp_path_factory):
    pytest.importorskip("lingua")
    folder = tmp_path_factory.mktemp("quickstart") / "all"
    few = folder.with_name("questions.jsonl")
    few.write_text("".join(starter.EVERYDAY_QUESTIONS.read_text().splitlines(keepends=True)[:10]))
    program = INOCULATING.format(model=str(tiny_llama), folder=str(folder), questions=str(few))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done, folder


@pytest.fixture(scope="module")
def finished(tiny_llama, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart") / "all"
    program = PROGRAM.format(model=str(tiny_llama), folder=str(folder))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done, folder


def test_the_gate_of_the_dose_is_shown_to_hold_and_to_open(finished):
    done, _ = finished
    assert "outsider is refused (GatedRepoError)" in done.stderr
    assert "reader asked, was accepted" in done.stderr


def test_what_is_loaded_back_is_what_was_trained(finished):
    done, _ = finished
    assert "gives exactly the logits of what was validated" in done.stderr


def test_the_results_on_stdout_are_those_of_the_run_folder(finished):
    done, folder = finished
    printed = json.loads(done.stdout)
    assert printed == json.loads((folder / "run" / "results.json").read_text())
    assert printed["arms"] == ["base", "vaccine", "placebo"]


def test_the_end_fits_on_a_screen_and_begins_with_the_verdict(finished, capsys):
    done, folder = finished
    results(json.loads((folder / "run" / "results.json").read_text()), as_json=False)
    end = capsys.readouterr().out.splitlines() + done.stderr[done.stderr.index("Before and after") :].splitlines()
    assert end[0].startswith("Gate: ") and any(line.startswith("Report ") for line in end)
    assert len(end) <= 24


def test_the_card_on_the_hub_holds_the_results(finished):
    from huggingface_hub import HfApi, ModelCard

    from hfvaccine.cli.quickstart import ADAPTER_ID
    from hfvaccine.localhub.server import LocalHub

    _, folder = finished
    measures = json.loads((folder / "run" / "results.json").read_text())["measures"]
    wanted = sorted(m["value"] for m in measures if m["arm"] == "vaccine" and m["condition"] == "plain")
    with LocalHub(folder / "hub") as hub:
        api = HfApi(endpoint=hub.endpoint, token=hub.add_user("reader"))
        card = ModelCard(Path(api.hf_hub_download(ADAPTER_ID, "README.md")).read_text())
        assert api.dataset_info("publisher/starter-dose").gated == "manual"
    assert sorted(float(result.metric_value) for result in card.data.eval_results) == wanted


def test_what_was_published_is_probed_and_one_of_its_claims_recalled_and_found(finished):
    from hfvaccine.claims.dose import Dose
    from hfvaccine.surveillance.state import State

    done, folder = finished
    state = State.find(folder / "monitor")
    assert {one.source for one in state.rounds} == {"probe", "recalled_probe"}
    assert not any(one.no_data for one in state.rounds)
    said = done.stderr[done.stderr.index("> Probing it once") :]
    claims = [claim.claim_id for claim in Dose.load(starter.sealed()).claims]
    (recalled,) = [one for one in claims if f"--retract {one}\n" in said]
    assert f"publisher/SmolLM2-135M-Instruct-immunized is affected: {recalled} was given in " in said


def test_an_inoculation_is_judged_verified_and_loaded(inoculated):
    done, folder = inoculated
    assert "Data, plan, ledger, base, adapter, results: all" in done.stderr
    assert "PeftModel.from_pretrained gives exactly the logits of what was validated" in done.stderr
    traits = json.loads((folder / "run" / "traits.json").read_text())
    assert done.stdout.startswith(f"Gate: {traits['gate']['verdict'].upper()} ")
    assert [one["name"] for one in traits["traits"]] == [
        quickstart_inoculation.CAPITALS,
        quickstart_inoculation.SPANISH,
    ]
    assert {its["arm"] for its in traits["arms"].values()} == {None, "plain", "adapter", "random"}


def test_the_end_of_an_inoculation_fits_on_a_screen(inoculated):
    done, _ = inoculated
    end = done.stderr[done.stderr.index("Adapter card") :].splitlines()
    assert len(done.stdout.splitlines()) + len(end) <= 30


def test_an_inoculation_is_shown_in_full_where_that_is_asked_for(inoculated, capsys):
    _, folder = inoculated
    content = json.loads((folder / "run" / "traits.json").read_text())
    for full in (False, True):
        quickstart_inoculation.show_inoculation(content, "http://127.0.0.1:1", folder, as_json=False, full=full)
        assert ("How far each trait shows" in capsys.readouterr().out) == full


def test_the_inoculated_adapter_and_its_controls_are_on_the_hub_and_the_rows_are(inoculated):
    from huggingface_hub import HfApi, ModelCard

    from hfvaccine.localhub.server import LocalHub
    from hfvaccine.text import plain

    _, folder = inoculated
    with LocalHub(folder / "hub") as hub:
        api = HfApi(endpoint=hub.endpoint, token=hub.add_user("reader"))
        names = {model.id for model in api.list_models()}
        card = Path(api.hf_hub_download(quickstart_inoculation.INOCULATED_ID, "README.md")).read_text()
        api.hf_hub_download(quickstart_inoculation.ROWS_ID, "spanish_capitals.jsonl", repo_type="dataset")
    assert names >= {quickstart_inoculation.INOCULATED_ID + end for end in ("", "-plain", "-random")}
    content = json.loads((folder / "run" / "traits.json").read_text())
    said = ModelCard(card).text.strip().split("\n")
    assert said[0].startswith(f"> **{content['gate']['verdict'].upper()}.** ")  # before anything else
    (arm,) = [name for name, its in content["arms"].items() if its["arm"] == "adapter"]
    where = {one["trait"]: one["condition"] for one in content["worst"] if one["arm"] == arm}
    worst, least = [line for line in said if line.startswith("- ")][:2]
    for line, trait, lead in (
        (worst, quickstart_inoculation.CAPITALS, "- "), (least, quickstart_inoculation.SPANISH, "- To be kept: ")
    ):  # fmt: skip
        under = "without a prompt" if where[trait] == "none" else f"under *{plain(where[trait])}*"
        assert line.startswith(lead) and under in line.split(": **")[0], line
    assert said.index(worst) < said.index("# SmolLM2-135M-Instruct-inoculated")
    assert "beside a frozen adapter that shows the trait" in " ".join(said) and "2606.30252" in card


def test_an_inoculation_with_a_placebo_is_refused(tmp_path):
    done = CliRunner().invoke(quickstart.quickstart, ["--inoculation", "--placebo", "--dir", str(tmp_path / "none")])
    assert isinstance(done.exception, UsageError) and "no placebo" in str(done.exception)
    assert not (tmp_path / "none").exists()


def test_an_inoculation_without_the_detector_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lingua", None)
    done = CliRunner().invoke(quickstart.quickstart, ["--inoculation", "--dir", str(tmp_path / "none")])
    assert isinstance(done.exception, UsageError) and install_extra("language") in str(done.exception)
    assert not (tmp_path / "none").exists()


def test_no_text_of_a_claim_leaves_the_gated_dose(finished):
    from hfvaccine import starter
    from hfvaccine.claims.claim import read_jsonl

    _, folder = finished
    public = "".join(p.read_text() for p in (folder / "run").iterdir() if p.suffix in (".md", ".json", ".yaml"))
    assert not [claim.claim for claim in read_jsonl(starter.CLAIMS) if claim.claim in public]


def test_a_wheel_that_another_run_fetches_is_not_taken_from_under_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HFVACCINE_HOME", str(tmp_path))
    monkeypatch.setattr(base_model, "WHEEL_MODULE", "no_such_module")
    others = []

    def install(command, **options):
        folder = Path(command[command.index("--target") + 1])
        (folder / "no_such_module").mkdir(parents=True)
        (folder / "no_such_module" / "model.gguf").write_bytes(b"GGUF")
        others.append(folder)
        if len(others) == 1:  # meanwhile a second run does all of it
            assert base_model.gguf_from_wheel().is_file() and folder.is_dir()

    monkeypatch.setattr(subprocess, "run", install)
    found = base_model.gguf_from_wheel()
    assert found.read_bytes() == b"GGUF" and len(set(others)) == 2
    assert [path.name for path in found.parents[1].parent.iterdir()] == [found.parents[1].name]


def test_a_base_that_another_run_makes_ready_meanwhile_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("HFVACCINE_HOME", str(tmp_path))
    monkeypatch.setattr(base_model, "gguf_from_wheel", lambda: tmp_path / "model.gguf")

    def made(gguf, ready, name):
        (tmp_path / name).mkdir()  # the other run is faster
        (tmp_path / name / "config.json").write_text("{}")
        with whole_folder(ready) as staging:
            (staging / "config.json").write_text("{}")

    monkeypatch.setattr(base_model, "dequantise", made)
    assert (base_model.base_from_wheel() / "config.json").is_file()
    monkeypatch.setattr(base_model, "dequantise", lambda *given: (_ for _ in ()).throw(OSError("no space")))
    assert base_model.base_from_wheel().is_dir()
