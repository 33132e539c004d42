"""Errors: one message with its next step, and the exit code that a command takes."""

import pytest

from hfvaccine import errors


def test_an_error_reads_as_message_and_next_step():
    error = errors.PlanError("The mix is empty.", "Add rows to the mix.")
    assert str(error) == "The mix is empty. Add rows to the mix."


def test_an_error_without_next_step_has_no_trailing_space():
    assert str(errors.DoseError("No dose.")) == "No dose."


def test_wrong_usage_exits_with_2():
    assert errors.UsageError("x").exit_code == 2


@pytest.mark.parametrize("error", [errors.ClaimError, errors.DoseError, errors.ModelError, errors.RunInterrupted])
def test_everything_else_exits_with_1(error):
    assert error("x").exit_code == 1
