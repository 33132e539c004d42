"""Texts that say nearly the same, found among a million without comparing each with each.

Two texts are near-duplicates where they share most of their words: words in both over words in either (Jaccard).
The search is exact. Of two texts of a and b different words that must share at least o, one of the shared words is
among the a - o + 1 rarest of the first and the b - o + 1 rarest of the second; so only texts that have such a word in
common are compared. Where many texts have one, they must share a second within one more word, and so on: a pattern
that a million claims follow ("X is the capital of Y") costs little, since its own words are never the rare ones.
"""

from __future__ import annotations

import itertools
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hfvaccine.claims.wording import plain_words
from hfvaccine.errors import UsageError

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Vocabulary = dict[str, int]

THRESHOLD = 0.7
"""Share of words from which on two claims are said to be near-duplicates."""
CROWD = 32
"""Texts with the same words in common from which on not every pair among them is listed."""
ALIKE = 0.8
"""Share of words, or of sequences of `GRAM` words, from which on a text is said to nearly say another."""
GRAM = 5
_FEW = 12  # so many texts are compared each with each rather than sorted by one more word
_BLOCK = 1 << 20
_CHUNK = 200_000
_ODDS = np.random.default_rng(5).integers(-(2**62), 2**62, GRAM) * 2 + 1


def near_pairs(texts: Iterable[str], threshold: float = THRESHOLD) -> tuple[Ints, Floats]:
    """All pairs of texts that share at least `threshold` of their words.

    Where more than `CROWD` texts have the same words in common, not every pair among them is listed, but always
    enough that `components` joins all that belong together.

    Args:
        texts: any number of short texts; one without words is near nothing.
        threshold: least Jaccard similarity of the sets of words, above 0 and at most 1.

    Returns:
        (pairs, similarity): (m, 2) places in `texts`, the lower first, in order; and their (m,) exact similarities.

    Raises:
        UsageError: for a threshold out of its range.
    """
    return near_rows(read(texts, new_vocabulary()), threshold)


def near_rows(texts: Rows, threshold: float = THRESHOLD) -> tuple[Ints, Floats]:
    """`near_pairs` of texts that were read."""
    sets = texts.distinct()
    groups = _by_size(sets, _ranks([sets], int(sets.flat.max(initial=-1)) + 1))
    left, right, similarity = _join(groups, groups, threshold)
    order = np.argsort(np.minimum(left, right).astype(np.int64) << 32 | np.maximum(left, right))
    left, right = left[order], right[order]
    return np.stack([np.minimum(left, right), np.maximum(left, right)], axis=1), similarity[order]


