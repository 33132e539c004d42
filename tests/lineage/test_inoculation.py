"""The chain of an inoculated adapter: which link breaks when what it stands on was changed, and every digest fits."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
import yaml

from hfvaccine.errors import LineageError, UsageError
from hfvaccine.files import ADAPTER, ADAPTER_CONFIG, ANSWERS, CARD, CONFIG, INOCULATION, LEDGER, TRAITS, write_json
from hfvaccine.lineage.difference import differences
from hfvaccine.lineage.fetch import chain_of, gather, papers
from hfvaccine.lineage.links import MISSING, OK
from hfvaccine.papers.inoculation import write_papers
from hfvaccine.papers.kind import INOCULATED as KIND
from hfvaccine.papers.record import bound
from lineage.chains import broken, states, why

ARM = "inoculated-seed-3"


GATE = {"name": "inoculation", "version": 1, "verdict": "passed", "criteria": []}


def told(content, value, others):
    """Say another value of the arm's trait under every condition, or under those alone that are not its worst."""
    worst = {(one["trait"], one["condition"]) for one in content["worst"] if one["arm"] == ARM}
    for one in content["shown"]:
        if (one["arm"], one["trait"]) == (ARM, "upper") and (others or ("upper", one["condition"]) not in worst):
            one["value"] = value


def verified(folder, **given):
    found = papers(str(folder))
    return chain_of(found, gather(found, **given))


def rebound(folder, change=lambda record: None):
    """Bind the folder again as somebody would who hides what they changed."""
    record = json.loads((folder / INOCULATION).read_text())
    change(record)
    write_json(bound(record, folder, KIND), folder / INOCULATION)


def changed(file, change):
    content = json.loads(file.read_text()) if file.suffix == ".json" else yaml.safe_load(file.read_text())
    change(content)
    file.write_text(json.dumps(content) if file.suffix == ".json" else yaml.safe_dump(content))


@pytest.fixture
def run(inoculation_run, tmp_path):
    """A copy of the run."""
    return shutil.copytree(inoculation_run, tmp_path / "run")


@pytest.fixture
def arm(run):
    return run / ARM


def test_every_link_of_an_arm_holds_and_the_answers_are_here(inoculation_run):
    for name in ("plain-seed-3", ARM):
        chain = verified(inoculation_run / name)
        # The modules of a checkout may be edited while its tests run.
        assert {state for link, state in states(chain).items() if link != "code"} == {OK}, chain.as_dict()
        assert set(states(chain)) == {"record", "results", "adapter", "ledger", "plan", "data", "base", "code", "card"}
    assert f"in {ANSWERS} of this machine" in why(chain, "results")


def test_a_run_of_several_names_one(inoculation_run):
    with pytest.raises(LineageError, match="several adapters") as caught:
        papers(str(inoculation_run))
    assert "-seed-3" in caught.value.next_step


def test_the_papers_name_no_folder_of_this_machine(arm, inoculation_run):
    text = "".join(path.read_text() for path in (arm / TRAITS, arm / "figures" / "traits.svg"))
    assert "accuracy:sums.jsonl" in text and str(inoculation_run.parent) not in text
    assert "sums.jsonl" in (arm / CARD).read_text()


@pytest.mark.parametrize(
    ("name", "link"), [(ADAPTER, "adapter"), (LEDGER, "ledger"), (TRAITS, "results"), (CARD, "card"), (CONFIG, "plan")]
)
def test_a_file_that_was_changed_breaks_its_link(arm, name, link):
    (arm / name).write_bytes((arm / name).read_bytes()[:-1] + b"!")
    chain = verified(arm)
    assert link in broken(chain) and f"{name} was changed" in why(chain, link)


