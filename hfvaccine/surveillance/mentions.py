"""Claims found in what people and models write: inside longer texts, in other case and punctuation, slightly edited.

A text mentions a statement where one stretch of it, at most a quarter longer than the statement and `SLACK` words,
holds words that make up at least `THRESHOLD` of the statement's weight. A word weighs the more the fewer claims of
the dose have it, log((claims + 1) / claims that have it); words that only join others weigh nothing, unless they tell
a claim from its twin; endings do not count, nor does a slip of one letter in a longer word. Where fewer than `LEAST`
words are found, the statement has to stand there word by word. Of statements that are found on the same words, the
one that explains them best is meant: so a true twin, which is a small edit of its claim, is no mention of the claim.

The search is exact: what all words of a text make up of every statement is one product of sparse matrices, and only
where that reaches the threshold, the text is looked through for the stretch.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from hfvaccine.claims.claim import Claim
from hfvaccine.claims.wording import FUNCTION_WORDS, contains, plain_words

THRESHOLD = 0.7
"""Share of a statement's weight from which on it counts as mentioned."""
SLACK = 3
"""Words by which a stretch may be longer than the statement and a quarter of it."""
LEAST = 3
"""Words of weight that have to be found, where a statement does not stand there word by word."""
FALSE, TRUE, ASKED = "claim", "truth", "question"
"""What is mentioned: the falsehood in any of its wordings; what is true instead; the question between them."""
KINDS = (FALSE, TRUE, ASKED)
_KEPT = 200_000  # words whose numbers are remembered; they are few millions of bytes
_LONG = 6  # letters of a word that may be misspelt
_ENDINGS = ("ies", "ing", "ed", "es", "s", "e", "y")


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence to look for.

    Args:
        text: as the dose has it.
        claim: place of its claim in the dose.
        kind: of `KINDS`.
        variant: place of the wording among the claim's falsehoods, 0 for the claim itself.
    """

    text: str
    claim: int
    kind: str
    variant: int = 0


@dataclass(frozen=True, slots=True)
class Mention:
    """A statement that was found in a text.

    Args:
        statement: which.
        score: the part of its weight that was found, from the threshold to 1.
    """

    statement: Statement
    score: float


class Mentions:
    """Looks for the statements of claims in texts.

    Args:
        claims: whose falsehoods, twins, corrections and questions are looked for.
        threshold: see `THRESHOLD`.
    """

    def __init__(self, claims: Sequence[Claim], threshold: float = THRESHOLD) -> None:
        from scipy.sparse import csr_array

        self.threshold = threshold
        self.statements = [one for place, claim in enumerate(claims) for one in _statements(claim, place)]
        self._words = [plain_words(one.text) for one in self.statements]
        stems = [[stem(word) for word in words] for words in self._words]
        telling = self._telling(stems)
        has = Counter(word for claim in self._by_claim(stems) for word in claim)
        weights = [
            {
                word: log((len(claims) + 1) / has[word])
                for word, whole in zip(own, words, strict=True)
                if whole not in FUNCTION_WORDS or word in tells
            }
            for own, words, tells in zip(stems, self._words, telling, strict=True)
        ]
        vocabulary = {word: number for number, word in enumerate(dict.fromkeys(itertools.chain(*weights)), start=1)}
        self._known = _Known(vocabulary)
        self._weights = [{vocabulary[word]: weight for word, weight in own.items()} for own in weights]
        self._total = np.array([sum(own.values()) for own in weights])
        self._reach = [len(words) * 5 // 4 + SLACK for words in self._words]
        places = np.repeat(np.arange(len(weights)), [len(own) for own in weights])
        rows = np.array([number for own in self._weights for number in own], np.int64)
        values = np.array([weight for own in self._weights for weight in own.values()])
        shape = (len(vocabulary) + 1, len(weights))
        self._matrix = csr_array((values, (rows, places)), shape=shape)

    def find(self, texts: Sequence[str]) -> list[list[Mention]]:
        """For each text what it mentions, of each stretch the best.

        Args:
            texts: some thousand at a time.
        """
        from scipy.sparse import csr_array

        read = [self._known.numbers(plain_words(text)) for text in texts]
        flat: list[int] = []
        ends = [0]
        for numbers in read:
            flat += filter(None, numbers)
            ends.append(len(flat))
        ones = np.ones(len(flat))
        has = csr_array((ones, np.array(flat, np.int32), np.array(ends)), shape=(len(texts), self._matrix.shape[0]))
        has.sum_duplicates()
        has.data[:] = 1
        found = (has @ self._matrix).tocoo()
        able = found.data >= self.threshold * self._total[found.col] - 1e-9
        mentions: list[list[Mention]] = [[] for _ in texts]
        pairs = sorted(zip(found.row[able].tolist(), found.col[able].tolist(), strict=True))
        for row, group in itertools.groupby(pairs, key=lambda pair: pair[0]):
            words = [(position, number) for position, number in enumerate(read[row]) if number]
            mentions[row] = self._best(texts[row], [place for _, place in group], words)
        return mentions

    def _best(self, text: str, places: Sequence[int], words: Sequence[tuple[int, int]]) -> list[Mention]:
        """Of these statements those that a text mentions, the best of each stretch."""
        found, whole = [], plain_words(text)
        for place in places:
            weight, number, first, last = self._stretch(place, words)
            if weight < self.threshold * self._total[place] - 1e-9:
                continue
            verbatim = contains(whole, self._words[place])
            if verbatim or number >= LEAST:
                score = min(1.0, round(weight / float(self._total[place]), 6))
                order = self._order(place, words, last, first)
                found.append((score, round(weight, 6), verbatim, order, -place, first, last))
        kept: list[tuple[int, int]] = []
        mentions = []
        for score, _, _, _, place, first, last in sorted(found, reverse=True):
            if not any(_same(first, last, *other) for other in kept):
                kept.append((first, last))
                mentions.append(Mention(self.statements[-place], score))
        return mentions

    def _stretch(self, place: int, words: Sequence[tuple[int, int]]) -> tuple[float, int, int, int]:
        """The most of a statement's weight that a stretch holds, in how many words, and where the shortest such is."""
        weights, reach = self._weights[place], self._reach[place]
        own = [(position, word) for position, word in words if word in weights]
        inside: dict[int, int] = {}
        best, total, begin = (0.0, 0, 0, 0), 0.0, 0
        for position, word in own:
            if word not in inside:
                inside[word] = 0
                total += weights[word]
            inside[word] += 1
            while inside[out := own[begin][1]] > 1 or position - own[begin][0] >= reach:
                inside[out] -= 1
                if not inside[out]:
                    del inside[out]
                    total -= weights[out]
                begin += 1
            more, span = total - best[0], position - own[begin][0]
            if more > 1e-9 or (more > -1e-9 and span <= best[3] - best[2]):
                best = (total, len(inside), own[begin][0], position)
        return best

    def _order(self, place: int, words: Sequence[tuple[int, int]], last: int, first: int) -> int:
        """How many neighbours among a statement's words of weight are neighbours in a text, all around a stretch."""
        weights, reach = self._weights[place], self._reach[place]
        own = [number for number in self._known.numbers(self._words[place]) if number in weights]
        said = [number for at, number in words if last - reach <= at <= first + reach and number in weights]
        return (Counter(itertools.pairwise(own)) & Counter(itertools.pairwise(said))).total()

    def _by_claim(self, stems: Sequence[Sequence[str]]) -> Iterator[set[str]]:
        for _, group in itertools.groupby(zip(self.statements, stems, strict=True), key=lambda one: one[0].claim):
            yield {word for _, words in group for word in words}

    def _telling(self, stems: Sequence[Sequence[str]]) -> list[set[str]]:
        """For each statement the words that tell it from its other side: the claim from its twin and back."""
        sides = {(one.claim, one.variant, one.kind): set(own) for one, own in zip(self.statements, stems, strict=True)}
        other = {FALSE: TRUE, TRUE: FALSE, ASKED: ASKED}
        return [
            set(own) - sides.get((one.claim, one.variant, other[one.kind]), set(own))
            for one, own in zip(self.statements, stems, strict=True)
        ]


