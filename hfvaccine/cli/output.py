"""What commands print: data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from hfvaccine.training.progress import Progress

if TYPE_CHECKING:
    from hfvaccine.surveillance.status import Status

WIDTH = 128
"""Columns of a table that goes into a file or a pipe."""
PAUSE = 30.0
"""Seconds between two states of a bar that goes there, where each is one more line."""
WHOLE: Any = {"break_long_words": False, "break_on_hyphens": False}
"""How lines are wrapped: paths, names and options are copied."""
ENDLESS = 100_000
"""Columns of a tree that goes there: one line for each branch."""


def say(line: str) -> None:
    """One line for the person at the terminal."""
    click.echo(line, err=True)


class Terminal(Progress):
    """Shows on stderr what is happening, and how far it is.

    Args:
        mark: what each line begins with.
    """

    def __init__(self, mark: str = "") -> None:
        self.mark = mark

    def say(self, line: str) -> None:
        from hfvaccine.validation.showing.sentences import columns

        for part in textwrap.wrap(self.mark + line, columns(), subsequent_indent="  ", **WHOLE):
            say(part)

    def bar(self, description: str, total: int) -> Any:
        from tqdm import tqdm

        seen = sys.stderr.isatty() or "ipykernel" in sys.modules  # a notebook draws over a line, too
        pause = 0.5 if seen else PAUSE
        return tqdm(total=total, desc=description, dynamic_ncols=True, mininterval=pause, maxinterval=max(10, pause))


def hanging(first: str, text: str) -> str:
    """A text in lines no wider than the terminal, each of which begins where the text does.

    Args:
        first: what stands before it.
        text: of which no word is broken, so that an option or an address can be copied.
    """
    from hfvaccine.validation.showing.sentences import columns

    return textwrap.fill(text, columns(), initial_indent=first, subsequent_indent=" " * len(first), **WHOLE)


def print_facts(known: Mapping[str, str]) -> None:
    """What is known, one fact after the other, by its name."""
    for name, fact in known.items():
        click.echo(hanging(f"{name:18} ", fact))


def counted(number: int, what: str) -> str:
    """A number of things, in words."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def results(content: Mapping[str, Any], as_json: bool, full: bool = False) -> None:
    """Results on one screen, or in full, or as JSON."""
    from hfvaccine.validation.showing.sentences import verdict_lines
    from hfvaccine.validation.showing.summary import summary
    from hfvaccine.validation.showing.tables import table

    if as_json:
        click.echo(json.dumps(content))
    elif full:
        report(table(content), verdict_lines(content))
    else:
        for line in summary(content):
            click.echo(line)


def measured(content: Mapping[str, Any], as_json: bool, full: bool) -> None:
    """How far traits show, on one screen, or in full, or as JSON.

    Args:
        content: of traits.json.
        as_json: all of it.
        full: every table and sentence.
    """
    from hfvaccine.validation.showing.sentences import wrapped
    from hfvaccine.validation.showing.traits import gate_lines, sentences, short_lines, tables

    if as_json:
        click.echo(json.dumps(content))
    elif full:
        report(tables(content), [*wrapped(sentences(content), ""), *gate_lines(content)])
    else:
        for line in short_lines(content):
            click.echo(line)


def monitored(found: Status) -> None:
    """The status of a monitor as a table and in sentences."""
    from hfvaccine.surveillance.page import sheet
    from hfvaccine.text import with_interval

    lines = [f"{found.state}: {found.why}"]
    for alarm in found.alarms:
        lines.append(f"{alarm.id}: by {with_interval(alarm.by.value, alarm.by.interval, sign=True)}")
        if alarm.claims:
            moved = (f"{one.claim} ({one.before:.2f} to {one.after:.2f})" for one in alarm.claims)
            lines.append(f"  on {', '.join(moved)}")
        lines += [f"  next: {step}" for step in alarm.next]
    made = sheet(found)
    report(table(made.title, made.columns, made.rows), [*lines, *found.notes])


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Any:
    """A `rich` table of texts; columns of numbers stand right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    cells = [tuple(row) for row in rows]
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for place, name in enumerate(columns):
        numbers = all(row[place][:1].isdigit() for row in cells)
        made.add_column(name, justify="right" if numbers and place else "left")
    for row in cells:
        made.add_row(*map(Text, row))
    return made


def report(table: Any, lines: Iterable[str]) -> None:
    """A `rich` table, and what it says in sentences."""
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    console.print(table)
    for line in lines:
        click.echo(line)


def show_tree(tree: Any) -> None:
    """Print a `rich` tree: in colours on a terminal, as plain ASCII lines elsewhere."""
    from dataclasses import replace

    from rich.console import Console

    console = Console(highlight=False)
    if console.is_terminal:
        console.print(tree)
        return
    options = replace(console.options.update(width=ENDLESS), encoding="ascii")
    for line in console.render_lines(tree, options, pad=False):
        click.echo("".join(part.text for part in line).rstrip().encode("ascii", "replace").decode())


def quiet_downloads() -> None:
    """Without the Hub client's progress bars: stdout and stderr are short."""
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()


def quiet_libraries() -> None:
    """Keep the libraries' own notices out of the way of ours."""
    import logging
    import warnings

    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("trl").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="Could not find a config file in")
    warnings.filterwarnings("ignore", message=".*pin_memory.*")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")
    warnings.filterwarnings("ignore", message="Unable to fetch remote file")
    warnings.filterwarnings("ignore", message="The PEFT config's `base_model_name_or_path` was renamed")
    from datasets import disable_progress_bars

    disable_progress_bars()


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Say what begins, and how long it took."""
    say(f"> {what}")
    begun = time.monotonic()
    yield
    say(f"  done in {time.monotonic() - begun:.1f} s")
