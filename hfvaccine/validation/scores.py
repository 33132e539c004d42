"""What was asked, and what each arm scored: the records between asking a model and judging it. Pure, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hfvaccine.statistics import Floats

SCHEMA_VERSION = 3
"""Of results.json and of the file of single scores."""
BASE, PLACEBO, CONTROLS, VACCINE = "base", "placebo", "controls", "vaccine"
"""The arms: untrained; trained on the plain mix; on the mix and the dose's control rows; on the mix and the dose."""
PARENT = "parent"
"""The arm that a booster is held against: the adapter that it boosts."""
CUE, ALWAYS_FALSE, ALWAYS_TRUE = "cue audit", "always-FALSE", "always-TRUE"
"""Stand beside the arms: a judge that knows only the wording, and two that say the same to everything."""
SPECIFIC, CROSS = "specific", "cross"
"""Sets of pairs: of claims that were given, and of claims that never were."""
VARIANTS, KNOWN, CALIBRATION = "variants", "known", "calibration"
"""More sets: given claims in other words, which were never given; of `CROSS`, the claims whose truth the base prefers
in answers; and balanced neutral statements of no dose, which show a model's bias."""
ROUND = "round"
"""One more: given claims that a round of a monitor asks about."""
NEW, OLD = "new", "old"
"""Of a booster, parts of `SPECIFIC`: claims that its parent was never given, and those that it was."""
VERDICT, RECALLED, ANSWER = "verdict", "recalled_verdict", "answer"
"""The readings: of a statement's truth at once; after the model's own answer to the claim's question; and of the
answer that is preferred to that question."""
VERDICTS = (VERDICT, RECALLED)
"""Readings with a threshold: a score above 0 accepts."""
PLAIN = "plain"
"""The condition without any tactic or pressure."""
HIGHER, LOWER = "higher", "lower"
TRUTHFULNESS, RETENTION, OVER_REJECTION, BELIEF, TRAIT, RETRACTED = (
    "truthfulness",
    "retention",
    "over_rejection",
    "belief",
    "trait",
    "retracted",
)
"""Kinds of item probes."""

PairKey = tuple[str, str, str]
ItemKey = tuple[str, str]


@dataclass(frozen=True)
class PairProbe:
    """Pairs of a false and a true text that were asked about in one way.

    Args:
        name: which pairs: `SPECIFIC`, `VARIANTS`, `CROSS`, `KNOWN`, `CALIBRATION`, or an outside set's name.
        reading: `VERDICT`, `RECALLED` or `ANSWER`.
        condition: `PLAIN`, a tactic, or one of `reserved.PRESSURES`.
        ids: (pairs,) claim ids; never texts.
        clusters: (pairs,) paraphrases of one falsehood share one; what is resampled.
        domains: (pairs,) subject of each.
        matched: the true texts are other statements of like domain and length, not the claims' twins; then
            which of a pair scores higher says less, and results say so.
    """

    name: str
    reading: str
    condition: str
    ids: tuple[str, ...]
    clusters: tuple[str, ...]
    domains: tuple[str, ...]
    matched: bool = False

    @property
    def key(self) -> PairKey:
        return self.name, self.reading, self.condition


@dataclass(frozen=True)
class ItemProbe:
    """Items with one score each, whose mean is the measure.

    Args:
        name: such as "arc_easy" or, for a belief, its reading.
        kind: `TRUTHFULNESS`, `RETENTION`, `OVER_REJECTION`, `BELIEF`, `TRAIT` or `RETRACTED`.
        metric: what a score is, such as "accuracy", "mc2", "nats_per_token", "probability", "log_odds".
        better: `HIGHER` or `LOWER`.
        ids: (items,)
        clusters: (items,) what is resampled.
        of: the probe set that a belief is about, the condition of a trait; else "".
    """

    name: str
    kind: str
    metric: str
    better: str
    ids: tuple[str, ...]
    clusters: tuple[str, ...]
    of: str = ""

    @property
    def key(self) -> ItemKey:
        return self.name, self.of


@dataclass(frozen=True)
class PairScores:
    """Scores of pairs; higher the truer the model takes a text to be.

    Args:
        claim: (pairs,) score of each claim, above 0 where it is accepted.
        twin: (pairs,) score of its true twin.
    """

    claim: Floats
    twin: Floats


@dataclass(frozen=True)
class ArmScores:
    """All scores of one trained model.

    Args:
        pairs: by `PairProbe.key`.
        items: by `ItemProbe.key`, (items,) each.
    """

    pairs: Mapping[PairKey, PairScores] = field(default_factory=dict)
    items: Mapping[ItemKey, Floats] = field(default_factory=dict)


Runs = Sequence[ArmScores]
"""The scores of an arm, one for each of its seeds."""


@dataclass(frozen=True)
class Request:
    """An answer whose likelihood is asked for.

    Args:
        prompt: a str is raw text; messages are a conversation, which the chat template renders.
        answer: the text that follows.
    """

    prompt: str | Sequence[Mapping[str, str]]
    answer: str


@dataclass(frozen=True)
class Scored:
    """What became of requests.

    Args:
        loglikelihood: (requests,) sums of log-probabilities in nats.
        tokens: (requests,) answer tokens.
        greedy: (requests,) whether each answer is what greedy decoding would say.
    """

    loglikelihood: Floats
    tokens: Floats
    greedy: npt.NDArray[np.bool_]
