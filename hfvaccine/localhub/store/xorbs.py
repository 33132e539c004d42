"""The xorbs that each repo's uploads by Xet have brought.

Layout: `xorbs/<folder of the repo>/<place>/<xorb hash>`, one place a repo. A xorb is complete or not there; it is
written in `incoming/` first. Its name has been checked against its bytes.

Everything in a repo's files lies in `large-files/` as well; xorbs are kept only because clients remember what they
sent and refer to it later, instead of sending it again. What they remember is bound to the address they sent it to,
and the address holds the random name of the place. So a repo's folder here may be removed whole at any time: the next
upload begins at a new place, to which all is sent again. Single xorbs must not be removed: a client would go on
referring to them, and be refused.
"""

import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.store import xet
from hfvaccine.localhub.store.large_files import OID, Incoming

INDEXES = 16
_PLACE = re.compile("[0-9a-f]{16}")


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

    def place(self, folder: str) -> str:
        """The name of the place of a repo's xorbs; made when there is none."""
        with self._lock:
            places = sorted(one.name for one in self._folder.glob(f"{folder}/*"))
            if not places:
                places = [secrets.token_hex(8)]
                (self._folder / folder / places[0]).mkdir(parents=True)
            os.utime(self._folder / folder / places[0])  # in use, to whoever removes what is old
            return places[0]

    def remove(self, folder: str) -> None:
        """Delete a repo's xorbs."""
        shutil.rmtree(self._folder / folder, ignore_errors=True)

    def put(self, folder: str, place: str, name: str, body: BinaryIO) -> bool:
        """Take in a xorb, on disk before this returns.

        Args:
            folder: the repo's folder.
            place: where, as `place` said.
            name: the xorb's hash as text.
            body: its bytes; what follows its chunks is left out.

        Returns:
            Whether it is new.

        Raises:
            Refusal: 400 when it is no xorb or has another hash, 404 when the place is gone, 413 when it is too large.
        """
        target = self._path(folder, place, name)
        if target.exists():
            return False
        with Incoming(self._incoming) as incoming:
            hashes: list[tuple[bytes, int]] = []
            total = 0
            for chunk in xet.read_chunks(body):
                total += chunk.size
                if max(chunk.start + chunk.packed, total) > xet.LARGEST_XORB or len(hashes) == xet.MOST_CHUNKS:
                    raise Refusal(
                        413, f"A xorb holds at most {xet.LARGEST_XORB >> 20} MiB and {xet.MOST_CHUNKS} chunks."
                    )
                packed = body.read(chunk.packed)
                hashes.append((xet.chunk_hash(xet.unpack(chunk, packed)), chunk.size))
                incoming.write(chunk.header + packed)
            if not hashes or xet.xorb_hash(hashes) != name:
                raise Refusal(400, "The xorb is not the one that its address names.")
            try:
                incoming.keep(target)
            except FileNotFoundError as error:
                raise _gone() from error
        return True

    def rebuild(self, folder: str, place: str, recipe: xet.Recipe) -> Iterator[bytes]:
        """The bytes of a file, chunk by chunk.

        Raises:
            Refusal: 400 when the recipe does not fit this repo's xorbs.
        """
        index = lru_cache(INDEXES)(self._index)
        for term in recipe.terms:
            path = self._path(folder, place, term.xorb)
            chunks = index(path)[term.start : term.end]
            if len(chunks) != term.end - term.start or sum(chunk.size for chunk in chunks) != term.size:
                raise Refusal(400, f"The shard refers to parts that xorb {term.xorb} does not have.")
            with open(path, "rb") as file:
                for chunk in chunks:
                    file.seek(chunk.start)
                    yield xet.unpack(chunk, file.read(chunk.packed))

    def _index(self, path: Path) -> list[xet.Chunk]:
        try:
            with open(path, "rb") as file:
                return list(xet.read_chunks(file))
        except FileNotFoundError as error:
            raise Refusal(400, f"The shard refers to xorb {path.name}, which was not sent to this repo.") from error

    def _path(self, folder: str, place: str, name: str) -> Path:
        if not OID.fullmatch(name):
            raise Refusal(400, "A xorb is named by its hash: 64 lower-case hexadecimal digits.")
        path = self._folder / folder / place
        if not _PLACE.fullmatch(place) or not path.is_dir():
            raise _gone()
        return path / name


def _gone() -> Refusal:
    return Refusal(404, "What was uploaded before is no longer here: start the upload again.")
