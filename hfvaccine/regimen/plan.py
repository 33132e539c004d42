"""The plan: the exact order of rows of a run, made before it starts. Pure, no torch."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from hfvaccine.errors import PlanError, UsageError
from hfvaccine.regimen.lengths import Counts, Ints, Lengths, check_rows, check_unit
from hfvaccine.regimen.packing import pack
from hfvaccine.regimen.pairs import in_passes, shuffled
from hfvaccine.regimen.schedule import Curve, Pulsed, Schedule, named, over
from hfvaccine.regimen.turns import Turns

MIX, DOSE, CONTROL = 0, 1, 2
KINDS = ("mix", "dose", "control")
MAX_SHARE = 0.5
BLOCK = 1 << 20
"""Rows that are looked up at once: what that takes besides would be as much again for all."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """What a run gives, row by row.

    Args:
        kind: (rows,) `MIX`, `DOSE` or `CONTROL`.
        index: (rows,) row number within its kind.
        tokens: (rows,) tokens of each row.
        supervised: (rows,) tokens with loss of each row.
        rows_per_step: rows (or packs, where rows are packed) of one optimizer step:
            batch x accumulation x processes.
        share: the share asked for, 0 for a placebo.
        schedule: its name.
        unit: what the share is counted in, one of `lengths.UNITS`.
        seed: of the order of the mix.
        pack: (rows,) running number of the pack that each row stands in, None where rows are not packed.
        pack_length: tokens that a pack holds at most.
        owed: (steps,) what the schedule owes the dose at the end of each step, in `unit`.
        shares: of several doses that are given, the share asked for each; `share` is that of all.
    """

    kind: npt.NDArray[np.int8]
    index: Ints
    tokens: Counts
    supervised: Counts
    rows_per_step: int
    share: float
    schedule: str
    unit: str
    seed: int
    pack: npt.NDArray[np.int32] | None = None
    pack_length: int | None = None
    owed: Floats = field(default_factory=lambda: np.zeros(0))
    shares: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def steps(self) -> int:
        units = len(self) if self.pack is None else int(self.pack[-1]) + 1
        return units // self.rows_per_step

    @property
    def starts(self) -> Ints:
        """(steps + 1,) the row at which each step begins, and the end of the last one."""
        return self._rows_at(np.arange(self.steps + 1, dtype=np.int64) * self.rows_per_step)

    @property
    def unit_starts(self) -> Ints:
        """(units + 1,) the row at which each row, or each pack where rows are packed, begins."""
        return self._rows_at(np.arange(self.steps * self.rows_per_step + 1, dtype=np.int64))

    def _rows_at(self, units: Ints) -> Ints:
        return units if self.pack is None else np.searchsorted(self.pack, units).astype(np.int64)

    @property
    def weights(self) -> Counts:
        """(rows,) what each row counts, in `unit`."""
        return self.tokens if self.unit == "tokens" else self.supervised

    @property
    def share_given(self) -> float:
        """Dose part of all tokens of the run, in `unit`."""
        return float(self.weights[self.kind == DOSE].sum() / self.weights.sum())

    def count(self, kind: int) -> int:
        return int((self.kind == kind).sum())

    def tokens_of(self, kind: int) -> int:
        return int(self.tokens[self.kind == kind].sum())

    def settings(self) -> dict[str, object]:
        """What was asked for, and how many rows came of it."""
        return {
            "share": self.share,
            "schedule": self.schedule,
            "unit": self.unit,
            "seed": self.seed,
            "rows_per_step": self.rows_per_step,
            "pack_length": self.pack_length,
            "rows": len(self),
            **({"shares": list(self.shares)} if self.shares else {}),
        }

    def fingerprint(self) -> str:
        """SHA-256 over settings and rows: equal exactly when two runs give the same rows in the same steps."""
        digest = hashlib.sha256(json.dumps(self.settings(), sort_keys=True).encode())
        for column in (self.kind, self.index, self.tokens, self.supervised, self.pack):
            if column is not None:
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
    schedule: str | Schedule | Pulsed = "constant",
    unit: str = "tokens",
    seed: int = 0,
    epochs: float | None = None,
    steps: int | None = None,
    tokens: int | None = None,
    pack_length: int | None = None,
    mix_partner: Ints | None = None,
    pass_rows: int | None = None,
    dose_of: Ints | None = None,
    shares: Sequence[float] = (),
) -> Plan:
    """Plan a run by accumulated owed tokens.

    Every token that is given, of whatever kind, owes the dose `share x
    schedule(progress)`, where progress is the part of the run's tokens given so
    far. A dose row is placed at the first row boundary at which half of it is
    owed, so that what was given stays as near to what is owed as whole rows
    allow: at every boundary, and so at the end of every step, it is at most
    half a dose row ahead, and at most half a dose row and what one mix row owes
    behind. (Controls that are much heavier than their dose rows can put it
    another half dose row behind.) A comparison with the running total instead
    would starve the dose after the schedule drops.

    The control row of a dose row follows immediately, unless the run ends
    between the two. Dose rows are given in order, each before any again, and of
    several doses in turns that keep each at its own share (see `Turns`); the mix
    is shuffled anew for each epoch.

    Args:
        mix, dose, control: lengths of the rows of each kind.
        control_of: (dose rows,) the control row of each dose row, -1 for none.
        share: dose part of the run's tokens, in (0, 0.5]; 0 only without dose rows (a placebo).
        rows_per_step: rows, or packs, of one optimizer step: batch x accumulation x processes.
        schedule: built-in name, or a function from progress in [0, 1] to a factor on the share.
        unit: count the share over all non-padding "tokens" or over "supervised" ones.
        seed: of the order of the mix.
        epochs, steps, tokens: the length of the run, exactly one of them: passes over
            the mix (dose and controls come besides), optimizer steps, or total tokens.
            The last step is filled up.
        pack_length: put rows together into packs of at most so many tokens, without splitting any.
            A step then has `rows_per_step` packs, and its rows stand pack by pack.
        mix_partner: (mix rows,) the other row of each mix row's pair, -1 for none; the two follow each other.
        pass_rows: rows, or packs, of one forward pass, over whose end no pair may lie (neither a dose row and its
            control, nor two of the mix). Of packs, a pair stands in one. For it, rows that are by themselves may
            come earlier than they are due. None where pairs may be parted.
        dose_of: (dose rows,) the number of the dose that each dose row is of; None where there is one.
        shares: of several doses, the share of each; `share` is their sum.

    Raises:
        UsageError: for a value out of its range, or a schedule whose peak asks for more than fits.
        PlanError: for an empty mix, rows without tokens or longer than a pack, or a share that leaves
            no room for the mix.
    """
    name, shape = named(schedule)
    check_share(share, placebo=len(dose) == 0)
    check_unit(unit)
    lengths = {"epochs": epochs, "steps": steps, "tokens": tokens}
    if sum(value is not None for value in lengths.values()) != 1 or any(
        value is not None and not 0 < value < math.inf for value in lengths.values()
    ):
        raise UsageError(f"The length of the run is {lengths}.", "Give one of epochs, steps or tokens, above 0.")
    if rows_per_step < 1 or (pack_length is not None and pack_length < 1):
        raise UsageError(
            f"Steps of {rows_per_step} rows in packs of {pack_length} tokens are impossible.", "Give values above 0."
        )
    if len(mix) == 0:
        raise PlanError("The mix is empty.", "A dose is given along with truthful data: add rows to the mix.")
    for label, rows in (("mix", mix), ("dose", dose), ("control", control)):
        check_rows(label, rows, unit, pack_length)
    curve = Curve(over(shape, 1))

    def curve_over(steps: int) -> Curve:
        return Curve(shape.over(steps)) if isinstance(shape, Pulsed) else curve

    turns = Turns(dose.of(unit), dose_of, shares)
    check_room(dose, control, control_of, turns, unit, share, curve)

    order = _Order((mix, dose, control), control_of, turns, unit, seed, share * curve.mean, mix_partner)
    passes = None if epochs is None else math.ceil(epochs * len(mix) - 1e-9)

    def least() -> int:
        """Rows that the run must have at least, in the order as it stands."""
        if passes is not None:
            return order.rows_to_mix(passes)
        return 0 if tokens is None else order.rows_to("tokens", tokens)

    packs = None
    if pack_length is None:
        count = _fit_rows(order, least, curve_over, steps or 0, rows_per_step)
    else:
        packs = _fit_packs(order, least, curve_over, steps or 0, rows_per_step, pack_length, pass_rows is not None)
        count = len(packs)
    kind, index = order.rows(count)
    if pass_rows is not None and packs is None:
        moved = in_passes(order.follows(kind, index), pass_rows)
        kind, index = kind[moved], index[moved]
    if packs is not None:
        by_pack = np.argsort(packs, kind="stable")
        kind, index, packs = kind[by_pack], index[by_pack], packs[by_pack]
    plan = Plan(
        kind=kind,
        index=index,
        tokens=order.column("tokens", kind, index),
        supervised=order.column("supervised", kind, index),
        rows_per_step=rows_per_step,
        share=share,
        schedule=name,
        unit=unit,
        seed=seed,
        pack=None if packs is None else packs.astype(np.int32),
        pack_length=pack_length,
        shares=tuple(shares),
    )
    by_step = np.add.reduceat(plan.weights, plan.starts[:-1], dtype=np.int32)  # else all rows would be copied
    return replace(plan, owed=order.owed(np.cumsum(by_step, dtype=np.float64)))


def _fit_rows(
    order: _Order, least: Callable[[], int], curve_over: Callable[[int], Curve], steps: int, rows_per_step: int
) -> int:
    """Lay the order for whole steps of rows; how many rows the run has.

    Progress needs the total of the run beforehand. It is that of as many rows
    in the even order, whose share is the same: this is right to about a row.
    Where the number of steps and the total that it gives contradict each
    other, the run has the step more.
    """
    order.lay()
    steps = steps or -(-least() // rows_per_step)
    tried = {0}
    while not curve_over(steps).even:
        order.lay()
        order.lay(curve_over(steps), order.even_total(steps * rows_per_step))
        enough = -(-least() // rows_per_step)
        if enough == steps or (enough < steps and enough in tried):
            break
        tried.add(steps)
        steps = enough
    return steps * rows_per_step


def _fit_packs(
    order: _Order,
    least: Callable[[], int],
    curve_over: Callable[[int], Curve],
    steps: int,
    packs_per_step: int,
    capacity: int,
    together: bool,
) -> Ints:
    """Lay the order for whole steps of packs; the pack of each row of the run.

    How much a pack takes depends on the order, and the order on the total of
    the run: so the total is set to what the even order fills, lowered until as
    much fits, and what room is left then stays empty in the last packs.
    """

    def packed(count: int, steps: int | None = None) -> tuple[Ints, Ints]:
        kind, index = order.rows(count)
        tokens = order.column("tokens", kind, index)
        if not together:
            return pack(tokens, capacity, packs_per_step, steps)
        blocks = np.flatnonzero(~order.follows(kind, index))  # a pair is packed as one
        starts, packs = pack(np.add.reduceat(tokens, blocks), capacity, packs_per_step, steps)
        bounds = np.append(blocks, count)
        return bounds[starts], np.repeat(packs, np.diff(bounds[: len(packs) + 1]))

    def least_filled(steps: int) -> int:
        """Rows that put something into each pack."""
        packs = steps * packs_per_step
        if not together:
            return packs
        return int(np.flatnonzero(~order.follows(*order.rows(2 * packs + 1)))[packs])

    order.lay()
    room = packs_per_step * capacity
    atleast = order.column("tokens", *order.rows(least()))
    starts, packs = packed(order.rows_to("tokens", steps * room if steps else int(atleast.sum()) + room))
    steps = steps or int(np.searchsorted(starts, least()))
    if curve_over(steps).even:
        return packs[: starts[steps]]
    total = order.weight(int(starts[steps]))
    while True:
        order.lay(curve_over(steps), total)
        count = max(order.rows_to("weight", total), least_filled(steps))
        if least() > count:
            steps, total = steps + 1, total * (steps + 1) / steps
            continue
        starts, packs = packed(count, steps)
        if len(packs) == count:
            return packs
        total -= order.weight(count) - order.weight(len(packs))


class _Order:
    """The order of rows, laid as far as it is asked for.

    Two queues are merged: the mix, and the dose with each control behind its
    dose row. The order is known by how many rows of the mix come before each
    row of the other.

    Args:
        by_kind: lengths of the rows of mix, dose and control.
        control_of: (dose rows,) the control row of each dose row, -1 for none.
        turns: the order of the dose rows.
        unit: of weights.
        seed: of the order of the mix.
        rate: the mean share over the run.
        partner: (mix rows,) the other row of each mix row's pair, -1 for none; None where there are no pairs.
    """

    def __init__(
        self,
        by_kind: tuple[Lengths, Lengths, Lengths],
        control_of: Ints,
        turns: Turns,
        unit: str,
        seed: int,
        rate: float,
        partner: Ints | None = None,
    ):
        self._partner = np.broadcast_to(np.int64(-1), len(by_kind[MIX])) if partner is None else partner
        self._by_kind, self._unit, self._rate = by_kind, unit, rate
        self._random = np.random.default_rng(seed)
        self._mix: Ints = np.zeros(0, np.int64)
        self._control_of, self._turns = control_of if rate > 0 else control_of[:0], turns
        self._curve: Curve | None = None
        self._total = 0.0
        self._repeat(1)
        self._reach(1)

    def lay(self, curve: Curve | None = None, total: float = 0.0) -> None:
        """Lay the order anew: under a schedule, for a run of `total` weight, or else at its mean share throughout."""
        self._curve, self._total = curve, total
        self._lay()

    def owed(self, weight: Floats) -> Floats:
        """What the dose is owed when so much has been given; beyond the total, at the mean share."""
        if self._curve is None:
            return self._rate * weight
        within = np.minimum(weight, self._total)
        done: Floats = np.interp(within / self._total, self._curve.progress, self._curve.integral)
        return self._rate * (self._total * done / (self._curve.mean or 1.0) + weight - within)

    def _weight_where(self, owed: Floats) -> Floats:
        """The other way round: how much has been given when so much is owed first."""
        if self._curve is None:
            return owed / self._rate
        at_end = self._rate * self._total
        progress = np.interp(owed * (self._curve.mean / at_end), self._curve.integral, self._curve.progress)
        return self._total * progress + np.maximum(owed - at_end, 0.0) / self._rate

    def _lay(self) -> None:
        reach = len(self._mix_sums["weight"]) - 1
        while True:
            before = np.zeros(0, np.int64)
            if len(self._dosed[0]):
                missing = self._weight_where(self._due) - self._dosed_sums["weight"][:-1]
                before = np.maximum.accumulate(np.searchsorted(self._mix_sums["weight"], missing))
                before += self._parts[np.minimum(before, reach)]  # never between the two of a pair
            laid = int(np.searchsorted(before, reach, side="right"))
            if laid < len(before) or not len(before):
                break
            self._repeat(2 * self._rounds)
        self._before = before[:laid]

    def _reach(self, rows: int) -> None:
        """Have the mix in so many rows."""
        while len(self._mix) < rows:
            self._mix = np.concatenate([self._mix, shuffled(self._partner, self._random)])
        index = self._mix[:rows]
        self._parts = np.zeros(rows + 1, dtype=bool)
        self._parts[1:-1] = self._paired(index)
        self._mix_sums = self._sums(lambda attribute: getattr(self._by_kind[MIX], attribute)[index])
        self._lay()

    def _repeat(self, rounds: int) -> None:
        """Have so many times as many dose rows as there are, each with its control."""
        self._rounds = rounds
        rows = self._turns.first(rounds * len(self._control_of))
        pairs = np.stack([rows, self._control_of[rows]], axis=1)
        given = pairs >= 0
        kind, index = self._dosed = np.broadcast_to([DOSE, CONTROL], pairs.shape)[given].astype(np.int8), pairs[given]
        self._dosed_sums = self._sums(lambda attribute: self.column(attribute, kind, index))
        dose = np.where(kind == DOSE, np.diff(self._dosed_sums["weight"]), 0.0)
        # A control is due with its dose row, which it stands behind.
        self._due = np.where(kind == DOSE, np.cumsum(dose) - dose + dose / 2, 0.0)

    def _sums(self, lengths: Callable[[str], Counts]) -> dict[str, Floats]:
        """(rows + 1,) running totals of weight and of tokens."""
        weight = np.concatenate([[0.0], np.cumsum(lengths(self._unit), dtype=np.float64)])
        if self._unit == "tokens":
            return {"weight": weight, "tokens": weight}
        return {"weight": weight, "tokens": np.concatenate([[0.0], np.cumsum(lengths("tokens"), dtype=np.float64)])}

    def _dosed_within(self, rows: int) -> int:
        """How many of the first `rows` rows are no mix."""
        while True:
            dosed = int(np.searchsorted(self._before + np.arange(len(self._before)), rows))
            if rows - dosed < len(self._mix_sums["weight"]):
                return dosed
            self._reach(rows - dosed)

    def rows(self, count: int) -> tuple[npt.NDArray[np.int8], Ints]:
        """(count,) kind and (count,) index of the first rows."""
        dosed = self._dosed_within(count)
        places = self._before[:dosed] + np.arange(dosed)
        kind = np.full(count, MIX, np.int8)
        kind[places] = self._dosed[0][:dosed]
        index = np.empty(count, np.int64)
        index[kind == MIX] = self._mix[: count - dosed]
        index[places] = self._dosed[1][:dosed]
        return kind, index

    def follows(self, kind: npt.NDArray[np.int8], index: Ints) -> npt.NDArray[np.bool_]:
        """(rows,) whether a row belongs to the one before: a control to its dose row, a row of the mix to its pair."""
        found = np.zeros(len(kind), dtype=bool)
        found[1:] = (kind[:-1] == DOSE) & (kind[1:] == CONTROL)
        mix = (kind[:-1] == MIX) & (kind[1:] == MIX)
        found[1:] |= mix & self._paired(np.where(kind == MIX, index, 0))
        return found

    def _paired(self, index: Ints) -> npt.NDArray[np.bool_]:
        """(rows - 1,) whether a row of the mix and the next one are a pair, in the order that pairs have."""
        paired: npt.NDArray[np.bool_] = (self._partner[index[:-1]] == index[1:]) & (index[:-1] < index[1:])
        return paired

    def column(self, attribute: str, kind: npt.NDArray[np.int8], index: Ints) -> Counts:
        """(rows,) `tokens` or `supervised` of rows."""
        values = np.zeros(len(kind), dtype=np.int32)
        for start in range(0, len(kind), BLOCK):
            part = slice(start, start + BLOCK)
            for number, lengths in enumerate(self._by_kind):
                of_kind = kind[part] == number
                values[part][of_kind] = getattr(lengths, attribute)[index[part][of_kind]]
        return values

    def weight(self, rows: int) -> float:
        """Weight of the first rows."""
        dosed = self._dosed_within(rows)
        return float(self._mix_sums["weight"][rows - dosed] + self._dosed_sums["weight"][dosed])

    def even_total(self, rows: int) -> float:
        """Weight of so many rows, laid at the mean share, if rows could be divided to meet it exactly."""
        weight, dosed = self.weight(rows), self._dosed_within(rows)
        is_dose = self._dosed[0] == DOSE
        if not is_dose.any():
            return weight
        missing = self._rate * weight - float(np.diff(self._dosed_sums["weight"][: dosed + 1])[is_dose[:dosed]].sum())
        # What a unit of dose, with its control, adds to the total when it takes the place of as many rows of the mix.
        mix_row = float(self._by_kind[MIX].of(self._unit).mean())
        dose = float(np.diff(self._dosed_sums["weight"])[is_dose].sum())
        adds = (float(self._dosed_sums["weight"][-1]) - len(is_dose) * mix_row) / dose
        return weight + missing * adds / (1 - self._rate * adds)

    def rows_to_mix(self, count: int) -> int:
        """How many rows it takes until `count` of them are of the mix."""
        if count >= len(self._mix_sums["weight"]):
            self._reach(count)
        return count + int(np.searchsorted(self._before, count - 1, side="right"))

    def rows_to(self, what: str, amount: float) -> int:
        """How many rows it takes until their "weight" or "tokens" reach an amount."""
        while True:
            mix, dosed = self._mix_sums[what], self._dosed_sums[what]
            begun = int(np.searchsorted(mix[self._before] + dosed[: len(self._before)], amount))
            given = int(np.searchsorted(mix, amount - dosed[begun]))
            if begun:
                given = max(given, int(self._before[begun - 1]))
            if given < len(mix):
                return given + begun
            self._reach(given + given // 4)


def check_room(
    dose: Lengths, control: Lengths, control_of: Ints, turns: Turns, unit: str, share: float, curve: Curve
) -> None:
    """Refuse a share that dose and control rows cannot be given at.

    Args:
        dose, control, control_of, unit, share: as in `make_plan`.
        turns: the order of the dose rows.
        curve: of the schedule.

    Raises:
        PlanError: where the mix would have no room over the run.
        UsageError: where the dose could not keep up with the schedule's peak.
    """
    if len(dose) == 0:
        return
    doses = dose.of(unit).astype(np.float64)
    controls = np.zeros(len(dose))
    controls[control_of >= 0] = control.of(unit)[control_of[control_of >= 0]]
    pair = 1 + turns.adds(controls)
    taken = share * curve.mean * pair
    if taken >= 1:
        raise PlanError(
            f"At a share of {share:.0%}, dose and control rows would take {taken:.0%} of the tokens.",
            "Lower the share, or give fewer controls.",
        )
    peak = share * curve.peak
    # How far a stretch of dose rows, each with its control, falls behind what it owes itself.
    rows = turns.first(2 * len(dose))
    behind = np.concatenate([[0.0], np.cumsum((peak * (doses + controls) - doses)[rows])])
    backlog = float((behind - np.minimum.accumulate(behind)).max())
    if peak * pair > 1 + 1e-9 or backlog > doses.max() / 2 + 1e-9:
        raise UsageError(
            f"At its peak the schedule asks for a share of {peak:.0%}, with which the dose rows and their controls "
            "cannot keep up.",
            "Lower the share, or spread the schedule more evenly over the run.",
        )


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
