"""Large files by content: each stored once under its SHA-256, complete or not at all."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self, cast

from hfvaccine.files import sync_folder
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
        # What a killed server left behind; while one runs, `gc` removes what nobody comes back for.
        shutil.rmtree(self.incoming, ignore_errors=True)
        self.incoming.mkdir(exist_ok=True)

    def path(self, oid: str) -> Path:
        """Where a large file lies, whether or not it is there."""
        if not OID.fullmatch(oid):
            raise Refusal(422, "A large file is named by its SHA-256: 64 lower-case hexadecimal digits.")
        return self._folder / oid[:2] / oid[2:]

    def touch(self, oid: str) -> None:
        """Have `gc` keep a file for as long as a fresh one: a commit that refers to it is about to come."""
        with suppress(FileNotFoundError):
            os.utime(self.path(oid))

    def receive(self) -> "Upload":
        """Begin to take in a file."""
        return Upload(self, self.incoming)

    def join(self, upload_id: str, etags: Sequence[str], pointer: Pointer) -> None:
        """Make one file of parts that were received, and drop the parts.

        Args:
            upload_id: what the parts have in common.
            etags: what `Upload.finish_part` returned for the parts, in order.
            pointer: the file they should make.

        Raises:
            Refusal: 422 when a part is missing, or they make another file.
        """
        folder = self._parts(upload_id)
        with self.receive() as upload:
            for number, etag in enumerate(etags, 1):
                part = folder / f"{number}-{etag}"
                if not part.exists():
                    raise Refusal(422, f"Part {number} has not been uploaded, or is not the one named.")
                with open(part, "rb") as file:
                    while data := file.read(CHUNK):
                        upload.write(data)
            upload.finish(pointer)
        shutil.rmtree(folder, ignore_errors=True)

    def _parts(self, upload_id: str) -> Path:
        return self.incoming / f"parts-{upload_id}"

    def read(self, oid: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes [start, end) of a stored file, in pieces; opens it at once, so that a failure shows early."""
        return _pieces(open(self.path(oid), "rb"), start, end)


class Incoming:
    """A file on its way in; use as a context manager, which removes what was not kept.

    Args:
        folder: where it lies until then, on the disk where it will be kept.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.NamedTemporaryFile(dir=folder, delete=False)  # noqa: SIM115 - closed by `__exit__`
        self._path = Path(self._file.name)

    def write(self, data: bytes) -> None:
        """Take in the next piece."""
        self._file.write(data)

    def read(self) -> BinaryIO:
        """What has arrived, from its beginning."""
        self._file.seek(0)
        return cast(BinaryIO, self._file)

    def cut(self, size: int) -> None:
        """Leave out all but the first bytes."""
        self._file.truncate(size)

    def move(self, target: Path) -> None:
        """Move the file to its place, where readers find it whole unless the machine crashes."""
        self._file.flush()
        os.rename(self._path, target)

    def keep(self, target: Path) -> None:
        """Move the file to its place, on disk before this returns."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self.move(target)
        sync_folder(target.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # On a full disk closing fails again, as it flushes; the file must go all the same.
        with suppress(OSError):
            self._file.close()
        self._path.unlink(missing_ok=True)


class Upload(Incoming):
    """A large file, or a part of one, on its way in."""

    def __init__(self, store: LargeFiles, incoming: Path) -> None:
        super().__init__(incoming)
        self._store = store
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Take in the next piece."""
        super().write(data)
        self._digest.update(data)
        self.size += len(data)

    def finish(self, pointer: Pointer) -> None:
        """Keep the file under its hash, on disk before this returns.

        Raises:
            Refusal: 422 when size or hash are not the announced ones; nothing is kept then.
        """
        if self.size != pointer.size or self._digest.hexdigest() != pointer.oid:
            raise Refusal(422, f"The {self.size} bytes received are not the announced file {pointer.oid}.")
        target = self._store.path(pointer.oid)
        target.parent.mkdir(exist_ok=True)
        self.keep(target)

    def finish_part(self, upload_id: str, number: int, size: int) -> str:
        """Keep what arrived as one part of a file, until `LargeFiles.join`.

        Returns:
            The part's etag.

        Raises:
            Refusal: 422 when it has not the announced size.
        """
        if self.size != size:
            raise Refusal(422, f"The {self.size} bytes received are not the {size} of part {number}.")
        self._file.flush()
        folder, etag = self._store._parts(upload_id), self._digest.hexdigest()
        folder.mkdir(exist_ok=True)
        # Named by its content too: a part that is sent again never changes under a reader.
        os.rename(self._path, folder / f"{number}-{etag}")
        return etag


def _pieces(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while start < end and (data := file.read(min(CHUNK, end - start))):
            start += len(data)
            yield data
