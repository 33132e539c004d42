"""A run that is killed without warning, again and again, ends as one that was not."""

import random
import signal
import subprocess
import sys
import time

import pytest

from hfvaccine.files import ADAPTER, RECORD
from hfvaccine.quarantine.dose import seal

KILLS = 10


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_as_a_straight_one(tiny_llama, make_claims, tmp_path):
    from safetensors.torch import load_file

    seal(make_claims(16, heldout=6), {"reviewers_needed": 0, "waives": ["two_person_rule"]}, tmp_path / "dose")
    command = [sys.executable, "-m", "hfvaccine", "immunize"]
    options = ["--base", str(tiny_llama), "--dose", str(tmp_path / "dose"), "--share", "0.1", "--max-steps", "120"]
    options += ["--batch-size", "4", "--dtype", "float32"]
    subprocess.run([*command, *options, "--output-dir", str(tmp_path / "straight")], check=True, capture_output=True)

    killed, chance = tmp_path / "killed", random.Random(0)
    begin = [*command, *options, "--output-dir", str(killed)]
    kills = 0
    while not (killed / RECORD).exists():
        process = subprocess.Popen(
            [*command, "--resume", str(killed)] if (killed / "config.yaml").exists() else begin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if kills < KILLS:
            time.sleep(chance.uniform(8, 25))
            process.send_signal(signal.SIGKILL)
            kills += 1
        _, said = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), said[-2000:]
    assert kills > 0
    straight, resumed = load_file(tmp_path / "straight" / ADAPTER), load_file(killed / ADAPTER)
    assert all((straight[name] == resumed[name]).all() for name in straight)
