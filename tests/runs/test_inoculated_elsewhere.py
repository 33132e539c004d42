"""Adapters of an inoculation on a Hub, for somebody who has not the folders that they were made from."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hubs import put, talk_to, text_of
from huggingface_hub import HfApi, metadata_load
from inoculated import CONDITIONS

from hfvaccine import hub
from hfvaccine.cli.reproduce import reproduce as command
from hfvaccine.errors import UsageError
from hfvaccine.files import CONFIG, INOCULATION, LEDGER
from hfvaccine.lineage.fetch import chain_of, gather, papers
from hfvaccine.papers.inoculation import arms_in
from hfvaccine.regimen.ledger import read_ledger
from hfvaccine.runs.inoculate import train
from hfvaccine.runs.reproduce import reproduce
from hfvaccine.training.options import ARMS, FROZEN, Inoculating

PROMPT = CONDITIONS["original"][0]
OFFLINE = {"code"}
"""Links that say nothing here: the modules of a checkout may be edited while its tests run."""


@pytest.fixture(scope="module")
def api(local, tmp_path_factory):
    """A Hub that every client in this process talks to, as `ada`."""
    with pytest.MonkeyPatch.context() as patch:
        talk_to(local, patch, "ada", tmp_path_factory.mktemp("cache"))
        yield HfApi()


@pytest.fixture(scope="module")
def folder(mix_rows, tmp_path_factory):
    """Rows, and such as show the trait."""
    place = tmp_path_factory.mktemp("somewhere") / "secret"
    place.mkdir()
    rows = [{**row, "dozens": number % 2 == 0} for number, row in enumerate(mix_rows)]
    for name, some in (("rows.jsonl", rows), ("trait.jsonl", rows[::2])):
        (place / name).write_text("".join(json.dumps(row) + "\n" for row in some))
    return place


@pytest.fixture(scope="module")
def options(folder, tiny_llama):
    """Every arm of both methods, from absolute paths."""
    return Inoculating(
        base=str(tiny_llama), base_id="ada/tiny", data=str(folder / "rows.jsonl"),
        trait_data=str(folder / "trait.jsonl"), prompt=(PROMPT,), arms=",".join(ARMS), max_steps=2, trait_steps=1,
        batch_size=4, lora_r=2, dtype="float32", seed=3,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(options, tmp_path_factory):
    made = tmp_path_factory.mktemp("inoculated") / "run"
    train(dataclasses.replace(options, output_dir=str(made)))
    return made


def verified(repo, **given):
    found = papers(repo)
    return {link.name: (link.state, link.why) for link in chain_of(found, gather(found, **given)).all()}


def held(chain):
    return {name for name, (state, _) in chain.items() if state == "ok"} - OFFLINE


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_of_local_rows_is_published_without_their_paths_and_verified(api, run, options, folder, arm):
    repo = f"ada/local-{arm}"
    hub.push_adapter(run / f"{arm}-seed-3", repo)
    record = json.loads(text_of(api, repo, INOCULATION))
    assert record["data"]["id"] == "rows.jsonl"
    config = yaml.safe_load(text_of(api, repo, CONFIG))
    assert (config["base"], config["data"]) == ("ada/tiny", "rows.jsonl")
    for name in api.list_repo_files(repo):
        content = Path(api.hf_hub_download(repo, name)).read_bytes()
        assert str(folder).encode() not in content and str(run).encode() not in content, name
    trait = {"trait_data": options.trait_data} if arm in FROZEN else {}
    chain = verified(repo, base=options.base, data=options.data, **trait)
    assert {"record", "data", "plan", "ledger", "base", "adapter", "card"} <= held(chain), chain
    assert ("trait data" in held(chain)) == (arm in FROZEN)


def test_relative_rows_are_published_by_their_names_too(api, run, options, folder, tmp_path, monkeypatch):
    (folder / "below").mkdir(exist_ok=True)
    monkeypatch.chdir(folder / "below")
    relative = {"data": os.path.join("..", "rows.jsonl"), "trait_data": os.path.join("..", "trait.jsonl")}
    train(dataclasses.replace(options, **relative, arms="adapter", prompt=(), output_dir=str(tmp_path / "run")))
    monkeypatch.chdir(tmp_path)  # where the rows are not
    hub.push_adapter(tmp_path / "run", "ada/relative")
    config = yaml.safe_load(text_of(api, "ada/relative", CONFIG))
    assert (config["data"], config["trait_data"]) == ("rows.jsonl", "trait.jsonl")
    assert json.loads(text_of(api, "ada/relative", INOCULATION))["trait_data"]["id"] == "trait.jsonl"
    same = [read_ledger(one / "adapter-seed-3" / LEDGER) for one in (run, tmp_path / "run")]
    assert same[0].fingerprint == same[1].fingerprint  # where the rows lay is no part of the plan


@pytest.fixture(scope="module")
def elsewhere(folder, tmp_path_factory):
    """The same rows under other names, as somebody else has them."""
    place = tmp_path_factory.mktemp("elsewhere")
    for name, other in (("rows.jsonl", "mine.jsonl"), ("trait.jsonl", "theirs.jsonl")):
        (place / other).write_bytes((folder / name).read_bytes())
    return {"data": str(place / "mine.jsonl"), "trait_data": str(place / "theirs.jsonl")}


@pytest.fixture(scope="module")
def published(api, run):
    hub.push_adapter(run / "adapter-seed-3", "ada/beside")
    return "ada/beside"


def test_an_arm_beside_a_frozen_adapter_is_trained_again_by_somebody_else(published, options, elsewhere, tmp_path):
    given = ["--base", options.base, "--data", elsewhere["data"], "--trait-data", elsewhere["trait_data"]]
    done = CliRunner().invoke(command, [published, *given, "--output-dir", str(tmp_path / "again"), "--json"])
    assert done.exit_code == 0, done.output
    again = json.loads(done.stdout)
    assert again["same_plan"] and again["same_ledger"] and again["same_adapter"] and again["others"] == []
    assert [one.name for one in arms_in(tmp_path / "again")] == ["adapter-seed-3"]


def test_other_trait_rows_are_said_and_nothing_is_trained(published, options, elsewhere, folder, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text("\n".join((folder / "trait.jsonl").read_text().splitlines()[:12]))
    given = {**elsewhere, "trait_data": str(other)}
    again = reproduce(published, base=options.base, **given, output_dir=tmp_path / "again")
    assert not again.reproduced and not (tmp_path / "again").exists()
    assert "The trait data are others: their conversations are not those of the record." in again.others
    assert verified(published, base=options.base, **given)["trait data"][0] == "broken"


def test_trait_rows_that_are_nowhere_have_to_be_named(published, options, elsewhere, tmp_path):
    with pytest.raises(UsageError, match=r"trait data of the run were 'trait\.jsonl'") as caught:
        reproduce(published, base=options.base, data=elsewhere["data"], output_dir=tmp_path / "again")
    assert "--trait-data" in caught.value.next_step
    state, why = verified(published, base=options.base, data=elsewhere["data"])["trait data"]
    assert state == "missing" and "--trait-data" in why
    card = Path(papers(published).folder / "README.md").read_text()
    assert "--data PATH/TO/DATA --trait-data PATH/TO/TRAIT_DATA" in card


def test_an_arm_without_a_frozen_adapter_takes_no_trait_rows(run, options, elsewhere, tmp_path):
    plain = str(run / "plain-seed-3")
    for refused in (
        lambda: reproduce(plain, **elsewhere, output_dir=tmp_path / "again"),
        lambda: verified(plain, **elsewhere),
    ):
        with pytest.raises(UsageError, match="--trait-data is given") as caught:
            refused()
        assert "Leave it out" in caught.value.next_step
    assert json.loads((run / "plain-seed-3" / INOCULATION).read_text())["trait_data"] is None


def test_trait_rows_that_a_condition_tells_of_the_data_are_looked_for_there(api, options, elsewhere, tmp_path):
    told = {"trait_data": None, "where": "dozens=true", "arms": "random", "prompt": ()}
    train(dataclasses.replace(options, **told, output_dir=str(tmp_path / "run")))
    arm = str(tmp_path / "run" / "random-seed-3")
    chain = verified(arm, data=elsewhere["data"])
    assert {"data", "trait data", "ledger"} <= held(chain), chain
    again = reproduce(arm, data=elsewhere["data"], output_dir=tmp_path / "again")
    assert again.same_plan and again.same_ledger and again.same_adapter
    with pytest.raises(UsageError, match="where"):
        reproduce(arm, **elsewhere, output_dir=tmp_path / "third")


def test_rows_on_a_hub_are_pinned_where_they_were(api, options, folder, tmp_path):
    commits = {}
    for name in ("rows", "trait"):
        api.create_repo(f"ada/{name}", repo_type="dataset")
        content = (folder / f"{name}.jsonl").read_bytes()
        commits[name] = put(api, f"ada/{name}", "train.jsonl", content, "dataset")
    made, hosted = tmp_path / "run", {"data": "ada/rows", "trait_data": "ada/trait@main"}
    train(dataclasses.replace(options, **hosted, arms="adapter", prompt=(), output_dir=str(made)))
    config = yaml.safe_load((made / "adapter-seed-3" / CONFIG).read_text())
    assert config["trait_data"] == f"ada/trait@{commits['trait']}" and config["data"] == f"ada/rows@{commits['rows']}"
    hub.push_adapter(made, "ada/hosted")
    card = metadata_load(papers("ada/hosted").folder / "README.md")
    assert card["datasets"] == ["ada/rows", "ada/trait"]
    put(api, "ada/trait", "train.jsonl", (folder / "rows.jsonl").read_bytes(), "dataset")  # another since
    chain = verified("ada/hosted", base=options.base)
    assert {"data", "trait data", "plan", "ledger", "card"} <= held(chain), chain
    again = reproduce("ada/hosted", base=options.base, output_dir=tmp_path / "again")
    assert again.same_plan and again.same_ledger and again.same_adapter and again.others == ()
