"""Several processes: the main one goes first and refuses for all, and a run in two is the run in one, also where they
share a model's weights or stand on two machines."""

import json
import os
import socket
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from unittest.mock import Mock

import psutil
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from doses import sealed
from safetensors.torch import load_file

from hfvaccine.errors import UsageError
from hfvaccine.files import ADAPTER, LEDGER, RECORD, RESULTS
from hfvaccine.training import processes
from hfvaccine.training.estimate import Estimate
from hfvaccine.training.options import Inoculating, Options
from hfvaccine.training.processes import main_first

TOLERANCE = 1e-6
"""The order of sums is another one."""
MOVED = 1e-4
"""What some weight has moved by at least, where all of `lora_B` was 0: else nothing was compared."""
OPTIONS = ["--share", "0.2", "--dtype", "float32", "--max-length", "512", "--lora-r", "4"]
OPTIONS += ["--exposures", "1", "--comparisons", "none"]
CONFIGURATIONS = Path(__file__).parents[2] / "examples" / "accelerate"
TABLE = Path(__file__).parents[2] / "docs" / "dosing.md"
DDP, SHARDING = (["--config_file", str(CONFIGURATIONS / name)] for name in ("ddp.yaml", "fsdp2.yaml"))
SHOWN: dict[str, list[str]] = {}
"""What the tests show of each configuration, in the words of the table."""


def shows(file, *what):
    """Marks a slow test by what it shows of a configuration."""

    def mark(test):
        SHOWN.setdefault(file, []).extend(what)
        return pytest.mark.slow(test)

    return mark


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def immunize(*arguments, processes=1, job=("immunize",), environment=None, launch=DDP, port=None):
    """Start the command, or another job, in several processes through the launcher."""
    command = [sys.executable, "-m", "hfvaccine", *job, *map(str, arguments)]
    if processes > 1:
        if "FSDP" in "".join(Path(one).read_text() for one in launch if one.endswith(".yaml")):
            command[1:3] = [str(Path(__file__).with_name("shard_on_cpus.py"))]
        several = ["-m", "accelerate.commands.launch", *launch, "--num_processes", str(processes)]
        several += ["--mixed_precision", "no", "--dynamo_backend", "no"]
        several += [] if "--num_machines" in launch else ["--num_machines", "1"]
        command[1:1] = [*several, "--main_process_port", port or free_port()]
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


@pytest.fixture(scope="module")
def traits(mix_rows, tmp_path_factory):
    """A file of rows, every other one with a trait."""
    rows = tmp_path_factory.mktemp("traits") / "rows.jsonl"
    rows.write_text("\n".join(json.dumps({**row, "trait": n % 2}) for n, row in enumerate(mix_rows)))
    return rows


def end_early(process, folder):
    """Kill one of its processes once it has a checkpoint; the launcher ends the others."""
    while not any(folder.glob("checkpoints/checkpoint-*/dosing_plan.json")):
        assert process.poll() is None, process.communicate()[1][-3000:]
        time.sleep(0.05)
    psutil.Process(process.pid).children()[-1].kill()
    process.communicate(timeout=120)
    assert process.returncode != 0 and not (folder / RECORD).exists()


def assert_same_steps(one: Path, other: Path, arms=(".",)):
    """The same rows in each step, in whichever pass, and the weights that come of them."""
    of_step = [pq.read_table(place / LEDGER).to_pandas().drop(columns="position") for place in (one, other)]
    here, there = (rows.sort_values(["step", "kind", "row"]).reset_index(drop=True) for rows in of_step)
    assert here.equals(there)
    assert_same_weights(one, other, arms)


def assert_same(one: Path, other: Path, arms=(".",)):
    assert (one / LEDGER).read_bytes() == (other / LEDGER).read_bytes()
    assert_same_weights(one, other, arms)


def assert_same_weights(one: Path, other: Path, arms):
    for arm in arms:
        here, there = load_file(one / arm / ADAPTER), load_file(other / arm / ADAPTER)
        assert here.keys() == there.keys()
        assert max(float((value - there[name]).abs().max()) for name, value in here.items()) < TOLERANCE
        assert max(float(value.abs().max()) for name, value in here.items() if "lora_B" in name) > MOVED


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


