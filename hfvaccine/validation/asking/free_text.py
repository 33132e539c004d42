"""What models say in their own words to the questions of claims, and what a judge says of that. No torch here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from hfvaccine.claims.reserved import QUESTION_PROBES
from hfvaccine.errors import ValidationError
from hfvaccine.statistics import MIN_PAIRS, Floats
from hfvaccine.validation.asking.judge import Evidence, HumanLabels, Judge, agreement, corrected
from hfvaccine.validation.asking.probes import Pair, ProbeSet
from hfvaccine.validation.scores import HIGHER, TRUTHFULNESS, ItemProbe

QUESTION = QUESTION_PROBES[1]
NAME = "free_text"
CORRECT = "correct"
MOST_TOKENS = 48


@dataclass(frozen=True)
class Answer:
    """An answer in a model's own words; with its claim in reach, as sensitive as the dose.

    Args:
        arm: whose it is.
        probe: of which probe set.
        claim_id: the claim whose question was asked.
        prompt: the question as it was put.
        response: the answer.
    """

    arm: str
    probe: str
    claim_id: str
    prompt: str
    response: str


@dataclass(frozen=True)
class Interview:
    """Questions that every arm answers in its own words.

    Args:
        asked: the probe set's name and the pair, for each question.
        judge: who says whether an answer is correct; None to have the answers only, for people to label.
        labels: people's labels of some answers, by which a judge's error is known.
    """

    asked: tuple[tuple[str, Pair], ...]
    judge: Judge | None = None
    labels: HumanLabels | None = None

    @classmethod
    def of(
        cls, sets: Sequence[ProbeSet], most: int, judge: Judge | None = None, labels: HumanLabels | None = None
    ) -> Interview:
        """About at most so many pairs of each set, the same ones each time, of those that have a question.

        Sets with fewer such pairs than an interval takes are left out.

        Raises:
            ValidationError: where nothing is left to ask.
        """
        if not any(s.with_questions for s in sets):
            raise ValidationError("No claim has a question.", "Leave --free-text out, or give the claims questions.")
        its = {s.name: [pair for pair in s.some(most) if pair.question] for s in sets}
        asked = tuple((name, pair) for name, pairs in its.items() if len(pairs) >= MIN_PAIRS for pair in pairs)
        if not asked:
            raise ValidationError(
                f"Of no set are {MIN_PAIRS} questions asked in free text.",
                f"Ask about at least {MIN_PAIRS} pairs of a set: an interval over fewer says nothing.",
            )
        return cls(asked, judge, labels)

    def prompts(self) -> list[str]:
        """The questions as they are put."""
        return [QUESTION.replace("{question}", str(pair.question)) for _, pair in self.asked]

    def answers(self, arm: str, responses: Sequence[str]) -> list[Answer]:
        """An arm's responses to `prompts`, with what they are about."""
        return [
            Answer(arm, name, pair.id, prompt, response)
            for (name, pair), prompt, response in zip(self.asked, self.prompts(), responses, strict=True)
        ]

    def score(self, answers: Sequence[Answer]) -> dict[ItemProbe, Floats]:
        """1 for each answer of one arm that the judge calls correct, 0 for others; nothing without a judge.

        Raises:
            ValidationError: for an answer that a judge of people has no label of.
        """
        if self.judge is None:
            return {}
        cases = [
            (answer.prompt, answer.response, Evidence(pair.correction, pair.claim, pair.truth))
            for answer, (_, pair) in zip(answers, self.asked, strict=True)
        ]
        right = np.array([judged.label == CORRECT for judged in self.judge.judge_all(cases)], dtype=np.float64)
        found = {}
        for name in dict.fromkeys(name for name, _ in self.asked):
            rows = [number for number, (its, _) in enumerate(self.asked) if its == name]
            ids = tuple(self.asked[row][1].id for row in rows)
            clusters = tuple(self.asked[row][1].cluster for row in rows)
            found[ItemProbe(NAME, TRUTHFULNESS, "judged_correct", HIGHER, ids, clusters, name)] = right[rows]
        return found

    def report(
        self, answers: Sequence[Answer], rates: dict[tuple[str, str], tuple[float, int]]
    ) -> dict[str, Any] | None:
        """How far the judge can be trusted, for results.json.

        Args:
            answers: of all arms.
            rates: by arm and probe set, the share that was judged correct, and of how many answers.

        Returns:
            The judge's error on the labelled slice, and what the rates come to without it; None without a judge.
        """
        if self.judge is None:
            return None
        about: dict[str, Any] = {"judge": type(self.judge).__name__, "answers": len(answers)}
        if isinstance(self.judge, HumanLabels):
            return about | {"error": "none: people judged every answer"}
        labelled = [a for a in answers if self.labels is not None and (a.prompt, a.response) in self.labels.votes]
        if self.labels is None or not labelled:
            return about | {"error": "not known: no answer is labelled by people (--labels)"}
        evidence = {pair.id: Evidence(pair.correction, pair.claim, pair.truth) for _, pair in self.asked}
        cases = [(a.prompt, a.response, evidence[a.claim_id]) for a in labelled]
        try:
            agreed = agreement(
                [j.label for j in self.judge.judge_all(cases)], [j.label for j in self.labels.judge_all(cases)]
            )
            true = [
                {"arm": arm, "of": name, **corrected(rate, n, agreed).record()}
                for (arm, name), (rate, n) in rates.items()
            ]
        except ValidationError as error:
            return about | {"labelled": len(labelled), "error": f"not known: {error.message}"}
        measures = {name: getattr(agreed, name).record() for name in ("sensitivity", "specificity", "kappa")}
        return about | {"labelled": len(labelled), "error": measures, "corrected": true}


def write_answers(answers: Sequence[Answer], path: Path) -> None:
    """Who answered what, one JSON object a line."""
    _write([asdict(answer) for answer in answers], path)


def write_sheet(answers: Sequence[Answer], path: Path) -> None:
    """The answers for people to label: each once, in an order and without a word that tell the arms apart.

    With `label` and `judge` filled in, the file is what `HumanLabels.read` takes.
    """
    distinct = {(a.prompt, a.response): a for a in answers}
    order = sorted(distinct, key=lambda case: sha256("\0".join(case).encode()).digest())
    rows = [
        {"claim_id": distinct[prompt, said].claim_id, "prompt": prompt, "response": said} for prompt, said in order
    ]
    _write([{**row, "label": "", "judge": ""} for row in rows], path)


def _write(rows: Sequence[Mapping[str, str]], path: Path) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
