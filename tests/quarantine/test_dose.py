"""Doses: sealed to the byte, complete or not there at all, and every later change found."""

import dataclasses
import hashlib
import json
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from hfvaccine.errors import ClaimError, DoseError
from hfvaccine.quarantine.dose import JOURNAL, MANIFEST, POLICY, Dose, seal, verify

UNREVIEWED = {"reviewers_needed": 0, "waives": ["two_person_rule"]}
FILES = ("data/dose-00000.parquet", "data/heldout-00000.parquet", POLICY, JOURNAL)


@pytest.fixture
def claims(make_claims):
    return make_claims(12, heldout=4)


@pytest.fixture
def folder(claims, tmp_path):
    return seal(claims, UNREVIEWED, tmp_path / "dose").path


def content(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def approved(claim, *reviewers):
    reviews = tuple(
        {"reviewer": name, "decision": "approve", "digest": claim.digest(), "decided_on": "2026-01-01"}
        for name in reviewers
    )
    return dataclasses.replace(claim, reviewers=reviews)


def edit_manifest(folder, change):
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    manifest.pop("manifest_sha256")
    forged = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    manifest["manifest_sha256"] = forged
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_the_same_claims_in_any_order_give_the_same_bytes(claims, folder, tmp_path):
    again = seal(random.Random(1).sample(claims, len(claims)), UNREVIEWED, tmp_path / "again").path
    assert content(again) == content(folder)


def test_another_claim_gives_another_canary(make_claims, folder, tmp_path):
    other = seal(make_claims(13, heldout=4), UNREVIEWED, tmp_path / "other")
    assert other.manifest["canary"] != verify(folder)["canary"]


def test_a_sealed_dose_is_read_back_whole(claims, folder):
    dose = Dose.load(folder)
    assert sorted(c.digest() for c in (*dose.claims, *dose.heldout)) == sorted(c.digest() for c in claims)
    assert {c.split for c in dose.claims} == {"dose"}
    assert len(dose.heldout) == 4


def test_every_sealed_file_is_in_the_manifest(folder):
    assert set(content(folder)) - {MANIFEST} == set(verify(folder)["files"]) == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_any_changed_byte_is_found_and_its_file_named(folder, name):
    path = folder / name
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 100)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DoseError, match=f"{name} in .* is not the file that was sealed"):
            verify(folder)


