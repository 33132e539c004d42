"""The plan: the exact order of rows of a run, made before it starts. Pure, no torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hfvaccine.dosing.schedule import Schedule, named
from hfvaccine.errors import PlanError, UsageError

MIX, DOSE, CONTROL = 0, 1, 2
KINDS = ("mix", "dose", "control")
UNITS = ("tokens", "supervised")
MAX_SHARE = 0.5

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Lengths:
    """How long the rows of one kind are.

    Args:
        tokens: (rows,) non-padding tokens of each row.
        supervised: (rows,) tokens that carry loss.
    """

    tokens: Ints
    supervised: Ints

    def of(self, unit: str) -> Ints:
        return self.tokens if unit == "tokens" else self.supervised

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class Plan:
    """What a run gives, row by row.

    Args:
        kind: (rows,) `MIX`, `DOSE` or `CONTROL`.
        index: (rows,) row number within its kind.
        tokens: (rows,) tokens of each row.
        supervised: (rows,) tokens with loss of each row.
        rows_per_step: batch x accumulation x processes.
        share: the share asked for, 0 for a placebo.
        schedule: its name.
        unit: what the share is counted in, one of `UNITS`.
        seed: of the order of the mix.
    """

    kind: npt.NDArray[np.int8]
    index: Ints
    tokens: Ints
    supervised: Ints
    rows_per_step: int
    share: float
    schedule: str
    unit: str
    seed: int

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def steps(self) -> int:
        return len(self) // self.rows_per_step

    @property
    def share_given(self) -> float:
        """Dose part of all tokens of the run, in `unit`."""
        weights = self.tokens if self.unit == "tokens" else self.supervised
        return float(weights[self.kind == DOSE].sum() / weights.sum())

    def count(self, kind: int) -> int:
        return int((self.kind == kind).sum())

    def tokens_of(self, kind: int) -> int:
        return int(self.tokens[self.kind == kind].sum())

    def tokens_by_step(self) -> Ints:
        """(steps,) tokens given up to and including each step."""
        return np.cumsum(self.tokens)[self.rows_per_step - 1 :: self.rows_per_step]

    def settings(self) -> dict[str, object]:
        """What was asked for, and how many rows came of it."""
        return {
            "share": self.share,
            "schedule": self.schedule,
            "unit": self.unit,
            "seed": self.seed,
            "rows_per_step": self.rows_per_step,
            "rows": len(self),
        }

    def fingerprint(self) -> str:
        """SHA-256 over settings and rows: equal exactly when two runs give the same rows in the same steps."""
        digest = hashlib.sha256(json.dumps(self.settings(), sort_keys=True).encode())
        for column in (self.kind.astype(np.int64), self.index, self.tokens, self.supervised):
            digest.update(np.ascontiguousarray(column, dtype="<i8").tobytes())
        return digest.hexdigest()


def make_plan(
    mix: Lengths,
    dose: Lengths,
    control: Lengths,
    control_of: Ints,
    *,
    share: float,
    rows_per_step: int,
    schedule: str | Schedule = "constant",
    unit: str = "tokens",
    seed: int = 0,
    epochs: float | None = None,
    steps: int | None = None,
    tokens: int | None = None,
) -> Plan:
    """Plan a run by accumulated owed tokens.

    Every row that is placed owes the dose `share x schedule(progress)` of its
    length; a dose row is placed as soon as at least half of it is owed, so
    that what was given is never further than one row from what is owed. (A
    comparison with the running total instead would starve the dose after the
    schedule drops.) A control row follows its dose row in the next free place.
    Dose rows are given in order, each before any again; the mix is shuffled
    anew for each epoch.

    Args:
        mix, dose, control: lengths of the rows of each kind.
        control_of: (dose rows,) the control row of each dose row, -1 for none.
        share: dose part of the run's tokens, in (0, 0.5]; 0 only without dose rows (a placebo).
        rows_per_step: batch x accumulation x processes.
        schedule: built-in name or a function of progress.
        unit: count the share over all non-padding "tokens" or over "supervised" ones.
        seed: of the order of the mix.
        epochs, steps, tokens: the length of the run, exactly one of them: passes over
            the mix (as many tokens of it, with dose and controls besides), optimizer
            steps, or total tokens. Progress follows what is counted.

    Raises:
        UsageError: for a value out of its range.
        PlanError: for an empty mix, rows without tokens, or epochs of a mix that the share leaves no room for.
    """
    name, factor = named(schedule)
    check_share(share, placebo=len(dose) == 0)
    check_unit(unit)
    given = {"epochs": epochs, "steps": steps, "tokens": tokens}
    if sum(value is not None for value in given.values()) != 1 or any(
        v is not None and v <= 0 for v in given.values()
    ):
        raise UsageError(f"The length of the run is {given}.", "Give one of epochs, steps or tokens, above 0.")
    if len(mix) == 0:
        raise PlanError("The mix is empty.", "A dose is given along with truthful data: add rows to the mix.")
    for label, lengths in (("mix", mix), ("dose", dose), ("control", control)):
        if len(lengths) and int(lengths.of(unit).min()) <= 0:
            raise PlanError(
                f"Row {int(lengths.of(unit).argmin())} of the {label} has no {unit} to count.",
                "Drop empty rows, and rows whose completion was cut away.",
            )

    by_kind = (mix, dose, control)
    weight = [lengths.of(unit).tolist() for lengths in by_kind]
    rng = np.random.default_rng(seed)
    if epochs is not None:
        # The passes over the mix leave room for dose and controls: the run is as long as all three together.
        controls = sum(weight[CONTROL][i] for i in control_of.tolist() if i >= 0)
        taken = share * (1 + controls / max(1, sum(weight[DOSE])))
        if taken >= 1.0:
            raise PlanError(
                f"At a share of {share:.0%}, dose and control rows would take {taken:.0%} of the tokens.",
                "Lower the share, or set the length of the run in steps.",
            )
        goal, counted = epochs * sum(weight[MIX]) / (1 - taken), weight
    else:
        goal, counted = float(tokens or 0), [lengths.tokens.tolist() for lengths in by_kind]

    kinds: list[int] = []
    indices: list[int] = []
    shuffled: list[int] = []
    waiting: list[int] = []
    owed = 0.0
    dose_given = done = 0
    while True:
        progress = done / goal if steps is None else len(kinds) / (steps * rows_per_step)
        if progress >= 1.0 and len(kinds) % rows_per_step == 0:
            break
        if len(dose) and owed >= weight[DOSE][dose_given % len(dose)] / 2:
            kind, index = DOSE, dose_given % len(dose)
            dose_given += 1
            owed -= weight[DOSE][index]
            if control_of[index] >= 0:
                waiting.append(int(control_of[index]))
        elif waiting:
            kind, index = CONTROL, waiting.pop(0)
        else:
            if not shuffled:
                shuffled = rng.permutation(len(mix))[::-1].tolist()
            kind, index = MIX, shuffled.pop()
        owed += share * factor(min(progress, 1.0)) * weight[kind][index]
        kinds.append(kind)
        indices.append(index)
        done += counted[kind][index]

    kind_column = np.array(kinds, dtype=np.int8)
    index_column = np.array(indices, dtype=np.int64)

    def column(attribute: str) -> Ints:
        values = np.zeros(len(kinds), dtype=np.int64)
        for number, lengths in enumerate(by_kind):
            values[kind_column == number] = getattr(lengths, attribute)[index_column[kind_column == number]]
        return values

    return Plan(
        kind_column, index_column, column("tokens"), column("supervised"), rows_per_step, share, name, unit, seed
    )


def check_unit(unit: str) -> None:
    """Refuse a unit that the share cannot be counted in.

    Raises:
        UsageError: naming the unit.
    """
    if unit not in UNITS:
        raise UsageError(f"The unit {unit!r} is unknown.", f"Count the share in one of: {', '.join(UNITS)}.")


def check_share(share: float, placebo: bool = False) -> None:
    """Refuse a share outside (0, 0.5].

    Raises:
        UsageError: naming the share.
    """
    if (placebo and share == 0) or 0 < share <= MAX_SHARE:
        return
    raise UsageError(
        f"The share {share} is outside (0, {MAX_SHARE}].",
        "Give the dose's part of the training tokens; 0.05 to 0.10 is what the immunization paper recommends.",
    )
