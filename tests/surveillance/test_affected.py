"""What a recall reaches, by ledgers: found in folders, repos and namespaces, and nothing is passed over."""

import dataclasses
import json
import shutil

import pytest

from hfvaccine.claims.dose import Dose
from hfvaccine.errors import HubError, UsageError
from hfvaccine.files import LEDGER, RECORD, SCORES
from hfvaccine.quarantine.recalls import AFFECTED, FIXED, NOT_AFFECTED, UNDER_INVESTIGATION
from hfvaccine.surveillance import affected
from hfvaccine.surveillance.affected import find, roots

from .adapters import adapter, booster, bound, merged


@pytest.fixture(scope="module")
def found(published):
    return {one.place: one for one in find(["lab"])}


def status(one, claim_id):
    return one.of_claim(claim_id).status


def test_a_namespace_is_looked_through_with_the_recalls_of_each_ones_own_dose(found, ids):
    assert {place: [(g.claim_id, g.status) for g in one.claims] for place, one in found.items()} == {
        "lab/given": [(ids[0], AFFECTED)],
        "lab/spared": [(ids[0], NOT_AFFECTED)],
        "lab/merged": [(ids[0], AFFECTED)],
        "lab/booster": [(ids[0], FIXED)],
    }


def test_it_says_how_often_the_claim_was_given_and_why_it_was_not(found, ids):
    given, spared = (found[place].of_claim(ids[0]) for place in ("lab/given", "lab/spared"))
    assert (given.rows, given.steps, given.why) == (2, (1, 2), "given in 2 rows, steps 1 to 2")
    assert given.recall.why == "The study was retracted."
    assert spared.justification == "component_not_present" and "chosen, and never given" in spared.why


def test_what_was_made_of_an_adapter_stands_below_it(found):
    assert (found["lab/merged"].kind, found["lab/merged"].parent) == ("merged model", "lab/given")
    assert (found["lab/booster"].kind, found["lab/booster"].parent) == ("booster", "lab/given")
    assert {one.place for one in roots(list(found.values()))} == {"lab/given", "lab/spared"}


def test_folders_and_repos_are_looked_at_with_a_dose_that_is_named(published, ids, recalled):
    folders = find([str(published["lab/given"].parent)], dose="lab/dose")
    assert len(folders) == 4 and not any(one.on_hub for one in folders)
    (one,) = find(["lab/given@main"], dose="lab/dose")
    assert status(one, ids[0]) == AFFECTED


def test_where_nothing_can_be_looked_at_there_is_no_all_clear(recalled):
    with pytest.raises(UsageError, match="no immunized adapters of nobody-at-all"):
        find(["nobody-at-all"], dose="lab/dose")


def test_what_cannot_be_asked_for_newer_recalls_is_no_all_clear(published, recalled, ids, monkeypatch):
    old = dataclasses.replace(recalled, recalls_asked=False)
    monkeypatch.setattr(affected, "dose_of", lambda *given, **more: old)
    (one,) = find(["lab/spared"])
    assert "newest recalls" in one.problem
    monkeypatch.setattr(affected, "open_dose", lambda *given, **more: old)
    with pytest.raises(HubError, match="newest recalls"):
        find(["lab"], dose="lab/dose")
    with pytest.raises(UsageError, match="no id of a claim"):
        find(["lab"], claims=["zzz"])


def test_a_claim_that_nobody_recalled_can_be_looked_for(published, ids):
    by_place = {one.place: one for one in find(["lab"], claims=[ids[1], ids[3]])}
    assert status(by_place["lab/spared"], ids[1]) == AFFECTED
    never = by_place["lab/given"].of_claim(ids[3])
    assert (never.status, never.why, never.recall) == (NOT_AFFECTED, "never given", None)


