"""The regimen of a trainer whose mix is streamed: the same rule, decided row by row as the stream comes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from hfvaccine.errors import PlanError
from hfvaccine.files import LEDGER
from hfvaccine.regimen.dosage import TOKENIZED
from hfvaccine.regimen.interleave import Interleaver
from hfvaccine.regimen.measure import IGNORED, Ints, measure
from hfvaccine.regimen.pairs import SFT
from hfvaccine.regimen.plan import CONTROL, DOSE, KINDS, MIX, Plan
from hfvaccine.regimen.regimen import PLAN_FILE, Kinds, Regimen, refuse_learnt, sums_of
from hfvaccine.regimen.schedule import named
from hfvaccine.regimen.trainer import refuse_too_long, units_per_step
from hfvaccine.regimen.watch import Seen


class StreamedRegimen(Regimen):
    """What a trainer with a streamed mix gives: a dose only, or a dose and inoculation prompts.

    The trainer takes its rows from an interleaver; a second one, fed with what
    reaches the model, says after each step what must have come. At most one
    worker reads: several would divide the stream's shards, and the order.
    """

    def trial(self, **parts: Any) -> Regimen:
        raise PlanError("How much of a dose a streamed mix gives is not known beforehand.", "Leave exposures out.")

    def _replan(self) -> Any:
        args = self.trainer.args
        refusals = (
            (self._max_steps <= 0, "A streamed mix has no length", "Set max_steps."),
            (self.objective != SFT, "Of a streamed mix no pairs can be kept together", 'Set objective="sft".'),
            (self.packed, "A streamed mix cannot be packed", "Set packing=False, or give a map-style dataset."),
            *(
                (
                    getattr(args, name) == "epoch",
                    f"A streamed mix has no epochs, and {name} is 'epoch'",
                    'Set "steps".',
                )
                for name in ("eval_strategy", "save_strategy", "logging_strategy")
            ),
            (args.world_size > 1, "A streamed mix is given by one process", "Give a map-style `datasets.Dataset`."),
        )
        for refused, why, step in refusals:
            if refused:
                raise PlanError(f"{why}.", step)
        self._rows = self._max_steps * units_per_step(args)
        self.dosage.reach(self._rows)
        tokenized = dict(zip((DOSE, CONTROL), self.dosage.tokenized(), strict=True))
        self._dose, self._control = measure(tokenized[DOSE]), measure(tokenized[CONTROL])
        self.guards = self.guard()
        self._begin()
        return Interleaved(self._new_interleaver, self._rows, self._mix(), tokenized, self._screen)

    def _replay(self, rows: Any) -> None:
        self.trainer.train_dataset = rows
        self.trainer.args.max_steps = self._max_steps
        self.trainer.args.dataloader_num_workers = min(1, self.trainer.args.dataloader_num_workers)

    def _begin(self) -> None:
        """Nothing has been given yet."""
        self._interleaver = self._new_interleaver()
        self._given = [np.zeros((0, 4), dtype=np.int64)]  # for each step (rows, 4): kind, index, tokens, supervised
        self.running = np.zeros((self._max_steps + 1, 3), dtype=np.int64)

    def _screen(self, row: dict[str, Any], number: int) -> None:
        refuse_learnt(self.guards, self.learnt([row["input_ids"]], [row["labels"]])[0], number)
        refuse_too_long(self.trainer, number, len(row["input_ids"]))

    def _new_interleaver(self) -> Interleaver:
        return Interleaver(
            self._dose.lengths,
            self._control.lengths,
            self.dosage.control_of,
            share=self.dosage.share,
            schedule=self.dosage.schedule,
            unit=self.dosage.unit,
            rows=self._rows,
            rows_per_step=units_per_step(self.trainer.args),
            dose_of=self.dosage.dose_of,
            shares=self.dosage.shares,
        )

    @property
    def plan(self) -> Plan:  # type: ignore[override]
        """What has been given so far."""
        columns = np.concatenate(self._given)
        return Plan(
            kind=columns[:, 0].astype(np.int8),
            index=columns[:, 1],
            tokens=columns[:, 2],
            supervised=columns[:, 3],
            rows_per_step=units_per_step(self.trainer.args),
            share=self.dosage.share,
            schedule=named(self.dosage.schedule)[0],
            unit=self.dosage.unit,
            seed=self.dosage.seed,
            shares=self.dosage.shares,
        )

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "rows": self._rows, "streamed": True}

    def fingerprint(self) -> str:
        """SHA-256 over the settings and the dose; of a stream itself nothing is known."""
        digest = hashlib.sha256(json.dumps(self.settings(), sort_keys=True, default=str).encode())
        for checksums in (self._dose.checksums, self._control.checksums):
            digest.update(np.ascontiguousarray(checksums, dtype="<i8").tobytes())
        return digest.hexdigest()

    def check(self, step: int, seen: Seen) -> Kinds:
        expected = units_per_step(self.trainer.args)
        if len(seen.checksums) != expected:
            raise PlanError(
                f"In step {step} {len(seen.checksums)} rows reached the model, a step has {expected}.",
                "Something else changed the batches: remove other data callbacks, samplers and collators.",
            )
        known = {DOSE: self._dose.checksums, CONTROL: self._control.checksums}
        given = np.zeros((expected, 4), dtype=np.int64)
        for number in range(expected):
            kind, index = self._interleaver.next()
            if kind in known and known[kind][index] != seen.checksums[number]:
                raise PlanError(
                    f"In step {step} the model was given a row of {seen.tokens[number]} tokens where row {index} "
                    f"of the {KINDS[kind]} rows was due.",
                    "Something else changed the training data or its order: remove other data callbacks.",
                )
            tokens, supervised = int(seen.tokens[number]), int(seen.supervised[number])
            self._interleaver.gave(tokens, supervised)
            given[number] = kind, index, tokens, supervised
        self._add(step, given)
        return given[:, 0].astype(np.int8)

    def _add(self, step: int, given: Ints) -> None:
        self._given.append(given)
        weights = given[:, 2 if self.dosage.unit == "tokens" else 3]
        self.running[step] = self.running[step - 1] + sums_of(given[:, 0], given[:, 2], weights).sum(axis=0)

    def save(self, step: int, folder: Path) -> dict[str, Any]:
        self.write_ledger(step, folder / LEDGER)
        return {"interleaver": self._interleaver.state()}

    def resume(self, step: int, folder: Path) -> None:
        """Take up a run: what it has given stands beside the checkpoint."""
        self._begin()
        if step == 0:
            return
        if not ((folder / LEDGER).is_file() and (folder / PLAN_FILE).is_file()):
            raise PlanError(
                f"{folder} does not hold what the streamed mix has given ({LEDGER} and {PLAN_FILE}).",
                "Resume in the folder that the run was started in.",
            )
        self._interleaver.load(json.loads((folder / PLAN_FILE).read_text(encoding="utf-8"))["interleaver"])
        table = pq.read_table(folder / LEDGER, columns=["kind", "row", "tokens", "supervised"])
        kinds = [KINDS.index(kind) for kind in table["kind"].to_pylist()]
        given = np.stack([kinds, *(table[name].to_numpy() for name in table.column_names[1:])], axis=1)
        for number, rows in enumerate(np.split(given, step), start=1):
            self._add(number, rows)


class Interleaved(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
    """The rows of a streamed mix with the dose between them.

    Args:
        interleaver: makes a fresh interleaver.
        rows: how many rows to give.
        mix: tokenized rows; begins anew when it runs out.
        dosed: tokenized dose and control rows, by kind.
        screen: raises for a row of the mix that must not be learnt.
    """

    def __init__(
        self,
        interleaver: Callable[[], Interleaver],
        rows: int,
        mix: Iterable[dict[str, Any]],
        dosed: dict[int, Any],
        screen: Callable[[dict[str, Any], int], None],
    ) -> None:
        self._interleaver, self._rows, self._mix, self._dosed, self._screen = interleaver, rows, mix, dosed, screen

    def __iter__(self) -> Iterator[dict[str, list[int]]]:
        worker = torch.utils.data.get_worker_info()
        if worker is not None and worker.num_workers > 1:
            raise PlanError(
                f"{worker.num_workers} dataloader workers would divide the streamed mix among them.",
                "Set dataloader_num_workers to 0 or 1.",
            )
        interleaver, stream, number = self._interleaver(), iter(self._mix), 0
        for _ in range(self._rows):
            kind, index = interleaver.next()
            if kind == MIX:
                row = next(stream, None)
                if row is None:
                    stream, number = iter(self._mix), 0
                    row = next(stream)
                self._screen(row, number)
                number += 1
            else:
                row = self._dosed[kind][index]
            # The first token is never predicted, whatever its label says.
            interleaver.gave(len(row["input_ids"]), sum(label != IGNORED for label in row["labels"][1:]))
            yield {name: row[name] for name in TOKENIZED}
