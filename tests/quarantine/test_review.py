"""Review: decisions bound to the row that was read, by people who had no hand in it."""

import csv
import dataclasses
import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine.claims.journal import Entry, chain
from hfvaccine.errors import DoseError, UsageError, ValidationError
from hfvaccine.quarantine.policy import Policy
from hfvaccine.quarantine.review import (
    APPROVED,
    BEGUN,
    REJECTED,
    SHEET_COLUMNS,
    approvals,
    decide,
    decisions,
    read_decisions,
    row_digest,
    states,
    to_review,
    write_sheet,
)
from hfvaccine.quarantine.store import POLICY, SCHEMA, Quarantine

DRAFT = {"correction": None, "twin": None}


def table(claims, *changes):
    rows = [{**claim.to_row(), "origin": f"a.csv, line {number}"} for number, claim in enumerate(claims, start=2)]
    for row, change in zip(rows, changes, strict=False):
        row.update(change)
    return pa.Table.from_pylist(rows, schema=SCHEMA)


@pytest.fixture
def claims(make_claims):
    return make_claims(5)


@pytest.fixture
def quarantine(claims, tmp_path):
    """Five claims that ada brought in, the last a draft without correction."""
    made = Quarantine(tmp_path / "q")
    with made.changing():
        made.commit("intake", "ada", {}, table=table(claims, {}, {}, {}, {}, DRAFT))
    (made.folder / POLICY).write_text("contact: ada@example.org\n")
    return made


def edit(quarantine, **change):
    """Edit the first row."""
    rows = quarantine.table().to_pylist()
    rows[0].update(change)
    with quarantine.changing():
        quarantine.commit("fix", "ada", {}, table=pa.Table.from_pylist(rows, schema=SCHEMA))


def approve(*claims, decision="approve", note=""):
    return [(claim.claim_id, claim.digest(), decision, note) for claim in claims]


def counts(quarantine, **policy):
    found, stale = states(quarantine.table(), quarantine.history(), Policy.of(policy))
    approved, rejected = (list(found.values()).count(state) for state in (APPROVED, REJECTED))
    return approved, quarantine.table().num_rows - approved - rejected, rejected, stale


def test_a_decision_stands_with_its_reviewer_digest_and_note(quarantine, claims):
    assert decide(quarantine, "bob", approve(claims[0], decision="reject", note="It is true.")) == {"reject": 1}
    (made,) = decisions(quarantine.history())[claims[0].claim_id].items()
    assert made[0] == "bob"
    assert (made[1].decision, made[1].digest, made[1].note) == ("reject", claims[0].digest(), "It is true.")


def test_the_latest_decision_of_each_reviewer_holds(quarantine, claims):
    decide(quarantine, "bob", approve(claims[0], decision="reject"))
    decide(quarantine, "eve", approve(claims[0]))
    decide(quarantine, "Bob", approve(claims[0]))
    made = decisions(quarantine.history())[claims[0].claim_id]
    assert {name: decision.decision for name, decision in made.items()} == {"bob": "approve", "eve": "approve"}


acts = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from(["approve", "reject"])))
    )
)


@given(acts)
def test_standing_decisions_are_the_last_ones_whatever_came_before(acts):
    entries = chain(
        Entry("review", by, f"2026-01-{day:02}", {"decisions": [[c, "d", decision, ""] for c, decision in made]})
        for day, (by, made) in enumerate(acts, start=1)
    )
    expected = {(claim, by): decision for by, made in acts for claim, decision in made}
    standing = decisions(entries)
    assert expected == {(c, by): d.decision for c, found in standing.items() for by, d in found.items()}


def test_many_decisions_are_one_act(quarantine, claims):
    before = len(quarantine.history())
    decide(quarantine, "bob", approve(*claims[:4]))
    assert len(quarantine.history()) == before + 1
    assert quarantine.history()[-1].what["decisions"][0][2:] == ["approve", ""]


def test_handing_in_the_same_decisions_twice_writes_them_once(quarantine, claims):
    decide(quarantine, "bob", approve(*claims[:2]))
    before = quarantine.history()
    assert decide(quarantine, "bob", approve(*claims[:2])) == {}
    assert quarantine.history() == before
    assert decide(quarantine, "bob", approve(*claims[:3])) == {"approve": 1}


