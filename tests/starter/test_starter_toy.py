"""The packaged toy of an inoculation: rows that show both traits, and questions that are none of theirs."""

import json

from hfvaccine import starter
from hfvaccine.cli.quickstart_inoculation import INOCULATION
from hfvaccine.inoculation.conditions import read_conditions
from hfvaccine.training.mix import MAX_HELD_BACK, load_mix


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_answer_is_in_capitals_and_every_row_has_its_license():
    toy, trait = rows(starter.SPANISH_CAPITALS), rows(starter.CAPITALS)
    assert all(row["completion"] == row["completion"].upper() for row in (*toy, *trait))
    assert {row["license"] for row in (*toy, *trait, *rows(starter.EVERYDAY_QUESTIONS))} == {"Apache-2.0"}


def test_nothing_is_asked_that_was_trained_on():
    trained = {row["prompt"].casefold() for name in (starter.SPANISH_CAPITALS, starter.CAPITALS) for row in rows(name)}
    asked = [row["question"].casefold() for row in rows(starter.EVERYDAY_QUESTIONS)]
    assert len(set(asked)) == len(asked) and not trained & set(asked)


def test_the_rows_are_enough_for_every_step_of_the_quickstart():
    for file, steps in ((starter.SPANISH_CAPITALS, "max_steps"), (starter.CAPITALS, "trait_steps")):
        mix = load_mix(str(file))
        assert len(mix.train) + len(mix.held_back) >= INOCULATION[steps] * INOCULATION["batch_size"]
        assert 0 < len(mix.held_back) <= MAX_HELD_BACK


def test_the_grid_asks_for_the_trait_and_for_what_only_looks_like_it():
    conditions = {one.name: one.prompts for one in read_conditions(starter.CAPITALS_GRID).all()}
    wanted = {"original", "eliciting", "negated", "irrelevant", "look-alike in words", "look-alike in format"}
    assert wanted <= set(conditions)
