"""The notice of a recall, where those who use an adapter look: a discussion, and a pull request with two files.

The card is left as it is, since the adapter's record binds it: `RECALL.md` says it to people, `recalls.jsonl` to
`hfvaccine verify`, and no record binds either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import EntryNotFoundError

from hfvaccine.claims import journal
from hfvaccine.claims.journal import Entry
from hfvaccine.errors import HfvaccineError
from hfvaccine.files import NOTICE, RECALLS
from hfvaccine.hub.account import own
from hfvaccine.hub.errors import as_hub_error, page_of
from hfvaccine.hub.leaks import refuse_leaks
from hfvaccine.quarantine.recalls import AFFECTED, NOT_AFFECTED, RECALL, Recall, noticed
from hfvaccine.surveillance.affected import Reached
from hfvaccine.text import fill

OPENED, THERE, CLOSED, PLANNED, REFUSED, NONE = "opened", "there already", "closed", "to be opened", "refused", "none"
"""What became of a discussion or a pull request; closed is what the repo's people did with it, and it stays so."""
MOST = 5
"""Claims that stand in a discussion, whose text may not be endless; the files have all."""


@dataclass(frozen=True)
class Notified:
    """What became of the notice to one repo.

    Args:
        place: the repo.
        claims: those that the notice is about; none where all was said before.
        discussion: what became of it, one of `OPENED` and the others.
        pull_request: likewise.
        discussion_url: its page.
        pull_request_url: its page.
        problem: why something was refused, with what to do.
    """

    place: str
    claims: tuple[str, ...] = ()
    discussion: str = NONE
    pull_request: str = NONE
    discussion_url: str | None = None
    pull_request_url: str | None = None
    problem: str = ""

    @property
    def changed(self) -> bool:
        """Whether anything was opened, or would be."""
        return bool({OPENED, PLANNED} & {self.discussion, self.pull_request})


def notify(
    found: Sequence[Reached],
    *,
    dry_run: bool = False,
    token: str | None = None,
    tell: Callable[[Notified], None] = lambda one: None,
) -> list[Notified]:
    """Tell every repo among these that was given a recalled claim. What was said before is not said again.

    Args:
        found: as `affected.find` gives them; folders are passed over.
        dry_run: only look what would be opened.
        token: Hub token, by default the one huggingface_hub finds.
        tell: called with each outcome as soon as it stands.

    Returns:
        The outcomes; a repo that refuses keeps none of the others from being told.
    """
    api = HfApi(token=token)
    outcomes = []
    for one in found:
        holding = (given for given in one.claims if given.rows or given.status == AFFECTED)
        recalls = [given.recall for given in holding if given.recall is not None]
        if not one.on_hub or not recalls:
            continue
        outcomes.append(_notify(api, one, recalls, dry_run))
        tell(outcomes[-1])
    return outcomes


def _notify(api: HfApi, one: Reached, recalls: Sequence[Recall], dry_run: bool) -> Notified:
    place = one.place
    claims: tuple[str, ...] = ()
    said: dict[str, Any] = {}
    try:
        notices = journal.loads(one.notices) if one.notices is not None else []
        entries = with_new(notices, recalls, one.dose)
        claims = tuple(entry.what["claim_id"] for entry in entries[len(notices) :])
        if not claims:
            return Notified(place)
        files = {RECALLS: journal.dumps(entries).encode(), NOTICE: text_of(place, entries).encode()}
        refuse_leaks(files)
        title = f"Recall notice {entries[-1].hash()[:8]}: {len(claims)} of the claims that this was trained on"
        text = text_of(place, entries, MOST)
        with as_hub_error(api, place, "model"):
            there = [other for other in api.get_repo_discussions(place) if other.title == title]
            said["discussion"], number = _discussed(api, place, there, title, text, dry_run)
            said["discussion_url"] = _page(api, place, number)
            said["pull_request"], number = _asked(api, place, there, title, files, dry_run)
            said["pull_request_url"] = _page(api, place, number)
    except HfvaccineError as error:
        left = {name: REFUSED for name in ("discussion", "pull_request") if name not in said}
        return Notified(place, claims, **said, **left, problem=f"{error.message} {error.next_step}".strip())
    return Notified(place, claims, **said)


