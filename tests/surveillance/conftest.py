"""An organisation on an embedded Hub with a dose of two reviewers, and adapters that were given some of it."""

import pytest
from doses import approved, make_claims
from hubs import talk_to
from huggingface_hub import HfApi

from hfvaccine import hub
from hfvaccine.hub.pull import pull_dose
from hfvaccine.localhub.server import LocalHub
from hfvaccine.quarantine.seal import seal
from hfvaccine.surveillance.recall import issue

from .adapters import adapter, booster, merged, upload

TOLD = {"why": "The study was retracted.", "action": "Train again without it.", "source": "Notice of 2 May"}


@pytest.fixture(scope="package")
def claims():
    return [approved(claim, "bea", "cyd") for claim in make_claims(6, heldout=2)]


@pytest.fixture(scope="package")
def ids(claims):
    """The ids of the four that may be given."""
    return [claim.claim_id for claim in claims if claim.split == "dose"]


@pytest.fixture
def folder(claims, tmp_path):
    """A sealed dose of one's own."""
    return seal(claims, {"name": "Aldor", "contact": "ada@example.org"}, tmp_path / "dose").path


@pytest.fixture(scope="package")
def local(claims, tmp_path_factory):
    """The Hub, on which every client in this process is `bea` unless it is told otherwise."""
    place = tmp_path_factory.mktemp("surveillance")
    with LocalHub(place / "hub") as running, pytest.MonkeyPatch.context() as patch:
        talk_to(running, patch, "bea", place / "cache")
        running.tokens = {name: running.add_user(name) for name in ("bea", "cyd", "ada", "reader")}
        accounts = running._hub.accounts
        accounts.add_org("lab")
        for name in ("bea", "cyd", "ada"):
            accounts.set_member("lab", name, "admin" if name == "bea" else "write")
        sealed = seal(claims, {"name": "Aldor", "contact": "ada@example.org"}, place / "sealed").path
        hub.push_dose(sealed, "lab/dose", token=running.tokens["bea"])
        yield running


@pytest.fixture(scope="package")
def tokens(local):
    return local.tokens


@pytest.fixture(scope="package")
def api(local):
    return HfApi()


@pytest.fixture(scope="package")
def recalled(local, tokens, ids):
    """The dose on the Hub, of which the first claim is recalled; as it is pulled."""
    issue("lab/dose", ids[0], "affected", **TOLD)
    issue("lab/dose", ids[0], "affected", token=tokens["cyd"])
    return pull_dose("lab/dose", allow_recalled=True)


@pytest.fixture(scope="package")
def published(recalled, api, ids, tmp_path_factory):
    """Repos by what they are: one that was given the claim, one that chose it only, and what was made of the first."""
    place = tmp_path_factory.mktemp("adapters")
    given = adapter(place / "given", recalled, ids[:2])
    folders = {
        "lab/given": given,
        "lab/spared": adapter(place / "spared", recalled, ids[1:2], not_reached=ids[:1], weights=b"spared"),
        "lab/merged": merged(place / "merged", given, recalled, ids[:2]),
        "lab/booster": booster(place / "booster", given, recalled, ids[1:2], ids[:1], "lab/given", asked=ids[:2]),
    }
    for repo_id, folder in folders.items():
        upload(api, repo_id, folder)
    return folders
