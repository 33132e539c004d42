"""What the YAML block on top of a README says: metadata as plain JSON values, and the tags that listings filter by."""

import json
import math
import re
from functools import lru_cache
from typing import Any

import yaml

_BLOCK = re.compile(rb"\A\s*---[ \t]*\r?\n(.*?)^---[ \t]*\r?$(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_LARGEST_BLOCK = 256 * 1024
_PREFIXED = {
    "model": ("license", "datasets", "base_model"),
    "dataset": (
        "annotations_creators",
        "language_creators",
        "language",
        "license",
        "multilinguality",
        "size_categories",
        "source_datasets",
        "task_categories",
        "task_ids",
    ),
    "space": ("license", "datasets", "models"),
}
SDKS = ("gradio", "streamlit", "docker", "static")
_UNREADABLE = ("self", "ignore_metadata_errors")
"""Names that the clients' card classes keep for themselves: a card with one fails every listing that it is in."""


class CardError(ValueError):
    """A metadata block that cannot be read, or says what clients cannot make anything of."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML without aliases: a few nested ones unfold to gigabytes as JSON."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise CardError("aliases (`*name`) are not allowed in card metadata")
        return super().compose_node(parent, index)


# As on the real Hub, which reads YAML 1.2, only true and false are booleans: `language: no` is Norwegian.
_Loader.yaml_implicit_resolvers = {
    first: [one for one in known if first in "tTfF" or one[0] != "tag:yaml.org,2002:bool"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(readme: bytes) -> dict[str, Any] | None:
    """The metadata of a README.

    Returns:
        A dict of JSON values, or None when there is no metadata block.

    Raises:
        CardError: saying what is wrong with the block.
    """
    block = _BLOCK.match(readme)
    if block is None:
        return None
    if len(block[1]) > _LARGEST_BLOCK:
        raise CardError(f"the metadata block is larger than {_LARGEST_BLOCK} bytes")
    try:
        loaded = yaml.load(block[1].decode(), Loader=_Loader)
        metadata = _plain(loaded)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise CardError(" ".join(str(error).split())[:500] or type(error).__name__) from error
    if metadata is None:
        return None
    if not isinstance(metadata, dict):
        raise CardError("the metadata block must be a mapping of names to values")
    return metadata


def checked(kind: str, readme: bytes) -> dict[str, Any] | None:
    """The metadata of a README that is about to be committed; what is there already is read by `metadata_of`.

    Args:
        kind: of the repo that it is for.
        readme: the README.

    Returns:
        A dict of JSON values, or None when there is no metadata block.

    Raises:
        CardError: when it cannot be read, or a value that listings and clients go by is of another type than theirs.
            A word that nobody knows, a licence's for one, is not looked at.
    """
    if (metadata := parse(readme)) is None:
        return None
    for field in _UNREADABLE:
        if field in metadata:
            raise CardError(f'"{field}" is a name that clients cannot read: choose another')
    for field in ("tags", "language", *_PREFIXED[kind]):
        value = metadata.get(field)
        for item in value if isinstance(value, list) else [value]:
            if not isinstance(item, str | None) or (item is None and item is not value):
                raise _wrong(field, "a text or a list of texts", value)
    if kind == "model":
        for field in ("library_name", "pipeline_tag"):
            _require_text(field, metadata, field, optional=True)
        if metadata.get("model-index") is not None:
            _require_index(metadata)
    if kind == "space" and metadata.get("sdk") not in (None, *SDKS):
        raise _wrong("sdk", f"one of {', '.join(SDKS)}", metadata["sdk"])
    return metadata


def _require_index(metadata: dict[str, Any]) -> None:
    """Refuse a model-index that clients cannot read as results: they need these names, and hash some values."""
    for at, model in _mappings("model-index", metadata["model-index"]):
        _require_text(f"{at}.name", model, "name")
        for at_result, result in _mappings(f"{at}.results", model.get("results")):
            task, data = (_mapping(f"{at_result}.{name}", result.get(name)) for name in ("task", "dataset"))
            source = _mapping(f"{at_result}.source", result.get("source") or {})
            _require_text(f"{at_result}.task.type", task, "type")
            for name in ("type", "name", "config", "split", "revision"):
                _require_text(f"{at_result}.dataset.{name}", data, name, optional=name not in ("type", "name"))
            _require_text(f"{at_result}.source.url", source, "url", optional=source.get("name") is None)
            for at_metric, metric in _mappings(f"{at_result}.metrics", result.get("metrics")):
                _require_text(f"{at_metric}.type", metric, "type")
                if metric.get("value") is None:
                    raise CardError(f'"{at_metric}.value" is missing')


def _mappings(where: str, value: Any) -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(value, list):
        raise _wrong(where, "a list", value)
    return [(f"{where}[{number}]", _mapping(f"{where}[{number}]", item)) for number, item in enumerate(value)]


def _mapping(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(where, "a mapping", value)
    return value


def _require_text(where: str, mapping: dict[str, Any], name: str, optional: bool = False) -> None:
    value = mapping.get(name)
    if not isinstance(value, str) and not (optional and value is None):
        raise _wrong(where, "a text", value)


def _wrong(where: str, needed: str, value: Any) -> CardError:
    if value is None:
        return CardError(f'"{where}" is missing: it must be {needed}')
    return CardError(f'"{where}" must be {needed}, not {json.dumps(value, ensure_ascii=False)[:100]}')


@lru_cache(maxsize=512)
def metadata_of(readme: bytes) -> dict[str, Any]:
    """The metadata of a README; empty when there is none or it cannot be read. Not to be changed."""
    try:
        return parse(readme) or {}
    except CardError:
        return {}


def body_of(readme: bytes) -> str:
    """The text of a README without its metadata block."""
    return _BLOCK.sub(b"", readme, count=1).decode(errors="replace")


def tags(kind: str, metadata: dict[str, Any]) -> list[str]:
    """The tags that a card's metadata stands for, in a stable order."""
    found: list[str] = []
    if kind == "model":
        found += _texts(metadata.get("library_name")) + _texts(metadata.get("pipeline_tag"))
        found += _texts(metadata.get("language"))
    found += _texts(metadata.get("tags"))
    for field in _PREFIXED[kind]:
        prefix = {"datasets": "dataset", "models": "model"}.get(field, field)
        found += [f"{prefix}:{value}" for value in _texts(metadata.get(field))]
    relation = metadata.get("base_model_relation") or ("adapter" if metadata.get("library_name") == "peft" else None)
    if kind == "model" and isinstance(relation, str):
        found += [f"base_model:{relation}:{value}" for value in _texts(metadata.get("base_model"))]
    return list(dict.fromkeys(found))


def _texts(value: Any) -> list[str]:
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str) and item]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if isinstance(value, int) and value.bit_length() > 64:
        return hex(value)
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value).encode(errors="replace").decode()
