"""Boosters on a tiny random GPT-2: from the base and on from the parent, what they are given, asked, and refused."""

import copy
import dataclasses
import json
import shutil
from functools import partial

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from doses import sealed
from lineage.chains import record_of, states, why
from safetensors.torch import load_file

from hfvaccine.claims.dose import Dose
from hfvaccine.cli import cli
from hfvaccine.errors import DoseError, LineageError, ModelError, UsageError
from hfvaccine.files import ADAPTER, BOOSTER, CARD, CONFIG, LEDGER, RECORD, SCORES, digest_of, write_json
from hfvaccine.hub.adapter_files import adapter_files
from hfvaccine.lineage.ancestry import contradiction
from hfvaccine.lineage.chain import check
from hfvaccine.lineage.fetch import gather, papers
from hfvaccine.lineage.links import BROKEN, MISSING, OK, Lack
from hfvaccine.quarantine.recalls import say
from hfvaccine.runs.immunize import immunize
from hfvaccine.runs.reproduce import reproduce
from hfvaccine.surveillance.booster import boost, prepared
from hfvaccine.training.options import Boosting, Options, read_config
from hfvaccine.validation.judging.results import evaluate


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    """Intervals are not what is tested here, nor pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hfvaccine.runs.study.evaluate", partial(evaluate, draws=200))
        patch.setattr("hfvaccine.runs.study.Study.draw", lambda *args: None)
        yield


@pytest.fixture(scope="module")
def doses(make_claims, tmp_path_factory):
    """The parent's dose, of eight claims to give, and another of six."""
    folder = tmp_path_factory.mktemp("doses")
    claims = make_claims(22, heldout=4)
    old = [dataclasses.replace(claim, split="heldout" if n > 7 else "dose") for n, claim in enumerate(claims[:12])]
    return sealed(folder / "old", old).path, sealed(folder / "new", claims[12:], name="Boreal").path


@pytest.fixture(scope="module")
def parent(doses, tiny_gpt2, mix_file, tmp_path_factory):
    """A run that gives all eight claims; never to be changed."""
    options = Options(
        base=str(tiny_gpt2), dose=str(doses[0]), mix=str(mix_file), share=0.4, max_steps=4, batch_size=8,
        max_length=512, lora_r=4, dtype="float32", seed=3, claims=8, exposures=1, comparisons="none", adversarial=0,
        output_dir=str(tmp_path_factory.mktemp("parent") / "run"),
    )  # fmt: skip
    return immunize(options).folder


@pytest.fixture(scope="module")
def boosting(parent, doses):
    """Asks for a booster with the new dose; the folder is still to be named."""
    return Boosting(adapter=str(parent), dose=str(doses[1]), adversarial=0)


@pytest.fixture(scope="module")
def retracted(doses):
    return Dose.load(doses[0]).claims[2].claim_id


@pytest.fixture(scope="module")
def anew(boosting, retracted, tmp_path_factory):
    """A booster from the base that takes a claim back."""
    folder = tmp_path_factory.mktemp("anew") / "run"
    asked = dataclasses.replace(boosting, retract=(retracted,), because="a recall", output_dir=str(folder))
    return boost(asked)


@pytest.fixture(scope="module")
def continued(boosting, tmp_path_factory):
    """A booster that goes on from its parent, at a learning rate that moves nothing."""
    folder = tmp_path_factory.mktemp("continued") / "run"
    return boost(
        dataclasses.replace(boosting, continued=True, max_steps=2, learning_rate=1e-12, output_dir=str(folder))
    )


@pytest.fixture(scope="module")
def evidence(anew):
    return gather(papers(str(anew.folder)))


def rows_of(folder):
    return pq.read_table(folder / LEDGER).to_pylist()


def claim_ids(dose):
    return {claim.claim_id for claim in Dose.load(dose).claims}


def test_from_the_base_both_doses_are_given_less_what_is_retracted(anew, doses, retracted):
    old, new = map(claim_ids, doses)
    given = {row["claim_id"] for row in rows_of(anew.folder) if row["kind"] == "dose"}
    assert given == (old | new) - {retracted} == set(anew.record["dose"]["claim_ids"])
    assert len(given) == 13
    assert anew.record["plan"]["dose_rows"] >= 13


def test_the_ledger_names_the_dose_of_each_row(anew, doses):
    digests = [Dose.load(dose).digest() for dose in doses]
    of = dict.fromkeys(claim_ids(doses[0]), digests[0]) | dict.fromkeys(claim_ids(doses[1]), digests[1])
    rows = rows_of(anew.folder)
    assert [row["origin"] for row in rows] == [of.get(row["claim_id"]) for row in rows]
    assert {row["origin"] for row in rows} == {None, *digests}


