"""The plan's rule decided row by row, for a mix that is streamed and whose lengths nobody knows beforehand. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hfvaccine.errors import PlanError, UsageError
from hfvaccine.regimen.lengths import Ints, Lengths, check_rows, check_unit
from hfvaccine.regimen.plan import CONTROL, DOSE, MIX, check_room, check_share
from hfvaccine.regimen.schedule import Curve, Pulsed, Schedule, named, over
from hfvaccine.regimen.turns import Turns


class Interleaver:
    """Says what each row of a run must be: mix, dose or control.

    The rule is that of `hfvaccine.regimen.plan.make_plan`, and for the constant
    schedule so are the rows. Under any other schedule progress is the part of
    the run's rows, not of its tokens, since the total of a stream is unknown;
    the share of the run then misses the one asked for by as much as rows early
    and late in the run differ in length.

    Ask for each row with `next`, and say with `gave` what it was.

    Args:
        dose, control: lengths of the rows of each kind.
        control_of: (dose rows,) the control row of each dose row, -1 for none.
        share: dose part of the run's tokens, in (0, 0.5]; 0 only without dose rows (a placebo).
        schedule: built-in name, or a function from progress in [0, 1] to a factor on the share.
        unit: count the share over all non-padding "tokens" or over "supervised" ones.
        rows: rows of the whole run.
        rows_per_step: rows of one optimizer step; only "pulsed", which counts steps, needs it.
        dose_of, shares: of several doses, as in `make_plan`.

    Raises:
        UsageError: for a value out of its range, or a schedule whose peak asks for more than fits.
        PlanError: for rows without tokens, or a share that leaves no room for the mix.
    """

    def __init__(
        self,
        dose: Lengths,
        control: Lengths,
        control_of: Ints,
        *,
        share: float,
        schedule: str | Schedule | Pulsed = "constant",
        unit: str = "tokens",
        rows: int,
        rows_per_step: int | None = None,
        dose_of: Ints | None = None,
        shares: Sequence[float] = (),
    ) -> None:
        _, shape = named(schedule)
        check_share(share, placebo=len(dose) == 0)
        check_unit(unit)
        if rows < 1 or (rows_per_step is not None and rows_per_step < 1):
            raise UsageError(
                f"A run of {rows} rows in steps of {rows_per_step} is impossible.", "Give values above 0."
            )
        if isinstance(shape, Pulsed) and rows_per_step is None:
            raise UsageError("A pulsed schedule counts steps, and there is no `rows_per_step`.", "Give it.")
        check_rows("dose", dose, unit)
        check_rows("control", control, unit)
        self._factor = over(shape, rows // (rows_per_step or 1))
        self._turns = Turns(dose.of(unit), dose_of, shares)
        check_room(dose, control, control_of, self._turns, unit, share, Curve(self._factor))
        self._share, self._unit, self._rows = share, unit, rows
        self._weights: list[int] = dose.of(unit).tolist()
        self._control_of: list[int] = control_of.tolist()
        self._given = {MIX: 0, DOSE: 0, CONTROL: 0}
        self._scheduled = 0.0  # weight of all rows so far, each times the schedule's factor
        self._dose_weight = 0
        self._control_due = False

    def next(self) -> tuple[int, int]:
        """What the next row must be. It stays the same until `gave` is called.

        Returns:
            `MIX` and how many mix rows came before, or `DOSE` or `CONTROL` and the row's number.
        """
        if not self._weights:
            return MIX, self._given[MIX]
        if self._control_due:
            return CONTROL, self._control_of[self._turns.row(self._given[DOSE] - 1)]
        row = self._turns.row(self._given[DOSE])
        if self._scheduled >= (self._dose_weight + self._weights[row] / 2) / self._share:
            return DOSE, row
        return MIX, self._given[MIX]

    def gave(self, tokens: int, supervised: int) -> None:
        """The row that `next` asked for was given.

        Args:
            tokens: its non-padding tokens.
            supervised: its tokens that carry loss.
        """
        kind, index = self.next()
        weight = tokens if self._unit == "tokens" else supervised
        # Progress at the middle of the row, so that its mean over the run is that of the schedule.
        progress = min((sum(self._given.values()) + 0.5) / self._rows, 1.0)
        self._scheduled += self._factor(progress) * weight
        self._given[kind] += 1
        if kind == DOSE:
            self._dose_weight += weight
        self._control_due = kind == DOSE and self._control_of[index] >= 0

    @property
    def owed(self) -> float:
        """What the schedule has owed the dose so far, in `unit`."""
        return self._share * self._scheduled

    def state(self) -> dict[str, Any]:
        """How far the run has come, as JSON types, for `load`."""
        return {
            "mix_rows": self._given[MIX],
            "dose_rows": self._given[DOSE],
            "control_rows": self._given[CONTROL],
            "scheduled": self._scheduled,
            "dose_weight": self._dose_weight,
            "control_due": self._control_due,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from where `state` was taken, with the same arguments.

        Raises:
            PlanError: for something that `state` did not give.
        """
        if set(state) != set(self.state()):
            raise PlanError(
                f"The state has {sorted(state)}, an interleaver's has {sorted(self.state())}.",
                "Resume from a checkpoint of this run, or start anew.",
            )
        self._given = {MIX: state["mix_rows"], DOSE: state["dose_rows"], CONTROL: state["control_rows"]}
        self._scheduled, self._dose_weight = state["scheduled"], state["dose_weight"]
        self._control_due = state["control_due"]
