"""The notice on each affected repo: once, in a discussion and a pull request, and what `verify` makes of it."""

import dataclasses

import pytest
from hubs import text_of

from hfvaccine.claims import journal
from hfvaccine.errors import DoseError
from hfvaccine.files import CARD, NOTICE, RECALLS
from hfvaccine.hub.listing import listing
from hfvaccine.lineage.chain import check
from hfvaccine.lineage.fetch import gather, papers
from hfvaccine.quarantine.recalls import AFFECTED, NOT_AFFECTED, UNDER_INVESTIGATION, Recall
from hfvaccine.surveillance import notice
from hfvaccine.surveillance.affected import Given, Reached, find
from hfvaccine.surveillance.notice import CLOSED, NONE, OPENED, PLANNED, REFUSED, THERE, notify
from hfvaccine.surveillance.notice import text_of as notice_text

from .adapters import upload
from .conftest import TOLD


@pytest.fixture
def repo(api, published, request):
    """A repo of its own that was given the claim."""
    return upload(api, f"lab/{request.node.name[:60].strip('_')}", published["lab/given"])


def there(api, repo):
    return [(one.is_pull_request, one.status) for one in api.get_repo_discussions(repo)]


def test_each_affected_repo_is_told_and_no_other(published, api, recalled):
    told = notify(find(["lab/given", "lab/spared", "lab/merged", "lab/booster"]), dry_run=True)
    assert [(one.place, one.discussion, one.pull_request) for one in told] == [
        ("lab/given", PLANNED, PLANNED),
        ("lab/merged", PLANNED, PLANNED),
    ]
    assert all(there(api, one) == [] for one in published)  # it was a dry run


def test_a_discussion_and_a_pull_request_are_opened_once(repo, api, ids):
    card = text_of(api, repo, CARD)
    (told,) = notify(find([repo]))
    assert (told.discussion, told.pull_request, told.claims) == (OPENED, OPENED, (ids[0],))
    assert there(api, repo) == [(True, "open"), (False, "open")]
    (again,) = notify(find([repo]))
    assert (again.discussion, again.pull_request, again.changed) == (THERE, THERE, False)
    assert again.pull_request_url == told.pull_request_url
    assert len(there(api, repo)) == 2
    assert RECALLS not in api.list_repo_files(repo)

    api.merge_pull_request(repo, int(told.pull_request_url.rpartition("/")[2]))
    assert notify(find([repo])) == [notice.Notified(repo)]
    assert text_of(api, repo, CARD) == card
    said = text_of(api, repo, NOTICE)
    assert f"`{ids[0]}` | affected" in said and TOLD["why"] in said and TOLD["action"] in said
    (entry,) = journal.loads(text_of(api, repo, RECALLS).encode())
    assert (entry.by, entry.what["status"], entry.what["dose"]) == ("bea", AFFECTED, "lab/dose")


def test_verify_shows_it_before_the_notice_by_the_dose_and_after_it_without(repo, api, ids, recalled):
    def loud(dose_too=True):
        found = papers(repo)
        evidence = gather(found)
        if not dose_too:
            evidence = dataclasses.replace(evidence, dose=dataclasses.replace(evidence.dose, recalls=()))
        return [link.name for link in check(found.record, evidence).all() if link.name.startswith("RECALLED")]

    assert (loud(), loud(dose_too=False)) == ([f"RECALLED {ids[0]}"], [])
    (told,) = notify(find([repo]))
    api.merge_pull_request(repo, int(told.pull_request_url.rpartition("/")[2]))
    assert loud(dose_too=False) == [f"RECALLED {ids[0]}"]
    assert next(one for one in listing("lab").adapters if one.id == repo).recalled == 1


def test_a_pull_request_that_was_closed_is_not_opened_again(repo, api):
    (told,) = notify(find([repo]))
    api.change_discussion_status(repo, int(told.pull_request_url.rpartition("/")[2]), "closed")
    (again,) = notify(find([repo]))
    assert (again.discussion, again.pull_request) == (THERE, CLOSED)


