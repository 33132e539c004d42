"""Words of a text: what it repeats of another, how near two texts are, what it denies."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import regex  # its \w has the vowel signs that belong to a word, and which `re` cuts it at

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
"""Scripts without spaces between words; each sign, with what stands on it, is taken for one."""
# Signs that can be all the difference between a claim and its twin ("-5", "2 > 1") count as words.
_SIGNS = r"[<>=+%$€£]|(?<!\w)[-−](?=\d)"
_SIGN = re.compile(r"[<>=+%$-]")
_EACH = rf"(?=\w)[{_UNSPACED}]\p{{M}}*|[^\W{_UNSPACED}]+"
_WORD, _EACH_WORD = regex.compile(r"\w+"), regex.compile(_EACH)  # the first is quicker, and the same with spaces
_WORD_OR_SIGN, _EACH_WORD_OR_SIGN = regex.compile(rf"\w+|{_SIGNS}"), regex.compile(rf"{_EACH}|{_SIGNS}")
_HAS_UNSPACED = regex.compile(f"[{_UNSPACED}]")
_TOKEN = regex.compile(rf"[{_UNSPACED}]\p{{M}}*|[^\s{_UNSPACED}]+")
# What joins or marks letters and is none; but a space that nobody sees (U+200B) parts words.
_FORMAT = regex.compile(r"[\p{Cf}--\u200b]", regex.V1)
_TATWEEL = "\u0640"
"""Stretches an Arabic word and says nothing."""
_SPACE_OUT = "".join(chr(code) if chr(code).isalnum() or chr(code) == "_" else " " for code in range(128))

_LITTLE = """
    a an the of to in on at by for from with as is are was were be been being am has have had do does did and or
    that which who whom whose it its this these those there their his her he she they them him you your we our i
    my me will would can could may might shall should into than then so s t re ve ll d m
    really actually indeed truly definitely certainly simply very also too
"""
FUNCTION_WORDS = frozenset(_LITTLE.split())

_TURNING = """
    not no never none nobody nothing nor neither without cannot cant dont doesnt didnt isnt arent wasnt werent
    wont nt t only just but however rather instead unlike although though despite contrary whereas while yet
    except unless false untrue wrong incorrect inaccurate myth misconception hoax rumor rumour fake fiction
    fictional fabricated satire lie fails failed fail lacks lack lacked more less fewer most least over under
    almost nearly about roughly half some few many several rarely seldom hardly scarcely barely sometimes other
    another different before after if would could might may supposedly allegedly falsely wrongly mistakenly
    impossible unlikely unable avoid banned illegal prohibited refuses refused denies denied stopped ended against
    opposite
"""
_TURNS = frozenset(_TURNING.split())


def plain_words(text: str) -> list[str]:
    """The words of a text in order, whatever their case; each sign of a script without spaces is one."""
    if text.isascii():
        return text.lower().translate(_SPACE_OUT).split()  # the same, at a third of the time
    text = _compared(text)
    found: list[str] = (_EACH_WORD if _HAS_UNSPACED.search(text) else _WORD).findall(text)
    return found


def words_and_signs(text: str) -> list[str]:
    """The words of a text, as `plain_words` has them, and the signs that can turn its sense round."""
    if text.isascii() and not _SIGN.search(text):
        return text.lower().translate(_SPACE_OUT).split()
    text = _compared(text)
    found: list[str] = (_EACH_WORD_OR_SIGN if _HAS_UNSPACED.search(text) else _WORD_OR_SIGN).findall(text)
    return found


def tokens(text: str) -> list[str]:
    """What white space parts, as it stands; of a script without spaces each sign."""
    found: list[str] = _TOKEN.findall(text)
    return found


def _compared(text: str) -> str:
    """A text in the one form that all its spellings have."""
    if not text.isprintable():
        text = _FORMAT.sub("", text)
    text = unicodedata.normalize("NFKC", text).replace(_TATWEEL, "")
    return unicodedata.normalize("NFKC", text.casefold())  # folding a Greek letter may take its accents apart


def contains(whole: Sequence[str], part: Sequence[str]) -> bool:
    """Whether all words of `part` stand in `whole`, one right after the other."""
    return bool(part) and f" {' '.join(part)} " in f" {' '.join(whole)} "


def likeness(one: Sequence[str], other: Sequence[str]) -> float:
    """Share of their different words that two texts have in common, in any order, from 0 to 1 (Dice)."""
    ones, others = set(one), set(other)
    return 2 * len(ones & others) / (len(ones) + len(others)) if ones or others else 1.0


def restates(text: Sequence[str], claim: Sequence[str]) -> bool:
    """Whether an English text says again what the claim says, in nearly its words, and turns none of it round.

    Every word of the claim that bears meaning comes again in the same order, with at most one more before or after,
    and the text has no word that negates, limits or contrasts but those that the claim has too.
    """
    wanted = [word for word in claim if word not in FUNCTION_WORDS]
    if len(wanted) < 3 or not set(wanted) <= set(text):
        return False
    told = [word for word in text if word not in FUNCTION_WORDS]
    return len(told) <= len(wanted) + 1 and _TURNS.isdisjoint(set(text).difference(claim)) and contains(told, wanted)
