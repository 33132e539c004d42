import socket
import sys

import pytest
from click.testing import CliRunner
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from hfvaccine.cli.hub import hub
from hfvaccine.errors import HfvaccineError, LocalHubError
from hfvaccine.localhub.server import LocalHub
from hfvaccine.packages import install_extra


def run(*arguments):
    return CliRunner().invoke(hub, [str(one) for one in arguments])


def test_users(tmp_path):
    token = run("user", "add", "alice", "--root", tmp_path).stdout.strip()
    reading = run("user", "add", "alice", "--root", tmp_path, "--role", "read").stdout.strip()
    assert token != reading
    assert run("user", "list", "--root", tmp_path).stdout == "alice\n"
    with LocalHub(tmp_path) as server:
        added_meanwhile = run("user", "add", "bob", "--root", tmp_path).stdout.strip()
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
    assert isinstance(error, LocalHubError) and error.next_step == install_extra("localhub")


def commands(group, path=()):
    yield list(path)
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


@pytest.mark.parametrize("command", list(commands(hub)), ids=" ".join)
def test_help_has_examples(command):
    assert "Examples:" in run(*command, "--help").stdout


def test_fine_grained_tokens(tmp_path):
    owner = run("user", "add", "alice", "--root", tmp_path, "--email", "a@example.org").stdout.strip()
    with LocalHub(tmp_path) as server:
        api = HfApi(endpoint=server.endpoint, token=owner)
        api.create_repo("alice/m", private=True)
        api.create_repo("alice/other", private=True)
        made = run("user", "token", "alice", "--repo", "models/Alice/M:read", "--name", "ci", "--root", tmp_path)
        narrow = HfApi(endpoint=server.endpoint, token=made.stdout.strip())
        assert narrow.model_info("alice/m").private
        with pytest.raises(RepositoryNotFoundError):
            narrow.model_info("alice/other")
        with pytest.raises(HfHubHTTPError, match="needs a write token"):
            narrow.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="alice/m")
        said = narrow.whoami()
        assert (said["email"], said["auth"]["accessToken"]["displayName"]) == ("a@example.org", "ci")
        assert said["auth"]["accessToken"]["role"] == "fineGrained"

        (_, token_id, role, name, _, used) = tokens(tmp_path)[-1]
        assert (role, name) == ("fineGrained", "ci") and used != "never"
        revoked = run("user", "revoke", "alice", "--token", token_id, "--root", tmp_path)
        assert (revoked.stdout, revoked.stderr) == ("", "1 token of alice revoked\n")
        with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
            narrow.model_info("alice/m")
        assert api.whoami()["name"] == "alice"
        assert "1 token " in run("user", "revoke", "alice", "--all", "--root", tmp_path).stderr
        with pytest.raises(HfHubHTTPError):
            api.whoami()


def tokens(root):
    return [line.split("\t") for line in run("user", "list", "--tokens", "--root", root).stdout.splitlines()]


@pytest.mark.parametrize(
    "options",
    [
        ["--role", "fine-grained"],
        ["--role", "read", "--repo", "models/alice/m:read"],
        ["--repo", "models/alice/m"],
        ["--repo", "models/alice/m:admin"],
        ["--repo", "alice/m:read"],
        ["--repo", "model/alice/m:read"],
        ["--repo", "models/alice/missing:read"],
    ],
)
def test_tokens_that_are_not_made(tmp_path, options):
    run("user", "add", "alice", "--root", tmp_path)
    made = run("user", "token", "alice", *options, "--root", tmp_path)
    assert isinstance(made.exception, HfvaccineError) and made.exception.next_step and not made.stdout
    assert len(tokens(tmp_path)) == 1


def test_a_token_for_nobody(tmp_path):
    assert isinstance(run("user", "token", "nobody", "--root", tmp_path).exception, LocalHubError)


@pytest.mark.parametrize("options", [[], ["--all", "--token", "0123456789ab"], ["--token", "0123456789ab"]])
def test_revocations_that_say_not_what(tmp_path, options):
    run("user", "add", "alice", "--root", tmp_path)
    assert isinstance(run("user", "revoke", "alice", *options, "--root", tmp_path).exception, HfvaccineError)
    assert len(tokens(tmp_path)) == 1


def test_organisations(tmp_path):
    secrets = {name: run("user", "add", name, "--root", tmp_path).stdout.strip() for name in ("alice", "bob")}
    made = run("org", "add", "lab", "--fullname", "The Lab", "--root", tmp_path)
    assert made.stdout == "" and "hub org member lab" in made.stderr
    assert run("org", "list", "--root", tmp_path).stdout == "lab\n"
    assert run("user", "list", "--root", tmp_path).stdout == "alice\nbob\n"
    with LocalHub(tmp_path) as server:
        alice, bob = (HfApi(endpoint=server.endpoint, token=secrets[name]) for name in ("alice", "bob"))
        with pytest.raises(HfHubHTTPError, match="don't have the rights"):
            alice.create_repo("lab/m")
        run("org", "member", "lab", "alice", "--root", tmp_path)
        run("org", "member", "lab", "bob", "--role", "read", "--root", tmp_path)
        alice.create_repo("lab/m", private=True)
        alice.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="lab/m")
        assert bob.model_info("lab/m").author == "lab"
        with pytest.raises(HfHubHTTPError, match="don't have the rights"):
            bob.upload_file(path_or_fileobj=b"x", path_in_repo="y", repo_id="lab/m")
        (org,) = bob.whoami()["orgs"]
        assert (org["name"], org["fullname"], org["roleInOrg"]) == ("lab", "The Lab", "read")
        assert [one.id for one in bob.list_user_repos("lab")] == ["lab/m"]
        assert [one.name for one in bob.get_user_overview("alice").orgs] == ["lab"]
        assert run("org", "list", "--members", "--root", tmp_path).stdout == "lab\talice\twrite\nlab\tbob\tread\n"
        run("org", "member", "lab", "bob", "--role", "none", "--root", tmp_path)
        with pytest.raises(RepositoryNotFoundError):
            bob.model_info("lab/m")
        with pytest.raises(HfHubHTTPError, match="not a member"):
            list(bob.list_user_repos("lab"))
        assert bob.get_user_overview("alice").orgs == []
        with pytest.raises(HfHubHTTPError, match="no user 'lab'"):
            bob.get_user_overview("lab")


def test_an_organisation_whose_repos_are_private_unless_their_maker_says_otherwise(tmp_path):
    token = run("user", "add", "alice", "--root", tmp_path).stdout.strip()
    run("org", "add", "lab", "--private", "--root", tmp_path)
    run("org", "member", "lab", "alice", "--root", tmp_path)
    with LocalHub(tmp_path) as server:
        api = HfApi(endpoint=server.endpoint, token=token)

        def private(name, **more):
            return api.model_info(api.create_repo(name, **more).repo_id).private

        assert private("Lab/quiet") and private("lab/told", private=True)
        assert not private("lab/open", visibility="public") and not private("alice/own")
        run("org", "add", "lab", "--fullname", "The Lab", "--root", tmp_path)
        assert private("lab/still")
        run("org", "add", "lab", "--public", "--root", tmp_path)
        assert not private("lab/loud") and api.model_info("lab/quiet").private


def test_a_key_without_a_certificate(tmp_path):
    (tmp_path / "key.pem").write_text("x")
    error = run("serve", "--root", tmp_path / "hub", "--port", 0, "--tls-key", tmp_path / "key.pem").exception
    assert isinstance(error, LocalHubError) and "--tls-cert" in error.next_step
