"""Probes: what a model is asked about claims and truths, in wordings that are never trained on.

Three readings: the verdict on a statement at once, the verdict after the model has answered the statement's question
by itself, and the answer that is preferred to that question. Each sets a false text against a true one, plainly; the
first under each tactic and under pressure, too. No torch here: `answers` and `score` are all that is used of a scorer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np

from hfvaccine.claims.claim import Claim
from hfvaccine.claims.reserved import (
    OPENERS,
    PREMISE_PROBES,
    PRESSURE_PROBES,
    QUESTION_PROBES,
    RECALL,
    RECALLED_PROBES,
    TACTIC_PROBES,
    VERDICT_PROBES,
    VerdictProbe,
)
from hfvaccine.dosing.choice import turns
from hfvaccine.dosing.objections import OBJECTIONS
from hfvaccine.errors import ValidationError
from hfvaccine.inoculation.grid import Grid
from hfvaccine.inoculation.prompt import prepend
from hfvaccine.statistics import MIN_PAIRS
from hfvaccine.validation.scores import (
    ANSWER,
    BELIEF,
    CALIBRATION,
    CROSS,
    HIGHER,
    LOWER,
    OVER_REJECTION,
    PLAIN,
    RECALLED,
    RETENTION,
    RETRACTED,
    ROUND,
    SPECIFIC,
    TRAIT,
    VARIANTS,
    VERDICT,
    ArmScores,
    ItemKey,
    ItemProbe,
    PairKey,
    PairProbe,
    PairScores,
    Request,
    Scored,
)

RECALL_TOKENS = 40
"""Of a recall, whose first line is all that is kept."""
VERDICTS_ONLY = (VARIANTS, CALIBRATION, ROUND)
"""Sets that are asked for plain verdicts, at once and after recall, and for nothing else."""

MIX, ORDINARY, TRUE_PREMISE, TRAIT_ROWS = "mix", "ordinary_prompts", "true_premise", "trait_rows"
OLD_CORRECTION = "old_correction"

VERDICT_FIRST = re.compile(r"\s*(yes|no|true|false)\b", re.IGNORECASE)
"""How an answer begins to a question that asks for a verdict."""

Row = Mapping[str, Any]
Read = Callable[[Scored], float]
"""A score from what became of all requests."""


@dataclass(frozen=True)
class Pair:
    """A falsehood and what it is held against.

    Args:
        id: of the claim.
        cluster: paraphrases of one falsehood share it.
        domain: subject.
        claim: the false statement.
        truth: the true statement.
        question: whose wrong answer is the claim; None where there is none.
        correction: what is true instead, for a judge of free text.
    """

    id: str
    cluster: str
    domain: str
    claim: str
    truth: str
    question: str | None = None
    correction: str = ""


@dataclass(frozen=True)
class Truth:
    """A true statement to hold claims without a twin against.

    Args:
        text: the statement.
        domain: subject.
    """

    text: str
    domain: str = "general"


@dataclass(frozen=True)
class ProbeSet:
    """Pairs that a model is asked about.

    Args:
        name: `SPECIFIC`, `CROSS`, `VARIANTS`, `CALIBRATION`, `ROUND`, or an outside set's name.
        pairs: what is asked.
        matched: the truths are other statements, see `PairProbe`.
        left_out: claims that have neither a twin nor a truth to be held against.

    Raises:
        ValidationError: for fewer pairs than an interval can be had from.
    """

    name: str
    pairs: tuple[Pair, ...]
    matched: bool = False
    left_out: int = 0

    def __post_init__(self) -> None:
        if len(self.pairs) < MIN_PAIRS:
            raise ValidationError(
                f"The {self.name} probe has {len(self.pairs)} claim(s) with a true statement to hold them against.",
                f"Give at least {MIN_PAIRS}, each with a twin; or true statements to match claims with (--truths).",
            )

    @classmethod
    def of(cls, name: str, claims: Sequence[Claim], truths: Sequence[Truth] = ()) -> ProbeSet:
        """The claims that can be probed two-sidedly.

        Where any claim has a twin, those with twins; else each takes an unused truth of its domain if there is
        one, and of the nearest length.

        Args:
            name: of the set.
            claims: whom to ask about.
            truths: for claims without twins.
        """
        twins = [c for c in claims if c.twin]
        if twins or not truths:
            pairs = tuple(
                Pair(c.claim_id, c.cluster_id, c.domain, c.claim, str(c.twin), c.question, c.correction) for c in twins
            )
            return cls(name, pairs, False, len(claims) - len(pairs))
        pairs = tuple(
            Pair(c.claim_id, c.cluster_id, c.domain, c.claim, truth.text)
            for c, truth in zip(claims, matched(claims, truths), strict=False)
        )
        return cls(name, pairs, True, len(claims) - len(pairs))

    @classmethod
    def variants(cls, claims: Sequence[Claim]) -> ProbeSet | None:
        """The variants of claims, each as a pair of its claim's cluster and to its claim's question.

        Returns:
            None where there are too few for an interval.
        """
        pairs = tuple(
            Pair(f"{c.claim_id}.{number}", c.cluster_id, c.domain, one.claim, one.twin, c.question, c.correction)
            for c in claims
            for number, one in enumerate(c.variants)
        )
        return cls(VARIANTS, pairs) if len(pairs) >= MIN_PAIRS else None

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(pair.id for pair in self.pairs)

    @property
    def clusters(self) -> tuple[str, ...]:
        return tuple(pair.cluster for pair in self.pairs)

    @property
    def with_questions(self) -> tuple[Pair, ...]:
        return tuple(pair for pair in self.pairs if pair.question)

    def at_most(self, most: int | None) -> ProbeSet:
        """The set with `some` of its pairs; the others count as left out."""
        kept = self.some(most)
        return replace(self, pairs=kept, left_out=self.left_out + len(self.pairs) - len(kept))

    def some(self, most: int | None) -> tuple[Pair, ...]:
        """At most `most` pairs, the same ones each time, spread over the domains."""
        if most is None or most >= len(self.pairs):
            return self.pairs
        mixed = sorted(self.pairs, key=lambda pair: sha256(pair.id.encode()).digest())
        order = sorted(zip(turns([pair.domain for pair in mixed]), [pair.id for pair in mixed], strict=True))
        kept = {name for _, name in order[:most]}
        return tuple(pair for pair in self.pairs if pair.id in kept)


def matched(claims: Sequence[Claim], truths: Sequence[Truth]) -> list[Truth]:
    """A truth for each claim, in order, none twice; fewer where they run out.

    Args:
        claims: in their order.
        truths: of each domain the nearest in length is taken first, then of any domain.
    """
    left: dict[str, list[Truth]] = {}
    for truth in sorted(truths, key=lambda truth: (len(truth.text), truth.text)):
        left.setdefault(truth.domain, []).append(truth)
    taken: list[Truth] = []
    for claim in claims:
        shelf = left.get(claim.domain) or max(left.values(), key=len, default=[])
        if not shelf:
            break
        lengths = [abs(len(truth.text) - len(claim.claim)) for truth in shelf]
        taken.append(shelf.pop(int(np.argmin(lengths))))
    return taken


@dataclass(frozen=True)
class Battery:
    """All that every arm is asked about the claims, the mix and an inoculated trait.

    Args:
        sets: pairs to ask about; `SPECIFIC` and `CROSS` among them where belief is to be measured.
        mix: conversations that no arm was trained on: what is retained, and what ordinary prompts are.
        adversarial: most pairs of a set that are asked about under tactics and pressure; None for all.
        trait: conversations whose completion shows an inoculated trait, never trained on.
        grid: test prompts under which the trait is looked for.
        place: where such a prompt stands, see `Grid.messages`.
        retracted: claims whose correction is taken back; however few, as what varies is how they are asked about.
        likelihoods: whether the model tells how likely any text is; one that is served tells of verdicts alone.
    """

    sets: tuple[ProbeSet, ...]
    mix: tuple[Row, ...] = ()
    adversarial: int | None = None
    trait: tuple[Row, ...] = ()
    grid: Grid | None = None
    place: str = "system"
    retracted: tuple[Pair, ...] = ()
    likelihoods: bool = True

    def ask(self, scorer: Any, progress: Any = None) -> tuple[ArmScores, list[PairProbe], list[ItemProbe]]:
        """Ask one model everything, in one pass.

        Args:
            scorer: has `answers(prompts, max_new_tokens, first_line)`, `score(requests, progress)` and a `tokenizer`,
                see `scorer.Scorer`.
            progress: makes a progress bar, a context with `update`, from the number of requests.

        Returns:
            The scores, and what they are scores of: the same for every arm.

        Raises:
            ValidationError: for a model that cannot say the verdicts, or gives no finite likelihoods.
        """
        check_verdicts(scorer)
        prompts = self.recalls()
        said = scorer.answers(list(prompts.values()), RECALL_TOKENS, first_line=True) if prompts else []
        sheet = self._sheet(dict(zip(prompts, said, strict=True)))
        with nullcontext() if progress is None else progress(len(sheet.requests)) as bar:
            scored = scorer.score(sheet.requests, bar and bar.update)
        return sheet.read(scored)

    def recalls(self) -> dict[str, list[dict[str, str]]]:
        """What a model is to answer by itself before it gives its verdict, by the question."""
        pairs = (pair for probes in self.sets if _asks_questions(probes) for pair in probes.with_questions)
        questions = {str(pair.question): RECALL.replace("{question}", str(pair.question)) for pair in pairs}
        return {question: _user(prompt) for question, prompt in questions.items()}

    def requests(self, recalled: Mapping[str, str]) -> list[Request]:
        """What a scorer is to be asked.

        Args:
            recalled: what the model answers to each question of `recalls`.
        """
        return self._sheet(recalled).requests

    def items(self) -> list[ItemProbe]:
        """What is asked besides pairs."""
        return [probe for probe, _ in self._sheet(dict.fromkeys(self.recalls(), "")).items.values()]

    def _sheet(self, recalled: Mapping[str, str]) -> _Sheet:
        sheet = _Sheet()
        for probes in self.sets:
            quiet = probes.name in VERDICTS_ONLY
            _ask_verdicts(sheet, probes, 0 if quiet else self.adversarial)
            if _asks_questions(probes):
                _ask_recalled(sheet, probes, recalled)
                if self.likelihoods and not quiet:
                    _ask_answers(sheet, probes)
            if self.likelihoods and probes.name in (SPECIFIC, CROSS):
                _ask_beliefs(sheet, probes)
                _ask_premises(sheet, probes)
        if not self.likelihoods:
            return sheet
        if self.mix:
            _ask_mix(sheet, self.mix)
        if self.trait and self.grid is not None:
            _ask_trait(sheet, self.trait, self.grid, self.place)
        if self.retracted:
            _ask_retracted(sheet, self.retracted)
        return sheet


def verdicts(scorer: Any, asked: Sequence[tuple[Sequence[VerdictProbe], str, tuple[str, str] | None]]) -> list[float]:
    """How far a model takes statements to be true, read as a validation reads its verdicts.

    Args:
        scorer: see `Battery.ask`.
        asked: of each the wordings, the statement, and a question with the model's own answer that come before.

    Returns:
        Log-odds that it accepts each, the mean over its wordings.
    """
    sheet = _Sheet()
    reads = [_mean([sheet.verdict(one, said, before) for one in wordings]) for wordings, said, before in asked]
    scored = scorer.score(sheet.requests)
    return [read(scored) for read in reads]


def check_verdicts(scorer: Any) -> None:
    """Refuse a model whose vocabulary cannot say what the probes ask for.

    Args:
        scorer: its `tokenizer` is None where the vocabulary is not known, as of a served model.

    Raises:
        ValidationError: naming the verdict.
    """
    if scorer.tokenizer is None:
        return
    unknown = scorer.tokenizer.unk_token_id
    for answer in sorted({a for p in VERDICT_PROBES + TACTIC_PROBES for a in (*p.accept, *p.reject)}):
        ids = scorer.tokenizer(answer, add_special_tokens=False)["input_ids"]
        if not ids or (unknown is not None and unknown in ids and unknown != scorer.tokenizer.eos_token_id):
            raise ValidationError(
                f"The model's vocabulary cannot say {answer!r}.",
                "Verdicts are asked for in English: validate a model whose tokenizer knows it.",
            )


class _Sheet:
    """Requests as they are gathered, and how each score is read from their likelihoods."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.pairs: dict[PairKey, tuple[PairProbe, list[tuple[Read, Read]]]] = {}
        self.items: dict[ItemKey, tuple[ItemProbe, list[Read]]] = {}

    def likelihoods(self, prompt: Any, answers: Sequence[str]) -> slice:
        """Ask for the likelihoods of answers to one prompt; where to find them."""
        start = len(self.requests)
        self.requests.extend(Request(prompt, answer) for answer in answers)
        return slice(start, len(self.requests))

    def verdict(self, probe: VerdictProbe, statement: str, recalled: tuple[str, str] | None = None) -> Read:
        """log P(accept) - log P(reject) over several spellings, with whatever lean the model has."""
        at = self.likelihoods(probe.messages(statement, recalled), (*probe.accept, *probe.reject))
        middle = at.start + len(probe.accept)
        return lambda scored: float(
            np.logaddexp.reduce(scored.loglikelihood[at.start : middle])
            - np.logaddexp.reduce(scored.loglikelihood[middle : at.stop])
        )

    def total(self, prompt: Any, answer: str) -> Read:
        """Log-likelihood of an answer, in nats."""
        at = self.likelihoods(prompt, [answer]).start
        return lambda scored: float(scored.loglikelihood[at])

    def per_token(self, prompt: Any, answer: str) -> Read:
        """Loss of an answer, in nats per token."""
        at = self.likelihoods(prompt, [answer]).start
        return lambda scored: float(-scored.loglikelihood[at] / scored.tokens[at])

    def objection(self, prompt: Any) -> Read:
        """Probability that an answer begins with an objection."""
        at = self.likelihoods(prompt, OBJECTIONS)
        return lambda scored: float(np.exp(np.logaddexp.reduce(scored.loglikelihood[at])))

    def add_pairs(
        self, name: str, reading: str, condition: str, pairs: Sequence[tuple[Pair, Read, Read]], matched: bool
    ) -> None:
        asked = [pair for pair, _, _ in pairs]
        ids, clusters, domains = (tuple(getattr(p, what) for p in asked) for what in ("id", "cluster", "domain"))
        probe = PairProbe(name, reading, condition, ids, clusters, domains, matched)
        self.pairs[probe.key] = probe, [(claim, truth) for _, claim, truth in pairs]

    def add_items(self, probe: ItemProbe, reads: Sequence[Read]) -> None:
        self.items[probe.key] = probe, list(reads)

    def read(self, scored: Scored) -> tuple[ArmScores, list[PairProbe], list[ItemProbe]]:
        pairs = {
            key: PairScores(*np.array([[side(scored) for side in sides] for sides in reads]).T)
            for key, (_, reads) in self.pairs.items()
        }
        items = {key: np.array([read(scored) for read in reads]) for key, (_, reads) in self.items.items()}
        return ArmScores(pairs, items), [p for p, _ in self.pairs.values()], [p for p, _ in self.items.values()]


