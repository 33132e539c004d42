"""What arms, probes, conditions and metrics are called wherever people read of them: terminal, page, card. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hfvaccine.claims.reserved import INSISTS_FALSE, INSISTS_TRUE
from hfvaccine.text import clean
from hfvaccine.validation.judging.metrics import AT_CONTROL, METRICS
from hfvaccine.validation.scores import (
    ANSWER,
    BASE,
    BELIEF,
    CALIBRATION,
    CONTROLS,
    CROSS,
    KNOWN,
    NEW,
    OLD,
    OVER_REJECTION,
    PARENT,
    PLACEBO,
    RECALLED,
    SPECIFIC,
    VACCINE,
    VARIANTS,
    VERDICT,
)

ARMS = (BASE, PLACEBO, CONTROLS, PARENT, VACCINE)
PROBES = {
    NEW: "new claims",
    OLD: "claims given before",
    SPECIFIC: "given claims",
    VARIANTS: "given claims in other words",
    CROSS: "claims never given",
    KNOWN: "claims that the base knows",
    CALIBRATION: "neutral statements",
}
"""Sets of the dose's own, and those beside them, in the order in which they are shown."""
LAST = (KNOWN, CALIBRATION)
"""Sets that are shown below all others: a part of another, and an instrument."""
READINGS = {
    RECALLED: "verdict after its own recall",
    VERDICT: "verdict on the statement",
    ANSWER: "answer preferred to the question",
}
"""In the order in which they are shown: the gate looks at a verdict after recall where there is one."""
SHORT_READINGS = {RECALLED: "verdict after recall"}
CONDITIONS = {INSISTS_TRUE: "user insists: true", INSISTS_FALSE: "user insists: false"}
FEW = "So few independent claims that the intervals stand for little."
ITEMS = {
    "mix": "held-back rows of the mix",
    "ordinary_prompts": "objects to ordinary prompts",
    "true_premise": "objects to truths",
    "trait_rows": "the trait's completions",
    "yes_no": "asked outright",
    "continuation": "as plain text",
    "association": "in the words that differ",
    "old_correction": "belief in the old correction of retracted claims",
}


def probe_label(name: str) -> str:
    return PROBES.get(name, label(name))


def condition_label(name: str) -> str:
    return CONDITIONS.get(name, label(name))


def reading_label(name: str) -> str:
    """What a reading is called in brackets or in a list."""
    return SHORT_READINGS.get(name, label(name))


def metric_label(name: str, alone: bool = False) -> str:
    """What a metric is called in a table, or alone."""
    if name == AT_CONTROL:
        return "accepts truths, at equal false acceptance"
    metric = METRICS.get(name)
    return label(name) if metric is None else (alone and metric.alone) or metric.label


def kind_label(kind: str) -> str:
    return "over-rejection" if kind == OVER_REJECTION else label(kind)


def item_label(row: Mapping[str, Any]) -> str:
    """What was measured on items, and as what."""
    about = f" ({probe_label(row['of'])})" if row.get("of") else ""
    belief = f"{BELIEF}, " if row.get("kind") == BELIEF else ""
    name = row["name"] if "name" in row else row["probe"]
    return f"{belief}{item_name(name)}{about}, {label(row['metric'])}"


def item_name(name: str) -> str:
    """What items, or a reading of belief, are called."""
    return ITEMS.get(name, label(name))


def label(name: object, most: int = 60) -> str:
    """A name from data as words of one short line."""
    return clean(str(name).replace("_", " "))[:most]


def capital(text: str) -> str:
    """A text that begins a line."""
    return text[:1].upper() + text[1:]
