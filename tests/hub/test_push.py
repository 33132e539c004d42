"""Pushing a dose: what is published, and what never is."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from doses import small_dose
from hubs import text_of
from huggingface_hub import DatasetCard

from hfvaccine import hub
from hfvaccine.claims.dose import MANIFEST, Dose
from hfvaccine.errors import DoseError, PublishError
from hfvaccine.hub.repo import Pushed


def test_a_pushed_dose_is_gated_complete_and_byte_for_byte(alice, api, dose, repo_id, local):
    pushed = hub.push_dose(dose, repo_id, **alice)
    info = api.dataset_info(repo_id)
    assert pushed == Pushed(f"{local.endpoint}/datasets/{repo_id}", repo_id, info.sha, "v1")
    assert (info.gated, info.private) == ("manual", False)
    published = {file.rfilename for file in info.siblings} - {".gitattributes"}
    assert published == {*Dose.load(dose).manifest["files"], MANIFEST}
    for name in published:
        fetched = api.hf_hub_download(repo_id, name, repo_type="dataset")
        assert Path(fetched).read_bytes() == (dose / name).read_bytes()
    assert len(api.list_repo_commits(repo_id, repo_type="dataset")) == 2  # the Hub's own and ours
    assert "extra_gated_fields" in DatasetCard(text_of(api, repo_id, "README.md", "dataset")).data


def test_a_card_sealed_for_another_repo_is_noted_and_left_as_it_is(alice, api, repo_id, tmp_path):
    said = []
    folder = small_dose(tmp_path / "dose", repo_id="alice/elsewhere")
    hub.push_dose(folder, repo_id, progress=said.append, **alice)
    assert any("alice/elsewhere" in line for line in said)
    assert text_of(api, repo_id, "README.md", "dataset") == (folder / "README.md").read_text("utf-8")


def test_rules_of_access_are_never_published(alice, api, repo_id, tmp_path):
    rules = [{"decide": "accept", "when": {"email": "ada@lab.example"}}]
    hub.push_dose(small_dose(tmp_path / "dose", access=rules), repo_id, **alice)
    fetched = Path(api.snapshot_download(repo_id, repo_type="dataset"))
    files = [path for path in fetched.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"lab.example" in path.read_bytes()]


@pytest.mark.parametrize("days", [-400, 0])
def test_a_dose_past_its_day_is_refused(alice, api, repo_id, tmp_path, days):
    day = (datetime.now(UTC) + timedelta(days)).date().isoformat()
    folder = small_dose(tmp_path / "dose", expires_on=day)
    with pytest.raises(PublishError, match=f"expired on {day}") as caught:
        hub.push_dose(folder, repo_id, **alice)
    assert "later date" in caught.value.next_step
    assert not api.repo_exists(repo_id, repo_type="dataset")


def test_a_dose_before_its_day_is_published(alice, repo_id, tmp_path):
    day = (datetime.now(UTC) + timedelta(2)).date().isoformat()
    assert hub.push_dose(small_dose(tmp_path / "dose", expires_on=day), repo_id, **alice).tag == "v1"


def test_a_changed_dose_is_refused_before_anything_is_sent(alice, api, repo_id, tmp_path):
    folder = small_dose(tmp_path / "dose")
    (folder / "governance" / "policy.yaml").write_text("gating: auto\n")
    with pytest.raises(DoseError):
        hub.push_dose(folder, repo_id, **alice)
    assert not api.repo_exists(repo_id, repo_type="dataset")
