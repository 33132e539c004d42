"""What a person is shown while a job runs."""

from __future__ import annotations

from typing import Any


class Bar:
    """A progress bar that nobody sees; tqdm's has the same methods."""

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *raised: object) -> None: ...

    def update(self, steps: int) -> None:
        """Told of steps that were done since the last call."""

    def set_postfix(self, **values: object) -> None:
        """Told of values to show beside it."""


class Progress:
    """Shows nothing; what the commands give shows it on stderr."""

    def say(self, line: str) -> None:
        """One line for each stage."""

    def bar(self, description: str, total: int) -> Any:
        """A progress bar, to be used as a context: see `Bar`."""
        return Bar()


SILENT = Progress()


def follow(trainer: Any, bar: Any) -> None:
    """Have a progress bar follow a trainer's steps."""
    from transformers import TrainerCallback

    class Steps(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.update(state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.update(1)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if logs and "loss" in logs:
                bar.set_postfix(loss=logs["loss"])

    trainer.add_callback(Steps())
