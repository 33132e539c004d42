"""States that tests share: rounds of a model that stays as it was, or whose acceptance of twins falls."""

from datetime import timedelta

import numpy as np

from hfvaccine.claims import journal
from hfvaccine.surveillance.state import JOURNAL, Declaration, Round, State, clock

START = "2026-11-01T05:00:00Z"
CLUSTERS = 60
CHARTS = ("rejection", "acceptance", "discrimination", "asserted")
SECRET = "The moon is made of cheese"


def day(number):
    return f"{clock(START) + timedelta(days=number):%Y-%m-%dT%H:%M:%SZ}"


def declared(charts=CHARTS, **changes):
    return Declaration("you/adapter", "you/base", "d" * 64, dict.fromkeys(charts), **{"learn": 4} | changes)


def probed(number, acceptance=0.9, rejection=0.9, rng=None):
    """A round of probes; the first tenth of the claims is what a fall of acceptance begins with."""
    rng = rng or np.random.default_rng(number)
    claims = {f"claim{i:02d}": f"cluster{i // 2:02d}" for i in range(2 * CLUSTERS)}
    accepted = np.arange(len(claims)) >= round((1 - acceptance) * len(claims))
    rejected = rng.random(len(claims)) < rejection
    scores = {
        "acceptance": dict(zip(claims, accepted.astype(float), strict=True)),
        "rejection": dict(zip(claims, rejected.astype(float), strict=True)),
    }
    return Round(f"probe-{number}", day(number), "probe", "verdict", claims, scores, counts={"asked": 240})


def state_in(folder, rounds=30, change=None, to=0.6, declaration=None):
    """A state with so many rounds, acceptance falling after `change` of them."""
    declaration = declaration or declared()
    given = [probed(number, to if change is not None and number >= change else 0.9) for number in range(rounds)]
    entries = [journal.Entry("begin", "monitor", START, declaration.record())]
    entries += [
        journal.Entry(
            "round", one.source, one.at, {k: v for k, v in vars(one).items() if v and k not in ("at", "source")}
        )
        for one in given
    ]
    # Written at once: each `append` waits for the disk.
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JOURNAL).write_text(journal.dumps(journal.chain(entries)))
    return State.open(folder)
