"""Rows of outside files and Hub datasets, each with the place it stands at, so that an error can name it."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from hfvaccine.errors import ValidationError
from hfvaccine.sources.naming import FORMATS, file_format, is_hub

Header = Callable[[Sequence[str]], Sequence[str] | None]
"""From the first row of a table to the names of its columns; None where that row is the names."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file.

    Args:
        where: its place as a person would look for it, such as "line 3".
        values: its fields; a line of plain text is the field "text".
    """

    where: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Broken:
    """A line that holds no row.

    Args:
        where: its place, such as "line 3".
        reason: what is wrong with it, as the end of a sentence that begins with the place.
        text: the line as it stands, or what could be read of it.
    """

    where: str
    reason: str
    text: str


Report = Callable[[Broken], object]


def read_rows(path: Path) -> list[Row]:
    """All rows of a file of one of `FORMATS`.

    Raises:
        ValidationError: for a file that is missing, empty, of another format, or malformed, naming the line.
    """
    rows = list(iter_rows(path))
    if not rows:
        raise ValidationError(f"{path} holds no rows.", "Give a file that is not empty.")
    return rows


def iter_rows(path: Path, broken: Report | None = None, header: Header | None = None) -> Iterator[Row]:
    """The rows of a file one after the other; of JSON lines, tables and text in constant memory.

    Args:
        path: a file of one of `FORMATS`, all but .parquet also with .gz.
        broken: is given each record that holds no row, and reading goes on after it; a table's row of another
            width than its header is one. Without it, a line that is not JSON ends the reading, and a table's row
            is filled up with None as `csv.DictReader` does. Where nothing says where the next record begins,
            reading ends either way.
        header: for tables that may lack the row of names.

    Raises:
        ValidationError: at once for a file that is missing or of another format; on the way for one that is
            malformed, naming the line, or not UTF-8, naming the byte.
    """
    kind = file_format(path)
    if kind is None or (kind == ".parquet" and path.suffix == ".gz"):
        raise ValidationError(f"{path} is no file of rows.", f"Give one of: {', '.join(FORMATS)}, or one with .gz.")
    if not path.is_file():
        raise ValidationError(f"There is no file {path}.", "Check the path.")
    return _guarded(path, _parquet(path) if kind == ".parquet" else _of_text(path, kind, broken, header))


def open_rows(
    source: str | Path, broken: Report | None = None, header: Header | None = None, prefer: Sequence[str] = ("train",)
) -> Iterator[Row]:
    """The rows of a file, or of a dataset of the Hub as it streams in.

    Args:
        source: FILE, or a Hub dataset as ID, ID:CONFIG or ID:CONFIG:SPLIT.
        broken: see `iter_rows`.
        header: see `iter_rows`.
        prefer: splits to take, the first that is there, where the source names none.

    Raises:
        ValidationError: for a source that cannot be read, saying what to do.
    """
    if not is_hub(str(source)):
        return iter_rows(Path(source), broken, header)
    return hub_rows(str(source), prefer, streaming=True)


def hub_rows(
    place: str, prefer: Sequence[str] = (), *, revision: str | None = None, streaming: bool = False
) -> Iterator[Row]:
    """The rows of a dataset of the Hub.

    Args:
        place: ID, ID:CONFIG or ID:CONFIG:SPLIT; an empty CONFIG is the default one.
        prefer: splits to take, the first that is there, where none is named.
        revision: branch, tag or commit, by default the newest.
        streaming: read it as it comes in, with names for the numbers of its labels; otherwise it is fetched whole,
            kept in the cache, and read as it stands there.

    Raises:
        ValidationError: for a dataset that cannot be had, saying what to do.
    """
    from datasets import ClassLabel, load_dataset
    from datasets.exceptions import DatasetsError

    name, config, split = (*place.split(":"), "", "")[:3]
    try:
        found = load_dataset(name, config or None, revision=revision, streaming=streaming)
        chosen = split or next((s for s in prefer if s in found), next(iter(found)))
        if chosen not in found:
            raise ValueError(f"it has no split {chosen!r}, but {', '.join(map(str, found))}")
        rows = found[chosen]
        features = (rows.features or {}) if streaming else {}
        labels = {key: of for key, of in features.items() if isinstance(of, ClassLabel)}
        for number, values in enumerate(rows, start=1):
            for key, of in labels.items():  # a number says nothing without the names it stands for
                if isinstance(values[key], int) and values[key] >= 0:
                    values[key] = of.int2str(values[key])
            yield Row(f"row {number} of {chosen}", values)
    except (OSError, ValueError, KeyError, RuntimeError, DatasetsError) as error:
        raise ValidationError(
            f"The dataset {place} cannot be loaded: {(str(error) or repr(error)).splitlines()[0].rstrip('.')}.",
            "Check the id, name a configuration and split as ID:CONFIG:SPLIT, or give a file.",
        ) from error


def _guarded(path: Path, rows: Iterator[Row]) -> Iterator[Row]:
    try:
        yield from rows
    except UnicodeDecodeError as error:
        marked = "utf-16" if error.encoding.startswith("utf-16") else "utf-8"
        raise ValidationError(
            f"{path} cannot be read: it is not {marked.upper()} (byte {_first_bad_byte(path, marked)}: "
            f"{error.reason}).",
            "Save it as UTF-8, for example: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW",
        ) from error
    except (OSError, EOFError, zlib.error, csv.Error, ValueError) as error:
        raise ValidationError(f"{path} cannot be read: {error}.", "Fetch or write the file again.") from error


def _refuse(line: Broken) -> None:
    raise ValueError(f"{line.where} {line.reason}")


def _of_text(path: Path, kind: str, report: Report | None, header: Header | None) -> Iterator[Row]:
    broken = report or _refuse
    # A JSON string may hold U+2028 and the like, at which a line must not be cut: lines end at "\n" only.
    newline = "" if kind in (".csv", ".tsv") else "\n"
    with io.TextIOWrapper(cast(IO[bytes], _bytes(path)), encoding=_encoding(path), newline=newline) as lines:
        if kind == ".jsonl":
            yield from _jsonl(lines, broken)
        elif kind in (".csv", ".tsv"):
            yield from _table(lines, kind == ".tsv", broken, header, fill=report is None)
        elif kind == ".txt":
            yield from (Row(f"line {number}", {"text": line.rstrip("\n")}) for number, line in enumerate(lines, 1))
        elif kind == ".html":
            yield from _html(lines.read(), broken)
        else:
            yield from _json(lines.read(), broken)


def _bytes(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _encoding(path: Path) -> str:
    """UTF-8, or UTF-16 where the file begins with its mark, as what spreadsheets save as "Unicode text" does."""
    with _bytes(path) as file:
        return "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _first_bad_byte(path: Path, encoding: str) -> int:
    decoder, at = codecs.getincrementaldecoder(encoding)(), 0
    with _bytes(path) as file:
        for chunk in iter(lambda: file.read(1 << 16), b""):
            waiting = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                return at - waiting + error.start
            at += len(chunk)
    return at


def _jsonl(lines: Iterable[str], broken: Report) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"line {number}"
            bare = line.strip("\ufeff \t\r\n")
            if bare in ("{", "[") or (bare[0] == "[" and bare[-1] == ","):  # a part of it may be a whole line
                raise ValueError(f"{where} opens a value that goes on: this is JSON, but no JSON lines")
            try:
                values = json.loads(line.lstrip("\ufeff"))  # files that were joined have marks inside
                if not isinstance(values, dict):
                    raise TypeError(f"is {values!r:.40}, not an object with named fields")
            except (json.JSONDecodeError, TypeError, RecursionError) as error:
                reason = str(error) if isinstance(error, TypeError) else f"is not JSON ({error})"
                broken(Broken(where, reason, line.rstrip("\n")))
            else:
                yield Row(where, values)


def _json(text: str, broken: Report) -> Iterator[Row]:
    from hfvaccine.sources import claim_review

    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        first = text[: error.pos].strip()
        if error.msg == "Extra data" and first.startswith("{") and "\n" not in first and error.lineno > 1:
            return (yield from _jsonl(text.split("\n"), broken))  # JSON lines that were named .json
        raise
    if claim_review.is_linked_data(content):
        content = claim_review.find(content)
    elif (claims := claim_review.answers(content)) is not None:
        content = claims
    if not isinstance(content, list):
        raise ValueError("it is not one list of objects")
    for number, values in enumerate(content, start=1):
        if isinstance(values, dict):
            yield Row(f"item {number}", values)
        else:
            broken(Broken(f"item {number}", f"is {values!r:.40}, not an object with named fields", repr(values)))


def _html(text: str, broken: Report) -> Iterator[Row]:
    from hfvaccine.sources import claim_review

    def unread(number: int, script: str, error: Exception) -> None:
        broken(Broken(f"script {number}", f"is not JSON ({error})", script))

    for number, review in enumerate(claim_review.from_html(text, unread), start=1):
        yield Row(f"review {number}", review)


def _table(lines: Iterator[str], tabs: bool, broken: Report, header: Header | None, fill: bool) -> Iterator[Row]:
    told = re.fullmatch(r'"?sep=(.)"?\s*', first := next(lines, ""), re.IGNORECASE)
    begun = 1 if told else 0
    delimiter = "\t" if tabs else told[1] if told else _delimiter(first)
    records = _records(lines if told else itertools.chain([first], lines), delimiter, tabs)
    columns: Sequence[str] | None = None
    for line, cells, whole in records:
        where = f"line {begun + line}"
        if not whole:
            reason = "opens a quotation that is never closed, so that nothing after it can be read"
            broken(Broken(where, reason, delimiter.join(cells)))
            return
        if tabs:
            cells = [_unquoted(cell) for cell in cells]
        if columns is None:
            columns = header(cells) if header else None
            if columns is None:
                columns = cells
                continue
        if len(cells) != len(columns) and not fill:
            reason = f"has {len(cells)} cells where the header has {len(columns)}"
            broken(Broken(where, reason, delimiter.join(cells)))
            continue
        values: dict[Any, Any] = dict(zip(columns, [*cells, *[None] * (len(columns) - len(cells))], strict=False))
        if len(cells) > len(columns):
            values[None] = cells[len(columns) :]
        yield Row(where, values)


def _delimiter(header: str) -> str:
    """What a table is written with where commas are decimal points: a header without a comma tells."""
    return next((sign for sign in ",;\t" if sign in header), ",")


def _records(lines: Iterable[str], delimiter: str, tabs: bool) -> Iterator[tuple[int, list[str], bool]]:
    """The records of a table: the line each begins at, its cells, and whether it ends before the file does.

    Tab-separated texts may begin with a quotation mark that nothing closes. So only where a record is too short, and
    its last cell opens a quotation, the cell goes on in the next line, as spreadsheets write one with a line break.
    """
    # A field has no limit: where the reader gives one up, it takes what is left of it for records.
    csv.field_size_limit(2**31 - 1)
    over = False

    def watched() -> Iterator[str]:
        nonlocal over
        yield from lines
        over = True

    if tabs:
        reader = csv.reader(watched(), delimiter=delimiter, quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(watched(), delimiter=delimiter)
    width = 0
    while True:
        begins = reader.line_num + 1
        cells = next(reader, None)
        if cells is None:
            return
        while tabs and cells and len(cells) < width and _opens(cells[-1]):
            at = len(cells) - 1
            while _opens(cells[at]):
                more = next(reader, None)
                if more is None:
                    yield begins, cells, False
                    return
                cells = [*cells[:at], "\n".join([cells[at], *more[:1]]), *cells[at + 1 :], *more[1:]]
        width = width or len(cells)
        if cells:
            yield begins, cells, not over  # a record that the file's end had to close has an open quotation


def _opens(cell: str) -> bool:
    return cell.startswith('"') and cell.count('"') % 2 == 1


def _unquoted(cell: str) -> str:
    """A tab-separated cell without the quotes that spreadsheets put around one that holds quotes.

    Tab-separated files have no quoting, and texts in them begin and end with quotes of their own: so only a cell
    whose inner quotes are all doubled, or that has line breaks, is taken for a quoted one.
    """
    inner = cell[1:-1]
    doubled = '""' in inner or "\n" in inner
    if len(cell) > 3 and cell[0] == cell[-1] == '"' and doubled and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"')
    return cell


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow.parquet as pq

    number = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=10_000):
            for values in batch.to_pylist():
                number += 1
                yield Row(f"row {number}", values)
