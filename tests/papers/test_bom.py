"""The bill of materials: everything by digest, valid by CycloneDX's own schema, and nothing that the papers lack."""

import builtins
import json

import pytest
from click.testing import CliRunner
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from finished_runs import bound, finished_run
from inoculated import run_record

from hfvaccine.cli import cli
from hfvaccine.errors import UsageError, ValidationError
from hfvaccine.files import ADAPTER, CARD, RECORD, digest_of
from hfvaccine.packages import install_extra
from hfvaccine.papers.binding import bind
from hfvaccine.papers.bom import bom
from hfvaccine.papers.inoculation import arm_record
from hfvaccine.papers.kind import IMMUNIZED, INOCULATED

COMMIT = "a" * 40
METRIC = {
    "type": "auroc", "value": 0.58, "name": "AUROC",
    "args": {"probe": "cross", "reading": "verdict", "interval": [0.5, 0.6]},
}  # fmt: skip
METADATA = {"license": "apache-2.0", "model-index": [{"name": "x", "results": [{"metrics": [METRIC]}]}]}


@pytest.fixture
def run(tmp_path):
    folder = finished_run(tmp_path / "run", base={"weights": {"model.safetensors": "f" * 64}}, plan={"tokens": 4000})
    record = json.loads((folder / RECORD).read_text())
    (folder / CARD).write_text(f"---\n{json.dumps(METADATA)}\n---\nA card.\n")
    return bound(folder, {**record, "code": {"version": "0.1.0", "sha256": "0" * 64}})


def components(content):
    return {one["bom-ref"]: one for one in content["components"]}


def references(content):
    return {one["ref"] for one in content["metadata"]["component"]["modelCard"]["modelParameters"]["datasets"]}


def properties(component):
    return {one["name"].removeprefix("hfvaccine:"): one["value"] for one in component.get("properties", ())}


def sha256(component):
    return component["hashes"][0]["content"]


def test_all_that_an_adapter_is_made_of_stands_there_by_its_digest(run):
    record = json.loads((run / RECORD).read_text())
    content = bom(record, IMMUNIZED, METADATA, f"alice/adapter@{COMMIT}")
    subject, made_of = content["metadata"]["component"], components(content)
    assert (subject["name"], subject["version"]) == ("alice/adapter", COMMIT)
    assert subject["purl"] == f"pkg:huggingface/alice/adapter@{COMMIT}"
    assert sha256(subject) == digest_of(run / ADAPTER)
    assert {one["name"]: sha256(one) for one in subject["components"]} == record["files"]
    assert subject["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert {"base", "dose", "mix"} <= set(made_of)
    assert made_of["base"]["purl"] == f"pkg:huggingface/alice/tiny@{COMMIT}"
    assert sha256(made_of["base"]["components"][0]) == "f" * 64
    assert sha256(made_of["dose"]) == record["dose"]["manifest_sha256"]
    assert sha256(made_of["mix"]) == record["mix"]["sha256"]
    depends = {one["ref"]: set(one.get("dependsOn", ())) for one in content["dependencies"]}
    assert depends["adapter"] == set(made_of)
    assert references(content) == {"dose", "mix"}
    (number,) = subject["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert number == {
        "type": "auroc", "value": "0.58", "slice": "cross, verdict",
        "confidenceInterval": {"lowerBound": "0.5", "upperBound": "0.6"},
    }  # fmt: skip
    assert "passed" in subject["modelCard"]["considerations"]["technicalLimitations"][0]


def test_each_of_several_doses_and_the_comparisons_stand_there_with_their_licences(run):
    record = json.loads((run / RECORD).read_text())
    first, second = (
        {**record["dose"], "id": f"alice/{name}", "licenses": licenses, "share_asked": asked, "share_given": given}
        for name, licenses, asked, given in (
            ("first", ["mit", "CC-BY-4.0"], 0.05, 0.0497), ("second", ["CC-BY-4.0 OR MIT"], 0.02, 0.0201),
        )
    )  # fmt: skip
    compared = {"id": "starter", "pairs": 7, "sha256": "9" * 64, "licenses": ["Apache-2.0"]}
    content = bom(
        {
            **record,
            "base": {**record["base"], "licenses": ["gemma"]},
            "dose": {**record["dose"], "doses": [first, second], "exposures": 8, "times_given": {"least": 7}},
            "mix": {**record["mix"], "licenses": [], "comparisons": compared},
            "training": {**record["training"], "learning_rate": 2e-4, "objective": "claims", "lora_alpha": None},
        },
        IMMUNIZED,
        {"license": "other", "license_name": "my-own"},
        "run",
    )
    subject, made_of = content["metadata"]["component"], components(content)
    assert references(content) == {"dose", "dose-2", "mix", "comparisons"} <= set(made_of)
    assert {part: made_of[part].get("licenses") for part in ("base", *references(content))} == {
        "base": [{"license": {"name": "gemma"}}],
        "dose": [{"license": {"id": "CC-BY-4.0"}}, {"license": {"id": "MIT"}}],
        "dose-2": [{"expression": "CC-BY-4.0 OR MIT"}],
        "mix": None,
        "comparisons": [{"license": {"id": "Apache-2.0"}}],
    }
    assert subject["licenses"] == [{"license": {"name": "my-own"}}]
    second = properties(made_of["dose-2"])
    assert (second["share_asked"], second["share_given"]) == ("0.02", "0.0201")
    told = properties(subject)
    assert {key: value for key, value in told.items() if key.startswith("training:")} == {
        "training:method": "LoRA", "training:lora_r": "16", "training:learning_rate": "0.0002",
        "training:objective": "claims", "training:exposures": "8", "training:times_given": '{"least": 7}',
    }  # fmt: skip
    assert {key.removeprefix("plan:") for key in told if key.startswith("plan:")} == {*record["plan"]}
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(content)) is None


