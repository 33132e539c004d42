"""Texts for people: values as a page shows them, and templates that are filled with them.

Every value a card's template inserts is neutralised unless the renderer itself built it
as Markdown (`Markdown`), so that a claim's domain, a contact or a gate's reason
can neither break a table nor bring HTML or a link into a public page.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    from jinja2 import Environment

MAX_LENGTH = 500
NOT_KNOWN = "–"
JOINER = "\u2060"
"""A character that nobody sees and at which no line breaks."""

PAPERS = (("Model Immunization", "2505.17870"), ("Inoculation Prompting", "2510.04340"))
"""Title and arXiv id of the two papers that every card cites."""


class Markdown(str):
    """Markdown that a renderer built itself from neutralised parts."""


def clean(value: object) -> str:
    """A value as one line: no character that nobody sees or that XML forbids, no line breaks, not endless."""
    visible = "".join(
        " " if character.isspace() else character
        for character in str(value)
        if character.isspace()
        or (unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co") and character not in "\ufffe\uffff")
    )
    line = " ".join(visible.split())
    return line if len(line) <= MAX_LENGTH else line[: MAX_LENGTH - 1] + "…"


def plain(value: object) -> str:
    """A value that a Markdown page shows as it is: nothing in it is markup, and nothing becomes a link."""
    if isinstance(value, Markdown):
        return value
    if value is None or value == "":
        return NOT_KNOWN
    text = clean(value).replace("&", "&amp;")
    for character in "<>|`[]*~\\{}$":
        text = text.replace(character, {"<": "&lt;", ">": "&gt;"}.get(character, f"&#{ord(character)};"))
    # An underscore inside a word is literal in Markdown, at its edge it is emphasis.
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", "&#95;", text)
    # Hubs make links of addresses after entities were resolved; only a character in between keeps them from it.
    text = text.replace("://", f":{JOINER}//").replace("@", f"@{JOINER}")
    return re.sub(r"(?i)(www)\.", rf"\1{JOINER}.", text)


def number(value: object) -> str:
    """A measured value for a table: three decimals, whole numbers with thousands separated."""
    if not is_finite(value):
        return NOT_KNOWN
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def with_interval(value: object, interval: object, places: int = 2, sign: bool = False) -> Markdown:
    """A measured value followed by its interval, where it has one."""

    def shown(one: float) -> str:
        return f"{float(one):{'+' if sign else ''}.{places}f}"

    if not is_finite(value):
        return Markdown(NOT_KNOWN)
    if not is_interval(interval) or interval[0] == interval[1]:
        return Markdown(shown(value))
    return Markdown(f"{shown(value)} [{shown(interval[0])}, {shown(interval[1])}]")


def percent(share: object) -> str:
    """A share of tokens as a percentage."""
    return f"{100 * float(share):.4g} %" if is_finite(share) else NOT_KNOWN


def is_finite(value: object) -> TypeGuard[float]:
    """Whether a value is a number that people or a card's metadata can be given."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_interval(interval: object) -> TypeGuard[Sequence[float]]:
    """Whether a value is a pair of finite numbers."""
    return isinstance(interval, list | tuple) and len(interval) == 2 and all(map(is_finite, interval))


def as_option(name: str) -> str:
    """What the command line calls an option."""
    return f"--{name.replace('_', '-')}"


def is_hub_id(name: object, namespace_needed: bool = True) -> bool:
    """Whether a name has the form of a Hub repo id, `namespace/name`, or only `name` where that is allowed."""
    part = r"\w(?:[\w.-]{0,94}\w)?"
    pattern = rf"{part}/{part}" if namespace_needed else rf"(?:{part}/)?{part}"
    return isinstance(name, str) and re.fullmatch(pattern, name, re.ASCII) is not None and ".." not in name


def is_commit(revision: object) -> bool:
    """Whether a revision is a full commit id, which cannot move."""
    return isinstance(revision, str) and re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def languages(tags: Iterable[object]) -> list[str] | None:
    """The languages behind language tags, as metadata names them; None where none is known."""
    primary = {str(tag).split("-")[0].lower() for tag in tags}
    return sorted(language for language in primary if re.fullmatch(r"[a-z]{2,3}", language)) or None


def fill(package: str, template: str, values: Mapping[str, Any]) -> str:
    """Render a packaged Markdown template, neutralising every value it inserts.

    Args:
        package: the package that ships the template.
        template: its file name.
        values: what the template may insert; a name it lacks is an error, not a gap.

    Returns:
        The page, ending in one line break.
    """
    page = templates(package, plain, escape=False).get_template(template).render(values)
    return re.sub(r"\n{3,}", "\n\n", page).rstrip() + "\n"


def templates(
    package: str, shown: Callable[[Any], Any] | None = None, *, escape: bool = True, beside: str | None = None
) -> Environment:
    """The templates that a package ships. What one inserts and nobody gave is an error, not a gap.

    Args:
        package: the package, or a folder of it with a slash.
        beside: another package, of whose templates its own may include or import some.
        shown: what every value goes through before it is inserted.
        escape: whether values are escaped for HTML; else `shown` has to neutralise them.
    """
    import jinja2

    places = (place.partition("/") for place in (package, beside) if place is not None)
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name, folder) for name, _, folder in places]),
        autoescape=escape,
        finalize=shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def few(names: Sequence[str], most: int = 5) -> str:
    """The first of many names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
