"""Where something comes from: a file, a folder, or a Hub repo at a revision."""

from __future__ import annotations

from pathlib import Path

from hfvaccine.errors import UsageError
from hfvaccine.sources.naming import file_format

PINNED = ("base", "dose", "mix")
"""What may come from a Hub at a revision."""


def on_hub(what: str, source: str) -> bool:
    """Whether a base, dose or mix is fetched from a Hub, and so has revisions.

    Args:
        what: one of `PINNED`.
        source: as in `Options`.
    """
    if what == "base":
        return not (Path(source).exists() or source.endswith(".gguf"))
    if what == "dose":
        return source != "starter" and not Path(source).exists() and source.count("/") == 1
    return source != "starter" and file_format(Path(source)) is None


def check_pins(**pins: tuple[str, str | None]) -> None:
    """Refuse a revision of what has none.

    Args:
        pins: source and revision, by what it is.

    Raises:
        UsageError: naming the option.
    """
    for what, (source, revision) in pins.items():
        if revision is not None and not on_hub(what, source):
            raise UsageError(
                f"{what}_revision is {revision!r}, and the {what} {source!r} is on no Hub.",
                f"Leave it out: only a {what} with a Hub id has revisions.",
            )
