"""One git repository: its commits, trees and references, read and written."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from dulwich.objects import Blob, Commit, ObjectID, ShaFile, Tag, Tree, parse_tree
from dulwich.pack import full_unpacked_object
from dulwich.refs import Ref, check_ref_format
from dulwich.repo import Repo as GitRepo

from hfvaccine.files import sync_folder
from hfvaccine.localhub.data.database import iso
from hfvaccine.localhub.refusal import Refusal, unknown_revision
from hfvaccine.localhub.store.large_files import Pointer, parse_pointer
from hfvaccine.localhub.store.place import Listing, Place

FILE_MODE = 0o100644
FOLDER_MODE = 0o040000
SUBMODULE_MODE = 0o160000
BLOCK = 4096  # what the smallest file takes on most disks
LOOSE_LIMIT = 100  # a commit of more objects is written as one pack instead of one file each
FACTS_LIMIT = 100_000
HEADS, TAGS, PULLS = b"refs/heads/", b"refs/tags/", b"refs/pr/"
_PULL = re.compile(r"refs/pr/[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class Entry:
    """A file or folder of a tree; `large` is set where a file's bytes lie in large-file storage."""

    path: str
    oid: str
    is_folder: bool
    size: int = 0
    large: Pointer | None = None


class Change(NamedTuple):
    """A file that two commits have differently: its blobs, None where it is not there."""

    path: str
    before: ObjectID | None
    after: ObjectID | None

    def __str__(self) -> str:
        return "added" if self.before is None else "removed" if self.after is None else "changed"


def check_path(path: object) -> str:
    """A path that may stand in a repo.

    Raises:
        Refusal: 422 for anything that is absolute, climbs out, or that git would not keep.
    """
    if not isinstance(path, str) or not path or len(path) > 1024:
        raise Refusal(422, "A path must be a text of 1 to 1024 characters.")
    parts = path.split("/")
    if (
        len(parts) > 64
        or any(part in ("", ".", "..") or part.lower() == ".git" or len(part.encode()) > 255 for part in parts)
        or any(ord(character) < 32 or character in "\\\x7f" for character in path)
    ):
        raise Refusal(422, f"{path[:200]!r} is not a path inside the repo.")
    return path


def date_of(commit: Commit) -> str:
    """When a commit was made, as clients parse it."""
    return iso(datetime.fromtimestamp(commit.commit_time, UTC))


def title_of(commit: Commit) -> str:
    """The first line of a commit's message."""
    message: bytes = commit.message
    return message.decode(errors="replace").partition("\n")[0]


def told_of(commit: Commit) -> dict[str, Any]:
    """What a commit says of itself: its `id`, `title`, `message` (what follows the title), `author` and `date`."""
    return {
        "id": commit.id.decode(),
        "title": title_of(commit),
        "message": commit.message.decode(errors="replace").partition("\n")[2].strip(),
        "author": commit.author.decode(errors="replace").partition(" <")[0],
        "date": date_of(commit),
    }


