import hashlib

import pytest

from hfvaccine.localhub.large_files import LargeFiles, Pointer, parse_pointer
from hfvaccine.localhub.refusal import Refusal

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


@pytest.mark.parametrize("oid", ["", "../../etc/passwd", "0" * 63, "G" * 64, "A" * 64])
def test_only_hashes_name_files(tmp_path, oid):
    with pytest.raises(Refusal):
        LargeFiles(tmp_path).path(oid)


def test_pointers():
    assert parse_pointer(POINTER.text()) == POINTER
    assert parse_pointer(POINTER.text() + b"more") is None
    assert parse_pointer(DATA) is None