def test_the_same_record_makes_the_same_document(run):
    record = json.loads((run / RECORD).read_text())
    one, other = (bom(record, IMMUNIZED, METADATA, "run") for _ in range(2))
    assert one == other and one["serialNumber"].startswith("urn:uuid:")


def test_a_booster_depends_on_its_parent(run):
    record = json.loads((run / RECORD).read_text())
    parent = {"id": "alice/first", "revision": None, "adapter_sha256": "1" * 64}
    content = bom({**record, "booster": {"parent": parent}}, IMMUNIZED, METADATA, "run")
    assert sha256(components(content)["parent"]) == "1" * 64


def test_an_inoculated_adapter_has_data_and_no_dose():
    name = "inoculated-seed-0"
    record = bind(arm_record(run_record({name: "2" * 64}), name), {ADAPTER: "2" * 64})
    content = bom(record, INOCULATED, {}, name)
    assert sha256(components(content)["data"]) == "d" * 64 and "dose" not in components(content)
    assert "licenses" not in content["metadata"]["component"]


def test_a_licence_that_spdx_does_not_know_is_named(run):
    record = json.loads((run / RECORD).read_text())
    content = bom(record, IMMUNIZED, {"license": "gemma"}, "run")
    assert content["metadata"]["component"]["licenses"] == [{"license": {"name": "gemma"}}]


def test_a_record_that_makes_none_is_refused_and_so_is_a_missing_extra(run, monkeypatch):
    record = json.loads((run / RECORD).read_text())
    with pytest.raises(ValidationError, match="no valid bill"):
        bom({**record, "files": {ADAPTER: "no digest"}}, IMMUNIZED, METADATA, "run")
    importing = builtins.__import__

    def without(name, *given, **more):
        if name.startswith("cyclonedx"):
            raise ImportError(name=name)
        return importing(name, *given, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError) as refused:
        bom(record, IMMUNIZED, METADATA, "run")
    assert refused.value.next_step == install_extra("bom")


MALFORMED = (
    {"plan": None}, {"files": []}, {"base": {}}, {"versions": 3}, {"finished_at": "soon"}, {"training": None},
    {"dose": ["a"]}, {"gate": "passed"}, {"booster": {}}, {"code": {}},
)  # fmt: skip


@pytest.mark.parametrize("change", MALFORMED, ids=lambda change: next(iter(change)))
def test_a_strangers_malformed_papers_are_refused_by_name(run, change):
    record = json.loads((run / RECORD).read_text())
    with pytest.raises(ValidationError, match=r"papers of alice/adapter are malformed"):
        bom({**record, **change}, IMMUNIZED, METADATA, "alice/adapter")


def test_so_is_a_malformed_card(run):
    record = json.loads((run / RECORD).read_text())
    with pytest.raises(ValidationError, match="malformed"):
        bom(record, IMMUNIZED, {"model-index": [{"name": "x"}]}, "run")


def test_the_command_prints_or_writes_it_whole(run, tmp_path):
    printed = CliRunner().invoke(cli, ["bom", str(run)]).stdout
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(printed) is None
    into = tmp_path / "bom.cdx.json"
    done = CliRunner().invoke(cli, ["bom", str(run), "--output", str(into)])
    assert (done.exit_code, done.stdout) == (0, "") and into.read_text() == printed
    (run / RECORD).write_text((run / RECORD).read_text().replace('"seed": 0', '"seed": 1'))
    assert CliRunner().invoke(cli, ["bom", str(run)]).exit_code != 0