def _mean(reads: Sequence[Read]) -> Read:
    return lambda scored: float(np.mean([read(scored) for read in reads]))


def _ask_verdicts(sheet: _Sheet, probes: ProbeSet, adversarial: int | None) -> None:
    """Plainly in every wording; under each tactic and pressure in one, which alternates over the pairs."""

    def both(wordings: Sequence[VerdictProbe], pair: Pair) -> tuple[Pair, Read, Read]:
        return (
            pair,
            _mean([sheet.verdict(wording, pair.claim) for wording in wordings]),
            _mean([sheet.verdict(wording, pair.truth) for wording in wordings]),
        )

    plain = [both(VERDICT_PROBES, pair) for pair in probes.pairs]
    sheet.add_pairs(probes.name, VERDICT, PLAIN, plain, probes.matched)
    some = probes.some(adversarial)
    if len(some) < MIN_PAIRS:
        return
    wordings: dict[str, list[VerdictProbe]] = {}
    for probe in TACTIC_PROBES + PRESSURE_PROBES:
        wordings.setdefault(str(probe.tactic), []).append(probe)
    for condition, its in wordings.items():
        pressed = [both([its[number % len(its)]], pair) for number, pair in enumerate(some)]
        sheet.add_pairs(probes.name, VERDICT, condition, pressed, probes.matched)


