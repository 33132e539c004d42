"""Closing a recall: refused with all that is missing, until every adapter has a measured booster; then two say so."""

import json

import pytest

from hfvaccine.claims.dose import Dose
from hfvaccine.errors import DoseError, UsageError
from hfvaccine.files import ADAPTER, VEX, digest_of
from hfvaccine.quarantine.recalls import FIXED, Recalls, objections
from hfvaccine.surveillance.closing import close
from hfvaccine.surveillance.recall import issue

from .adapters import adapter, booster, merged
from .conftest import TOLD


@pytest.fixture
def place(folder, ids):
    """A dose folder of which the first claim is recalled."""
    issue(str(folder), ids[0], "affected", by="bea", **TOLD)
    issue(str(folder), ids[0], "affected", by="cyd")
    return str(folder)


@pytest.fixture
def runs(place, ids, tmp_path):
    """An adapter that was given the claim, one that was not, and a merged model of the first."""
    dose = Dose.load(place)
    (tmp_path / "runs").mkdir()
    given = adapter(tmp_path / "runs" / "given", dose, ids[:2])
    adapter(tmp_path / "runs" / "spared", dose, ids[1:2], weights=b"spared")
    merged(tmp_path / "runs" / "merged", given, dose, ids[:2])
    return tmp_path / "runs"


def boost(place, runs, ids, **more):
    dose = Dose.load(place)
    return booster(runs / "boosted", runs / "given", dose, ids[1:2], ids[:1], "given", **{"asked": ids, **more})


def test_without_a_booster_it_is_refused_with_what_is_missing(place, runs, ids):
    before = Dose.load(place).recalls
    with pytest.raises(DoseError, match=r"given has no measured booster.*merged has no measured booster") as caught:
        close(place, ids[0], [str(runs)], by="bea")
    assert "spared" not in caught.value.message and "hfvaccine boost" in caught.value.next_step
    assert Dose.load(place).recalls == before


@pytest.mark.parametrize(
    ("more", "said"), [({"asked": []}, "not asked about"), ({"verdict": "failed"}, "its gate FAILED")]
)
def test_a_booster_that_was_not_measured_does_not_do(place, runs, ids, more, said):
    boost(place, runs, ids, **more)
    with pytest.raises(DoseError, match=said):
        close(place, ids[0], [str(runs)], by="bea")


def test_two_people_close_it_and_the_row_stays_recalled(place, runs, ids):
    boosted = boost(place, runs, ids)
    assert not close(place, ids[0], [str(runs)], by="bea").holds
    done = close(place, ids[0], [str(runs)], by="cyd")
    assert done.holds and done.recall.status == FIXED and done.recall.by == ("bea", "cyd")
    dose = Dose.load(place)
    (named,) = Recalls.of(dose).standing[ids[0]].boosters
    assert (named["id"], named["adapter_sha256"]) == ("boosted", digest_of(boosted / ADAPTER))
    assert ids[0] in objections(dose)[0][0]
    statement = json.loads((dose.path / VEX).read_text())["statements"][-1]
    assert statement["status"] == "fixed" and len(statement["products"]) == 2
    assert not close(place, ids[0], [str(runs)], by="bea").changed


def test_what_cannot_be_looked_at_keeps_it_open(place, runs, ids):
    boost(place, runs, ids)
    (runs / "spared" / "dosing_ledger.parquet").unlink()
    with pytest.raises(DoseError, match="spared cannot be looked at"):
        close(place, ids[0], [str(runs)], by="bea")


def test_where_nobody_was_given_it_there_is_nothing_to_close(place, runs, ids):
    with pytest.raises(DoseError, match="No adapter there"):
        close(place, ids[0], [str(runs / "spared")], by="bea")


def test_who_had_a_hand_in_the_claim_cannot_close_it(place, runs, ids):
    boost(place, runs, ids)
    with pytest.raises(DoseError, match="brought in by ada"):
        close(place, ids[0], [str(runs)], by="ada")


def test_what_is_not_recalled_cannot_be_closed(place, runs, ids):
    with pytest.raises(UsageError, match="is not recalled"):
        close(place, ids[1], [str(runs)], by="bea")
    issue(place, ids[2], "under_investigation", by="bea", why="A reader doubts it.")
    issue(place, ids[2], "under_investigation", by="cyd")
    with pytest.raises(UsageError, match="is under_investigation"):
        close(place, ids[2], [str(runs)], by="bea")


def test_fixed_is_not_said_of_a_row_that_is_as_it_was(place, ids):
    with pytest.raises(DoseError, match="as it was recalled") as caught:
        issue(place, ids[0], "fixed", by="bea", why="Done.")
    assert "recall close" in caught.value.next_step
