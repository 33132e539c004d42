"""Checks: what does not belong together is refused by name, before anything is computed or written."""

from dataclasses import replace

import numpy as np
import pytest
from validation.judging.arms import ITEMS, PROBES, arm, ids

from hfvaccine.errors import ValidationError
from hfvaccine.validation.judging.checks import check
from hfvaccine.validation.scores import BASE, CUE, VACCINE, ArmScores, PairScores


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("what", ["pairs", "items"])
def test_scores_that_are_not_numbers_are_refused_by_name(bad, what):
    broken = arm()
    if what == "pairs":
        broken.pairs[PROBES[0].key].twin[5] = bad
    else:
        broken.items["mix", ""][5] = bad
    with pytest.raises(ValidationError) as refused:
        check(PROBES, ITEMS, {VACCINE: [broken]})
    assert "vaccine" in refused.value.message
    assert ("specific verdict plain at specific5" if what == "pairs" else "mix at mix5") in refused.value.message


@pytest.mark.parametrize(
    "pairs, items, arms, said",
    [
        ([*PROBES, PROBES[0]], ITEMS, {BASE: [arm()]}, "specific verdict plain is there twice"),
        (PROBES[1:], ITEMS, {BASE: [arm()]}, "specific verdict plain, which is no probe"),
        (PROBES, ITEMS, {CUE: [arm()]}, "called 'cue audit'"),
        ([replace(PROBES[0], ids=(*ids("x", 79), "x0"))], [], {}, "items with one id"),
        ([replace(PROBES[0], domains=())], [], {}, "without a domain"),
        ([PROBES[0]], [], {BASE: [ArmScores({PROBES[0].key: PairScores(np.ones(5), np.ones(5))})]}, "shape (5,)"),
    ],
)
def test_what_does_not_belong_together_is_refused(pairs, items, arms, said):
    with pytest.raises(ValidationError) as refused:
        check(pairs, items, arms)
    assert said in refused.value.message and refused.value.next_step
