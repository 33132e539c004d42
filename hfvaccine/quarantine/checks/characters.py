"""Text as it should be: markup, control characters, encodings and spaces, and how they are mended."""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from html.entities import html5

_GAP = re.compile(r" +[.,!](?!\s*\.)(?=[\s\"”]|$)|  +(?=(?:that|to|is|of|and|as|has|about|the|in)\b)|\b_{3,}")
_HANGING = "this that it is are was were be as a an the his her their its our no statement claim rating"
_LEFT_HANGING = frozenset(_HANGING.split())


def blanked(text: str) -> str | None:
    """The first place where a word was blanked out, with what stands around it."""
    if "  " in text or " ." in text or " ," in text or " !" in text or "___" in text:
        for gap in _GAP.finditer(text):
            before = (text[max(0, gap.start() - 20) : gap.start()].lower().split() or [""])[-1]
            if before in _LEFT_HANGING or before.endswith(("'s", "’s")) or "_" in gap.group():
                return (before + text[gap.start() : gap.end() + 15]).strip()
    return None


_SIMPLE_TAGS = {"b", "i", "em", "strong", "u", "span", "a", "font", "small", "p", "br", "div", "li", "ul", "ol", "hr"}
_BLOCKS = {"p", "br", "div", "li", "ul", "ol", "hr"}
_VOID = {"br", "hr"}
TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)(?:\s[^<>]*)?/?>")
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_CONTROLS = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f\u00ad\u202d\u202e\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_CONDITIONAL = re.compile("[\u061c\u200b-\u200f\u202a-\u202c\u2066-\u2069]")
_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u061b\u061d-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
_NO_SPACES = re.compile("[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff]")
_CP1252 = "\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
GARBLED = re.compile(
    f"[\x80-\x9f\ufffd\ue000-\uf8ff\U000f0000-\U0010ffff]|[ÂÃ][{_CP1252}]|[ÄÅ][\xa1-\xbf]|â€[{_CP1252}]?|ï»¿|ï¿½"
    f"|(?:[ÐÑ][{_CP1252}]){{2}}"
)
MAYBE_GARBLED = re.compile("[\x80-\x9f\ufffd\ue000-\uf8ff\U000f0000-\U0010ffffÂÃÄÅâïÐÑ]")
_BREAKS = "\t\n\r\x0b\x0c\x1c-\x1f\u1680\u2000-\u200a\u2028\u2029\u205f\u00a0\u202f"
_SPACES = re.compile(f"[{_BREAKS}][{_BREAKS} ]*| [{_BREAKS} ]+")


def without_html(text: str) -> str:
    """A text without HTML where it is plain what was meant, else as it is."""
    if "<" not in text and "&" not in text:
        return text
    plain = text
    while (unescaped := ENTITY.sub(_unescape, plain)) != plain:
        plain = unescaped
    if len(TAG.findall(plain)) > len(TAG.findall(text)):  # was it written about a tag, or with one?
        return text
    opened: Counter[str] = Counter()
    for slash, name in TAG.findall(plain):
        if name.lower() not in _SIMPLE_TAGS:
            return plain
        if name.lower() not in _VOID:
            opened[name.lower()] += -1 if slash else 1
    return plain if any(opened.values()) else TAG.sub(lambda tag: " " * (tag[2].lower() in _BLOCKS), plain)


def _unescape(entity: re.Match[str]) -> str:
    name = entity.group()[1:]
    char = html.unescape(entity.group()) if name.startswith("#") else html5.get(name, "")
    return char if char and not GARBLED.search(char) else entity.group()


def without_invisible(text: str) -> str:
    """A text without the characters that nobody sees, but for those that its script needs."""
    text = _CONTROLS.sub("", text)
    if text.isascii() or not _CONDITIONAL.search(text):
        return text
    right_to_left = _RIGHT_TO_LEFT.search(text) is not None

    def needed(mark: re.Match[str]) -> str:
        char, before = mark.group(), text[mark.start() - 1 : mark.start()]
        if char == "\u200b":
            keep = _NO_SPACES.match(before) is not None
        elif char in "\u200c\u200d":
            keep = before > "\u0590" and not "\u2000" <= before <= "\u206f"
        else:
            keep = right_to_left
        return char * keep

    return _CONDITIONAL.sub(needed, text)


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def single_spaced(text: str) -> str:
    """A text with single spaces, and none-breaking ones only where typography asks for them."""
    if " ".join(text.split()) == text or blanked(text):  # spaces that tell of a blanked word are not mended away
        return text

    def space(found: re.Match[str]) -> str:
        before, after = text[found.start() - 1 : found.start()], text[found.end() : found.end() + 1]
        typographic = before and after and (before.isdigit() or before == "«" or after.isdigit() or after in ":;!?»%")
        return found.group() if typographic and found.group() in ("\u00a0", "\u202f") else " "

    return _SPACES.sub(space, text).strip(" \u3000")


_MENDS = {
    "html": without_html,
    "control-characters": without_invisible,
    "decomposed-letters": _composed,
    "white-space": single_spaced,
}


def mend_text(text: str) -> tuple[str, set[str]]:
    """A text with all mended that changes no word, and the rules that it no longer breaks."""
    rules: set[str] = set()
    while True:
        before = text
        for rule, mend in _MENDS.items():
            mended = mend(text)
            if mended != text:
                rules.add(rule)
                text = mended
        if text == before:
            return text, rules
