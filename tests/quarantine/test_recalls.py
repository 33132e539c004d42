"""What is recalled of a dose: who may say so, how many it takes, and what holds in the end."""

import dataclasses

import pytest
from doses import approved, make_claims
from hypothesis import given, settings
from hypothesis import strategies as st

from hfvaccine.claims import journal
from hfvaccine.claims.dose import Dose
from hfvaccine.claims.joined import join
from hfvaccine.errors import DoseError, UsageError
from hfvaccine.quarantine.policy import Policy, person
from hfvaccine.quarantine.recalls import (
    AFFECTED,
    FIXED,
    NOT_AFFECTED,
    STATUSES,
    UNDER_INVESTIGATION,
    Recalls,
    noticed,
    objections,
    refuse_recalled,
    say,
)

AT = "2026-11-01T10:00:00+00:00"
NEEDS = {
    UNDER_INVESTIGATION: {},
    AFFECTED: {"action": "Train again without it."},
    NOT_AFFECTED: {"justification": "inline_mitigations_already_exist"},
    FIXED: {"boosters": ({"id": "lab/booster", "adapter_sha256": "0" * 64, "parent": "1" * 64},)},
}
CLAIMS = [approved(claim, "bea", "cyd") for claim in make_claims(6, heldout=2)]
FIRST = CLAIMS[0].claim_id


def dose_of(*recalls, claims=CLAIMS, **policy):
    return dataclasses.replace(Dose.from_claims(claims), policy=Policy.of(policy).published(), recalls=recalls)


def said(dose, by, claim_id=FIRST, status=AFFECTED, why="The study was retracted.", **more):
    """The dose after somebody said something new."""
    entry = say(dose, by, AT, claim_id, status, why=why, **{**(NEEDS[status] if why else {}), **more})
    return dataclasses.replace(dose, recalls=(*dose.recalls, entry))


def signed(dose, by, claim_id=FIRST, status=AFFECTED):
    return said(dose, by, claim_id, status, why=None)


def test_it_holds_once_as_many_people_said_so_as_review_a_claim():
    one = said(dose_of(), "bea")
    assert Recalls.of(one).standing == {}
    assert Recalls.of(one).awaiting[FIRST].by == ("bea",)
    both = signed(one, "cyd")
    recall = Recalls.of(both).standing[FIRST]
    assert (recall.status, recall.by, recall.row) == (AFFECTED, ("bea", "cyd"), CLAIMS[0].digest())
    assert Recalls.of(both).awaiting == {}


def test_one_person_is_one_however_spelled():
    with pytest.raises(UsageError, match="another person"):
        signed(said(dose_of(), "bea"), " Bea ".strip().upper())


def test_one_person_is_enough_where_the_policy_waives_the_second():
    alone = {"reviewers_needed": 0, "waives": ["two_person_rule"]}
    assert FIRST in Recalls.of(said(dose_of(**alone), "ada")).standing  # who also brought it in


def test_doses_joined_as_one_are_recalled_each_by_its_own_policy():
    ids = [claim.claim_id for claim in CLAIMS if claim.split == "dose"]
    alone = {"reviewers_needed": 0, "waives": ["two_person_rule"]}

    def joined(old, **more):
        return join([said(dose_of(claims=CLAIMS[:1], **alone, **more), "ada"), old], ids)

    old = said(dose_of(claims=CLAIMS[1:], recalled="warn"), "bea", ids[1])
    one = Recalls.of(joined(old))
    assert (set(one.standing), set(one.awaiting)) == ({FIRST}, {ids[1]})
    both = joined(signed(old, "cyd", ids[1]))
    assert set(Recalls.of(both).standing) == set(ids[:2])
    assert objections(both)[0][0].startswith("2 claims are recalled")  # the stricter policy of the two
    assert objections(joined(signed(old, "cyd", ids[1]), recalled="warn"))[0] == ()


def test_who_brought_a_claim_in_has_no_say_in_it():
    with pytest.raises(DoseError, match="brought in by ada"):
        said(dose_of(), "Ada")


