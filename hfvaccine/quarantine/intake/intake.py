"""Claims in: rows of files and Hub datasets become rows in quarantine, and whatever is not taken says why."""

from __future__ import annotations

import dataclasses
import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from hfvaccine.claims import journal
from hfvaccine.claims.claim import SPLITS, Source, Variant, claim_id
from hfvaccine.errors import UsageError, ValidationError
from hfvaccine.files import digest_of
from hfvaccine.quarantine.intake import formats
from hfvaccine.quarantine.intake.export import unguarded
from hfvaccine.quarantine.intake.shape import Shape
from hfvaccine.quarantine.policy import TEMPLATE
from hfvaccine.quarantine.store import POLICY, REJECTS, SCHEMA, Quarantine
from hfvaccine.sources.naming import file_format, is_hub
from hfvaccine.sources.rows import Broken, Header, Row, open_rows
from hfvaccine.sources.verdict import TAKEN, TRUE

NOT_FALSE, UNCLEAR_RATING, DUPLICATE = "not-false", "unclear-rating", "duplicate"
CONTRADICTORY, NO_CLAIM, MALFORMED = "contradictory", "no-claim", "malformed"
REJECT_RULES = (NOT_FALSE, UNCLEAR_RATING, DUPLICATE, CONTRADICTORY, NO_CLAIM, MALFORMED)

CONTENT = tuple(
    name
    for name in SCHEMA.names
    if name not in ("claim_id", "cluster_id", "split", "submitted_by", "reviewers", "origin")
)
"""Columns whose change is an edit; the others say what was done with a row."""

_SAMPLE = 200
_CHUNK = 10_000
_SOURCE = tuple(field.name for field in dataclasses.fields(Source))
_VARIANT = tuple(field.name for field in dataclasses.fields(Variant))
_LISTS = ("sources", "overlaps", "variants")

Draft = dict[str, Any]


@dataclass(frozen=True)
class Taken:
    """What came of one source.

    Args:
        name: file name or Hub id.
        format: name of the shape it was read in.
        sha256: of the file; None for a Hub dataset.
        rows: how many rows it has, broken lines included.
        taken: new rows in quarantine.
        updated: rows that were there and now say what the source says.
        unchanged: rows that were there and say the same.
        rejected: rule -> how many rows were not taken for it.
        malformed: the place of the first row that could not be read, and why; None where all could be.
    """

    name: str
    format: str
    sha256: str | None
    rows: int
    taken: int
    updated: int
    unchanged: int
    rejected: Mapping[str, int]
    malformed: str | None = None

    def __str__(self) -> str:
        told = [f"{self.rows:,} rows", f"{self.taken:,} taken"]
        told += [f"{count:,} {name}" for name in ("updated", "unchanged") if (count := getattr(self, name))]
        if self.rejected:
            rules = ", ".join(f"{count:,} {rule}" for rule, count in self.rejected.items())
            told.append(f"{sum(self.rejected.values()):,} rejected ({rules})")
        first = f"\n  {self.malformed}" if self.malformed else ""
        return f"{self.name} ({self.format}): {', '.join(told)}{first}"


@dataclass(frozen=True)
class Intake:
    """What came of all sources of one intake.

    Args:
        taken, updated, unchanged, rejected: over all sources, see `Taken`.
        total: rows in quarantine from now on.
        sources: what came of each, in their order.
    """

    taken: int
    updated: int
    unchanged: int
    rejected: Mapping[str, int]
    total: int
    sources: tuple[Taken, ...]

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain values, for JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        lines = [str(source) for source in self.sources]
        lines.append(f"{self.total:,} claims are in quarantine.")
        if self.rejected:
            lines.append(f"Every rejected row stands in {REJECTS}, with its place and the reason.")
        return "\n".join(lines)


