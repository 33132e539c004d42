"""The doctor: each thing that is wrong is named with what mends it, and nothing else is called wrong."""

import json
import os

import pytest
from click.testing import CliRunner
from hubs import talk_to
from huggingface_hub import constants

from hfvaccine.cli import cli
from hfvaccine.localhub.server import LocalHub
from hfvaccine.packages import install
from hfvaccine.runs import doctor
from hfvaccine.runs.doctor import ERROR, GIB, LARGE_CACHE, OK, WARNING


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
    assert doctor.cores().state == state


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
    assert {one.state for one in doctor.disks(tmp_path)} == {ERROR}
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
    kept = tmp_path / "base.bin"
    with kept.open("wb") as file:
        file.truncate(LARGE_CACHE + 1)
    os.utime(kept, (0, 0))
    assert doctor.cache(tmp_path, 86_400.0).state == OK
    found = doctor.cache(tmp_path, 200 * 86_400.0)
    assert (found.state, found.next_step) == (WARNING, f"rm -r {tmp_path}")


def test_a_hub_is_asked_who_this_is(tmp_path, monkeypatch):
    with LocalHub(tmp_path / "hub") as running:
        talk_to(running, monkeypatch, "ada", tmp_path / "cache")
        found = by_name(doctor.hub())
        assert (found["Hub"].state, found["Token"].what) == (OK, "of ada")
        monkeypatch.setenv("HF_TOKEN", "hf_wrong")
        assert by_name(doctor.hub())["Token"].state == ERROR
        monkeypatch.delenv("HF_TOKEN")
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
        assert by_name(doctor.hub())["Token"].next_step == "hf auth login"
    assert "does not answer" in by_name(doctor.hub())["Hub"].what
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in by_name(doctor.hub())["Hub"].what


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
