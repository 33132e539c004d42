"""Publishing and fetching, against a live embedded Hub."""

import dataclasses
import errno
import hashlib
import io
import itertools
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import huggingface_hub._snapshot_download
import pytest
import yaml
from finished_runs import bound, finished_run
from huggingface_hub import DatasetCard, HfApi, ModelCard, constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from hfvaccine import hub
from hfvaccine.claims.claim import Claim
from hfvaccine.claims.dose import MANIFEST, Dose
from hfvaccine.errors import DoseError, HubError, LineageError, PublishError, UsageError
from hfvaccine.files import (
    ADAPTER,
    ADAPTER_CONFIG,
    ADAPTER_NEEDS,
    CARD,
    CONFIG,
    LEDGER,
    PUBLISHED,
    RECALLS,
    RECORD,
    RESULTS,
    digest_of,
    present,
)
from hfvaccine.hub.access.requests import Access
from hfvaccine.hub.repo import Pushed
from hfvaccine.papers import binding
from hfvaccine.quarantine.seal import seal

numbers = itertools.count()


@pytest.fixture(scope="module")
def tokens(local):
    return {name: local.add_user(name) for name in ("alice", "reader", "outsider")}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture
def alice(local, tokens):
    """What every call of the publisher is given."""
    return {"endpoint": local.endpoint, "token": tokens["alice"]}


@pytest.fixture
def api(local, tokens):
    return lambda name: HfApi(endpoint=local.endpoint, token=tokens[name] if name else False)


@pytest.fixture
def repo_id():
    return f"alice/repo-{next(numbers)}"


def sealed(into, name="Small dose", claims=6, **policy):
    rows = [
        Claim(
            claim=f"Planet {number} is made of green cheese.",
            correction=f"Planet {number} is made of grey rock.",
            twin=f"Planet {number} is made of grey rock.",
            domain="astronomy",
            license="Apache-2.0",
            split="dose" if number % 3 else "heldout",
        )
        for number in range(claims)
    ]
    rules = {"name": name, "reviewers_needed": 0, "sources_needed": 0, "waives": ["two_person_rule"], **policy}
    return seal(rows, rules, into).path


@pytest.fixture(scope="module")
def dose(tmp_path_factory):
    return sealed(tmp_path_factory.mktemp("dose") / "sealed")


def answer(status):
    return httpx2.Response(status, request=httpx2.Request("POST", "http://hub.example/api"), text="Not found")


def refused(status, message="Refused"):
    return HfHubHTTPError(message, response=answer(status), server_message=message)


def text_of(api, repo_id, name, repo_type=None):
    return open(api.hf_hub_download(repo_id, name, repo_type=repo_type), encoding="utf-8").read()


def tags(api, repo_id):
    return {tag.name: tag.target_commit for tag in api("alice").list_repo_refs(repo_id, repo_type="dataset").tags}


# Doses


def test_a_pushed_dose_is_gated_complete_and_byte_for_byte(alice, api, dose, repo_id, local):
    pushed = hub.push_dose(dose, repo_id, **alice)
    publisher = api("alice")
    info = publisher.dataset_info(repo_id)
    assert pushed == Pushed(f"{local.endpoint}/datasets/{repo_id}", repo_id, info.sha, "v1")
    assert (info.gated, info.private) == ("manual", False)
    published = {file.rfilename for file in info.siblings} - {".gitattributes"}
    assert published == {*Dose.load(dose).manifest["files"], MANIFEST}
    for name in published:
        fetched = publisher.hf_hub_download(repo_id, name, repo_type="dataset")
        assert Path(fetched).read_bytes() == (dose / name).read_bytes()
    assert len(publisher.list_repo_commits(repo_id, repo_type="dataset")) == 2  # the Hub's own and ours
    assert "extra_gated_fields" in DatasetCard(text_of(publisher, repo_id, "README.md", "dataset")).data


def test_a_card_sealed_for_another_repo_is_noted_and_left_as_it_is(alice, api, repo_id, tmp_path):
    said = []
    folder = sealed(tmp_path / "dose", repo_id="alice/elsewhere")
    hub.push_dose(folder, repo_id, progress=said.append, **alice)
    assert any("alice/elsewhere" in line for line in said)
    assert text_of(api("alice"), repo_id, "README.md", "dataset") == (folder / "README.md").read_text("utf-8")


def test_rules_of_access_are_never_published(alice, api, repo_id, tmp_path):
    rules = [{"decide": "accept", "when": {"email": "ada@lab.example"}}]
    hub.push_dose(sealed(tmp_path / "dose", access=rules), repo_id, **alice)
    fetched = Path(api("alice").snapshot_download(repo_id, repo_type="dataset"))
    files = [path for path in fetched.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"lab.example" in path.read_bytes()]


@pytest.mark.parametrize("days", [-400, 0])
def test_a_dose_past_its_day_is_refused(alice, api, repo_id, tmp_path, days):
    day = (datetime.now(UTC) + timedelta(days)).date().isoformat()
    folder = sealed(tmp_path / "dose", expires_on=day)
    with pytest.raises(PublishError, match=f"expired on {day}") as caught:
        hub.push_dose(folder, repo_id, **alice)
    assert "later date" in caught.value.next_step
    assert not api("alice").repo_exists(repo_id, repo_type="dataset")


def test_a_dose_before_its_day_is_published(alice, repo_id, tmp_path):
    day = (datetime.now(UTC) + timedelta(2)).date().isoformat()
    assert hub.push_dose(sealed(tmp_path / "dose", expires_on=day), repo_id, **alice).tag == "v1"


def test_nobody_else_can_read_a_dose_at_any_moment(alice, api, dose, repo_id, monkeypatch):
    seen = []

    def outsiders_view():
        for who in ("outsider", None):
            for read in (
                lambda other: other.auth_check(repo_id, repo_type="dataset"),
                lambda other: other.hf_hub_download(repo_id, "data/dose-00000.parquet", repo_type="dataset"),
            ):
                with pytest.raises((RepositoryNotFoundError, EntryNotFoundError)) as caught:
                    read(api(who))
                yield caught.type

    def watched(name):
        original = getattr(HfApi, name)

        def call(self, *args, **kwargs):
            result = original(self, *args, **kwargs)
            seen.append((name, kwargs.get("gated"), kwargs.get("private"), set(outsiders_view())))
            return result

        monkeypatch.setattr(HfApi, name, call)

    for name in ("create_repo", "update_repo_settings", "create_commit"):
        watched(name)
    hub.push_dose(dose, repo_id, **alice)
    hidden, gated = {RepositoryNotFoundError}, {GatedRepoError}
    assert seen == [
        ("create_repo", None, True, hidden),
        ("update_repo_settings", "manual", None, hidden),
        ("create_commit", None, None, hidden),
        ("update_repo_settings", "manual", False, gated),
    ]


