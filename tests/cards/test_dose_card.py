import copy

import pytest
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt

from hfvaccine.cards import clean, dose_card, is_hub_id, plain
from hfvaccine.quarantine.dose import POLICY_DEFAULTS

REPO = "publisher/small-dose"
MANIFEST = {
    "schema_version": 1,
    "name": "Small dose",
    "canary": "hfvaccine:canary:0f5d2c1e-0000-5000-8000-000000000001",
    "counts": {
        "dose": 14,
        "heldout": 6,
        "clusters": 18,
        "with_twin": 20,
        "reviewed": 0,
        "by_domain": {"health": 8, "science": 12},
        "by_tactic": {"none": 15, "false_presupposition": 5},
        "by_harm": {"low": 20},
        "by_language": {"en": 20},
        "by_license": {"Apache-2.0": 20},
        "overlaps": {"TruthfulQA": 3},
    },
    "cue_audit": {"bag_of_words": 0.5312, "length": 0.4987, "pairs": 20},
    "files": {},
    "policy_sha256": "a" * 64,
    "journal_head": "b" * 64,
    "tools": {"hfvaccine": "0.1.0"},
}
POLICY = {
    **POLICY_DEFAULTS,
    "name": "Small dose",
    "license": "Apache-2.0",
    "contact": "recall@example.org",
    "reviewers_needed": 0,
    "waives": ["two_person_rule"],
    "sealed_by": "the authors",
    "sealed_on": "2026-11-21",
}

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% for x in y %}{# gone #}",
    "---\nlicense: mit\n---\nextra: [",
    "a: b\n  - &anchor *anchor !!python/object:os.system",
    "[click](https://evil.example) ![x](https://evil.example/p.png) https://evil.example www.evil.example",
    "| a | b |\n|---|---|\n# heading\n```\ncode\n``` `tick` **bold** __init__ ~~no~~ \\",
    "\u202egnihtemos\u202c \u2066x\u2069 \u200b\x00\x1b[31m שלום",
    "very long " * 500,
)


def parsed(page: str):
    return MarkdownIt("commonmark").enable("table").parse(DatasetCard(page).text)


def inline(tokens):
    for token in tokens:
        yield token
        yield from inline(token.children or ())


def rendered(manifest=MANIFEST, **policy) -> str:
    return dose_card.render(manifest, {**POLICY, **policy}, REPO)


def with_counts(**counts):
    manifest = copy.deepcopy(MANIFEST)
    manifest["counts"].update(counts)
    return manifest


def test_metadata_makes_a_gated_form_and_two_splits():
    data = DatasetCard(rendered()).data
    assert data.license == "apache-2.0"
    assert data.language == ["en"]
    assert {"hfvaccine", "hfvaccine-dose", "misinformation", "not-for-all-audiences"} <= set(data.tags)
    assert data.viewer is False
    assert set(data.extra_gated_fields.values()) == {"text", "checkbox"}
    assert "Small dose" in data.extra_gated_prompt
    assert data.configs[0]["data_files"] == [
        {"split": "train", "path": "data/dose-*.parquet"},
        {"split": "heldout", "path": "data/heldout-*.parquet"},
    ]


def test_card_survives_a_round_trip():
    page = rendered()
    assert str(DatasetCard(page)) == page
    assert page == rendered()


def test_a_dose_without_held_out_claims_names_no_such_split():
    data = DatasetCard(rendered(with_counts(heldout=0))).data
    assert [split["split"] for split in data.configs[0]["data_files"]] == ["train"]


def test_text_says_what_a_reader_needs():
    page = rendered()
    for needed in (
        MANIFEST["canary"],
        "5–10 %",
        "corrections only",
        "recall@example.org",
        "| health | 8 |",
        "| false presupposition | 5 |",
        "| TruthfulQA | 3 |",
        "0.531",
        "0.60",
        f'pull_dose("{REPO}")',
        f'load_dataset("{REPO}"',
        "2505.17870",
        "2510.04340",
    ):
        assert needed in page


