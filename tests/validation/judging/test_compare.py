"""Two runs compared: on the items of both, paired, and without numbers where there is too little in common."""

from dataclasses import replace

import numpy as np
import pytest
from validation.judging.arms import ITEMS, PAIRS, PROBES, arm, ids

from hfvaccine.errors import ValidationError
from hfvaccine.validation.judging.compare import compare
from hfvaccine.validation.judging.metrics import auroc
from hfvaccine.validation.judging.score_file import write_scores
from hfvaccine.validation.scores import BASE, VACCINE, ArmScores, PairProbe, PairScores


@pytest.fixture
def two_runs(tmp_path):
    """Two vaccines; the second was asked about 60 of the first's 80 given claims and 10 others, in another order."""
    first, second = arm(truth=1, seed=1), arm(truth=0, seed=2)
    write_scores(PROBES, ITEMS, {BASE: [arm()], VACCINE: [first]}, tmp_path / "a.parquet")
    probe = PROBES[0]
    order = np.random.default_rng(0).permutation(60)
    other = PairProbe(
        *probe.key, tuple(f"specific{i}" for i in order) + ids("new", 10), ids("c", 70), ("health",) * 70
    )
    scores = second.pairs[probe.key]
    cut = PairScores(*(np.concatenate([side[order], side[:10]]) for side in (scores.claim, scores.twin)))
    arc = ITEMS[2]
    write_scores(
        [other],
        [arc, replace(ITEMS[3], metric="perplexity")],
        {VACCINE: [ArmScores({probe.key: cut}, {arc.key: second.items[arc.key], ("mix", ""): np.ones(PAIRS)})]},
        tmp_path / "b.parquet",
    )
    return tmp_path / "a.parquet", tmp_path / "b.parquet", first, second


def test_two_runs_are_compared_on_what_both_were_asked(two_runs):
    left, right, first, second = two_runs
    found = compare(left, right, ("old", "new"))
    (row,) = [row for row in found if row["metric"] == "auroc"]
    values = []
    for scores in (first.pairs[PROBES[0].key], second.pairs[PROBES[0].key]):
        shared = PairScores(scores.claim[:60], scores.twin[:60])
        values.append(float(auroc(shared)(np.ones((1, 60)))[0]))
    assert row["values"] == pytest.approx(values, abs=1e-4)
    assert row["difference"] == pytest.approx(values[0] - values[1], abs=1e-4)
    assert (row["arm"], row["against"], row["items"], row["only"]) == ("old", "new", 60, [20, 10])
    assert row["interval"][0] > 0 and row["detectable"] > 0 and not row["few"]
    (kept,) = [row for row in found if row["kind"] == "retention"]
    assert (kept["probe"], kept["items"], kept["only"], kept["difference"]) == ("arc_easy", 600, [0, 0], 0)


def test_comparing_the_other_way_round_turns_the_sign(two_runs):
    left, right, *_ = two_runs
    forth, back = compare(left, right), compare(right, left)
    assert [row["difference"] for row in forth] == [-row["difference"] for row in back]
    assert [row["only"] for row in forth] == [row["only"][::-1] for row in back]


def test_runs_with_too_little_in_common_have_no_numbers(tmp_path):
    probe = PROBES[0]
    for name, own in (("a", ids("x", 77)), ("b", ids("y", 77))):
        one = replace(probe, ids=own + ids("shared", 3))
        scores = {VACCINE: [ArmScores({probe.key: arm().pairs[probe.key]})]}
        write_scores([one], [], scores, tmp_path / name)
    for row in compare(tmp_path / "a", tmp_path / "b"):
        assert row["items"] == 3 and row["only"] == [77, 77]
        assert row["values"] is row["difference"] is row["interval"] is row["detectable"] is None


def test_a_run_without_a_vaccine_cannot_be_compared_with_one_that_has_one(tmp_path):
    write_scores(PROBES, ITEMS, {BASE: [arm()]}, tmp_path / "a")
    write_scores(PROBES, ITEMS, {BASE: [arm()], VACCINE: [arm()]}, tmp_path / "b")
    for pair in (("a", "b"), ("b", "a")):
        with pytest.raises(ValidationError, match="a has no scores of a vaccine"):
            compare(*(tmp_path / name for name in pair))


def test_bases_are_compared_where_neither_run_has_a_vaccine(tmp_path):
    for name, truth in (("a", 1), ("b", 0)):
        write_scores(PROBES, ITEMS, {BASE: [arm(truth=truth)]}, tmp_path / name)
    row = next(row for row in compare(tmp_path / "a", tmp_path / "b") if row["metric"] == "auroc")
    assert row["difference"] > 0 and row["interval"][0] > 0


def test_what_only_another_arm_was_asked_is_not_compared(tmp_path):
    scores = arm()
    of_vaccine = ArmScores({PROBES[0].key: scores.pairs[PROBES[0].key]})
    for name in ("a", "b"):
        write_scores(PROBES, ITEMS, {BASE: [scores], VACCINE: [of_vaccine]}, tmp_path / name)
    compared = {(row["probe"], row["reading"], row["condition"]) for row in compare(tmp_path / "a", tmp_path / "b")}
    assert compared == {PROBES[0].key}
