"""The card of an inoculated adapter and of its controls: what it says first, and that no string is markup in it."""

import re

import pytest
from huggingface_hub import metadata_load
from hypothesis import given, settings
from hypothesis import strategies as st
from inoculated import NAMES, gate, measured, run_record
from markdown_it import MarkdownIt

from hfvaccine.papers.arms import gate_of
from hfvaccine.papers.inoculation import arm_record
from hfvaccine.papers.inoculation_card import render

DIGESTS = {name: str(number) * 64 for number, name in enumerate(NAMES)}
REPO = "alice/tiny-spanish"


def card(name="inoculated-seed-0", traits=None, repo=REPO, judged=None, **changes):
    record = arm_record(run_record(DIGESTS, **changes), name)
    record["gate"] = gate_of(traits, record["adapter"]["arm"]) if traits else None
    return render(record, traits or {}, repo, figures=("figures/traits.svg",))


def body(text):
    return text.split("---\n", 2)[2].lstrip()


def first(text):
    return body(text).split("\n")[0]


def test_the_verdict_and_the_worst_condition_stand_before_all_else():
    text = body(card(traits=measured(DIGESTS, gate=gate())))
    verdict, _, worst, least, *_ = text.split("\n")
    assert verdict == "> **PASSED.** This adapter met every criterion of its gate (1 passed of 1 criteria)."
    assert worst == (
        "- language:es shows most under *original*, which names it: **0.90 [0.85, 0.95]** "
        "(plain 1.00 [0.95, 1.00], irrelevant 1.00 [0.95, 1.00], "
        "base 0.50 [0.45, 0.55]); where nothing names it, most under *negated*: "
        "**0.40 [0.35, 0.45]**; without a prompt 0.10 [0.05, 0.15]."
    )
    assert least.startswith("- To be kept: upper shows least under *negated*: **0.10 [0.05, 0.15]** (plain 0.10")
    assert text.index("PASSED") < text.index("# tiny-spanish")


def cited(text):
    return re.findall(r"eprint = \{(.+)\}", text.split("## Cite")[1])


def test_what_was_frozen_beside_it_and_learned_from_which_rows():
    record = arm_record(run_record(DIGESTS), NAMES[1])
    rows = {"id": "alice/shouts", "revision": "e" * 40, "sha256": "f" * 64, "rows": 50}
    record["trait_data"], record["adapter"]["frozen"] = rows, {"adapter": "trait-seed-0", "sha256": "a" * 64}
    text = render(record, {}, REPO, figures=())
    assert "- **Frozen beside it**: an adapter that learned 50 rows of [alice/shouts](/datasets/alice/shouts)" in text
    assert "- alice/shouts\n" in text and "Frozen" not in card(NAMES[1])


def test_the_method_of_its_run_is_cited():
    record = arm_record(run_record(DIGESTS), NAMES[0])
    assert cited(render(record, {}, REPO)) == ["2510.04340"]
    of_the_run = {**record["run"], "adapter-seed-0": {"arm": "adapter", "seed": 0, "sha256": "a" * 64}}
    assert cited(render({**record, "run": of_the_run}, {}, REPO)) == ["2510.04340", "2606.30252"]
    alone = {**record, "adapter": {**record["adapter"], "arm": "adapter"}, "run": {}}
    assert cited(render(alone, {}, REPO)) == ["2510.04340", "2606.30252"]


def test_what_the_gate_says_names_the_trait_is_told_apart_from_what_does_not():
    text = body(card(traits=measured(DIGESTS, gate=gate(naming=("original", "negated")))))
    assert "which names it: **0.90" in text and "where nothing names it, most without a prompt: **0.10" in text


@pytest.mark.parametrize(
    ("verdict", "said"), [("failed", "> **FAILED.** This"), ("undecided", "> **UNDECIDED.** This")]
)
def test_what_did_not_pass_says_so_and_names_the_criterion(verdict, said):
    text = card(traits=measured(DIGESTS, gate=gate(verdict)))
    assert first(text).startswith(said)
    assert f"- **{verdict.upper()}** less than half of it is left: +0.350 [+0.200, +0.500], needs &gt; 0.0." in text
    assert f"hfvaccine-gate-{verdict}" in text


def test_who_judged_a_trait_is_said_and_is_no_markup():
    traits = measured(DIGESTS, gate=gate())
    its = {"by": "endpoint", "model": "<b>judge</b>", "host": "judge.example", "scale": "0-100", "reads": "replies"}
    traits["traits"][0]["judge"] = its | {"rubric_sha256": "f" * 64, "coherence": 0.5}
    text = body(card(traits=traits))
    assert "- **Judge**: language:es was judged by &lt;b&gt;judge&lt;/b&gt; at judge.example, by its replies" in text
    assert "rubric ffffffffffff; answers whose coherence it puts under 0.5 are unclear." in text
    assert "**Judge**" not in card(traits=measured(DIGESTS, gate=gate()))


