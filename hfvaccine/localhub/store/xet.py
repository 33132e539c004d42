"""The formats of Xet: xorbs (packs of compressed chunks), shards (how files are put together from them), hashes.

A shard or a xorb comes from outside: whatever its bytes, reading it ends well or raises Refusal.
"""

import struct
from collections.abc import Iterator
from os import SEEK_END
from typing import BinaryIO, NamedTuple

import blake3
import lz4.frame

from hfvaccine.localhub.refusal import Refusal

LARGEST_XORB = 72 << 20  # the protocol's 64 MiB of chunks, with room for their headers
MOST_CHUNKS = 8192
LARGEST_SHARD = 80 << 20  # clients begin a new one at 64 MiB
RAW, LZ4, GROUPED_LZ4 = range(3)
_CHUNK_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
_NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
_SHARD_TAG = b"HFRepoMetaData\0"
_SHARD_VERSION = 2
_RECORD = 48  # everything in a shard is a multiple of this
_ENTRY = struct.Struct("<32s4I")
_FOUR = struct.Struct("<4Q")
_HAS_CHECKS, _HAS_SHA256 = 1 << 31, 1 << 30


class Chunk(NamedTuple):
    """Where a chunk lies in its xorb, how it is packed, and its size when unpacked."""

    start: int
    packed: int
    scheme: int
    size: int

    @property
    def header(self) -> bytes:
        """The bytes before the packed ones."""
        lengths = self.packed.to_bytes(3, "little"), self.size.to_bytes(3, "little")
        return b"\0" + lengths[0] + bytes([self.scheme]) + lengths[1]


class Term(NamedTuple):
    """A part of a file: the chunks [start, end) of a xorb, `size` bytes when unpacked."""

    xorb: str
    size: int
    start: int
    end: int


class Recipe(NamedTuple):
    """How a file is put together."""

    sha256: str
    packed_terms: bytes

    @property
    def terms(self) -> Iterator[Term]:
        """The parts in order; unpacked one by one, as a file may have very many."""
        for xorb, _, size, start, end in _ENTRY.iter_unpack(self.packed_terms):
            yield Term(hash_text(xorb), size, start, end)

    @property
    def size(self) -> int:
        """The size of the file."""
        return sum(term.size for term in self.terms)


def hash_text(raw: bytes) -> str:
    """A hash as Xet writes it: four 64-bit numbers, each with its bytes in reverse."""
    return "{:016x}{:016x}{:016x}{:016x}".format(*_FOUR.unpack_from(raw))


def chunk_hash(data: bytes) -> bytes:
    """The hash of an unpacked chunk."""
    return blake3.blake3(data, key=_CHUNK_KEY).digest()


def xorb_hash(chunks: list[tuple[bytes, int]]) -> str:
    """The name of a xorb: the root over the hashes and sizes of its chunks.

    Args:
        chunks: at least one.
    """
    return hash_text(_root(chunks))


def file_hash(chunks: list[tuple[bytes, int]]) -> str:
    """The name of a file: as of a xorb, and hashed once more under a key of zeros.

    Args:
        chunks: those of the whole file, in order; at least one.
    """
    return hash_text(blake3.blake3(_root(chunks), key=bytes(32)).digest())


def _root(chunks: list[tuple[bytes, int]]) -> bytes:
    while len(chunks) > 1:
        merged, start = [], 0
        while start < len(chunks):
            # A group ends behind the third or a later member that a hash in four marks, and at nine at the latest.
            group = chunks[start : start + 9]
            ends = (at + 1 for at in range(2, len(group)) if group[at][0][24] % 4 == 0)
            group = group[: next(ends, len(group))]
            lines = "".join(f"{hash_text(hashed)} : {size}\n" for hashed, size in group)
            merged.append((blake3.blake3(lines.encode(), key=_NODE_KEY).digest(), sum(size for _, size in group)))
            start += len(group)
        chunks = merged
    return chunks[0][0]


def read_chunks(file: BinaryIO) -> Iterator[Chunk]:
    """The chunks of a xorb; the file stands at a chunk's packed bytes whenever one is yielded.

    Raises:
        Refusal: 400 when the file is no xorb.
    """
    start = 0
    while header := file.read(8):
        if header.startswith(b"XETBLOB"):
            return  # an index at the end, which some clients send
        if len(header) < 8 or header[0] != 0:
            raise Refusal(400, "The xorb has a chunk without a valid header.")
        packed, size = int.from_bytes(header[1:4], "little"), int.from_bytes(header[5:8], "little")
        if header[4] > GROUPED_LZ4 or not packed or not size:
            raise Refusal(400, "The xorb has a chunk that is empty or packed in an unknown way.")
        yield Chunk(start + 8, packed, header[4], size)
        start += 8 + packed
        file.seek(start)


def unpack(chunk: Chunk, data: bytes) -> bytes:
    """The bytes of a chunk out of its packed bytes.

    Raises:
        Refusal: 400 when they are not what the chunk's header says.
    """
    if chunk.scheme != RAW:
        try:
            # One byte too many is enough to refuse: a small frame can hold gigabytes.
            data = lz4.frame.LZ4FrameDecompressor().decompress(data, chunk.size + 1)
        except (RuntimeError, EOFError) as error:
            raise Refusal(400, "The xorb has a chunk that is not valid LZ4.") from error
    if len(data) != chunk.size:
        raise Refusal(400, "The xorb has a chunk of another size than its header says.")
    return _ungrouped(data) if chunk.scheme == GROUPED_LZ4 else data


def _ungrouped(data: bytes) -> bytes:
    """Undoes the grouping by position: all first bytes of four, then all second ones, and so on."""
    out = bytearray(len(data))
    start = 0
    for position in range(4):
        end = start + len(range(position, len(data), 4))
        out[position::4] = data[start:end]
        start = end
    return bytes(out)


def read_shard(file: BinaryIO) -> Iterator[Recipe]:
    """The recipes of the files in a shard; what it says about xorbs is left unread, as they are checked themselves.

    Raises:
        Refusal: 400 when the file is no shard, or says no SHA-256 of a file; 413 when it is too large.
    """
    left = file.seek(0, SEEK_END)
    file.seek(0)
    if left > LARGEST_SHARD:
        raise Refusal(413, f"A shard has at most {LARGEST_SHARD >> 20} MiB.")

    def take(records: int) -> bytes:
        nonlocal left
        left -= records * _RECORD
        if left < 0:  # before reading: a count can ask for a buffer of 200 GB
            raise Refusal(400, "The shard ends too early.")
        return file.read(records * _RECORD)

    header = take(1)
    if not header.startswith(_SHARD_TAG) or int.from_bytes(header[32:40], "little") != _SHARD_VERSION:
        raise Refusal(400, f"The body is not a shard of version {_SHARD_VERSION}.")
    while (entry := take(1))[:32] != b"\xff" * 32:
        _, flags, count, _, _ = _ENTRY.unpack(entry)
        terms = take(count)
        if flags & _HAS_CHECKS:
            take(count)
        if not flags & _HAS_SHA256:
            raise Refusal(400, "The shard has a file without its SHA-256.")
        yield Recipe(hash_text(take(1)), terms)