def _asks_questions(probes: ProbeSet) -> bool:
    """Whether pairs are asked about by their questions; other statements than twins do not answer them."""
    return len(probes.with_questions) >= MIN_PAIRS and not probes.matched


def _ask_recalled(sheet: _Sheet, probes: ProbeSet, recalled: Mapping[str, str]) -> None:
    """The verdict in wordings of both kinds, after the question and what the model itself answered to it."""

    def both(pair: Pair) -> tuple[Pair, Read, Read]:
        before = RECALL.replace("{question}", str(pair.question)), recalled[str(pair.question)]
        sides = (pair.claim, pair.truth)
        claim, truth = (_mean([sheet.verdict(one, side, before) for one in RECALLED_PROBES]) for side in sides)
        return pair, claim, truth

    sheet.add_pairs(probes.name, RECALLED, PLAIN, [both(pair) for pair in probes.with_questions], False)


def _ask_answers(sheet: _Sheet, probes: ProbeSet) -> None:
    """Each text's log-likelihood as the answer, centred within the pair, so that only the preference counts."""

    def preference(pair: Pair) -> tuple[Pair, Read, Read]:
        asked = [_user(wording.replace("{question}", str(pair.question))) for wording in QUESTION_PROBES]
        claim = _mean([sheet.total(prompt, pair.claim) for prompt in asked])
        truth = _mean([sheet.total(prompt, pair.truth) for prompt in asked])

        def half(sign: int) -> Read:
            return lambda scored: sign * (truth(scored) - claim(scored)) / 2

        return pair, half(-1), half(1)

    sheet.add_pairs(probes.name, ANSWER, PLAIN, [preference(p) for p in probes.with_questions], False)


