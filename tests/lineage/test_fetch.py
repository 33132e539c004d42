"""What a chain is held against, from an embedded Hub and from this machine."""

import json
import os
import shutil

import pytest
import yaml
from doses import sealed
from huggingface_hub import constants

from hfvaccine import hub, starter
from hfvaccine.errors import HubError, LineageError, UsageError
from hfvaccine.files import ADAPTER, CONFIG, PUBLISHED, RECALLS, RECORD
from hfvaccine.lineage.chain import check
from hfvaccine.lineage.fetch import gather, papers
from hfvaccine.lineage.links import MISSING, OK
from hfvaccine.text import is_commit
from lineage.chains import broken, notices, rebind, record_of, states, why


def verified(source, revision=None, **given):
    found = papers(str(source), revision)
    return check(found.record, gather(found, **given))


@pytest.fixture(scope="module")
def published(api, made):
    """The run as a model repo, at two revisions; the newer one has other weights."""
    api.create_repo("ada/adapter")
    first = api.upload_folder(repo_id="ada/adapter", folder_path=made, allow_patterns=list(PUBLISHED)).oid
    api.create_tag("ada/adapter", tag="v1", revision=first)
    other = (made / ADAPTER).read_bytes()[:-1] + b"\xff"
    api.upload_file(path_or_fileobj=other, path_in_repo=ADAPTER, repo_id="ada/adapter")
    return first


def test_a_run_pins_the_commits_that_it_was_made_from(api, made):
    config, record = yaml.safe_load((made / CONFIG).read_text()), record_of(made)
    pins = {what: config[f"{what}_revision"] for what in ("base", "dose", "mix")}
    assert pins == {what: record[what]["revision"] for what in pins}
    assert all(is_commit(pin) for pin in pins.values())


def test_an_adapter_on_a_hub_is_verified_at_its_revision(published):
    asked = (("ada/adapter@v1", None), ("ada/adapter", published), (f"ada/adapter@{published}", None))
    for source, revision in asked:
        chain = verified(source, revision)
        assert set(states(chain).values()) == {OK}
        assert chain.name == f"ada/adapter@{published[:12]}"
        assert why(chain, "record") == ""
    newest = verified("ada/adapter")
    assert broken(newest) == {"adapter"}
    assert f"{ADAPTER} was changed" in why(newest, "adapter")


def test_notices_that_came_later_are_shown_for_an_older_revision_too(api, published, made):
    given = record_of(made)["dose"]["claim_ids"][0]
    api.upload_file(path_or_fileobj=notices(given), path_in_repo=RECALLS, repo_id="ada/adapter")
    chain = verified("ada/adapter@v1")
    assert f"RECALLED {given}" in states(chain)
    assert chain.state == OK