def intake(
    quarantine: Quarantine,
    sources: Sequence[str | Path],
    by: str,
    *,
    format: str | None = None,
    mapping: Mapping[str, str] | None = None,
    fixed: Mapping[str, str] | None = None,
    false_labels: Collection[str] = (),
    update: bool = False,
    limit: int | None = None,
    say: Callable[[str], object] = lambda text: None,
) -> Intake:
    """Bring the falsehoods of files and Hub datasets in, as one act; the first also writes the policy to fill in.

    Args:
        quarantine: where they go.
        sources: files (see `naming.FORMATS`) and Hub datasets (ID[:CONFIG[:SPLIT]], by default the split "train").
        by: who does it; goes into `submitted_by` of each row.
        format: name of a shape (see `formats.SHAPES`), by default what is seen from the columns of each source.
        mapping: field -> column, see `formats.shape_of`.
        fixed: field -> its value in all rows.
        false_labels: labels of rows that are false.
        update: let a row replace the one with the same claim, field by field where the source has the field. A row
            of ours whose claim was edited replaces the one that its claim_id names.
        limit: read at most so many rows of each source.
        say: is told how each source is read before it is.

    Returns:
        What was taken, and what was not; every row that was not is among the rejects.

    Raises:
        UsageError: for options that do not fit the sources.
        ValidationError: for a source that cannot be read. Nothing is taken in then.
    """
    if not sources:
        raise UsageError("There is nothing to take in.", "Name at least one file or Hub dataset.")
    if limit is not None and limit < 1:
        raise UsageError(f"A limit of {limit} rows leaves nothing to take in.", "Use at least 1.")
    journal.follow([], "intake", by, "", {})  # a name that cannot stand there is refused before the work
    mapping = formats.by_field(mapping or {})
    header = partial(formats.header, numbered=[column for column in mapping.values() if column.isdecimal()])
    choose = partial(formats.shape_of, format=format, mapping=mapping, fixed=fixed, false_labels=false_labels)
    opened = []
    for place in sources:  # all are looked into before any is read
        opened.append(_opened(place, choose, say, header))
        if opened[-1].shape.warning:
            say(f"Warning: {opened[-1].shape.warning}")
    with quarantine.changing(), tempfile.TemporaryFile("w+", encoding="utf-8") as rejects:
        reader = _Reader(quarantine, by, update, rejects)
        done = tuple(reader.read(source, limit) for source in opened)
        table = reader.table()
        figures = _figures(sum((source.counts for source in opened), Counter()))
        found = Intake(**figures, total=table.num_rows, sources=done)
        told = [
            {key: value for key, value in vars(source).items() if key in ("name", "format", "rows", "taken", "sha256")}
            for source in done
        ]
        rejects.seek(0)
        quarantine.commit(
            "intake",
            by,
            {"sources": told, "taken": found.taken, "updated": found.updated},
            table=table if found.taken or found.updated or not reader.before.num_rows else None,
            rejects=(json.loads(line) for line in rejects),
        )
        if not (quarantine.folder / POLICY).exists():
            (quarantine.folder / POLICY).write_text(TEMPLATE, encoding="utf-8")
    return found


def drafts(
    source: str | Path,
    *,
    format: str | None = None,
    say: Callable[[str], object] = lambda text: None,
    refused: Callable[[str, str], object] = lambda where, reason: None,
) -> Iterator[Draft]:
    """The falsehoods of one source as they would be taken in, each time they stand there, with nothing written.

    Args:
        source: a file or a Hub dataset.
        format: name of a shape, by default what is seen from the columns.
        say: is told how the source is read.
        refused: is told, once all is read, which rows cannot be taken in at all, and why.

    Raises:
        UsageError: for a shape that does not fit.
        ValidationError: for a source that cannot be read.
    """
    opened = _opened(source, partial(formats.shape_of, format=format), say)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+", encoding="utf-8") as rejects:
        reader = _Reader(Quarantine(folder), "", False, rejects)
        for draft, row in reader.drafts(opened, opened.rows(partial(reader.broken, opened))):
            yield reader.complete(draft, opened.origin(row), draft.pop("given_id"))
        rejects.seek(0)
        for line in rejects:
            record = json.loads(line)
            if record["rule"] in (NO_CLAIM, MALFORMED):
                refused(f"{record['source']}, {record['where']}", record["reason"])


@dataclass(frozen=True)
class _Source:
    """One source, a file or a dataset of the Hub, and how many of its rows became what."""

    file: Path | None
    name: str
    shape: Shape
    counts: Counter[str]
    header: Header
    malformed: list[str] = field(default_factory=list)

    def rows(self, broken: Callable[[Broken], object] = lambda line: None) -> Iterator[Row]:
        return open_rows(self.file or self.name, broken, self.header)

    def origin(self, row: Row) -> str:
        return f"{self.name}, {row.where}"


def _opened(
    place: str | Path, choose: Callable[..., Shape], say: Callable[[str], object], header: Header = formats.header
) -> _Source:
    file = None if is_hub(str(place)) else Path(place)
    name = file.name if file else str(place)
    broken: list[Broken] = []
    first = itertools.islice(open_rows(place, broken.append, header), _SAMPLE)
    rows = [row.values for row in first]
    if not rows and broken:
        told = "; ".join(f"{line.where} {line.reason}" for line in broken[:3])
        raise ValidationError(
            f"Nothing in {name} can be read as a row: {told}{f', and {len(broken) - 3:,} more' * (len(broken) > 3)}.",
            "Mend the file, or fetch it again.",
        )
    if not rows:
        raise ValidationError(f"{name} holds no rows.", "Give a source that is not empty.")
    shape = choose(rows, name)
    say(f"{name} is read as {shape.describe(dict.fromkeys(column for row in rows for column in row))}")
    return _Source(file, name, shape, Counter(), header)


