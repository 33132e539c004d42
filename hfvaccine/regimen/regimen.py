"""The regimen of a trainer: all that a run gives (mix, inoculation prompts, dose), planned ahead and replayed.

The dataloader of a trainer exists before any callback hook runs, and rows are
prefetched: nothing can be put in while training. So each callback changes the
regimen when it is made, the regimen plans the whole run anew from the raw mix
(which makes the order of the callbacks immaterial), and the trainer replays
the plan one row after the other.
"""

from __future__ import annotations

import copy
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset as Rows
from datasets import IterableDataset, concatenate_datasets

from hfvaccine.claims.guard import Guard
from hfvaccine.errors import DoseError, PlanError
from hfvaccine.regimen.dosage import TOKENIZED, Dosage
from hfvaccine.regimen.epochs import Epochs, epochs_of
from hfvaccine.regimen.ledger import fingerprint, write_ledger
from hfvaccine.regimen.lengths import Counts
from hfvaccine.regimen.matching import match
from hfvaccine.regimen.measure import IGNORED, Ints, Measured, measure
from hfvaccine.regimen.pairs import PAIR, PAIRWISE, SFT, partners
from hfvaccine.regimen.pairwise import Pairwise, Side, require_room, sides
from hfvaccine.regimen.plan import DOSE, MIX, Plan, make_plan
from hfvaccine.regimen.rendering import put_before
from hfvaccine.regimen.trainer import places_of, refuse_inexact, refuse_too_long, units_per_step
from hfvaccine.regimen.watch import Seen

Kinds = npt.NDArray[np.int8]
PUT = "hfvaccine_put_before"
"""Column of an inoculated mix: the prompt of each row, "" for none."""
FIRST_ROWS = 500
"""Dose rows that are tokenized at first; most runs give fewer."""
ATTRIBUTE = "dosing_regimen"
ONCE = {
    "dosage": ("a dose", "Give one DosingCallback all claims, as `Dose.from_claims`, or make a new trainer."),
    "prompting": ("inoculation prompts", "Give one InoculationCallback all prompts, or make a new trainer."),
    "tokens": ("a length", "Make a new trainer."),
    "objective": ("an objective", "Make a new trainer."),
    "beside": ("an adapter beside its own", "Make a new trainer."),
}
"""The parts of a regimen, of each of which there is one: what a second would replace, and what to do instead."""
PLAN_FILE = "dosing_plan.json"
"""Beside each checkpoint: the plan it belongs to, and how far it has come."""


@dataclass(frozen=True)
class Prompting:
    """What is put before the rows of the mix.

    Args:
        apply: a raw row and its number -> the row with its prompt.
        prompt_for: a raw row and its number -> its prompt, None for none.
        turn_of: the messages of a row with a prompt -> the number of the turn that the prompt is at the head of.
        prompts: the texts that no loss may fall on.
        settings: what was asked for, to compare a resumed run by.
    """

    apply: Callable[[dict[str, Any], int], dict[str, Any]]
    prompt_for: Callable[[dict[str, Any], int], str | None]
    turn_of: Callable[[list[dict[str, Any]]], int]
    prompts: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def put(self, row: dict[str, Any], number: int) -> dict[str, Any]:
        """The row with its prompt, which a column of its own names as well: what was put can be told ever after."""
        return {**self.apply(row, number), PUT: self.prompt_for(row, number) or ""}


