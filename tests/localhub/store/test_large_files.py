import hashlib

import pytest

from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.store.large_files import LargeFiles, Pointer, parse_pointer

DATA = b"large" * 1000
POINTER = Pointer(hashlib.sha256(DATA).hexdigest(), len(DATA))


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_file_comes_back_by_its_hash(tmp_path):
    store = LargeFiles(tmp_path)
    with store.receive() as upload:
        upload.write(DATA[:10])
        upload.write(DATA[10:])
        upload.finish(POINTER)
    assert b"".join(store.read(POINTER.oid, 3, 4000)) == DATA[3:4000]
    assert len(files_below(tmp_path)) == 1


@pytest.mark.parametrize("announced", [Pointer(POINTER.oid, 1), Pointer("0" * 64, len(DATA))])
def test_another_file_than_announced_leaves_nothing(tmp_path, announced):
    store = LargeFiles(tmp_path)
    with pytest.raises(Refusal), store.receive() as upload:
        upload.write(DATA)
        upload.finish(announced)
    assert files_below(tmp_path) == []


def test_what_a_killed_server_left_behind_is_removed(tmp_path):
    LargeFiles(tmp_path).incoming.joinpath("half").write_bytes(DATA)
    LargeFiles(tmp_path)
    assert files_below(tmp_path) == []


def part_of(store, data, upload_id="u", number=1):
    with store.receive() as upload:
        upload.write(data)
        return upload.finish_part(upload_id, number, len(data))


def test_parts_make_a_file(tmp_path):
    store = LargeFiles(tmp_path)
    part_of(store, b"another try", number=2)
    etags = [part_of(store, DATA[:99]), part_of(store, DATA[99:], number=2)]
    for wrong in (etags[:1], etags[::-1], [*etags, etags[0]]):
        with pytest.raises(Refusal):
            store.join("u", wrong, POINTER)
    store.join("u", etags, POINTER)
    assert b"".join(store.read(POINTER.oid, 0, len(DATA))) == DATA
    assert len(files_below(tmp_path)) == 1


def test_a_part_of_another_size_is_refused(tmp_path):
    store = LargeFiles(tmp_path)
    with pytest.raises(Refusal), store.receive() as upload:
        upload.write(DATA)
        upload.finish_part("u", 1, len(DATA) + 1)
    assert files_below(tmp_path) == []


def test_parts_that_a_killed_server_left_behind_are_removed(tmp_path):
    store = LargeFiles(tmp_path)
    part_of(store, DATA)
    assert list(store.incoming.iterdir())
    LargeFiles(tmp_path)
    assert list(store.incoming.iterdir()) == []


@pytest.mark.parametrize("oid", ["", "../../etc/passwd", "0" * 63, "G" * 64, "A" * 64])
def test_only_hashes_name_files(tmp_path, oid):
    with pytest.raises(Refusal):
        LargeFiles(tmp_path).path(oid)


def test_pointers():
    assert parse_pointer(POINTER.text()) == POINTER
    assert parse_pointer(POINTER.text() + b"more") is None
    assert parse_pointer(DATA) is None
