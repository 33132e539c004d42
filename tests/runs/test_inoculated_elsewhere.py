"""Adapters of an inoculation on a Hub, for somebody who has not the folders that they were made from."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
import yaml
from hubs import talk_to, text_of
from huggingface_hub import HfApi
from inoculated import CONDITIONS

from hfvaccine import hub
from hfvaccine.files import CONFIG, INOCULATION, LEDGER
from hfvaccine.lineage.fetch import chain_of, gather, papers
from hfvaccine.regimen.ledger import read_ledger
from hfvaccine.runs.inoculate import train
from hfvaccine.training.options import ARMS, Inoculating

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
    chain = verified(repo, base=options.base, data=options.data)
    assert {"record", "data", "plan", "ledger", "base", "adapter", "card"} <= held(chain), chain


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