def test_the_record_names_parent_reason_and_doses(anew, parent, doses, retracted):
    booster = anew.record["booster"]
    assert booster["parent"] == {
        "id": str(parent),
        "revision": None,
        "sha256": record_of(parent)["record_sha256"],
        "adapter_sha256": digest_of(parent / ADAPTER),
    }
    assert (booster["because"], booster["retracted"], booster["continued"]) == ("a recall", [retracted], False)
    assert (booster["replay"], booster["before"], booster["ancestors"]) == (None, [], [])
    assert [one["manifest_sha256"] for one in booster["doses"]] == [Dose.load(dose).digest() for dose in doses[::-1]]
    assert [one["claims_given"] for one in booster["doses"]] == [6, 7]
    assert booster["claims_new"] == 6


def test_it_is_held_against_its_parent_on_old_and_new_claims(anew, parent, retracted):
    results = anew.results
    assert results["arms"] == ["base", "parent", "vaccine"]
    assert results["missing"] == []
    sizes = {m["probe"]: m["pairs"] for m in results["measures"]}
    assert (sizes["new"], sizes["old"], sizes["specific"], sizes["cross"]) == (6, 7, 13, 8)
    assert {c["against"] for c in results["contrasts"] if c["probe"] == "old"} == {"base", "parent"}
    rules = {rule["name"]: rule for rule in results["settings"]["gate"]}
    assert rules["keeps what its parent knew, in nats per token"]["against"] == "parent"
    outcomes = {criterion["name"]: criterion for criterion in results["gate"]["criteria"]}
    asked = pq.read_table(anew.folder / SCORES).to_pylist()
    wordings = {row["item_id"] for row in asked if row["probe"] == "old_correction" and row["arm"] == "vaccine"}
    assert retracted in wordings
    assert {name.split(".")[0] for name in wordings} == {retracted}
    assert next(value for name, value in outcomes.items() if "old correction" in name)["value"] is not None


def test_the_chain_goes_back_through_the_parent(anew, evidence):
    chain = check(anew.record, evidence)
    assert {name: state for name, state in states(chain).items() if state != OK} == {}
    adapter = next(link for link in chain.all() if link.name == "adapter")
    (its,) = (link for link in adapter.below if link.name == "parent")
    assert {"record", "results"} <= {link.name for link in its.below}
    assert "1 of its claims are RETRACTED" in its.why


def test_a_recall_of_what_was_retracted_is_loud_of_the_parent_alone(anew, evidence, retracted):
    new, old = evidence.dose.parts
    kept = min({claim.claim_id for claim in old.claims} & set(anew.record["dose"]["claim_ids"]))
    for claim_id in (retracted, kept):
        said = say(old, "bea", "2026-11-01", claim_id, "affected", why="It was withdrawn.", action="Stop.")
        old = dataclasses.replace(old, recalls=(*old.recalls, said))
    record, of_parent = evidence.parent
    of_parent = dataclasses.replace(of_parent, dose=old)
    joined = dataclasses.replace(evidence.dose, parts=(new, old), recalls=old.recalls)
    chain = check(anew.record, dataclasses.replace(evidence, dose=joined, parent=(record, of_parent)))

    def loud(link):
        return {one.name for one in link.all() if "RECALLED" in one.name}

    assert loud(chain) == {f"RECALLED {kept}"}
    assert loud(check(record, of_parent)) == {f"RECALLED {kept}", f"RECALLED {retracted}"}


def test_a_parent_that_is_gone_is_missing_and_another_is_broken(anew, evidence, parent, tmp_path):
    gone = check(anew.record, dataclasses.replace(evidence, parent=Lack(MISSING, "it is gone")))
    assert states(gone)["parent"] == MISSING
    other = shutil.copytree(parent, tmp_path / "other")
    (other / ADAPTER).write_bytes(b"other")
    changed = gather(papers(str(other)))
    chain = check(anew.record, dataclasses.replace(evidence, parent=(record_of(other), changed)))
    assert BROKEN in {link.state for link in chain.all() if link.name == "adapter"}


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda record: record["booster"]["parent"].update(adapter_sha256="0" * 64), "weights"),
        (lambda record: record["base"].update(weights_sha256="0" * 64), "another base"),
        (lambda record: record["booster"]["retracted"].append("f" * 16), "never given"),
        (lambda record: record["dose"]["claim_ids"].extend(record["booster"]["retracted"]), "all the same"),
    ],
)
def test_a_record_that_the_parent_does_not_bear_out(anew, parent, change, said):
    record = copy.deepcopy(anew.record)
    assert contradiction(record, record_of(parent)) == ""
    change(record)
    assert said in contradiction(record, record_of(parent))


