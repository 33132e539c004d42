"""What the YAML block on top of a README says: metadata as plain JSON values, and the tags that listings filter by."""

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


class CardError(ValueError):
    """A metadata block that cannot be read."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML without aliases: a few nested ones unfold to gigabytes as JSON."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise CardError("aliases (`*name`) are not allowed in card metadata")
        return super().compose_node(parent, index)


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
