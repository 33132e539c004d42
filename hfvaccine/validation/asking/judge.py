"""Judges of free-text answers: people, or a model of entailment; never keywords.

A judge errs. Its error is measured on a slice that people labelled (`agreement`),
and what it counts is corrected for that error (`corrected`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from hfvaccine.errors import ModelError, ValidationError
from hfvaccine.sources.rows import read_rows
from hfvaccine.statistics import LEVEL, Estimate, wilson

Label = Literal["correct", "incorrect", "unclear"]
LABELS: tuple[Label, ...] = ("correct", "incorrect", "unclear")


@dataclass(frozen=True)
class Evidence:
    """What an answer is held against.

    Args:
        correction: what is true.
        claim: the falsehood.
        twin: the claim edited into a true statement, where there is one.
    """

    correction: str
    claim: str
    twin: str | None = None


@dataclass(frozen=True)
class Judgement:
    """What a judge says of an answer, and how sure it is (of people: the share that says so)."""

    label: Label
    probability: float


Case = tuple[str, str, Evidence]
"""Prompt, response and evidence."""


class Judge(Protocol):
    """Says whether an answer is correct."""

    def judge_all(self, cases: Sequence[Case]) -> list[Judgement]:
        """The judgements of many, in their order."""


@dataclass(frozen=True)
class HumanLabels:
    """What people said of answers, looked up by prompt and response.

    Args:
        votes: labels by (prompt, response) and by who gave them.
    """

    votes: Mapping[tuple[str, str], Mapping[str, Label]]

    @classmethod
    def read(cls, file: Path) -> HumanLabels:
        """Labels from a file with the columns prompt, response, label and judge (the name of who judged).

        Raises:
            ValidationError: naming the row without one of them, with a label that is none of `LABELS`, or that
                differs from what the same person said of the same answer before.
        """
        votes: dict[tuple[str, str], dict[str, Label]] = {}
        for row in read_rows(file):
            values = {name: row.values.get(name) for name in ("prompt", "response", "label", "judge")}
            missing = [name for name, value in values.items() if not isinstance(value, str)]
            if missing or not str(values["judge"]).strip():
                raise ValidationError(
                    f"{file}, {row.where}: it has no {', '.join(missing) or 'judge'}.",
                    "Each row needs prompt, response, label and judge.",
                )
            given = str(values["label"]).strip().lower()
            label = next((known for known in LABELS if known == given), None)
            if label is None:
                raise ValidationError(
                    f"{file}, {row.where}: the label is {given!r:.40}.", f"Use one of: {', '.join(LABELS)}."
                )
            seen = votes.setdefault((str(values["prompt"]), str(values["response"])), {})
            if seen.setdefault(str(values["judge"]).strip(), label) != label:
                raise ValidationError(
                    f"{file}, {row.where}: {values['judge']} judged this answer otherwise before.",
                    "Keep one label of each judge for an answer.",
                )
        return cls(votes)

    def judge_all(self, cases: Sequence[Case]) -> list[Judgement]:
        """What most people said of each answer; "unclear" where none of the labels has most.

        Raises:
            ValidationError: saying how many answers nobody labelled.
        """
        missing = sum((prompt, response) not in self.votes for prompt, response, _ in cases)
        if missing:
            raise ValidationError(
                f"{missing} of {len(cases)} answers have no label.", "Have them labelled, or leave them out."
            )
        return [self._of(self.votes[prompt, response]) for prompt, response, _ in cases]

    @staticmethod
    def _of(votes: Mapping[str, Label]) -> Judgement:
        ranked = Counter(votes.values()).most_common()
        if len(ranked) > 1 and ranked[0][1] == ranked[1][1]:
            return Judgement("unclear", ranked[0][1] / len(votes))
        return Judgement(ranked[0][0], ranked[0][1] / len(votes))


class EntailmentJudge:
    """Judges by what an answer entails, with a model of natural language inference.

    The premise is the response alone: a prompt may state the falsehood, and would then entail it whatever the
    response says. So a bare "No." is unclear; ask for sentences. With the hypotheses correction, claim and twin,

        t = max P(entailment) of correction and twin
        f = max of P(entailment) of the claim, P(contradiction) of correction and of twin

    and, taken as independent, P(correct) = t (1 - f), P(incorrect) = f (1 - t), P(unclear) = the rest; the
    likeliest is the label. That the claim is contradicted does not make an answer correct: another falsehood
    contradicts it too. The model errs as all do: measure it with `agreement` before trusting its counts.

    Args:
        model: Hub id or folder of a sequence classifier whose labels are entailment, neutral and contradiction.
        batch: pairs of one forward pass.

    Raises:
        ModelError: for a model that cannot be loaded, or with other labels.
    """

    def __init__(self, model: str | Path, batch: int = 32) -> None:
        import torch
        from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            config = AutoConfig.from_pretrained(model)
            self._labels = _columns(str(model), getattr(config, "id2label", None) or {})
            self.tokenizer = AutoTokenizer.from_pretrained(model)
            self.model: Any = AutoModelForSequenceClassification.from_pretrained(model).eval().to(device)
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{model} cannot be loaded as a classifier: {str(error).splitlines()[0]}",
                "Give a Hub id or folder of a model of natural language inference.",
            ) from error
        positions = getattr(config, "max_position_embeddings", None) or 512
        # Two less: RoBERTa counts its positions from the padding token's.
        self._most = min(int(self.tokenizer.model_max_length), int(positions) - 2)
        self.batch = batch

    def judge_all(self, cases: Sequence[Case]) -> list[Judgement]:
        """The judgements of many answers; each pair is asked once."""
        pairs = self.entails(
            (response, hypothesis)
            for _, response, evidence in cases
            for hypothesis in (evidence.correction, evidence.claim, evidence.twin)
            if hypothesis
        )
        judgements = []
        for _, response, evidence in cases:
            correction, claim, twin = (
                pairs.get((response, hypothesis or ""), (0.0, 0.0))
                for hypothesis in (evidence.correction, evidence.claim, evidence.twin)
            )
            judgements.append(_decide(max(correction[0], twin[0]), max(claim[0], correction[1], twin[1])))
        return judgements

    def entails(self, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[float, float]]:
        """P(entailment) and P(contradiction) of (premise, hypothesis) pairs, in batches of like length.

        Args:
            pairs: equal ones are asked once.
        """
        order = sorted(set(pairs), key=lambda pair: (len(pair[0]) + len(pair[1]), pair))
        found: dict[tuple[str, str], tuple[float, float]] = {}
        for at in range(0, len(order), self.batch):
            part = order[at : at + self.batch]
            found.update(zip(part, self._ask(part), strict=True))
        return found

    def _ask(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, float]]:
        """P(entailment) and P(contradiction) of (premise, hypothesis) pairs."""
        import torch

        premises, hypotheses = zip(*pairs, strict=True)
        # Where a pair is too long, the longer text gives: nearly always the response.
        inputs = self.tokenizer(
            list(premises),
            list(hypotheses),
            padding=True,
            truncation="longest_first",
            max_length=self._most,
            return_tensors="pt",
        ).to(self.model.device)
        with torch.inference_mode():
            probabilities = self.model(**inputs).logits.float().softmax(-1).cpu().numpy()
        if not np.isfinite(probabilities).all():
            raise ModelError("The judge's model gives probabilities that are not numbers.", "Check its weights.")
        return [(float(row[self._labels[0]]), float(row[self._labels[1]])) for row in probabilities]


def _columns(model: str, labels: Mapping[int, str]) -> tuple[int, int]:
    """Columns of entailment and contradiction, read from the model's own names of its labels."""
    found = {str(name).lower(): int(number) for number, name in labels.items()}
    if set(found) != {"entailment", "neutral", "contradiction"}:
        raise ModelError(
            f"{model} has the labels {', '.join(map(str, labels.values())) or 'none'}.",
            "The judge needs a model whose labels are entailment, neutral and contradiction.",
        )
    return found["entailment"], found["contradiction"]


