"""The dosage: the rows of a dose and their controls, tokenized as far as a run needs them, with verified labels."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from datasets import Dataset as Rows
from datasets import concatenate_datasets

from hfvaccine.claims.guard import Guard
from hfvaccine.errors import DoseError, ModelError, PlanError
from hfvaccine.regimen.given import Given, Row, in_rounds
from hfvaccine.regimen.measure import IGNORED, Ints
from hfvaccine.regimen.plan import DOSE, Plan
from hfvaccine.regimen.positions import positions
from hfvaccine.regimen.rendering import learnt, render
from hfvaccine.regimen.schedule import Schedule

TOKENIZED = ["input_ids", "labels"]


class Dosage:
    """What is given of a dose, and how.

    A dose may hold far more rows than a run will give: they are tokenized as they are asked for.

    Args:
        trainer: whose preparation tokenizes the rows.
        streams: of each dose that has turns of its own, the rows, each with its control, in the order in which they
            are given.
        claims: the texts that no loss may fall on.
        share, schedule, unit, seed, shares: as in `hfvaccine.regimen.plan.make_plan`.
    """

    def __init__(
        self,
        trainer: Any,
        streams: Sequence[Iterable[Given]],
        claims: Sequence[str],
        *,
        share: float,
        schedule: str | Schedule,
        unit: str,
        seed: int,
        shares: Sequence[float] = (),
    ) -> None:
        self.shares = tuple(shares)
        self.claims, self.share, self.schedule, self.unit, self.seed = tuple(claims), share, schedule, unit, seed
        self.rows: list[Row] = []
        self.controls: list[Row] = []
        self._trainer = trainer
        self._rounds, self._waiting = 0, in_rounds(streams)
        self._control_of: list[int] = []
        self._dose_of: list[int] = []
        self._doses: list[Rows] = []
        self._controls: list[Rows] = []

    @classmethod
    def nothing(cls, trainer: Any) -> Dosage:
        """No dose: a mix alone, in the order of the trainer's seed."""
        return cls(trainer, (), (), share=0.0, schedule="constant", unit="tokens", seed=trainer.args.seed)

    def reach(self, number: int) -> bool:
        """Tokenize so many rows of each dose with their controls; False where there are no more.

        Raises:
            PlanError: where the trainer's `max_length` would cut a row.
            DoseError: where loss would fall on a prompt, on a claim, or on nothing.
        """
        rounds = list(islice(self._waiting, max(0, number - self._rounds)))
        self._rounds += len(rounds)
        if more := [given for its in rounds for _, given in its]:
            dose, control = [g.dose for g in more], [g.control for g in more if g.control is not None]
            numbers = iter(range(len(self.controls), len(self.controls) + len(control)))
            self._control_of += [-1 if g.control is None else next(numbers) for g in more]
            self._dose_of += [of for its in rounds for of, _ in its]
            self.rows += dose
            self.controls += control
            prepared = prepare(self._trainer, [*dose, *control], Guard(self.claims))
            self._doses.append(prepared.select(range(len(dose))))
            if control:
                self._controls.append(prepared.select(range(len(dose), len(prepared))))
        return self._rounds >= number

    @property
    def dose_of(self) -> Ints | None:
        """(dose rows,) the number of the dose that each dose row is of; None where there is one."""
        return np.array(self._dose_of, dtype=np.int64) if self.shares else None

    def counts(self, plan: Plan) -> Ints:
        """(doses,) how many rows of each dose a plan gives."""
        return np.bincount(
            np.array(self._dose_of, np.int64)[plan.index[plan.kind == DOSE]], minlength=max(1, len(self.shares))
        )

    @property
    def control_of(self) -> Ints:
        """(dose rows,) the control row of each dose row, -1 for none."""
        return np.array(self._control_of, dtype=np.int64)

    def tokenized(self) -> tuple[Rows, Rows]:
        """`input_ids` and `labels` of the dose rows, and of the control rows."""
        empty = Rows.from_dict({name: [] for name in TOKENIZED})
        return (
            concatenate_datasets(self._doses) if self._doses else empty,
            concatenate_datasets(self._controls) if self._controls else empty,
        )


