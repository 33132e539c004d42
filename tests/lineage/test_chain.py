"""Every link of the chain: what is changed is found, and named where it belongs."""

import copy
import dataclasses
import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hfvaccine.errors import PlanError
from hfvaccine.files import (  # fmt: skip
    ADAPTER,
    ADAPTER_CONFIG,
    CARD,
    CONFIG,
    LEDGER,
    RECORD,
    RESULTS,
    SCORES,
    combined,
)
from hfvaccine.lineage.chain import check
from hfvaccine.lineage.links import BROKEN, MISSING, OK, Lack, summary
from hfvaccine.papers.binding import bind
from hfvaccine.papers.card import render
from hfvaccine.quarantine.recalls import say
from hfvaccine.regimen.ledger import read_ledger
from lineage.chains import broken, notices, rebind, record_of, states, why

LINKS = {
    *("record", "results", "adapter", "ledger", "plan", "dose", "reviewers", "claims", "mix", "base", "code", "card"),
}
OWNERS = {RESULTS: "results", SCORES: "results", LEDGER: "ledger", CARD: "card", CONFIG: "plan"}


def names_in(folder):
    return tuple(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def look(gathered):
    """Checks a folder; `changes` are to what it is held against."""

    def look(folder, record=None, **changes):
        evidence = dataclasses.replace(gathered, folder=folder, names=names_in(folder), **changes)
        return check(record or record_of(folder), evidence)

    return look


def test_every_link_of_a_finished_run_holds(look, made):
    chain = look(made)
    assert states(chain) == dict.fromkeys(LINKS, OK)
    assert (chain.state, chain.what) == (OK, "all 12 links hold")
    assert "report.html" in why(chain, "record")


def test_what_a_link_stands_on_is_below_it(look, made):
    chain = look(made)
    path, link = [], next(link for link in chain.below if link.name == "results")
    while link is not None:
        path.append(link.name)
        link = next((below for below in link.below if below.name != "mix"), None)
    assert path == ["results", "adapter", "ledger", "plan", "dose", "reviewers", "claims"]


def test_no_claim_stands_in_the_chain(look, made, make_claims):
    shown = json.dumps(look(made).as_dict())
    assert not [claim for claim in make_claims(12) if claim.claim in shown or claim.correction in shown]


def bound_files(made):
    return sorted(record_of(made)["files"])


def test_a_flipped_bit_of_any_bound_file_breaks_the_link_that_it_belongs_to(look, run, made):
    assert {ADAPTER, ADAPTER_CONFIG, "tokenizer.json", *OWNERS} <= set(bound_files(made))
    for name in bound_files(made):
        whole = (run / name).read_bytes()
        for place in {0, len(whole) // 2, len(whole) - 1}:
            (run / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            chain = look(run)
            owner = "results" if name.startswith("figures/") else OWNERS.get(name, "adapter")
            assert owner in broken(chain), (name, place)
            assert f"{name} was changed" in why(chain, owner)
            assert chain.state == BROKEN
        (run / name).write_bytes(whole)
    assert look(run).state == OK


def test_a_bound_file_that_is_gone_breaks_its_link(look, run, made):
    for name in bound_files(made):
        (run / name).rename(run / "hidden")
        chain = look(run)
        owner = "results" if name.startswith("figures/") else OWNERS.get(name, "adapter")
        assert owner in broken(chain), name
        assert f"{name} is gone" in why(chain, owner)
        (run / "hidden").rename(run / name)


@pytest.mark.parametrize("name", [ADAPTER, ADAPTER_CONFIG, CARD, CONFIG, LEDGER, RESULTS])
def test_a_record_that_binds_less_than_it_must_is_broken(look, run, name):
    record = record_of(run)
    files = {other: digest for other, digest in record["files"].items() if other != name}
    chain = look(run, bind(record, files))
    assert broken(chain) == {OWNERS.get(name, "adapter")}
    assert f"does not bind {name}" in why(chain, OWNERS.get(name, "adapter"))


@pytest.mark.parametrize(
    "name",
    [
        "adapter_model.bin", "pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.safetensors",
        "model-00001-of-00002.safetensors", "config.json", "special_tokens_map.json", "tokenizer.model",
        "modeling_mine.py", "additional_chat_templates/tool.jinja",
    ],
)  # fmt: skip
def test_a_further_file_that_would_be_loaded_breaks_the_adapter(look, run, name):
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_bytes(b"other")
    chain = look(run)
    assert broken(chain) == {"adapter"}
    assert name in why(chain, "adapter")


def test_weights_that_peft_would_not_load_are_broken_even_when_bound(look, run):
    (run / "model.safetensors").write_bytes(b"other")
    record = record_of(run)
    assert broken(look(run, bind(record, {**record["files"], "model.safetensors": "0" * 64}))) == {"adapter"}


def test_other_files_are_only_said(look, run):
    (run / "notes.txt").write_text("mine")
    (run / "placebo").mkdir()
    (run / "placebo" / ADAPTER).write_bytes(b"another arm")
    chain = look(run)
    assert chain.state == OK
    assert why(chain, "record") == "not bound by it: notes.txt, placebo/, report.html"


def test_a_flipped_bit_of_the_record_is_found_wherever_it_is(look, run):
    whole = (run / RECORD).read_bytes()
    for place in range(0, len(whole), 97):
        (run / RECORD).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            record = record_of(run)
        except ValueError:
            continue  # no JSON any more: `papers` refuses it
        assert look(run, record).state == BROKEN, place


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("  ", "\t", 1),
        lambda text: text + "\n",
        lambda text: text.replace("{", '{"gate": {"verdict": "passed"},', 1),
    ],
    ids=["white space", "a line", "a key twice"],
)
def test_a_record_that_says_the_same_in_other_bytes_is_broken(look, run, change):
    (run / RECORD).write_text(change((run / RECORD).read_text()))
    chain = look(run)
    assert broken(chain) == {"record"}
    assert "not written as it was" in why(chain, "record")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "figures/../../x.svg", RECORD, "notes.txt"])
