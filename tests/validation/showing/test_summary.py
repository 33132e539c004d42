"""What a validation comes to on one screen: no wider, no longer, and with acceptance beside rejection."""

import copy

import pytest
from samples import trial

from hfvaccine.validation.showing.lookup import index
from hfvaccine.validation.showing.sentences import WIDTH
from hfvaccine.validation.showing.summary import OPEN, summary


@pytest.fixture(scope="module")
def results():
    return trial(arms=("base", "placebo", "controls", "vaccine"))[0]


def row(lines, name):
    return next(line for line in lines if line.startswith(f"  {name}"))


def test_it_fits_on_a_screen_of_100_columns_even_where_nothing_passed(results):
    failed = copy.deepcopy(results)
    for criterion in failed["gate"]["criteria"]:
        criterion["verdict"] = "failed"
    lines = summary(failed)
    assert len(lines) <= 16 and max(map(len, lines)) <= WIDTH
    assert sum(line.startswith("  failed: ") for line in lines) == OPEN
    more = len(failed["gate"]["criteria"]) - OPEN
    assert f"  And {more} more that did not pass: see --full." in lines


def test_the_verdict_comes_first_and_the_numbers_are_those_of_the_results(results):
    lines, at = summary(results), index(results)
    assert lines[0].startswith(f"Gate: {results['gate']['verdict'].upper()} (")
    said = " ".join(" ".join(lines).split())
    for arm in ("base", "placebo", "vaccine"):
        for probe, name in (("specific", "given claims"), ("cross", "claims never given")):
            one = at[probe, "verdict", "plain", "auroc", arm]
            low, high = one["interval"]
            its = f"{arm} {100 * one['value']:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"
            assert its in row(lines, f"{name} ({one['pairs']} pairs): "), its
        rates = [at["specific", "verdict", "plain", one, arm]["value"] for one in ("rejection", "true_acceptance")]
        assert "{} {:.0%} and {:.0%}".format(arm, *rates).replace("%", " %") in said
    assert "FALSE said to all 100 % and 0 %" in said


def test_a_base_alone_is_shown_without_a_gate():
    lines = summary(trial(arms=("base",), conditions=("plain",))[0])
    assert lines[0].startswith("Gate: NONE") and " pairs): base " in row(lines, "given claims (")
