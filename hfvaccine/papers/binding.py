"""What binds an adapter's papers: its record holds the SHA-256 of every file beside it, and one of itself. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hfvaccine.claims.shares import with_share
from hfvaccine.errors import LineageError, ValidationError
from hfvaccine.files import combined, digest_of, present
from hfvaccine.papers.kind import IMMUNIZED, INOCULATED, Kind, kind_in
from hfvaccine.sources.place import with_revision

SCHEMA_VERSION = IMMUNIZED.schema
OWN = "record_sha256"
"""The key of the record's digest over all its other keys."""


def code_digest() -> str:
    """SHA-256 over the installed hfvaccine: its modules, templates and data, by name and content."""
    from hfvaccine import dataset_cards, model_cards

    packages = {"": Path(__file__).parents[1]}
    packages |= {
        f"{part.__name__.split('.')[-1]}/": Path(str(part.__file__)).parent for part in (dataset_cards, model_cards)
    }
    files = {
        prefix + path.relative_to(folder).as_posix(): digest_of(path)
        for prefix, folder in packages.items()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    return combined(files)


def bind(record: Mapping[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    """A record with the digests of the files beside it, and its own.

    Args:
        record: the content of immunization.json, bound before or not.
        digests: SHA-256 of each file, by name; the record itself is none of them.
    """
    content = {key: value for key, value in record.items() if key not in ("files", OWN)}
    content["files"] = dict(sorted(digests.items()))
    return {**content, OWN: _own(content)}


def check_record(record: Mapping[str, Any], kind: Kind = IMMUNIZED) -> None:
    """Prove that a record is as it was written.

    Args:
        record: the content of immunization.json or inoculation.json.
        kind: which of them.

    Raises:
        LineageError: for a record of another schema version, or one that was changed.
    """
    version = record.get("schema_version")
    if not isinstance(version, int):
        raise LineageError(
            f"This is no record of hfvaccine: its schema version is {version!r}.",
            "Name a run folder, or a repo that push-adapter made.",
        )
    if version != kind.schema:
        raise LineageError(
            f"The record has schema version {version!r}, this hfvaccine reads {kind.schema}.",
            "Make the adapter again: its papers bind too little."
            if version in range(kind.schema)
            else "Upgrade hfvaccine.",
        )
    if record.get(OWN) != _own(record):
        raise LineageError(
            "The record is not what was written: its own digest does not fit.",
            "Take it from where it was not edited: its publisher, or an earlier commit.",
        )


def recorded_doses(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a record says of the doses that an adapter was given: one, or several, the first named first; of a booster
    the newest."""
    of_several = (record.get("booster") or record["dose"]).get("doses")
    return list(of_several or [record["dose"]])


def asked_of(doses: Iterable[Mapping[str, Any]]) -> list[str]:
    """Several doses as the options of a run name them, each with its revision and its share.

    Args:
        doses: what the record says of each.
    """
    return [with_share(with_revision(one["id"], one.get("revision")), one["share_asked"]) for one in doses]


def read_json(folder: Path, name: str, source: str | None = None) -> dict[str, Any]:
    """The content of one of a run's JSON files, which is not believed yet.

    Args:
        folder: of the run.
        name: of the file.
        source: what the run is known by, by default its folder.

    Raises:
        LineageError: where there is none, or it is no JSON object.
    """
    source = source or str(folder)
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise lacking(source, name) from error
    except (OSError, ValueError) as error:
        raise LineageError(f"{name} of {source} is no JSON: {error}.", "Take it from its publisher.") from error
    if not isinstance(content, dict):
        raise LineageError(f"{name} of {source} is no JSON object.", "Take it from its publisher.")
    return content


def lacking(source: str, name: str) -> LineageError:
    """What is said of an adapter without one of its JSON files.

    Args:
        source: what it is known by.
        name: of the file.
    """
    return LineageError(
        f"{source} has no {name}: hfvaccine did not make it, or not to its end.",
        "Give an immunized adapter, or finish the run first (--resume FOLDER).",
    )


def read_record(folder: Path, kind: Kind, source: str | None = None) -> dict[str, Any]:
    """The record of one adapter, which is not believed yet.

    Args:
        folder: of the adapter.
        kind: of its papers.
        source: what it is known by, by default its folder.

    Raises:
        LineageError: where there is none, or it is that of a run with several adapters.
    """
    record = read_json(folder, kind.record, source)
    if kind is INOCULATED and not isinstance(record.get("adapter"), Mapping):
        names = list(record["adapters"]) if isinstance(record.get("adapters"), Mapping) else []
        one = f", such as {folder / names[0]}" if names else ""
        raise LineageError(
            f"{source or folder} is a run of several adapters.", f"Give the folder of one of them{one}."
        )
    return record


def open_run(
    folder: Path, needed: Iterable[str] | None = None, source: str | None = None, *, whole: bool = False
) -> dict[str, Any]:
    """The record of a run whose files are those that it binds.

    Args:
        folder: of the run, or with a copy of the files of an adapter's repo.
        needed: files that have to be there, besides the record; by default those of an adapter of its kind.
        source: what the run is known by, by default its folder.
        whole: whether all that the record binds has to be there, and nothing else that is ever published.

    Raises:
        LineageError: where the record is not what was written, or naming the first file that is missing, came
            later or was changed.
    """
    kind = kind_in(folder)
    record, source = read_record(folder, kind, source), source or str(folder)
    check_record(record, kind)
    bound = record["files"] if isinstance(record.get("files"), dict) else {}
    there = present(folder, kind.published)
    needed = kind.needs if needed is None else needed
    names = {*needed, *(bound.keys() | there.keys() if whole else ())} - {kind.record}
    see = f"See what else is wrong with `hfvaccine verify {source}`, and take back what was changed."
    for name in sorted(names):
        if name not in there:
            raise LineageError(f"{source} has no {name}{f', which {kind.record} binds' * (name in bound)}.", see)
        if name not in bound:
            raise LineageError(f"{name} is not among the files that {kind.record} binds: it came later.", see)
        if digest_of(there[name]) != bound[name]:
            raise LineageError(f"{name} is not the file that {kind.record} binds: it was changed since.", see)
    return record


def _own(record: Mapping[str, Any]) -> str:
    content = {key: value for key, value in record.items() if key != OWN}
    return digest_of(json.dumps(content, sort_keys=True).encode())


@contextmanager
def taken_apart(name: str) -> Iterator[None]:
    """While a stranger's papers are taken apart: what lacks, or is of another kind, makes them malformed.

    Args:
        name: of the adapter.

    Raises:
        ValidationError: for malformed papers.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValidationError(
            f"The papers of {name} are malformed: {type(error).__name__} {error}.",
            "`hfvaccine verify` says more; ask whoever wrote them.",
        ) from error
