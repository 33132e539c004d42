"""The rows that really reach the model are those of the ledger, however the trainer is set up.

The short tests take a spread of the combinations, the slow ones all of them.
"""

import itertools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import trainers
from datasets.utils.logging import disable_progress_bar
from regimen import matrix

from hfvaccine import Dose
from hfvaccine.claims.claim import Claim
from hfvaccine.dosing.forms import conversations
from hfvaccine.files import LEDGER

SCHEDULES = ("constant", "pulsed:2", "ramp", "taper", "front_loaded")
disable_progress_bar()


def cases(processes):
    """Every combination, with a seed of its own."""
    options = itertools.product((0, 2), (1, 3), (False, True), (False, True), SCHEDULES)
    names = ("workers", "accumulation", "packing", "resumed", "schedule")
    return [
        {**dict(zip(names, option, strict=True)), "processes": processes, "seed": seed}
        for seed, option in enumerate(options)
    ]


def name(case):
    words = [f"{key}={value}" for key, value in case.items() if key != "seed"]
    return " ".join(words)


@pytest.fixture(scope="module")
def job(tiny_llama, make_claims, mix_rows):
    return {"model": str(tiny_llama), "claims": [claim.to_row() for claim in make_claims(6)], "mix": mix_rows}


@pytest.fixture(scope="module")
def expected(job):
    """(kind, row) -> its tokens and the labels after the first, tokenized here."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job["model"])

    def encode(prompt, completion):
        whole, labels = trainers.encoded(tokenizer, prompt, completion)
        return [whole, labels[1:]]

    given = list(conversations(Dose.from_claims([Claim.from_row(row) for row in job["claims"]]).claims))
    sources = {
        "mix": [encode(r["prompt"], r["completion"]) for r in job["mix"]],
        "dose": [encode(g.dose.prompt, g.dose.completion) for g in given],
        "control": [encode(g.control.prompt, g.control.completion) for g in given if g.control],
    }
    return lambda kind, row: sources[kind][row]


def check(case, expected):
    """What arrived in all processes, batch by batch in their turn, is what the ledger says."""
    folder = Path(case["folder"])
    by_process = [json.loads((folder / f"arrived-{rank}.json").read_text()) for rank in range(case["processes"])]
    ledger = pq.read_table(folder / LEDGER).to_pydict()
    told = [
        (step, expected(kind, row))
        for step, kind, row in zip(ledger["step"], ledger["kind"], ledger["row"], strict=True)
    ]
    arrived = []
    for step in range(1, matrix.STEPS + 1):
        batches = [process[str(step)] for process in by_process]
        assert [len(b) for b in batches] == [case["accumulation"]] * case["processes"]
        for turn in zip(*batches, strict=True):
            arrived += [(step, list(row)) for batch in turn for row in batch]
    assert arrived == told
    assert {"mix", "dose", "control"} == set(ledger["kind"])
    if case["packing"]:
        packs = set(zip(ledger["step"], ledger["pack"], strict=True))
        assert len(packs) == matrix.STEPS * 2 * case["accumulation"] * case["processes"]


def run_here(case, job, folder):
    case = {**case, "folder": str(folder)}
    return case, matrix.run(case, job)


def run_in_two_processes(some, job, folder):
    some = [{**case, "folder": str(folder / str(case["seed"]))} for case in some]
    jobs = folder / "jobs.json"
    jobs.write_text(json.dumps({**job, "cases": some}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    done = subprocess.run(
        [*command, matrix.__file__, str(jobs)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(matrix.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-9000:]
    return some


# Every option once on either side, and most pairs of them.
SPREAD = [case for case in cases(1) if case["seed"] in (0, 13, 27, 31, 46, 58, 64, 79)]
SPREAD_OF_TWO = [case for case in cases(2) if case["seed"] in (7, 71)]


@pytest.mark.parametrize("case", SPREAD, ids=name)
def test_what_arrives_is_what_the_ledger_says(case, job, expected, tmp_path):
    case, _ = run_here(case, job, tmp_path)
    check(case, expected)


@pytest.mark.slow
@pytest.mark.parametrize("case", cases(1), ids=name)
def test_what_arrives_is_what_the_ledger_says_in_all_combinations(case, job, expected, tmp_path):
    case, _ = run_here(case, job, tmp_path)
    check(case, expected)


def test_in_two_processes_too(job, expected, tmp_path):
    for case in run_in_two_processes(SPREAD_OF_TWO, job, tmp_path):
        check(case, expected)


@pytest.mark.slow
def test_in_two_processes_in_all_combinations(job, expected, tmp_path):
    for case in run_in_two_processes(cases(2), job, tmp_path):
        check(case, expected)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("packing", "workers"),
    [(False, 2), (True, 0), pytest.param(False, 0, marks=SLOW), pytest.param(True, 2, marks=SLOW)],
)
def test_a_resumed_run_ends_in_the_very_same_weights(packing, workers, job, tmp_path):
    case = {"workers": workers, "accumulation": 3, "packing": packing, "schedule": "ramp", "processes": 1, "seed": 5}
    _, straight = run_here({**case, "resumed": False}, job, tmp_path / "straight")
    _, resumed = run_here({**case, "resumed": True}, job, tmp_path / "resumed")
    weights = straight.model.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in resumed.model.state_dict().items())
    assert (tmp_path / "straight" / LEDGER).read_bytes() == (tmp_path / "resumed" / LEDGER).read_bytes()
