"""Xorbs that are made while they are read, out of a whole large file.

A file is kept once, as it is, and cut at fixed places for those who download it by Xet: chunks of `CHUNK` bytes, not
compressed, in xorbs of `CHUNKS`. So what an upload was packed in may go (see xorbs.py), and nothing is kept twice. Of
such a xorb every length follows from the file's size.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from hfvaccine.localhub.store.xet import RAW, Chunk

CHUNK = 128 << 10  # the protocol's largest
CHUNKS = 512
_HEADER = 8


class Part(NamedTuple):
    """The chunks [start, end) of a file's xorb of this number, and how many bytes of the file they are."""

    number: int
    start: int
    end: int
    size: int

    @property
    def packed(self) -> tuple[int, int]:
        """Where in the xorb they begin and end."""
        start = self.start * (_HEADER + CHUNK)
        return start, start + (self.end - self.start) * _HEADER + self.size


def parts(size: int, start: int, end: int) -> list[Part]:
    """What has to be read for the bytes [start, end) of a file: whole chunks, one part of each xorb.

    Args:
        size: of the file.
        start: below `end`.
        end: at most `size`.
    """
    first, last = start // CHUNK, (end - 1) // CHUNK + 1
    found = []
    for number in range(first // CHUNKS, (last - 1) // CHUNKS + 1):
        before = number * CHUNKS
        begin, stop = max(first, before), min(last, before + CHUNKS)
        found.append(Part(number, begin - before, stop - before, min(size, stop * CHUNK) - begin * CHUNK))
    return found


def length(size: int, number: int) -> int:
    """The bytes of the xorb of this number of a file; 0 where the file has none."""
    held = min(size - number * CHUNKS * CHUNK, CHUNKS * CHUNK)
    return max(0, held) + _HEADER * -(-max(0, held) // CHUNK)


def name(oid: str, number: int) -> str:
    """What clients know a xorb by: 64 hexadecimal digits, as every hash has."""
    return hashlib.sha256(f"{oid} {number}".encode()).hexdigest()


def read(path: Path, number: int, start: int, end: int) -> Iterator[bytes]:
    """The bytes [start, end) of a xorb; the file is opened at once, so that a failure shows early.

    Args:
        path: the large file.
        number: the xorb's.
        start: where to begin.
        end: at most the xorb's length.
    """
    file = open(path, "rb")  # noqa: SIM115 - closed by the iterator

    def pieces() -> Iterator[bytes]:
        with file:
            at = start // (_HEADER + CHUNK)
            file.seek((number * CHUNKS + at) * CHUNK)
            place = at * (_HEADER + CHUNK)
            while place < end and (data := file.read(CHUNK)):
                packed = Chunk(0, len(data), RAW, len(data)).header + data
                yield packed[max(0, start - place) : end - place]
                place += len(packed)

    return pieces()
