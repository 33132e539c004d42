"""Results, found by what they are about, and as numbers that people read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hfvaccine.errors import ValidationError
from hfvaccine.text import NOT_KNOWN, with_interval
from hfvaccine.validation.scores import BASE, HIGHER, LOWER, PARENT, PLACEBO, SCHEMA_VERSION
from hfvaccine.validation.showing.names import PROBES

PARTS = (
    "arms",
    "seeds",
    "missing",
    "measures",
    "domains",
    "contrasts",
    "other",
    "other_contrasts",
    "calibration",
    "belief",
    "cue_audit",
    "gate",
    "settings",
)


def require_schema(results: Mapping[str, Any]) -> None:
    """Refuse results that were written by another version, or not whole.

    Raises:
        ValidationError: naming both schema versions, or what is lacking.
    """
    found = results.get("schema_version")
    if found != SCHEMA_VERSION:
        raise ValidationError(
            f"These results have schema version {found!r}; this hfvaccine shows version {SCHEMA_VERSION}.",
            "Measure again with `hfvaccine validate`.",
        )
    if lacking := [part for part in PARTS if part not in results]:
        raise ValidationError(
            f"These results lack {', '.join(lacking)}.", "Give the whole results.json of a run that was validated."
        )


def index(results: Mapping[str, Any]) -> dict[tuple[str, str, str, str, str], Mapping[str, Any]]:
    """Measures by probe, reading, condition, metric and arm."""
    return {(m["probe"], m["reading"], m["condition"], m["metric"], m["arm"]): m for m in results["measures"]}


def probe_names(results: Mapping[str, Any]) -> list[str]:
    """Given claims, claims never given, then outside sets in the order of the results."""
    names = list(dict.fromkeys(m["probe"] for m in results["measures"]))
    return [name for name in PROBES if name in names] + [name for name in names if name not in PROBES]


def control(results: Mapping[str, Any]) -> str:
    """What the vaccine is held against: of a booster its parent, the placebo where there is one, else the base."""
    return next(arm for arm in (PARENT, PLACEBO, BASE) if arm in results["arms"] or arm == BASE)


def cell(measure: Mapping[str, Any] | None) -> str:
    """A value and its interval, or a dash where nothing was measured."""
    return NOT_KNOWN if measure is None else with_interval(measure["value"], measure["interval"])


def change(row: Mapping[str, Any], places: int = 3) -> str:
    """A difference with its sign and interval."""
    return with_interval(row["difference"], row["interval"], places, sign=True)


def beyond(interval: Sequence[float], above: str, below: str, neither: str) -> str:
    """The word for an interval that lies above 0, below it, or holds it."""
    low, high = interval
    return above if low > 0 else below if high < 0 else neither


def better_or_worse(row: Mapping[str, Any], neither: str) -> str:
    """Which of both a difference is, as far as its interval shows it and its metric has a better side."""
    sides = {HIGHER: ("better", "worse"), LOWER: ("worse", "better")}
    return beyond(row["interval"], *sides.get(row["better"], ("higher", "lower")), neither)
