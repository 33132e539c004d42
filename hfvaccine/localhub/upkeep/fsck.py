"""Whether everything in a data folder is whole, be it served at the moment or not. Nothing is changed."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from dulwich.repo import Repo as GitRepo

from hfvaccine.errors import LocalHubError
from hfvaccine.files import digest_of
from hfvaccine.localhub.guard import SERVING, WAITING, WRITING
from hfvaccine.localhub.store.large_files import OID
from hfvaccine.localhub.upkeep.walk import Walk

KNOWN = {"hub.sqlite3", "hub.sqlite3-wal", "hub.sqlite3-shm", SERVING, WRITING, WAITING}
FOLDERS = {"repos", "large-files", "incoming", "xorbs"}
SETTLED = 60  # seconds after which a file that no row names is no longer on its way


class Finding(NamedTuple):
    """One thing that is not as it should be. An error means loss; anything else is only worth knowing."""

    error: bool
    text: str

    def __str__(self) -> str:
        return f"{'error' if self.error else 'note'}: {self.text}"


class Fsck:
    """One check of a Hub.

    Args:
        root: the data folder.
        hashes: read every large file whole; otherwise only their sizes are compared.

    Raises:
        LocalHubError: when there is no Hub in the folder.
    """

    def __init__(self, root: Path, hashes: bool = True) -> None:
        self._root = root
        self._hashes = hashes
        if not (root / "hub.sqlite3").is_file():
            raise LocalHubError(f"There is no Hub in {root}.", "Give its data folder with `--root`.")
        self.repos = 0
        self.objects = 0
        self.large_files = 0

    def run(self) -> Iterator[Finding]:
        """Everything that is found, in the order of the check."""
        uri = f"{(self._root / 'hub.sqlite3').resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=10)) as database:
            try:
                broken = [row[0] for row in database.execute("PRAGMA integrity_check") if row[0] != "ok"]
                broken += [
                    f"row {row[1]} of {row[0]} refers to no {row[2]}"
                    for row in database.execute("PRAGMA foreign_key_check")
                ]
                yield from (Finding(True, f"database: {text}") for text in broken)
                yield from self._check(database)
            except sqlite3.DatabaseError as error:
                yield Finding(True, f"database: {error}")

    def _check(self, database: sqlite3.Connection) -> Iterator[Finding]:
        stray = [one.name for one in (self._root / "repos").glob("*") if _is_settled(one)]
        repos = "SELECT id, kind || 's/' || namespace || '/' || name, folder FROM repos ORDER BY id"
        for number, name, folder in database.execute(repos).fetchall():
            findings = self._repo(database, number, folder)
            # What a commit, `gc` or the removal of the repo was at while it was read is whole the second time.
            if findings and database.execute("SELECT 1 FROM repos WHERE id = ?", (number,)).fetchone():
                findings = self._repo(database, number, folder)
            if database.execute("SELECT 1 FROM repos WHERE id = ?", (number,)).fetchone():
                yield from (Finding(error, f"{name}: {text}") for error, text in findings)
            self.repos += 1
        yield from self._large_files(database)
        known = {folder for (folder,) in database.execute("SELECT folder FROM repos")}
        yield from (Finding(False, f"repos/{name} belongs to no repo") for name in stray if name not in known)
        for path in self._root.iterdir():
            if path.name not in (FOLDERS if path.is_dir() else KNOWN):
                yield Finding(False, f"{path.name} is nothing that a Hub keeps")

    def _repo(self, database: sqlite3.Connection, number: int, folder: str) -> list[Finding]:
        path = self._root / "repos" / folder
        if not (path / "objects").is_dir():
            return [Finding(True, f"its folder repos/{folder} is missing or no repository")]
        found: list[Finding] = []
        with closing(GitRepo(path)) as git:
            if b"refs/heads/main" not in git.refs.allkeys():
                found.append(Finding(True, "it has no branch main"))
            for pack in git.object_store.packs:
                try:
                    pack.check_length_and_checksum()
                    pack.index.check()
                except Exception as error:  # damaged bytes fail in any way
                    found.append(Finding(True, f"pack {pack.name().decode()} is broken: {error or type(error)}"))
            found += _pulls(database, number, {ref for ref in git.refs.allkeys() if ref.startswith(b"refs/pr/")})
            walk = Walk().follow(git)
            found += [Finding(True, text) for text in walk.damage]
            self.objects += len(walk.found)
        bound = dict(database.execute("SELECT oid, size FROM large_files WHERE repo_id = ?", (number,)).fetchall())
        for pointer, where in walk.pointers.items():
            if pointer.oid not in bound:
                # Anybody may commit such a text; it opens no file and loses none.
                found.append(
                    Finding(False, f"{where} names large file {pointer.oid}, which this repo was never given")
                )
            elif bound[pointer.oid] != pointer.size:
                found.append(Finding(True, f"{where} names {pointer.size} bytes of large file {pointer.oid}"))
        for oid, size in bound.items():
            file = self._root / "large-files" / oid[:2] / oid[2:]
            actual = file.stat().st_size if file.is_file() else None
            if actual != size:
                state = "is missing" if actual is None else f"has {actual} bytes instead of {size}"
                found.append(Finding(True, f"large file {oid} {state}"))
        return found

    def _large_files(self, database: sqlite3.Connection) -> Iterator[Finding]:
        bound = {oid for (oid,) in database.execute("SELECT DISTINCT oid FROM large_files")}
        for path in sorted((self._root / "large-files").glob("*/*")):
            oid = path.parent.name + path.name
            if not OID.fullmatch(oid):
                yield Finding(False, f"large-files/{path.parent.name}/{path.name} is no large file")
                continue
            self.large_files += 1
            if oid not in bound and _is_settled(path):
                yield Finding(False, f"large file {oid} belongs to no repo")
            if self._hashes:
                try:
                    broken = digest_of(path) != oid
                except FileNotFoundError:  # `gc` was faster
                    continue
                except OSError as error:
                    yield Finding(True, f"large file {oid} cannot be read: {error}")
                    continue
                if broken:
                    yield Finding(True, f"large file {oid} has other bytes than its name says")


def _pulls(database: sqlite3.Connection, number: int, refs: set[bytes]) -> Iterator[Finding]:
    """Where pull requests and their references do not match."""
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'discussions'").fetchone():
        return  # an older version's data folder, which no server of this one has opened yet
    known = database.execute("SELECT num FROM discussions WHERE repo_id = ? AND branch IS NOT NULL", (number,))
    wanted = {b"refs/pr/%d" % num for (num,) in known}
    for ref in sorted(wanted - refs):
        yield Finding(True, f"pull request {ref.decode().rpartition('/')[2]} has no {ref.decode()}")
    for ref in sorted(refs - wanted):
        yield Finding(False, f"{ref.decode(errors='replace')} belongs to no pull request")


def _is_settled(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > SETTLED
    except FileNotFoundError:
        return False
