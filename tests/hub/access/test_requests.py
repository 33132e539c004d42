"""Who may have a dose: decisions on a live embedded Hub."""

import csv
import itertools
import json
import os
import re
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hubs import ACCESS, AGREED
from huggingface_hub import HfApi, constants
from huggingface_hub.hf_api import AccessRequest

from hfvaccine import hub
from hfvaccine.claims import journal
from hfvaccine.errors import DoseError, HubError, UsageError
from hfvaccine.hub.access.requests import Access, Outcome, as_row, journal_of
from hfvaccine.hub.access.rules import AccessRule, read_rules

numbers = itertools.count()


@pytest.fixture
def repo_id(local, tokens, dose):
    """A published dose for one test."""
    name = f"alice/dose-{next(numbers)}"
    hub.push_dose(dose, name, token=tokens["alice"], endpoint=local.endpoint)
    return name


@pytest.fixture
def ask(local, tokens, repo_id):
    def ask(name, **fields):
        return hub.ask_access(repo_id, fields, token=tokens[name], endpoint=local.endpoint)

    return ask


@pytest.fixture
def pull(local, tokens, repo_id, tmp_path, monkeypatch):
    def pull(name):
        """From a clean cache, as on another machine."""
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / f"cache-{next(numbers)}"))
        return hub.pull_dose(repo_id, token=tokens[name], endpoint=local.endpoint)

    return pull


@pytest.fixture
def owner(local, tokens, repo_id, tmp_path):
    return Access(repo_id, journal=tmp_path / "own" / "access.jsonl", token=tokens["alice"], endpoint=local.endpoint)


def standing(owner):
    return {request.username: request.status for request in owner.requests()}


def test_from_the_request_to_the_pull_and_back_out(owner, ask, pull, tokens, local, dose):
    ask("ada", Purpose="Immunizing a model", Affiliation="A university", **{AGREED: True})
    ask("bob", Purpose="", Affiliation="None")
    (first, second) = owner.requests("pending")
    assert (first.username, first.fields["Purpose"], second.username) == ("ada", "Immunizing a model", "bob")

    assert owner.accept(["ADA"]) == [Outcome("ada", "pending", "accepted", True)]
    assert pull("ada").digest() == pull("alice").digest()
    assert owner.reject(["bob"], "Say what for.") == [Outcome("bob", "pending", "rejected", True, "Say what for.")]
    with pytest.raises(HubError, match="been rejected") as refused:
        pull("bob")
    assert "Only its owner" in refused.value.next_step

    assert owner.revoke(["ada"], "Passed on.") == [Outcome("ada", "accepted", "rejected", True, "Passed on.")]
    with pytest.raises(HubError, match="been rejected"):
        pull("ada")
    with pytest.raises(HubError):
        ask("ada", Purpose="Once more")
    assert owner.accept(["bob"]) == [Outcome("bob", "rejected", "accepted", True)]
    assert pull("bob").name == "Small dose"

    entries = journal.loads(owner.journal.read_bytes())  # which proves the chain
    assert [(e.act, e.by, e.what["user"], e.what["was"], e.what["now"]) for e in entries] == [
        ("access", "alice", "ada", "pending", "accepted"),
        ("access", "alice", "bob", "pending", "rejected"),
        ("access", "alice", "ada", "accepted", "rejected"),
        ("access", "alice", "bob", "rejected", "accepted"),
    ]
    assert {e.what["repo"] for e in entries} == {owner.repo_id}
    assert {e.what["hub"] for e in entries} == {local.endpoint}
    assert [e.what["reason"] for e in entries] == ["", "Say what for.", "Passed on.", ""]
    assert owner.decisions() == entries
    assert owner.journal.stat().st_mode & 0o077 == 0

    # Publishing again brings nothing of it into the repo.
    hub.push_dose(dose, owner.repo_id, token=tokens["alice"], endpoint=local.endpoint)
    published = HfApi(endpoint=local.endpoint, token=tokens["alice"]).snapshot_download(
        owner.repo_id, repo_type="dataset"
    )
    files = [path for path in Path(published).rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if re.search(rb"\b(ada|bob)\b|A university", path.read_bytes())]


