"""Replayed: a callback that holds a trainer to its regimen at every step, and reports on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfvaccine.errors import PlanError
from hfvaccine.files import LEDGER, write_json
from hfvaccine.regimen.plan import KINDS, Plan
from hfvaccine.regimen.regimen import PLAN_FILE, Regimen
from hfvaccine.regimen.watch import Watch

STAMP = "dosing"
"""Key of the entry in the trainer's own `log_history` that tells a resumed run which plan it was."""


class Replayed(TrainerCallback):
    """Holds a run to its regimen: the same rows in the same steps, or the run stops.

    Where several callbacks of a trainer share a regimen, the last one that sees the training begin does the work.
    Each `train()` begins anew, or where its checkpoint says, whatever became of the one before.

    Args:
        regimen: what the trainer gives.
    """

    claims: tuple[Any, ...] = ()
    """Of a dose, the claims that the run has room for."""

    def __init__(self, regimen: Regimen) -> None:
        self.regimen = regimen
        self._watch: Watch | None = None
        self._checked = 0
        self._ended = 0  # the step with which an epoch has just ended
        # Tokens with loss, and the loss summed over them, of each kind of row since the last report.
        self._since_report = np.zeros((len(KINDS), 2))
        self._identity: dict[str, Any] = {}

    @property
    def plan(self) -> Plan:
        """The plan of the run; of a streamed mix, what it has given so far."""
        return self.regimen.plan

    def fingerprint(self) -> str:
        """SHA-256 of all that the run gives."""
        return self.regimen.fingerprint()

    def write_ledger(self, path: Path, steps_done: int | None = None) -> str:
        """Write what was given; `steps_done` defaults to the whole plan. Returns the file's SHA-256."""
        return self.regimen.write_ledger(self.plan.steps if steps_done is None else steps_done, path)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.regimen.watcher is not None:  # another callback, or training that was stopped in the middle
            self.regimen.watcher._stop_watching()
        self._since_report[:] = 0
        self._checked, self._ended = state.global_step, 0
        if self.regimen.epochs is not None:
            state.num_train_epochs = self.regimen.epochs.total
        self._identity = self._identify()
        self._check_resumed(state)
        self.regimen.resume(state.global_step, _checkpoint(args, state))
        self._watch = Watch(kwargs["model"])
        self.regimen.watcher = self

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None:
        if self._watch is None or not state.global_step or self._ended != state.global_step:
            return None
        self._ended = 0
        begun: TrainerControl = self.regimen.trainer.callback_handler.on_epoch_begin(args, state, control)
        return begun

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None:
        if self._watch is None or self._checked == state.global_step:
            return None
        self._checked = state.global_step
        seen = self._watch.take()
        try:
            kinds = self.regimen.check(state.global_step, seen)
        except PlanError:
            self._stop_watching()
            raise
        for kind in range(len(KINDS)):
            rows = kinds == kind
            self._since_report[kind] += seen.supervised[rows].sum(), seen.loss[rows].sum()
        epochs = self.regimen.epochs
        if epochs is not None:
            state.epoch = float(epochs.done[state.global_step - 1])
            if state.global_step in epochs.ends:
                # To the trainer the plan is one epoch. What comes once an epoch comes now, of its own callbacks too.
                ended: TrainerControl = self.regimen.trainer.callback_handler.on_epoch_end(args, state, control)
                self._ended = state.global_step
                return ended
        if control.should_log:
            self._report(state.global_step)
        return None

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._watch is None:
            return
        if self._ended == state.global_step:  # the run was stopped at the end of an epoch, which has had its due
            control.should_log = control.should_evaluate = control.should_save = False
        elif control.should_log:
            self._report(state.global_step)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._watch is None or not state.is_world_process_zero:
            return
        tokens, share = self.regimen.so_far(state.global_step)
        given = {"step": state.global_step, "dose_tokens": tokens, "dose_share": share}
        kept = self.regimen.save(state.global_step, _checkpoint(args, state))
        # Written last and whole: its presence says that the checkpoint is complete.
        write_json({**self._identity, **given, **kept}, _checkpoint(args, state) / PLAN_FILE)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._watch is None:
            return
        self._stop_watching()
        if state.is_world_process_zero:
            best = state.best_global_step if args.load_best_model_at_end and state.best_model_checkpoint else None
            self.write_ledger(Path(str(args.output_dir)) / LEDGER, best or state.global_step)

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.remove()
            self.regimen.watcher = None
        self._watch = None

    def _identify(self) -> dict[str, Any]:
        """The regimen's fingerprint and settings; taken once a run, for it covers every row."""
        settings = json.loads(json.dumps(self.regimen.settings(), default=str))
        return {"fingerprint": self.fingerprint(), **settings}

    def _check_resumed(self, state: TrainerState) -> None:
        """Compare with the plan that the checkpoint was saved under, wherever it lies."""
        now = self._identity
        history: list[Any] = state.log_history
        if state.global_step == 0:
            history[:] = [entry for entry in history if STAMP not in entry]
            history.append({"step": 0, STAMP: now})
            return
        before = next((entry[STAMP] for entry in history if STAMP in entry), None)
        if before is None:
            raise PlanError(
                f"The checkpoint of step {state.global_step} was not saved by a dosed run.",
                "Start anew, or resume from a checkpoint of this run.",
            )
        if before["fingerprint"] != now["fingerprint"]:
            changed = [
                f"{name} {before.get(name)} -> {value}"
                for name, value in now.items()
                if name != "fingerprint" and before.get(name) != value
            ]
            raise PlanError(
                f"The checkpoint belongs to another plan: {', '.join(changed) or 'the rows themselves differ'}.",
                "Resume with the settings, dose and mix of that run, or start in another folder.",
            )

    def _report(self, step: int) -> None:
        """Put the dose so far, and the loss of each kind of row since the last report, among the trainer's metrics."""
        trainer = self.regimen.trainer
        sums = torch.tensor(self._since_report, dtype=torch.float32, device=trainer.args.device)
        self._since_report[:] = 0
        # TRL's trainer averages these lists into the next log entry, which its loggers and its history get.
        metrics = trainer._metrics["train"]
        if self.regimen.dosage.rows:
            tokens, share = self.regimen.so_far(step)
            metrics["dose_tokens"], metrics["dose_share"] = [tokens], [share]
        for kind, (tokens, loss) in zip(KINDS, trainer.accelerator.reduce(sums).tolist(), strict=True):
            if tokens and loss == loss:  # NaN where the model does not tell the loss by token
                metrics[f"{kind}_loss"] = [loss / tokens]


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
