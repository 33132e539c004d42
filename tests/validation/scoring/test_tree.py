"""The trie: every distinct token once, each seeing its own beginning, however the work is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfvaccine.validation.scoring.tree import batches, grow, passes, units

ROWS = st.lists(
    st.tuples(st.lists(st.integers(0, 2), min_size=2, max_size=12), st.integers(0, 10)).map(
        lambda row: (row[0], 1 + row[1] % (len(row[0]) - 1))
    ),
    max_size=20,
)


def beginnings(rows):
    return {tuple(ids[:length]) for ids, _ in rows for length in range(1, len(ids))}


@given(ROWS)
def test_a_tree_has_every_beginning_once_and_every_answer(rows):
    tree = grow(rows)
    assert {tuple(tree.tokens[tree.path(node)]) for node in range(len(tree.tokens))} == beginnings(rows)
    assert len(tree.tokens) == len(beginnings(rows))
    for number, (ids, start) in enumerate(rows):
        asked = tree.answers[tree.offsets[number] : tree.offsets[number + 1]]
        assert tree.token[asked].tolist() == list(ids[start:])
        for place, node in enumerate(tree.node[asked], start=start):
            assert tree.tokens[tree.path(node)].tolist() == list(ids[:place])


@given(ROWS, st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing_in_a_tree(rows, shuffle):
    again = rows + rows
    shuffle.shuffle(again)
    one, other = grow(rows), grow(again)
    for name in ("tokens", "depth", "end", "branches", "above", "node", "token"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist(), name


@given(ROWS, st.integers(1, 7))
def test_passes_show_each_node_its_own_beginning(rows, batch_tokens):
    tree = grow(rows)
    computed, asked = [], []
    for unit in units(tree, batch_tokens):
        cache = []
        asked.extend(range(unit.asked.start, unit.asked.stop))
        for step in passes(unit, batch_tokens):
            assert len(cache) == step.cached and step.stop - step.start <= batch_tokens
            for node in range(step.start, step.stop):
                own = [other for other in range(step.start, node + 1) if node < unit.end[other]]
                seen = cache[: step.sees[node - step.start]] + own
                whole = tree.path(unit.first + node - unit.stem if node >= unit.stem else unit.first)
                assert unit.tokens[seen].tolist() == tree.tokens[whole][: len(seen)].tolist()
                assert len(seen) == unit.depth[node] + 1
            there = [*cache, *range(step.start, step.stop)]
            cache = [there[kept] for kept in step.keep]
        computed.extend(range(unit.first, unit.first + len(unit.tokens) - unit.stem))
        assert unit.token.tolist() == tree.token[unit.asked].tolist()
    assert computed == list(range(len(tree.tokens)))
    assert asked == list(range(len(tree.node)))


@given(ROWS, st.integers(1, 40))
def test_plain_batches_ask_everything_once(rows, batch_tokens):
    tree = grow(rows)
    asked, done = np.zeros(len(tree.node)), np.zeros(len(tree.tokens))
    for batch in batches(tree, batch_tokens):
        assert len(batch) == 1 or len(batch) * max(len(leaf.tokens) for leaf in batch) <= batch_tokens
        for leaf in batch:
            asked[leaf.asked] += 1
            done[leaf.first : leaf.last] += 1
            for node, place in zip(tree.node[leaf.asked], leaf.node, strict=True):
                assert leaf.tokens[: place + 1].tolist() == tree.tokens[tree.path(node)].tolist()
            assert leaf.token.tolist() == tree.token[leaf.asked].tolist()
    assert (asked == 1).all() and (done == 1).all()


def asked_after(primer, questions, answers, rng):
    """Rows as of a benchmark: one beginning, questions of 20 tokens, answers of 10."""
    for _ in range(questions):
        context = np.concatenate([primer, rng.integers(0, 49_000, 20)])
        for _ in range(answers):
            yield np.concatenate([context, rng.integers(0, 49_000, 10)]), len(context)


@given(st.integers(0, 700), st.sampled_from([64, 256, 512]), st.integers(2, 8), st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_units_compute_few_tokens_twice(primer, batch_tokens, answers, seed):
    rng = np.random.default_rng(seed)
    tree = grow(list(asked_after(rng.integers(0, 49_000, primer), 200, answers, rng)))
    computed = sum(len(unit.tokens) for unit in units(tree, batch_tokens))
    assert computed <= 1.3 * len(tree.tokens)
    assert max(len(unit.tokens) for unit in units(tree, batch_tokens)) <= 9 * max(batch_tokens, primer + 30)


def test_a_unit_is_cut_where_its_stem_is_short():
    rng = np.random.default_rng(0)
    tree = grow(list(asked_after(rng.integers(0, 49_000, 100), 300, 6, rng)))
    assert {unit.stem for unit in units(tree, 256)} == {0, 100}


def test_a_long_text_stays_whole():
    (unit,) = units(grow([(range(5000), 1)]), 64)
    assert len(list(passes(unit, 64))) == -(-4999 // 64)


@pytest.mark.slow
def test_sixty_thousand_rows_are_planned_in_seconds():
    import time

    rng = np.random.default_rng(0)
    rows = list(asked_after(rng.integers(0, 49_000, 220), 7500, 8, rng))
    begun = time.perf_counter()
    assert sum(len(unit.tokens) for unit in units(grow(rows), 512)) < 1_000_000
    assert time.perf_counter() - begun < 10
