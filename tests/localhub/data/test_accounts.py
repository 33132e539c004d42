import pytest

from hfvaccine.errors import LocalHubError
from hfvaccine.localhub.data.accounts import FINE_GRAINED, Accounts, is_name
from hfvaccine.localhub.data.catalog import Catalog
from hfvaccine.localhub.data.database import open_database
from hfvaccine.localhub.refusal import Refusal


@pytest.fixture
def accounts(tmp_path):
    with open_database(tmp_path) as database:
        yield Accounts(database, "tester")


def audit(accounts):
    rows = accounts._database.rows("SELECT actor, action, detail FROM audit ORDER BY id")
    assert {row["actor"] for row in rows} <= {"tester"}
    return [(row["action"], row["detail"]) for row in rows]


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


def test_profiles_are_set_and_kept(accounts):
    accounts.add_user("ada", "ada@example.org")
    accounts.add_user("ADA", fullname="Ada L.")
    accounts.add_user("ada")
    caller = accounts.caller(accounts.add_token("ada"))
    assert (caller.email, caller.fullname) == ("ada@example.org", "Ada L.")
    assert accounts.profile("ada") == {"user": "ada", "fullname": "Ada L."}
    assert audit(accounts)[:3] == [
        ("add user", "ada"),
        ("change user", "ada: email"),
        ("change user", "ADA: fullname"),
    ]


def test_revoking_one_token_leaves_the_others(accounts):
    accounts.add_user("ada")
    accounts.add_user("bob")
    old, new, other = accounts.add_token("ada", label="old"), accounts.add_token("ada"), accounts.add_token("bob")
    (first, _) = (one for one in accounts.tokens() if one.user == "ada")
    assert (first.name, first.last_used) == ("old", None)
    accounts.caller(old)
    (first, _) = (one for one in accounts.tokens() if one.user == "ada")
    assert first.last_used >= first.created_at
    with pytest.raises(LocalHubError, match="no token"):
        accounts.revoke("bob", [first.id])
    with pytest.raises(LocalHubError, match="no token"):
        accounts.revoke("ada", [first.id, "000000000000"])
    assert accounts.caller(old).name == "ada"
    assert accounts.revoke("ADA", [first.id]) == 1
    with pytest.raises(Refusal):
        accounts.caller(old)
    assert accounts.caller(new).name == "ada"
    assert accounts.revoke("ada", None) == 1
    with pytest.raises(Refusal):
        accounts.caller(new)
    assert accounts.caller(other).name == "bob"
    assert ("revoke token", f"ADA: {first.id}") in audit(accounts)


def test_what_the_audit_says_of_tokens_is_no_token(accounts):
    repo = Catalog(accounts._database).add("model", "ada", "m", "f0", private=False)
    accounts.add_user("ada")
    token = accounts.add_token("ada", FINE_GRAINED, "ci", [(repo, "write")])
    (action, detail) = audit(accounts)[-1]
    assert action == "token" and detail.endswith("fineGrained 'ci' model:ada/m write")
    assert token not in detail and token.removeprefix("hfv_")[:12] not in detail
    assert accounts.caller(token).may_use(repo) == "write"


def test_organisations_share_the_names_with_users(accounts):
    accounts.add_org("lab", "The Lab")
    accounts.add_user("ada")
    with pytest.raises(LocalHubError, match="organisation"):
        accounts.add_user("LAB")
    with pytest.raises(LocalHubError, match="name of a user"):
        accounts.add_org("ada")
    with pytest.raises(LocalHubError, match="no user 'lab'"):
        accounts.add_token("lab")
    assert (accounts.names(), accounts.orgs(), accounts.user_id("lab")) == (["ada"], ["lab"], None)


def test_members(accounts):
    accounts.add_org("lab", "The Lab")
    accounts.add_user("ada")
    token = accounts.add_token("ada")
    assert accounts.caller(token).role_in("lab") is None
    for role in ("read", "admin"):
        accounts.set_member("Lab", "Ada", role)
        assert accounts.caller(token).role_in("LAB") == role
    assert accounts.members() == [("lab", "The Lab", "ada", "admin")]
    accounts.set_member("lab", "ada", None)
    assert accounts.caller(token).role_in("lab") is None and accounts.members() == []
    assert audit(accounts)[-1] == ("member", "lab: ada out")
    for org, user in (("nolab", "ada"), ("lab", "nobody"), ("ada", "ada"), ("lab", "lab")):
        with pytest.raises(LocalHubError, match="There is no"):
            accounts.set_member(org, user, "read")
