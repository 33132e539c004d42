"""Which inoculation prompts make a trait unsurprising, measured on the base model before any training. Pure.

Source: Inoculation Prompting (arXiv 2510.04340) explains its effect by surprise: where the prompt makes the trait
likely already, little pressure is left to learn it for good. So a candidate is judged by how much likelier the trait
rows' completions become under it. Any prompt shifts likelihoods a little; an irrelevant one shows by how much. What a
candidate does to rows that do not carry the trait is its drift: a good one asks for the trait and for nothing else.
It is told of rows that show what is wanted and of neutral ones by itself, where the former are told apart.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from hfvaccine.errors import UsageError
from hfvaccine.inoculation import grid
from hfvaccine.inoculation.prompt import Inoculation
from hfvaccine.inoculation.where import Given, Row, Where
from hfvaccine.statistics import (
    DRAWS,
    LEVEL,
    Estimate,
    Floats,
    bootstrap,
    cluster_weights,
    holm,
    mean_of,
    rounded,
    tail,
)

Likelihoods = Callable[[Sequence[Row]], tuple[Floats, Floats]]
"""(rows,) log-likelihoods of the rows' completions in nats, and (rows,) tokens of the completions."""
Entry = tuple[str | None, str]
"""A prompt and its kind."""
Numbered = tuple[int, Row]
"""A row with its number in the mix, by which it gets its wording in training."""
Unreadable = Callable[[Row], str | None]
"""Why the model cannot read a row, as a sentence; None where it can."""

CANDIDATE, SET, IRRELEVANT, OPPOSITE, OTHERS, NONE = "candidate", "set", "irrelevant", "opposite", "others", "none"
MIN_ROWS = 8
"""Below that, a bootstrap over rows says little."""
ONE_SIDED = (1 - LEVEL) / 2
"""A candidate is better than a reference where its p, after Holm, stays below."""
SHOWN = 60
"""Characters by which a row is named."""
TRAIT, WANTED, NEUTRAL = "trait", "wanted", "neutral"
"""Kinds of rows."""


@dataclass(frozen=True)
class Panel:
    """The prompts of a screen.

    Args:
        candidates: prompts that ask for the trait.
        opposite: asks for the contrary of the trait. A candidate that is no better only names the
            subject: the model does not take it as a request for the trait.
        irrelevant: an instruction that has nothing to do with the trait, the one to beat.
        others: neutral prompts that rows which do not carry the trait are to get.
        as_set: judge the candidates together, too, as training gives them: each row gets one of them.

    Raises:
        UsageError: without a candidate, for an empty prompt, one that is given twice, and a set of one.
    """

    candidates: tuple[str, ...]
    opposite: str | None = None
    irrelevant: str = grid.IRRELEVANT
    others: tuple[str, ...] = ()
    as_set: bool = False

    def __post_init__(self) -> None:
        if not self.candidates:
            raise UsageError("There is no prompt to screen.", "Give at least one that asks for the unwanted trait.")
        given = [*self.candidates, self.irrelevant, *self.others, *([] if self.opposite is None else [self.opposite])]
        if not all(prompt.strip() for prompt in given):
            raise UsageError("One of the prompts is empty.", "Leave it out; no prompt at all is always screened.")
        if twice := [prompt for prompt in given if given.count(prompt) > 1]:
            raise UsageError(f"The prompt {twice[0]!r} is given twice.", "Give each prompt once, in one role.")
        if self.as_set and len(self.candidates) < 2:
            raise UsageError("A set of one prompt is that prompt.", "Give more candidates, or do not ask for a set.")

    @classmethod
    def of(
        cls,
        candidates: Sequence[str],
        opposite: str | None = None,
        irrelevant: str = grid.IRRELEVANT,
        others: Sequence[str] = (),
        as_set: bool = False,
    ) -> tuple[Panel, tuple[LeftOut, ...]]:
        """A panel of what was given, less what is empty or has a role already: irrelevant before all others.

        Args:
            candidates: see `Panel`.
            opposite: the same.
            irrelevant: the same.
            others: the same.
            as_set: the same.

        Returns:
            The panel, and what is left out.

        Raises:
            UsageError: where no candidate is left, for an empty irrelevant prompt, and a set of one.
        """
        roles, left_out = {irrelevant: "the irrelevant prompt"}, list[LeftOut]()

        def kept(prompt: str | None, role: str) -> bool:
            if prompt is None:
                return False
            if prompt.strip() and prompt not in roles:
                roles[prompt] = role
                return True
            why = f"It is {roles[prompt]}, too." if prompt in roles else "It is empty; none at all is always screened."
            left_out.append(LeftOut("prompt", prompt, why))
            return False

        left = tuple(prompt for prompt in candidates if kept(prompt, "a candidate"))
        if not left and left_out:
            raise UsageError(f"No prompt is left to screen. {left_out[0]}", "Give another that asks for the trait.")
        contrary = opposite if kept(opposite, "the opposite prompt") else None
        neutral = tuple(prompt for prompt in others if kept(prompt, "a prompt of the other rows"))
        alone = len(left) < 2 <= len(candidates)  # then there is no set any more
        return cls(left, contrary, irrelevant, neutral, as_set and not alone), tuple(left_out)

    def kinds(self) -> dict[str | None, str]:
        """The kind of each prompt: "candidate", or which reference it is; `None` is no prompt."""
        found: dict[str | None, str] = dict.fromkeys(self.candidates, CANDIDATE)
        found |= {self.irrelevant: IRRELEVANT, self.opposite: OPPOSITE} | dict.fromkeys(self.others, OTHERS)
        return {**found, None: NONE}  # None is what is not given, too

    def without(self, reasons: Mapping[str | None, str]) -> Panel:
        """The panel less prompts that cannot be screened.

        Args:
            reasons: why, by the prompt.

        Raises:
            UsageError: where no candidate would be left, or the irrelevant prompt would not.
        """
        if self.irrelevant in reasons:
            raise UsageError(
                f"The irrelevant prompt {self.irrelevant!r} cannot stand before the rows: {reasons[self.irrelevant]}",
                "Give another irrelevant prompt.",
            )
        left = tuple(prompt for prompt in self.candidates if prompt not in reasons)
        if not left:
            first = self.candidates[0]
            raise UsageError(
                f"No candidate can stand before the rows; {first[:SHOWN]!r}, for one: {reasons[first]}",
                "Give shorter prompts, or such as the model's chat template takes.",
            )
        opposite = None if self.opposite in reasons else self.opposite
        others = tuple(prompt for prompt in self.others if prompt not in reasons)
        return replace(self, candidates=left, opposite=opposite, others=others, as_set=self.as_set and len(left) > 1)