def test_a_record_that_reaches_beyond_its_folder_is_broken(look, run, name):
    record = record_of(run)
    chain = look(run, bind(record, {**record["files"], name: "0" * 64}))
    assert broken(chain) == {"record"}
    assert name in why(chain, "record")


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_change_of_the_record_is_found(gathered, made, data):
    record = record_of(made)
    part, key = copy.deepcopy(record), None
    here = part
    while isinstance(here, dict) and here:
        above, key = here, data.draw(st.sampled_from(sorted(here)))
        here = here[key]
    change = data.draw(st.sampled_from(["drop", "number", "text", "none"]))
    new = {"number": 17, "text": "another", "none": None}.get(change)
    if change == "drop":
        del above[key]
    elif above[key] == new:
        return
    else:
        above[key] = new
    evidence = dataclasses.replace(gathered, names=names_in(made))
    if part.get("schema_version") == record["schema_version"]:
        assert "record" in broken(check(part, evidence))
    assert check(part, evidence).state == BROKEN


# Where every digest fits again: what the parts say of each other must find it.


def rewrite(folder, column, row, value):
    table = pq.read_table(folder / LEDGER)
    cells = table[column].to_pylist()
    cells[row] = value(cells[row]) if callable(value) else value
    place = table.column_names.index(column)
    pq.write_table(table.set_column(place, column, pa.array(cells, table.schema.field(column).type)), folder / LEDGER)


@pytest.mark.parametrize("column", ["position", "step", "kind", "row", "claim_id", "form", "control", "tokens",
                                    "supervised", "checksum"])  # fmt: skip
