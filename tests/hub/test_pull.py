"""Fetching a dose: proved, copied whole, and nothing of one's own overwritten."""

import errno
import itertools
import shutil
from pathlib import Path

import httpx2
import huggingface_hub._snapshot_download
import pytest
from doses import content, small_dose
from hubs import put

from hfvaccine import hub
from hfvaccine.claims.dose import MANIFEST, Dose
from hfvaccine.errors import DoseError, HubError
from hfvaccine.quarantine.recalls import objections


def test_a_pulled_dose_is_copied_whole_and_alone(alice, api, dose, repo_id, tmp_path):
    pushed = hub.push_dose(dose, repo_id, **alice)
    put(api, repo_id, "LICENSE", b"mine", "dataset")
    into = tmp_path / "new" / "copy"
    pulled = hub.pull_dose(repo_id, revision="v1", local_dir=into, **alice)
    assert (pulled.path, pulled.source, pulled.revision) == (into, repo_id, pushed.revision)
    assert content(into) == content(dose)
    assert not [path for path in into.rglob("*") if path.is_symlink()]
    assert Dose.load(into).digest() == Dose.load(dose).digest()
    newest = hub.pull_dose(repo_id, local_dir=into, **alice)  # the same dose, in a commit that added LICENSE
    assert newest.revision != pushed.revision
    assert content(into) == content(dose)
    assert [path.name for path in into.parent.iterdir()] == ["copy"]


def test_an_empty_folder_may_become_the_dose(alice, dose, repo_id, tmp_path):
    hub.push_dose(dose, repo_id, **alice)
    (tmp_path / "copy").mkdir()
    assert hub.pull_dose(repo_id, local_dir=tmp_path / "copy", **alice).path == tmp_path / "copy"


def test_what_a_pull_finds_in_its_folder_is_never_overwritten(alice, dose, repo_id, tmp_path):
    hub.push_dose(dose, repo_id, **alice)
    other = small_dose(tmp_path / "other", "Another")
    damaged = hub.pull_dose(repo_id, local_dir=tmp_path / "damaged", **alice).path
    (damaged / "README.md").write_text("edited")
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "notes.txt").write_text("mine")
    before = {folder: content(folder) for folder in (other, notes)}
    for folder, said in ((other, "holds another dose"), (damaged, "is not this dose"), (notes, "is not this dose")):
        with pytest.raises(DoseError, match=said):
            hub.pull_dose(repo_id, local_dir=folder, **alice)
    with pytest.raises(DoseError, match="is not this dose"):
        hub.pull_dose(repo_id, local_dir=notes / "notes.txt", **alice)
    assert before == {folder: content(folder) for folder in before}
    assert (damaged / "README.md").read_text() == "edited"


def test_a_dose_from_the_cache_does_not_pass_for_one_without_recalls(alice, dose, repo_id, monkeypatch):
    hub.push_dose(dose, repo_id, **alice)
    assert hub.pull_dose(repo_id, **alice).recalls_asked

    def dead(*given, **more):
        raise httpx2.ConnectError("nobody is there")

    monkeypatch.setattr(huggingface_hub.HfApi, "get_paths_info", dead)
    cached = hub.pull_dose(repo_id, **alice)
    assert not cached.recalls_asked and "newest recalls" in objections(cached)[1][0]


@pytest.mark.parametrize("failing", ["hf_hub_download", "copyfile", "rename"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_an_interrupted_pull_leaves_nothing_that_looks_like_a_dose(
    alice, dose, repo_id, tmp_path, monkeypatch, failing, failure
):
    hub.push_dose(dose, repo_id, **alice)
    done = itertools.count()
    place = {
        "hf_hub_download": (huggingface_hub._snapshot_download, "hf_hub_download"),
        "copyfile": (shutil, "copyfile"),
        "rename": (Path, "rename"),
    }[failing]
    original = getattr(*place)

    def fail(*args, **kwargs):
        if failing == "rename" or next(done) >= 3:
            raise failure
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(*place, fail)
        with pytest.raises((HubError, OSError, KeyboardInterrupt)):
            hub.pull_dose(repo_id, local_dir=tmp_path / "into" / "copy", **alice)
    assert not (tmp_path / "into").exists() or not list((tmp_path / "into").iterdir())
    assert hub.pull_dose(repo_id, local_dir=tmp_path / "into" / "copy", **alice).name == "Small dose"


def test_a_dataset_that_is_no_dose_is_not_pulled(alice, api, repo_id, tmp_path):
    api.create_repo(repo_id, repo_type="dataset")
    with pytest.raises(DoseError, match=f"{repo_id} has no {MANIFEST}"):
        hub.pull_dose(repo_id, local_dir=tmp_path / "copy", **alice)
    assert not (tmp_path / "copy").exists()


def test_a_file_slipped_into_the_repo_is_refused(alice, api, dose, repo_id):
    hub.push_dose(dose, repo_id, **alice)
    put(api, repo_id, "data/dose-00001.parquet", b"PAR1", "dataset")
    with pytest.raises(DoseError, match=r"data/dose-00001\.parquet .* was never sealed"):
        hub.pull_dose(repo_id, **alice)
