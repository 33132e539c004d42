"""`hfvaccine demo` from the command line: what is refused before anything is loaded, and how it ends."""

import os
import signal
import subprocess
import sys
import urllib.request

import pytest
from click.testing import CliRunner

from hfvaccine.cli import cli
from hfvaccine.errors import UsageError


def refused(*arguments):
    return CliRunner().invoke(cli, ["demo", *arguments], standalone_mode=False).exception


def test_what_is_about_a_space_needs_one():
    for option in (["--public"], ["--requirement", "hfvaccine"], ["--json"], ["--token", "x"]):
        assert "give --space REPO_ID, too" in str(refused("runs/vaccine", *option))


def test_other_machines_and_what_is_no_adapter_are_refused():
    pytest.importorskip("gradio")
    assert "can be reached by other machines" in str(refused("runs/vaccine", "--host", "0.0.0.0"))
    error = refused("runs/no such run", "--port", "0")
    assert isinstance(error, UsageError) and "neither a folder nor a Hub id" in str(error)
    assert "on no Hub" in str(refused(os.curdir, "--space", "ada/space", "--requirement", "hfvaccine"))


def test_it_prints_its_address_and_ctrl_c_ends_it_quietly(inoculation_run):
    pytest.importorskip("gradio")
    command = [sys.executable, "-m", "hfvaccine", "demo", str(inoculation_run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        address = running.stdout.readline().strip()
        try:
            assert address.startswith("http://127.0.0.1:"), running.stderr.read()
            with urllib.request.urlopen(address) as answer:
                assert b"Demo of inoculated-seed-3" in answer.read()
        finally:
            running.send_signal(signal.SIGINT)
            said, told = running.communicate(timeout=60)
    assert (running.returncode, said) == (0, "") and "Traceback" not in told and "Gate: " in told
