"""Results, found by what they are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hfvaccine.errors import ValidationError
from hfvaccine.validation.scores import (
    BASE,
    PLACEBO,
    PLAIN,
    SCHEMA_VERSION,
)
from hfvaccine.validation.showing.names import (
    PROBES,
)

PARTS = (
    "arms",
    "seeds",
    "missing",
    "measures",
    "domains",
    "contrasts",
    "other",
    "other_contrasts",
    "belief",
    "cue_audit",
    "gate",
    "settings",
)
NOTHING = "–"


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
    """What the vaccine is held against: the placebo where there is one, else the base."""
    return PLACEBO if PLACEBO in results["arms"] else BASE


def cell(measure: Mapping[str, Any] | None) -> str:
    """A value and its interval, or a dash where nothing was measured."""
    if measure is None or measure["value"] is None:
        return NOTHING
    value, interval = measure["value"], measure["interval"]
    if not is_pair(interval) or interval[0] == interval[1]:
        return f"{value:.2f}"
    return f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def change(value: float, interval: Sequence[float], places: int = 3) -> str:
    """A difference with its sign and interval."""
    return f"{value:+.{places}f} [{interval[0]:+.{places}f}, {interval[1]:+.{places}f}]"


def is_at(measure: Mapping[str, Any], probe: str, reading: str) -> bool:
    return (measure["probe"], measure["reading"], measure["condition"]) == (probe, reading, PLAIN)


def is_pair(interval: object) -> bool:
    return isinstance(interval, list | tuple) and len(interval) == 2 and None not in interval
