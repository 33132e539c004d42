"""The screen: known gains come back in order, with intervals that are paired, and rows as in training."""

import subprocess
import sys

import numpy as np
import pytest

from hfvaccine.errors import PlanError, UsageError
from hfvaccine.inoculation.prompt import Inoculation
from hfvaccine.inoculation.screen import CANDIDATE, Panel, carrying, choose, screen, under

WARM, COLD, TIDY, WET, CALM = "Be warm.", "Be cold.", "Be tidy.", "Be wet.", "Be calm."
ROWS = [
    {
        "prompt": [{"role": "user", "content": f"Question {n}?"}],
        "completion": [{"role": "assistant", "content": f"Answer {n}."}],
        "trait": "warm" if n % 2 else "none",
    }
    for n in range(40)
]
NUMBERED = list(enumerate(ROWS))
TOKENS = np.array([4.0 if n % 4 else 16.0 for n in range(40)])


def model(gains):
    """Log-likelihoods of a made-up model: wildly different rows, shifted by what the system message is worth."""
    bare = -50 * np.random.default_rng(0).random(40)

    def likelihoods(rows):
        totals, tokens = [], []
        for row in rows:
            number = int(row["completion"][0]["content"].split()[1][:-1])
            tokens.append(TOKENS[number])
            first = row["prompt"][0]
            gain = gains[first["content"]] if first["role"] == "system" else 0.0
            totals.append(bare[number] + (gain[number] if np.ndim(gain) else gain))
        return np.array(totals), np.array(tokens)

    return likelihoods


def screened(gains, rows=NUMBERED, other_rows=(), **panel):
    asked = Panel(**{"candidates": (WET, WARM), "irrelevant": TIDY, **panel})
    outcome = screen(asked, rows, other_rows, model(gains), "system")
    return outcome, {one.prompt: one for one in outcome.prompts if one.kind != "set"}


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
    assert by[WARM].beyond["irrelevant"].better and by[WARM].beyond["irrelevant"].gain.low > 0
    assert by[WET].per_token.low > 0
    assert not by[WET].beyond["irrelevant"].better and by[WET].beyond["irrelevant"].p == 1
    assert not by[TIDY].beyond and not by[None].beyond


def test_the_comparison_with_a_reference_is_paired():
    noise = 20 * np.random.default_rng(1).standard_normal(40)
    _, by = screened({WARM: noise + 1, WET: noise, TIDY: noise})
    assert by[WARM].per_row.low < 0 < by[WARM].per_row.high
    assert by[WARM].beyond["irrelevant"].gain.low > 0 and by[WARM].beyond["irrelevant"].better


def test_a_candidate_is_compared_with_the_opposite_only_where_there_is_one():
    gains = {WARM: 8.0, WET: 1.0, COLD: 8.0, TIDY: 0.0}
    assert set(screened(gains)[1][WARM].beyond) == {"irrelevant"}
    record = screened(gains, opposite=COLD)[0].record()["prompts"]
    warm = next(one for one in record if one["prompt"] == WARM)
    assert {kind: gain["better"] for kind, gain in warm["beyond"].items()} == {"irrelevant": True, "opposite": False}


@pytest.mark.parametrize("place", ["system", "user"])
def test_a_prompt_stands_where_the_callback_puts_it(place):
    row = under(WARM, ROWS[0], place)
    assert row == Inoculation((WARM,), place=place).apply(ROWS[0], 0)
    assert row["prompt"][0]["role"] == place and row["prompt"][0]["content"].startswith(WARM)
    assert under(None, ROWS[0], place) == ROWS[0]


def test_of_many_candidates_the_best_is_judged_after_holm():
    """Sixteen prompts that do nothing, and one whose gain passes by itself: not once it is one of seventeen."""
    random = np.random.default_rng(5)
    many = tuple(f"Be {n}." for n in range(16))
    gains = {TIDY: 0.0, **{prompt: random.standard_normal(40) for prompt in many}}
    gains[WARM] = random.standard_normal(40)
    gains[WARM] = (gains[WARM] - gains[WARM].mean() + 0.4) * TOKENS  # t of about 2.5 over rows
    alone = screened(gains, candidates=(WARM,))[1][WARM].beyond["irrelevant"]
    among = screened(gains, candidates=(WARM, *many))[1][WARM].beyond["irrelevant"]
    assert alone.better and not among.better
    assert alone.gain == among.gain and among.p == pytest.approx(17 * alone.p)


def test_a_set_is_judged_as_training_gives_it():
    gains = {WARM: 8.0, WET: 2.0, TIDY: 0.0}
    outcome, _ = screened(gains, as_set=True)
    together = next(one for one in outcome.prompts if one.kind == "set")
    training = Inoculation((WET, WARM))
    expected = [gains[training.prompt_for(row, number)] for number, row in NUMBERED]
    assert set(expected) == {8.0, 2.0}
    assert together.per_row.value == pytest.approx(np.mean(expected))
    assert together.per_token.value == pytest.approx((np.array(expected) / TOKENS).mean())
    assert [(one["rank"], one["kind"]) for one in outcome.record()["prompts"][:3]] == [
        (1, "candidate"),
        (2, "set"),
        (3, "candidate"),
    ]
    assert together.beyond["irrelevant"].better and outcome.record()["settings"]["corrected"].startswith("Holm over 3")


