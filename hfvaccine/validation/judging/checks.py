"""That scores and probes belong together, before anything is computed from them or written. Pure, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hfvaccine.errors import ValidationError
from hfvaccine.statistics import MIN_PAIRS, Floats
from hfvaccine.validation.scores import (
    ALWAYS_FALSE,
    ALWAYS_TRUE,
    BASE,
    CUE,
    PLACEBO,
    VACCINE,
    ItemProbe,
    PairProbe,
    Runs,
)


def check(pairs: Sequence[PairProbe], items: Sequence[ItemProbe], arms: Mapping[str, Runs]) -> None:
    """Refuse what does not belong together.

    Args:
        pairs: pairs that were asked about.
        items: items that were asked about.
        arms: scores by arm, one for each seed.

    Raises:
        ValidationError: naming the arm or probe, and for a score the item.
    """
    if reserved := {CUE, ALWAYS_FALSE, ALWAYS_TRUE} & set(arms):
        raise ValidationError(f"An arm is called {min(reserved)!r}.", f"Call arms {BASE}, {PLACEBO}, {VACCINE}, ....")
    known: dict[Any, Any] = {}
    probes: list[PairProbe | ItemProbe] = [*pairs, *items]
    for probe in probes:
        what = "pairs" if isinstance(probe, PairProbe) else "items"
        if probe.key in known:
            raise ValidationError(f"The probe {_called(probe.key)} is there twice.", "Give each a name of its own.")
        known[probe.key] = probe
        if len(probe.ids) < MIN_PAIRS:
            raise ValidationError(
                f"The probe {_called(probe.key)} has {len(probe.ids)} {what}.",
                f"Give at least {MIN_PAIRS}: an interval over fewer says nothing.",
            )
        if len(set(probe.ids)) != len(probe.ids) or len(probe.clusters) != len(probe.ids):
            raise ValidationError(
                f"The probe {_called(probe.key)} has items with one id, or without a cluster.",
                "Give each item one id and one cluster.",
            )
        if isinstance(probe, PairProbe) and len(probe.domains) != len(probe.ids):
            raise ValidationError(f"The probe {_called(probe.key)} has pairs without a domain.", "Give each one.")
    for arm, runs in arms.items():
        for run in runs:
            columns: list[tuple[Any, Floats]] = [(key, scores) for key, scores in run.items.items()]
            columns += [(key, side) for key, one in run.pairs.items() for side in (one.claim, one.twin)]
            for key, scores in columns:
                _check_scores(arm, key, scores, known)


def _check_scores(arm: str, key: Any, scores: Floats, known: Mapping[Any, Any]) -> None:
    if key not in known:
        raise ValidationError(f"{arm} has scores of {_called(key)}, which is no probe.", "Give the probe with them.")
    ids = known[key].ids
    if np.shape(scores) != (len(ids),):
        raise ValidationError(
            f"{arm} has scores of shape {np.shape(scores)} for the {len(ids)} items of {_called(key)}.",
            "Give one score for each.",
        )
    if not np.isfinite(scores).all():
        bad = ids[int(np.flatnonzero(~np.isfinite(scores))[0])]
        raise ValidationError(
            f"{arm} has a score that is not a number, in {_called(key)} at {bad}.",
            "Load the model in float32, or check its weights.",
        )


def _called(key: Sequence[str]) -> str:
    return " ".join(part for part in key if part)
