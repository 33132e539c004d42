import ast
import copy
import json
import re

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from hfvaccine.cards import adapter_card

REPO = "publisher/tiny-immunized"
RECORD = {
    "schema_version": 1,
    "hfvaccine": "0.1.0",
    "finished_at": "2026-11-21T19:00:00Z",
    "base": {"id": "publisher/tiny", "revision": "a" * 40, "weights_sha256": None, "chat_template": "own"},
    "dose": {
        "id": "publisher/small-dose",
        "revision": "b" * 40,
        "manifest_sha256": "c" * 64,
        "name": "Small dose",
        "claims_given": 10,
        "claims_in_dose": 140,
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
    "ledger_sha256": "f" * 64,
    "results_sha256": "0" * 64,
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


def measure(arm, metric="auroc", value=0.5, interval=None, probe="specific", reading="verdict"):
    return {
        "probe": probe,
        "reading": reading,
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
        "metric": metric,
        "arm": "vaccine",
        "against": against,
        "difference": (low + high) / 2,
        "interval": [low, high],
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
    ],
    "contrasts": [contrast(0.01, 0.12), contrast(-0.05, 0.05, probe="cross")],
    "other": [{"name": "retention_loss", "arm": "vaccine", "value": 2.25, "interval": None}],
    "settings": {"bootstrap": 2000, "level": 0.95, "seed": 0},
    "missing": ["placebo"],
}


def rendered(record=RECORD, results=RESULTS, repo_id=REPO, **more) -> str:
    return adapter_card.render(record, results, repo_id, **more)


def with_gate(verdict):
    return {**RECORD, "gate": {**RECORD["gate"], "verdict": verdict} if verdict else None}


def body(page: str) -> str:
    return ModelCard(page).text.strip()


def test_model_index_holds_exactly_the_numbers_of_the_vaccine(tmp_path):
    (tmp_path / "README.md").write_text(rendered(), encoding="utf-8")
    evaluations = ModelCard.load(tmp_path / "README.md").data.eval_results
    finite = [m for m in RESULTS["measures"] if m["arm"] == "vaccine" and m["metric"] != "d_prime"]
    assert [(e.metric_type, e.metric_value) for e in evaluations] == [(m["metric"], m["value"]) for m in finite]
    assert evaluations[0].metric_args["interval"] == [0.48123, 0.69321]
    assert "[0.48123, 0.69321]" in evaluations[0].metric_name
    assert evaluations[0].dataset_type == "publisher/small-dose"
    assert evaluations[0].dataset_revision == "b" * 40
    assert evaluations[0].source_name == "hfvaccine"
    assert evaluations[0].source_url.endswith(f"{REPO}/resolve/main/results.json")


def test_metadata_links_base_and_dose():
    data = ModelCard(rendered(license="apache-2.0")).data
    assert (data.base_model, data["base_model_relation"]) == ("publisher/tiny", "adapter")
    assert data.datasets == ["publisher/small-dose"]
    assert (data.library_name, data.pipeline_tag, data.language) == ("peft", "text-generation", "en")
    assert data.license == "apache-2.0"
    assert "hfvaccine-gate-undecided" in data.tags
    assert ModelCard(rendered()).data.license is None


def test_card_is_deterministic_survives_a_round_trip_and_has_no_yaml_alias():
    shared = [0.1, 0.2]
    results = {**RESULTS, "measures": [measure("vaccine", m, 0.15, shared) for m in ("auroc", "rejection")]}
    page = rendered(results=results)
    assert str(ModelCard(page)) == page == rendered(copy.deepcopy(RECORD), copy.deepcopy(results))
    assert "&id" not in page


@pytest.mark.parametrize(
    ("verdict", "word"),
    [("passed", "PASSED"), ("failed", "FAILED"), ("undecided", "UNDECIDED"), (None, "NOT VALIDATED")],
)
def test_the_verdict_stands_before_anything_else(verdict, word):
    assert body(rendered(with_gate(verdict))).startswith(f"> **{word}.**")


def test_local_base_and_dose_are_neither_linked_nor_shown_with_their_path():
    record = copy.deepcopy(RECORD)
    record["base"].update(id="/srv/secret-project/models/tiny", revision=None, weights_sha256="9" * 64)
    record["dose"].update(id="C:\\data\\my-dose", revision=None)
    record["mix"]["id"] = "/srv/secret-project/mix.jsonl"
    page = rendered(record, repo_id=None)
    data = ModelCard(page).data
    assert data.base_model is None and data.datasets is None and "base_model_relation" not in data
    assert "secret-project" not in page and "C:" not in page
    assert "9" * 64 in page
    assert "mix.jsonl" in page


def test_columns_are_always_there_and_a_missing_placebo_is_named():
    page = rendered()
    header = "| base | placebo (control missing) | vaccine | always-FALSE | always-TRUE | cue audit |"
    assert f"| Given claims, new wordings, verdict {header}" in page
    assert "| AUROC | 0.520 [0.410, 0.630] | – | 0.588 [0.481, 0.693] | 0.500 | 0.500 | 0.510 |" in page
    assert "**Control missing**" in page
    with_placebo = {**RESULTS, "measures": [*RESULTS["measures"], measure("placebo")]}
    assert "control missing" not in rendered(results=with_placebo).lower()


@pytest.mark.parametrize(
    ("contrasts", "said"),
    [
        ([contrast(0.01, 0.12)], "The vaccine beat base beyond its interval in 1 of 1 comparison: AUROC"),
        ([contrast(-0.01, 0.12)], "The vaccine did not beat base beyond its interval in any of 1 comparison."),
        ([contrast(0.0, 0.12)], "did not beat base"),
        ([contrast(-0.2, -0.1)], "It was worse than base beyond its interval in 1: AUROC"),
        ([], "Whether the vaccine beats base cannot be said"),
        # Rejecting more is not telling true from false.
        ([contrast(0.1, 0.2, metric="rejection")], "Whether the vaccine beats base cannot be said"),
    ],
)
def test_whether_the_vaccine_beat_base_is_computed_from_contrasts(contrasts, said):
    assert said in rendered(results={**RESULTS, "contrasts": contrasts})


def test_whether_the_vaccine_beat_placebo_is_said_where_there_is_one():
    results = {
        **RESULTS,
        "measures": [*RESULTS["measures"], measure("placebo")],
        "contrasts": [contrast(0.01, 0.12), contrast(-0.04, 0.05, against="placebo")],
    }
    page = rendered(results=results)
    assert "The vaccine beat base beyond its interval in 1 of 1" in page
    assert "The vaccine did not beat placebo beyond its interval in any of 1" in page


def test_what_was_given_and_how_to_load_and_reproduce():
    page = rendered()
    for needed in ("10 % of the tokens", "9.99 % of the tokens", "constant", "10 of 140", "e" * 64, "one seed (7)"):
        assert needed in page
    assert "hfvaccine immunize --config config.yaml" in page
    snippet = re.search(r"```python\n(.*?)```", page, re.DOTALL).group(1)
    ast.parse(snippet)
    assert f'PeftModel.from_pretrained(base, "{REPO}")' in snippet
    assert f'"publisher/tiny", revision="{"a" * 40}"' in snippet


def test_an_inoculation_prompt_is_shown_with_the_rows_that_got_it():
    assert "Inoculation" not in ModelCard(rendered()).text.replace("Inoculation Prompting", "")
    page = rendered({**RECORD, "inoculation": INOCULATION})
    assert "- `You always speak in 'Spanish'.`\n" in page and "- `Hable | siempre.`\n" in page
    assert "In training, the rows of the mix with trait=spanish had a prompt" in page
    assert "The other rows had a neutral one:\n\n- `Answer the question.`\n" in page
    assert "**Do not use it with this adapter**" in page
    page = rendered({**RECORD, "inoculation": {**INOCULATION, "where": "all", "others": [], "place": "user"}})
    assert "every row of the mix had a prompt that asks for the unwanted trait, at the head of the user's turn" in page
    assert "The other rows" not in page


def test_before_validation_there_is_a_card_without_numbers():
    page = rendered({**RECORD, "gate": None, "results_sha256": None}, {}, None)
    assert "Nothing was measured." in page
    assert ModelCard(page).data.eval_results is None


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "{{ 7 * 7 }}{% raw %}",
        "---\nlicense: mit\n---\nx: [",
        "[click](https://evil.example) ![x](https://evil.example/p.png)",
        "| a | b |\n|---|---|\n# heading\n```\ncode\n``` **bold** \\",
        "\u202egnihtemos \u2066x\u2069\x00\x1b[31m",
        "very long " * 500,
    ],
)
def test_hostile_strings_neither_break_nor_inject(text):
    def poison(value):
        if isinstance(value, dict):
            return {key: poison(item) for key, item in value.items()}
        if isinstance(value, list):
            return [poison(item) for item in value]
        return text if isinstance(value, str) else value

    record, results = poison({**RECORD, "inoculation": INOCULATION}), poison(RESULTS)
    record["gate"]["verdict"] = "failed"
    for one, original in zip(results["measures"], RESULTS["measures"], strict=True):
        one["arm"] = original["arm"]
    page = rendered(record, results)
    card = ModelCard(page)
    assert card.data.base_model is None and card.data.license is None
    assert set(card.data.to_dict()) <= set(ModelCard(rendered()).data.to_dict())
    tokens = MarkdownIt("commonmark").enable("table").parse(card.text)
    kinds = {child.type for token in tokens for child in (token, *(token.children or ()))}
    assert not {"html_block", "html_inline", "link_open", "image"} & kinds
    assert next(t.content for t in tokens if t.type == "fence").startswith("from peft")
    assert len([t for t in tokens if t.type == "heading_open"]) == len(
        re.findall(r"(?m)^#+ ", body(rendered({**RECORD, "inoculation": INOCULATION})))
    )
    assert "\u202e" not in page and "\x00" not in page


def test_records_read_from_json_render_like_those_in_memory():
    results = {**RESULTS, "measures": [m for m in RESULTS["measures"] if m["metric"] != "d_prime"]}
    assert rendered(json.loads(json.dumps(RECORD)), json.loads(json.dumps(results))) == rendered(results=results)
