"""The doctor: each thing that is wrong is named with what mends it, and nothing else is called wrong."""

import json
import os
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from unittest.mock import Mock

import pytest
from click.testing import CliRunner
from hubs import talk_to
from huggingface_hub import constants

from hfvaccine import starter
from hfvaccine.cli import cli
from hfvaccine.cli.base_model import BASE_ID, WHEEL
from hfvaccine.files import CACHED, cache_folder
from hfvaccine.localhub.server import LocalHub
from hfvaccine.packages import install, reinstall
from hfvaccine.runs import doctor
from hfvaccine.runs.doctor import ERROR, GIB, LARGE_CACHE, OK, WARNING
from hfvaccine.validation.scoring.cache import cache_of_scores


def by_name(findings):
    return {one.name: one for one in findings}


def test_a_package_that_is_missing_or_too_old_is_an_error_with_its_command():
    found = doctor.packages(["click>=8", "numpy>=99", "no-such-package>=1", "gguf; extra == 'gguf'"])
    assert found.state == ERROR
    assert "numpy>=99 is needed, and here is" in found.what and "no-such-package>=1" in found.what
    assert "click" not in found.what and "gguf" not in found.what
    assert found.next_step == install("-U", "numpy>=99", "no-such-package>=1")
    assert doctor.packages(["click>=8", "numpy>=1.0"]).state == OK


def test_extras_that_are_missing_are_named_and_nothing_is_wrong():
    found = doctor.extras(["click>=8", 'numpy>=1; extra == "sums"', 'no-such-package>=2; extra == "more"'])
    assert (found.state, found.next_step) == (OK, install("no-such-package>=2"))
    assert found.what == "installed: sums; not installed: more"


@pytest.mark.parametrize("found, state", [((2, 2), OK), ((3, 8), WARNING), ((0, 2), WARNING), (None, OK)])
def test_busy_cores_are_warned_of(monkeypatch, found, state):
    monkeypatch.setattr(doctor, "free_cores", lambda: found)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert doctor.cores().state == state


@pytest.mark.parametrize("said, state", [("2", WARNING), ("1", OK)])
def test_threads_that_the_environment_asks_for_are_those_that_are_taken(monkeypatch, said, state):
    monkeypatch.setattr(doctor, "free_cores", lambda: (1, 1))
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    monkeypatch.setattr("torch.get_num_threads", lambda: int(said))
    found = doctor.cores()
    assert found.state == state and ("commands take 2 threads" in found.what) == (state == WARNING)


@pytest.mark.parametrize("cuda, step", [(None, reinstall("torch")), ("13.0", "CUDA_VISIBLE_DEVICES")])
def test_a_gpu_that_torch_cannot_use_is_told(monkeypatch, cuda, step):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.version.cuda", cuda)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert "no GPU" in doctor.device().what
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/bin/{name}" if name == "nvidia-smi" else None)
    found = doctor.device()
    assert found.state == WARNING and "no GPU" not in found.what and step in found.next_step


def test_little_memory_is_warned_of():
    assert (doctor.memory(GIB).state, doctor.memory(64 * GIB).state) == (WARNING, OK)


def test_memory_counts_what_the_system_gives_back_and_is_told_on_linux_only(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "MEMORY", tmp_path / "meminfo")
    assert doctor.available() is None
    found = doctor.memory(None)
    assert (found.state, found.next_step) == (OK, "") and "cannot be told" in found.what
    (tmp_path / "meminfo").write_text("MemTotal: 4096 kB\nMemFree: 1024 kB\nMemAvailable:    2048 kB\nHugePages: 0\n")
    assert doctor.available() == 2048 * 1024


def test_a_disk_that_is_full_or_closed_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    usage = type("Usage", (), {"free": 3 * GIB})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: usage)
    assert {one.state for one in doctor.disks(tmp_path / "not" / "yet")} == {WARNING}
    usage.free = GIB
    found = by_name(doctor.disks(tmp_path))
    assert {one.state for one in found.values()} == {ERROR}
    steps = {name: one.next_step for name, one in found.items()}
    assert "hf cache prune" in steps.pop("Cached models") and "hf cache" not in str(steps)
    assert "--output-dir" in steps["Runs"] and "HFVACCINE_HOME" in steps["Scores"]
    monkeypatch.setattr(doctor.os, "access", lambda place, mode: False)
    assert all("cannot be written" in one.what for one in doctor.disks(tmp_path))


def test_a_file_where_a_folder_is_wanted_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    found = by_name(doctor.disks(tmp_path / "file" / "runs"))
    assert found["Runs"].state == ERROR and "is no folder" in found["Runs"].what


def test_an_endpoint_that_is_no_address_is_an_error(monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "nonsense")
    assert by_name(doctor.hub())["Hub"].state == ERROR


