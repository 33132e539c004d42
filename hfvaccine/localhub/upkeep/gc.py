"""Removing what nothing refers to any more, be the Hub served at the moment or not.

First everything is read, and loose objects are packed, without a lock: that only adds. Then `removing` keeps
every request that may change something waiting, what changed since is read as well, and the rest is removed.
So nothing can come to be referred to between the decision that nothing refers to it and its removal. What is
younger than the grace period stays: an upload comes before the commit that refers to it. A repository with
damage in it is left as it is, with all its large files.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from dulwich.errors import NotGitRepository
from dulwich.objects import ObjectID
from dulwich.pack import full_unpacked_object
from dulwich.refs import Ref
from dulwich.repo import Repo as GitRepo

from hfvaccine.errors import LocalHubError
from hfvaccine.localhub.data.database import Database, iso, open_database
from hfvaccine.localhub.guard import kept_from_serving, removing
from hfvaccine.localhub.upkeep.walk import Walk

UNTOUCHED = timedelta(days=90)
"""After which a pull request goes that was opened by somebody who may not write, and was not merged."""
GRACE = 24 * 3600  # as long as the address of an upload is good for
SHORTEST_WHILE_SERVED = 3600
MANY_LOOSE, MANY_PACKS = 100, 5


@dataclass
class Removed:
    """What `collect` did."""

    large_files: int = 0
    bindings: int = 0
    bytes: int = 0
    folders: int = 0
    leftovers: int = 0
    objects: int = 0
    packs: int = 0
    pulls: int = 0
    left_alone: list[str] = field(default_factory=list)


def collect(root: Path, grace: float = GRACE) -> Removed:
    """Remove what nothing refers to, and pack loose objects.

    Args:
        root: the data folder.
        grace: seconds for which even that is kept.

    Returns:
        What was removed, and which repos were left alone because they are damaged.

    Raises:
        LocalHubError: when there is no Hub in the folder, or the grace period is too short for one that is served.
    """
    if not (root / "hub.sqlite3").is_file():
        raise LocalHubError(f"There is no Hub in {root}.", "Give its data folder with `--root`.")
    with kept_from_serving(root) as alone, open_database(root) as database:
        if not alone and grace < SHORTEST_WHILE_SERVED:
            raise LocalHubError(
                "This Hub is being served: a grace period under an hour would hit uploads that are under way.",
                "Stop it first, or allow an hour or more.",
            )
        return _Collection(root, database, time.time() - grace).run()


class _Collection:
    def __init__(self, root: Path, database: Database, before: float) -> None:
        self._root = root
        self._database = database
        self._before = before
        self._removed = Removed()

    def run(self) -> Removed:
        with removing(self._root):
            self._expire()
        stores = {folder: _Store(path) for folder, path in self._repositories()}
        for store in stores.values():
            store.pack(self._before)
        with removing(self._root):
            stores |= {folder: _Store(path) for folder, path in self._repositories() if folder not in stores}
            for folder, store in stores.items():
                if folder in self._folders():
                    store.remove(self._before, self._removed)
            self._large_files(stores)
            self._strays()
        done = ", ".join(f"{name} {value}" for name, value in vars(self._removed).items() if value)
        self._database.audit("operator", "gc", detail=done)
        return self._removed

    def _expire(self) -> None:
        """Drop what strangers proposed and nobody else has touched for long; its commits go once the grace is over."""
        before = iso(datetime.now(UTC) - UNTOUCHED)
        found = self._database.rows(
            "SELECT repo_id, num, folder FROM discussions JOIN repos ON repos.id = repo_id"
            " WHERE status <> 'merged' AND merge_oid IS NULL AND stored_at < ? AND NOT EXISTS (SELECT 1"
            " FROM discussion_events AS said WHERE said.repo_id = discussions.repo_id"
            " AND said.num = discussions.num AND said.user_id <> discussions.user_id AND said.created_at >= ?)",
            *(before, before),
        )
        for number, num, folder in found:
            # The row first: a reference without one is a note to `fsck`, and the next pull request takes it over.
            self._database.change("DELETE FROM discussions WHERE repo_id = ? AND num = ?", number, num)
            with suppress(NotGitRepository), closing(GitRepo(self._root / "repos" / folder)) as git:
                git.refs.remove_if_equals(Ref(f"refs/pr/{num}".encode()), None)
            self._removed.pulls += 1

    def _repositories(self) -> Iterator[tuple[str, Path]]:
        for folder in self._folders():
            if (path := self._root / "repos" / folder).joinpath("objects").is_dir():
                yield folder, path

    def _folders(self) -> set[str]:
        return {row["folder"] for row in self._database.rows("SELECT folder FROM repos")}

    def _large_files(self, stores: "dict[str, _Store]") -> None:
        files = self._root / "large-files"
        # Bindings go first, in one transaction: a file without a binding is found again, not the other way round.
        with self._database.transaction() as connection:
            found = connection.execute(
                "SELECT repo_id, oid, folder, kind || 's/' || namespace || '/' || name AS repo"
                " FROM large_files JOIN repos ON repos.id = repo_id"
            ).fetchall()
            for number, oid, folder, repo in found:
                store = stores.get(folder)
                if store is None or store.walk.damage:
                    if repo not in self._removed.left_alone:
                        self._removed.left_alone.append(repo)
                elif oid not in store.large_files and _is_old(files / oid[:2] / oid[2:], self._before):
                    connection.execute("DELETE FROM large_files WHERE repo_id = ? AND oid = ?", (number, oid))
                    self._removed.bindings += 1
            connection.execute("DELETE FROM xet_hashes WHERE oid NOT IN (SELECT oid FROM large_files)")
        bound = {row["oid"] for row in self._database.rows("SELECT DISTINCT oid FROM large_files")}
        for path in files.glob("*/*"):
            if path.parent.name + path.name not in bound and _is_old(path, self._before):
                self._removed.bytes += path.stat().st_size
                self._removed.large_files += 1
                path.unlink()

    def _strays(self) -> None:
        known = self._folders()
        for path in (self._root / "repos").iterdir():
            if path.name not in known and _is_old(path, self._before):
                shutil.rmtree(path)
                self._removed.folders += 1
        for path in (self._root / "incoming").iterdir():
            if _is_old(path, self._before):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                self._removed.leftovers += 1
        # Xorbs go whole or not at all for a repo, see xorbs.py; no file needs them once an upload is done.
        for path in (self._root / "xorbs").glob("*"):
            if path.name not in known or all(_is_old(one, self._before) for one in (path, *path.rglob("*"))):
                self._removed.bytes += sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
                self._removed.folders += 1
                gone = path.rename(path.with_name(f"{path.name}.removed"))
                shutil.rmtree(gone)


class _Store:
    """The objects of one repository."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._packed: set[ObjectID] = set()
        self._kept = ""
        with closing(GitRepo(path)) as git:
            self.walk = Walk().follow(git)

    @cached_property
    def large_files(self) -> set[str]:
        """Those that the repository's files name; to be asked for only when all is read."""
        return {pointer.oid for pointer in self.walk.pointers}

    def pack(self, before: float) -> None:
        """Write all that is reachable into one new pack, where that is worth it."""
        with closing(GitRepo(self._path)) as git:
            reachable, objects = self.walk.found, git.object_store
            packs = objects.packs
            worth = (
                len(packs) > MANY_PACKS
                or sum(oid in reachable for oid in objects._iter_loose_objects()) > MANY_LOOSE
                or any(_is_old(Path(one._data_path), before) and not reachable.keys() >= set(one) for one in packs)
            )
            if worth and not self.walk.damage:
                objects.fsync_object_files = True
                # Whole objects: deltas taken over from several packs may rest on each other in a circle.
                records = (full_unpacked_object(objects[oid]) for oid in reachable)
                made = objects.add_pack_data(len(reachable), records)
                assert made is not None
                self._packed, self._kept = set(made), f"pack-{made.name().decode()}"

    def remove(self, before: float, removed: "Removed") -> None:
        """Remove what is in the new pack as well, and what is old and not reachable."""
        with closing(GitRepo(self._path)) as git:
            reachable, objects = self.walk.follow(git).found, git.object_store
            if self.walk.damage:
                return
            for oid in list(objects._iter_loose_objects()):
                if oid in self._packed or (oid not in reachable and objects.get_object_mtime(oid) < before):
                    removed.objects += oid not in reachable
                    objects.delete_loose_object(oid)
            for pack in objects.packs:
                path, gone = Path(pack._data_path), [oid for oid in pack if oid not in self._packed]
                needed = any(oid in reachable for oid in gone) or (gone and not _is_old(path, before))
                if path.stem != self._kept and not needed:
                    removed.objects += len(gone)
                    removed.packs += 1
                    # The index first: a pack without one is a leftover that the next run removes.
                    for one in (path.with_suffix(".idx"), *path.parent.glob(f"{path.stem}.*")):
                        one.unlink(missing_ok=True)
            objects.prune(max(0, int(time.time() - before)))
        os.utime(self._path / "objects")  # a server that sees this forgets what it has read


def _is_old(path: Path, before: float) -> bool:
    """From before that time, or not there."""
    try:
        return path.stat().st_mtime < before
    except FileNotFoundError:
        return True
