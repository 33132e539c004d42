"""False alarms and delays of the charts of `hfvaccine monitor`, beside what is in use elsewhere, on drawn streams.

    python benchmarks/surveillance.py                  # the table of docs/monitor.md; about ten minutes of one core
    python benchmarks/surveillance.py --streams 200    # the same on fewer streams
    python benchmarks/surveillance.py --kills 200      # how the journal bears kill -9; about two minutes

A model rejects 85 % of the claims and accepts 85 % of their twins, each of 200 clusters with a probability of its
own. A round asks 60 of them, drawn anew. Three charts (rejection, acceptance, discrimination) share a budget of one
false alarm in twenty streams of 365 rounds. Every detector is peeked at after every round, on the same streams. The
baseline is what each would have: ten rounds, or the 200 clusters of a validation; CUSUM alone knows the true means
before and after a change of 10 points, and gets a limit at which 5 % of other streams of no drift alarm.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import random
import select
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import norm

from hfvaccine.statistics import Floats
from hfvaccine.surveillance.charts import Baseline, Budget, bounded_mean, evidence, growth, learnt
from hfvaccine.surveillance.state import JOURNAL, Declaration, Round, State

POOL, ASKED, MEAN, SPREAD = 200, 60, 0.85, 8.0
"""Clusters; of which a round asks; what is right of them; the two shapes of the Beta distribution add up to that."""
CHARTS = 3
BUDGET = Budget(alpha=0.05, horizon=365)
LEARN, VALIDATED = 10, 200
CHANGE = 50
"""Rounds before a drift; delays are counted from there."""
WINDOW = 10
"""Rounds of the rolling z-test."""
DROPS = (0.05, 0.1, 0.2)
BATCH = 100
NEVER = 10**6


@dataclass(frozen=True)
class Streams:
    """Some streams.

    Args:
        scores: (charts, streams, rounds, clusters) after the baseline's.
        first: (charts, streams, rounds, clusters) of the baseline.
        validated: (charts, streams) means of a validation.
        true: (charts, streams) means before the drift.
    """

    scores: Floats
    first: Floats
    validated: Floats
    true: Floats

    @property
    def learnt(self) -> Floats:
        """(charts, streams) means of the rounds of the baseline."""
        return self.first.mean((2, 3))


def draw(streams: int, rounds: int, drop: float = 0.0, change: int = CHANGE, seed: int = 0) -> Streams:
    """Streams in which acceptance falls by `drop` after `change` rounds."""
    rng = np.random.default_rng(seed)
    shape = (2, streams, POOL)
    chance = rng.beta(MEAN * SPREAD, (1 - MEAN) * SPREAD, shape)
    validated = (rng.random(shape) < chance).mean(-1)
    total = LEARN + rounds
    right = np.empty((2, streams, total, ASKED))
    for stream in range(streams):
        asked = rng.random((total, POOL)).argpartition(ASKED, axis=1)[:, :ASKED]
        its = chance[:, stream][:, asked]
        its[1, LEARN + change :] *= 1 - drop / chance[1, stream].mean()
        right[:, stream] = rng.random(its.shape) < its
    scores = np.concatenate([right, right.mean(0, keepdims=True)])
    true = chance.mean(-1)
    return Streams(
        scores[:, :, LEARN:],
        scores[:, :, :LEARN],
        np.concatenate([validated, validated.mean(0, keepdims=True)]),
        np.concatenate([true, true.mean(0, keepdims=True)]),
    )


def first(reached: Floats) -> Floats:
    """(streams,) the first round in which any chart alarms, of (charts, streams, rounds); `NEVER` where none does."""
    any_chart = reached.any(0)
    return np.where(any_chart.any(1), any_chart.argmax(1), NEVER)


def detector(streams: Streams, given: bool) -> Floats:
    """The charts of `hfvaccine monitor`, which learn from ten rounds, and from a validation where they were given one.

    Both have seen the ten rounds: the peers have too.
    """
    limit, miss = np.log(BUDGET.threshold(CHARTS)), BUDGET.miss(CHARTS)
    reached = []
    for chart in range(CHARTS):
        factors = []
        both = np.concatenate([streams.first[chart], streams.scores[chart]], axis=1)
        for rounds, value in zip(both, streams.validated[chart], strict=True):
            mean = bounded_mean(float(value), VALIDATED, miss)
            baseline = Baseline(mean.value, mean.low, mean.high, VALIDATED, "verdict") if given else None
            held = learnt(list(rounds), baseline, LEARN, miss, "verdict")[:-1]
            # Scores are 0, 0.5 or 1 and baselines seldom change: each factor is made once.
            ends, which = np.unique(
                [(one.low, one.high) if one else (0.0, 1.0) for one in held], axis=0, return_inverse=True
            )
            factors.append(
                sum(
                    (rounds == score).sum(-1)[:, None, None] * growth(np.full((len(ends), 1), score), *ends.T)[which]
                    for score in (0.0, 0.5, 1.0)
                )
            )
        found = (evidence(np.stack(factors, axis=1)) >= limit).any(-1).T
        found[:, LEARN] |= found[:, :LEARN].any(1)
        reached.append(found[:, LEARN:])
    return first(np.stack(reached))


def rolling(streams: Streams) -> Floats:
    """Two-sided z-tests of the last rounds against the baseline, at 5 %, after every round."""
    means = streams.scores.mean(-1)
    sums = np.cumsum(np.concatenate([np.zeros((*means.shape[:2], 1)), means], axis=-1), axis=-1)
    recent = (sums[..., WINDOW:] - sums[..., :-WINDOW]) / WINDOW
    value = streams.learnt[..., None]
    error = np.sqrt(value * (1 - value) / (WINDOW * ASKED) * 2)  # of both means
    reached = np.abs(recent - value) > norm.ppf(0.975) * error
    return first(np.concatenate([np.zeros((*means.shape[:2], WINDOW - 1), bool), reached], axis=-1))


def repeated(streams: Streams) -> Floats:
    """A 95 % interval of all rounds so far, after every round: does it hold the baseline?"""
    rounds = np.arange(1, streams.scores.shape[2] + 1)
    means = streams.scores.mean(-1).cumsum(-1) / rounds
    error = np.sqrt(means * (1 - means) / (rounds * ASKED))
    return first(np.abs(means - streams.learnt[..., None]) > norm.ppf(0.975) * error)


def cusum(streams: Streams, limit: float) -> Floats:
    """CUSUM of acceptance alone, with the true means before and after a change of 10 points known."""
    before = streams.true[1][:, None]
    after = before - 0.1
    k = streams.scores[1].sum(-1)
    ratio = k * np.log(after / before) + (ASKED - k) * np.log((1 - after) / (1 - before))
    total, found = np.zeros(len(before)), np.empty(ratio.shape)
    for at in range(ratio.shape[1]):
        total = np.maximum(total + ratio[:, at], 0)
        found[:, at] = total
    return first((found >= limit)[None]) if limit else found.max(-1)


def cusum_limit(streams: int, seed: int) -> float:
    """The limit that 5 % of streams without drift reach within the horizon."""
    highest = [cusum(batch, 0) for batch in batches(streams, BUDGET.horizon, 0.0, seed)]
    return float(np.quantile(np.concatenate(highest), 1 - BUDGET.alpha))


def batches(streams: int, rounds: int, drop: float, seed: int, change: int = CHANGE):
    for number, start in enumerate(range(0, streams, BATCH)):
        yield draw(min(BATCH, streams - start), rounds, drop, change, seed * 10_000 + number)


def table(streams: int, drifting: int) -> list[list[str]]:
    """A row for each detector: false alarms, and for each drop the median delay and the share found in 100 rounds."""
    limit = cusum_limit(min(streams, 500), 7)
    detectors: dict[str, Callable[[Streams], Floats]] = {
        "charts, baseline learnt": lambda its: detector(its, False),
        "charts, baseline of a validation": lambda its: detector(its, True),
        "CUSUM, true means known": lambda its: cusum(its, limit),
        "rolling z-test of 10 rounds": rolling,
        "repeated 95 % interval": repeated,
    }
    rows = {name: [name] for name in detectors}
    found = {name: [] for name in detectors}
    for batch in batches(streams, BUDGET.horizon, 0.0, 1):
        for name, of in detectors.items():
            found[name].append(of(batch))
    for name in detectors:
        alarmed = np.concatenate(found[name]) < NEVER
        rows[name].append(f"{100 * alarmed.mean():.1f} %")
    for drop in DROPS:
        print(f"Next: a drop of {drop}; so far {list(rows.values())}", file=sys.stderr, flush=True)
        delays = {name: [] for name in detectors}
        for batch in batches(drifting, CHANGE + 100, drop, 2 + int(100 * drop)):
            for name, of in detectors.items():
                delays[name].append(of(batch) - CHANGE + 1)
        for name in detectors:
            its = np.concatenate(delays[name])
            its = its[its > 0]  # those that had not cried wolf before
            if len(its) < 0.05 * drifting:
                rows[name].append("–")
                continue
            median, share = np.median(its), (its <= 100).mean()
            rows[name].append(f"{'> 100' if median > 100 else f'{median:.0f}'} ({100 * share:.0f} %)")
    return list(rows.values())


def write(folder: Path, begin: int, told: int) -> None:
    """Append rounds for ever, and say after each that it is kept."""
    state = State.open(folder)
    claims = {f"claim{i}": f"cluster{i}" for i in range(60)}
    scores = {"rejection": dict.fromkeys(claims, 1.0)}
    for number in itertools.count(begin):
        state.append(Round(f"probe-{number}", "2026-11-29T05:00:00Z", "probe", "verdict", claims, scores))
        os.write(told, f"probe-{number}\n".encode())


def kills(times: int, folder: Path, seed: int = 0) -> dict[str, int]:
    """Two writers at once, both killed at a random moment, again and again.

    Returns:
        How often one was killed, and how many rounds were acknowledged, lost of these, and counted twice.
    """
    chance, processes = random.Random(seed), multiprocessing.get_context("fork")
    state = State.begin(folder, Declaration("a", "b", "c", {"rejection": None}))
    acknowledged: set[str] = set()
    torn = 0
    for _ in range(-(-times // 2)):
        heard, told = os.pipe()
        begin = len(state.rounds)
        writers = [processes.Process(target=write, args=(folder, begin, told)) for _ in range(2)]
        for writer in writers:
            writer.start()
        os.close(told)
        if chance.random() < 0.8:  # else before they have written anything, perhaps
            select.select([heard], [], [], 30)
        time.sleep(chance.random() * 0.03)
        for writer in writers:
            writer.kill()
            writer.join()
        with os.fdopen(heard) as lines:
            acknowledged |= set(lines.read().split())
        torn += not (folder / JOURNAL).read_bytes().endswith(b"\n")
        state = State.open(folder)
    ids = [one.id for one in state.rounds]
    return {
        "kills": 2 * -(-times // 2),
        "acknowledged": len(acknowledged),
        "lost": len(acknowledged - set(ids)),
        "counted_twice": len(ids) - len(set(ids)),
        "torn_tails": torn,
    }


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--streams", type=int, default=2000, help="without drift; an eighth as many drift")
    asked.add_argument("--kills", type=int, default=0, help="only kill writers so many times, two at once")
    options = asked.parse_args()
    if options.kills:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(kills(options.kills, Path(folder))))
        return
    began = time.perf_counter()
    print("| detector | false alarms | 5 points | 10 points | 20 points |\n|---|---|---|---|---|")
    for row in table(options.streams, max(20, options.streams // 8)):
        print(f"| {' | '.join(row)} |")
    print(f"{options.streams} streams, {time.perf_counter() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
