"""The parts of one Hub, opened on its data folder."""

import secrets
import sqlite3
import tempfile
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path

from dulwich.errors import NotGitRepository

from hfvaccine.errors import LocalHubError
from hfvaccine.localhub.data.access import Access
from hfvaccine.localhub.data.accounts import Accounts
from hfvaccine.localhub.data.catalog import Catalog, Repo
from hfvaccine.localhub.data.database import data_folder, open_database
from hfvaccine.localhub.data.discussions import Discussions
from hfvaccine.localhub.data.likes import Likes
from hfvaccine.localhub.guard import kept_from_serving
from hfvaccine.localhub.sessions import Sessions
from hfvaccine.localhub.store.large_files import LargeFiles
from hfvaccine.localhub.store.repository import Repository
from hfvaccine.localhub.store.storage import Storage
from hfvaccine.localhub.store.xorbs import Xorbs

FOR_STRANGERS = 5_000_000
"""Bytes that each account may store in pull requests and discussions of each repo that it may not write to."""
GRANTED = 15 * 60
"""Seconds for which an upload by Xet may go on with one token; its scope is the place of the repo's xorbs."""


class Hub:
    """Accounts, repos and files under one folder; what the routes work on.

    Args:
        root: the data folder; made when absent.

    Raises:
        LocalHubError: when another process serves the folder, or it cannot be used.
    """

    def __init__(self, root: Path) -> None:
        self._held = ExitStack()
        with data_folder(root):
            alone = self._held.enter_context(kept_from_serving(root))
        if not alone:
            self._held.close()
            raise LocalHubError(
                f"{root} is being served by another process.", "Stop that one, or choose another folder with `--root`."
            )
        self.root = root
        self.for_strangers = FOR_STRANGERS
        self.database = self._held.enter_context(open_database(root))
        self.accounts = Accounts(self.database)
        self.catalog = Catalog(self.database)
        self.access = Access(self.database)
        self.large_files = LargeFiles(root)
        self.xorbs = Xorbs(root, self.large_files.incoming)
        self.grants = Sessions(GRANTED)
        self.storage = Storage(root)
        self.discussions = Discussions(self.database)
        self.likes = Likes(self.database)
        self._finish_merges()
        self.sessions = Sessions()
        self.secret = bytes.fromhex(self.database.setting("signing secret", secrets.token_hex(32)))

    def open(self, repo: Repo) -> AbstractContextManager[Repository]:
        """A repo's git repository, which honours pointers only to large files bound to this repo."""
        return self.storage.open(repo.folder, lambda oid: self.catalog.large_file_size(repo, oid) is not None)

    def _finish_merges(self) -> None:
        """Settle the merges that a killed server was at: done where the branch moved, else never begun."""
        for repo, found in self.discussions.merging():
            with suppress(NotGitRepository), self.open(repo) as git:  # a damaged repo must not keep the rest from work
                heads = [one["targetCommit"] for one in git.refs()["branches"] if one["name"] == found.branch]
                self.discussions.end_merge(found, heads == [found.merge_oid])

    def unusable(self) -> str | None:
        """What keeps this Hub from working: its "database", its "disk", or None."""
        try:
            with self.database.transaction() as connection:
                connection.execute("SELECT COUNT(*) FROM users")
        except sqlite3.Error:
            return "database"
        try:
            with tempfile.NamedTemporaryFile(dir=self.large_files.incoming) as file:
                file.write(bytes(4096))
        except OSError:
            return "disk"
        return None

    def close(self) -> None:
        """Let go of the data folder."""
        self.storage.close()
        self._held.close()
