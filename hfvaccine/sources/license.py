"""The licences that something comes under, as a card or its rows name them. What nobody names is not guessed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from huggingface_hub import HfApi

PATIENCE = 8
"""Seconds to wait for a Hub's first answer."""
UNKNOWN = ("other", "unknown")
"""What the Hub has in place of a licence."""


def card_of(api: HfApi, repo_id: str, kind: str = "model", revision: str | None = None) -> dict[str, Any]:
    """The metadata of a card on a Hub; empty where it has none, or nobody can tell.

    Args:
        api: of the Hub.
        repo_id: the repo.
        kind: "model" or "dataset".
        revision: branch, tag or commit; the newest by default.
    """
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        info = api.repo_info(repo_id, repo_type=kind, revision=revision, timeout=PATIENCE)
    except (HTTPError, OSError, ValueError):
        return {}
    card = getattr(info, "card_data", None)
    return dict(card.to_dict()) if card else {}


def licenses_in(card: Mapping[str, Any]) -> tuple[str, ...]:
    """The licences that a card's metadata name: by the Hub's id, or where it has none for it by its name."""
    named = card.get("license")
    return _known(
        card.get("license_name") if one == "other" else one for one in (named if isinstance(named, list) else [named])
    )


def licenses_of(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The licences that rows name in a column `license`."""
    return tuple(sorted(set(_known(row.get("license") for row in rows))))


def _known(names: Iterable[object]) -> tuple[str, ...]:
    found = (name.strip() for name in names if isinstance(name, str))
    return tuple(name for name in found if name and name.casefold() not in UNKNOWN)