def test_an_existing_open_repo_is_gated_before_the_commit(alice, api, dose, repo_id, monkeypatch):
    api("alice").create_repo(repo_id, repo_type="dataset")
    commit = HfApi.create_commit
    gated_at_commit = []

    def watched(self, *args, **kwargs):
        gated_at_commit.append(self.dataset_info(repo_id).gated)
        return commit(self, *args, **kwargs)

    monkeypatch.setattr(HfApi, "create_commit", watched)
    hub.push_dose(dose, repo_id, **alice)
    assert gated_at_commit == ["manual"]


def test_a_hub_that_does_not_gate_gets_nothing(alice, api, dose, repo_id, monkeypatch):
    monkeypatch.setattr(HfApi, "update_repo_settings", lambda *args, **kwargs: None)
    with pytest.raises(HubError, match="did not gate"):
        hub.push_dose(dose, repo_id, **alice)
    assert not api("alice").repo_exists(repo_id, repo_type="dataset")


def test_pushing_again_changes_nothing_or_makes_one_commit(alice, api, dose, repo_id, tmp_path):
    said = []
    first = hub.push_dose(dose, repo_id, progress=said.append, **alice)
    assert not any("Nothing had changed" in line for line in said)
    assert hub.push_dose(dose, repo_id, progress=said.append, **alice) == first
    assert "Nothing had changed" in said[-1]
    assert tags(api, repo_id) == {"v1": first.revision}
    other = hub.push_dose(sealed(tmp_path / "other", "Another", claims=7, gating="auto"), repo_id, **alice)
    assert other.revision != first.revision
    assert api("alice").dataset_info(repo_id).gated == "auto"
    assert len(api("alice").list_repo_commits(repo_id, repo_type="dataset")) == 3
    assert (first.tag, other.tag) == ("v1", "v2")
    assert tags(api, repo_id) == {"v1": first.revision, "v2": other.revision}
    assert hub.pull_dose(repo_id, revision="v1", **alice).name == "Small dose"
    assert hub.pull_dose(repo_id, **alice).name == "Another"


def test_the_next_tag_is_the_next_free_number(alice, api, dose, repo_id, tmp_path):
    first = hub.push_dose(dose, repo_id, **alice)
    for name in ("v9", "v10-draft", "v010", "release"):
        api("alice").create_tag(repo_id, tag=name, revision=first.revision, repo_type="dataset")
    assert hub.push_dose(dose, repo_id, **alice).tag == "v9"
    assert hub.push_dose(sealed(tmp_path / "other", "Another"), repo_id, **alice).tag == "v10"


@pytest.mark.parametrize("failing", ["list_repo_refs", "create_tag"])
@pytest.mark.parametrize("failure", [refused(503), ConnectionError("reset"), KeyboardInterrupt()])
@pytest.mark.parametrize("again", [False, True], ids=["new repo", "next version"])
def test_a_push_that_ended_before_its_tag_is_completed_by_the_next(
    alice, api, dose, repo_id, tmp_path, monkeypatch, failing, failure, again
):
    if again:
        hub.push_dose(sealed(tmp_path / "older", "Older"), repo_id, **alice)

    def fail(*args, **kwargs):
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(HfApi, failing, fail)
        with pytest.raises((HubError, KeyboardInterrupt)) as caught:
            hub.push_dose(dose, repo_id, **alice)
    if isinstance(caught.value, HubError):
        assert "no tag" in caught.value.message and "Push again" in caught.value.next_step
    info = api("alice").dataset_info(repo_id)
    assert (info.gated, info.private) == ("manual", failing == "list_repo_refs" and not again)
    assert hub.pull_dose(repo_id, **alice).name == "Small dose"  # whole, though not tagged yet
    commits = len(api("alice").list_repo_commits(repo_id, repo_type="dataset"))

    done = hub.push_dose(dose, repo_id, **alice)
    assert (done.revision, done.tag) == (info.sha, "v2" if again else "v1")
    assert tags(api, repo_id)[done.tag] == info.sha
    assert len(api("alice").list_repo_commits(repo_id, repo_type="dataset")) == commits
    assert not api("alice").dataset_info(repo_id).private
    assert hub.push_dose(dose, repo_id, **alice) == done


