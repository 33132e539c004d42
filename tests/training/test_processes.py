"""Several processes: the main one goes first and refuses for all, and a run in two is the run in one."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pyarrow.parquet as pq
import pytest
import torch
from doses import sealed
from safetensors.torch import load_file

from hfvaccine.errors import UsageError
from hfvaccine.files import ADAPTER, LEDGER, RECORD, RESULTS
from hfvaccine.training import processes
from hfvaccine.training.processes import main_first

TOLERANCE = 1e-6
"""Of weights that have moved by some 1e-3: the order of sums is another one."""
OPTIONS = ["--share", "0.2", "--dtype", "float32", "--max-length", "512", "--lora-r", "4"]
OPTIONS += ["--exposures", "1", "--comparisons", "none"]


def immunize(*arguments, processes=1, job=("immunize",), environment=None):
    """Start the command, or another job, in two processes through the launcher."""
    command = [sys.executable, "-m", "hfvaccine", *job, *map(str, arguments)]
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(processes)]
        launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
        command[1:1] = [*launch, "--main_process_port", port]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**os.environ, "HF_HUB_OFFLINE": "1", **(environment or {})}, **pipes)


def ended(process):
    out, said = process.communicate(timeout=300)
    assert process.returncode == 0, said[-3000:]
    return out, said


@pytest.fixture(scope="module")
def asked(tiny_llama, make_claims, tmp_path_factory):
    dose = sealed(tmp_path_factory.mktemp("dose") / "sealed", make_claims(12, heldout=5))
    return ["--base", tiny_llama, "--dose", dose.path, *OPTIONS]


def assert_same_steps(one: Path, other: Path, arms=(".",)):
    """The same rows in each step, in whichever pass, and the weights that come of them."""
    of_step = [pq.read_table(place / LEDGER).to_pandas().drop(columns="position") for place in (one, other)]
    here, there = (rows.sort_values(["step", "kind", "row"]).reset_index(drop=True) for rows in of_step)
    assert here.equals(there)
    for arm in arms:
        whole, parted = load_file(one / arm / ADAPTER), load_file(other / arm / ADAPTER)
        assert max(float((value - parted[name]).abs().max()) for name, value in whole.items()) < TOLERANCE


def assert_same(one: Path, other: Path, arms=(".",)):
    assert (one / LEDGER).read_bytes() == (other / LEDGER).read_bytes()
    for arm in arms:
        whole, resumed = load_file(one / arm / ADAPTER), load_file(other / arm / ADAPTER)
        assert max(float((value - resumed[name]).abs().max()) for name, value in whole.items()) < 1e-6


def assert_scores_are_those_of_one_process(run: Path, asked, again: Path):
    """What several processes divided, number by number, as one process has it of the same adapters."""
    model, dose = asked[asked.index("--base") + 1], asked[asked.index("--dose") + 1]
    validate = ["--base", model, "--dose", dose, "--adapter", run, "--against", f"placebo={run / 'placebo'}"]
    validate += ["--dtype", "float32", "--output-dir", again]
    nothing_known = {"HFVACCINE_HOME": str(again.parent / "home")}
    ended(immunize(*validate, job=("validate",), environment=nothing_known))
    one, two = (json.loads((place / RESULTS).read_text()) for place in (again, run))
    assert len(one["measures"]) > 20
    for part in ("measures", "other"):
        assert one[part] == two[part]


def test_alone_the_work_is_done_and_a_refusal_passes_through():
    assert main_first(lambda: 3) == 3

    with pytest.raises(UsageError):
        main_first(Mock(side_effect=UsageError("no")))


@pytest.fixture
def threads(monkeypatch):
    """Three of torch's, unless the environment says otherwise, and the number of free cores of four."""
    own = torch.get_num_threads()
    monkeypatch.delenv(processes.THREADS, raising=False)
    torch.set_num_threads(3)
    yield lambda free: monkeypatch.setattr(processes, "free_cores", lambda: (free, 4))
    torch.set_num_threads(own)


@pytest.mark.parametrize("free, taken", [(4, 3), (3, 3), (2, 2), (0, 1)])
def test_no_more_threads_are_taken_than_there_are_free_cores(threads, free, taken):
    threads(free)
    said = []
    processes.fit_threads(Mock(say=said.append))
    assert torch.get_num_threads() == taken
    assert bool(said) == (taken < 3) and all(f"{4 - free} of 4 cores" in line for line in said)


