"""What docs/monitor.md reports of the charts, on fewer streams; and writers that are killed."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "surveillance.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("surveillance_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_charts_stay_quiet_where_a_rolling_test_does_not(benchmark):
    streams = benchmark.draw(20, 200, seed=3)
    for given in (False, True):
        assert (benchmark.detector(streams, given) == benchmark.NEVER).all()
    assert (benchmark.rolling(streams) < benchmark.NEVER).mean() > 0.5


def test_charts_find_a_fall_of_twenty_points_in_some_rounds(benchmark):
    streams = benchmark.draw(12, 50, drop=0.2, change=30, seed=4)
    delays = benchmark.detector(streams, False) - 30 + 1
    assert (delays > 0).all() and np.median(delays) <= 8


def test_killed_writers_lose_no_round_that_was_acknowledged_and_count_none_twice(benchmark, tmp_path):
    found = benchmark.kills(10, tmp_path)
    assert found["kills"] == 10 and found["acknowledged"] > 0
    assert (found["lost"], found["counted_twice"]) == (0, 0)
