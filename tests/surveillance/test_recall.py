"""A recall as an act: in a folder and on a Hub, by two people, and whom it then keeps from the dose."""

import json
import shutil

import pytest
from huggingface_hub import HfApi, constants

from hfvaccine import hub
from hfvaccine.claims import journal
from hfvaccine.claims.dose import Dose, read_journal
from hfvaccine.dosing.permission import permit
from hfvaccine.errors import DoseError, HubError, PublishError, UsageError
from hfvaccine.files import RECALLS, VEX
from hfvaccine.hub.listing import listing
from hfvaccine.hub.pull import pull_dose
from hfvaccine.quarantine.recalls import Recalls
from hfvaccine.quarantine.seal import seal
from hfvaccine.surveillance.recall import issue

from .conftest import TOLD


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """Without what others fetched: what is in a cache is not asked for again."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


def recall(folder, claim_id, status="affected"):
    issue(str(folder), claim_id, status, by="bea", **TOLD)
    return issue(str(folder), claim_id, status, by="cyd")


def test_it_goes_on_with_the_journal_of_the_sealed_dose_and_leaves_the_seal_whole(folder, ids):
    before = Dose.load(folder)
    issued = recall(folder, ids[0])
    assert (issued.holds, issued.changed, issued.recall.by) == (True, True, ("bea", "cyd"))
    dose = Dose.load(folder)
    assert dose.digest() == before.digest()
    assert dose.recalls[0].before == read_journal(folder)[-1].hash() == dose.manifest["journal_head"]
    assert [entry.by for entry in dose.recalls] == ["bea", "cyd"]
    assert all(claim.claim not in (folder / name).read_text() for claim in dose.claims for name in (RECALLS, VEX))


def test_nothing_is_published_as_openvex_before_it_holds(folder, ids):
    issued = issue(str(folder), ids[0], "affected", by="bea", **TOLD)
    assert not issued.holds and issued.needed == 2
    assert (folder / RECALLS).is_file() and not (folder / VEX).exists()


def test_openvex_has_what_the_format_asks_for_and_overrides_in_order(folder, ids):
    recall(folder, ids[0])
    issue(str(folder), ids[0], "not_affected", by="bea", why="It holds.", justification="component_not_present")
    issue(str(folder), ids[0], "not_affected", by="cyd")
    document = json.loads((folder / VEX).read_text())
    assert document["@context"] == "https://openvex.dev/ns/v0.2.0"
    assert {"@id", "author", "timestamp", "version", "statements"} <= set(document)
    assert document["version"] == len(document["statements"]) == 2
    first, second = document["statements"]
    assert first["vulnerability"] == second["vulnerability"] == {"name": ids[0]}
    assert (first["status"], first["action_statement"]) == ("affected", TOLD["action"])
    assert "justification" not in first and "action_statement" not in second
    assert (second["status"], second["justification"]) == ("not_affected", "component_not_present")
    assert first["products"][0]["hashes"] == {"sha-256": Dose.load(folder).digest()}
    assert all(one["@id"].startswith("ni:///sha-256;") for one in (document, first, second))


def test_what_is_refused_leaves_the_folder_as_it_was(folder, ids):
    before = files_of(folder)
    for claim_id, by in ((ids[0], "ada"), ("f" * 16, "bea"), (ids[0], None), (ids[0], "a, b")):
        with pytest.raises((UsageError, DoseError)):
            issue(str(folder), claim_id, "affected", by=by, **TOLD)
    assert files_of(folder) == before


def test_the_same_thing_said_again_writes_nothing(folder, ids):
    recall(folder, ids[0])
    before = files_of(folder)
    assert not issue(str(folder), ids[0], "affected", by="bea", **TOLD).changed
    assert files_of(folder) == before


@pytest.mark.parametrize("place", ["starter", "lab/dose@v1"])
def test_a_dose_that_nobody_can_write_to_is_refused(place):
    with pytest.raises(UsageError):
        issue(place, "0" * 16, "affected", by="bea", **TOLD)


def test_what_a_killed_act_left_beside_the_dose_does_no_harm(folder, ids):
    (folder / f".{RECALLS}-0123abcd").write_text("{")
    Dose.load(folder)
    assert recall(folder, ids[0]).holds


@pytest.mark.parametrize("change", [lambda text: text.replace("retracted", "confirmed"), lambda text: text[:-9]])
def test_recalls_that_were_tampered_with_break_the_dose(folder, ids, change):
    recall(folder, ids[0])
    (folder / RECALLS).write_text(change((folder / RECALLS).read_text()))
    with pytest.raises(DoseError, match=r"recalls\.jsonl in"):
        Dose.load(folder)


def test_recalls_of_another_dose_are_refused(folder, ids, claims, tmp_path):
    recall(folder, ids[0])
    other = seal(claims[1:], {"name": "Other", "contact": "x"}, tmp_path / "other").path
    shutil.copy(folder / RECALLS, other)
    with pytest.raises(DoseError, match="does not go on"):
        Dose.load(other)


def test_giving_a_recalled_claim_is_refused_and_can_be_overridden(folder, ids):
    recall(folder, ids[0])
    dose = Dose.load(folder)
    with pytest.raises(DoseError, match=f"1 claim is recalled .{ids[0]}"):
        permit(dose, 0.1)
    (against,) = permit(dose, 0.1, "To see what it does.")
    assert ids[0] in against


def test_on_a_hub_two_members_say_it_in_one_commit_each(local, recalled, api, ids):
    entries = journal.loads(journal.dumps(recalled.recalls).encode(), None)
    assert [entry.by for entry in entries[:2]] == ["bea", "cyd"]
    titles = [one.title for one in api.list_repo_commits("lab/dose", repo_type="dataset")]
    assert titles.count(f"Recall: {ids[0]} is affected") == 2
    assert Recalls.of(recalled).standing[ids[0]].by == ("bea", "cyd")


def test_on_a_hub_everybody_speaks_as_their_account(local, recalled, tokens, ids):
    with pytest.raises(UsageError, match="This account is bea, not cyd"):
        issue("lab/dose", ids[1], "affected", by="cyd", **TOLD)
    with pytest.raises(DoseError, match="brought in by ada"):
        issue("lab/dose", ids[1], "affected", token=tokens["ada"], **TOLD)


def test_on_a_hub_who_may_not_read_or_write_recalls_nothing(recalled, own_cache, tokens, ids):
    with pytest.raises(HubError, match="gated"):
        issue("lab/dose", ids[1], "affected", token=tokens["reader"], **TOLD)
    HfApi().grant_access("lab/dose", "reader", repo_type="dataset")
    with pytest.raises(HubError, match="may not do that"):
        issue("lab/dose", ids[1], "affected", token=tokens["reader"], **TOLD)
    assert len(pull_dose("lab/dose", allow_recalled=True).recalls) == len(recalled.recalls)


def test_a_recalled_dose_is_pulled_only_by_who_asks_for_that_also_an_older_version(local, recalled, ids, tmp_path):
    for revision in (None, "v1"):
        with pytest.raises(DoseError, match=ids[0]):
            pull_dose("lab/dose", revision=revision, local_dir=tmp_path / "refused")
        assert pull_dose("lab/dose", revision=revision, allow_recalled=True).recalls == recalled.recalls
    assert not (tmp_path / "refused").exists()
    copied = pull_dose("lab/dose", local_dir=tmp_path / "copy", allow_recalled=True)
    assert Dose.load(copied.path).recalls == recalled.recalls
    assert (copied.path / VEX).is_file()
    (copied.path / RECALLS).unlink()
    pull_dose("lab/dose", revision="v1", local_dir=copied.path, allow_recalled=True)  # again: a copy learns of recalls
    assert Dose.load(copied.path).recalls == recalled.recalls


def test_a_list_shows_what_is_recalled(local, recalled, own_cache):
    (theirs,) = (one for one in listing("lab", token=local.add_user("passer-by")).doses if one.id == "lab/dose")
    assert theirs.recalled is None  # behind the gate
    (dose,) = (one for one in listing("lab").doses if one.id == "lab/dose")
    assert dose.recalled == 1


def test_a_push_keeps_the_recalls_of_the_repo_and_brings_those_of_the_folder(
    local, api, folder, ids, claims, tmp_path
):
    hub.push_dose(folder, "lab/second")
    recall(folder, ids[0])
    hub.push_dose(folder, "lab/second")
    assert len(pull_dose("lab/second", allow_recalled=True).recalls) == 2
    shutil.copytree(folder, tmp_path / "older")
    for name in (RECALLS, VEX):
        (tmp_path / "older" / name).unlink()
    hub.push_dose(tmp_path / "older", "lab/second")  # which knows of no recall
    assert len(pull_dose("lab/second", allow_recalled=True).recalls) == 2
    recall(tmp_path / "older", ids[1])
    with pytest.raises(PublishError, match="went apart"):
        hub.push_dose(tmp_path / "older", "lab/second")
    other = seal(claims[1:], {"name": "Other", "contact": "x"}, tmp_path / "other").path
    with pytest.raises(PublishError, match="another one"):
        hub.push_dose(other, "lab/second")