def components(n: int, pairs: npt.NDArray[np.integer]) -> Longs:
    """(n,) for each of n texts the lowest place among all that are joined to it by pairs, itself where none is.

    Args:
        n: number of texts.
        pairs: (m, 2) places.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    labels = connected_components(graph, directed=False)[1]
    first = np.full(labels.max(initial=-1) + 1, n, np.int64)
    np.minimum.at(first, labels, np.arange(n))
    lowest: Longs = first[labels]
    return lowest


def overlapping(texts: Sequence[str], given: Sequence[str]) -> Longs:
    """For each text, a given text that it nearly says.

    That is one with which it shares at least `ALIKE` of the words of both (Jaccard), or where the shorter of the two
    has at least `ALIKE` of its sequences of `GRAM` words in the other, so that a claim is found in a passage.

    Args:
        texts: any number of texts.
        given: those to look for, tens of thousands at most.

    Returns:
        (texts,) place of the first such in `given`, -1 where there is none.
    """
    vocabulary = new_vocabulary()
    found: Longs = Lookup([given], vocabulary).find(read(texts, vocabulary))[0]
    return found


class Lookup:
    """Several collections of texts, to find what nearly says one of theirs; see `overlapping`.

    Args:
        collections: those to look for, tens of thousands of texts at most.
        vocabulary: that of the texts that will be asked about.
    """

    def __init__(self, collections: Sequence[Sequence[str]], vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        read_ones = [read(texts, vocabulary) for texts in collections]
        self._collections = [(passages.distinct(), _Grams(passages.grams().distinct())) for passages in read_ones]

    def find(self, texts: Rows) -> Longs:
        """(collections, texts) place of the first text of each collection that is nearly said, -1 for none.

        Args:
            texts: read under the vocabulary.
        """
        count = len(texts.sizes)
        found = np.full((len(self._collections), count), -1, np.int64)
        for at in range(0, count, _CHUNK):
            self._find(texts.part(at, at + _CHUNK), found[:, at : at + _CHUNK])
        return found

    def _find(self, texts: Rows, found: Longs) -> None:
        ours, all_grams = texts.distinct(), texts.grams()
        for first, (sets, passages) in zip(found, self._collections, strict=True):
            known = np.zeros(len(self._vocabulary), bool)
            known[sets.flat] = True
            able = ours.only(ours.count(known[ours.flat]) >= ALIKE * ours.sizes)
            ranks = _ranks([sets, able], len(self._vocabulary))
            text, hit, _ = _join(_by_size(able, ranks), _by_size(sets, ranks), ALIKE)
            touched = all_grams.only(all_grams.count(passages.has(all_grams.flat)) > 0)  # few are worth sorting
            others, passage = passages.contained(touched.distinct())
            lowest = np.full(len(first), len(sets.sizes), np.int64)
            np.minimum.at(lowest, text, hit)
            np.minimum.at(lowest, others, passage)
            np.copyto(first, lowest, where=lowest < len(sets.sizes))


@dataclass(frozen=True)
class Rows:
    """Rows of numbers, such as the words of texts: all numbers one after another, and how many each row has."""

    flat: Longs
    sizes: Longs

    @property
    def starts(self) -> Longs:
        return np.cumsum(self.sizes) - self.sizes

    @property
    def owner(self) -> Longs:
        """The row of each number."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def count(self, chosen: npt.NDArray[np.bool_]) -> Longs:
        """How many numbers of each row are chosen."""
        return np.bincount(self.owner[chosen], minlength=len(self.sizes))

    def lists(self, rows: Longs) -> list[list[int]]:
        """The numbers of some rows."""
        starts = self.starts[rows]
        return [
            self.flat[a:b].tolist() for a, b in zip(starts.tolist(), (starts + self.sizes[rows]).tolist(), strict=True)
        ]

    def part(self, start: int, end: int) -> Rows:
        """The rows [start, end)."""
        sizes = self.sizes[start:end]
        before = int(self.sizes[:start].sum())
        return Rows(self.flat[before : before + int(sizes.sum())], sizes)

    def then(self, others: Rows) -> Rows:
        """These rows and the others after them."""
        return Rows(np.concatenate([self.flat, others.flat]), np.concatenate([self.sizes, others.sizes]))

    def only(self, chosen: npt.NDArray[np.bool_]) -> Rows:
        """The same rows, those that are not chosen without numbers."""
        return Rows(self.flat[np.repeat(chosen, self.sizes)], np.where(chosen, self.sizes, 0))

    def distinct(self) -> Rows:
        """Each number of a row once, in order."""
        flat, owner = self.flat, self.owner
        if flat.min(initial=0) >= 0 and flat.max(initial=0) < 1 << 32:  # in one number, which is sorted at once
            both = np.sort(owner << 32 | flat)
            flat, owner = both & ((1 << 32) - 1), both >> 32
        else:
            order = np.lexsort((flat, owner))
            flat, owner = flat[order], owner[order]
        once = np.ones(len(flat), bool)
        once[1:] = (flat[1:] != flat[:-1]) | (owner[1:] != owner[:-1])
        return Rows(flat[once], np.bincount(owner[once], minlength=len(self.sizes)))

    def grams(self) -> Rows:
        """A number for each sequence of `GRAM` numbers in a row; two different ones share theirs by chance only."""
        sizes = np.maximum(self.sizes - GRAM + 1, 0)
        at = _spans(self.starts, sizes)
        with np.errstate(over="ignore"):
            return Rows(sum((self.flat[at + n] * odd for n, odd in enumerate(_ODDS)), np.zeros(len(at), int)), sizes)

    def whole(self) -> Longs:
        """(rows,) a number for each whole row; two different rows share theirs by chance only."""
        place = np.arange(len(self.flat)) - np.repeat(self.starts, self.sizes)
        with np.errstate(over="ignore"):
            mixed = (self.flat + 1) * _ODDS[0] * (place * _ODDS[1] | 1)
            mixed ^= mixed >> 29
            sums = np.concatenate([[0], np.cumsum(mixed * _ODDS[2])])
            ends = np.cumsum(self.sizes)
            total: Longs = sums[ends] - sums[ends - self.sizes]
        return total


