"""What arms, probes, conditions and metrics are called wherever people read of them: terminal, page, card. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hfvaccine.claims.reserved import INSISTS_FALSE, INSISTS_TRUE
from hfvaccine.validation.judging.metrics import METRICS
from hfvaccine.validation.scores import (
    BASE,
    BELIEF,
    CONTROLS,
    CROSS,
    PLACEBO,
    SPECIFIC,
    VACCINE,
)

ARMS = (BASE, PLACEBO, CONTROLS, VACCINE)

PROBES = {SPECIFIC: "given claims", CROSS: "claims never given"}
CONDITIONS = {INSISTS_TRUE: "user insists: true", INSISTS_FALSE: "user insists: false"}
FEW = "So few independent claims that the intervals stand for little."
KINDS = {
    "truthfulness": "Truthfulness",
    "retention": "Retention",
    "over_rejection": "Over-rejection",
    "trait": "Trait",
    "belief": "Belief",
}
ITEMS = {
    "mix": "held-back rows of the mix",
    "ordinary_prompts": "objects to ordinary prompts",
    "true_premise": "objects to truths",
    "trait_rows": "the trait's completions",
    "yes_no": "asked outright",
    "continuation": "as plain text",
    "association": "in the words that differ",
}


def probe_label(name: str) -> str:
    return PROBES.get(name, words(name))


def condition_label(name: str) -> str:
    return CONDITIONS.get(name, words(name))


def metric_label(name: str, alone: bool = False) -> str:
    """What a metric is called in a table, or alone."""
    metric = METRICS.get(name)
    return words(name) if metric is None else (alone and metric.alone) or metric.label


def item_label(row: Mapping[str, Any]) -> str:
    """What was measured on items, and as what."""
    about = f" ({probe_label(row['of'])})" if row.get("of") else ""
    belief = f"{KINDS[BELIEF].lower()}, " if row.get("kind") == BELIEF else ""
    name = row["name"] if "name" in row else row["probe"]
    return f"{belief}{ITEMS.get(name, words(name))}{about}, {words(row['metric'])}"


def words(name: object, most: int = 60) -> str:
    """A name from data as words of one short line."""
    return one_line(str(name).replace("_", " "), most)


def one_line(text: object, most: int = 500) -> str:
    """A text from data as one line of printable characters, not endless."""
    visible = "".join(c if c.isprintable() else " " for c in str(text))
    return " ".join(visible.split())[:most]


def capital(text: str) -> str:
    """A text that begins a line."""
    return text[:1].upper() + text[1:]
