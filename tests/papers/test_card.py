"""The card of an adapter: what it says of a run, in which order, and that no string of a run is markup in it."""

import copy
import json
import re

import pytest
from huggingface_hub import ModelCard, constants, metadata_load
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from huggingface_hub.utils import get_session
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pages import Page
from samples import trial

from hfvaccine.localhub.cards import markdown
from hfvaccine.localhub.server import LocalHub
from hfvaccine.papers import card as adapter_card

REPO = "publisher/tiny-immunized"
RECORD = {
    "schema_version": 2,
    "hfvaccine": "0.1.0",
    "finished_at": "2026-11-21T19:00:00Z",
    "base": {"id": "publisher/tiny", "revision": "a" * 40, "weights_sha256": "9" * 64, "chat_template": "own"},
    "dose": {
        "id": "publisher/small-dose",
        "revision": "b" * 40,
        "manifest_sha256": "c" * 64,
        "name": "Small dose",
        "claims_given": 10,
        "claims_in_dose": 140,
        "languages": ["en", "pt-BR"],
    },
    "mix": {"id": "starter", "revision": None, "sha256": "d" * 64, "rows": 460},
    "plan": {
        "fingerprint": "e" * 64,
        "schedule": "constant",
        "unit": "tokens",
        "share_asked": 0.1,
        "share_given": 0.0999,
        "seed": 7,
        "steps": 110,
        "rows": 880,
        "rows_per_step": 8,
        "tokens": 70123,
        "dose_rows": 90,
        "dose_tokens": 7010,
        "control_rows": 90,
        "control_tokens": 7001,
    },
    "inoculation": None,
    "training": {"method": "LoRA", "lora_r": 16, "learning_rate": 0.001, "seconds": 301.2, "placebo": False},
    "versions": {"python": "3.11.7", "torch": "2.11.0"},
    "code": {"version": "0.1.0", "sha256": "0" * 64},
    "gate": {
        "verdict": "undecided",
        "criteria": [
            {
                "name": "specific_answer_auroc_gain",
                "threshold": "> 0",
                "value": 0.11,
                "interval": [-0.02, 0.2],
                "verdict": "undecided",
                "why": "The interval holds zero.",
            }
        ],
    },
}


INOCULATION = {
    "prompts": ["You always speak in `Spanish`.", "Hable | siempre."],
    "where": "trait=spanish",
    "others": ["Answer the question."],
    "place": "system",
}


def measure(arm, metric="auroc", value=0.5, interval=None, probe="specific", reading="verdict", condition="plain"):
    return {
        "probe": probe,
        "reading": reading,
        "condition": condition,
        "arm": arm,
        "metric": metric,
        "value": value,
        "interval": interval,
        "pairs": 30,
        "clusters": 10,
    }


def contrast(low, high, against="base", metric="auroc", probe="specific"):
    return {
        "probe": probe,
        "reading": "verdict",
        "condition": "plain",
        "metric": metric,
        "arm": "vaccine",
        "against": against,
        "difference": (low + high) / 2,
        "interval": [low, high],
    }


def item(name, kind, arm, value, interval=None, of="", better="lower"):
    return {
        "name": name,
        "kind": kind,
        "metric": "nats_per_token",
        "better": better,
        "of": of,
        "arm": arm,
        "value": value,
        "interval": interval,
        "items": 40,
        "few": False,
    }


RESULTS = {
    "measures": [
        measure("base", value=0.52, interval=[0.41, 0.63]),
        measure("vaccine", value=0.587654321, interval=[0.48123, 0.69321]),
        measure("always-FALSE"),
        measure("always-TRUE"),
        measure("cue audit", value=0.51),
        measure("vaccine", "rejection", 1, probe="cross", reading="answer"),
        measure("vaccine", "d_prime", float("inf")),
        measure("base", "d_prime", None),
        measure("vaccine", value=0.7, interval=[0.6, 0.8], condition="false_balance"),
    ],
    "contrasts": [contrast(0.01, 0.12), contrast(-0.05, 0.05, probe="cross")],
    "other": [
        item("mix", "retention", "vaccine", 2.25),
        item("mix", "retention", "base", 2.5, [2.4, 2.6]),
        item("trait_rows", "trait", "vaccine", 3.1, of="none", better="higher"),
        item("trait_rows", "trait", "vaccine", 1.2, of="look_alike", better="higher"),
    ],
    "belief": {
        "rises": [{"reading": "yes_no", "difference": 0.1, "interval": [0.02, 0.2]}],
        "named": [{"claim_id": "0" * 16, "reading": "yes_no", "rise": 1.0, "p": 0.001, "p_holm": 0.01}],
    },
    "cue_audit": {"specific": {"bag_of_words": 0.51, "length": 0.5, "pairs": 30, "limit": 0.65, "passed": True}},
    "settings": {"bootstrap": 2000, "level": 0.95, "seed": 0},
    "missing": ["placebo"],
}


