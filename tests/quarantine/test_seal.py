"""Sealing: the same decisions give the same bytes, and what is not ready is refused by count and name."""

import dataclasses
import json
import random
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from doses import UNREVIEWED, approved, content

from hfvaccine.claims import journal
from hfvaccine.claims.cues import CUE_LIMIT
from hfvaccine.claims.dose import FIGURE, FILES, GIVEN, HELD_OUT, JOURNAL, MANIFEST, POLICY, read_journal, verify
from hfvaccine.errors import DoseError, UsageError
from hfvaccine.files import CARD
from hfvaccine.quarantine import store
from hfvaccine.quarantine.checks import lint
from hfvaccine.quarantine.policy import Policy
from hfvaccine.quarantine.review import decide, row_digest
from hfvaccine.quarantine.seal import seal, seal_quarantine
from hfvaccine.quarantine.store import SCHEMA, Quarantine

RULES = {"name": "Aldor", "contact": "ada@example.org", "license": "cc-by-4.0"}


# seal: claims in memory


@pytest.fixture(scope="module")
def claims(make_claims):
    return [*make_claims(10, heldout=2, twin=None)[2:], *make_claims(2), *make_claims(12, heldout=2)[10:]]


@pytest.fixture(scope="module")
def folder(claims, tmp_path_factory):
    return seal(claims, UNREVIEWED, tmp_path_factory.mktemp("dose") / "dose").path


def test_the_same_claims_in_any_order_give_the_same_bytes(claims, folder, tmp_path):
    again = seal(random.Random(1).sample(claims, len(claims)), Policy.of(UNREVIEWED), tmp_path / "again").path
    assert content(again) == content(folder)


def test_the_canary_is_of_the_claims_and_the_decisions(claims, make_claims, folder, tmp_path):
    canaries = {verify(folder)["canary"]}
    others = (make_claims(7), [*claims[:-1], approved(claims[-1], "bob")])
    for number, other in enumerate(others):
        canaries.add(seal(other, UNREVIEWED, tmp_path / str(number)).manifest["canary"])
    assert len(canaries) == 3
    renamed = seal(claims, {**UNREVIEWED, "name": "another"}, tmp_path / "renamed").manifest["canary"]
    assert renamed in canaries


def test_the_canary_stands_in_every_file(folder):
    canary = verify(folder)["canary"]
    for name, data in content(folder).items():
        if name in (GIVEN, HELD_OUT):
            assert pq.read_schema(folder / name).metadata[b"canary"].decode() == canary
        else:
            assert canary in data.decode(), name
    assert read_journal(folder)[-1].what["canary"] == canary


def test_nothing_but_the_data_tells_what_a_claim_says(claims, folder):
    texts = [text for c in claims for text in (c.claim, c.twin, c.question, c.correction) if text]
    for name, data in content(folder).items():
        if name not in (GIVEN, HELD_OUT):
            assert not any(text in data.decode() for text in texts), name


def test_the_manifest_counts_what_is_there(folder):
    manifest = verify(folder)
    counts = manifest["counts"]
    assert (counts["dose"], counts["heldout"], counts["with_twin"], counts["sources_opened"]) == (8, 4, 4, 12)
    assert counts["by_domain"] == {"geography": 4, "history": 4, "travel": 4}
    assert manifest["waives"] == ["two_person_rule"]
    assert (manifest["lint_off"], manifest["screened"], manifest["left_out"]) == (None, None, {})
    assert set(manifest["tools"]) == {"hfvaccine", "pyarrow", "scikit-learn"}


def test_the_access_rules_stay_at_home(claims, tmp_path):
    rules = [{"email_domain": "secret.example.org"}]
    into = seal(claims, {**UNREVIEWED, "access": rules}, tmp_path / "dose").path
    assert not any(b"secret.example.org" in data for data in content(into).values())


def test_eight_twins_are_audited_and_fewer_are_not(make_claims, folder, tmp_path):
    assert verify(folder)["cue_audit"] is None
    audit = seal(make_claims(8), UNREVIEWED, tmp_path / "dose").manifest["cue_audit"]
    assert set(audit) == {"bag_of_words", "length", "pairs", "limit"}
    assert (audit["pairs"], audit["limit"]) == (8, CUE_LIMIT)