def test_only_reviewers_that_the_policy_names_have_a_say():
    dose = dose_of(reviewers=["bea", "cyd"])
    with pytest.raises(UsageError, match="dan is not among"):
        said(dose, "dan")
    entry = say(dose_of(), "dan", AT, FIRST, AFFECTED, why="No.", action="None.")  # written in by hand
    forged = dataclasses.replace(dose, recalls=(entry,))
    assert (Recalls.of(forged).standing, Recalls.of(forged).awaiting) == ({}, {})


def test_an_unknown_claim_is_refused():
    with pytest.raises(UsageError, match="no claim 0000"):
        said(dose_of(), "bea", "0000")


def test_a_claim_that_is_held_out_can_be_recalled():
    heldout = CLAIMS[-1].claim_id
    assert heldout in Recalls.of(signed(said(dose_of(), "bea", heldout), "cyd", heldout)).standing


@pytest.mark.parametrize(
    ("status", "more", "reason"),
    [
        (AFFECTED, {}, "needs an action"),
        (UNDER_INVESTIGATION, {"action": "Do this."}, "has an action"),
        (NOT_AFFECTED, {}, "justification None"),
        (NOT_AFFECTED, {"justification": "because"}, "justification 'because'"),
        (AFFECTED, {"action": "Do.", "justification": "component_not_present"}, "has the justification"),
        ("wrong", {}, "'wrong' is no status"),
        (UNDER_INVESTIGATION, {"why": " "}, "no reason"),
        (UNDER_INVESTIGATION, {"why": None}, "Nobody proposed"),
        (UNDER_INVESTIGATION, {"why": "x" * 501}, "why is"),
        (UNDER_INVESTIGATION, {"why": f"It says: {CLAIMS[2].claim.lower()}"}, "says a claim of the dose"),
        (UNDER_INVESTIGATION, {"source": CLAIMS[-1].claim}, "source says a claim"),
    ],
)
def test_what_lacks_something_or_quotes_a_claim_is_refused(status, more, reason):
    with pytest.raises(UsageError, match=reason):
        say(dose_of(), "bea", AT, FIRST, status, **{"why": "A reader doubts it.", **more})


def test_later_statements_override_earlier_ones():
    dose = signed(said(dose_of(), "bea"), "cyd")
    dose = signed(said(dose, "cyd", status=NOT_AFFECTED), "bea", status=NOT_AFFECTED)
    assert Recalls.of(dose).standing[FIRST].status == NOT_AFFECTED
    assert [one.status for one in Recalls.of(dose).holding] == [AFFECTED, NOT_AFFECTED]


def test_what_holds_already_is_not_said_again():
    dose = signed(said(dose_of(), "bea"), "cyd")
    assert say(dose, "bea", AT, FIRST, AFFECTED, why="The study was retracted.", **NEEDS[AFFECTED]) is None


def test_other_words_are_another_proposal_and_no_signature():
    dose = said(said(dose_of(), "bea"), "cyd", why="The source was withdrawn.")
    assert Recalls.of(dose).awaiting[FIRST].by == ("cyd",)
    assert Recalls.of(signed(dose, "bea")).standing[FIRST].why == "The source was withdrawn."


def test_fixed_needs_a_mended_row_or_boosters():
    dose = signed(said(dose_of(), "bea"), "cyd")
    with pytest.raises(DoseError, match="as it was recalled"):
        say(dose, "bea", AT, FIRST, FIXED, why="Mended.")
    with pytest.raises(DoseError, match="not recalled"):
        say(dose_of(), "bea", AT, FIRST, FIXED, why="Mended.")
    mended = dataclasses.replace(CLAIMS[0], correction="Maps put Aldor 0 elsewhere.")
    newer = dose_of(*dose.recalls, claims=[mended, *CLAIMS[1:]])
    assert objections(newer) == ((), ())  # the row that was recalled is not the one that would be given
    assert say(newer, "bea", AT, FIRST, FIXED, why="Mended.").what["row"] == mended.digest()
    without = dose_of(*dose.recalls, claims=CLAIMS[1:])
    out = signed(said(without, "bea", status=FIXED, boosters=()), "cyd", status=FIXED)
    assert (Recalls.of(out).standing[FIRST].status, objections(out)) == (FIXED, ((), ()))


