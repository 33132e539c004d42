"""One push into a repo: everything in one commit, and nobody sees less than all of it."""

from __future__ import annotations

import fnmatch
import hashlib
import io
import logging
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HTTPError, RepositoryNotFoundError
from huggingface_hub.lfs import UploadInfo

from hfvaccine.errors import HfvaccineError, HubError, PublishError
from hfvaccine.files import CARD, digest_of
from hfvaccine.hub.account import own
from hfvaccine.hub.content import Content, sha256_of, size_of
from hfvaccine.hub.errors import as_hub_error, page_of

VERSION_TAG = re.compile(r"v[1-9]\d*")

TO_BE_OPENED = "To be opened once it is complete."
"""Said by the first commit of a repo that is meant to be public: if found private, the next push opens it."""


@dataclass(frozen=True)
class Pushed:
    """Where something was published.

    Args:
        url: the page of the repo, or of the pull request.
        repo_id: the repo.
        revision: the commit that holds it.
        tag: the tag of that commit, "v1", "v2" and so on; None for a pull request.
    """

    url: str
    repo_id: str
    revision: str
    tag: str | None = None


class Repo:
    """The repo of one push.

    Args:
        api: of the Hub that has it.
        repo_id: `namespace/name`.
        kind: "dataset", "model", or "space" for one that runs Gradio.
        progress: told what is about to be done, one line at a time.
    """

    def __init__(self, api: HfApi, repo_id: str, kind: str, progress: Callable[[str], None] | None) -> None:
        self.api = api
        self.id = repo_id
        self.kind = kind
        self.say = progress or (lambda line: None)
        self._created = False
        # A Hub writes the first card of a Space itself.
        self._born_with = {".gitattributes", CARD} if kind == "space" else {".gitattributes"}

    def publish(
        self,
        files: Mapping[str, Content],
        *,
        ours: tuple[str, ...],
        marker: str,
        message: str,
        private: bool,
        gating: Any = None,
        check: Callable[[Path], None],
    ) -> Pushed:
        """Put exactly these files into the repo in one commit, making the repo if need be, and tag that commit.

        Nobody reads the commit before it was fetched again and checked: a new repo is private until then, and
        what an existing one is to get stands in a pull request, which is merged after that.

        What is done last says that all before it was done: a repo is opened once it is complete, and tagged
        once it is open. So the next push can tell what one that was cut off has left to do.

        Args:
            files: content by path.
            ours: patterns of what a push may write; what else matches them in the repo is of an
                earlier push and goes in the same commit.
            marker: the file that says that an existing repo is of our kind.
            message: of the commit.
            private: whether the repo is to be private.
            gating: "manual" or "auto" for a gated repo.
            check: given the files as they were fetched again, the same bytes; raises where they will not do.

        Raises:
            PublishError: where the repo holds something else.
            HubError: where the Hub refuses, cannot be reached, or does not hold what was sent.
        """
        there = self._ours(marker)
        try:
            with as_hub_error(self.api, self.id, self.kind):
                head = self._prepared(there, private, gating)
                revision = head.sha if self._holds(head, files, ours) else None
                if revision is None and there is None:
                    revision = self._commit(files, ours, head, message, None if private else TO_BE_OPENED).sha
                elif revision is not None:
                    self.say("Nothing had changed since the last push, so there is no new commit")
        except BaseException as error:
            if self._created:
                self._undo(error)
            raise
        if revision is None:
            revision = self._updated(files, ours, head, message, check)
        else:
            self._check(revision, files, check)
        versions = self._versions(revision)
        self._open(there, private, gating, revision, versions)
        return Pushed(page_of(self.api, self.id, self.kind), self.id, revision, self._tag(revision, versions))

    def propose(
        self,
        files: Mapping[str, Content],
        *,
        ours: tuple[str, ...],
        marker: str,
        message: str,
        check: Callable[[Path], None],
    ) -> Pushed:
        """Put exactly these files into a pull request of one commit; the repo stays as it is.

        Args:
            files, ours, marker, message, check: as in `publish`.

        Returns:
            The pull request: one that is open already where it holds just these files. The repo where it does.

        Raises:
            PublishError: where the repo holds something else.
            HubError: where there is no such repo, or the Hub refuses, cannot be reached or does not hold what
                was sent.
        """
        head = self._ours(marker)
        if head is None:
            raise HubError(
                f"{self.api.endpoint} has no {self.kind} {self.id} that could get a pull request.",
                "Check the name, or push without --create-pr to make the repo.",
            )
        with as_hub_error(self.api, self.id, self.kind):
            held = self._holds(head, files, ours)
        if held:
            self.say("Nothing had changed since the last push, so there is no pull request")
            self._check(head.sha, files, check)
            return Pushed(page_of(self.api, self.id, self.kind), self.id, head.sha)
        asked = self._asked(files, ours, head, message)
        self._check_asked(asked, files, check)
        page = f"{page_of(self.api, self.id, self.kind)}/discussions/{asked.number}"
        return Pushed(page, self.id, asked.sha)

    def others(self, ours: tuple[str, ...], marker: str) -> set[str]:
        """The files in the repo that no push of this kind writes; none where there is no repo.

        Args:
            ours, marker: as in `publish`.

        Raises:
            PublishError, HubError: as in `publish`, before anything is written.
        """
        names = _names(self._ours(marker))
        return names - _matching(names, ours)

    def held(self, name: str, message: str | None = None) -> Iterator[bytes]:
        """A file of the repo as `main` has it, then as the caller's open pull requests of this message have it.

        Args:
            name: of the file.
            message: None for `main` alone.
        """
        with as_hub_error(self.api, self.id, self.kind):
            head = self._info()
            asked = self._opened(message) if head is not None and message is not None else ()
            for one in chain([head], (self._info(f"refs/pr/{number}") for number in asked)):
                if name in _names(one):
                    found = self.api.hf_hub_download(self.id, name, repo_type=self.kind, revision=one.sha)
                    yield Path(found).read_bytes()

    def _updated(
        self,
        files: Mapping[str, Content],
        ours: tuple[str, ...],
        head: Any,
        message: str,
        check: Callable[[Path], None],
    ) -> str:
        """The head of `main` once it holds what was checked beside it."""
        asked = self._asked(files, ours, head, message)
        self._check_asked(asked, files, check)
        self.say(f"Merging pull request {asked.number}")
        try:
            with as_hub_error(self.api, self.id, self.kind):
                now = self._merged(asked, files, ours)
        except BaseException as error:
            self._close(asked, error)
            raise
        return str(now.sha)

    def _merged(self, asked: _Asked, files: Mapping[str, Content], ours: tuple[str, ...]) -> Any:
        try:
            self.api.merge_pull_request(self.id, asked.number, repo_type=self.kind)
        except Exception as error:
            # The answer may be lost, and not the merge.
            with _rather(error):
                now = self._info()
            if now is None or not self._holds(now, files, ours):
                raise
            return now
        now = self._info()
        if now is None or not self._holds(now, files, ours):
            raise HubError(f"{self.id} was changed by somebody else meanwhile.", "Push again.")
        return now

    def _asked(self, files: Mapping[str, Content], ours: tuple[str, ...], head: Any, message: str) -> _Asked:
        """An open pull request that makes just this change."""
        with as_hub_error(self.api, self.id, self.kind):
            if (found := self._proposed(files, ours, head, message)) is not None:
                self.say("A pull request with just these files is open already")
                return found
            self.say(f"Opening a pull request of {len(files)} files")
            try:
                commit = self._send(files, ours, head, message, None, create_pr=True)
            except Exception as error:
                # The answer may be lost, and not the pull request.
                with _rather(error):
                    found = self._proposed(files, ours, head, message)
                if found is None:
                    raise
                return found
        return _Asked(int(commit.pr_num), str(commit.oid), opened=True)

    def _proposed(self, files: Mapping[str, Content], ours: tuple[str, ...], head: Any, message: str) -> _Asked | None:
        """The caller's open pull request that makes just this change, if there is one."""
        left = _blobs(head, lambda name: name not in files and not _matching({name}, ours))
        for number in self._opened(message):
            proposed = self._info(f"refs/pr/{number}")
            if self._holds(proposed, files, ours) and _blobs(proposed, lambda name: name not in files) == left:
                return _Asked(number, proposed.sha)
        return None

    def _opened(self, message: str) -> list[int]:
        """The caller's open pull requests of this message."""
        asked = self.api.get_repo_discussions(
            self.id, repo_type=self.kind, discussion_type="pull_request", discussion_status="open"
        )
        found = own(self.api, (one for one in asked if (one.title, one.status) == (message, "open")))
        return [int(one.num) for one in found]

    def _check_asked(self, asked: _Asked, files: Mapping[str, Content], check: Callable[[Path], None]) -> None:
        try:
            self._check(asked.sha, files, check)
        except BaseException as error:
            self._close(asked, error)
            raise

    def _check(self, revision: str, files: Mapping[str, Content], check: Callable[[Path], None]) -> None:
        """Fetch a commit as somebody else would, and prove it."""
        self.say("Fetching it into an empty cache, to see that it is whole and loads")
        with tempfile.TemporaryDirectory(prefix="hfvaccine-") as cache:
            with as_hub_error(self.api, self.id, self.kind):
                folder = self.api.snapshot_download(
                    self.id, repo_type=self.kind, revision=revision, cache_dir=cache, allow_patterns=sorted(files)
                )
            for name, content in sorted(files.items()):
                path = Path(folder) / name
                if not path.is_file() or digest_of(path) != sha256_of(content):
                    missing = "differs from what was sent in" if path.is_file() else "is missing from"
                    raise HubError(
                        f"{name} {missing} {self.id} at commit {revision}.",
                        f"Push again, and tell those who run {self.api.endpoint}: it does not keep what it is given.",
                    )
            check(Path(folder))

    def _close(self, asked: _Asked, error: BaseException) -> None:
        """Take back a pull request that this push opened."""
        if not asked.opened:
            return
        try:
            self.api.change_discussion_status(self.id, asked.number, "closed", repo_type=self.kind)
        except Exception:
            if isinstance(error, HfvaccineError):
                error.next_step += f" Pull request {asked.number} may be left open: the next push goes on with it."

    def _info(self, revision: str | None = None) -> Any:
        """What the repo holds, with the digest of each file; None where there is no such repo."""
        try:
            return self.api.repo_info(self.id, repo_type=self.kind, revision=revision, files_metadata=True)
        except GatedRepoError:
            raise
        except RepositoryNotFoundError:
            return None

    def _ours(self, marker: str) -> Any:
        with as_hub_error(self.api, self.id, self.kind):
            there = self._info()
        names = _names(there)
        if marker not in names and names - {".gitattributes", CARD, "LICENSE"}:
            raise PublishError(
                f"{self.id} exists and holds something else: it has no {marker}.", "Choose another repo name."
            )
        return there

    def _prepared(self, there: Any, private: bool, gating: Any) -> Any:
        """The repo's head, once nobody can read more of it than they should."""
        if there is None:
            self.say(f"Creating {self.id}, private until it is complete")
            self._create()
        # What opens a gate waits until the rest is done.
        gate_it = gating and (there is None or not there.gated or (there.gated, gating) == ("auto", "manual"))
        hide_it = private and there is not None and not there.private
        if gate_it or hide_it:
            self.say(f"Gating {self.id} ({gating})" if gate_it else f"Making {self.id} private")
            self._settle(gated=gating if gate_it else None, private=True if hide_it else None)
        head = there if there is not None and not gate_it else self._info()
        if head is None or (gating and not head.gated):
            raise HubError(
                f"{self.api.endpoint} did not {'gate' if head else 'keep'} {self.id}, so nothing was published.",
                "Use a Hub and an account that can gate datasets." if head else "Push again.",
            )
        return head

    def _create(self) -> None:
        try:
            sdk = {"space_sdk": "gradio"} if self.kind == "space" else {}
            self.api.create_repo(self.id, repo_type=self.kind, private=True, **sdk)
            self._created = True
        except HTTPError as error:
            if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
                raise
            # The answer may be lost, and not the repo; what is there may also be somebody else's, just made.
            with _rather(error):
                found = self._info()
            if found is None or not found.private or _names(found) - self._born_with:
                raise

    def _settle(self, gated: Any, private: bool | None) -> None:
        self.api.update_repo_settings(self.id, repo_type=self.kind, gated=gated, private=private)

    def _holds(self, head: Any, files: Mapping[str, Content], ours: tuple[str, ...]) -> bool:
        """Whether a revision holds these files, and nothing else that a push writes."""
        found = {file.rfilename: file for file in head.siblings or []}
        if _matching(found, ours) - set(files) or set(files) - set(found):
            return False
        return all(_same(found[name], content) for name, content in files.items())

    def _commit(
        self, files: Mapping[str, Content], ours: tuple[str, ...], head: Any, message: str, description: str | None
    ) -> Any:
        """The head after the commit."""
        self.say(f"Committing {len(files)} files")
        try:
            commit = self._send(files, ours, head, message, description)
        except Exception as error:
            # The answer may be lost, and not the commit.
            with _rather(error):
                now = self._info()
            if now is None or not self._holds(now, files, ours):
                raise
            return now
        return _Head(str(commit.oid))

    def _send(
        self,
        files: Mapping[str, Content],
        ours: tuple[str, ...],
        head: Any,
        message: str,
        description: str | None,
        create_pr: bool = False,
    ) -> Any:
        with ExitStack() as opened, warnings.catch_warnings(), _quiet():
            # File objects go through plain LFS, which every Hub takes, and are not read into memory whole.
            added = [_addition(name, content, opened) for name, content in sorted(files.items())]
            removed = sorted(_matching(_names(head), ours) - set(files))
            operations = [*added, *(CommitOperationDelete(name) for name in removed)]
            # The ledger is a parquet file in a model repo, and it belongs there.
            warnings.filterwarnings("ignore", message="It seems that you are about to commit a data file")
            _refuse_changed(files)
            try:
                return self.api.create_commit(
                    self.id,
                    operations,
                    repo_type=self.kind,
                    commit_message=message,
                    commit_description=description,
                    parent_commit=head.sha,
                    create_pr=create_pr,
                )
            except Exception:  # a Hub takes no other bytes than those that were announced
                _refuse_changed(files)
                raise

    def _open(self, there: Any, private: bool, gating: Any, revision: str, versions: Mapping[int, str]) -> None:
        """Let others see the repo, where it is meant for them, and in by the gate that was asked for."""
        # A gate keeps the data closed whoever sees the page; opening an old adapter repo is its owner's decision.
        try:
            with as_hub_error(self.api, self.id, self.kind):
                opens = not private and (
                    there is None or (there.private and (bool(gating) or self._was_cut_off(revision, versions)))
                )
                if opens:
                    self.say(f"Opening {self.id}")
                if opens or (gating and there is not None and there.gated != gating):
                    self._settle(gated=gating, private=False if opens else None)
        except HubError as error:
            shut = "still behind its old gate" if there is not None and not there.private else "still private"
            raise HubError(
                f"{self.id} is complete but {shut}: {error.message}",
                "Push again: that does only what is still missing. Or open it with "
                f"`hf repos settings {self.id} --type {self.kind} --public`.",
            ) from error

    def _was_cut_off(self, revision: str, versions: Mapping[int, str]) -> bool:
        """Whether a push made this private repo, meant to open it, and did not come that far."""
        if versions:
            return False
        newest = next(iter(self.api.list_repo_commits(self.id, repo_type=self.kind, revision=revision)))
        return TO_BE_OPENED in newest.message

    def _versions(self, revision: str) -> dict[int, str]:
        """The commit of each version tag, by its number."""
        try:
            with as_hub_error(self.api, self.id, self.kind):
                return {
                    int(tag.name[1:]): tag.target_commit
                    for tag in self.api.list_repo_refs(self.id, repo_type=self.kind).tags
                    if VERSION_TAG.fullmatch(tag.name)
                }
        except HubError as error:
            raise self._untagged(revision, error) from error

    def _tag(self, revision: str, versions: Mapping[int, str]) -> str:
        """The newest version tag of a commit, made if it has none."""
        of_commit = [number for number, target in versions.items() if target == revision]
        if of_commit:
            return f"v{max(of_commit)}"
        tag = f"v{max(versions, default=0) + 1}"
        self.say(f"Tagging it {tag}")
        try:
            with as_hub_error(self.api, self.id, self.kind):
                self.api.create_tag(self.id, tag=tag, revision=revision, repo_type=self.kind)
        except HubError as error:
            raise self._untagged(revision, error) from error
        return tag

    def _untagged(self, revision: str, error: HubError) -> HubError:
        return HubError(
            f"{self.id} is complete at commit {revision}, but has no tag for it: {error.message}",
            "Push again: that does only what is still missing.",
        )

    def _undo(self, error: BaseException) -> None:
        """Take back the repo that this push made, unless it holds anything by now: that may be somebody else's."""
        try:
            now = self._info()
            if now is not None and not _names(now) - self._born_with:
                self.api.delete_repo(self.id, repo_type=self.kind, missing_ok=True)
        except Exception:
            if isinstance(error, HfvaccineError):
                error.next_step += (
                    " A private repo may be left behind: push again, or "
                    f"`hf repos delete {self.id} --type {self.kind}`."
                )