def test_a_ledger_that_names_another_dose_is_broken(anew, evidence, tmp_path):
    folder = shutil.copytree(anew.folder, tmp_path / "run")
    table = pq.read_table(folder / LEDGER)
    column = [None if of is None else "0" * 64 for of in table["origin"].to_pylist()]
    at = table.column_names.index("origin")
    pq.write_table(table.set_column(at, "origin", [column]), folder / LEDGER)
    chain = check(anew.record, dataclasses.replace(evidence, folder=folder))
    assert "the doses that its rows are said to be of are not theirs" in why(chain, "ledger")


def test_the_card_shows_the_lineage_and_old_against_new(anew, retracted):
    card = (anew.folder / CARD).read_text()
    assert "hfvaccine-booster" in card
    assert "**Why**: a recall" in card
    assert "**Against its parent**: " in card
    assert "Control missing" not in card
    assert "**New claims, " in card and "**Claims given before, " in card
    steps = anew.record["plan"]["steps"]
    asked = f"--retract {retracted} --share 0.4 --max-steps {steps} --seed 3"
    assert f"hfvaccine boost PATH/TO/PARENT --dose PATH/TO/DOSE {asked}" in card


def test_a_published_booster_names_no_folder(anew, parent, doses):
    named = {anew.record["booster"]["doses"][0]["manifest_sha256"]: ("ada/new", None)}
    files = adapter_files(anew.folder, "ada/boosted", base_id="ada/tiny", dose_ids=named, publish_failed=True)
    record = json.loads(files[RECORD])
    assert record["booster"]["parent"]["id"] == parent.name
    assert [one["id"] for one in record["booster"]["doses"]] == ["ada/new", doses[0].name]
    assert BOOSTER not in files


def test_going_on_begins_with_the_parents_weights(continued, parent):
    before, after = (load_file(folder / ADAPTER) for folder in (parent, continued.folder))
    assert before.keys() == after.keys()
    assert all((before[name] - after[name]).abs().max() < 1e-9 for name in before)


def test_going_on_replays_a_part_of_what_the_parent_was_given(continued, doses):
    old, new = map(claim_ids, doses)
    chosen = {*continued.record["dose"]["claim_ids"], *continued.record["dose"]["not_reached"]}
    assert chosen >= new
    assert len(chosen & old) == 3  # three of nine are nearest to 0.3
    booster = continued.record["booster"]
    assert (booster["continued"], booster["replay"]) == (True, 0.3)
    assert set(booster["before"]) == old - set(continued.record["dose"]["claim_ids"])
    sizes = {m["probe"]: m["pairs"] for m in continued.results["measures"]}
    assert sizes["old"] == 8  # replayed or not
    assert "It was trained on from there; 30 % of the dose rows" in (continued.folder / CARD).read_text()


def test_a_booster_is_boosted_and_remembers_its_ancestors(anew, continued, doses, retracted, tmp_path):
    other = sorted(claim_ids(doses[0]) - {retracted})[0]
    _, start = prepared(Boosting(adapter=str(anew.folder), retract=(other,), output_dir=str(tmp_path / "run")))
    assert {claim.claim_id for claim in start.dose.claims} == set(anew.record["dose"]["claim_ids"]) - {other}
    assert len(start.dose.parts) == 2
    _, start = prepared(Boosting(adapter=str(continued.folder), retract=(retracted,), output_dir=str(tmp_path / "x")))
    made = start.record({"dose": {"claim_ids": sorted(start.new)}}, None)["booster"]
    assert made["ancestors"] == [continued.record["booster"]["parent"]]
    assert retracted in start.parent.given  # it was given before, and nobody took it back
    assert len(start.old) == len(start.parent.given) - 1 >= 12