class Repository:
    """One open repository; made by `Storage.open`.

    Attributes:
        git: the repository itself, for git's own protocol to read from.
        written: bytes of the objects that were added through this, each counted as one block at least.
    """

    def __init__(
        self,
        git: GitRepo,
        place: Place,
        facts: dict[bytes, tuple[int, Pointer | None]],
        is_bound: Callable[[str], bool],
    ) -> None:
        self.git = git
        self.written = 0
        self._place = place
        self._facts = facts
        self._is_bound = is_bound

    # Reading

    def resolve(self, revision: str) -> Commit:
        """The commit that a branch, tag, full reference, or (short) commit id names.

        Raises:
            Refusal: 404 RevisionNotFound.
        """
        name = revision.encode(errors="replace")
        for ref in (HEADS + name, TAGS + name, name):
            if (target := self._target(ref)) is not None and (commit := self._peel(target)) is not None:
                return commit
        if 7 <= len(name) <= 40 and all(character in b"0123456789abcdef" for character in name):
            matches = [name] if len(name) == 40 else islice(self.git.object_store.iter_prefix(name), 3)
            commits = [commit for oid in matches if (commit := self._peel(ObjectID(oid))) is not None]
            if len(commits) == 1:
                return commits[0]
        raise unknown_revision(revision)

    def refs(self) -> dict[str, list[dict[str, str]]]:
        """Branches, tags and pull requests as the API lists them."""
        listed: dict[str, list[dict[str, str]]] = {"branches": [], "tags": [], "pullRequests": []}
        for ref, target in sorted(self.git.refs.as_dict().items()):
            for prefix, hidden, group in (
                (HEADS, HEADS, "branches"),
                (TAGS, TAGS, "tags"),
                (PULLS, b"", "pullRequests"),
            ):
                if ref.startswith(prefix) and (commit := self._peel(target)) is not None:
                    name = ref[len(hidden) :].decode(errors="replace")
                    entry = {"name": name, "ref": ref.decode(errors="replace"), "targetCommit": commit.id.decode()}
                    listed[group].append(entry)
        return listed

    def entry(self, commit: Commit, path: str) -> Entry | None:
        """The file or folder at `path`, or None; "" is the root folder."""
        found = self._lookup(commit.tree, path)
        return self._entry(path, *found) if found and found[0] != SUBMODULE_MODE else None

    def entries(self, commit: Commit, folder: str = "", recursive: bool = False) -> Iterator[Entry]:
        """What a folder holds, in git's order.

        Raises:
            Refusal: 404 EntryNotFound when there is no such folder.
        """
        found = self._lookup(commit.tree, folder)
        if found is None or found[0] != FOLDER_MODE:
            raise Refusal(404, f"{folder[:200]} does not exist on {commit.id.decode()[:8]}", "EntryNotFound")
        return self._walk(found[1], folder + "/" if folder else "", recursive)

    def read(self, oid: str) -> bytes:
        """A blob's bytes."""
        blob = self.git.object_store[ObjectID(oid.encode())]
        assert isinstance(blob, Blob)
        return blob.data

    def read_file(self, commit: Commit, path: str) -> bytes | None:
        """The bytes of a regular file, or None where there is none."""
        entry = self.entry(commit, path)
        return None if entry is None or entry.is_folder or entry.large else self.read(entry.oid)

    def history(self, commit: Commit) -> Iterator[Commit]:
        """A commit and all before it, newest first."""
        return (entry.commit for entry in self.git.get_walker(include=[commit.id]))

    def last_commits(self, commit: Commit, paths: Iterable[str]) -> dict[str, Commit]:
        """For each path the newest commit that changed it."""
        found: dict[str, Commit] = {}
        wanted = set(paths)
        while wanted:
            parent = self._commit(commit.parents[0]) if commit.parents else None
            for path in list(wanted) if parent is None or parent.tree != commit.tree else ():
                if parent is None or self._lookup(commit.tree, path) != self._lookup(parent.tree, path):
                    found[path] = commit
                    wanted.remove(path)
            if parent is None:
                break
            commit = parent
        return found

    def changes(self, before: Commit | None, after: Commit) -> list[Change]:
        """The files that two commits have differently; for None before all that there are."""
        return list(self._changed(before.tree if before else None, after.tree, ""))

    def clashes(self, branch: str, pull: str, base: str) -> list[str] | None:
        """What keeps a pull request from being merged.

        Args:
            branch: the branch that it is for.
            pull: its own reference.
            base: the commit that it began at.

        Returns:
            The paths that it and the branch changed, each in its own way; None when the branch no longer holds `base`.
        """
        head = self._target(HEADS + branch.encode())
        if head is None or all(one.id != base.encode() for one in self.history(self._commit(head))):
            return None
        start = self._commit(ObjectID(base.encode()))
        sides = [
            {one.path: one.after for one in self.changes(start, side)}
            for side in (self.resolve(pull), self._commit(head))
        ]
        clashing = {path for path in sides[0].keys() & sides[1].keys() if sides[0][path] != sides[1][path]}
        for one, other in (sides, sides[::-1]):
            there = {path for path, blob in one.items() if blob}
            clashing |= {path for path, blob in other.items() if blob and not there.isdisjoint(_folders(path))}
        return sorted(clashing)

    # Writing

    def add_blobs(self, blobs: list[Blob]) -> None:
        """Store blobs that a commit will refer to."""
        with self.writing():
            self._add(blobs)

    def commit(
        self,
        branch: str,
        author: str,
        message: str,
        deletions: Mapping[str, str],
        additions: Mapping[str, ObjectID],
        parent: str | None = None,
        first: bool = False,
        start: Commit | None = None,
        blobs: Sequence[Blob] = (),
    ) -> str:
        """Add one commit to a branch or pull request.

        Args:
            branch: the branch's name, or `refs/pr/N`.
            author: the user's name.
            message: title, and description after an empty line.
            deletions: path -> "file" (which may also be a folder) or "folder".
            additions: path -> the id of a stored blob.
            parent: refuse unless the branch still stands there.
            first: begin the branch instead of continuing it.
            start: begin it on top of this commit, whatever is there.
            blobs: those of the additions that are not stored yet; they are stored once nothing stands in the way.

        Returns:
            The id of the commit.

        Raises:
            Refusal: 404 for a missing branch or path, 412 when `parent` is not the head, 400 for clashing paths.
        """
        with self.writing():
            ref = _branch_ref(branch)
            head = start.id if start else self._target(ref)
            if head is None and not first:
                raise unknown_revision(branch)
            if parent is not None and parent.encode(errors="replace") != head:
                raise Refusal(412, "The branch was updated since you opened this page. Please refresh and try again.")
            tree = self._commit(head).tree if head else None
            for path, wanted in deletions.items():
                found = self._lookup(tree, path) if tree else None
                if found is None or (wanted == "folder" and found[0] != FOLDER_MODE):
                    raise Refusal(404, f"A {wanted} with this name doesn't exist: {path}", "EntryNotFound")
            made = self._made(tree, deletions, additions, [head] if head else [], author, message, blobs)
            self._move(ref, None if start else head, made)
            return made.decode()

    def squash(self, branch: str, author: str, message: str, base: str | None = None) -> str:
        """Put one commit in place of a history.

        Args:
            branch: the branch's name, or `refs/pr/N`.
            author: the user's name.
            message: the commit's.
            base: the commit that stays before it; None for no past.

        Returns:
            The id of the commit.

        Raises:
            Refusal: 404 for a missing branch.
        """
        with self.writing():
            ref = _branch_ref(branch)
            if (head := self._target(ref)) is None:
                raise unknown_revision(branch)
            parents = [ObjectID(base.encode())] if base else []
            made = self._made(self._commit(head).tree, (), {}, parents, author, message)
            self._move(ref, head, made)
            return made.decode()

    def merged(self, branch: str, pull: str, base: str, author: str, message: str) -> str:
        """Write the commit that merges a pull request without clashes; `move_branch` then makes it the branch's.

        Returns:
            The pull request's own last commit where nothing happened on the branch since, else a new one.
        """
        with self.writing():
            tip, head = self.resolve(pull), self.resolve(f"refs/heads/{branch}")
            if head.id == base.encode():
                return tip.id.decode()
            changes = self.changes(self._commit(ObjectID(base.encode())), tip)
            gone = [one.path for one in changes if one.after is None and self._lookup(head.tree, one.path)]
            additions = {one.path: one.after for one in changes if one.after is not None}
            return self._made(head.tree, gone, additions, [head.id, tip.id], author, message).decode()

    def move_branch(self, branch: str, commit: str) -> None:
        """Have a branch stand at a commit; for the length of the decision the caller holds `writing`."""
        self._move(_checked_ref(HEADS, branch), None, ObjectID(commit.encode()))

    def begin_pull(self, number: int, start: Commit | None) -> None:
        """Make the reference of a pull request that begins at a commit; None drops what a killed request left."""
        with self.writing():
            ref = _branch_ref(f"refs/pr/{number}")
            if start:
                self._move(ref, None, start.id)
            else:
                self.git.refs.remove_if_equals(ref, None)

    def take_over(self, other: Repository) -> None:
        """Have another repository's branches and tags, with all their history; its pull requests stay there."""
        with self.writing():
            refs = {ref: oid for ref, oid in other.git.refs.as_dict().items() if ref.startswith((HEADS, TAGS))}
            store = other.git.object_store
            found = [oid for oid, _ in store.find_missing_objects([], {*refs.values()})]
            # Whole objects, as those that `gc` packs.
            self.git.object_store.add_pack_data(len(found), (full_unpacked_object(store[oid]) for oid in found))
            for ref, oid in refs.items():
                self._move(ref, self.git.refs.as_dict().get(ref), oid)

    def create_branch(self, name: str, start: Commit) -> None:
        """Begin a branch at a commit. Raises Refusal 409 when it exists."""
        self._create_ref(_checked_ref(HEADS, name), start.id)

    def create_tag(self, name: str, target: Commit, message: str, author: str) -> None:
        """Tag a commit, with an annotation when there is a message. Raises Refusal 409 when it exists."""
        ref = _checked_ref(TAGS, name)
        oid = target.id
        with self.writing():
            if message:
                tag = Tag()
                tag.name, tag.message = name.encode(), message.encode(errors="replace")
                tag.object = (Commit, target.id)
                tag.tagger = f"{author} <{author}@localhub>".encode()
                tag.tag_time, tag.tag_timezone = int(time.time()), 0
                self._add([tag])
                oid = tag.id
            self._create_ref(ref, oid)

    def delete_ref(self, kind: str, name: str) -> None:
        """Delete a branch or tag. Raises Refusal 403 for main, 404 when there is none."""
        ref = _checked_ref(HEADS if kind == "branch" else TAGS, name)
        if ref == HEADS + b"main":
            raise Refusal(403, "Cannot delete refs/heads/main")
        with self.writing():
            if self._target(ref) is None:
                raise unknown_revision(name)
            self.git.refs.remove_if_equals(ref, None)

    # Inside

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep all others from writing to this repository, for more than one step."""
        with self._place.lock:
            try:
                yield
            except OSError:
                # A full disk can keep dulwich from removing its lock file; nobody else holds one here.
                remove_stale_locks(self._place.path)
                raise

    def _add(self, objects: Sequence[ShaFile]) -> None:
        self.written += sum(max(BLOCK, one.raw_length()) for one in objects)
        if len(objects) > LOOSE_LIMIT:
            self.git.object_store.add_objects([(one, None) for one in {one.id: one for one in objects}.values()])
            return
        for one in objects:
            self.git.object_store.add_object(one)

    def _made(
        self,
        tree: ObjectID | None,
        deletions: Iterable[str],
        additions: Mapping[str, ObjectID],
        parents: list[ObjectID],
        author: str,
        message: str,
        blobs: Sequence[Blob] = (),
    ) -> ObjectID:
        """Store the commit that makes these changes to a tree, and blobs that it needs."""
        fresh: list[ShaFile] = []
        tree = self._edited(tree, dict.fromkeys(deletions), fresh)
        tree = self._edited(tree, additions, fresh)
        if tree is None:
            fresh.append(Tree())
            tree = fresh[-1].id
        made = Commit()
        made.tree = tree
        made.parents = parents
        made.author = made.committer = f"{author} <{author}@localhub>".encode()
        made.author_time = made.commit_time = int(time.time())
        made.author_timezone = made.commit_timezone = 0
        made.encoding = b"UTF-8"
        made.message = message.encode(errors="replace")
        self._add([*blobs, *fresh, made])
        return made.id

    def _move(self, ref: Ref, expected: ObjectID | None, oid: ObjectID) -> None:
        if not self.git.refs.set_if_equals(ref, expected, oid):
            raise Refusal(409, "Another commit is in progress on this branch. Please try again.")
        sync_folder((self._place.path / ref.decode()).parent)

    def _create_ref(self, ref: Ref, oid: ObjectID) -> None:
        with self.writing():
            try:
                made = self.git.refs.add_if_new(ref, oid)
            except (NotADirectoryError, IsADirectoryError) as error:
                raise Refusal(409, f"{ref.decode()} clashes with the name of another reference") from error
            if not made:
                raise Refusal(409, f"Reference {ref.decode()} already exists")

    def _target(self, ref: bytes) -> ObjectID | None:
        # HEAD passes the format check of no reference but is one to clients.
        if not check_ref_format(Ref(ref)) or not ref.startswith(b"refs/"):
            return self._target(HEADS + b"main") if ref == b"HEAD" else None
        try:
            return self.git.refs[Ref(ref)]
        except (KeyError, OSError):
            return None

    def _peel(self, oid: ObjectID) -> Commit | None:
        try:
            found = self._read(oid)
            while isinstance(found, Tag):
                found = self._read(found.object[1])
        except KeyError:
            return None
        return found if isinstance(found, Commit) else None

    def _commit(self, oid: ObjectID) -> Commit:
        found = self._read(oid)
        assert isinstance(found, Commit)
        return found

    def _tree(self, oid: ObjectID) -> Listing:
        found = self._read(oid)
        assert isinstance(found, dict)
        return found

    def _read(self, oid: ObjectID) -> ShaFile | Listing:
        if (known := self._place.known(oid)) is not None:
            return known
        number, data = self.git.object_store.get_raw(oid)
        if number == Tree.type_num:
            listing = {name: (mode, ObjectID(sha)) for name, mode, sha in parse_tree(data, 20)}
            self._place.learn(oid, listing)
            return listing
        found = ShaFile.from_raw_string(number, data, oid)
        if isinstance(found, Commit):
            self._place.learn(oid, found)
        return found

    def _lookup(self, tree: ObjectID, path: str) -> tuple[int, ObjectID] | None:
        found = (FOLDER_MODE, tree)
        for part in path.encode(errors="replace").split(b"/") if path else ():
            if found[0] != FOLDER_MODE or not part or part not in self._tree(found[1]):
                return None
            found = self._tree(found[1])[part]
        return found

    def _walk(self, tree: ObjectID, prefix: str, recursive: bool) -> Iterator[Entry]:
        for name, (mode, oid) in self._tree(tree).items():
            if mode == SUBMODULE_MODE:
                continue
            entry = self._entry(prefix + name.decode(errors="replace"), mode, oid)
            yield entry
            if recursive and entry.is_folder:
                yield from self._walk(oid, entry.path + "/", recursive)

    def _changed(self, before: ObjectID | None, after: ObjectID | None, prefix: str) -> Iterator[Change]:
        if before == after:
            return
        old, new = (self._tree(tree) if tree else {} for tree in (before, after))
        for name in sorted(old.keys() | new.keys()):
            path, sides = prefix + name.decode(errors="replace"), (old.get(name), new.get(name))
            if sides[0] == sides[1]:
                continue
            files = [side[1] if side and side[0] not in (FOLDER_MODE, SUBMODULE_MODE) else None for side in sides]
            if files[0] != files[1]:
                yield Change(path, files[0], files[1])
            below = [side[1] if side and side[0] == FOLDER_MODE else None for side in sides]
            yield from self._changed(below[0], below[1], path + "/")

    def _entry(self, path: str, mode: int, oid: ObjectID) -> Entry:
        if mode == FOLDER_MODE:
            return Entry(path, oid.decode(), is_folder=True)
        if oid not in self._facts:
            data = self.read(oid.decode())
            if len(self._facts) >= FACTS_LIMIT:
                self._facts.clear()
            self._facts[oid] = (len(data), parse_pointer(data))
        size, pointer = self._facts[oid]
        if pointer is not None and self._is_bound(pointer.oid):
            return Entry(path, oid.decode(), False, pointer.size, pointer)
        return Entry(path, oid.decode(), False, size)

    def _edited(
        self, tree: ObjectID | None, changes: Mapping[str, ObjectID | None], fresh: list[ShaFile]
    ) -> ObjectID | None:
        """The id of `tree` with changes (path -> blob, None to delete); None when nothing is left in it."""
        if not changes:
            return tree
        edited = Tree()
        for name, entry in self._tree(tree).items() if tree else ():
            edited[name] = entry
        below: defaultdict[bytes, dict[str, ObjectID | None]] = defaultdict(dict)
        for path, blob in changes.items():
            head, _, rest = path.partition("/")
            name = head.encode()
            if rest:
                below[name][rest] = blob
            elif blob is None:
                del edited[name]
            elif name in edited and edited[name][0] == FOLDER_MODE:
                raise Refusal(400, f"{path} is a folder in this repo: delete it first to put a file in its place.")
            else:
                edited[name] = (FILE_MODE, blob)
        for name, deeper in below.items():
            if name in edited and edited[name][0] != FOLDER_MODE:
                raise Refusal(400, f"{name.decode()} is a file in this repo: nothing can be put below it.")
            folder = self._edited(edited[name][1] if name in edited else None, deeper, fresh)
            if folder is not None:
                edited[name] = (FOLDER_MODE, folder)
            elif name in edited:
                del edited[name]
        if not len(edited):
            return None
        fresh.append(edited)
        # The same commit may edit it once more, before it is stored.
        self._place.learn(edited.id, {item.path: (item.mode, item.sha) for item in edited.items()})
        return edited.id


def _folders(path: str) -> list[str]:
    return [path[:at] for at, letter in enumerate(path) if letter == "/"]


def _branch_ref(name: str) -> Ref:
    return Ref(name.encode()) if _PULL.fullmatch(name) else _checked_ref(HEADS, name)


def _checked_ref(prefix: bytes, name: str) -> Ref:
    ref = Ref(prefix + name.encode(errors="replace"))
    # A branch called refs/pr/1 would stand in front of the pull request.
    if len(ref) > 250 or not check_ref_format(ref) or name.startswith("refs/"):
        raise Refusal(400, f"{name[:200]!r} is not a valid name of a branch or tag.")
    return ref


def remove_stale_locks(folder: Path) -> None:
    for lock in folder.rglob("*.lock"):
        lock.unlink(missing_ok=True)
