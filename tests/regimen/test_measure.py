"""What a row is known by: lengths, and checksums that tell rows apart."""

import numpy as np
import torch
from datasets import Dataset as Rows
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine.regimen.measure import IGNORED, measure, scramble

IDS = st.lists(st.integers(0, 200_000), min_size=1, max_size=20)


def rows(*pairs):
    return Rows.from_dict({"input_ids": [p[0] for p in pairs], "labels": [p[1] for p in pairs]})


def checksum(ids, labels):
    return int(measure(rows((ids, labels))).checksums[0])


def test_tokens_and_supervised_tokens_are_counted():
    measured = measure(rows(([5, 6, 7], [IGNORED, 6, 7]), ([8], [8]), ([1, 2], [IGNORED, IGNORED])), batch_size=2)
    assert measured.lengths.tokens.tolist() == [3, 1, 2]
    assert measured.lengths.supervised.tolist() == [2, 0, 0]  # a first token is never predicted


def test_a_selection_is_measured_in_its_own_order():
    whole = rows(([5, 6], [5, 6]), ([7], [7]), ([8, 9, 9], [8, 9, 9]))
    assert measure(whole.select([2, 0])).checksums.tolist() == measure(whole).checksums[[2, 0]].tolist()


@given(st.lists(IDS, min_size=1, max_size=8), st.integers(1, 3))
def test_batches_do_not_change_what_is_measured(many, batch_size):
    data = rows(*[(ids, ids) for ids in many])
    assert measure(data, batch_size).checksums.tolist() == measure(data).checksums.tolist()


@given(IDS, st.data())
def test_a_checksum_changes_with_any_token_label_or_order(ids, data):
    labels = list(ids)
    before = checksum(ids, labels)
    at = data.draw(st.integers(0, len(ids) - 1))
    assert checksum([*ids[:at], ids[at] + 1, *ids[at + 1 :]], labels) != before
    if at > 0:
        assert checksum(ids, [*labels[:at], IGNORED, *labels[at + 1 :]]) != before
    if ids[::-1] != ids:
        assert checksum(ids[::-1], labels[::-1]) != before


def test_the_first_label_says_nothing():
    assert checksum([5, 6], [5, 6]) == checksum([5, 6], [IGNORED, 6])


@given(IDS)
def test_numpy_and_torch_agree(ids):
    place = list(range(len(ids)))
    with np.errstate(over="ignore"):
        ours = scramble(np.array(ids), np.array(ids), np.array(place))
    assert scramble(torch.tensor(ids), torch.tensor(ids), torch.tensor(place)).tolist() == ours.tolist()


def test_nothing_is_measured_as_nothing():
    assert len(measure(rows()).lengths) == 0
