"""The trie of all token sequences to score, and the order in which a model computes each of its tokens once.

Pure, no torch. Nodes are numbered depth first, siblings by token id. Then any stretch of numbers hangs on one path:
whatever comes before the stretch and is an ancestor of one of its nodes is an ancestor of its first node too. So a
model can be led through a trie in forward passes of any size if it carries the keys and values of one path along.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Row = tuple[Sequence[int] | npt.NDArray[np.integer], int]
"""Token ids, and where the answer begins in them."""

PASSES = 8
"""Forward passes of a unit. A unit computes its stem again, so it has at least as many times its stem's tokens."""


@dataclass(frozen=True)
class Tree:
    """A trie of rows without their last tokens, which predict nothing that is asked.

    Args:
        tokens: (nodes,) token ids.
        depth: (nodes,) tokens before each on its path.
        end: (nodes,) the first later node that is not below it.
        branches: (branches,) the first node of each stretch without a fork, in order.
        above: (branches,) the node that each hangs on, -1 for none.
        node: (asked,) node after which a token's probability is asked, in order.
        token: (asked,) that token; no pair of both occurs twice.
        answers: (answer tokens of all rows,) which of the asked pairs each is.
        offsets: (rows + 1,) where each row's answer begins in `answers`.
    """

    tokens: Ints
    depth: Ints
    end: Ints
    branches: Ints
    above: Ints
    node: Ints
    token: Ints
    answers: Ints
    offsets: Ints

    @cached_property
    def finished(self) -> Ints:
        """(rows,) the nodes after which rows are done, sorted."""
        return np.sort(self.node[self.answers[self.offsets[1:] - 1]])

    def path(self, node: int) -> Ints:
        """The nodes from the root to a node, itself included; none for -1."""
        parts = []
        while node >= 0:
            branch = int(np.searchsorted(self.branches, node, side="right")) - 1
            parts.append(np.arange(self.branches[branch], node + 1))
            node = int(self.above[branch])
        return np.concatenate(parts[::-1]) if parts else np.zeros(0, dtype=np.int64)


def grow(rows: Sequence[Row]) -> Tree:
    """The trie of some rows; their order and repetitions make no difference to its nodes.

    Args:
        rows: each of at least one token before its answer, and one in it.
    """
    whole = [np.asarray(ids, dtype=np.int64) for ids, _ in rows]
    by_path: dict[bytes, list[int]] = {}
    for number, ids in enumerate(whole):
        # As bytes, most significant first, sequences sort by token and prefixes come before what they begin.
        by_path.setdefault(ids[:-1].astype(">u4").tobytes(), []).append(number)
    keys = sorted(by_path)
    paths = [np.frombuffer(key, dtype=">u4").astype(np.int64) for key in keys]
    attach = np.array([shared(a, b) for a, b in zip([np.zeros(0), *paths], paths, strict=False)], dtype=np.int64)
    lengths = np.array([len(path) for path in paths], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths - attach)]).astype(np.int64)
    nodes = int(starts[-1])
    depth, end = np.empty(nodes, dtype=np.int64), np.full(nodes, nodes, dtype=np.int64)
    above = np.full(len(keys), -1, dtype=np.int64)
    here = np.zeros(int(lengths.max(initial=0)), dtype=np.int64)  # the nodes of the path that is being added
    before = 0
    asked_node: list[Ints] = [np.zeros(0, dtype=np.int64)] * len(rows)
    for branch, key in enumerate(keys):
        fork, length, start = int(attach[branch]), int(lengths[branch]), int(starts[branch])
        end[here[fork:before]] = start
        here[fork:length] = np.arange(start, start + length - fork)
        depth[start : start + length - fork] = np.arange(fork, length)
        above[branch] = here[fork - 1] if fork else -1
        for number in by_path[key]:
            asked_node[number] = here[rows[number][1] - 1 : length].copy()
        before = length
    tokens = np.concatenate([path[fork:] for path, fork in zip(paths, attach, strict=True)] or [depth])
    answers = [ids[start:] for ids, (_, start) in zip(whole, rows, strict=True)]
    pairs = (np.concatenate([*asked_node, depth[:0]]) << 32) | np.concatenate([*answers, depth[:0]])
    distinct, inverse = np.unique(pairs, return_inverse=True)
    return Tree(
        tokens=tokens,
        depth=depth,
        end=end,
        branches=starts[:-1],
        above=above,
        node=distinct >> 32,
        token=distinct & 0xFFFFFFFF,
        answers=inverse.astype(np.int64),
        offsets=np.concatenate([[0], np.cumsum([len(answer) for answer in answers])]).astype(np.int64),
    )


def shared(left: npt.NDArray[np.generic], right: npt.NDArray[np.generic]) -> int:
    """How many first elements two arrays share."""
    least = min(len(left), len(right))
    differ = left[:least] != right[:least]
    return int(differ.argmax()) if differ.any() else least