REFUSED = {
    "stand twice": lambda make: (make(10) + make(1), UNREVIEWED),
    "unknown key": lambda make: (make(10), {**UNREVIEWED, "gate": "open"}),
    "gating is 'none'": lambda make: (make(10), {**UNREVIEWED, "gating": "none"}),
    "asks for 0 reviewer": lambda make: (make(10), {"reviewers_needed": 0}),
    "10 lack approvals .first 'The town of Aldor .*: it has 0 valid": lambda make: (make(10), {}),
    "10 come under a licence": lambda make: (make(10), {**UNREVIEWED, "licenses_allowed": ["mit"]}),
    "10 would do more harm": lambda make: (make(10, harm="high"), {**UNREVIEWED, "highest_harm": "low"}),
    "10 lack sources": lambda make: (make(10, sources=()), UNREVIEWED),
    "expires_on is 1970-01-01, which is past": lambda make: (make(10), {**UNREVIEWED, "expires_on": "1970-01-01"}),
    "holds no claim": lambda make: (make(10, heldout=10), UNREVIEWED),
    "both the dose and the held-out": lambda make: (make(10, heldout=2, cluster_id="one"), UNREVIEWED),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_refused_seal_leaves_nothing(make_claims, tmp_path, reason):
    claims, policy = REFUSED[reason](make_claims)
    with pytest.raises(DoseError, match=reason) as refused:
        seal(claims, policy, tmp_path / "deep" / "dose")
    assert refused.value.next_step
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
    counts = seal([approved(c, "bob", "eve") for c in make_claims(2)], {}, tmp_path / "dose").manifest["counts"]
    assert (counts["reviewed"], counts["reviewers"]) == (2, 2)


@pytest.mark.parametrize(
    ("reviewers", "valid"), [(("bob", "bob"), 1), (("bob", "BOB"), 1), (("ada", "bob"), 1), (("Ada", "ada"), 0)]
)
def test_approvals_that_do_not_count(make_claims, tmp_path, reviewers, valid):
    with pytest.raises(DoseError, match=f"has {valid} valid approval"):
        seal([approved(c, *reviewers) for c in make_claims(2)], {}, tmp_path / "dose")


def test_all_who_had_a_hand_in_a_claim_do_not_review_it(make_claims, tmp_path):
    with pytest.raises(DoseError, match="has 1 valid approval"):
        seal([approved(c, "bob", "eve") for c in make_claims(2, submitted_by="ada, eve")], {}, tmp_path / "dose")


def test_an_approval_ends_with_any_edit_of_its_row(make_claims, tmp_path):
    edited = [dataclasses.replace(approved(c, "bob", "eve"), domain="sports") for c in make_claims(2)]
    with pytest.raises(DoseError, match="has 0 valid approval"):
        seal(edited, {}, tmp_path / "dose")


def test_a_rejection_is_no_approval(make_claims, tmp_path):
    claims = [approved(c, "bob", "eve") for c in make_claims(2)]
    for claim in claims:
        claim.reviewers[1]["decision"] = "reject"
    with pytest.raises(DoseError, match="has 1 valid approval"):
        seal(claims, {}, tmp_path / "dose")


@pytest.mark.parametrize("field", ["correction", "twin"])
def test_a_claim_that_says_another_one_of_the_set_is_not_sealed(make_claims, tmp_path, field):
    first, second = make_claims(2)
    echo = dataclasses.replace(first, **{field: f"Both are so: {second.claim}"})
    with pytest.raises(DoseError, match=f"1 say another claim of the set .*its {field} says the claim 'The town"):
        seal([echo, second], UNREVIEWED, tmp_path / "dose")
    within = dataclasses.replace(first, twin=f"It is not so that {first.claim}")
    assert seal([within, second], UNREVIEWED, tmp_path / "dose").claims


def reviewed_by(claims, *reviewers, decision="approve"):
    """The history of claims that were taken in and decided on."""
    of = [[claim.claim_id, claim.digest(), decision, ""] for claim in claims]
    return journal.chain(
        [
            journal.Entry("intake", "ada", "2026-03-04", {}),
            *(journal.Entry("review", by, "2026-03-05", {"decisions": of}) for by in reviewers),
        ]
    )


def test_approvals_with_their_acts_are_sealed_and_those_without_refused(make_claims, tmp_path):
    claims, policy = [approved(c, "bob", "eve") for c in make_claims(2)], {"sealed_by": "ada"}
    dose = seal(claims, policy, tmp_path / "dose", reviewed_by(claims, "Bob", "eve"))
    assert "reviews_claimed" not in dose.manifest
    assert "as claimed" not in (dose.path / CARD).read_text()
    stranger = reviewed_by(make_claims(4, domain="sports"), "bob", "eve")
    for history in (reviewed_by(claims), reviewed_by(claims, "bob"), reviewed_by(claims, "bob", "zoe"), stranger):
        with pytest.raises(DoseError, match=r"2 lack approvals .*no review act in the journal says what it says of"):
            seal(claims, policy, tmp_path / "other", history)
    with pytest.raises(DoseError, match="of bob"):
        seal(claims, policy, tmp_path / "other", reviewed_by(claims, "bob", "eve", decision="reject"))


def test_without_a_journal_approvals_are_said_to_be_claimed(make_claims, tmp_path):
    dose = seal([approved(c, "bob", "eve") for c in make_claims(2)], {}, tmp_path / "dose")
    assert dose.manifest["reviews_claimed"] == 4
    assert "Approvals as claimed, no review act" in (dose.path / CARD).read_text()
    assert "reviews_claimed" not in seal(make_claims(2), UNREVIEWED, tmp_path / "none").manifest


def test_a_seal_follows_its_history_and_is_dated_by_it(claims, tmp_path):
    history = journal.chain([journal.Entry("intake", "ada", "2026-03-04T05:06:07+00:00", {})])
    dose = seal(claims, {**UNREVIEWED, "sealed_by": "ada"}, tmp_path / "dose", history)
    assert [e.act for e in read_journal(dose.path)] == ["intake", "seal"]
    assert read_journal(dose.path)[-1].at == "2026-03-04T05:06:07+00:00"
    assert dose.policy["sealed_on"] == "2026-03-04"
    again = seal(claims, {**UNREVIEWED, "sealed_by": "ada"}, tmp_path / "again", read_journal(dose.path))
    assert content(again.path) == content(dose.path)


def test_somebody_must_have_sealed_what_has_a_history(claims, tmp_path):
    history = journal.chain([journal.Entry("intake", "ada", "2026-03-04", {})])
    with pytest.raises(UsageError, match="no name for the journal"):
        seal(claims, UNREVIEWED, tmp_path / "dose", history)


# seal_quarantine: the rows, decisions and rules of a quarantine


@pytest.fixture
def quarantine(make_claims, tmp_path):
    """Ten screened and split claims of ada's, two held out, that bob and eve approved; without twins, to be quick."""
    made = Quarantine(tmp_path / "q")
    claims = make_claims(10, heldout=2, twin=None)
    rows = [{**c.to_row(), "origin": f"a.csv, line {number}"} for number, c in enumerate(claims, start=2)]
    for row in rows:
        row["question"] = None
    with made.changing():
        made.commit("intake", "ada", {}, table=pa.Table.from_pylist(rows, schema=SCHEMA))
        made.commit("screen", "ada", {})
    set_policy(made)
    for name in ("bob", "eve"):
        review(made, name)
    return made


def set_policy(quarantine, **rules):
    (quarantine.folder / store.POLICY).write_text(yaml.safe_dump({**RULES, **rules}))


def review(quarantine, by, *which, decision="approve"):
    rows = [row for i, row in enumerate(quarantine.table().to_pylist()) if not which or i in which]
    decide(quarantine, by, [(row["claim_id"], row_digest(row), decision, "") for row in rows])


def edit(quarantine, changes, act="fix", what=None):
    """Change fields of rows by their number."""
    rows = quarantine.table().to_pylist()
    for number, change in changes.items():
        rows[number].update(change)
    with quarantine.changing():
        quarantine.commit(act, "ada", what or {}, table=pa.Table.from_pylist(rows, schema=SCHEMA))


def screen(quarantine):
    with quarantine.changing():
        quarantine.commit("screen", "ada", {})


def test_approved_claims_are_sealed_with_their_reviewers(quarantine, tmp_path):
    dose = seal_quarantine(quarantine, tmp_path / "dose", "kim")
    assert (len(dose.claims), len(dose.heldout)) == (8, 2)
    for claim in (*dose.claims, *dose.heldout):
        assert [(r["reviewer"], r["decision"], r["digest"]) for r in claim.reviewers] == [
            (name, "approve", claim.digest()) for name in ("bob", "eve")
        ]
    assert dose.policy["sealed_by"] == "kim"
    assert (dose.manifest["lint_off"], dose.manifest["screened"], dose.manifest["left_out"]) == ({}, {}, {})
    assert set(dose.manifest["files"]) == set(FILES)


def test_the_journal_of_the_dose_is_that_of_the_quarantine(quarantine, tmp_path):
    before = quarantine.history()
    dose = seal_quarantine(quarantine, tmp_path / "dose", "kim")
    after = quarantine.history()
    assert (tmp_path / "dose" / JOURNAL).read_text() == (quarantine.folder / store.JOURNAL).read_text()
    assert after[:-1] == before
    assert (after[-1].act, after[-1].by, after[-1].at) == ("seal", "kim", before[-1].at)
    assert (after[-1].what["name"], after[-1].what["claims"], after[-1].what["heldout"]) == ("Aldor", 8, 2)
    assert {name: dose.manifest["files"][name] for name in (GIVEN, HELD_OUT, POLICY)} == after[-1].what["files"]


def test_sealing_again_gives_the_same_bytes_and_no_second_entry(quarantine, tmp_path):
    seal_quarantine(quarantine, tmp_path / "dose", "kim")
    history = quarantine.history()
    seal_quarantine(quarantine, tmp_path / "again", "kim")
    assert content(tmp_path / "again") == content(tmp_path / "dose")
    assert quarantine.history() == history


def test_sealing_by_somebody_else_is_another_act(quarantine, tmp_path):
    seal_quarantine(quarantine, tmp_path / "dose", "kim")
    other = seal_quarantine(quarantine, tmp_path / "other", "lee")
    assert [e.by for e in quarantine.history() if e.act == "seal"] == ["kim", "lee"]
    assert read_journal(tmp_path / "other") == quarantine.history()
    assert other.manifest["journal_head"] == quarantine.history()[-1].hash()


def test_the_order_in_which_rows_came_does_not_show_in_the_data(quarantine, tmp_path):
    seal_quarantine(quarantine, tmp_path / "dose", "kim")
    rows = quarantine.table().to_pylist()
    with quarantine.changing():
        quarantine.commit("split", "ada", {}, table=pa.Table.from_pylist(rows[::-1], schema=SCHEMA))
    seal_quarantine(quarantine, tmp_path / "other", "kim")
    for name in (GIVEN, HELD_OUT, POLICY):
        assert (tmp_path / "other" / name).read_bytes() == (tmp_path / "dose" / name).read_bytes()


def refuse(quarantine, into, reason, **options):
    history, before = quarantine.history(), sorted(into.parent.iterdir())
    with pytest.raises(DoseError, match=reason) as refused:
        seal_quarantine(quarantine, into, "kim", **options)
    assert quarantine.history() == history
    assert sorted(into.parent.iterdir()) == before
    return refused.value


def test_the_last_screening_says_what_was_screened(quarantine, tmp_path):
    texts = {"TruthfulQA": {"status": "screened", "texts": 5000, "claims": 0}, "FEVER": {"status": "not screened"}}
    with quarantine.changing():
        quarantine.commit("screen", "ada", {"evaluation_sets": {"CREAK": {"status": "screened", "texts": 9}}})
        quarantine.commit("screen", "ada", {"evaluation_sets": texts})
    dose = seal_quarantine(quarantine, tmp_path / "dose", "kim")
    assert dose.manifest["screened"] == {
        "TruthfulQA": {"status": "screened", "texts": 5000},
        "FEVER": {"status": "not screened", "texts": None},
    }


def test_every_source_that_was_taken_in_is_named_with_its_digest(quarantine, tmp_path):
    source = {"name": "a.csv", "format": "claims", "rows": 12, "taken": 10, "sha256": "ab" * 32}
    with quarantine.changing():
        quarantine.commit("intake", "ada", {"sources": [source]})
    day = quarantine.history()[-1].at[:10]
    dose = seal_quarantine(quarantine, tmp_path / "dose", "kim")
    assert dose.manifest["sources"] == [{**source, "taken_in_on": day}]
    assert f"| a.csv | {day} | 12 | 10 | {'ab' * 32} |" in (tmp_path / "dose" / "README.md").read_text()


def test_a_name_that_nobody_could_be_found_under_does_not_seal(quarantine, tmp_path):
    with pytest.raises(UsageError, match="no name for the journal"):
        seal_quarantine(quarantine, tmp_path / "dose", "kim,lee")


def test_a_folder_that_is_there_is_not_sealed_into(quarantine, tmp_path):
    (tmp_path / "dose").mkdir()
    refuse(quarantine, tmp_path / "dose", "exists already")


def test_a_policy_without_contact_is_refused(quarantine, tmp_path):
    set_policy(quarantine, contact="")
    assert "`contact`" in refuse(quarantine, tmp_path / "dose", "names no contact").next_step


def test_everything_that_is_missing_is_named_at_once(make_claims, tmp_path, monkeypatch):
    made = Quarantine(tmp_path / "q")
    rows = [{**c.to_row(), "split": None, "origin": "a.csv, line 2"} for c in make_claims(2)]
    with made.changing():
        made.commit("intake", "ada", {}, table=pa.Table.from_pylist(rows, schema=SCHEMA))
    set_policy(made, contact="", expires_on="2030-01-01")
    monkeypatch.setattr(journal, "now", lambda: "2030-01-01T00:00:00+00:00")
    said = refuse(made, tmp_path / "dose", "names no contact")
    for part in ("is past", "not screened", "2 claim(s) are on neither side", "2 claim(s) cannot be sealed"):
        assert part in said.message, part


def test_a_policy_that_has_expired_is_refused(quarantine, tmp_path, monkeypatch):
    set_policy(quarantine, expires_on="2030-01-01")
    monkeypatch.setattr(journal, "now", lambda: "2030-01-01T00:00:00+00:00")
    refuse(quarantine, tmp_path / "dose", "expires_on is 2030-01-01, which is past")


def test_rows_that_were_never_screened_are_refused(make_claims, tmp_path):
    made = Quarantine(tmp_path / "q")
    rows = [{**c.to_row(), "origin": "a.csv, line 2"} for c in make_claims(1)]
    with made.changing():
        made.commit("intake", "ada", {}, table=pa.Table.from_pylist(rows, schema=SCHEMA))
    set_policy(made, **UNREVIEWED)
    refuse(made, tmp_path / "dose", "not screened since they last changed")


@pytest.mark.parametrize("act", ["intake", "fix"])
def test_rows_that_changed_after_screening_are_refused(quarantine, tmp_path, act):
    edit(quarantine, {0: {"twin": "Aldor 0 lies in the south."}}, act)
    refuse(quarantine, tmp_path / "dose", "not screened since they last changed")
    screen(quarantine)
    refuse(quarantine, tmp_path / "dose", "1 lack approvals")


def test_an_intake_that_brought_nothing_needs_no_new_screening(quarantine, tmp_path):
    with quarantine.changing():
        quarantine.commit("intake", "ada", {}, table=quarantine.table())
    assert len(seal_quarantine(quarantine, tmp_path / "dose", "kim").claims) == 8


def test_rows_that_were_not_split_are_refused(quarantine, tmp_path):
    edit(quarantine, {0: {"split": None}, 3: {"split": None}}, "split")
    assert "quarantine split" in refuse(quarantine, tmp_path / "dose", r"2 claim\(s\) are on neither side").next_step


def test_what_was_tampered_with_is_refused(quarantine, tmp_path):
    path = quarantine.folder / store.JOURNAL
    path.write_text(path.read_text().replace('"by": "bob"', '"by": "rob"'))
    with pytest.raises(DoseError, match=r"entry 3 \(review\) was changed"):
        seal_quarantine(quarantine, tmp_path / "dose", "kim")


def test_a_rejected_claim_is_left_out_and_counted(quarantine, tmp_path):
    review(quarantine, "lee", 0, decision="reject")
    dose = seal_quarantine(quarantine, tmp_path / "dose", "kim")
    assert dose.manifest["left_out"] == {"rejected": 1}
    assert len(dose.claims) == 7
    assert read_journal(tmp_path / "dose")[-1].what["left_out"] == {"rejected": 1}
    assert "| 1 | rejected by a reviewer |" in (tmp_path / "dose" / "README.md").read_text()


def spoil(quarantine):
    """Make one row each lack an approval, sources, a licence, a correction, and be too harmful."""
    edit(
        quarantine,
        {
            0: {"domain": "sports"},
            1: {"sources": None},
            2: {"license": "proprietary"},
            3: {"correction": None},
            4: {"harm": "high"},
        },
    )
    screen(quarantine)
    set_policy(quarantine, licenses_allowed=["Apache-2.0"], highest_harm="medium")


def test_what_is_not_ready_is_refused_with_counts_and_first_claims(quarantine, tmp_path):
    spoil(quarantine)
    refused = refuse(quarantine, tmp_path / "dose", r"5 claim\(s\) cannot be sealed: ")
    for said in ("1 lack approvals (first 'The town of Aldor 0 ", "its harm is high", "its licence is proprietary"):
        assert said in refused.message
    for step in ("--ready-only", "reviewers_needed", "sources_needed", "licenses_allowed", "highest_harm"):
        assert step in refused.next_step


def test_ready_only_leaves_out_and_counts_what_is_not_ready(quarantine, tmp_path):
    spoil(quarantine)
    review(quarantine, "lee", 5, decision="reject")
    dose = seal_quarantine(quarantine, tmp_path / "dose", "kim", ready_only=True)
    left_out = {"rejected": 1, "lint": 1, "license": 1, "harm": 1, "sources": 1, "approvals": 1}
    assert dose.manifest["left_out"] == left_out
    assert (len(dose.claims), len(dose.heldout)) == (2, 2)


def test_a_draft_is_never_sealed_even_where_lint_lets_it_pass(quarantine, tmp_path):
    spoil(quarantine)
    set_policy(quarantine, lint_off=["missing-correction"])
    dose = seal_quarantine(quarantine, tmp_path / "dose", "kim", ready_only=True)
    assert dose.manifest["left_out"]["incomplete"] == 1
    assert dose.manifest["lint_off"] == {"missing-correction": 0}


def test_nothing_ready_is_refused(quarantine, tmp_path):
    set_policy(quarantine, licenses_allowed=["mit"])
    refuse(quarantine, tmp_path / "dose", "holds no claim that may be given", ready_only=True)


@pytest.fixture
def findings(monkeypatch):
    """Have lint find what a test says: (claim number, rule, severity) each."""

    def find(*found):
        def lint_rows(rows, *, off=(), truths=frozenset(), contradicted=frozenset(), workers=1):
            ids = rows["claim_id"].to_pylist()
            seen.append((ids, off, truths, contradicted))
            for number, rule, severity in found:
                yield lint.LintFinding(ids[number], "a.csv, line 2", "claim", rule, severity, "Bad.", "Mend it.")

        seen = []
        monkeypatch.setattr(lint, "lint", lint_rows)
        return seen

    return find


def test_lint_errors_refuse_and_warnings_do_not(quarantine, tmp_path, findings):
    findings((0, "restated-claim", "error"), (1, "length", "warning"))
    refuse(quarantine, tmp_path / "dose", r"1 have lint errors \(first 'The town of Aldor 0 .*: restated-claim: Bad\.")
    dose = seal_quarantine(quarantine, tmp_path / "dose", "kim", ready_only=True)
    assert dose.manifest["left_out"] == {"lint": 1}


def test_rules_turned_off_are_named_with_what_they_would_have_found(quarantine, tmp_path, findings):
    set_policy(quarantine, lint_off=["restated-claim", "length"])
    findings((0, "restated-claim", "error"), (0, "restated-claim", "error"), (3, "restated-claim", "error"))
    dose = seal_quarantine(quarantine, tmp_path / "dose", "kim")
    assert dose.manifest["lint_off"] == {"restated-claim": 2, "length": 0}
    assert len(dose.claims) == 8
    assert "| restated-claim | 2 |" in (tmp_path / "dose" / "README.md").read_text()


def test_lint_knows_what_was_not_taken_and_skips_what_was_rejected(quarantine, tmp_path, findings):
    seen = findings()
    rejects = [{"rule": rule, "claim_id": rule[:3]} for rule in ("not-false", "contradictory", "malformed")]
    with quarantine.changing():
        quarantine.commit("intake", "ada", {}, rejects=rejects)
    review(quarantine, "lee", 0, decision="reject")
    seal_quarantine(quarantine, tmp_path / "dose", "kim")
    ((ids, _, truths, contradicted),) = seen
    assert len(ids) == 9
    assert (truths, contradicted) == ({"not"}, {"con"})


def test_a_seal_cut_short_before_its_entry_can_be_done_again(quarantine, tmp_path):
    with patch.object(Quarantine, "commit", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        seal_quarantine(quarantine, tmp_path / "cut", "kim")
    seal_quarantine(quarantine, tmp_path / "dose", "kim")
    assert content(tmp_path / "dose") == content(tmp_path / "cut")
    assert [e.act for e in quarantine.history()].count("seal") == 1


def test_the_picture_and_the_card_are_of_this_dose(quarantine, tmp_path):
    from hfvaccine.quarantine import card as dose_card

    dose = seal_quarantine(quarantine, tmp_path / "dose", "kim")
    assert (tmp_path / "dose" / "README.md").read_text() == dose_card.render(dose.manifest, dose.policy)
    assert (tmp_path / "dose" / FIGURE).read_text() == dose_card.figure(dose.manifest)
    assert json.loads((tmp_path / "dose" / MANIFEST).read_text())["name"] == "Aldor"
