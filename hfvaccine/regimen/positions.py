"""How many tokens a model has room for in one row."""

from __future__ import annotations

from typing import Any


def positions(config: Any) -> int | None:
    """The most tokens of a row, None where a model has no such number.

    Args:
        config: of transformers.
    """
    most = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(most) if most and most > 0 else None