@dataclass(frozen=True)
class LeftOut:
    """A prompt or row that is not screened.

    Args:
        what: "prompt" or "row".
        text: the prompt, or the beginning of the row; empty where the reason names it.
        reason: a sentence.
    """

    what: str
    text: str
    reason: str

    def record(self) -> dict[str, str]:
        return {"what": self.what, "text": self.text, "reason": self.reason}

    def __str__(self) -> str:
        if self.what == "row" and not self.text:
            return f"A row is left out. {self.reason}"
        named = f"The prompt {self.text!r}" if self.what == "prompt" else f"The row that begins {self.text!r}"
        return f"{named} is left out. {self.reason}"


@dataclass(frozen=True)
class Choice:
    """What is screened on what.

    Args:
        panel: the prompts that the model can read before most rows.
        trait: rows that carry the trait, to score.
        others: rows that do not, and are not wanted either; none where there are fewer than `MIN_ROWS`.
        left_out: what was given besides, and cannot be read.
        wanted: rows that show what is wanted and do not carry the trait; likewise.
    """

    panel: Panel
    trait: tuple[Numbered, ...]
    others: tuple[Numbered, ...]
    left_out: tuple[LeftOut, ...]
    wanted: tuple[Numbered, ...] = ()


@dataclass(frozen=True)
class Beyond:
    """A candidate against a reference on the same rows.

    Args:
        gain: how much likelier the completions are, in nats per token.
        p: one-sided, that they are no likelier; after Holm over all candidates.
    """

    gain: Estimate
    p: float

    @property
    def better(self) -> bool:
        return self.p < ONE_SIDED

    def record(self) -> dict[str, Any]:
        return self.gain.record() | {"p": rounded(self.p), "better": self.better}


@dataclass(frozen=True)
class Screened:
    """What one prompt does to the completions, against no prompt on the same rows.

    Args:
        prompt: `None` for no prompt, and for the set of all candidates.
        kind: see `Panel.kinds`, or "set".
        per_token: mean over rows of the gain in log-likelihood, in nats per token of the row's completion.
        per_row: the same in nats per completion.
        risen: share of rows whose completion becomes likelier.
        beyond: by the kind of the reference, a candidate against the irrelevant and the opposite prompt; nothing for
            references.
        drift: as `per_token`, on rows that do not carry the trait; None where there are too few.
        wanted_drift: the same on rows that show what is wanted.
    """

    prompt: str | None
    kind: str
    per_token: Estimate
    per_row: Estimate
    risen: float
    beyond: Mapping[str, Beyond]
    drift: Estimate | None
    wanted_drift: Estimate | None = None

    @property
    def judged(self) -> bool:
        return self.kind in (CANDIDATE, SET)

    def record(self, rank: int | None) -> dict[str, Any]:
        """The prompt's entry in the JSON that is printed."""
        return {
            "rank": rank,
            "kind": self.kind,
            "prompt": self.prompt,
            "nats_per_token": self.per_token.record(),
            "nats_per_row": self.per_row.record(),
            "rows_risen": round(self.risen, 4),
            "beyond": {kind: against.record() for kind, against in self.beyond.items()},
            "drift": None if self.drift is None else self.drift.record(),
            "wanted_drift": None if self.wanted_drift is None else self.wanted_drift.record(),
        }