def test_one_changed_cell_of_any_ledger_row_is_found_though_every_digest_fits(look, run, made, column):
    kinds = pq.read_table(made / LEDGER)["kind"].to_pylist()
    whole = (run / LEDGER).read_bytes()
    for row in (kinds.index("mix"), kinds.index("dose"), kinds.index("control"), len(kinds) - 1):
        change = {
            "kind": lambda kind: "mix" if kind == "dose" else "dose",
            "claim_id": lambda name: next(i for i in record_of(made)["dose"]["claim_ids"] if i != name),
            "form": "another",
            "control": "another",
        }.get(column, lambda number: number + 1)
        rewrite(run, column, row, change)
        rebind(run)
        assert broken(look(run)) == {"ledger"}, row
        (run / LEDGER).write_bytes(whole)
    rebind(run)
    assert look(run).state == OK


def test_without_the_dose_a_changed_claim_is_found_where_the_ledger_contradicts_itself(look, run, made):
    lacking = Lack(MISSING, "no access")
    rewrite(run, "claim_id", pq.read_table(made / LEDGER)["kind"].to_pylist().index("dose"), "0" * 16)
    rebind(run)
    chain = look(run, dose=lacking)
    assert broken(chain) == {"ledger"}
    assert "in it or in the record alone" in why(chain, "ledger")


def test_rows_taken_out_added_or_turned_round_are_found_though_every_digest_fits(look, run):
    whole = (run / LEDGER).read_bytes()
    table = pq.read_table(run / LEDGER)
    backwards = table.take(list(reversed(range(len(table)))))
    for other in (table[:-1], pa.concat_tables([table, table[-1:]]), backwards):
        pq.write_table(other.replace_schema_metadata(table.schema.metadata), run / LEDGER)
        rebind(run)
        assert broken(look(run)) == {"ledger"}
    (run / LEDGER).write_bytes(whole)


def test_a_ledger_with_a_further_column_is_none(run):
    table = pq.read_table(run / LEDGER)
    pq.write_table(table.append_column("text", pa.array(["x"] * len(table))), run / LEDGER)
    with pytest.raises(PlanError, match="column 'text'"):
        read_ledger(run / LEDGER)


def set_at(record, path, value):
    *above, key = path.split(".")
    for name in above:
        record = record[name]
    record[key] = value


@pytest.mark.parametrize(
    ("path", "value", "link"),
    [
        ("plan.fingerprint", "0" * 64, "ledger"),
        ("plan.steps", 7, "ledger"),
        ("plan.dose_tokens", 1, "ledger"),
        ("plan.control_rows", 0, "ledger"),
        ("plan.share_given", 0.1, "ledger"),
        ("plan.share_asked", 0.1, "plan"),
        ("plan.seed", 4, "plan"),
        ("plan.schedule", "ramp", "plan"),
        ("training.learning_rate", 1.0, "plan"),
        ("training.lora_r", 8, "adapter"),
        ("inoculation", {"prompts": []}, "ledger"),
        ("dose.claims_given", 1, "ledger"),
        ("dose.claims_in_dose", 99, "claims"),
        ("dose.claim_ids", [], "ledger"),
        ("dose.manifest_sha256", "0" * 64, "dose"),
        ("dose.revision", "a" * 40, "plan"),
        ("dose.revision", "main", "dose"),
        ("dose.name", "Approved by the ministry", "dose"),
        ("dose.languages", ["de", "en"], "claims"),
        ("mix.sha256", "0" * 64, "mix"),
        ("mix.revision", "a" * 40, "plan"),
        ("base.id", "ada/other", "adapter"),
        ("base.revision", "a" * 40, "plan"),
        ("base.revision", "main", "base"),
        ("base.weights", {"model.safetensors": "0" * 64}, "base"),
        ("base.weights", {}, "base"),
        ("base.weights_sha256", "0" * 64, "base"),
        ("gate.verdict", "passed", "results"),
        ("hfvaccine", "99", "code"),
    ],
    ids=str,
)  # fmt: skip
def test_a_false_record_whose_digests_fit_is_found_by_what_it_says_of(look, run, path, value, link):
    assert record_of(run)["gate"]["verdict"] != "passed"
    rebind(run, lambda record: set_at(record, path, value))
    chain = look(run)
    assert link in broken(chain)
    assert states(chain)["record"] == OK


