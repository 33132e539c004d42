"""What several processes of one command say once, and which commands they may be of."""

from __future__ import annotations

import os
import time

from hfvaccine.errors import UsageError

TOGETHER = ("immunize", "validate", "boost", "inoculate train")
"""The commands that several processes do together: one of them writes and speaks, and they divide what takes long."""
LAST_WORD = 30.0
"""Seconds for the first process of a machine to say why it ends, and for the launcher to end the others then."""


def let_the_first_speak() -> None:
    """Of several processes of one machine, wait in all but the first: what is refused in all of them is said once.

    Who waits is ended by the launcher when the first has ended. What only another was refused is said after the wait.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0":
        time.sleep(LAST_WORD)


def refuse_several(command: str) -> None:
    """Refuse a command that is not in `TOGETHER` where a launcher has started it several times over.

    Args:
        command: its name.

    Raises:
        UsageError: naming those that may be.
    """
    number = int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1
    if number > 1 and command not in TOGETHER:
        raise UsageError(
            f"`hfvaccine {command}` runs in one process, and a launcher has started {number}.",
            f"Start it by itself; several processes take {', '.join(TOGETHER)}.",
        )
