"""A run that is killed without warning, again and again, ends as one that was not."""

import itertools
import json
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml
from doses import sealed
from safetensors.torch import load_file

from hfvaccine.files import ADAPTER, CHECKPOINTS, CONFIG, LEDGER, RECORD
from hfvaccine.training.trainer import last_checkpoint

KILLS, KILLS_A_RUN = 50, 10


def step_kept(folder):
    """The step of the newest whole checkpoint; everything in it can be read."""
    if not (folder / CONFIG).exists():
        return 0
    assert yaml.safe_load((folder / CONFIG).read_text())["base"]
    newest = last_checkpoint(folder / CHECKPOINTS)
    if newest is None:
        return 0
    newest = folder / CHECKPOINTS / newest.split("/")[-1]
    state = json.loads((newest / "trainer_state.json").read_text())
    assert newest.name == f"checkpoint-{state['global_step']}"
    assert load_file(newest / ADAPTER)
    assert torch.load(newest / "optimizer.pt", weights_only=True)["state"]
    return state["global_step"]


@pytest.mark.slow
def test_runs_killed_at_random_moments_end_as_a_straight_one(tiny_llama, make_claims, tmp_path):
    sealed(tmp_path / "dose", make_claims(16, heldout=6))
    command = [sys.executable, "-m", "hfvaccine", "immunize"]
    options = ["--base", str(tiny_llama), "--dose", str(tmp_path / "dose"), "--share", "0.1", "--max-steps", "120"]
    options += ["--batch-size", "4", "--dtype", "float32", "--exposures", "1", "--comparisons", "none"]
    began = time.monotonic()
    subprocess.run([*command, *options, "--output-dir", str(tmp_path / "straight")], check=True, capture_output=True)
    straight_takes = time.monotonic() - began
    straight = load_file(tmp_path / "straight" / ADAPTER)
    ledger = (tmp_path / "straight" / LEDGER).read_bytes()

    chance, kills, gained, runs = random.Random(0), 0, [], itertools.count()
    while kills < KILLS:
        folder, kills_here = tmp_path / f"killed-{next(runs)}", 0
        while not (folder / RECORD).exists():
            before = step_kept(folder)
            start = (
                ["--resume", str(folder)] if (folder / CONFIG).exists() else [*options, "--output-dir", str(folder)]
            )
            process = subprocess.Popen(
                [*command, *start], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            if kills < KILLS and kills_here < KILLS_A_RUN:
                time.sleep(chance.uniform(0.2, 0.9) * straight_takes)
                process.send_signal(signal.SIGKILL)
            _, said = process.communicate()
            assert process.returncode in (0, -signal.SIGKILL), said[-2000:]
            if process.returncode != 0:  # it may have been done before the signal came
                kills, kills_here = kills + 1, kills_here + 1
            after = step_kept(folder) if not (folder / RECORD).exists() else 120
            assert after >= before  # what had been saved is never lost
            gained.append(after - before)
        resumed = load_file(folder / ADAPTER)
        assert all((straight[name] == resumed[name]).all() for name in straight)
        assert (folder / LEDGER).read_bytes() == ledger
    assert any(gained)