def test_deciding_what_is_decided_already_changes_and_records_nothing(owner, ask):
    ask("ada", Purpose="A test")
    owner.accept(["ada"])
    before = owner.journal.read_bytes()
    assert owner.accept(["ada"]) == [Outcome("ada", "accepted", "accepted", False)]
    owner.revoke(["ada"])
    after = owner.journal.read_bytes()
    assert owner.revoke(["ada"]) == owner.reject(["ada"]) == [Outcome("ada", "rejected", "rejected", False)]
    assert (len(before.splitlines()), owner.journal.read_bytes()) == (1, after)


def test_a_name_given_twice_is_decided_once(owner, ask):
    ask("ada", Purpose="A test")
    assert len(owner.accept(["ada", "Ada"])) == 1
    assert len(owner.decisions()) == 1


def test_a_dry_run_decides_nothing(owner, ask):
    ask("ada", Purpose="A test")
    assert owner.accept(["ada"], dry_run=True) == [Outcome("ada", "pending", "accepted", False)]
    assert standing(owner) == {"ada": "pending"}
    assert not owner.journal.exists()


def test_one_wrong_name_stops_all(owner, ask):
    ask("ada", Purpose="A test")
    with pytest.raises(HubError, match="bob, nobody did not ask") as caught:
        owner.accept(["ada", "bob", "nobody"])
    assert f"/datasets/{owner.repo_id}" in caught.value.next_step
    ask("bob", Purpose="A test")
    owner.accept(["bob"])
    with pytest.raises(HubError, match="bob can read") as caught:
        owner.reject(["ada", "bob"])
    assert "access revoke" in caught.value.next_step
    with pytest.raises(HubError, match="ada only asked") as caught:
        owner.revoke(["bob", "ada"])
    assert "access reject" in caught.value.next_step
    with pytest.raises(UsageError, match="Nobody is named"):
        owner.accept([])
    with pytest.raises(UsageError, match="201 characters"):
        owner.reject(["ada"], "x" * 201)
    assert standing(owner) == {"ada": "pending", "bob": "accepted"}


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(ACCESS)
    return read_rules(path)


@pytest.fixture
def three_asked(ask):
    ask("ada", Affiliation="Ada's University", Purpose="Immunizing", **{AGREED: True})
    ask("bob", Affiliation="Some university", Purpose="")
    ask("eve", Affiliation="Some university", Purpose="Fun", **{AGREED: False})


def test_rules_carry_out_one_kind_of_decision_at_a_time(owner, rules, three_asked, pull):
    planned = owner.apply(rules, "accept", dry_run=True)
    assert planned == [
        Outcome("ada", "pending", "accepted", False, "", 2),
        Outcome("bob", "pending", "rejected", False, "Say what you will do with them.", 1),
        Outcome("eve", "pending", "pending", False),
    ]
    assert set(standing(owner).values()) == {"pending"}
    assert not owner.journal.exists()

    assert owner.apply(rules, "accept") == [replace(planned[0], done=True), *planned[1:]]
    assert standing(owner) == {"ada": "accepted", "bob": "pending", "eve": "pending"}
    assert pull("ada").name == "Small dose"
    assert owner.apply(rules, "reject") == [replace(planned[1], done=True), planned[2]]
    assert standing(owner) == {"ada": "accepted", "bob": "rejected", "eve": "pending"}
    assert owner.apply(rules, "reject") == [planned[2]]
    accepted, rejected = owner.decisions()
    assert (accepted.what["rule"], accepted.what["when"]) == (2, {"affiliation": "*university*", AGREED: True})
    assert (rejected.what["rule"], rejected.what["reason"]) == (1, "Say what you will do with them.")


def test_who_lost_access_is_not_let_in_again_by_the_rules(owner, rules, three_asked):
    owner.apply(rules, "accept")
    owner.revoke(["ada"])
    assert [outcome.user for outcome in owner.apply(rules, "accept")] == ["bob", "eve"]
    assert standing(owner)["ada"] == "rejected"


