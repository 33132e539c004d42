"""Large files by content: each stored once under its SHA-256, complete or not at all."""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from hfvaccine.localhub.refusal import Refusal

OID = re.compile(r"[0-9a-f]{64}")
CHUNK = 1 << 20
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n"
)


class Pointer(NamedTuple):
    """What stands in the git tree for a large file."""

    oid: str
    size: int

    def text(self) -> bytes:
        """The pointer file of the git-lfs specification."""
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.oid}\nsize {self.size}\n".encode()


def parse_pointer(blob: bytes) -> Pointer | None:
    """The pointer that a small blob holds, or None."""
    found = _POINTER.fullmatch(blob) if len(blob) < 200 else None
    return Pointer(found[1].decode(), int(found[2])) if found else None


class LargeFiles:
    """The store of large files.

    Args:
        root: the Hub's data folder.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / "large-files"
        self.incoming = root / "incoming"
        self._folder.mkdir(parents=True, exist_ok=True)
        self.incoming.mkdir(exist_ok=True)
        for abandoned in self.incoming.iterdir():
            abandoned.unlink()

    def path(self, oid: str) -> Path:
        """Where a large file lies, whether or not it is there."""
        if not OID.fullmatch(oid):
            raise Refusal(422, "A large file is named by its SHA-256: 64 lower-case hexadecimal digits.")
        return self._folder / oid[:2] / oid[2:]

    def receive(self) -> "Upload":
        """Begin to take in a file."""
        return Upload(self, self.incoming)

    def read(self, oid: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes [start, end) of a stored file, in pieces; opens it at once, so that a failure shows early."""
        return _pieces(open(self.path(oid), "rb"), start, end)


class Upload:
    """A file on its way in; use as a context manager, which removes what was not finished."""

    def __init__(self, store: LargeFiles, incoming: Path) -> None:
        self._store = store
        handle, name = tempfile.mkstemp(dir=incoming)
        self._file = os.fdopen(handle, "wb")
        self._path = Path(name)
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Take in the next piece."""
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)

    def finish(self, pointer: Pointer) -> None:
        """Keep the file under its hash, on disk before this returns.

        Raises:
            Refusal: 422 when size or hash are not the announced ones; nothing is kept then.
        """
        if self.size != pointer.size or self._digest.hexdigest() != pointer.oid:
            raise Refusal(422, f"The {self.size} bytes received are not the announced file {pointer.oid}.")
        self._file.flush()
        os.fsync(self._file.fileno())
        target = self._store.path(pointer.oid)
        target.parent.mkdir(exist_ok=True)
        os.rename(self._path, target)
        sync_folder(target.parent)

    def __enter__(self) -> "Upload":
        return self

    def __exit__(self, *_: object) -> None:
        # On a full disk closing fails again, as it flushes; the file must go all the same.
        try:
            self._file.close()
        except OSError:
            pass
        finally:
            self._path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _pieces(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while start < end and (data := file.read(min(CHUNK, end - start))):
            start += len(data)
            yield data