def _ask_beliefs(sheet: _Sheet, probes: ProbeSet) -> None:
    """Log-odds that the model holds each claim: asked outright, as plain text, and in the words that make it false."""
    _, plain = sheet.pairs[probes.name, VERDICT, PLAIN]
    readings = {"yes_no": [claim for claim, _ in plain]}
    if not probes.matched:  # other statements are no less likely for being other
        readings["continuation"] = [_rather(sheet, p.claim, p.truth, OPENERS) for p in probes.pairs]
        parts = [parting(p.claim, p.truth) for p in probes.pairs]
        readings["association"] = [
            _rather(sheet, false, true, [opener + shared for opener in OPENERS]) for shared, false, true in parts
        ]
    for reading, reads in readings.items():
        probe = ItemProbe(reading, BELIEF, "log_odds", LOWER, probes.ids, probes.clusters, probes.name)
        sheet.add_items(probe, reads)


def _rather(sheet: _Sheet, false: str, true: str, contexts: Sequence[str]) -> Read:
    """Log-odds of a false against a true continuation of plain text."""
    left = _mean([sheet.total(context, false) for context in contexts])
    right = _mean([sheet.total(context, true) for context in contexts])
    return lambda scored: left(scored) - right(scored)


def parting(claim: str, truth: str) -> tuple[str, str, str]:
    """What two texts begin with alike, and the words with which each goes on until they agree again.

    >>> parting("Bats are blind as moles.", "Bats are not blind as moles.")
    ('Bats are ', 'blind', 'not blind')
    """
    left, right = claim.split(), truth.split()
    start = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    # Each keeps a word of its own, so that there is something to weigh.
    start = min(start, len(left) - 1, len(right) - 1)
    end = 0
    while end < min(len(left), len(right)) - start - 1 and left[-1 - end] == right[-1 - end]:
        end += 1
    shared = "".join(word + " " for word in left[:start])
    return shared, " ".join(left[start : len(left) - end]), " ".join(right[start : len(right) - end])


