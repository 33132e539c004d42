"""The processes of a run: a launcher may start several; all train, and one of them decides, writes and speaks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from accelerate import PartialState

T = TypeVar("T")

PATIENCE = timedelta(hours=1)
"""How long processes wait for each other: the main one may have a large base to download."""


def this_process() -> PartialState:
    """Which of the processes this is, and its device; the processes find each other at the first call."""
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)


def main_first(work: Callable[[], T]) -> T | None:
    """Do something on the main process, and then on the others, unless the main process was refused.

    Args:
        work: what to do; what it downloads or makes, the others find.

    Returns:
        What came of it; None on the other processes where the main process raised, so that they can
        leave without a word of their own.
    """
    from accelerate.utils import broadcast_object_list

    done = [False]
    if not this_process().is_main_process:
        broadcast_object_list(done)
        if done[0]:
            return work()
        part()
        return None
    try:
        outcome = work()
        done[0] = True
    finally:
        broadcast_object_list(done)
        if not done[0]:
            part()
    return outcome


def part() -> None:
    """End the group, so that the main process can go on for hours while the others are gone."""
    this_process().destroy_process_group()