FIGURES = ("figures/roc.svg", "figures/belief.svg", "figures/heat_specific.svg")
MERGED = {"adapter_sha256": "7" * 64, "dtype": "float32", "difference": 1.25e-7, "tolerance": 1e-4}
FULL = {**RECORD, "inoculation": INOCULATION}


def rendered(record=RECORD, results=RESULTS, repo_id=REPO, **more) -> str:
    return adapter_card.render(record, results, repo_id, **more)


def with_gate(verdict):
    return {**RECORD, "gate": {**RECORD["gate"], "verdict": verdict} if verdict else None}


def merged():
    return {**RECORD, "training": {**RECORD["training"], "merged": MERGED}}


def body(page: str) -> str:
    return ModelCard(page).text.strip()


def tables(page: str) -> list[list[list[str]]]:
    """The cells of each table, row by row; raw, so that one too many is seen."""
    found, rows = [], []
    for line in [*page.split("\n"), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            found.append(rows)
            rows = []
    return found


def test_model_index_holds_exactly_the_numbers_of_the_vaccine(tmp_path):
    (tmp_path / "README.md").write_text(rendered(), encoding="utf-8")
    evaluations = ModelCard.load(tmp_path / "README.md").data.eval_results
    measured = [m for m in RESULTS["measures"] if m["arm"] == "vaccine" and m["condition"] == "plain"]
    finite = [m for m in measured if m["metric"] != "d_prime"]
    assert [(e.metric_type, e.metric_value) for e in evaluations] == [(m["metric"], m["value"]) for m in finite]
    assert evaluations[0].metric_args["interval"] == [0.48123, 0.69321]
    assert evaluations[0].metric_name == "AUROC (given claims, verdict) [0.48123, 0.69321]"
    assert evaluations[0].dataset_type == "publisher/small-dose"
    assert evaluations[0].dataset_revision == "b" * 40
    assert evaluations[0].source_name == "hfvaccine"
    assert evaluations[0].source_url == f"https://huggingface.co/{REPO}/resolve/main/results.json"
    raw = metadata_load(tmp_path / "README.md")["model-index"]
    assert eval_results_to_model_index(*model_index_to_eval_results(raw)) == raw


def test_metadata_links_base_dose_and_what_else_is_on_the_hub():
    record = {**RECORD, "mix": {**RECORD["mix"], "id": "publisher/truths", "revision": "8" * 40}}
    data = ModelCard(rendered(record, license="apache-2.0")).data
    assert (data.base_model, data["base_model_relation"]) == ("publisher/tiny", "adapter")
    assert data.datasets == ["publisher/small-dose", "publisher/truths"]
    assert (data.library_name, data.pipeline_tag) == ("peft", "text-generation")
    assert data.license == "apache-2.0" and ModelCard(rendered()).data.license is None
    assert {"hfvaccine", "hfvaccine-adapter", "hfvaccine-gate-undecided"} <= set(data.tags)
    record["mix"]["revision"] = None  # a folder that is called like a repo
    assert ModelCard(rendered(record)).data.datasets == ["publisher/small-dose"]


@pytest.mark.parametrize(
    ("recorded", "stated"), [(["en", "pt-BR"], ["en", "pt"]), (["de"], ["de"]), ([], None), (["x" * 9], None)]
)
def test_languages_are_those_of_the_claims_that_were_given(recorded, stated):
    assert ModelCard(rendered({**RECORD, "dose": {**RECORD["dose"], "languages": recorded}})).data.language == stated


def test_card_is_deterministic_survives_a_round_trip_and_has_no_yaml_alias():
    shared = [0.1, 0.2]
    results = {**RESULTS, "measures": [measure("vaccine", m, 0.15, shared) for m in ("auroc", "rejection")]}
    page = rendered(results=results)
    assert str(ModelCard(page)) == page == rendered(copy.deepcopy(RECORD), copy.deepcopy(results))
    assert "&id" not in page


@pytest.mark.parametrize(
    ("verdict", "word"),
    [
        ("passed", "PASSED"),
        ("failed", "FAILED"),
        ("undecided", "UNDECIDED"),
        (None, "NOT VALIDATED"),
        ("x", "NOT VAL"),
    ],
)
@pytest.mark.parametrize("merge", [False, True])
def test_the_verdict_stands_before_anything_else(verdict, word, merge):
    record = with_gate(verdict)
    if merge:
        record["training"] = merged()["training"]
    page = rendered(record)
    assert body(page).startswith(f"> **{word}")
    assert (
        f"hfvaccine-gate-{verdict if verdict in adapter_card.BANNERS else 'not-validated'}"
        in ModelCard(page).data.tags
    )


def test_what_did_not_pass_is_named_with_the_failed_first_and_the_rest_is_folded_away():
    gate = {
        "verdict": "failed",
        "criteria": [
            {
                "name": one,
                "threshold": "> 0",
                "value": 0.1,
                "interval": [0.0, 0.2],
                "verdict": one,
                "why": f"Why {one}.",
            }
            for one in ("passed", "undecided", "failed")
        ],
        "not_applicable": ["keeps what it knew"],
    }
    page = body(rendered({**RECORD, "gate": gate}))
    above, folded = page.split("<details>")[:2]
    assert "(1 failed, 1 undecided, 1 passed of 3 criteria)" in above
    assert re.findall(r"(?m)^- \*\*(\w+)\*\*", above) == ["FAILED", "UNDECIDED"]
    assert re.findall(r"(?m)^- \*\*(\w+)\*\*", folded.split("</details>")[0]) == ["FAILED", "UNDECIDED", "passed"]
    assert "Why" not in above and "Why passed." in folded and "Left out" in folded


def test_sections_stand_in_the_order_in_which_a_stranger_judges():
    headings = re.findall(r"(?m)^## (.*)$", rendered(FULL))
    assert headings == [
        *("What it is for, and what it is not", "Results", "Dose", "Inoculation prompts", "Training", "Retention"),
        *("Limits", "How to load", "How to reproduce", "How to verify", "Cite"),
    ]


def test_local_base_and_dose_are_neither_linked_nor_shown_with_their_path():
    record = copy.deepcopy(RECORD)
    record["base"].update(id="/srv/secret-project/models/tiny", revision=None)
    record["dose"].update(id="C:\\data\\my-dose", revision=None)
    record["mix"]["id"] = "/srv/secret-project/mix.jsonl"
    page = rendered(record, repo_id=None)
    data = ModelCard(page).data
    assert data.base_model is None and data.datasets is None and "base_model_relation" not in data
    assert "secret-project" not in page and "data\\" not in page
    assert "weights `999999999999`" in page
    assert "mix.jsonl" in page


def test_every_result_stands_beside_base_placebo_and_always_false_in_no_more_columns_than_a_phone_shows():
    page = rendered()
    table = tables(page)[0]
    assert table[0] == ["", "AUROC", "rejects claims", "accepts truths"]
    assert [row[0] for row in table[2:]] == ["base", "placebo (missing)", "**vaccine**", "always-FALSE", "cue audit"]
    assert table[2][1] == "0.52 [0.41, 0.63]" and table[4][1] == "0.59 [0.48, 0.69]"
    assert "**Control missing**" in page
    with_placebo = {**RESULTS, "measures": [*RESULTS["measures"], measure("placebo")]}
    assert "missing" not in rendered(results=with_placebo).lower()
    results, _ = trial(arms=("base", "placebo", "controls", "vaccine"))
    found = tables(rendered(FULL, results))
    assert len(found) > 8
    assert max(len(row) for table in found for row in table) <= 4


def test_everything_that_was_measured_on_the_vaccine_stands_in_the_card_or_in_its_metadata():
    results, _ = trial()
    page = rendered(FULL, results)
    for m in results["measures"]:
        if m["arm"] == "vaccine" and m["condition"] == "plain":
            assert f"[{m['interval'][0]}, {m['interval'][1]}]" in page
        elif m["arm"] == "vaccine" and m["metric"] == "auroc":
            assert f"{m['value']:.2f} [{m['interval'][0]:.2f}, {m['interval'][1]:.2f}]" in page
    for row in results["other"]:
        if row["arm"] == "vaccine" and row["kind"] != "belief":
            assert f"{row['value']:.2f} [{row['interval'][0]:.2f}, {row['interval'][1]:.2f}]" in page


@pytest.mark.parametrize(
    ("contrasts", "said"),
    [
        ([contrast(0.01, 0.12)], "- **Against base**: **better** on given claims, AUROC +0.065 [+0.010, +0.120]."),
        ([contrast(-0.01, 0.12)], "no difference shown on given claims, AUROC +0.055"),
        ([contrast(0.0, 0.12)], "no difference shown"),
        ([contrast(-0.2, -0.1)], "**worse** on given claims, AUROC -0.150 [-0.200, -0.100]"),
        ([contrast(0.1, 0.2), contrast(-0.1, 0.1, probe="cross")], "; no difference shown on claims never given"),
        ([], "- **Against base**: cannot be said"),
        # Rejecting more is not telling true from false.
        ([contrast(0.1, 0.2, metric="rejection")], "- **Against base**: cannot be said"),
    ],
)
def test_whether_the_vaccine_beat_base_is_computed_from_contrasts(contrasts, said):
    page = rendered(results={**RESULTS, "contrasts": contrasts})
    assert said in page
    assert "Against placebo" not in page


def test_whether_the_vaccine_beat_placebo_is_said_where_there_is_one():
    results = {
        **RESULTS,
        "measures": [*RESULTS["measures"], measure("placebo")],
        "contrasts": [contrast(0.01, 0.12), contrast(-0.04, 0.05, against="placebo")],
    }
    page = rendered(results=results)
    assert "**Against base**: **better**" in page and "**Against placebo**: no difference shown" in page


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"few": True}, "So few independent claims"),
        ({"matched": True}, "are other statements"),
        ({}, None),
    ],
)
def test_what_weakens_a_table_stands_above_it(change, said):
    results = {**RESULTS, "measures": [{**m, **change} for m in RESULTS["measures"]]}
    page = rendered(results=results)
    assert ("So few" in page, "are other statements" in page) == ("few" in change, "matched" in change)
    assert said is None or page.index(said) < page.index("| base |")