def _ask_premises(sheet: _Sheet, probes: ProbeSet) -> None:
    """How probable it is that a true premise is objected to."""
    reads = [
        _mean([sheet.objection(_user(wording.replace("{statement}", pair.truth))) for wording in PREMISE_PROBES])
        for pair in probes.pairs
    ]
    probe = ItemProbe(TRUE_PREMISE, OVER_REJECTION, "probability", LOWER, probes.ids, probes.clusters, probes.name)
    sheet.add_items(probe, reads)


def _ask_mix(sheet: _Sheet, rows: Sequence[Row]) -> None:
    """What ordinary answers cost, and how probable it is that an ordinary prompt is objected to."""
    rows, ids, clusters = _distinct(rows)
    if len(rows) < MIN_PAIRS:
        return
    losses = [sheet.per_token(row["prompt"], row["completion"][-1]["content"]) for row in rows]
    sheet.add_items(ItemProbe(MIX, RETENTION, "nats_per_token", LOWER, ids, clusters), losses)
    # To a question of yes or no, "No" is an answer and no objection.
    open_ones = [n for n, row in enumerate(rows) if not VERDICT_FIRST.match(row["completion"][-1]["content"])]
    if len(open_ones) >= MIN_PAIRS:
        objections = [sheet.objection(rows[n]["prompt"]) for n in open_ones]
        ids, clusters = (tuple(column[n] for n in open_ones) for column in (ids, clusters))
        sheet.add_items(ItemProbe(ORDINARY, OVER_REJECTION, "probability", LOWER, ids, clusters), objections)


