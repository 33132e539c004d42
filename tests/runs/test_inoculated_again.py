"""An inoculated adapter from its papers: trained again, merged into its base, and measured anew."""

import json
import shutil

import pytest

from hfvaccine.cli import reproduce as command
from hfvaccine.errors import LineageError, UsageError
from hfvaccine.files import ADAPTER, CARD, CONFIG, INOCULATION, TRAITS, digest_of, write_json
from hfvaccine.hub.adapter_files import adapter_files
from hfvaccine.lineage.fetch import chain_of, gather, papers
from hfvaccine.papers.binding import open_run
from hfvaccine.papers.inoculation import arms_in
from hfvaccine.papers.kind import INOCULATED as KIND
from hfvaccine.papers.record import bound
from hfvaccine.runs.measure import named, put_among_papers
from hfvaccine.runs.merge import merge
from hfvaccine.runs.reproduce import reproduce

ARM = "inoculated-seed-3"


@pytest.fixture
def published(inoculation_run, tmp_path):
    """A folder as somebody else would have it, who has neither data nor base under their paths."""
    for name, content in adapter_files(inoculation_run / ARM, "ada/dozens").items():
        path = tmp_path / "dozens" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            shutil.copy(content.path, path)
    return tmp_path / "dozens"


def test_one_arm_is_trained_again_to_the_same_weights(published, inoculation_run, tiny_llama, tmp_path):
    given = {"base": str(tiny_llama), "data": str(inoculation_run.parent / "rows.jsonl")}
    again = reproduce(str(published), **given, output_dir=tmp_path / "again")
    assert again.same_plan and again.same_ledger and again.same_adapter and again.reproduced
    assert again.others == () and again.same_numbers
    assert [folder.name for folder in arms_in(tmp_path / "again")] == [ARM]  # no other arm was trained
    said = list(command.lines(again))
    assert said[-2] == "Reproduced: the same plan, and the same weights."


def test_other_data_are_said_and_nothing_is_trained(published, tiny_llama, mix_file, tmp_path):
    rows = [{**json.loads(line), "dozens": True} for line in mix_file.read_text().split("\n")[:12]]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    again = reproduce(
        str(published), base=str(tiny_llama), data=str(tmp_path / "rows.jsonl"), output_dir=tmp_path / "again"
    )
    assert not again.reproduced and again.folder is None and not (tmp_path / "again").exists()
    assert "The data are others: their conversations are not those of the record." in again.others


def test_what_is_not_here_has_to_be_named(published, tiny_llama, tmp_path):
    with pytest.raises(UsageError, match=r"data of the run were 'rows\.jsonl'") as caught:
        reproduce(str(published), base=str(tiny_llama), output_dir=tmp_path / "again")
    assert "--data" in caught.value.next_step
    with pytest.raises(UsageError, match="--mix is given"):
        reproduce(str(published), mix="starter", output_dir=tmp_path / "again")
    (published / TRAITS).unlink()
    (published / CONFIG).write_text("seed: 9\n")
    with pytest.raises(LineageError, match="was changed since"):
        reproduce(str(published), output_dir=tmp_path / "again")


def test_a_merged_arm_keeps_its_papers_and_says_what_was_merged(inoculation_run, tiny_llama, tmp_path):
    merged = merge(inoculation_run / ARM, tmp_path / "merged", base=str(tiny_llama))
    record = open_run(merged.folder, KIND.merged_needs, whole=True)
    assert record["training"]["merged"]["adapter_sha256"] == digest_of(inoculation_run / ARM / ADAPTER)
    card = (merged.folder / CARD).read_text()
    assert "with the weights of a LoRA adapter merged in" in card and "hfvaccine-merged" in card
    assert "**UNDECIDED.**" in card and "upper shows most" in card  # it is still known as what was measured
    found = papers(str(merged.folder))
    chain = chain_of(found, gather(found, base=str(tiny_llama)))
    assert {link.name: link.why for link in chain.all() if link.state == "broken"} == {}
    files = adapter_files(merged.folder, "ada/dozens-merged")
    assert "model.safetensors" in files and TRAITS in files and ADAPTER not in files


def test_a_measurement_is_taken_up_by_the_adapters_that_it_measured_and_no_other(inoculation_run, tmp_path):
    run = shutil.copytree(inoculation_run, tmp_path / "run")
    content = json.loads((run / TRAITS).read_text())
    content["arms"] = {name: one for name, one in content["arms"].items() if name != "plain-seed-3"}
    content["shown"] = [one for one in content["shown"] if one["arm"] != "plain-seed-3"]
    before = (run / "plain-seed-3" / INOCULATION).read_bytes()
    assert [put_among_papers(folder, content) for folder in arms_in(run)] == [True, False]
    assert (run / "plain-seed-3" / INOCULATION).read_bytes() == before
    assert "**Not measured beside it**: plain" in (run / ARM / CARD).read_text()
    other = {**content, "base": {**content["base"], "weights_sha256": "0" * 64}}
    assert not put_among_papers(run / ARM, other)  # on another base it is another model
    (run / ARM / CONFIG).write_text("seed: 9\n")
    with pytest.raises(LineageError, match="was changed since"):
        put_among_papers(run / ARM, content)


def test_the_folder_of_an_arm_is_one_adapter_and_that_of_the_run_all(inoculation_run):
    assert list(named([str(inoculation_run / ARM)])) == [ARM]
    assert set(named([str(inoculation_run)])) == {ARM, "plain-seed-3"}


def test_a_record_of_another_schema_is_refused(inoculation_run, tmp_path):
    arm = shutil.copytree(inoculation_run / ARM, tmp_path / "arm")
    record = json.loads((arm / INOCULATION).read_text()) | {"schema_version": 2}
    write_json(bound(record, arm, KIND), arm / INOCULATION)
    with pytest.raises(LineageError, match="schema version 2"):
        open_run(arm)