@pytest.mark.parametrize(
    ("when", "said"),
    [({"Purpos": ""}, "asks about 'Purpos'"), ({"Purpose": False}, "'Purpose' is ticked")],
)
def test_a_rule_that_the_form_cannot_answer_decides_nothing(owner, three_asked, when, said):
    rules = [AccessRule("accept", {"username": "ada"}), AccessRule("reject", when)]
    with pytest.raises(UsageError, match=f"Rule 2 asks .*{said.split(' ', 1)[-1]}") as caught:
        owner.apply(rules, "reject")
    assert caught.value.next_step
    assert set(standing(owner).values()) == {"pending"}


def test_an_edited_journal_stops_every_decision(owner, ask):
    ask("ada", Purpose="A test")
    ask("bob", Purpose="A test")
    owner.accept(["ada"])
    owner.journal.write_text(owner.journal.read_text().replace('"ada"', '"eve"'))
    for act in (lambda: owner.accept(["bob"]), owner.decisions, lambda: owner.export(owner.journal.parent / "x.csv")):
        with pytest.raises(DoseError, match=r"Journal entry 1 .* was changed"):
            act()
    assert standing(owner) == {"ada": "accepted", "bob": "pending"}


def test_what_a_killed_process_left_of_an_entry_is_cut_off(owner, ask):
    ask("ada", Purpose="A test")
    ask("bob", Purpose="A test")
    owner.accept(["ada"])
    whole = owner.journal.read_bytes()
    owner.journal.write_bytes(whole + whole[:50])
    assert [entry.what["user"] for entry in owner.decisions()] == ["ada"]
    owner.reject(["bob"])
    assert owner.journal.read_bytes().startswith(whole)
    assert [entry.what["user"] for entry in owner.decisions()] == ["ada", "bob"]


def test_a_journal_that_cannot_be_written_stops_before_the_hub_is_told(owner, ask, tmp_path):
    ask("ada", Purpose="A test")
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "access.jsonl"):
        owner.journal = path
        with pytest.raises(UsageError, match="nothing was done"):
            owner.accept(["ada"])
    assert standing(owner) == {"ada": "pending"}


def test_a_decision_that_could_not_be_written_down_is_named(owner, ask, monkeypatch):
    told = []
    owner._tell = told.append
    for name in ("ada", "bob", "eve"):
        ask(name, Purpose="A test")
    fsync, calls = os.fsync, itertools.count()

    def fail(descriptor):
        if next(calls) == 2:  # after the folder and ada
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(HubError, match=r"bob was accepted .* could not be written .* No space left") as caught:
            owner.accept(["ada", "bob", "eve"])
    assert "unrecorded" in caught.value.next_step
    assert standing(owner) == {"ada": "accepted", "bob": "accepted", "eve": "pending"}
    assert [outcome.user for outcome in told] == ["ada"]


def test_a_decision_that_the_hub_refuses_is_not_written_down(owner, ask, monkeypatch):
    ask("ada", Purpose="A test")
    ask("bob", Purpose="A test")
    listed = owner.requests()
    owner.accept(["bob"])
    monkeypatch.setattr(owner, "requests", lambda *statuses: listed)  # bob was let in meanwhile
    with pytest.raises(HubError, match="already accepted"):
        owner.accept(["ada", "bob"])
    assert [entry.what["user"] for entry in owner.decisions()] == ["bob", "ada"]


def test_only_the_owner_sees_and_decides(ask, repo_id, tokens, local, tmp_path):
    ask("ada", Purpose="A test")
    for token, said in ((tokens["ada"], "may not do that"), (False, "does not know who|not logged in")):
        other = Access(repo_id, journal=tmp_path / "x.jsonl", token=token, endpoint=local.endpoint)
        for act in (other.requests, lambda other=other: other.accept(["ada"])):
            with pytest.raises(HubError, match=said) as caught:
                act()
            assert caught.value.next_step
    assert not (tmp_path / "x.jsonl").exists()