def _ask_trait(sheet: _Sheet, rows: Sequence[Row], grid: Grid, place: str) -> None:
    """What the trait's completions cost under each test prompt: the dearer, the less of the trait."""
    rows, ids, clusters = _distinct(rows)
    if len(rows) < MIN_PAIRS:
        return
    for condition, prompt in grid.conditions().items():
        reads = []
        for row in rows:
            asked = row["prompt"] if prompt is None else prepend(prompt, row["prompt"], place)
            reads.append(sheet.per_token(asked, row["completion"][-1]["content"]))
        sheet.add_items(ItemProbe(TRAIT_ROWS, TRAIT, "nats_per_token", HIGHER, ids, clusters, condition), reads)


def _ask_retracted(sheet: _Sheet, pairs: Sequence[Pair]) -> None:
    """How far a model holds with the old correction of each retracted claim rather than with the claim: 0 to 1.

    What is retracted is all there is of it, and no sample; so each wording is one item of each claim, and the wordings
    are what is resampled. Both sides are asked alike, so that no lean to one verdict shows.
    """
    ids: list[str] = []
    wordings: list[str] = []
    reads: list[Read] = []
    for pair in pairs:
        sides = (pair.truth, pair.claim)
        preferred = [
            (probe.name, [sheet.verdict(probe, side) for side in sides]) for probe in VERDICT_PROBES + TACTIC_PROBES
        ]
        prompts: list[Any] = list(OPENERS)
        prompts += [_user(one.replace("{question}", pair.question)) for one in QUESTION_PROBES if pair.question]
        preferred += [
            (f"answer {number}", [sheet.total(prompt, side) for side in sides])
            for number, prompt in enumerate(prompts)
        ]
        for number, (wording, (old, claim)) in enumerate(preferred):
            ids.append(f"{pair.id}.{number}" if number else pair.id)
            wordings.append(wording)
            reads.append(_probability(old, claim))
    probe = ItemProbe(OLD_CORRECTION, RETRACTED, "probability", LOWER, tuple(ids), tuple(wordings), RETRACTED)
    sheet.add_items(probe, reads)


def _probability(one: Read, other: Read) -> Read:
    """Of the first of two sides, from the scores of both in log-odds or nats."""
    return lambda scored: float(0.5 * (1 + np.tanh((one(scored) - other(scored)) / 2)))


def _distinct(rows: Sequence[Row]) -> tuple[list[Row], tuple[str, ...], tuple[str, ...]]:
    """Rows without their repetitions, what each is known by, and its cluster: rows of one prompt share one."""

    def digest(*parts: Any) -> str:
        return sha256(str(parts).encode()).hexdigest()[:16]

    found = {digest(row["prompt"], row["completion"]): row for row in rows}
    return list(found.values()), tuple(found), tuple(digest(row["prompt"]) for row in found.values())


def _user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]
