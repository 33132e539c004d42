"""A file is read once: its size, digest and header are of the same bytes, and no other bytes are ever sent."""

import hashlib
import io
import os
from pathlib import Path

import pytest
from doses import small_dose
from huggingface_hub import HfApi

from hfvaccine import hub
from hfvaccine.errors import DoseError, PublishError
from hfvaccine.files import ADAPTER, CARD, RESULTS
from hfvaccine.hub import adapter_files, push
from hfvaccine.hub.content import Weights, read, sha256_of, size_of


def test_weights_are_read_once_and_not_into_memory(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes((2).to_bytes(8, "little") + b"{}" + b"tensors")
    os.truncate(path, 64 << 20)
    whole = hashlib.sha256(path.read_bytes()).hexdigest()
    opened = []
    original = Path.open
    monkeypatch.setattr(Path, "read_bytes", None)
    monkeypatch.setattr(Path, "open", lambda self, *args: opened.append(self) or original(self, *args))
    assert read(path) == Weights(path, 64 << 20, whole, b"{}", 0)
    assert opened == [path]


def test_a_push_reads_weights_once_more_and_no_oftener(alice, api, repo_id, run, monkeypatch):
    count = {"bytes": 0}

    class Counted(io.BufferedReader):
        def read(self, *size):
            data = super().read(*size)
            count["bytes"] += len(data)
            return data

    def opened(self, mode="r", *more, original=Path.open, **named):
        if self.name == ADAPTER and mode == "rb" and self.parent == run:
            return Counted(io.FileIO(self))
        return original(self, mode, *more, **named)

    monkeypatch.setattr(Path, "open", opened)
    hub.push_adapter(run, repo_id, **alice)
    sent = api.get_paths_info(repo_id, ADAPTER)[0].size
    assert sent <= count["bytes"] <= sent + 200_000  # once for its digest, by `readinto`, and once to send it


def test_weights_that_change_while_they_are_sent_are_named(alice, api, repo_id, run, monkeypatch):
    create_commit = HfApi.create_commit

    def meanwhile(self, *args, **named):
        (run / ADAPTER).write_bytes(b"\0" * (run / ADAPTER).stat().st_size)
        return create_commit(self, *args, **named)

    monkeypatch.setattr(HfApi, "create_commit", meanwhile)
    with pytest.raises(PublishError, match=f"{ADAPTER} was changed just now"):
        hub.push_adapter(run, repo_id, **alice)
    assert not api.repo_exists(repo_id)


@pytest.mark.parametrize("content", [b"", b"a", b"\x02\0\0\0\0\0\0\0{}"])
def test_any_file_has_its_size_and_digest(tmp_path, content):
    for name in ("x.json", "x.safetensors"):
        (tmp_path / name).write_bytes(content)
        found = read(tmp_path / name)
        assert (size_of(found), sha256_of(found)) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_header_without_end_is_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 8)
    with pytest.raises(PublishError, match="no safetensors file"):
        read(tmp_path / "model.safetensors")


def other_bytes(monkeypatch, module, name):
    """Somebody writes a file just before it is read, after all that was proved of it."""

    def reading(path):
        if path.name == Path(name).name:
            path.write_bytes(b"\0" * path.stat().st_size)
        return read(path)

    monkeypatch.setattr(module, "read", reading)


@pytest.mark.parametrize("name", ["data/dose-00000.parquet", "manifest.json", "governance/policy.yaml"])
def test_a_dose_that_is_written_to_meanwhile_is_not_sent(alice, api, repo_id, tmp_path, monkeypatch, name):
    other_bytes(monkeypatch, push, name)
    with pytest.raises(DoseError, match=f"{name} in .* was changed just now"):
        hub.push_dose(small_dose(tmp_path / "dose"), repo_id, **alice)
    assert not api.repo_exists(repo_id, repo_type="dataset")


@pytest.mark.parametrize("name", [ADAPTER, RESULTS])
def test_a_run_that_is_written_to_meanwhile_is_not_sent(alice, api, repo_id, run, monkeypatch, name):
    other_bytes(monkeypatch, adapter_files, name)
    with pytest.raises(PublishError, match=f"{name} of .* was changed just now"):
        hub.push_adapter(run, repo_id, **alice)
    assert not api.repo_exists(repo_id)


def test_weights_that_change_after_they_were_looked_into_are_not_sent(alice, api, repo_id, run):
    def overwrite(line):
        if line.startswith("Committing"):
            (run / ADAPTER).write_bytes((run / ADAPTER).read_bytes() + b" ")

    with pytest.raises(PublishError, match=f"{ADAPTER} was changed just now"):
        hub.push_adapter(run, repo_id, progress=overwrite, **alice)
    assert not api.repo_exists(repo_id)


def test_what_changes_after_it_was_read_is_sent_as_it_was_read(alice, api, repo_id, tmp_path):
    folder = small_dose(tmp_path / "dose")
    card = (folder / CARD).read_bytes()
    hub.push_dose(folder, repo_id, progress=lambda line: (folder / CARD).write_text("hf_" + "aB3" * 11), **alice)
    assert Path(api.hf_hub_download(repo_id, CARD, repo_type="dataset")).read_bytes() == card
