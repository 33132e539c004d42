"""Controls that are given by hand: what their papers say is held against the base, and that they have none is said."""

import pytest
from finished_runs import finished_run

from hfvaccine.errors import ModelError, UsageError
from hfvaccine.runs.validate import check_arm, compared
from hfvaccine.training.base import Base
from hfvaccine.training.mix import load_mix
from hfvaccine.training.progress import Progress

BASE = Base(None, None, "alice/tiny", "a" * 40, "own")


class Lines(Progress):
    def __init__(self):
        self.said = []

    def say(self, line):
        self.said.append(line)


def test_a_control_without_papers_is_said_to_have_none(tmp_path):
    progress = Lines()
    check_arm("placebo", str(tmp_path), BASE, progress)
    assert len(progress.said) == 1
    assert "has no immunization.json" in progress.said[0] and "placebo" in progress.said[0]


def test_a_control_of_this_base_is_taken_and_of_another_refused(tmp_path):
    progress = Lines()
    check_arm("placebo", str(finished_run(tmp_path / "a")), BASE, progress)
    other = finished_run(tmp_path / "b", base={"id": "alice/other"})
    with pytest.raises(ModelError, match="alice/other"):
        check_arm("placebo", str(other), BASE, progress)
    with pytest.raises(UsageError, match="neither a folder nor a Hub id"):
        check_arm("placebo", str(tmp_path / "nowhere" / "at" / "all"), BASE, progress)
    assert progress.said == []


def test_comparisons_are_those_of_the_record_by_their_digest(mix_file):
    """Fewer pairs stand in a record where some were left out, which say nothing of which they were."""
    mix = load_mix(str(mix_file))
    about = mix.comparing("starter").record()["comparisons"]
    again = compared(mix, {"mix": {"comparisons": {**about, "pairs": about["pairs"] - 1}}})
    assert len(again.train) == len(mix.train) + 2 * about["pairs"]
    assert compared(mix, {"mix": {"comparisons": {**about, "sha256": "0" * 64}}}) is mix
    assert compared(mix, {"mix": {"comparisons": None}}) is mix