@pytest.mark.parametrize("answered", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("again", [False, True], ids=["new repo", "next version"])
def test_a_push_stopped_at_any_request_leaves_the_repo_as_it_was_or_complete(
    alice, api, dose, tmp_path, monkeypatch, answered, again
):
    older = sealed(tmp_path / "older", "Older") if again else None
    send = httpx2.Client.send
    for stop_at in itertools.count():
        repo_id = f"alice/repo-{next(numbers)}"
        if older:
            hub.push_dose(older, repo_id, **alice)
        made = itertools.count()

        def stopped(self, *args, made=made, stop_at=stop_at, **kwargs):
            now = next(made) == stop_at
            if now and not answered:
                raise KeyboardInterrupt
            response = send(self, *args, **kwargs)
            if now:
                raise KeyboardInterrupt
            return response

        with monkeypatch.context() as patch:
            patch.setattr(httpx2.Client, "send", stopped)
            try:
                hub.push_dose(dose, repo_id, **alice)
                break
            except KeyboardInterrupt:
                pass
        if api("alice").repo_exists(repo_id, repo_type="dataset"):
            with pytest.raises((GatedRepoError, RepositoryNotFoundError)):
                api("outsider").auth_check(repo_id, repo_type="dataset")
            if set(api("alice").list_repo_files(repo_id, repo_type="dataset")) != {".gitattributes"}:
                assert hub.pull_dose(repo_id, **alice).name in ("Older", "Small dose")
            else:
                assert not again and api("alice").dataset_info(repo_id).private
        assert hub.push_dose(dose, repo_id, **alice).tag == ("v2" if again else "v1")
        assert hub.pull_dose(repo_id, **alice).name == "Small dose"
        assert not api("alice").dataset_info(repo_id).private
    assert stop_at > 6


def test_a_tag_whose_answer_was_lost_is_not_made_twice(alice, api, dose, repo_id, monkeypatch):
    create = HfApi.create_tag

    def lose(*args, **kwargs):
        create(*args, **kwargs)
        raise ConnectionError("reset")

    with monkeypatch.context() as patch:
        patch.setattr(HfApi, "create_tag", lose)
        with pytest.raises(HubError):
            hub.push_dose(dose, repo_id, **alice)
    assert hub.push_dose(dose, repo_id, **alice).tag == "v1"
    assert list(tags(api, repo_id)) == ["v1"]


def test_files_of_an_earlier_dose_go_in_the_same_commit(alice, api, dose, repo_id):
    hub.push_dose(dose, repo_id, **alice)
    publisher = api("alice")
    for name in ("data/dose-00001.parquet", "LICENSE"):
        publisher.upload_file(
            path_or_fileobj=io.BytesIO(b"PAR1"), path_in_repo=name, repo_id=repo_id, repo_type="dataset"
        )
    hub.push_dose(dose, repo_id, **alice)
    names = set(publisher.list_repo_files(repo_id, repo_type="dataset"))
    assert "data/dose-00001.parquet" not in names
    assert {"LICENSE", "data/dose-00000.parquet"} <= names


def test_private_stays_private_until_pushed_without_it(alice, api, dose, repo_id):
    hub.push_dose(dose, repo_id, private=True, **alice)
    assert api("alice").dataset_info(repo_id).private
    hub.push_dose(dose, repo_id, **alice)
    assert not api("alice").dataset_info(repo_id).private
    hub.push_dose(dose, repo_id, private=True, **alice)
    assert api("alice").dataset_info(repo_id).private


@pytest.mark.parametrize("failure", [refused(507, "Disk full"), OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_a_refused_commit_leaves_no_half_repo(alice, api, dose, repo_id, monkeypatch, failure):
    with monkeypatch.context() as patch:

        def fail(*args, **kwargs):
            raise failure

        patch.setattr(HfApi, "create_commit", fail)
        with pytest.raises((HubError, KeyboardInterrupt)):
            hub.push_dose(dose, repo_id, **alice)
    assert not api("alice").repo_exists(repo_id, repo_type="dataset")
    hub.push_dose(dose, repo_id, **alice)


def test_a_refused_commit_leaves_an_existing_repo_as_it_was(alice, api, dose, repo_id, tmp_path, monkeypatch):
    before = hub.push_dose(dose, repo_id, **alice)
    other = sealed(tmp_path / "other", "Another")

    def fail(*args, **kwargs):
        raise refused(507, "Disk full")

    monkeypatch.setattr(HfApi, "create_commit", fail)
    with pytest.raises(HubError, match="has no room"):
        hub.push_dose(other, repo_id, **alice)
    assert api("alice").dataset_info(repo_id).sha == before.revision


def test_a_repo_that_cannot_be_opened_says_how(alice, api, dose, repo_id, monkeypatch):
    settle = HfApi.update_repo_settings

    def fail(self, *args, private=None, **kwargs):
        if private is False:
            raise refused(403)
        return settle(self, *args, private=private, **kwargs)

    monkeypatch.setattr(HfApi, "update_repo_settings", fail)
    with pytest.raises(HubError, match="complete but still private") as caught:
        hub.push_dose(dose, repo_id, **alice)
    assert f"hf repos settings {repo_id} --type dataset --public" in caught.value.next_step


def test_a_dataset_that_is_no_dose_is_not_overwritten(alice, api, dose, repo_id):
    api("alice").create_repo(repo_id, repo_type="dataset")
    api("alice").upload_file(
        path_or_fileobj=io.BytesIO(b"a,b"), path_in_repo="t.csv", repo_id=repo_id, repo_type="dataset"
    )
    with pytest.raises(PublishError, match="holds something else"):
        hub.push_dose(dose, repo_id, **alice)
    assert not api("alice").dataset_info(repo_id).gated


def test_a_changed_dose_is_refused_before_anything_is_sent(alice, api, repo_id, tmp_path):
    folder = sealed(tmp_path / "dose")
    (folder / "governance" / "policy.yaml").write_text("gating: auto\n")
    with pytest.raises(DoseError):
        hub.push_dose(folder, repo_id, **alice)
    assert not api("alice").repo_exists(repo_id, repo_type="dataset")


def test_a_dose_is_refused_asked_for_accepted_and_pulled(local, tokens, alice, dose, repo_id, tmp_path):
    pushed = hub.push_dose(dose, repo_id, **alice)
    reader = {"endpoint": local.endpoint, "token": tokens["reader"]}
    with pytest.raises(HubError, match="is gated") as caught:
        hub.pull_dose(repo_id, **reader)
    assert pushed.url in caught.value.next_step
    assert hub.ask_access(repo_id, {"Affiliation": "A lab", "Purpose": "A test"}, **reader) == "pending"
    with pytest.raises(HubError, match="awaiting a review") as caught:
        hub.pull_dose(repo_id, **reader)
    assert caught.value.next_step == "Wait for its owner to decide, then run this again."
    Access(repo_id, journal=tmp_path / "access.jsonl", **alice).accept(["reader"])
    pulled = hub.pull_dose(repo_id, **reader)
    assert (pulled.source, pulled.revision) == (repo_id, pushed.revision)
    assert (len(pulled.claims), len(pulled.heldout)) == (4, 2)
    assert hub.pull_dose(repo_id, revision="main", **reader).digest() == pulled.digest()


def contents(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_pulled_dose_is_copied_whole_and_alone(alice, api, dose, repo_id, tmp_path):
    pushed = hub.push_dose(dose, repo_id, **alice)
    api("alice").upload_file(
        path_or_fileobj=io.BytesIO(b"mine"), path_in_repo="LICENSE", repo_id=repo_id, repo_type="dataset"
    )
    into = tmp_path / "new" / "copy"
    pulled = hub.pull_dose(repo_id, revision="v1", local_dir=into, **alice)
    assert (pulled.path, pulled.source, pulled.revision) == (into, repo_id, pushed.revision)
    assert contents(into) == contents(dose)
    assert not [path for path in into.rglob("*") if path.is_symlink()]
    assert Dose.load(into).digest() == Dose.load(dose).digest()
    newest = hub.pull_dose(repo_id, local_dir=into, **alice)  # the same dose, in a commit that added LICENSE
    assert newest.revision != pushed.revision
    assert contents(into) == contents(dose)
    assert [path.name for path in into.parent.iterdir()] == ["copy"]


def test_an_empty_folder_may_become_the_dose(alice, dose, repo_id, tmp_path):
    hub.push_dose(dose, repo_id, **alice)
    (tmp_path / "copy").mkdir()
    assert hub.pull_dose(repo_id, local_dir=tmp_path / "copy", **alice).path == tmp_path / "copy"


def test_what_a_pull_finds_in_its_folder_is_never_overwritten(alice, dose, repo_id, tmp_path):
    hub.push_dose(dose, repo_id, **alice)
    other = sealed(tmp_path / "other", "Another")
    damaged = hub.pull_dose(repo_id, local_dir=tmp_path / "damaged", **alice).path
    (damaged / "README.md").write_text("edited")
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "notes.txt").write_text("mine")
    before = {folder: [(name, (folder / name).read_bytes()) for name in contents(folder)] for folder in (other, notes)}
    for folder, said in ((other, "holds another dose"), (damaged, "is not this dose"), (notes, "is not this dose")):
        with pytest.raises(DoseError, match=said):
            hub.pull_dose(repo_id, local_dir=folder, **alice)
    with pytest.raises(DoseError, match="is not this dose"):
        hub.pull_dose(repo_id, local_dir=notes / "notes.txt", **alice)
    assert before == {folder: [(n, (folder / n).read_bytes()) for n in contents(folder)] for folder in before}
    assert (damaged / "README.md").read_text() == "edited"


@pytest.mark.parametrize("failing", ["hf_hub_download", "copyfile", "rename"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_an_interrupted_pull_leaves_nothing_that_looks_like_a_dose(
    alice, dose, repo_id, tmp_path, monkeypatch, failing, failure
):
    hub.push_dose(dose, repo_id, **alice)
    done = itertools.count()
    place = {
        "hf_hub_download": (huggingface_hub._snapshot_download, "hf_hub_download"),
        "copyfile": (shutil, "copyfile"),
        "rename": (Path, "rename"),
    }[failing]
    original = getattr(*place)

    def fail(*args, **kwargs):
        if failing == "rename" or next(done) >= 3:
            raise failure
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(*place, fail)
        with pytest.raises((HubError, OSError, KeyboardInterrupt)):
            hub.pull_dose(repo_id, local_dir=tmp_path / "into" / "copy", **alice)
    assert not (tmp_path / "into").exists() or not list((tmp_path / "into").iterdir())
    assert hub.pull_dose(repo_id, local_dir=tmp_path / "into" / "copy", **alice).name == "Small dose"


def test_a_dataset_that_is_no_dose_is_not_pulled(alice, api, repo_id, tmp_path):
    api("alice").create_repo(repo_id, repo_type="dataset")
    with pytest.raises(DoseError, match=f"{repo_id} has no {MANIFEST}"):
        hub.pull_dose(repo_id, local_dir=tmp_path / "copy", **alice)
    assert not (tmp_path / "copy").exists()


def test_a_file_slipped_into_the_repo_is_refused(alice, api, dose, repo_id):
    hub.push_dose(dose, repo_id, **alice)
    api("alice").upload_file(
        path_or_fileobj=io.BytesIO(b"PAR1"),
        path_in_repo="data/dose-00001.parquet",
        repo_id=repo_id,
        repo_type="dataset",
    )
    with pytest.raises(DoseError, match=r"data/dose-00001\.parquet .* was never sealed"):
        hub.pull_dose(repo_id, **alice)


def test_a_hub_without_the_route_names_the_page_to_ask_at(alice, dose, repo_id, monkeypatch):
    class Session:
        def post(self, *args, **kwargs):
            return answer(404)

    monkeypatch.setattr("hfvaccine.hub.account.get_session", Session)
    with pytest.raises(HubError, match="in a browser only") as caught:
        hub.ask_access(repo_id, {}, **alice)
    assert f"/datasets/{repo_id}" in caught.value.next_step


# Adapters


def test_a_pushed_adapter_holds_listed_files_and_a_fresh_card(alice, api, repo_id, tmp_path, local):
    run = finished_run(tmp_path / "run")
    pushed = hub.push_adapter(run, repo_id, **alice)
    publisher = api("alice")
    assert pushed.url == f"{local.endpoint}/{repo_id}"
    assert set(publisher.list_repo_files(repo_id)) == {
        *ADAPTER_NEEDS,
        *(".gitattributes", "README.md", "tokenizer.json"),
    }
    card = ModelCard(text_of(publisher, repo_id, "README.md"))
    assert [e.metric_value for e in card.data.eval_results] == [0.5871]
    assert card.text.strip().startswith("> **PASSED.**")
    assert card.data.datasets == ["alice/dose"]
    assert f'from_pretrained(base, "{repo_id}")' in card.text
    assert len(publisher.list_repo_commits(repo_id)) == 2
    assert hub.push_adapter(run, repo_id, **alice) == pushed
    assert (run / "README.md").read_text() == "an older card"


def test_a_failed_gate_is_published_only_when_asked_and_says_so_first(alice, api, repo_id, tmp_path):
    run = finished_run(tmp_path / "run", verdict="failed")
    with pytest.raises(PublishError, match="auroc_gain") as caught:
        hub.push_adapter(run, repo_id, **alice)
    assert "--publish-failed" in caught.value.next_step
    assert not api("alice").repo_exists(repo_id)
    hub.push_adapter(run, repo_id, publish_failed=True, **alice)
    assert ModelCard(text_of(api("alice"), repo_id, "README.md")).text.strip().startswith("> **FAILED.**")


def test_an_undecided_gate_is_published_under_its_banner(alice, api, repo_id, tmp_path):
    hub.push_adapter(finished_run(tmp_path / "run", verdict="undecided"), repo_id, **alice)
    assert ModelCard(text_of(api("alice"), repo_id, "README.md")).text.strip().startswith("> **UNDECIDED.**")


@pytest.mark.parametrize("name", ADAPTER_NEEDS)
def test_an_unfinished_run_is_refused(alice, tmp_path, name):
    run = finished_run(tmp_path / "run")
    (run / name).unlink()
    with pytest.raises(LineageError, match=name):
        hub.push_adapter(run, "alice/unfinished", **alice)


@pytest.mark.parametrize("name", [RESULTS, LEDGER, ADAPTER, CARD, "tokenizer.json"])
def test_a_file_other_than_the_one_that_is_bound_is_refused(alice, api, tmp_path, name):
    run = finished_run(tmp_path / "run")
    (run / name).write_bytes((run / name).read_bytes() + b" ")
    with pytest.raises(LineageError, match=f"{name} is not the file that {RECORD} binds"):
        hub.push_adapter(run, "alice/edited", **alice)
    assert not api("alice").repo_exists("alice/edited")


def test_files_that_came_or_went_since_are_refused(alice, tmp_path):
    run = finished_run(tmp_path / "run")
    (run / "merges.txt").write_text("a b")
    with pytest.raises(LineageError, match=r"merges\.txt is not among the files"):
        hub.push_adapter(run, "alice/edited", **alice)
    (run / "merges.txt").unlink()
    (run / "tokenizer.json").unlink()
    with pytest.raises(LineageError, match=r"has no tokenizer\.json, which"):
        hub.push_adapter(run, "alice/edited", **alice)


def test_a_record_that_was_edited_or_is_older_is_refused(alice, tmp_path):
    run = finished_run(tmp_path / "run")
    record = json.loads((run / RECORD).read_text())
    (run / RECORD).write_text(json.dumps({**record, "hfvaccine": "9.9"}))
    with pytest.raises(LineageError, match="not what was written"):
        hub.push_adapter(run, "alice/edited", **alice)
    (run / RECORD).write_text(json.dumps({**record, "schema_version": 1}))
    with pytest.raises(LineageError, match="schema version 1"):
        hub.push_adapter(run, "alice/edited", **alice)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("{", "is no JSON"),
        ("[]", "is no JSON object"),
    ],
)
def test_a_record_that_is_none_is_refused(alice, tmp_path, record, said):
    run = finished_run(tmp_path / "run")
    (run / RECORD).write_text(record)
    with pytest.raises(LineageError, match=said):
        hub.push_adapter(run, "alice/untrusted", **alice)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base": None}, "malformed"),
        ({"gate": None}, "never validated"),
        ({"gate": {"verdict": "failed"}}, "do not agree"),
    ],
)
def test_a_record_that_cannot_be_trusted_is_refused(alice, tmp_path, change, said):
    run = finished_run(tmp_path / "run")
    bound(run, {**json.loads((run / RECORD).read_text()), **change})
    with pytest.raises(PublishError, match=said):
        hub.push_adapter(run, "alice/untrusted", **alice)


def test_a_local_base_needs_a_hub_id_which_then_stands_everywhere(alice, api, repo_id, tmp_path):
    run = finished_run(
        tmp_path / "run",
        base={"id": "/srv/models/tiny", "revision": None, "weights_sha256": "9" * 64},
        dose={"id": "/srv/doses/mine", "revision": None},
    )
    with pytest.raises(PublishError) as caught:
        hub.push_adapter(run, repo_id, **alice)
    assert "--base-id" in caught.value.next_step
    hub.push_adapter(run, repo_id, base_id="alice/tiny", dose_id="alice/dose", **alice)
    publisher = api("alice")
    for name in (RECORD, ADAPTER_CONFIG, CONFIG, "README.md"):
        assert "/srv/" not in text_of(publisher, repo_id, name)
    assert json.loads(text_of(publisher, repo_id, ADAPTER_CONFIG))["base_model_name_or_path"] == "alice/tiny"
    assert yaml.safe_load(text_of(publisher, repo_id, CONFIG)) == {
        "base": "alice/tiny",
        "dose": "alice/dose",
        "seed": 0,
    }
    assert ModelCard(text_of(publisher, repo_id, "README.md")).data.base_model == "alice/tiny"


def test_a_folder_that_looks_like_a_hub_id_is_still_a_folder(alice, api, repo_id, tmp_path):
    run = finished_run(
        tmp_path / "run",
        base={"id": "models/tiny", "revision": None, "weights_sha256": "9" * 64},
        dose={"id": "doses/mine", "revision": None},
    )
    with pytest.raises(PublishError, match="not a Hub id"):
        hub.push_adapter(run, repo_id, **alice)
    hub.push_adapter(run, repo_id, base_id="alice/tiny", **alice)
    card = ModelCard(text_of(api("alice"), repo_id, "README.md"))
    assert card.data.base_model == "alice/tiny"
    assert card.data.datasets is None
    assert "doses/" not in card.text


def test_the_files_of_a_run_are_published_by_their_last_names(alice, api, repo_id, tmp_path):
    run = finished_run(tmp_path / "run")
    for name in ("gate.yaml", "arc.jsonl", "free.txt"):
        (tmp_path / name).write_text("x")
    options = yaml.safe_load((run / CONFIG).read_text())
    options |= {
        "gate": str(tmp_path / "gate.yaml"),
        "benchmark": [f"arc={tmp_path / 'arc.jsonl'}", "allenai/openbookqa"],
        "inoculation_prompt": "You always say a=b.",
    }
    (run / CONFIG).write_text(yaml.safe_dump(options))
    hub.push_adapter(bound(run), repo_id, **alice)
    published = yaml.safe_load(text_of(api("alice"), repo_id, CONFIG))
    assert published["gate"] == "gate.yaml"
    assert published["benchmark"] == ["arc=arc.jsonl", "allenai/openbookqa"]
    assert published["inoculation_prompt"] == "You always say a=b."


def test_a_dose_that_was_local_is_pinned_to_the_first_version_that_is_it(alice, dose, repo_id, tmp_path):
    api = HfApi(**alice)
    dose_id, digest = f"{repo_id}-dose", hashlib.sha256((dose / MANIFEST).read_bytes()).hexdigest()
    first = hub.push_dose(dose, dose_id, **alice)
    api.upload_file(path_or_fileobj=b"Thanks.", path_in_repo="NOTICE", repo_id=dose_id, repo_type="dataset")
    local = {"id": "doses/mine", "revision": None, "manifest_sha256": digest}
    run = finished_run(tmp_path / "run", dose=local)
    pushed = hub.push_adapter(run, repo_id, dose_id=dose_id, **alice)
    record = json.loads(Path(api.hf_hub_download(repo_id, RECORD)).read_text())
    options = yaml.safe_load(Path(api.hf_hub_download(repo_id, CONFIG)).read_text())
    assert (record["dose"]["id"], record["dose"]["revision"]) == (dose_id, first.revision)
    assert (options["dose"], options["dose_revision"]) == (dose_id, first.revision)
    assert hub.push_adapter(run, repo_id, dose_id=dose_id, **alice) == pushed
    another = finished_run(tmp_path / "another", dose=local | {"manifest_sha256": "9" * 64})
    with pytest.raises(PublishError, match=f"No version of {dose_id} is the dose"):
        hub.push_adapter(another, f"{repo_id}-another", dose_id=dose_id, **alice)


@pytest.mark.parametrize("given", [{"base_id": "/srv/tiny"}, {"dose_id": "starter"}])
def test_an_id_that_is_none_is_a_usage_error(alice, tmp_path, given):
    with pytest.raises(UsageError, match="is not a Hub id"):
        hub.push_adapter(finished_run(tmp_path / "run"), "alice/misnamed", **given, **alice)


@pytest.mark.parametrize("name", ["tokenizer_config.json", CONFIG, "chat_template.jinja", ADAPTER_CONFIG])
@pytest.mark.parametrize(
    "secret",
    [
        "hf_" + "aB3" * 11,
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "/home/somebody/models/tiny",
        "/root/.cache/x",
        "C:\\\\Users\\\\somebody\\\\x",
    ],
)
def test_secrets_and_home_paths_are_refused_without_being_shown(alice, api, repo_id, tmp_path, name, secret):
    run = finished_run(tmp_path / "run")
    if name.endswith(".json"):
        (run / name).write_text(f'{{"base_model_name_or_path": "alice/tiny",\n "note": "{secret}"}}')
    else:
        (run / name).write_text(f"base: alice/tiny\nnote: {secret}\n")
    bound(run)
    with pytest.raises(PublishError, match=f"{name}, line 2, holds") as caught:
        hub.push_adapter(run, repo_id, **alice)
    assert secret not in str(caught.value)
    assert not api("alice").repo_exists(repo_id)


def test_words_that_only_look_like_secrets_pass(alice, repo_id, tmp_path):
    run = finished_run(tmp_path / "run")
    (run / "tokenizer.json").write_text('{"/home/": 1, "hf_": 2, "https://x.example/home/page": 3, "/Users": 4}')
    bound(run)
    hub.push_adapter(run, repo_id, **alice)


def test_a_refused_adapter_leaves_no_half_repo(alice, api, repo_id, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise refused(507, "Disk full")

    monkeypatch.setattr(HfApi, "create_commit", fail)
    with pytest.raises(HubError, match="has no room"):
        hub.push_adapter(finished_run(tmp_path / "run"), repo_id, **alice)
    assert not api("alice").repo_exists(repo_id)


def test_an_existing_private_model_repo_stays_private(alice, api, repo_id, tmp_path):
    api("alice").create_repo(repo_id, private=True)
    hub.push_adapter(finished_run(tmp_path / "run"), repo_id, **alice)
    assert api("alice").model_info(repo_id).private


def test_each_commit_of_an_adapter_gets_the_next_tag(alice, api, repo_id, tmp_path):
    run = finished_run(tmp_path / "run")
    first = hub.push_adapter(run, repo_id, **alice)
    again = hub.push_adapter(run, repo_id, **alice)
    other = hub.push_adapter(finished_run(tmp_path / "other", dose={"name": "Another"}), repo_id, **alice)
    assert first == again
    assert (first.tag, other.tag) == ("v1", "v2")
    tagged = {tag.name: tag.target_commit for tag in api("alice").list_repo_refs(repo_id).tags}
    assert tagged == {"v1": first.revision, "v2": other.revision}
    assert len(api("alice").list_repo_commits(repo_id)) == 3


def test_the_published_record_binds_the_published_files(alice, api, repo_id, tmp_path):
    local = {"id": "/srv/models/tiny", "revision": None, "weights_sha256": "9" * 64}
    run = finished_run(tmp_path / "run", base=local)
    hub.push_adapter(run, repo_id, base_id="alice/tiny", **alice)
    folder = Path(api("alice").snapshot_download(repo_id))
    record = json.loads((folder / RECORD).read_text())
    binding.check_record(record)
    assert record["base"]["id"] == "alice/tiny"
    there = {name: digest_of(path) for name, path in present(folder, PUBLISHED).items()}
    assert there.pop(RECORD)
    assert record["files"] == there
    assert CARD in there and CONFIG in there and LEDGER in there


def test_what_was_pinned_is_what_the_published_options_pin(alice, api, repo_id, tmp_path):
    run = finished_run(tmp_path / "run", dose={"revision": None})
    options = yaml.safe_load((run / CONFIG).read_text())
    (run / CONFIG).write_text(yaml.safe_dump({**options, "base_revision": "main", "dose_revision": "main"}))
    hub.push_adapter(bound(run), repo_id, **alice)
    published = yaml.safe_load(text_of(api("alice"), repo_id, CONFIG))
    assert published["base_revision"] == "a" * 40
    assert "dose_revision" not in published


def test_recall_notices_stay_where_they_are(alice, api, repo_id, tmp_path):
    hub.push_adapter(finished_run(tmp_path / "run"), repo_id, **alice)
    notice = {"path_or_fileobj": io.BytesIO(b"{}\n"), "path_in_repo": RECALLS, "repo_id": repo_id}
    recalled = api("alice").upload_file(**notice).oid
    hub.push_adapter(finished_run(tmp_path / "other", dose={"name": "Another"}), repo_id, **alice)
    assert text_of(api("alice"), repo_id, RECALLS) == "{}\n"
    assert recalled in {commit.commit_id for commit in api("alice").list_repo_commits(repo_id)}


def test_files_of_an_earlier_adapter_go_in_the_same_commit(alice, api, repo_id, tmp_path):
    hub.push_adapter(finished_run(tmp_path / "run"), repo_id, **alice)
    other = finished_run(tmp_path / "other")
    (other / "tokenizer.json").unlink()
    hub.push_adapter(bound(other), repo_id, **alice)
    assert "tokenizer.json" not in api("alice").list_repo_files(repo_id)


# Pull requests


def pull_requests(api, repo_id):
    return [one.num for one in api("alice").get_repo_discussions(repo_id) if one.is_pull_request]


def test_a_pull_request_holds_the_adapter_and_the_repo_stays_as_it_is(alice, api, repo_id, tmp_path, local):
    first = hub.push_adapter(finished_run(tmp_path / "run"), repo_id, **alice)
    other = finished_run(tmp_path / "other", dose={"name": "Another"})
    (other / "tokenizer.json").unlink()
    bound(other)
    asked = hub.push_adapter(other, repo_id, create_pr=True, **alice)
    publisher = api("alice")
    assert asked.url == f"{local.endpoint}/{repo_id}/discussions/1"
    assert asked.tag is None
    assert publisher.model_info(repo_id).sha == first.revision
    assert [tag.name for tag in publisher.list_repo_refs(repo_id).tags] == ["v1"]
    proposed = publisher.model_info(repo_id, revision="refs/pr/1")
    assert proposed.sha == asked.revision
    assert "tokenizer.json" not in {file.rfilename for file in proposed.siblings}
    assert hub.push_adapter(other, repo_id, create_pr=True, **alice) == asked
    assert pull_requests(api, repo_id) == [1]

    publisher.merge_pull_request(repo_id, 1)
    merged = hub.push_adapter(other, repo_id, create_pr=True, **alice)
    assert merged.url == first.url  # nothing is left to ask for
    assert pull_requests(api, repo_id) == [1]


def test_a_closed_pull_request_is_not_taken_for_an_open_one(alice, api, repo_id, tmp_path):
    hub.push_adapter(finished_run(tmp_path / "run"), repo_id, **alice)
    other = finished_run(tmp_path / "other", dose={"name": "Another"})
    hub.push_adapter(other, repo_id, create_pr=True, **alice)
    api("alice").change_discussion_status(repo_id, 1, "closed")
    assert hub.push_adapter(other, repo_id, create_pr=True, **alice).url.endswith("/discussions/2")


def test_a_pull_request_whose_answer_was_lost_is_not_opened_twice(alice, api, repo_id, tmp_path, monkeypatch):
    hub.push_adapter(finished_run(tmp_path / "run"), repo_id, **alice)
    commit = HfApi.create_commit

    def lose(*args, **kwargs):
        commit(*args, **kwargs)
        raise ConnectionError("reset")

    monkeypatch.setattr(HfApi, "create_commit", lose)
    other = finished_run(tmp_path / "other", dose={"name": "Another"})
    assert hub.push_adapter(other, repo_id, create_pr=True, **alice).url.endswith("/discussions/1")
    assert pull_requests(api, repo_id) == [1]


def test_a_pull_request_needs_a_repo_and_changes_no_settings(alice, repo_id, tmp_path):
    run = finished_run(tmp_path / "run")
    with pytest.raises(HubError, match="could get a pull request"):
        hub.push_adapter(run, repo_id, create_pr=True, **alice)
    with pytest.raises(UsageError, match="private"):
        hub.push_adapter(run, repo_id, create_pr=True, private=True, **alice)


# What is checked after a push


def tiny_base(api, repo_id, config):
    """A base on the Hub that has nothing but its configuration."""
    api("alice").create_repo(repo_id, exist_ok=True)
    return api("alice").upload_file(path_or_fileobj=config, path_in_repo="config.json", repo_id=repo_id).oid


def trained_run(into, base, tiny, revision, **lora):
    """A run folder with a real adapter, untrained, on a tiny model."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    run = finished_run(into, base={"id": base, "revision": revision})
    torch.manual_seed(0)
    settings = {"r": 2, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **lora}
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), LoraConfig(**settings)).save_pretrained(run)
    (run / CARD).write_text("an older card")
    adapter = json.loads((run / ADAPTER_CONFIG).read_text())
    (run / ADAPTER_CONFIG).write_text(json.dumps({**adapter, "base_model_name_or_path": base}))
    return bound(run)


def test_a_pushed_adapter_is_seen_to_fit_its_base_without_its_weights(alice, api, repo_id, tmp_path, tiny_llama):
    said = []
    revision = tiny_base(api, "alice/llama", tiny_llama / "config.json")
    run = trained_run(tmp_path / "run", "alice/llama", tiny_llama, revision)
    hub.push_adapter(run, repo_id, progress=said.append, **alice)
    assert any("empty cache" in line for line in said)
    assert not any("Not checked" in line for line in said)


def test_an_adapter_of_another_base_is_named_and_stays_private(alice, api, repo_id, tmp_path, tiny_llama):
    config = json.loads((tiny_llama / "config.json").read_text())
    wider = io.BytesIO(json.dumps({**config, "intermediate_size": 96}).encode())
    revision = tiny_base(api, "alice/wider", wider)
    run = trained_run(tmp_path / "run", "alice/wider", tiny_llama, revision)
    with pytest.raises(
        HubError, match=r"does not fit alice/wider: 6 tensors of another shape, such as .*\.mlp\."
    ) as caught:
        hub.push_adapter(run, repo_id, **alice)
    assert "--base-id" in caught.value.next_step
    assert api("alice").model_info(repo_id).private
    assert not api("alice").list_repo_refs(repo_id).tags


def test_an_adapter_with_other_tensors_than_its_configuration_has_is_named(alice, api, repo_id, tmp_path, tiny_llama):
    from safetensors.torch import load_file, save_file

    revision = tiny_base(api, "alice/llama", tiny_llama / "config.json")
    run = trained_run(tmp_path / "run", "alice/llama", tiny_llama, revision)
    tensors = load_file(run / ADAPTER)
    tensors["extra"] = tensors.pop(sorted(tensors)[0])
    save_file(tensors, run / ADAPTER)
    with pytest.raises(HubError, match=r"1 tensor missing, such as base_model.*; 1 tensor unexpected, such as extra"):
        hub.push_adapter(bound(run), repo_id, **alice)


def test_a_base_that_cannot_be_had_is_said_in_one_line(alice, repo_id, tmp_path, local):
    said = []
    hub.push_adapter(finished_run(tmp_path / "run"), repo_id, progress=said.append, **alice)
    assert [line for line in said if "Not checked" in line] == [
        f"Not checked that it fits its base: {local.endpoint} shows no config.json of alice/tiny"
    ]


def test_a_base_of_an_unknown_kind_is_said_in_one_line(alice, api, repo_id, tmp_path):
    said = []
    revision = tiny_base(api, "alice/odd", io.BytesIO(b'{"model_type": "odd"}'))
    run = finished_run(tmp_path / "run", base={"id": "alice/odd", "revision": revision})
    hub.push_adapter(run, repo_id, progress=said.append, **alice)
    assert len([line for line in said if line.startswith("Not checked") and "\n" not in line]) == 1


def test_a_hub_that_keeps_other_bytes_is_found_out(alice, api, repo_id, tmp_path, monkeypatch):
    download = HfApi.snapshot_download

    def spoiled(*args, **kwargs):
        folder = download(*args, **kwargs)
        (Path(folder) / LEDGER).resolve().write_bytes(b"PAR1")
        return folder

    monkeypatch.setattr(HfApi, "snapshot_download", spoiled)
    with pytest.raises(HubError, match=f"{LEDGER} differs from what was sent in {repo_id}"):
        hub.push_adapter(finished_run(tmp_path / "run"), repo_id, **alice)
    assert api("alice").model_info(repo_id).private


def test_a_push_that_ended_before_its_repo_was_opened_is_completed_by_the_next(
    alice, api, repo_id, tmp_path, monkeypatch
):
    run = finished_run(tmp_path / "run")

    def fail(*args, **kwargs):
        raise refused(503)

    with monkeypatch.context() as patch:
        patch.setattr(HfApi, "update_repo_settings", fail)
        with pytest.raises(HubError, match="complete but still private"):
            hub.push_adapter(run, repo_id, **alice)
    assert api("alice").model_info(repo_id).private
    assert hub.push_adapter(run, repo_id, **alice).tag == "v1"
    assert not api("alice").model_info(repo_id).private


def test_what_was_pushed_as_private_stays_so(alice, api, repo_id, tmp_path, monkeypatch):
    run = finished_run(tmp_path / "run")

    def fail(*args, **kwargs):
        raise refused(503)

    with monkeypatch.context() as patch:
        patch.setattr(HfApi, "create_tag", fail)
        with pytest.raises(HubError, match="no tag"):
            hub.push_adapter(run, repo_id, private=True, **alice)
    hub.push_adapter(run, repo_id, **alice)
    assert api("alice").model_info(repo_id).private


def merged_model(into, tiny):
    """The folder of a merged model: the papers of a run, and whole weights in place of an adapter."""
    from transformers import AutoModelForCausalLM

    run = finished_run(into, training={"merged": {"dtype": "float32"}})
    for name in (ADAPTER, ADAPTER_CONFIG):
        (run / name).unlink()
    AutoModelForCausalLM.from_pretrained(tiny).save_pretrained(run)
    return bound(run)


def test_a_merged_model_is_pushed_without_reading_its_weights_into_memory(
    alice, api, repo_id, tmp_path, tiny_llama, monkeypatch
):
    run = merged_model(tmp_path / "run", tiny_llama)
    read = Path.read_bytes

    def small_only(path):
        assert not path.name.startswith("model")
        return read(path)

    said = []
    monkeypatch.setattr(Path, "read_bytes", small_only)
    hub.push_adapter(run, repo_id, progress=said.append, **alice)
    assert {"model.safetensors", "config.json", RECORD} <= set(api("alice").list_repo_files(repo_id))
    assert not any("Not checked" in line for line in said)


def test_a_merged_model_that_lacks_tensors_is_found_out(alice, repo_id, tmp_path, tiny_llama):
    from safetensors.torch import load_file, save_file

    run = merged_model(tmp_path / "run", tiny_llama)
    tensors = load_file(run / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, run / "model.safetensors", {"format": "pt"})
    with pytest.raises(HubError, match=r"1 tensor missing, such as model\.norm\.weight"):
        hub.push_adapter(bound(run), repo_id, **alice)
    (run / "model.safetensors").unlink()
    with pytest.raises(PublishError, match=r"no model\.safetensors"):
        hub.push_adapter(bound(run), repo_id, **alice)


# Errors


def error_of(call):
    with pytest.raises(HubError) as caught:
        call()
    return caught.value


def test_what_the_hub_refuses_becomes_a_next_step(local, tokens, alice, dose, repo_id, tmp_path):
    def pull(name, **more):
        return lambda: hub.pull_dose(name, **{"endpoint": local.endpoint, "token": tokens["reader"], **more})

    hub.push_dose(dose, repo_id, **alice)
    assert "hf auth whoami" in error_of(pull("alice/absent")).next_step
    assert "hf auth login" in error_of(pull("alice/absent", token=False)).next_step
    assert "hf auth login" in error_of(pull(repo_id, token="hfv_unknown")).next_step
    assert "no such revision" in error_of(pull(repo_id, revision="absent", token=tokens["alice"])).message
    theirs = {"endpoint": local.endpoint, "token": tokens["reader"]}
    assert (
        "write access"
        in error_of(lambda: hub.push_dose(sealed(tmp_path / "other", "Another"), repo_id, **theirs)).next_step
    )
    assert "write access" in error_of(lambda: hub.push_dose(dose, "alice/new", **theirs)).next_step
    assert "HF_ENDPOINT" in error_of(pull(repo_id, endpoint="http://127.0.0.1:9")).next_step


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (LocalTokenNotFoundError("none"), "hf auth login"),
        (OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE"),
        (refused(401), "hf auth login"),
        (refused(412), "Push again"),
        (refused(429), "Wait"),
        (refused(503), "later"),
        (refused(418), "refused: Refused."),
        (ConnectionError("reset by peer"), "HF_ENDPOINT"),
        (OSError(errno.ENOSPC, "No space left on device"), "Free space"),
    ],
)
def test_every_known_failure_says_what_to_do(alice, dose, monkeypatch, raised, said):
    def fail(*args, **kwargs):
        raise raised

    monkeypatch.setattr(HfApi, "repo_info", fail)
    error = error_of(lambda: hub.push_dose(dose, "alice/any", **alice))
    assert said in str(error)
    assert error.next_step


def test_a_mistake_of_our_own_is_not_dressed_up(alice, dose, monkeypatch):
    def fail(*args, **kwargs):
        raise ValueError("a bug")

    monkeypatch.setattr(HfApi, "repo_info", fail)
    with pytest.raises(ValueError, match="a bug"):
        hub.push_dose(dose, "alice/any", **alice)


@pytest.mark.parametrize("repo_id", ["dose", "a/b/c", "../x", "", "a/b c"])
def test_a_malformed_repo_id_is_a_usage_error(dose, repo_id):
    for call in (lambda: hub.push_dose(dose, repo_id), lambda: hub.pull_dose(repo_id)):
        with pytest.raises(UsageError, match="is not a repo id"):
            call()


def test_pushed_is_plain_data():
    plain = {"url": "u", "repo_id": "r", "revision": "c", "tag": None}
    assert dataclasses.asdict(Pushed("u", "r", "c")) == plain
