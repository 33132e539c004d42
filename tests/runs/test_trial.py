"""A trial: every share with every seed, controls once a seed, judged together; and it goes on where it stopped."""

import dataclasses
import json

import pytest
from doses import sealed
from progress import Stopping

from hfvaccine.errors import RunInterrupted, UsageError
from hfvaccine.files import RECORD, RESULTS
from hfvaccine.runs.trial import trial
from hfvaccine.training.options import Options


@pytest.fixture(scope="module")
def options(make_claims, mix_file, tiny_llama, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trial")
    dose = sealed(folder / "dose", make_claims(14, heldout=6))
    return Options(
        base=str(tiny_llama), dose=str(dose.path), mix=str(mix_file), max_steps=14, batch_size=8,
        dtype="float32", lora_r=2, placebo=True, adversarial=4, comparisons="none", output_dir=str(folder / "out"),
    )  # fmt: skip


def run(options, shares=(0.1, 0.2), seeds=(0, 1)):
    return trial(options, shares, seeds)


@pytest.fixture(scope="module")
def done(options):
    return run(options)


def test_each_share_is_judged_over_all_seeds(done):
    assert sorted(done.results) == [0.1, 0.2]
    for share, results in done.results.items():
        assert results["seeds"] == {"base": 1, "placebo": 2, "vaccine": 2}
        assert json.loads((done.folder / f"share-{share:g}" / RESULTS).read_text()) == results
        assert (done.folder / f"share-{share:g}" / "report.html").is_file()
    assert (done.folder / "figures" / "dose_response.svg").is_file()


def test_the_controls_are_trained_once_a_seed_beside_the_highest_share(done):
    for seed in (0, 1):
        assert (done.folder / f"share-0.2-seed-{seed}" / "placebo").is_dir()
        assert not (done.folder / f"share-0.1-seed-{seed}" / "placebo").exists()


def test_a_mean_over_seeds_stands_between_the_seeds(done):
    def auroc(folder):
        results = json.loads((done.folder / folder / RESULTS).read_text())
        return next(
            m["value"]
            for m in results["measures"]
            if (m["probe"], m["reading"], m["condition"], m["metric"], m["arm"])
            == ("specific", "verdict", "plain", "auroc", "vaccine")
        )

    single = [auroc(f"share-0.2-seed-{seed}") for seed in (0, 1)]
    assert auroc("share-0.2") == pytest.approx(sum(single) / 2, abs=1e-4)


def test_a_finished_trial_is_read_not_run_again(done, options):
    before = {path: path.stat().st_mtime_ns for path in done.folder.glob(f"*/{RECORD}")}
    again = run(options)
    assert again.results == done.results
    assert {path: path.stat().st_mtime_ns for path in done.folder.glob(f"*/{RECORD}")} == before


@pytest.mark.slow
def test_a_trial_that_was_stopped_goes_on(done, options, tmp_path):
    other = dataclasses.replace(options, output_dir=str(tmp_path / "out"))
    with pytest.raises(RunInterrupted):
        trial(other, (0.2,), (0, 1), Stopping("Validating placebo"))
    resumed = trial(other, (0.2,), (0, 1))
    assert resumed.results[0.2] == done.results[0.2]


@pytest.mark.parametrize(
    ("shares", "seeds", "change"),
    [((), (0,), {}), ((0.1,), (), {}), ((0.1, 0.1), (0,), {}), ((0.1,), (0, 0), {}), ((0.1,), (0,), {"claims": 5})],
)
def test_what_is_no_trial_is_refused_before_anything_is_written(options, tmp_path, shares, seeds, change):
    other = dataclasses.replace(options, output_dir=str(tmp_path / "out"), **change)
    with pytest.raises(UsageError):
        run(other, shares, seeds)
    assert not (tmp_path / "out").exists()


def test_runs_too_short_for_the_dose_are_refused_before_any_is_trained(options, tmp_path):
    other = dataclasses.replace(options, output_dir=str(tmp_path / "out"), max_steps=3)
    with pytest.raises(UsageError, match=r"8 claims would be given"):
        run(other)
    assert not (tmp_path / "out").exists()
