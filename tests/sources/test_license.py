"""Licences as cards and rows name them, and none where nobody does."""

import pytest
from hubs import put, talk_to
from huggingface_hub import HfApi

from hfvaccine.localhub.server import LocalHub
from hfvaccine.sources.license import card_of, licenses_in, licenses_of

CARDS = (
    ({"license": "apache-2.0"}, ("apache-2.0",)),
    ({"license": ["mit", "cc-by-4.0"]}, ("mit", "cc-by-4.0")),
    ({"license": "other", "license_name": "my-own"}, ("my-own",)),
    ({"license": "other"}, ()),
    ({"license": "unknown"}, ()),
    ({"license": 3}, ()),
    ({}, ()),
)


@pytest.mark.parametrize(("card", "named"), CARDS)
def test_a_card_names_a_licence_or_none_is_known(card, named):
    assert licenses_in(card) == named


def test_rows_name_each_licence_once():
    assert licenses_of([{"license": "MIT"}, {"license": " "}, {}, {"license": "CC0-1.0"}, {"license": "MIT"}]) == (
        "CC0-1.0", "MIT",
    )  # fmt: skip


def test_a_card_is_read_at_its_commit_and_none_that_nobody_can_have(tmp_path, monkeypatch):
    with LocalHub(tmp_path / "hub") as local:
        talk_to(local, monkeypatch, "ada", tmp_path / "cache")
        api = HfApi()
        api.create_repo("ada/rows", repo_type="dataset")
        first, _ = (
            put(api, "ada/rows", "README.md", f"---\nlicense: {one}\n---\n".encode(), "dataset")
            for one in ("mit", "cc0-1.0")
        )
        assert card_of(api, "ada/rows", "dataset")["license"] == "cc0-1.0"
        assert card_of(api, "ada/rows", "dataset", first)["license"] == "mit"
        assert card_of(api, "ada/none") == {}
    assert card_of(api, "ada/rows", "dataset") == {}
