"""A file as it is published: read once, so that what was looked into is what is sent. Pure."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from hfvaccine.errors import PublishError
from hfvaccine.files import digest_of

LONGEST_HEADER = 100 << 20
"""Bytes; safetensors itself reads no longer one."""


@dataclass(frozen=True)
class Weights:
    """A safetensors file, which may be larger than memory: it is sent only while nobody writes to it.

    Args:
        path: of the file.
        size: in bytes.
        sha256: over all of them.
        header: all the text that it has.
        written_at: when it was last written to, in nanoseconds, before it was read.
    """

    path: Path
    size: int
    sha256: str
    header: bytes
    written_at: int = field(compare=False)

    @property
    def changed(self) -> bool:
        """Whether somebody has written to it since; reading it once more would say so for sure, and take as long."""
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return True
        return (now.st_size, now.st_mtime_ns) != (self.size, self.written_at)


Content = bytes | Weights
"""What a file is to hold."""


def read(path: Path) -> Content:
    """A file's content, all of it from one reading.

    Raises:
        PublishError: for weights that are no safetensors file.
    """
    if path.suffix != ".safetensors":
        return path.read_bytes()
    with path.open("rb") as stream:
        written_at = os.fstat(stream.fileno()).st_mtime_ns
        length = stream.read(8)
        longest = int.from_bytes(length, "little")
        if longest > LONGEST_HEADER:
            raise PublishError(f"{path.name} is no safetensors file.", "Run the immunization again.")
        header = stream.read(longest)
        begun = hashlib.sha256(length + header)
        sha256 = hashlib.file_digest(stream, lambda: begun).hexdigest()
        return Weights(path, stream.tell(), sha256, header, written_at)


def sha256_of(content: Content) -> str:
    """SHA-256 of a content."""
    return digest_of(content) if isinstance(content, bytes) else content.sha256


def size_of(content: Content) -> int:
    """How many bytes a content has."""
    return len(content) if isinstance(content, bytes) else content.size