def test_a_booster_counts_only_once_it_was_measured_without_the_claim(recalled, ids, tmp_path):
    given = adapter(tmp_path / "given", recalled, ids[:1])
    made = {
        "unasked": booster(tmp_path / "unasked", given, recalled, [], ids[:1], "x"),
        "failed": booster(tmp_path / "failed", given, recalled, [], ids[:1], "x", asked=ids, verdict="failed"),
        "for another": booster(tmp_path / "another", given, recalled, [], ids[1:2], "x", asked=ids),
        "unmeasured": booster(tmp_path / "unmeasured", given, recalled, [], ids[:1], "x", asked=ids),
        "with it": booster(tmp_path / "with", given, recalled, ids[:1], ids[:1], "x", asked=ids),
    }
    (made["unmeasured"] / SCORES).unlink()
    bound(made["unmeasured"])
    found = {one.place: one for one in find([str(tmp_path)], dose="lab/dose")}
    claims = {name: found[str(folder)].of_claim(ids[0]) for name, folder in made.items()}
    assert {name: one.status for name, one in claims.items()} == {
        **dict.fromkeys(("unasked", "failed", "for another", "unmeasured"), UNDER_INVESTIGATION),
        "with it": AFFECTED,
    }
    assert claims["unasked"].missing == (f"it was not asked about {ids[0]}",)
    assert claims["failed"].missing == ("its gate FAILED",)
    assert claims["for another"].missing == (f"its record does not retract {ids[0]}",)
    assert SCORES in claims["unmeasured"].why


def test_a_booster_that_goes_on_from_what_was_given_the_claim_holds_it(recalled, ids, tmp_path):
    given = adapter(tmp_path / "given", recalled, ids[:1])
    folder = booster(tmp_path / "on", given, recalled, ids[1:2], ids[2:3], "x", before=ids[:1])
    one = next(one for one in find([str(tmp_path)], dose="lab/dose") if one.place == str(folder))
    assert status(one, ids[0]) == AFFECTED and "goes on from" in one.of_claim(ids[0]).why


def test_a_booster_of_what_was_never_given_the_claim_is_not_affected(recalled, ids, tmp_path):
    spared = adapter(tmp_path / "spared", recalled, ids[1:2])
    folder = booster(tmp_path / "boosted", spared, recalled, ids[1:2], ids[2:3], "x")
    one = next(one for one in find([str(tmp_path)], dose="lab/dose") if one.place == str(folder))
    assert status(one, ids[0]) == NOT_AFFECTED and "nor was its parent" in one.of_claim(ids[0]).why


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: (run / LEDGER).write_bytes(b"PAR1"), "not the file that"),
        (lambda run: (run / LEDGER).unlink(), f"has no {LEDGER}"),
        (lambda run: (run / RECORD).write_text("{}"), "schema version is None"),
        (lambda run: bound(run, {**json.loads((run / RECORD).read_text()), "plan": {"fingerprint": "0"}}), "its plan"),
        (lambda run: bound(run, {**json.loads((run / RECORD).read_text()), "dose": None}), "malformed"),
    ],
)
def test_what_cannot_be_looked_at_is_named_and_the_others_are_looked_at(recalled, ids, tmp_path, spoil, said):
    spoil(adapter(tmp_path / "a", recalled, ids[:1]))
    adapter(tmp_path / "b", recalled, ids[:1])
    spoiled, other = find([str(tmp_path)], dose="lab/dose")
    assert said in spoiled.problem and spoiled.claims == ()
    assert not other.problem and status(other, ids[0]) == AFFECTED


def test_an_adapter_whose_dose_is_gone_is_no_good_news(recalled, ids, tmp_path, folder):
    adapter(tmp_path / "run", Dose.load(folder), ids[:1])
    shutil.rmtree(folder)
    (one,) = find([str(tmp_path / "run")])
    assert "cannot be read" in one.problem and "--dose" in one.problem
    (one,) = find([str(tmp_path / "run")], claims=ids[:1])
    assert status(one, ids[0]) == AFFECTED


def test_a_circle_of_parents_is_cut(recalled, ids, tmp_path):
    a = adapter(tmp_path / "a", recalled, ids[:1])
    b = merged(tmp_path / "b", a, recalled, ids[:1])
    names = {"reason": "recall", "retracted": []}
    for run, parent in ((a, b), (b, a)):
        record = json.loads((run / RECORD).read_text())
        record["training"].pop("merged", None)
        bound(run, {**record, "booster": {**names, "parent": {"id": str(parent)}}})
    assert len(roots(find([str(tmp_path)], dose="lab/dose"))) == 2


@pytest.mark.parametrize("where", ["no/such/place", "a b", "."])
def test_what_is_no_place_is_refused(local, where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        find([where])


def test_a_dose_without_recalls_is_refused_unless_a_claim_is_named(folder, ids, published):
    with pytest.raises(UsageError, match="Nothing is recalled"):
        find(["lab"], dose=str(folder))
    assert find(["lab/given"], dose=str(folder), claims=ids[:1])[0].of(AFFECTED)
