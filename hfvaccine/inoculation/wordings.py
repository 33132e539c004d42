"""Prompts as they are given: a text, or a file of one a line. What looks like a file never passes for a prompt."""

from __future__ import annotations

import os.path
import re
from pathlib import Path

from hfvaccine.errors import UsageError
from hfvaccine.sources.naming import FORMATS

TEXTS = (".txt", ".text", ".md")
"""How files of prompts are called, where they are called by what is in them."""
ENDINGS = (*TEXTS, *FORMATS, ".yaml", ".yml", ".gz")
ONE_A_LINE = "Give a text file, one prompt a line."
_PATH = re.compile(r"[\w.:~-]*[/\\][\w.~/\\-]*|[\w-]+\.[a-z][a-z0-9]{0,7}", re.ASCII | re.IGNORECASE)


def wordings(name: str, given: str) -> tuple[str, ...]:
    """The prompts that somebody means.

    Args:
        name: of the option, as errors have it.
        given: a text, which is the prompt, or a file of them.

    Raises:
        UsageError: for what looks like a file and is none, a file that cannot be read, and where there is no prompt.
    """
    if os.path.isfile(given):
        return in_file(name, given)
    refuse_file(name, given, f"Give a text, or a file that is there. {ONE_A_LINE}")
    if not given.strip():
        raise UsageError(f"{name} holds no prompt.", f"Give a text, or a file. {ONE_A_LINE}")
    return (given.strip(),)


def in_file(name: str, file: str | Path) -> tuple[str, ...]:
    """The prompts in a file, one a line; a prompt ends at a line feed and at no other sign.

    Args:
        name: of the option, as errors have it.
        file: to read.

    Raises:
        UsageError: for a file that is not there, holds rows, or holds no prompt.
    """
    if str(file).casefold().endswith(ENDINGS) and not str(file).casefold().endswith(TEXTS):
        raise UsageError(f"{file}, given as {name}, is no text file of prompts, by its name.", ONE_A_LINE)
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise UsageError(f"{file}, given as {name}, cannot be read: {why}.", ONE_A_LINE) from error
    found = tuple(line.strip() for line in lines if line.strip())
    if not found:
        raise UsageError(f"{name} holds no prompt: {file} is empty.", ONE_A_LINE)
    for line in found:
        refuse_file(f"{name} ({file})", line, "Give the prompts themselves, one a line.")
    return found


def refuse_file(name: str, prompt: str, next_step: str) -> None:
    """Refuse a prompt that looks like a file: nobody means its name.

    Args:
        name: of the option, as errors have it.
        prompt: as given.
        next_step: how a file is given.

    Raises:
        UsageError: naming it.
    """
    text = prompt.strip()
    if os.path.exists(text):
        raise UsageError(f"{text}, given as {name}, is the name of a file or folder, not a prompt.", next_step)
    if text.casefold().endswith(ENDINGS) or _PATH.fullmatch(text):
        raise UsageError(
            f"There is no file {text} for {name}, and it looks like one.",
            f"{next_step} A prompt that ends like a file takes a full stop.",
        )
