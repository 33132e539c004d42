"""A demo as a Space: three files without a claim, private by default, and what its program then shows to whom."""

import json
import runpy
from importlib import metadata
from pathlib import Path

import pytest
from hubs import refused
from huggingface_hub import HfApi, RepoCard
from huggingface_hub.errors import RepositoryNotFoundError

from hfvaccine.claims.guard import Guard
from hfvaccine.demo.space import FILES, installed_from, push_space, seen_by_everybody
from hfvaccine.errors import HubError, PublishError, UsageError

GIT = "hfvaccine[demo] @ git+https://example.org/ada/hfvaccine@0123456789"

pytest.importorskip("gradio", reason="The extra [demo] is not installed.")


def push(published, repo_id, **more):
    return push_space(published, repo_id, **{"requirement": GIT, **more})


@pytest.fixture(scope="module")
def space(published):
    """A private Space."""
    push(published, "ada/shown")
    return "ada/shown"


def snapshot(api, repo_id):
    return Path(api.snapshot_download(repo_id, repo_type="space"))


def test_three_files_and_no_claim(space, published, api, claims):
    folder = snapshot(api, space)
    files = {path.name: path.read_text() for path in folder.iterdir() if path.name != ".gitattributes"}
    assert {*files} == {*FILES}
    guard = Guard(text for claim in claims for text in (*claim.texts, claim.claim_id))
    assert [name for name, text in files.items() if guard.find(text)] == []
    commit = api.model_info(published).sha
    assert f'run("{published}@{commit}")' in files["app.py"] and files["requirements.txt"] == f"{GIT}\n"
    card = RepoCard(files["README.md"]).data.to_dict()
    assert card["sdk"] == "gradio" and card["sdk_version"] == metadata.version("gradio")
    assert card["app_file"] == "app.py" and card["license"] == "apache-2.0"
    assert (card["models"], card["datasets"]) == (["ada/adapter", "ada/base"], ["ada/dose"])
    assert len(card["title"]) <= 60 and len(card["short_description"]) <= 60
    assert "This repo holds no claim" in files["README.md"] and "Its gate" not in files["README.md"]


def test_it_is_private_until_it_is_meant_for_everybody(published, api, local, space):
    with pytest.raises(RepositoryNotFoundError):
        HfApi(token=False).space_info(space)
    pushed, lines = push(published, "ada/open", public=True)
    assert HfApi(token=False).space_info("ada/open").sdk == "gradio"
    assert (pushed.url, pushed.tag, lines) == (f"{local.endpoint}/spaces/ada/open", "v1", ())
    again, _ = push(published, "ada/open", public=True)
    assert (again.revision, again.tag) == (pushed.revision, pushed.tag)
    _, lines = push(published, space, public=True)
    assert api.space_info(space).private and "It stays private, as it was." in lines[0]


def shown(api, space, monkeypatch):
    """The questions that stand ready when a Space runs its program, and the page's text."""
    found = {}

    def launch(page, **how):
        found["page"] = json.dumps(page.get_config_file(), ensure_ascii=False)
        assert "share" not in how and how["footer_links"] == []

    monkeypatch.setattr("gradio.Blocks.launch", launch)
    monkeypatch.setenv("SPACE_ID", space)
    runpy.run_path(str(snapshot(api, space) / "app.py"), run_name="__main__")
    return found["page"]


def test_a_private_space_whose_token_may_read_the_dose_shows_its_claims(space, api, claims, monkeypatch):
    page = shown(api, space, monkeypatch)
    assert "Given claims" in page and any(claim.claim in page for claim in claims)


def test_a_space_that_everybody_sees_shows_none(published, api, claims, monkeypatch):
    push(published, "ada/open", public=True)
    page = shown(api, "ada/open", monkeypatch)
    assert "claims of a dose are not shown" in page and "Neutral statements" in page
    assert not any(text in page for claim in claims for text in (claim.claim, claim.twin))


def test_who_sees_a_space(space, monkeypatch):
    assert seen_by_everybody({}) and not seen_by_everybody({"SPACE_ID": space})
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert seen_by_everybody({"SPACE_ID": space})  # where that cannot be told


def test_what_no_space_could_fetch_or_install_is_refused(made, published, api, monkeypatch):
    with pytest.raises(UsageError, match="is on no Hub"):
        push(str(made), "ada/never")
    with pytest.raises(UsageError, match="not a repo id"):
        push(published, "never")
    api.create_repo("ada/taken", repo_type="space", space_sdk="static")
    api.upload_file(path_or_fileobj=b"x", path_in_repo="index.html", repo_id="ada/taken", repo_type="space")
    with pytest.raises(PublishError, match="holds something else"):
        push(published, "ada/taken")
    with pytest.raises(PublishError, match="holds a path"):
        push(published, "ada/never", requirement="hfvaccine @ file:///home/ada/hfvaccine")
    with pytest.raises(HubError):
        push("ada/nothing", "ada/never")
    assert not api.repo_exists("ada/never", repo_type="space")


def test_a_refused_commit_leaves_no_half_space_though_the_hub_wrote_its_first_card(published, api, monkeypatch):
    create = HfApi.create_repo

    def with_a_card(self, repo_id, **more):
        create(self, repo_id, **more)
        api.upload_file(path_or_fileobj=b"hello", path_in_repo="README.md", repo_id=repo_id, repo_type="space")

    def fails(self, *arguments, **more):
        raise refused(403)

    with monkeypatch.context() as patch:
        patch.setattr(HfApi, "create_repo", with_a_card)
        patch.setattr("hfvaccine.hub.repo.Repo._send", fails)
        with pytest.raises(HubError):
            push(published, "ada/half")
    assert not api.repo_exists("ada/half", repo_type="space")
    monkeypatch.setattr(HfApi, "create_repo", with_a_card)
    push(published, "ada/half")
    assert {*api.list_repo_files("ada/half", repo_type="space")} == {*FILES, ".gitattributes"}


class Installed:
    def __init__(self, noted):
        self.noted = noted

    def read_text(self, name):
        return self.noted and json.dumps(self.noted)


@pytest.mark.parametrize(
    "noted",
    [
        None,
        {"url": "file:///srv/hfvaccine", "dir_info": {"editable": True}},
        {"url": "https://ada:secret@example.org/h", "vcs_info": {"vcs": "git", "commit_id": "0" * 40}},
        {"url": "ssh://git@example.org/h", "vcs_info": {"vcs": "git", "commit_id": "0" * 40}},
    ],
)
def test_a_package_that_nobody_else_has_is_refused(noted, monkeypatch):
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed(noted))
    with pytest.raises(UsageError, match="--requirement"):
        installed_from()


def test_what_was_installed_from_git_is_installed_from_there(monkeypatch):
    noted = {"url": "https://example.org/ada/hfvaccine", "vcs_info": {"vcs": "git", "commit_id": "0" * 40}}
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed(noted))
    assert installed_from() == f"hfvaccine[demo] @ git+https://example.org/ada/hfvaccine@{'0' * 40}"
