"""Log files as a stream of JSON values, a bounded part of them in memory, whatever else stands between them."""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from hfvaccine.errors import SurveillanceError

LONGEST = 64 << 20
"""Bytes of a line, or of one value that goes over several lines; what is longer is skipped."""
_READ = 1 << 20
_BETWEEN = re.compile(r"[\s,\[\]\ufeff]*")


@dataclass
class Skipped:
    """What was no conversation, and where the first of each sort stands. No text of it is kept.

    Args:
        counts: by reason, a code of ours.
        first: by reason, the place of the first, such as "line 3".
    """

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, where: str) -> None:
        self.counts[reason] += 1
        self.first.setdefault(reason, where)

    def update(self, other: Skipped) -> None:
        self.counts.update(other.counts)
        self.first = other.first | self.first


@dataclass(frozen=True)
class Lines:
    """Some lines of a file, each a JSON value or not.

    Args:
        file: name of the file.
        number: of the first line.
        lines: as they stand; an empty one counts too. None for one that was too long to be read.
    """

    file: str
    number: int
    lines: Sequence[bytes | None]

    def values(self, skipped: Skipped) -> Iterator[tuple[str, Any]]:
        """What each line holds, with its place; lines that hold no JSON are skipped and counted."""
        for number, line in enumerate(self.lines, start=self.number):
            if line is None:
                skipped.add("too_long", f"{self.file}, line {number}")
            elif line.strip():
                try:
                    yield f"{self.file}, line {number}", json.loads(line)
                except (ValueError, RecursionError):  # which what is no UTF-8 raises too
                    skipped.add("no_json", f"{self.file}, line {number}")


def read(file: Path, seen: Callable[[bytes], object]) -> Iterator[Lines]:
    """The lines of a file, some at a time; one value over many lines, or a list of values, as if each had its line.

    Args:
        file: JSON lines or JSON, also with .gz.
        seen: is given all bytes as they stand in the file, of a .gz the unpacked ones.

    Raises:
        SurveillanceError: for a file that cannot be read, or ends in the middle of its packing.
    """
    try:
        packed = file.suffix == ".gz"
        with cast(IO[bytes], gzip.open(file, "rb") if packed else file.open("rb")) as stream:
            head = stream.read(_READ).lstrip(b"\xef\xbb\xbf \t\r\n")
            whole = _Watched(stream, head, seen)
            yield from _of_lines(file.name, whole) if _are_lines(head) else _of_document(file.name, whole)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SurveillanceError(
            f"{file} is no whole .gz file: {error}.", "Read it when it is written to its end, or fetch it again."
        ) from error
    except OSError as error:
        raise SurveillanceError(f"{file} cannot be read: {error.strerror or error}.", "Check the path.") from error


class _Watched:
    """A stream whose beginning was read already, every byte of which is shown to somebody."""

    def __init__(self, stream: IO[bytes], head: bytes, seen: Callable[[bytes], object]) -> None:
        self._stream, self._head, self._seen = stream, head, seen

    def read(self) -> bytes:
        """The next bytes; none at the end."""
        part, self._head = self._head or self._stream.read(_READ), b""
        self._seen(part)
        return part


def _are_lines(head: bytes) -> bool:
    """Whether a file that begins like this has a value on each line; else it is one value, or a list of them."""
    first, end, _ = head.partition(b"\n")
    if first.strip() in (b"{", b"["):
        return False
    if first[:1] != b"[":
        return True
    try:
        json.loads(first)
    except ValueError:
        return False
    return bool(end) and head[len(first) :].strip() != b""


def _of_lines(name: str, stream: _Watched) -> Iterator[Lines]:
    number, rest, lost = 1, b"", False
    lines: list[bytes | None]
    while part := stream.read():
        *ends, tail = part.split(b"\n")
        lines = []
        for end in ends:
            lines.append(None if lost else rest + end)
            rest, lost = b"", False
        rest = b"" if lost else rest + tail
        if len(rest) > LONGEST:
            rest, lost = b"", True
        yield Lines(name, number, lines)
        number += len(lines)
    if rest or lost:
        yield Lines(name, number, [None if lost else rest])


def _of_document(name: str, stream: _Watched) -> Iterator[Lines]:
    """The values of one list, or values one after another, each as if it had a line."""
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    number, text, wanted, part = 1, "", 0, b"-"
    while part:
        part = stream.read()
        text += decode(part, final=not part)
        if part and len(text) < wanted:
            continue
        found, text = _cut(text)
        if len(text) > LONGEST:
            raise SurveillanceError(
                f"{name} has one value of more than {LONGEST >> 20} MiB.",
                "Write one conversation, or one export of spans, on each line, for example with `jq -c`.",
            )
        wanted = 2 * len(text)  # so that a long value is not tried again for each part of it
        yield Lines(name, number, found)
        number += len(found)
    if text:
        yield Lines(name, number, [b"{"])  # what is left holds no JSON


def _cut(text: str) -> tuple[list[bytes], str]:
    """The whole values that a text begins with, and what is left."""
    found, at, scan = [], 0, json.JSONDecoder().raw_decode
    while (begin := _BETWEEN.match(text, at).end()) < len(text):  # type: ignore[union-attr]
        try:
            _, at = scan(text, begin)
        except (ValueError, RecursionError):
            break
        found.append(text[begin:at].encode("utf-8", "replace"))
    return found, text[begin:]
