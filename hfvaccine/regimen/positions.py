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


def row_length(most: int, config: Any) -> int:
    """Tokens after which a row is cut: as many as are asked for, and no more than the model has room for.

    Args:
        most: what is asked for.
        config: of transformers.
    """
    room = positions(config)
    return most if room is None else min(most, room)
