"""One push into a repo: who can read it when, its tags and settings, and what is left where a push is cut off."""

import contextlib
import dataclasses
import errno
import itertools
import json
from pathlib import Path
from unittest.mock import patch

import httpx2
import pytest
from doses import small_dose
from finished_runs import bound, finished_run
from hubs import put, refused, text_of
from huggingface_hub import HfApi
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError

from hfvaccine import hub
from hfvaccine.claims.dose import GIVEN
from hfvaccine.errors import HubError, PublishError
from hfvaccine.files import LEDGER, RECALLS, RECORD
from hfvaccine.hub.repo import Pushed


def tags(api, repo_id):
    return {tag.name: tag.target_commit for tag in api.list_repo_refs(repo_id, repo_type="dataset").tags}


def test_nobody_else_can_read_a_dose_at_any_moment(alice, as_user, dose, repo_id, monkeypatch):
    seen = []

    def outsiders_view():
        for who in ("outsider", None):
            for read in (
                lambda other: other.auth_check(repo_id, repo_type="dataset"),
                lambda other: other.hf_hub_download(repo_id, "data/dose-00000.parquet", repo_type="dataset"),
            ):
                with pytest.raises((RepositoryNotFoundError, EntryNotFoundError)) as caught:
                    read(as_user(who))
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
    api.create_repo(repo_id, repo_type="dataset")
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
    assert not api.repo_exists(repo_id, repo_type="dataset")


def test_pushing_again_changes_nothing_or_makes_one_commit(alice, api, dose, repo_id, tmp_path):
    said = []
    first = hub.push_dose(dose, repo_id, progress=said.append, **alice)
    assert not any("Nothing had changed" in line for line in said)
    assert hub.push_dose(dose, repo_id, progress=said.append, **alice) == first
    assert "Nothing had changed" in said[-2]
    assert tags(api, repo_id) == {"v1": first.revision}
    other = hub.push_dose(small_dose(tmp_path / "other", "Another", n=7, gating="auto"), repo_id, **alice)
    assert other.revision != first.revision
    assert api.dataset_info(repo_id).gated == "auto"
    assert len(api.list_repo_commits(repo_id, repo_type="dataset")) == 3
    assert (first.tag, other.tag) == ("v1", "v2")
    assert tags(api, repo_id) == {"v1": first.revision, "v2": other.revision}
    assert hub.pull_dose(repo_id, revision="v1", **alice).name == "Small dose"
    assert hub.pull_dose(repo_id, **alice).name == "Another"


def test_the_next_tag_is_the_next_free_number(alice, api, dose, repo_id, tmp_path):
    first = hub.push_dose(dose, repo_id, **alice)
    for name in ("v9", "v10-draft", "v010", "release"):
        api.create_tag(repo_id, tag=name, revision=first.revision, repo_type="dataset")
    assert hub.push_dose(dose, repo_id, **alice).tag == "v9"
    assert hub.push_dose(small_dose(tmp_path / "other", "Another"), repo_id, **alice).tag == "v10"


@pytest.mark.parametrize("failing", ["list_repo_refs", "create_tag"])
@pytest.mark.parametrize("failure", [refused(503), ConnectionError("reset"), KeyboardInterrupt()])
@pytest.mark.parametrize("again", [False, True], ids=["new repo", "next version"])
def test_a_push_that_ended_before_its_tag_is_completed_by_the_next(
    alice, api, dose, repo_id, tmp_path, failing, failure, again
):
    if again:
        hub.push_dose(small_dose(tmp_path / "older", "Older"), repo_id, **alice)

    with patch.object(HfApi, failing, side_effect=failure), pytest.raises((HubError, KeyboardInterrupt)) as caught:
        hub.push_dose(dose, repo_id, **alice)
    if isinstance(caught.value, HubError):
        assert "no tag" in caught.value.message and "Push again" in caught.value.next_step
    info = api.dataset_info(repo_id)
    assert (info.gated, info.private) == ("manual", failing == "list_repo_refs" and not again)
    assert hub.pull_dose(repo_id, **alice).name == "Small dose"  # whole, though not tagged yet
    commits = len(api.list_repo_commits(repo_id, repo_type="dataset"))

    done = hub.push_dose(dose, repo_id, **alice)
    assert (done.revision, done.tag) == (info.sha, "v2" if again else "v1")
    assert tags(api, repo_id)[done.tag] == info.sha
    assert len(api.list_repo_commits(repo_id, repo_type="dataset")) == commits
    assert not api.dataset_info(repo_id).private
    assert hub.push_dose(dose, repo_id, **alice) == done