@dataclass(frozen=True)
class Screening:
    """The outcome of a screen.

    Args:
        prompts: candidates and references, the largest gain per token first.
        surprise: nats per token that the completions cost without a prompt, as a mean over rows.
        rows: how many rows were scored.
        other_rows: how many of those that do not carry the trait.
        wanted_rows: how many of those that show what is wanted.
    """

    prompts: tuple[Screened, ...]
    surprise: Estimate
    rows: int
    other_rows: int
    wanted_rows: int = 0

    def record(self) -> dict[str, Any]:
        """The JSON that is printed; only candidates, and their set, have a rank."""
        ranks = iter(range(1, len(self.prompts) + 1))
        return {
            "rows": self.rows,
            "other_rows": self.other_rows,
            "wanted_rows": self.wanted_rows,
            "surprise_without_prompt": self.surprise.record(),
            "prompts": [one.record(next(ranks) if one.judged else None) for one in self.prompts],
            "settings": {
                "level": LEVEL,
                "bootstrap_draws": DRAWS,
                "resampled": "rows",
                "corrected": f"Holm over {sum(one.judged for one in self.prompts)}, for each reference",
            },
        }


def carrying(rows: Sequence[Row], where: Given) -> list[Row]:
    """The rows that carry the trait.

    Args:
        rows: of the mix.
        where: see `Where.of`.

    Raises:
        UsageError: for fewer than `MIN_ROWS`.
        PlanError: where a row lacks the column.
    """
    told_by = Where.of(where)
    found = [row for row in rows if told_by.holds(row)]
    if len(found) < MIN_ROWS:
        raise UsageError(
            f"{len(found)} rows carry the trait ({told_by}); to measure it takes {MIN_ROWS}.", told_by.next_step(rows)
        )
    return found


def choose(
    panel: Panel,
    rows: Sequence[Row],
    where: Given,
    number: int,
    seed: int,
    place: str,
    unreadable: Unreadable,
    wanted: Given | None = None,
) -> Choice:
    """Rows to score, the first that can be read after a seeded shuffle; what cannot be is left out and named.

    A prompt is left out where the model cannot read most of the rows under it that it can read without one; a row,
    where it cannot be read without a prompt, or under one of those that are left.

    Args:
        panel: the prompts.
        rows: of the mix, with `prompt` and `completion`.
        where: which of them carry the trait, see `Where.of`.
        number: of rows to draw of each kind; fewer come back where there are not as many.
        seed: of the shuffle.
        place: "system" or "user", see `Inoculation`.
        unreadable: whether the model can read a row.
        wanted: which of the others show what is wanted; None where nobody says it.

    Raises:
        UsageError: where fewer than `MIN_ROWS` rows carry the trait or can be read, or no candidate can.
        PlanError: where a row lacks the column.
    """
    told_by, wanted_by = Where.of(where), None if wanted is None else Where.of(wanted)
    carrying(rows, told_by)
    known: dict[tuple[int, str | None], str | None] = {}

    def against(row: Numbered, prompt: str | None) -> str | None:
        key = row[0], prompt
        if key not in known:
            known[key] = unreadable(under(prompt, row[1], place))
        return known[key]

    def kind(row: Row) -> str:
        if told_by.holds(row):
            return TRAIT
        return WANTED if wanted_by is not None and wanted_by.holds(row) else NEUTRAL

    kinds = [kind(row) for row in rows]

    def shuffled(which: str) -> list[Numbered]:
        its = [(n, row) for n, row in enumerate(rows) if kinds[n] == which]
        return random.Random(seed).sample(its, len(its))

    trait, left_out = shuffled(TRAIT), []
    bare = list(islice((row for row in trait if against(row, None) is None), number))
    reasons: dict[str | None, str] = {}
    for prompt in panel.kinds():
        refused = [reason for row in bare if (reason := against(row, prompt))]
        if 2 * len(refused) > len(bare):
            reasons[prompt] = refused[0]
    panel = panel.without(reasons)
    left_out += [LeftOut("prompt", str(prompt), reason) for prompt, reason in reasons.items()]

    def drawn(candidates: Sequence[Numbered]) -> tuple[Numbered, ...]:
        found: list[Numbered] = []
        for row in candidates:
            if len(found) == number:
                break
            prompt, reason = next(
                ((p, said) for p in (None, *panel.kinds()) if (said := against(row, p))), (None, None)
            )
            if reason is None:
                found.append(row)
                continue
            under_it = "" if prompt is None else f"Under {prompt[:SHOWN]!r}: "
            begins = str(row[1]["prompt"][0]["content"])[:SHOWN]
            left_out.append(LeftOut("row", begins, f"{under_it}{reason}"))
        return tuple(found)

    scored = drawn(trait)
    if len(scored) < MIN_ROWS:
        first = next(one for one in left_out if one.what == "row")
        raise UsageError(
            f"{len(scored)} rows that carry the trait can be read; a screen needs {MIN_ROWS}. {first}",
            "Give shorter rows, or such as the model's chat template takes, or another base model.",
        )
    enough = {which: found if len(found := drawn(shuffled(which))) >= MIN_ROWS else () for which in (NEUTRAL, WANTED)}
    return Choice(panel, scored, enough[NEUTRAL], tuple(left_out), enough[WANTED])


