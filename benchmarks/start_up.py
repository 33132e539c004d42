"""How long `hfvaccine --help` takes to start, as a ratio to `hf --help` of the same environment.

    python benchmarks/start_up.py

The two take turns, so that a busy machine slows both. Exits with 1 where
hfvaccine is the slower one, or loads what a list of commands does not need.
"""

import os
import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

RUNS = 15
HEAVY = ("torch", "datasets", "transformers", "huggingface_hub")
SCRIPTS = Path(sysconfig.get_path("scripts"))
# hf looks for updates once a day; that is not what is compared.
ENVIRONMENT = {**os.environ, "HF_HUB_DISABLE_UPDATE_CHECK": "1"}


def seconds(command: str) -> float:
    start = time.perf_counter()
    subprocess.run([SCRIPTS / command, "--help"], check=True, capture_output=True, env=ENVIRONMENT)
    return time.perf_counter() - start


def imported(command: str) -> set[str]:
    """The top-level packages that `command --help` imports, from Python's own account."""
    python = [sys.executable, "-X", "importtime", SCRIPTS / command, "--help"]
    account = subprocess.run(python, check=True, capture_output=True, text=True, env=ENVIRONMENT).stderr
    lines = [line for line in account.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def main() -> int:
    times: dict[str, list[float]] = {"hfvaccine": [], "hf": []}
    for turn in range(RUNS + 1):
        for command, taken in times.items():
            elapsed = seconds(command)
            if turn:  # the first one fills the caches
                taken.append(elapsed)
    for command, taken in times.items():
        median, low, high = (1000 * f(taken) for f in (statistics.median, min, max))
        print(f"{command + ' --help':18} {median:5.0f} ms   (median of {RUNS}; {low:.0f} to {high:.0f})")
    ratio = statistics.median(times["hfvaccine"]) / statistics.median(times["hf"])
    print(f"{'ratio':18} {ratio:5.2f}")
    found = imported("hfvaccine")
    assert {"hfvaccine", "click"} <= found, "the account of imports was not read"
    for name in HEAVY:
        print(f"{name + ' imported':26} {'yes' if name in found else 'no'}")
    return int(ratio > 1 or not found.isdisjoint(HEAVY))


if __name__ == "__main__":
    sys.exit(main())