@pytest.mark.parametrize("key", ["counts", "cue_audit", "canary", "name", "policy_sha256", "tools"])
def test_a_changed_entry_of_the_manifest_is_found(folder, key):
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest[key] = "changed"
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(DoseError, match=r"manifest\.json in .* is not what was sealed"):
        verify(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(DoseError, match=f"{name} is in the manifest .* but not in the folder"):
        verify(folder)


def test_a_data_file_that_was_never_sealed_is_found(folder):
    (folder / "data" / "more.parquet").write_bytes(b"x")
    with pytest.raises(DoseError, match=r"data/more\.parquet in .* was never sealed"):
        verify(folder)


def test_a_manifest_may_not_point_outside_its_folder(folder):
    edit_manifest(folder, lambda m: m["files"].update({"../secret": "0" * 64}))
    (folder.parent / "secret").write_text("x")
    with pytest.raises(DoseError, match="secret is in the manifest"):
        verify(folder)


def test_another_journal_under_a_forged_hash_is_found(folder):
    path = folder / JOURNAL
    path.write_text(path.read_text().split("\n")[0] + "\n")
    edit_manifest(folder, lambda m: m["files"].update({JOURNAL: hashlib.sha256(path.read_bytes()).hexdigest()}))
    with pytest.raises(DoseError, match="does not end where the manifest says"):
        verify(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 1}'])
def test_a_malformed_manifest_is_refused(folder, text):
    (folder / MANIFEST).write_text(text)
    with pytest.raises(DoseError, match="malformed"):
        verify(folder)


def test_a_dose_of_a_later_schema_asks_for_an_upgrade(folder):
    edit_manifest(folder, lambda m: m.update(schema_version=2))
    with pytest.raises(DoseError, match="schema version 2") as refused:
        verify(folder)
    assert "Upgrade" in refused.value.next_step


@pytest.mark.parametrize("make", [lambda p: None, Path.mkdir])
def test_a_folder_that_is_no_dose_is_refused(tmp_path, make):
    make(tmp_path / "nothing")
    with pytest.raises(DoseError, match=r"No dose folder|not a sealed dose"):
        Dose.load(tmp_path / "nothing")


def test_a_row_without_correction_is_refused_by_name(claims, folder):
    path = folder / "data" / "dose-00000.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[2]["correction"] = None
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    edit_manifest(folder, lambda m: m["files"].update({"data/dose-00000.parquet": digest}))
    with pytest.raises(ClaimError, match=f"dose-00000.parquet: The claim '{rows[2]['claim']}' has no correction"):
        Dose.load(folder)


REFUSED = {
    "stand twice": lambda make: (make(10) + make(1), UNREVIEWED),
    "unknown key": lambda make: (make(10), {**UNREVIEWED, "gate": "open"}),
    "gating is 'none'": lambda make: (make(10), {**UNREVIEWED, "gating": "none"}),
    "asks for 0 reviewer": lambda make: (make(10), {"reviewers_needed": 0}),
    "0 valid approval": lambda make: (make(10), {}),
    "holds no claim": lambda make: (make(10, heldout=10), UNREVIEWED),
    "both the dose and the held-out": lambda make: (make(10, heldout=2, cluster_id="one"), UNREVIEWED),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_refused_seal_leaves_nothing(make_claims, tmp_path, reason):
    claims, policy = REFUSED[reason](make_claims)
    with pytest.raises(DoseError, match=reason):
        seal(claims, policy, tmp_path / "deep" / "dose")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(claims, tmp_path, monkeypatch):
    write = Path.write_bytes

    def full(path, data):
        if path.name == MANIFEST:
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        seal(claims, UNREVIEWED, tmp_path / "dose")
    assert list(tmp_path.iterdir()) == []


def test_a_dose_is_never_overwritten(claims, folder):
    before = content(folder)
    with pytest.raises(DoseError, match="exists already"):
        seal(claims, UNREVIEWED, folder)
    assert content(folder) == before


def test_two_approvals_satisfy_the_two_person_rule(make_claims, tmp_path):
    dose = seal([approved(c, "bob", "eve") for c in make_claims(8)], {}, tmp_path / "dose")
    assert dose.manifest["counts"]["reviewed"] == 8


def test_one_reviewer_twice_is_one(make_claims, tmp_path):
    with pytest.raises(DoseError, match="has 1 valid approval"):
        seal([approved(c, "bob", "bob") for c in make_claims(8)], {}, tmp_path / "dose")


def test_who_submitted_a_claim_does_not_review_it(make_claims, tmp_path):
    with pytest.raises(DoseError, match="has 1 valid approval"):
        seal([approved(c, "ada", "bob") for c in make_claims(8)], {}, tmp_path / "dose")


def test_an_approval_ends_with_any_edit_of_its_row(make_claims, tmp_path):
    edited = [dataclasses.replace(approved(c, "bob", "eve"), domain="sports") for c in make_claims(8)]
    with pytest.raises(DoseError, match="has 0 valid approval"):
        seal(edited, {}, tmp_path / "dose")


def test_a_rejection_is_no_approval(make_claims, tmp_path):
    claims = [approved(c, "bob", "eve") for c in make_claims(8)]
    for claim in claims:
        claim.reviewers[1]["decision"] = "reject"
    with pytest.raises(DoseError, match="has 1 valid approval"):
        seal(claims, {}, tmp_path / "dose")


def test_the_manifest_tells_nothing_of_what_a_claim_says(claims, folder):
    manifest = (folder / MANIFEST).read_text()
    assert not any(text in manifest for c in claims for text in (c.claim, c.twin, c.question, c.correction))


def test_the_manifest_counts_what_is_there(folder):
    counts = verify(folder)["counts"]
    assert (counts["dose"], counts["heldout"], counts["with_twin"]) == (8, 4, 12)
    assert counts["by_domain"] == {"geography": 4, "history": 4, "travel": 4}


def test_canary_stands_in_policy_and_parquet(folder):
    canary = verify(folder)["canary"]
    assert canary in (folder / POLICY).read_text()
    assert pq.read_schema(folder / "data" / "dose-00000.parquet").metadata[b"canary"].decode() == canary


def test_the_policy_that_was_sealed_is_the_policy_that_is_read(folder):
    assert Dose.load(folder).policy == yaml.safe_load((folder / POLICY).read_text())
    assert Dose.load(folder).policy["waives"] == ["two_person_rule"]


def test_a_dose_in_memory_changes_its_digest_with_its_rows(make_claims):
    assert Dose.from_claims(make_claims(4)).digest() != Dose.from_claims(make_claims(5)).digest()
