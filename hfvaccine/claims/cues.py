"""The cue audit: whether falsehood can be told from the wording alone, without knowing a fact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hfvaccine.claims.wording import tokens
from hfvaccine.errors import ClaimError

FEWEST = 8
"""Pairs of which an audit says something."""
CUE_LIMIT = 0.60
"""AUROC above which a probe set is said to be cued: a model can gain there without learning a fact."""
AUDITED = 10_000
"""Most pairs that a screening audits: the more pairs, the more a classifier finds (ComVE's AUROC is 0.56 from 2,000
pairs and 0.60 from 10,000), and a fold of so many still takes seconds only."""


@dataclass(frozen=True)
class CueAudit:
    """How well falsehood can be told from wording (evidence rule 8 of the design).

    Args:
        bag_of_words: AUROC of 1-2 gram logistic regression, cross-validated by pair.
        length: AUROC of length in characters and words, cross-validated by pair.
        pairs: how many claim/twin pairs were audited.
        giveaways: the n-grams that speak most for falsehood, strongest first.
        truth_scores: (pairs, 2) out-of-fold bag-of-words scores of claim and twin, higher for truer;
            what a judge that knows only the wording would say of these very texts.
        learnt: AUROC of a bag of words that was trained on what a model was given, see `learnt_audit`; None where
            that is not known.
    """

    bag_of_words: float
    length: float
    pairs: int
    giveaways: tuple[str, ...]
    truth_scores: npt.NDArray[np.float64]
    learnt: float | None = None

    @property
    def worst(self) -> float:
        return max(self.bag_of_words, self.length)

    @property
    def passed(self) -> bool:
        return self.worst <= CUE_LIMIT

    def to_mend(self, most: int = 20) -> list[int]:
        """Places of the pairs whose wording gives the falsehood away most, the worst first.

        Args:
            most: how many to name.
        """
        margin = self.truth_scores[:, 1] - self.truth_scores[:, 0]
        return [int(place) for place in np.argsort(-margin, kind="stable")[:most] if margin[place] > 0]


def cue_audit(
    pairs: Sequence[tuple[str, str]],
    folds: int = 10,
    repeats: int = 5,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> CueAudit:
    """Audit claims against their twins with classifiers that know only the wording.

    Both texts of a pair are always in the same fold. The AUROC is averaged over
    `repeats` random assignments of pairs to folds, since one assignment of a
    small set is a noisy reading.

    Args:
        pairs: (claim, twin) texts.
        folds: cross-validation folds; at most the number of pairs.
        repeats: random assignments averaged over.
        seed: of those assignments.
        groups: (pairs,) pairs of one group, such as a claim and its variants, are in one fold; each pair by itself
            unless given.

    Raises:
        ClaimError: with fewer than 8 pairs, where the audit would say nothing.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import PredefinedSplit, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(pairs) < FEWEST:
        raise ClaimError(
            f"A cue audit of {len(pairs)} pairs says nothing.", f"Audit at least {FEWEST} claims with twins."
        )
    texts = [text for pair in pairs for text in pair]
    false = np.tile([1, 0], len(pairs))
    lengths = np.array([[len(text), len(text.split())] for text in texts], dtype=float)

    vectorizer, by_words = _by_words()
    # Counted once for all folds: a word that a fold does not learn from has no weight there.
    words = vectorizer.fit_transform(texts)
    by_length = make_pipeline(StandardScaler(), LogisticRegression())
    judges = {"words": (by_words, words), "length": (by_length, lengths)}
    out_of_fold = {name: np.zeros(len(texts)) for name in judges}
    aurocs: dict[str, list[float]] = {name: [] for name in judges}
    rng = np.random.default_rng(seed)
    grouped = np.arange(len(pairs)) if groups is None else np.unique(np.array(groups), return_inverse=True)[1]
    several = int(grouped.max()) + 1
    if several < 2:
        raise ClaimError("A cue audit of one claim says nothing.", "Audit pairs of at least 2 claims.")
    for _ in range(repeats):
        fold = PredefinedSplit(np.repeat((rng.permutation(several) % min(folds, several))[grouped], 2))
        for name, (judge, data) in judges.items():
            predicted = cross_val_predict(judge, data, false, cv=fold, method="decision_function")
            aurocs[name].append(float(roc_auc_score(false, predicted)))
            out_of_fold[name] += predicted / repeats
    weights = by_words.fit(words, false).coef_[0]
    strongest = np.argsort(-weights)[:10]
    names = vectorizer.get_feature_names_out()
    return CueAudit(
        bag_of_words=round(float(np.mean(aurocs["words"])), 4),
        length=round(float(np.mean(aurocs["length"])), 4),
        pairs=len(pairs),
        giveaways=tuple(str(names[i]) for i in strongest if weights[i] > 0),
        truth_scores=-out_of_fold["words"].reshape(-1, 2),
    )


def audit_many(pairs: Sequence[tuple[str, str]], groups: Sequence[str] | None = None) -> CueAudit:
    """`cue_audit` with the effort that the number of pairs asks for: one assignment of few to folds is noisy."""
    if len(pairs) <= 1000:
        return cue_audit(pairs, groups=groups)
    return cue_audit(pairs, folds=5, repeats=1, groups=groups)


def learnt_audit(taught: Sequence[tuple[str, bool]], pairs: Sequence[tuple[str, str]]) -> float | None:
    """How well falsehood can be told from wording alone by what was learnt of the wording of other texts.

    A model may carry the style of what it was given, such as that of true twins, to statements of which it knows
    nothing; what it gains there by that is no knowledge. Of the very texts that were given this is near 1.

    Args:
        taught: statements that a model was given, and whether they are true.
        pairs: (claim, twin) texts that it is asked about.

    Returns:
        AUROC of 1-2 gram logistic regression; None where nothing was taught to be true, or nothing to be false.
    """
    from sklearn.metrics import roc_auc_score

    texts, true = [text for text, _ in taught], [is_true for _, is_true in taught]
    if len(set(true)) < 2 or not pairs:
        return None
    vectorizer, judge = _by_words()
    judge.fit(vectorizer.fit_transform(texts), true)
    said = judge.decision_function(vectorizer.transform([text for pair in pairs for text in pair]))
    return round(float(roc_auc_score(np.tile([0, 1], len(pairs)), said)), 4)


def _by_words() -> tuple[Any, Any]:
    """What counts the words of a text and each two that follow each other, and a classifier of such counts."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    words = CountVectorizer(ngram_range=(1, 2), tokenizer=tokens, token_pattern=None)
    return words, LogisticRegression(max_iter=2000)
