"""The quarantine: a folder in which claims live, with all that was done to them, until they are a dose.

    journal.jsonl          every act, hash-chained; what it says is what holds
    claims-<digest>.parquet  the rows after the last act that changed them
    rejects.jsonl          every row that was not taken, with reason and place
    policy.yaml            the rules, edited by people

An act is done once its journal entry is written whole: a process killed before that leaves the state before it.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from hfvaccine.claims import journal
from hfvaccine.claims.claim import arrow_schema
from hfvaccine.claims.journal import Entry
from hfvaccine.errors import DoseError
from hfvaccine.files import digest_of, whole_file

JOURNAL = "journal.jsonl"
REJECTS = "rejects.jsonl"
POLICY = "policy.yaml"

SCHEMA = arrow_schema().append(pa.field("origin", pa.string()))
"""A row in quarantine: a claim row of which anything but the claim may still be missing (null), and the file and
line it came from."""


BATCH = 50_000


def each(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows of a table one at a time, so that a million of them are never there at once."""
    for batch in table.to_batches(max_chunksize=BATCH):
        yield from batch.to_pylist()


def rejection(row: Mapping[str, Any], rule: str, reason: str, shown: Mapping[str, Any]) -> dict[str, Any]:
    """The reject record of a row that was in quarantine.

    Args:
        row: the row.
        rule: why it goes, in a word.
        reason: why, in a sentence.
        shown: what of the row the record keeps.
    """
    source, _, where = (row["origin"] or "").rpartition(", ")
    return {
        "source": source,
        "where": where,
        "rule": rule,
        "reason": reason,
        "claim_id": row["claim_id"],
        "row": dict(shown),
    }


class Quarantine:
    """One quarantine folder.

    Args:
        folder: where it is, or is to be; nothing is written before the first `commit`.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    @classmethod
    def open(cls, folder: Path | str) -> Quarantine:
        """A quarantine that is there already.

        Raises:
            DoseError: where there is none.
        """
        if not (Path(folder) / JOURNAL).is_file():
            raise DoseError(
                f"{folder} is no quarantine.",
                f"Bring claims in first: hfvaccine quarantine intake FILE --into {folder}",
            )
        return cls(folder)

    def history(self) -> list[Entry]:
        """Every act so far, the chain proved.

        Raises:
            DoseError: naming the first entry that was tampered with.
        """
        if not (self.folder / JOURNAL).is_file():
            return []
        with self._opened(JOURNAL) as file:
            content = file.read()
        return journal.loads(content[: content.rfind(b"\n") + 1])  # what has no line end was never done

    def table(self) -> pa.Table:
        """All rows, in the order they came in, with the columns of `SCHEMA`.

        Raises:
            DoseError: where the rows are not those that the journal speaks of.
        """
        digest = _last(self.history(), "claims_sha256")
        if digest is None:
            return SCHEMA.empty_table()
        path = self._claims(digest)
        if not path.is_file():
            raise DoseError(f"{path.name} is missing from {self.folder}.", journal.MEND)
        if digest_of(path) != digest:
            raise DoseError(f"{path.name} in {self.folder} was changed outside hfvaccine.", journal.MEND)
        return pq.read_table(path, schema=SCHEMA)

    def rejects(self) -> Iterator[dict[str, Any]]:
        """Every row that was not taken: source, where, rule, reason, claim_id (or null) and the row itself."""
        for number, line in enumerate(self._reject_lines(), start=1):
            try:
                yield json.loads(line)
            except ValueError as error:
                message = f"{REJECTS} in {self.folder} is malformed at line {number}: {error}."
                raise DoseError(message, journal.MEND) from error

    def verify(self) -> None:
        """Prove journal, rows and rejects.

        Raises:
            DoseError: naming the first thing that was tampered with.
        """
        digest = _last(self.history(), "rejects_sha256")
        found = hashlib.sha256()
        for line in self._reject_lines():
            found.update(line)
        if digest and found.hexdigest() != digest:
            raise DoseError(f"{REJECTS} in {self.folder} was changed outside hfvaccine.", journal.MEND)
        self.table()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the folder for one act: read, decide and `commit` inside; others wait."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def commit(
        self,
        act: str,
        by: str,
        what: Mapping[str, Any],
        *,
        table: pa.Table | None = None,
        rejects: Iterable[Mapping[str, Any]] = (),
        at: str | None = None,
    ) -> Entry:
        """Do an act: write what changed, then the journal entry that makes it hold. Call it inside `changing`.

        Args:
            act: what is done, see `journal.Entry`.
            by: who does it.
            what: plain details for the journal, which is published with a dose: no texts, no paths.
            table: all rows from now on, where the act changes any.
            rejects: rows that the act did not take, to go after those before.
            at: time of the act, by default now.

        Raises:
            UsageError: for a name that cannot stand in the journal.
        """
        history = self.history()
        details = dict(what)
        journal.follow(history, act, by, at or journal.now(), details)  # refused before anything is written
        old = _last(history, "claims_sha256")
        if table is not None:
            details["rows"] = table.num_rows
            details["claims_sha256"] = self._write_claims(table)
        details.update(self._write_rejects(rejects))
        entry = journal.follow(history, act, by, at or journal.now(), details)
        self._append(history, entry)
        if table is not None and old not in (None, details["claims_sha256"]):
            self._claims(old).unlink(missing_ok=True)
        return entry

    def _append(self, history: list[Entry], entry: Entry) -> None:
        whole = len(journal.dumps(history).encode())
        with (self.folder / JOURNAL).open("ab") as file:
            file.truncate(whole)
            file.write(entry.line().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _claims(self, digest: str) -> Path:
        return self.folder / f"claims-{digest[:16]}.parquet"

    def _write_claims(self, table: pa.Table) -> str:
        staged = self.folder / ".claims.parquet"
        pq.write_table(table.select(SCHEMA.names).cast(SCHEMA), staged, compression="zstd")
        digest = digest_of(staged)
        staged.rename(self._claims(digest))
        return digest

    def _write_rejects(self, rejects: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """Put these after those before, one at a time: there may be as many as rows."""
        added = iter(rejects)
        first = next(added, None)
        if first is None:
            return {}
        count, digest = 0, hashlib.sha256()
        with whole_file(self.folder / REJECTS) as staged, staged.open("wb") as file:
            for line in self._reject_lines():
                digest.update(line)
                file.write(line)
            for row in itertools.chain([first], added):
                line = (json.dumps(dict(row), ensure_ascii=False, default=str) + "\n").encode()
                digest.update(line)
                file.write(line)
                count += 1
        return {"rejected": count, "rejects_sha256": digest.hexdigest()}

    def _reject_lines(self) -> Iterator[bytes]:
        committed = sum(entry.what.get("rejected", 0) for entry in self.history())
        if committed:
            with self._opened(REJECTS) as file:
                yield from itertools.islice(file, committed)

    def _opened(self, name: str) -> IO[bytes]:
        try:
            return (self.folder / name).open("rb")
        except OSError as error:
            raise DoseError(f"{name} in {self.folder} cannot be read: {error}.", journal.MEND) from error


def _last(history: list[Entry], key: str) -> str | None:
    return next((entry.what[key] for entry in reversed(history) if key in entry.what), None)