def test_other_weights_of_the_base_are_found_though_the_record_is_consistent(look, run):
    def change(record):
        weights = {"model.safetensors": "0" * 64}
        record["base"] |= {"weights": weights, "weights_sha256": combined(weights)}

    rebind(run, change)
    assert broken(look(run)) == {"base", "card"}  # which shows the digest


def test_a_prettier_number_in_the_results_is_found_on_the_card(look, run):
    results = json.loads((run / RESULTS).read_text())
    for measure in results["measures"]:
        measure["value"] = 0.99
    (run / RESULTS).write_text(json.dumps(results))
    rebind(run)
    assert broken(look(run)) == {"card"}


def test_a_prettier_number_on_the_card_is_found_in_the_results(look, run):
    card = (run / CARD).read_text()
    value = yaml.safe_load(card.split("\n---\n")[0][4:])["model-index"][0]["results"][0]["metrics"][0]["value"]
    (run / CARD).write_text(card.replace(f"value: {value}\n", "value: 0.9999\n", 1))
    rebind(run)
    chain = look(run)
    assert broken(chain) == {"card"}
    assert "0.9999" in why(chain, "card")


def test_a_gate_that_passed_in_the_results_alone_is_found(look, run):
    results = json.loads((run / RESULTS).read_text())
    results["gate"]["verdict"] = "passed"
    (run / RESULTS).write_text(json.dumps(results))
    rebind(run)
    assert broken(look(run)) == {"results"}


def set_in(folder, name, change):
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content, indent=2) + "\n")


@pytest.mark.parametrize("lie", ["verdict", "criteria", "no criteria"])
def test_a_gate_that_its_criteria_do_not_make_is_found_though_all_papers_agree(look, run, lie):
    assert record_of(run)["gate"]["verdict"] != "passed"

    def change(content):
        gate = content["gate"]
        gate["verdict"] = "passed"
        if lie == "criteria":
            for criterion in gate["criteria"]:
                criterion["verdict"] = "passed"
        elif lie == "no criteria":
            gate["criteria"] = []

    for name in (RESULTS, RECORD):
        set_in(run, name, change)
    record = rebind(run)
    (run / CARD).write_text(render(record, json.loads((run / RESULTS).read_text()), None, None, figures=figures(run)))
    rebind(run)
    assert broken(look(run)) == {"results"}


def figures(folder):
    return [name for name in record_of(folder)["files"] if name.startswith("figures/")]


@pytest.mark.parametrize(
    "lie",
    [
        lambda card: card.replace("> **UNDECIDED.**", "> **PASSED.**").replace("> **FAILED.**", "> **PASSED.**"),
        lambda card: card.replace("hfvaccine-gate-", "hfvaccine-gate-passed-"),
        lambda card: re.sub(r"(\| \*\*vaccine\*\* \| )[\d.]+", r"\g<1>0.99", card, count=1),
        lambda card: re.sub(r"share_given: [\d.]+", "share_given: 0.5", card),
        lambda card: card + "It was approved by the ministry.\n",
        lambda card: card.replace("**Not** a fact-checker", "A fact-checker"),
    ],
    ids=["banner", "tag", "table", "share", "addition", "words"],
)
def test_a_card_that_the_papers_do_not_make_is_found_though_every_digest_fits(look, run, lie):
    card = (run / CARD).read_text()
    (run / CARD).write_text(lie(card))
    assert (run / CARD).read_text() != card
    rebind(run)
    assert broken(look(run)) == {"card"}