def test_a_cache_is_stale_where_most_of_it_is_old(tmp_path, monkeypatch):
    assert doctor.cache(tmp_path / "none", 0.0).state == OK
    ours, others = tmp_path / "my cache" / "SmolLM2-1B", tmp_path / "my cache" / "photos"
    for folder in (ours, others):
        folder.mkdir(parents=True)
        (folder / "a.bin").touch()
        os.utime(folder / "a.bin", (0, 0))
    kept = ours / "base.bin"
    with kept.open("wb") as file:
        file.truncate(LARGE_CACHE + 1)
    os.utime(kept, (0, 0))
    assert doctor.cache(ours.parent, 86_400.0).state == OK
    (ours.parent / "scores.sqlite").write_text("new")
    os.utime(ours.parent / "scores.sqlite", (199 * 86_400, 199 * 86_400))
    found = doctor.cache(ours.parent, 200 * 86_400.0)
    assert (found.state, found.next_step) == (WARNING, f"rm -r '{ours}'")


def test_all_that_is_cached_is_known_as_ours(monkeypatch, tmp_path):
    monkeypatch.setenv("HFVACCINE_HOME", str(tmp_path))
    cache_of_scores()
    starter.sealed()
    names = [*(path.name for path in tmp_path.iterdir()), BASE_ID.split("/")[1], WHEEL]
    assert all(any(fnmatch(name, pattern) for pattern in CACHED) for name in names), names


def test_an_empty_home_is_none(monkeypatch):
    monkeypatch.setenv("HFVACCINE_HOME", "")
    assert cache_folder() == Path.home() / ".cache" / "hfvaccine"


def test_a_file_that_vanishes_is_left_out(tmp_path, monkeypatch):
    (tmp_path / "scores.sqlite").write_text("scores")
    monkeypatch.setattr(doctor.os, "lstat", Mock(side_effect=FileNotFoundError))
    assert doctor.cache(tmp_path, 0.0).state == OK


def test_a_place_under_a_closed_folder_is_an_error_and_the_rest_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setenv("HFVACCINE_HOME", str(tmp_path / "closed" / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "closed" / "hub"))
    refused = PermissionError(13, "Permission denied")
    seen, listed = Path.stat, os.listdir
    monkeypatch.setattr(Path, "stat", lambda path, **how: _refuse(path, refused) or seen(path, **how))
    monkeypatch.setattr(os, "listdir", lambda path: _refuse(path, refused) or listed(path))
    found = by_name([*doctor.disks(tmp_path), doctor.cache(tmp_path / "closed" / "cache", 0.0)])
    assert {name: one.state for name, one in found.items() if name != "Runs"} == {
        "Cached models": ERROR,
        "Scores": ERROR,
        "Cache": ERROR,
    }
    assert "Permission denied" in found["Cache"].what and "HFVACCINE_HOME" in found["Cache"].next_step
    assert "Permission denied" not in found["Runs"].what


def _refuse(path, error):
    if "closed/" in str(path):
        raise error


def test_a_hub_is_asked_who_this_is(tmp_path, monkeypatch):
    with LocalHub(tmp_path / "hub") as running:
        talk_to(running, monkeypatch, "ada", tmp_path / "cache")
        found = by_name(doctor.hub())
        assert (found["Hub"].state, found["Token"].what) == (OK, "of ada")
        monkeypatch.setenv("HF_TOKEN", "hf_wrong")
        wrong = by_name(doctor.hub())["Token"]
        assert (wrong.state, wrong.next_step) == (ERROR, "unset HF_TOKEN")
        monkeypatch.setenv("HF_TOKEN", running.add_user("ada", "read"))
        reads = by_name(doctor.hub())["Token"]
        assert (reads.state, reads.next_step) == (WARNING, "unset HF_TOKEN") and "may only read" in reads.what
        monkeypatch.delenv("HF_TOKEN")
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
        assert by_name(doctor.hub())["Token"].next_step == "hf auth login"
        (tmp_path / "none").write_text("hf_wrong")
        wrong = by_name(doctor.hub())["Token"]
        assert (wrong.state, wrong.next_step) == (ERROR, "hf auth login")
    assert "does not answer" in by_name(doctor.hub())["Hub"].what
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "1")
    assert by_name(doctor.hub())["Hub"].next_step == "unset TRANSFORMERS_OFFLINE"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert by_name(doctor.hub())["Hub"].next_step == "unset HF_HUB_OFFLINE"


@pytest.mark.parametrize("status", [407, 503])
def test_a_hub_that_answers_with_an_error_is_warned_of(monkeypatch, status):
    class Failing(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(status)

        def log_message(self, *said):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        (found,) = doctor.hub()
        server.shutdown()
    assert found.state == WARNING and f"answers {status}" in found.what


@pytest.mark.parametrize("state, code", [(OK, 0), (WARNING, 0), (ERROR, 1)])
def test_the_command_ends_with_1_where_something_will_fail(monkeypatch, state, code):
    monkeypatch.setattr(doctor, "examine", lambda folder: [doctor.Finding("Disk", state, "full", "empty it")])
    shown = CliRunner().invoke(cli, ["doctor"])
    assert shown.exit_code == code and "Disk: full" in shown.stdout and "empty it" in shown.stdout
    found = json.loads(CliRunner().invoke(cli, ["doctor", "--json"]).stdout)
    assert found == [{"name": "Disk", "state": state, "what": "full", "next_step": "empty it"}]


def test_this_machine_can_be_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    names = {one.name for one in doctor.examine(tmp_path)}
    assert {"Python", "Packages", "Extras", "Device", "Cores", "Memory", "Hub", "Cached models", "Runs"} <= names
