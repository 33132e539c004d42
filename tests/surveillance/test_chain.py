"""One fact-check changes: from two published adapters and a merged model to a booster, and who may do which step."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from doses import approved, make_claims
from huggingface_hub import HfApi

from hfvaccine import hub
from hfvaccine.cli import cli
from hfvaccine.errors import DoseError, HubError, ModelError, UsageError
from hfvaccine.lineage.chain import check
from hfvaccine.lineage.fetch import gather, papers
from hfvaccine.lineage.links import BROKEN
from hfvaccine.quarantine.recalls import AFFECTED, FIXED, NOT_AFFECTED, Recalls
from hfvaccine.quarantine.seal import seal
from hfvaccine.runs.immunize import immunize
from hfvaccine.runs.merge import merge
from hfvaccine.surveillance.affected import find
from hfvaccine.surveillance.booster import boost
from hfvaccine.surveillance.closing import close
from hfvaccine.surveillance.notice import OPENED, THERE, notify
from hfvaccine.surveillance.recall import issue
from hfvaccine.training.options import Boosting, Options

from .conftest import TOLD

BASE, DOSE, WIDE, NARROW, MERGED, BOOSTER = (
    f"guild/{name}" for name in ("base", "dose", "wide", "narrow", "merged", "wide-2")
)


def asking(folder, seed, claims):
    """A run on what is published, a few steps long."""
    return Options(
        base=BASE, dose=DOSE, mix=str(folder / "mix.jsonl"), share=0.4, max_steps=4, batch_size=8, max_length=512,
        lora_r=4, dtype="float32", seed=seed, claims=claims, exposures=1, comparisons="none", adversarial=0,
        output_dir=str(folder / f"run-{seed}"),
    )  # fmt: skip


def of_chain(repo_id):
    """What `verify` finds: whether a link is broken, and the claims that it calls recalled."""
    found = papers(repo_id)
    links = list(check(found.record, gather(found)).all())
    loud = {link.name.removeprefix("RECALLED ") for link in links if link.name.startswith("RECALLED")}
    return BROKEN in {link.state for link in links}, loud


def means(claim_id):
    """What the recall of a claim means for each adapter of the organisation."""
    return {one.place: one.of_claim(claim_id).status for one in find(["guild"], dose=DOSE)}


@pytest.fixture(scope="module")
def guild(local, tokens, api, tiny_gpt2, mix_file, tmp_path_factory):
    """An organisation with a dose, two adapters that were given more and less of it, and a merged model.

    Returns:
        a claim that only the first adapter was given, and the folder of its run.
    """
    folder = tmp_path_factory.mktemp("guild")
    (folder / "mix.jsonl").write_bytes(mix_file.read_bytes())
    accounts = local._hub.accounts
    accounts.add_org("guild")
    for name in ("bea", "cyd"):
        accounts.set_member("guild", name, "admin" if name == "bea" else "write")
    api.create_repo(BASE)
    api.upload_folder(repo_id=BASE, folder_path=tiny_gpt2)
    claims = [approved(claim, "bea", "cyd") for claim in make_claims(12, heldout=4)]
    hub.push_dose(seal(claims, {"name": "Guild", "contact": "ada@example.org"}, folder / "dose").path, DOSE)
    wide, narrow = (immunize(asking(folder, seed, number)) for seed, number in ((3, 8), (4, 4)))
    for repo_id, run in ((WIDE, wide), (NARROW, narrow)):
        hub.push_adapter(run.folder, repo_id, publish_failed=True)
    hub.push_adapter(merge(wide.folder, folder / "merged").folder, MERGED, publish_failed=True)
    given, other = (set(run.record["dose"]["claim_ids"]) for run in (wide, narrow))
    return min(given - other), wide.folder


def test_a_claim_is_recalled_found_told_boosted_away_and_closed(guild, tokens, tmp_path):
    claim_id, run = guild
    stranger, reader = HfApi(token=tokens["ada"]), tokens["reader"]
    assert [of_chain(one) for one in (WIDE, NARROW, MERGED)] == [(False, set())] * 3

    # --- said by two members; by nobody else
    with pytest.raises(HubError):
        issue(DOSE, claim_id, "affected", **TOLD, token=reader)
    assert not issue(DOSE, claim_id, "affected", **TOLD).holds
    with pytest.raises(UsageError, match="another person has to sign"):
        issue(DOSE, claim_id, "affected")
    with pytest.raises(UsageError, match="Nothing is recalled"):
        means(claim_id)
    assert issue(DOSE, claim_id, "affected", token=tokens["cyd"]).holds

    # --- found by the ledgers
    assert means(claim_id) == {WIDE: AFFECTED, MERGED: AFFECTED, NARROW: NOT_AFFECTED}
    assert [of_chain(one) for one in (WIDE, NARROW, MERGED)] == [
        (False, {claim_id}), (False, set()), (False, {claim_id}),
    ]  # fmt: skip
    shown = CliRunner().invoke(cli, ["recall", "find", "guild", "--dose", DOSE, "--json"])
    assert {one["place"] for one in json.loads(shown.stdout)} == {WIDE, NARROW, MERGED}

    # --- told to whoever was given it, once: a stranger may say it, and what a stranger asks for is not relied upon
    for teller, discussion in ((stranger.token, OPENED), (None, THERE)):
        told = notify(find(["guild"], dose=DOSE), token=teller)
        assert {one.place: (one.discussion, one.pull_request) for one in told} == dict.fromkeys(
            (WIDE, MERGED), (discussion, OPENED)
        )
    assert not any(one.changed for one in notify(find(["guild"], dose=DOSE)))

    # --- given to nobody any more, and closed by nothing but a booster that was measured
    with pytest.raises(DoseError, match="recalled"):
        immunize(asking(run.parent, 5, 8))
    with pytest.raises(DoseError) as refused:
        close(DOSE, claim_id, ["guild"])
    assert all(f"{one} has no measured booster" in refused.value.message for one in (WIDE, MERGED))
    boosting = Boosting(
        adapter=WIDE, retract=(claim_id,), because="a recall", adversarial=0, mix=str(run.parent / "mix.jsonl")
    )
    with pytest.raises(ModelError, match="is a merged model"):
        boost(replace(boosting, adapter=MERGED))
    boosted = boost(replace(boosting, output_dir=str(tmp_path / "boosted")))
    with pytest.raises(HubError):
        hub.push_adapter(boosted.folder, BOOSTER, publish_failed=True, token=reader)
    hub.push_adapter(boosted.folder, BOOSTER, publish_failed=True)

    assert means(claim_id) == {WIDE: AFFECTED, MERGED: AFFECTED, NARROW: NOT_AFFECTED, BOOSTER: FIXED}
    with pytest.raises(HubError):
        close(DOSE, claim_id, ["guild"], token=reader)
    assert not close(DOSE, claim_id, ["guild"]).holds
    assert close(DOSE, claim_id, ["guild"], token=tokens["cyd"]).holds
    with pytest.raises(UsageError, match="is not recalled"):
        close(DOSE, min(set(boosted.record["dose"]["claim_ids"])), ["guild"])

    # --- afterwards: the parent still was given it, the booster was not
    assert of_chain(BOOSTER) == (False, set())
    assert of_chain(WIDE) == (False, {claim_id})
    assert claim_id not in boosted.record["dose"]["claim_ids"]
    (named,) = Recalls.of(hub.pull_dose(DOSE, allow_recalled=True)).standing[claim_id].boosters
    assert named["id"] == BOOSTER
