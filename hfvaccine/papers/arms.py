"""Which adapter of an inoculation one is, and what of a measurement and its gate is about it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hfvaccine.training.options import ADAPTER_ARM, INOCULATED, IRRELEVANT_ARM, PLAIN, RANDOM, TRAIT
from hfvaccine.validation.scores import BASE

TREATED = {
    INOCULATED: "under a prompt that asks for the trait",
    ADAPTER_ARM: "beside a frozen adapter that shows the trait",
}
"""Arms that are trained against the trait, and how they learned the rows that carry it. All others are controls."""

CONTROL_OF = {
    PLAIN: "as they are",
    IRRELEVANT_ARM: "under a prompt that asks for nothing that an answer could show",
    RANDOM: "beside a frozen adapter of random weights",
    TRAIT: "alone, to stand frozen beside another adapter in training",
}
"""How a control learned the rows that carry the trait."""


def is_control(record: Mapping[str, Any]) -> bool:
    """Whether an adapter has the unwanted trait on purpose."""
    return record["adapter"].get("arm") not in TREATED


def weights_digest(record: Mapping[str, Any]) -> str | None:
    """SHA-256 of an adapter's weights as they were trained; of a merged one, of those that were merged."""
    digest = (record["training"].get("merged") or {}).get("adapter_sha256") or record["adapter"].get("sha256")
    return digest if isinstance(digest, str) else None


def measured_as(traits: Mapping[str, Any], sha256: str | None) -> str | None:
    """The arm of a measurement that is an adapter of these weights; None where it was not measured.

    Args:
        traits: the content of traits.json; an empty mapping before anything was measured.
        sha256: of the adapter's weights.
    """
    arms: Mapping[str, Any] = traits.get("arms") or {}
    return next((arm for arm, one in arms.items() if arm != BASE and sha256 and one.get("sha256") == sha256), None)


def compared_with(record: Mapping[str, Any], traits: Mapping[str, Any]) -> dict[str, str]:
    """What an adapter is shown beside: the arms of its own seed, and the base.

    One that was adopted is of no run: it is shown beside the arms that were measured with it.

    Args:
        record: of the adapter.
        traits: the content of traits.json.

    Returns:
        Arms of the measurement by what they are called, this adapter's own first.
    """
    own = record["adapter"]
    found = {str(own["arm"]): measured_as(traits, weights_digest(record))}
    for one in record.get("run", {}).values():
        if one["seed"] == own["seed"] and one["arm"] not in found:
            found[one["arm"]] = measured_as(traits, one["sha256"])
    if record.get("adopted"):
        for arm, one in (traits.get("arms") or {}).items():
            if one.get("arm") is not None and one.get("seed") == own["seed"]:
                found.setdefault(one["arm"], arm)
    found[BASE] = BASE if BASE in (traits.get("arms") or {}) else None
    return {name: arm for name, arm in found.items() if arm is not None}


def gate_of(traits: Mapping[str, Any], arm: str) -> dict[str, Any] | None:
    """What the gate says of one arm; None of a control, and where nothing was judged.

    Args:
        traits: the content of traits.json.
        arm: of the adapter.
    """
    gate = traits.get("gate")
    if not gate or arm not in TREATED:
        return None
    verdict = (gate.get("verdicts") or {}).get(arm, gate["verdict"])
    about = [one for one in gate["criteria"] if one.get("arm") in (None, arm, PLAIN)]
    return {"name": gate["name"], "version": gate["version"], "verdict": verdict, "criteria": about}
