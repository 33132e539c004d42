"""Following a repository's references to every object that they lead to."""

import hashlib
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from dulwich.objects import Blob, Commit, ObjectID, ShaFile, Tag, Tree, valid_hexsha
from dulwich.repo import Repo as GitRepo

from hfvaccine.localhub.store.large_files import Pointer, parse_pointer
from hfvaccine.localhub.store.repository import SUBMODULE_MODE

SYMBOLIC = b"ref: "


class _Step(NamedTuple):
    oid: ObjectID
    number: int | None  # the type that the object must have
    whence: str


class Walk:
    """What one repository's references lead to; `follow` may be called again after references moved.

    Attributes:
        found: every object that was reached -> its type.
        pointers: large files that are named -> one path that names them.
        damage: what is missing or broken, in words.
    """

    def __init__(self) -> None:
        self.found: dict[ObjectID, int] = {}
        self.pointers: dict[Pointer, str] = {}
        self.damage: list[str] = []

    def follow(self, git: GitRepo) -> "Walk":
        """Read every object that the references lead to, now, and was not read before."""
        steps = list(self._starts(git))
        while steps:
            step = steps.pop()
            number = self.found.get(step.oid)
            if number is None:
                try:
                    found = _read(git, step.oid)
                    number = found.type_num
                    steps += self._next(found, step.whence)
                except KeyError:
                    self.damage.append(f"{step.whence} needs object {step.oid.decode()}, which is missing")
                    continue
                except Exception as error:  # damaged bytes fail in any way: zlib, struct, dulwich's own
                    self.damage.append(f"{step.whence}: object {step.oid.decode()} is broken: {error or type(error)}")
                    continue
                self.found[step.oid] = number
            if step.number not in (None, number):
                self.damage.append(f"{step.whence}: object {step.oid.decode()} is of another kind than it must be")
        return self

    def _starts(self, git: GitRepo) -> Iterator[_Step]:
        for ref in sorted(git.refs.allkeys()):
            name = ref.decode(errors="replace")
            try:
                value = git.refs.read_ref(ref) or b""
            except (OSError, ValueError) as error:
                self.damage.append(f"{name} cannot be read: {error}")
                continue
            if value.startswith(SYMBOLIC) or not (value or os.path.exists(os.path.join(os.fsencode(git.path), ref))):
                continue  # HEAD, or one that was deleted just now
            if not valid_hexsha(value):
                self.damage.append(f"{name} holds {value[:60]!r} instead of the id of an object")
                continue
            heads = name.startswith(("refs/heads/", "refs/pr/"))
            yield _Step(ObjectID(value), Commit.type_num if heads else None, name)

    def _next(self, found: ShaFile, whence: str) -> list[_Step]:
        if isinstance(found, Commit):
            parents = [_Step(parent, Commit.type_num, f"commit {found.id.decode()}") for parent in found.parents]
            return [*parents, _Step(found.tree, Tree.type_num, f"commit {found.id.decode()}, ")]
        if isinstance(found, Tag):
            return [_Step(found.object[1], found.object[0].type_num, f"{whence}, tag {found.id.decode()}")]
        if isinstance(found, Tree):
            base = whence if whence.endswith((" ", "/")) else f"{whence}, "
            return [
                _Step(item.sha, Tree.type_num, f"{base}{item.path.decode(errors='replace')}/")
                if stat.S_ISDIR(item.mode)
                else _Step(item.sha, Blob.type_num, f"{base}{item.path.decode(errors='replace')}")
                for item in found.items()
                if item.mode != SUBMODULE_MODE
            ]
        if pointer := parse_pointer(found.as_raw_string()):
            self.pointers.setdefault(pointer, whence)
        return []


def _read(git: GitRepo, oid: ObjectID) -> ShaFile:
    number, data = git.object_store.get_raw(oid)
    found = ShaFile.from_raw_string(number, data)
    header = b"%s %d\0" % (found.type_name, len(data))
    if hashlib.sha1(header + data, usedforsecurity=False).hexdigest().encode() != oid:
        raise ValueError("its bytes have another hash")
    found.check()
    return found
