import socket
import sys

import pytest
from click.testing import CliRunner

from hfvaccine.cli.hub import hub
from hfvaccine.errors import LocalHubError
from hfvaccine.localhub.server import LocalHub


def run(*arguments):
    return CliRunner().invoke(hub, [str(one) for one in arguments])


def test_users(tmp_path):
    token = run("user", "add", "alice", "--root", tmp_path).stdout.strip()
    reading = run("user", "add", "alice", "--root", tmp_path, "--role", "read").stdout.strip()
    assert token != reading
    assert run("user", "list", "--root", tmp_path).stdout == "alice\n"
    with LocalHub(tmp_path) as server:
        added_meanwhile = run("user", "add", "bob", "--root", tmp_path).stdout.strip()
        from huggingface_hub import HfApi

        assert HfApi(endpoint=server.endpoint, token=added_meanwhile).whoami()["name"] == "bob"
        assert HfApi(endpoint=server.endpoint, token=token).whoami()["name"] == "alice"


def test_a_bad_name_is_one_clear_error(tmp_path):
    error = run("user", "add", "a/b", "--root", tmp_path).exception
    assert isinstance(error, LocalHubError) and error.next_step


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    assert run("user", "list", "--root", tmp_path / "file").exit_code == 2


def test_a_taken_port(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        error = run("serve", "--root", tmp_path / "new", "--port", other.getsockname()[1]).exception
    assert isinstance(error, LocalHubError) and "--port" in error.next_step
    assert not (tmp_path / "new").exists()


def test_other_machines_are_kept_out(tmp_path):
    error = run("serve", "--root", tmp_path, "--host", "0.0.0.0").exception
    assert isinstance(error, LocalHubError) and "--allow-insecure" in error.next_step


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "dulwich"])
def test_without_the_extra(tmp_path, monkeypatch, missing):
    for name in list(sys.modules):
        if name.startswith(("hfvaccine.localhub.", missing + ".")) and name != "hfvaccine.localhub.server":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    error = run("serve", "--root", tmp_path, "--port", 0).exception
    assert isinstance(error, LocalHubError) and "hfvaccine[localhub]" in error.next_step


@pytest.mark.parametrize("command", [[], ["serve"], ["user"], ["user", "add"], ["user", "list"]])
def test_help_has_examples(command):
    assert "Examples:" in run(*command, "--help").stdout