def _decide(true: float, false: float) -> Judgement:
    correct, incorrect = true * (1 - false), false * (1 - true)
    probabilities: dict[Label, float] = {
        "correct": correct,
        "incorrect": incorrect,
        "unclear": 1 - correct - incorrect,
    }
    label = max(probabilities, key=lambda name: probabilities[name])
    return Judgement(label, probabilities[label])


@dataclass(frozen=True)
class Agreement:
    """A judge held against people, "correct" against the other two labels.

    Args:
        sensitivity: how often an answer that people call correct is judged correct.
        specificity: how often one that they do not call correct is not judged correct.
        kappa: Cohen's kappa over all labels.
        correct: answers that people call correct.
        others: answers that they do not.
    """

    sensitivity: Estimate
    specificity: Estimate
    kappa: Estimate
    correct: int
    others: int


def agreement(judge: Sequence[Label], people: Sequence[Label]) -> Agreement:
    """How well a judge's labels agree with people's on the same answers.

    Sensitivity and specificity have Wilson intervals, kappa its asymptotic one (Fleiss, Cohen and Everitt 1969).

    Args:
        judge: the judge's labels.
        people: people's, in the same order.

    Raises:
        ValidationError: without answers of both sorts, as people see them.
    """
    from scipy.stats import norm
    from statsmodels.stats.inter_rater import cohens_kappa

    if len(judge) != len(people):
        raise ValidationError(
            f"The judge gave {len(judge)} labels and people {len(people)}.",
            "Label the same answers in the same order.",
        )
    table = np.array(
        [[sum(pair == (j, p) for pair in zip(judge, people, strict=True)) for j in LABELS] for p in LABELS]
    )
    correct, others = int(table[0].sum()), int(table[1:].sum())
    if not correct or not others:
        raise ValidationError(
            f"People call {correct} of {correct + others} labelled answers correct.",
            "A judge's error shows only on a slice with correct and other answers: label more.",
        )

    with np.errstate(invalid="ignore", divide="ignore"):  # its test of "no agreement" divides 0 by 0 for some tables
        measured = cohens_kappa(table)
    half = float(norm.ppf((1 + LEVEL) / 2)) * float(measured.std_kappa)
    kappa = float(measured.kappa)
    return Agreement(
        sensitivity=wilson(int(table[0, 0]), correct),
        specificity=wilson(others - int(table[1:, 0].sum()), others),
        kappa=Estimate(kappa, kappa - half, min(1.0, kappa + half)),
        correct=correct,
        others=others,
    )