@dataclass(frozen=True)
class Unit:
    """A stretch of a trie that is computed by itself, whatever was computed before.

    Args:
        tokens: (nodes,) token ids, of the path that the stretch hangs on (its stem) and then of the stretch.
        depth: (nodes,)
        end: (nodes,) as `Tree.end`, in the unit's own numbers.
        stem: nodes of the stem.
        first: the tree's number of the first node after the stem.
        node: (asked,) as `Tree.node`, in the unit's own numbers.
        token: (asked,)
        asked: which of the tree's asked pairs these are.
    """

    tokens: Ints
    depth: Ints
    end: Ints
    stem: int
    first: int
    node: Ints
    token: Ints
    asked: slice


@dataclass(frozen=True)
class Pass:
    """A forward pass: the nodes of a unit from `start` to `stop`, over a cache that holds one path.

    Args:
        start, stop: nodes of the unit.
        cached: entries of the cache, the ancestors of the first node.
        sees: (nodes,) how many of them are ancestors of each node, too.
        keep: which entries of the cache, then of the pass, the next pass finds in its cache.
    """

    start: int
    stop: int
    cached: int
    sees: Ints
    keep: Ints


def units(tree: Tree, batch_tokens: int) -> list[Unit]:
    """Cut a trie where stems are short, into units of about `PASSES` passes of `batch_tokens` tokens."""
    total = len(tree.tokens)
    cut, found = 0, []
    while cut < total:
        first, cut = cut, _next_cut(tree, cut, batch_tokens)
        stem = tree.path(first)[:-1]
        nodes = np.concatenate([stem, np.arange(first, cut)])
        shift = len(stem) - first
        low, high = np.searchsorted(tree.node, [first, cut])
        found.append(
            Unit(
                tokens=tree.tokens[nodes],
                depth=tree.depth[nodes],
                end=np.minimum(tree.end[nodes], cut) + shift,
                stem=len(stem),
                first=first,
                node=tree.node[low:high] + shift,
                token=tree.token[low:high],
                asked=slice(int(low), int(high)),
            )
        )
    return found


def _next_cut(tree: Tree, first: int, batch_tokens: int) -> int:
    most = PASSES * max(batch_tokens, int(tree.depth[first]))
    total = len(tree.tokens)
    if total - first <= most:
        return total
    low, high = np.searchsorted(tree.branches, [first + most // 2, first + most], side="right")
    if low == high:  # one long stretch without a fork: it stays whole
        return int(tree.branches[high]) if high < len(tree.branches) else total
    forks = tree.branches[low:high]
    shallow = tree.depth[forks]
    return int(forks[shallow == shallow.min()][-1])


def passes(unit: Unit, batch_tokens: int) -> Iterator[Pass]:
    """The forward passes of a unit, as even as can be."""
    total = len(unit.tokens)
    edges = np.linspace(0, total, -(-total // batch_tokens) + 1).round().astype(int).tolist()
    for start, stop in pairwise(edges):
        cached = int(unit.depth[start])
        sees = np.minimum.accumulate(unit.depth[start:stop])
        keep = np.zeros(0, dtype=np.int64)
        if stop < total:
            own = np.flatnonzero(unit.end[start:stop] > stop)
            keep = np.concatenate([np.arange(min(int(sees[-1]), int(unit.depth[stop]))), cached + own])
        yield Pass(start, stop, cached, sees, keep)


@dataclass(frozen=True)
class Leaf:
    """One row of a plain batch: a trie's path to a leaf, and what is asked along it.

    Args:
        tokens: (tokens,)
        node: (asked,) positions in the path.
        token: (asked,)
        asked: which of the tree's asked pairs these are; each belongs to one path.
        first, last: the tree's nodes that belong to this path, from the one to before the other.
    """

    tokens: Ints
    node: Ints
    token: Ints
    asked: slice
    first: int
    last: int


def batches(tree: Tree, batch_tokens: int) -> list[list[Leaf]]:
    """The paths to all leaves, the longest first, in batches of at most `batch_tokens` tokens with padding."""
    leaves = np.flatnonzero(tree.end == np.arange(len(tree.end)) + 1)
    edges = np.searchsorted(tree.node, np.concatenate([[0], leaves + 1])).tolist()
    found: list[list[Leaf]] = []
    for number in np.argsort(-tree.depth[leaves], kind="stable").tolist():
        last = int(leaves[number])
        nodes = tree.path(last)
        asked = slice(edges[number], edges[number + 1])
        row = Leaf(
            tokens=tree.tokens[nodes],
            node=tree.depth[tree.node[asked]],
            token=tree.token[asked],
            asked=asked,
            first=int(leaves[number - 1]) + 1 if number else 0,
            last=last + 1,
        )
        if not found or (len(found[-1]) + 1) * len(found[-1][0].tokens) > batch_tokens:
            found.append([])
        found[-1].append(row)
    return found
