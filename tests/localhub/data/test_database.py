"""The database file over its versions: what a first version wrote is kept and works."""

import hashlib
import sqlite3
import threading

import pytest

from hfvaccine.errors import LocalHubError
from hfvaccine.localhub.data.access import Access
from hfvaccine.localhub.data.accounts import FINE_GRAINED, Accounts
from hfvaccine.localhub.data.catalog import Catalog
from hfvaccine.localhub.data.database import SCHEMAS, Database, open_database

# As the first version made it, which numbered nothing. Never to be changed.
FIRST = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE COLLATE NOCASE, created_at TEXT NOT NULL);
CREATE TABLE tokens (
    digest TEXT PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    role TEXT NOT NULL CHECK (role IN ('read', 'write')), created_at TEXT NOT NULL);
CREATE TABLE repos (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, namespace TEXT NOT NULL COLLATE NOCASE,
    name TEXT NOT NULL COLLATE NOCASE, folder TEXT NOT NULL UNIQUE, private INTEGER NOT NULL,
    gated TEXT CHECK (gated IN ('auto', 'manual')), created_at TEXT NOT NULL, UNIQUE (kind, namespace, name));
CREATE TABLE moves (
    kind TEXT NOT NULL, namespace TEXT NOT NULL COLLATE NOCASE, name TEXT NOT NULL COLLATE NOCASE,
    repo_id INTEGER NOT NULL REFERENCES repos(id) ON DELETE CASCADE, PRIMARY KEY (kind, namespace, name));
CREATE TABLE large_files (
    repo_id INTEGER NOT NULL REFERENCES repos(id) ON DELETE CASCADE, oid TEXT NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (repo_id, oid));
CREATE TABLE access_requests (
    id TEXT PRIMARY KEY, repo_id INTEGER NOT NULL REFERENCES repos(id) ON DELETE CASCADE,
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    status TEXT NOT NULL CHECK (status IN ('pending', 'accepted', 'rejected')), fields TEXT NOT NULL,
    reason TEXT, created_at TEXT NOT NULL, UNIQUE (repo_id, user_id));
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
    repo TEXT, detail TEXT);
INSERT INTO users VALUES (1, 'Alice', '2026-01-01T00:00:00.000Z'), (7, 'bob', '2026-01-02T00:00:00.000Z');
INSERT INTO repos VALUES (3, 'dataset', 'Alice', 'dose', 'f0', 0, 'manual', '2026-01-01T00:00:00.000Z');
INSERT INTO large_files VALUES (3, 'ab', 12);
INSERT INTO access_requests VALUES ('r1', 3, 7, 'rejected', '{"why": "x"}', 'no', '2026-01-03T00:00:00.000Z');
INSERT INTO audit VALUES (1, '2026-01-01T00:00:00.000Z', 'Alice', 'create', 'dataset:Alice/dose', 'private');
"""
TOKEN = "hfv_" + "0" * 40


@pytest.fixture
def old(tmp_path):
    connection = sqlite3.connect(tmp_path / "hub.sqlite3")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(FIRST)
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    connection.execute("INSERT INTO tokens VALUES (?, 1, 'read', '2026-01-01T00:00:00.000Z')", (digest,))
    connection.commit()
    connection.close()
    return tmp_path


def columns(root):
    with sqlite3.connect(root / "hub.sqlite3") as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        return {name: connection.execute(f"PRAGMA table_info({name})").fetchall() for (name,) in tables}


def test_a_first_version_s_file_is_brought_up_with_all_that_is_in_it(old):
    with open_database(old) as database:
        accounts, catalog, access = Accounts(database), Catalog(database), Access(database)
        alice = accounts.caller(TOKEN)
        assert (alice.id, alice.name, alice.role, alice.repos, alice.token_name) == (1, "Alice", "read", None, "token")
        repo = catalog.find("dataset", "alice", "DOSE")
        assert (repo.number, repo.gated, catalog.large_file_size(repo, "ab")) == (3, "manual", 12)
        (request,) = access.requests(repo, "rejected")
        assert request["user"] == {"user": "bob", "fullname": "bob"} and request["fields"] == {"why": "x"}
        assert len(database.rows("SELECT * FROM audit")) == 1
        narrow = accounts.caller(accounts.add_token("bob", FINE_GRAINED, "n", [(repo, "read")]))
        assert narrow.repos == {3: "read"}
        accounts.add_user("carol")
        assert accounts.user_id("carol") == 8  # numbers are not given out again


def test_it_ends_as_a_new_file_does_and_opens_again(old, tmp_path):
    for _ in range(2):
        with open_database(old) as database:
            assert database.row("PRAGMA user_version")[0] == len(SCHEMAS)
    with open_database(tmp_path / "new"):
        pass
    assert columns(old) == columns(tmp_path / "new")


def test_many_openings_at_once_bring_it_up_once(old):
    errors = []

    def bring_up():
        try:
            with open_database(old) as database:
                assert Accounts(database).caller(TOKEN).name == "Alice"
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=bring_up) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_a_bringing_up_that_fails_changes_nothing(old, monkeypatch):
    before = columns(old)
    monkeypatch.setattr(
        "hfvaccine.localhub.data.database.SCHEMAS", (*SCHEMAS, "CREATE TABLE x (y INTEGER);\nNONSENSE;")
    )
    with pytest.raises(LocalHubError, match="NONSENSE"), open_database(old):
        pass
    monkeypatch.undo()
    assert columns(old) == before
    with open_database(old) as database:
        assert Accounts(database).caller(TOKEN).name == "Alice"


def test_the_file_of_a_newer_version_is_left_alone(old):
    with sqlite3.connect(old / "hub.sqlite3") as connection:
        connection.execute(f"PRAGMA user_version = {len(SCHEMAS) + 1}")
    before = columns(old)
    with pytest.raises(LocalHubError, match="newer version"), open_database(old):
        pass
    assert columns(old) == before


def test_transactions_inside_others_are_parts_of_them(tmp_path):
    database = Database(tmp_path / "hub.sqlite3")
    with pytest.raises(ZeroDivisionError), database.transaction():
        database.audit("a", "b")
        with database.transaction():
            database.audit("a", "c")
        1 / 0  # noqa: B018
    assert database.rows("SELECT * FROM audit") == []
    with database.transaction():
        database.audit("a", "b")
    assert len(database.rows("SELECT * FROM audit")) == 1
    database.close()