@pytest.mark.parametrize(
    "answered", [pytest.param(False, id="before", marks=pytest.mark.slow), pytest.param(True, id="after")]
)
@pytest.mark.parametrize("again", [False, True], ids=["new repo", "next version"])
def test_a_push_stopped_at_any_request_leaves_the_repo_as_it_was_or_complete(
    alice, api, as_user, dose, repo_id, tmp_path, monkeypatch, answered, again
):
    first = repo_id
    older = small_dose(tmp_path / "older", "Older") if again else None
    send = httpx2.Client.send
    for stop_at in itertools.count():
        repo_id = f"{first}-{stop_at}"
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
        if api.repo_exists(repo_id, repo_type="dataset"):
            with pytest.raises((GatedRepoError, RepositoryNotFoundError)):
                as_user("outsider").auth_check(repo_id, repo_type="dataset")
            if set(api.list_repo_files(repo_id, repo_type="dataset")) != {".gitattributes"}:
                assert hub.pull_dose(repo_id, **alice).name in ("Older", "Small dose")
            else:
                assert not again and api.dataset_info(repo_id).private
        assert hub.push_dose(dose, repo_id, **alice).tag == ("v2" if again else "v1")
        assert hub.pull_dose(repo_id, **alice).name == "Small dose"
        assert not api.dataset_info(repo_id).private
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
    for name in ("data/dose-00001.parquet", "LICENSE"):
        put(api, repo_id, name, b"PAR1", "dataset")
    hub.push_dose(dose, repo_id, **alice)
    names = set(api.list_repo_files(repo_id, repo_type="dataset"))
    assert "data/dose-00001.parquet" not in names
    assert {"LICENSE", "data/dose-00000.parquet"} <= names


def test_private_stays_private_until_pushed_without_it(alice, api, dose, repo_id):
    hub.push_dose(dose, repo_id, private=True, **alice)
    assert api.dataset_info(repo_id).private
    hub.push_dose(dose, repo_id, **alice)
    assert not api.dataset_info(repo_id).private
    hub.push_dose(dose, repo_id, private=True, **alice)
    assert api.dataset_info(repo_id).private


