"""What was answered where a claim came up: asserted, rejected or unclear, by a judge whose error is taken out."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hfvaccine.claims.claim import Claim
from hfvaccine.errors import ValidationError
from hfvaccine.files import combined, digest_of, present
from hfvaccine.statistics import Estimate
from hfvaccine.surveillance.mentions import Mentions
from hfvaccine.validation.asking.judge import (
    Agreement,
    Case,
    Evidence,
    HumanLabels,
    Judge,
    Label,
    agreement,
    corrected,
)

ASSERTED, REJECTED, UNCLEAR = "asserted", "rejected", "unclear"
VERDICTS: Mapping[Label, str] = {"incorrect": ASSERTED, "correct": REJECTED, "unclear": UNCLEAR}
"""What a judgement of an answer says of the claim."""
MOST_JUDGED = 20
"""Answers of one claim that are judged at the most, drawn at random from those there are."""


class Answer(NamedTuple):
    """An answer that is to be judged, in memory until it is.

    Args:
        claim: place of the claim in the dose.
        wording: place of the wording that came up among the claim's falsehoods.
        prompt: what was asked.
        said: what was answered.
    """

    claim: int
    wording: int
    prompt: str
    said: str


@dataclass(frozen=True)
class Judging:
    """Who judges the answers, and how its error is known.

    Args:
        judge: people's labels, or an entailment model.
        name: of the judge, as the journal keeps it.
        labels: people's labels of answers, by which a model's error is known.
        most: answers of one claim that are judged at the most.
    """

    judge: Judge
    name: str
    labels: HumanLabels | None = None
    most: int = MOST_JUDGED


@dataclass(frozen=True)
class Judged:
    """What a judge says of answers.

    Args:
        judge: its name.
        verdicts: by place of the claim, how many of which verdict.
        rates: of all answers, the share of each verdict; empty where there was nothing to judge.
        error: why the judge's error is not known; "" where it is.
        agreed: its error, for what rejects a claim and what asserts it.
        true: the rates without that error.
        anchors: by claim id, the share of the answers labelled by people that the judge judged as they did.
    """

    judge: str
    verdicts: Mapping[int, Mapping[str, int]]
    rates: Mapping[str, float]
    error: str = ""
    agreed: Mapping[str, Agreement] = field(default_factory=dict)
    true: Mapping[str, Estimate] = field(default_factory=dict)
    anchors: Mapping[str, float] = field(default_factory=dict)

    @property
    def answers(self) -> int:
        """How many were judged."""
        return sum(sum(own.values()) for own in self.verdicts.values())


def open_judging(judge: str, labels: Path | None, most: int) -> Judging:
    """Who judges, and how its error is known.

    Args:
        judge: a file of people's labels, or an entailment model: a Hub id or a folder.
        labels: a file of people's labels of answers.
        most: answers of one claim that are judged at the most.

    Raises:
        ValidationError: for a file that holds no labels.
        ModelError: for a model that cannot be had or knows no entailment.
    """
    from hfvaccine.runs.study import open_judge

    known = None if labels is None else HumanLabels.read(labels)
    opened = open_judge(judge)
    if isinstance(opened, HumanLabels):
        return Judging(opened, "people", known, most)
    weights = present(Path(judge), ("config.json", "*.safetensors")) if Path(judge).is_dir() else {}
    name = combined({file: digest_of(path) for file, path in weights.items()})[:16] if weights else judge
    return Judging(opened, f"entailment:{name}", known, most)


class Drawn:
    """Of each claim so many answers as may be judged, each of those offered as likely as any other (Vitter 1985)."""

    def __init__(self, judging: Judging | None) -> None:
        self._most = judging.most if judging else 0
        judge = judging.judge if judging else None
        self._votes = judge.votes if isinstance(judge, HumanLabels) else None
        self._kept: dict[int, list[Answer]] = {}
        self._offered: Counter[int] = Counter()
        self._random = random.Random(0)

    def offer(self, answers: Iterable[Answer]) -> None:
        for one in answers:
            claim, _, prompt, said = one
            if self._votes is not None and (prompt, said) not in self._votes:
                continue  # people judge what they were shown
            self._offered[claim] += 1
            kept = self._kept.setdefault(claim, [])
            if len(kept) < self._most:
                kept.append(one)
            elif (place := self._random.randrange(self._offered[claim])) < self._most:
                kept[place] = one

    def answers(self) -> list[Answer]:
        return [one for _, kept in sorted(self._kept.items()) for one in kept]


def judge(answers: Sequence[Answer], judging: Judging, claims: Sequence[Claim]) -> Judged:
    """Have answers judged, and the judge held against people where they labelled some.

    Args:
        answers: to be judged.
        judging: by whom.
        claims: of the dose.
    """
    labels = [one.label for one in judging.judge.judge_all([_case(claims[a.claim], *a[1:]) for a in answers])]
    verdicts: dict[int, Counter[str]] = {}
    for one, label in zip(answers, labels, strict=True):
        verdicts.setdefault(one.claim, Counter())[VERDICTS[label]] += 1
    rates = {name: labels.count(label) / len(labels) for label, name in VERDICTS.items()} if labels else {}
    if isinstance(judging.judge, HumanLabels):
        return Judged(judging.name, verdicts, rates, "none: people judged every answer that counts")
    if judging.labels is None:
        return Judged(judging.name, verdicts, rates, "not known: no answer is labelled by people (--labels)")
    anchored = _anchored(judging.judge, judging.labels, claims)
    try:
        agreed = anchored.agreed()
        true = {name: corrected(rates[name], len(labels), one) for name, one in agreed.items()} if labels else {}
    except ValidationError as error:
        return Judged(judging.name, verdicts, rates, f"not known: {error.message}", anchors=anchored.right)
    return Judged(judging.name, verdicts, rates, "", agreed, true, anchored.right)


@dataclass(frozen=True)
class _Anchored:
    """What a judge says of answers that people labelled.

    Args:
        judge: the judge's labels.
        people: people's, in the same order.
        right: by claim id, the share of its labels that are people's too.
    """

    judge: Sequence[Label]
    people: Sequence[Label]
    right: Mapping[str, float]

    def agreed(self) -> dict[str, Agreement]:
        """How judge and people agree on what rejects a claim and on what asserts it.

        Raises:
            ValidationError: without labelled answers of both sorts.
        """
        turned: dict[Label, Label] = {"correct": "incorrect", "incorrect": "correct", "unclear": "unclear"}
        return {
            REJECTED: agreement(self.judge, self.people),
            ASSERTED: agreement([turned[one] for one in self.judge], [turned[one] for one in self.people]),
        }


def _anchored(judge: Judge, labels: HumanLabels, claims: Sequence[Claim]) -> _Anchored:
    """Have the labelled answers judged that are about claims; which claim that is, is found as it is in logs."""
    asked, mentions = list(labels.votes), Mentions(claims)
    prompts, answers = (mentions.find([case[side] for case in asked]) for side in (0, 1))
    about = [(next((one.statement for one in (*its, *own)), None), *case)
             for its, own, case in zip(prompts, answers, asked, strict=True)]  # fmt: skip
    known = [(claims[one.claim], one.variant, prompt, answer) for one, prompt, answer in about if one]
    cases = [_case(*one) for one in known]
    judged = [one.label for one in judge.judge_all(cases)] if cases else []
    people = [one.label for one in labels.judge_all(cases)]
    right: dict[str, list[bool]] = {}
    for (claim, *_), own, theirs in zip(known, judged, people, strict=True):
        right.setdefault(claim.claim_id, []).append(own == theirs)
    return _Anchored(judged, people, {claim: sum(own) / len(own) for claim, own in right.items()})


def _case(claim: Claim, wording: int, prompt: str, answer: str) -> Case:
    """An answer, and what it is held against: the wording that came up, and what is true instead."""
    if 0 < wording < len(claim.falsehoods):
        variant = claim.variants[wording - 1]
        return prompt, answer, Evidence(claim.correction, variant.claim, variant.twin)
    return prompt, answer, Evidence(claim.correction, claim.claim, claim.twin)
