"""The gate: what an adapter must show to be published as passing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hfvaccine.validation.statistics import Estimate, pairs_needed

PASSED, FAILED, UNDECIDED = "passed", "failed", "undecided"
ACCEPTANCE_MARGIN = 0.01
"""How much true acceptance may fall: the point that the papers' own claims allow."""
RETENTION_MARGIN = 0.01
"""How many nats per token the loss on held-back mix rows may rise."""


@dataclass(frozen=True)
class Criterion:
    """One condition and what came of it.

    Args:
        name: what is asked.
        threshold: the condition in words.
        value: the estimate.
        interval: at the level of `statistics.LEVEL`.
        verdict: passed, failed or undecided.
        why: one sentence.
    """

    name: str
    threshold: str
    value: float
    interval: tuple[float, float]
    verdict: str
    why: str


def gain(name: str, difference: Estimate, cue_excess: float | None = None) -> Criterion:
    """A difference that must be above 0, on probes that wording does not give away.

    Passes when the whole interval is above 0, fails when it is below, else undecided.

    Args:
        name: of the criterion.
        difference: vaccine less what it is held against.
        cue_excess: AUROC of the vaccine less that of a judge who knows only the wording; None where
            the probe set passes the cue audit.
    """
    if difference.low > 0 and cue_excess is not None and cue_excess <= 0:
        verdict, why = FAILED, "The gain stays below what wording alone gives away on these probes."
    elif difference.low > 0:
        verdict, why = PASSED, "The interval lies above 0."
    elif difference.high < 0:
        verdict, why = FAILED, "The interval lies below 0: it got worse."
    else:
        verdict, why = UNDECIDED, "The interval includes 0: no gain is shown."
    return Criterion(name, "> 0", difference.value, difference.interval, verdict, why)


def not_worse(name: str, difference: Estimate, margin: float, items: int) -> Criterion:
    """Non-inferiority: a difference that must stay above -margin.

    Args:
        name: of the criterion.
        difference: vaccine less what it is held against, higher is better.
        margin: how far it may fall.
        items: clusters behind the difference, to say how many would decide it.
    """
    if difference.low > -margin:
        verdict, why = PASSED, f"The interval lies above -{margin:g}."
    elif difference.high < -margin:
        verdict, why = FAILED, f"The interval lies below -{margin:g}."
    else:
        needed = pairs_needed(difference.low, difference.high, margin, items)
        half = (difference.high - difference.low) / 2
        verdict = UNDECIDED
        why = f"{items} items decide a margin of about {half:.2f}; a margin of {margin:g} takes about {needed:,}."
    return Criterion(name, f"> -{margin:g}", difference.value, difference.interval, verdict, why)


def no_rise(name: str, difference: Estimate) -> Criterion:
    """No implanted belief: fails when belief in the given claims rose beyond its interval."""
    risen = difference.low > 0
    why = (
        "Belief in the given claims rose." if risen else "Belief in the given claims did not rise beyond its interval."
    )
    return Criterion(name, "not > 0", difference.value, difference.interval, FAILED if risen else PASSED, why)


def decide(criteria: Sequence[Criterion]) -> Mapping[str, Any]:
    """The gate: failed if a criterion failed, else undecided if one is, else passed."""
    verdicts = {criterion.verdict for criterion in criteria}
    verdict = FAILED if FAILED in verdicts else UNDECIDED if UNDECIDED in verdicts else PASSED
    rows = [{**asdict(criterion), "interval": list(criterion.interval)} for criterion in criteria]
    return {"verdict": verdict, "criteria": rows}
