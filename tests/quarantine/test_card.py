import copy
from xml.etree import ElementTree

import pytest
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt

from hfvaccine.claims.dose import FIGURE, SCHEMA_VERSION
from hfvaccine.quarantine import card as dose_card
from hfvaccine.quarantine.policy import Policy
from hfvaccine.quarantine.seal import OBJECTIONS
from hfvaccine.text import clean, is_hub_id, plain

REPO = "publisher/small-dose"
MANIFEST = {
    "schema_version": SCHEMA_VERSION,
    "name": "Small dose",
    "canary": "hfvaccine:canary:0f5d2c1e-0000-5000-8000-000000000001",
    "counts": {
        "dose": 14,
        "heldout": 6,
        "clusters": 18,
        "with_twin": 20,
        "reviewed": 0,
        "reviewers": 0,
        "sources_opened": 4,
        "by_domain": {"health": 8, "science": 12},
        "by_tactic": {"none": 15, "false_presupposition": 5},
        "by_harm": {"low": 20},
        "by_language": {"en": 20},
        "by_license": {"Apache-2.0": 20},
        "overlaps": {"TruthfulQA": 3},
    },
    "cue_audit": {"bag_of_words": 0.5312, "length": 0.4987, "pairs": 20, "limit": 0.6},
    "left_out": {},
    "lint_off": {},
    "screened": {
        "TruthfulQA": {"status": "screened", "texts": 5000},
        "FEVER": {"status": "not screened", "texts": None},
    },
    "sources": [{"name": "own.csv", "rows": 25, "taken": 20, "sha256": "c" * 64, "taken_in_on": "2026-11-20"}],
    "waives": ["two_person_rule"],
    "files": {},
    "policy_sha256": "a" * 64,
    "journal_head": "b" * 64,
    "tools": {"hfvaccine": "0.1.0"},
}
POLICY = {
    **Policy().published(),
    "name": "Small dose",
    "license": "Apache-2.0",
    "contact": "recall@example.org",
    "reviewers_needed": 0,
    "waives": ["two_person_rule"],
    "sealed_by": "the authors",
    "sealed_on": "2026-11-21",
}

SVG = "{http://www.w3.org/2000/svg}"

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
        "| TruthfulQA | against 5,000 texts of it | 3 |",
        "| FEVER | **no** | 0 |",
        "0.531",
        "0.60",
        f'pull_dose("{REPO}")',
        f'load_dataset("{REPO}"',
        "2505.17870",
        "2510.04340",
    ):
        assert needed in page


def test_the_page_needs_no_repo_to_be_written_and_explains_its_placeholder_once():
    page = dose_card.render(MANIFEST, POLICY)
    assert 'pull_dose("NAMESPACE/NAME")' in page
    assert page.count("write this repo's own id") == 1
    assert "NAMESPACE/NAME" not in rendered() and "write this repo's own id" not in rendered()
    assert 'pull_dose("you/dose")' in dose_card.render(MANIFEST, {**POLICY, "repo_id": "you/dose"})


def test_the_access_form_says_whom_to_ask_and_who_decides():
    assert "read by a person. Questions go to recall@example.org." in DatasetCard(rendered()).data.extra_gated_prompt
    prompt = DatasetCard(rendered(gating="auto", contact="")).data.extra_gated_prompt
    assert prompt.endswith("answered at once.")


def test_tables_carry_bars_of_characters_for_those_who_see_no_picture():
    page = rendered()
    assert f"| science | 12 | {'█' * 20} |" in page
    assert f"| health | 8 | {'█' * 13} |" in page
    many = rendered(with_counts(by_domain={f"domain {n}": n for n in range(1, 101)}))
    assert "| domain 90 |" in many and "| domain 89 |" not in many
    assert f"| 89 others | {sum(range(1, 90)):,} |" in many


def test_provenance_names_every_source_by_its_digest():
    assert f"| own.csv | 2026-11-20 | 25 | 20 | {'c' * 64} |" in rendered()
    assert "no file or data set is on record" in rendered({**MANIFEST, "sources": []})
    many = rendered({**MANIFEST, "sources": MANIFEST["sources"] * 60})
    assert many.count("own.csv") == 50
    assert "And 10 more, which the journal names." in many


def test_lint_is_said_to_have_been_run_turned_off_or_not_run():
    assert "No lint rule is turned off" in rendered()
    assert "sealed without being linted" in rendered({**MANIFEST, "lint_off": None})
    off = rendered({**MANIFEST, "lint_off": {"missing-source": 7}})
    assert "| missing-source | 7 |" in off


def test_what_was_left_out_is_counted_in_words():
    page = rendered({**MANIFEST, "left_out": dict.fromkeys(("rejected", *OBJECTIONS), 1234)})
    for why in ("rejected", *OBJECTIONS):
        assert f"| 1,234 | {dose_card.LEFT_OUT[why]} |" in page