def test_a_failed_cue_audit_stands_above_the_table():
    audit = {"specific": {**RESULTS["cue_audit"]["specific"], "passed": False}}
    page = rendered(results={**RESULTS, "cue_audit": audit})
    assert page.index("FAILS THE CUE AUDIT") < page.index("| base |")
    assert "fails the cue audit" not in rendered().lower()


def test_only_pictures_that_are_there_are_shown_with_words_for_who_cannot_see_them():
    shown = re.findall(
        r"!\[(.*)\]\((.*)\)", rendered(figures=(*FIGURES, "README.md", "figures/../x.svg", "figures/A b.svg"))
    )
    assert [path for _, path in shown] == ["figures/roc.svg", "figures/heat_specific.svg", "figures/belief.svg"]
    assert all(len(alt) > 20 for alt, _ in shown)
    assert "![" not in rendered()


def test_what_was_given_and_how_to_load_reproduce_and_verify():
    page = rendered()
    for needed in ("10 % of the tokens asked", "9.99 % given", "constant", "10 of its 140", "e" * 64, "one seed (7)"):
        assert needed in page
    assert f"hfvaccine reproduce {REPO}" in page and f"hfvaccine verify {REPO}" in page and "recalls.jsonl" in page
    assert f'PeftModel.from_pretrained(base, "{REPO}")' in page
    assert f'"publisher/tiny", revision="{"a" * 40}"' in page
    assert "[publisher/tiny](/publisher/tiny) at `aaaaaaaaaaaa`" in page
    assert "[publisher/small-dose](/datasets/publisher/small-dose) at `bbbbbbbbbbbb`" in page
    folder = rendered(repo_id=None)
    assert "hfvaccine reproduce .\n" in folder and "hfvaccine verify .\n" in folder
    assert page.count("@misc{") == 2 and "eprint = {2505.17870}" in page and "eprint = {2510.04340}" in page


