"""The formats of Xet, from good bytes and from bad ones."""

import io
import os
import struct

import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.store import xet
from hfvaccine.localhub.store.xet import Chunk, chunk_hash, hash_text, read_chunks, read_shard, unpack, xorb_hash

SHA = bytes(range(32))


def grouped(data: bytes) -> bytes:
    return b"".join(data[position::4] for position in range(4))


def chunk(data: bytes, scheme: int = xet.RAW) -> bytes:
    packed = {
        xet.RAW: lambda: data,
        xet.LZ4: lambda: lz4.frame.compress(data),
        xet.GROUPED_LZ4: lambda: lz4.frame.compress(grouped(data)),
    }[scheme]()
    return Chunk(0, len(packed), scheme, len(data)).header + packed


def shard(*files: tuple[bytes, list[tuple[bytes, int, int, int]]], checks: bool = True) -> bytes:
    """A shard of files, each a SHA-256 and terms (xorb, size, start, end); hashes as raw bytes."""
    out = b"HFRepoMetaData\0".ljust(32, b"\1") + struct.pack("<2Q", 2, 0)
    for sha256, terms in files:
        flags = 1 << 30 | checks << 31
        out += struct.pack("<32s2I8x", bytes(32), flags, len(terms))
        out += b"".join(struct.pack("<32s4I", xorb, 0, *rest) for xorb, *rest in terms)
        out += bytes(48 * len(terms)) * checks + sha256 + bytes(16)
    return out + b"\xff" * 32 + bytes(16)


def raw(text: str) -> bytes:
    """The bytes of a hash written as text."""
    return b"".join(bytes.fromhex(text[at : at + 16])[::-1] for at in range(0, 64, 16))


def unpacked(xorb: bytes) -> list[bytes]:
    file = io.BytesIO(xorb)
    return [unpack(one, file.read(one.packed)) for one in read_chunks(file)]


@pytest.mark.parametrize("scheme", [xet.RAW, xet.LZ4, xet.GROUPED_LZ4])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 1000, 131_072])
def test_chunks_come_out_as_they_went_in(scheme, size):
    data = os.urandom(size // 2) + bytes(size - size // 2)
    assert unpacked(chunk(b"before") + chunk(data, scheme) + b"XETBLOB and an index") == [b"before", data]


def test_hashes_of_the_specification():
    # https://huggingface.co/docs/xet/hashing, and what hf_xet computes for the same chunks.
    assert hash_text(bytes(range(32))) == "07060504030201000f0e0d0c0b0a090817161514131211101f1e1d1c1b1a1918"
    assert raw(hash_text(SHA)) == SHA
    one = [(chunk_hash(b"alone"), 5)]
    assert xorb_hash(one) == hash_text(one[0][0])


BAD = {
    "no header": b"\0\1\0",
    "another version": b"\1" + chunk(b"data")[1:],
    "unknown scheme": Chunk(0, 4, 3, 4).header + b"data",
    "nothing packed": Chunk(0, 0, 0, 4).header,
    "nothing inside": Chunk(0, 4, 0, 0).header + b"data",
    "cut off": chunk(b"data")[:-1],
    "LZ4 cut off": chunk(b"data" * 100, xet.LZ4)[:-5],
    "no LZ4": Chunk(0, 4, 1, 4).header + b"data",
    "raw of another size": Chunk(0, 4, 0, 5).header + b"data",
    "more than it says": Chunk(0, len(lz4.frame.compress(bytes(9))), 1, 8).header + lz4.frame.compress(bytes(9)),
    "less than it says": Chunk(0, len(lz4.frame.compress(bytes(9))), 1, 10).header + lz4.frame.compress(bytes(9)),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_xorbs(name):
    with pytest.raises(Refusal) as refused:
        unpacked(BAD[name])
    assert refused.value.status == 400


def test_a_small_frame_cannot_fill_the_memory():
    packed = lz4.frame.compress(bytes(1 << 30), store_size=True)
    assert len(packed) < 1 << 23
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Refusal):
        unpack(Chunk(8, len(packed), xet.LZ4, 1000), packed)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 16  # KiB


@pytest.mark.parametrize("checks", [True, False])
def test_shards(checks):
    terms = [(os.urandom(32), 100, 0, 3), (os.urandom(32), 7, 5, 6)]
    recipes = list(read_shard(io.BytesIO(shard((SHA, terms), (SHA[::-1], []), checks=checks) + b"more")))
    assert [(recipe.sha256, recipe.size) for recipe in recipes] == [(hash_text(SHA), 107), (hash_text(SHA[::-1]), 0)]
    assert [(raw(term.xorb), *term[1:]) for term in recipes[0].terms] == terms


def test_bad_shards(monkeypatch):
    good = shard((SHA, [(SHA, 100, 0, 3)]))
    no_sha256 = good[:48] + struct.pack("<32s2I8x", bytes(32), 0, 1) + good[96:]
    # A count of four milliards must not make anybody ask for 200 GB.
    endless = good[:48] + struct.pack("<32s2I8x", bytes(32), 3 << 30, 0xFFFFFFFF) + good[96:]
    for bad in (
        b"",
        b"x" * 48,
        good[:32] + b"\3" + good[33:],
        *(good[:end] for end in range(0, 280, 24)),
        no_sha256,
        endless,
    ):
        with pytest.raises(Refusal) as refused:
            list(read_shard(io.BytesIO(bad)))
        assert refused.value.status == 400
    monkeypatch.setattr(xet, "LARGEST_SHARD", len(good) - 1)
    with pytest.raises(Refusal) as refused:
        list(read_shard(io.BytesIO(good)))
    assert refused.value.status == 413


SEEDS = [chunk(bytes(range(256)) * 9, scheme) for scheme in range(3)]
SHARD = shard((SHA, [(SHA, 100, 0, 3), (SHA, 1, 2, 3)]), (SHA, []))


@st.composite
def damaged(draw, good):
    data = bytearray(good)
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))]) + draw(st.binary(max_size=20))


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.binary(max_size=200), *(damaged(seed) for seed in [*SEEDS, b"".join(SEEDS)])))
def test_whatever_is_sent_as_a_xorb(data):
    try:
        assert sum(map(len, unpacked(data))) <= 255 * len(data)
    except Refusal as refusal:
        assert refusal.status == 400


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.binary(max_size=200), damaged(SHARD)))
def test_whatever_is_sent_as_a_shard(data):
    try:
        for recipe in read_shard(io.BytesIO(data)):
            assert recipe.size == sum(term.size for term in recipe.terms)
    except Refusal as refusal:
        assert refusal.status == 400