def test_a_dose_that_was_never_screened_says_so():
    page = rendered({**MANIFEST, "screened": None})
    assert "**This dose was never screened**" in page
    assert "| TruthfulQA | **no**, marked by who brought the claims in | 3 |" in page
    assert "never screened" not in rendered()
    assert "No claim is marked" in rendered({**with_counts(overlaps={}), "screened": {}})


def test_an_expiry_is_a_use_that_is_forbidden():
    assert "Giving this dose on or after 2027-12-31" in rendered(expires_on="2027-12-31")
    assert "| Expires on | no date set |" in rendered()


def drawn(manifest):
    return ElementTree.fromstring(dose_card.figure(manifest))


def words(picture):
    return ["".join(element.itertext()) for element in picture.iter(f"{SVG}text")]


def test_the_picture_shows_counts_largest_first_and_says_them_in_words():
    picture = drawn(MANIFEST)
    shown = words(picture)
    assert shown[:6] == ["20 false claims, each with its correction", "Use", "may be given", "14", *shown[4:6]]
    assert shown[shown.index("Domain") : shown.index("Tactic")] == ["Domain", "science", "12", "health", "8"]
    widths = [float(bar.get("width")) for bar in picture.iter(f"{SVG}rect") if bar.get("class") == "bar"]
    assert widths[2:4] == [420.0, 280.0]
    assert "What is in Small dose" in picture.find(f"{SVG}title").text
    assert "Domain: science 12, health 8" in picture.find(f"{SVG}desc").text
    assert picture.get("role") == "img"
    assert MANIFEST["canary"] in dose_card.figure(MANIFEST)


def test_many_domains_are_drawn_as_the_largest_and_the_rest():
    shown = words(drawn(with_counts(by_domain={f"domain {n}": n for n in range(1, 31)})))
    assert "domain 30" in shown and "domain 20" in shown and "domain 19" not in shown
    assert shown[shown.index("19 others") + 1] == str(sum(range(1, 20)))


@pytest.mark.parametrize("text", [*HOSTILE, "--><script/>", "気候" * 40, "", "]]>", "\ufffe"])
def test_the_picture_is_sound_whatever_its_labels_say(text):
    manifest = with_counts(by_domain={text: 8, "science": 12}, by_tactic={text: 15})
    manifest.update(name=text, canary=text)
    picture = drawn(manifest)
    assert {element.tag for element in picture.iter()} == {element.tag for element in drawn(MANIFEST).iter()}
    assert not [name for element in picture.iter() for name in element.attrib if name.startswith("on")]
    assert max(len(line) for line in words(picture)) <= 45
    assert dose_card.figure(manifest) == dose_card.figure(manifest)


def test_a_dose_without_tactics_is_drawn():
    assert words(drawn(with_counts(by_tactic={}, by_domain={})))[-1] == "Tactic"


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
    manifest = {**MANIFEST, "cue_audit": {"bag_of_words": 0.71, "length": 0.5, "pairs": 20, "limit": 0.6}}
    assert "ABOVE" in rendered(manifest)
    assert "gives falsehood away" in rendered(manifest)
    assert "gives falsehood away" not in rendered()


def test_missing_audit_contact_and_overlaps_are_said():
    page = rendered({**with_counts(overlaps={}), "cue_audit": None}, contact="")
    assert "| TruthfulQA | against 5,000 texts of it | 0 |" in page
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
    manifest["sources"] = [dict.fromkeys(("name", "taken_in_on", "sha256"), text) | {"rows": 5, "taken": 5}]
    manifest["screened"] = {text: {"status": "screened", "texts": 5}}
    manifest["lint_off"] = {text: 1}
    manifest["left_out"] = {text: 1}
    hostile = dict.fromkeys(("name", "license", "contact", "sealed_by", "sealed_on", "expires_on"), text)
    page = rendered(manifest, **hostile, waives=[text])

    benign = {
        **with_counts(overlaps={"x": 3}),
        "screened": {"x": {"status": "screened", "texts": 5}},
        "lint_off": {"x": 1},
        "left_out": {"x": 1},
    }
    card, friendly = DatasetCard(page), rendered(benign, waives=["x"], expires_on="x")
    assert set(card.data.to_dict()) - {"license_name", "language"} == (
        set(DatasetCard(friendly).data.to_dict()) - {"license_name", "language"}
    )
    assert card.data.license == "other"
    tokens = list(inline(parsed(page)))
    kinds = [token.type for token in tokens]
    assert not {"html_block", "html_inline", "link_open", "s_open"} & set(kinds)
    assert [token.attrs["src"] for token in tokens if token.type == "image"] == [FIGURE]
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
