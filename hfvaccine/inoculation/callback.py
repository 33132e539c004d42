"""InoculationCallback: inoculation prompts on a stock `trl.SFTTrainer`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from datasets import IterableDataset

from hfvaccine.errors import ModelError, PlanError
from hfvaccine.inoculation.prompt import Inoculation, turn_of
from hfvaccine.inoculation.where import ALL, Given
from hfvaccine.regimen.attach import regimen_of
from hfvaccine.regimen.regimen import Prompting
from hfvaccine.regimen.rendering import MARK, render
from hfvaccine.regimen.replay import Replayed


class InoculationCallback(Replayed):
    """Puts an inoculation prompt before the training rows that carry an unwanted trait.

    Add it before `trainer.train()`; beside a `DosingCallback` in either order, with the same result:

        trainer.add_callback(InoculationCallback(trainer, "You always speak in Spanish."))

    The rows of the mix get the prompt, the rows of a dose never do. No loss
    falls on prompts, and evaluation never sees them. Like the dose, the run is
    planned when the callback is made and checked while it trains.

    Args:
        trainer: the trainer; its mix holds `prompt` and `completion`, as texts or messages, or `messages` that end
            with the assistant, of which all but the prompt is learnt as without one.
        prompts: the prompt, or several wordings of it; each row gets one, the same in every epoch. None leaves all
            rows as they are: a plain control, with the same rows in the same order and a ledger of its own.
        where: the rows that carry the trait: "all", "column=value", "column!=value" or "column~REGEX", a
            (column, value) pair, or a predicate on a row.
        others: neutral prompts for the other rows; without them the other rows get nothing.
        place: "system", or "user" for the head of the user turn; by default "system" wherever the
            tokenizer's chat template has a place for it.
        raw_dataset: the mix as it was before the trainer prepared it; needed under packing.

    Raises:
        UsageError: for an empty prompt, an unknown place, and a mix of which no row carries the trait. (Of a
            streamed mix that is not known beforehand.)
        PlanError: for a mix on which loss would fall on the prompt, for system turns that the chat template
            refuses or leaves out, and for a trainer whose settings cannot be exact, or that has inoculation prompts
            already.
        ModelError: for `messages` that the chat template does not write as they are given.
    """

    def __init__(
        self,
        trainer: Any,
        prompts: str | Sequence[str] | None,
        where: Given = ALL,
        others: Sequence[str] = (),
        place: str | None = None,
        raw_dataset: Any = None,
    ) -> None:
        if prompts is None:
            regimen = regimen_of(trainer, raw_dataset)
            regimen.change(prompting=None)
            super().__init__(regimen)
            return
        wordings = (prompts,) if isinstance(prompts, str) else tuple(prompts)
        if place is None:
            place = "system" if has_system_turn(trainer.processing_class) else "user"
        inoculation = Inoculation(wordings, where, tuple(others), place)
        regimen = regimen_of(trainer, raw_dataset)
        mix = regimen.raw_mix()
        if place == "system":
            _refuse_without_system_turn(trainer, mix)
        if not isinstance(mix, IterableDataset):
            inoculation.told_by.refuse_unmet(mix)
        prompting = Prompting(
            inoculation.apply,
            inoculation.prompt_for,
            partial(turn_of, place=place),
            (*wordings, *inoculation.others),
            inoculation.settings(),
        )
        regimen.change(prompting=prompting)
        super().__init__(regimen)


def _refuse_without_system_turn(trainer: Any, rows: Any) -> None:
    """Refuse system turns where the chat template has none: it would raise, or leave the prompt out without a word."""
    first: dict[str, Any] = next(iter(rows), {})
    spoken = first.get("prompt", first.get("messages", ""))
    if not isinstance(spoken, str) and not has_system_turn(trainer.processing_class):
        raise PlanError(
            "The tokenizer's chat template has no system turn, and the inoculation prompt is to stand in one.",
            'Leave place out, or give place="user".',
        )


def has_system_turn(tokenizer: Any) -> bool:
    """Whether a tokenizer's chat template renders a system message; some refuse it, some leave it out."""
    if tokenizer.chat_template is None:
        return False
    messages = [{"role": "system", "content": MARK}, {"role": "user", "content": "Hello."}]
    try:
        return MARK in render(tokenizer, messages)
    except ModelError:
        return False