def prepare(trainer: Any, rows: Sequence[Row], falsehoods: Guard) -> Rows:
    """Tokenize dose and control rows as the trainer does, with loss on completions only.

    Args:
        trainer: whose preparation tokenizes them.
        rows: the rows.
        falsehoods: what no loss may fall on, whichever row's answer says it.

    Returns:
        `input_ids` and `labels` for each row, in order.

    Raises:
        PlanError: where the trainer's `max_length` or the model's positions would cut a row.
        DoseError: where loss would fall on a prompt, on a falsehood, or on nothing.
        ModelError: for a row that the chat template refuses.
    """
    if trainer.processing_class.chat_template is None:
        raise PlanError(
            "The trainer's tokenizer has no chat template.",
            "Set `tokenizer.chat_template` before making the trainer, and save it with the adapter.",
        )
    raw = Rows.from_dict({"prompt": [r.prompt for r in rows], "completion": [r.completion for r in rows]})
    uncut = copy.copy(trainer.args)
    uncut.max_length = None
    uncut.shuffle_dataset = False
    before = trainer.completion_only_loss
    trainer.completion_only_loss = True
    try:
        prepared = trainer._prepare_dataset(raw, trainer.processing_class, uncut, False, None, "dose")
    except Exception:  # whatever a template raises comes through as it is
        for row in rows:
            try:
                render(trainer.processing_class, [*row.prompt, *row.completion])
            except ModelError as error:
                where = f"The {row.kind} row of claim {row.claim_id} in the form {row.form!r}"
                raise ModelError(f"{where}: {error.message}", error.next_step) from error
        raise
    finally:
        trainer.completion_only_loss = before
    prepared = prepared.select_columns(TOKENIZED)
    if any(len(row.completion) > 1 for row in rows):
        # Not by `map`, which would hash the trainer, and so the model, to tell whether it did the same before.
        labels = [_labels(trainer.processing_class, *one) for one in zip(rows, prepared, strict=True)]
        prepared = Rows.from_dict({"input_ids": prepared["input_ids"][:], "labels": labels}, prepared.features)
    for row, tokens in zip(rows, prepared, strict=True):
        verify_labels(trainer, row, tokens["input_ids"], tokens["labels"], falsehoods)
    return prepared


def _labels(tokenizer: Any, row: Row, tokens: Mapping[str, list[int]]) -> list[int]:
    """Labels of a row, with loss on the assistant's turns alone."""
    ids, labels = tokens["input_ids"], tokens["labels"]
    if len(row.completion) > 1:
        carries = learnt(tokenizer, row.prompt, row.completion, ids)
        labels = [token if carried else IGNORED for token, carried in zip(ids, carries, strict=True)]
    return labels


def verify_labels(trainer: Any, row: Row, input_ids: Sequence[int], labels: Sequence[int], falsehoods: Guard) -> None:
    """No loss on the user's turns or any other falsehood, all of the answers under loss, nothing cut.

    Raises:
        PlanError: where `max_length` or the model's positions would cut the row.
        DoseError: where a label is on the wrong side, or the completion says a falsehood.
    """
    room = positions(trainer.model.config)
    if room is not None and len(input_ids) > room:
        raise PlanError(
            f"A row of claim {row.claim_id} has {len(input_ids)} tokens, and the model has {room} positions.",
            "Its correction would be cut: leave the claim out, or take a base with more positions.",
        )
    limit = trainer.args.max_length
    if limit is not None and len(input_ids) > limit:
        raise PlanError(
            f"A row of claim {row.claim_id} has {len(input_ids)} tokens, `max_length` is {limit}.",
            "Its correction would be cut: raise max_length.",
        )
    text = trainer.processing_class.decode([t for t, label in zip(input_ids, labels, strict=True) if label != IGNORED])
    answers = [turn["content"] for turn in row.completion if turn["role"] == "assistant"]
    asked = [turn["content"] for turn in (*row.prompt, *row.completion) if turn["role"] != "assistant"]
    if not all(answer in text for answer in answers) or any(turn in text for turn in asked):
        raise DoseError(
            f"In the {row.kind} row of claim {row.claim_id} in the form {row.form!r} the loss does not fall on the "
            "completion alone.",
            "The chat template must render the prompt the same way with and without the completion.",
        )
    said = falsehoods.find(text)
    if said is not None:
        raise DoseError(
            f"The answer of claim {row.claim_id} in the form {row.form!r} says the claim {said[:60]!r} word for word, "
            "and loss would fall on the falsehood.",
            "Mend the answer so that it says what is true by itself, or leave one of the two claims out.",
        )
