"""Whether a question is held out: which prompts it holds, and which training row asks it already. Pure.

Questions that share a pattern ("What is 2 + 3?", "What is 2 + 4?") are different ones. So two texts ask the same only
where the words that bear meaning are those of the other, in the same order, or the one stands in the other whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from hfvaccine.claims.similar import ALIKE, GRAM, overlapping
from hfvaccine.claims.wording import FUNCTION_WORDS, plain_words

MENTION = 3
"""Words from which on a prompt is told wherever it stands; a shorter one has to be a sentence of its own."""
_ENDS = re.compile(r"[.!?;:\n。！？]+")
_SIGNS = re.compile(r"[+*×÷^<>=%$€£#@&]|[-−–/](?=\s*\d)")


@dataclass(frozen=True)
class Said:
    """What a text says, whatever its case, spaces and punctuation.

    Args:
        text: as it stands.
    """

    text: str

    @cached_property
    def words(self) -> list[str]:
        return plain_words(self.text)

    @cached_property
    def spaced(self) -> str:
        """All words, each between spaces."""
        return f" {' '.join(self.words)} "

    @cached_property
    def known(self) -> frozenset[str]:
        return frozenset(self.words)

    @cached_property
    def told(self) -> tuple[list[str], list[str]]:
        """Numbers and signs, which make another question of the same words."""
        return [word for word in self.words if any(map(str.isdigit, word))], _SIGNS.findall(self.text)

    @cached_property
    def bearing(self) -> list[str]:
        """The words that bear meaning."""
        return [word for word in self.words if word not in FUNCTION_WORDS]

    @cached_property
    def key(self) -> tuple[str, ...]:
        """What it has in common with texts that say the very same."""
        return (*self.words, "", *self.told[1]) if self.words else (self.text.strip(),)

    def has(self, part: Said) -> bool:
        """Whether some of its sentences are those of another text."""
        if part.spaced not in self.spaced:
            return False
        sentences = [words for sentence in _ENDS.split(self.text) if (words := plain_words(sentence))]
        for first in range(len(sentences)):
            run: list[str] = []
            for sentence in sentences[first:]:
                run += sentence
                if len(run) >= len(part.words):
                    break
            if run == part.words:
                return _in_order(part.told[1], self.told[1])
        return False


def holds(text: str, prompt: str) -> bool:
    """Whether a prompt stands in a text, whatever its case, spaces and punctuation.

    Args:
        text: a question, or a turn.
        prompt: one of fewer than `MENTION` words has to be a sentence of its own.

    >>> holds("What is rain? you ALWAYS lie", "You always lie."), holds("Who lies?", "Lies.")
    (True, False)
    """
    whole, part = Said(text), Said(prompt)
    if len(part.words) >= MENTION:
        return part.spaced in whole.spaced
    return whole.has(part) if part.words else prompt.strip() in text


def asked_again(questions: Sequence[str], rows: Sequence[str]) -> dict[int, int]:
    """Which questions a row asks already.

    Args:
        questions: hundreds, or thousands.
        rows: what training rows ask, any number of texts.

    Returns:
        By the place of a question, that of the first row that asks it.
    """
    asked, found = [Said(question) for question in questions], dict[int, int]()
    by_key: dict[tuple[str, ...], list[int]] = {}
    for place, one in enumerate(asked):
        by_key.setdefault(one.key, []).append(place)
    near = overlapping(rows, questions)
    for number, text in enumerate(rows):
        row = Said(text)
        for place in by_key.get(row.key, ()):
            found.setdefault(place, number)
        if near[number] >= 0:
            for place, one in enumerate(asked):
                if place not in found and _same(one, row):
                    found[place] = number
    return dict(sorted(found.items()))


def _same(one: Said, other: Said) -> bool:
    """Whether two texts ask the same, but for words that say little, or the shorter of them is in the other whole."""
    less, more = (one, other) if len(one.words) < len(other.words) else (other, one)
    if len(less.words) >= GRAM and more.has(less):
        return True
    if one.told != other.told or len(one.known & other.known) < ALIKE * len(one.known | other.known):
        return False
    less, more = sorted((one, other), key=lambda said: len(said.bearing))
    enough = less.bearing and len(less.bearing) >= ALIKE * len(more.bearing)
    return bool(enough) and _in_order(less.bearing, more.bearing)


def _in_order(part: Sequence[str], whole: Sequence[str]) -> bool:
    """Whether a part comes again in the whole, in its order, whatever stands between."""
    rest = iter(whole)
    return all(word in rest for word in part)
