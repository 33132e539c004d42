"""A booster held against the adapter that it boosts, by the records of both. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hfvaccine.files import ADAPTER


def given_ever(record: Mapping[str, Any]) -> frozenset[str]:
    """Ids of all claims that an adapter was given, in its own run or before it, where it goes on from another.

    Args:
        record: the content of its immunization.json.
    """
    return frozenset({*record["dose"]["claim_ids"], *(record.get("booster") or {}).get("before", ())})


def contradiction(record: Mapping[str, Any], parent: Mapping[str, Any]) -> str:
    """What a booster's record says that its parent's does not bear out; "" where nothing does.

    Args:
        record: the content of the booster's immunization.json.
        parent: of its parent's.
    """
    booster = record["booster"]
    if parent["files"].get(ADAPTER) != booster["parent"]["adapter_sha256"]:
        return "its weights are not those that were boosted"
    if parent["base"]["weights_sha256"] != record["base"]["weights_sha256"]:
        return "it was trained on another base"
    if unknown := sorted({*booster["retracted"], *booster["before"]} - given_ever(parent)):
        return f"{len(unknown)} claims that it is said to have had it was never given, first {unknown[0]}"
    if again := sorted(set(booster["retracted"]) & set(record["dose"]["claim_ids"])):
        return f"{len(again)} retracted claims were given all the same, first {again[0]}"
    return ""
