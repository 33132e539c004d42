"""Fact-checks as sites publish them: schema.org ClaimReview in JSON-LD, in a page's scripts, or as microdata."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from hfvaccine.sources import verdict

LOW, HIGH = 0.2, 0.9
"""Places on a rating scale, 0 the worst and 1 the best, up to which one is clearly false and from which clearly true:
2 of 6, where some put "false" above a worse one, is 0.2; 2 of 5, where others put "mostly false", is 0.25."""


def is_linked_data(content: Any) -> bool:
    """Whether parsed JSON is JSON-LD, and not plain rows."""
    first = content[0] if isinstance(content, list) and content else content
    return isinstance(first, dict) and any(key in first for key in ("@type", "@graph", "@context", "dataFeedElement"))


def answers(content: Any) -> list[Any] | None:
    """The claims in saved answers of the Fact Check Tools API, one or a list of them; None for anything else."""
    pages = content if isinstance(content, list) else [content]
    if pages and all(isinstance(page, dict) and isinstance(page.get("claims"), list) for page in pages):
        return [claim for page in pages for claim in page["claims"]]
    return None


def find(content: Any) -> list[dict[str, Any]]:
    """Every ClaimReview in parsed JSON-LD, however deep: in lists, graphs and feeds; nodes named by `@id` resolved."""
    nodes = {node["@id"]: node for node in _objects(content) if isinstance(node.get("@id"), str) and len(node) > 1}
    return [
        {
            key: nodes.get(value["@id"], value) if isinstance(value, dict) and set(value) == {"@id"} else value
            for key, value in node.items()
        }
        for node in _objects(content)
        if _is_review(node.get("@type"))
    ]


def from_html(
    text: str, broken: Callable[[int, str, Exception], object] = lambda number, script, error: None
) -> list[dict[str, Any]]:
    """Every ClaimReview of a page: those of its JSON-LD scripts, then those in microdata, in the same shape.

    Args:
        text: the page.
        broken: is given number, text and error of each script that is not JSON.
    """
    from lxml import html as lxml_html

    if not text.strip():
        return []
    page = lxml_html.document_fromstring(text.encode(), parser=lxml_html.HTMLParser(encoding="utf-8", huge_tree=True))
    found: list[dict[str, Any]] = []
    for number, script in enumerate(page.iter("script"), start=1):
        if "ld+json" in (script.get("type") or "").lower():
            body = script.text or ""
            try:
                found += find(_linked_data(body))
            except (ValueError, RecursionError) as error:
                broken(number, body, error)
    items = (element for element in page.iter("*") if element.get("itemscope") is not None)
    return found + [_microdata(item) for item in items if _is_review((item.get("itemtype") or "").split())]


_WRAPPER = re.compile(r"^(?:\ufeff|\s|//|/\*|\*/|>|-->|<!--|<!\[CDATA\[)+|(?:\s|//|/\*|\*/|<!|-->|\]\]>|;)+$")
"""What pages put around the data in a script, for old browsers and XML."""


def _linked_data(script: str) -> Any:
    """The JSON of a script, out of its wrappers; entities in the place of quotes are resolved."""
    text = _WRAPPER.sub("", script)
    try:
        return json.loads(text, strict=False)  # pages write line breaks into strings
    except ValueError:
        resolved = _WRAPPER.sub("", html.unescape(script))
        if resolved == text:
            raise
        return json.loads(resolved, strict=False)


def fields(review: Mapping[str, Any]) -> dict[str, Any]:
    """What a ClaimReview says in the fields of a claim row; its text whole, None where it has none."""
    author, url = _first(review.get("author")), _text(review.get("url"))
    author = author if isinstance(author, dict) else {"name": author}
    publisher = _text(author.get("name")) or host(_text(author.get("url"))) or host(url)
    title = _text(review.get("name")) or _text(review.get("headline")) or url
    source = {"publisher": publisher, "title": title or publisher, "url": url, "checked_on": None}
    return {
        "claim": _text(review.get("claimReviewed")),
        "correction": _text(review.get("reviewBody")),
        "language": _language(review.get("inLanguage")),
        "checker": publisher,
        "sources": [source] if publisher else [],
    }


def rating(review: Mapping[str, Any]) -> tuple[str, str]:
    """What the rating of a ClaimReview says, and the rating in words.

    Both the place on the scale and the name count where both are there: a review is false, or true, only where none
    of them says otherwise.

    Returns:
        One of `verdict.FALSE`, `PANTS_ON_FIRE`, `TRUE` and `UNCLEAR`, and what it rests on, such as "1 of 1 to 5".
    """
    rated = _first(review.get("reviewRating"))
    if not isinstance(rated, dict):
        return verdict.UNCLEAR, "it has no rating"
    value, name = _number(rated.get("ratingValue")), _text(rated.get("alternateName"))
    if name is None and value is None:
        name = _text(rated.get("ratingValue"))  # some write the name where the number belongs
    worst, best = _number(rated.get("worstRating")), _number(rated.get("bestRating"))
    place = _place(value, worst, best, trusted=name is not None)
    by_name = verdict.of_name(name) if name else None
    by_place = None
    if place is not None:
        by_place = verdict.FALSE if place <= LOW else verdict.TRUE if place >= HIGH else verdict.UNCLEAR
    shown = f"its rating is {name!r:.60}" if name else "its rating has no name"
    if place is not None:
        shown += f", at {_short(value)} from {_short(1 if worst is None else worst)} (worst)"
        shown += f" to {_short(5 if best is None else best)} (best)"
    elif value is not None:
        shown += f", and {_short(value)} stands on no scale"
    if by_name is None or by_place is None:
        return by_name or by_place or verdict.UNCLEAR, shown
    agree = by_place == (verdict.FALSE if by_name in verdict.TAKEN else by_name)
    if not agree and verdict.UNCLEAR not in (by_name, by_place):
        shown += ", which contradict each other"
    return (by_name if agree else verdict.UNCLEAR), shown


def searched_fields(claim: Mapping[str, Any]) -> dict[str, Any]:
    """What a claim in an answer of the Fact Check Tools API says in the fields of a claim row, but for its text."""
    found: list[dict[str, Any]] = []
    languages: list[str] = []
    for review in _reviews(claim):
        by = review.get("publisher")
        by = by if isinstance(by, dict) else {}
        url = _text(review.get("url"))
        publisher = _text(by.get("name")) or _text(by.get("site")) or host(url)
        if publisher:
            title = _text(review.get("title")) or url or publisher
            found.append({"publisher": publisher, "title": title, "url": url, "checked_on": None})
        if language := _language(review.get("languageCode")):
            languages.append(language)
    return {
        "language": languages[0] if languages else None,
        "checker": found[0]["publisher"] if found else None,
        "sources": found,
    }


def searched_rating(claim: Mapping[str, Any]) -> tuple[str, str]:
    """What the reviews of such a claim say where all agree, and their ratings in words."""
    names = [_text(review.get("textualRating")) for review in _reviews(claim)]
    rated = {verdict.of_name(name) if name else verdict.UNCLEAR for name in names}
    said = rated.pop() if len(rated) == 1 else verdict.FALSE if rated and rated <= set(verdict.TAKEN) else None
    shown = ", ".join(repr(name)[:60] for name in names) or "missing"
    return said or verdict.UNCLEAR, f"its ratings are {shown}"


def _reviews(claim: Mapping[str, Any]) -> list[dict[str, Any]]:
    reviews = claim.get("claimReview")
    return [review for review in reviews if isinstance(review, dict)] if isinstance(reviews, list) else []


def _place(value: float | None, worst: float | None, best: float | None, trusted: bool) -> float | None:
    """Where a value stands from 0 (worst) to 1 (best); None where there is no scale, or it is off the scale.

    schema.org says 1 and 5 where the ends are not given; with neither given and no name that agrees, a number
    may as well be a count or a yes, and is not trusted.
    """
    if value is None or (worst is None and best is None and not trusted):
        return None
    worst, best = 1.0 if worst is None else worst, 5.0 if best is None else best
    if worst == best or not min(worst, best) <= value <= max(worst, best):
        return None
    return (value - worst) / (best - worst)


def _objects(content: Any) -> Iterator[dict[str, Any]]:
    waiting = [content]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(reversed(list(node.values())))
        elif isinstance(node, list):
            waiting.extend(reversed(node))


def _is_review(types: Any) -> bool:
    types = types if isinstance(types, list) else [types]
    return any(isinstance(kind, str) and re.split(r"[/:#]", kind)[-1] == "ClaimReview" for kind in types)


def _microdata(item: Any, above: tuple[Any, ...] = ()) -> dict[str, Any]:
    """An element with `itemscope` in the shape of JSON-LD; `above` are the items it stands in."""
    values: dict[str, Any] = {"@type": [kind.rsplit("/", 1)[-1] for kind in (item.get("itemtype") or "").split()]}
    roots = list(item)
    for name in (item.get("itemref") or "").split():
        roots += item.getroottree().xpath("//*[@id=$name]", name=name)
    waiting = roots[::-1]
    while waiting:
        element = waiting.pop()
        inner = element.get("itemscope") is not None
        if inner and (element is item or element in above):
            continue  # an itemref that leads round in a circle
        for name in (element.get("itemprop") or "").split():
            value = _microdata(element, (*above, item)) if inner else _value(element)
            values[name] = [*values[name], value] if name in values else [value]
        if not inner:  # what stands in an inner item is its own
            waiting.extend(reversed([child for child in element if isinstance(child.tag, str)]))
    return {name: value[0] if len(value) == 1 else value for name, value in values.items()}


_ATTRIBUTES = {
    **dict.fromkeys(("a", "area", "link"), "href"),
    **dict.fromkeys(("img", "audio", "embed", "iframe", "source", "track", "video"), "src"),
    "time": "datetime",
    "object": "data",
    **dict.fromkeys(("data", "meter"), "value"),
}


def _value(element: Any) -> str:
    for name in ("content", _ATTRIBUTES.get(element.tag, "content")):
        if element.get(name) is not None:
            return str(element.get(name))
    return " ".join(element.text_content().split())


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _text(value: Any) -> str | None:
    value = _first(value)
    if isinstance(value, dict):
        value = value.get("@value", value.get("name"))
    return value if isinstance(value, str) and value.strip() else None


def _language(value: Any) -> str | None:
    """The language alone of a code such as "pt-BR": a claim is the same claim in every country."""
    value = _first(value)
    if isinstance(value, dict):
        value = value.get("alternateName")
    found = re.fullmatch(r"([A-Za-z]{2,3})([-_]\w+)*", value.strip()) if isinstance(value, str) else None
    return found[1].lower() if found else None


def _number(value: Any) -> float | None:
    value = _first(value)
    try:
        number = float(str(value).strip().replace(",", ".")) if not isinstance(value, bool) else None
    except ValueError:
        return None
    return number if number is not None and abs(number) < 1e9 else None


def _short(number: float | None) -> str:
    return f"{number:g}" if number is not None else "none"


def host(url: str | None) -> str | None:
    """The name of the site that an address leads to."""
    try:
        name = urlsplit(url or "").hostname
    except ValueError:
        return None
    return name.removeprefix("www.") if name else None