@pytest.mark.parametrize("failure", [refused(507, "Disk full"), OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_a_refused_commit_leaves_no_half_repo(alice, api, dose, repo_id, failure):
    with patch.object(HfApi, "create_commit", side_effect=failure), pytest.raises((HubError, KeyboardInterrupt)):
        hub.push_dose(dose, repo_id, **alice)
    assert not api.repo_exists(repo_id, repo_type="dataset")
    hub.push_dose(dose, repo_id, **alice)


def test_a_refused_commit_leaves_an_existing_repo_as_it_was(alice, api, dose, repo_id, tmp_path):
    before = hub.push_dose(dose, repo_id, **alice)
    other = small_dose(tmp_path / "other", "Another")
    full = patch.object(HfApi, "create_commit", side_effect=refused(507, "Disk full"))
    with full, pytest.raises(HubError, match="has no room"):
        hub.push_dose(other, repo_id, **alice)
    assert api.dataset_info(repo_id).sha == before.revision


def test_a_repo_that_cannot_be_opened_says_how(alice, dose, repo_id, monkeypatch):
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
    api.create_repo(repo_id, repo_type="dataset")
    put(api, repo_id, "t.csv", b"a,b", "dataset")
    with pytest.raises(PublishError, match="holds something else"):
        hub.push_dose(dose, repo_id, **alice)
    assert not api.dataset_info(repo_id).gated


def test_a_refused_adapter_leaves_no_half_repo(alice, api, repo_id, run):
    full = patch.object(HfApi, "create_commit", side_effect=refused(507, "Disk full"))
    with full, pytest.raises(HubError, match="has no room"):
        hub.push_adapter(run, repo_id, **alice)
    assert not api.repo_exists(repo_id)


def test_an_existing_private_model_repo_stays_private(alice, api, repo_id, run):
    api.create_repo(repo_id, private=True)
    hub.push_adapter(run, repo_id, **alice)
    assert api.model_info(repo_id).private


def test_each_commit_of_an_adapter_gets_the_next_tag(alice, api, repo_id, run, another):
    first = hub.push_adapter(run, repo_id, **alice)
    again = hub.push_adapter(run, repo_id, **alice)
    other = hub.push_adapter(another, repo_id, **alice)
    assert first == again
    assert (first.tag, other.tag) == ("v1", "v2")
    tagged = {tag.name: tag.target_commit for tag in api.list_repo_refs(repo_id).tags}
    assert tagged == {"v1": first.revision, "v2": other.revision}
    assert len(api.list_repo_commits(repo_id)) == 3


def test_recall_notices_stay_where_they_are(alice, api, repo_id, run, another):
    hub.push_adapter(run, repo_id, **alice)
    recalled = put(api, repo_id, RECALLS, b"{}\n")
    hub.push_adapter(another, repo_id, **alice)
    assert text_of(api, repo_id, RECALLS) == "{}\n"
    assert recalled in {commit.commit_id for commit in api.list_repo_commits(repo_id)}


def test_files_of_an_earlier_adapter_go_in_the_same_commit(alice, api, repo_id, run, tmp_path):
    hub.push_adapter(run, repo_id, **alice)
    other = finished_run(tmp_path / "other")
    (other / "tokenizer.json").unlink()
    hub.push_adapter(bound(other), repo_id, **alice)
    assert "tokenizer.json" not in api.list_repo_files(repo_id)


@pytest.fixture
def spoil(monkeypatch):
    """`spoil(name)`: from now on the Hub gives other bytes in a file than it took."""

    def spoil(name):
        download = HfApi.snapshot_download

        def spoiled(*args, **kwargs):
            folder = download(*args, **kwargs)
            (Path(folder) / name).resolve().write_bytes(b"PAR1")
            return folder

        monkeypatch.setattr(HfApi, "snapshot_download", spoiled)

    return spoil


def test_a_hub_that_keeps_other_bytes_of_an_adapter_is_found_out(alice, api, repo_id, run, spoil):
    spoil(LEDGER)
    with pytest.raises(HubError, match=f"{LEDGER} differs from what was sent in {repo_id}"):
        hub.push_adapter(run, repo_id, **alice)
    assert api.model_info(repo_id).private


def test_a_hub_that_keeps_other_bytes_of_a_dose_is_found_out(alice, api, repo_id, dose, spoil):
    spoil(GIVEN)
    with pytest.raises(HubError, match=f"{GIVEN} differs from what was sent in {repo_id}"):
        hub.push_dose(dose, repo_id, **alice)
    assert api.dataset_info(repo_id).private


def statuses(api, repo_id, kind="model"):
    return {one.num: one.status for one in api.get_repo_discussions(repo_id, repo_type=kind)}


def test_an_update_that_does_not_hold_is_never_on_main(alice, api, repo_id, run, another, spoil):
    first = hub.push_adapter(run, repo_id, **alice)
    spoil(LEDGER)
    with pytest.raises(HubError, match="differs"):
        hub.push_adapter(another, repo_id, **alice)
    assert api.model_info(repo_id).sha == first.revision
    assert [tag.name for tag in api.list_repo_refs(repo_id).tags] == ["v1"]
    assert statuses(api, repo_id) == {1: "closed"}


def test_an_update_is_checked_while_main_is_as_it_was(alice, api, repo_id, dose, tmp_path, monkeypatch):
    first = hub.push_dose(dose, repo_id, **alice)
    download, seen = HfApi.snapshot_download, []

    def watched(self, *args, revision, **kwargs):
        seen.append((api.dataset_info(repo_id).sha, revision))
        return download(self, *args, revision=revision, **kwargs)

    monkeypatch.setattr(HfApi, "snapshot_download", watched)
    other = hub.push_dose(small_dose(tmp_path / "other", "Another"), repo_id, **alice)
    assert [main for main, _ in seen] == [first.revision]
    assert seen[0][1] != first.revision
    assert api.dataset_info(repo_id).sha == other.revision
    assert statuses(api, repo_id, "dataset") == {1: "merged"}


def test_a_merge_whose_answer_was_lost_is_found_done(alice, api, repo_id, run, another, monkeypatch):
    hub.push_adapter(run, repo_id, **alice)
    merge = HfApi.merge_pull_request

    def lose(*args, **kwargs):
        merge(*args, **kwargs)
        raise ConnectionError("reset")

    monkeypatch.setattr(HfApi, "merge_pull_request", lose)
    assert hub.push_adapter(another, repo_id, **alice).revision == api.model_info(repo_id).sha
    assert len(api.list_repo_commits(repo_id)) == 3


def test_a_file_of_anothers_that_came_meanwhile_stays(alice, api, repo_id, run, another, monkeypatch):
    hub.push_adapter(run, repo_id, **alice)
    merge = HfApi.merge_pull_request

    def late(self, *args, **kwargs):
        put(api, repo_id, RECALLS, b"{}\n")
        return merge(self, *args, **kwargs)

    monkeypatch.setattr(HfApi, "merge_pull_request", late)
    done = hub.push_adapter(another, repo_id, **alice)
    assert (done.revision, done.tag) == (api.model_info(repo_id).sha, "v2")
    assert text_of(api, repo_id, RECALLS) == "{}\n"


def test_an_update_that_loses_a_race_leaves_the_others_version(
    alice, api, repo_id, run, another, tmp_path, monkeypatch
):
    hub.push_adapter(run, repo_id, **alice)
    third, merge = finished_run(tmp_path / "third", dose={"name": "Third"}), HfApi.merge_pull_request

    def late(self, *args, **kwargs):
        monkeypatch.setattr(HfApi, "merge_pull_request", merge)
        hub.push_adapter(third, repo_id, **alice)
        return merge(self, *args, **kwargs)

    monkeypatch.setattr(HfApi, "merge_pull_request", late)
    with pytest.raises(HubError, match="changed by somebody else"):
        hub.push_adapter(another, repo_id, **alice)
    assert json.loads(text_of(api, repo_id, RECORD))["dose"]["name"] == "Third"
    assert statuses(api, repo_id) == {1: "closed", 2: "merged"}
    assert hub.push_adapter(another, repo_id, **alice).tag == "v3"


@pytest.mark.parametrize("before", ["create_repo", "update_repo_settings", "create_commit"])
def test_a_push_that_loses_the_race_for_a_new_repo_leaves_it_to_the_other(
    alice, api, dose, repo_id, tmp_path, monkeypatch, before
):
    call = getattr(HfApi, before)
    other = small_dose(tmp_path / "other", "Another")

    def late(self, *args, **kwargs):
        monkeypatch.setattr(HfApi, before, call)
        hub.push_dose(other, repo_id, **alice)
        return call(self, *args, **kwargs)

    monkeypatch.setattr(HfApi, before, late)
    with contextlib.suppress(HubError):
        hub.push_dose(dose, repo_id, **alice)
    monkeypatch.setattr(HfApi, before, call)
    assert hub.pull_dose(repo_id, revision="v1", **alice).name == "Another"
    assert api.dataset_info(repo_id).gated == "manual"


def test_a_push_that_ended_before_its_repo_was_opened_is_completed_by_the_next(alice, api, repo_id, run):
    down = patch.object(HfApi, "update_repo_settings", side_effect=refused(503))
    with down, pytest.raises(HubError, match="complete but still private"):
        hub.push_adapter(run, repo_id, **alice)
    assert api.model_info(repo_id).private
    assert hub.push_adapter(run, repo_id, **alice).tag == "v1"
    assert not api.model_info(repo_id).private


def test_what_was_pushed_as_private_stays_so(alice, api, repo_id, run):
    with patch.object(HfApi, "create_tag", side_effect=refused(503)), pytest.raises(HubError, match="no tag"):
        hub.push_adapter(run, repo_id, private=True, **alice)
    hub.push_adapter(run, repo_id, **alice)
    assert api.model_info(repo_id).private


def test_pushed_is_plain_data():
    plain = {"url": "u", "repo_id": "r", "revision": "c", "tag": None}
    assert dataclasses.asdict(Pushed("u", "r", "c")) == plain
