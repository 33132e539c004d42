import pytest

from hfvaccine.errors import LocalHubError
from hfvaccine.localhub.accounts import Accounts, is_name
from hfvaccine.localhub.database import open_database
from hfvaccine.localhub.refusal import Refusal


@pytest.fixture
def accounts(tmp_path):
    with open_database(tmp_path) as database:
        yield Accounts(database)


def test_a_token_names_its_user_and_is_stored_hashed(tmp_path, accounts):
    accounts.add_user("Alice")
    token = accounts.add_token("alice", "read")
    caller = accounts.caller(token)
    assert (caller.name, caller.role) == ("Alice", "read")
    assert not any(token.encode() in file.read_bytes() for file in tmp_path.iterdir())


def test_adding_a_user_twice_keeps_one(accounts):
    accounts.add_user("alice")
    accounts.add_user("ALICE")
    assert accounts.names() == ["alice"]


def test_unknown_token(accounts):
    with pytest.raises(Refusal, match="Invalid credentials in Authorization header"):
        accounts.caller("hfv_nothing")


@pytest.mark.parametrize(
    "name", ["", "api", "Datasets", "a/b", "..", ".a", "a--b", "a.git", "a" * 97, "ä", "a\nb", "a "]
)
def test_names_that_cannot_be_a_namespace(accounts, name):
    with pytest.raises(LocalHubError):
        accounts.add_user(name)


def test_names():
    assert is_name("SmolLM2-135M_q4.1") and is_name("a") and not is_name(None)


def test_a_token_needs_its_user(accounts):
    with pytest.raises(LocalHubError, match="no user 'bob'"):
        accounts.add_token("bob")
