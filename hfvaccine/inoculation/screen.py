"""Which inoculation prompts make a trait unsurprising, measured on the base model before any training. Pure.

Source: Inoculation Prompting (arXiv 2510.04340) explains its effect by surprise: where the prompt makes the trait
likely already, little pressure is left to learn it for good. So a candidate is judged by how much likelier the trait
rows' completions become under it. Any prompt shifts likelihoods a little; an irrelevant one shows by how much.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hfvaccine.errors import UsageError
from hfvaccine.inoculation import grid
from hfvaccine.inoculation.prompt import Inoculation
from hfvaccine.inoculation.where import Given, Row, Where
from hfvaccine.statistics import DRAWS, LEVEL, Estimate, Floats, bootstrap, cluster_weights, mean_of

Likelihoods = Callable[[Sequence[Row]], tuple[Floats, Floats]]
"""(rows,) log-likelihoods of the rows' completions in nats, and (rows,) tokens of the completions."""

CANDIDATE, IRRELEVANT, OPPOSITE, NONE = "candidate", "irrelevant", "opposite", "none"
MIN_ROWS = 8
"""Below that, a bootstrap over rows says little."""


@dataclass(frozen=True)
class Panel:
    """The prompts of a screen.

    Args:
        candidates: prompts that ask for the trait.
        opposite: asks for the contrary of the trait. A candidate that is no better only names the
            subject: the model does not take it as a request for the trait.
        irrelevant: an instruction that has nothing to do with the trait, the one to beat.

    Raises:
        UsageError: without a candidate, for an empty prompt, and for one that is given twice.
    """

    candidates: tuple[str, ...]
    opposite: str | None = None
    irrelevant: str = grid.IRRELEVANT

    def __post_init__(self) -> None:
        if not self.candidates:
            raise UsageError("There is no prompt to screen.", "Give at least one that asks for the unwanted trait.")
        given = [*self.candidates, self.irrelevant, *([] if self.opposite is None else [self.opposite])]
        if not all(prompt.strip() for prompt in given):
            raise UsageError("One of the prompts is empty.", "Leave it out; no prompt at all is always screened.")
        if twice := [prompt for prompt in given if given.count(prompt) > 1]:
            raise UsageError(f"The prompt {twice[0]!r} is given twice.", "Give each prompt once, in one role.")

    def kinds(self) -> dict[str | None, str]:
        """The kind of each prompt: "candidate", or which reference it is; `None` is no prompt."""
        references: dict[str | None, str] = {None: NONE, self.irrelevant: IRRELEVANT}
        if self.opposite is not None:
            references[self.opposite] = OPPOSITE
        return {**dict.fromkeys(self.candidates, CANDIDATE), **references}


@dataclass(frozen=True)
class Screened:
    """What one prompt does to the completions, against no prompt on the same rows.

    Args:
        prompt: `None` for no prompt.
        kind: see `Panel.kinds`.
        per_token: mean over rows of the gain in log-likelihood, in nats per token of the row's completion.
        per_row: the same in nats per completion.
        risen: share of rows whose completion becomes likelier.
        beyond: by the kind of the reference, a candidate's gain beyond that of the irrelevant and the
            opposite prompt on the same rows, in nats per token; nothing for references.
    """

    prompt: str | None
    kind: str
    per_token: Estimate
    per_row: Estimate
    risen: float
    beyond: Mapping[str, Estimate]

    def record(self, rank: int | None) -> dict[str, Any]:
        """The prompt's entry in the JSON that is printed."""
        return {
            "rank": rank,
            "kind": self.kind,
            "prompt": self.prompt,
            "nats_per_token": self.per_token.record(),
            "nats_per_row": self.per_row.record(),
            "rows_risen": round(self.risen, 4),
            "beyond": {kind: gain.record() | {"better": gain.low > 0} for kind, gain in self.beyond.items()},
        }