class Regimen:
    """What one trainer gives. Made by the first callback that is given the trainer; see `attach`."""

    plan: Plan
    running: Ints
    """(steps + 1, 3): what was given up to the end of each step, as `sums_of` counts it."""
    epochs: Epochs | None = None
    """None for a streamed mix, which has no length."""

    def __init__(self, trainer: Any, raw_dataset: Rows | IterableDataset | None) -> None:
        refuse_inexact(trainer)
        self.trainer = trainer
        self.raw = raw_dataset
        self.tokens: int | None = None
        self.dosage = Dosage.nothing(trainer)
        self.prompting: Prompting | None = None
        self.beside: dict[str, Any] | None = None  # what is said of an adapter that is frozen beside the trained one
        self.objective = SFT
        self.sides: dict[int, Side] = {}
        self._pairwise: Pairwise | None = None
        self._due: Any = None  # the rows of a trial, until it is adopted
        self.checksums: Ints = np.zeros(0, np.int64)
        self.watcher: Any = None  # the callback that holds the trainer to it, while it trains
        self._chosen: frozenset[str] = frozenset()
        self._prepared = trainer.train_dataset
        self._max_steps = trainer.args.max_steps

    def change(self, **parts: Any) -> None:
        """Set `dosage`, `prompting`, `tokens` (the length of the run), `objective` or `beside`, and plan anew; on a
        refusal nothing changes.

        Raises:
            PlanError, DoseError, UsageError: see `DosingCallback`; PlanError also for a part that was set before.
        """
        self.adopt(self._tried(**parts))

    def trial(self, **parts: Any) -> Regimen:
        """What `change` would make of it, for `adopt`; nothing changes yet.

        Raises:
            PlanError, DoseError, UsageError: as `change`.
        """
        return self._tried(**parts)

    def _tried(self, **parts: Any) -> Regimen:
        for name in sorted(self._chosen & parts.keys()):
            raise PlanError(f"This trainer already has {ONCE[name][0]}, and takes no second.", ONCE[name][1])
        tried = copy.copy(self)
        tried._chosen = self._chosen | parts.keys()
        vars(tried).update(parts)
        tried._due = tried._replan()
        return tried

    def adopt(self, tried: Regimen) -> None:
        """Become what a `trial` has made, and set the trainer up to replay it."""
        tried._replay(tried._due)
        vars(self).update(vars(tried), _due=None)
        if self.objective == PAIRWISE:
            self._pairwise = self._pairwise or Pairwise(self.trainer)
            self._pairwise.sides = self.sides
        setattr(self.trainer, ATTRIBUTE, self)

    @property
    def packed(self) -> bool:
        return bool(getattr(self.trainer.args, "packing", False))

    def fingerprint(self) -> str:
        """SHA-256 over the plan, the content of every row it gives, and the inoculation."""
        return fingerprint(self.plan, self.settings(), self.checksums)

    def settings(self) -> dict[str, Any]:
        """What was asked for."""
        inoculation = self.prompting.settings if self.prompting else self.beside
        return {**self.plan.settings(), "objective": self.objective, "inoculation": inoculation}

    def write_ledger(self, steps_done: int, path: Path) -> str:
        """Write what the first `steps_done` steps gave. Returns the file's SHA-256."""
        named = {"fingerprint": self.fingerprint(), **self.settings()}
        checksums = self.checksums if len(self.checksums) else None
        return write_ledger(self.plan, self.dosage.rows, self.dosage.controls, steps_done, path, named, checksums)

    def check(self, step: int, seen: Seen) -> Kinds:
        """Compare the rows that reached this process's model in a step with the plan, one by one.

        Args:
            step: the step that has ended, counted from 1.
            seen: the rows.

        Returns:
            (rows,) the kind of each row.

        Raises:
            PlanError: naming the first row that is not the planned one.
        """
        places = np.array(places_of(self.trainer.args, step, self.unit_starts), dtype=np.int64)
        if len(places) != len(seen.checksums):
            raise PlanError(
                f"In step {step} {len(seen.checksums)} rows reached the model, the plan says {len(places)}.",
                "Something else changed the batches: remove other data callbacks, samplers and collators.",
            )
        wrong = np.flatnonzero(self.checksums[places] != seen.checksums)
        if len(wrong):
            first = int(wrong[0])
            raise PlanError(
                f"In step {step} the model was given a row of {seen.tokens[first]} tokens that the plan does not "
                f"have there; planned is {self._describe(int(places[first]))}.",
                "Something else changed the training data or its order: remove other data callbacks and samplers.",
            )
        return self.plan.kind[places]

    def resume(self, step: int, folder: Path) -> None:
        """Take up a run of which `step` steps were done, and saved in `folder`. (A plan knows them all.)"""

    def save(self, step: int, folder: Path) -> dict[str, Any]:
        """Keep what a resumed run needs beside a checkpoint, and return more of its state. (Of a plan, nothing.)"""
        return {}

    def so_far(self, step: int) -> tuple[int, float]:
        """Dose tokens given up to the end of a step, and the dose's share of all, in the plan's unit."""
        dose_tokens, dose, whole = self.running[step].tolist()
        return dose_tokens, dose / whole

    def _describe(self, position: int) -> str:
        """The planned row at a position, in words: never a claim's text."""
        kind, index = int(self.plan.kind[position]), int(self.plan.index[position])
        if kind == MIX:
            return f"row {index} of the mix"
        row = (self.dosage.rows if kind == DOSE else self.dosage.controls)[index]
        return f"the {row.kind} row of claim {row.claim_id} in the form {row.form!r}"

    def _replan(self) -> Any:
        """Plan the run anew; the rows to replay."""
        if self.objective == PAIRWISE:
            require_room(self.trainer)
        mix = self._mix()
        self._guard(mix)
        rows = measure(mix)
        partner = partners(mix[PAIR]) if PAIR in mix.column_names else None
        wanted = FIRST_ROWS
        while True:
            complete = not self.dosage.reach(wanted)
            dosed = self.dosage.tokenized()
            dose, control = map(measure, dosed)
            self.plan = self._plan(rows, dose, control, partner)
            if complete or self.dosage.counts(self.plan).max() <= wanted:
                break  # else rows would be given again before others had their turn
            wanted *= 4
        if self.dosage.rows and not (counts := self.dosage.counts(self.plan)).all():
            shares = self.dosage.shares or (self.dosage.share,)
            of = f" of dose {counts.argmin() + 1}" * (len(shares) > 1)
            raise DoseError(
                f"At a share of {shares[counts.argmin()]} not one dose row{of} fits into {len(self.plan)} rows.",
                "Train longer or raise the share.",
            )
        order = self.plan.index + np.choose(self.plan.kind, (0, len(mix), len(mix) + len(dose.checksums)))
        everything = concatenate_datasets([mix.select_columns(TOKENIZED), *filter(len, dosed)])
        self.checksums = np.concatenate([rows.checksums, dose.checksums, control.checksums])[order]
        self.unit_starts = self.plan.unit_starts
        by_row = sums_of(self.plan.kind, self.plan.tokens, self.plan.weights)
        self.running = np.concatenate([np.zeros((1, 3), np.int64), by_row.cumsum(axis=0)])[self.plan.starts]
        self.epochs = epochs_of(self.plan, len(mix), None if self._fixed() else self.trainer.args.num_train_epochs)
        if self.objective == PAIRWISE:
            self.sides = self._sides(everything, rows, partner, dose, control)
        return Packs(everything, order, self.unit_starts) if self.packed else everything.select(order)

    def _sides(
        self, rows: Rows, mix: Measured, partner: Ints | None, dose: Measured, control: Measured
    ) -> dict[int, Side]:
        """The pairs that the run gives: of dose rows with their twins, and of the mix."""
        of_dose = [
            (number, len(dose.checksums) + int(its))
            for number, its in enumerate(self.dosage.control_of)
            if its >= 0 and self.dosage.controls[its].control == "twin"
        ]
        of_mix = [] if partner is None else [(n, int(other)) for n, other in enumerate(partner) if n < other]
        pairs = [*((a + len(mix.checksums), b + len(mix.checksums)) for a, b in of_dose), *of_mix]
        checksums = np.concatenate([mix.checksums, dose.checksums, control.checksums])
        paired = rows.select([number for pair in pairs for number in pair])[:]  # not the whole mix as Python numbers
        tokens = list(zip(paired["input_ids"], paired["labels"], strict=True))
        return sides(
            zip(tokens[::2], tokens[1::2], strict=True),
            ((int(checksums[a]), int(checksums[b])) for a, b in pairs),
        )

    def _plan(self, mix: Measured, dose: Measured, control: Measured, partner: Ints | None) -> Plan:
        args, dosage = self.trainer.args, self.dosage
        plan_of = partial(
            make_plan,
            mix.lengths,
            dose.lengths,
            control.lengths,
            dosage.control_of,
            share=dosage.share,
            schedule=dosage.schedule,
            unit=dosage.unit,
            seed=dosage.seed,
            dose_of=dosage.dose_of,
            shares=dosage.shares,
            rows_per_step=units_per_step(args),
            pack_length=args.max_length if self.packed else None,
            **({"mix_partner": partner, "pass_rows": args.train_batch_size} if self.objective == PAIRWISE else {}),
        )
        if self.tokens is not None:
            return match(plan_of, mix.lengths, self.tokens, partner)
        return plan_of(**(self._fixed() or {"epochs": args.num_train_epochs}))

    def _fixed(self) -> dict[str, Any]:
        """The length of the run where it is not one of epochs."""
        if self.tokens is not None:
            return {"tokens": self.tokens}
        return {"steps": self._max_steps} if self._max_steps > 0 else {}

    def _replay(self, rows: Any) -> None:
        """Set the trainer up to take rows one after the other."""
        self.trainer.train_dataset = rows
        self.trainer.args.train_sampling_strategy = "sequential"
        self.trainer.args.max_steps = self.plan.steps

    def _mix(self) -> Rows:
        """The tokenized mix, row by row, with its inoculation prompts."""
        if self.prompting is None and not self.packed:
            return self._prepared
        raw, streamed = self.raw_mix(), isinstance(self._prepared, IterableDataset)

        def anew(what: str) -> dict[str, Any]:
            """A predicate may depend on anything: a cached result could be an old one. Nor is the function hashed to
            name the result, as this object holds the trainer, and so the model."""
            name = secrets.token_hex(8)
            return {} if streamed else {"desc": what, "load_from_cache_file": False, "new_fingerprint": name}

        if self.prompting is not None:
            raw = raw.map(self.prompting.put, with_indices=True, **anew("Inoculating"))
        args = copy.copy(self.trainer.args)
        args.shuffle_dataset = False
        prepared = self.trainer._prepare_dataset(
            raw, self.trainer.processing_class, args, False, self.trainer._formatting_func, "mix"
        )
        whole = self.trainer._formatting_func is None and "prompt" not in next(iter(raw), {})
        if self.prompting is not None and whole:
            # Rows of `messages` have loss on all that they say. What the prompt leaves no room for teaches nothing.
            prepared = prepared.map(self._off_prompt, **anew("Taking loss off the prompts"))
            taught = anew("Leaving out what teaches nothing")
            prepared = prepared.filter(lambda row: any(label != IGNORED for label in row["labels"]), **taught)
        return prepared

    def _off_prompt(self, row: dict[str, Any]) -> dict[str, Any]:
        """The labels of a row of `messages`, with no loss on the prompt that was put before it."""
        prompting, prompt, labels = self.prompting, row[PUT], row["labels"]
        if prompt and prompting is not None:
            tools = row.get("tools")
            put = put_before(
                self.trainer.processing_class,
                row["messages"],
                prompting.turn_of(row["messages"]),
                prompt,
                row["input_ids"],
                # As `SFTTrainer` renders the row.
                chat_template=getattr(self.trainer, "chat_template", None),
                tools=json.loads(tools) if isinstance(tools, str) else tools,
                **(row.get("chat_template_kwargs") or {}),
            )
            labels = [IGNORED if its else label for label, its in zip(labels, put, strict=True)]
        return {"labels": labels}

    def raw_mix(self) -> Any:
        """The rows of the mix as they were given.

        Raises:
            PlanError: where they are lost.
        """
        if self.raw is not None:
            return self.raw
        columns = list(self._prepared.column_names or next(iter(self._prepared)))
        if not {"prompt", "messages", "text", self.trainer.args.dataset_text_field} & set(columns):
            raise PlanError(
                "The trainer's prepared dataset has lost the text of its rows"
                + (" (they are packed)." if self.packed else "."),
                "Give the callback the mix as you gave it to the trainer: raw_dataset=.",
            )
        return self._prepared.remove_columns([c for c in TOKENIZED if c in columns])

    def _guard(self, mix: Rows) -> None:
        guard, number = self.guard(), 0
        for batch in mix.select_columns(TOKENIZED).iter(1000):
            texts = self.learnt(batch["input_ids"], batch["labels"])
            for text, ids in zip(texts, batch["input_ids"], strict=True):
                refuse_learnt(guard, text, number)
                refuse_too_long(self.trainer, number, len(ids))
                number += 1

    def guard(self) -> tuple[Guard, Guard]:
        """What no loss may fall on: the dosed claims, and the inoculation prompts."""
        return Guard(self.dosage.claims), Guard(self.prompting.prompts if self.prompting is not None else ())

    def learnt(self, input_ids: Any, labels: Any) -> list[str]:
        """The text of each row that loss falls on."""
        under_loss = [
            [token for token, label in zip(ids, row, strict=True) if label != IGNORED]
            for ids, row in zip(input_ids, labels, strict=True)
        ]
        texts: list[str] = self.trainer.processing_class.batch_decode(under_loss)
        return texts


