"""What a validation comes to on one screen: no wider, no longer, and with acceptance beside rejection."""

import copy
import io

import pytest
from rich.console import Console
from samples import trial

from hfvaccine.validation.showing.lookup import cell, index
from hfvaccine.validation.showing.summary import OPEN, summary


@pytest.fixture(scope="module")
def results():
    return trial(arms=("base", "placebo", "controls", "vaccine"))[0]


def printed(results, width=100):
    out = io.StringIO()
    Console(file=out, width=width).print(summary(results))
    return out.getvalue().splitlines()


def row(lines, name):
    return next(line for line in lines if line.startswith(name))


def test_it_fits_on_a_screen_of_100_columns_even_where_nothing_passed(results):
    failed = copy.deepcopy(results)
    for criterion in failed["gate"]["criteria"]:
        criterion["verdict"] = "failed"
    lines = printed(failed)
    assert len(lines) <= 30 and max(map(len, lines)) <= 100
    assert sum(line.startswith("  failed: ") for line in lines) == OPEN
    assert any(line == f"  And {len(failed['gate']['criteria']) - OPEN} more that did not pass." for line in lines)


def test_the_verdict_comes_first_and_the_numbers_are_those_of_the_results(results):
    lines, at = printed(results), index(results)
    assert lines[0].startswith(f"Gate: {results['gate']['verdict'].upper()} (")
    for arm in ("base", "placebo", "vaccine"):
        assert cell(at["specific", "verdict", "plain", "auroc", arm]) in row(lines, "given claims (")
        rates = [at["specific", "verdict", "plain", one, arm]["value"] for one in ("rejection", "true_acceptance")]
        assert "{:.2f} / {:.2f}".format(*rates) in row(lines, "given claims: rejects false / accepts true")


def test_a_base_alone_is_shown_without_a_gate():
    lines = printed(trial(arms=("base",), conditions=("plain",))[0])
    assert lines[0].startswith("Gate: NONE") and any(line.split()[:1] == ["base"] for line in lines)