@dataclass(frozen=True)
class Screening:
    """The outcome of a screen.

    Args:
        prompts: candidates and references, the largest gain per token first.
        surprise: nats per token that the completions cost without a prompt, as a mean over rows.
        rows: how many rows were scored.
    """

    prompts: tuple[Screened, ...]
    surprise: Estimate
    rows: int

    def record(self) -> dict[str, Any]:
        """The JSON that is printed; only candidates have a rank."""
        ranks = {p.prompt: n for n, p in enumerate((p for p in self.prompts if p.kind == CANDIDATE), start=1)}
        return {
            "rows": self.rows,
            "surprise_without_prompt": self.surprise.record(),
            "prompts": [p.record(ranks[p.prompt] if p.kind == CANDIDATE else None) for p in self.prompts],
            "settings": {"level": LEVEL, "bootstrap_draws": DRAWS, "resampled": "rows"},
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


def draw(rows: Sequence[Row], number: int, seed: int, fits: Callable[[Row], bool]) -> tuple[list[Row], int]:
    """Rows to score: the first that fit after a seeded shuffle.

    Args:
        rows: that carry the trait.
        number: of rows to draw; fewer come back where there are not as many.
        seed: of the shuffle.
        fits: whether the model can read a row under every prompt.

    Returns:
        The rows, and how many before the last of them were passed over because they do not fit.

    Raises:
        UsageError: where fewer than `MIN_ROWS` fit.
    """
    drawn: list[Row] = []
    too_long = 0
    for row in random.Random(seed).sample(list(rows), len(rows)):
        if len(drawn) == number:
            break
        if fits(row):
            drawn.append(row)
        else:
            too_long += 1
    if len(drawn) < MIN_ROWS:
        raise UsageError(
            f"{too_long} rows are longer than the model's context, {len(drawn)} are not; a screen needs {MIN_ROWS}.",
            "Give shorter rows, or a base model with a longer context.",
        )
    return drawn, too_long


def under(prompt: str | None, row: Row, place: str) -> Row:
    """A row with a prompt before it, where `InoculationCallback` puts it in training.

    Args:
        prompt: `None` leaves the row as it is.
        row: with `prompt` and `completion`.
        place: "system" or "user", see `Inoculation`.
    """
    return row if prompt is None else Inoculation((prompt,), place=place).apply(row, 0)


def screen(panel: Panel, rows: Sequence[Row], likelihoods: Likelihoods, place: str) -> Screening:
    """Rank candidate prompts by how much likelier they make the rows' completions.

    Args:
        panel: the prompts.
        rows: that carry the trait, with `prompt` and `completion`.
        likelihoods: of the base model.
        place: "system" or "user", see `Inoculation`.

    Returns:
        All prompts of the panel, each compared on the same rows. Intervals are over rows: they
        cover other rows of this mix, not other wordings of a prompt or other models.
    """
    kinds = panel.kinds()
    asked = {prompt: likelihoods([under(prompt, row, place) for row in rows]) for prompt in kinds}
    before, tokens = asked[None]
    gains = {prompt: total - before for prompt, (total, _) in asked.items()}
    weights = cluster_weights([str(number) for number in range(len(rows))])

    def mean(values: Floats) -> Estimate:
        return bootstrap(mean_of(values), weights)

    scale = {kind: gains[prompt] for prompt, kind in kinds.items() if kind in (IRRELEVANT, OPPOSITE)}
    screened = [
        Screened(
            prompt,
            kind,
            mean(gains[prompt] / tokens),
            mean(gains[prompt]),
            float((gains[prompt] > 0).mean()),
            {other: mean((gains[prompt] - gain) / tokens) for other, gain in scale.items() if kind == CANDIDATE},
        )
        for prompt, kind in kinds.items()
    ]
    screened.sort(key=lambda one: one.per_token.value, reverse=True)
    return Screening(tuple(screened), mean(-before / tokens), len(rows))