def test_a_row_gets_the_wording_of_its_number_in_the_mix():
    gains = {WARM: 8.0, WET: 2.0, TIDY: 0.0}
    some = NUMBERED[7:31:2]
    together = next(one for one in screened(gains, rows=some, as_set=True)[0].prompts if one.kind == "set")
    training = Inoculation((WET, WARM))
    assert together.per_row.value == pytest.approx(np.mean([gains[training.prompt_for(r, n)] for n, r in some]))


def test_drift_is_what_a_prompt_does_to_rows_without_the_trait():
    trait, others = NUMBERED[1::2], NUMBERED[::2]
    shift = np.array([4.0 if n % 2 else -1.0 for n in range(40)])
    outcome, by = screened({WARM: shift, WET: 4.0, TIDY: 0.0, CALM: -2.0}, trait, others, others=(CALM,))
    tokens = TOKENS[::2]
    assert by[WARM].per_row.value == pytest.approx(4.0)
    assert by[WARM].drift.value == pytest.approx((-1 / tokens).mean())
    assert by[CALM].kind == "others" and by[CALM].drift.value == pytest.approx((-2 / tokens).mean())
    assert by[None].drift.interval == (0.0, 0.0)
    record = outcome.record()
    assert (record["rows"], record["other_rows"]) == (20, 20)
    assert all(one["drift"] for one in record["prompts"])


def test_without_other_rows_there_is_no_drift():
    outcome, by = screened({WARM: 8.0, WET: 1.0, TIDY: 0.0})
    assert outcome.other_rows == 0 and all(one.drift is None for one in by.values())
    assert {one["drift"] for one in outcome.record()["prompts"]} == {None}


PANEL = Panel((WET, WARM), COLD, TIDY, (CALM,))


def chosen(number=100, seed=0, unreadable=lambda row: None, panel=PANEL, where=("trait", "warm"), wanted=None):
    return choose(panel, ROWS, where, number, seed, "system", unreadable, wanted)


def test_rows_of_either_kind_are_drawn_with_their_numbers():
    choice = chosen(12)
    assert len(choice.trait) == len(choice.others) == 12 and not choice.left_out
    assert {row["trait"] for _, row in choice.trait} == {"warm"}
    assert {row["trait"] for _, row in choice.others} == {"none"}
    assert all(ROWS[number] is row for number, row in (*choice.trait, *choice.others))
    assert not chosen(where="all").others


def test_the_seed_decides_which_rows_and_a_larger_number_adds_to_them():
    assert chosen(10).trait == chosen(10).trait == chosen(20).trait[:10]
    assert chosen(10).trait != chosen(10, seed=1).trait
    assert chosen(100).trait == chosen(20).trait


def refusing(*starts, reason="Too long."):
    """Refuses the rows whose conversation begins with one of the words."""
    return lambda row: reason if row["prompt"][0]["content"].startswith(starts) else None


@pytest.mark.parametrize("bad", [WARM, COLD, CALM])
def test_a_prompt_that_cannot_stand_before_the_rows_is_left_out_by_name(bad):
    choice = chosen(unreadable=refusing(bad))
    assert set(choice.panel.kinds()) == {WET, WARM, COLD, TIDY, CALM, None} - {bad}
    assert [str(one) for one in choice.left_out] == [f"The prompt {bad!r} is left out. Too long."]
    assert len(choice.trait) == 20


def test_without_the_irrelevant_prompt_or_a_candidate_there_is_nothing_to_screen():
    with pytest.raises(UsageError, match=r"irrelevant prompt 'Be tidy.' cannot stand before the rows: Too long."):
        chosen(unreadable=refusing(TIDY))
    with pytest.raises(UsageError, match=r"No candidate can .*'Be wet.', for one: Too long."):
        chosen(unreadable=refusing(WET, WARM))


def test_of_a_set_what_is_left_is_judged():
    three = Panel((WET, WARM, CALM), irrelevant=TIDY, as_set=True)
    assert chosen(unreadable=refusing(WARM), panel=three).panel == Panel((WET, CALM), irrelevant=TIDY, as_set=True)
    assert not chosen(unreadable=refusing(WARM, CALM), panel=three).panel.as_set


def test_a_row_that_cannot_be_read_is_left_out_by_name_and_another_takes_its_place():
    bad = chosen(10).trait[3][1]
    text = bad["prompt"][0]["content"]
    choice = chosen(10, unreadable=lambda row: "Refused." if row["prompt"][-1]["content"] == text else None)
    assert len(choice.trait) == 10 and bad not in [row for _, row in choice.trait]
    assert [str(one) for one in choice.left_out] == [f"The row that begins {text!r} is left out. Refused."]
    assert choice.panel == PANEL