def corrected(rate: float, n: int, agreed: Agreement) -> Estimate:
    """The true share of correct answers behind the share that a judge calls correct.

    The value is Rogan and Gladen's (1978), (rate + specificity - 1) / (sensitivity + specificity - 1), kept within
    0 and 1. The interval is Lang and Reiczigel's (2014), which carries the uncertainty of the rate, of the
    sensitivity and of the specificity; the labelled slice must be other answers than the n, or few of them.

    Args:
        rate: share of answers that the judge calls correct.
        n: how many answers it judged.
        agreed: its error, from `agreement`.

    Raises:
        ValidationError: for a judge that does no better than chance, or a rate that is none.
    """
    from scipy.stats import norm

    if not (0 <= rate <= 1 and n >= 1):
        raise ValidationError(
            f"{rate} of {n} answers is no rate.", "Give a share between 0 and 1 of at least 1 answer."
        )
    sensitivity, specificity = agreed.sensitivity.value, agreed.specificity.value
    if sensitivity + specificity <= 1:
        raise ValidationError(
            f"The judge's sensitivity {sensitivity:.2f} and specificity {specificity:.2f} are no better than chance.",
            "Use another judge: nothing can be learned from this one.",
        )
    value = (rate + specificity - 1) / (sensitivity + specificity - 1)

    z = float(norm.ppf((1 + LEVEL) / 2))
    rates, positives, negatives = n + z * z, agreed.correct + 2, agreed.others + 2
    p = (n * rate + z * z / 2) / rates
    se = (agreed.correct * sensitivity + 1) / positives
    sp = (agreed.others * specificity + 1) / negatives
    youden = se + sp - 1
    if youden <= 0:
        return Estimate(min(1.0, max(0.0, value)), 0.0, 1.0)  # so few labels that nothing is ruled out
    centre = (p + sp - 1) / youden
    from_se, from_sp = se * (1 - se) / positives, sp * (1 - sp) / negatives
    shift = 2 * z * z * (centre * from_se - (1 - centre) * from_sp)
    spread = sqrt(p * (1 - p) / rates + centre**2 * from_se + (1 - centre) ** 2 * from_sp) / youden
    low, high = centre + shift - z * spread, centre + shift + z * spread
    return Estimate(*(min(1.0, max(0.0, bound)) for bound in (value, low, high)))