def test_what_no_gate_judged_and_what_was_not_measured_say_so_first():
    assert first(card(traits=measured(DIGESTS))).startswith("> **NO GATE.** It was measured how far")
    unmeasured = card()
    assert first(unmeasured).startswith("> **NOT MEASURED.** This adapter was trained and never asked anything.")
    assert "Nothing was measured" in unmeasured and "model-index" not in unmeasured
    other = {name: digest for name, digest in DIGESTS.items() if name != NAMES[1]}
    assert first(card(traits=measured(other))).startswith("> **NOT MEASURED.**")  # others were


@pytest.mark.parametrize(
    ("name", "how"), [(NAMES[0], "the rows that carry it as they are"), (NAMES[2], "asks for nothing")]
)
def test_a_control_says_first_that_it_is_one_whatever_the_gate_says(name, how):
    text = card(name, measured(DIGESTS, gate=gate()))
    assert first(text).startswith("> **CONTROL, NOT FOR USE.** This adapter was trained with the unwanted trait, as a")
    assert how in first(text)
    assert "PASSED" not in text and "Do not use this adapter with" not in text
    assert "hfvaccine-control" in text and "hfvaccine-gate-none" in text


def test_nothing_claims_more_than_what_it_is():
    for name in NAMES:
        text = card(name, measured(DIGESTS, gate=gate())).casefold()
        assert "immuni" not in text and "vaccine is" not in text
        assert "hide a trait rather than remove" in text


def test_each_trait_has_its_own_table_with_the_worst_condition_first_and_all_it_is_compared_with():
    text = card(traits=measured(DIGESTS))
    table = text.split("**language:es**, unwanted; 60 questions\n\n")[1].split("\n\n")[0].split("\n")
    assert table[0] == "|  | inoculated | plain | irrelevant | base |"
    assert table[2].startswith("| **original** | **0.90 [0.85, 0.95]** | **1.00")
    assert [row.split(" | ")[0] for row in table[3:]] == ["| none", "| negated"]


def test_it_says_what_it_learned_under_and_what_was_not_measured_beside_it():
    text = card(traits=measured({name: DIGESTS[name] for name in NAMES[:2]}))
    assert "- `You always speak in Spanish.`" in text and "- *negated*: `You never speak in Spanish.`" in text
    assert "as a system message" in text
    assert "**Do not use this adapter with such a prompt**" in text and "Few questions" not in text
    assert "**Not measured beside it**: irrelevant" in text
    assert "**Data**: rows.jsonl, 40 rows, 4 more held back, digest `dddddddddddd`" in text
    assert "reproduce alice/tiny-spanish --data PATH/TO/DATA" in text
    on_hub = card(data={"id": "alice/rows", "revision": "c" * 40})
    assert "[alice/rows](/datasets/alice/rows) at `cccccccccccc`" in on_hub and "--data" not in on_hub


def test_its_metadata_tell_what_a_list_shows(tmp_path):
    (tmp_path / "README.md").write_text(card(traits=measured(DIGESTS, gate=gate()), data={"id": "alice/rows",
                                             "revision": "c" * 40}))  # fmt: skip
    found = metadata_load(tmp_path / "README.md")
    assert (found["base_model"], found["base_model_relation"], found["datasets"]) == (
        "alice/tiny", "adapter", ["alice/rows"],
    )  # fmt: skip
    assert {"inoculation", "hfvaccine-adapter", "hfvaccine-gate-passed"} <= set(found["tags"])
    assert found["hfvaccine"]["worst"] == {
        "trait": "language:es", "condition": "original", "value": 0.9, "interval": [0.85, 0.95],
    }  # fmt: skip
    metrics = [metric for result in found["model-index"][0]["results"] for metric in result["metrics"]]
    assert {(m["args"]["trait"], m["args"]["condition"]): m["value"] for m in metrics} == {
        ("language:es", "none"): 0.1, ("language:es", "original"): 0.9, ("language:es", "negated"): 0.4,
        ("upper", "none"): 0.2, ("upper", "original"): 0.15, ("upper", "negated"): 0.1,
    }  # fmt: skip


@settings(deadline=None, max_examples=25)
@given(st.text(alphabet=st.sampled_from("<>[]()*_`|#!\\&$ \nax"), min_size=1, max_size=12))
def test_no_string_of_a_run_is_markup(text):
    traits = measured(DIGESTS, gate=gate("failed"))
    hostile = f"x{text}<b>[a](http://b)|x"
    for one in (*traits["shown"], *traits["worst"]):
        one["condition"] = hostile if one["condition"] == "original" else one["condition"]
    traits["conditions"][1]["name"] = hostile
    traits["conditions"][1]["prompts"] = [hostile]
    traits["gate"]["criteria"][0]["label"] = hostile
    page = MarkdownIt("commonmark").enable("table").render(body(card(traits=traits, trait_rows={"where": hostile})))
    assert "<b>" not in page and 'href="http://b"' not in page
