"""What must never leave this machine: secrets and paths of it, looked for in every file that is to be published."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from hfvaccine.errors import PublishError
from hfvaccine.files import load_yaml
from hfvaccine.hub.content import Content, Weights

SECRETS = (
    ("a Hub token", re.compile(r"\bhfv?_[A-Za-z0-9]{30,}")),
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
    ("a GitHub token", re.compile(r"\bgh[opsu]_[A-Za-z0-9]{36,}|\bgithub_pat_[A-Za-z0-9_]{36,}")),
    ("an AWS key", re.compile(r"\bAKIA[0-9A-Z]{16}\b")),
    (
        "a path in somebody's home folder",
        re.compile(r"(?<![\w.])(?:/home/|/Users/|/root/|[A-Za-z]:\\{1,2}Users\\{1,2})[\w.-]+"),
    ),
)

PATH = re.compile(r"(?:[\w.-]+=)?(?:/(?:[^/\n]+/)+[^/\n]*|~/[^\n]*|[A-Za-z]:[\\/][^\n]*|file:///[^\n]*)")
"""A whole value that is an absolute path, or NAME=PATH."""

VOCABULARIES = ("tokenizer.json", "vocab.json", "added_tokens.json", "special_tokens_map.json")
"""JSON files whose values are tokens: one that looks like a path is none."""


def refuse_leaks(files: Mapping[str, Content], here: Iterable[Path] = ()) -> None:
    """Refuse to publish what holds a secret, or a path of this machine.

    Packed files are looked into: of a parquet file the decoded values, the names of its columns and
    its metadata, of a safetensors file its header, which is all the text it has.

    Args:
        files: content by path in the repo.
        here: folders of this machine whose names are looked for besides.

    Raises:
        PublishError: naming the file, the place in it and the kind of what was found, but never showing it;
            or a file that cannot be looked into.
    """
    named = {str(folder) for folder in (*here, Path.home(), Path.cwd()) if len(PurePath(folder).parts) > 2}
    patterns = list(SECRETS)
    if named:
        folders = "|".join(re.escape(name) for name in sorted(named))
        patterns.append(("a path of this machine", re.compile(rf"(?<![\w.])(?:{folders})(?![\w-])")))
    for name, content in files.items():
        for place, text in _texts(name, content):
            for what, pattern in patterns:
                if found := pattern.search(text):
                    at = place or f"line {text.count(chr(10), 0, found.start()) + 1}"
                    _refuse(name, at, what)
        for key, value in _values(name, content):
            if PATH.fullmatch(value):
                _refuse(name, f"under {key}", "a path of this machine")


def _refuse(name: str, place: str, what: str) -> None:
    raise PublishError(f"{name}, {place}, holds {what}, so nothing was published.", "Take it out, then push again.")


def _texts(name: str, content: Content) -> Iterator[tuple[str, str]]:
    """Every text in a file, with its place where that is not a line."""
    if isinstance(content, Weights):
        yield "in its header", content.header.decode("utf-8", "replace")
    elif name.endswith(".parquet"):
        yield from _table(name, content)
    else:
        yield "", content.decode("utf-8", "replace")


def _table(name: str, content: bytes) -> Iterator[tuple[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(pa.BufferReader(content)) as file:
            schema = file.schema_arrow
            yield "in its metadata", schema.to_string(truncate_metadata=False, show_field_metadata=True)
            for key, value in (file.metadata.metadata or {}).items():
                yield "in its metadata", f"{key.decode('utf-8', 'replace')}={value.decode('utf-8', 'replace')}"
            for batch in file.iter_batches():
                for field, column in zip(schema, batch.columns, strict=True):
                    yield f"in its column {field.name!r}", "\n".join(_strings(_distinct(column)))
    except pa.ArrowException as error:
        raise PublishError(f"{name} is no parquet file: {error}.", "Run the immunization again.") from error


def _distinct(column: Any) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_nested(column.type):
        return list(column.to_pylist())
    if pa.types.is_dictionary(column.type):
        column = column.dictionary
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return list(column.unique().to_pylist()) if any(kind(column.type) for kind in kinds) else []


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, Mapping):
        yield from _strings([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _strings(entry)


def _values(name: str, content: Content) -> Iterator[tuple[str, str]]:
    """The texts that are values of a JSON or YAML file, with the key that each is under."""
    if isinstance(content, Weights) or name in VOCABULARIES or not name.endswith((".json", ".yaml")):
        return
    if name.endswith(".yaml"):
        import yaml

        load: Any = load_yaml
        wrong: type[Exception] = yaml.YAMLError
    else:
        load, wrong = json.loads, ValueError
    try:
        loaded = load(content)
    except (wrong, UnicodeDecodeError):  # what cannot be read is refused where it is needed
        return
    yield from _leaves("", loaded)


def _leaves(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key or "its only value", value
    elif isinstance(value, Mapping):
        for name, entry in value.items():
            yield from _leaves(f"{key}.{name}" if key else str(name), entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _leaves(key, entry)
