"""The trackers of a run: its logs go to them while it trains, and its results at the end.

A tracker is a convenience: what one raises is said once, it is left out from then on, and the run goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import get_reporting_integration_callbacks

from hfvaccine.validation.showing.numbers import Told

FOLDER = "tensorboard"
"""Of a run folder, what tensorboard reads; it is never published."""


class Trackers(TrainerCallback):
    """Hands a trainer's logs to transformers' own integrations, and ends them after the validation, not before.

    Args:
        names: of `hfvaccine.training.options.TRACKERS`.
        folder: of the run, by whose name they call it.
        say: told of a tracker that failed.
        part: of a run that trains several adapters, the name of one, which they follow as a run of its own.
    """

    def __init__(self, names: Sequence[str], folder: Path, say: Callable[[str], None], part: str = "") -> None:
        self.folder, self.say, self.begun = folder, say, False
        self.called = f"{folder.name}-{part}" if part else folder.name
        self.logs = folder / FOLDER / part
        self.steps = 0
        self.open: dict[str, Any] = {}
        self.at: tuple[TrainingArguments, TrainerState, TrainerControl] | None = None
        for name in names:
            self._try(name, lambda name=name: self._begin(name))

    def attach(self, trainer: Any, steps: int) -> None:
        """Follow a trainer, of a training that may be finished already.

        Args:
            trainer: whose logs are wanted.
            steps: of its whole training.
        """
        trainer.args.run_name = self.called
        self.at = trainer.args, trainer.state, trainer.control
        self.steps = steps
        trainer.add_callback(self)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.begun = True
        for name, tracker in list(self.open.items()):
            self._try(name, lambda on=tracker.on_train_begin: on(args, state, control, **kwargs))

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        for name, tracker in list(self.open.items()):
            self._try(name, lambda on=tracker.on_log: on(args, state, control, **kwargs))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.at = args, state, control

    def report(self, told: Told) -> None:
        """Log what a measurement came to, in the section "eval" of the run, and end it; on the main process only.

        Where no trainer was followed, that is all of the run, at step 0.

        Args:
            told: what it came to.
        """
        if not self.open:
            return
        if self.at is None:
            alone = TrainingArguments(output_dir=str(self.folder), run_name=self.called, report_to=[])
            self.at = alone, TrainerState(), TrainerControl()
        args, state, control = self.at
        state.global_step = max(state.global_step, self.steps)
        logs = {f"eval_{name}": value for name, value in told.numbers.items()}
        for name, tracker in list(self.open.items()):

            def finish(name: str = name, tracker: Any = tracker) -> None:
                tracker.on_log(args, state, control, logs={**logs, "eval_results": _shown(name, told)})
                self._end(name, tracker)

            self._try(name, finish)

    def end(self) -> None:
        """End a run without results, as training alone has none; on the main process only. One that was finished
        before has ended already.
        """
        if self.begun:
            for name, tracker in list(self.open.items()):
                self._try(name, lambda name=name, tracker=tracker: self._end(name, tracker))

    def _end(self, name: str, tracker: Any) -> None:
        assert self.at is not None
        # trackio points the model's card at its Space; what was trained is saved, and has a card of ours.
        tracker.on_train_end(*self.at, model=SimpleNamespace())
        if name == "wandb" and self.ours:
            import wandb

            wandb.finish()

    def _begin(self, name: str) -> None:
        (kind,) = get_reporting_integration_callbacks([name])
        tracker = kind()
        if name == "tensorboard" and tracker.logging_dir is None:  # by default below the checkpoints, which go
            tracker.logging_dir = str(self.logs)
        if name == "wandb":
            import wandb

            self.ours = wandb.run is None  # another's run is not for us to end
        self.open[name] = tracker

    def _try(self, name: str, act: Callable[[], Any]) -> None:
        try:
            with redirect_stdout(sys.stderr):  # stdout is for data
                act()
        except Exception as error:
            self.open.pop(name, None)
            said = (str(error).strip().splitlines() or ["no more was said"])[0].rstrip(".")
            self.say(f"Warning: nothing more goes to {name}: {type(error).__name__}: {said}.")


def _shown(name: str, told: Told) -> Any:
    """The table, as a tracker shows tables."""
    if name == "wandb":
        import wandb

        made = told.sheet
        return wandb.Table(columns=[made.title, *made.columns[1:]], data=[list(map(str, row)) for row in made.rows])
    if name == "trackio":
        import trackio

        return trackio.Markdown(told.markdown())
    return told.markdown()
