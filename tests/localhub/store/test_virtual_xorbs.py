"""Xorbs that are made as they are read: whatever is asked for, the bytes of the file come out."""

import io
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hfvaccine.localhub.store import virtual_xorbs
from hfvaccine.localhub.store.xet import read_chunks, unpack

SIZE, MOST = 8, 5  # of chunks, and of a xorb in the tests: few bytes reach every corner


@pytest.fixture(autouse=True, scope="module")
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(virtual_xorbs, "CHUNK", SIZE)
        patch.setattr(virtual_xorbs, "CHUNKS", MOST)
        yield


@given(st.integers(1, 130), st.integers(0, 129), st.integers(1, 130))
@example(MOST * SIZE, 0, MOST * SIZE)
@example(2 * MOST * SIZE + 1, MOST * SIZE - 1, MOST * SIZE + 1)
def test_parts_hold_what_was_asked_for(tmp_path_factory, size, start, end):
    start = min(start, size - 1)
    end = min(max(end, start + 1), size)
    content = random.Random(size).randbytes(size)
    path = tmp_path_factory.getbasetemp() / f"file-{size}"
    path.write_bytes(content)
    out, chunks = b"", 0
    for part in virtual_xorbs.parts(size, start, end):
        first, stop = part.packed
        assert 0 <= first < stop <= virtual_xorbs.length(size, part.number)
        packed = b"".join(virtual_xorbs.read(path, part.number, first, stop))
        assert len(packed) == stop - first
        file = io.BytesIO(packed)
        found = [unpack(one, file.read(one.packed)) for one in read_chunks(file)]
        assert len(found) == part.end - part.start <= MOST and sum(map(len, found)) == part.size
        out, chunks = out + b"".join(found), chunks + len(found)
    before = start % SIZE
    assert out[before : before + end - start] == content[start:end]
    assert chunks == (end - 1) // SIZE - start // SIZE + 1  # and no more than that


@given(st.integers(1, 90), st.integers(0, 200), st.integers(0, 200))
def test_any_bytes_of_a_xorb(tmp_path_factory, size, start, end):
    path = tmp_path_factory.getbasetemp() / f"file-{size}"
    path.write_bytes(random.Random(size).randbytes(size))
    for number in range(3):
        length = virtual_xorbs.length(size, number)
        whole = b"".join(virtual_xorbs.read(path, number, 0, length))
        assert len(whole) == length
        assert b"".join(virtual_xorbs.read(path, number, start, min(end, length))) == whole[start:end]


def test_every_xorb_has_a_name_of_its_own():
    names = {virtual_xorbs.name(oid, number) for oid in ("a" * 64, "b" * 64) for number in range(3)}
    assert len(names) == 6 and all(len(name) == 64 for name in names)