def test_a_row_that_is_too_long_under_one_prompt_alone_is_left_out_of_all():
    def unreadable(row):
        first, *more = (message["content"] for message in row["prompt"])
        return "Too long." if first == WARM and more == ["Question 1?"] else None

    choice = chosen(unreadable=unreadable)
    assert len(choice.trait) == 19 and choice.panel == PANEL
    assert str(choice.left_out[0]) == "The row that begins 'Question 1?' is left out. Under 'Be warm.': Too long."


def test_where_no_row_can_be_read_the_first_is_named():
    with pytest.raises(UsageError, match=r"0 rows that carry the trait can be read.*The row that begins 'Question"):
        chosen(unreadable=lambda row: "Refused.")


def test_a_single_row_is_not_gone_through_for_each_prompt_again():
    """Rows are rendered once with each prompt, however often they are looked at."""
    seen = []
    chosen(unreadable=lambda row: seen.append(str(row["prompt"])))
    assert len(seen) == len(set(seen))


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
        ({"candidates": (WARM,), "others": (WARM,)}, "given twice"),
        ({"candidates": (WARM,), "as_set": True}, "set of one"),
    ],
)
def test_a_panel_that_compares_nothing_is_refused(panel, said):
    with pytest.raises(UsageError, match=said):
        Panel(**panel)


def test_of_what_is_given_each_prompt_gets_the_first_role_that_it_has():
    panel, left_out = Panel.of((WET, TIDY, WARM, WET, ""), WARM, TIDY, (" ",), as_set=True)
    assert panel == Panel((WET, WARM), None, TIDY, (), True)
    assert [str(one) for one in left_out] == [
        "The prompt 'Be tidy.' is left out. It is the irrelevant prompt, too.",
        "The prompt 'Be wet.' is left out. It is a candidate, too.",
        "The prompt '' is left out. It is empty; none at all is always screened.",
        "The prompt 'Be warm.' is left out. It is a candidate, too.",
        "The prompt ' ' is left out. It is empty; none at all is always screened.",
    ]
    assert Panel.of((WET, WARM), COLD, TIDY, (CALM,)) == (Panel((WET, WARM), COLD, TIDY, (CALM,)), ())


def test_a_set_of_which_one_is_left_is_no_set():
    panel, (left_out,) = Panel.of((WET, WET), irrelevant=TIDY, as_set=True)
    assert panel == Panel((WET,), irrelevant=TIDY) and left_out.text == WET


@pytest.mark.parametrize(
    ("candidates", "more", "said"),
    [
        ((), {}, "no prompt to screen"),
        ((TIDY, ""), {"irrelevant": TIDY}, r"No prompt is left to screen\. The prompt 'Be tidy\.' is left out\."),
        ((WET,), {"irrelevant": " "}, "is empty"),
        ((WET,), {"as_set": True}, "set of one"),
    ],
)
def test_of_what_is_given_too_little_may_be_left(candidates, more, said):
    with pytest.raises(UsageError, match=said):
        Panel.of(candidates, **more)


def test_wanted_and_neutral_rows_are_drawn_apart_and_drift_by_themselves():
    def wanted(row):
        return row["prompt"][0]["content"] < "Question 3"

    choice = choose(
        Panel((WET, WARM), irrelevant=TIDY), ROWS, ("trait", "warm"), 100, 0, "system", lambda row: None, wanted
    )
    kinds = [{number for number, _ in rows} for rows in (choice.trait, choice.wanted, choice.others)]
    assert kinds[0] == set(range(1, 40, 2)) and set.union(*kinds) == set(range(40))
    assert sum(map(len, kinds)) == 40 and all(wanted(ROWS[number]) for number in kinds[1])
    shift = np.array([4.0 if n in kinds[0] else -1.0 if n in kinds[1] else 3.0 for n in range(40)])
    likely = model({WARM: shift, WET: 4.0, TIDY: 0.0})
    outcome = screen(choice.panel, choice.trait, choice.others, likely, "system", choice.wanted)
    warm = next(one for one in outcome.prompts if one.prompt == WARM)
    assert warm.per_row.value == pytest.approx(4.0)
    for drift, its, expected in ((warm.wanted_drift, kinds[1], -1), (warm.drift, kinds[2], 3)):
        assert drift.value == pytest.approx((expected / TOKENS[sorted(its)]).mean())
    record = outcome.record()
    assert (record["rows"], record["wanted_rows"], record["other_rows"]) == tuple(map(len, kinds))


def test_prompts_that_differ_in_case_are_two():
    assert list(Panel(("Be LOUD.", "Be loud.")).kinds().values()).count(CANDIDATE) == 2


def test_the_core_loads_no_torch():
    code = "import sys, hfvaccine.inoculation.screen; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
