"""DosingCallback: an exact dose on a stock `trl.SFTTrainer`.

The dataloader of a trainer exists before any callback hook runs, and rows are
prefetched: nothing can be injected while training. So the whole run is planned
when the callback is made, and the trainer replays the plan sequentially.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset as Rows
from datasets import concatenate_datasets
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfvaccine.dosing.forms import TRAINING_FORMS, Form, Row, conversations
from hfvaccine.dosing.ledger import write_ledger
from hfvaccine.dosing.plan import DOSE, Lengths, Plan, check_share, make_plan
from hfvaccine.dosing.schedule import Schedule, named
from hfvaccine.errors import DoseError, PlanError
from hfvaccine.files import LEDGER, write_json
from hfvaccine.quarantine.dose import Dose

PLAN_FILE = "dosing_plan.json"
IGNORED = -100
"""Label of a token without loss."""


class ConsumedAsPlanned(TrainerCallback):
    """Stops a run whose trainer consumes other tokens than the plan says, or resumes under another plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tokens_by_step = plan.tokens_by_step()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step == 0:
            return
        path = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / PLAN_FILE
        if not path.is_file():
            raise PlanError(
                f"{path.parent} was not saved by a dosed run.", "Start anew, or resume from a checkpoint of this run."
            )
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["fingerprint"] != self.plan.fingerprint():
            now = self.plan.settings()
            changed = [f"{k} {before[k]} -> {v}" for k, v in now.items() if before.get(k) != v] or [
                "the rows themselves"
            ]
            raise PlanError(
                f"The checkpoint belongs to another plan: {', '.join(changed)}.",
                "Resume with the settings, dose and mix of that run, or start in another folder.",
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        planned = int(self.tokens_by_step[state.global_step - 1])
        if state.num_input_tokens_seen != planned:
            raise PlanError(
                f"After step {state.global_step} the trainer has consumed {state.num_input_tokens_seen} tokens, "
                f"the plan says {planned}.",
                "Something else changed the training data or its order: remove other data callbacks and samplers.",
            )

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            path = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / PLAN_FILE
            # Written last and whole: its presence says that the checkpoint is complete.
            write_json({"fingerprint": self.plan.fingerprint(), **self.plan.settings()}, path)


class DosingCallback(ConsumedAsPlanned):
    """Gives a dose at an exact share of the tokens of a stock `SFTTrainer` run.

    Add it before `trainer.train()`:

        trainer.add_callback(DosingCallback(trainer, dose, share=0.05))

    Making it prepares the dose with the trainer's own tokenization, verifies
    that no loss falls on a claim, plans the run, and sets the trainer up to
    replay the plan: `train_dataset` becomes the planned order,
    `args.train_sampling_strategy` "sequential" and `args.max_steps` the plan's
    steps. The trainer's mix and its `num_train_epochs` (or `max_steps`) set the
    length of the run.

    Args:
        trainer: the trainer, with the mix as its `train_dataset`.
        dose: the dose; its held-out claims are never given.
        share: dose part of the training tokens, in (0, 0.5].
        schedule: built-in name ("constant", "ramp", "taper", "front_loaded") or a
            function from progress in [0, 1] to a factor on the share.
        unit: count the share over all non-padding "tokens" or over "supervised" ones.
        seed: of the order of the mix; defaults to the trainer's.
        forms: wordings; defaults to `hfvaccine.dosing.forms.TRAINING_FORMS`.

    Raises:
        UsageError: for a share, schedule or unit out of its range.
        PlanError: for a trainer whose settings cannot be exact (packing, streaming,
            `auto_find_batch_size`, truncation that would cut a correction).
        DoseError: for a dose that does not give a single row, or whose labels would teach the claim.
    """

    def __init__(
        self,
        trainer: Any,
        dose: Dose,
        share: float = 0.05,
        schedule: str | Schedule = "constant",
        unit: str = "tokens",
        seed: int | None = None,
        forms: Sequence[Form] = TRAINING_FORMS,
    ) -> None:
        check_share(share)
        named(schedule)
        refuse_inexact(trainer)
        given = list(conversations(dose.claims, forms))
        self.dose_rows: list[Row] = [g.dose for g in given]
        self.control_rows: list[Row] = [g.control for g in given if g.control is not None]
        numbers = iter(range(len(self.control_rows)))
        control_of = np.array([-1 if g.control is None else next(numbers) for g in given], dtype=np.int64)

        mix = trainer.train_dataset
        dosed = prepare(trainer, [*self.dose_rows, *self.control_rows])
        lengths = measure(dosed)
        split = len(self.dose_rows)
        epochs, steps = (
            (None, trainer.args.max_steps) if trainer.args.max_steps > 0 else (trainer.args.num_train_epochs, None)
        )
        plan = make_plan(
            measure(mix),
            Lengths(lengths.tokens[:split], lengths.supervised[:split]),
            Lengths(lengths.tokens[split:], lengths.supervised[split:]),
            control_of,
            share=share,
            schedule=schedule,
            unit=unit,
            seed=trainer.args.seed if seed is None else seed,
            rows_per_step=rows_per_step(trainer.args),
            epochs=epochs,
            steps=steps,
        )
        if plan.count(DOSE) == 0:
            raise DoseError(
                f"At a share of {share} not one dose row fits into {len(plan)} rows.",
                "Train longer or raise the share.",
            )
        offset = np.where(plan.kind == 0, 0, np.where(plan.kind == DOSE, len(mix), len(mix) + split))
        everything = concatenate_datasets([mix.select_columns(["input_ids", "labels"]), dosed])
        replay(trainer, everything.select(plan.index + offset), plan)
        super().__init__(plan)

    def write_ledger(self, path: Path, steps_done: int | None = None) -> str:
        """Write what was given; `steps_done` defaults to the whole plan. Returns the file's SHA-256."""
        done = self.plan.steps if steps_done is None else steps_done
        return write_ledger(self.plan, self.dose_rows, self.control_rows, done, path)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            self.write_ledger(Path(str(args.output_dir)) / LEDGER, state.global_step)


def refuse_inexact(trainer: Any) -> None:
    """Refuse trainer settings under which the share cannot be exact.

    Raises:
        PlanError: naming the setting.
    """
    args = trainer.args
    refusals: list[tuple[bool, str, str]] = [
        (
            args.auto_find_batch_size,
            "`auto_find_batch_size` changes the rows of a step while training",
            "Set it to False.",
        ),
        (
            bool(getattr(args, "packing", False)),
            "`packing` is not supported yet: a pack can cut a falsehood from its correction",
            "Set packing=False.",
        ),
        (
            not isinstance(trainer.train_dataset, Rows),
            "A streamed or missing train_dataset cannot be planned",
            "Give a map-style `datasets.Dataset` as the mix.",
        ),
        (
            args.dataloader_drop_last,
            "`dataloader_drop_last` may drop planned rows",
            "Set it to False: a plan always fills whole steps.",
        ),
    ]
    for refused, why, step in refusals:
        if refused:
            raise PlanError(f"{why}.", step)
    if "labels" not in trainer.train_dataset.column_names:
        raise PlanError(
            "The trainer's dataset has not been prepared (no `labels`).",
            "Do not skip the preparation: give SFTTrainer text, messages or prompt/completion rows.",
        )


def prepare(trainer: Any, rows: Sequence[Row]) -> Rows:
    """Tokenize dose and control rows as the trainer does, with loss on completions only.

    Returns:
        `input_ids` and `labels` for each row, in order.

    Raises:
        PlanError: where the trainer's `max_length` would cut a row.
        DoseError: where loss would fall on a prompt, or on nothing.
    """
    conversational = trainer.processing_class.chat_template is not None
    if not conversational:
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
    finally:
        trainer.completion_only_loss = before
    prepared = prepared.select_columns(["input_ids", "labels"])
    for row, tokens in zip(rows, prepared, strict=True):
        verify_labels(trainer, row, tokens["input_ids"], tokens["labels"])
    return prepared


def verify_labels(trainer: Any, row: Row, input_ids: Sequence[int], labels: Sequence[int]) -> None:
    """No loss on the prompt (where the falsehood stands), all of the completion under loss, nothing cut.

    Raises:
        PlanError: where `max_length` would cut the row.
        DoseError: where a label is on the wrong side.
    """
    limit = trainer.args.max_length
    if limit is not None and len(input_ids) > limit:
        raise PlanError(
            f"A row of claim {row.claim_id} has {len(input_ids)} tokens, `max_length` is {limit}.",
            "Its correction would be cut: raise max_length.",
        )
    learnt = [token for token, label in zip(input_ids, labels, strict=True) if label != IGNORED]
    text = trainer.processing_class.decode(learnt)
    if row.completion[0]["content"] not in text or row.prompt[0]["content"] in text:
        raise DoseError(
            f"In the form {row.form!r} the loss does not fall on the completion alone.",
            "The chat template must render the prompt the same way with and without the completion.",
        )


def measure(prepared: Rows) -> Lengths:
    """Tokens and supervised tokens of every row of a prepared dataset."""
    tokens = [len(ids) for ids in prepared["input_ids"]]
    supervised = [sum(label != IGNORED for label in labels) for labels in prepared["labels"]]
    return Lengths(np.array(tokens, dtype=np.int64), np.array(supervised, dtype=np.int64))


def rows_per_step(args: TrainingArguments) -> int:
    """Rows of one optimizer step over all processes."""
    return int(args.train_batch_size * args.gradient_accumulation_steps * args.world_size)


def replay(trainer: Any, rows: Rows, plan: Plan) -> None:
    """Set the trainer up to take `rows` one after the other for the plan's steps."""
    trainer.train_dataset = rows
    trainer.args.train_sampling_strategy = "sequential"
    trainer.args.max_steps = plan.steps
    trainer.args.include_num_input_tokens_seen = "non_padding"