def test_requests_without_a_name_are_decided_by_their_id(owner, ask, monkeypatch):
    ask("ada", Purpose="A test")
    requests = owner.requests

    def hidden(*statuses):
        return [replace(request, username=None, fullname=None, email=None) for request in requests(*statuses)]

    monkeypatch.setattr(owner, "requests", hidden)
    (request,) = owner.requests()
    assert owner.accept([request.request_id]) == [Outcome(request.request_id, "pending", "accepted", True)]
    assert [r.status for r in requests()] == ["accepted"]


def test_the_export_holds_every_request_and_decision(owner, ask, tmp_path):
    ask("ada", Affiliation="=HYPERLINK(1)", Purpose='A "test", with comma')
    ask("bob", Purpose="Another")
    owner.accept(["ada"])
    owner.revoke(["ada"], "Passed on.")
    table, lines = tmp_path / "out" / "requests.csv", tmp_path / "out" / "requests.jsonl"
    assert owner.export(table) == owner.export(lines) == 2

    ada, bob = (json.loads(line) for line in lines.read_text("utf-8").splitlines())
    assert (ada["user"], ada["status"], ada["fields"]["Affiliation"]) == ("ada", "rejected", "=HYPERLINK(1)")
    assert [(d["by"], d["was"], d["now"]) for d in ada["decisions"]] == [
        ("alice", "pending", "accepted"),
        ("alice", "accepted", "rejected"),
    ]
    assert (bob["status"], bob["decisions"]) == ("pending", [])

    with table.open(newline="", encoding="utf-8") as file:
        ada, bob = csv.DictReader(file)
    assert (ada["user"], ada["Affiliation"], ada["Purpose"]) == ("ada", "'=HYPERLINK(1)", 'A "test", with comma')
    assert (ada["decision_now"], ada["decision_by"], ada["decision_reason"]) == ("rejected", "alice", "Passed on.")
    assert (bob["status"], bob["decision_now"]) == ("pending", "")
    assert {path.name for path in table.parent.iterdir()} == {"requests.csv", "requests.jsonl"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in table.parent.iterdir())


def test_the_export_keeps_decisions_on_requests_that_the_hub_forgot(owner, ask, tmp_path, monkeypatch):
    ask("ada", Purpose="A test")
    owner.accept(["ada"])
    monkeypatch.setattr(owner, "requests", lambda *statuses: [])
    owner.export(tmp_path / "x.jsonl")
    (row,) = map(json.loads, (tmp_path / "x.jsonl").read_text().splitlines())
    assert (row["user"], row["status"], len(row["decisions"])) == ("ada", "no longer listed", 1)
    owner.export(tmp_path / "x.csv")
    assert "no longer listed" in (tmp_path / "x.csv").read_text()


def test_an_export_of_another_kind_is_a_usage_error(owner, tmp_path):
    with pytest.raises(UsageError, match=r"neither \.csv nor \.jsonl"):
        owner.export(tmp_path / "requests.xlsx")


def test_the_default_journal_is_one_for_each_dose(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    path = journal_of("Alice/My-Dose")
    assert path.is_relative_to(tmp_path)
    assert path.parts[-2:] == ("access", "alice--my-dose.jsonl")
    assert Access("Alice/My-Dose").journal == path


@pytest.mark.parametrize("repo_id", ["dose", "a/b/c", ""])
def test_a_malformed_repo_id_is_a_usage_error(repo_id):
    with pytest.raises(UsageError, match="is not a repo id"):
        Access(repo_id)


def test_a_dose_that_is_not_gated_has_no_requests(local, tokens):
    api = HfApi(endpoint=local.endpoint, token=tokens["alice"])
    api.create_repo("alice/open", repo_type="dataset")
    with pytest.raises(HubError, match="is not gated"):
        Access("alice/open", token=tokens["alice"], endpoint=local.endpoint).requests()


def test_rows_and_outcomes_are_plain_data():
    at = datetime(2026, 11, 1, tzinfo=UTC)
    row = as_row(AccessRequest("ada", "1f", None, "ada@example.org", at, "pending", {AGREED: True}))
    assert json.loads(json.dumps(row)) == row
    assert (row["user"], row["asked_on"], row["fields"][AGREED]) == ("ada", "2026-11-01T00:00:00+00:00", True)
    assert asdict(Outcome("ada", "pending", "accepted", True))["now"] == "accepted"
