"""What fact-checkers call false and true, in the main languages; anything between is unclear."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

FALSE, PANTS_ON_FIRE, TRUE, UNCLEAR = "false", "pants-on-fire", "true", "unclear"

TAKEN = (FALSE, PANTS_ON_FIRE)
"""The verdicts of rows that are falsehoods."""

_NAMES = {
    PANTS_ON_FIRE: "pants on fire, pants fire, pants on fire false",
    FALSE: """
        false, not true, untrue, incorrect, wrong, inaccurate, fake, fake news, hoax, fabricated, debunked, refuted,
        refutes, refute, contradict, contradicts, contradicted, totally false, completely false, entirely false,
        four pinocchios, 4 pinocchios,
        falso, falsa, es falso, es falsa, totalmente falso, bulo, mentira, e falso, noticia falsa, notizia falsa,
        bufala, faux, fausse, c est faux, totalement faux, infox,
        falsch, frei erfunden, erfunden, unwahr, komplett falsch, vollig falsch,
        onwaar, niet waar, vals, falskt, falsk, usant, vaarin, fals, fałszywe, fałsz, nieprawda, nepravda, hamis,
        ложь, неправда, фейк, ложно, неверно, брехня, yanlış, asılsız, salah, hoaks,
        ψευδες, ψευδης, כוזב, שקר, خطأ, خاطئ, زائف, كاذب, كذب, مفبرك, झूठ, झूठा, गलत, फर्जी,
        错误, 虚假, 谣言, 不实, 假, 錯誤, 虛假, 謠言, 不實, 誤り, 虚偽, デマ, 거짓, 사실 아님, 전혀 사실 아님
    """,
    TRUE: """
        true, correct, accurate, supported, supports, support, confirmed, fact, completely true, geppetto checkmark,
        verdadero, verdadera, verdad, cierto, es verdad, es cierto, correcto, verdadeiro, verdade, e verdade, vero,
        verita, vrai, vraie, c est vrai, exact, wahr, richtig, stimmt, korrekt, waar, sant, sand, totta, adevarat,
        prawda, pravda, igaz, правда, верно, истина, dogru, benar, fakta, αληθες, αληθης, אמת, נכון, صحيح, حقيقي,
        सच, सही, सत्य, 正确, 真实, 属实, 事实, 正確, 真實, 屬實, 事實, 事実, 真実, 사실, 참
    """,
}


def of_name(name: str) -> str:
    """What a rating's name says: `FALSE`, `PANTS_ON_FIRE`, `TRUE` or `UNCLEAR`.

    A name that goes on after a full stop, a colon, a dash or a bracket ("False: no such law was passed") counts by
    what stands before it.
    """
    return _of_name(name[:200])


@lru_cache(maxsize=4096)
def _of_name(name: str) -> str:
    known = _VERDICTS.get(plain(name))
    return known or _VERDICTS.get(plain(re.split(r"[.:!(–—]|\s-\s", name, maxsplit=1)[0]), UNCLEAR)


def plain(name: str) -> str:
    """A name without case, accents and punctuation."""
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    text = "".join(" " if unicodedata.category(c)[0] in "PSZC" else c for c in text)
    text = "".join(c for c in text if unicodedata.category(c) != "Mn" or c > "\u036f")
    return " ".join(unicodedata.normalize("NFC", text).split())


_VERDICTS = {plain(name): verdict for verdict, names in _NAMES.items() for name in names.split(",")}