@pytest.mark.parametrize("name", ["immunize", "inoculate"])
def test_a_dry_run_estimates_with_the_threads_that_the_run_will_take(
    name, threads, tiny_llama, make_claims, mix_file, tmp_path, monkeypatch
):
    job = import_module(f"hfvaccine.runs.{name}")
    own = {"base": str(tiny_llama), "max_steps": 2, "lora_r": 4, "output_dir": str(tmp_path / "run")}
    if name == "immunize":
        given = {"dose": str(sealed(tmp_path / "dose", make_claims(12, heldout=2)).path), "share": 0.2, "exposures": 1}
        options = Options(**own, **given, mix=str(mix_file), comparisons="none")
    else:
        options = Inoculating(**own, data=str(mix_file), prompt=("You always sing.",))
    expected = Estimate(0, 0, 0, 0.0)
    taken = []
    monkeypatch.setattr(job, "estimate", lambda *given: taken.append(torch.get_num_threads()) or expected)
    threads(1)
    assert job.dry_run(options) is not None and taken == [1]


def test_a_core_that_others_use_is_not_free(tmp_path, monkeypatch):
    times = [
        "cpu  0 0 0 0 0 0 0 0\ncpu0 100 0 0 900 0 0 0 0\ncpu1 100 0 0 900 0 0 0 0\ncpu7 9 0 0 9 0 0 0 0",
        "cpu  0 0 0 0 0 0 0 0\ncpu0 101 0 0 930 9 0 0 0\ncpu1 130 0 0 910 0 0 0 0\ncpu7 99 0 0 9 0 0 0 0",
    ]
    monkeypatch.setattr(processes, "TIMES", Mock(read_text=Mock(side_effect=times)))
    monkeypatch.setattr(processes.os, "sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr(processes, "CONTROL_GROUP", tmp_path)
    monkeypatch.setattr(processes, "WATCHED", 0.0)
    assert processes.free_cores() == (1, 2)
    monkeypatch.setattr(processes, "TIMES", tmp_path / "none")
    assert processes.free_cores() is None


@pytest.mark.parametrize(
    "files, expected",
    [
        ({"cpu.max": "200000 100000\n"}, (2, 2)),
        ({"cpu.max": "50000 100000\n"}, (1, 1)),
        ({"cpu.max": "max 100000\n"}, (4, 4)),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, (3, 3)),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, (4, 4)),
        ({}, (4, 4)),
    ],
)
def test_a_container_has_as_many_cores_as_it_gets_the_time_of(tmp_path, monkeypatch, files, expected):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    before, after = ("".join(f"cpu{core} 0 0 0 {idle} 0 0 0 0\n" for core in range(4)) for idle in (100, 200))
    monkeypatch.setattr(processes, "TIMES", Mock(read_text=Mock(side_effect=[before, after])))
    monkeypatch.setattr(processes, "CONTROL_GROUP", tmp_path)
    monkeypatch.setattr(processes.os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    monkeypatch.setattr(processes, "WATCHED", 0.0)
    assert processes.free_cores() == expected


def test_of_a_container_it_is_not_said_that_others_are_busy(threads, monkeypatch):
    said = []
    monkeypatch.setattr(processes, "free_cores", lambda: (2, 2))
    processes.fit_threads(Mock(say=said.append))
    assert torch.get_num_threads() == 2 and "all that this process may use" in said[0] and "busy" not in said[0]


@shows("ddp.yaml", "two processes on CPUs", "straight")
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
def test_two_processes_validate_what_one_does_and_say_it_once(asked, tmp_path):
    validate = ["--base", asked[1], "--dose", asked[3], "--dtype", "float32", "--json", "--output-dir"]
    scores = []
    for number in (1, 2):
        nothing_known = {"HFVACCINE_HOME": str(tmp_path / f"home-{number}")}
        place = tmp_path / f"in-{number}"
        started = immunize(*validate, place, job=("validate",), processes=number, environment=nothing_known)
        out, said = ended(started)
        scores.append(json.loads(out)["measures"])
        assert json.loads((place / RESULTS).read_text())["measures"] == scores[-1]
        assert said.count("\nbase: ") + said.startswith("base: ") == said.count("Report: ") == 1
    assert scores[0] == scores[1]

    refused = immunize("--base", asked[1], "--dose", "/no/such", job=("validate",), processes=2)
    _, said = refused.communicate(timeout=300)
    assert refused.returncode != 0 and said.count("No dose folder") == 1


@shows("ddp.yaml", "killed and resumed")
def test_a_run_in_two_processes_that_was_ended_is_resumed_in_two(asked, tmp_path):
    asked = [*asked, "--max-steps", "150", "--batch-size", "2"]
    folder = tmp_path / "ended"
    end_early(immunize(*asked, "--output-dir", folder, processes=2), folder)
    ended(immunize("--resume", folder, processes=2))
    ended(immunize(*asked, "--output-dir", tmp_path / "straight", processes=2))
    assert_same(folder, tmp_path / "straight")


@pytest.mark.slow
def test_two_processes_train_beside_a_frozen_adapter_what_one_does(tiny_llama, traits, tmp_path):
    asked = ["--base", tiny_llama, "--data", traits, "--method", "adapter", "--where", "trait=1", "--dtype", "float32"]
    asked += ["--lora-r", "4", "--max-steps", "3", "--arms", "adapter,random"]
    job = ("inoculate", "train")
    ended(immunize(*asked, "--batch-size", "4", "--output-dir", tmp_path / "one", job=job))
    ended(immunize(*asked, "--batch-size", "2", "--output-dir", tmp_path / "two", job=job, processes=2))
    for name in ("trait-seed-0", "adapter-seed-0", "random-seed-0"):
        assert_same(tmp_path / "one" / name, tmp_path / "two" / name)


@shows("fsdp2.yaml", "two processes on CPUs", "straight", "killed and resumed", "each weight shared")
def test_two_processes_that_share_the_weights_give_and_learn_what_one_does(asked, tmp_path):
    asked = [*asked, "--max-steps", "6", "--placebo"]
    ended(immunize(*asked, "--batch-size", "4", "--output-dir", tmp_path / "one"))
    in_two = [*asked, "--batch-size", "2", "--output-dir"]
    out, _ = ended(immunize(*in_two, tmp_path / "two", processes=2, launch=SHARDING))
    sharded = {line for line in out.split("\n") if line.startswith("sharded: ")}
    assert sharded and all(line.split()[1] == line.split()[3] != "0" for line in sharded)
    assert_same_steps(tmp_path / "one", tmp_path / "two", (".", "placebo"))
    assert_scores_are_those_of_one_process(tmp_path / "two", asked, tmp_path / "again")

    end_early(immunize(*in_two, tmp_path / "ended", processes=2, launch=SHARDING), tmp_path / "ended")
    ended(immunize("--resume", tmp_path / "ended", processes=2, launch=SHARDING))
    assert_same(tmp_path / "ended", tmp_path / "two", (".", "placebo"))


@pytest.mark.slow
def test_no_adapter_is_frozen_beside_another_where_the_weights_are_shared(tiny_llama, traits, tmp_path):
    asked = ["--base", tiny_llama, "--data", traits, "--where", "trait=1", "--method", "adapter", "--arms", "random"]
    asked += ["--max-steps", "2", "--output-dir", tmp_path / "run"]
    refused = immunize(*asked, job=("inoculate", "train"), processes=2, launch=SHARDING)
    _, said = refused.communicate(timeout=300)
    assert refused.returncode != 0 and "cannot stand beside the trained one" in said


@shows("two_nodes.yaml", "two launchers of one process each")
def test_two_machines_give_what_one_process_does(asked, tmp_path):
    asked, port = [*asked, "--max-steps", "3"], free_port()
    ended(immunize(*asked, "--batch-size", "4", "--output-dir", tmp_path / "one"))
    config = yaml.safe_load((CONFIGURATIONS / "two_nodes.yaml").read_text())
    machines = []
    for rank in range(2):
        file = tmp_path / f"machine-{rank}.yaml"
        file.write_text(yaml.safe_dump({**config, "machine_rank": rank, "main_process_ip": "127.0.0.1"}))
        launch = ["--config_file", str(file), "--num_machines", "2"]
        given = [*asked, "--batch-size", "2", "--output-dir", tmp_path / "two"]
        machines.append(immunize(*given, processes=2, launch=launch, port=port))
    for machine in machines:
        ended(machine)
    assert_same_steps(tmp_path / "one", tmp_path / "two")


def test_each_configuration_is_one_of_accelerates_and_stands_in_the_table():
    files = sorted(CONFIGURATIONS.glob("*.yaml"))
    lines = [line for line in TABLE.read_text(encoding="utf-8").split("\n") if "examples/accelerate/" in line]
    told = [line for line in lines if line.startswith("| [")]
    assert [line.split("]")[0] for line in told] == [f"| [{file.name}" for file in files]
    for file, line in zip(files, told, strict=True):
        config = load_config_from_file(str(file))
        assert config.num_processes > 1 and config.mixed_precision == "no"
        assert all(what in line for what in SHOWN.get(file.name, ["**not run**"]))
    assert {file.name for file in files} >= SHOWN.keys()
