"""Where something comes from: what is packaged, a file, a folder, or a Hub repo at a revision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hfvaccine.errors import UsageError
from hfvaccine.sources.naming import file_format
from hfvaccine.text import is_hub_id

STARTER = "starter"
"""What the packaged dose and the packaged mix are called."""

PINNED = ("base", "dose", "mix")
"""What a run pins to a revision where it comes from a Hub."""


@dataclass(frozen=True)
class Source:
    """Where a base, dose, mix or adapter comes from.

    Args:
        name: "starter", a file, a folder, or a Hub id.
        revision: branch, tag or commit of a Hub repo; the newest by default.
        on_hub: whether it is fetched from a Hub, which alone has revisions.
    """

    name: str
    revision: str | None = None
    on_hub: bool = False

    @classmethod
    def of(cls, what: str, given: str, revision: str | None = None) -> Source:
        """What somebody means who gives "starter", a file, a folder, a Hub id or `ID@REVISION`.

        Args:
            what: "base", "dose", "mix" or "adapter".
            given: the text; where it names something on this machine, that is meant, whatever it looks like.
            revision: of a Hub repo, where the text does not name it.

        Raises:
            UsageError: for an empty text, two revisions, or one of what is on no Hub.
        """
        if not given:  # the path of which would be the current folder
            raise UsageError(f"The {what} is named by an empty text.", "Give a file, a folder or a Hub id.")
        option = f"{what}_revision" if what in PINNED else "--revision"
        packaged = what in ("dose", "mix") and given == STARTER
        # A mix is never a folder, so one of its name does not stand in its way.
        here = file_format(Path(given)) is not None if what == "mix" else Path(given).exists()
        if not (packaged or here or (what == "base" and given.endswith(".gguf"))):
            repo, at = at_revision(given, revision, option)
            if is_hub_id(repo, namespace_needed=what in ("dose", "adapter")):
                return cls(repo, at, on_hub=True)
        if revision is not None:
            raise UsageError(
                f"{option} is {revision!r}, and the {what} {given!r} is on no Hub: it has no revisions.",
                "Leave it out.",
            )
        return cls(given)


def at_revision(given: str, revision: str | None = None, option: str = "--revision") -> tuple[str, str | None]:
    """The repo and the revision of `ID@REVISION`; of any other text, the text itself.

    Args:
        given: the text.
        revision: what was given as the revision besides.
        option: with which that was given.

    Raises:
        UsageError: where both name a revision.
    """
    repo, _, named = given.partition("@")
    if not (named and is_hub_id(repo, namespace_needed=False)):
        return given, revision
    if revision is not None:
        raise UsageError(f"{given} names a revision, and so does {option}.", "Give one of them.")
    return repo, named


def with_revision(name: str, revision: str | None) -> str:
    """The text that `at_revision` reads: `ID@REVISION`, or the name alone of what has no revision."""
    return f"{name}@{revision}" if revision else name