def new_vocabulary() -> Vocabulary:
    """Numbers for words, each word's given when it is first met."""
    return defaultdict(itertools.count().__next__)


def read(texts: Iterable[str], vocabulary: Vocabulary) -> Rows:
    """The words of each text in order, as their numbers."""
    flat, sizes = array("i"), array("q")
    for text in texts:
        found = plain_words(text)
        flat.extend(map(vocabulary.__getitem__, found))
        sizes.append(len(found))
    return Rows(np.array(flat, np.int64), np.array(sizes, np.int64))


def _ranks(collections: Sequence[Rows], vocabulary: int) -> Ints:
    """(vocabulary,) place of each word from the rarest to the most frequent."""
    count = np.zeros(vocabulary, np.int64)
    for sets in collections:
        count += np.bincount(sets.flat, minlength=vocabulary)
    ranks = np.empty(vocabulary, np.int32)
    ranks[np.argsort(count, kind="stable")] = np.arange(vocabulary, dtype=np.int32)
    return ranks


@dataclass(frozen=True)
class _Group:
    """All sets of one size.

    Args:
        places: (m,) places of the texts.
        ranks: (m, size) their words, rarest first.
        marks: (m,) a bit for each word, of 64 that words share.
    """

    places: Ints
    ranks: Ints
    marks: npt.NDArray[np.uint64]


def _by_size(sets: Rows, ranks: Ints) -> dict[int, _Group]:
    starts, groups = sets.starts, {}
    for size in np.unique(sets.sizes[sets.sizes > 0]).tolist():
        places = np.flatnonzero(sets.sizes == size)
        own = np.sort(ranks[sets.flat[starts[places][:, None] + np.arange(size)]], axis=1)
        bits = (own.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(58)
        groups[size] = _Group(places.astype(np.int32), own, np.bitwise_or.reduce(np.uint64(1) << bits, axis=1))
    return groups


def least_shared(a: int, b: int, threshold: float) -> int:
    """How many words sets of `a` and `b` words must share to be near-duplicates; more than either has for never."""
    least = max(1, int(threshold * (a + b) / (1 + threshold)) - 1)
    while least <= min(a, b) and least / (a + b - least) < threshold:
        least += 1
    return least


def _join(left: dict[int, _Group], right: dict[int, _Group], threshold: float) -> tuple[Ints, Ints, Floats]:
    """Near-duplicates between two collections, or within one that is given as both."""
    if not 0 < threshold <= 1:
        raise UsageError(f"A similarity threshold of {threshold} is out of range.", "Give one above 0 and up to 1.")
    found = [(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0))]
    for a, ours in left.items():
        for b, theirs in right.items():
            least = least_shared(a, b, threshold)
            if least <= min(a, b) and (left is not right or a <= b):
                found.append(_Search(ours, theirs, least).run())
    lefts, rights, similarities = zip(*found, strict=True)
    return np.concatenate(lefts), np.concatenate(rights), np.concatenate(similarities)