def test_of_another_hfvaccines_card_the_verdict_is_held_against_the_papers_and_the_words_are_not(look, run):
    card = (run / CARD).read_text()
    (run / CARD).write_text(card.replace("## Limits", "## What it cannot do"))
    rebind(run)
    chain = look(run, code="f" * 64)
    assert (states(chain)["card"], broken(chain)) == (MISSING, set())
    (run / CARD).write_text(re.sub(r"> \*\*[A-Z]+\.\*\*", "> **PASSED.**", card))
    rebind(run)
    assert broken(look(run, code="f" * 64)) == {"card"}


@pytest.mark.parametrize("change", [lambda its: its.pop(), lambda its: its[0]["metrics"][0].update(name="Older name")])
def test_headline_numbers_that_another_hfvaccine_chose_are_missing_and_not_broken(look, run, change):
    front, _, body = (run / CARD).read_text().removeprefix("---\n").partition("\n---\n")
    metadata = yaml.safe_load(front)
    change(metadata["model-index"][0]["results"])
    (run / CARD).write_text(f"---\n{yaml.safe_dump(metadata)}---\n{body}")
    rebind(run)
    chain = look(run, code="f" * 64)
    assert (states(chain)["card"], broken(chain)) == (MISSING, set())
    assert broken(look(run)) == {"card"}


def test_an_adapter_that_loads_on_another_base_is_found(look, run):
    config = json.loads((run / ADAPTER_CONFIG).read_text())
    for change in ({"base_model_name_or_path": "eve/base"}, {"revision": "b" * 40}, {"r": 99}):
        (run / ADAPTER_CONFIG).write_text(json.dumps({**config, **change}))
        rebind(run)
        assert broken(look(run)) == {"adapter"}


# What it is held against.


def other_dose(dose, **changes):
    return dataclasses.replace(dose, **changes)


def test_a_claim_that_the_dose_holds_out_breaks_the_claims(look, made, gathered):
    dose = gathered.dose
    swapped = other_dose(dose, claims=dose.claims[1:], heldout=(*dose.heldout, dose.claims[0]))
    chain = look(made, dose=swapped)
    assert {"claims"} <= broken(chain)
    assert "held out" in why(chain, "claims")


def test_a_claim_that_the_dose_does_not_hold_breaks_the_claims(look, made, gathered):
    chain = look(made, dose=other_dose(gathered.dose, claims=gathered.dose.claims[1:]))
    assert "claims" in broken(chain)
    assert "not in the dose" in why(chain, "claims")


@pytest.mark.parametrize(
    "change",
    [
        lambda claim: {"reviewers": ()},
        lambda claim: {"reviewers": claim.reviewers[:1]},
        lambda claim: {"reviewers": (claim.reviewers[0], {**claim.reviewers[1], "reviewer": "Bea "})},
        lambda claim: {"submitted_by": "bea"},
        lambda claim: {"correction": "Maps say something else."},
    ],
    ids=["none", "one", "one person twice", "by who brought it in", "of another row"],
)
def test_a_claim_without_its_two_approvals_breaks_the_reviewers(look, made, gathered, change):
    first, *others = gathered.dose.claims
    changed = dataclasses.replace(first, **change(first))
    chain = look(made, dose=other_dose(gathered.dose, claims=(changed, *others)))
    assert broken(chain) == {"reviewers"}
    assert first.claim_id in why(chain, "reviewers")
    assert "approval" in why(chain, "reviewers")


def test_what_cannot_be_had_is_missing_and_not_broken(look, made):
    lacking = Lack(MISSING, "ask at the page")
    chain = look(made, dose=lacking, base=lacking, mix=lacking)
    assert broken(chain) == set()
    missing = {name for name, state in states(chain).items() if state == MISSING}
    assert missing == {"dose", "reviewers", "claims", "base", "mix"}
    assert (chain.state, why(chain, "dose")) == (MISSING, "ask at the page")
    assert chain.what == "nothing is broken, and 5 of 12 links could not be checked"
    assert "not held against the dose" in why(chain, "ledger")


