"""Values as the cards of adapters show them: links, revisions, digests and texts that are no markup."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hfvaccine.text import NOT_KNOWN, Markdown, clean, is_commit, is_finite, is_hub_id, number, percent, plain
from hfvaccine.validation.showing.sentences import measured


def common(record: Mapping[str, Any], repo_id: str | None) -> dict[str, Any]:
    """What the card of every adapter is filled with, and how its values are shown.

    Args:
        record: of the adapter.
        repo_id: the model repo it is published as; None for a folder.
    """
    base, training = record["base"], record["training"]
    merged = training.get("merged")
    return {
        "merged": merged,
        "kind": "model" if merged else "adapter",
        "base": base,
        "base_to_load": Markdown(base["id"] if is_hub_id(base.get("id"), namespace_needed=False) else "PATH/TO/BASE"),
        "base_revision": Markdown(base["revision"] if is_commit(base.get("revision")) else ""),
        "repo": Markdown(repo_id if is_hub_id(repo_id) else "."),
        "plan": record["plan"],
        "inoculation": record.get("inoculation"),
        "training": training,
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(record.get("versions", {}).items())),
        "made": f"hfvaccine {record.get('hfvaccine')}, {record.get('finished_at')}",
        "link": link,
        "at": at,
        "digest": digest,
        "code": code,
        "small": small,
        "number": number,
        "percent": percent,
        "is_finite": is_finite,
    }


def rows_link(recorded: Mapping[str, Any]) -> str:
    """A mix or data as a link: a folder can be called like a repo, and what came from a Hub has a revision."""
    return link(recorded.get("id"), "datasets/") if recorded.get("revision") else local_name(recorded.get("id"))


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


def criterion(outcome: Mapping[str, Any]) -> Markdown:
    """A line: what a criterion asked, and what came of it."""
    verdict = str(outcome.get("verdict"))
    shown = plain(verdict if verdict == "passed" else verdict.upper())
    needed = plain(outcome.get("threshold"))
    return Markdown(f"**{shown}** {plain(outcome.get('name'))}: {measured(outcome)}, needs {needed}.")