@dataclass(frozen=True)
class _Head:
    sha: str


@dataclass(frozen=True)
class _Asked:
    """A pull request, its commit, and whether this push opened it."""

    number: int
    sha: str
    opened: bool = False


def _blobs(head: Any, wanted: Callable[[str], bool]) -> dict[str, Any]:
    return {file.rfilename: file.blob_id for file in head.siblings or [] if wanted(file.rfilename)}


def _names(head: Any) -> set[str]:
    return {file.rfilename for file in head.siblings or []} if head else set()


def _matching(names: Any, ours: tuple[str, ...]) -> set[str]:
    return {name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in ours)}


def _same(there: Any, content: Content) -> bool:
    """Whether a file of a repo has this content, by the digest that the Hub keeps of it."""
    size = size_of(content)
    if there.size != size:
        return False
    if there.lfs:
        return bool(there.lfs.sha256 == sha256_of(content))
    whole = content if isinstance(content, bytes) else content.path.read_bytes()
    return bool(there.blob_id == hashlib.sha1(b"blob %d\0" % size + whole, usedforsecurity=False).hexdigest())


def _addition(name: str, content: Content, opened: ExitStack) -> CommitOperationAdd:
    if isinstance(content, bytes):
        return CommitOperationAdd(name, io.BytesIO(content))
    # The client would read the file once more, to learn what is known.
    added, stream = CommitOperationAdd(name, b""), opened.enter_context(content.path.open("rb"))
    added.path_or_fileobj = stream
    added.upload_info = UploadInfo(
        size=content.size, sample=stream.peek(512)[:512], sha256=bytes.fromhex(content.sha256)
    )
    return added


def _refuse_changed(files: Mapping[str, Content]) -> None:
    for name, content in files.items():
        if not isinstance(content, bytes) and content.changed:
            raise PublishError(f"{name} was changed just now.", "Push again once nothing writes it.")


@contextmanager
def _rather(error: BaseException) -> Iterator[None]:
    """Where looking fails as well, the error that made us look is the one to tell."""
    try:
        yield
    except Exception:
        raise error from error.__cause__  # which says what to do


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the client's warnings that file objects skip Xet and that an unchanged push makes no commit."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