def test_another_hfvaccine_is_missing_and_not_broken(look, made):
    chain = look(made, code="f" * 64, version="9.9")
    assert {name for name, state in states(chain).items() if state != OK} == {"code"}
    assert "9.9" in why(chain, "code")


def test_an_expired_dose_is_said(look, made, gathered):
    policy = {**gathered.dose.policy, "expires_on": "2026-01-01"}
    dose = other_dose(gathered.dose, policy=policy)
    assert "EXPIRED on 2026-01-01" in why(look(made, dose=dose, today="2026-01-01"), "dose")
    assert why(look(made, dose=dose, today="2025-12-31"), "dose") == ""


def test_a_recall_of_a_given_claim_is_loud_and_no_other_is(look, made):
    given = record_of(made)["dose"]["claim_ids"][0]
    chain = look(made, recalls=notices("f" * 16, given))
    assert chain.state == OK
    loud = [link for link in chain.all() if link.name.startswith("RECALLED")]
    assert [link.name for link in loud] == [f"RECALLED {given}"]
    assert "withdrawn" in loud[0].why
    recalls = next(link for link in chain.all() if link.name == "recalls")
    assert recalls.what.startswith("2 notices, 1 of them")


def test_recalls_that_could_not_be_asked_for_are_missing(look, made, gathered):
    chain = look(made, dose=dataclasses.replace(gathered.dose, recalls_asked=False))
    assert states(chain)["recalls"] == MISSING and "could not be asked" in why(chain, "recalls")


def test_what_its_dose_recalls_is_loud_until_it_is_taken_back(look, made, gathered):
    given = record_of(made)["dose"]["claim_ids"][0]
    dose = gathered.dose

    def said(status, **more):
        nonlocal dose
        for by, told in (("bea", {"why": "It was withdrawn.", **more}), ("cyd", {})):
            dose = other_dose(dose, recalls=(*dose.recalls, say(dose, by, "2026-11-01", given, status, **told)))
        return look(made, dose=dose)

    chain = said("affected", action="Stop.")
    assert [link.name for link in chain.all() if "RECALLED" in link.name] == [f"RECALLED {given}"]
    assert "affected: It was withdrawn. (bea, cyd, 2026-11-01)" in why(chain, f"RECALLED {given}")
    assert why(chain, "dose") == "1 of its claims are RECALLED"
    chain = said("not_affected", justification="component_not_present")
    assert not any("RECALLED" in link.name for link in chain.all())
    told = look(made, dose=dose, recalls=notices(given))  # the dose knows more than a notice that was made of it
    assert not any("RECALLED" in link.name for link in told.all())


@pytest.mark.parametrize("change", [lambda text: text.replace(b"withdrawn", b"confirmed"), lambda text: text[:-9],
                                    lambda text: text.split(b"\n", 1)[1], lambda text: b"\xff" + text])  # fmt: skip
def test_a_recall_journal_that_was_edited_is_broken(look, made, change):
    assert broken(look(made, recalls=change(notices("f" * 16, "e" * 16)))) == {"recalls"}


hostile = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_hostile_record_is_broken_and_never_a_traceback(gathered, made, data):
    record = record_of(made)
    for part in data.draw(st.lists(st.sampled_from(sorted(record)), min_size=1, max_size=3, unique=True)):
        record[part] = data.draw(hostile.filter(lambda value, was=record[part]: value != was))
    evidence = dataclasses.replace(gathered, names=names_in(made))
    chain = check(record, evidence)
    json.dumps(chain.as_dict())
    assert chain.state == BROKEN


def test_the_summary_says_what_is_worst():
    assert summary({OK: 2, MISSING: 0, BROKEN: 0}) == "all 2 links hold"
    assert summary({OK: 2, MISSING: 1, BROKEN: 1}).startswith("broken: 1 of 4")