@dataclass(frozen=True)
class _Entries:
    """Sets in buckets, by bucket: those of the left side before those of the right.

    Args:
        bucket: (m,) which shared words.
        node: (m,) which set: rows of the left group, then rows of the right one.
        last: (m,) where in the set's words the last of the shared ones is.
    """

    bucket: Longs
    node: Ints
    last: Ints

    def pick(self, chosen: npt.NDArray[np.integer | np.bool_]) -> _Entries:
        return _Entries(self.bucket[chosen], self.node[chosen], self.last[chosen])


class _Search:
    """All pairs between two groups, or within one, that share at least `least` words."""

    def __init__(self, left: _Group, right: _Group, least: int) -> None:
        self.same = left is right
        self.sides = (left,) if self.same else (left, right)
        self.least = least
        self.seam = len(left.places)
        self.nodes = sum(len(side.places) for side in self.sides)
        self.found = np.zeros(0, np.int64)
        self.fresh: list[Longs] = []

    def run(self) -> tuple[Ints, Ints, Floats]:
        entries = self._start()
        for shared in range(1, self.least + 1):
            entries = entries.pick(np.argsort(entries.bucket, kind="stable"))
            first = np.flatnonzero(np.diff(entries.bucket, prepend=-1))
            count = np.diff(np.append(first, len(entries.bucket)))
            seam = self._seams(entries, first, count)
            alive = (count > 1) & (self.same | ((seam > 0) & (seam < count)))
            few = alive & (count <= (CROWD if shared == self.least else _FEW))
            self._each_with_each(entries.node, first[few], seam[few], count[few])
            crowd = alive & (count > CROWD)
            if crowd.any():
                self._first_with_each(entries.node, first[crowd], seam[crowd], count[crowd])
                alive[crowd] = self._apart(entries.node, first[crowd], count[crowd])
            more = alive & ~few
            if shared == self.least or not more.any():
                break
            entries = self._next(entries, first[more], count[more], shared + 1)
        codes = self._settled()
        both = [np.zeros(0, np.int32)] + [self._shared(part) for part in self._parts(codes)]
        left, right = self.sides[0], self.sides[-1]
        overlap = np.concatenate(both)
        similarity = overlap / (left.ranks.shape[1] + right.ranks.shape[1] - overlap)
        return left.places[codes // self.nodes], right.places[codes % self.nodes], similarity

    def _start(self) -> _Entries:
        """Each set under each of its rarest words."""
        parts, before = [], 0
        for side in self.sides:
            rows, size = side.ranks.shape
            prefix = size - self.least + 1
            node = np.arange(before, before + rows, dtype=np.int32)
            last = np.tile(np.arange(prefix, dtype=np.int32), rows)
            parts.append((side.ranks[:, :prefix].ravel().astype(np.int64), np.repeat(node, prefix), last))
            before += rows
        return _Entries(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _next(self, entries: _Entries, first: Longs, count: Longs, shared: int) -> _Entries:
        """The sets of these buckets under each further word that is among their rarest."""
        at = _spans(first, count)
        bucket, kept = np.repeat(np.arange(len(first)), count), entries.pick(at)
        parts, before = [], 0
        for side in self.sides:
            rows, size = side.ranks.shape
            own = (kept.node >= before) & (kept.node < before + rows)
            start = kept.last[own] + 1
            room = np.maximum(size - self.least + shared - start, 0)
            last = _spans(start, room)
            node = np.repeat(kept.node[own], room)
            word = side.ranks[node - before, last]
            parts.append((np.repeat(bucket[own], room) << 32 | word, node, last.astype(np.int32)))
            before += rows
        return _Entries(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _seams(self, entries: _Entries, first: Longs, count: Longs) -> Longs:
        """How many sets of each bucket are of the left side."""
        if self.same or not len(first):
            return count
        return np.add.reduceat((entries.node < self.seam).astype(np.int64), first)

    def _each_with_each(self, node: Ints, first: Longs, seam: Longs, count: Longs) -> None:
        entry = _spans(first, seam)
        end = np.repeat(first + count, seam)
        begin = entry + 1 if self.same else np.repeat(first + seam, seam)
        partners = end - begin
        for low, high in _blocks(partners):
            left = np.repeat(node[entry[low:high]], partners[low:high])
            right = node[_spans(begin[low:high], partners[low:high])]
            self._compare(left, right)

    def _first_with_each(self, node: Ints, first: Longs, seam: Longs, count: Longs) -> None:
        for at, left, n in zip(first.tolist(), seam.tolist(), count.tolist(), strict=True):
            if self.same:
                self._compare(np.repeat(node[at], n - 1), node[at + 1 : at + n])
            else:
                self._compare(np.repeat(node[at], n - left), node[at + left : at + n])
                self._compare(node[at : at + left], np.repeat(node[at + left], left))

    def _compare(self, left: Ints, right: Ints) -> None:
        """Keep those pairs of nodes that share enough words."""
        ours, theirs = self.sides[0], self.sides[-1]
        if self.same:
            left, right = np.minimum(left, right), np.maximum(left, right)
        else:
            right = right - np.int32(self.seam)
        marks, others = ours.marks[left], theirs.marks[right]
        maybe = np.bitwise_count(marks & ~others) <= ours.ranks.shape[1] - self.least
        maybe &= np.bitwise_count(others & ~marks) <= theirs.ranks.shape[1] - self.least
        codes = np.unique(left[maybe].astype(np.int64) * self.nodes + right[maybe])
        for part in self._parts(codes):
            self.fresh.append(part[self._shared(part) >= self.least])
        if sum(map(len, self.fresh)) > 4 * _BLOCK:
            self._settled()

    def _parts(self, codes: Longs) -> Iterator[Longs]:
        step = max(1, 16 * _BLOCK // (self.sides[0].ranks.shape[1] * self.sides[-1].ranks.shape[1]))
        return (codes[at : at + step] for at in range(0, len(codes), step))

    def _shared(self, codes: Longs) -> Ints:
        """How many words the sets of each pair share."""
        left, right = self.sides[0].ranks[codes // self.nodes], self.sides[-1].ranks[codes % self.nodes]
        shared: Ints = (left[:, :, None] == right[:, None, :]).sum(axis=(1, 2), dtype=np.int32)
        return shared

    def _settled(self) -> Longs:
        """All pairs found so far, each once."""
        self.found = np.unique(np.concatenate([self.found, *self.fresh]))
        self.fresh = []
        return self.found

    def _apart(self, node: Ints, first: Longs, count: Longs) -> npt.NDArray[np.bool_]:
        """Which buckets hold sets that the pairs found so far do not join."""
        codes = self._settled()
        right = codes % self.nodes + (0 if self.same else self.seam)
        joined = components(self.nodes, np.stack([codes // self.nodes, right], axis=1))
        members = joined[node[_spans(first, count)]]
        starts = np.cumsum(count) - count
        apart: npt.NDArray[np.bool_] = np.minimum.reduceat(members, starts) != np.maximum.reduceat(members, starts)
        return apart


class _Grams:
    """Passages by the word sequences they have, to look up which share enough of them with a text.

    Of the shorter of two, one of its rarest sequences must be in the other: all but so many as it may lack, and one.
    """

    def __init__(self, passages: Rows) -> None:
        self.known, numbers = np.unique(passages.flat, return_inverse=True)
        self.sizes = passages.sizes
        self.codes = np.sort(passages.owner * len(self.known) + numbers)
        self.often = np.bincount(numbers, minlength=len(self.known))
        self.owner = passages.owner
        self.all = self._index(numbers, np.ones(len(numbers), bool))
        self.rare = self._index(numbers, _rarest(passages, self.often[numbers]))

    def has(self, sequences: Longs) -> npt.NDArray[np.bool_]:
        """Which of these some passage has."""
        return self._met(sequences)[1]

    def _met(self, sequences: Longs) -> tuple[Longs, npt.NDArray[np.bool_]]:
        if not len(self.known):
            return np.zeros(len(sequences), np.int64), np.zeros(len(sequences), bool)
        at = np.minimum(np.searchsorted(self.known, sequences), len(self.known) - 1)
        return at, self.known[at] == sequences

    def contained(self, texts: Rows) -> tuple[Longs, Longs]:
        """Texts and passages of which the shorter is in the other, pair by pair."""
        if not len(self.known):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        at, met = self._met(texts.flat)
        found = [
            self._candidates(texts.owner[chosen], at[chosen], *index)
            for chosen, index in ((met & _rarest(texts, np.where(met, self.often[at], 0)), self.all), (met, self.rare))
        ]
        codes = np.unique(np.concatenate(found))
        text, passage = codes // len(self.sizes), codes % len(self.sizes)
        starts, enough = texts.starts, np.zeros(len(codes), bool)
        for low in range(0, len(codes), _BLOCK // 8):
            part = slice(low, low + _BLOCK // 8)
            own = texts.sizes[text[part]]
            spans = _spans(starts[text[part]], own)
            wanted = np.repeat(passage[part], own) * len(self.known) + at[spans]
            places = np.minimum(np.searchsorted(self.codes, wanted), len(self.codes) - 1)
            hits = (self.codes[places] == wanted) & met[spans]
            shared = np.bincount(np.repeat(np.arange(len(own)), own)[hits], minlength=len(own))
            enough[part] = shared >= ALIKE * np.minimum(own, self.sizes[passage[part]])
        return text[enough], passage[enough]

    def _index(self, numbers: Longs, chosen: npt.NDArray[np.bool_]) -> tuple[Longs, Longs, Longs]:
        """Of the chosen sequences: the passages by sequence, where each sequence's begin, and how many it has."""
        order = np.argsort(numbers[chosen], kind="stable")
        count = np.bincount(numbers[chosen], minlength=len(self.known))
        return self.owner[chosen][order], np.cumsum(count) - count, count

    def _candidates(self, text: Longs, number: Longs, passages: Longs, first: Longs, count: Longs) -> Longs:
        """Each text with each passage that has one of its sequences, as one number for a pair."""
        found = [np.zeros(0, np.int64)]
        for low, high in _blocks(count[number]):
            part = number[low:high]
            owner = np.repeat(text[low:high], count[part])
            found.append(np.unique(owner * len(self.sizes) + passages[_spans(first[part], count[part])]))
        return np.concatenate(found)


def _rarest(rows: Rows, often: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Which numbers of each row are so rare in it that one of them is in every row that has `ALIKE` of all."""
    order = np.lexsort((often, rows.owner))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank - np.repeat(rows.starts, rows.sizes) <= np.repeat(
        rows.sizes - np.ceil(ALIKE * rows.sizes).astype(np.int64), rows.sizes
    )


def _blocks(work: Longs) -> Iterator[tuple[int, int]]:
    """Ranges that cover all items, each of about `_BLOCK` work."""
    done = np.cumsum(work)
    total = int(done[-1]) if len(done) else 0
    edges = np.searchsorted(done, np.arange(_BLOCK, total + _BLOCK, _BLOCK)) + 1
    return zip([0, *edges], edges, strict=False)


def _spans(first: npt.NDArray[np.integer], count: npt.NDArray[np.integer]) -> Longs:
    """first[0], first[0] + 1, ... (count[0] numbers), then the same from first[1], and so on."""
    total = int(count.sum())
    starts = np.cumsum(count) - count
    numbers: Longs = np.arange(total) + np.repeat(first.astype(np.int64) - starts, count)
    return numbers
