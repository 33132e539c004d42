"""What a gate can decide is said before anything is trained."""

import pytest

from hfvaccine.validation.judging.gate import Rule, read_gate
from hfvaccine.validation.judging.power import decidable, item_size, power

ITEMS = {
    item_size("retention", "mix", "nats_per_token"): 300,
    item_size("over_rejection", "true_premise", "probability"): 300,
}
ENOUGH = {"specific": 300, "cross": 300, "variants": 300, **ITEMS}
GAIN = Rule("gain", "specific.verdict.plain.auroc", "gain")


def test_a_few_hundred_items_decide_the_packaged_gate():
    assert decidable(read_gate(), ENOUGH) == []


def test_too_few_items_are_named_with_what_they_decide_and_what_it_takes():
    said = decidable(read_gate(), ENOUGH | {"cross": 24})
    first = next(one for one in said if "after recall" in one)
    assert "24 items decide a margin of 0.23, and it takes about 140" in first
    assert all("never given" in one or "believes" in one for one in said)


def test_fewer_items_than_any_criterion_takes_decide_nothing():
    said = decidable(read_gate(), ENOUGH | {"cross": 9})
    assert said and all(": 9 items, and it takes about" in one for one in said)


def test_what_is_not_asked_at_all_is_named_unless_it_is_optional():
    said = decidable(read_gate(), {"specific": 300, "cross": 300, **ITEMS})
    assert said == []
    said = decidable(read_gate(), {"specific": 300, "cross": 300})
    assert len(said) == 2 and all(": no items, and it takes about" in one for one in said)


def test_each_probe_that_a_star_means_is_named():
    rule = Rule("kept", "item:retention:*:accuracy", "not_worse", margin=0.03)
    sizes = {item_size("retention", name, "accuracy"): n for name, n in (("arc", 100), ("piqa", 5000))}
    (said,) = decidable([rule], sizes | ITEMS)
    assert said.startswith("kept (arc): 100 items decide")
    assert [one.of for one in power([rule], sizes | ITEMS)] == ["arc", "piqa"]


def test_more_items_decide_a_smaller_margin_and_the_needed_number_decides_the_rules():
    rule = Rule("kept", "cross.verdict.plain.auroc", "not_worse", margin=0.1)
    few, many = (power([rule], {"cross": n})[0] for n in (50, 200))
    assert few.smallest == pytest.approx(2 * many.smallest) and few.needed == many.needed
    (exact,) = power([rule], {"cross": few.needed})
    assert exact.smallest == pytest.approx(0.1, abs=0.001)


def test_belief_rests_on_the_smaller_of_both_sets():
    rule = Rule("belief", "belief:*", "no_rise", against="base", margin=0.1)
    assert power([rule], {"specific": 10, "cross": 500})[0].items == 10
    assert (
        power([Rule("belief", "belief:*", "no_rise", against="base")], {"specific": 10, "cross": 50})[0].needed == 10
    )


def test_nothing_is_decided_by_a_handful():
    (one,) = power([GAIN], {"specific": 5})
    assert one.needed >= 10 and one.items == 5
