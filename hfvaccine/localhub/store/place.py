"""Where a repository lies, and what is known of it between two requests."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from dulwich.objects import Commit, ObjectID
from dulwich.repo import Repo as GitRepo

KNOWN_LIMIT = 100_000  # entries of trees of one repository
IDLE_LIMIT, IDLE_PACKS = 8, 8  # each idle repository holds two files open for each pack
Listing = dict[bytes, tuple[int, ObjectID]]
"""A tree as name -> (mode, id), in git's order."""


class Place:
    """What is kept of one repository between requests: its lock, opened repositories, and objects that were read.

    Objects are kept for each repository apart: knowing an id must not open another repository's content.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.RLock()
        self._idle: list[GitRepo] = []
        self._known: dict[ObjectID, Commit | Listing] = {}
        self._weight = 0
        self._collected = 0

    def take(self) -> GitRepo:
        """A repository that no other thread uses."""
        try:
            return self._idle.pop()
        except IndexError:
            git = GitRepo(self.path)
            git.object_store.fsync_object_files = True
            return git

    def give_back(self, git: GitRepo, keep: bool) -> None:
        """Keep a repository for the next request, or close it."""
        if keep and len(self._idle) < IDLE_LIMIT and len(git.object_store.packs) <= IDLE_PACKS:
            self._idle.append(git)
        else:
            git.close()

    def known(self, oid: ObjectID) -> Commit | Listing | None:
        """A commit or tree that was read before."""
        return self._known.get(oid)

    def learn(self, oid: ObjectID, found: Commit | Listing) -> None:
        """Keep a commit or tree, which nobody may change from now on."""
        self._weight += 1 if isinstance(found, Commit) else 1 + len(found)
        if self._weight > KNOWN_LIMIT:
            self._known, self._weight = {}, 0
        self._known[oid] = found

    def refresh(self) -> None:
        """Forget what was read before the last `gc`: a commit that it removed must be missing here as well."""
        try:
            collected = os.stat(self.path / "objects").st_mtime_ns
        except FileNotFoundError:
            collected = 0
        if collected != self._collected:
            self._known, self._weight, self._collected = {}, 0, collected

    def clear(self) -> None:
        """Let go of everything but the lock."""
        self._known, self._weight = {}, 0
        while self._idle:
            self._idle.pop().close()