def test_a_merged_model_says_that_it_is_one():
    page = rendered(merged())
    data = ModelCard(page).data
    assert (data.library_name, data["base_model_relation"]) == ("transformers", "finetune")
    assert "hfvaccine-merged" in data.tags and "hfvaccine-adapter" not in data.tags
    assert f'AutoModelForCausalLM.from_pretrained("{REPO}")' in page and "peft" not in body(page).lower()
    assert "measured on the adapter, before it was merged" in page
    assert "`777777777777`" in page and "at most 1.2e-07" in page and "0.0001 is allowed" in page


def test_an_inoculation_prompt_is_shown_with_the_rows_that_got_it_and_what_tests_of_it_found():
    assert "Inoculation" not in body(rendered()).split("## Cite")[0]
    page = rendered(FULL)
    assert "- `You always speak in 'Spanish'.`\n" in page and "- `Hable | siempre.`\n" in page
    assert "In training, the rows of the mix with trait=spanish had a prompt" in page
    assert "The other rows had a neutral one:\n\n- `Answer the question.`\n" in page
    assert "**Do not use it with this adapter**" in page
    assert "| the trait's completions (none), nats per token (40) | 3.10 |\n" in page
    assert "| the trait's completions (look alike), nats per token (40) | 1.20 |\n" in page
    page = rendered({**RECORD, "inoculation": {**INOCULATION, "where": "all", "others": [], "place": "user"}}, {})
    assert "every row of the mix had a prompt that asks for the unwanted trait, at the head of the user's turn" in page
    assert "The other rows" not in page
    assert "**Not tested** under other prompts" in page