class _Reader:
    """Reads sources one after the other into what is there already."""

    def __init__(self, quarantine: Quarantine, by: str, update: bool, rejects: IO[str]) -> None:
        self.before = quarantine.table()
        self._by, self._update, self._rejects = by, update, rejects
        self._new: list[pa.RecordBatch] = []
        self._met: set[int] = set()  # rows from before that this intake has come upon
        self._replaced: dict[int, str] = {}  # of these, the changed ones, as JSON: dicts take three times the memory
        self._places: dict[str, str | int] = {}  # claim id -> its number in `before`, or where it came from just now
        self._places.update(zip(self.before["claim_id"].to_pylist(), itertools.count()))
        self._true = {
            record["claim_id"]: f"{record['source']}, {record['where']}"
            for record in quarantine.rejects()
            if record["rule"] == NOT_FALSE and record["claim_id"]
        }

    def broken(self, source: _Source, line: Broken) -> None:
        """Set aside what is no row."""
        source.counts["rows"] += 1
        self._reject(source, Row(line.where, {"text": line.text}), MALFORMED, f"The line {line.reason}.")

    def read(self, source: _Source, limit: int | None) -> Taken:
        counts = source.counts
        rows = itertools.islice(source.rows(partial(self.broken, source)), limit)
        while chunk := list(itertools.islice(rows, _CHUNK)):
            counts["rows"] += len(chunk)
            fresh = list(self._unknown(source, self.drafts(source, chunk)))
            counts["taken"] += len(fresh)
            self._new.append(pa.RecordBatch.from_pylist(fresh, schema=SCHEMA))
        digest = digest_of(source.file) if source.file else None
        first = next(iter(source.malformed), None)
        return Taken(source.name, source.shape.name, digest, counts["rows"], **_figures(counts), malformed=first)

    def table(self) -> pa.Table:
        """All rows: those from before, replaced where they were, then the new ones."""
        return pa.Table.from_batches([*self._kept(), *self._new], SCHEMA)

    def _kept(self) -> Iterator[pa.RecordBatch]:
        start = 0
        for batch in self.before.to_batches(max_chunksize=_CHUNK):
            touched = [number for number in range(start, start + batch.num_rows) if number in self._replaced]
            if touched:
                rows = batch.to_pylist()
                for number in touched:
                    rows[number - start] = json.loads(self._replaced[number])
                batch = pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
            yield batch
            start += batch.num_rows

    def drafts(self, source: _Source, rows: Iterable[Row]) -> Iterator[tuple[Draft, Row]]:
        """The rows that are rated false, known or not, with only the fields that they fill."""
        # In a table of ours a text may stand after an apostrophe, see `export`.
        guarded = source.shape.name == formats.OWN and source.file and file_format(source.file) in (".csv", ".tsv")
        for row in rows:
            try:
                reading = source.shape.read(unguarded(row.values) if guarded else row.values)
                draft = reading.fields
                text = draft.get("claim")
                if text is None:
                    self._reject(source, row, NO_CLAIM, "There is no claim in it.")
                    continue
                _check(draft)
                language = draft.get("language") or "en"
                identity = claim_id(text, language)
            except (TypeError, ValueError) as error:  # among them UnicodeEncodeError, of half a character
                reason = "it holds half of a character" if isinstance(error, UnicodeError) else str(error)
                self._reject(source, row, MALFORMED, f"The row is malformed: {reason}.")
                continue
            if reading.verdict not in TAKEN:
                rule = NOT_FALSE if reading.verdict == TRUE else UNCLEAR_RATING
                if rule == NOT_FALSE:
                    self._true.setdefault(identity, source.origin(row))
                reason = f"It is {'rated true' if rule == NOT_FALSE else 'not clearly false'}: {reading.rating}"
                if rule == NOT_FALSE and identity in self._places:
                    reason += f", and the same text false at {self._origin(self._places[identity])}"
                self._reject(source, row, rule, f"{reason}.", identity)
                continue
            if identity in self._true:
                reason = f"It is rated false, and the same text true at {self._true[identity]}."
                self._reject(source, row, CONTRADICTORY, reason, identity)
                continue
            draft.update(language=language, verdict=reading.verdict)
            draft["given_id"] = draft.get("claim_id")
            draft["claim_id"] = identity
            yield draft, row

    def _unknown(self, source: _Source, drafts: Iterable[tuple[Draft, Row]]) -> Iterator[Draft]:
        """The drafts that are new, complete; those that are there already update it or are rejected."""
        known: list[tuple[int, Draft]] = []
        for draft, row in drafts:
            identity, given = draft["claim_id"], draft.pop("given_id")
            place = self._places.get(identity)
            edited = self._places.get(given) if place is None and self._update else None
            if isinstance(edited, int) and edited not in self._met:
                place = self._places[identity] = self._places.pop(given)  # its text was edited, and the id with it
            if place is None:
                self._places[identity] = source.origin(row)
                yield self.complete(draft, source.origin(row), given)
            elif self._update and isinstance(place, int) and place not in self._met:
                known.append((place, draft))
                self._met.add(place)
            else:
                reason = f"The same claim is there already, from {self._origin(place)}."
                self._reject(source, row, DUPLICATE, reason, identity)
        if known:
            self._replace(known, source.counts)

    def _replace(self, known: Sequence[tuple[int, Draft]], counts: Counter[str]) -> None:
        rows = self.before.take(pa.array([place for place, _ in known])).to_pylist()
        for (place, draft), old in zip(known, rows, strict=True):
            new = {**old, **{key: draft[key] for key in (*CONTENT, "claim_id") if key in draft}}
            if new == old:
                counts["unchanged"] += 1
            else:
                counts["updated"] += 1
                new["submitted_by"] = _people(old["submitted_by"], draft.get("submitted_by"), self._by)
                self._replaced[place] = json.dumps(new)

    def complete(self, draft: Draft, origin: str, given: str | None) -> Draft:
        """A draft with all columns that are always filled."""
        cluster = draft.get("cluster_id")
        draft["cluster_id"] = cluster if cluster and cluster != given else draft["claim_id"]
        draft["split"] = draft["split"] if draft.get("split") in SPLITS else None
        draft["submitted_by"] = _people(draft.get("submitted_by"), self._by)
        draft["origin"] = draft.get("origin") or origin
        draft["reviewers"] = []
        for name in _LISTS:
            draft.setdefault(name, [])
        return draft

    def _origin(self, place: str | int) -> str:
        if isinstance(place, str):
            return place
        return str(self.before["origin"][place].as_py())

    def _reject(self, source: _Source, row: Row, rule: str, reason: str, identity: str | None = None) -> None:
        source.counts[rule] += 1
        if rule == MALFORMED and not source.malformed:
            source.malformed.append(f"{row.where}: {reason}")
        record = {"source": source.name, "where": row.where, "rule": rule, "reason": reason, "claim_id": identity}
        line = json.dumps({**record, "row": row.values}, ensure_ascii=False, default=str)
        self._rejects.write(line.encode("utf-8", "replace").decode() + "\n")