def test_each_claim_gets_as_much_of_the_run_as_the_parents_had(boosting, parent):
    options, start = prepared(dataclasses.replace(boosting, report_to=("tensorboard",)))
    assert options.report_to == ("tensorboard",)
    assert options.max_steps == -(-4 * len(start.dose.claims) // 8)
    twice, _ = prepared(dataclasses.replace(boosting, share=0.2))
    assert twice.max_steps == 2 * options.max_steps
    assert (options.learning_rate, options.lora_r, options.seed, options.objective) == (2e-4, 4, 3, "pairwise")


@pytest.mark.parametrize(
    "asked, refusal, said",
    [
        ({"dose": None}, UsageError, "nothing to boost with"),
        ({"dose": None, "retract": ("x",), "continued": True}, UsageError, "without a new dose"),
        ({"replay": 0.5}, UsageError, "without --continue"),
        ({"continued": True, "replay": 1.0}, UsageError, "outside [0, 1)"),
        ({"because": " "}, UsageError, "blank"),
        ({"retract": ("0" * 16,)}, UsageError, "never given the claim"),
        ({"dose": "OLD"}, DoseError, "was given all 8 claims"),
        ({"base": "OTHER"}, ModelError, "was trained on"),
        ({"parent_dose": ("NEW",)}, DoseError, "is not the dose"),
        ({"adapter": "NONE"}, UsageError, "neither a folder nor a Hub id"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(boosting, doses, tiny_llama, tmp_path, asked, refusal, said):
    places = {"OLD": str(doses[0]), "NEW": str(doses[1]), "OTHER": str(tiny_llama), "NONE": "no such/adapter at all"}

    def placed(value):
        return tuple(map(placed, value)) if isinstance(value, tuple) else places.get(value, value)

    into = tmp_path / "run"
    with pytest.raises(refusal, match=said.replace("[", r"\[").replace(")", r"\)")):
        boost(
            dataclasses.replace(boosting, output_dir=str(into), **{name: placed(one) for name, one in asked.items()})
        )
    assert not into.exists()


def test_a_retracted_claim_of_the_new_dose_is_refused(boosting, doses, make_claims, tmp_path):
    old = Dose.load(doses[0]).claims[0]
    mended = dataclasses.replace(old, correction="Newer maps put it elsewhere.", reviewers=())
    dose = sealed(tmp_path / "mended", [mended, *make_claims(26)[22:]]).path
    with pytest.raises(UsageError, match="the new dose gives it"):
        prepared(dataclasses.replace(boosting, dose=str(dose), retract=(old.claim_id,)))
    _, start = prepared(dataclasses.replace(boosting, dose=str(dose)))
    assert old.claim_id in start.new  # as the new dose has it
    assert {c.correction for c in start.dose.claims if c.claim_id == old.claim_id} == {mended.correction}


def test_a_merged_model_and_a_changed_adapter_are_refused(boosting, parent, tmp_path):
    merged = tmp_path / "merged"
    merged.mkdir()
    record = record_of(parent)
    record["training"]["merged"] = {"adapter_sha256": "0" * 64}
    write_json(record, merged / RECORD)
    with pytest.raises(ModelError, match="is a merged model"):
        prepared(dataclasses.replace(boosting, adapter=str(merged)))
    changed = shutil.copytree(parent, tmp_path / "changed")
    (changed / ADAPTER).write_bytes(b"other")
    with pytest.raises(LineageError, match="was changed since"):
        prepared(dataclasses.replace(boosting, adapter=str(changed)))


def test_only_boost_goes_on_with_a_booster_and_makes_it_again(anew):
    kept = read_config(anew.folder / BOOSTER, Boosting)
    assert (kept["because"], kept["output_dir"]) == ("a recall", str(anew.folder))
    assert read_config(anew.folder / CONFIG)["claims"] == 13
    refused = CliRunner().invoke(cli, ["immunize", "--resume", str(anew.folder)])
    assert "hfvaccine boost --resume" in refused.exception.next_step
    with pytest.raises(UsageError, match="is a booster"):
        reproduce(str(anew.folder))
    finished = CliRunner().invoke(cli, ["boost", "--resume", str(anew.folder), "--json"])
    assert json.loads(finished.stdout)["arms"] == ["base", "parent", "vaccine"]


def test_the_command_plans_without_writing(boosting, parent, doses, retracted, tmp_path):
    into = tmp_path / "run"
    asked = ["--dose", str(doses[1]), "--retract", retracted, "--output-dir", str(into), "--dry-run", "--json"]
    done = CliRunner().invoke(cli, ["boost", str(parent), *asked])
    assert done.exit_code == 0, done.output
    planned = json.loads(done.stdout)
    assert planned["dose"]["claims_given"] == 13
    assert "6 new claims, 7 of the 7" in planned["booster"][0]
    assert not into.exists()