def test_what_the_environment_says_of_threads_holds(threads, monkeypatch):
    threads(1)
    monkeypatch.setenv(processes.THREADS, "3")
    processes.fit_threads(Mock(say=pytest.fail))
    assert torch.get_num_threads() == 3


def test_a_core_that_others_use_is_not_free(tmp_path, monkeypatch):
    times = [
        "cpu  0 0 0 0 0 0 0 0\ncpu0 100 0 0 900 0 0 0 0\ncpu1 100 0 0 900 0 0 0 0\ncpu7 9 0 0 9 0 0 0 0",
        "cpu  0 0 0 0 0 0 0 0\ncpu0 101 0 0 930 9 0 0 0\ncpu1 130 0 0 910 0 0 0 0\ncpu7 99 0 0 9 0 0 0 0",
    ]
    monkeypatch.setattr(processes, "TIMES", Mock(read_text=Mock(side_effect=times)))
    monkeypatch.setattr(processes.os, "sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr(processes, "WATCHED", 0.0)
    assert processes.free_cores() == (1, 2)
    monkeypatch.setattr(processes, "TIMES", tmp_path / "none")
    assert processes.free_cores() is None


@pytest.mark.slow
def test_two_processes_give_the_rows_of_one_and_only_the_main_one_writes_and_speaks(asked, tmp_path):
    asked = [*asked, "--max-steps", "6", "--placebo", "--json"]
    one = immunize(*asked, "--batch-size", "4", "--output-dir", tmp_path / "one")
    two = immunize(*asked, "--batch-size", "2", "--output-dir", tmp_path / "two", processes=2)
    (_, _), (out, said) = ended(one), ended(two)
    assert json.loads(out)["arms"] == ["base", "vaccine", "placebo"]
    assert said.count("Base: ") == said.count("Vaccine: ") == said.count("Adapter, card and papers") == 1
    records = [json.loads((tmp_path / name / RECORD).read_text()) for name in ("one", "two")]
    for record in records:
        record["plan"].pop("fingerprint")  # holds in which pass a row is, too
    assert records[0]["plan"] == records[1]["plan"]
    assert records[1]["training"]["compared_with_saved"]
    assert_same_steps(tmp_path / "one", tmp_path / "two", (".", "placebo"))
    assert_scores_are_those_of_one_process(tmp_path / "two", asked, tmp_path / "again")

    refused = immunize(*asked, "--output-dir", tmp_path / "two", processes=2)
    out, said = refused.communicate(timeout=120)
    assert refused.returncode != 0 and out == ""
    assert said.count("is not empty") == 1 and "terminate called" not in said


@pytest.mark.slow
def test_a_run_in_two_processes_that_was_ended_is_resumed_in_two(asked, tmp_path):
    asked = [*asked, "--max-steps", "150", "--batch-size", "2"]
    folder = tmp_path / "ended"
    process = immunize(*asked, "--output-dir", folder, processes=2)
    while not any(folder.glob("checkpoints/checkpoint-*/dosing_plan.json")):
        assert process.poll() is None, process.communicate()[1][-3000:]
        time.sleep(0.05)
    process.terminate()
    process.communicate(timeout=120)
    assert not (folder / RECORD).exists()
    ended(immunize("--resume", folder, processes=2))
    ended(immunize(*asked, "--output-dir", tmp_path / "straight", processes=2))
    assert_same(folder, tmp_path / "straight")


@pytest.mark.slow
def test_two_processes_train_beside_a_frozen_adapter_what_one_does(tiny_llama, mix_rows, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(json.dumps({**row, "trait": n % 2}) for n, row in enumerate(mix_rows)))
    asked = ["--base", tiny_llama, "--data", rows, "--method", "adapter", "--where", "trait=1", "--dtype", "float32"]
    asked += ["--lora-r", "4", "--max-steps", "3", "--arms", "adapter,random"]
    job = ("inoculate", "train")
    ended(immunize(*asked, "--batch-size", "4", "--output-dir", tmp_path / "one", job=job))
    ended(immunize(*asked, "--batch-size", "2", "--output-dir", tmp_path / "two", job=job, processes=2))
    for name in ("trait-seed-0", "adapter-seed-0", "random-seed-0"):
        assert_same(tmp_path / "one" / name, tmp_path / "two" / name)