def test_a_dose_without_access_is_missing_and_says_where_to_ask(local, published, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", local.add_user("stranger"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    chain = verified("ada/adapter@v1")
    assert broken(chain) == set()
    assert {name for name, state in states(chain).items() if state == MISSING} == {"dose", "reviewers", "claims"}
    assert f"{local.endpoint}/datasets/ada/dose" in why(chain, "dose")


def test_another_revision_of_the_dose_is_broken(api, run, make_claims, tmp_path):
    another = sealed(tmp_path / "dose", make_claims(12, heldout=5), name="Another", contact="x")
    newer = hub.push_dose(another.path, "ada/dose").revision
    assert verified(run).state == OK  # it is pinned

    def change(record):
        record["dose"]["revision"] = newer

    config = yaml.safe_load((run / CONFIG).read_text())
    (run / CONFIG).write_text(yaml.safe_dump({**config, "dose_revision": newer}))
    rebind(run, change, card=True)
    chain = verified(run)
    assert {"dose"} <= broken(chain)
    assert "its manifest is" in why(chain, "dose")


def test_another_revision_of_the_base_is_broken(api, run, tiny_llama):
    api.create_repo("ada/base", exist_ok=True)
    newer = api.upload_folder(repo_id="ada/base", folder_path=tiny_llama).oid
    assert verified(run).state == OK  # it is pinned

    def change(record):
        record["base"]["revision"] = newer

    config = yaml.safe_load((run / CONFIG).read_text())
    (run / CONFIG).write_text(yaml.safe_dump({**config, "base_revision": newer}))
    rebind(run, change, card=True)
    chain = verified(run)
    assert broken(chain) == {"base"}
    assert "model.safetensors" in why(chain, "base")


@pytest.mark.parametrize("what", ["base", "dose", "mix"])
def test_a_revision_that_does_not_exist_is_broken(run, what):
    def change(record):
        record[what]["revision"] = "b" * 40

    rebind(run, change, card=True)
    chain = verified(run)
    assert {what, "plan"} <= broken(chain)


def test_a_base_on_a_hub_is_not_downloaded(api, run, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    found = papers(str(run))
    size = next(f.lfs.size for f in api.get_paths_info("ada/base", ["model.safetensors"],
                                                       revision=found.record["base"]["revision"]))  # fmt: skip
    evidence = gather(found)
    assert evidence.base == found.record["base"]["weights"]
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and os.path.getsize(p) == size]


def localised(run, base, dose, mix):
    """The run as if base, dose and mix had been local."""

    def change(record):
        for name, path in (("base", base), ("dose", dose), ("mix", mix)):
            record[name] |= {"id": str(path), "revision": None}

    adapter = json.loads((run / "adapter_config.json").read_text())
    adapter |= {"base_model_name_or_path": str(base), "revision": None}
    (run / "adapter_config.json").write_text(json.dumps(adapter))
    config = yaml.safe_load((run / CONFIG).read_text())
    config |= {"base": str(base), "dose": str(dose), "mix": str(mix)}
    config |= {f"{name}_revision": None for name in ("base", "dose", "mix")}
    (run / CONFIG).write_text(yaml.safe_dump(config))
    rebind(run, change, card=True)


@pytest.fixture
def places(run, tiny_gpt2, dose_folder, mix_file, tmp_path):
    """Local copies of what the run was made from; the run names them."""
    base, dose = tmp_path / "base", tmp_path / "dose"
    shutil.copytree(tiny_gpt2, base)
    shutil.copytree(dose_folder, dose)
    mix = shutil.copy(mix_file, tmp_path / "mix.jsonl")
    localised(run, base, dose, mix)
    return base, dose, mix


def test_what_was_local_is_proved_where_it_still_is(run, places):
    assert set(states(verified(run)).values()) == {OK}


def test_what_was_local_and_is_gone_is_missing_until_it_is_named(run, places, tmp_path):
    moved = tmp_path / "moved"
    moved.mkdir()
    base, dose, mix = (place.rename(moved / place.name) for place in places)
    chain = verified(run)
    assert broken(chain) == set()
    assert {n for n, s in states(chain).items() if s == MISSING} == {"base", "dose", "mix", "reviewers", "claims"}
    assert "--base" in why(chain, "base") and "--dose" in why(chain, "dose")
    assert set(states(verified(run, base=str(base), dose=[str(dose)], mix=str(mix))).values()) == {OK}


def test_a_local_base_under_a_hub_id_is_bound_by_its_weights(run, places):
    def change(record):
        record["base"]["id"] = "ada/base"

    adapter = json.loads((run / "adapter_config.json").read_text())
    (run / "adapter_config.json").write_text(json.dumps({**adapter, "base_model_name_or_path": "ada/base"}))
    rebind(run, change, card=True)
    assert set(states(verified(run)).values()) == {OK}  # its folder is where the run's options say
    config = yaml.safe_load((run / CONFIG).read_text())
    (run / CONFIG).write_text(yaml.safe_dump({**config, "base": "ada/base"}))
    rebind(run, card=True)
    chain = verified(run)
    assert states(chain)["base"] in (OK, MISSING)  # of a repo without revision: it may have moved on
    assert broken(chain) == set()


def test_local_things_that_changed_are_broken(run, places):
    base, dose, mix = places
    weights = (base / "model.safetensors").read_bytes()
    (base / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    mix.write_text(mix.read_text().replace("a", "b", 1))
    (dose / "governance" / "policy.yaml").write_text("name: another")
    chain = verified(run)
    assert {"base", "dose", "mix"} <= broken(chain)
    assert "policy.yaml" in why(chain, "dose")


def test_a_local_path_in_a_record_from_a_hub_is_not_looked_at(api, run, places):
    localised(run, *places)
    api.create_repo("ada/local")
    api.upload_folder(repo_id="ada/local", folder_path=run, allow_patterns=list(PUBLISHED))
    chain = verified("ada/local")
    assert {n for n, s in states(chain).items() if s == MISSING} == {"base", "dose", "mix", "reviewers", "claims"}


def test_the_starter_dose_and_mix_of_another_hfvaccine_are_missing(run, monkeypatch):
    def change(record):
        for name in ("dose", "mix"):
            record[name] |= {"id": "starter", "revision": None}

    config = yaml.safe_load((run / CONFIG).read_text())
    revisions = {"dose_revision": None, "mix_revision": None}
    (run / CONFIG).write_text(yaml.safe_dump({**config, "dose": "starter", "mix": "starter", **revisions}))
    rebind(run, change, card=True)
    assert {"dose", "mix"} <= broken(verified(run))  # this hfvaccine made it, and its starter is another
    monkeypatch.setattr("hfvaccine.lineage.fetch.code_digest", lambda: "0" * 64)
    chain = verified(run)
    assert broken(chain) == set()
    assert states(chain)["dose"] == states(chain)["mix"] == MISSING
    assert starter.MIX.is_file()


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        ("ada/none", HubError, "no model ada/none"),
        ("ada/base", LineageError, "has no immunization.json"),
        ("ada/dose", LineageError, "ada/dose is a dose, not an adapter"),
        ("not an id", UsageError, "neither a folder nor a Hub id"),
        ("ada/adapter@v99", HubError, "no such revision"),
    ],
)
def test_what_is_no_adapter_is_refused(published, source, error, said):
    with pytest.raises(error, match=said):
        papers(source)


def test_two_revisions_of_one_source_are_refused(run):
    with pytest.raises(UsageError, match="so does --revision"):
        papers("ada/adapter@v1", "v2")
    with pytest.raises(UsageError, match="has no revisions"):
        papers(str(run), "v2")


def test_a_foreign_repo_is_refused_in_our_words_alone(run, monkeypatch):
    logged = []
    monkeypatch.setattr("huggingface_hub._snapshot_download.logger.warning", logged.append)
    with pytest.raises(LineageError, match=r"ada/base has no immunization\.json"):
        papers("ada/base", patterns=("none",))
    assert logged == []


@pytest.mark.parametrize("text", ["{", "[]", "", "\xff"])
def test_a_record_that_is_none_is_refused(run, text):
    (run / RECORD).write_text(text, encoding="latin-1")
    with pytest.raises(LineageError, match="is no JSON"):
        papers(str(run))


def test_a_record_of_an_older_schema_is_refused_with_what_to_do(run):
    (run / RECORD).write_text(json.dumps({**record_of(run), "schema_version": 1}))
    with pytest.raises(LineageError, match="schema version 1") as refused:
        gather(papers(str(run)))
    assert "again" in refused.value.next_step