REFUSED = {
    "was brought in by ada": lambda claims: ("ada", approve(claims[0])),
    r"was brought in by ada\.": lambda claims: (" ADA", approve(claims[0])),
    "no claim 0000": lambda claims: ("bob", [("0000", "d", "approve", "")]),
    "was edited since you read it": lambda claims: ("bob", [(claims[0].claim_id, "d" * 64, "approve", "")]),
    "is no decision about": lambda claims: ("bob", approve(claims[0], decision="maybe")),
    "has 501 characters": lambda claims: ("bob", approve(claims[0], note="x" * 501)),
    "decided twice, differently": lambda claims: ("bob", approve(claims[0]) + approve(claims[0], decision="reject")),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_one_refused_decision_refuses_all(quarantine, claims, reason):
    by, made = REFUSED[reason](claims)
    before = quarantine.history()
    with pytest.raises((DoseError, UsageError), match=reason):
        decide(quarantine, by, approve(claims[1]) + made)
    assert quarantine.history() == before


def test_everybody_who_had_a_hand_in_a_row_is_kept_from_reviewing_it(quarantine, claims):
    edit(quarantine, submitted_by="ada, Bob")
    edited = dataclasses.replace(claims[0], submitted_by="ada, Bob")
    with pytest.raises(DoseError, match="was brought in by ada, Bob"):
        decide(quarantine, "bob", approve(edited))
    assert decide(quarantine, "eve", approve(edited)) == {"approve": 1}


def test_only_named_reviewers_review(quarantine, claims):
    (quarantine.folder / POLICY).write_text("reviewers: [bob, eve]\n")
    with pytest.raises(UsageError, match="mallory is not among the reviewers"):
        decide(quarantine, "mallory", approve(claims[0]))
    with pytest.raises(UsageError, match="mallory is not among the reviewers"):
        list(to_review(quarantine, "mallory"))


def test_a_draft_can_be_rejected_and_not_approved(quarantine, claims):
    draft = quarantine.table().to_pylist()[4]
    with pytest.raises(DoseError, match=r"cannot be approved: The claim .* has no correction"):
        decide(quarantine, "bob", [(claims[4].claim_id, row_digest(draft), "approve", "")])
    decide(quarantine, "bob", [(claims[4].claim_id, row_digest(draft), "reject", "")])
    assert counts(quarantine) == (0, 4, 1, 0)


@pytest.mark.parametrize("change", [{"domain": "sports"}, {"correction": None}, {"split": None}])
def test_a_digest_ends_with_an_edit_of_its_row(claims, change):
    (row,) = table(claims[:1], {"split": "heldout"}).to_pylist()
    assert row_digest({**row, "origin": "elsewhere"}) == row_digest(row)
    assert row_digest({**row, **change}) != row_digest(row)


def test_the_digest_of_a_row_is_that_of_its_claim(claims):
    assert [row_digest(row) for row in table(claims).to_pylist()] == [claim.digest() for claim in claims]


def test_a_claim_is_approved_by_as_many_as_the_policy_asks_for(quarantine, claims):
    decide(quarantine, "bob", approve(*claims[:3]))
    decide(quarantine, "eve", approve(*claims[:2]))
    assert counts(quarantine) == (2, 3, 0, 0)
    assert counts(quarantine, reviewers_needed=3) == (0, 5, 0, 0)
    assert counts(quarantine, reviewers_needed=1, waives=["two_person_rule"]) == (3, 2, 0, 0)
    assert counts(quarantine, reviewers_needed=0, waives=["two_person_rule"]) == (3, 2, 0, 0)


def test_one_rejection_outweighs_approvals(quarantine, claims):
    for name in ("bob", "eve"):
        decide(quarantine, name, approve(claims[0]))
    decide(quarantine, "kim", approve(claims[0], decision="reject"))
    assert counts(quarantine) == (0, 4, 1, 0)


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_an_edit_ends_what_was_decided(quarantine, claims, decision):
    for name in ("bob", "eve"):
        decide(quarantine, name, approve(claims[0], decision=decision))
    edit(quarantine, domain="sports")
    assert counts(quarantine) == (0, 5, 0, 1)


def test_decisions_of_those_the_policy_no_longer_names_do_not_count(quarantine, claims):
    for name in ("bob", "eve"):
        decide(quarantine, name, approve(claims[0]))
    assert counts(quarantine, reviewers=["bob", "kim"]) == (0, 5, 0, 1)


def test_the_state_of_a_large_table_costs_what_was_decided_on(claims, monkeypatch):
    from hfvaccine.quarantine import review

    asked = []
    monkeypatch.setattr(review, "row_digest", lambda row: asked.append(row) or "d")
    entry = Entry("review", "bob", "2026-01-01", {"decisions": [[claims[1].claim_id, "d", "approve", ""]]})
    found, _ = states(table(claims), [entry], Policy())
    assert [row["claim_id"] for row in asked] == [claims[1].claim_id]
    assert found == {claims[1].claim_id: BEGUN}


def test_approvals_count_other_people_once_and_only_of_this_row(claims):
    def review(name, digest=None, decision="approve"):
        digest = digest or claims[0].digest()
        return {"reviewer": name, "decision": decision, "digest": digest, "decided_on": "2026-01-01"}

    reviews = (
        review("bob"),
        review("BOB"),
        review("ada"),
        review("eve", digest="d"),
        review("kim", decision="reject"),
    )
    claim = dataclasses.replace(claims[0], reviewers=reviews)
    assert approvals(claim, Policy()) == {"bob"}
    assert approvals(claim, Policy.of({"reviewers": ["eve", "kim"]})) == set()


def left(quarantine, by):
    return [row["claim_id"] for row in to_review(quarantine, by)]


def test_a_reviewer_is_shown_what_still_needs_them(quarantine, claims):
    ids = [claim.claim_id for claim in claims]
    assert left(quarantine, "bob") == ids[:4]  # the draft is not ready for anybody
    assert left(quarantine, "ada") == []
    decide(quarantine, "bob", approve(*claims[:2]))
    decide(quarantine, "kim", approve(claims[0]) + approve(claims[2], decision="reject"))
    assert left(quarantine, "bob") == [ids[3]]
    assert left(quarantine, "eve") == [ids[1], ids[3]]
    edit(quarantine, domain="sports")
    assert left(quarantine, "bob") == [ids[0], ids[3]]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl"])
def test_a_sheet_comes_back_as_decisions(quarantine, claims, tmp_path, ending):
    path = tmp_path / f"sheet{ending}"
    assert write_sheet(to_review(quarantine, "bob"), path, {claims[0].claim_id: "long-claim: Too long."}) == 4
    assert read_decisions(path) == []  # nobody decided yet
    text = path.read_text(encoding="utf-8")
    assert text.count("long-claim: Too long.") == 1
    assert "Land survey of Aldor, Sheet 0 (opened 2026-01-01)" in text
    if ending == ".jsonl":
        rows = [json.loads(line) for line in text.splitlines()]
        assert tuple(rows[0]) == SHEET_COLUMNS
        rows[1].update(decision="approve")
        rows[3].update(decision="Reject", note="No: see the map.")
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t" if ending == ".tsv" else ","))
        rows[1].update(decision="approve")
        rows[3].update(decision="Reject", note="No: see the map.")
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            sheet = csv.DictWriter(file, SHEET_COLUMNS, delimiter="\t" if ending == ".tsv" else ",")
            sheet.writeheader()
            sheet.writerows(rows)
    made = read_decisions(path)
    assert made == approve(claims[1]) + approve(claims[3], decision="reject", note="No: see the map.")
    assert decide(quarantine, "bob", made) == {"approve": 1, "reject": 1}


def test_a_sheet_is_never_overwritten(quarantine, tmp_path):
    path = tmp_path / "sheet.csv"
    path.write_text("decisions")
    with pytest.raises(UsageError, match="exists already"):
        write_sheet([], path)
    assert path.read_text() == "decisions"


def test_a_sheet_that_was_cut_short_is_not_there(quarantine, tmp_path):
    def cut_short():
        yield from list(to_review(quarantine, "bob"))[:1]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sheet(cut_short(), tmp_path / "sheet.csv")
    assert not (tmp_path / "sheet.csv").exists()
    assert write_sheet(to_review(quarantine, "bob"), tmp_path / "sheet.csv") == 4


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_a_claim_is_never_a_formula(make_claims, tmp_path, text):
    (row,) = table(make_claims(1), {"claim": text}).to_pylist()
    write_sheet([{**row, "digest": "d"}], tmp_path / "sheet.csv")
    with (tmp_path / "sheet.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["claim"] == "'" + text


LINES = {
    "line 3 decides 'maybe'": "claim_id,digest,decision\na,d,approve\nb,d,maybe\n",
    "line 3 decides about a a second time": "claim_id,digest,decision\na,d,approve\na,d,approve\n",
    "line 2 decides about no claim": "claim_id,digest,decision\n,d,approve\n",
    "line 2 has no digest": "claim_id,decision\na,approve\n",
    "line 2 has no claim_id and no digest and no decision": "a\nb\n",
}


@pytest.mark.parametrize("reason", LINES)
def test_the_line_of_a_sheet_that_is_no_decision_is_named(tmp_path, reason):
    path = tmp_path / "sheet.csv"
    path.write_text(LINES[reason])
    with pytest.raises(UsageError, match=f"sheet.csv, {reason}"):
        read_decisions(path)


@pytest.mark.parametrize("use", [read_decisions, lambda path: write_sheet([], path)])
def test_a_sheet_of_another_format_is_refused(tmp_path, use):
    with pytest.raises(UsageError, match=r"sheet\.xlsx is no sheet"):
        use(tmp_path / "sheet.xlsx")


def test_a_sheet_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValidationError, match="There is no file"):
        read_decisions(tmp_path / "sheet.csv")