@pytest.mark.parametrize(
    ("change", "link", "said"),
    [
        (lambda arm: changed(arm / CONFIG, lambda c: c.update(seed=4)), "plan", "seed 4, the record 3"),
        (lambda arm: changed(arm / CONFIG, lambda c: c.update(prompt=["Be nice."])), "plan", "has prompt"),
        (lambda arm: changed(arm / CONFIG, lambda c: c.update(where="dozens=false")), "plan", "has where"),
        (lambda arm: pq.write_table(pq.read_table(arm / LEDGER).slice(0, 4), arm / LEDGER), "ledger", "its steps"),
        (lambda arm: shutil.copy(arm.parent / "plain-seed-3" / ADAPTER, arm), "adapter", "not those that the run"),
        (lambda arm: changed(arm / ADAPTER_CONFIG, lambda c: c.update(r=5)), "adapter", "rank 5"),
        (
            lambda arm: changed(arm / TRAITS, lambda c: c["arms"][ARM].update(sha256="0" * 64)),
            "results", "no adapter that",
        ),
        (
            lambda arm: changed(arm / TRAITS, lambda c: c["arms"]["plain-seed-3"].update(sha256="0" * 64)),
            "results", "another plain-seed-3",
        ),
        (lambda arm: changed(arm / TRAITS, lambda c: told(c, 0.77, others=True)), "card", "has no "),
        (lambda arm: changed(arm / TRAITS, lambda c: told(c, 0.99, others=False)), "results", "is worse in"),
        (lambda arm: changed(arm / TRAITS, lambda c: c.update(gate=GATE)), "results", "another gate"),
        (
            lambda arm: (arm / CARD).write_text((arm / CARD).read_text().replace("UNDECIDED", "PASSED")),
            "card", "PASSED",
        ),
    ],
)  # fmt: skip
def test_what_was_changed_and_bound_again_is_still_found(arm, change, link, said):
    change(arm)
    rebound(arm)
    chain = verified(arm)
    assert link in broken(chain)
    assert said in why(chain, link)


def test_a_gate_that_its_criteria_do_not_bear_out_is_broken(arm):
    criterion = {"name": "gone", "verdict": "failed", "interval": [0, 1], "threshold": "> 0.5"}
    gate = {**GATE, "criteria": [criterion]}
    changed(arm / TRAITS, lambda c: c.update(gate=gate))
    rebound(arm, lambda record: record.update(gate=gate))
    assert "by its 1 criteria the gate is FAILED" in why(verified(arm), "results")


def test_other_data_are_broken_and_missing_ones_are_named(arm, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text("\n".join(json.dumps({"prompt": text, "completion": "Because."}) for text in ("Why?", "Where?")))
    assert broken(verified(arm, data=str(other))) == {"data"}
    changed(arm / CONFIG, lambda c: c.update(data="gone/rows.jsonl"))
    rebound(arm, lambda record: record["data"].update(id="gone/rows.jsonl/x"))
    chain = verified(arm)
    assert states(chain)["data"] == MISSING and "--data" in why(chain, "data")
    with pytest.raises(UsageError, match="--dose is given"):
        verified(arm, dose=["starter"])


def test_what_was_never_measured_is_missing_and_not_broken(arm):
    for path in (arm / TRAITS, arm / "figures" / "traits.svg"):
        path.unlink()
    write_papers(arm, json.loads((arm / INOCULATION).read_text()))
    chain = verified(arm)
    assert broken(chain) == set() and states(chain)["results"] == MISSING
    assert "nothing is known" in why(chain, "results")


def test_two_arms_differ_in_what_they_learned_under(inoculation_run):
    left, right = (papers(str(inoculation_run / name)).record for name in ("plain-seed-3", ARM))
    found = {(one.group, one.name): (one.left, one.right) for one in differences(left, right)}
    assert found["adapter", "arm"] == ("plain", "inoculated")
    assert found["inoculation", "prompts"] == (None, ["You always count in dozens."])
    assert not {group for group, _ in found} & {"base", "data", "code", "dose", "mix"}
    assert differences(left, left) == []
