"""The xorbs that each repo's uploads by Xet have brought.

Layout: `xorbs/<folder of the repo>/<place>/<xorb hash>`, one place a repo. A xorb is complete or not there; it is
written in `incoming/` first. Its name has been checked against its bytes.

Everything in a repo's files lies in `large-files/` as well; xorbs are kept only because clients remember what they
sent and refer to it later, instead of sending it again. What they remember is bound to the address they sent it to,
and the address holds the random name of the place. So a repo's folder here may be removed whole at any time: the next
upload begins at a new place, to which all is sent again. Single xorbs must not be removed: a client would go on
referring to them, and be refused. A xorb is not forced to the disk, as what is made of it will be: a place is good
until the machine starts again, and what a crash may have torn is never read.
"""

import hashlib
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.store import xet
from hfvaccine.localhub.store.large_files import OID, Incoming

INDEXES = 64
"""Xorbs of which chunks and hashes are remembered: of about a thousand chunks each, some 200 kB."""
Index = list[tuple[xet.Chunk, bytes]]
_PLACE = re.compile("[0-9a-f]{24}")
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Xorbs:
    """The store of xorbs. Each repo has its own: a reference into another repo's would give away its content.

    Args:
        root: the Hub's data folder.
        incoming: where unfinished files lie, on the same disk; emptied at every start.
    """

    def __init__(self, root: Path, incoming: Path) -> None:
        self._folder = root / "xorbs"
        self._incoming = incoming
        self._lock = threading.Lock()
        self._indexes: dict[Path, Index] = {}
        # Where a system does not say when it started, a place lasts as long as this process.
        started = _BOOT.read_bytes() if _BOOT.exists() else secrets.token_bytes(16)
        self._since = hashlib.sha256(started).hexdigest()[:8]

    def place(self, folder: str) -> str:
        """The name of the place of a repo's xorbs; made when there is none since the machine started."""
        with self._lock:
            places = sorted(one.name for one in self._folder.glob(f"{folder}/{self._since}*"))
            if not places:
                self.remove(folder)
                places = [self._since + secrets.token_hex(8)]
                (self._folder / folder / places[0]).mkdir(parents=True)
            os.utime(self._folder / folder / places[0])  # in use, to whoever removes what is old
            return places[0]

    def remove(self, folder: str) -> None:
        """Delete a repo's xorbs."""
        shutil.rmtree(self._folder / folder, ignore_errors=True)

    def receive(self) -> Incoming:
        """Begin to take in a xorb."""
        return Incoming(self._incoming)

    def put(self, folder: str, place: str, name: str, incoming: Incoming) -> bool:
        """Keep a xorb that arrived, until the machine starts again.

        Args:
            folder: the repo's folder.
            place: where, as `place` said.
            name: the xorb's hash as text.
            incoming: its bytes; what follows its chunks is left out.

        Returns:
            Whether it is new.

        Raises:
            Refusal: 400 when it is no xorb or has another hash, 404 when the place is gone, 413 when it is too large.
        """
        target = self._path(folder, place, name)
        if target.exists():
            return False
        index = _hashed(incoming.read())
        if not index or xet.xorb_hash([(hashed, chunk.size) for chunk, hashed in index]) != name:
            raise Refusal(400, "The xorb is not the one that its address names.")
        last = index[-1][0]
        incoming.cut(last.start + last.packed)
        try:
            incoming.move(target)
        except FileNotFoundError as error:
            raise _gone() from error
        self._remember(target, index)
        return True

    def rebuild(self, folder: str, place: str, recipe: xet.Recipe) -> Iterator[tuple[bytes, bytes]]:
        """The bytes of a file, chunk by chunk, each after its hash.

        Raises:
            Refusal: 400 when the recipe does not fit this repo's xorbs.
        """
        for term in recipe.terms:
            path = self._path(folder, place, term.xorb)
            try:
                file = open(path, "rb")  # noqa: SIM115 - closed below
            except FileNotFoundError as error:
                raise Refusal(
                    400, f"The shard refers to xorb {path.name}, which was not sent to this repo."
                ) from error
            with file:
                chunks = self._index(path, file)[term.start : term.end]
                if len(chunks) != term.end - term.start or sum(chunk.size for chunk, _ in chunks) != term.size:
                    raise Refusal(400, f"The shard refers to parts that xorb {term.xorb} does not have.")
                for chunk, hashed in chunks:
                    yield hashed, xet.unpack(chunk, os.pread(file.fileno(), chunk.packed, chunk.start))

    def _index(self, path: Path, file: BinaryIO) -> Index:
        """The chunks of a xorb with their hashes, which were reckoned when it came where that is not long ago."""
        with self._lock:
            known = self._indexes.get(path)
        if known is None:
            known = _hashed(file)
            self._remember(path, known)
        return known

    def _remember(self, path: Path, index: Index) -> None:
        with self._lock:
            self._indexes[path] = index
            while len(self._indexes) > INDEXES:
                del self._indexes[next(iter(self._indexes))]

    def _path(self, folder: str, place: str, name: str) -> Path:
        if not OID.fullmatch(name):
            raise Refusal(400, "A xorb is named by its hash: 64 lower-case hexadecimal digits.")
        path = self._folder / folder / place
        if not _PLACE.fullmatch(place) or not place.startswith(self._since) or not path.is_dir():
            raise _gone()
        return path / name


def _hashed(xorb: BinaryIO) -> Index:
    """The chunks of a xorb, each with its hash."""
    index: Index = []
    total = 0
    for chunk in xet.read_chunks(xorb):
        total += chunk.size
        if max(chunk.start + chunk.packed, total) > xet.LARGEST_XORB or len(index) == xet.MOST_CHUNKS:
            raise Refusal(413, f"A xorb holds at most {xet.LARGEST_XORB >> 20} MiB and {xet.MOST_CHUNKS} chunks.")
        index.append((chunk, xet.chunk_hash(xet.unpack(chunk, xorb.read(chunk.packed)))))
    return index


def _gone() -> Refusal:
    return Refusal(404, "What was uploaded before is no longer here: start the upload again.")