def _figures(counts: Counter[str]) -> dict[str, Any]:
    rejected = {rule: counts[rule] for rule in REJECT_RULES if counts[rule]}
    return {**{name: counts[name] for name in ("taken", "updated", "unchanged")}, "rejected": rejected}


def _check(draft: Draft) -> None:
    """Refuse what has no place in a column, and empty what is blank."""
    for name, value in draft.items():
        if type(value) is str:
            if not value or value.isspace():
                draft[name] = None
            elif not value.isascii():
                value.encode()  # half of a character is refused here, where the row can still be named
        elif value is not None and name not in _LISTS:
            raise TypeError(f"{name} is {value!r:.40}, not a text")
    if "sources" in draft:
        draft["sources"] = [_checked("source", _SOURCE, source) for source in draft["sources"] or ()]
    if "variants" in draft:
        draft["variants"] = [_checked("variant", _VARIANT, variant) for variant in draft["variants"] or ()]
    if "overlaps" in draft:
        draft["overlaps"] = [_text("overlaps", value) for value in draft["overlaps"] or ()]


def _checked(what: str, fields: Sequence[str], value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"a {what} is {value!r:.40}, not an object with {' and '.join(fields[:2])}")
    unknown = next((key for key in value if key not in fields), None)
    if unknown is not None:
        raise ValueError(f"a {what} has the field {unknown!r:.40}; it may have {', '.join(fields)}")
    return {key: None if value.get(key) is None else _text(key, value[key]) for key in fields}


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} holds {value!r:.40}, not a text")
    value.encode()
    return value


def _people(*names: str | None) -> str:
    return ", ".join(sorted({one.strip() for name in names for one in (name or "").split(",") if one.strip()}))