def with_new(notices: Sequence[Entry], recalls: Sequence[Recall], dose: str) -> list[Entry]:
    """The notices that stand beside an adapter, and after them what they do not say yet.

    Args:
        notices: its `recalls.jsonl`.
        recalls: what holds of the claims that it was given.
        dose: how the dose is called.
    """
    entries = list(notices)
    told = {(entry.what.get("statement"), entry.what.get("status")) for entry in notices}
    for recall in sorted(recalls, key=lambda one: (one.at, one.claim_id)):
        taken_back = recall.status == NOT_AFFECTED and recall.claim_id not in noticed(notices)
        if taken_back or (recall.entry, recall.status) in told:
            continue
        what: dict[str, Any] = {
            "claim_id": recall.claim_id,
            "status": recall.status,
            "reason": recall.why,
            "dose": dose,
            "statement": recall.entry,
        }
        more = {"source": recall.source, "action": recall.action, "boosters": [one["id"] for one in recall.boosters]}
        what |= {name: value for name, value in more.items() if value}
        entries.append(journal.follow(entries, RECALL, recall.by[0], recall.at, what))
    return entries


def text_of(place: str, notices: Sequence[Entry], most: int | None = None) -> str:
    """The notice for people: what holds of each claim, never its text.

    Args:
        place: the adapter's repo.
        notices: all that stand in its `recalls.jsonl`.
        most: of how many claims it is said; the newest of them.
    """
    last = {entry.what["claim_id"]: entry for entry in notices if entry.act == RECALL}
    lacking = dict.fromkeys(("status", "reason", "source", "action", "boosters", "dose"))
    rows = [{**lacking, **entry.what, "at": entry.at[:10]} for entry in last.values()]
    shown = rows if most is None else rows[-most:]
    return fill("hfvaccine.model_cards", "recall.md", {"repo": place, "claims": shown, "number": len(rows)})


def _discussed(
    api: HfApi, place: str, there: Sequence[Any], title: str, text: str, dry_run: bool
) -> tuple[str, int | None]:
    """A discussion that says just this, anybody's; a title alone might be there to keep it from being said."""
    for one in there:
        if not one.is_pull_request:
            first = api.get_discussion_details(place, one.num).events[0]
            if getattr(first, "content", "").strip() == text.strip() and not getattr(first, "hidden", False):
                return THERE, one.num
    if dry_run:
        return PLANNED, None
    return OPENED, int(api.create_discussion(place, title, description=text).num)


def _asked(
    api: HfApi, place: str, there: Sequence[Any], title: str, files: dict[str, bytes], dry_run: bool
) -> tuple[str, int | None]:
    """A pull request of this account's that adds just these files."""
    for one in own(api, (other for other in there if other.is_pull_request)):
        if all(_holds(api, place, one.num, name, files[name]) for name in files):
            return (CLOSED if one.status == "closed" else THERE), one.num
    if dry_run:
        return PLANNED, None
    commit = api.create_commit(
        place,
        [CommitOperationAdd(name, content) for name, content in sorted(files.items())],
        commit_message=title,
        commit_description=f"{RECALLS} is what `hfvaccine verify` reads, {NOTICE} the same for people.",
        create_pr=True,
    )
    return OPENED, int(commit.pr_num or 0)


def _holds(api: HfApi, place: str, number: int, name: str, content: bytes) -> bool:
    try:
        return Path(api.hf_hub_download(place, name, revision=f"refs/pr/{number}")).read_bytes() == content
    except EntryNotFoundError:
        return False


def _page(api: HfApi, place: str, number: int | None) -> str | None:
    return None if number is None else f"{page_of(api, place, 'model')}/discussions/{number}"
