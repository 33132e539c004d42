"""One small run whose base, dose and mix are on an embedded Hub, and what its record is held against."""

import shutil

import pytest
from doses import approved
from hubs import talk_to
from huggingface_hub import HfApi

from hfvaccine import hub
from hfvaccine.lineage.fetch import gather, papers
from hfvaccine.localhub.server import LocalHub
from hfvaccine.quarantine.seal import seal
from hfvaccine.runs.immunize import immunize
from hfvaccine.training.options import Options

CODE = "c0de" * 16


@pytest.fixture(scope="package")
def local(tmp_path_factory):
    """An embedded Hub that every client in this process talks to, as `ada`."""
    folder = tmp_path_factory.mktemp("lineage")
    with LocalHub(folder / "hub") as running, pytest.MonkeyPatch.context() as patch:
        talk_to(running, patch, "ada", folder / "cache")
        # The modules of a checkout may be edited while its tests run.
        for module in ("papers.record", "lineage.fetch"):
            patch.setattr(f"hfvaccine.{module}.code_digest", lambda: CODE)
        yield running


@pytest.fixture(scope="package")
def api(local):
    return HfApi()


@pytest.fixture(scope="package")
def dose_folder(make_claims, tmp_path_factory):
    claims = [approved(claim, "bea", "cyd") for claim in make_claims(12, heldout=5)]
    policy = {"name": "Aldor", "contact": "ada@example.org"}
    return seal(claims, policy, tmp_path_factory.mktemp("dose") / "sealed").path


@pytest.fixture(scope="package")
def made(local, api, dose_folder, tiny_gpt2, mix_file, tmp_path_factory):
    """The run; never to be changed."""
    folder = tmp_path_factory.mktemp("run")
    api.create_repo("ada/base")
    api.upload_folder(repo_id="ada/base", folder_path=tiny_gpt2)
    hub.push_dose(dose_folder, "ada/dose")
    api.create_repo("ada/mix", repo_type="dataset")
    api.upload_file(path_or_fileobj=mix_file, path_in_repo="train.jsonl", repo_id="ada/mix", repo_type="dataset")
    options = Options(
        base="ada/base", dose="ada/dose", mix="ada/mix", share=0.2, max_steps=6, batch_size=4, max_length=512,
        lora_r=4, dtype="float32", seed=3, claims=7, comparisons="none", output_dir=str(folder / "run"),
    )  # fmt: skip
    return immunize(options).folder


@pytest.fixture(scope="package")
def gathered(made):
    """What the run's record is held against."""
    return gather(papers(str(made)))


@pytest.fixture
def run(made, tmp_path):
    """A copy of the run."""
    return shutil.copytree(made, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