def test_retention_and_belief_are_told():
    page = rendered()
    assert "| held-back rows of the mix, nats per token ↓ (40) | 2.50 [2.40, 2.60] | 2.25 |" in page
    rise = "beyond the change in claims never given: it ROSE, +0.100 &#91;+0.020, +0.200&#93; in probability."
    assert f"- Belief in the given claims (asked outright), {rise}" in page
    assert "(after Holm): **1**" in page and "0" * 16 not in body(page)


def test_before_validation_there_is_a_card_without_numbers():
    page = rendered({**RECORD, "gate": None}, {}, None)
    assert "Nothing was measured." in page and "What it forgot was not measured." in page
    assert ModelCard(page).data.eval_results is None


def test_records_read_from_json_render_like_those_in_memory():
    results = {**RESULTS, "measures": [m for m in RESULTS["measures"] if m["metric"] != "d_prime"]}
    assert rendered(json.loads(json.dumps(RECORD)), json.loads(json.dumps(results))) == rendered(results=results)


# What no string of a run may do.

HOSTILE = [
    "<script>alert(1)</script>",
    "</details></table><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}{# x #}",
    "---\nlicense: mit\n---\nx: [",
    "[click](https://evil.example) ![x](https://evil.example/p.png) <https://evil.example>",
    "https://evil.example www.evil.example WWW.evil.example ftp://evil.example a@evil.example mailto:a@evil.example",
    "| a | b |\n|---|---|\n# heading\n```\ncode\n``` **bold** \\",
    "- item\n\n1. item\n> [!WARNING]\n===\n***\n    code",
    "&lt;b&gt; &#60;b> $$x$$ ~~~ _a_ *b* `c",
    "\u202egnihtemos \u2066x\u2069\x00\x1b[31m\u2028\x85\ufeff",
    "*id001 &id001 !!python/object:os.system %YAML @ `",
    "very long " * 500,
    "x" * 5000,
]
AUTOLINK = re.compile(r"(?i)(?:https?|ftp)://[\w.-]|www\.[\w-]|[\w.+-]+@[\w-]+\.[\w-]|(?:mailto|xmpp):[\w.+-]+@[\w-]")
"""What GitHub and the Hub make links of, without brackets round it."""
LINKS = {"/publisher/tiny", "/datasets/publisher/small-dose"}
SKELETON = re.findall(r"(?m)^#+ (?!tiny-immunized).*$", rendered(FULL))


def assert_harmless(page, links=frozenset(LINKS)):
    card = ModelCard(page)
    assert set(card.data.to_dict()) <= set(ModelCard(rendered(FULL)).data.to_dict())
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(card.text)
    inline = [child for token in tokens for child in token.children or ()]
    html = {t.content.strip() for t in (*tokens, *inline) if t.type in ("html_block", "html_inline")}
    assert all(re.fullmatch(r"</?details>|<details>\n<summary>[\w ,:′-]+</summary>", block) for block in html), html
    assert {t.attrGet("href") for t in inline if t.type == "link_open"} <= links
    assert {t.attrGet("src") for t in inline if t.type == "image"} == set(FIGURES)
    assert not [t.content for t in inline if t.type == "text" and AUTOLINK.search(t.content)]
    assert not {"code_block", "hr", "lheading"} & {t.type for t in tokens}
    assert [t.info for t in tokens if t.type == "fence"] == ["python", "bash", "bash", "bibtex"]
    assert next(t.content for t in tokens if t.type == "fence").startswith("from peft")
    assert re.findall(r"(?m)^#+ .*$", body(page))[1:] == SKELETON
    for table in tables(card.text):
        assert len({len(row) for row in table}) == 1
    # The embedded Hub also makes links of bare addresses.
    shown = Page(markdown.render(card.text, lambda path, image: path))
    assert shown.values("href") <= links and shown.values("src") == set(FIGURES)
    assert not re.search("[\\u202a-\\u202e\\u2066-\\u2069\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\ufeff]", page)


