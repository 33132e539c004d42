"""Dose folders: every later change is found, and the file or entry named."""

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from doses import UNREVIEWED, content
from hypothesis import given, settings
from hypothesis import strategies as st

from hfvaccine.claims import journal
from hfvaccine.claims.dose import FILES, GIVEN, JOURNAL, MANIFEST, POLICY, Dose, dump, verify
from hfvaccine.errors import ClaimError, DoseError
from hfvaccine.quarantine.seal import seal

HISTORY = journal.chain(
    journal.Entry(act, by, f"2026-01-0{day}T00:00:00+00:00", {"of": by})
    for day, (act, by) in enumerate([("intake", "ada"), ("screen", "ada"), ("review", "bob")], start=1)
)


@pytest.fixture(scope="module")
def sealed(make_claims, tmp_path_factory):
    """A dose folder that no test changes."""
    policy, into = {**UNREVIEWED, "sealed_by": "ada"}, tmp_path_factory.mktemp("dose") / "dose"
    return seal(make_claims(12, heldout=4), policy, into, HISTORY).path


@pytest.fixture
def folder(sealed, tmp_path):
    """The same folder, for a test to change."""
    for name, data in content(sealed).items():
        put(tmp_path / "dose" / name, data)
    return tmp_path / "dose"


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def forge(folder, change):
    """Change a manifest as somebody would who knows how it is made."""
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(dump(manifest))


def forge_file(folder, name, data):
    put(folder / name, data)
    forge(folder, lambda m: m["files"].update({name: hashlib.sha256(data).hexdigest()}))


def test_a_sealed_dose_is_read_back_whole(make_claims, sealed):
    dose = Dose.load(sealed)
    assert sorted(c.digest() for c in (*dose.claims, *dose.heldout)) == sorted(c.digest() for c in make_claims(12, 4))
    assert {c.split for c in dose.claims} == {"dose"}
    assert len(dose.heldout) == 4
    assert dose.policy == yaml.safe_load((sealed / POLICY).read_text())
    assert dose.name == "unnamed dose"


def test_every_sealed_file_is_in_the_manifest(sealed):
    assert set(content(sealed)) - {MANIFEST} == set(verify(sealed)["files"]) == set(FILES)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_changed_byte_of_any_file_is_found_and_named(sealed, data):
    name = data.draw(st.sampled_from([*FILES, MANIFEST]))
    path = sealed / name
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(1, 255))
    named = {MANIFEST: r"manifest\.json|schema version", JOURNAL: "Journal entry [1-4]"}.get(name, name)
    try:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ other]) + whole[at + 1 :])
        with pytest.raises(DoseError, match=named):
            verify(sealed)
    finally:
        path.write_bytes(whole)
    assert verify(sealed)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_any_byte_added_or_taken_out_is_found(sealed, data):
    path = sealed / data.draw(st.sampled_from([*FILES, MANIFEST]))
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole)))
    added = data.draw(st.sampled_from([b"", b" ", b"\n", b"x"]))
    try:
        path.write_bytes(whole[:at] + added + whole[at + (not added) :] if at < len(whole) or added else whole[:-1])
        with pytest.raises(DoseError):
            verify(sealed)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(DoseError, match=f"{name} is in the manifest .* but not in the folder"):
        verify(folder)


@pytest.mark.parametrize("name", ["more.txt", ".hidden", "data/more.parquet", "figures/a/b.svg", "governance/journal"])
def test_a_file_that_was_never_sealed_is_named(folder, name):
    put(folder / name, b"")
    with pytest.raises(DoseError, match=f"{name} in .* was never sealed"):
        verify(folder)


def test_a_link_to_a_folder_is_a_file_that_was_never_sealed(folder):
    (folder / "more").symlink_to(folder.parent, target_is_directory=True)
    with pytest.raises(DoseError, match=r"more in .* was never sealed"):
        verify(folder)


@pytest.mark.parametrize("name", [".gitattributes", ".cache/huggingface/download/README.md.lock", ".huggingface/x"])
def test_what_the_hub_puts_beside_a_dose_is_let_be(folder, name):
    put(folder / name, b"x")
    assert verify(folder)


