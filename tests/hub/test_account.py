"""Asking for a dose: from the refusal to the pull."""

import pytest
from hubs import answer

from hfvaccine import hub
from hfvaccine.errors import HubError
from hfvaccine.hub.access.requests import Access


def test_a_dose_is_refused_asked_for_accepted_and_pulled(local, tokens, alice, dose, repo_id, tmp_path):
    pushed = hub.push_dose(dose, repo_id, **alice)
    reader = {"endpoint": local.endpoint, "token": tokens["reader"]}
    with pytest.raises(HubError, match="is gated") as caught:
        hub.pull_dose(repo_id, **reader)
    assert pushed.url in caught.value.next_step
    assert hub.ask_access(repo_id, {"Affiliation": "A lab", "Purpose": "A test"}, **reader) == "pending"
    with pytest.raises(HubError, match="awaiting a review") as caught:
        hub.pull_dose(repo_id, **reader)
    assert caught.value.next_step == "Wait for its owner to decide, then run this again."
    Access(repo_id, journal=tmp_path / "access.jsonl", **alice).accept(["reader"])
    pulled = hub.pull_dose(repo_id, **reader)
    assert (pulled.source, pulled.revision) == (repo_id, pushed.revision)
    assert (len(pulled.claims), len(pulled.heldout)) == (4, 2)
    assert hub.pull_dose(repo_id, revision="main", **reader).digest() == pulled.digest()


def test_a_hub_without_the_route_names_the_page_to_ask_at(alice, dose, repo_id, monkeypatch):
    class Session:
        def post(self, *args, **kwargs):
            return answer(404)

    monkeypatch.setattr("hfvaccine.hub.account.get_session", Session)
    with pytest.raises(HubError, match="in a browser only") as caught:
        hub.ask_access(repo_id, {}, **alice)
    assert f"/datasets/{repo_id}" in caught.value.next_step
