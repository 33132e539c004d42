"""Values as the cards of adapters show them: links, revisions, digests and texts that are no markup."""

from __future__ import annotations

import re

from hfvaccine.text import NOT_KNOWN, Markdown, clean, is_commit, is_finite, is_hub_id


def link(name: object, prefix: str, namespace_needed: bool = True) -> str:
    """A Hub id as a link; of anything else the last name.

    Args:
        name: of a repo, a file or a folder.
        prefix: "datasets/", or "" for a model.
        namespace_needed: whether a Hub id without a namespace is none.
    """
    if not is_hub_id(name, namespace_needed):
        return local_name(name)
    # Relative to the Hub's root, so that the card is right on whichever Hub it stands.
    return Markdown(f"[{name}](/{prefix}{name})")


def local_name(name: object) -> str:
    """A Hub id as it is; of a path only the last name: the folders of a machine are nobody else's business."""
    return str(name) if is_hub_id(name) else re.split(r"[/\\]", str(name).rstrip("/\\"))[-1]


def at(revision: object) -> Markdown:
    """The beginning of a commit, nothing for any other revision."""
    return Markdown(f" at `{str(revision)[:12]}`" if is_commit(revision) else "")


def digest(sha256: object) -> Markdown:
    """The beginning of a digest, which stands whole in the record."""
    known = isinstance(sha256, str) and re.fullmatch(r"[0-9a-f]{64}", sha256)
    return Markdown(f"`{str(sha256)[:12]}`" if known else "none recorded")


def small(value: object) -> str:
    """A small number in two digits."""
    return f"{value:.2g}" if is_finite(value) else NOT_KNOWN


def code(text: object) -> Markdown:
    """A text as code, in which nothing is markup."""
    return Markdown("`" + (clean(text).replace("`", "'") or " ") + "`")
