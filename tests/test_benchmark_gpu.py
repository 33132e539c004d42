"""benchmarks/gpu.py, which is there for a GPU: every section, on a tiny model and the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SECTIONS = ["device", "model", "training", "memory", "adapter", "scorer", "generation", "training_of_more_rows"]


@pytest.fixture(scope="module")
def gpu():
    sys.path.append(str(BENCHMARKS))
    try:
        import gpu

        yield gpu
    finally:
        sys.path.remove(str(BENCHMARKS))


def start(file, output, *options):
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS.parent), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(file), "--output", str(output), *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    found = json.loads(output.read_text())
    return done, {name: its for name, its in found.items() if name not in ("machine", "asked")}


@pytest.mark.slow
def test_every_section_measures_what_it_says(tmp_path):
    file = Path(__file__).with_name("in_one_process.py")
    done, found = start(file, tmp_path / "gpu.json", "--device", "cpu", "--seconds", "9999")
    failed = {name: its["error"] for name, its in found.items() if "error" in its}
    assert (failed, done.returncode) == ({}, 0), done.stderr[-3000:]
    assert list(found) == SECTIONS
    assert found["device"]["matrix_flops_per_s"] > 1e8

    for name in ("training", "training_of_more_rows"):
        trainers = found[name]["trainers"]
        assert len(trainers) == 5 and trainers["TRL defaults"]["checkpoints"]
        assert all(one["tokens_per_s"] > 0 and one["share_of_matrix_rate"] > 0 for one in trainers.values())
        losses = [one["loss_nats_per_token"] for one in trainers.values()]
        assert losses == pytest.approx([losses[0]] * 5, rel=5e-3)  # the same rows, whichever way they lie in batches
        assert trainers["hfvaccine"]["padding_share"] == 0 < trainers["TRL defaults"]["padding_share"]
        assert found[name]["planned"]["unpadded"] and found[name]["planned"]["dose_rows"] > 0
        best = max(
            ("TRL by length", "TRL padding-free", "TRL packed"), key=lambda kind: trainers[kind]["tokens_per_s"]
        )
        assert set(found[name]["ratios"]) == {f"hfvaccine, against {other}" for other in ("TRL defaults", best)}
    assert found["memory"]["line"].startswith("Expected: ") and 0.3 < found["memory"]["peak_against_expected"] < 4

    adapter = found["adapter"]
    assert adapter["difference_of_largest"] <= adapter["allowed_of_largest"] < adapter["adapter_changes_of_largest"]
    assert adapter["own_check"] == "passed"
    for one in ("after_a_primer", "by_themselves"):
        assert found["scorer"][one]["float32_largest_difference_nats"] < 1e-3
        assert found["scorer"][one]["speed"]["median"] > 0
    assert found["generation"]["greedy"]["float32_same_answers_share"] == 1
    assert found["generation"]["four_samples_after_a_short_prefix"]["answers"] == 8

    said = [line for line in done.stdout.split("\n")[1:] if line.strip()]
    assert {line.split()[0] for line in said} == set(SECTIONS) and all(len(line) <= 100 for line in said)


def test_without_a_gpu_nothing_else_is_said(tmp_path):
    done, found = start(BENCHMARKS / "gpu.py", tmp_path / "gpu.json")
    assert (done.returncode, done.stdout.rstrip().split("\n")[-1]) == (0, "no GPU here")
    assert list(found) == ["device"] and found["device"]["gpu"] == "no GPU here"


def test_a_section_that_fails_takes_no_other_along_and_one_without_time_does_not_begin(gpu):
    def fails(within):
        sys.exit("It broke.")

    found, kept = {}, []
    sections = [("one", 5, fails), ("two", 99, fails), ("three", 5, lambda within: {"within": within})]
    gpu.run(sections, 50, found, lambda found: kept.append(list(found)))
    assert found["one"]["error"] == "It broke." and found["two"] == {"skipped": "no time left"}
    assert found["three"]["within"] == 5 and "seconds" in found["three"]
    assert kept == [["one"], ["one", "two"], ["one", "two", "three"]]


def test_what_a_section_lacks_of_another_is_named(gpu, tmp_path):
    benchmark = gpu.Benchmark(tmp_path, "cpu")
    benchmark.found |= {"device": {}, "model": {"error": "It broke."}}
    sections = [one for one in benchmark.sections() if one[0] in ("training", "adapter")]
    gpu.run(sections, 999, benchmark.found, lambda found: None)
    assert [benchmark.found[name]["error"] for name, *_ in sections] == ["It needs what model did not give."] * 2


def test_a_trainer_that_fails_takes_no_other_along(gpu, tmp_path, monkeypatch):
    class Fake(gpu.Run):
        def __init__(self, job, environment=None, within=None):
            self.job, self.turns, self.done, self._going = job, [], {}, 3

        def __exit__(self, *error):
            pass

        def start(self):
            if self.job.kind == "TRL defaults":
                sys.exit("It broke at the start.")
            self.ready = {"layers": 1, "head": 1, "adapter": 1, "depth": 1, "width": 1, "checkpoints": False}

        def turn(self, last=False):
            if self.job.kind == "TRL packed":
                sys.exit("It broke in a turn.")
            self._going -= 1
            self.turns.append([{"seconds": 1.0, "tokens": 4, "width": 4, "supervised": 2, "loss": 2.0}] * 2)
            self.done = {} if self._going else {"peak_mb": 1000.0}
            return not self.done

    planned = {"mean": 2.0, "tokens": 24, "supervised": 12, "squares": 48, "line": "Expected: much"}
    planned["estimate"] = {"memory": 1e9, "seconds": 6.0}
    monkeypatch.setattr(gpu.turns, "Run", Fake)
    monkeypatch.setattr(gpu, "ask", lambda *told, **named: planned)
    benchmark = gpu.Benchmark(tmp_path, "cpu")
    benchmark.found |= {"device": {"matrix_flops_per_s": 1e3}, "model": {}}
    sections = [one for one in benchmark.sections() if one[0] in ("training", "memory")]
    gpu.run(sections, 999, benchmark.found, lambda found: None)
    training, memory = (benchmark.found[name] for name, *_ in sections)
    assert training["error"] == "These failed: TRL defaults, TRL packed."
    assert training["failed"] == {"TRL defaults": "It broke at the start.", "TRL packed": "It broke in a turn."}
    assert [one["tokens_per_s"] for one in training["trainers"].values()] == [4.0] * 3
    assert list(training["ratios"]) == ["hfvaccine, against TRL padding-free"]
    assert memory["taken_against_expected"] == 1 and memory["peak_against_expected"] == pytest.approx(1.05, abs=0.01)
    said = gpu.table({name: benchmark.found[name] for name, *_ in sections})
    assert "error: These failed: TRL defaults, TRL packed." in said[0] and len(said) == 8


def test_operations_of_a_token_are_those_that_are_done(gpu):
    """Counted by torch on a model whose only frozen weights are the layers'."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    rows, tokens, width = 2, 32, 64
    torch.manual_seed(0)
    frozen, a, b = (torch.nn.Linear(*sizes, bias=False) for sizes in ((width, width), (width, 4), (4, width)))
    frozen.requires_grad_(False)
    states = torch.randn(rows, tokens, width, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        (frozen(states) + b(a(states))).sum().backward()
    weights = {"layers": width * width, "head": 0, "adapter": 8 * width, "depth": 0, "width": width}
    planned = {"tokens": rows * tokens, "supervised": 0, "squares": 0}
    assert gpu.flops_per_token(weights, planned) * rows * tokens == counter.get_total_flops()


def test_attention_counts_the_tokens_that_each_attends_to(gpu):
    weights = {"layers": 0, "head": 0, "adapter": 0, "depth": 3, "width": 8}
    lengths = (5, 9)
    planned = {"tokens": sum(lengths), "supervised": 0, "squares": sum(n * n for n in lengths)}
    pairs = sum(seen for n in lengths for seen in range(1, n + 1))
    assert gpu.flops_per_token(weights, planned) * sum(lengths) == pytest.approx(12 * 3 * 8 * pairs)


def test_a_child_that_takes_too_long_is_ended(tmp_path):
    script = tmp_path / "slow.py"
    script.write_text("import time\ntime.sleep(60)\n")
    sys.path.append(str(BENCHMARKS))
    try:
        from children import ask
    finally:
        sys.path.remove(str(BENCHMARKS))
    with pytest.raises(SystemExit, match="took longer than 1 s"):
        ask(script, "slow", {}, within=1)