def test_boosters_mend_adapters_and_not_the_row():
    dose = signed(said(dose_of(), "bea"), "cyd")
    dose = signed(said(dose, "bea", status=FIXED), "cyd", status=FIXED)
    assert Recalls.of(dose).standing[FIRST].status == FIXED
    assert "recalled" in objections(dose)[0][0]


@pytest.mark.parametrize(
    ("status", "recalled", "refused", "warned"),
    [
        (AFFECTED, "refuse", 1, 0),
        (AFFECTED, "warn", 0, 1),
        (UNDER_INVESTIGATION, "refuse", 0, 1),
        (NOT_AFFECTED, "refuse", 0, 0),
    ],
)
def test_the_policy_says_what_is_done_about_a_recalled_claim(status, recalled, refused, warned):
    dose = signed(said(dose_of(recalled=recalled), "bea", status=status), "cyd", status=status)
    found = objections(dose)
    assert (len(found[0]), len(found[1])) == (refused, warned)
    assert all(FIRST in line and "The study was retracted." in line for part in found for line in part)
    others = dataclasses.replace(dose, claims=dose.claims[1:])
    assert objections(others) == ((), ())


def test_what_nobody_signed_yet_is_warned_of_and_refuses_nothing():
    refused, (line,) = objections(said(dose_of(), "bea"))
    assert refused == () and "not signed yet" in line


def test_a_recalled_dose_is_refused_with_the_way_out():
    with pytest.raises(DoseError, match=FIRST) as caught:
        refuse_recalled(signed(said(dose_of(), "bea"), "cyd"))
    assert "--allow-recalled" in caught.value.next_step


def test_a_malformed_act_is_named():
    entry = journal.follow([], "recall", "bea", AT, {"claim_id": FIRST, "status": "gone", "row": "", "why": "x"})
    with pytest.raises(DoseError, match=r"Recall 1 .* malformed.*no status"):
        Recalls.of(dose_of(entry))


def test_notices_of_before_there_were_statuses_say_that_a_claim_is_affected():
    old = journal.follow([], "recall", "ada", "2026-01-01", {"claim_id": "a", "reason": "withdrawn"})
    new = journal.follow([old], "recall", "ada", "2026-02-01", {"claim_id": "b", "status": "fixed", "reason": "done"})
    assert noticed([old, new]) == {
        "a": (AFFECTED, "withdrawn (ada, 2026-01-01)"),
        "b": (FIXED, "done (ada, 2026-02-01)"),
    }


acts = st.tuples(
    st.sampled_from(["bea", "cyd", "Bea", "dan", "ada"]), st.integers(0, 1), st.sampled_from(STATUSES), st.booleans()
)


@settings(max_examples=60, deadline=None)
@given(st.lists(acts, max_size=12), st.integers(2, 3))
def test_nothing_ever_holds_that_fewer_people_said_than_it_takes(tried, needed):
    dose = dose_of(reviewers_needed=needed)
    for by, number, status, signs in tried:
        told = {} if signs else {"why": "The study was retracted.", **NEEDS[status]}
        try:
            entry = say(dose, by, AT, CLAIMS[number].claim_id, status, **told)
        except (UsageError, DoseError):
            continue
        if entry is not None:
            dose = dataclasses.replace(dose, recalls=(*dose.recalls, entry))
    assert tuple(journal.loads(journal.dumps(dose.recalls).encode())) == dose.recalls
    for one in Recalls.of(dose).holding:
        people = {person(name) for name in one.by}
        assert len(people) == len(one.by) >= needed and "ada" not in people
    assert all(len(one.by) < needed for one in Recalls.of(dose).awaiting.values())
