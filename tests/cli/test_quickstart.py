"""The whole quickstart, with a tiny random model in place of the one from the wheel."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hfvaccine.cli import quickstart
from hfvaccine.files import whole_folder

PROGRAM = """
import sys
from pathlib import Path
from hfvaccine.cli import main, quickstart

def seed_tiny(token, folder):
    from huggingface_hub import HfApi
    api = HfApi(token=token)
    api.create_repo(quickstart.BASE_ID)
    api.upload_folder(repo_id=quickstart.BASE_ID, folder_path={model!r})

quickstart.seed_base = seed_tiny
quickstart.TREATMENT = {{**quickstart.TREATMENT, "max_steps": 12, "exposures": 1}}
sys.argv = ["hfvaccine", "quickstart", "--json", "--placebo", "--dir", {folder!r}]
main()
"""


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


def test_no_text_of_a_claim_leaves_the_gated_dose(finished):
    from hfvaccine import starter
    from hfvaccine.claims.claim import read_jsonl

    _, folder = finished
    public = "".join(p.read_text() for p in (folder / "run").iterdir() if p.suffix in (".md", ".json", ".yaml"))
    assert not [claim.claim for claim in read_jsonl(starter.CLAIMS) if claim.claim in public]


def test_a_wheel_that_another_run_fetches_is_not_taken_from_under_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HFVACCINE_HOME", str(tmp_path))
    monkeypatch.setattr(quickstart, "WHEEL_MODULE", "no_such_module")
    others = []

    def install(command, **options):
        folder = Path(command[command.index("--target") + 1])
        (folder / "no_such_module").mkdir(parents=True)
        (folder / "no_such_module" / "model.gguf").write_bytes(b"GGUF")
        others.append(folder)
        if len(others) == 1:  # meanwhile a second run does all of it
            assert quickstart.gguf_from_wheel().is_file() and folder.is_dir()

    monkeypatch.setattr(subprocess, "run", install)
    found = quickstart.gguf_from_wheel()
    assert found.read_bytes() == b"GGUF" and len(set(others)) == 2
    assert [path.name for path in found.parents[1].parent.iterdir()] == [found.parents[1].name]


def test_a_base_that_another_run_makes_ready_meanwhile_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("HFVACCINE_HOME", str(tmp_path))
    monkeypatch.setattr(quickstart, "gguf_from_wheel", lambda: tmp_path / "model.gguf")

    def made(gguf, ready, name):
        if len(list(tmp_path.rglob("config.json"))) == 0:  # the other run is faster
            ready.mkdir(parents=True)
            (ready / "config.json").write_text("{}")
        with whole_folder(ready) as staging:
            (staging / "config.json").write_text("{}")

    monkeypatch.setattr(quickstart, "dequantise", made)
    assert (quickstart.base_from_wheel() / "config.json").is_file()
    monkeypatch.setattr(quickstart, "dequantise", lambda *given: (_ for _ in ()).throw(OSError("no space")))
    assert quickstart.base_from_wheel().is_dir()