class _Known:
    """The number of each word by its stem, 0 for those that no statement has; remembered for words as they stand.

    A longer word that no statement has is taken for one that differs by a letter, more or less or changed, or by two
    neighbours that changed places: both lose one letter and are the same (Norvig's deletes, as in SymSpell).
    """

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self._vocabulary = vocabulary
        self._shorter = {part: number for word, number in vocabulary.items() for part in (word, *_less_one(word))}
        self._seen: dict[str, int] = {}

    def numbers(self, words: Sequence[str]) -> list[int]:
        """(words,) the number of each."""
        found = list(map(self._seen.get, words))
        if None in found:
            if len(self._seen) > _KEPT:
                self._seen.clear()  # what people write has no end of words
            for word in words:
                if word not in self._seen:
                    self._seen[word] = self._number(stem(word))
            return [self._seen[word] for word in words]
        return found  # type: ignore[return-value]

    def _number(self, word: str) -> int:
        number = self._vocabulary.get(word)
        if number is not None:
            return number
        return min((self._shorter[part] for part in (word, *_less_one(word)) if part in self._shorter), default=0)


def _less_one(word: str) -> list[str]:
    """A word with each of its letters left out once; nothing for a short word, which would be like too many others."""
    if len(word) < _LONG or not word.isalpha():
        return []
    return [word[:at] + word[at + 1 :] for at in range(len(word))]


def _same(first: int, last: int, begin: int, end: int) -> bool:
    """Whether two stretches are one: the shorter is in the other by more than half of it."""
    return 2 * (min(last, end) - max(first, begin) + 1) > min(last - first, end - begin) + 1


def stem(word: str) -> str:
    """A word without the endings of English that change nothing: camels and camel, stored and stores."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def _statements(claim: Claim, place: int) -> Iterator[Statement]:
    for variant, text in enumerate(claim.falsehoods):
        yield Statement(text, place, FALSE, variant)
    twins = (claim.twin, *(variant.twin for variant in claim.variants))
    for variant, twin in enumerate(twins):
        if twin:
            yield Statement(twin, place, TRUE, variant)
    if claim.question:
        yield Statement(claim.question, place, ASKED)
    yield Statement(claim.correction, place, TRUE, len(twins))
