"""What a person at the terminal is shown while something runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Bar = Callable[[str, int], Any]
"""Makes a progress bar from a description and a total."""
Say = Callable[[str], None]
"""Takes one line for the person at the terminal."""


def show_progress(trainer: Any, bar: Any) -> None:
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.update(state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.update(1)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if logs and "loss" in logs and hasattr(bar, "set_postfix"):
                bar.set_postfix(loss=logs["loss"])

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.close()

    trainer.add_callback(Progress())


class NoBar:
    """A progress bar that nobody sees."""

    def update(self, steps: int) -> None: ...

    def close(self) -> None: ...


def no_bar(description: str, total: int) -> NoBar:
    return NoBar()


def say_nothing(line: str) -> None:
    """Says a line to nobody."""
