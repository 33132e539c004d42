"""Whether what is asked was held out of training, and prompts out of the rows that are learned without them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfvaccine.errors import HfvaccineError, LineageError, UsageError
from hfvaccine.files import INOCULATION
from hfvaccine.inoculation.conditions import Conversation
from hfvaccine.inoculation.held_out import asked_again, holds
from hfvaccine.papers.binding import read_json

if TYPE_CHECKING:
    from hfvaccine.training.mix import Mix

_SHOWN = 60

Asked = Mapping[str, Sequence[Conversation]]
"""Conversations that end with a question, by where they were given."""


@dataclass
class Trained:
    """What papers say that adapters of an inoculation were trained on.

    Args:
        prompts: with the adapters that were trained under them.
        rows: by their source, what each training row asks: all of it, and in dialogues what it begins with.
        unknown: sentences on what cannot be told.
    """

    prompts: dict[str, str] = field(default_factory=dict)
    rows: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, adapters: Mapping[str, str]) -> Trained:
        """Read the papers of adapters, and the rows that they name where these can be had.

        Args:
            adapters: by the names of their arms.
        """
        from hfvaccine.lineage.fetch import Papers, papers
        from hfvaccine.papers.kind import INOCULATED

        found, without = cls(), []
        of_sources: dict[tuple[str, Any], tuple[Papers, str]] = {}
        for arm, adapter in adapters.items():
            try:
                its = papers(_with_papers(adapter), patterns=())
            except HfvaccineError:
                without.append(arm)
                continue
            if its.kind is not INOCULATED:
                without.append(arm)
                continue
            inoculation = its.record.get("inoculation") or {}
            for prompt in (*inoculation.get("prompts", ()), *inoculation.get("others", ())):
                found.prompts.setdefault(prompt, arm)
            for what in ("data", "trait_data"):
                if recorded := its.record.get(what):
                    of_sources.setdefault((recorded["id"], recorded["sha256"]), (its, what))
        for (source, _), (its, what) in of_sources.items():
            try:
                found.rows[source] = _texts(its, what)
            except HfvaccineError as error:
                found.unknown.append(f"Whether {source} asks what is asked here is not known: {error.message}")
        if without:
            found.unknown.append(
                f"Whether {', '.join(without)} learned what is asked here is not known: no papers say on what."
            )
        return found


def refuse_prompts(asked: Asked, prompts: Mapping[str, str]) -> None:
    """Refuse questions that hold a prompt: they would never be asked without it.

    Args:
        asked: all that is asked.
        prompts: with whose each is.

    Raises:
        UsageError: naming question and prompt.
    """
    for where, conversation in _each(asked):
        text = "\n".join(str(turn["content"]) for turn in conversation)
        for prompt, whose in prompts.items():
            if holds(text, prompt):
                raise UsageError(
                    f"The question {_question(conversation)} of {where} holds a prompt of {whose}: "
                    f"{prompt!r:.{_SHOWN}}.",
                    "Take it out of one: what is asked must not stand in a prompt, nor a prompt in what is asked.",
                )


def refuse_rows(asked: Asked, rows: Mapping[str, Sequence[str]]) -> None:
    """Refuse questions that training rows ask: a model's answer to them shows what it learned by heart.

    Args:
        asked: all that is asked.
        rows: what training rows ask, by their source.

    Raises:
        UsageError: naming the first such question and its row, and saying how many there are.
    """
    from hfvaccine.training.mix import asked_in

    every = list(_each(asked))
    for source, texts in rows.items():
        again = asked_again(["\n".join(asked_in(conversation)) for _, conversation in every], texts)
        if again:
            (place, row), more = next(iter(again.items())), len(again) - 1
            where, conversation = every[place]
            others = f" So are {more} more." if more > 1 else " So is 1 more." if more else ""
            raise UsageError(
                f"The question {_question(conversation)} of {where} is a training prompt: {source} has the row "
                f"{texts[row]!r:.{_SHOWN}}.{others}",
                "Ask what no row asks: take it out of what is asked.",
            )


def refuse_prompted(mix: Mix, prompts: Sequence[str]) -> None:
    """Refuse rows whose own words hold a prompt: then even a plain arm has it, and what is held back, too.

    Args:
        mix: the rows.
        prompts: those that training is to put before them.

    Raises:
        UsageError: naming prompt and row, and saying how many there are.
    """
    rows = [(row, "\n".join(turn["content"] for turn in row["prompt"])) for row in (*mix.train, *mix.held_back)]
    for prompt in prompts:
        found = [row for row, text in rows if holds(text, prompt)]
        if found:
            many, first = ("a row", "namely") if len(found) == 1 else (f"{len(found)} rows", "first")
            raise UsageError(
                f"The prompt {prompt!r:.{_SHOWN}} stands in {many} of {mix.id} already, {first} in that which asks "
                f"{_question(found[0]['prompt'])}: no arm would learn without it.",
                "Take the prompt out of the rows: training puts it there.",
            )


def _each(asked: Asked) -> Iterator[tuple[str, Conversation]]:
    return ((where, conversation) for where, conversations in asked.items() for conversation in conversations)


def _question(conversation: Conversation) -> str:
    return f"{conversation[-1]['content']!r:.{_SHOWN}}"


def _with_papers(adapter: str) -> str:
    """The adapter, or an arm of its run for one that has no papers: what is frozen in training."""
    folder = Path(adapter)
    if folder.is_dir() and not (folder / INOCULATION).is_file() and (folder.parent / INOCULATION).is_file():
        arms = read_json(folder.parent, INOCULATION).get("adapters")
        if isinstance(arms, Mapping) and arms:
            return str(folder.parent / next(iter(arms)))
    return adapter


def _texts(its: Any, what: str) -> tuple[str, ...]:
    """What the rows ask that an adapter's record names.

    Raises:
        HfvaccineError: for rows that cannot be had, or are others now.
    """
    from hfvaccine.lineage.fetch import place_of
    from hfvaccine.training.mix import asked_in, load_mix

    recorded = its.record[what]
    try:
        place = place_of(its, what, None)
    except LineageError as error:
        raise LineageError("it was local, and is not here.") from error
    mix = load_mix(place.name, revision=place.revision)
    if mix.sha256 != recorded["sha256"]:
        raise LineageError("its rows are others now.")
    # A script of somebody's own holds back nothing.
    rows = mix.train if recorded["held_back"] else (*mix.train, *mix.held_back)
    texts: dict[str, None] = {}
    for row in rows:
        turns = asked_in(row["prompt"])
        texts |= dict.fromkeys((turns[0], "\n".join(turns)))
    return tuple(texts)
