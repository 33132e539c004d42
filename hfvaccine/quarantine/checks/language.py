"""Whether a text is in the language its row declares, for as far as that can be told for sure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

_CODES = """
    aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en
    eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja
    jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb
    nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq
    sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
"""
ISO_639_1 = frozenset(_CODES.split())
"""The two-letter language codes; a code of three letters is taken as it is."""

_TOLD = """
    ar bg bn ca cs da de el en es et eu fa fi fr he hi hr hu id it ja ko lt lv nl no pl pt ro ru sk sl sv sw ta te th
    tr uk ur vi zh
"""
TOLD_APART = tuple(_TOLD.split())
"""The languages of which a text can be told to be in another one."""

# A text in one of these may well be taken for another of the same line.
_ALIKE = (
    "es ca pt gl ast an oc ext",
    "da no nb nn sv",
    "cs sk",
    "hr sr bs sh sl",
    "ru uk be bg mk",
    "id ms",
    "hi mr ne",
    "fa ur ps",
    "zh yue wuu",
)

_EVERYDAY = {
    "en": """
        the of and is to was for are with that by from have has had be it its this these those not at an their
        which who than you they were been can will would could should when while where how why but does did don
        doesn didn isn his her him he she we us our my your i there what if also people used make made makes never
        always only into over out up like because most many some every any other between during about after before
        first new years year time world said says get gets go goes went good called known two three american
        states often very use using
    """,
    "es": "el los las y una por su sus lo como más fue está pero también hay muy cuando desde entre sobre",
    "fr": "les des du et est une dans qui pour par sur aux ne pas il elle ce cette sont avec ou mais été leur",
    "de": "der die das und ist von zu den dem ein eine einer im mit für auf sich nicht als auch es wird werden sind",
    "pt": "o os do dos das em é um uma com não mais foi são ao pela pelo também mas ou seu sua",
    "it": "il gli di della è che sono nel più dei alla non per anche delle stato ha questo ma",
    "nl": "het een van en te dat voor met zijn niet aan er om ook door worden naar maar bij wordt",
}
_COMMON = {language: frozenset(words.split()) for language, words in _EVERYDAY.items()}

ENOUGH_WORDS = 5
"""A text of fewer words is not judged: names and loan words would decide."""
SURE = 0.8
"""How likely the other language must be."""
UNLIKELY = 0.05
"""How unlikely the declared one."""


def primary(tag: str) -> str:
    """The language of a BCP 47 tag, without script and region: "pt" of "pt-BR"."""
    return tag.split("-", 1)[0].lower()


def other_language(text: str, declared: str, words: Sequence[str] | None = None) -> str | None:
    """The language that a text is surely in, where that is not the declared one.

    Args:
        text: one or more sentences.
        declared: BCP 47 tag.
        words: the words of the text in lower case, where the caller has them already.

    Returns:
        A language code; None for a text in the declared language or one too much like it, for a text too short to
        say, and for a declared language that cannot be told from others.
    """
    language = primary(declared)
    if _reads_like(text.lower().split() if words is None else words, language):
        return None
    identifier = _identifier()
    if language not in identifier.nb_classes or _size(text) < ENOUGH_WORDS:
        return None
    likely = dict(identifier.rank(text))
    found = max(likely, key=likely.__getitem__)
    if found == language or likely[found] < SURE or likely[language] > UNLIKELY:
        return None
    return None if any({found, language} <= set(line.split()) for line in _ALIKE) else str(found)


def _reads_like(words: Sequence[str], language: str) -> bool:
    """Whether every tenth word is an everyday word of the language: a cheap yes before the costly question."""
    common = _COMMON.get(language, frozenset())
    return len(common.intersection(words)) * 10 >= min(len(words), 20) > 0


def _size(text: str) -> int:
    words = len(text.split())
    return words if text.isascii() else words + sum(char >= "\u0e00" for char in text) // 3


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(TOLD_APART))
    return identifier