def test_a_title_that_somebody_took_keeps_nothing_from_being_said(repo, api):
    found = find([repo])
    title = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            notice, "_discussed", lambda api, place, there, its, *rest: (title.append(its), (PLANNED, None))[1]
        )
        notify(found, dry_run=True)
    api.create_discussion(repo, title[0], description="Nothing to see here.")
    (told,) = notify(found)
    assert told.discussion == OPENED


def test_who_may_only_say_something_says_it_and_is_told_what_was_refused(
    repo, api, local, tokens, published, monkeypatch
):
    monkeypatch.setattr(local._hub, "for_strangers", 0)
    other = f"{repo}-2"
    upload(api, other, published["lab/given"])
    told = notify(find([repo, other]), token=tokens["reader"])
    assert [(one.discussion, one.pull_request) for one in told] == [(OPENED, REFUSED)] * 2
    assert all("may not do that" in one.problem for one in told)
    (again, _) = notify(find([repo, other]))
    assert (again.discussion, again.pull_request) == (THERE, OPENED)


def test_notices_that_were_tampered_with_are_not_gone_on_with(repo, api):
    api.upload_file(path_or_fileobj=b'{"act": "recall"}\n', path_in_repo=RECALLS, repo_id=repo)
    (told,) = notify(find([repo]))
    assert (told.discussion, told.pull_request) == (REFUSED, REFUSED) and "malformed" in told.problem
    assert there(api, repo) == []


def recall_of(claim_id, status=AFFECTED, at="2026-11-01", **more):
    told = {AFFECTED: {"action": "Stop."}, NOT_AFFECTED: {"justification": "component_not_present"}}.get(status, {})
    return Recall(
        claim_id, status, "row", "Withdrawn.", by=("bea",), at=at, entry=f"{claim_id}{status}", **told, **more
    )


def test_what_was_said_before_is_not_said_again_and_what_is_new_comes_after_it():
    first = notice.with_new([], [recall_of("a")], "lab/dose")
    both = notice.with_new(first, [recall_of("a"), recall_of("b", UNDER_INVESTIGATION)], "lab/dose")
    assert both[: len(first)] == first
    assert [(one.what["claim_id"], one.what["status"]) for one in both] == [
        ("a", AFFECTED),
        ("b", UNDER_INVESTIGATION),
    ]
    back = notice.with_new(both, [recall_of("a", NOT_AFFECTED, at="2026-12-01")], "lab/dose")
    assert back[-1].what["status"] == NOT_AFFECTED
    assert notice.with_new([], [recall_of("c", NOT_AFFECTED)], "lab/dose") == []  # nobody was ever told of it
    with pytest.raises(DoseError):
        journal.loads(journal.dumps(back[1:]).encode())


def test_the_notice_says_what_holds_last_of_each_claim_and_nothing_in_it_is_markup():
    entries = notice.with_new([], [recall_of("a"), recall_of("b", UNDER_INVESTIGATION)], "lab/dose")
    entries = notice.with_new(entries, [dataclasses.replace(recall_of("a", NOT_AFFECTED), why="<b>ok</b> | x")], "d")
    page = notice_text("lab/adapter", entries)
    assert page.count("`a`") == page.count("`b`") == 1 and "under investigation" in page
    assert "| not affected |" in page and "<b>" not in page and "hfvaccine verify lab/adapter" in page
    short = notice_text("lab/adapter", entries, most=1)
    assert "And 1 more" in short and "The fact-check of 2 of the claims" in short


def test_folders_are_not_told():
    given = Given("a", AFFECTED, 2, (1, 1), "given", recall=recall_of("a"))
    assert notify([Reached("run", "run", on_hub=False, claims=(given,))]) == []
    assert notice.Notified("x").discussion == NONE