@pytest.mark.parametrize(
    ("reviewed", "said"),
    [
        (0, "**Nobody reviewed these claims.**"),
        (5, "the other 15 were reviewed by nobody"),
        (20, "All 20 claims name a reviewer"),
    ],
)
def test_review_state_is_said_plainly(reviewed, said):
    assert said in rendered(with_counts(reviewed=reviewed))


def test_waived_rules_are_said_plainly_and_unknown_ones_verbatim():
    page = rendered(waives=["two_person_rule", "my own rule"])
    assert "- Two people need not have approved each claim." in page
    assert "- my own rule" in page


def test_cue_audit_above_its_limit_is_a_warning():
    manifest = {**MANIFEST, "cue_audit": {"bag_of_words": 0.71, "length": 0.5, "pairs": 20}}
    assert "ABOVE" in rendered(manifest)
    assert "gives falsehood away" in rendered(manifest)
    assert "gives falsehood away" not in rendered()


def test_missing_audit_contact_and_overlaps_are_said():
    page = rendered({**with_counts(overlaps={}), "cue_audit": None}, contact="")
    assert "**Not audited**" in page
    assert "names no contact" in page
    assert "not a proof of absence" in page


@pytest.mark.parametrize(
    ("given", "license_id", "license_name"),
    [("CC-BY-4.0", "cc-by-4.0", None), ("My License, v2", "other", "my-license-v2"), ("", "other", None)],
)
def test_license_is_one_the_hub_knows(given, license_id, license_name):
    data = DatasetCard(rendered(license=given)).data
    assert data.license == license_id
    assert data.get("license_name") == license_name


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_strings_neither_break_nor_inject(text):
    manifest = with_counts(
        by_domain={text: 8, "science": 12},
        by_tactic={text: 15, "none": 5},
        by_harm={text: 20},
        by_language={text: 20},
        by_license={text: 20},
        overlaps={text: 3},
    )
    manifest["canary"] = text
    manifest["tools"] = {"hfvaccine": text}
    hostile = dict.fromkeys(("name", "license", "contact", "sealed_by", "sealed_on", "expires_on"), text)
    page = rendered(manifest, **hostile, waives=[text])

    card, friendly = DatasetCard(page), rendered(waives=["x"], expires_on="x")
    assert set(card.data.to_dict()) - {"license_name", "language"} == (
        set(DatasetCard(friendly).data.to_dict()) - {"license_name", "language"}
    )
    assert card.data.license == "other"
    kinds = [token.type for token in inline(parsed(page))]
    assert not {"html_block", "html_inline", "link_open", "image", "s_open"} & set(kinds)
    for structure in ("heading_open", "table_open", "tr_open", "td_open", "fence", "list_item_open", "em_open"):
        assert kinds.count(structure) == [t.type for t in inline(parsed(friendly))].count(structure), structure
    assert "\u202e" not in page and "\x00" not in page and "\x1b" not in page
    assert card.data.pretty_name == clean(text)
    assert len(page) < 20_000


def test_hostile_repo_id_never_reaches_the_page():
    page = dose_card.render(MANIFEST, POLICY, 'a/b"); import os; os.system("x')
    assert "os.system" not in page


def test_plain_and_clean_on_single_values():
    assert plain(None) == "–"
    assert plain("false_presupposition & co") == "false_presupposition &amp; co"
    assert clean("a\r\n\tb\u2028c") == "a b c"
    assert clean("x" * 9999).endswith("…")


@pytest.mark.parametrize(
    ("name", "fits"),
    [("a/b", True), ("you/my-dose.v1_2", True), ("b", False), ("/a/b", False), ("a/../b", False), ("a/b/c", False)],
)
def test_hub_ids(name, fits):
    assert is_hub_id(name) is fits
    assert is_hub_id("gpt2-xl", namespace_needed=False)
    assert not is_hub_id(None)