def test_files_may_stand_behind_links_as_in_the_hub_cache(folder):
    for number, name in enumerate([*FILES, MANIFEST]):
        blob = folder.parent / "blobs" / str(number)
        put(blob, (folder / name).read_bytes())
        (folder / name).unlink()
        (folder / name).symlink_to(blob)
    assert len(Dose.load(folder).claims) == 8


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "data/more.parquet", "data\\dose.parquet"])
def test_a_manifest_names_the_files_of_a_dose_and_no_others(folder, name):
    put(folder.parent / "secret", b"x")
    forge(folder, lambda m: m["files"].update({name: hashlib.sha256(b"x").hexdigest()}))
    with pytest.raises(DoseError, match="no file of a dose"):
        verify(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_manifest_names_every_file_of_a_dose(folder, name):
    (folder / name).unlink()
    forge(folder, lambda m: m["files"].pop(name))
    with pytest.raises(DoseError, match=f"{name} is not in the manifest"):
        verify(folder)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_first_entry_that_was_tampered_with_is_named(folder, number):
    lines = (folder / JOURNAL).read_text().split("\n")
    lines[number - 1] = lines[number - 1].replace('"by": "', '"by": "x')
    forge_file(folder, JOURNAL, "\n".join(lines).encode())
    with pytest.raises(DoseError, match=f"Journal entry {number} .* was changed after it was written"):
        verify(folder)


def test_bytes_that_are_no_text_are_named_by_their_entry(folder):
    lines = (folder / JOURNAL).read_bytes().split(b"\n")
    lines[1] = lines[1].replace(b"ada", b"\xff\xfe")
    (folder / JOURNAL).write_bytes(b"\n".join(lines))
    with pytest.raises(DoseError, match="Journal entry 2 is malformed"):
        verify(folder)


def test_another_journal_under_a_forged_hash_is_found(folder):
    forge_file(folder, JOURNAL, (folder / JOURNAL).read_bytes().split(b"\n")[0] + b"\n")
    with pytest.raises(DoseError, match="does not end where the manifest says"):
        verify(folder)


@pytest.mark.parametrize("key", ["counts", "cue_audit", "canary", "name", "policy_sha256", "tools", "lint_off"])
def test_a_changed_entry_of_the_manifest_is_found(folder, key):
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest[key] = "changed"
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    with pytest.raises(DoseError, match=r"manifest\.json in .* is not what was sealed"):
        verify(folder)


def test_counts_that_are_not_those_of_the_claims_are_found(folder):
    forge(folder, lambda m: m["counts"].update(reviewed=12))
    with pytest.raises(DoseError, match="not those that its manifest counts"):
        verify(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 2}', "\xff"])
def test_a_malformed_manifest_is_refused(folder, text):
    (folder / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(DoseError, match="malformed"):
        verify(folder)


def test_a_dose_from_before_there_were_variants_is_read(folder):
    old = pq.read_table(folder / GIVEN).drop_columns(["variants"])
    pq.write_table(old, folder / GIVEN)
    forge_file(folder, GIVEN, (folder / GIVEN).read_bytes())
    forge(folder, lambda m: m.update(schema_version=2))
    assert {claim.variants for claim in Dose.load(folder).claims} == {()}


@pytest.mark.parametrize(("version", "step"), [(1, "Seal its claims anew"), (4, "Upgrade"), ("x", "Upgrade")])
def test_a_dose_of_another_schema_is_refused_saying_what_to_do(folder, version, step):
    forge(folder, lambda m: m.update(schema_version=version))
    with pytest.raises(DoseError, match=f"schema version {version}") as refused:
        verify(folder)
    assert step in refused.value.next_step


@pytest.mark.parametrize("make", [lambda p: None, Path.mkdir])
def test_a_folder_that_is_no_dose_is_refused(tmp_path, make):
    make(tmp_path / "nothing")
    with pytest.raises(DoseError, match=r"No dose folder|not a sealed dose"):
        Dose.load(tmp_path / "nothing")


def test_a_row_without_correction_is_refused_by_name(folder):
    table = pq.read_table(folder / GIVEN)
    rows = table.to_pylist()
    rows[2]["correction"] = None
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), folder / GIVEN)
    forge_file(folder, GIVEN, (folder / GIVEN).read_bytes())
    with pytest.raises(ClaimError, match=f"dose-00000.parquet: The claim '{rows[2]['claim']}' has no correction"):
        Dose.load(folder)


def test_a_dose_in_memory_changes_its_digest_with_its_rows(make_claims):
    assert Dose.from_claims(make_claims(4)).digest() != Dose.from_claims(make_claims(5)).digest()


@pytest.mark.parametrize(
    ("fields", "reason"), [({"heldout": 4}, "holds no claim"), ({"heldout": 2, "cluster_id": "one"}, "both the dose")]
)
def test_claims_that_make_no_dose_are_refused(make_claims, fields, reason):
    with pytest.raises(DoseError, match=reason):
        Dose.from_claims(make_claims(4, **fields))