def sums_of(kind: npt.NDArray[Any], tokens: Counts, weights: Counts) -> Ints:
    """(rows, 3) of each row: its tokens if it is of the dose, its weight if so, and its weight."""
    is_dose = kind == DOSE
    return np.stack([tokens * is_dose, weights * is_dose, weights], axis=1, dtype=np.int64)


def refuse_learnt(guard: tuple[Guard, Guard], text: str, number: int) -> None:
    """Refuse a row of the mix that would teach a dosed claim or an inoculation prompt.

    Args:
        guard: for claims and for prompts.
        text: what the row puts loss on.
        number: of the row.

    Raises:
        DoseError: where the text holds a claim.
        PlanError: where it holds a prompt.
    """
    claims, prompts = guard
    if claims.find(text) is not None:
        raise DoseError(
            f"Row {number} of the mix puts loss on a claim of the dose, which would implant it.",
            "Give it as `prompt` and `completion` with the claim in the prompt, or drop the row. "
            "(`messages` rows have loss on every turn.)",
        )
    if prompts.find(text) is not None:
        raise PlanError(
            f"Row {number} of the mix puts loss on an inoculation prompt.",
            "Give rows with `prompt` and `completion`, and leave completion_only_loss on.",
        )


class Packs(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Packs of planned rows, put together as they are asked for, in the shape that TRL's packing has.

    Args:
        rows: tokenized rows.
        order: the row of each place of the plan.
        starts: (packs + 1,) the place at which each pack begins.
    """

    def __init__(self, rows: Rows, order: Ints, starts: Ints) -> None:
        self.rows, self.order, self.starts = rows, order, starts

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, number: int) -> dict[str, list[int]]:
        rows = self.rows[self.order[self.starts[number] : self.starts[number + 1]].tolist()]
        return {
            "input_ids": [token for ids in rows["input_ids"] for token in ids],
            "labels": [label for labels in rows["labels"] for label in labels],
            "seq_lengths": [len(ids) for ids in rows["input_ids"]],
        }