def under(prompt: str | None, row: Row, place: str) -> Row:
    """A row with a prompt before it, where `InoculationCallback` puts it in training.

    Args:
        prompt: `None` leaves the row as it is.
        row: with `prompt` and `completion`.
        place: "system" or "user", see `Inoculation`.
    """
    return row if prompt is None else Inoculation((prompt,), place=place).apply(row, 0)


def screen(
    panel: Panel,
    trait: Sequence[Numbered],
    others: Sequence[Numbered],
    likelihoods: Likelihoods,
    place: str,
    wanted: Sequence[Numbered] = (),
) -> Screening:
    """Rank candidate prompts by how much likelier they make the rows' completions.

    Args:
        panel: the prompts.
        trait: rows that carry the trait, with `prompt` and `completion`.
        others: rows that do not, on which the drift is measured; may be none.
        likelihoods: of the base model.
        place: "system" or "user", see `Inoculation`.
        wanted: rows that show what is wanted, on which it is measured by itself; may be none.

    Returns:
        All prompts of the panel, each compared on the same rows. Intervals are over rows: they
        cover other rows of this mix, not other wordings of a prompt or other models. Each is by itself; that the best
        of many candidates is better than a reference is judged after Holm.
    """
    gains, before, tokens = _gains(panel, trait, likelihoods, place)
    sizes = {len(trait), len(others), len(wanted)} - {0}
    weights = {size: cluster_weights([str(n) for n in range(size)]) for size in sizes}

    def mean(values: Floats) -> Estimate:
        return bootstrap(mean_of(values), weights[len(values)])

    def drifts(rows: Sequence[Numbered]) -> dict[Entry, Estimate]:
        if not rows:
            return {}
        shifts, _, lengths = _gains(panel, rows, likelihoods, place)
        return {one: mean(shift / lengths) for one, shift in shifts.items()}

    drift, wanted_drift = drifts(others), drifts(wanted)
    judged = [one for one in gains if one[1] in (CANDIDATE, SET)]
    beyond: dict[Entry, dict[str, Beyond]] = {one: {} for one in gains}
    for reference in (one for one in gains if one[1] in (IRRELEVANT, OPPOSITE)):
        further = [mean((gains[one] - gains[reference]) / tokens) for one in judged]
        p = holm([tail(gain, 0, len(trait), below=False) for gain in further])
        for one, gain, adjusted in zip(judged, further, p, strict=True):
            beyond[one][reference[1]] = Beyond(gain, adjusted)
    screened = [
        Screened(
            prompt,
            kind,
            mean(gain / tokens),
            mean(gain),
            float((gain > 0).mean()),
            beyond[prompt, kind],
            drift.get((prompt, kind)),
            wanted_drift.get((prompt, kind)),
        )
        for (prompt, kind), gain in gains.items()
    ]
    screened.sort(key=lambda one: one.per_token.value, reverse=True)
    return Screening(tuple(screened), mean(-before / tokens), len(trait), len(others), len(wanted))


def _gains(
    panel: Panel, rows: Sequence[Numbered], likelihoods: Likelihoods, place: str
) -> tuple[dict[Entry, Floats], Floats, Floats]:
    """(rows,) gains in log-likelihood by prompt and kind, log-likelihoods without a prompt, and tokens."""
    asked = {prompt: likelihoods([under(prompt, row, place) for _, row in rows]) for prompt in panel.kinds()}
    before, tokens = asked[None]
    gains: dict[Entry, Floats] = {(prompt, kind): asked[prompt][0] - before for prompt, kind in panel.kinds().items()}
    if panel.as_set:
        training = Inoculation(panel.candidates, place=place)
        each = [(training.prompt_for(row, number), CANDIDATE) for number, row in rows]
        gains[None, SET] = np.array([gains[one][at] for at, one in enumerate(each)])
    return gains, before, tokens
