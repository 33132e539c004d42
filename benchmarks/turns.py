"""Trainers that take turns, each in a process of its own, seen from outside; `trainers.py` is what they do."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
from children import Child, ask
from measuring import BASE, OUTPUT

TRAINERS = Path(__file__).with_name("trainers.py")
TURN_STEPS = 2
RANK = 16

DOSED, INOCULATED = "dosed", "dosed and inoculated"
PLAIN, PLAIN_AGAIN, PLAIN_INOCULATED = "no callback", "no callback, again", "no callback, inoculated rows"
OURS, OURS_STORED = "hfvaccine", "hfvaccine, no checkpointing"
DEFAULTS, GROUPED, FLAT, PACKED = "TRL defaults", "TRL by length", "TRL padding-free", "TRL packed"
IN_ORDER = "TRL in our order"
PEERS = (DEFAULTS, GROUPED, FLAT, PACKED)

HELD_OUT = ("mix", "dose")


@dataclass(frozen=True)
class Job:
    """What a trainer's process is told to do.

    Args:
        kind: which trainer.
        data, base, device, architecture, layers, width: as the options of the same names; the starter dose and mix
            where `data` is empty.
        batch: rows of a step.
        steps: of a dosed run; the peers make one pass over the same rows.
        rate: of learning; 0 leaves the model as it is, so that losses can be compared over a run.
        rows: folder of the planned rows.
        turn_tokens: after so many the others have their turn.
        until: the step at which to stop early, 0 for none.
    """

    kind: str
    data: str = ""
    base: str = ""
    device: str = "cpu"
    architecture: str | None = None
    layers: int | None = None
    width: int | None = None
    batch: int = 8
    steps: int = 0
    rate: float = 0.0
    rows: str = ""
    turn_tokens: float = math.inf
    until: int = 0


def options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a command that trains."""
    for option in (
        OUTPUT,
        click.option("--width", type=int, help="Likewise, a multiple of 64."),
        click.option("--layers", type=int, help="Of the architecture, to try it out small."),
        click.option(
            "--architecture", type=click.Choice(["gpt2-xl"]), help="Random weights of this shape, not the base's."
        ),
        click.option("--device", default="cpu", show_default=True, type=click.Choice(["cpu", "cuda"])),
        BASE,
        click.option("--steps", default=14, show_default=True, help=f"Steps of a dosed run, {TURN_STEPS} to a turn."),
        click.option("--threads", default=2, show_default=True, help="Threads of torch."),
        click.option(
            "--data",
            type=click.Path(exists=True, file_okay=False),
            default="",
            help="Folder of the data.  [default: the starter dose, and rows made of the starter mix]",
        ),
    ):
        command = option(command)
    return command


class Run(Child):
    """A trainer that waits for its turns, and what it told of them."""

    def __init__(self, job: Job, environment: Mapping[str, str] | None = None, within: float | None = None) -> None:
        super().__init__(TRAINERS, "train", asdict(job), environment, within=within)
        self.job = job
        self.turns: list[list[dict[str, float]]] = []
        self.done: dict[str, Any] = {}

    def start(self) -> None:
        """Wait until it is ready for its first turn."""
        self.ready = self.hear()

    def turn(self, last: bool = False) -> bool:
        """Let it take a turn, and no other where that is the last one; whether there is another one to come."""
        self.tell({"last": last})
        heard = self.hear()
        self.turns.append(heard["turn"])
        self.done = heard.get("done", {})
        return not self.done

    def measured_turns(self) -> list[list[dict[str, float]]]:
        """Without the first one, which warms up, and a last one that is not half a turn."""
        least = self.job.turn_tokens / 2
        return [turn for turn in self.turns[1:] if sum(step["tokens"] for step in turn) >= least]

    def measured_steps(self) -> list[dict[str, float]]:
        return [step for turn in self.measured_turns() for step in turn]

    def speeds(self) -> list[float]:
        """Tokens per second of each turn."""
        return [sum(s["tokens"] for s in turn) / sum(s["seconds"] for s in turn) for turn in self.measured_turns()]

    def speed(self) -> float:
        steps = self.measured_steps()
        return float(sum(s["tokens"] for s in steps) / sum(s["seconds"] for s in steps))

    def total(self, what: str) -> float:
        """Over all steps, the first ones too."""
        return sum(step[what] for turn in self.turns for step in turn)

    def loss(self) -> float:
        return self.total("loss") / self.total("supervised")

    def record(self) -> dict[str, Any]:
        return {"ready": self.ready, "done": self.done, "turns": self.turns}


def in_turns(
    jobs: Sequence[Job],
    environment: Mapping[str, str] | None = None,
    seconds: float = math.inf,
    within: float | None = None,
    failed: dict[str, str] | None = None,
) -> dict[str, Run]:
    """Trainers that take turns until all are done; every other round runs backwards.

    Args:
        jobs: of the trainers.
        environment: variables that are set for them.
        seconds: after which the round that begins is the last one.
        within: as of `Child`.
        failed: gets what each said that failed, and the others go on; without it the first that fails ends all.
    """
    began = time.monotonic()

    def done(run: Run, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except SystemExit as error:
            if failed is None:
                raise
            failed[run.job.kind] = str(error)
            return False

    with ExitStack() as stack:
        runs = [stack.enter_context(Run(job, environment, within)) for job in jobs]
        going = [run for run in runs if done(run, run.start) is not False]
        while going:
            last = time.monotonic() - began > seconds
            going = [run for run in going if done(run, partial(run.turn, last))][::-1]
    click.echo(f"  ({', '.join(job.kind for job in jobs)}: {time.monotonic() - began:.0f} s)", err=True)
    return {run.job.kind: run for run in runs if run.job.kind not in (failed or ())}


def prepared(job: Job, folder: Path) -> dict[str, Any]:
    """Plan a run and write its rows, so that others can train on them without a callback."""
    rows = folder / f"{job.kind} {job.batch}"
    return {**ask(TRAINERS, "prepare", asdict(replace(job, rows=str(rows)))), "rows": str(rows)}