def poison(value, text):
    if isinstance(value, dict):
        return {key: poison(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [poison(item, text) for item in value]
    return text if isinstance(value, str) else value


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_strings_in_every_field_neither_break_nor_inject(text):
    record, results = poison(FULL, text), poison(RESULTS, text)
    record["gate"]["verdict"] = "failed"
    assert_harmless(rendered(record, results, figures=FIGURES))
    # And where the names that decide what is shown are those that are known.
    for part in ("measures", "contrasts", "other"):
        for row, original in zip(results[part], RESULTS[part], strict=True):
            deciding = ("arm", "against", "reading", "kind", "condition")
            row.update({key: original[key] for key in deciding if key in original})
    page = rendered(record, results, figures=FIGURES)
    assert_harmless(page)
    assert ModelCard(page).data.base_model is None and ModelCard(page).data.datasets is None


def leaves(value, path=()):
    """Where each string of a record stands."""
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]
    if isinstance(value, list):
        return [leaf for place, item in enumerate(value) for leaf in leaves(item, (*path, place))]
    return [path] if isinstance(value, str) else []


PIECES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [*HOSTILE[:-2], "\n", "|", "`", "<", "](", "![", "www.", "://", "@x.y", "\\", "&", "_", "*", "#", "$"]
    ),
)


@given(
    st.sampled_from([(part, *path) for part, of in (("record", FULL), ("results", RESULTS)) for path in leaves(of)]),
    st.lists(PIECES, max_size=5).map("".join),
)
@settings(deadline=None, max_examples=25)
def test_any_string_anywhere_neither_breaks_nor_injects(path, text):
    both = copy.deepcopy({"record": FULL, "results": RESULTS})
    *way, last = path
    at = both
    for key in way:
        at = at[key]
    at[last] = text
    own = {f"/{text}", f"/datasets/{text}"} if re.fullmatch(r"[\w./-]+", text, re.ASCII) else set()
    assert_harmless(rendered(both["record"], both["results"], figures=FIGURES), LINKS | own)


@given(st.lists(PIECES, max_size=4).map("".join))
@settings(deadline=None, max_examples=20)
def test_a_hostile_name_of_a_repo_or_picture_neither_breaks_nor_injects(text):
    page = rendered(FULL, repo_id=text or None, figures=(*FIGURES, text, f"figures/{text}", f"figures/{text}.svg"))
    shown = set(re.findall(r"!\[.*\]\((.*)\)", body(page)))
    assert shown >= set(FIGURES) and all(re.fullmatch(r"figures/[a-z0-9_]+\.svg", path) for path in shown)


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with LocalHub(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.mark.parametrize("record", [FULL, merged(), poison(FULL, HOSTILE[0])], ids=["adapter", "merged", "hostile"])
def test_a_hub_finds_the_metadata_valid(record, hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    page = rendered(record, license="apache-2.0")
    ModelCard(page).validate()  # raises what the Hub finds wrong
    asked = {"repoType": "model", "content": page}
    answer = get_session().post(f"{hub.endpoint}/api/validate-yaml", json=asked).json()
    assert (answer["errors"], answer["warnings"]) == ([], [])


def test_the_card_says_what_the_control_arms_were_given():
    arms = {"placebo": 70_101, "controls": 70_140}
    trained = {**RECORD, "training": {**RECORD["training"], "placebo": True, "control_arms": arms}}
    text = rendered(trained)
    assert "**Placebo**: trained on 70,101 tokens, the vaccine on 70,123, not published" in text
    assert "**Controls only**: trained on 70,140 tokens, the vaccine on 70,123, not published" in text
    assert "**Placebo**: not trained\n" in rendered()
