"""A file as it is published: read once, so that what was looked into is what is sent. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from hfvaccine.errors import PublishError
from hfvaccine.files import digest_of

LONGEST_HEADER = 100 << 20
"""Bytes; safetensors itself reads no longer one."""


@dataclass(frozen=True)
class Weights:
    """A safetensors file, which may be larger than memory: it is sent only while it still has its digest.

    Args:
        path: of the file.
        size: in bytes.
        sha256: over all of them.
        header: all the text that it has.
    """

    path: Path
    size: int
    sha256: str
    header: bytes


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
        length = stream.read(8)
        longest = int.from_bytes(length, "little")
        if longest > LONGEST_HEADER:
            raise PublishError(f"{path.name} is no safetensors file.", "Run the immunization again.")
        header = stream.read(longest)
        begun = hashlib.sha256(length + header)
        sha256 = hashlib.file_digest(stream, lambda: begun).hexdigest()
        return Weights(path, stream.tell(), sha256, header)


def sha256_of(content: Content) -> str:
    """SHA-256 of a content."""
    return digest_of(content) if isinstance(content, bytes) else content.sha256


def size_of(content: Content) -> int:
    """How many bytes a content has."""
    return len(content) if isinstance(content, bytes) else content.size
