"""The screen: known gains come back in order, with intervals that are paired, and rows as in training."""

import subprocess
import sys

import numpy as np
import pytest

from hfvaccine.errors import PlanError, UsageError
from hfvaccine.inoculation.screen import CANDIDATE, Panel, carrying, draw, screen, under

WARM, COLD, TIDY, WET = "Be warm.", "Be cold.", "Be tidy.", "Be wet."
ROWS = [
    {
        "prompt": [{"role": "user", "content": f"Question {n}?"}],
        "completion": [{"role": "assistant", "content": f"Answer {n}."}],
        "trait": "warm" if n % 2 else "none",
    }
    for n in range(40)
]
TOKENS = np.array([4.0 if n % 4 else 16.0 for n in range(40)])


def model(gains):
    """Log-likelihoods of a made-up model: wildly different rows, shifted by what the system message is worth."""
    bare = -50 * np.random.default_rng(0).random(40)

    def likelihoods(rows):
        totals = []
        for row in rows:
            number = int(row["completion"][0]["content"].split()[1][:-1])
            first = row["prompt"][0]
            gain = gains[first["content"]] if first["role"] == "system" else 0.0
            totals.append(bare[number] + (gain[number] if np.ndim(gain) else gain))
        return np.array(totals), TOKENS[: len(rows)]

    return likelihoods


def screened(gains, **panel):
    outcome = screen(Panel(**{"candidates": (WET, WARM), "irrelevant": TIDY, **panel}), ROWS, model(gains), "system")
    return outcome, {one.prompt: one for one in outcome.prompts}


def test_prompts_are_ranked_by_gain_per_token_among_the_references():
    outcome, _ = screened({WARM: 8.0, WET: 1.0, COLD: -8.0, TIDY: 0.5}, opposite=COLD)
    assert [(one.prompt, one.kind) for one in outcome.prompts] == [
        (WARM, "candidate"),
        (WET, "candidate"),
        (TIDY, "irrelevant"),
        (None, "none"),
        (COLD, "opposite"),
    ]
    ranks = [one["rank"] for one in outcome.record()["prompts"]]
    assert ranks == [1, 2, None, None, None]


def test_a_constant_gain_comes_back_per_row_and_per_token():
    _, by = screened({WARM: 8.0, WET: -1.0, TIDY: 0.0})
    assert by[WARM].per_row.value == pytest.approx(8.0)
    assert by[WARM].per_row.interval == pytest.approx((8.0, 8.0))
    assert by[WARM].per_token.value == pytest.approx((8 / TOKENS).mean())  # of rows, however long they are
    assert (by[WARM].risen, by[WET].risen) == (1.0, 0.0)
    assert by[None].per_token.interval == (0.0, 0.0)


def test_the_surprise_without_a_prompt_is_the_cost_of_the_bare_rows():
    outcome, _ = screened({WARM: 8.0, WET: 1.0, TIDY: 0.0})
    bare, tokens = model({})(ROWS)
    assert outcome.surprise.value == pytest.approx((-bare / tokens).mean())


def test_a_gain_that_an_irrelevant_prompt_has_too_is_not_better():
    _, by = screened({WARM: 8.0, WET: 3.0, TIDY: 3.0})
    assert by[WARM].beyond["irrelevant"].low > 0
    assert by[WET].per_token.low > 0
    assert by[WET].beyond["irrelevant"].low <= 0
    assert not by[TIDY].beyond and not by[None].beyond


def test_the_comparison_with_a_reference_is_paired():
    noise = 20 * np.random.default_rng(1).standard_normal(40)
    _, by = screened({WARM: noise + 1, WET: noise, TIDY: noise})
    assert by[WARM].per_row.low < 0 < by[WARM].per_row.high
    assert by[WARM].beyond["irrelevant"].low > 0


def test_a_candidate_is_compared_with_the_opposite_only_where_there_is_one():
    gains = {WARM: 8.0, WET: 1.0, COLD: 8.0, TIDY: 0.0}
    assert set(screened(gains)[1][WARM].beyond) == {"irrelevant"}
    record = screened(gains, opposite=COLD)[0].record()["prompts"]
    warm = next(one for one in record if one["prompt"] == WARM)
    assert {kind: gain["better"] for kind, gain in warm["beyond"].items()} == {"irrelevant": True, "opposite": False}


@pytest.mark.parametrize("place", ["system", "user"])
def test_a_prompt_stands_where_the_callback_puts_it(place):
    from hfvaccine.inoculation.prompt import Inoculation

    row = under(WARM, ROWS[0], place)
    assert row == Inoculation((WARM,), place=place).apply(ROWS[0], 0)
    assert row["prompt"][0]["role"] == place and row["prompt"][0]["content"].startswith(WARM)
    assert under(None, ROWS[0], place) == ROWS[0]


def test_only_rows_that_carry_the_trait_are_drawn():
    found = carrying(ROWS, ("trait", "warm"))
    drawn, _ = draw(found, 12, 0, lambda row: True)
    assert len(found) == 20 and len(drawn) == 12
    assert {row["trait"] for row in drawn} == {"warm"}


def test_the_seed_decides_which_rows_and_a_larger_number_adds_to_them():
    def drawn(number, seed):
        return draw(ROWS, number, seed, lambda row: True)[0]

    assert drawn(10, 0) == drawn(10, 0) == drawn(20, 0)[:10]
    assert drawn(10, 0) != drawn(10, 1)
    assert drawn(100, 0) == drawn(40, 0)


def test_rows_that_do_not_fit_are_passed_over_and_counted():
    drawn, too_long = draw(ROWS, 100, 0, lambda row: row["trait"] == "warm")
    assert len(drawn) == too_long == 20
    with pytest.raises(UsageError, match="40 rows are longer"):
        draw(ROWS, 10, 0, lambda row: False)


def test_too_few_rows_are_refused_with_the_values_there_are():
    with pytest.raises(UsageError, match=r"0 rows carry the trait \(trait=warmth\)") as refused:
        carrying(ROWS, ("trait", "warmth"))
    assert refused.value.next_step == "The column 'trait' holds 'none', 'warm'."


def test_a_column_that_is_not_there_is_refused():
    with pytest.raises(PlanError, match="no column 'mood'"):
        carrying(ROWS, ("mood", "warm"))


@pytest.mark.parametrize(
    ("panel", "said"),
    [
        ({"candidates": ()}, "no prompt to screen"),
        ({"candidates": (WARM, " ")}, "is empty"),
        ({"candidates": (WARM, WARM)}, "given twice"),
        ({"candidates": (TIDY,), "irrelevant": TIDY}, "given twice"),
        ({"candidates": (WARM,), "opposite": WARM}, "given twice"),
    ],
)
def test_a_panel_that_compares_nothing_is_refused(panel, said):
    with pytest.raises(UsageError, match=said):
        Panel(**panel)


def test_prompts_that_differ_in_case_are_two():
    assert list(Panel(("Be LOUD.", "Be loud.")).kinds().values()).count(CANDIDATE) == 2


def test_the_core_loads_no_torch():
    code = "import sys, hfvaccine.inoculation.screen; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
