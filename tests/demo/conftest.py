"""One small run whose base and dose are on an embedded Hub, as it lies here and as it was published there."""

import shutil

import pytest
from doses import approved
from hubs import talk_to
from huggingface_hub import HfApi

from hfvaccine import hub
from hfvaccine.localhub.server import LocalHub
from hfvaccine.quarantine.seal import seal
from hfvaccine.runs.immunize import immunize
from hfvaccine.training.options import Options


@pytest.fixture(scope="package")
def local(tmp_path_factory):
    """An embedded Hub that every client in this process talks to, as `ada`."""
    folder = tmp_path_factory.mktemp("demo")
    with LocalHub(folder / "hub") as running, pytest.MonkeyPatch.context() as patch:
        talk_to(running, patch, "ada", folder / "cache")
        yield running


@pytest.fixture(scope="package")
def api(local):
    return HfApi()


@pytest.fixture(scope="package")
def claims(make_claims):
    return [approved(claim, "bea", "cyd") for claim in make_claims(12, heldout=5)]


@pytest.fixture(scope="package")
def made(local, api, claims, tiny_llama, mix_file, tmp_path_factory):
    """The run; never to be changed. Its base and its gated dose are on the Hub."""
    folder = tmp_path_factory.mktemp("run")
    api.create_repo("ada/base")
    api.upload_folder(repo_id="ada/base", folder_path=tiny_llama)
    dose = seal(claims, {"name": "Aldor", "contact": "ada@example.org"}, folder / "dose").path
    hub.push_dose(dose, "ada/dose")
    options = Options(
        base="ada/base", dose="ada/dose", mix=str(mix_file), share=0.2, max_steps=4, batch_size=4, max_length=512,
        lora_r=4, dtype="float32", seed=3, claims=7, comparisons="none", output_dir=str(folder / "run"),
    )  # fmt: skip
    return immunize(options).folder


@pytest.fixture(scope="package")
def published(made):
    """The Hub id of the same adapter."""
    hub.push_adapter(made, "ada/adapter", license="apache-2.0", publish_failed=True)
    return "ada/adapter"


@pytest.fixture
def run(made, tmp_path):
    """A copy of the run."""
    return shutil.copytree(made, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))


@pytest.fixture
def stranger(local, tmp_path, monkeypatch):
    """From now on everybody here is somebody who has no access to the dose, with an empty cache."""
    monkeypatch.setenv("HF_TOKEN", local.add_user("stranger"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
