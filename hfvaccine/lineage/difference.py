"""What differs between two adapters, by their records. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

GROUPS = ("adapter", "base", "dose", "mix", "data", "plan", "inoculation", "training", "booster", "code", "gate")

OF_THE_DAY = ("seconds",)
"""Differs between any two runs and says nothing."""


@dataclass(frozen=True)
class Difference:
    """One thing that two records do not agree on.

    Args:
        group: one of `GROUPS`.
        name: what it is; parts of parts with a dot between.
        left: of the one adapter, None where it has none.
        right: of the other.
    """

    group: str
    name: str
    left: Any
    right: Any

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dict(vars(self))


def differences(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[Difference]:
    """What two records do not agree on, in the order of `GROUPS`.

    Of the claims that were given it is said how many only one of the adapters was given, not which.

    Args:
        left: the content of one immunization.json or inoculation.json.
        right: of another.
    """
    found = []
    ours, theirs = (dict(_leaves(_grouped(record))) for record in (left, right))
    for key in dict.fromkeys([*ours, *theirs]):
        if ours.get(key) != theirs.get(key):
            group, _, name = key.partition(".")
            found.append(Difference(group, name or group, ours.get(key), theirs.get(key)))
    alone = _alone(left, right)
    if any(alone):
        found.append(Difference("dose", "claims that only it was given", *alone))
    return sorted(found, key=lambda difference: GROUPS.index(difference.group))


CLAIMS = ("claim_ids", "not_reached")
"""Long lists, which are counted."""


def _grouped(record: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a record that are compared."""
    dose = {key: value for key, value in _part(record, "dose").items() if key not in CLAIMS}
    # Of several doses with a share each.
    dose["doses"] = {str(number): one for number, one in enumerate(dose.pop("doses", ()), start=1)}
    training = {key: value for key, value in _part(record, "training").items() if key not in OF_THE_DAY}
    gate = _part(record, "gate")
    criteria = {
        str(criterion.get("name")): {key: criterion.get(key) for key in ("verdict", "value", "threshold")}
        for criterion in gate.get("criteria") or ()
        if isinstance(criterion, Mapping)
    }
    own = _part(record, "adapter")
    return {
        "adapter": {"arm": own.get("arm"), "weights": own.get("sha256"), "adopted": record.get("adopted")},
        "base": _part(record, "base"),
        "dose": dose,
        "mix": _part(record, "mix"),
        "data": {
            **_part(record, "data"),
            "with the trait": record.get("trait_rows"),
            "of the frozen adapter": _part(record, "trait_data"),
        },
        "plan": _part(record, "plan"),
        "inoculation": record.get("inoculation"),
        "training": training,
        "booster": {**_part(record, "booster"), "before": None, "ancestors": None, "doses": None},
        "code": {"hfvaccine": record.get("hfvaccine"), **_part(record, "code"), **_part(record, "versions")},
        "gate": {"verdict": gate.get("verdict"), **criteria},
    }


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = record.get(name)
    return part if isinstance(part, Mapping) else {}


def _leaves(part: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in part.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        elif value is not None:
            yield f"{above}{key}", value


def _alone(left: Mapping[str, Any], right: Mapping[str, Any]) -> tuple[int, int]:
    ours, theirs = (set(map(str, _part(record, "dose").get("claim_ids") or ())) for record in (left, right))
    return len(ours - theirs), len(theirs - ours)
